//! The rooms of one node: who is in them, what each is told, and for how long a lost one is waited for.
//!
//! ```text
//!              Join ─► Admit ─► Admitted                Leave · Kick · grace over
//!   (nobody) ───────────────────────────► present ──────────────────────────────► (nobody)
//!                                          ▲   │ socket lost, window full            ▲
//!                                   Resume │   ▼                                     │
//!                                          suspect ──────────────────────────────────┘
//! ```
//! A second `Join` of the same participant replaces its session in place: the others see neither a leave nor a join.
//!
//! What it is not: no socket, no clock, no registry. Inputs come in with their time; everything to be done is
//! returned as [`RoomEffect`]s, in order. Admission is asked of the registry ([`super::membership`]) because caps,
//! locks and bans hold across nodes (R-5); a relay never is (R-3). Coming in: `admission`; coming back and
//! leaving: `entry`; what a session may ask for: `commands`; deadlines: `timers`. One room over many nodes: `nodes` (what they say
//! to each other), `relays` and `pairs` (relays, once and in order), `picture` (compared with the registry), `moving` and `handover` (sessions).

mod admission;
mod commands;
mod entry;
mod handover;
mod moving;
mod nodes;
mod pairs;
mod picture;
mod relays;
mod room;
mod session;
mod timers;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

pub use self::room::Room;
use self::session::Session;
use super::{
    clock::Now,
    ice::IceServers,
    membership::{AdmissionRequest, Admitted, Change, RoomPicture, Row, SyncRequest, TakeOver},
};
use crate::protocol::{
    Code, CommandId, ConnectionId, NodeRef, Refusal, ResumeToken, RoomName, Seq, SessionId, UserId,
    cluster::NodeMessage,
    command::{Join, RelayKind, Resume, RoomCommand},
    event::{Body, LeaveReason},
    limits::Limits,
};

/// What the rooms of a node must know of their node.
#[derive(Debug, Clone)]
pub struct RoomsConfig {
    /// This node in this life.
    pub node: NodeRef,
    /// The settable limits.
    pub limits: Limits,
    /// What browsers are given to connect through.
    pub ice: IceServers,
    /// Whether there may be other nodes.
    pub clustered: bool,
    /// How long a node whose beats have stopped counts as alive (`LEASE_SECS`).
    pub lease: Duration,
}

/// Names something that the registry or another node has been asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// A `Join` with what the border drew for it.
#[derive(Debug)]
pub struct JoinInput {
    /// The socket it came by.
    pub connection: ConnectionId,
    /// The browser's name for the command.
    pub id: Option<CommandId>,
    /// Who and where.
    pub join: Join,
    /// The user id to take where the browser sent none.
    pub spare_user_id: UserId,
    /// The new session's name, drawn at random.
    pub session: SessionId,
    /// The new session's secret, drawn at random.
    pub token: ResumeToken,
    /// Messages that the connection has numbered itself, before there was a session.
    pub already_sent: Seq,
}

/// Everything that can happen to the rooms of a node.
#[derive(Debug)]
#[allow(missing_docs, reason = "the variants say what their fields are for")]
pub enum RoomInput {
    /// Somebody wants in.
    Join(Box<JoinInput>),
    /// The registry has decided.
    AdmissionDecided { ticket: Ticket, outcome: Result<Admitted, Refusal> },
    /// The registry gave no answer; whether it admitted is not known.
    AdmissionFailed { ticket: Ticket },
    /// Somebody is back, by another socket.
    Resume { connection: ConnectionId, id: Option<CommandId>, resume: Resume },
    /// A session asks for something.
    Command { connection: ConnectionId, id: Option<CommandId>, command: RoomCommand },
    /// The connection has refused a message of its session, which must be told in its turn.
    Refuse { connection: ConnectionId, id: Option<CommandId>, refusal: Refusal },
    /// The socket has taken everything up to `seq`, `bytes` more than it last said.
    Confirm { connection: ConnectionId, seq: Seq, bytes: usize },
    /// The socket is gone. Twice is harmless.
    ConnectionClosed { connection: ConnectionId },
    /// Time has passed.
    Tick,
    /// Somebody records the room, or nobody does any more. The room may be empty.
    Recording { room: RoomName, recording: bool },
    /// The node is going away: tell everyone to reconnect, spread over `spread_ms`.
    Drain { spread_ms: u64 },
    /// Another node says something, in the order in which it was said.
    Node { from: NodeRef, message: Box<NodeMessage> },
    /// What was to be sent to another node will not arrive.
    Undelivered { to: NodeRef, messages: Vec<NodeMessage> },
    /// A change did not reach the registry.
    MirrorFailed { room: RoomName },
    /// Which other nodes live. Whoever holds a row and is not among them is dead.
    NodesLive(BTreeSet<NodeRef>),
    /// Whether the node is cut off from the registry: it then decides by what it last knew.
    Isolated(bool),
    /// Everything is to be put back into the registry, by this node in this life. `amnesty`: others do so too, and what is
    /// not there yet is not gone.
    Reassert { node: NodeRef, amnesty: bool },
    /// What the registry's clock says. Unit: ms.
    RegistryTime(u64),
    /// The registry has synced a room, or gave no answer.
    Synced { ticket: Ticket, picture: Option<RoomPicture> },
    /// The registry has looked for a row, or gave no answer.
    Found { ticket: Ticket, row: Option<Option<Box<Row>>> },
    /// The registry has decided on a take-over, or gave no answer.
    TakenOver { ticket: Ticket, outcome: Option<Result<Admitted, Refusal>> },
}

