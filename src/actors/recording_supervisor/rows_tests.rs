use super::*;
use crate::{
    domain::recording::{Fault, Finished, VideoFacts},
    protocol::{
        Code, Fence, Refusal, UploadToken,
        recorder::{Framing, MimeType, VideoKey},
    },
};

fn id(name: &str) -> RecordId {
    RecordId::parse(name).expect("valid")
}

/// A recording as it stood at this revision.
fn manifest(name: &str, revision: u64, state: RecordingState) -> Manifest {
    Manifest {
        record_id: id(name),
        token: UploadToken::new(id(name), [7; 32]).digest(),
        mime_type: MimeType::parse("video/webm").expect("valid"),
        framing: Framing::Indexed,
        room: None,
        title: None,
        owner: None,
        started_ms: 1_700_000_000_000,
        ended_ms: None,
        state,
        stopped: false,
        announced: None,
        version: 1,
        fence: Fence(5),
        keep_until_ms: None,
        merged_chunks: None,
        unheard: 0,
        fault: None,
        finished: None,
        revision,
    }
}

fn row(name: &str, revision: u64) -> CatalogRow {
    row_of(&manifest(name, revision, RecordingState::Recording), 1)
}

/// Of one recording named talk after the other, the row of that which began then.
fn began_at(started_ms: u64) -> CatalogRow {
    CatalogRow { started_ms, fence: Fence(started_ms), ..row("talk", 1) }
}

/// When the recordings began that are deleted next.
fn deleted(rows: &mut Rows) -> Vec<u64> {
    let (_, pending) = rows.next().expect("a row that goes");
    rows.answered();
    pending.delete.expect("it goes").started_ms.into_iter().collect()
}

/// What stands of a recording in the queue: its revision.
fn revision(rows: &Rows, name: &str) -> Option<u64> {
    rows.get(&id(name)).map(|row| row.revision)
}

/// What a catalog that answers is asked for, until nothing is left.
fn written(rows: &mut Rows) -> Vec<String> {
    let mut done = Vec::new();
    while let Some((id, pending)) = rows.next() {
        let Pending { delete, put } = pending;
        let deletes = delete.is_some();
        done.push(match &put {
            _ if deletes => format!("delete {}", id.as_str()),
            Some(row) => format!("put {} {}", id.as_str(), row.revision),
            None => format!("nothing {}", id.as_str()),
        });
        match put {
            Some(_) if deletes => rows.again(&id, Pending { delete: None, put }),
            _ => rows.answered(),
        }
    }
    done
}

/// The catalog does not answer what is written next.
fn away(rows: &mut Rows) {
    let (id, pending) = rows.next().expect("something to write");
    rows.again(&id, pending);
}

#[test]
fn rows_are_written_in_the_order_in_which_they_first_changed_and_as_they_are_by_then() {
    let mut rows = Rows::default();
    for (name, revision) in [("one", 1), ("two", 1), ("one", 2), ("three", 1), ("two", 2)] {
        rows.put(row(name, revision));
    }
    assert_eq!(rows.waiting(), 3);
    assert_eq!(written(&mut rows), ["put one 2", "put two 2", "put three 1"]);
    assert_eq!(rows.waiting(), 0);
    assert_eq!(revision(&rows, "one"), None, "the catalog has it");
}

#[test]
fn an_answer_that_was_overtaken_changes_nothing() {
    let mut rows = Rows::default();
    let newest = CatalogRow { version: 2, fence: Fence(9), ..row("talk", 4) };
    rows.put(newest.clone());
    for late in [
        CatalogRow { revision: 3, ..newest.clone() },
        CatalogRow { fence: Fence(8), revision: 7, ..newest.clone() },
        CatalogRow { version: 1, fence: Fence(10), revision: 7, ..newest.clone() },
    ] {
        rows.put(late);
        assert_eq!(rows.get(&id("talk")), Some(&newest));
    }
    // The same may be learnt twice, and goes on from there.
    rows.put(CatalogRow { chunks: 6, ..newest.clone() });
    assert_eq!(rows.get(&id("talk")).map(|row| row.chunks), Some(6));
    rows.put(CatalogRow { fence: Fence(10), revision: 1, ..newest });
    assert_eq!(written(&mut rows), ["put talk 1"]);
}

