use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::protocol::{
    RecordId,
    recorder::{Framing, MimeType},
};

const TIMES: RecordingTimes =
    RecordingTimes { grace: Duration::from_secs(5), reopen: Duration::from_secs(86_400) };
const NOON: u64 = 1_700_000_000_000;

fn token() -> UploadToken {
    UploadToken::new(RecordId::parse("tuesday").expect("valid"), [7; 32])
}

fn manifest() -> Manifest {
    Manifest {
        record_id: token().record_id().clone(),
        token: token().digest(),
        mime_type: MimeType::parse("video/webm").expect("valid"),
        framing: Framing::Indexed,
        room: None,
        title: None,
        owner: None,
        started_ms: NOON,
        state: RecordingState::Recording,
        stopped: false,
        announced: None,
        version: 1,
        fence: Fence(0),
        keep_until_ms: None,
        merged_chunks: None,
        revision: 0,
    }
}

fn open() -> RecordingRecord {
    RecordingRecord::open(manifest(), NOON, TIMES)
}

fn at(index: u32) -> ChunkIndex {
    ChunkIndex::new(index).expect("in range")
}

fn mark(index: u32) -> ChunkMark {
    ChunkMark { length: 10, crc: index, begins_segment: index == 0, timecode_ms: None }
}

fn with_chunks(indices: impl IntoIterator<Item = u32>) -> RecordingRecord {
    let mut record = open();
    for index in indices {
        assert_eq!(record.place(&token(), at(index), mark(index), true), Ok(Placed::New));
        record.note(at(index), mark(index), false, NOON, TIMES);
    }
    record.check_invariants();
    record
}

fn code<T: std::fmt::Debug>(refused: Result<T, Refusal>) -> Code {
    refused.expect_err("refused").code
}

fn made(chunks: u32) -> Made {
    Made { chunks: Some(chunks), bytes: None }
}

#[test]
fn the_same_bytes_are_acknowledged_again_and_others_never_take_their_place() {
    let record = with_chunks(0..3);
    assert_eq!(record.place(&token(), at(1), mark(1), true), Ok(Placed::Duplicate));
    let other = ChunkMark { crc: 99, ..mark(1) };
    assert_eq!(code(record.place(&token(), at(1), other, true)), Code::Conflict);
}

#[test]
fn a_recorder_that_skips_ahead_is_held_to_a_bound() {
    let record = with_chunks([0]);
    let far = limits::CHUNKS_MISSING_MAX + 1;
    assert!(record.place(&token(), at(far), mark(far), true).is_ok());
    assert_eq!(code(record.place(&token(), at(far + 1), mark(1), true)), Code::IndexOutOfRange);
    let mut record = record;
    record.note(at(far), mark(far), false, NOON, TIMES);
    assert_eq!(
        code(record.place(&token(), at(far + 2), mark(1), true)),
        Code::IndexOutOfRange,
        "holes add up"
    );
    assert!(record.place(&token(), at(5), mark(5), true).is_ok(), "and are filled");
}

#[test]
fn a_recording_begins_with_media_and_only_its_own_token_opens_it() {
    let record = open();
    assert_eq!(code(record.place(&token(), at(0), mark(0), false)), Code::NotMedia);
    assert_eq!(code(open().number(&token(), false)), Code::NotMedia);
    assert_eq!(code(open().admit(&token(), false)), Code::NotMedia);
    assert_eq!(with_chunks([0]).admit(&token(), false), Ok(()));
    assert!(record.place(&token(), at(1), mark(1), false).is_ok(), "later chunks begin anywhere");
    let foreign = UploadToken::new(token().record_id().clone(), [8; 32]);
    assert_eq!(code(record.place(&foreign, at(0), mark(0), true)), Code::Unauthorised);
    assert_eq!(code(open().attach(&foreign, NOON, TIMES)), Code::Unauthorised);
    assert_eq!(open().stop(&foreign, made(0), NOON).expect_err("refused").refusal.code, Code::Unauthorised);
}

#[test]
fn a_number_whose_chunk_failed_is_given_out_again() {
    let mut record = open();
    let numbers: Vec<_> = (0..3).map(|_| record.number(&token(), true).expect("given out").get()).collect();
    assert_eq!(numbers, [0, 1, 2]);
    record.give_back(at(2));
    record.give_back(at(0));
    record.note(at(1), mark(1), false, NOON, TIMES);
    record.check_invariants();
    assert_eq!(record.number(&token(), true).expect("given out").get(), 0, "no hole is left");
    assert_eq!(record.number(&token(), true).expect("given out").get(), 2);
}