/// Everything the rooms of a node may want done.
#[derive(Debug)]
#[allow(missing_docs, reason = "the variants say what their fields are for")]
pub enum RoomEffect {
    /// Ask the registry; answer with [`RoomInput::AdmissionDecided`] or [`RoomInput::AdmissionFailed`], in any order.
    Admit { ticket: Ticket, request: Box<AdmissionRequest> },
    /// Mirror a change, after those before it.
    Mirror(Box<Change>),
    /// Answer the `Join`, `Resume` or `Leave` that the connection is waiting on.
    Settle { connection: ConnectionId, outcome: Result<(), Refusal> },
    /// Hand a message to a connection. Its mailbox has room: the window sees to that.
    Deliver { connection: ConnectionId, seq: Seq, body: Body },
    /// End a connection, politely if it still listens.
    Close { connection: ConnectionId, code: Code },
    /// Send to another node, after what was sent before; what will not arrive comes back as
    /// [`RoomInput::Undelivered`].
    Send { to: NodeRef, message: Box<NodeMessage> },
    /// Ask the registry; answer with [`RoomInput::Synced`].
    Sync { ticket: Ticket, request: Box<SyncRequest> },
    /// Ask the registry; answer with [`RoomInput::Found`].
    Find { ticket: Ticket, room: RoomName, user_id: UserId },
    /// Ask the registry; answer with [`RoomInput::TakenOver`].
    TakeOver { ticket: Ticket, request: Box<TakeOver> },
    /// Something worth counting has happened.
    Count(RoomFact),
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants say what their fields are for")]
pub enum RoomFact {
    /// A participant came.
    Joined,
    /// Somebody was not let in.
    JoinRefused(Code),
    /// A participant's session was replaced by its own new one.
    Rejoined,
    /// A participant is gone.
    Left(LeaveReason),
    /// A signal or message was passed on to so many.
    Relayed { kind: RelayKind, recipients: usize },
    /// A session was taken up with nothing lost.
    ResumedFull,
    /// A session was taken up with a snapshot.
    ResumedSnapshot,
    /// A session was not taken up.
    ResumeRefused,
    /// A command was refused.
    Refused(Code),
    /// A connection did not keep up and was ended.
    SlowConsumer(SessionId),
    /// Somebody was let in by what was last known, because the registry is away.
    JoinedAlone,
    /// A session was taken over by, or replaced on, another node.
    Lost,
    /// Everything was put back into the registry.
    Reasserted,
}

/// How many there are at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
    /// Rooms with somebody in them.
    pub rooms: usize,
    /// Sessions with a socket.
    pub present: usize,
    /// Sessions without one, in their grace.
    pub suspect: usize,
}

