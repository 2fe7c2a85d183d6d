//! Nodes around a model of the shared store and of the bus, in virtual time. Everything is answered at once, unless it is
//! away; what a node does about its rooms is noted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;
use crate::{
    domain::{
        clock::Now,
        membership::{RoomLock, RoomRecord},
    },
    protocol::{Incarnation, limits},
};

pub const LEASE: Duration = Duration::from_secs(8);
pub const GRACE: Duration = Duration::from_secs(10);
pub const SECOND: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(10);

pub fn node(id: &str, incarnation: u64) -> NodeRef {
    NodeRef { id: NodeId::parse(id).expect("valid"), incarnation: Incarnation(incarnation) }
}

/// The first lives of these nodes.
pub fn all(ids: &[&str]) -> BTreeSet<NodeRef> {
    ids.iter().map(|id| node(id, 1)).collect()
}

/// Something to send.
pub fn news() -> NodeMessage {
    NodeMessage::Locked {
        room: RoomName::parse("blue").expect("valid"),
        lock: RoomLock { locked: true, version: 1 },
    }
}

/// The model of Redis.
#[derive(Clone)]
pub struct Store {
    pub now_ms: u64,
    pub leases: BTreeMap<NodeRef, u64>,
    pub claims: BTreeMap<NodeId, u64>,
    pub index: Vec<IndexEntry>,
    pub rooms: BTreeMap<RoomName, RoomRecord>,
    pub epoch: String,
}

impl Store {
    fn new() -> Self {
        let (leases, claims, rooms) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { now_ms: 5_000_000, leases, claims, index: Vec::new(), rooms, epoch: "one".into() }
    }

    pub fn empty(&mut self) {
        *self = Self { now_ms: self.now_ms, epoch: format!("{} more", self.epoch), ..Self::new() };
    }

    fn beat(&mut self, node: &NodeRef, renewal: Renewal) -> Beat {
        let mine = match self.leases.get(node) {
            None => Mine::Absent,
            Some(ends) if *ends <= self.now_ms => Mine::RunOut,
            Some(ends) => Mine::Until(*ends),
        };
        let written = match renewal {
            Renewal::Look => false,
            Renewal::First => true,
            Renewal::Again => matches!(mine, Mine::Until(_)),
        };
        if written {
            self.leases.insert(node.clone(), self.now_ms + ms(LEASE));
        }
        let others = self.leases.iter().filter(|(peer, _)| *peer != node);
        let peers = others.map(|(node, ends)| Peer {
            node: node.clone(),
            ends_ms: *ends,
            left: Duration::from_millis(ends.saturating_sub(self.now_ms)),
        });
        let ends_ms = self.leases.get(node).copied().unwrap_or(0);
        Beat { mine, ends_ms, peers: peers.collect(), epoch: self.epoch.clone() }
    }

    fn claim(&mut self, dead: &NodeId) -> bool {
        let free = self.claims.get(dead).is_none_or(|until| *until <= self.now_ms);
        if free {
            self.claims.insert(dead.clone(), self.now_ms + ms(limits::REAPER_TERM));
        }
        free
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).expect("short")
}

/// How a node reaches the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    All,
    /// The store gives no answer, and the bus none of its news.
    Nothing,
    /// It stands still; what comes is lost.
    Frozen,
    /// The store never answers, not even to say so.
    Hung,
    /// Nothing that is published comes to it.
    Deaf,
    /// The process is gone.
    Dead,
}

pub struct Node {
    pub cluster: Cluster,
    pub reach: Reach,
    pub rooms: Vec<RoomInput>,
    pub facts: Vec<ClusterFact>,
    pub lease: Option<(NodeRef, Duration)>,
    pub started: usize,
    pub rivals: Vec<NodeRef>,
    pub rebuilt: usize,
    pub beats: Vec<(Duration, Renewal)>,
    pub announced: Vec<Event>,
    /// What it has published to others.
    pub frames: usize,
    outstanding: usize,
    behind_ms: u64,
}

impl Node {
    pub fn live(&self) -> BTreeSet<NodeRef> {
        let told = self.rooms.iter().rev().find_map(|input| match input {
            RoomInput::NodesLive(live) => Some(live.clone()),
            _ => None,
        });
        told.unwrap_or_default()
    }

    /// `amnesty` of each time that everything was asserted anew, with the life.
    pub fn reasserted(&self) -> Vec<(NodeRef, bool)> {
        let asserted = self.rooms.iter().filter_map(|input| match input {
            RoomInput::Reassert { node, amnesty } => Some((node.clone(), *amnesty)),
            _ => None,
        });
        asserted.collect()
    }

