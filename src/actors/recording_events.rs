//! What the application is told of recordings, as it is sent (`docs/WEBHOOKS.md`).
//!
//! A row tells everything that has happened to its version so far, whoever writes it and however often: rows are written
//! again after a lost answer and by other nodes, and while the catalog is away only the last of several is kept. The outbox
//! takes each event once. So an event must have the same name under every claim: it is counted by the version of the video
//! that it belongs to, and not by a fence, which rises with each claim.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    adapters::ports::{CatalogRow, OutboxEvent},
    protocol::{
        Fence, RecordId,
        recorder::{Ready, RecordingState},
    },
};

/// What is told, in the order in which it happens to one version of a recording. A merge that has failed may come to a
/// video later, never the other way round.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Begun = 0,
    Failed = 1,
    Ready = 2,
    Deleted = 9,
}

/// An event as it is sent.
#[derive(Debug, Serialize)]
struct Told<'a> {
    r#type: &'static str,
    id: &'a str,
    time: DateTime<Utc>,
    data: Value,
}

/// What a row tells.
#[must_use]
pub fn of_row(row: &CatalogRow, base_url: &str) -> Vec<OutboxEvent> {
    // One more than a version before it; two recordings of one name are further apart than either has versions.
    let fence = Fence(row.started_ms + u64::from(row.version.saturating_sub(1)));
    let tell = |stage: Stage, kind, at_ms, more: Value| {
        event(&row.record_id, (fence, stage), kind, at_ms, data(row, stage, more))
    };
    let begun = match row.version {
        0 | 1 => tell(Stage::Begun, "recording.started", row.started_ms, json!({})),
        // Nobody notes when; the fence rose then, and it never falls behind the ledger's clock.
        _ => tell(Stage::Begun, "recording.reopened", row.fence.0, json!({})),
    };
    let ended = match row.state {
        RecordingState::Recording | RecordingState::Finalising => None,
        RecordingState::Ready => ready(row, base_url).map(|ready| {
            let at_ms = row.ready_ms.unwrap_or(row.fence.0);
            tell(Stage::Ready, "recording.ready", at_ms, json!(ready))
        }),
        RecordingState::Failed => {
            let (code, error) = row.error.clone().unzip();
            let why = json!({ "code": code, "error": error });
            Some(tell(Stage::Failed, "recording.failed", row.fence.0, why))
        }
    };
    std::iter::once(begun).chain(ended).collect()
}

/// What is told of a recording that is gone since then: after everything else of it. Unit of the fence: Unix milliseconds.
#[must_use]
pub fn of_end(id: &RecordId, fence: Fence) -> Vec<OutboxEvent> {
    vec![event(id, (fence, Stage::Deleted), "recording.deleted", fence.0, json!({ "recordId": id }))]
}

/// `recordingReady` of a row that has a video.
#[must_use]
pub fn ready(row: &CatalogRow, base_url: &str) -> Option<Ready> {
    let video = row.video.as_ref()?;
    Some(Ready {
        record_id: row.record_id.clone(),
        key: video.key.clone(),
        download_url: video.key.link(base_url),
        poster_url: video.poster.as_ref().map(|poster| poster.link(base_url)),
        duration_ms: video.duration_ms,
        size_bytes: video.size_bytes,
        mime_type: row.mime_type.clone(),
        sha256: video.sha256.clone(),
        complete: video.complete,
        gaps: video.gaps.clone(),
        version: row.version,
    })
}

/// When what an event tells has happened. Unit: Unix milliseconds. `None`: it is not ours.
#[must_use]
pub fn happened_ms(event: &OutboxEvent) -> Option<u64> {
    #[derive(Deserialize)]
    struct Dated {
        time: DateTime<Utc>,
    }
    let dated: Dated = serde_json::from_str(&event.body).ok()?;
    u64::try_from(dated.time.timestamp_millis()).ok()
}

fn event(
    id: &RecordId,
    (fence, stage): (Fence, Stage),
    kind: &'static str,
    at_ms: u64,
    data: Value,
) -> OutboxEvent {
    let stage = stage as u8;
    // Parts of a signed text are joined by full stops: there is none in it.
    let name = format!("{id}:{}:{stage}", fence.0);
    let body = json!(Told { r#type: kind, id: &name, time: time(at_ms), data }).to_string();
    OutboxEvent { id: name, record_id: id.clone(), fence, stage, body }
}

/// What is told of a recording, as it stood then.
fn data(row: &CatalogRow, stage: Stage, more: Value) -> Value {
    let state = match stage {
        Stage::Begun => RecordingState::Recording,
        Stage::Failed | Stage::Ready | Stage::Deleted => row.state,
    };
    let mut data = json!({
        "recordId": row.record_id,
        "roomName": row.room,
        "owner": row.owner,
        "title": row.title,
        "state": state,
        "startedAt": time(row.started_ms),
        "mimeType": row.mime_type,
        "version": row.version,
    });
    if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
        data.extend(more);
    }
    data
}

/// What is beyond the calendar is no time that there is.
fn time(unix_ms: u64) -> DateTime<Utc> {
    i64::try_from(unix_ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default()
}

#[cfg(test)]
#[path = "recording_events_tests.rs"]
mod tests;
