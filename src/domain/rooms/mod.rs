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
//! leaving: `entry`; what a session may ask for: `commands`; deadlines: `timers`.

mod admission;
mod commands;
mod entry;
mod room;
mod session;
mod timers;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

pub use self::room::{Member, Room};
use self::session::Session;
use super::{
    clock::Now,
    ice::IceServers,
    membership::{AdmissionRequest, Admitted, Change},
};
use crate::protocol::{
    Code, CommandId, ConnectionId, NodeRef, Refusal, ResumeToken, RoomName, Seq, SessionId, UserId,
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
}

/// Names an admission that has been asked for.
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
    next_ticket: u64,
    draining: bool,
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
            next_ticket: 0,
            draining: false,
        }
    }

    /// Takes one input and appends what is to be done, in order.
    pub fn handle(&mut self, now: Now, input: RoomInput, effects: &mut Vec<RoomEffect>) {
        match input {
            RoomInput::Join(join) => self.join(*join, effects),
            RoomInput::AdmissionDecided { ticket, outcome } => {
                self.admission_decided(now, ticket, admission::Decision::Made(outcome), effects);
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
        }
        self.end_overrun(now, effects);
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

    /// Panics where an invariant does not hold. For tests.
    #[cfg(test)]
    pub fn check_invariants(&self) {
        for (id, session) in &self.sessions {
            session.outbound.check_invariants();
            let member = self.rooms[&session.room].member(&session.user_id).expect("R-1: in its room");
            assert_eq!(member.session, *id, "R-1: the room names it back");
            assert_eq!(session.connection.is_none(), session.grace_until.is_some());
            if let Some(connection) = session.connection {
                assert_eq!(self.connections.get(&connection), Some(id));
            }
        }
        let members: usize = self.rooms.values().map(Room::len).sum();
        assert_eq!(members, self.sessions.len(), "no ghost in any room");
        assert!(self.rooms.values().all(|room| room.len() > 0), "no empty room is kept");
        let connected = self.sessions.values().filter(|session| session.connection.is_some());
        assert_eq!(connected.count(), self.connections.len());
    }
}

#[cfg(test)]
mod test_world;

#[cfg(test)]
#[path = "rooms_tests.rs"]
mod tests;
