//! Sockets between browsers and nodes: each way keeps its order, and what is on the way is lost with the socket.

use std::time::Duration;

use greenroom::{
    domain::rooms::{JoinInput, RoomInput},
    protocol::{
        Code, ConnectionId, Refusal, ResumeToken, Seq, SessionId, UserId,
        command::{self, PeerCommand, RoomCommand},
        event::Body,
        limits,
    },
};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    node::Input,
    world::{Event, World},
};

/// One socket.
#[derive(Debug)]
pub struct Socket {
    pub browser: usize,
    pub node: usize,
    pub life: u64,
    /// Whether what the browser says still reaches the node.
    pub to_node: bool,
    /// Whether what the node says still reaches the browser.
    pub to_browser: bool,
    /// The `id` of the `Join` or `Resume` that the node has not answered.
    asked: Option<Value>,
    /// When the last message each way arrives.
    up_at: Duration,
    down_at: Duration,
    unconfirmed: u64,
    unconfirmed_bytes: usize,
}

impl World {
    /// A browser opens a socket to a node.
    pub fn open(&mut self, browser: usize, node: usize) -> ConnectionId {
        let socket = Socket {
            browser,
            node,
            life: self.nodes[node].lives,
            to_node: true,
            to_browser: true,
            asked: None,
            up_at: self.now,
            down_at: self.now,
            unconfirmed: 0,
            unconfirmed_bytes: 0,
        };
        let id = ConnectionId(self.sockets.last_key_value().map_or(1, |(last, _)| last.0 + 1));
        self.sockets.insert(id, socket);
        id
    }

    /// A browser sends a message.
    pub fn send(&mut self, id: ConnectionId, message: Value) {
        let delay = self.delay(500, 20_000);
        let now = self.now;
        let socket = self.sockets.get_mut(&id).expect("open");
        socket.up_at = (now + delay).max(socket.up_at + Duration::from_nanos(1));
        let at = socket.up_at;
        self.at(at, Event::Up { socket: id, message });
    }

    /// A browser's message has come to its node.
    pub fn up(&mut self, id: ConnectionId, message: &Value) {
        let Some(socket) = self.sockets.get(&id).filter(|socket| socket.to_node) else { return };
        let (node, life, browser) = (socket.node, socket.life, socket.browser);
        self.say(|| format!("b{browser} to n{}: {message}", node + 1));
        let tagged = command::parse(&message.to_string()).expect("browsers speak properly");
        let (connection, name) = (id, tagged.id);
        let input = match tagged.command {
            PeerCommand::Join(join) => {
                self.asks(id, message);
                RoomInput::Join(Box::new(JoinInput {
                    connection,
                    id: name,
                    join,
                    spare_user_id: UserId::parse("spare").expect("valid"),
                    session: SessionId::new(self.uuid()),
                    token: ResumeToken::new(self.secret()),
                    already_sent: 0,
                }))
            }
            PeerCommand::Resume(resume) => {
                self.asks(id, message);
                RoomInput::Resume { connection, id: name, resume }
            }
            PeerCommand::InRoom(command) => {
                if matches!(command, RoomCommand::Leave) {
                    self.asks(id, message);
                }
                RoomInput::Command { connection, id: name, command }
            }
        };
        self.input(node, life, Input::Rooms(input));
    }

    fn asks(&mut self, id: ConnectionId, message: &Value) {
        self.sockets.get_mut(&id).expect("there").asked = Some(message["id"].clone());
        self.at(self.now + limits::ANSWER_TIMEOUT, Event::Unanswered { socket: id });
    }

    fn uuid(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.chance.next(), self.chance.next())
    }

    fn secret(&mut self) -> [u8; 32] {
        let mut secret = [0; 32];
        for part in secret.chunks_mut(8) {
            part.copy_from_slice(&self.chance.next().to_le_bytes());
        }
        secret
    }

    /// A node answers a `Join`, `Resume` or `Leave`.
    pub fn settle(&mut self, id: ConnectionId, outcome: Result<(), Refusal>) {
        let Some(asked) = self.sockets.get_mut(&id).and_then(|socket| socket.asked.take()) else { return };
        if let Err(refusal) = outcome {
            let name = serde_json::from_value(asked).ok();
            self.write(id, Body::refusal(&refusal, name.as_ref()).numbered(1));
            if refusal.code.row().ends {
                self.close(id, refusal.code);
            }
        }
    }

    /// A node has not answered in time: its end of the socket gives up.
    pub fn unanswered(&mut self, id: ConnectionId) {
        if self.sockets.get(&id).is_some_and(|socket| socket.asked.is_some()) {
            self.close(id, Code::Overloaded);
        }
    }

    /// A node hands a message to a socket; every so often the socket says how far it has come.
    pub fn deliver(&mut self, id: ConnectionId, seq: Seq, body: &Body) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        socket.unconfirmed += 1;
        socket.unconfirmed_bytes += body.len();
        let due = socket.unconfirmed >= limits::CONFIRM_MESSAGES
            || socket.unconfirmed_bytes >= limits::CONFIRM_BYTES;
        if due && socket.to_node {
            let bytes = std::mem::take(&mut socket.unconfirmed_bytes);
            socket.unconfirmed = 0;
            let (node, life) = (socket.node, socket.life);
            let confirm = RoomInput::Confirm { connection: id, seq, bytes };
            self.soon(10, 500, Event::Node { node, life, input: Box::new(Input::Rooms(confirm)) });
        }
        self.write(id, body.numbered(seq));
    }

    fn write(&mut self, id: ConnectionId, text: String) {
        let at = self.next_down(id);
        self.at(at, Event::Down { socket: id, text });
    }

    /// When the next thing to be sent to a browser arrives.
    fn next_down(&mut self, id: ConnectionId) -> Duration {
        let delay = self.delay(500, 20_000);
        let now = self.now;
        let socket = self.sockets.get_mut(&id).expect("there");
        socket.down_at = (now + delay).max(socket.down_at + Duration::from_nanos(1));
        socket.down_at
    }

    /// A node ends a socket, after what it has said.
    pub fn close(&mut self, id: ConnectionId, code: Code) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        if !std::mem::replace(&mut socket.to_node, false) {
            return;
        }
        let (node, life) = (socket.node, socket.life);
        let closed = Box::new(Input::Rooms(RoomInput::ConnectionClosed { connection: id }));
        self.soon(100, 5_000, Event::Node { node, life, input: closed });
        let at = self.next_down(id);
        self.at(at, Event::Hangup { socket: id, code: code.row().close });
    }

    /// A browser's end of a socket is gone: the node learns of it, sooner or later.
    pub fn lose(&mut self, id: ConnectionId) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        socket.to_browser = false;
        if !socket.to_node {
            return;
        }
        let (node, life) = (socket.node, socket.life);
        let late = self.chance.one_in(4);
        // What the browser said last arrives, or not.
        let cut = self.chance.one_in(2);
        let socket = self.sockets.get_mut(&id).expect("there");
        socket.to_node = !cut;
        let after = socket.up_at;
        let delay = if late { self.delay(100_000, 2_000_000) } else { self.delay(100, 5_000) };
        let closed = Box::new(Input::Rooms(RoomInput::ConnectionClosed { connection: id }));
        self.at(after.max(self.now) + delay, Event::Node { node, life, input: closed });
    }
}
