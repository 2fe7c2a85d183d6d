//! One node: the real rules of rooms and cluster, with everything around them in the world's hands.

use std::{collections::VecDeque, time::Duration};

use greenroom::{
    domain::{
        clock::Now,
        cluster::{Cluster, ClusterConfig, ClusterEffect, ClusterInput},
        ice::IceServers,
        rooms::{RoomEffect, RoomInput, Rooms, RoomsConfig},
    },
    protocol::{
        Code, ConnectionId, Incarnation, NodeId, NodeRef, Refusal, Seq,
        cluster::{Event, Inbox},
        event::Body,
        limits::Limits,
    },
};

use crate::{
    calls::{Calls, Purpose, Reply},
    store::{Answer, Op},
};

/// How often a node looks at its deadlines.
pub const TICK: Duration = Duration::from_millis(100);
/// Unix time at which the simulation begins.
pub const EPOCH_MS: u64 = 1_750_000_000_000;

/// What reaches a node.
#[derive(Debug)]
pub enum Input {
    Tick,
    Rooms(RoomInput),
    Cluster(ClusterInput),
    /// The store's answer to one step of a call; `None`: the connection broke.
    Reply {
        call: u64,
        answer: Option<Answer>,
    },
    /// A call has taken too long.
    Overdue {
        call: u64,
    },
}

/// What a node does to the world.
#[derive(Debug)]
pub enum Act {
    Ask {
        call: u64,
        op: Op,
        first: bool,
    },
    Publish {
        to: NodeId,
        message: Box<Inbox>,
    },
    Announce(Event),
    Rebuild,
    Deliver {
        connection: ConnectionId,
        seq: Seq,
        body: Body,
    },
    Close {
        connection: ConnectionId,
        code: Code,
    },
    Settle {
        connection: ConnectionId,
        outcome: Result<(), Refusal>,
    },
    /// It takes traffic.
    Started,
    /// Somebody else has its name.
    Rival,
    /// For the trace.
    Note(String),
}

/// Whether a node runs.
#[derive(Debug)]
pub enum State {
    Down,
    Up,
    /// Stopped by SIGSTOP: what comes waits.
    Frozen(VecDeque<Input>),
}

/// What a process of a node has in memory.
pub struct Life {
    pub rooms: Rooms,
    pub cluster: Cluster,
    pub calls: Calls,
    /// When its monotonic clock was zero.
    began: Duration,
    /// Its present incarnation, and until when it may write.
    pub me: NodeRef,
    /// Whether it takes traffic.
    pub ready: bool,
    pub draining: bool,
}

/// A node through all its lives.
pub struct Node {
    pub id: NodeId,
    pub state: State,
    /// How many processes it has been.
    pub lives: u64,
    pub life: Option<Life>,
    /// What its wall clock is wrong by.
    pub skew_ms: i64,
    pub traced: bool,
}

#[allow(clippy::large_enum_variant, reason = "few at a time, and short-lived")]
enum Work {
    Rooms(RoomInput),
    Cluster(ClusterInput),
}

impl Node {
    pub fn new(id: NodeId, skew_ms: i64, traced: bool) -> Self {
        Self { id, state: State::Down, lives: 0, life: None, skew_ms, traced }
    }

    /// A process begins.
    pub fn start(&mut self, at: Duration, limits: &Limits, lease: Duration) {
        self.lives += 1;
        self.state = State::Up;
        let me = NodeRef { id: self.id.clone(), incarnation: Incarnation(self.wall_ms(at)) };
        let config = RoomsConfig {
            node: me.clone(),
            limits: limits.clone(),
            ice: IceServers::default(),
            clustered: true,
            lease,
        };
        let cluster = ClusterConfig { node: me.clone(), lease, grace: limits.session_grace };
        self.life = Some(Life {
            rooms: Rooms::new(config),
            cluster: Cluster::new(cluster),
            calls: Calls::new(self.id.clone(), lease),
            began: at,
            me,
            ready: false,
            draining: false,
        });
    }

    /// The process ends with all it knew.
    pub fn end(&mut self) {
        self.state = State::Down;
        self.life = None;
    }

    pub fn is_serving(&self) -> bool {
        matches!(self.state, State::Up) && self.life.as_ref().is_some_and(|life| life.ready && !life.draining)
    }

    fn wall_ms(&self, at: Duration) -> u64 {
        let elapsed = u64::try_from(at.as_millis()).expect("short");
        (EPOCH_MS + elapsed).saturating_add_signed(self.skew_ms)
    }

    /// Takes an input; what it does is appended in order. A frozen one takes it later.
    pub fn take(&mut self, at: Duration, input: Input, acts: &mut Vec<Act>) {
        let wall_ms = self.wall_ms(at);
        let traced = self.traced;
        match (&mut self.state, &mut self.life) {
            (State::Up, Some(life)) => {
                let now = Now { mono: at - life.began, wall_ms };
                life.take(now, input, traced, acts);
            }
            // A timer that is late fires once.
            (State::Frozen(waiting), _) if !matches!(input, Input::Tick) => waiting.push_back(input),
            _ => {}
        }
    }
}

impl Life {
    fn take(&mut self, now: Now, input: Input, traced: bool, acts: &mut Vec<Act>) {
        let mut work = VecDeque::new();
        match input {
            Input::Tick => {
                work.push_back(Work::Cluster(ClusterInput::Tick));
                work.push_back(Work::Rooms(RoomInput::Tick));
            }
            Input::Rooms(input) => work.push_back(Work::Rooms(input)),
            Input::Cluster(input) => work.push_back(Work::Cluster(input)),
            Input::Reply { call, answer } => {
                let reply = self.calls.answered(now.mono, call, answer, acts);
                replied(reply, &mut work);
            }
            Input::Overdue { call } => {
                let reply = self.calls.overdue(now.mono, call, acts);
                replied(reply, &mut work);
            }
        }
        while let Some(item) = work.pop_front() {
            match item {
                Work::Rooms(input) => self.take_rooms(now, input, traced, &mut work, acts),
                Work::Cluster(input) => self.take_cluster(now, input, traced, &mut work, acts),
            }
        }
    }

