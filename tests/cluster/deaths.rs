//! Nodes that die, stop, freeze and come back.

use serde_json::{Value, json};

use crate::support::{Cluster, Peer, Process, Redis, eventually, get};

/// Short times, so that tests are too. The lease is the shortest there is.
const SHORT: [&str; 2] = ["--lease-secs=2", "--session-grace-secs=2"];

/// Waits until Redis holds nothing of these rooms and of this node.
async fn nothing_is_left_of(cluster: &Cluster, node: usize, rooms: &[&str]) {
    let name = Cluster::name(node);
    eventually("nothing is left in Redis", async || {
        let leases: Vec<String> = cluster.redis().run(&["ZRANGE", "servers:leases", "0", "-1"]);
        let leased = leases.iter().any(|lease| lease.starts_with(&format!("{name}#")));
        let traces = rooms.iter().map(|room| format!("{{{room}}}")).chain([format!("{{{name}}}")]);
        let keys = cluster.redis().keys().join(" ");
        let left = traces.into_iter().any(|trace| keys.contains(&trace));
        (!leased && !left).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_participants_of_a_killed_node_are_suspect_then_left_and_nothing_remains() {
    let mut cluster = Cluster::start_with(3, &SHORT).await;
    let mut ada = Peer::join(cluster.address(0), "blue", "ada").await;
    let mut bob = Peer::join(cluster.address(1), "blue", "bob").await;
    ada.expect("UserJoined").await;
    let _eve = Peer::join(cluster.address(2), "blue", "eve").await;
    // In a room of which no other node knows.
    let _zoe = Peer::join(cluster.address(2), "amber", "zoe").await;
    for peer in [&mut ada, &mut bob] {
        peer.expect("UserJoined").await;
    }
    cluster.kill(2);
    for peer in [&mut ada, &mut bob] {
        peer.expect_updated("eve", "state", "suspect").await;
        peer.expect_left("eve", "timeout").await;
        peer.expect_nothing().await;
    }
    for peer in [ada, bob] {
        peer.close().await;
    }
    nothing_is_left_of(&cluster, 2, &["amber", "blue"]).await;
}

#[tokio::test]
async fn a_call_goes_on_when_the_node_of_one_is_killed() {
    let mut cluster = Cluster::start_with(2, &["--lease-secs=2", "--session-grace-secs=15"]).await;
    let mut ada = Peer::join(cluster.address(0), "blue", "ada").await;
    let bob = Peer::join(cluster.address(1), "blue", "bob").await;
    ada.expect("UserJoined").await;
    let (welcome, heard) = bob.lose();
    cluster.kill(1);
    let mut bob = Peer::resume(cluster.address(0), &welcome, heard).await;
    let resumed = bob.expect("Resumed").await;
    assert_eq!(
        (&resumed["outcome"], &resumed["participants"][0]["user_id"]),
        (&json!("snapshot"), &json!("ada"))
    );
    bob.send(json!({ "type": "Message", "target_user_id": "ada", "data": "back" })).await;
    loop {
        // It may have been seen as suspect before it came back, or not.
        let news = ada.next().await;
        match news["type"].as_str() {
            Some("UserUpdated") => {}
            Some("Message") => break assert_eq!(news["data"], "back"),
            _ => panic!("nobody has left: {news}"),
        }
    }
}

#[tokio::test]
async fn a_graceful_stop_hands_sessions_over_and_is_told_at_once() {
    let mut cluster = Cluster::start_with(2, &["--session-grace-secs=15"]).await;
    let mut ada = Peer::join(cluster.address(0), "blue", "ada").await;
    let mut bob = Peer::join(cluster.address(1), "blue", "bob").await;
    ada.expect("UserJoined").await;
    cluster.process(1).signal("TERM");
    bob.expect("Draining").await;
    bob.expect_close(1001, "draining").await;
    let (welcome, heard) = bob.lose();
    ada.expect_updated("bob", "state", "suspect").await;
    let mut bob = Peer::resume(cluster.address(0), &welcome, heard).await;
    assert_eq!(bob.expect("Resumed").await["outcome"], "full");
    ada.expect_updated("bob", "state", "present").await;
    assert!(cluster.stop(1).await.success());
    eventually("the other node knows", async || {
        let peers = get(cluster.address(0), "/health/cluster").await.json()["peers"].clone();
        (peers == json!([])).then_some(())
    })
    .await;
    ada.expect_nothing().await;
    nothing_is_left_of(&cluster, 1, &[]).await;
}

#[tokio::test]
async fn a_node_that_was_frozen_past_its_lease_comes_back_as_a_new_life_with_its_sessions() {
    let cluster = Cluster::start_with(2, &["--lease-secs=2", "--session-grace-secs=30"]).await;
    let mut ada = Peer::join(cluster.address(0), "blue", "ada").await;
    let mut bob = Peer::join(cluster.address(1), "blue", "bob").await;
    ada.expect("UserJoined").await;
    let incarnation = async || get(cluster.address(1), "/health/info").await.json()["incarnation"].clone();
    let before: Value = incarnation().await;
    cluster.freeze(1);
    ada.expect_updated("bob", "state", "suspect").await;
    cluster.thaw(1);
    ada.expect_updated("bob", "state", "present").await;
    assert!(incarnation().await.as_u64() > before.as_u64(), "a new life");
    ada.send(json!({ "type": "Offer", "target_user_id": "bob", "sdp": "v=0" })).await;
    assert_eq!(bob.expect("Offer").await["sdp"], "v=0");
    ada.expect_nothing().await;
}

#[tokio::test]
async fn a_node_that_was_alone_and_comes_back_clears_away_its_own_past() {
    let mut cluster = Cluster::start_with(1, &["--lease-secs=2", "--session-grace-secs=2"]).await;
    let _ada = Peer::join(cluster.address(0), "blue", "ada").await;
    cluster.kill(0);
    cluster.restart(0).await;
    let eve = Peer::join(cluster.address(0), "amber", "eve").await;
    eventually("only the present life is seen", async || {
        let keys = cluster.redis().keys();
        let rooms: Vec<_> = keys.iter().filter(|key| key.starts_with("rooms:")).collect();
        let index: Vec<String> = cluster.redis().run(&["HKEYS", "servers:{node-0}:connections"]);
        let leases: usize = cluster.redis().run(&["ZCARD", "servers:leases"]);
        let blue = rooms.iter().any(|key| key.contains("blue"));
        (!blue && index == [eve.welcome["session_id"].as_str().expect("a session")] && leases == 1)
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_node_that_stops_with_nobody_to_hand_over_to_leaves_nothing_when_its_sessions_have_run_out() {
    let mut cluster = Cluster::start_with(1, &["--session-grace-secs=1"]).await;
    let _ada = Peer::join(cluster.address(0), "blue", "ada").await;
    assert!(cluster.stop(0).await.success());
    nothing_is_left_of(&cluster, 0, &["blue"]).await;
}

#[tokio::test]
async fn a_clean_stop_is_nothing_to_complain_of() {
    let redis = Redis::start();
    let url = format!("--redis-url={}", redis.url());
    let storage = tempfile::tempdir().expect("a folder");
    let start = |name| {
        Process::start_on(storage.path(), &["--cluster-mode=true", "--session-grace-secs=1", name, &url])
    };
    let mut nodes = [start("--node-id=node-0"), start("--node-id=node-1")];
    let mut ada = Peer::join(nodes[0].address(), "blue", "ada").await;
    let mut bob = Peer::join(nodes[1].address(), "blue", "bob").await;
    ada.expect("UserJoined").await;
    // The first has another one to hand over to, and the second has nobody.
    for (node, peer) in nodes.iter_mut().zip([&mut ada, &mut bob]) {
        node.signal("TERM");
        peer.hear_out().await;
        assert!(node.ended().await.success(), "{}", node.logs());
        assert_eq!(node.complaints_of_its_end(), [""; 0], "{}", node.logs());
    }
}
