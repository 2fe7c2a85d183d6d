//! Signals and messages: passed on unread, to the right one, in order.

use serde_json::{Value, json};

use crate::support::{Node, Peer};

async fn pair(node: &Node) -> (Peer, Peer) {
    let mut ada = Peer::join(node.address(), "blue", "ada").await;
    let bob = Peer::join(node.address(), "blue", "bob").await;
    ada.expect("UserJoined").await;
    (ada, bob)
}

#[tokio::test]
async fn the_four_messages_reach_their_target_with_all_they_hold() {
    let node = Node::start(&[]);
    let (mut ada, mut bob) = pair(&node).await;
    let mut carol = Peer::join(node.address(), "blue", "carol").await;
    ada.expect("UserJoined").await;
    bob.expect("UserJoined").await;
    let candidate = json!({ "candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdpMLineIndex": 0 });
    for (kind, field, payload) in [
        ("Offer", "sdp", json!("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n")),
        ("Answer", "sdp", json!({ "type": "answer", "sdp": "v=0" })),
        ("IceCandidate", "candidate", candidate),
        ("IceCandidate", "candidate", Value::Null),
        ("Message", "data", json!([1, "two", { "three": null }])),
    ] {
        let mut signal = json!({ "type": kind, "target_user_id": "bob", "room_name": "blue", "id": kind });
        signal[field] = payload.clone();
        ada.send(signal).await;
        ada.expect_accepted(kind).await;
        let got = bob.expect(kind).await;
        assert_eq!(
            (&got["room_name"], &got["from_user_id"], &got[field]),
            (&json!("blue"), &json!("ada"), &payload)
        );
    }
    carol.expect_nothing().await;
}

#[tokio::test]
async fn a_message_without_target_goes_to_everyone_else() {
    let node = Node::start(&[]);
    let (mut ada, mut bob) = pair(&node).await;
    let mut carol = Peer::join(node.address(), "blue", "carol").await;
    ada.expect("UserJoined").await;
    bob.expect("UserJoined").await;
    ada.send(json!({ "type": "Message", "data": { "text": "hello" } })).await;
    for peer in [&mut bob, &mut carol] {
        assert_eq!(peer.expect("Message").await["data"], json!({ "text": "hello" }));
    }
    ada.expect_nothing().await;
}

