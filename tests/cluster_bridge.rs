//! The bridge between nodes and rooms, with a bus and a room manager that do as they are told: nothing that it has taken from
//! the bus is lost while the room manager has no room, and it takes nothing that has no place. Hints pass it as they are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

use actix::{Actor, Addr, Arbiter, Context, Handler, Recipient, System};
use greenroom::{
    actors::{
        cluster_bridge::{BridgeLinks, ClusterBridge, WORDS, Word},
        messages::{HintNode, Hinted, PostRooms},
    },
    adapters::{
        clock::Clock,
        memory::MemoryRegistry,
        ports::{
            Bus, BusError, BusLink, BusNews, ClusterPorts, Leases, PortFuture, RegistryError, StoreState,
        },
    },
    domain::{
        cluster::{Beat, ClusterConfig, IndexEntry, Mine, Mode, Peer, Renewal},
        rooms::RoomInput,
    },
    metrics::Metrics,
    protocol::{
        Incarnation, NodeId, NodeRef, RecordId, RoomName, SessionId,
        cluster::{Event, Frame, FrameBody, Hint, Inbox, NodeMessage},
    },
};
use support::eventually;
use tokio::sync::mpsc;

/// Frames that the other node sends.
const FRAMES: u64 = 500;
/// What the bridge may have taken while the room manager takes nothing: what it takes at once, and a mailbox.
const TAKEN_MAX: u64 = 128;

fn node(name: &str) -> NodeRef {
    NodeRef { id: NodeId::parse(name).expect("a name"), incarnation: Incarnation(1) }
}

/// A store that always answers.
struct Always;

impl Leases for Always {
    fn beat(&self, _: &NodeRef, renewal: Renewal, _: Duration) -> PortFuture<Result<Beat, RegistryError>> {
        let mine = if renewal == Renewal::Again { Mine::Until(1) } else { Mine::Absent };
        let peers = vec![Peer { node: node("b"), ends_ms: 1, left: Duration::from_secs(60) }];
        let beat = Beat { mine, ends_ms: 1, peers, epoch: "one".to_owned() };
        Box::pin(async { Ok(beat) })
    }

    fn remove(&self, _: &NodeRef) -> PortFuture<Result<(), RegistryError>> {
        Box::pin(async { Ok(()) })
    }

    fn claim_reaping(
        &self,
        _: &NodeRef,
        _: &NodeRef,
        _: Duration,
    ) -> PortFuture<Result<bool, RegistryError>> {
        Box::pin(async { Ok(false) })
    }

    fn index(&self, _: &NodeId) -> PortFuture<Result<Vec<IndexEntry>, RegistryError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn unindex(&self, _: &NodeRef, _: Vec<SessionId>) -> PortFuture<Result<(), RegistryError>> {
        Box::pin(async { Ok(()) })
    }

    fn granted(&self, _: &NodeRef, _: Instant) {}

    fn state(&self) -> StoreState {
        StoreState::Closed
    }
}

/// A bus whose messages the test writes and reads.
struct Scripted {
    news: Mutex<Option<mpsc::Receiver<BusNews>>>,
    published: Mutex<Vec<(NodeId, Inbox)>>,
}

impl Scripted {
    /// How far the other node's messages were acknowledged.
    fn acknowledged(&self) -> u64 {
        let published = self.published.lock().expect("whole");
        let acks = published.iter().filter_map(|(_, message)| match message {
            Inbox::Frame(frame) => frame.ack.map(|ack| ack.seq),
            Inbox::Probe { .. } | Inbox::Hint(_) => None,
        });
        acks.max().unwrap_or(0)
    }

    fn probes(&self) -> usize {
        let published = self.published.lock().expect("whole");
        published.iter().filter(|(_, message)| matches!(message, Inbox::Probe { .. })).count()
    }
}

impl Bus for Scripted {
    fn listen(&self, _: &NodeId) -> BusLink {
        BusLink { news: self.news.lock().expect("whole").take().expect("called once") }
    }

    fn publish(&self, to: &NodeId, message: &Inbox) -> Result<(), BusError> {
        self.published.lock().expect("whole").push((to.clone(), message.clone()));
        Ok(())
    }

    fn announce(&self, _: &Event) -> Result<(), BusError> {
        Ok(())
    }

    fn rebuild(&self) {}
}

/// A room manager that takes a message only when it is let.
struct Rooms {
    let_go: Receiver<()>,
    taken: Sender<RoomInput>,
}

impl Actor for Rooms {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(4);
    }
}

impl Handler<PostRooms> for Rooms {
    type Result = ();

    fn handle(&mut self, message: PostRooms, _: &mut Self::Context) {
        // Once the test lets go for good, nothing is waited for.
        let _ = self.let_go.recv();
        let _ = self.taken.send(message.input);
    }
}

fn frame(seq: u64) -> BusNews {
    let room = RoomName::parse(&format!("room-{seq}")).expect("a name");
    let message = Box::new(NodeMessage::Locked {
        room,
        lock: greenroom::protocol::cluster::RoomLock { locked: true, version: 1 },
    });
    let body = FrameBody::Data { seq, message };
    let frame = Frame { from: node("b"), to: Incarnation(1), stream: 1, ack: None, body };
    BusNews::Message(Box::new(Inbox::Frame(Box::new(frame))))
}