#[test]
fn while_the_catalog_is_away_nothing_is_lost_and_the_newest_stands() {
    let mut rows = Rows::default();
    rows.put(row("one", 1));
    rows.put(row("two", 1));
    for _ in 0..5 {
        away(&mut rows);
        assert_eq!((revision(&rows, "one"), revision(&rows, "two")), (Some(1), Some(1)));
    }
    // What comes while one is being written stands, whether or not that one gets through.
    let (id, undone) = rows.next().expect("a row");
    assert_eq!(id.as_str(), "two", "those that wait get their turn");
    assert_eq!(revision(&rows, "two"), Some(1), "it is found while it is being written");
    rows.put(row("two", 2));
    assert_eq!(revision(&rows, "two"), Some(2));
    rows.again(&id, undone);
    assert_eq!(revision(&rows, "two"), Some(2), "not the one that was put back");
    assert_eq!(written(&mut rows), ["put one 1", "put two 2"]);
}

#[test]
fn no_more_rows_wait_than_there_is_room_for_and_those_still_made_give_way_first() {
    let mut rows = Rows::default();
    let over = |name: &str, state| row_of(&manifest(name, 1, state), 1);
    rows.put(over("failed", RecordingState::Failed));
    let _told = rows.delete(&id("gone"), 0);
    for number in 0..WAITING_MAX {
        rows.put(row(&format!("r{number}"), 1));
    }
    assert_eq!(rows.waiting(), WAITING_MAX);
    assert_eq!([revision(&rows, "r0"), revision(&rows, "r1"), revision(&rows, "r2")], [None, None, Some(1)]);
    rows.put(row("r5", 2));
    assert_eq!((rows.waiting(), revision(&rows, "r2")), (WAITING_MAX, Some(1)), "it waits already");
    let done = written(&mut rows);
    assert_eq!((done[0].as_str(), done[1].as_str()), ("put failed 1", "delete gone"));

    for number in 0..=WAITING_MAX {
        rows.put(over(&format!("f{number}"), RecordingState::Failed));
    }
    assert_eq!((rows.waiting(), revision(&rows, "f0")), (WAITING_MAX, None));
    assert_eq!(written(&mut rows)[0], "put f1 1");
}

#[test]
fn what_is_put_off_waits_here_no_more_and_that_a_row_goes_stands() {
    let mut rows = Rows::default();
    let finished = row_of(&manifest("talk", 1, RecordingState::Ready), 1);
    rows.put(finished.clone());
    rows.put(row("other", 1));
    assert_eq!(rows.ready(), [(id("talk"), Fence(5))]);
    rows.drop_put(&id("talk"));
    assert_eq!((rows.waiting(), rows.ready()), (1, Vec::new()));
    let _told = rows.delete(&id("talk"), finished.started_ms);
    rows.put(finished);
    rows.drop_put(&id("talk"));
    assert_eq!(written(&mut rows), ["put other 1", "delete talk"]);
}

#[tokio::test]
async fn what_was_deleted_goes_and_whoever_waits_is_told_then() {
    let mut rows = Rows::default();
    rows.put(began_at(5));
    let first = rows.delete(&id("talk"), 5);
    assert_eq!(revision(&rows, "talk"), None);
    away(&mut rows);
    let mut second = rows.delete(&id("talk"), 5);
    assert!(second.try_recv().is_err(), "the catalog has not answered");
    let (_, pending) = rows.next().expect("a row that goes");
    assert!(pending.put.is_none());
    for told in pending.delete.expect("it goes").waiting {
        told.send(()).expect("somebody waits");
    }
    rows.answered();
    first.await.expect("it is gone");
    second.await.expect("for both");
    assert_eq!(rows.waiting(), 0);
}

#[test]
fn a_recording_of_a_name_that_was_deleted_comes_after_the_row_before_it_is_gone() {
    let mut rows = Rows::default();
    let _told = rows.delete(&id("talk"), 5);
    rows.put(began_at(6));
    rows.put(row("other", 1));
    assert_eq!(revision(&rows, "talk"), Some(1));
    away(&mut rows);
    assert_eq!(revision(&rows, "talk"), Some(1));
    assert_eq!(written(&mut rows), ["put other 1", "delete talk", "put talk 1"]);
}