#[test]
fn a_stop_that_overtakes_its_chunks_is_refused_with_what_is_missing() {
    let mut record = with_chunks([0, 1, 3]);
    let refused = record.stop(&token(), made(6), NOON).expect_err("too early");
    assert_eq!(refused.refusal.code, Code::ChunksMissing);
    assert_eq!(refused.missing, Some((vec![2, 4, 5], 6)));
    assert_eq!(code(record.place(&token(), at(6), mark(6), true)), Code::IndexOutOfRange, "it said six");
    for index in [2, 4, 5] {
        record.note(at(index), mark(index), false, NOON, TIMES);
    }
    assert_eq!(record.stop(&token(), made(6), NOON).expect("whole").chunks, 6);
    assert_eq!(record.stop(&token(), made(6), NOON).expect("twice is harmless").chunks, 6);
    assert_eq!(code(record.place(&token(), at(6), mark(6), true)), Code::RecordingStopped);
    assert_eq!(
        record.place(&token(), at(2), mark(2), true),
        Ok(Placed::Duplicate),
        "a late copy is harmless"
    );
}

#[test]
fn a_stop_that_counts_otherwise_changes_nothing() {
    let mut record = with_chunks(0..3);
    let before = record.clone();
    assert_eq!(record.stop(&token(), made(2), NOON).expect_err("fewer").refusal.code, Code::Malformed);
    let bytes = Made { chunks: Some(3), bytes: Some(31) };
    assert_eq!(record.stop(&token(), bytes, NOON).expect_err("31").refusal.code, Code::BytesDiffer);
    assert_eq!(record.stop(&token(), made(u32::MAX), NOON).expect_err("many").refusal.code, Code::Malformed);
    let far = made(limits::CHUNKS_MISSING_MAX + 9);
    assert_eq!(record.stop(&token(), far, NOON).expect_err("far").refusal.code, Code::IndexOutOfRange);
    assert_eq!(record, before);
    assert!(record.stop(&token(), Made { chunks: Some(3), bytes: Some(30) }, NOON).is_ok());
}

#[test]
fn a_lost_recorder_is_waited_for_and_then_its_recording_is_claimed_once() {
    let mut record = with_chunks(0..3);
    record.detach(1, NOON, TIMES);
    assert_eq!(record.claim(NOON + 4_999), None);
    let claim = record.claim(NOON + 5_000).expect("due");
    assert_eq!(claim.work, ClaimedWork::Finalise { expected: 3, chunks: 3 });
    assert_eq!(claim.manifest.fence, Fence(1));
    assert_eq!(record.claim(NOON + 60_000), None, "somebody is at it");
    record.check_invariants();
}

#[test]
fn whoever_keeps_pushing_the_deadline_is_not_taken_for_gone() {
    let mut record = with_chunks(0..3);
    for second in 0..60 {
        record.keep(1, NOON + second * 1000, TIMES);
        assert_eq!(record.claim(NOON + second * 1000 + 900), None);
    }
    assert!(record.claim(NOON + 64_000).is_some(), "a node that died pushes no more");
}

#[test]
fn a_newer_recorder_outdates_the_older_one() {
    let mut record = with_chunks(0..3);
    let newer = record.attach(&token(), NOON, TIMES).expect("its own");
    assert_eq!((newer.generation, newer.next_index, newer.reopened), (2, 3, false));
    record.detach(1, NOON, TIMES);
    assert_eq!(record.claim(NOON + 20_000), None, "the older one's end means nothing");
    record.detach(2, NOON, TIMES);
    assert!(record.claim(NOON + 5_000).is_some());
}

#[test]
fn after_a_refused_stop_the_missing_chunks_are_waited_for_but_not_for_ever() {
    let mut record = with_chunks([0, 2]);
    let _ = record.stop(&token(), made(3), NOON);
    let patience = u64::try_from(limits::STOP_PATIENCE.as_millis()).expect("small");
    for second in 0..patience / 1000 {
        record.keep(1, NOON + second * 1000, TIMES);
        assert_eq!(record.claim(NOON + second * 1000), None);
    }
    let claim = record.claim(NOON + patience).expect("nobody sends them");
    assert_eq!(claim.work, ClaimedWork::Finalise { expected: 3, chunks: 2 });
    assert_eq!(record.missing(), [1]);
}

#[test]
fn a_chunk_that_comes_after_a_claim_outdates_it() {
    let mut record = with_chunks(0..3);
    record.detach(1, NOON, TIMES);
    let claim = record.claim(NOON + 5_000).expect("due");
    assert_eq!(record.note(at(3), mark(3), true, NOON + 5_001, TIMES), Noted::Outdated);
    assert!(!record.holds(claim.manifest.fence), "its video would lack an acknowledged chunk");
    assert_eq!(record.settle_ready(claim.manifest.fence, NOON), None);
    assert_eq!(record.manifest().state, RecordingState::Recording);
    record.check_invariants();
    record.detach(1, NOON + 5_002, TIMES);
    let claim = record.claim(NOON + 60_000).expect("due again");
    assert_eq!(record.note(at(3), mark(3), true, NOON + 60_001, TIMES), Noted::InTime, "it is in already");
    assert!(record.holds(claim.manifest.fence));
}

