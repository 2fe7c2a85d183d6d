//! The one place that reads the time.

use std::time::Instant;

use chrono::Utc;

use crate::domain::clock::Now;

/// Tells the time on both clocks; the monotonic one counts from its making.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
    started_wall_ms: u64,
}

impl Clock {
    /// A clock whose monotonic time starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now(), started_wall_ms: wall_ms() }
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { mono: self.started.elapsed(), wall_ms: wall_ms() }
    }

    /// Unix time that never goes back: the wall clock's at the start plus the monotonic one's since. Unit: ms.
    #[must_use]
    pub fn steady_ms(&self) -> u64 {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.started_wall_ms.saturating_add(elapsed)
    }
}

/// Before 1970 the wall clock is wrong anyway; it is then shown as 1970.
fn wall_ms() -> u64 {
    u64::try_from(Utc::now().timestamp_millis()).unwrap_or(0)
}
