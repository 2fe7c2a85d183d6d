//! What is asked again because its answer was lost, and what came from nobody any more.

use super::{tests::*, *};
use crate::protocol::recorder::Made;

#[test]
fn a_request_gets_the_same_number_again_until_its_chunk_has_come() {
    let mut record = open();
    let [one, other] = [1, 2].map(Uuid::from_u128);
    let ask = |record: &mut RecordingRecord, request, length| {
        record.number(&token(), request, unplaced(length, true), NOON, RULES).map(|number| number.index.get())
    };
    assert_eq!(ask(&mut record, one, 10), Ok(0));
    assert_eq!(ask(&mut record, other, 10), Ok(1));
    assert_eq!(ask(&mut record, one, 5000), Ok(0), "whatever else would be said by now");
    record.check_invariants();
    record.note(at(0), mark(0), false, NOON, RULES);
    assert_eq!(ask(&mut record, one, 10), Ok(2), "that is another chunk");
    assert!(record.give_back(one));
    assert!(!record.give_back(Uuid::from_u128(9)));
    assert!(record.give_back(other));
    record.check_invariants();
    assert_eq!(indices(&numbers::<1>(&mut record, NOON)), [1]);
}

#[test]
fn a_number_whose_chunk_never_came_is_void_and_no_chunk_is_missing() {
    let mut record = with_chunks(0..2);
    let [dead, alive] = numbers(&mut record, NOON);
    record.note_numbered(alive, mark(3), true, NOON, RULES);
    assert_eq!((record.missing(), record.late_numbers(NOON)), (vec![], vec![]), "nobody was told of it");
    let late = NOON + NUMBER_TERM_MS;
    assert!(!numbers::<1>(&mut record, late - 1)[0].others_are_late);
    let [next] = numbers(&mut record, late);
    assert!(next.others_are_late);
    assert_eq!((next.index.get(), record.late_numbers(late)), (5, vec![dead.index]));
    record.fill([dead.index]);
    record.check_invariants();
    assert_eq!((record.chunk_count(), record.bytes(), record.next_index()), (3, 30, 6));
    assert_eq!(record.late_numbers(late), vec![]);
    // It comes after all, and its recorder has long sent it again.
    let before = record.clone();
    assert_eq!(record.note_numbered(dead, mark(2), true, late, RULES), Noted::Withdrawn);
    assert_eq!(code(record.place(&token(), dead.index, mark(2), true, late, RULES)), Code::Conflict);
    assert_eq!(record, before);
}

#[test]
fn what_its_recorder_counts_are_chunks_and_not_voids() {
    let outstanding = || {
        let mut record = with_chunks(0..2);
        let [dead, again] = numbers(&mut record, NOON);
        record.note_numbered(again, mark(3), true, NOON, RULES);
        (record, dead)
    };
    // Whether or not it says how many there were, it is done with what is on its way.
    for made in [made(3), Made::default()] {
        let (mut record, dead) = outstanding();
        let refused = record.stop(&token(), made, NOON).expect_err("one place is empty yet");
        assert_eq!((refused.refusal.code, refused.missing), (Code::ChunksMissing, Some((vec![2], 4))));
        assert_eq!(record.late_numbers(NOON), [dead.index]);
        record.fill([dead.index]);
        let taken = record.stop(&token(), made, NOON).expect("whole");
        assert_eq!((taken.chunks, taken.manifest.announced), (3, Some(3)));
        let claim = record.claim(&node(), NOON, RULES).expect("due");
        assert_eq!(claim.work, ClaimedWork::Finalise { expected: 4, chunks: 3 });
        record.check_invariants();
    }
    let (mut record, dead) = outstanding();
    assert_eq!(code(record.stop(&token(), made(2), NOON).map_err(|no| no.refusal)), Code::Malformed);
    record.fill([dead.index]);
    let refused = record.stop(&token(), made(4), NOON).expect_err("one more was made");
    assert_eq!(refused.missing, Some((vec![4], 5)));
    // What is void later does not stand for it.
    let [dead, _] = numbers(&mut record, NOON);
    record.attach(&token(), NOON, RULES).expect("its own");
    assert_eq!(record.next_index(), 4, "{dead:?} was never given out");
    let refused = record.stop(&token(), made(4), NOON).expect_err("it has not come");
    assert_eq!((refused.missing, record.expected()), (Some((vec![4], 5)), 5));
    assert!(record.place(&token(), at(4), mark(4), true, NOON, RULES).is_ok(), "it may come to its place");
}

#[test]
fn whoever_comes_back_sends_again_what_was_on_its_way() {
    let mut record = with_chunks(0..2);
    let [first, stored, third, last] = numbers(&mut record, NOON);
    record.note_numbered(stored, mark(3), false, NOON, RULES);
    let back = record.attach(&token(), NOON + 1, RULES).expect("its own");
    record.check_invariants();
    assert_eq!((back.next_index, back.chunks, back.missing), (4, 3, vec![]));
    assert_eq!(record.late_numbers(NOON + 1), [first.index], "the others were never given out");
    // A node that was only slow: the place is another's by now.
    let [again] = numbers(&mut record, NOON + 1);
    assert_eq!(again.index, third.index);
    assert_eq!(record.note_numbered(third, mark(4), false, NOON + 1, RULES), Noted::Withdrawn);
    assert!(!record.give_back(third.request) && !record.give_back(last.request));
    assert_eq!(record.note_numbered(again, mark(4), false, NOON + 1, RULES), Noted::InTime);
    assert_eq!(record.note_numbered(third, mark(4), false, NOON + 1, RULES), Noted::InTime, "the same bytes");
    assert_eq!((record.chunk_count(), record.next_index()), (4, 5));
}

