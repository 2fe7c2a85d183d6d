//! What a page makes of what it hears: its room, its session, its roster.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{What, text};

/// A page's state. The browsers of the simulation act by it, and the checker goes through each history with it.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Its session's name and token, until it knows that the session is over.
    pub session: Option<(String, String)>,
    pub room: String,
    pub user: String,
    pub role: String,
    /// Everyone else.
    pub roster: BTreeMap<String, Value>,
    pub locked: bool,
    pub last_seq: u64,
    /// Whether it is in a room by an open socket.
    pub attached: bool,
    /// The `id` of a `Join` or `Resume` that was not answered yet.
    hello: Option<Value>,
    /// The `id` of a `Leave` that was not answered yet.
    leave: Option<Value>,
}

/// Close codes after which a session is over.
const REPLACED: u16 = 4409;
const KICKED: u16 = 4410;

impl Page {
    /// Takes what happened; says what is wrong with it.
    pub fn take(&mut self, what: &What) -> Vec<String> {
        match what {
            What::Opened => Vec::new(),
            What::Said(message) => self.said(message),
            What::Heard(message) => self.heard(message),
            What::Closed(code) => {
                self.attached = false;
                self.hello = None;
                if self.leave.take().is_some() || matches!(code, Some(REPLACED | KICKED)) {
                    self.session = None;
                }
                Vec::new()
            }
        }
    }

    /// Whether a `Join` or `Resume` waits for its answer.
    pub fn is_asking(&self) -> bool {
        self.hello.is_some()
    }

    fn said(&mut self, message: &Value) -> Vec<String> {
        match text(message, "type") {
            "Join" => {
                self.session = None;
                self.hello = Some(message["id"].clone());
            }
            "Resume" => {
                self.hello = Some(message["id"].clone());
                self.last_seq = message["last_seq"].as_u64().unwrap_or_default();
            }
            "Leave" => self.leave = Some(message["id"].clone()),
            _ => {}
        }
        Vec::new()
    }

    fn heard(&mut self, message: &Value) -> Vec<String> {
        let kind = text(message, "type");
        if kind == "Error" && self.hello.as_ref().is_some_and(|id| *id == message["id"]) {
            return self.refused(message);
        }
        let seq = message["seq"].as_u64().unwrap_or_default();
        let mut wrong = Vec::new();
        let leaps = kind == "RoomJoined" || (kind == "Resumed" && message["outcome"] == "snapshot");
        let rises =
            if leaps { kind == "RoomJoined" || seq > self.last_seq } else { seq == self.last_seq + 1 };
        if !rises {
            wrong.push(format!("numbers: {} after {}: {message}", seq, self.last_seq));
        }
        self.last_seq = seq;
        wrong.extend(self.learn(kind, message));
        wrong
    }

    /// A `Join` or `Resume` was refused, under the connection's own number.
    fn refused(&mut self, message: &Value) -> Vec<String> {
        self.hello = None;
        match text(message, "code") {
            "session_unknown" => self.session = None,
            "unauthorised" => return vec![format!("a browser's own token was refused: {message}")],
            _ => {}
        }
        Vec::new()
    }

    fn learn(&mut self, kind: &str, message: &Value) -> Option<String> {
        let user = || text(&message["user"], "user_id").to_owned();
        match kind {
            "RoomJoined" => self.enter(message),
            "Resumed" => {
                if message["outcome"] == "snapshot" {
                    self.enter(message);
                }
                self.attached = true;
                self.hello = None;
            }
            "UserJoined" => {
                let known = self.roster.insert(user(), message["user"].clone());
                return known.map(|_| format!("joined twice: {message}"));
            }
            "UserUpdated" if user() == self.user => self.role = text(&message["user"], "role").to_owned(),
            "UserUpdated" => match self.roster.get_mut(&user()) {
                Some(known) => *known = message["user"].clone(),
                None => return Some(format!("a stranger changed: {message}")),
            },
            "UserLeft" => {
                let known = self.roster.remove(text(message, "user_id"));
                return known.is_none().then(|| format!("a ghost left: {message}"));
            }
            "RoomState" => self.locked = message["locked"] == true,
            "Accepted" if self.leave.as_ref().is_some_and(|id| *id == message["id"]) => {
                self.leave = None;
                self.session = None;
                self.attached = false;
            }
            _ => {}
        }
        None
    }

    fn enter(&mut self, message: &Value) {
        self.attached = true;
        self.hello = None;
        self.session =
            Some((text(message, "session_id").to_owned(), text(message, "resume_token").to_owned()));
        self.room = text(message, "room_name").to_owned();
        self.user = text(message, "user_id").to_owned();
        self.role = text(message, "role").to_owned();
        self.locked = message["locked"] == true;
        let others = message["participants"].as_array().into_iter().flatten();
        self.roster = others.map(|user| (text(user, "user_id").to_owned(), user.clone())).collect();
    }
}
