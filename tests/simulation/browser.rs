//! Browsers: what they want, say and hear. Each keeps its page as the checker does.

use std::time::Duration;

use greenroom::protocol::ConnectionId;
use serde_json::{Value, json};

use crate::{
    checker::{Entry, History, Page, What, relay_payload, text},
    world::{Event, World},
};

/// One browser.
#[derive(Debug, Default)]
pub struct Browser {
    pub history: History,
    pub page: Page,
    pub socket: Option<ConnectionId>,
    pub room: String,
    pub user: String,
    /// Whether it is to be in its room.
    pub wants: bool,
    /// Where it was last.
    node: Option<usize>,
    next_id: u64,
    /// Of its relays.
    next_number: u64,
    /// When it last heard anything.
    heard_at: Duration,
    /// Why it was last not let in.
    pub refused: Option<String>,
}

/// A browser that hears nothing for so long asks whether anybody is there…
const QUIET_LINE: Duration = Duration::from_secs(3);
/// …and after so long goes elsewhere.
const DEAD_LINE: Duration = Duration::from_secs(6);

impl World {
    pub fn add_browsers(&mut self, count: usize) {
        let rooms = 1 + self.chance.below(2);
        // Fewer users than browsers: some are the same participant.
        let users = count - self.chance.below(2);
        for number in 0..count {
            let browser = Browser {
                history: History { browser: format!("b{number}"), entries: Vec::new() },
                room: format!("room{}", number % users % rooms),
                user: format!("u{}", number % users),
                wants: true,
                ..Browser::default()
            };
            self.browsers.push(browser);
            self.soon(300_000, 3_000_000, Event::Browser { browser: number });
        }
    }

    /// A browser does the next thing, and then another a little later.
    pub fn browse(&mut self, browser: usize) {
        self.soon(50_000, 400_000, Event::Browser { browser });
        let quiet = self.quiet;
        let held = &self.browsers[browser];
        match held.socket {
            None => self.come(browser, quiet),
            Some(_) if held.page.is_asking() => {}
            Some(_) if !held.page.attached => self.give_up(browser),
            Some(socket) => {
                let silent = self.now.saturating_sub(held.heard_at);
                if silent > DEAD_LINE {
                    self.give_up(browser);
                } else if silent > QUIET_LINE {
                    self.say_as(browser, socket, json!({ "type": "Ping" }));
                } else if !quiet {
                    self.act(browser, socket);
                }
            }
        }
    }

    /// A browser without a socket comes back, or comes, or stays away.
    fn come(&mut self, browser: usize, quiet: bool) {
        let held = &self.browsers[browser];
        let wants = held.wants || held.page.session.is_some();
        let patient = !quiet && self.chance.one_in(3);
        if patient {
            return;
        }
        if !wants {
            if !quiet && self.chance.one_in(20) {
                self.browsers[browser].wants = true;
            }
            return;
        }
        let Some(node) = self.choose_node(browser) else { return };
        let session = self.browsers[browser].page.session.clone();
        let socket = self.open(browser, node);
        let held = &mut self.browsers[browser];
        held.socket = Some(socket);
        held.node = Some(node);
        held.heard_at = self.now;
        self.note(browser, What::Opened);
        // A page that was loaded anew knows nothing of its session.
        let hello = match session {
            Some((session, token)) if quiet || !self.chance.one_in(12) => json!({
                "type": "Resume",
                "session_id": session,
                "resume_token": token,
                "last_seq": self.browsers[browser].page.last_seq,
            }),
            _ => {
                let held = &self.browsers[browser];
                json!({ "type": "Join", "room_name": held.room, "user_id": held.user })
            }
        };
        self.say_as(browser, socket, hello);
    }

    /// Some node that seems to be there; often the same as before.
    fn choose_node(&mut self, browser: usize) -> Option<usize> {
        let there: Vec<_> = (0..self.nodes.len()).filter(|node| self.nodes[*node].is_serving()).collect();
        let last = self.browsers[browser].node.filter(|node| there.contains(node));
        match last {
            _ if there.is_empty() => None,
            Some(last) if self.chance.one_in(2) => Some(last),
            _ => Some(*self.chance.pick(&there)),
        }
    }

    fn act(&mut self, browser: usize, socket: ConnectionId) {
        let is_moderator = self.browsers[browser].page.role == "moderator";
        let action = match self.chance.below(100) {
            0..45 => return self.signal(browser, socket),
            45..65 => return self.relay(browser, socket, None),
            65..71 => {
                let hand = self.chance.below(4);
                json!({ "type": "Update", "metadata": { "hand": hand } })
            }
            71..80 => json!({ "type": "Ack", "seq": self.browsers[browser].page.last_seq }),
            80..84 => return self.give_up(browser),
            84 => {
                self.browsers[browser].wants = false;
                json!({ "type": "Leave" })
            }
            85..88 if is_moderator => {
                let locked = self.chance.one_in(3);
                json!({ "type": "Lock", "locked": locked })
            }
            88 if is_moderator => match self.somebody(browser) {
                Some(target) => json!({ "type": "Kick", "target_user_id": target }),
                None => return,
            },
            _ => return,
        };
        self.say_as(browser, socket, action);
    }

