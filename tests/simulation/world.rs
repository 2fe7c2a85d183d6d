//! The world: virtual time, one queue of events, nodes, the store, the bus, sockets and browsers, and one source of chance.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use greenroom::protocol::{ConnectionId, NodeId, limits::Limits};
use serde_json::Value;

use crate::{
    browser::Browser,
    chance::Chance,
    checker::{History, Truth, check},
    faults::Fault,
    network::{Carried, Health},
    node::{Act, Input, Node, State, TICK},
    sockets::Socket,
    store::{Op, Sabotage, Store},
    trace,
};

/// What is going to happen.
#[derive(Debug)]
pub enum Event {
    /// A node looks at its deadlines.
    Tick { node: usize, life: u64 },
    /// Something reaches a process.
    Node { node: usize, life: u64, input: Box<Input> },
    /// A step of a call reaches the store.
    Store { node: usize, life: u64, call: u64, op: Box<Op> },
    /// Something comes by the bus.
    Bus { to: usize, life: u64, carried: Carried },
    /// A node's subscription is made.
    Subscribe { node: usize, life: u64 },
    /// A browser's message reaches its node.
    Up { socket: ConnectionId, message: Value },
    /// A node's message reaches its browser.
    Down { socket: ConnectionId, text: String },
    /// The end of a socket reaches its browser.
    Hangup { socket: ConnectionId, code: Option<u16> },
    /// A `Join` or `Resume` was not answered in time.
    Unanswered { socket: ConnectionId },
    /// A browser does the next thing.
    Browser { browser: usize },
    /// Something goes wrong.
    Fault(Fault),
    /// Something that went wrong is over.
    Heal(Fault),
    /// A node is started.
    Start { node: usize },
    /// The replica of Redis catches up.
    Replicate,
}

/// How a run is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plan {
    pub seed: u64,
    pub sabotage: Sabotage,
    /// Whether everything is printed.
    pub traced: bool,
}

/// Everything.
pub struct World {
    pub plan: Plan,
    pub now: Duration,
    queue: BTreeMap<(Duration, u64), Event>,
    ordered: u64,
    pub chance: Chance,
    pub store: Store,
    pub health: Health,
    pub nodes: Vec<Node>,
    pub sockets: BTreeMap<ConnectionId, Socket>,
    pub browsers: Vec<Browser>,
    pub limits: Limits,
    pub lease: Duration,
    /// Browsers only come back, and nothing goes wrong any more.
    pub quiet: bool,
    pub troubles: Vec<(Duration, Duration)>,
    /// What the world itself has found wrong.
    pub wrong: Vec<String>,
}

/// Each run is so many rounds of trouble, quiet and judgement.
const ROUNDS: usize = 4;
/// How long all is quiet in a round: longer than a lease, a grace and everything that waits.
const QUIET: Duration = Duration::from_secs(32);
/// How long the relays at the end of a round may take: longer than one that came before its turn is kept.
const LAST_CALL: Duration = Duration::from_secs(10);
const LEASE: Duration = Duration::from_secs(8);
const GRACE: Duration = Duration::from_secs(10);

impl World {
    /// A world in which nothing has happened yet.
    pub fn new(plan: Plan) -> Self {
        let mut chance = Chance(plan.seed);
        let nodes = 3 + chance.below(5);
        let browsers = 3 + chance.below(5);
        let limits = Limits {
            session_grace: GRACE,
            kick_ban: Duration::from_secs(4),
            room_participants_max: *chance.pick(&[3, 4, 100]),
            ..Limits::default()
        };
        let mut world = Self {
            plan,
            now: Duration::ZERO,
            queue: BTreeMap::new(),
            ordered: 0,
            store: Store::new(plan.sabotage),
            health: Health::new(nodes),
            nodes: Vec::new(),
            sockets: BTreeMap::new(),
            browsers: Vec::new(),
            limits,
            lease: LEASE,
            quiet: false,
            troubles: Vec::new(),
            wrong: Vec::new(),
            chance,
        };
        for number in 1..=nodes {
            world.add_node(number);
        }
        world.add_browsers(browsers);
        world
    }