#[tokio::test]
async fn a_payload_is_passed_on_byte_for_byte() {
    let node = Node::start(&[]);
    let (mut ada, mut bob) = pair(&node).await;
    // A duplicate key, spaces and escapes: whoever parses and writes it again loses these.
    let data = r#"{"b" : 1.000,  "a":"\u0041\/<b>","b":9007199254740993}"#;
    ada.send_text(format!(r#"{{"data":{data},"type":"Message"}}"#)).await;
    let text = bob.next_text().await;
    assert!(text.contains(&format!(r#""data":{data}"#)), "{text}");
}

#[tokio::test]
async fn ids_come_back_as_they_were_sent() {
    let node = Node::start(&[]);
    let mut ada = Peer::join(node.address(), "blue", "ada").await;
    for id in [
        json!("m-1"),
        json!(7),
        json!(-7),
        json!(u64::MAX),
        json!(""),
        json!("x".repeat(64)),
        json!("\u{1f600}"),
    ] {
        ada.send(json!({ "type": "Message", "data": 0, "id": id })).await;
        assert_eq!(ada.expect("Accepted").await["id"], id);
        ada.send(json!({ "type": "Ping", "id": id })).await;
        assert_eq!(ada.expect("Pong").await["id"], id);
        ada.send(json!({ "type": "Offer", "target_user_id": "ghost", "sdp": "", "id": id })).await;
        assert_eq!(ada.expect_error("peer_unreachable").await["id"], id);
    }
    ada.send(json!({ "type": "Ping" })).await;
    assert!(ada.expect("Pong").await.get("id").is_none());
    // Without an id, only what goes wrong is answered.
    ada.send(json!({ "type": "Message", "data": 0 })).await;
    ada.expect_nothing().await;
}

#[tokio::test]
async fn each_pair_keeps_its_order() {
    const CANDIDATES: u64 = 1000;
    const AT_ONCE: u64 = 50;
    const BATCHES: u64 = CANDIDATES / AT_ONCE;
    let node = Node::start(&["--messages-per-sec=100000", "--messages-burst=100000"]);
    let (mut ada, mut bob) = pair(&node).await;
    for first in (0..BATCHES).map(|batch| batch * AT_ONCE) {
        for number in first..first + AT_ONCE {
            for (from, to) in [(&mut ada, "bob"), (&mut bob, "ada")] {
                from.send(
                    json!({ "type": "IceCandidate", "target_user_id": to, "candidate": { "n": number } }),
                )
                .await;
                if number % 3 == 0 {
                    from.send(json!({ "type": "Message", "data": number })).await;
                }
            }
        }
        for number in first..first + AT_ONCE {
            for to in [&mut ada, &mut bob] {
                assert_eq!(to.expect("IceCandidate").await["candidate"]["n"], number);
                if number % 3 == 0 {
                    assert_eq!(to.expect("Message").await["data"], number);
                }
            }
        }
    }
    ada.expect_nothing().await;
    bob.expect_nothing().await;
}

#[tokio::test]
async fn metadata_is_merged_and_the_others_are_told() {
    let node = Node::start(&[]);
    let (mut ada, mut bob) = pair(&node).await;
    bob.send(json!({ "type": "Update", "metadata": { "audio": true, "screen": { "id": 1 } }, "id": 1 }))
        .await;
    bob.expect_accepted(1).await;
    ada.expect_updated("bob", "metadata", json!({ "audio": true, "screen": { "id": 1 } })).await;
    bob.send(
        json!({ "type": "Update", "metadata": { "audio": false, "screen": null, "never": null }, "id": 2 }),
    )
    .await;
    bob.expect_accepted(2).await;
    ada.expect_updated("bob", "metadata", json!({ "audio": false })).await;
    // What changes nothing is taken and told to nobody.
    bob.send(json!({ "type": "Update", "metadata": { "audio": false }, "id": 3 })).await;
    bob.expect_accepted(3).await;
    ada.expect_nothing().await;

    let carol = Peer::join(node.address(), "blue", "carol").await;
    assert_eq!(carol.welcome["participants"][1]["metadata"], json!({ "audio": false }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_greet_a_newcomer_at_once_reach_it() {
    const OTHERS: usize = 60;
    const EACH: u64 = 60;
    let node = Node::start(&[]);
    let mut peers = Vec::new();
    for number in 0..OTHERS {
        peers.push(Peer::join(node.address(), "blue", &format!("p{number}")).await);
    }
    for (number, peer) in peers.iter_mut().enumerate() {
        for _ in number + 1..OTHERS {
            peer.expect("UserJoined").await;
        }
    }
    let mut newcomer = Peer::join(node.address(), "blue", "newcomer").await;
    let greeting = peers.iter_mut().map(|peer| async {
        peer.expect("UserJoined").await;
        for number in 0..EACH {
            let candidate =
                json!({ "candidate": "candidate:1 1 udp 2122260223 192.0.2.1 50000 typ host", "n": number });
            peer.send(
                json!({ "type": "IceCandidate", "target_user_id": "newcomer", "candidate": candidate }),
            )
            .await;
        }
    });
    let reading = async {
        let mut next = std::collections::BTreeMap::new();
        for _ in 0..OTHERS as u64 * EACH {
            let heard = newcomer.expect("IceCandidate").await;
            let expected = next.entry(heard["from_user_id"].to_string()).or_insert(0);
            assert_eq!(heard["candidate"]["n"], *expected);
            *expected += 1;
        }
    };
    tokio::join!(futures_util::future::join_all(greeting), reading);
}
