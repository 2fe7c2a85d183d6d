//! Throws generated frames and texts of recorders at the parsers, and generated recordings at a running node.
//!
//! Nothing panics; what is refused has its code; what is taken keeps the bounds of the wire; and what a node has
//! acknowledged is stored, byte for byte, whatever came around it. A run is a few seconds long. `scripts/fuzz SECONDS`,
//! or `FUZZ_SECS` by hand, makes it go on for as long; what fails prints its seed, and
//!
//! ```text
//! FUZZ_SEED=<seed> cargo test --test fuzz_chunks -- --nocapture
//! ```
//!
//! runs that seed alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

#[path = "../support/mod.rs"]
mod support;

mod live;
mod parsers;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::{Duration, Instant},
};

/// A short run begins here, so that it is the same everywhere.
const FIRST_SEED: u64 = 1;
/// Of a short run of what needs no node, and of what waits for a disk.
const SHORT: Duration = Duration::from_millis(1000);
const LONGER: Duration = Duration::from_secs(4);

/// Runs `round` with one seed after the other, for as long as is wanted.
#[expect(clippy::print_stdout, reason = "shown with a failure, and by scripts/fuzz")]
fn fuzz(what: &str, short: Duration, round: impl Fn(u64)) {
    let number = |name: &str| support::setting(name).map(|value| value.parse::<u64>().expect("a number"));
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