#[test]
fn a_row_that_is_being_written_when_its_recording_is_deleted_does_not_come_back() {
    let mut rows = Rows::default();
    rows.put(began_at(5));
    let (talk, undone) = rows.next().expect("a row");
    let _told = rows.delete(&talk, 5);
    assert_eq!(revision(&rows, "talk"), None, "nobody finds it any more");
    rows.again(&talk, undone);
    assert_eq!(revision(&rows, "talk"), None);
    assert_eq!(written(&mut rows), ["delete talk"]);
}

/// The catalog was away while one recording was deleted, the next of its name began, and was deleted too.
#[test]
fn neither_does_one_that_waited_for_the_row_before_it_to_go() {
    let mut rows = Rows::default();
    let _told = rows.delete(&id("talk"), 5);
    rows.put(began_at(6));
    let (talk, undone) = rows.next().expect("both");
    let _told = rows.delete(&talk, 6);
    rows.again(&talk, undone);
    assert_eq!(revision(&rows, "talk"), None);
    assert_eq!(deleted(&mut rows), [5, 6]);
    assert_eq!(rows.waiting(), 0);
}

/// Whoever deletes was slow: another node was quicker, and the next recording of this name has begun.
#[test]
fn a_deletion_leaves_alone_the_next_recording_of_its_name() {
    let mut rows = Rows::default();
    rows.put(began_at(6));
    let _told = rows.delete(&id("talk"), 5);
    assert_eq!(rows.get(&id("talk")), Some(&began_at(6)));
    assert_eq!(written(&mut rows), ["delete talk", "put talk 1"]);

    rows.put(began_at(6));
    let (talk, undone) = rows.next().expect("a row");
    let _told = rows.delete(&talk, 5);
    assert_eq!(rows.get(&talk), Some(&began_at(6)), "it is found while it is being written");
    rows.again(&talk, undone);
    assert_eq!(rows.get(&talk), Some(&began_at(6)));
    assert_eq!(written(&mut rows), ["delete talk", "put talk 1"]);
}

#[test]
fn a_row_that_tells_of_nothing_but_an_end_needs_nothing_beside_it() {
    let failed = |code: Code| {
        let fault = Some(Fault::from(&Refusal::from(code)));
        row_of(&Manifest { fault, ..manifest("talk", 1, RecordingState::Failed) }, 3)
    };
    assert!(is_all_that_is_left(&failed(Code::EmptyRecording)));
    assert!(!is_all_that_is_left(&failed(Code::MergeFailed)));
    assert!(!is_all_that_is_left(&row("talk", 1)));
}

#[test]
fn a_row_says_what_is_known_of_the_recording() {
    let begun = row_of(&manifest("talk", 0, RecordingState::Recording), 0);
    assert_eq!((begun.mime_type.as_str(), &begun.video, begun.ready_ms), ("video/webm", &None, None));

    let why = Refusal::from(Code::MergeFailed);
    let fault = Some(Fault::from(&why));
    let failed = row_of(&Manifest { fault, ..manifest("talk", 1, RecordingState::Failed) }, 3);
    assert_eq!(failed.error, Some(("merge_failed".to_owned(), why.message().into_owned())));

    let video = VideoFacts {
        key: VideoKey::new(&id("talk"), Fence(5), "webm"),
        poster: None,
        duration_ms: 1000,
        size_bytes: 2000,
        sha256: Some("07".repeat(32)),
        codecs: vec!["vp9".to_owned()],
        complete: false,
        gaps: Vec::new(),
        work: Vec::new(),
    };
    let finished = Finished {
        video: video.clone(),
        mime_type: "video/webm;codecs=vp9".to_owned(),
        missing: vec![2],
        chunks: 3,
        ready_ms: 1_700_000_009_000,
        poster_follows: false,
    };
    let finished = Some(Box::new(finished));
    let ended_ms = Some(1_700_000_008_000);
    let ready = row_of(&Manifest { ended_ms, finished, ..manifest("talk", 2, RecordingState::Ready) }, 3);
    assert_eq!((ready.mime_type.as_str(), ready.chunks), ("video/webm;codecs=vp9", 3));
    assert_eq!((ready.missing, ready.video), (vec![2], Some(video)));
    assert_eq!((ready.ended_ms, ready.ready_ms), (ended_ms, Some(1_700_000_009_000)));
    assert_eq!((ready.version, ready.fence, ready.revision), (1, Fence(5), 2));
}
