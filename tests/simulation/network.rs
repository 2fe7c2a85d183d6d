//! What lies between nodes and Redis: calls and answers, messages and events, with all that can become of them.

use std::{collections::BTreeMap, time::Duration};

use greenroom::{
    domain::cluster::ClusterInput,
    protocol::{
        NodeId,
        cluster::{Event as News, FrameBody, Inbox},
    },
};

use crate::{
    calls::CALL_TIMEOUT,
    node::Input,
    store::{Answer, Op, Sabotage},
    world::{Event, World},
};

/// What the bus carries.
#[derive(Debug, Clone)]
pub enum Carried {
    Message(Box<Inbox>),
    News(News),
}

/// How Redis is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redis {
    Up,
    /// It takes connections and does nothing; what waits is done later.
    Paused,
    /// Nobody listens.
    Away,
}

/// How a node's way to Redis is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Open,
    /// Nothing passes; what was on the way is lost.
    Cut,
    /// Nothing passes; what was sent comes when it is open again.
    Dammed,
}

/// What is out of order at the moment.
pub struct Health {
    pub redis: Redis,
    /// Each node's way to it.
    pub ways: Vec<Way>,
    /// Who hears what is published.
    pub subscribed: Vec<bool>,
    /// Who believes to be subscribed and hears nothing.
    pub zombies: Vec<bool>,
    /// Since when a node hears nothing, that others take for alive.
    deaf: Vec<Option<Duration>>,
    /// In a thousand messages from one node to another, so many are lost.
    pub loss: BTreeMap<(usize, usize), usize>,
    /// The same, delivered twice.
    pub doubling: usize,
    /// Most that a step takes on its way. Unit: µs.
    pub slowness: u64,
    /// When the last message from one node to another arrives: the next does not overtake it.
    lanes: BTreeMap<(usize, usize), Duration>,
    /// What waits for Redis to go on, in order.
    pub waiting: Vec<Event>,
    /// What waits for a node's way to be open, in order.
    pub dammed: Vec<(usize, Event)>,
    /// For [`Sabotage::NoGaps`]: how many numbers were lost of each numbering of each pair, from which number on.
    lost: BTreeMap<(usize, usize, u64), Vec<u64>>,
}

/// The usual.
pub const SWIFT_US: u64 = 3_000;

impl Health {
    pub fn new(nodes: usize) -> Self {
        Self {
            redis: Redis::Up,
            ways: vec![Way::Open; nodes],
            subscribed: vec![false; nodes],
            zombies: vec![false; nodes],
            deaf: vec![None; nodes],
            loss: BTreeMap::new(),
            doubling: 0,
            slowness: SWIFT_US,
            lanes: BTreeMap::new(),
            waiting: Vec::new(),
            dammed: Vec::new(),
            lost: BTreeMap::new(),
        }
    }

    pub fn reaches(&self, node: usize) -> bool {
        self.redis == Redis::Up && self.ways[node] == Way::Open
    }
}

impl World {
    /// A node sends a step of a call.
    pub fn ask(&mut self, node: usize, life: u64, call: u64, op: Op, first: bool) {
        if first {
            let input = Box::new(Input::Overdue { call });
            self.at(self.now + CALL_TIMEOUT, Event::Node { node, life, input });
        }
        let slowness = self.health.slowness;
        let delay = self.delay(200, slowness);
        let event = Event::Store { node, life, call, op: Box::new(op) };
        match (self.health.redis, self.health.ways[node]) {
            (_, Way::Dammed) => self.health.dammed.push((node, event)),
            (_, Way::Cut) => {}
            (Redis::Away, Way::Open) => {
                let input = Box::new(Input::Reply { call, answer: None });
                self.at(self.now + delay, Event::Node { node, life, input });
            }
            (Redis::Up | Redis::Paused, Way::Open) => self.at(self.now + delay, event),
        }
    }

    /// A step reaches the store, is done, and is answered.
    pub fn reach_store(&mut self, node: usize, life: u64, call: u64, op: Op) {
        let answer = match self.health.redis {
            Redis::Paused => {
                let event = Event::Store { node, life, call, op: Box::new(op) };
                return self.health.waiting.push(event);
            }
            Redis::Away => None,
            Redis::Up => Some(self.execute(node, op)),
        };
        // An answer on its way when the connection breaks is lost; the caller waits out its time.
        if self.health.ways[node] == Way::Open {
            let (slowness, input) = (self.health.slowness, Box::new(Input::Reply { call, answer }));
            self.soon(200, slowness, Event::Node { node, life, input });
        }
    }

    fn execute(&mut self, node: usize, op: Op) -> Answer {
        let now_ms = crate::node::EPOCH_MS + u64::try_from(self.now.as_millis()).expect("short");
        let traced =
            self.plan.traced && !matches!(op, Op::Beat { .. } | Op::AddIndex(_) | Op::RemoveIndex(..));
        let asked = traced.then(|| format!("{op:?}"));
        let answer = self.store.run(now_ms, op);
        if let Some(asked) = asked {
            self.say(|| format!("   redis for n{}: {asked} = {answer:?}", node + 1));
        }
        answer
    }

    /// A node publishes to another's inbox, or to its own.
    pub fn publish(&mut self, from: usize, to: &NodeId, message: &Inbox) {
        let Some(to) = self.node_named(to) else { return };
        if !matches!(message, Inbox::Probe { .. }) {
            self.say(|| format!("n{} >> n{}: {message:?}", from + 1, to + 1));
        }
        self.carry(from, to, &Carried::Message(Box::new(message.clone())));
    }

