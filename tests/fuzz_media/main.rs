//! Throws broken media at the readers, at the repair and at the assembler.
//!
//! Nothing panics; what is held and what is told stays in proportion to what was fed; the same bytes give the same
//! events however they are cut. A run is a few seconds long. `scripts/fuzz SECONDS`, or `FUZZ_SECS` by hand, makes it
//! go on for as long; what fails prints its seed, and
//!
//! ```text
//! FUZZ_SEED=<seed> cargo test --test fuzz_media -- --nocapture
//! ```
//!
//! runs that seed alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

#[path = "../../src/domain/media/test_media.rs"]
#[allow(dead_code, reason = "shared with the tests of the readers")]
mod build;
#[path = "../support/mod.rs"]
mod support;

#[path = "../support/apply.rs"]
mod apply;

mod assembling;
mod generator;

use std::time::Duration;

use greenroom::domain::media::{Container, Event, ReadError, Reader, Repair, Sniff, Summary, sniff};

use self::{
    generator::Generator,
    support::{Chance, FIRST_SEED, fuzz},
};

/// Of a short run.
const SHORT: Duration = Duration::from_millis(1500);

fn container(bytes: &[u8]) -> Container {
    match sniff(bytes) {
        Sniff::Media(container) => container,
        Sniff::NotMedia | Sniff::TooShort if bytes.len().is_multiple_of(2) => Container::Mp4,
        Sniff::NotMedia | Sniff::TooShort => Container::Matroska,
    }
}

/// What a reader makes of bytes that are cut by chance.
fn read(bytes: &[u8], chance: &mut Chance) -> (Vec<Event>, Option<ReadError>) {
    let (mut reader, mut events) = (Reader::new(container(bytes)), Vec::new());
    let mut fed = 0;
    let error = loop {
        let piece = &bytes[fed..bytes.len().min(fed + 1 + chance.size())];
        if piece.is_empty() {
            reader.finish(&mut events);
            break None;
        }
        fed += piece.len();
        if let Err(error) = reader.feed(piece, &mut events) {
            assert_eq!(reader.feed(b"more", &mut events), Err(error), "an error stays");
            break Some(error);
        }
        assert_eq!(reader.position(), fed as u64, "all of it was taken");
        // What is gathered was fed; runs and laces take a little more than the bytes they come from.
        assert!(reader.held() <= 8 * fed + 1024, "{} held of {fed}", reader.held());
        assert!(reader.held() <= Reader::HELD_MAX);
        assert!(events.len() <= fed, "{} events of {fed} bytes", events.len());
    };
    (events, error)
}

#[test]
fn the_readers_take_or_refuse_whatever_comes() {
    fuzz("the readers", SHORT, |seed| {
        let mut generator = Generator::new(seed);
        for _ in 0..10 {
            let bytes = generator.media();
            let one = read(&bytes, &mut generator.chance);
            let other = read(&bytes, &mut generator.chance);
            assert!(one == other, "cut otherwise, told otherwise: {one:?} {other:?}");
            let mut summary = Summary::default();
            summary.extend(&one.0);
            let _ = (summary.end_us(), summary.times_rise(), summary.cues_astray());
            summary.packets.values().for_each(|track| {
                let _ = (track.end_us(), track.usual_step_us(), track.largest_step());
            });
        }
    });
}

/// Feeds with gaps by chance. Returns what was passed on, its events, how many gaps there were and whether it went to the end.
fn repair(bytes: &[u8], gaps: bool, chance: &mut Chance) -> (Vec<u8>, Vec<Event>, Repair) {
    let (mut repair, mut out, mut events) = (Repair::new(container(bytes)), Vec::new(), Vec::new());
    let mut at = 0;
    while at < bytes.len() {
        if gaps && chance.one_in(8) {
            repair.gap(&mut out, &mut events);
            at = bytes.len().min(at + chance.size());
            continue;
        }
        let piece = &bytes[at..bytes.len().min(at + 1 + chance.size())];
        at += piece.len();
        if repair.feed(piece, &mut out, &mut events).is_err() {
            break;
        }
        assert!(repair.held() <= 9 * at + 1024 && repair.held() <= Repair::HELD_MAX);
        assert!(events.len() <= at);
    }
    repair.finish(&mut out, &mut events);
    (out, events, repair)
}

#[test]
fn the_repair_passes_on_only_what_came() {
    fuzz("the repair", SHORT, |seed| {
        let mut generator = Generator::new(seed);
        for _ in 0..10 {
            let bytes = generator.media();
            let (out, events, done) = repair(&bytes, false, &mut generator.chance);
            let sound = !events.iter().any(|event| matches!(event, Event::Damaged { .. }));
            assert!(!sound || bytes.starts_with(&out), "sound, but changed");
            assert!(!sound || done.gaps().is_empty());
            let (out, events, done) = repair(&bytes, true, &mut generator.chance);
            let told = events.iter().filter(|event| matches!(event, Event::Packet(_))).count() as u64;
            assert_eq!(told, done.counts().values().map(|count| count.passed).sum::<u64>());
            read(&out, &mut generator.chance);
        }
    });
}

/// What is made and not broken is read whole, or the fuzzing would say nothing.
#[test]
fn the_generator_makes_good_and_bad() {
    let mut generator = Generator::new(FIRST_SEED);
    let mut kinds = std::collections::BTreeMap::new();
    for _ in 0..400 {
        let (good, mut chance) = (generator.good(), Chance(1));
        let (events, error) = read(&good, &mut chance);
        let packets = events.iter().filter(|event| matches!(event, Event::Packet(_))).count();
        let damaged = events.iter().find(|event| matches!(event, Event::Damaged { .. }));
        assert!(error.is_none() && damaged.is_none() && packets > 0, "{error:?} {damaged:?}");
        let bad = generator.media();
        let (events, error) = read(&bad, &mut chance);
        let packets = events.iter().any(|event| matches!(event, Event::Packet(_)));
        let damaged = events.iter().any(|event| matches!(event, Event::Damaged { .. }));
        *kinds.entry((error.is_some(), damaged, packets)).or_insert(0) += 1;
    }
    for kind in [(false, true, true), (false, false, true), (true, false, false)] {
        assert!(kinds.get(&kind).is_some_and(|count| *count > 4), "too few of {kind:?}: {kinds:?}");
    }
}

#[test]
fn a_seed_always_makes_the_same() {
    let media = |seed| {
        let mut generator = Generator::new(seed);
        (0..20).map(|_| generator.media()).collect::<Vec<_>>()
    };
    assert_eq!(media(7), media(7));
    assert_ne!(media(7), media(8));
}