    pub fn reasons(&self) -> Vec<Reason> {
        let reasons = self.facts.iter().filter_map(|fact| match fact {
            ClusterFact::Reasserted(reason) => Some(*reason),
            _ => None,
        });
        reasons.collect()
    }

    pub fn isolated(&self) -> Vec<bool> {
        let told = self.rooms.iter().filter_map(|input| match input {
            RoomInput::Isolated(isolated) => Some(*isolated),
            _ => None,
        });
        told.collect()
    }

    pub fn died(&self) -> Vec<NodeRef> {
        let died = self.facts.iter().filter_map(|fact| match fact {
            ClusterFact::NodeDied(node) => Some(node.clone()),
            _ => None,
        });
        died.collect()
    }

    pub fn heard(&self) -> Vec<(NodeRef, NodeMessage)> {
        let heard = self.rooms.iter().filter_map(|input| match input {
            RoomInput::Node { from, message } => Some((from.clone(), (**message).clone())),
            _ => None,
        });
        heard.collect()
    }

    pub fn undelivered(&self) -> Vec<(NodeRef, usize)> {
        let back = self.rooms.iter().filter_map(|input| match input {
            RoomInput::Undelivered { to, messages } => Some((to.clone(), messages.len())),
            _ => None,
        });
        back.collect()
    }
}

pub struct World {
    pub store: Store,
    pub now: Duration,
    pub nodes: BTreeMap<&'static str, Node>,
}

impl World {
    pub fn new() -> Self {
        // Nodes' clocks do not begin with the world.
        Self { store: Store::new(), now: Duration::from_secs(100), nodes: BTreeMap::new() }
    }

    /// Three nodes that have found each other.
    pub fn of_three() -> Self {
        let mut world = Self::new();
        for id in ["n1", "n2", "n3"] {
            world.start(id, id, 1);
        }
        world.run(LEASE / 2);
        world
    }

    /// Starts a node under a name; `key` is this world's own name for the process.
    pub fn start(&mut self, key: &'static str, id: &str, incarnation: u64) {
        self.start_at(key, node(id, incarnation), Reach::All);
    }

    pub fn start_at(&mut self, key: &'static str, node: NodeRef, reach: Reach) {
        let config = ClusterConfig { node, lease: LEASE, grace: GRACE };
        let node = Node {
            cluster: Cluster::new(config),
            reach,
            rooms: Vec::new(),
            facts: Vec::new(),
            lease: None,
            started: 0,
            rivals: Vec::new(),
            rebuilt: 0,
            beats: Vec::new(),
            announced: Vec::new(),
            frames: 0,
            outstanding: 0,
            behind_ms: 0,
        };
        self.nodes.insert(key, node);
        self.give(key, ClusterInput::Tick);
    }

    pub fn node(&mut self, key: &str) -> &mut Node {
        self.nodes.get_mut(key).expect("started")
    }

    pub fn me(&self, key: &str) -> NodeRef {
        self.nodes[key].cluster.view(self.clock()).node
    }

    pub fn mode(&self, key: &str) -> Mode {
        self.nodes[key].cluster.view(self.clock()).mode
    }

