//! A node's rules with everything around them played by chance: sockets that come, go and stall, a registry that
//! answers when it likes, and time.

use std::{collections::BTreeMap, time::Duration};

use greenroom::{
    domain::{
        clock::Now,
        ice::IceServers,
        membership::{AdmissionRequest, Change, RoomRecord},
        rooms::{JoinInput, RoomEffect, RoomInput, Rooms, RoomsConfig, Ticket},
    },
    protocol::{
        Code, ConnectionId, Incarnation, NodeId, NodeRef, Refusal, ResumeToken, RoomName, Seq, SessionId,
        UserId,
        command::{self, PeerCommand, Tagged},
        event::Body,
        limits::Limits,
    },
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::generator::{COMMANDS, Generator};

const ROOMS: [&str; 3] = ["blue", "green", "a"];
const USERS: [&str; 5] = ["ada", "bob", "7", "x-1", "eve"];

/// What is known of one socket.
#[derive(Default)]
struct Line {
    /// The number of the last message it was given.
    seq: Option<Seq>,
    /// Its session was taken away from it: it must be given nothing more.
    closed: bool,
    /// It has asked to join or resume, and says nothing until it is answered.
    waiting: bool,
}

/// What is looked at of a message. The rest need only be JSON: a relayed number may be larger than any number here.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(default)]
    outcome: &'a str,
}

