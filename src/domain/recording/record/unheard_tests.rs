//! Merges of which nothing is heard: the nodes that made them died.

use super::{tests::*, *};

const LEASE_MS: u64 = 8_000;

/// One whose recorder has said stop.
fn stopped() -> RecordingRecord {
    let mut record = with_chunks(0..3);
    record.stop(&token(), made(3), NOON).expect("whole");
    record
}

/// Has so many nodes die at it, one after the other; when the last one is taken for dead.
fn dies(record: &mut RecordingRecord, times: u32) -> u64 {
    for _ in 0..times {
        let now = record.due_ms().expect("due");
        let claim = record.claim(&node(), now, RULES).expect("due");
        assert_eq!(claim.work, ClaimedWork::Finalise { expected: 3, chunks: 3 });
        record.check_invariants();
    }
    record.claimed.as_ref().expect("claimed").until_ms
}

#[test]
fn a_merge_that_takes_its_nodes_down_waits_longer_each_time_and_is_given_up_with_its_chunks() {
    let mut record = stopped();
    let mut pauses = Vec::new();
    for died in 1..=UNHEARD_MAX {
        let until = dies(&mut record, 1);
        assert_eq!(record.manifest().unheard, died);
        let due = record.due_ms().expect("due");
        assert_eq!(record.claim(&node(), due - 1, RULES), None);
        pauses.push((due - until) / 1000);
    }
    assert_eq!(pauses, [0, 0, 10, 20, 40, 80, 160, 0], "nobody is put at risk by what comes last");
    let now = record.due_ms().expect("due");
    let last = record.claim(&node(), now, RULES).expect("due");
    assert_eq!(last.work, ClaimedWork::GiveUp);
    // Should that node die too, the next one says so.
    let last = record.claim(&node(), now + LEASE_MS, RULES).expect("due");
    assert_eq!(last.work, ClaimedWork::GiveUp);
    let failed = record.settle_failed(last.manifest.fence, fault()).expect("holds");
    assert_eq!((failed.state, record.chunk_count()), (RecordingState::Failed, 3), "M-5");
    assert_eq!(record.due_ms(), None);
    record.check_invariants();

    // No new life of a node begins it again; its recorder may.
    let before = record.clone();
    assert!(!record.retry(now));
    assert_eq!(record, before);
    let stored: Vec<_> = record.chunks.iter().map(|(&index, &mark)| (index, mark)).collect();
    let restored = RecordingRecord::restore(failed, stored, now, RULES);
    assert_eq!((restored.manifest().state, restored.due_ms()), (RecordingState::Failed, None));
    record.stop(&token(), made(3), now).expect("whole");
    assert_eq!((record.manifest().unheard, record.due_ms()), (0, Some(now)));
    dies(&mut record, 1);
}

#[test]
fn what_its_node_says_anything_of_does_not_count() {
    let fence = |record: &RecordingRecord| record.manifest().fence;
    let two_died = || {
        let mut record = stopped();
        let until = dies(&mut record, 2);
        let claim = record.claim(&node(), until, RULES).expect("due");
        assert_eq!(claim.manifest.unheard, 3, "as it is saved, should this node die");
        (record, until)
    };
    let (mut record, now) = two_died();
    let again = record.settle_again(fence(&record), now + 9, Some(fault())).expect("holds");
    assert_eq!((again.unheard, record.due_ms()), (2, Some(now + 9)));
    let (mut record, _) = two_died();
    assert_eq!(record.settle_failed(fence(&record), fault()).expect("holds").unheard, 2);
    let (mut record, now) = two_died();
    assert_eq!(record.publish(fence(&record), finished(3), now).expect("holds").unheard, 0);
    // A chunk that came over HTTP while the ledger was away: the merge that runs is not wanted any more.
    let (mut record, now) = two_died();
    record.note(at(3), mark(3), true, now, RULES);
    assert_eq!(record.manifest().unheard, 2);
    let (mut record, now) = two_died();
    record.note(at(3), mark(3), true, now + LEASE_MS, RULES);
    assert_eq!(record.manifest().unheard, 3, "its node was dead by then");
    assert_eq!(record.due_ms(), Some(now + LEASE_MS), "and who has sent it is there");
}

#[test]
fn what_is_made_beside_the_one_that_takes_nodes_down_comes_to_be_made_apart_from_it() {
    let due = |started_ms| {
        let mut restored = Manifest { state: RecordingState::Finalising, unheard: 4, ..manifest() };
        restored.started_ms = started_ms;
        RecordingRecord::restore(restored, [(at(0), mark(0))], NOON, RULES).due_ms()
    };
    assert_eq!([0, 1, 2, 3].map(due), [20, 25, 30, 35].map(|secs| Some(NOON + secs * 1000)));
}

#[test]
fn a_failed_one_is_tried_again_in_a_new_life_of_a_node() {
    let mut record = stopped();
    assert!(!record.retry(NOON), "it has not failed");
    let claim = record.claim(&node(), NOON, RULES).expect("due");
    let failed = record.settle_failed(claim.manifest.fence, fault()).expect("holds");
    assert!(record.retry(NOON + 9));
    record.check_invariants();
    assert_eq!(record.due_ms(), Some(NOON + 9));
    assert!(record.manifest().revision > failed.revision);
    dies(&mut record, 1);
}
