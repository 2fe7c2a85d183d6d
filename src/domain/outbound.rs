//! What a session says to its browser: numbered, kept for a while, and handed over no faster than the socket takes it.
//!
//! ```text
//!            acked            confirmed          handed              last
//!   ──────────┼──────────────────┼─────────────────┼──────────────────┼──►  seq
//!    forgotten│ kept for a resume│ in the window   │ waits its turn   │
//! ```
//! The browser acknowledges (`Ack`), the connection confirms what it has written, which it can only while its socket
//! takes more, and the window bounds what lies between handed and confirmed. A window that stays full is a slow consumer. The ring is bounded in
//! messages and bytes: when it overruns, the oldest is forgotten, and a resume from before it is told so.

use std::{collections::VecDeque, time::Duration};

use super::clock::Now;
use crate::protocol::{Seq, event::Body, limits};

/// One session's way out.
#[derive(Debug)]
pub struct Outbound {
    ring: VecDeque<Kept>,
    ring_bytes: usize,
    last: Seq,
    handed: Seq,
    confirmed: Seq,
    window_bytes: usize,
    /// Since when the window has been full without the socket taking anything.
    blocked_since: Option<Duration>,
}

#[derive(Debug)]
struct Kept {
    seq: Seq,
    body: Body,
}

/// How a session can be taken up after a given message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// Everything after it is here and will be handed over again.
    Full,
    /// Some of it is lost, or the browser claims to have heard what was never said.
    Lost,
}

impl Outbound {
    /// Begins numbering after `already_sent` messages that the connection itself has numbered.
    #[must_use]
    pub fn new(already_sent: Seq) -> Self {
        Self {
            ring: VecDeque::new(),
            ring_bytes: 0,
            last: already_sent,
            handed: already_sent,
            confirmed: already_sent,
            window_bytes: 0,
            blocked_since: None,
        }
    }

    /// Goes on where another node stopped: with these kept, the last of them numbered `last`, and none of them heard.
    #[must_use]
    pub fn restore(last: Seq, kept: Vec<Body>) -> Self {
        let count = Seq::try_from(kept.len()).unwrap_or(last);
        let mut restored = Self::new(last.saturating_sub(count));
        for body in kept {
            restored.push(body);
        }
        restored
    }

    /// Whether anything is kept that the browser has not acknowledged.
    #[must_use]
    pub fn has_kept(&self) -> bool {
        !self.ring.is_empty()
    }

    /// What is kept, for another node; the last of them has the number [`Self::last`].
    #[must_use]
    pub fn kept(&self) -> Vec<Body> {
        self.ring.iter().map(|kept| kept.body.clone()).collect()
    }

    /// Numbers a message and keeps it. Returns whether one that was never handed over had to be forgotten for it:
    /// the connection, if there is one, can no longer be told everything.
    pub fn push(&mut self, body: Body) -> bool {
        let mut unsaid = false;
        // The newest is kept whatever its size: the picture of a large room may be larger than the ring.
        while !self.ring.is_empty()
            && (self.ring.len() >= limits::RING_MESSAGES_MAX
                || self.ring_bytes + body.len() > limits::RING_BYTES_MAX)
        {
            unsaid |= self.forget_oldest() > self.handed;
        }
        self.last += 1;
        self.ring_bytes += body.len();
        self.ring.push_back(Kept { seq: self.last, body });
        unsaid
    }

    /// Forgets everything up to `seq`, which the browser says has arrived. What was never handed over stays.
    pub fn acknowledge(&mut self, seq: Seq) {
        let seq = seq.min(self.handed);
        while self.ring.front().is_some_and(|kept| kept.seq <= seq) {
            self.forget_oldest();
        }
        if self.ring.is_empty() {
            // A session idles with nothing kept: give the memory back.
            self.ring.shrink_to(8);
        }
    }

