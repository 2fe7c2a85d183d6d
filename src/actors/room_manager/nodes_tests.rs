//! What is done while the cluster bridge's mailbox is full.

use std::{
    sync::mpsc::{self, Receiver, Sender},
    time::Duration,
};

use actix::{Actor, Arbiter, Context, Handler, System};

use super::*;
use crate::protocol::{Incarnation, NodeId, RoomName};

/// Longest that a message may take through a mailbox.
const DEADLINE: Duration = Duration::from_secs(10);

/// A bridge that is done with a message only when it is let.
struct Bridge {
    begun: Sender<()>,
    let_go: Receiver<()>,
    taken: Sender<(String, NodeMessage)>,
}

impl Actor for Bridge {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(1);
    }
}

impl Handler<SendToNode> for Bridge {
    type Result = ();

    fn handle(&mut self, message: SendToNode, _: &mut Self::Context) {
        // Its own thread waits, as a bridge with too much to do would; an error is a test that has ended.
        let _ = self.begun.send(());
        let _ = self.let_go.recv();
        let _ = self.taken.send((message.to.id.to_string(), *message.message));
    }
}

impl Handler<StoreFailed> for Bridge {
    type Result = ();

    fn handle(&mut self, _: StoreFailed, _: &mut Self::Context) {}
}

fn node(name: &str) -> NodeRef {
    NodeRef { id: NodeId::parse(name).expect("a name"), incarnation: Incarnation(1) }
}

fn locked(locked: bool) -> Box<NodeMessage> {
    Box::new(NodeMessage::Locked {
        room: RoomName::parse("blue").expect("a name"),
        lock: crate::protocol::cluster::RoomLock { locked, version: 1 },
    })
}

#[test]
fn a_node_for_which_something_found_no_room_gets_nothing_until_it_was_told_to_sync() {
    System::new().block_on(async {
        let ((begun, begins), (allow, let_go), (taken, heard)) =
            (mpsc::channel(), mpsc::channel(), mpsc::channel());
        let arbiter = Arbiter::new();
        let bridge = Bridge::start_in_arbiter(&arbiter.handle(), |_| Bridge { begun, let_go, taken });
        let (send, store_failed) = (bridge.clone().recipient(), bridge.recipient());
        let mut nodes = Nodes::new(ClusterLink { send, store_failed });
        let metrics = Metrics::new().expect("valid");
        let next = || {
            begins.recv_timeout(DEADLINE).expect("a message comes");
            allow.send(()).expect("the bridge waits");
            heard.recv().expect("the bridge is done")
        };

        nodes.send(node("b"), locked(true), &metrics).expect("there is room");
        begins.recv().expect("the bridge is at work, and empties its mailbox no further");
        let mut waiting = 0;
        let refused = loop {
            match nodes.send(node("b"), locked(true), &metrics) {
                Ok(()) => waiting += 1,
                Err(refused) => break refused,
            }
            assert!(waiting < 100, "the mailbox has a bound");
        };
        assert_eq!(refused, (node("b"), locked(true)), "it comes back whole");
        assert!(nodes.send(node("b"), locked(false), &metrics).is_err(), "and what follows too");

        allow.send(()).expect("the bridge waits");
        heard.recv().expect("the bridge is done");
        for _ in 0..waiting {
            assert_eq!(next().1, *locked(true));
        }
        nodes.mend(&metrics);
        assert_eq!(next(), ("b".to_owned(), NodeMessage::Resync), "first of all");
        nodes.send(node("b"), locked(false), &metrics).expect("there is room again");
        assert_eq!(next(), ("b".to_owned(), *locked(false)));
        drop(allow);
        arbiter.stop();
    });
}
