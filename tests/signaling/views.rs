//! What is seen from outside: rooms, health and metrics.

use serde_json::json;

use crate::support::{Node, Peer, eventually, get, metric, roster};

#[tokio::test]
async fn rooms_are_listed_and_shown() {
    let node = Node::start(&[]);
    assert_eq!(get(node.address(), "/api/rooms").await.json(), json!({ "rooms": [] }));
    let mut ada = Peer::join(node.address(), "blue", "ada").await;
    let _bob = Peer::join(node.address(), "blue", "bob").await;
    let _carol = Peer::join(node.address(), "amber", "carol").await;
    ada.send(json!({ "type": "Lock", "locked": true })).await;
    ada.expect("UserJoined").await;
    ada.expect("RoomState").await;
    let rooms = get(node.address(), "/api/rooms").await.json();
    let listed = json!([
        { "room_name": "amber", "participants": 1, "locked": false },
        { "room_name": "blue", "participants": 2, "locked": true },
    ]);
    assert_eq!(rooms["rooms"], listed);
    let blue = roster(node.address(), "blue").await;
    assert_eq!((&blue["room_name"], &blue["locked"]), (&json!("blue"), &json!(true)));
    assert_eq!(blue["participants"][0]["role"], "moderator");
    assert_eq!(blue["participants"][1]["user_id"], "bob");
    let text = blue.to_string();
    let token = ada.welcome["resume_token"].as_str().expect("a token");
    let session = ada.welcome["session_id"].as_str().expect("a session");
    assert!(!text.contains(token) && !text.contains(session), "{text}");
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_with_its_code() {
    let node = Node::start(&[]);
    for (path, status, code) in [
        ("/api/rooms/nobody-here", 404, "not_found"),
        ("/api/rooms/not%20a%20room", 400, "malformed"),
        ("/api/rooms/..%2f..%2fetc", 400, "malformed"),
        ("/api/nothing", 404, "not_found"),
        ("/ws", 426, "upgrade_required"),
    ] {
        let answer = get(node.address(), path).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(answer.head.contains("content-type: application/problem+json"), "{path}: {answer:?}");
        assert_eq!(answer.json()["code"], code, "{path}");
    }
}

#[tokio::test]
async fn a_node_alone_is_healthy() {
    let node = Node::start(&[]);
    let _ada = Peer::join(node.address(), "blue", "ada").await;
    let health = get(node.address(), "/health").await.json();
    assert_eq!((&health["status"], &health["sessions"]), (&json!("ok"), &json!(1)));
    assert_eq!(get(node.address(), "/health/live").await.json()["status"], "ok");
    let ready = get(node.address(), "/health/ready").await;
    assert_eq!((ready.status, &ready.json()["mode"]), (200, &json!("local")));
    assert_eq!(get(node.address(), "/health/info").await.json()["node_id"], "test-node");
    let cluster = get(node.address(), "/health/cluster").await.json();
    assert_eq!(cluster, json!({ "mode": "local", "redis_connected": false, "local_connections": 1 }));
}

#[tokio::test]
async fn what_happens_is_counted() {
    let node = Node::start(&["--session-grace-secs=1"]);
    let address = node.address();
    let mut ada = Peer::join(address, "blue", "ada").await;
    let mut bob = Peer::join(address, "blue", "bob").await;
    ada.expect("UserJoined").await;
    ada.send(json!({ "type": "Message", "data": 1 })).await;
    bob.expect("Message").await;
    bob.send(json!({ "type": "Nonsense" })).await;
    bob.expect_error("unsupported").await;
    for (series, value) in [
        (r#"greenroom_sockets{kind="peer"}"#, 2.0),
        (r#"greenroom_sessions{state="present"}"#, 2.0),
        ("greenroom_rooms", 1.0),
        ("greenroom_participants", 2.0),
        (r#"greenroom_joins_total{result="joined"}"#, 2.0),
        (r#"greenroom_relayed_messages_total{kind="Message"}"#, 1.0),
        (r#"greenroom_relay_recipients_total{kind="Message"}"#, 1.0),
        (r#"greenroom_refusals_total{code="unsupported"}"#, 1.0),
    ] {
        assert!((metric(address, series).await - value).abs() < 0.5, "{series} is not {value}");
    }
    bob.lose();
    ada.expect_updated("bob", "state", "suspect").await;
    ada.expect_left("bob", "timeout").await;
    eventually("the lost socket is counted", async || {
        let open = metric(address, r#"greenroom_sockets{kind="peer"}"#).await;
        let gone = metric(address, r#"greenroom_sockets_ended_total{kind="peer",reason="gone"}"#).await;
        let left = metric(address, r#"greenroom_leaves_total{reason="timeout"}"#).await;
        ((open, gone, left) == (1.0, 1.0, 1.0)).then_some(())
    })
    .await;
}
