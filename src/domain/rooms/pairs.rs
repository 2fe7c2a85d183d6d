//! Relays are numbered for each pair of sessions, so that a session that moves between nodes hears everything once and in
//! order, whichever way it came.
//!
//! A number's `after` names the last one before it that was not refused: a recipient that has heard that one may hear
//! this one, so what was told to its sender as unreachable leaves no hole.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use crate::{
    domain::membership::Generation,
    protocol::{SessionId, cluster::Target, event::Body, limits},
};

/// What a session has sent, by recipient.
#[derive(Debug, Default)]
pub struct Sent {
    /// When it began to count.
    numbering: Generation,
    pairs: BTreeMap<SessionId, Numbered>,
}

#[derive(Debug, Default)]
struct Numbered {
    /// The last number given.
    last: u64,
    /// The last that was not refused.
    kept: u64,
    /// Those before it that were, with what each comes after: on another way than later ones that may well arrive.
    refused: BTreeMap<u64, u64>,
}

impl Sent {
    /// Begins to count.
    #[must_use]
    pub fn new(numbering: Generation) -> Self {
        Self { numbering, pairs: BTreeMap::new() }
    }

    /// Goes on where another node stopped.
    #[must_use]
    pub fn restore(numbering: Generation, pairs: Vec<(SessionId, u64, u64)>) -> Self {
        let numbered = |(session, last, kept)| (session, Numbered { last, kept, ..Numbered::default() });
        Self { numbering, pairs: pairs.into_iter().map(numbered).collect() }
    }

    /// For another node.
    #[must_use]
    pub fn pairs(&self) -> Vec<(SessionId, u64, u64)> {
        self.pairs.iter().map(|(session, pair)| (*session, pair.last, pair.kept)).collect()
    }

    /// When it began to count.
    #[must_use]
    pub fn numbering(&self) -> Generation {
        self.numbering
    }

    /// Numbers a relay to a session.
    pub fn next(&mut self, session: SessionId) -> Target {
        let pair = self.pairs.entry(session).or_default();
        let after = pair.kept;
        pair.last += 1;
        pair.kept = pair.last;
        Target { session, n: pair.last, after }
    }

    /// A relay will not arrive, and its sender is told so.
    pub fn refused(&mut self, target: &Target) {
        let Some(pair) = self.pairs.get_mut(&target.session) else { return };
        if target.n > pair.kept {
            return;
        }
        pair.refused.insert(target.n, target.after);
        while let Some(after) = pair.refused.remove(&pair.kept) {
            pair.kept = after;
        }
        if pair.refused.len() > limits::RELAYS_HELD_MAX {
            // Should one after it be named that was refused, the recipient is told that something is missing.
            pair.refused.pop_first();
        }
    }

    /// A session is over.
    pub fn forget(&mut self, session: &SessionId) {
        self.pairs.remove(session);
    }
}

/// What a session has heard, by sender.
#[derive(Debug)]
pub struct Heard {
    /// Whether everything that was heard before is known; else the first from each sender is taken as it comes.
    complete: bool,
    senders: BTreeMap<SessionId, Sender>,
}

#[derive(Debug, Default)]
struct Sender {
    numbering: Generation,
    last: u64,
    /// What came before its turn, and since when.
    held: BTreeMap<u64, (u64, Body)>,
    since: Duration,
}

/// What a session may be told now.
#[derive(Debug, PartialEq, Eq)]
pub enum Hearing {
    /// These, in order; none where it came twice.
    Now(Vec<Body>),
    /// It came before its turn and is kept.
    Later,
    /// Too much came before its turn.
    Overrun,
}

impl Heard {
    /// A session that is new.
    #[must_use]
    pub fn nothing() -> Self {
        Self { complete: true, senders: BTreeMap::new() }
    }

    /// A session whose node has died with what it knew.
    #[must_use]
    pub fn unknown() -> Self {
        Self { complete: false, senders: BTreeMap::new() }
    }

    /// A session that comes from another node.
    #[must_use]
    pub fn restore(senders: Vec<(SessionId, Generation, u64)>) -> Self {
        let sender = |(session, numbering, last)| (session, Sender { numbering, last, ..Sender::default() });
        Self { complete: true, senders: senders.into_iter().map(sender).collect() }
    }

    /// For another node.
    #[must_use]
    pub fn senders(&self) -> Vec<(SessionId, Generation, u64)> {
        self.senders.iter().map(|(session, sender)| (*session, sender.numbering, sender.last)).collect()
    }

    /// Takes a relay.
    pub fn hear(
        &mut self,
        now: Duration,
        from: SessionId,
        numbering: Generation,
        target: &Target,
        body: Body,
    ) -> Hearing {
        let sender = match self.senders.entry(from) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let last = if self.complete { 0 } else { target.after };
                unknown.insert(Sender { numbering, last, ..Sender::default() })
            }
        };
        if numbering < sender.numbering || (numbering == sender.numbering && target.n <= sender.last) {
            return Hearing::Now(Vec::new());
        }
        if numbering > sender.numbering {
            *sender = Sender { numbering, ..Sender::default() };
        }
        if target.after > sender.last {
            if sender.held.is_empty() {
                sender.since = now;
            }
            sender.held.insert(target.n, (target.after, body));
            return if sender.held.len() > limits::RELAYS_HELD_MAX {
                Hearing::Overrun
            } else {
                Hearing::Later
            };
        }
        sender.last = target.n;
        let mut heard = vec![body];
        heard.append(&mut sender.release());
        Hearing::Now(heard)
    }

    /// Gives up what is missing before the things that have been kept for too long. `None`: nothing has been.
    pub fn give_up(&mut self, kept_since_before: Duration) -> Option<Vec<Body>> {
        let mut heard = Vec::new();
        let mut gave_up = false;
        for sender in self.senders.values_mut() {
            if !sender.held.is_empty() && sender.since <= kept_since_before {
                gave_up = true;
                while let Some((_, (after, _))) = sender.held.first_key_value() {
                    sender.last = sender.last.max(*after);
                    heard.append(&mut sender.release());
                }
            }
        }
        gave_up.then_some(heard)
    }

    /// A sender is gone for good.
    pub fn forget(&mut self, from: &SessionId) {
        self.senders.remove(from);
    }
}

