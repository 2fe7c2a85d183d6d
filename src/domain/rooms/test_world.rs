//! A world for the rules in tests: browsers that keep a roster, sockets that may stall, a registry that may wait.
//!
//! Virtual time; every effect is performed at once, in order, and the invariants are checked after every input.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use uuid::Uuid;

use super::*;
use crate::{
    domain::membership::RoomRecord,
    protocol::{Incarnation, NodeId, command},
};

/// A browser's end: what it has heard, and what it makes of it.
#[derive(Debug, Default)]
pub struct Browser {
    pub heard: Vec<Value>,
    pub last_seq: Seq,
    pub session: Option<(String, String)>,
    pub roster: BTreeMap<String, Value>,
    /// Whether its socket takes messages.
    pub stalled: bool,
    pub closed: Option<Code>,
}

pub fn config(node: NodeRef, limits: Limits, clustered: bool) -> RoomsConfig {
    let lease = Duration::from_secs(8);
    RoomsConfig { node, limits, ice: IceServers::default(), clustered, lease }
}

pub struct World {
    pub rooms: Rooms,
    pub registry: BTreeMap<RoomName, RoomRecord>,
    pub now: Now,
    pub browsers: BTreeMap<ConnectionId, Browser>,
    pub settled: Vec<(ConnectionId, Result<(), Refusal>)>,
    pub facts: Vec<RoomFact>,
    /// Admissions wait here while the registry is slow.
    pub waiting: Vec<(Ticket, Result<Admitted, Refusal>)>,
    pub registry_waits: bool,
    next_connection: u64,
    next_uuid: u128,
}

impl World {
    pub fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    pub fn with_limits(limits: Limits) -> Self {
        let node = NodeRef { id: NodeId::parse("n1").expect("valid"), incarnation: Incarnation(1) };
        Self {
            rooms: Rooms::new(config(node, limits, false)),
            registry: BTreeMap::new(),
            now: Now { mono: Duration::ZERO, wall_ms: 1_700_000_000_000 },
            browsers: BTreeMap::new(),
            settled: Vec::new(),
            facts: Vec::new(),
            waiting: Vec::new(),
            registry_waits: false,
            next_connection: 0,
            next_uuid: 0,
        }
    }

    pub fn connect(&mut self) -> ConnectionId {
        self.next_connection += 1;
        let connection = ConnectionId(self.next_connection);
        self.browsers.insert(connection, Browser::default());
        connection
    }

    /// Connects and joins in one go.
    pub fn join(&mut self, room: &str, user: &str) -> ConnectionId {
        let connection = self.connect();
        self.join_on(connection, room, user, "");
        connection
    }

