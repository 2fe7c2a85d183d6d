//! Accounts that several nodes share: claims that lapse, ledgers that forget, bounds that hold over all of them.

use super::{tests::*, *};
use crate::protocol::UserId;

#[test]
fn a_claim_whose_node_died_is_claimed_anew_and_the_older_one_changes_nothing() {
    let mut record = with_chunks(0..3);
    record.stop(&token(), made(3), NOON).expect("whole");
    let first = record.claim(&node(), NOON, RULES).expect("due").manifest.fence;
    assert!(record.keep_claim(first, Some(40), NOON + 6_000, RULES));
    assert_eq!(record.percent(), Some(40));
    assert_eq!(record.claim(&node(), NOON + 13_999, RULES), None, "it was kept");
    let other = NodeId::parse("two").expect("valid");
    let second = record.claim(&other, NOON + 14_000, RULES).expect("left behind");
    assert_eq!(second.work, ClaimedWork::Finalise { expected: 3, chunks: 3 });
    assert_eq!(record.claimed_by(), Some(&other));
    let before = record.clone();
    assert!(!record.keep_claim(first, None, NOON + 14_001, RULES));
    assert_eq!(record.publish(first, finished(3), NOON), None);
    assert_eq!(record.settle_ready(first, NOON), None);
    assert_eq!(record.settle_again(first, NOON, None), None);
    assert_eq!(record.settle_failed(first, fault()), None);
    assert!(!record.forget_chunks(first));
    assert_eq!(record, before);
}

#[test]
fn what_was_published_and_not_settled_is_brought_to_its_end_by_another_node() {
    let mut record = with_chunks(0..3);
    record.stop(&token(), made(3), NOON).expect("whole");
    let first = record.claim(&node(), NOON, RULES).expect("due").manifest.fence;
    let known = record.publish(first, finished(3), NOON + 5).expect("holds");
    assert_eq!((known.state, known.merged_chunks), (RecordingState::Ready, Some(3)));
    assert_eq!(known.finished.expect("a video").ready_ms, NOON + 5, "by the ledger's clock");
    let second = record.claim(&node(), NOON + 8_000, RULES).expect("left behind");
    assert_eq!(second.work, ClaimedWork::Publish { chunks: 3 });
    record.settle_ready(second.manifest.fence, NOON + 20_000).expect("holds");
    assert_eq!(record.claim(&node(), NOON + 20_000, RULES).expect("due").work, ClaimedWork::Forget);
}

/// Nobody said that it was over until its video was there.
#[test]
fn a_stop_of_a_finished_recording_makes_nothing_anew_and_forgets_nothing() {
    let mut record = with_chunks(0..3);
    record.detach(NOON, NOON, RULES);
    let known = finish(&mut record, NOON + 5_000, NOON + 90_000);
    let taken = record.stop(&token(), made(3), NOON + 6_000).expect("whole");
    record.check_invariants();
    assert!(taken.manifest.stopped && taken.manifest.revision > known.revision);
    assert_eq!((taken.manifest.state, taken.manifest.version), (RecordingState::Ready, 1));
    assert_eq!(taken.manifest.ended_ms, known.ended_ms);
    assert_eq!(record.claim(&node(), NOON + 89_999, RULES), None, "its video is there");
    assert_eq!(record.claim(&node(), NOON + 90_000, RULES).expect("due").work, ClaimedWork::Forget);
}

#[test]
fn a_stop_of_one_whose_video_has_not_everything_makes_another_version() {
    let mut record = with_chunks(0..3);
    record.detach(NOON, NOON, RULES);
    let claim = record.claim(&node(), NOON + 5_000, RULES).expect("due");
    record.publish(claim.manifest.fence, finished(2), NOON + 5_000).expect("holds");
    record.settle_ready(claim.manifest.fence, NOON + 90_000).expect("holds");
    let taken = record.stop(&token(), made(3), NOON + 6_000).expect("whole");
    record.check_invariants();
    assert_eq!((taken.manifest.state, taken.manifest.version), (RecordingState::Finalising, 2));
    let first = record.claim(&node(), NOON + 6_000, RULES).expect("due").manifest.fence;
    record.publish(first, finished(3), NOON + 6_000).expect("holds");
    let second = record.claim(&node(), NOON + 14_000, RULES).expect("left behind");
    assert_eq!(second.work, ClaimedWork::Publish { chunks: 3 }, "its row is not written");
}

/// An account of an older life, or a manifest, may say so.
#[test]
fn what_is_published_is_not_to_be_forgotten_before_its_row_is_written() {
    let kept = Manifest { state: RecordingState::Finalising, keep_until_ms: Some(NOON), ..manifest() };
    let chunks = (0..3).map(|index| (at(index), mark(index)));
    let mut record = RecordingRecord::restore(kept.clone(), chunks, NOON, RULES);
    record.check_invariants();
    record.manifest.keep_until_ms = kept.keep_until_ms;
    let first = record.claim(&node(), NOON, RULES).expect("due").manifest.fence;
    record.publish(first, finished(3), NOON).expect("holds");
    let second = record.claim(&node(), NOON + 8_000, RULES).expect("left behind");
    assert_eq!(second.work, ClaimedWork::Publish { chunks: 3 });
}

