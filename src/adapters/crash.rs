//! Points at which a test can have the process die, as if it were killed there. Builds for production have none.
//!
//! `CRASH_AT=put.stored` ends the process when it comes to that point, `put.stored:3` when it does so for the third time.

#[cfg(debug_assertions)]
use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

/// Where, and how many times it is still passed.
#[cfg(debug_assertions)]
static AIM: OnceLock<(String, AtomicU32)> = OnceLock::new();

/// Sets the point, once in the life of the process.
#[cfg(debug_assertions)]
pub fn aim(at: &str) {
    let (point, times) = at.split_once(':').unwrap_or((at, "1"));
    let times = times.parse().unwrap_or(1);
    // Whoever sets it twice has set it.
    let _ = AIM.set((point.to_owned(), AtomicU32::new(times)));
}

/// A point with this name.
#[inline]
pub fn point(name: &str) {
    #[cfg(debug_assertions)]
    if let Some((aim, left)) = AIM.get()
        && aim == name
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        // Neither destructors nor whatever is still in a buffer: as with kill -9.
        std::process::abort();
    }
    #[cfg(not(debug_assertions))]
    let _ = name;
}