    pub fn join_on(&mut self, connection: ConnectionId, room: &str, user: &str, more: &str) {
        let text = format!(r#"{{"type":"Join","room_name":"{room}","user_id":"{user}"{more}}}"#);
        self.say(connection, &text);
    }

    /// A browser sends a message, as its connection would pass it on.
    pub fn say(&mut self, connection: ConnectionId, text: &str) {
        let command::Tagged { id, command } = command::parse(text).expect(text);
        let input = match command {
            command::PeerCommand::Join(join) => RoomInput::Join(Box::new(JoinInput {
                connection,
                id,
                join,
                spare_user_id: UserId::parse("u-spare").expect("valid"),
                session: SessionId::new(self.uuid()),
                token: ResumeToken::new([u8::try_from(connection.0 % 251).expect("small"); 32]),
                already_sent: 0,
            })),
            command::PeerCommand::Resume(resume) => RoomInput::Resume { connection, id, resume },
            command::PeerCommand::InRoom(command) => RoomInput::Command { connection, id, command },
        };
        self.input(input);
    }

    /// Another socket takes up what `old` had; returns it.
    pub fn resume(&mut self, old: ConnectionId, last_seq: Seq) -> ConnectionId {
        let (session, token) = self.browsers[&old].session.clone().expect("had a session");
        let connection = self.connect();
        let browser = self.browsers.get_mut(&connection).expect("connected");
        browser.last_seq = last_seq;
        browser.session = Some((session.clone(), token.clone()));
        let roster = if last_seq == 0 { BTreeMap::new() } else { self.browsers[&old].roster.clone() };
        self.browsers.get_mut(&connection).expect("connected").roster = roster;
        self.say(
            connection,
            &format!(
                r#"{{"type":"Resume","session_id":"{session}","resume_token":"{token}","last_seq":{last_seq}}}"#
            ),
        );
        connection
    }

    pub fn lose(&mut self, connection: ConnectionId) {
        self.input(RoomInput::ConnectionClosed { connection });
    }

    pub fn pass(&mut self, duration: Duration) {
        self.now.mono += duration;
        self.now.wall_ms += u64::try_from(duration.as_millis()).expect("short");
        self.input(RoomInput::Tick);
    }

    /// The registry's answers arrive, the last one first: each was made in order, but nothing keeps them so.
    pub fn answer_admissions(&mut self) {
        for (ticket, outcome) in std::mem::take(&mut self.waiting).into_iter().rev() {
            self.input(RoomInput::AdmissionDecided { ticket, outcome });
        }
    }

    /// The registry has acted, but its answers are lost.
    pub fn lose_admissions(&mut self) {
        for (ticket, _) in std::mem::take(&mut self.waiting) {
            self.input(RoomInput::AdmissionFailed { ticket });
        }
    }

    pub fn input(&mut self, input: RoomInput) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut effects = Vec::new();
            self.rooms.handle(self.now, input, &mut effects);
            self.rooms.check_invariants();
            for effect in effects {
                inputs.extend(self.perform(effect));
            }
        }
    }

    fn perform(&mut self, effect: RoomEffect) -> Option<RoomInput> {
        match effect {
            RoomEffect::Admit { ticket, request } => {
                let record = self.registry.entry(request.room.clone()).or_default();
                let outcome = record.admit(self.now.wall_ms, *request);
                if self.registry_waits {
                    self.waiting.push((ticket, outcome));
                    return None;
                }
                return Some(RoomInput::AdmissionDecided { ticket, outcome });
            }
            RoomEffect::Mirror(change) => {
                let record = self.registry.get_mut(change.room()).expect("the room is there");
                record.apply(self.now.wall_ms, *change);
            }
            RoomEffect::Settle { connection, outcome } => self.settled.push((connection, outcome)),
            RoomEffect::Deliver { connection, seq, body } => return self.deliver(connection, seq, &body),
            RoomEffect::Close { connection, code } => {
                self.browsers.get_mut(&connection).expect("known").closed.get_or_insert(code);
                return Some(RoomInput::ConnectionClosed { connection });
            }
            RoomEffect::Count(fact) => self.facts.push(fact),
            RoomEffect::Send { .. }
            | RoomEffect::Sync { .. }
            | RoomEffect::Find { .. }
            | RoomEffect::TakeOver { .. } => panic!("a node that is alone: {effect:?}"),
        }
        None
    }

    fn deliver(&mut self, connection: ConnectionId, seq: Seq, body: &Body) -> Option<RoomInput> {
        let message: Value = serde_json::from_str(&body.numbered(seq)).expect("JSON");
        let browser = self.browsers.get_mut(&connection).expect("known");
        browser.hear(message);
        (!browser.stalled).then_some(RoomInput::Confirm { connection, seq, bytes: body.len() })
    }

    pub fn types(&self, connection: ConnectionId) -> Vec<String> {
        self.browsers[&connection].heard.iter().map(|message| text(&message["type"])).collect()
    }

    pub fn last(&self, connection: ConnectionId) -> &Value {
        self.browsers[&connection].heard.last().expect("heard something")
    }

    pub fn take(&mut self, connection: ConnectionId) -> Vec<Value> {
        std::mem::take(&mut self.browsers.get_mut(&connection).expect("known").heard)
    }

    /// Who is in a room, as the registry has it.
    pub fn truth(&self, room: &str) -> BTreeSet<String> {
        let name = RoomName::parse(room).expect("valid");
        self.registry
            .get(&name)
            .map(|record| record.user_ids().map(ToString::to_string).collect())
            .unwrap_or_default()
    }

    fn uuid(&mut self) -> Uuid {
        self.next_uuid += 1;
        Uuid::from_u128(self.next_uuid)
    }
}

impl Browser {
    /// Checks the number and keeps the roster as a page would: every arrival is new, every departure was known.
    pub fn hear(&mut self, message: Value) {
        let seq = message["seq"].as_u64().expect("numbered");
        let user = || text(&message["user"]["user_id"]);
        match text(&message["type"]).as_str() {
            "Resumed" if message["outcome"] == "snapshot" => {
                assert!(seq > self.last_seq, "numbers only rise");
                self.last_seq = seq - 1;
                self.enter(&message);
            }
            "RoomJoined" => self.enter(&message),
            "UserJoined" => {
                let unknown = self.roster.insert(user(), message["user"].clone());
                assert!(unknown.is_none(), "joined twice: {message}");
            }
            "UserUpdated" => {
                if let Some(known) = self.roster.get_mut(&user()) {
                    *known = message["user"].clone();
                }
            }
            "UserLeft" => {
                let known = self.roster.remove(&text(&message["user_id"]));
                assert!(known.is_some(), "a ghost left: {message}");
            }
            _ => {}
        }
        assert_eq!(seq, self.last_seq + 1, "numbers rise by one: {message}");
        self.last_seq = seq;
        self.heard.push(message);
    }

    fn enter(&mut self, message: &Value) {
        self.session = Some((text(&message["session_id"]), text(&message["resume_token"])));
        let others = message["participants"].as_array().expect("a list");
        self.roster = others.iter().map(|user| (text(&user["user_id"]), user.clone())).collect();
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