/// Hears what other nodes let this one know.
struct Follower(Sender<Hint>);

impl Actor for Follower {
    type Context = Context<Self>;
}

impl Handler<Hinted> for Follower {
    type Result = ();

    fn handle(&mut self, Hinted(hint): Hinted, _: &mut Self::Context) {
        let _ = self.0.send(hint);
    }
}

fn links(rooms: Recipient<PostRooms>, hinted: Sender<Hint>) -> BridgeLinks {
    BridgeLinks { rooms, hints: Follower(hinted).start().recipient() }
}

/// Starts the bridge of node `a` on this bus; what it says comes by the receiver.
fn begin(bus: Arc<Scripted>, links: BridgeLinks) -> (Addr<ClusterBridge>, mpsc::Receiver<Word>) {
    let clock = Clock::start();
    let registry = Arc::new(MemoryRegistry::new(clock));
    let ports = ClusterPorts { leases: Arc::new(Always), bus, registry };
    let times = (Duration::from_secs(8), Duration::from_secs(10));
    let config = ClusterConfig { node: node("a"), lease: times.0, grace: times.1 };
    let (words, said) = mpsc::channel(WORDS);
    let metrics = Metrics::new().expect("valid");
    (ClusterBridge::new(config, ports, links, words, clock, metrics).start(), said)
}

#[test]
fn what_was_taken_from_the_bus_reaches_the_rooms_once_and_in_order_however_late() {
    System::new().block_on(async {
        let (tell, news) = mpsc::channel(4096);
        let bus = Arc::new(Scripted { news: Mutex::new(Some(news)), published: Mutex::default() });
        let ((allow, let_go), (taken, heard)) = (channel(), channel());
        let arbiter = Arbiter::new();
        let rooms = Rooms::start_in_arbiter(&arbiter.handle(), |_| Rooms { let_go, taken });
        let (hinted, _hints) = channel();
        let links = links(rooms.recipient(), hinted);
        let (_bridge, mut said) = begin(bus.clone(), links);
        assert_eq!(said.recv().await, Some(Word::Began(Mode::Serving)));

        for seq in 1..=FRAMES {
            tell.try_send(frame(seq)).expect("the bus has room");
        }
        let taken_by_bridge = || FRAMES - u64::try_from(tell.max_capacity() - tell.capacity()).expect("few");
        eventually("the bridge takes what it can", async || (taken_by_bridge() > 0).then_some(())).await;
        // It goes on with its other work, which is time enough to take more.
        let before = bus.probes();
        eventually("the next probe", async || (bus.probes() > before).then_some(())).await;
        assert!(taken_by_bridge() <= TAKEN_MAX, "{} were taken", taken_by_bridge());
        assert!(bus.acknowledged() <= TAKEN_MAX, "{} were acknowledged", bus.acknowledged());

        drop(allow);
        let mut next = 1;
        while next <= FRAMES {
            let come = eventually("the next message", async || heard.try_recv().ok()).await;
            if let RoomInput::Node { message, .. } = come {
                let NodeMessage::Locked { room, .. } = *message else { panic!("{message:?}") };
                assert_eq!(room.as_str(), format!("room-{next}"));
                next += 1;
            }
        }
        eventually("all are acknowledged", async || (bus.acknowledged() == FRAMES).then_some(())).await;
        arbiter.stop();
    });
}

#[test]
fn a_hint_goes_to_the_node_that_it_is_for_and_to_whoever_follows_recordings_there() {
    System::new().block_on(async {
        let (tell, news) = mpsc::channel(16);
        let bus = Arc::new(Scripted { news: Mutex::new(Some(news)), published: Mutex::default() });
        // The rooms take whatever comes, and hear nothing of it.
        let ((allow, let_go), (taken, told_rooms)) = (channel(), channel());
        drop(allow);
        let (hinted, hints) = channel();
        let links = links(Rooms { let_go, taken }.start().recipient(), hinted);
        let (bridge, mut said) = begin(bus.clone(), links);
        assert_eq!(said.recv().await, Some(Word::Began(Mode::Serving)));

        let hint = |id: &str| Hint::Stopped { record_id: RecordId::parse(id).expect("a name") };
        bridge.send(HintNode { to: node("b").id, hint: hint("there") }).await.expect("it lives");
        let sent = (node("b").id, Inbox::Hint(hint("there")));
        assert!(bus.published.lock().expect("whole").contains(&sent));

        tell.try_send(BusNews::Unreadable).expect("the bus has room");
        tell.try_send(BusNews::Message(Box::new(Inbox::Hint(hint("here"))))).expect("the bus has room");
        let come = eventually("the hint", async || hints.try_recv().ok()).await;
        assert_eq!(come, hint("here"));
        let of_nodes = |input: &RoomInput| matches!(input, RoomInput::Node { .. });
        assert!(!told_rooms.try_iter().any(|input| of_nodes(&input)));
    });
}
