use super::*;
use crate::protocol::{
    Fence, UploadToken,
    recorder::{Framing, MimeType},
};

fn id() -> RecordId {
    RecordId::parse("tuesday").expect("valid")
}

/// A recording as it stood at this revision.
fn manifest(revision: u64, state: RecordingState) -> Manifest {
    Manifest {
        record_id: id(),
        token: UploadToken::new(id(), [7; 32]).digest(),
        mime_type: MimeType::parse("video/webm").expect("valid"),
        framing: Framing::Indexed,
        room: None,
        title: None,
        owner: None,
        started_ms: 1_700_000_000_000,
        state,
        stopped: false,
        announced: None,
        version: 1,
        fence: Fence(revision),
        keep_until_ms: None,
        merged_chunks: None,
        revision,
    }
}

/// Rows of which one is open and written.
fn written() -> Rows {
    let mut rows = Rows::default();
    rows.open(&manifest(0, RecordingState::Recording));
    write(&mut rows, true);
    rows
}

/// Lets the catalog answer what is written next, which it is given back.
fn write(rows: &mut Rows, taken: bool) -> CatalogRow {
    let (id, pending) = rows.next().expect("something to write");
    rows.answered(&id, taken);
    *pending.put.expect("a row")
}

fn state(rows: &Rows) -> Option<RecordingState> {
    rows.get(&id()).map(|row| row.state)
}

#[test]
fn an_answer_that_was_overtaken_changes_nothing() {
    let mut rows = written();
    assert!(rows.change(&manifest(3, RecordingState::Ready), |row| row.chunks = 5));
    for late in [0, 1, 2] {
        assert!(!rows.change(&manifest(late, RecordingState::Finalising), |row| row.chunks = 1));
    }
    let row = write(&mut rows, true);
    assert_eq!((row.state, row.fence, row.chunks), (RecordingState::Ready, Fence(3), 5));
    assert!(rows.is_written(&id()));
    // The same state may be learnt twice, and a later one goes on from it.
    assert!(rows.change(&manifest(3, RecordingState::Ready), |row| row.chunks = 6));
    assert!(rows.change(&manifest(4, RecordingState::Recording), |_| {}));
    let row = write(&mut rows, true);
    assert_eq!((row.state, row.chunks), (RecordingState::Recording, 6));
}

#[test]
fn an_answer_of_an_earlier_recording_of_the_name_changes_nothing() {
    let mut rows = written();
    drop(rows.delete(&id()));
    assert!(!rows.change(&manifest(9, RecordingState::Ready), |_| {}), "it does not come back");
    assert_eq!(state(&rows), None);
    let second = Manifest {
        token: UploadToken::new(id(), [8; 32]).digest(),
        ..manifest(0, RecordingState::Recording)
    };
    rows.open(&second);
    assert!(!rows.change(&manifest(9, RecordingState::Ready), |_| {}), "another one");
    assert_eq!(state(&rows), Some(RecordingState::Recording));
    assert!(rows.change(&Manifest { revision: 1, state: RecordingState::Finalising, ..second }, |_| {}));
}

#[test]
fn what_a_new_life_of_the_node_finds_is_as_new_as_its_manifest() {
    let found = manifest(5, RecordingState::Finalising);
    let mut rows = Rows::new(vec![LiveRow::new(fresh_row(&found), &found)], Vec::new());
    assert!(rows.is_written(&id()));
    assert!(!rows.change(&manifest(4, RecordingState::Recording), |_| {}));
    assert!(rows.change(&manifest(6, RecordingState::Ready), |_| {}));
}

#[test]
fn what_is_over_is_found_until_the_catalog_was_told() {
    for taken in [true, false] {
        let mut rows = written();
        rows.change(&manifest(1, RecordingState::Failed), |_| {});
        rows.release(&id());
        assert_eq!(state(&rows), Some(RecordingState::Failed), "not written yet");
        assert!(!rows.change(&manifest(2, RecordingState::Finalising), |_| {}), "and nothing changes it");

        let (_, undone) = rows.next().expect("the row");
        assert_eq!(state(&rows), Some(RecordingState::Failed), "it is being written");
        rows.again(&id(), undone);
        assert_eq!(state(&rows), Some(RecordingState::Failed), "the catalog was away");

        assert_eq!(write(&mut rows, taken).state, RecordingState::Failed);
        assert_eq!(state(&rows), None, "taken: {taken}");
        assert!(rows.refused.is_empty() && rows.pending.is_empty() && rows.order.is_empty());
    }
}

#[test]
fn what_is_over_and_written_goes_at_once() {
    let mut rows = written();
    rows.release(&id());
    assert_eq!(state(&rows), None);
}

#[test]
fn a_row_that_the_catalog_did_not_take_is_not_written_until_it_takes_one() {
    let mut rows = written();
    rows.change(&manifest(1, RecordingState::Ready), |_| {});
    write(&mut rows, false);
    assert!(!rows.is_written(&id()));
    rows.change(&manifest(2, RecordingState::Recording), |_| {});
    assert!(!rows.is_written(&id()));
    write(&mut rows, true);
    assert!(rows.is_written(&id()));
}
