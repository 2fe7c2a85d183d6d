//! `GET /recordings`, `GET /recordings/{id}/status`, `DELETE /recordings/{id}`: what was recorded, and how it stands.

use std::collections::HashMap;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path, Query},
};
use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    error::Problem,
    state::{HttpState, ask},
    uploads,
};
use crate::{
    actors::messages::{DeleteRecording, LiveRecording, ShowRecordings},
    adapters::ports::{CatalogCursor, CatalogError, CatalogFilter, CatalogRow},
    protocol::{
        Code, RecordId, Refusal, RoomName, UserId,
        recorder::{Gap, RecordingState, SegmentWork, VideoKey},
    },
};

/// Rows on a page unless fewer are asked for, and the most.
const PAGE: (u32, u32) = (50, 200);

/// Which rows are wanted. All of them must fit.
#[derive(Debug, Default, Deserialize)]
pub struct Wanted {
    state: Option<String>,
    room: Option<String>,
    owner: Option<String>,
    q: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// `{"recordings":[…],"next":cursor}`, the newest first.
pub async fn list(wanted: Query<Wanted>, state: Data<HttpState>) -> Result<HttpResponse, Problem> {
    let filter = filter(&wanted)?;
    let page = state.catalog.page(filter).await.map_err(|error| unreachable(&error))?;
    let ids = page.rows.iter().map(|row| row.record_id.clone()).collect();
    let live = ask(&state.recordings, ShowRecordings { ids, thoroughly: false }).await??;
    let mut live: HashMap<RecordId, LiveRecording> =
        live.into_iter().map(|live| (live.row.record_id.clone(), live)).collect();
    let views = page.rows.into_iter().map(|row| match live.remove(&row.record_id) {
        Some(live) => View::live(&live, &state),
        None => View::of(&row, &state),
    });
    Ok(HttpResponse::Ok().json(json!({
        "recordings": views.collect::<Vec<_>>(),
        "next": page.next.map(|cursor| format!("{}.{}", cursor.started_ms, cursor.record_id)),
    })))
}

/// One recording; 404 when there is none.
pub async fn status(id: Path<String>, state: Data<HttpState>) -> Result<HttpResponse, Problem> {
    let id = uploads::record_id(&id)?;
    if let Some(live) = live(&id, false, &state).await? {
        return Ok(HttpResponse::Ok().json(View::live(&live, &state)));
    }
    let row = state.catalog.get(&id).await;
    if let Ok(Some(row)) = &row {
        return Ok(HttpResponse::Ok().json(View::of(row, &state)));
    }
    // It may have begun a moment before the ledger lost it, or the catalog went away.
    if let Some(live) = live(&id, true, &state).await? {
        return Ok(HttpResponse::Ok().json(View::live(&live, &state)));
    }
    row.map_err(|error| unreachable(&error))?;
    Err(Code::RecordingUnknown.into())
}

/// Whether there is such a recording.
pub async fn known(id: &RecordId, state: &HttpState) -> Result<(), Problem> {
    if live(id, false, state).await?.is_some() {
        return Ok(());
    }
    let row = state.catalog.get(id).await.map_err(|error| unreachable(&error))?;
    row.map(drop).ok_or_else(|| Code::RecordingUnknown.into())
}

/// A recording as its account has it.
async fn live(id: &RecordId, thoroughly: bool, state: &HttpState) -> Result<Option<LiveRecording>, Problem> {
    let show = ShowRecordings { ids: vec![id.clone()], thoroughly };
    Ok(ask(&state.recordings, show).await??.into_iter().next())
}

/// 204 when it is gone. One that still runs needs its token.
pub async fn delete(
    request: HttpRequest,
    id: Path<String>,
    state: Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    let id = uploads::record_id(&id)?;
    let token = uploads::bearer(request.headers());
    ask(&state.delete_recording, DeleteRecording { id, started_ms: None, token }).await??;
    Ok(HttpResponse::NoContent().finish())
}

fn filter(wanted: &Wanted) -> Result<CatalogFilter, Refusal> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let bad = |what: &'static str| move || Refusal::because(Code::Malformed, what);
    let state = given(&wanted.state)
        .map(|text| RecordingState::parse(&text).ok_or_else(bad("`state` is none that there is")));
    let room = given(&wanted.room).map(|text| RoomName::parse(&text).map_err(|_| bad("`room` is no name")()));
    let owner = given(&wanted.owner).map(|text| UserId::parse(&text).map_err(|_| bad("`owner` is no id")()));
    let after = given(&wanted.cursor)
        .map(|text| cursor(&text).ok_or_else(bad("`cursor` is none that was given out")));
    Ok(CatalogFilter {
        state: state.transpose()?,
        room: room.transpose()?,
        owner: owner.transpose()?,
        search: given(&wanted.q),
        limit: wanted.limit.unwrap_or(PAGE.0).clamp(1, PAGE.1),
        after: after.transpose()?,
    })
}

