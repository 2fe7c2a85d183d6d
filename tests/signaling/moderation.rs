//! What a moderator may do, and nobody else.

use serde_json::{Value, json};

use crate::support::{Node, Peer, eventually};

/// A moderator and two others in the room `blue`, who have heard of each other.
async fn three(node: &Node) -> (Peer, Peer, Peer) {
    let mut ada = Peer::join(node.address(), "blue", "ada").await;
    let mut bob = Peer::join(node.address(), "blue", "bob").await;
    let carol = Peer::join(node.address(), "blue", "carol").await;
    for _ in 0..2 {
        ada.expect("UserJoined").await;
    }
    bob.expect("UserJoined").await;
    (ada, bob, carol)
}

#[tokio::test]
async fn a_kicked_participant_is_closed_told_of_and_kept_out() {
    let node = Node::start(&[]);
    let (mut ada, mut bob, mut carol) = three(&node).await;
    ada.send(json!({ "type": "Kick", "target_user_id": "bob", "id": 1 })).await;
    ada.expect_left("bob", "kicked").await;
    ada.expect_accepted(1).await;
    carol.expect_left("bob", "kicked").await;
    carol.expect_nothing().await;
    bob.expect_close(4410, "kicked").await;

    // Neither as a new session nor as the old one.
    let mut again = Peer::connect(node.address()).await;
    again.send(json!({ "type": "Join", "room_name": "blue", "user_id": "bob", "id": 2 })).await;
    let error = again.expect_error("banned").await;
    assert_eq!((&error["id"], &error["retryable"]), (&json!(2), &json!(false)));
    again.expect_close(4403, "banned").await;
    let mut resumed = Peer::resume(node.address(), &bob.welcome, 0).await;
    resumed.expect_error("session_unknown").await;
    carol.expect_nothing().await;
}

#[tokio::test]
async fn a_ban_runs_out() {
    let node = Node::start(&["--kick-ban-secs=1"]);
    let (mut ada, mut bob, _carol) = three(&node).await;
    ada.send(json!({ "type": "Kick", "target_user_id": "bob" })).await;
    bob.expect_close(4410, "kicked").await;
    ada.expect_left("bob", "kicked").await;
    eventually("the ban has run out", async || {
        let mut bob = Peer::connect(node.address()).await;
        bob.send(json!({ "type": "Join", "room_name": "blue", "user_id": "bob" })).await;
        let answer = bob.next().await;
        (answer["type"] == "RoomJoined").then_some(bob)
    })
    .await;
    ada.expect("UserJoined").await;
}

#[tokio::test]
async fn a_lock_keeps_out_the_new_and_lets_back_those_who_are_in() {
    let node = Node::start(&[]);
    let (mut ada, mut bob, mut carol) = three(&node).await;
    ada.send(json!({ "type": "Lock", "locked": true, "id": 1 })).await;
    for peer in [&mut ada, &mut bob, &mut carol] {
        let state = peer.expect("RoomState").await;
        assert_eq!((&state["room_name"], &state["locked"]), (&json!("blue"), &json!(true)));
        assert_eq!(state["recording"], Value::Bool(false));
    }
    ada.expect_accepted(1).await;

    let mut dan = Peer::connect(node.address()).await;
    dan.send(json!({ "type": "Join", "room_name": "blue", "user_id": "dan", "id": 9 })).await;
    let error = dan.expect_error("room_locked").await;
    assert_eq!((&error["retryable"], &error["id"]), (&json!(true), &json!(9)));
    let mut bob_again = Peer::join(node.address(), "blue", "bob").await;
    assert_eq!(bob_again.expect("RoomState").await["locked"], true);

    // Locked twice is told once.
    ada.send(json!({ "type": "Lock", "locked": true })).await;
    ada.send(json!({ "type": "Lock", "locked": false })).await;
    assert_eq!(carol.expect("RoomState").await["locked"], false);
    // The refused one is still there and may try again.
    dan.enter(json!({ "room_name": "blue", "user_id": "dan" })).await;
    assert_eq!(carol.expect("UserJoined").await["user"]["user_id"], "dan");
}

#[tokio::test]
async fn a_mute_is_asked_of_one_participant() {
    let node = Node::start(&[]);
    let (mut ada, mut bob, mut carol) = three(&node).await;
    ada.send(json!({ "type": "Mute", "target_user_id": "bob", "kind": "audio", "id": 1 })).await;
    ada.expect_accepted(1).await;
    let muted = bob.expect("Muted").await;
    assert_eq!(
        (&muted["room_name"], &muted["kind"], &muted["by"]),
        (&json!("blue"), &json!("audio"), &json!("ada"))
    );
    carol.expect_nothing().await;
}

#[tokio::test]
async fn a_participant_may_do_none_of_it() {
    let node = Node::start(&[]);
    let (mut ada, mut bob, mut carol) = three(&node).await;
    for command in [
        json!({ "type": "Kick", "target_user_id": "ada", "id": 1 }),
        json!({ "type": "Kick", "target_user_id": "nobody", "id": 1 }),
        json!({ "type": "Lock", "locked": true, "id": 1 }),
        json!({ "type": "Mute", "target_user_id": "carol", "kind": "video", "id": 1 }),
    ] {
        bob.send(command).await;
        assert_eq!(bob.expect_error("forbidden").await["id"], 1);
    }
    ada.expect_nothing().await;
    carol.expect_nothing().await;
    // Nor may the moderator to itself or to nobody.
    for (target, code) in [("ada", "self_target"), ("nobody", "peer_unreachable")] {
        ada.send(json!({ "type": "Kick", "target_user_id": target })).await;
        ada.expect_error(code).await;
        ada.send(json!({ "type": "Mute", "target_user_id": target, "kind": "audio" })).await;
        ada.expect_error(code).await;
    }
    bob.expect_nothing().await;
}
