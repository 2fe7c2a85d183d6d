//! Bad input: each kind is answered by its code, nothing has changed by it, and nobody else notices.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod connections;
mod cost;
mod fragments;
mod frames;
mod recorder;
mod resumes;

use std::net::SocketAddr;

use serde_json::{Value, json};

use self::support::{Node, Peer, roster};

/// A healthy pair in the room `blue`, which must never notice anything.
struct Pair {
    address: SocketAddr,
    ada: Peer,
    bob: Peer,
    before: Value,
    said: u32,
}

impl Pair {
    async fn join(address: SocketAddr) -> Self {
        let mut ada = Peer::join(address, "blue", "ada").await;
        let bob = Peer::join(address, "blue", "bob").await;
        ada.expect("UserJoined").await;
        let before = roster(address, "blue").await;
        Self { address, ada, bob, before, said: 0 }
    }

    /// They still exchange messages, have heard nothing else, and their room is what it was.
    async fn unharmed(&mut self, by: &str) {
        self.said += 1;
        say(&mut self.ada, &mut self.bob, self.said, by).await;
        say(&mut self.bob, &mut self.ada, self.said, by).await;
        assert_eq!(roster(self.address, "blue").await, self.before, "after {by}");
    }
}

async fn say(from: &mut Peer, to: &mut Peer, number: u32, by: &str) {
    from.send(json!({ "type": "Message", "data": number, "id": number })).await;
    from.expect_accepted(number).await;
    let heard = to.expect("Message").await;
    assert_eq!(
        (&heard["from_user_id"], &heard["data"]),
        (&json!(from.user_id()), &json!(number)),
        "after {by}"
    );
}

/// A node with the healthy pair. The node is last, so that it is stopped last.
struct Stage {
    pair: Pair,
    node: Node,
}

impl Stage {
    async fn set() -> Self {
        // The pair speaks after each of many bad things.
        let node = Node::start(&["--messages-per-sec=1000", "--messages-burst=1000"]);
        Self { pair: Pair::join(node.address()).await, node }
    }

    fn address(&self) -> SocketAddr {
        self.node.address()
    }

    async fn unharmed(&mut self, by: &str) {
        self.pair.unharmed(by).await;
    }
}