    fn add_node(&mut self, number: usize) {
        let id = NodeId::parse(&format!("n{number}")).expect("valid");
        let skew_ms = skew_ms(&mut self.chance);
        self.nodes.push(Node::new(id, skew_ms, self.plan.traced));
        self.soon(0, 200_000, Event::Start { node: number - 1 });
    }

    /// Lets everything happen, and says what was wrong at the end of the first round in which something was.
    pub fn run(mut self) -> Vec<String> {
        for _ in 0..ROUNDS {
            let wrong = self.round();
            if !wrong.is_empty() {
                return wrong;
            }
        }
        Vec::new()
    }

    /// Lets trouble and quiet follow each other, and says what is wrong then.
    pub fn round(&mut self) -> Vec<String> {
        self.quiet = false;
        self.replicate();
        let lasts = self.delay(5_000_000, 20_000_000);
        self.plan_faults(lasts);
        self.until(self.now + lasts);
        self.quiet = true;
        self.heal_all();
        self.until(self.now + QUIET);
        self.last_call();
        self.until(self.now + LAST_CALL);
        self.judge()
    }

    fn until(&mut self, end: Duration) {
        while let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= end
        {
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.happen(event);
        }
        self.now = end;
    }

    fn judge(&mut self) -> Vec<String> {
        let mut truth = Truth {
            live: self.live(),
            participants_max: self.limits.room_participants_max,
            troubles: self.troubles.clone(),
            grace: self.limits.session_grace,
            ..Truth::default()
        };
        self.store.describe(&mut truth);
        self.shut_out();
        let histories: Vec<History> = self.browsers.iter().map(|browser| browser.history.clone()).collect();
        let mut wrong = std::mem::take(&mut self.wrong);
        wrong.extend(check(&histories, &truth));
        wrong
    }

    fn live(&self) -> BTreeSet<String> {
        let lives = self.nodes.iter().filter_map(|node| node.life.as_ref());
        lives.map(|life| life.me.to_string()).collect()
    }

    /// Plans an event.
    pub fn at(&mut self, at: Duration, event: Event) {
        self.ordered += 1;
        self.queue.insert((at, self.ordered), event);
    }

    /// Plans an event in between so and so many microseconds.
    pub fn soon(&mut self, from_us: u64, until_us: u64, event: Event) {
        let delay = self.delay(from_us, until_us);
        self.at(self.now + delay, event);
    }

    /// A time between so and so many microseconds.
    pub fn delay(&mut self, from_us: u64, until_us: u64) -> Duration {
        let span = usize::try_from(until_us - from_us + 1).expect("short");
        Duration::from_micros(from_us + self.chance.below(span) as u64)
    }

    /// Whether something is true so many times in a thousand.
    pub fn per_mille(&mut self, times: usize) -> bool {
        self.chance.below(1000) < times
    }

    /// Prints, if this run is traced.
    #[expect(clippy::print_stdout, reason = "this is what a trace is")]
    pub fn say(&self, line: impl FnOnce() -> String) {
        if self.plan.traced {
            println!("{:9.4}s  {}", self.now.as_secs_f64(), trace::short(&line()));
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick { node, life } => self.tick(node, life),
            Event::Node { node, life, input } => self.input(node, life, *input),
            Event::Store { node, life, call, op } => self.reach_store(node, life, call, *op),
            Event::Bus { to, life, carried } => self.arrive(to, life, carried),
            Event::Subscribe { node, life } => self.subscribe(node, life),
            Event::Up { socket, message } => self.up(socket, &message),
            Event::Down { socket, text } => self.down(socket, &text),
            Event::Hangup { socket, code } => self.hangup(socket, code),
            Event::Unanswered { socket } => self.unanswered(socket),
            Event::Browser { browser } => self.browse(browser),
            Event::Fault(fault) => self.fail(fault),
            Event::Heal(fault) => self.heal(fault),
            Event::Start { node } => self.start(node),
            Event::Replicate => self.replicate(),
        }
    }

