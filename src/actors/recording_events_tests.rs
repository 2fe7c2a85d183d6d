use super::*;
use crate::{
    domain::recording::VideoFacts,
    protocol::{
        RoomName, UserId,
        recorder::{Gap, VideoKey},
    },
};

const STARTED_MS: u64 = 1_763_746_206_000;

fn id() -> RecordId {
    RecordId::parse("talk").expect("valid")
}

/// A row that stands so, of this version, written under a claim so long after the start.
fn row(state: RecordingState, version: u32, later_ms: u64) -> CatalogRow {
    let key = |extension| VideoKey::new(&id(), Fence(STARTED_MS + 1), extension);
    let video = VideoFacts {
        key: key("webm"),
        poster: Some(key("jpg")),
        duration_ms: 3000,
        size_bytes: 70_000,
        sha256: Some("ab".into()),
        codecs: vec!["vp8".into()],
        complete: false,
        gaps: vec![Gap { from_ms: 1000, to_ms: 2000, chunks: vec![4] }],
        work: vec![],
    };
    let has_video = state == RecordingState::Ready || version > 1;
    CatalogRow {
        record_id: id(),
        state,
        owner: Some(UserId::parse("ada").expect("valid")),
        room: Some(RoomName::parse("blue").expect("valid")),
        title: None,
        started_ms: STARTED_MS,
        ended_ms: None,
        ready_ms: has_video.then_some(STARTED_MS + 5000),
        mime_type: "video/webm".into(),
        chunks: 9,
        missing: vec![4],
        error: (state == RecordingState::Failed).then(|| ("merge_failed".into(), "it cannot be read".into())),
        video: has_video.then_some(video),
        version,
        fence: Fence(STARTED_MS + later_ms),
        revision: later_ms,
    }
}

/// The last thing that it tells.
fn last(row: &CatalogRow) -> (OutboxEvent, Value) {
    let event = of_row(row, "https://rooms.example.org").pop().expect("an event");
    let body = serde_json::from_str(&event.body).expect("JSON");
    (event, body)
}

#[test]
fn a_finished_recording_is_told_of_with_its_video() {
    let (event, body) = last(&row(RecordingState::Ready, 1, 4000));
    assert_eq!((event.record_id.clone(), event.stage), (id(), 2));
    assert_eq!(
        body,
        json!({
            "type": "recording.ready",
            "id": "talk:1763746206000:2",
            "time": "2025-11-21T17:30:11Z",
            "data": {
                "recordId": "talk", "roomName": "blue", "owner": "ada", "title": null, "state": "ready",
                "startedAt": "2025-11-21T17:30:06Z", "version": 1, "mimeType": "video/webm",
                "key": "talk.1763746206001.webm",
                "downloadUrl": "https://rooms.example.org/recordings/download/talk.1763746206001.webm",
                "posterUrl": "https://rooms.example.org/recordings/download/talk.1763746206001.jpg",
                "durationMs": 3000, "sizeBytes": 70000, "sha256": "ab", "complete": false,
                "gaps": [{ "fromMs": 1000, "toMs": 2000, "chunks": [4] }],
            },
        })
    );
    assert_eq!(event.id, body["id"].as_str().expect("an id"));
    assert_eq!(happened_ms(&event), Some(STARTED_MS + 5000));
}

#[test]
fn each_state_has_its_word() {
    for (state, version, kind, at_ms) in [
        (RecordingState::Recording, 1, "recording.started", STARTED_MS),
        (RecordingState::Recording, 2, "recording.reopened", STARTED_MS + 700),
        (RecordingState::Failed, 1, "recording.failed", STARTED_MS + 700),
    ] {
        let (event, body) = last(&row(state, version, 700));
        assert_eq!(body["type"], kind);
        assert_eq!(happened_ms(&event), Some(at_ms), "{kind}");
    }
    let (_, failed) = last(&row(RecordingState::Failed, 1, 700));
    assert_eq!(failed["data"]["code"], "merge_failed");
    assert_eq!(failed["data"]["error"], "it cannot be read");
    let no_video = CatalogRow { video: None, ..row(RecordingState::Ready, 1, 700) };
    assert_eq!(last(&no_video).1["type"], "recording.started");
}

#[test]
fn a_row_tells_what_one_before_it_had_to_tell() {
    let kinds = |state, version| {
        let events = of_row(&row(state, version, 700), "");
        let body = |event: &OutboxEvent| serde_json::from_str::<Value>(&event.body).expect("JSON");
        events.iter().map(|event| body(event)["type"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(RecordingState::Recording, 1), ["recording.started"]);
    assert_eq!(kinds(RecordingState::Finalising, 1), ["recording.started"]);
    assert_eq!(kinds(RecordingState::Failed, 1), ["recording.started", "recording.failed"]);
    assert_eq!(kinds(RecordingState::Ready, 2), ["recording.reopened", "recording.ready"]);
    let names = |state| of_row(&row(state, 1, 700), "").remove(0).id;
    assert_eq!(names(RecordingState::Recording), names(RecordingState::Ready));
    let told = of_row(&row(RecordingState::Ready, 1, 700), "").remove(0);
    assert!(told.body.contains(r#""state":"recording""#), "as it stood then: {}", told.body);
}

#[test]
fn the_same_event_is_the_same_under_every_claim() {
    for state in [RecordingState::Recording, RecordingState::Ready] {
        let of = |later_ms| of_row(&row(state, 1, later_ms), "");
        assert_eq!(of(0), of(9000), "{state:?}");
    }
    let place = |later_ms| {
        let event = last(&row(RecordingState::Failed, 1, later_ms)).0;
        (event.id, event.fence, event.stage)
    };
    assert_eq!(place(0), place(9000));
}

#[test]
fn events_are_in_the_order_in_which_they_happen() {
    use RecordingState::{Failed, Ready, Recording};
    let told =
        [(Recording, 1), (Failed, 1), (Ready, 1), (Recording, 2), (Failed, 2), (Ready, 2), (Recording, 3)];
    let mut events: Vec<_> =
        told.into_iter().map(|(state, version)| last(&row(state, version, 50)).0).collect();
    events.extend(of_end(&id(), Fence(STARTED_MS + 60)));
    let again = CatalogRow { started_ms: STARTED_MS + 90, ..row(Recording, 1, 90) };
    events.extend(of_row(&again, ""));
    let places: Vec<_> = events.iter().map(|event| (event.fence, event.stage)).collect();
    assert!(places.is_sorted_by(|one, other| one < other), "{places:?}");
    let ids: std::collections::BTreeSet<_> = events.iter().map(|event| &event.id).collect();
    assert_eq!(ids.len(), events.len());
}

#[test]
fn an_end_says_when() {
    let [event] = of_end(&id(), Fence(STARTED_MS)).try_into().expect("one");
    let body: Value = serde_json::from_str(&event.body).expect("JSON");
    assert_eq!(
        body,
        json!({
            "type": "recording.deleted", "id": "talk:1763746206000:9", "time": "2025-11-21T17:30:06Z",
            "data": { "recordId": "talk" },
        })
    );
}

#[test]
fn what_is_not_ours_has_no_time() {
    for body in ["", "{}", r#"{"time":"yesterday"}"#] {
        let event =
            OutboxEvent { id: String::new(), record_id: id(), fence: Fence(0), stage: 0, body: body.into() };
        assert_eq!(happened_ms(&event), None, "{body}");
    }
}
