//! Taking up a session by another socket.

use greenroom::protocol::limits::RING_MESSAGES_MAX;
use serde_json::{Value, json};

use crate::support::{Node, Peer};

/// Bob, and what Ada remembers of the socket she has just lost.
async fn bob_and_lost_ada(node: &Node) -> (Peer, Value, u64) {
    let mut bob = Peer::join(node.address(), "blue", "bob").await;
    let ada = Peer::join(node.address(), "blue", "ada").await;
    bob.expect("UserJoined").await;
    let (welcome, heard) = ada.lose();
    bob.expect_updated("ada", "state", "suspect").await;
    (bob, welcome, heard)
}

async fn say(peer: &mut Peer, numbers: std::ops::Range<u64>) {
    for number in numbers {
        peer.send(json!({ "type": "Message", "target_user_id": "ada", "data": number })).await;
    }
    peer.expect_nothing().await;
}

#[tokio::test]
async fn what_was_missed_comes_first_in_order_and_then_resumed() {
    let node = Node::start(&[]);
    let (mut bob, welcome, heard) = bob_and_lost_ada(&node).await;
    say(&mut bob, 0..100).await;
    let mut ada = Peer::resume(node.address(), &welcome, heard).await;
    for number in 0..100 {
        assert_eq!(ada.expect("Message").await["data"], number);
    }
    let resumed = ada.expect("Resumed").await;
    assert_eq!(resumed["outcome"], "full");
    assert!(resumed.get("participants").is_none(), "{resumed}");
    bob.expect_updated("ada", "state", "present").await;
    bob.expect_nothing().await;
    // It is the same participant as before, in both directions.
    ada.send(json!({ "type": "Message", "data": "here again" })).await;
    assert_eq!(bob.expect("Message").await["from_user_id"], "ada");
    say(&mut bob, 100..101).await;
    assert_eq!(ada.expect("Message").await["data"], 100);
}

#[tokio::test]
async fn what_was_sent_but_not_heard_is_sent_again() {
    let node = Node::start(&[]);
    let mut bob = Peer::join(node.address(), "blue", "bob").await;
    let mut ada = Peer::join(node.address(), "blue", "ada").await;
    bob.expect("UserJoined").await;
    say(&mut bob, 0..10).await;
    for number in 0..10 {
        assert_eq!(ada.expect("Message").await["data"], number);
    }
    let (welcome, heard) = ada.lose();
    bob.expect_updated("ada", "state", "suspect").await;
    // Its page heard only the first half: the rest was in a buffer that died with it.
    let mut ada = Peer::resume(node.address(), &welcome, heard - 5).await;
    for number in 5..10 {
        assert_eq!(ada.expect("Message").await["data"], number);
    }
    assert_eq!(ada.expect("Resumed").await["outcome"], "full");
}

#[tokio::test]
async fn a_resume_with_an_id_is_accepted_by_that_id() {
    let node = Node::start(&[]);
    let (_bob, welcome, heard) = bob_and_lost_ada(&node).await;
    let mut ada = Peer::expecting(node.address(), heard).await;
    let session = [&welcome["session_id"], &welcome["resume_token"]];
    ada.send(json!({
        "type": "Resume", "session_id": session[0], "resume_token": session[1], "last_seq": heard, "id": "r-1",
    }))
    .await;
    ada.expect("Resumed").await;
    ada.expect_accepted("r-1").await;
}

#[tokio::test]
async fn when_the_ring_overran_there_is_a_snapshot_and_nothing_old() {
    let node =
        Node::start(&["--messages-per-sec=100000", "--messages-burst=100000", "--session-grace-secs=60"]);
    let overrun = u64::try_from(RING_MESSAGES_MAX).expect("a number") + 1;
    let (mut bob, welcome, heard) = bob_and_lost_ada(&node).await;
    say(&mut bob, 0..overrun).await;
    bob.send(json!({ "type": "Update", "metadata": { "hand": "up" } })).await;
    bob.expect_nothing().await;
    let mut ada = Peer::resume(node.address(), &welcome, heard).await;
    let snapshot = ada.expect("Resumed").await;
    assert_eq!(snapshot["outcome"], "snapshot");
    assert_eq!(snapshot["participants"][0]["metadata"], json!({ "hand": "up" }));
    let mut expected = welcome.clone();
    expected["type"] = json!("Resumed");
    expected["outcome"] = json!("snapshot");
    expected["seq"] = snapshot["seq"].clone();
    expected["participants"] = snapshot["participants"].clone();
    assert_eq!(snapshot, expected, "the same fields as RoomJoined");
    assert_eq!(snapshot["seq"], heard + overrun + 2, "numbers are never given twice");
    bob.expect_updated("ada", "state", "present").await;
    say(&mut bob, 7..8).await;
    assert_eq!(ada.expect("Message").await["data"], 7);
}

#[tokio::test]
async fn what_was_acknowledged_is_forgotten_and_the_future_is_not_believed() {
    let node = Node::start(&[]);
    let mut bob = Peer::join(node.address(), "blue", "bob").await;
    let mut ada = Peer::join(node.address(), "blue", "ada").await;
    bob.expect("UserJoined").await;
    say(&mut bob, 0..5).await;
    for _ in 0..5 {
        ada.expect("Message").await;
    }
    let acked = ada.last_seq();
    // Acknowledging what was never said does not lose what comes next.
    ada.send(json!({ "type": "Ack", "seq": acked + 1000 })).await;
    ada.expect_nothing().await;
    say(&mut bob, 5..6).await;
    assert_eq!(ada.expect("Message").await["data"], 5);
    let (welcome, heard) = ada.lose();
    for (last_seq, outcome) in [(heard, "full"), (acked - 2, "snapshot"), (heard + 1000, "snapshot")] {
        // A page that claims to be ahead is told the true number.
        let mut ada = Peer::expecting(node.address(), last_seq.min(heard)).await;
        ada.send(crate::support::resume(&welcome, last_seq)).await;
        let resumed = ada.expect("Resumed").await;
        assert_eq!(resumed["outcome"], outcome, "from {last_seq}");
        assert!(resumed["seq"].as_u64() > Some(heard), "{resumed}");
    }
}

#[tokio::test]
async fn a_resume_takes_over_from_a_socket_that_is_still_open() {
    let node = Node::start(&[]);
    let mut bob = Peer::join(node.address(), "blue", "bob").await;
    let mut old = Peer::join(node.address(), "blue", "ada").await;
    bob.expect("UserJoined").await;
    let mut new = Peer::resume(node.address(), &old.welcome, old.last_seq()).await;
    assert_eq!(new.expect("Resumed").await["outcome"], "full");
    old.expect_close(4409, "replaced").await;
    bob.expect_nothing().await;
    say(&mut bob, 0..1).await;
    new.expect("Message").await;
}

#[tokio::test]
async fn a_session_that_is_over_is_unknown_and_its_owner_may_join() {
    let node = Node::start(&["--session-grace-secs=0"]);
    let (mut bob, welcome, heard) = bob_and_lost_ada(&node).await;
    bob.expect_left("ada", "timeout").await;
    let mut ada = Peer::connect(node.address()).await;
    ada.send(crate::support::resume(&welcome, heard)).await;
    ada.expect_error("session_unknown").await;
    ada.enter(json!({ "room_name": "blue", "user_id": "ada" })).await;
    assert_ne!(ada.welcome["session_id"], welcome["session_id"]);
    bob.expect("UserJoined").await;
}