    pub fn send(&mut self, key: &'static str, to: NodeRef, message: NodeMessage) {
        self.give(key, ClusterInput::Send { to, message: Box::new(message) });
    }

    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += STEP;
            self.store.now_ms += ms(STEP);
            if ms(self.now).is_multiple_of(ms(limits::LINK_ACK_DELAY)) {
                let keys: Vec<_> = self.nodes.keys().copied().collect();
                keys.into_iter().for_each(|key| self.give(key, ClusterInput::Tick));
            }
        }
    }

    /// Runs until it is so, and says how long that took.
    pub fn until(&mut self, so: impl Fn(&mut Self) -> bool) -> Duration {
        let since = self.now;
        while !so(self) {
            assert!(self.now < since + Duration::from_secs(60), "it never comes to that");
            self.run(STEP);
        }
        self.now - since
    }

    pub fn clock(&self) -> Now {
        Now { mono: self.now, wall_ms: ms(self.now) }
    }

    /// The clocks of that process.
    fn clock_of(&self, key: &str) -> Now {
        let behind = self.nodes.get(key).map_or(0, |node| node.behind_ms);
        Now { wall_ms: self.clock().wall_ms - behind, ..self.clock() }
    }

    /// Starts a process anew, on a machine whose wall clock is behind.
    pub fn restart(&mut self, key: &'static str, behind_ms: u64) {
        let incarnation = self.clock().wall_ms - behind_ms;
        self.start_at(key, node(key, incarnation), Reach::Frozen);
        let node = self.node(key);
        (node.behind_ms, node.reach) = (behind_ms, Reach::All);
        self.give(key, ClusterInput::Tick);
    }

    pub fn give(&mut self, key: &'static str, input: ClusterInput) {
        let mut queue = VecDeque::from([(key, input)]);
        while let Some((key, input)) = queue.pop_front() {
            let clock = self.clock_of(key);
            let node = self.nodes.get_mut(key).expect("started");
            let mut effects = Vec::new();
            match (node.reach, &input) {
                (Reach::Dead | Reach::Frozen, _) => continue,
                (Reach::Nothing | Reach::Deaf, ClusterInput::Arrived(_) | ClusterInput::Told(_)) => continue,
                _ => node.cluster.handle(clock, input, &mut effects),
            }
            for effect in effects {
                self.perform(key, effect, &mut queue);
            }
        }
    }

    fn perform(
        &mut self,
        key: &'static str,
        effect: ClusterEffect,
        queue: &mut VecDeque<(&'static str, ClusterInput)>,
    ) {
        let now = self.now;
        let reach = self.nodes[key].reach;
        match effect {
            ClusterEffect::Beat { node, renewal } => {
                let here = self.node(key);
                here.beats.push((now, renewal));
                here.outstanding += 1;
                assert!(here.outstanding == 1 || reach == Reach::Hung, "two beats at once");
                if reach != Reach::Hung {
                    here.outstanding = 0;
                    let beat = (reach != Reach::Nothing).then(|| self.store.beat(&node, renewal));
                    queue.push_back((key, ClusterInput::BeatAnswered { asked: now, beat }));
                }
            }
            ClusterEffect::Publish { to, message } if reach != Reach::Nothing => {
                self.node(key).frames += usize::from(matches!(*message, Inbox::Frame(_)));
                let there =
                    self.nodes.iter().filter(|(_, node)| node.cluster.view(self.clock()).node.id == to);
                queue.extend(there.map(|(key, _)| (*key, ClusterInput::Arrived(message.clone()))));
            }
            ClusterEffect::Announce(event) => {
                if reach != Reach::Nothing {
                    queue.extend(self.nodes.keys().map(|key| (*key, ClusterInput::Told(event.clone()))));
                }
                self.node(key).announced.push(event);
            }
            ClusterEffect::Publish { .. } => {}
            ClusterEffect::Rebuild => self.node(key).rebuilt += 1,
            ClusterEffect::Rooms(input) => self.node(key).rooms.push(*input),
            ClusterEffect::Lease { node, until } => {
                assert!(until > now, "a lease that is over");
                self.node(key).lease = Some((node, until));
            }
            ClusterEffect::Started => self.node(key).started += 1,
            ClusterEffect::Rival(rival) => self.node(key).rivals.push(rival),
            ClusterEffect::Count(fact) => self.node(key).facts.push(fact),
            other => self.ask_store(key, reach != Reach::Nothing, other, queue),
        }
    }

    fn ask_store(
        &mut self,
        key: &'static str,
        there: bool,
        effect: ClusterEffect,
        queue: &mut VecDeque<(&'static str, ClusterInput)>,
    ) {
        let answer = match effect {
            ClusterEffect::Claim { dead } => {
                let taken = there.then(|| self.store.claim(&dead.id));
                ClusterInput::Claimed { dead, taken }
            }
            ClusterEffect::ReadIndex { dead } => {
                let of_it = |entry: &&IndexEntry| entry.node.id == dead.id;
                let entries = there.then(|| self.store.index.iter().filter(of_it).cloned().collect());
                ClusterInput::Indexed { dead, entries }
            }
            ClusterEffect::ReapRoom { dead, request } => {
                let room = request.room.clone();
                let now_ms = self.store.now_ms;
                let record = self.store.rooms.entry(room.clone()).or_default();
                let outcome =
                    there.then(|| reaper::RoomReaped { due_in: record.sync(now_ms, *request).due_in });
                ClusterInput::RoomReaped { dead, room, outcome }
            }
            ClusterEffect::Unindex { dead, sessions } => {
                let goes =
                    |entry: &IndexEntry| entry.node.is_up_to(&dead) && sessions.contains(&entry.session);
                self.store.index.retain(|entry| !(there && goes(entry)));
                ClusterInput::Unindexed { dead, done: there }
            }
            ClusterEffect::RemoveLease { node } => {
                if there {
                    self.store.leases.remove(&node);
                }
                ClusterInput::LeaseRemoved { node, removed: there }
            }
            other => panic!("{other:?} is no question"),
        };
        queue.push_back((key, answer));
    }
}
