//! What is asked again because its answer was lost, and what came from nobody any more.

use super::{
    tests::{NOON, RULES, at, code, fault, made, mark, node, open, token, with_chunks},
    *,
};

fn numbers<const N: usize>(record: &mut RecordingRecord, now_ms: u64) -> [u32; N] {
    std::array::from_fn(|_| record.number(&token(), 10, true, now_ms, RULES).expect("given out").get())
}

#[test]
fn a_request_gets_the_same_number_again_until_its_chunk_has_come() {
    let mut record = open();
    let [one, other] = [1, 2].map(|request| Some(Uuid::from_u128(request)));
    let ask = |record: &mut RecordingRecord, request, length| {
        record.number_for(&token(), request, length, true, NOON, RULES).map(ChunkIndex::get)
    };
    assert_eq!(ask(&mut record, one, 10), Ok(0));
    assert_eq!(ask(&mut record, other, 10), Ok(1));
    assert_eq!(ask(&mut record, one, 5000), Ok(0), "whatever else would be said by now");
    record.check_invariants();
    record.note(at(0), mark(0), false, NOON, RULES);
    assert_eq!(ask(&mut record, one, 10), Ok(2), "that is another chunk");
    record.give_back_for(Uuid::from_u128(2));
    record.give_back_for(Uuid::from_u128(9));
    record.check_invariants();
    assert_eq!(numbers(&mut record, NOON), [1]);
}

#[test]
fn numbers_given_back_are_given_out_in_their_order_and_leave_no_hole_at_the_end() {
    let mut record = open();
    assert_eq!(numbers(&mut record, NOON), [0, 1, 2, 3, 4, 5]);
    for index in [3, 1, 4] {
        record.give_back(at(index));
    }
    record.check_invariants();
    assert_eq!(numbers(&mut record, NOON), [1, 3, 4, 6]);
    for index in [0, 1, 2] {
        record.note(at(index), mark(index), false, NOON, RULES);
    }
    for index in [3, 4, 5, 6, 9] {
        record.give_back(at(index));
    }
    record.check_invariants();
    assert_eq!(record.next_index(), 3, "the ones after the last chunk were never given out");
    assert!(record.stop(&token(), made(3), NOON).is_ok());
}

#[test]
fn a_number_whose_chunk_never_came_is_given_out_again() {
    let late = NOON + NUMBER_TERM_MS;
    let outstanding = || {
        let mut record = open();
        assert_eq!(numbers(&mut record, NOON), [0, 1]);
        record.note(at(0), mark(0), false, NOON, RULES);
        record
    };
    assert_eq!(numbers(&mut outstanding(), late - 1), [2]);
    assert_eq!(numbers(&mut outstanding(), late), [1]);
    let everything = Made::default();
    assert_eq!(
        outstanding().stop(&token(), everything, late - 1).expect_err("1").missing,
        Some((vec![1], 2))
    );
    assert_eq!(outstanding().stop(&token(), everything, late).expect("whole").chunks, 1);
    let claimed = outstanding().claim(&node(), late, RULES).expect("due").work;
    assert_eq!(claimed, ClaimedWork::Finalise { expected: 1, chunks: 1 });
    // It came after all.
    let mut record = outstanding();
    assert_eq!(numbers(&mut record, late), [1]);
    record.note(at(1), mark(1), false, late, RULES);
    assert_eq!(numbers(&mut record, late), [2], "the chunk store has said whose it is");
    record.check_invariants();
}

#[test]
fn whoever_comes_back_sends_again_what_was_on_its_way_in_its_place() {
    let mut record = with_chunks(0..2);
    assert_eq!(numbers(&mut record, NOON), [2, 3, 4]);
    record.note(at(3), mark(3), false, NOON, RULES);
    let back = record.attach(&token(), NOON + 1, RULES).expect("its own");
    record.check_invariants();
    assert_eq!((back.next_index, back.missing), (4, vec![2]));
    assert_eq!(numbers(&mut record, NOON + 1), [2, 4]);
}

#[test]
fn no_more_numbers_are_out_than_may_be_missing() {
    let mut record = open();
    for _ in 0..limits::CHUNKS_MISSING_MAX {
        record.number(&token(), 1, true, NOON, RULES).expect("given out");
    }
    assert_eq!(code(record.number(&token(), 1, true, NOON, RULES)), Code::Overloaded);
    record.give_back(at(7));
    assert_eq!(numbers(&mut record, NOON), [7]);
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
    assert_eq!(numbers(&mut record, NOON), [5, 6, 7]);
    record.note(at(6), mark(6), false, NOON, RULES);
    record.give_back(at(5));
    let later = Manifest { revision: record.manifest().revision + 1, ..record.manifest().clone() };
    let listed = [1, 8].map(|index| (at(index), mark(index)));
    record.catch_up(later, listed, NOON, RULES);
    record.check_invariants();
    assert_eq!((record.chunk_count(), record.next_index(), record.bytes()), (7, 9, 70));
    assert_eq!(numbers(&mut record, NOON), [5, 9]);
}