#[test]
fn who_comes_back_late_opens_it_again_as_another_version() {
    let mut record = with_chunks(0..3);
    record.detach(1, NOON, TIMES);
    let claim = record.claim(NOON + 5_000).expect("due");
    record.settle_ready(claim.manifest.fence, NOON + 90_000).expect("holds");
    let back = record.attach(&token(), NOON + 60_000, TIMES).expect("its own");
    assert!(back.reopened);
    assert_eq!((back.manifest.version, back.manifest.state), (2, RecordingState::Recording));
    record.check_invariants();
    assert!(record.claim(NOON + 95_000).is_some_and(|claim| claim.work != ClaimedWork::Forget));
}

#[test]
fn a_finished_recording_is_forgotten_when_nobody_comes_back() {
    let mut record = with_chunks(0..3);
    record.stop(&token(), made(3), NOON).expect("whole");
    let claim = record.claim(NOON).expect("due at once");
    record.settle_ready(claim.manifest.fence, NOON + 1000).expect("holds");
    let back = record.attach(&token(), NOON + 10, TIMES).expect("its own");
    assert!(!back.reopened, "it was stopped: there is nothing to add");
    assert_eq!(back.manifest.state, RecordingState::Ready);
    assert_eq!(record.claim(NOON + 1000).expect("due").work, ClaimedWork::Forget);
}

#[test]
fn a_new_life_of_the_node_goes_on_where_the_last_one_ended() {
    let chunks = || (0..3).map(|index| (at(index), mark(index)));
    let restored = |state, stopped| {
        let manifest = Manifest { state, stopped, keep_until_ms: Some(NOON + 9), ..manifest() };
        let record = RecordingRecord::restore(manifest, chunks(), NOON, TIMES);
        record.check_invariants();
        record
    };
    let mut recording = restored(RecordingState::Recording, false);
    assert_eq!((recording.next_index(), recording.bytes()), (3, 30));
    assert_eq!(recording.claim(NOON + 4_999), None, "its recorder has a new grace");
    assert!(recording.claim(NOON + 5_000).is_some());
    for state in [RecordingState::Finalising, RecordingState::Failed] {
        assert!(restored(state, true).claim(NOON).is_some(), "{state:?} is done anew");
    }
    assert_eq!(restored(RecordingState::Ready, true).claim(NOON + 8), None);
    assert!(restored(RecordingState::Ready, true).claim(NOON + 9).is_some());
}

#[test]
fn a_chunk_acknowledged_after_the_video_outlives_the_node_that_took_it() {
    let mut record = with_chunks(0..3);
    record.detach(1, NOON, TIMES);
    let claim = record.claim(NOON + 5_000).expect("due");
    let saved = record.settle_ready(claim.manifest.fence, NOON + 90_000).expect("holds");
    // The chunk is stored and acknowledged, and the node dies before anything else is written down.
    record.note(at(3), mark(3), true, NOON + 6_000, TIMES);
    let chunks = (0..4).map(|index| (at(index), mark(index)));
    let mut restored = RecordingRecord::restore(saved, chunks, NOON + 7_000, TIMES);
    restored.check_invariants();
    let claim = restored.claim(NOON + 12_000).expect("due again");
    assert_eq!(claim.work, ClaimedWork::Finalise { expected: 4, chunks: 4 });
    assert_eq!(claim.manifest.version, 2);
}

#[test]
fn a_finished_recording_whose_chunks_are_gone_knows_how_many_there_were() {
    let mut record = with_chunks(0..3);
    record.stop(&token(), made(3), NOON).expect("whole");
    let claim = record.claim(NOON).expect("due at once");
    record.settle_ready(claim.manifest.fence, NOON + 1000).expect("holds");
    record.forget_chunks();
    record.check_invariants();
    assert_eq!(record.stop(&token(), made(3), NOON).expect("twice is harmless").chunks, 3);
    let back = record.attach(&token(), NOON, TIMES).expect("its own");
    assert!(back.missing.is_empty(), "nothing is asked for");
}

#[test]
fn what_is_written_down_later_is_newer() {
    let mut record = with_chunks(0..3);
    let mut last = record.manifest().revision;
    let mut newer = |record: &RecordingRecord| {
        assert!(record.manifest().revision > last);
        last = record.manifest().revision;
    };
    let _ = record.stop(&token(), made(4), NOON);
    newer(&record);
    record.attach(&token(), NOON, TIMES).expect("its own");
    newer(&record);
    record.stop(&token(), made(3), NOON).expect("whole");
    newer(&record);
    let claim = record.claim(NOON).expect("due");
    newer(&record);
    record.settle_again(claim.manifest.fence, NOON).expect("holds");
    newer(&record);
}