pub struct World {
    rooms: Rooms,
    records: BTreeMap<RoomName, RoomRecord>,
    answers: Vec<RoomInput>,
    lines: BTreeMap<ConnectionId, Line>,
    /// What browsers know of their sessions: name and token.
    sessions: Vec<(Value, String)>,
    now: Duration,
    next: u64,
    generator: Generator,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let node = NodeRef { id: NodeId::parse("n1").expect("a name"), incarnation: Incarnation(1) };
        let limits = Limits { room_participants_max: 3, ..Limits::default() };
        Self {
            rooms: Rooms::new(RoomsConfig {
                node,
                limits,
                ice: IceServers::default(),
                clustered: false,
                lease: Duration::from_secs(8),
            }),
            records: BTreeMap::new(),
            answers: Vec::new(),
            lines: BTreeMap::new(),
            sessions: Vec::new(),
            now: Duration::ZERO,
            next: 1,
            generator: Generator::new(seed),
        }
    }

    /// Lets so many things happen, then ends everything and finds nothing left.
    pub fn run(mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
        }
        if self.generator.chance.one_in(4) {
            self.handle(RoomInput::Drain { spread_ms: 2000 });
        }
        while self.answer() {}
        for connection in self.lines.keys().copied().collect::<Vec<_>>() {
            self.handle(RoomInput::ConnectionClosed { connection });
        }
        self.now += Duration::from_secs(3600);
        self.handle(RoomInput::Tick);
        assert_eq!(self.rooms.census(), Default::default(), "nobody is left");
        assert!(self.records.values().all(RoomRecord::is_empty), "nor in the registry");
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(self.generator.chance.next() % 900);
        match self.generator.chance.below(20) {
            0..=2 => self.join(),
            3 => self.resume(),
            4..=6 => {
                self.answer();
            }
            7 => {
                let connection = self.connection();
                self.lines.remove(&connection);
                self.handle(RoomInput::ConnectionClosed { connection });
            }
            8 => self.handle(RoomInput::Tick),
            9 | 10 => {
                let (connection, seq) = (self.connection(), self.generator.chance.next() % 200);
                self.handle(RoomInput::Confirm { connection, seq, bytes: 1000 });
            }
            11 => {
                let code =
                    *self.generator.chance.pick(&[Code::Malformed, Code::BinaryFrame, Code::RateLimited]);
                let input = RoomInput::Refuse {
                    connection: self.connection(),
                    id: None,
                    refusal: Refusal::from(code),
                };
                self.handle(input);
            }
            _ => self.command(),
        }
    }

    /// A socket: mostly one that is there, sometimes one that never was.
    fn connection(&mut self) -> ConnectionId {
        let known: Vec<_> = self.lines.keys().copied().collect();
        if known.is_empty() || self.generator.chance.one_in(20) {
            return ConnectionId(u64::MAX);
        }
        *self.generator.chance.pick(&known)
    }

    /// A new socket, or one that may ask to join: mostly to be told that it has.
    fn free_connection(&mut self) -> ConnectionId {
        let other = self.connection();
        let free = self.lines.get(&other).is_some_and(|line| !line.closed && !line.waiting);
        if free && self.generator.chance.one_in(4) { other } else { ConnectionId(self.next) }
    }

    fn parsed(&mut self) -> Tagged {
        loop {
            let plain = (*self.generator.chance.pick(COMMANDS)).to_owned();
            let text = if self.generator.chance.one_in(2) { plain } else { self.generator.text() };
            if let Ok(tagged) = command::parse(&text) {
                return tagged;
            }
        }
    }

    /// Somebody joins, by a new socket or by one that is in a room already.
    fn join(&mut self) {
        let connection = self.free_connection();
        let (room, user) = (*self.generator.chance.pick(&ROOMS), *self.generator.chance.pick(&USERS));
        let text =
            json!({ "type": "Join", "room_name": room, "user_id": user, "metadata": { "n": self.next } });
        let Ok(Tagged { id, command: PeerCommand::Join(join) }) = command::parse(&text.to_string()) else {
            panic!("a join");
        };
        let session = SessionId::new(uuid::Uuid::from_u128(u128::from(self.next)));
        let token = ResumeToken::new([u8::try_from(self.next % 256).expect("small"); 32]);
        self.sessions.push((json!(session), token.to_hex()));
        self.next += 1;
        self.lines.entry(connection).or_default().waiting = true;
        let spare_user_id = UserId::parse("spare").expect("a name");
        let input = JoinInput { connection, id, join, spare_user_id, session, token, already_sent: 0 };
        self.handle(RoomInput::Join(Box::new(input)));
    }

    fn resume(&mut self) {
        if self.sessions.is_empty() {
            return;
        }
        let (session, token) = self.generator.chance.pick(&self.sessions).clone();
        let last_seq = self.generator.chance.next() % 40;
        let token = if self.generator.chance.one_in(5) { "wrong".to_owned() } else { token };
        let text =
            json!({ "type": "Resume", "session_id": session, "resume_token": token, "last_seq": last_seq });
        let Ok(Tagged { id, command: PeerCommand::Resume(resume) }) = command::parse(&text.to_string())
        else {
            panic!("a resume");
        };
        let connection = ConnectionId(self.next);
        self.next += 1;
        self.lines.insert(connection, Line::default());
        self.handle(RoomInput::Resume { connection, id, resume });
    }

    fn command(&mut self) {
        let connection = self.connection();
        if let Tagged { id, command: PeerCommand::InRoom(command) } = self.parsed() {
            self.handle(RoomInput::Command { connection, id, command });
        }
    }

    /// The registry acts at the call and answers when it likes. Now and then there is no answer, whether it acted or
    /// not.
    fn admit(&mut self, ticket: Ticket, request: AdmissionRequest) {
        let now_ms = self.wall_ms();
        let answered = !self.generator.chance.one_in(10);
        let mut answer = RoomInput::AdmissionFailed { ticket };
        if answered || self.generator.chance.one_in(2) {
            let outcome = self.records.entry(request.room.clone()).or_default().admit(now_ms, request);
            if answered {
                answer = RoomInput::AdmissionDecided { ticket, outcome };
            }
        }
        self.answers.push(answer);
    }

    /// One of the answers on their way arrives.
    fn answer(&mut self) -> bool {
        if self.answers.is_empty() {
            return false;
        }
        let index = self.generator.chance.below(self.answers.len());
        let answer = self.answers.swap_remove(index);
        self.handle(answer);
        true
    }

    fn wall_ms(&self) -> u64 {
        u64::try_from(self.now.as_millis()).expect("a short run")
    }

    fn handle(&mut self, input: RoomInput) {
        let mut effects = Vec::new();
        self.rooms.handle(Now { mono: self.now, wall_ms: self.wall_ms() }, input, &mut effects);
        for effect in effects {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: RoomEffect) {
        match effect {
            RoomEffect::Admit { ticket, request } => self.admit(ticket, *request),
            RoomEffect::Mirror(change) => self.mirror(*change),
            RoomEffect::Deliver { connection, seq, body } => self.deliver(connection, seq, &body),
            RoomEffect::Close { connection, code } => {
                // Other closes leave the session with its socket until that is gone: what it is told then is kept.
                let taken_away = [Code::Replaced, Code::Kicked, Code::SlowConsumer].contains(&code);
                if let Some(line) = self.lines.get_mut(&connection).filter(|_| taken_away) {
                    line.closed = true;
                }
            }
            RoomEffect::Settle { connection, .. } => {
                if let Some(line) = self.lines.get_mut(&connection) {
                    line.waiting = false;
                }
            }
            RoomEffect::Count(_) => {}
            RoomEffect::Send { .. }
            | RoomEffect::Sync { .. }
            | RoomEffect::Find { .. }
            | RoomEffect::TakeOver { .. } => panic!("a node that is alone: {effect:?}"),
        }
    }

    fn mirror(&mut self, change: Change) {
        let now_ms = self.wall_ms();
        if let Some(record) = self.records.get_mut(change.room()) {
            record.apply(now_ms, change);
        }
    }

    /// Every message is JSON, has the next number, and comes before the close.
    fn deliver(&mut self, connection: ConnectionId, seq: Seq, body: &Body) {
        let text = body.numbered(seq);
        let message: Message = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let Some(line) = self.lines.get_mut(&connection) else { return };
        assert!(!line.closed, "after the close: {text}");
        let begins = message.kind == "RoomJoined" || message.outcome == "snapshot";
        let in_turn = line.seq.is_none_or(|last| seq == last + 1 || (begins && seq <= last + 1));
        assert!(in_turn, "{seq} after {:?}: {text}", line.seq);
        line.seq = Some(seq);
    }
}
