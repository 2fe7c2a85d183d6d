//! Coming back in quiet times: a session is taken up with nothing lost, at whichever node.

use std::time::Duration;

use serde_json::Value;

use super::{Entry, History, Page, Truth, What, text};

/// What happened longer ago does not trouble a resume any more. Longer than lease, grace and patience together.
const AFTERMATH: Duration = Duration::from_secs(30);
/// The node may have seen the socket go earlier than the browser did.
const MARGIN: Duration = Duration::from_secs(3);

/// Checks each `Resume` of each history.
pub fn check(histories: &[History], truth: &Truth, wrong: &mut Vec<String>) {
    for history in histories {
        let mut page = Page::default();
        let (mut lost_at, mut asked) = (Duration::ZERO, None);
        for entry in &history.entries {
            match &entry.what {
                What::Closed(_) => {
                    asked = None;
                    if page.attached {
                        lost_at = entry.at;
                    }
                }
                What::Said(message) if text(message, "type") == "Resume" => {
                    asked = Some(message["id"].clone());
                }
                What::Heard(message) => {
                    if let Some(outcome) = outcome(message, asked.as_ref()) {
                        asked = None;
                        let resume = Resume { user: &page.user, room: &page.room, lost_at, at: entry.at };
                        if outcome != "full" && resume.was_due(histories, truth) {
                            let at = entry.at.as_secs_f64();
                            wrong.push(format!("{at:.3}s {}: resumed as {outcome}", history.browser));
                        }
                    }
                }
                What::Opened | What::Said(_) => {}
            }
            page.take(&entry.what);
        }
    }
}

/// What became of a `Resume`, if this message says so.
fn outcome<'a>(message: &'a Value, asked: Option<&Value>) -> Option<&'a str> {
    let asked = asked?;
    match text(message, "type") {
        "Resumed" => Some(text(message, "outcome")),
        // Overloaded, draining: it may try again.
        "Error" if message["id"] == *asked && message["retryable"] == false => Some(text(message, "code")),
        _ => None,
    }
}

struct Resume<'a> {
    user: &'a str,
    room: &'a str,
    lost_at: Duration,
    at: Duration,
}

impl Resume<'_> {
    /// Whether nothing stood in the way of a full replay.
    fn was_due(&self, histories: &[History], truth: &Truth) -> bool {
        let calm =
            !truth.troubles.iter().any(|(from, to)| *from <= self.at && *to + AFTERMATH >= self.lost_at);
        calm && self.at + MARGIN < self.lost_at + truth.grace && !self.was_ended(histories)
    }

    /// Whether another browser may have ended the session: by joining as the same participant, or by a kick.
    fn was_ended(&self, histories: &[History]) -> bool {
        let from = self.lost_at.saturating_sub(MARGIN);
        let meanwhile = |entry: &&Entry| from <= entry.at && entry.at <= self.at;
        histories.iter().flat_map(|history| &history.entries).filter(meanwhile).any(|entry| {
            match &entry.what {
                What::Said(message) => match text(message, "type") {
                    "Join" => {
                        text(message, "user_id") == self.user && text(message, "room_name") == self.room
                    }
                    "Kick" => text(message, "target_user_id") == self.user,
                    _ => false,
                },
                _ => false,
            }
        })
    }
}