#[test]
fn a_failed_recording_is_tried_again_when_it_is_stopped_again() {
    let mut record = with_chunks(0..3);
    record.stop(&token(), made(3), NOON).expect("whole");
    let claim = record.claim(NOON).expect("due");
    record.settle_failed(claim.manifest.fence).expect("holds");
    assert_eq!(record.claim(NOON + 999_999), None, "it waits for somebody");
    record.stop(&token(), made(3), NOON).expect("whole");
    assert!(record.claim(NOON).is_some());
}

#[test]
fn a_failed_recording_whose_recorder_has_more_is_stopped_no_longer() {
    let mut record = open();
    assert!(record.stop(&token(), Made { chunks: None, bytes: None }, NOON).is_ok());
    let claim = record.claim(NOON).expect("due");
    assert!(record.settle_failed(claim.manifest.fence).is_some());
    let more = Made { chunks: Some(1), bytes: None };
    assert!(record.stop(&token(), more, NOON).is_err(), "one is missing");
    let mut record = RecordingRecord::restore(record.manifest().clone(), [], NOON, TIMES);
    assert_eq!(record.missing(), [0], "and still is");
    assert!(
        record.stop(&token(), Made { chunks: None, bytes: None }, NOON).is_ok(),
        "it has thought better of it"
    );
    assert_eq!(record.missing(), [0; 0]);
}

/// What may happen to an account, in any order.
#[derive(Debug, Clone)]
enum Step {
    Chunk(u32),
    Number { fails: bool },
    Stop(Option<u32>),
    Attach,
    Detach,
    Keep,
    Pass(u64),
    Claim,
    Settle(u8),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u32..12).prop_map(Step::Chunk),
        3 => any::<bool>().prop_map(|fails| Step::Number { fails }),
        1 => prop::option::of(0u32..14).prop_map(Step::Stop),
        1 => Just(Step::Attach),
        2 => Just(Step::Detach),
        2 => Just(Step::Keep),
        3 => (0u64..8000).prop_map(Step::Pass),
        4 => Just(Step::Claim),
        3 => (0u8..3).prop_map(Step::Settle),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    /// Whatever happens in whatever order: what was acknowledged stays in the account, a video that is settled holds all
    /// of it, and no recording is left waiting for nobody.
    #[test]
    fn what_was_acknowledged_is_in_the_video(steps in prop::collection::vec(step(), 1..80)) {
        let (mut record, mut now) = (open(), NOON);
        let mut acknowledged = BTreeSet::new();
        let mut claims: Vec<(Claim, BTreeSet<u32>)> = Vec::new();
        for step in steps {
            match step {
                Step::Chunk(index) => {
                    if record.place(&token(), at(index), mark(index), true) == Ok(Placed::New) {
                        record.note(at(index), mark(index), index % 2 == 0, now, TIMES);
                        acknowledged.insert(index);
                    }
                }
                Step::Number { fails } => {
                    if let Ok(index) = record.number(&token(), true) {
                        prop_assert!(!acknowledged.contains(&index.get()), "a number is given out once");
                        if fails {
                            record.give_back(index);
                        } else {
                            record.note(index, mark(index.get()), false, now, TIMES);
                            acknowledged.insert(index.get());
                        }
                    }
                }
                Step::Stop(chunks) => {
                    let taken = record.stop(&token(), Made { chunks, bytes: None }, now).is_ok();
                    prop_assert!(!taken || record.missing().is_empty(), "no stop with chunks missing");
                }
                Step::Attach => drop(record.attach(&token(), now, TIMES)),
                Step::Detach => record.detach(record.as_opened().generation, now, TIMES),
                Step::Keep => record.keep(record.as_opened().generation, now, TIMES),
                Step::Pass(ms) => now += ms,
                Step::Claim => {
                    if let Some(claim) = record.claim(now) {
                        claims.push((claim, acknowledged.clone()));
                    }
                }
                Step::Settle(end) => {
                    let Some((claim, in_video)) = claims.pop() else { continue };
                    let fence = claim.manifest.fence;
                    let settled = match end {
                        0 => record.settle_again(fence, now + 1000),
                        1 if claim.work != ClaimedWork::Forget => record.settle_failed(fence),
                        _ => record.settle_ready(fence, now + 20_000),
                    };
                    if settled.is_some() {
                        prop_assert_eq!(&in_video, &acknowledged, "M-1, M-3");
                    }
                }
                Step::Restart => {
                    let chunks: Vec<_> = acknowledged.iter().map(|&index| (at(index), mark(index))).collect();
                    record = RecordingRecord::restore(record.manifest().clone(), chunks, now, TIMES);
                    claims.clear();
                }
            }
            record.check_invariants();
            prop_assert_eq!(record.chunk_count() as usize, acknowledged.len());
        }
    }
}
