//! A lost socket: suspect at once, gone when the grace is over, each told exactly once.

use serde_json::json;

use crate::support::{Node, Peer, Raw, frame};

#[tokio::test]
async fn a_lost_socket_makes_suspect_and_then_gone_once_each() {
    let node = Node::start(&["--session-grace-secs=1"]);
    let mut bob = Peer::join(node.address(), "blue", "bob").await;
    let ada = Peer::join(node.address(), "blue", "ada").await;
    bob.expect("UserJoined").await;

    ada.lose();
    bob.expect_updated("ada", "state", "suspect").await;
    bob.expect_left("ada", "timeout").await;
    bob.expect_nothing().await;
}

#[tokio::test]
async fn a_socket_closed_without_leave_is_waited_for_too() {
    let node = Node::start(&["--session-grace-secs=1"]);
    let mut bob = Peer::join(node.address(), "blue", "bob").await;
    let ada = Peer::join(node.address(), "blue", "ada").await;
    bob.expect("UserJoined").await;
    ada.close().await;
    bob.expect_updated("ada", "state", "suspect").await;
    bob.expect_left("ada", "timeout").await;
}

#[tokio::test]
async fn a_suspect_participant_is_shown_and_messages_to_it_are_kept() {
    let node = Node::start(&[]);
    let mut bob = Peer::join(node.address(), "blue", "bob").await;
    let ada = Peer::join(node.address(), "blue", "ada").await;
    bob.expect("UserJoined").await;
    let (welcome, heard) = ada.lose();
    bob.expect_updated("ada", "state", "suspect").await;
    let carol = Peer::join(node.address(), "blue", "carol").await;
    let states: Vec<_> = carol.welcome["participants"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|user| user["state"].clone())
        .collect();
    assert_eq!(states, ["present", "suspect"]);
    bob.expect("UserJoined").await;
    bob.send(json!({ "type": "Offer", "target_user_id": "ada", "sdp": "kept", "id": 1 })).await;
    bob.expect_accepted(1).await;
    let mut ada = Peer::resume(node.address(), &welcome, heard).await;
    ada.expect("UserJoined").await;
    assert_eq!(ada.expect("Offer").await["sdp"], "kept");
    assert_eq!(ada.expect("Resumed").await["outcome"], "full");
}

#[tokio::test]
async fn the_suspect_moderator_keeps_its_role_until_it_is_gone() {
    let node = Node::start(&["--session-grace-secs=1"]);
    let ada = Peer::join(node.address(), "blue", "ada").await;
    let mut bob = Peer::join(node.address(), "blue", "bob").await;
    ada.lose();
    let news = bob.expect("UserUpdated").await;
    assert_eq!((&news["user"]["state"], &news["user"]["role"]), (&json!("suspect"), &json!("moderator")));
    bob.expect_left("ada", "timeout").await;
    bob.expect_updated("bob", "role", "moderator").await;
    bob.expect_nothing().await;
}

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_lost() {
    let node = Node::start(&["--ping-interval-secs=1", "--ping-timeout-secs=3"]);
    let mut bob = Peer::join(node.address(), "blue", "bob").await;
    let mut silent = Raw::join(node.address(), "blue", "ada").await;
    bob.expect("UserJoined").await;
    // Raw sockets answer nothing by themselves; bob's library answers pings while it waits here.
    bob.expect_updated("ada", "state", "suspect").await;
    assert_eq!(silent.ending().await.1, Some((1008, "ping_timeout".to_owned())));
    bob.expect_nothing().await;
}

#[tokio::test]
async fn a_ping_frame_is_answered_with_its_payload() {
    let node = Node::start(&[]);
    let mut peer = Raw::upgrade(node.address()).await;
    peer.write(&frame(0x89, b"are you there")).await;
    assert_eq!(peer.next_frame().await, Some((0x8a, b"are you there".to_vec())));
}

#[tokio::test]
async fn who_says_nothing_at_first_is_closed() {
    let node = Node::start(&[]);
    let mut peer = Peer::connect(node.address()).await;
    peer.expect_close(1008, "hello_timeout").await;
}
