//! The frame of the fuzzing programs: seed after seed for as long as is wanted, or one seed that failed once more.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::{Duration, Instant},
};

use super::setting;

/// A short run begins here, so that it is the same everywhere.
pub const FIRST_SEED: u64 = 1;

/// Runs `round` with one seed after the other, for `FUZZ_SECS` seconds if that is set, else for as long as `short`
/// says. With `FUZZ_SEED` it runs that seed alone. What fails prints its seed.
#[expect(clippy::print_stdout, reason = "shown with a failure, and by scripts/fuzz")]
pub fn fuzz(what: &str, short: Duration, round: impl Fn(u64)) {
    let number = |name: &str| setting(name).map(|value| value.parse::<u64>().expect("a number"));
    if let Some(seed) = number("FUZZ_SEED") {
        return round(seed);
    }
    let long = number("FUZZ_SECS").map(Duration::from_secs);
    // A long run goes where no run was before.
    let first = if long.is_some() { uuid::Uuid::new_v4().as_u64_pair().0 } else { FIRST_SEED };
    println!("{what}: from seed {first} for {:?}", long.unwrap_or(short));
    let (began, mut seed) = (Instant::now(), first);
    while began.elapsed() < long.unwrap_or(short) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| round(seed))) {
            println!("{what}: FUZZ_SEED={seed} fails");
            resume_unwind(panic);
        }
        seed = seed.wrapping_add(1);
    }
    println!("{what}: {} seeds", seed.wrapping_sub(first));
}
