//! Whether what is published to this node reaches it: a subscription may look connected and not be (C-5).

use std::{collections::VecDeque, time::Duration};

use crate::protocol::limits;

/// Messages of this node to itself.
#[derive(Debug, Default)]
pub struct Probe {
    sent: VecDeque<(u64, Duration)>,
    last: u64,
    due: Duration,
}

/// What is to be done about it.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Nothing,
    /// Publish this one.
    Publish(u64),
    /// Make the connections anew: nothing comes back. Then publish this one.
    Rebuild(u64),
}

impl Probe {
    /// Does what is due.
    pub fn tick(&mut self, now: Duration) -> Next {
        if now < self.due {
            return Next::Nothing;
        }
        let lost = self.sent.len() >= limits::PROBES_LOST_MAX;
        if lost {
            self.sent.clear();
        }
        self.due = now + limits::PROBE_INTERVAL;
        self.last += 1;
        self.sent.push_back((self.last, now));
        if lost { Next::Rebuild(self.last) } else { Next::Publish(self.last) }
    }

    /// One came back: those before it are of no interest any more. Says how long it took, unless it was given up.
    pub fn came_back(&mut self, now: Duration, number: u64) -> Option<Duration> {
        let place = self.sent.iter().position(|(sent, _)| *sent == number)?;
        let (_, at) = self.sent.drain(..=place).next_back()?;
        Some(now.saturating_sub(at))
    }
}