    /// Hands over the next message if the window has room for it; notes since when it has not.
    pub fn next(&mut self, now: Now) -> Option<(Seq, Body)> {
        if self.handed == self.last {
            return None;
        }
        let out = self.handed - self.confirmed;
        if out > 0 && (out >= limits::WINDOW_MESSAGES_MAX || self.window_bytes >= limits::WINDOW_BYTES_MAX) {
            self.blocked_since.get_or_insert(now.mono);
            return None;
        }
        let first = self.ring.front()?.seq;
        let index = usize::try_from((self.handed + 1).checked_sub(first)?).ok()?;
        let kept = self.ring.get(index)?;
        self.handed = kept.seq;
        self.window_bytes += kept.body.len();
        Some((kept.seq, kept.body.clone()))
    }

    /// The socket has taken everything up to `seq`; `bytes` is the size of what it took since it last said so.
    pub fn confirm(&mut self, seq: Seq, bytes: usize) {
        let seq = seq.min(self.handed);
        if seq > self.confirmed {
            self.confirmed = seq;
            self.window_bytes = self.window_bytes.saturating_sub(bytes);
            self.blocked_since = None;
        }
    }

    /// Since when the window has been full, if it is.
    #[must_use]
    pub fn blocked_since(&self) -> Option<Duration> {
        self.blocked_since
    }

    /// Prepares for another connection whose browser has heard everything up to `last_seq`. With [`Replay::Full`]
    /// the rest is handed over again; with [`Replay::Lost`] the ring is emptied and numbering goes on.
    pub fn rewind(&mut self, last_seq: Seq) -> Replay {
        let first_kept = self.ring.front().map_or(self.last + 1, |kept| kept.seq);
        let known = last_seq <= self.last && last_seq + 1 >= first_kept;
        if !known {
            self.fork(last_seq);
        }
        self.handed = if known { last_seq } else { self.last };
        self.confirmed = self.handed;
        self.window_bytes = 0;
        self.blocked_since = None;
        if known {
            self.acknowledge(last_seq);
            Replay::Full
        } else {
            Replay::Lost
        }
    }

    /// Forgets what was kept, and goes on with a number that a browser cannot have heard, which may have heard up to
    /// `last_seq` from elsewhere.
    pub fn fork(&mut self, last_seq: Seq) {
        self.ring.clear();
        self.ring_bytes = 0;
        // What cannot be is not believed.
        if last_seq.saturating_sub(self.last) < limits::SEQ_AHEAD_MAX {
            self.last = self.last.max(last_seq);
        }
        self.handed = self.last;
        self.confirmed = self.last;
        self.window_bytes = 0;
        self.blocked_since = None;
    }

    /// The number of the newest message.
    #[must_use]
    pub fn last(&self) -> Seq {
        self.last
    }

    /// The number of the newest message that was handed over.
    #[must_use]
    pub fn handed(&self) -> Seq {
        self.handed
    }

    fn forget_oldest(&mut self) -> Seq {
        let Some(kept) = self.ring.pop_front() else { return 0 };
        self.ring_bytes -= kept.body.len();
        kept.seq
    }

    /// Panics where the picture above does not hold. For tests.
    #[cfg(test)]
    pub fn check_invariants(&self) {
        assert!(self.confirmed <= self.handed && self.handed <= self.last);
        assert!(self.ring.len() <= limits::RING_MESSAGES_MAX);
        assert!(self.ring.len() <= 1 || self.ring_bytes <= limits::RING_BYTES_MAX);
        assert_eq!(self.ring_bytes, self.ring.iter().map(|kept| kept.body.len()).sum::<usize>());
        let seqs = self.ring.iter().map(|kept| kept.seq);
        assert!(seqs.clone().zip(seqs.skip(1)).all(|(a, b)| b == a + 1), "no hole");
        assert!(self.ring.back().is_none_or(|kept| kept.seq == self.last));
    }
}

#[cfg(test)]
#[path = "outbound_tests.rs"]
mod tests;