/// The rooms of one node. R-1: a session is in one room, because it names one and the room names it back.
#[derive(Debug)]
pub struct Rooms {
    config: RoomsConfig,
    // Ordered maps: the order of effects must be the same for the same inputs, or no run could be replayed.
    rooms: BTreeMap<RoomName, Room>,
    sessions: BTreeMap<SessionId, Session>,
    connections: BTreeMap<ConnectionId, SessionId>,
    pending: BTreeMap<Ticket, admission::PendingJoin>,
    deadlines: BTreeSet<(Duration, SessionId, timers::Deadline)>,
    /// Rooms that somebody records, whether or not anybody is in them.
    recorded: BTreeSet<RoomName>,
    overrun: Vec<SessionId>,
    /// Rooms that somebody has left just now.
    left: Vec<RoomName>,
    next_ticket: u64,
    draining: bool,
    /// The registry cannot be reached.
    isolated: bool,
    /// Other nodes that live, and those of whose dead lives something may be left.
    live: BTreeSet<NodeRef>,
    dead: BTreeSet<NodeRef>,
    /// Until then, what is not in the registry need not be gone.
    amnesty_until: Duration,
    /// The highest generation that was seen, which is about the registry's clock, and when.
    registry_time: Option<(u64, Duration)>,
    sync_queue: BTreeSet<RoomName>,
    syncing: BTreeMap<Ticket, picture::Syncing>,
    room_deadlines: BTreeSet<(Duration, RoomName, timers::RoomDeadline)>,
    /// Rooms in which somebody of this node was a moment ago.
    touched: BTreeMap<RoomName, picture::Touched>,
    /// What was said of rooms to which somebody is just coming.
    kept: BTreeMap<RoomName, Vec<(NodeRef, NodeMessage)>>,
    claims: BTreeMap<Ticket, moving::PendingClaim>,
    claim_deadlines: BTreeSet<(Duration, Ticket)>,
    /// Sessions that have moved, where to, and until when that is remembered.
    moved: BTreeMap<SessionId, (NodeRef, Duration)>,
    /// Sessions that have run out with something left to tell, and until when that is remembered: they may have been taken
    /// over while this node was cut off.
    unheard: BTreeMap<SessionId, Duration>,
}

impl Rooms {
    /// A node without rooms.
    #[must_use]
    pub fn new(config: RoomsConfig) -> Self {
        Self {
            config,
            rooms: BTreeMap::new(),
            sessions: BTreeMap::new(),
            connections: BTreeMap::new(),
            pending: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            recorded: BTreeSet::new(),
            overrun: Vec::new(),
            left: Vec::new(),
            next_ticket: 0,
            draining: false,
            isolated: false,
            live: BTreeSet::new(),
            dead: BTreeSet::new(),
            amnesty_until: Duration::ZERO,
            registry_time: None,
            sync_queue: BTreeSet::new(),
            syncing: BTreeMap::new(),
            room_deadlines: BTreeSet::new(),
            touched: BTreeMap::new(),
            kept: BTreeMap::new(),
            claims: BTreeMap::new(),
            claim_deadlines: BTreeSet::new(),
            moved: BTreeMap::new(),
            unheard: BTreeMap::new(),
        }
    }

    /// Takes one input and appends what is to be done, in order.
    pub fn handle(&mut self, now: Now, input: RoomInput, effects: &mut Vec<RoomEffect>) {
        match input {
            RoomInput::Join(join) => self.join(now, *join, effects),
            RoomInput::AdmissionDecided { ticket, outcome } => {
                self.admission_decided(now, ticket, outcome.into(), effects);
            }
            RoomInput::AdmissionFailed { ticket } => {
                self.admission_decided(now, ticket, admission::Decision::Missing, effects);
            }
            RoomInput::Resume { connection, id, resume } => {
                self.resume(now, connection, id.as_ref(), &resume, effects);
            }
            RoomInput::Command { connection, id, command } => {
                self.command(now, connection, id.as_ref(), command, effects);
            }
            RoomInput::Refuse { connection, id, refusal } => {
                self.refuse_connection(now, connection, id.as_ref(), &refusal, effects);
            }
            RoomInput::Confirm { connection, seq, bytes } => {
                self.confirm(now, connection, seq, bytes, effects);
            }
            RoomInput::ConnectionClosed { connection } => {
                self.connection_closed(now, connection, effects);
            }
            RoomInput::Tick => self.tick(now, effects),
            RoomInput::Recording { room, recording } => self.set_recording(now, &room, recording, effects),
            RoomInput::Drain { spread_ms } => self.drain(now, spread_ms, effects),
            RoomInput::Node { from, message } => self.node_says(now, from, *message, effects),
            RoomInput::Undelivered { to, messages } => self.undelivered(now, &to, messages, effects),
            RoomInput::MirrorFailed { room } => self.mirror_failed(now, room),
            RoomInput::NodesLive(live) => self.nodes_live(now, live, effects),
            RoomInput::Isolated(isolated) => self.isolated = isolated,
            RoomInput::Reassert { node, amnesty } => self.reassert(now, &node, amnesty, effects),
            RoomInput::RegistryTime(ms) => self.note_registry_time(now, ms),
            RoomInput::Synced { ticket, picture } => self.synced(now, ticket, picture, effects),
            RoomInput::Found { ticket, row } => self.found(now, ticket, row, effects),
            RoomInput::TakenOver { ticket, outcome } => self.taken_over(now, ticket, outcome, effects),
        }
        self.end_overrun(now, effects);
        self.forget_left(now);
        self.pump_syncs(effects);
    }