impl Sender {
    /// What has waited for its turn, and may be heard now.
    fn release(&mut self) -> Vec<Body> {
        let mut heard = Vec::new();
        while let Some(first) = self.held.first_entry() {
            if first.get().0 > self.last {
                break;
            }
            let n = *first.key();
            let (_, body) = first.remove();
            if n > self.last {
                self.last = n;
                heard.push(body);
            }
        }
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(number: u128) -> SessionId {
        SessionId::new(uuid::Uuid::from_u128(number))
    }

    fn body(text: &str) -> Body {
        serde_json::from_str(&format!(r#"{{"type":"{text}"}}"#)).expect("an object")
    }

    fn hear(heard: &mut Heard, numbering: u64, target: &Target, text: &str) -> Hearing {
        heard.hear(Duration::ZERO, session(1), numbering, target, body(text))
    }

    #[test]
    fn each_is_heard_once_and_in_order_whatever_the_way() {
        let (mut sent, mut heard) = (Sent::new(5), Heard::nothing());
        let targets: Vec<_> = (0..3).map(|_| sent.next(session(2))).collect();
        assert_eq!(hear(&mut heard, 5, &targets[1], "b"), Hearing::Later);
        assert_eq!(hear(&mut heard, 5, &targets[0], "a"), Hearing::Now(vec![body("a"), body("b")]));
        assert_eq!(hear(&mut heard, 5, &targets[1], "b"), Hearing::Now(vec![]), "twice");
        // The session moves, and goes on elsewhere.
        let mut heard = Heard::restore(heard.senders());
        assert_eq!(hear(&mut heard, 5, &targets[0], "a"), Hearing::Now(vec![]));
        assert_eq!(hear(&mut heard, 5, &targets[2], "c"), Hearing::Now(vec![body("c")]));
    }

    #[test]
    fn what_was_refused_leaves_no_hole() {
        let (mut sent, mut heard) = (Sent::new(5), Heard::nothing());
        let first = sent.next(session(2));
        let (second, third) = (sent.next(session(2)), sent.next(session(2)));
        assert_eq!(hear(&mut heard, 5, &first, "a"), Hearing::Now(vec![body("a")]));
        sent.refused(&third);
        sent.refused(&second);
        let fourth = sent.next(session(2));
        assert_eq!((fourth.n, fourth.after), (4, 1));
        assert_eq!(hear(&mut heard, 5, &fourth, "d"), Hearing::Now(vec![body("d")]));
        let mut sent = Sent::restore(5, sent.pairs());
        assert_eq!(sent.next(session(2)).after, 4);
    }

    #[test]
    fn what_was_refused_on_one_way_takes_nothing_with_it_that_came_on_another() {
        let (mut sent, mut heard) = (Sent::new(5), Heard::nothing());
        let targets: Vec<_> = (0..4).map(|_| sent.next(session(2))).collect();
        // The first two went to where the recipient was before.
        assert_eq!(hear(&mut heard, 5, &targets[2], "c"), Hearing::Later);
        sent.refused(&targets[0]);
        sent.refused(&targets[1]);
        let later = sent.next(session(2));
        assert_eq!((later.n, later.after), (5, 4));
        assert_eq!(hear(&mut heard, 5, &later, "e"), Hearing::Later);
        assert_eq!(hear(&mut heard, 5, &targets[3], "d"), Hearing::Later);
        assert_eq!(heard.give_up(Duration::ZERO), Some(vec![body("c"), body("d"), body("e")]));
        // Should the others be refused too, in whatever order, nothing is left to wait for.
        for target in [&targets[2], &later, &targets[3]] {
            sent.refused(target);
        }
        assert_eq!(sent.next(session(2)).after, 0);
    }

    #[test]
    fn who_begins_to_count_anew_is_heard_anew() {
        let mut heard = Heard::nothing();
        hear(&mut heard, 5, &Target { session: session(2), n: 1, after: 0 }, "a");
        let anew = Target { session: session(2), n: 1, after: 0 };
        assert_eq!(hear(&mut heard, 6, &anew, "b"), Hearing::Now(vec![body("b")]));
        let late = Target { session: session(2), n: 2, after: 1 };
        assert_eq!(hear(&mut heard, 5, &late, "late"), Hearing::Now(vec![]));
        // A session of which nothing is known takes the first as it comes.
        let mut heard = Heard::unknown();
        let middle = Target { session: session(2), n: 7, after: 6 };
        assert_eq!(hear(&mut heard, 5, &middle, "g"), Hearing::Now(vec![body("g")]));
    }

    #[test]
    fn what_never_comes_is_given_up_in_the_end() {
        let mut heard = Heard::nothing();
        for n in [3, 5] {
            let target = Target { session: session(2), n, after: n - 1 };
            assert_eq!(hear(&mut heard, 5, &target, &n.to_string()), Hearing::Later);
        }
        assert_eq!(heard.give_up(Duration::ZERO), Some(vec![body("3"), body("5")]));
        assert_eq!(heard.give_up(Duration::ZERO), None);
        assert_eq!(
            hear(&mut heard, 5, &Target { session: session(2), n: 6, after: 5 }, "6"),
            Hearing::Now(vec![body("6")])
        );
    }
}
