//! However many recordings a node has attended to.

use actix::Actor as _;

use super::*;
use crate::{
    actors::{
        accounts::kit::{Stores, manifest, token},
        recording_supervisor::kit::{supervisor, sweeps},
    },
    domain::recording::{Finished, VideoFacts},
    protocol::recorder::VideoKey,
};

fn id(number: usize) -> RecordId {
    token(&format!("talk-{number:04}")).record_id().clone()
}

fn failed(number: usize) -> Manifest {
    Manifest { state: RecordingState::Failed, ..manifest(id(number).as_str()) }
}

/// A recording with a video of all its chunks, or of some.
fn ready(number: usize, complete: bool) -> Manifest {
    let running = manifest(id(number).as_str());
    let video = VideoFacts {
        key: VideoKey::new(&running.record_id, running.fence, "webm"),
        poster: None,
        duration_ms: 1,
        size_bytes: 1,
        sha256: Some(String::new()),
        codecs: vec![],
        complete,
        gaps: vec![],
        work: vec![],
    };
    let mime_type = "video/webm".to_owned();
    let finished =
        Finished { video, mime_type, missing: vec![], chunks: 1, ready_ms: 1, poster_follows: false };
    Manifest { state: RecordingState::Ready, finished: Some(Box::new(finished)), ..running }
}

fn view(manifest: Manifest, bytes: u64) -> LedgerView {
    LedgerView { manifest, next_index: 1, chunks: 1, bytes, claimed_by: None, percent: None }
}

#[test]
fn a_recording_whose_video_is_complete_needs_nobodys_attention() {
    let mut attended = Attended::default();
    attended.see(&ready(0, true));
    attended.see(&failed(1));
    attended.see(&ready(1, true));
    attended.see(&ready(2, false));
    assert_eq!(attended.begin_look(), Some(vec![id(2)]));
    attended.looked(vec![(id(2), Some(view(ready(2, true), 7)))]);
    assert_eq!((attended.begin_look(), attended.count(RecordingState::Ready)), (Some(vec![]), 0));
}

#[test]
fn many_are_looked_up_in_turn_and_what_is_new_before_them() {
    let mut attended = Attended::default();
    (0..250).for_each(|number| attended.see(&failed(number)));
    let numbers = |numbers: std::ops::Range<usize>| Some(numbers.map(id).collect::<Vec<_>>());
    let look = |attended: &mut Attended| {
        let ids = attended.begin_look();
        assert_eq!(attended.begin_look(), None, "one look at a time");
        let found = |id: RecordId| {
            let now = manifest(id.as_str());
            (id, Some(view(Manifest { state: RecordingState::Failed, ..now }, 7)))
        };
        attended.looked(ids.clone().into_iter().flatten().map(found).collect());
        ids
    };
    for expected in [0..100, 100..200] {
        assert_eq!(look(&mut attended), numbers(expected));
    }
    let rest = look(&mut attended).expect("a look");
    assert_eq!(rest[..50], (200..250).map(id).collect::<Vec<_>>());
    assert_eq!(attended.unmerged_bytes(), 250 * 7);
    attended.see(&failed(250));
    assert_eq!(look(&mut attended).expect("a look").first(), Some(&id(250)));
    // Everybody is seen again.
    let seen: std::collections::BTreeSet<_> = (0..4).filter_map(|_| look(&mut attended)).flatten().collect();
    assert_eq!(seen.len(), 251);
}

#[test]
fn what_another_node_has_taken_up_is_that_nodes_and_what_got_no_answer_stays() {
    let mut attended = Attended::default();
    (0..4).for_each(|number| attended.see(&failed(number)));
    attended.begin_look();
    let later = |number: usize| Manifest { fence: Fence(failed(number).fence.0 + 1), ..failed(number) };
    // This node has taken one up again since it asked.
    attended.see(&later(3));
    attended.looked(vec![(id(0), None), (id(1), Some(view(later(1), 7))), (id(3), Some(view(failed(3), 7)))]);
    assert_eq!(attended.begin_look(), Some(vec![id(2), id(3)]));
    assert_eq!((attended.count(RecordingState::Failed), attended.unmerged_bytes()), (2, 0));
}

#[actix::test]
async fn the_ledger_is_not_asked_for_everything_that_was_ever_attended_to() {
    let stores = Stores::open().await;
    let (mut supervisor, _deaf) = supervisor(&stores);
    for number in 0..300 {
        supervisor.attend(&ready(2 * number, true));
        supervisor.attend(&failed(2 * number + 1));
    }
    let _supervisor = supervisor.start();
    sweeps(&stores, 2).await;
    assert_eq!(stores.ledger.asked("show"), 100);
}
