//! Turns at what takes the processor for long: merging by ffmpeg. What is put together already needs none, and does not wait
//! behind it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::{
    adapters::ports::{PortFuture, Turn},
    metrics::{Metrics, gauge},
};

/// As many turns at once as the operator allows.
pub struct MergeTurns {
    free: Arc<Semaphore>,
    counts: Mutex<Counts>,
    metrics: Metrics,
}

#[derive(Default)]
struct Counts {
    begun: usize,
    /// Of those that have begun.
    queued: usize,
    /// For a beginning.
    waiting: usize,
}

impl MergeTurns {
    /// So many at once.
    pub fn new(jobs: usize, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { free: Arc::new(Semaphore::new(jobs)), counts: Mutex::default(), metrics })
    }

    /// So many merges have begun, and so many wait for that.
    pub fn show(&self, begun: usize, waiting: usize) {
        self.update(|counts| (counts.begun, counts.waiting) = (begun, waiting));
    }

    /// How a merge gets its turn.
    pub fn taking(self: &Arc<Self>) -> Box<dyn Fn() -> PortFuture<Turn> + Send + Sync> {
        let turns = self.clone();
        Box::new(move || {
            let turns = turns.clone();
            Box::pin(async move {
                let _queued = Queued::at(&turns);
                turns.free.clone().acquire_owned().await.ok()
            })
        })
    }

    fn update(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut counts);
        let Counts { begun, queued, waiting } = *counts;
        self.metrics.merges_running.with_label_values::<&str>(&[]).set(gauge(begun.saturating_sub(queued)));
        self.metrics.merges_waiting.with_label_values::<&str>(&[]).set(gauge(waiting + queued));
    }
}

/// One that has begun and waits for its turn, or has given up.
struct Queued<'a>(&'a MergeTurns);

impl<'a> Queued<'a> {
    fn at(turns: &'a MergeTurns) -> Self {
        turns.update(|counts| counts.queued += 1);
        Self(turns)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.update(|counts| counts.queued -= 1);
    }
}