    /// A node publishes to all.
    pub fn announce(&mut self, from: usize, news: &News) {
        self.say(|| format!("n{} >> all: {news:?}", from + 1));
        for to in 0..self.nodes.len() {
            self.carry(from, to, &Carried::News(news.clone()));
        }
    }

    fn carry(&mut self, from: usize, to: usize, carried: &Carried) {
        let loss = self.health.loss.get(&(from, to)).copied().unwrap_or(0);
        if self.per_mille(loss) || self.health.redis == Redis::Away || self.health.ways[from] == Way::Cut {
            return self.note_lost(from, to, carried);
        }
        let doubling = self.health.doubling;
        let copies = if self.per_mille(doubling) { 2 } else { 1 };
        for _ in 0..copies {
            let life = self.nodes[to].lives;
            let event = Event::Bus { to, life, carried: self.renumbered(from, to, carried) };
            if self.health.ways[from] == Way::Dammed {
                self.health.dammed.push((from, event));
                continue;
            }
            let delay = self.delay(200, SWIFT_US);
            let lane = self.health.lanes.entry((from, to)).or_default();
            *lane = (self.now + delay).max(*lane + Duration::from_nanos(1));
            let at = *lane;
            self.at(at, event);
        }
    }

    /// Something comes out of the bus, if its subscriber is there.
    pub fn arrive(&mut self, to: usize, life: u64, carried: Carried) {
        if self.health.redis == Redis::Paused {
            return self.health.waiting.push(Event::Bus { to, life, carried });
        }
        match self.health.ways[to] {
            Way::Dammed => return self.health.dammed.push((to, Event::Bus { to, life, carried })),
            Way::Cut => return self.say(|| format!("n{} is cut off and does not hear", to + 1)),
            Way::Open => {}
        }
        if !self.health.subscribed[to] || self.health.zombies[to] {
            return self.say(|| format!("n{} is not subscribed and does not hear", to + 1));
        }
        let input = match carried {
            Carried::Message(message) => ClusterInput::Arrived(message),
            Carried::News(news) => ClusterInput::Told(news),
        };
        self.input(to, life, Input::Cluster(input));
    }

    /// A subscription is tried until it stands.
    pub fn subscribe(&mut self, node: usize, life: u64) {
        if !self.is_life(node, life) || self.health.subscribed[node] {
            return;
        }
        if !self.health.reaches(node) {
            return self.soon(50_000, 400_000, Event::Subscribe { node, life });
        }
        self.health.subscribed[node] = true;
        self.health.zombies[node] = false;
        self.hears_again(node);
        self.input(node, life, Input::Cluster(ClusterInput::Subscribed));
    }

    /// A subscription breaks, and is made again soon.
    pub fn unsubscribe(&mut self, node: usize, after_us: u64) {
        self.health.subscribed[node] = false;
        self.deafen(node);
        let life = self.nodes[node].lives;
        self.soon(after_us, after_us + 100_000, Event::Subscribe { node, life });
    }

    /// A node hears nothing any more. That is trouble until it does, which is later than what has caused it.
    pub fn deafen(&mut self, node: usize) {
        if self.nodes[node].life.is_some() {
            self.health.deaf[node].get_or_insert(self.now);
        }
    }

    /// It hears again, or has ended.
    pub fn hears_again(&mut self, node: usize) {
        let since = self.health.deaf[node].take();
        self.troubles.extend(since.map(|since| (since, self.now)));
    }

    /// A node makes its connections to the bus anew.
    pub fn rebuild(&mut self, node: usize, life: u64) {
        self.say(|| format!("n{} rebuilds its connections", node + 1));
        if self.is_life(node, life) {
            self.unsubscribe(node, 1_000);
        }
    }

    /// With [`Sabotage::NoGaps`] what is lost leaves no hole in the numbers.
    fn note_lost(&mut self, from: usize, to: usize, carried: &Carried) {
        self.say(|| format!("   lost from n{} to n{}", from + 1, to + 1));
        if self.plan.sabotage != Sabotage::NoGaps {
            return;
        }
        if let Carried::Message(message) = carried
            && let Inbox::Frame(frame) = &**message
            && let FrameBody::Data { seq, .. } = frame.body
        {
            let lost = self.health.lost.entry((from, to, frame.stream)).or_default();
            if !lost.contains(&seq) {
                lost.push(seq);
            }
        }
    }

    /// Numbers, acknowledgements and last numbers as if what was lost had never been sent.
    fn renumbered(&self, from: usize, to: usize, carried: &Carried) -> Carried {
        let mut carried = carried.clone();
        if self.plan.sabotage == Sabotage::NoGaps
            && let Carried::Message(message) = &mut carried
            && let Inbox::Frame(frame) = &mut **message
        {
            let below =
                |numbers: &[u64], number: u64| numbers.iter().filter(|lost| **lost < number).count() as u64;
            let none = Vec::new();
            let lost = self.health.lost.get(&(from, to, frame.stream)).unwrap_or(&none);
            match &mut frame.body {
                FrameBody::Data { seq, .. } => *seq -= below(lost, *seq),
                FrameBody::Tick { last } => *last -= below(lost, *last + 1),
                FrameBody::Nack { .. } => {}
            }
            if let Some(ack) = &mut frame.ack {
                let mut lost = self.health.lost.get(&(to, from, ack.stream)).cloned().unwrap_or_default();
                lost.sort_unstable();
                for number in lost {
                    ack.seq += u64::from(number <= ack.seq + 1);
                }
            }
        }
        carried
    }
}
