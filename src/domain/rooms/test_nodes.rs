//! Several nodes' rooms in one test: a registry, wires between the nodes that may be held, browsers that keep a roster.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;
use uuid::Uuid;

use super::{
    test_world::{Browser, config, text},
    *,
};
use crate::{
    domain::membership::RoomRecord,
    protocol::{Incarnation, NodeId, command},
};

pub struct Nodes {
    pub rooms: Vec<Rooms>,
    pub registry: BTreeMap<RoomName, RoomRecord>,
    /// Whether the registry answers a node.
    pub reaches: Vec<bool>,
    pub now: Now,
    pub browsers: BTreeMap<ConnectionId, (usize, Browser)>,
    pub refused: Vec<(ConnectionId, Code)>,
    wires: BTreeMap<(NodeRef, NodeRef), VecDeque<NodeMessage>>,
    /// Wires from these nodes to those deliver nothing until they are released.
    pub held: Vec<(usize, usize)>,
    next: u64,
}

impl Nodes {
    pub fn new(count: u64) -> Self {
        let node = |number| NodeRef {
            id: NodeId::parse(&format!("n{number}")).expect("valid"),
            incarnation: Incarnation(1),
        };
        let mut nodes = Self {
            rooms: (0..count)
                .map(|number| Rooms::new(config(node(number), Limits::default(), true)))
                .collect(),
            registry: BTreeMap::new(),
            reaches: vec![true; usize::try_from(count).expect("small")],
            now: Now { mono: Duration::ZERO, wall_ms: 1_700_000_000_000 },
            browsers: BTreeMap::new(),
            refused: Vec::new(),
            wires: BTreeMap::new(),
            held: Vec::new(),
            next: 0,
        };
        nodes.tell_live(&[]);
        for node in 0..nodes.rooms.len() {
            nodes.input(node, RoomInput::RegistryTime(nodes.now.wall_ms));
        }
        nodes
    }

    /// Every node learns who lives: all but these.
    pub fn tell_live(&mut self, dead: &[usize]) {
        let alive: BTreeSet<_> = (0..self.rooms.len())
            .filter(|node| !dead.contains(node))
            .map(|node| self.rooms[node].node().clone())
            .collect();
        for node in (0..self.rooms.len()).filter(|node| !dead.contains(node)) {
            let mut others = alive.clone();
            others.remove(self.rooms[node].node());
            self.input(node, RoomInput::NodesLive(others));
        }
    }

    /// A node's process dies and begins anew under its name, and the others learn of both.
    pub fn begin_anew(&mut self, node: usize) {
        self.tell_live(&[node]);
        let mut life = self.rooms[node].node().clone();
        life.incarnation.0 += 1;
        self.rooms[node] = Rooms::new(config(life, Limits::default(), true));
        self.tell_live(&[]);
    }

