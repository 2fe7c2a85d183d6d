//! Arithmetic on what was measured.

use std::{fmt, time::Duration};

/// One stretch of measuring one thing.
#[derive(Debug, Default, Clone)]
pub struct Stretch {
    /// From sent to received, in no order.
    pub latencies: Vec<Duration>,
    /// CPU that the server used meanwhile.
    pub server_cpu: Duration,
}

impl Stretch {
    /// The latency that so many of a hundred stay below. Unit: microseconds.
    pub fn percentile_us(&self, percent: usize) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(index).map_or(f64::NAN, |latency| micros(*latency))
    }

    /// Server CPU for each message. Unit: microseconds, which are milliseconds for 1,000 messages.
    pub fn cpu_us(&self) -> f64 {
        per(micros(self.server_cpu), self.latencies.len())
    }

    /// Takes in another stretch of the same thing.
    pub fn absorb(&mut self, other: &Self) {
        self.latencies.extend_from_slice(&other.latencies);
        self.server_cpu += other.server_cpu;
    }
}

/// What several rounds say of one figure: the median, and where the middle half of the rounds lies. A neighbour that
/// spoils one round in four moves neither far.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    /// Of one figure for each round.
    pub fn of(rounds: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = rounds.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let count = sorted.len();
        Self {
            median: at(count / 2),
            low: at(count / 4),
            high: at((count * 3 / 4).min(count.saturating_sub(1))),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.2} ({:.2}-{:.2})", self.median, self.low, self.high);
        f.pad(&text)
    }
}

/// Unit: microseconds.
pub fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// A total for each of so many; a count beyond `u32` is no count of this bench.
pub fn per(total: f64, count: usize) -> f64 {
    total / f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Unit: KiB.
pub fn kib(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX))
}