    fn take_rooms(
        &mut self,
        now: Now,
        input: RoomInput,
        traced: bool,
        work: &mut VecDeque<Work>,
        acts: &mut Vec<Act>,
    ) {
        if traced && !matches!(input, RoomInput::Tick) {
            acts.push(Act::Note(format!("<- {input:?}")));
        }
        let mut effects = Vec::new();
        self.rooms.handle(now, input, &mut effects);
        for effect in effects {
            if traced && !matches!(effect, RoomEffect::Deliver { .. } | RoomEffect::Count(_)) {
                acts.push(Act::Note(format!("   -> {effect:?}")));
            }
            let call = match effect {
                RoomEffect::Admit { ticket, request } => (Purpose::Admit(ticket), Op::Admit(request)),
                RoomEffect::Mirror(change) => (Purpose::Mirror(change.room().clone()), Op::Apply(*change)),
                RoomEffect::Sync { ticket, request } => (Purpose::Sync(ticket), Op::Sync(request)),
                RoomEffect::Find { ticket, room, user_id } => {
                    (Purpose::Find(ticket), Op::Find(room, user_id))
                }
                RoomEffect::TakeOver { ticket, request } => {
                    (Purpose::TakeOver(ticket), Op::TakeOver(request))
                }
                RoomEffect::Settle { connection, outcome } => {
                    acts.push(Act::Settle { connection, outcome });
                    continue;
                }
                RoomEffect::Deliver { connection, seq, body } => {
                    acts.push(Act::Deliver { connection, seq, body });
                    continue;
                }
                RoomEffect::Close { connection, code } => {
                    acts.push(Act::Close { connection, code });
                    continue;
                }
                RoomEffect::Send { to, message } => {
                    work.push_back(Work::Cluster(ClusterInput::Send { to, message }));
                    continue;
                }
                RoomEffect::Count(_) => continue,
            };
            let reply = self.calls.ask(now.mono, call.0, call.1, acts);
            replied(reply, work);
        }
    }

    fn take_cluster(
        &mut self,
        now: Now,
        input: ClusterInput,
        traced: bool,
        work: &mut VecDeque<Work>,
        acts: &mut Vec<Act>,
    ) {
        if traced && is_telling(&input) {
            acts.push(Act::Note(format!("<= {input:?}")));
        }
        let mut effects = Vec::new();
        self.cluster.handle(now, input, &mut effects);
        for effect in effects {
            if traced && is_told(&effect) {
                acts.push(Act::Note(format!("   => {effect:?}")));
            }
            let call = match effect {
                ClusterEffect::Beat { node, renewal } => self.calls.beat(now.mono, node, renewal),
                ClusterEffect::Claim { dead } => self.calls.claim(self.me.clone(), dead),
                ClusterEffect::ReadIndex { dead } => {
                    let op = Op::ReadIndex(dead.id.clone());
                    (Purpose::Index(dead), op)
                }
                ClusterEffect::ReapRoom { dead, request } => {
                    (Purpose::Reap(dead, request.room.clone()), Op::Sync(request))
                }
                ClusterEffect::Unindex { dead, sessions } => {
                    let op = Op::RemoveIndex(dead.id.clone(), sessions);
                    (Purpose::Unindex(dead), op)
                }
                ClusterEffect::RemoveLease { node } => {
                    (Purpose::RemoveLease(node.clone()), Op::RemoveLease(node))
                }
                ClusterEffect::Publish { to, message } => {
                    acts.push(Act::Publish { to, message });
                    continue;
                }
                ClusterEffect::Rooms(input) => {
                    work.push_back(Work::Rooms(*input));
                    continue;
                }
                ClusterEffect::Lease { node, until } => {
                    self.me = node;
                    self.calls.may_write_until(until);
                    continue;
                }
                other => {
                    self.perform_small(other, acts);
                    continue;
                }
            };
            let reply = self.calls.ask(now.mono, call.0, call.1, acts);
            replied(reply, work);
        }
    }

    fn perform_small(&mut self, effect: ClusterEffect, acts: &mut Vec<Act>) {
        match effect {
            ClusterEffect::Announce(event) => acts.push(Act::Announce(event)),
            ClusterEffect::Rebuild => acts.push(Act::Rebuild),
            ClusterEffect::Started => {
                self.ready = true;
                acts.push(Act::Started);
            }
            ClusterEffect::Rival(_) => acts.push(Act::Rival),
            _ => {}
        }
    }
}

/// What is in a trace already, or would drown it.
fn is_telling(input: &ClusterInput) -> bool {
    match input {
        ClusterInput::Tick | ClusterInput::Send { .. } | ClusterInput::Arrived(_) => false,
        ClusterInput::BeatAnswered { beat, .. } => beat.is_none(),
        _ => true,
    }
}

/// The same of effects.
fn is_told(effect: &ClusterEffect) -> bool {
    !matches!(
        effect,
        ClusterEffect::Publish { .. }
            | ClusterEffect::Beat { .. }
            | ClusterEffect::Lease { .. }
            | ClusterEffect::Rooms(_)
            | ClusterEffect::Announce(_)
    )
}

fn replied(replies: Vec<Reply>, work: &mut VecDeque<Work>) {
    for reply in replies {
        work.push_back(match reply {
            Reply::Rooms(input) => Work::Rooms(input),
            Reply::Cluster(input) => Work::Cluster(input),
        });
    }
}
