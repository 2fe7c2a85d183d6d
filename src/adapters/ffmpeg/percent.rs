//! How far a merge is: one number that never falls, from steps of which each has its share.

use std::sync::atomic::{AtomicU8, Ordering};

/// Tells the job how far it is.
pub struct Percent<'a> {
    tell: &'a (dyn Fn(u8) + Send + Sync),
    told: AtomicU8,
}

impl<'a> Percent<'a> {
    /// Nothing is done yet.
    pub fn new(tell: &'a (dyn Fn(u8) + Send + Sync)) -> Self {
        Self { tell, told: AtomicU8::new(0) }
    }

    /// A step that takes the whole from one percentage to another.
    pub fn step(&self, from: f64, to: f64) -> Step<'_> {
        Step { percent: self, from, to }
    }

    fn reach(&self, percent: f64) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let percent = percent.clamp(0.0, 100.0) as u8;
        if self.told.fetch_max(percent, Ordering::Relaxed) < percent {
            (self.tell)(percent);
        }
    }
}

/// Part of the whole.
#[derive(Clone, Copy)]
pub struct Step<'a> {
    percent: &'a Percent<'a>,
    from: f64,
    to: f64,
}

impl Step<'_> {
    /// So much of it is done.
    #[expect(clippy::cast_precision_loss, reason = "a percentage")]
    pub fn reach(&self, done: u64, total: u64) {
        let share = if total == 0 { 0.0 } else { (done as f64 / total as f64).min(1.0) };
        self.percent.reach(self.from + (self.to - self.from) * share);
    }

    /// The `at`th of `of` equal parts of it.
    #[expect(clippy::cast_precision_loss, reason = "a percentage")]
    pub fn part(&self, at: usize, of: usize) -> Self {
        let width = (self.to - self.from) / of.max(1) as f64;
        let from = self.from + width * at as f64;
        Self { percent: self.percent, from, to: from + width }
    }
}
