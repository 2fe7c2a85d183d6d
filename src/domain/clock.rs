//! Time as a value that comes in.

use std::time::Duration;

/// The moment at which an input is handled, on two clocks (C-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Since the node started; never goes back. For every timeout.
    pub mono: Duration,
    /// Unix time, for people and for what leaves the node. Unit: milliseconds. Never compared with another node's.
    pub wall_ms: u64,
}