    fn tick(&mut self, node: usize, life: u64) {
        if self.is_life(node, life) {
            self.input(node, life, Input::Tick);
            self.at(self.now + TICK, Event::Tick { node, life });
        }
    }

    /// Whether that process is still there.
    pub fn is_life(&self, node: usize, life: u64) -> bool {
        self.nodes[node].life.is_some() && self.nodes[node].lives == life
    }

    /// A node that is down is started.
    pub fn start(&mut self, node: usize) {
        if !matches!(self.nodes[node].state, State::Down) {
            return;
        }
        if self.nodes[node].lives > 0 {
            self.reset_clock(node);
        }
        let (now, lease, limits) = (self.now, self.lease, self.limits.clone());
        self.nodes[node].start(now, &limits, lease);
        let life = self.nodes[node].lives;
        self.say(|| format!("n{} starts", node + 1));
        self.soon(0, 100_000, Event::Tick { node, life });
        self.health.subscribed[node] = false;
        self.soon(1_000, 50_000, Event::Subscribe { node, life });
    }

    /// Now and then a machine that is started again has another wall clock than before, also an earlier one.
    fn reset_clock(&mut self, node: usize) {
        // Chance of its own: it changes nothing but that clock.
        let mut chance = Chance(self.plan.seed ^ ((node as u64) << 32) ^ (self.nodes[node].lives << 48));
        if chance.one_in(3) {
            self.nodes[node].skew_ms = skew_ms(&mut chance);
            self.say(|| format!("*** n{} has another wall clock", node + 1));
        }
    }

    /// Gives a process an input and does what it wants done.
    pub fn input(&mut self, node: usize, life: u64, input: Input) {
        if !self.is_life(node, life) {
            return;
        }
        let mut acts = Vec::new();
        self.nodes[node].take(self.now, input, &mut acts);
        for act in acts {
            self.perform(node, life, act);
        }
    }

    fn perform(&mut self, node: usize, life: u64, act: Act) {
        match act {
            Act::Ask { call, op, first } => self.ask(node, life, call, op, first),
            Act::Publish { to, message } => self.publish(node, &to, &message),
            Act::Announce(event) => self.announce(node, &event),
            Act::Rebuild => self.rebuild(node, life),
            Act::Deliver { connection, seq, body } => self.deliver(connection, seq, &body),
            Act::Close { connection, code } => self.close(connection, code),
            Act::Settle { connection, outcome } => self.settle(connection, outcome),
            Act::Started => self.say(|| format!("n{} serves", node + 1)),
            Act::Rival => {
                self.say(|| format!("n{} has a rival", node + 1));
                self.end_node(node);
                self.soon(500_000, 2_000_000, Event::Start { node });
            }
            Act::Note(line) => self.say(|| format!("n{} {line}", node + 1)),
        }
    }

    /// A process ends at once; its sockets break.
    pub fn end_node(&mut self, node: usize) {
        self.nodes[node].end();
        self.hears_again(node);
        let broken = self.sockets.iter().filter(|(_, socket)| socket.node == node);
        let broken: Vec<_> = broken.map(|(id, _)| *id).collect();
        for socket in broken {
            self.sockets.get_mut(&socket).expect("there").to_node = false;
            self.soon(200, 20_000, Event::Hangup { socket, code: None });
        }
    }

    /// The node of that name.
    pub fn node_named(&self, id: &NodeId) -> Option<usize> {
        self.nodes.iter().position(|node| node.id == *id)
    }
}

/// By how much a wall clock is wrong: up to ten minutes either way.
fn skew_ms(chance: &mut Chance) -> i64 {
    i64::try_from(chance.below(1_200_001)).expect("small") - 600_000
}
