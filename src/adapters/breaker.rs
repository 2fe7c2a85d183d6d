//! A circuit breaker: what does not answer is left alone for a while.
//!
//! ```text
//!             FAILURES_MAX in a row               the pause is over: one call is let through
//!  closed ───────────────────────────► open ──────────────────────────────────► half open
//!     ▲                                  ▲ ◄──── it failed, the pause is doubled ────┤
//!     └──────────────────────────────────┴──── a call was answered ──────────────────┘
//! ```
//! So a server that hangs costs the first callers a timeout and nobody else, and one that comes back is not met by all of
//! them at once. Time and chance come from the caller.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use prometheus::IntGaugeVec;

use super::ports::StoreState;

/// Failures in a row, without an answer between them, after which nothing is asked for a while.
pub const FAILURES_MAX: u32 = 5;
/// The first pause.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// After how long a try without an outcome counts as lost: longer than any call may take.
const TRY_PATIENCE: Duration = Duration::from_secs(5);

/// Says who may ask. Never locked over a wait.
#[derive(Debug)]
pub struct Breaker {
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { failures: u32 },
    Open { until: Duration, pauses: u32 },
    HalfOpen { since: Duration, pauses: u32 },
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: Mutex::new(State::Closed { failures: 0 }) }
    }
}

impl Breaker {
    /// Whether a call may be made now, by the monotonic clock. Whoever is let through says what became of it.
    pub fn admits(&self, now: Duration) -> bool {
        self.with(|state| match *state {
            State::Closed { .. } => true,
            State::Open { until, pauses } if until <= now => {
                *state = State::HalfOpen { since: now, pauses };
                true
            }
            State::HalfOpen { since, pauses } if since + TRY_PATIENCE <= now => {
                *state = State::HalfOpen { since: now, pauses };
                true
            }
            State::Open { .. } | State::HalfOpen { .. } => false,
        })
    }

    /// A call was answered, whoever made it and whenever.
    pub fn succeeded(&self) {
        self.with(|state| *state = State::Closed { failures: 0 });
    }

    /// A call was not answered. `chance` (0 to 1) spreads the ends of pauses, so that nodes do not come back together.
    pub fn failed(&self, now: Duration, chance: f64) {
        self.with(|state| match *state {
            State::Closed { failures } if failures + 1 < FAILURES_MAX => {
                *state = State::Closed { failures: failures + 1 };
            }
            State::Closed { .. } => *state = open(now, 0, chance),
            State::HalfOpen { pauses, .. } => *state = open(now, pauses + 1, chance),
            // Asked before it opened; the pause runs already.
            State::Open { .. } => {}
        });
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> StoreState {
        self.with(|state| match state {
            State::Closed { .. } => StoreState::Closed,
            State::Open { .. } => StoreState::Open,
            State::HalfOpen { .. } => StoreState::HalfOpen,
        })
    }

    /// Shows how it stands: 1 for its state, 0 for the others.
    pub fn show(&self, gauge: &IntGaugeVec) {
        let now = self.state();
        for state in StoreState::ALL {
            gauge.with_label_values(&[state.name()]).set(i64::from(state == now));
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // Nothing in here can panic with the state half changed.
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Between half of the pause and the whole of it.
fn open(now: Duration, pauses: u32, chance: f64) -> State {
    let pause = PAUSE_MIN.saturating_mul(1 << pauses.min(8)).min(PAUSE_MAX);
    let pause = pause.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0));
    State::Open { until: now + pause, pauses }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_CHANCE: f64 = 1.0;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn opened(at: Duration) -> Breaker {
        let breaker = Breaker::default();
        for _ in 0..FAILURES_MAX {
            assert!(breaker.admits(at));
            breaker.failed(at, NO_CHANCE);
        }
        assert_eq!(breaker.state(), StoreState::Open);
        breaker
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let breaker = Breaker::default();
        for _ in 0..3 {
            for _ in 1..FAILURES_MAX {
                breaker.failed(at(0), NO_CHANCE);
            }
            breaker.succeeded();
        }
        assert_eq!(breaker.state(), StoreState::Closed);
        opened(at(0));
    }

    #[test]
    fn after_the_pause_one_call_tries() {
        let breaker = opened(at(0));
        assert!(!breaker.admits(at(249)));
        assert!(breaker.admits(at(250)));
        assert_eq!(breaker.state(), StoreState::HalfOpen);
        assert!(!breaker.admits(at(251)), "one at a time");
        breaker.succeeded();
        assert!(breaker.admits(at(252)) && breaker.admits(at(252)));
    }

    #[test]
    fn pauses_grow_to_a_bound_and_begin_anew() {
        let breaker = opened(at(0));
        let mut now = at(0);
        for pause in [250, 500, 1000, 2000, 2000, 2000] {
            assert!(!breaker.admits(now + at(pause - 1)), "{pause}");
            now += at(pause);
            assert!(breaker.admits(now), "{pause}");
            breaker.failed(now, NO_CHANCE);
        }
        breaker.succeeded();
        for _ in 0..FAILURES_MAX {
            breaker.failed(now, NO_CHANCE);
        }
        assert!(breaker.admits(now + at(250)), "the first pause again");
    }

    #[test]
    fn a_try_that_is_never_told_of_holds_nobody_up_for_ever() {
        let breaker = opened(at(0));
        assert!(breaker.admits(at(250)));
        assert!(!breaker.admits(at(5249)));
        assert!(breaker.admits(at(5250)));
    }

    #[test]
    fn what_was_asked_before_it_opened_changes_nothing() {
        let breaker = opened(at(0));
        breaker.failed(at(249), NO_CHANCE);
        assert!(breaker.admits(at(250)));
    }

    #[test]
    fn chance_shortens_a_pause_by_half_at_most() {
        let breaker = Breaker::default();
        for _ in 0..FAILURES_MAX {
            breaker.failed(at(0), 0.0);
        }
        assert!(!breaker.admits(at(124)));
        assert!(breaker.admits(at(125)));
    }
}
