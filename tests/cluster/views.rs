//! What operators and proxies see: health, rooms of all nodes, the node of a room.

use serde_json::{Value, json};

use crate::support::{Cluster, Node, Peer, eventually, get, metric};

fn names(list: &Value, field: &str) -> Vec<String> {
    let items = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    items.iter().map(|item| item[field].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn every_node_shows_all_nodes_and_all_rooms() {
    let mut cluster = Cluster::start_with(2, &["--lease-secs=2", "--session-grace-secs=5"]).await;
    let _ada = Peer::join(cluster.address(0), "blue", "ada").await;
    let _bob = Peer::join(cluster.address(1), "blue", "bob").await;
    let _eve = Peer::join(cluster.address(1), "amber", "eve").await;
    for node in 0..2 {
        let shown = eventually("all rooms are shown", async || {
            let shown = get(cluster.address(node), "/api/cluster").await.json();
            (names(&shown["rooms"], "room_name") == ["amber", "blue"]).then_some(shown)
        })
        .await;
        assert_eq!((&shown["mode"], &shown["truncated"]), (&json!("cluster"), &json!(false)));
        assert_eq!(shown["node_id"], Cluster::name(node));
        assert_eq!(names(&shown["nodes"], "node_id"), ["node-0", "node-1"]);
        assert_eq!(names(&shown["nodes"], "state"), ["live", "live"]);
        assert!(shown["nodes"][1]["lease_left_ms"].as_u64().is_some_and(|left| left > 0), "{shown}");
        eventually("sessions are counted", async || {
            let nodes = get(cluster.address(node), "/api/cluster").await.json()["nodes"].clone();
            ((&nodes[0]["sessions"], &nodes[1]["sessions"]) == (&json!(1), &json!(2))).then_some(())
        })
        .await;
        let blue = &shown["rooms"][1]["participants"];
        assert_eq!(names(blue, "user_id"), ["ada", "bob"]);
        assert_eq!(names(blue, "node_id"), ["node-0", "node-1"]);
        let rooms = get(cluster.address(node), "/api/rooms").await.json()["rooms"].clone();
        assert_eq!(rooms[0], json!({ "room_name": "amber", "participants": 1, "locked": false }));
        let amber = get(cluster.address(node), "/api/rooms/amber").await.json();
        assert_eq!(names(&amber["participants"], "user_id"), ["eve"]);
        let health = get(cluster.address(node), "/health").await.json();
        assert_eq!((&health["status"], &health["checks"]["cluster"]), (&json!("ok"), &json!("ok")));
        eventually("both are counted", async || {
            let live = metric(cluster.address(node), "greenroom_cluster_nodes{state=\"live\"}").await;
            (live > 1.5).then_some(())
        })
        .await;
    }
    cluster.kill(1);
    eventually("the dead node and its people are seen to be so", async || {
        let shown = get(cluster.address(0), "/api/cluster").await.json();
        let states = names(&shown["nodes"], "state");
        let bob = shown["rooms"].as_array().expect("rooms").last().expect("blue")["participants"][1].clone();
        (states == ["live", "dead"] && bob["state"] == "suspect").then_some(())
    })
    .await;
    eventually("only the living remain", async || {
        let shown = get(cluster.address(0), "/api/cluster").await.json();
        (names(&shown["nodes"], "node_id") == ["node-0"] && names(&shown["rooms"], "room_name") == ["blue"])
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_live_room_is_routed_to_where_most_of_it_is_and_a_new_one_alike_by_all() {
    let cluster = Cluster::start(3).await;
    let _ada = Peer::join(cluster.address(2), "blue", "ada").await;
    let _bob = Peer::join(cluster.address(2), "blue", "bob").await;
    let _eve = Peer::join(cluster.address(0), "blue", "eve").await;
    let route = async |node: usize, room: &str| {
        get(cluster.address(node), &format!("/api/route?room={room}")).await.json()
    };
    let mut answers = Vec::new();
    for node in 0..3 {
        let live = json!({ "room_name": "blue", "node_id": "node-2", "live": true });
        assert_eq!(route(node, "blue").await, live);
        let fresh = route(node, "fresh").await;
        assert_eq!(fresh["live"], false);
        answers.push(fresh["node_id"].clone());
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    let wrong = get(cluster.address(0), "/api/route?room=not%20a%20room").await;
    assert_eq!((wrong.status, &wrong.json()["code"]), (400, &json!("malformed")));
    assert_eq!(get(cluster.address(0), "/api/route").await.status, 400);
}

#[tokio::test]
async fn a_node_alone_shows_itself() {
    let node = Node::start(&[]);
    let mut ada = Peer::join(node.address(), "blue", "ada").await;
    ada.send(json!({ "type": "Lock", "locked": true })).await;
    ada.expect("RoomState").await;
    let shown = get(node.address(), "/api/cluster").await.json();
    let incarnation = shown["nodes"][0]["incarnation"].clone();
    let participant =
        json!({ "user_id": "ada", "username": "ada", "state": "present", "node_id": "test-node" });
    let expected = json!({
        "node_id": "test-node",
        "mode": "local",
        "nodes": [{
            "node_id": "test-node", "incarnation": incarnation, "state": "live", "lease_left_ms": 0, "sessions": 1,
        }],
        "rooms": [{ "room_name": "blue", "locked": true, "participants": [participant] }],
        "truncated": false,
    });
    assert_eq!(shown, expected);
    let route = get(node.address(), "/api/route?room=red").await.json();
    assert_eq!(route, json!({ "room_name": "red", "node_id": "test-node", "live": false }));
    let page = get(node.address(), "/status").await;
    assert!(page.status == 200 && page.head.contains("text/html"), "{page:?}");
}