    pub fn join(&mut self, node: usize, room: &str, user: &str) -> ConnectionId {
        let connection = self.connect(node);
        self.say(connection, &format!(r#"{{"type":"Join","room_name":"{room}","user_id":"{user}"}}"#));
        connection
    }

    fn connect(&mut self, node: usize) -> ConnectionId {
        self.next += 1;
        let connection = ConnectionId(self.next);
        self.browsers.insert(connection, (node, Browser::default()));
        connection
    }

    pub fn say(&mut self, connection: ConnectionId, text: &str) {
        let command::Tagged { id, command } = command::parse(text).expect(text);
        self.next += 1;
        let input = match command {
            command::PeerCommand::Join(join) => RoomInput::Join(Box::new(JoinInput {
                connection,
                id,
                join,
                spare_user_id: UserId::parse("u-spare").expect("valid"),
                session: SessionId::new(Uuid::from_u128(self.next.into())),
                token: ResumeToken::new([u8::try_from(self.next % 251).expect("small"); 32]),
                already_sent: 0,
            })),
            command::PeerCommand::Resume(resume) => RoomInput::Resume { connection, id, resume },
            command::PeerCommand::InRoom(command) => RoomInput::Command { connection, id, command },
        };
        let node = self.browsers[&connection].0;
        self.input(node, input);
    }

    /// The browser comes back at a node, with everything it has heard.
    pub fn resume(&mut self, old: ConnectionId, node: usize) -> ConnectionId {
        let connection = self.connect(node);
        let before = &self.browsers[&old].1;
        let (session, token) = before.session.clone().expect("had a session");
        let (last_seq, roster) = (before.last_seq, before.roster.clone());
        let browser = &mut self.browsers.get_mut(&connection).expect("connected").1;
        browser.last_seq = last_seq;
        browser.roster = roster;
        browser.session = Some((session.clone(), token.clone()));
        let resume = format!(
            r#"{{"type":"Resume","session_id":"{session}","resume_token":"{token}","last_seq":{last_seq}}}"#
        );
        self.say(connection, &resume);
        connection
    }

    pub fn lose(&mut self, connection: ConnectionId) {
        let node = self.browsers[&connection].0;
        self.input(node, RoomInput::ConnectionClosed { connection });
    }

    /// Time passes for the nodes that live.
    pub fn pass(&mut self, duration: Duration, dead: &[usize]) {
        let steps = duration.as_millis() / 500;
        for _ in 0..steps {
            self.now.mono += Duration::from_millis(500);
            self.now.wall_ms += 500;
            for node in (0..self.rooms.len()).filter(|node| !dead.contains(node)) {
                self.input(node, RoomInput::Tick);
            }
        }
    }

    pub fn input(&mut self, node: usize, input: RoomInput) {
        let mut inputs = VecDeque::from([(node, input)]);
        loop {
            while let Some((node, input)) = inputs.pop_front() {
                let mut effects = Vec::new();
                self.rooms[node].handle(self.now, input, &mut effects);
                self.rooms[node].check_invariants();
                for effect in effects {
                    inputs.extend(self.perform(node, effect).map(|input| (node, input)));
                }
            }
            match self.next_message() {
                Some(next) => inputs.push_back(next),
                None => return,
            }
        }
    }

    fn next_message(&mut self) -> Option<(usize, RoomInput)> {
        let of = |rooms: &[Rooms], node: &NodeRef| rooms.iter().position(|room| room.node().id == node.id);
        let ready = self.wires.iter().find(|((from, to), queue)| {
            let pair = (of(&self.rooms, from).expect("known"), of(&self.rooms, to).expect("known"));
            !queue.is_empty() && !self.held.contains(&pair)
        });
        let key = ready.map(|(key, _)| key.clone())?;
        let message = self.wires.get_mut(&key)?.pop_front()?;
        let to = of(&self.rooms, &key.1)?;
        Some((to, RoomInput::Node { from: key.0, message: Box::new(message) }))
    }

    /// The wires deliver again.
    pub fn release(&mut self) {
        self.held.clear();
        if let Some((node, input)) = self.next_message() {
            self.input(node, input);
        }
    }

    /// What is on the way between two nodes is lost, and its sender learns of it.
    pub fn lose_wire(&mut self, from: usize, to: usize) {
        let key = (self.rooms[from].node().clone(), self.rooms[to].node().clone());
        let messages = self.wires.remove(&key).unwrap_or_default().into();
        self.input(from, RoomInput::Undelivered { to: key.1, messages });
    }

    fn perform(&mut self, node: usize, effect: RoomEffect) -> Option<RoomInput> {
        let now_ms = self.now.wall_ms;
        let reaches = self.reaches[node];
        match effect {
            RoomEffect::Admit { ticket, request } => {
                if !reaches {
                    return Some(RoomInput::AdmissionFailed { ticket });
                }
                let record = self.registry.entry(request.room.clone()).or_default();
                Some(RoomInput::AdmissionDecided { ticket, outcome: record.admit(now_ms, *request) })
            }
            RoomEffect::Mirror(change) => {
                let room = change.room().clone();
                if !reaches {
                    return Some(RoomInput::MirrorFailed { room });
                }
                self.registry.entry(room).or_default().apply(now_ms, *change);
                None
            }
            RoomEffect::Sync { ticket, request } => {
                let record = self.registry.entry(request.room.clone()).or_default();
                let picture = reaches.then(|| record.sync(now_ms, *request));
                Some(RoomInput::Synced { ticket, picture })
            }
            RoomEffect::Find { ticket, room, user_id } => {
                let record = self.registry.entry(room).or_default();
                let row = reaches.then(|| record.row(&user_id).cloned().map(Box::new));
                Some(RoomInput::Found { ticket, row })
            }
            RoomEffect::TakeOver { ticket, request } => {
                let record = self.registry.entry(request.room.clone()).or_default();
                let outcome = reaches.then(|| record.take_over(now_ms, *request));
                Some(RoomInput::TakenOver { ticket, outcome })
            }
            RoomEffect::Send { to, message } => {
                let json = serde_json::to_string(&message).expect("JSON");
                let message = serde_json::from_str(&json).expect(&json);
                let from = self.rooms[node].node().clone();
                self.wires.entry((from, to)).or_default().push_back(message);
                None
            }
            RoomEffect::Settle { connection, outcome } => {
                self.refused.extend(outcome.err().map(|refusal| (connection, refusal.code)));
                None
            }
            RoomEffect::Deliver { connection, seq, body } => {
                let message: Value = serde_json::from_str(&body.numbered(seq)).expect("JSON");
                self.browsers.get_mut(&connection).expect("known").1.hear(message);
                Some(RoomInput::Confirm { connection, seq, bytes: body.len() })
            }
            RoomEffect::Close { connection, code } => {
                self.browsers.get_mut(&connection).expect("known").1.closed.get_or_insert(code);
                Some(RoomInput::ConnectionClosed { connection })
            }
            RoomEffect::Count(_) => None,
        }
    }

    pub fn take(&mut self, connection: ConnectionId) -> Vec<Value> {
        std::mem::take(&mut self.browsers.get_mut(&connection).expect("known").1.heard)
    }

    /// The types of what was heard since the last time.
    pub fn heard(&mut self, connection: ConnectionId) -> Vec<String> {
        self.take(connection).iter().map(|message| text(&message["type"])).collect()
    }

    pub fn roster(&self, connection: ConnectionId) -> Vec<String> {
        self.browsers[&connection].1.roster.keys().cloned().collect()
    }

    pub fn truth(&self, room: &str) -> Vec<String> {
        let record = self.registry.get(&RoomName::parse(room).expect("valid"));
        record.map(|record| record.user_ids().map(ToString::to_string).collect()).unwrap_or_default()
    }
}