#[test]
fn what_an_earlier_recorder_has_staged_gets_no_number_beside_what_is_sent_again() {
    let mut record = with_chunks(0..2);
    let by = |generation| Unplaced { generation: Some(generation), ..unplaced(10, true) };
    let ask = |record: &mut RecordingRecord, request, generation| {
        record.number(&token(), Uuid::from_u128(request), by(generation), NOON, RULES)
    };
    let [before, after] = [(); 2].map(|()| record.attach(&token(), NOON, RULES).expect("its own").generation);
    assert!(ask(&mut record, 1, after).is_ok());
    assert_eq!(code(ask(&mut record, 2, before)), Code::Replaced);
    assert_eq!(code(record.admit(&token(), by(before), NOON, RULES)), Code::Replaced);
    // A number that was given out before was taken back: it is not told again.
    let next = record.attach(&token(), NOON, RULES).expect("its own");
    assert_eq!((next.next_index, code(ask(&mut record, 1, after))), (2, Code::Replaced));
    assert_eq!(record.admit(&token(), by(next.generation), NOON, RULES), Ok(()));
    assert_eq!(
        record.admit(&token(), unplaced(10, true), NOON, RULES),
        Ok(()),
        "requests have no generation"
    );
    // Whoever is there makes itself known to an account that was put back.
    let restored = RecordingRecord::restore(manifest(), [], NOON, RULES);
    assert_eq!(restored.admit(&token(), by(before), NOON, RULES), Ok(()));
}

#[test]
fn what_came_to_the_place_of_a_late_number_after_all_is_in_the_video() {
    let mut record = with_chunks(0..2);
    let [slow, again] = numbers(&mut record, NOON);
    record.note_numbered(again, mark(3), false, NOON, RULES);
    record.detach(NOON, NOON, RULES);
    let claim = record.claim(&node(), NOON + 5_000, RULES).expect("due");
    assert_eq!(record.late_numbers(NOON + 5_000), [slow.index]);
    record.fill([at(1)]);
    assert_eq!(record.chunk_count(), 3, "what is there first stands");
    assert!(record.holds(claim.manifest.fence));
    assert_eq!(record.note_numbered(slow, mark(2), false, NOON + 5_000, RULES), Noted::Outdated);
    assert!(!record.holds(claim.manifest.fence));
    record.check_invariants();
}

#[test]
fn an_account_that_is_put_back_has_its_voids() {
    let stored = [(at(0), mark(0)), (at(1), ChunkMark::VOID), (at(2), mark(2))];
    let ready = Manifest { merged_chunks: Some(2), state: RecordingState::Ready, ..manifest() };
    let record = RecordingRecord::restore(ready, stored, NOON, RULES);
    record.check_invariants();
    assert_eq!((record.chunk_count(), record.next_index(), record.missing()), (2, 3, vec![]));
    assert_eq!(record.manifest().state, RecordingState::Ready, "nothing came after its video");
    let mut record = with_chunks([0, 2]);
    assert_eq!(record.missing(), [1]);
    let before = record.due_ms();
    record.catch_up(record.manifest().clone(), stored, NOON + 9, RULES);
    assert_eq!((record.missing(), record.due_ms()), (vec![], before));
}

#[test]
fn no_more_numbers_are_out_than_may_be_missing() {
    let mut record = open();
    for _ in 0..limits::CHUNKS_MISSING_MAX {
        numbered(&mut record, NOON, RULES).expect("given out");
    }
    assert_eq!(code(numbered(&mut record, NOON, RULES)), Code::Overloaded);
    record.fill([at(7)]);
    assert_eq!(indices(&numbers::<1>(&mut record, NOON)), [limits::CHUNKS_MISSING_MAX]);
}

#[test]
fn a_claim_that_was_ended_is_ended_for_whoever_asks_again_until_something_happens() {
    let ended = || {
        let mut record = with_chunks(0..3);
        record.stop(&token(), made(3), NOON).expect("whole");
        let fence = record.claim(&node(), NOON, RULES).expect("due").manifest.fence;
        let settled = record.settle_ready(fence, NOON + 9).expect("holds");
        (record, fence, settled)
    };
    let (mut record, fence, settled) = ended();
    let before = record.clone();
    assert_eq!(record.settle_failed(fence, fault()).as_ref(), Some(&settled));
    assert_eq!(record.settle_again(Fence(fence.0 - 1), NOON, None), None);
    assert_eq!(record, before, "nothing has changed");
    record.claim(&node(), NOON + 9, RULES).expect("due");
    assert_eq!(record.settle_ready(fence, NOON), None, "somebody else is at it");
    let (mut record, fence, _) = ended();
    record.note(at(3), mark(3), false, NOON, RULES);
    assert_eq!(record.settle_ready(fence, NOON), None, "a chunk has come since");
    assert_eq!(open().settle_ready(open().manifest().fence, NOON), None, "there was no claim");
}

#[test]
fn what_an_account_has_noted_is_not_forgotten_for_what_the_chunk_store_had_before() {
    let mut record = with_chunks(0..5);
    let [first, second, third] = numbers(&mut record, NOON);
    record.note_numbered(second, mark(6), false, NOON, RULES);
    let later = Manifest { revision: record.manifest().revision + 1, ..record.manifest().clone() };
    let listed = [1, 8].map(|index| (at(index), mark(index)));
    record.catch_up(later, listed, NOON, RULES);
    record.check_invariants();
    assert_eq!((record.chunk_count(), record.next_index(), record.bytes()), (7, 9, 70));
    assert_eq!(indices(&numbers::<1>(&mut record, NOON)), [9]);
    for number in [first, third] {
        let index = number.index.get();
        assert_eq!(record.note_numbered(number, mark(index), false, NOON, RULES), Noted::InTime);
    }
}
