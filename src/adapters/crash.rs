//! Points at which a test can have the process die, as if it were killed there, or stand still. Builds for production have none.
//!
//! `CRASH_AT=put.stored` ends the process when it comes to that point, `put.stored:3` when it does so for the third time.
//! `STOP_AT` is written in the same way: the process sends itself SIGSTOP, and goes on from there at a SIGCONT.

#[cfg(debug_assertions)]
use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

#[cfg(debug_assertions)]
use rustix::process::{Signal, getpid, kill_process};

/// What happens there, where, and how many times it is still passed.
#[cfg(debug_assertions)]
static AIM: OnceLock<(Act, String, AtomicU32)> = OnceLock::new();

/// Longer than it takes until a signal has stopped every thread. It does not pass while they stand still.
#[cfg(debug_assertions)]
const STOPPED_WITHIN: Duration = Duration::from_millis(100);

/// What happens to the process at its point.
#[cfg(debug_assertions)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It ends.
    Die,
    /// It stands still, as on a machine that was suspended.
    Stop,
}

/// Sets the point, once in the life of the process.
#[cfg(debug_assertions)]
pub fn aim(act: Act, at: &str) {
    let (point, times) = at.split_once(':').unwrap_or((at, "1"));
    let times = times.parse().unwrap_or(1);
    // Whoever sets it twice has set it.
    let _ = AIM.set((act, point.to_owned(), AtomicU32::new(times)));
}

/// A point with this name.
#[inline]
pub fn point(name: &str) {
    #[cfg(debug_assertions)]
    come(|aim| aim == name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// The point `what.step`, in what several things have in common.
#[inline]
pub fn step(what: &str, step: &str) {
    #[cfg(debug_assertions)]
    come(|aim| aim.split_once('.') == Some((what, step)));
    #[cfg(not(debug_assertions))]
    let _ = (what, step);
}

#[cfg(debug_assertions)]
fn come(is_here: impl Fn(&str) -> bool) {
    let Some((act, aim, left)) = AIM.get() else { return };
    if !is_here(aim) || left.fetch_sub(1, Ordering::Relaxed) != 1 {
        return;
    }
    match act {
        // Neither destructors nor whatever is still in a buffer: as with kill -9.
        Act::Die => std::process::abort(),
        Act::Stop => {
            // The signal may come to another thread first: this one must not go on meanwhile.
            if kill_process(getpid(), Signal::Stop).is_ok() {
                thread::sleep(STOPPED_WITHIN);
            }
        }
    }
}
