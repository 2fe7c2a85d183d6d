use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::domain::recording::VideoFacts;
use crate::protocol::{
    RecordId,
    recorder::{Framing, Made, MimeType, VideoKey},
};

pub(super) const RULES: RecordingRules = RecordingRules {
    grace: Duration::from_secs(5),
    lease: Duration::from_secs(8),
    bytes_max: 1_000,
    duration_max: Duration::from_secs(7200),
};
pub(super) const NOON: u64 = 1_700_000_000_000;

pub(super) fn token() -> UploadToken {
    UploadToken::new(RecordId::parse("tuesday").expect("valid"), [7; 32])
}

pub(super) fn manifest() -> Manifest {
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
        ended_ms: None,
        fault: None,
        finished: None,
        keep_until_ms: None,
        merged_chunks: None,
        unheard: 0,
        revision: 0,
    }
}

pub(super) fn node() -> NodeId {
    NodeId::parse("one").expect("valid")
}

pub(super) fn fault() -> Fault {
    Fault::from(&Refusal::from(Code::MergeFailed))
}

pub(super) fn finished(chunks: u32) -> Finished {
    let id = token().record_id().clone();
    Finished {
        video: VideoFacts {
            key: VideoKey::new(&id, Fence(1), "webm"),
            poster: None,
            duration_ms: 1,
            size_bytes: 1,
            sha256: Some(String::new()),
            codecs: Vec::new(),
            complete: true,
            gaps: Vec::new(),
            work: Vec::new(),
        },
        mime_type: "video/webm".to_owned(),
        missing: Vec::new(),
        chunks,
        ready_ms: NOON,
        poster_follows: false,
    }
}

/// Claims what is due, makes its video, and ends the claim.
pub(super) fn finish(record: &mut RecordingRecord, now_ms: u64, keep_until_ms: u64) -> Manifest {
    let claim = record.claim(&node(), now_ms, RULES).expect("due");
    let chunks = record.chunk_count();
    record.publish(claim.manifest.fence, finished(chunks), now_ms).expect("holds");
    record.settle_ready(claim.manifest.fence, keep_until_ms).expect("holds")
}

pub(super) fn open() -> RecordingRecord {
    RecordingRecord::open(manifest(), NOON, RULES)
}

pub(super) fn at(index: u32) -> ChunkIndex {
    ChunkIndex::new(index).expect("in range")
}

pub(super) fn mark(index: u32) -> ChunkMark {
    ChunkMark { length: 10, crc: index, begins_segment: index == 0, timecode_ms: None }
}

pub(super) fn with_chunks(indices: impl IntoIterator<Item = u32>) -> RecordingRecord {
    let mut record = open();
    for index in indices {
        assert_eq!(record.place(&token(), at(index), mark(index), true, NOON, RULES), Ok(Placed::New));
        record.note(at(index), mark(index), false, NOON, RULES);
    }
    record.check_invariants();
    record
}

pub(super) fn code<T: std::fmt::Debug>(refused: Result<T, Refusal>) -> Code {
    refused.expect_err("refused").code
}

/// Asks for so many numbers, each for another chunk.
pub(super) fn numbers<const N: usize>(record: &mut RecordingRecord, now_ms: u64) -> [Number; N] {
    std::array::from_fn(|_| numbered(record, now_ms, RULES).expect("given out"))
}

pub(super) fn numbered(
    record: &mut RecordingRecord,
    now_ms: u64,
    rules: RecordingRules,
) -> Result<Number, Refusal> {
    static REQUESTS: AtomicU64 = AtomicU64::new(1);
    let request = Uuid::from_u128(u128::from(REQUESTS.fetch_add(1, Ordering::Relaxed)) << 64);
    record.number(&token(), request, unplaced(10, true), now_ms, rules)
}

/// What a chunk is asked for that came over HTTP.
pub(super) fn unplaced(length: u32, may_begin: bool) -> Unplaced {
    Unplaced { length, may_begin, generation: None }
}

pub(super) fn indices(numbers: &[Number]) -> Vec<u32> {
    numbers.iter().map(|number| number.index.get()).collect()
}

pub(super) fn made(chunks: u32) -> Made {
    Made { chunks: Some(chunks), bytes: None }
}