#[test]
fn a_recording_takes_no_more_bytes_and_no_more_time_than_allowed() {
    let small = RecordingRules { bytes_max: 35, ..RULES };
    let mut record = with_chunks(0..3);
    let place = |record: &RecordingRecord, now| record.place(&token(), at(3), mark(3), true, now, small);
    assert_eq!(code(place(&record, NOON)), Code::RecordingTooLarge);
    assert_eq!(code(record.admit(&token(), unplaced(6, true), NOON, small)), Code::RecordingTooLarge);
    assert_eq!(
        code(record.number(&token(), Uuid::nil(), unplaced(6, true), NOON, small)),
        Code::RecordingTooLarge
    );
    assert_eq!(record.admit(&token(), unplaced(5, true), NOON, small), Ok(()));
    assert_eq!(record.place(&token(), at(1), mark(1), true, NOON, small), Ok(Placed::Duplicate));
    let late = NOON + 7_200_000;
    assert_eq!(code(record.admit(&token(), unplaced(1, true), late, RULES)), Code::RecordingTooLong);
    record.keep(NOON, late - 1, RULES);
    assert!(record.claim(&node(), late + LATE_STOP_MS, RULES).is_some(), "however present its recorder is");
}

#[test]
fn an_account_learns_from_the_chunk_store_what_it_has_lost() {
    // A ledger that went back to an older state has fewer chunks and an older manifest.
    let mut older = with_chunks(0..2);
    let mut newer = with_chunks(0..4);
    newer.stop(&token(), made(4), NOON + 9).expect("whole");
    let stored = (0..4).map(|index| (at(index), mark(index)));
    older.catch_up(newer.manifest().clone(), stored.clone(), NOON + 10, RULES);
    older.check_invariants();
    assert_eq!((older.next_index(), older.chunk_count()), (4, 4));
    assert!(older.manifest().stopped, "the stop stands");
    assert!(older.claim(&node(), NOON + 10, RULES).is_some());

    // Chunks that were stored while the ledger was away, of a recording that goes on.
    let mut record = with_chunks(0..2);
    record.catch_up(record.manifest().clone(), stored.clone(), NOON, RULES);
    assert_eq!((record.next_index(), record.bytes()), (4, 40));
    assert_eq!(indices(&numbers::<1>(&mut record, NOON)), [4]);

    // And of one whose video was made meanwhile: it is made again.
    let mut record = with_chunks(0..2);
    record.detach(NOON, NOON, RULES);
    finish(&mut record, NOON + 5_000, NOON + 90_000);
    record.catch_up(record.manifest().clone(), stored, NOON + 6_000, RULES);
    assert_eq!((record.manifest().state, record.manifest().version), (RecordingState::Recording, 2));
    assert_eq!(
        record.due_ms(),
        Some(NOON + 6_000 + grace_ms()),
        "its recorder has the grace that the rules say"
    );
    record.check_invariants();
}

#[test]
fn an_owner_is_held_to_what_it_records_at_the_moment() {
    let [ada, bob] = ["ada", "bob"].map(|name| UserId::parse(name).expect("valid"));
    let of_ada = Manifest { owner: Some(ada.clone()), ..manifest() };
    assert!(of_ada.counts_for(&ada) && !of_ada.counts_for(&bob) && !manifest().counts_for(&ada));
    let over = Manifest { state: RecordingState::Finalising, ..of_ada };
    assert!(!over.counts_for(&ada));
}

#[test]
fn chunks_that_are_noted_late_leave_their_recorder_the_grace_and_no_longer() {
    let mut record = with_chunks(0..2);
    record.detach(NOON, NOON, RULES);
    record.catch_up(record.manifest().clone(), [(at(2), mark(2))], NOON + 1_000, RULES);
    assert_eq!(record.due_ms(), Some(NOON + 1_000 + grace_ms()));
    record.note(at(3), mark(3), true, NOON + 1_000, RULES);
    record.catch_up(record.manifest().clone(), [(at(4), mark(4))], NOON + 2_000, RULES);
    let idle = u64::try_from(limits::UPLOAD_IDLE.as_millis()).expect("fits");
    assert_eq!(record.due_ms(), Some(NOON + 1_000 + idle), "nor is it shortened");
}

fn grace_ms() -> u64 {
    u64::try_from(RULES.grace.as_millis()).expect("fits")
}

#[test]
fn whoever_is_there_is_known_again_by_an_account_that_was_put_back() {
    let mut record = RecordingRecord::restore(manifest(), [(at(0), mark(0))], NOON, RULES);
    assert!(record.keep(NOON - 50, NOON, RULES).is_present);
    assert!(record.keep(NOON - 20, NOON, RULES).is_present, "the newer one");
    assert!(!record.keep(NOON - 50, NOON, RULES).is_present);
    let back = record.attach(&token(), NOON - 90, RULES).expect("its own");
    assert!(back.generation > NOON - 20, "never one that was given out before");
}
