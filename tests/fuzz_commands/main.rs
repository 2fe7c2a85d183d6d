//! Throws generated commands at the parser, and what it takes at the rules.
//!
//! Nothing panics; what is refused has its code; what is taken keeps the bounds of the wire. A run is a few seconds
//! long. `scripts/fuzz SECONDS`, or `FUZZ_SECS` by hand, makes it go on for as long; what fails prints its seed, and
//!
//! ```text
//! FUZZ_SEED=<seed> cargo test --test fuzz_commands -- --nocapture
//! ```
//!
//! runs that seed alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

#[path = "../support/mod.rs"]
mod support;

mod bounds;
mod generator;
mod world;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::{Duration, Instant},
};

use self::{
    bounds::check_bounds,
    generator::{Generator, Rng},
    world::World,
};

/// A short run begins here, so that it is the same everywhere.
const FIRST_SEED: u64 = 1;
/// Of a short run.
const SHORT: Duration = Duration::from_millis(1200);

/// Runs `round` with one seed after the other, for as long as is wanted.
#[expect(clippy::print_stdout, reason = "shown with a failure, and by scripts/fuzz")]
fn fuzz(what: &str, round: impl Fn(u64)) {
    let number = |name: &str| support::setting(name).map(|value| value.parse::<u64>().expect("a number"));
    if let Some(seed) = number("FUZZ_SEED") {
        return round(seed);
    }
    let long = number("FUZZ_SECS").map(Duration::from_secs);
    // A long run goes where no run was before.
    let first = if long.is_some() { uuid::Uuid::new_v4().as_u64_pair().0 } else { FIRST_SEED };
    println!("{what}: from seed {first} for {:?}", long.unwrap_or(SHORT));
    let (began, mut seed) = (Instant::now(), first);
    while began.elapsed() < long.unwrap_or(SHORT) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| round(seed))) {
            println!("{what}: FUZZ_SEED={seed} fails");
            resume_unwind(panic);
        }
        seed = seed.wrapping_add(1);
    }
    println!("{what}: {} seeds", seed.wrapping_sub(first));
}

#[test]
fn the_parser_takes_or_refuses_whatever_comes() {
    fuzz("the parser", |seed| {
        let mut generator = Generator::new(seed);
        for _ in 0..50 {
            check_bounds(&generator.text());
        }
    });
}

#[test]
fn the_rules_take_whatever_was_parsed_in_any_order() {
    fuzz("the rules", |seed| World::new(seed).run(300));
}

/// The fuzzing would say nothing if all it made were refused at once, or taken.
#[test]
fn the_generator_makes_good_and_bad_of_every_kind() {
    let mut generator = Generator::new(FIRST_SEED);
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..5_000 {
        *seen.entry(check_bounds(&generator.text())).or_insert(0) += 1;
    }
    println!("{seen:?}");
    for kind in [
        "Join",
        "Resume",
        "Leave",
        "Offer",
        "Answer",
        "IceCandidate",
        "Message",
        "Update",
        "Kick",
        "Lock",
        "Mute",
        "Ack",
        "Ping",
        "malformed",
        "unsupported",
        "too_deep",
        "too_large",
    ] {
        assert!(seen.get(kind).is_some_and(|count| *count > 2), "too few of {kind}: {seen:?}");
    }
}

#[test]
fn a_seed_always_makes_the_same() {
    let texts = |seed| {
        let mut generator = Generator::new(seed);
        (0..100).map(|_| generator.text()).collect::<Vec<_>>()
    };
    assert_eq!(texts(7), texts(7));
    assert_ne!(texts(7), texts(8));
    assert_ne!(Rng::new(0).next(), Rng::new(1).next());
}