#[test]
fn the_same_bytes_are_acknowledged_again_and_others_never_take_their_place() {
    let record = with_chunks(0..3);
    assert_eq!(record.place(&token(), at(1), mark(1), true, NOON, RULES), Ok(Placed::Duplicate));
    let other = ChunkMark { crc: 99, ..mark(1) };
    assert_eq!(code(record.place(&token(), at(1), other, true, NOON, RULES)), Code::Conflict);
}

#[test]
fn a_recorder_that_skips_ahead_is_held_to_a_bound() {
    let record = with_chunks([0]);
    let far = limits::CHUNKS_MISSING_MAX + 1;
    assert!(record.place(&token(), at(far), mark(far), true, NOON, RULES).is_ok());
    assert_eq!(code(record.place(&token(), at(far + 1), mark(1), true, NOON, RULES)), Code::IndexOutOfRange);
    let mut record = record;
    record.note(at(far), mark(far), false, NOON, RULES);
    assert_eq!(
        code(record.place(&token(), at(far + 2), mark(1), true, NOON, RULES)),
        Code::IndexOutOfRange,
        "holes add up"
    );
    assert!(record.place(&token(), at(5), mark(5), true, NOON, RULES).is_ok(), "and are filled");
}

#[test]
fn a_recording_begins_with_media_and_only_its_own_token_opens_it() {
    let record = open();
    assert_eq!(code(record.place(&token(), at(0), mark(0), false, NOON, RULES)), Code::NotMedia);
    assert_eq!(code(open().number(&token(), Uuid::nil(), unplaced(10, false), NOON, RULES)), Code::NotMedia);
    assert_eq!(code(open().admit(&token(), unplaced(10, false), NOON, RULES)), Code::NotMedia);
    assert_eq!(with_chunks([0]).admit(&token(), unplaced(10, false), NOON, RULES), Ok(()));
    assert!(
        record.place(&token(), at(1), mark(1), false, NOON, RULES).is_ok(),
        "later chunks begin anywhere"
    );
    let foreign = UploadToken::new(token().record_id().clone(), [8; 32]);
    assert_eq!(code(record.place(&foreign, at(0), mark(0), true, NOON, RULES)), Code::Unauthorised);
    assert_eq!(code(open().attach(&foreign, NOON, RULES)), Code::Unauthorised);
    assert_eq!(open().stop(&foreign, made(0), NOON).expect_err("refused").refusal.code, Code::Unauthorised);
}

#[test]
fn a_number_whose_chunk_failed_leaves_no_hole_and_what_comes_later_never_takes_its_place() {
    let mut record = open();
    let [_, _, last] = numbers(&mut record, NOON);
    assert!(record.give_back(last.request));
    assert!(!record.give_back(last.request), "it is nobody's now");
    let [first, second] = numbers(&mut record, NOON);
    assert_eq!((first.index.get(), second.index.get()), (2, 3), "nothing came after it");
    record.note_numbered(second, mark(3), false, NOON, RULES);
    assert!(record.give_back(first.request));
    record.check_invariants();
    assert_eq!(indices(&numbers::<2>(&mut record, NOON)), [4, 5], "a chunk came after it");
}

