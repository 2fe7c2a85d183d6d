//! The one place that reads the time.

use std::time::Instant;

use chrono::Utc;

use crate::domain::clock::Now;

/// Tells the time on both clocks; the monotonic one counts from its making.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// A clock whose monotonic time starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Now {
        // Before 1970 the wall clock is wrong anyway; it is then shown as 1970.
        let wall_ms = u64::try_from(Utc::now().timestamp_millis()).unwrap_or(0);
        Now { mono: self.started.elapsed(), wall_ms }
    }
}
