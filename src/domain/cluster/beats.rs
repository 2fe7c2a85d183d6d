//! When the shared store is asked how leases stand: in turn, sooner when something has happened, one question at a time.

use std::time::Duration;

use crate::protocol::limits;

/// When beats are asked for.
#[derive(Debug)]
pub struct Beats {
    /// Well within a lease, so that an answer in time is never to one that is over.
    timeout: Duration,
    asked: Option<Duration>,
    last: Option<Duration>,
    next: Duration,
    /// Something has happened since the last was asked for that it may not know of.
    again: bool,
}

impl Beats {
    /// The first is due at once.
    #[must_use]
    pub fn new(lease: Duration) -> Self {
        let timeout = limits::BEAT_TIMEOUT.min(lease / 4);
        Self { timeout, asked: None, last: None, next: Duration::ZERO, again: false }
    }

    /// One is asked for.
    pub fn ask(&mut self, now: Duration) {
        (self.asked, self.last, self.again) = (Some(now), Some(now), false);
    }

    /// Whether it is time for one.
    #[must_use]
    pub fn is_due(&self, now: Duration) -> bool {
        let rested = self.last.is_none_or(|last| last + limits::BEAT_PAUSE <= now);
        self.asked.is_none() && rested && self.next <= now
    }

    /// Whether the one that is out has been waited for in vain.
    #[must_use]
    pub fn is_late(&self, now: Duration) -> bool {
        self.asked.is_some_and(|asked| asked + self.timeout <= now)
    }

    /// As soon as may be.
    pub fn want(&mut self, now: Duration) {
        self.next = self.next.min(now);
        self.again |= self.asked.is_some();
    }

    /// It had no answer.
    pub fn failed(&mut self, now: Duration) {
        (self.asked, self.again) = (None, false);
        self.next = now + limits::BEAT_RETRY;
    }

    /// Whether an answer is to the one that is out: when that was asked for. `asked` is by the one who asked, so not earlier.
    #[must_use]
    pub fn asked_for(&self, asked: Duration) -> Option<Duration> {
        self.asked.filter(|expected| *expected <= asked)
    }

    /// It was answered.
    pub fn answered(&mut self) {
        self.asked = None;
    }

    /// The next is due then; at once, if something has happened that the last may not know of.
    pub fn follow(&mut self, next: Duration) {
        self.next = if std::mem::take(&mut self.again) { Duration::ZERO } else { next };
    }
}
