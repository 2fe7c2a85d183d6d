//! One stretch of storing chunks, by whichever way.

use std::time::Duration;

use crate::figures::{mb, percentile_ms};

/// What was stored, and what it took.
#[derive(Debug, Default, Clone)]
pub struct Stretch {
    /// For each chunk from its first byte until it was durable, in no order.
    pub latencies: Vec<Duration>,
    /// Of all chunks.
    pub bytes: u64,
    /// From the first to the last.
    pub wall: Duration,
    /// CPU of whoever stored them.
    pub cpu: Duration,
}

impl Stretch {
    /// Unit: MB.
    pub fn rate(&self) -> f64 {
        mb(self.bytes) / self.wall.as_secs_f64()
    }

    /// Unit: milliseconds.
    pub fn p50(&self) -> f64 {
        percentile_ms(&self.latencies, 50)
    }

    /// Unit: milliseconds.
    pub fn p99(&self) -> f64 {
        percentile_ms(&self.latencies, 99)
    }

    /// Unit: milliseconds for each MB.
    pub fn cpu_ms(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e3 / mb(self.bytes)
    }

    /// One after the other.
    pub fn sum(stretches: &[&Self]) -> Self {
        let mut sum = Self::default();
        for stretch in stretches {
            sum.absorb(stretch);
            sum.wall += stretch.wall;
        }
        sum
    }

    /// Takes in another part of the same stretch.
    pub fn absorb(&mut self, other: &Self) {
        self.latencies.extend_from_slice(&other.latencies);
        self.bytes += other.bytes;
        self.cpu += other.cpu;
    }
}
