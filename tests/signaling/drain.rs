//! A node that goes away says so, to everyone, and ends.

use crate::support::{Node, Peer};

#[tokio::test]
async fn a_stopping_node_tells_everyone_and_closes() {
    let mut node = Node::start(&[]);
    let mut ada = Peer::join(node.address(), "blue", "ada").await;
    let mut bob = Peer::join(node.address(), "green", "bob").await;
    node.begin_stop();
    for peer in [&mut ada, &mut bob] {
        let draining = peer.expect("Draining").await;
        assert!(draining["reconnect_after_ms"].as_u64().is_some_and(|ms| ms <= 2000), "{draining}");
        peer.expect_close(1001, "draining").await;
    }
    node.stopped().await;
}

#[tokio::test]
async fn two_browsers_are_not_told_to_come_back_at_the_same_moment() {
    let mut node = Node::start(&[]);
    let mut peers = Vec::new();
    for number in 0..8 {
        peers.push(Peer::join(node.address(), &format!("room-{number}"), "ada").await);
    }
    node.begin_stop();
    let mut times = std::collections::BTreeSet::new();
    for peer in &mut peers {
        times.insert(peer.expect("Draining").await["reconnect_after_ms"].as_u64());
    }
    assert!(times.len() > 1, "{times:?}");
}
