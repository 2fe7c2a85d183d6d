//! A history told anew as stays: which session a browser had from when on, what it sent and heard in it.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use super::{History, Page, What, text};

/// What relays carry, so that each can be told from every other: the sender's session and its own number.
pub fn relay_payload(session: &str, number: u64) -> Value {
    json!({ "from": session, "k": number })
}

/// One browser's history.
pub struct Tale {
    pub browser: String,
    pub stays: Vec<Stay>,
    /// How the page stands at the end.
    pub page: Page,
}

/// One session as its browser has lived through it.
pub struct Stay {
    pub browser: String,
    pub session: String,
    pub room: String,
    pub user: String,
    pub began: Duration,
    /// When it was given the whole picture anew.
    pub snapshots: Vec<Duration>,
    pub sent: Vec<Sent>,
    pub heard: Vec<Heard>,
    /// Whom its page saw in the room, from when on.
    pub views: Vec<(Duration, BTreeSet<String>)>,
    /// Whether its browser is in it, by an open socket, at the end.
    pub lasts: bool,
}

/// A relay that was sent.
pub struct Sent {
    pub at: Duration,
    pub number: u64,
    pub id: Value,
    /// `None`: everyone else.
    pub target: Option<String>,
    pub accepted: bool,
    pub refused: bool,
    /// Whom the page saw in the room both when it sent this and when this was accepted.
    pub seen: BTreeSet<String>,
}

/// A relay that was heard.
pub struct Heard {
    pub at: Duration,
    pub from: String,
    pub number: u64,
}

impl Stay {
    /// Whether its page saw somebody at that time.
    pub fn saw(&self, user: &str, at: Duration) -> bool {
        let view = self.views.iter().rev().find(|(from, _)| *from <= at);
        view.is_some_and(|(_, users)| users.contains(user))
    }

    /// Whether it was given the whole picture in that time.
    pub fn had_snapshot(&self, after: Duration, until: Duration) -> bool {
        self.snapshots.iter().any(|at| (after..=until).contains(at))
    }
}

/// Goes through a history as its page has.
pub fn tell(history: &History, wrong: &mut Vec<String>) -> Tale {
    let mut tale = Tale { browser: history.browser.clone(), stays: Vec::new(), page: Page::default() };
    for entry in &history.entries {
        let found = tale.page.take(&entry.what);
        let at = entry.at.as_secs_f64();
        wrong.extend(found.into_iter().map(|sentence| format!("{at:.3}s {}: {sentence}", history.browser)));
        match &entry.what {
            What::Said(message) => tale.said(entry.at, message),
            What::Heard(message) => {
                tale.heard(entry.at, message);
                tale.look(entry.at);
            }
            What::Opened | What::Closed(_) => {}
        }
    }
    if tale.page.attached
        && let Some(stay) = tale.stays.last_mut()
    {
        stay.lasts = true;
    }
    tale
}

impl Tale {
    fn said(&mut self, at: Duration, message: &Value) {
        if payload(message).is_none() || !self.page.attached {
            return;
        }
        let Some(stay) = self.stays.last_mut() else { return };
        stay.sent.push(Sent {
            at,
            number: payload(message).and_then(|payload| payload["k"].as_u64()).unwrap_or_default(),
            id: message["id"].clone(),
            target: message["target_user_id"].as_str().map(str::to_owned),
            accepted: false,
            refused: false,
            seen: self.page.roster.keys().cloned().collect(),
        });
    }

    fn heard(&mut self, at: Duration, message: &Value) {
        match text(message, "type") {
            "RoomJoined" => self.stays.push(Stay {
                browser: self.browser.clone(),
                session: text(message, "session_id").to_owned(),
                room: self.page.room.clone(),
                user: self.page.user.clone(),
                began: at,
                snapshots: Vec::new(),
                sent: Vec::new(),
                heard: Vec::new(),
                views: Vec::new(),
                lasts: false,
            }),
            "Resumed" if message["outcome"] == "snapshot" => {
                self.stay(|stay| stay.snapshots.push(at));
            }
            "Accepted" => {
                let present: BTreeSet<_> = self.page.roster.keys().cloned().collect();
                self.answer(&message["id"], |sent| {
                    sent.accepted = true;
                    sent.seen.retain(|user| present.contains(user));
                });
            }
            "Error" => self.answer(&message["id"], |sent| sent.refused = true),
            _ => {
                let Some(payload) = payload(message) else { return };
                let (from, number) =
                    (text(payload, "from").to_owned(), payload["k"].as_u64().unwrap_or_default());
                self.stay(|stay| stay.heard.push(Heard { at, from, number }));
            }
        }
    }

    /// Notes whom the page sees, where that has changed.
    fn look(&mut self, at: Duration) {
        let roster = &self.page.roster;
        let Some(stay) = self.stays.last_mut() else { return };
        let changed = stay.views.last().is_none_or(|(_, users)| !users.iter().eq(roster.keys()));
        if changed {
            stay.views.push((at, roster.keys().cloned().collect()));
        }
    }

    fn stay(&mut self, act: impl FnOnce(&mut Stay)) {
        if let Some(stay) = self.stays.last_mut() {
            act(stay);
        }
    }

    fn answer(&mut self, id: &Value, act: impl FnOnce(&mut Sent)) {
        self.stay(|stay| {
            // Answers come soon, so it is one of the last.
            if let Some(sent) = stay.sent.iter_mut().rev().find(|sent| sent.id == *id) {
                act(sent);
            }
        });
    }
}

fn payload(message: &Value) -> Option<&Value> {
    let payload = match text(message, "type") {
        "Offer" | "Answer" => &message["sdp"],
        "IceCandidate" => &message["candidate"],
        "Message" => &message["data"],
        _ => return None,
    };
    payload.get("k").map(|_| payload)
}