#[test]
fn a_stop_that_overtakes_its_chunks_is_refused_with_what_is_missing() {
    let mut record = with_chunks([0, 1, 3]);
    let refused = record.stop(&token(), made(6), NOON).expect_err("too early");
    assert_eq!(refused.refusal.code, Code::ChunksMissing);
    assert_eq!(refused.missing, Some((vec![2, 4, 5], 6)));
    assert_eq!(
        code(record.place(&token(), at(6), mark(6), true, NOON, RULES)),
        Code::IndexOutOfRange,
        "it said six"
    );
    for index in [2, 4, 5] {
        record.note(at(index), mark(index), false, NOON, RULES);
    }
    assert_eq!(record.stop(&token(), made(6), NOON).expect("whole").chunks, 6);
    assert_eq!(record.stop(&token(), made(6), NOON).expect("twice is harmless").chunks, 6);
    assert_eq!(code(record.place(&token(), at(6), mark(6), true, NOON, RULES)), Code::RecordingStopped);
    assert_eq!(
        record.place(&token(), at(2), mark(2), true, NOON, RULES),
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
    record.detach(NOON, NOON, RULES);
    assert_eq!(record.claim(&node(), NOON + 4_999, RULES), None);
    let claim = record.claim(&node(), NOON + 5_000, RULES).expect("due");
    assert_eq!(claim.work, ClaimedWork::Finalise { expected: 3, chunks: 3 });
    assert_eq!(claim.manifest.fence, Fence(NOON + 5_000), "never behind the clock");
    assert_eq!(record.claim(&node(), NOON + 12_000, RULES), None, "somebody is at it");
    record.check_invariants();
}

#[test]
fn whoever_keeps_pushing_the_deadline_is_not_taken_for_gone() {
    let mut record = with_chunks(0..3);
    for second in 0..60 {
        record.keep(NOON, NOON + second * 1000, RULES);
        assert_eq!(record.claim(&node(), NOON + second * 1000 + 900, RULES), None);
    }
    assert!(record.claim(&node(), NOON + 64_000, RULES).is_some(), "a node that died pushes no more");
}

#[test]
fn a_newer_recorder_outdates_the_older_one() {
    let mut record = with_chunks(0..3);
    let newer = record.attach(&token(), NOON, RULES).expect("its own");
    assert_eq!((newer.generation, newer.next_index, newer.reopened), (NOON + 1, 3, false));
    record.detach(NOON, NOON, RULES);
    assert_eq!(record.claim(&node(), NOON + 20_000, RULES), None, "the older one's end means nothing");
    record.detach(NOON + 1, NOON, RULES);
    assert!(record.claim(&node(), NOON + 5_000, RULES).is_some());
}

#[test]
fn after_a_refused_stop_the_missing_chunks_are_waited_for_but_not_for_ever() {
    let mut record = with_chunks([0, 2]);
    let _ = record.stop(&token(), made(3), NOON);
    let patience = u64::try_from(limits::STOP_PATIENCE.as_millis()).expect("small");
    for second in 0..patience / 1000 {
        record.keep(NOON, NOON + second * 1000, RULES);
        assert_eq!(record.claim(&node(), NOON + second * 1000, RULES), None);
    }
    let claim = record.claim(&node(), NOON + patience, RULES).expect("nobody sends them");
    assert_eq!(claim.work, ClaimedWork::Finalise { expected: 3, chunks: 2 });
    assert_eq!(record.missing(), [1]);
}

#[test]
fn a_chunk_that_comes_after_a_claim_outdates_it() {
    let mut record = with_chunks(0..3);
    record.detach(NOON, NOON, RULES);
    let claim = record.claim(&node(), NOON + 5_000, RULES).expect("due");
    assert_eq!(record.note(at(3), mark(3), true, NOON + 5_001, RULES), Noted::Outdated);
    assert!(!record.holds(claim.manifest.fence), "its video would lack an acknowledged chunk");
    assert_eq!(record.settle_ready(claim.manifest.fence, NOON), None);
    assert_eq!(record.manifest().state, RecordingState::Recording);
    record.check_invariants();
    record.detach(NOON, NOON + 5_002, RULES);
    let claim = record.claim(&node(), NOON + 60_000, RULES).expect("due again");
    assert_eq!(record.note(at(3), mark(3), true, NOON + 60_001, RULES), Noted::InTime, "it is in already");
    assert!(record.holds(claim.manifest.fence));
}

#[test]
fn who_comes_back_late_opens_it_again_as_another_version() {
    let mut record = with_chunks(0..3);
    record.detach(NOON, NOON, RULES);
    finish(&mut record, NOON + 5_000, NOON + 90_000);
    let back = record.attach(&token(), NOON + 60_000, RULES).expect("its own");
    assert!(back.reopened);
    assert_eq!((back.manifest.version, back.manifest.state), (2, RecordingState::Recording));
    record.check_invariants();
    assert!(
        record.claim(&node(), NOON + 95_000, RULES).is_some_and(|claim| claim.work != ClaimedWork::Forget)
    );
}

#[test]
fn a_finished_recording_is_forgotten_when_nobody_comes_back() {
    let mut record = with_chunks(0..3);
    record.stop(&token(), made(3), NOON).expect("whole");
    finish(&mut record, NOON, NOON + 1000);
    let back = record.attach(&token(), NOON + 10, RULES).expect("its own");
    assert!(!back.reopened, "it was stopped: there is nothing to add");
    assert_eq!(back.manifest.state, RecordingState::Ready);
    assert_eq!(record.claim(&node(), NOON + 1000, RULES).expect("due").work, ClaimedWork::Forget);
}

#[test]
fn a_new_life_of_the_node_goes_on_where_the_last_one_ended() {
    let chunks = || (0..3).map(|index| (at(index), mark(index)));
    let restored = |state, stopped| {
        let manifest = Manifest { state, stopped, keep_until_ms: Some(NOON + 9), ..manifest() };
        let record = RecordingRecord::restore(manifest, chunks(), NOON, RULES);
        record.check_invariants();
        record
    };
    let mut recording = restored(RecordingState::Recording, false);
    assert_eq!((recording.next_index(), recording.bytes()), (3, 30));
    assert_eq!(recording.claim(&node(), NOON + 4_999, RULES), None, "its recorder has a new grace");
    assert!(recording.claim(&node(), NOON + 5_000, RULES).is_some());
    for state in [RecordingState::Finalising, RecordingState::Failed] {
        assert!(restored(state, true).claim(&node(), NOON, RULES).is_some(), "{state:?} is done anew");
    }
    assert_eq!(restored(RecordingState::Ready, true).claim(&node(), NOON + 8, RULES), None);
    assert!(restored(RecordingState::Ready, true).claim(&node(), NOON + 9, RULES).is_some());
}

#[test]
fn a_chunk_acknowledged_after_the_video_outlives_the_node_that_took_it() {
    let mut record = with_chunks(0..3);
    record.detach(NOON, NOON, RULES);
    let saved = finish(&mut record, NOON + 5_000, NOON + 90_000);
    // The chunk is stored and acknowledged, and the node dies before anything else is written down.
    record.note(at(3), mark(3), true, NOON + 6_000, RULES);
    let chunks = (0..4).map(|index| (at(index), mark(index)));
    let mut restored = RecordingRecord::restore(saved, chunks, NOON + 7_000, RULES);
    restored.check_invariants();
    let claim = restored.claim(&node(), NOON + 12_000, RULES).expect("due again");
    assert_eq!(claim.work, ClaimedWork::Finalise { expected: 4, chunks: 4 });
    assert_eq!(claim.manifest.version, 2);
}

#[test]
fn a_finished_recording_whose_chunks_are_gone_knows_how_many_there_were() {
    let mut record = with_chunks(0..3);
    record.stop(&token(), made(3), NOON).expect("whole");
    let fence = record.claim(&node(), NOON, RULES).expect("due").manifest.fence;
    record.publish(fence, finished(3), NOON).expect("holds");
    assert!(record.forget_chunks(fence));
    record.settle_ready(fence, NOON + 1000).expect("holds");
    record.check_invariants();
    assert_eq!(record.stop(&token(), made(3), NOON).expect("twice is harmless").chunks, 3);
    let back = record.attach(&token(), NOON, RULES).expect("its own");
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
    record.attach(&token(), NOON, RULES).expect("its own");
    newer(&record);
    record.stop(&token(), made(3), NOON).expect("whole");
    newer(&record);
    let claim = record.claim(&node(), NOON, RULES).expect("due");
    newer(&record);
    record.settle_again(claim.manifest.fence, NOON, None).expect("holds");
    newer(&record);
}

#[test]
fn a_failed_recording_is_tried_again_when_it_is_stopped_again() {
    let mut record = with_chunks(0..3);
    record.stop(&token(), made(3), NOON).expect("whole");
    let claim = record.claim(&node(), NOON, RULES).expect("due");
    record.settle_failed(claim.manifest.fence, fault()).expect("holds");
    assert_eq!(record.claim(&node(), NOON + 999_999, RULES), None, "it waits for somebody");
    record.stop(&token(), made(3), NOON).expect("whole");
    assert!(record.claim(&node(), NOON, RULES).is_some());
}

#[test]
fn a_failed_recording_whose_recorder_has_more_is_stopped_no_longer() {
    let mut record = open();
    assert!(record.stop(&token(), Made { chunks: None, bytes: None }, NOON).is_ok());
    let claim = record.claim(&node(), NOON, RULES).expect("due");
    assert!(record.settle_failed(claim.manifest.fence, fault()).is_some());
    let more = Made { chunks: Some(1), bytes: None };
    assert!(record.stop(&token(), more, NOON).is_err(), "one is missing");
    let mut record = RecordingRecord::restore(record.manifest().clone(), [], NOON, RULES);
    assert_eq!(record.missing(), [0], "and still is");
    assert!(
        record.stop(&token(), Made { chunks: None, bytes: None }, NOON).is_ok(),
        "it has thought better of it"
    );
    assert_eq!(record.missing(), [0; 0]);
}