    fn next_ticket(&mut self) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        ticket
    }

    /// This node in its present life.
    #[must_use]
    pub fn node(&self) -> &NodeRef {
        &self.config.node
    }

    /// How many there are at the moment.
    #[must_use]
    pub fn census(&self) -> Census {
        let present = self.connections.len();
        Census { rooms: self.rooms.len(), present, suspect: self.sessions.len() - present }
    }

    /// The rooms and how many are in each, in order of name.
    pub fn list(&self) -> impl Iterator<Item = (&RoomName, &Room)> {
        self.rooms.iter()
    }

    /// One room.
    #[must_use]
    pub fn room(&self, name: &RoomName) -> Option<&Room> {
        self.rooms.get(name)
    }

    /// Numbers a message for a session and hands over what its window has room for.
    fn tell(&mut self, now: Now, session: SessionId, body: Body, effects: &mut Vec<RoomEffect>) {
        let Some(told) = self.sessions.get_mut(&session) else { return };
        if told.outbound.push(body) && told.connection.is_some() {
            self.overrun.push(session);
            return;
        }
        self.pump(now, session, effects);
    }

    fn pump(&mut self, now: Now, id: SessionId, effects: &mut Vec<RoomEffect>) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(connection) = session.connection else { return };
        while let Some((seq, body)) = session.outbound.next(now) {
            effects.push(RoomEffect::Deliver { connection, seq, body });
        }
        if let Some(since) = session.outbound.blocked_since() {
            let due = since + self.config.limits.slow_consumer;
            self.deadlines.insert((due, id, timers::Deadline::Slow));
        }
    }

    /// Tells everyone in the room but `except`.
    fn broadcast(
        &mut self,
        now: Now,
        room: &RoomName,
        except: Option<&UserId>,
        body: &Body,
        effects: &mut Vec<RoomEffect>,
    ) -> usize {
        let Some(room) = self.rooms.get(room) else { return 0 };
        let recipients = room.sessions_except(except);
        for session in &recipients {
            self.tell(now, *session, body.clone(), effects);
        }
        recipients.len()
    }

    /// Tells everyone in the room that it is recorded, or no longer.
    fn set_recording(&mut self, now: Now, name: &RoomName, recording: bool, effects: &mut Vec<RoomEffect>) {
        if recording {
            self.recorded.insert(name.clone());
        } else {
            self.recorded.remove(name);
        }
        let Some(room) = self.rooms.get_mut(name) else { return };
        if std::mem::replace(&mut room.recording, recording) != recording {
            let state = room.state(name);
            self.broadcast(now, name, None, &state, effects);
        }
    }

    fn confirm(
        &mut self,
        now: Now,
        connection: ConnectionId,
        seq: Seq,
        bytes: usize,
        effects: &mut Vec<RoomEffect>,
    ) {
        let Some(id) = self.connections.get(&connection).copied() else { return };
        if let Some(session) = self.sessions.get_mut(&id) {
            session.outbound.confirm(seq, bytes);
        }
        self.pump(now, id, effects);
    }

    /// Panics where an invariant does not hold. For tests and simulations.
    #[doc(hidden)]
    #[allow(clippy::panic, clippy::indexing_slicing, clippy::expect_used, reason = "that is what it is for")]
    pub fn check_invariants(&self) {
        for (id, session) in &self.sessions {
            let member = self.rooms[&session.room].member(&session.user_id).expect("R-1: in its room");
            assert_eq!(member.session, *id, "R-1: the room names it back");
            assert_eq!(member.node, self.config.node, "a session of this node");
            assert_eq!(session.connection.is_none(), session.grace_until.is_some());
            if let Some(connection) = session.connection {
                assert_eq!(self.connections.get(&connection), Some(id));
            }
        }
        assert!(self.rooms.keys().all(|room| self.has_own(room)), "no room is kept of which nobody is here");
        let connected = self.sessions.values().filter(|session| session.connection.is_some());
        assert_eq!(connected.count(), self.connections.len());
        #[cfg(test)]
        self.sessions.values().for_each(|session| session.outbound.check_invariants());
    }
}

#[cfg(test)]
mod test_nodes;
#[cfg(test)]
mod test_world;

#[cfg(test)]
#[path = "nodes_tests.rs"]
mod nodes_tests;

#[cfg(test)]
#[path = "healing_tests.rs"]
mod healing_tests;

#[cfg(test)]
#[path = "rooms_tests.rs"]
mod tests;