fn cursor(text: &str) -> Option<CatalogCursor> {
    let (started_ms, record_id) = text.split_once('.')?;
    Some(CatalogCursor { started_ms: started_ms.parse().ok()?, record_id: RecordId::parse(record_id).ok()? })
}

/// What is told when the catalog is away.
pub fn unreachable(error: &CatalogError) -> Problem {
    tracing::warn!(%error, "the catalog gave no answer");
    Refusal::because(Code::StorageFailed, "the catalog gives no answer").into()
}

/// A recording as it is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    record_id: RecordId,
    state: RecordingState,
    owner: Option<UserId>,
    room_name: Option<RoomName>,
    title: Option<String>,
    started_at: Option<String>,
    ended_at: Option<String>,
    ready_at: Option<String>,
    duration_ms: Option<u64>,
    size_bytes: Option<u64>,
    mime_type: String,
    codecs: Vec<String>,
    chunks: u32,
    missing_chunks: Vec<u32>,
    complete: Option<bool>,
    gaps: Vec<Gap>,
    error: Option<Value>,
    key: Option<VideoKey>,
    download_url: Option<String>,
    poster_url: Option<String>,
    sha256: Option<String>,
    version: u32,
    percent: Option<u8>,
    next_index: Option<u32>,
    work: Vec<SegmentWork>,
}

impl View {
    fn of(row: &CatalogRow, state: &HttpState) -> Self {
        let video = row.video.as_ref();
        let link = |key: &VideoKey| key.link(&state.api_base_url);
        Self {
            record_id: row.record_id.clone(),
            state: row.state,
            owner: row.owner.clone(),
            room_name: row.room.clone(),
            title: row.title.clone(),
            started_at: rfc3339(Some(row.started_ms)),
            ended_at: rfc3339(row.ended_ms),
            ready_at: rfc3339(row.ready_ms),
            duration_ms: video.map(|video| video.duration_ms),
            size_bytes: video.map(|video| video.size_bytes),
            mime_type: row.mime_type.clone(),
            codecs: video.map(|video| video.codecs.clone()).unwrap_or_default(),
            chunks: row.chunks,
            missing_chunks: row.missing.clone(),
            complete: video.map(|video| video.complete),
            gaps: video.map(|video| video.gaps.clone()).unwrap_or_default(),
            error: row.error.as_ref().map(|(code, message)| json!({ "code": code, "message": message })),
            key: video.map(|video| video.key.clone()),
            download_url: video.map(|video| link(&video.key)),
            poster_url: video.and_then(|video| video.poster.as_ref()).map(link),
            sha256: video.and_then(|video| video.sha256.clone()),
            version: row.version,
            percent: None,
            next_index: None,
            work: video.map(|video| video.work.clone()).unwrap_or_default(),
        }
    }

    /// With what is known of it at this moment.
    fn live(live: &LiveRecording, state: &HttpState) -> Self {
        let mut view = Self::of(&live.row, state);
        let finalising = view.state == RecordingState::Finalising;
        let percent = live.view.as_ref().and_then(|account| account.percent);
        view.percent = finalising.then(|| percent.unwrap_or(0));
        let runs = finalising || view.state == RecordingState::Recording;
        if let Some(account) = live.view.as_ref().filter(|_| runs) {
            view.chunks = account.chunks;
            view.next_index = Some(account.next_index);
            view.missing_chunks.clone_from(&live.missing);
        }
        view
    }
}

fn rfc3339(wall_ms: Option<u64>) -> Option<String> {
    let time = DateTime::from_timestamp_millis(i64::try_from(wall_ms?).ok()?)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Millis, true))
}
