//! The limits, at their edges.

use serde_json::json;

use crate::support::{Closed, Heard, Node, Peer, Raw, frame};

#[tokio::test]
async fn a_full_room_refuses_until_somebody_leaves() {
    let node = Node::start(&["--room-max-participants=2"]);
    let mut ada = Peer::join(node.address(), "blue", "ada").await;
    let mut bob = Peer::join(node.address(), "blue", "bob").await;
    ada.expect("UserJoined").await;
    let mut carol = Peer::connect(node.address()).await;
    carol.send(json!({ "type": "Join", "room_name": "blue", "user_id": "carol" })).await;
    assert_eq!(carol.expect_error("room_full").await["retryable"], true);
    ada.expect_nothing().await;
    // Who is in may replace itself, and another room has places of its own.
    let _bob_again = Peer::join(node.address(), "blue", "bob").await;
    bob.expect_close(4409, "replaced").await;
    let _elsewhere = Peer::join(node.address(), "green", "carol").await;

    ada.send(json!({ "type": "Leave", "id": 1 })).await;
    ada.expect_accepted(1).await;
    carol.enter(json!({ "room_name": "blue", "user_id": "carol" })).await;
}

#[tokio::test]
async fn a_message_too_many_is_refused_with_the_time_to_wait() {
    const SENT: usize = 30;
    let node = Node::start(&["--messages-per-sec=1", "--messages-burst=20"]);
    let mut bob = Peer::join(node.address(), "blue", "bob").await;
    let mut ada = Peer::join(node.address(), "blue", "ada").await;
    bob.expect("UserJoined").await;
    for number in 0..SENT {
        ada.send(json!({ "type": "Message", "data": number, "id": number })).await;
    }
    let mut taken = Vec::new();
    for _ in 0..SENT {
        let answer = ada.next().await;
        if answer["type"] == "Accepted" {
            taken.push(answer["id"].clone());
            continue;
        }
        assert_eq!(
            (&answer["code"], &answer["retryable"]),
            (&json!("rate_limited"), &json!(true)),
            "{answer}"
        );
        assert!(answer["retry_after_ms"].as_u64().is_some_and(|ms| (1..=1000).contains(&ms)), "{answer}");
    }
    // The join was the first of the burst; a slow machine may have earned a few more.
    assert!((19..SENT).contains(&taken.len()), "{taken:?}");
    for number in taken {
        assert_eq!(bob.expect("Message").await["data"], number);
    }
    bob.expect_nothing().await;
}

#[tokio::test]
async fn who_goes_on_and_on_is_closed() {
    let node = Node::start(&["--messages-per-sec=1", "--messages-burst=3"]);
    let mut ada = Raw::join(node.address(), "blue", "ada").await;
    ada.write(&frame(0x81, br#"{"type":"Message","data":0}"#).repeat(200)).await;
    let (errors, closed) = ada.ending().await;
    assert!(errors.iter().all(|code| code == "rate_limited"), "{errors:?}");
    assert_eq!(closed, Some((4429, "rate_limited".to_owned())));
}

#[tokio::test]
async fn metadata_has_a_bound_also_over_many_updates() {
    let node = Node::start(&[]);
    let mut bob = Peer::join(node.address(), "blue", "bob").await;
    let mut ada = Peer::join(node.address(), "blue", "ada").await;
    bob.expect("UserJoined").await;
    ada.send(json!({ "type": "Update", "metadata": { "a": "x".repeat(3000) }, "id": 1 })).await;
    ada.expect_accepted(1).await;
    bob.expect("UserUpdated").await;
    ada.send(json!({ "type": "Update", "metadata": { "b": "x".repeat(3000) }, "id": 2 })).await;
    assert_eq!(ada.expect_error("too_large").await["id"], 2);
    bob.expect_nothing().await;
    let mut carol = Peer::connect(node.address()).await;
    let large = json!({ "a": "x".repeat(5000) });
    carol.send(json!({ "type": "Join", "room_name": "blue", "user_id": "carol", "metadata": large })).await;
    carol.expect_error("too_large").await;
    bob.expect_nothing().await;
}

#[tokio::test]
async fn the_eleventh_unreadable_message_ends_the_socket() {
    let node = Node::start(&[]);
    let mut ada = Peer::join(node.address(), "blue", "ada").await;
    for _ in 0..10 {
        ada.send_text("{".to_owned()).await;
        ada.expect_error("malformed").await;
    }
    ada.expect_nothing().await;
    ada.send_text("{".to_owned()).await;
    ada.expect_error("malformed_repeatedly").await;
    ada.expect_close(4400, "malformed_repeatedly").await;
}

#[tokio::test]
async fn the_largest_message_passes_and_one_byte_more_does_not() {
    const MOST: usize = 64 * 1024;
    let node = Node::start(&[]);
    let mut bob = Peer::join(node.address(), "blue", "bob").await;
    let mut ada = Peer::join(node.address(), "blue", "ada").await;
    bob.expect("UserJoined").await;
    let around = r#"{"type":"Message","data":""}"#.len();
    let message = |bytes: usize| format!(r#"{{"type":"Message","data":"{}"}}"#, "x".repeat(bytes - around));
    ada.send_text(message(MOST)).await;
    let got = bob.expect("Message").await;
    assert_eq!(got["data"].as_str().map(str::len), Some(MOST - around));
    ada.send_text(message(MOST + 1)).await;
    assert_eq!(end(ada).await, Some((1009, "too_large".to_owned())));
    bob.expect_updated("ada", "state", "suspect").await;
    bob.expect_nothing().await;
}

async fn end(mut peer: Peer) -> Closed {
    match peer.hear().await {
        Heard::Closed(closed) => closed,
        Heard::Message(message) => panic!("the end is expected: {message}"),
    }
}
