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

use std::time::Duration;

use self::{
    bounds::check_bounds,
    generator::Generator,
    support::{Chance, FIRST_SEED, fuzz},
    world::World,
};

/// Of a short run.
const SHORT: Duration = Duration::from_millis(1200);

#[test]
fn the_parser_takes_or_refuses_whatever_comes() {
    fuzz("the parser", SHORT, |seed| {
        let mut generator = Generator::new(seed);
        for _ in 0..50 {
            check_bounds(&generator.text());
        }
    });
}

#[test]
fn the_rules_take_whatever_was_parsed_in_any_order() {
    fuzz("the rules", SHORT, |seed| World::new(seed).run(300));
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
    assert_ne!(Chance(0).next(), Chance(1).next());
}