    fn somebody(&mut self, browser: usize) -> Option<String> {
        let others: Vec<_> = self.browsers[browser].page.roster.keys().cloned().collect();
        (!others.is_empty()).then(|| self.chance.pick(&others).clone())
    }

    fn signal(&mut self, browser: usize, socket: ConnectionId) {
        if let Some(target) = self.somebody(browser) {
            self.relay(browser, socket, Some(&target));
        }
    }

    fn relay(&mut self, browser: usize, socket: ConnectionId, target: Option<&str>) {
        let held = &mut self.browsers[browser];
        held.next_number += 1;
        let session = held.page.session.as_ref().map(|(session, _)| session.clone()).unwrap_or_default();
        let payload = relay_payload(&session, held.next_number);
        let message = match target {
            Some(target) => json!({ "type": "Offer", "target_user_id": target, "sdp": payload }),
            None => json!({ "type": "Message", "data": payload }),
        };
        self.say_as(browser, socket, message);
    }

    /// At the end everybody says something to everybody, one by one and all at once: all of it must be heard.
    pub fn last_call(&mut self) {
        for browser in 0..self.browsers.len() {
            let held = &self.browsers[browser];
            let (Some(socket), true) = (held.socket, held.page.attached) else { continue };
            let others: Vec<_> = held.page.roster.keys().cloned().collect();
            for other in others {
                self.relay(browser, socket, Some(&other));
            }
            self.relay(browser, socket, None);
        }
    }

    /// After the quiet time, whoever wanted in is in, or was told a reason that has nothing to do with the nodes.
    pub fn shut_out(&mut self) {
        let reasons = ["room_full", "room_locked", "banned"];
        let out: Vec<_> = self
            .browsers
            .iter()
            .filter(|held| held.wants && !held.page.attached)
            .filter(|held| !held.refused.as_deref().is_some_and(|code| reasons.contains(&code)))
            .map(|held| format!("{} never came in: {:?}", held.history.browser, held.refused))
            .collect();
        self.wrong.extend(out);
    }

    fn say_as(&mut self, browser: usize, socket: ConnectionId, mut message: Value) {
        let held = &mut self.browsers[browser];
        held.next_id += 1;
        message["id"] = json!(held.next_id);
        self.note(browser, What::Said(message.clone()));
        self.send(socket, message);
    }

    /// A message has come to a browser.
    pub fn down(&mut self, id: ConnectionId, text_of: &str) {
        let Some(socket) = self.sockets.get(&id).filter(|socket| socket.to_browser) else { return };
        let (browser, node) = (socket.browser, socket.node);
        self.say(|| format!("b{browser} of n{} hears {text_of}", node + 1));
        let message: Value = serde_json::from_str(text_of).expect("JSON");
        let asked = self.browsers[browser].page.is_asking();
        let kind = text(&message, "type").to_owned();
        let code = text(&message, "code").to_owned();
        let now = self.now;
        self.note(browser, What::Heard(message));
        let held = &mut self.browsers[browser];
        held.heard_at = now;
        match kind.as_str() {
            "RoomJoined" | "Resumed" => held.refused = None,
            "Error" if asked && !held.page.is_asking() => {
                held.refused = Some(code);
                self.give_up(browser);
            }
            "Draining" => self.give_up(browser),
            _ => {}
        }
    }

    /// A browser's socket has ended.
    pub fn hangup(&mut self, id: ConnectionId, code: Option<u16>) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let browser = socket.browser;
        socket.to_node = false;
        if std::mem::replace(&mut socket.to_browser, false) {
            self.say(|| format!("b{browser}: socket ended, {code:?}"));
            self.forget_socket(browser, code);
        }
    }

    /// A browser lets go of its socket.
    pub fn give_up(&mut self, browser: usize) {
        if let Some(socket) = self.browsers[browser].socket {
            self.say(|| format!("b{browser} lets go of its socket"));
            self.lose(socket);
            self.forget_socket(browser, None);
        }
    }

    fn forget_socket(&mut self, browser: usize, code: Option<u16>) {
        self.browsers[browser].socket = None;
        self.note(browser, What::Closed(code));
        // Another browser has its place now, or it was thrown out.
        if matches!(code, Some(4409 | 4410)) {
            self.browsers[browser].wants = false;
        }
    }

    fn note(&mut self, browser: usize, what: What) {
        let held = &mut self.browsers[browser];
        let wrong = held.page.take(&what);
        held.history.entries.push(Entry { at: self.now, what });
        for sentence in wrong {
            self.say(|| format!("b{browser}: WRONG: {sentence}"));
        }
    }
}
