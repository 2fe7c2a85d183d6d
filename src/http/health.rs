//! Health: for orchestrators, load balancers and people.
//!
//! Liveness asks whether a restart would help; it looks at this process only. Readiness asks whether the node may take
//! traffic.

use std::time::Duration;

use actix_web::{HttpResponse, web::Data};
use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};

use super::{
    error::Problem,
    state::{HttpState, ask},
};
use crate::{
    actors::messages::{CountRecordings, CountRooms},
    adapters::ports::CatalogFilter,
    protocol::{Code, Refusal},
};

/// How long a store may take to answer before it counts as down.
const PATIENCE: Duration = Duration::from_secs(2);

/// `GET /health/live`: 503 only when the process cannot heal itself.
pub async fn live(state: Data<HttpState>) -> Result<HttpResponse, Problem> {
    alive(&state)?;
    Ok(HttpResponse::Ok().json(json!({ "status": "ok" })))
}

/// `GET /health/ready`: 503 while draining, or when a manager is gone.
pub async fn ready(state: Data<HttpState>) -> Result<HttpResponse, Problem> {
    alive(&state)?;
    if state.is_draining() {
        return Err(Code::Draining.into());
    }
    Ok(HttpResponse::Ok().json(json!({ "status": "ok", "mode": "local" })))
}

fn alive(state: &HttpState) -> Result<(), Problem> {
    if state.managers_alive() {
        Ok(())
    } else {
        Err(Refusal::because(Code::NotReady, "a manager has died; restart the node").into())
    }
}

/// `GET /health`: everything the node depends on, each by name. 503 when a manager or the storage is away; `degraded`
/// when calls and uploads go on, but something else does not.
pub async fn all(state: Data<HttpState>) -> HttpResponse {
    let census = ask(&state.count, CountRooms).await;
    let recordings = ask(&state.count_recordings, CountRecordings).await;
    let storage = soon(state.videos.free_bytes()).await;
    let catalog = soon(state.catalog.page(CatalogFilter { limit: 1, ..CatalogFilter::default() })).await;
    let merging = recordings.as_ref().is_ok_and(|counted| counted.merging_works);
    let check = |ok: bool| if ok { "ok" } else { "down" };
    let up = census.is_ok() && recordings.is_ok() && storage.is_ok();
    let whole = up && catalog.is_ok() && merging;
    let status = match (up, whole, state.is_draining()) {
        (true, _, true) => "draining",
        (true, true, false) => "ok",
        (true, false, false) => "degraded",
        (false, ..) => "down",
    };
    let mut response = if up { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(json!({
        "status": status,
        "node_id": state.node.id,
        "checks": {
            "room_manager": check(census.is_ok()),
            "recording_supervisor": check(recordings.is_ok()),
            "storage": check(storage.is_ok()),
            "catalog": check(catalog.is_ok()),
            "ffmpeg": check(merging),
        },
        "sessions": census.ok().map(|census| census.present + census.suspect),
        "recorders": recordings.ok().map(|counted| counted.recorders),
        "storage_free_bytes": storage.ok(),
    }))
}

/// Waits for an answer, but no longer than whoever asks for the node's health would. What went wrong is not for strangers.
async fn soon<T, E>(answer: impl Future<Output = Result<T, E>>) -> Result<T, ()> {
    tokio::time::timeout(PATIENCE, answer).await.map_err(|_| ())?.map_err(|_| ())
}

/// `GET /health/info`: facts that do not change while the node runs, and its age.
pub async fn info(state: Data<HttpState>) -> HttpResponse {
    let uptime = state.clock.now().mono.saturating_sub(state.started.mono);
    HttpResponse::Ok().json(json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "node_id": state.node.id,
        "incarnation": state.node.incarnation,
        "mode": "local",
        "started_at": rfc3339(state.started.wall_ms),
        "uptime_secs": uptime.as_secs(),
    }))
}

fn rfc3339(wall_ms: u64) -> Value {
    let time = i64::try_from(wall_ms).ok().and_then(DateTime::from_timestamp_millis);
    json!(time.map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true)))
}

/// `GET /health/cluster`: a node alone says so.
pub async fn cluster(state: Data<HttpState>) -> Result<HttpResponse, Problem> {
    let census = ask(&state.count, CountRooms).await?;
    Ok(HttpResponse::Ok().json(json!({
        "mode": "local",
        "redis_connected": false,
        "local_connections": census.present,
    })))
}
