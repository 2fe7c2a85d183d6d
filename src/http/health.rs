//! Health: for orchestrators, load balancers and people.
//!
//! Liveness asks whether a restart would help; it looks at this process only. Readiness asks whether the node may take
//! traffic.

use std::{collections::BTreeMap, time::Duration};

use actix_web::{HttpResponse, web::Data};
use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};

use super::{
    error::Problem,
    state::{HttpState, ask},
};
use crate::{
    actors::{
        cluster_bridge::{NodeState, mode_name},
        messages::{CountRecordings, CountRooms, Standing},
    },
    adapters::ports::{CatalogFilter, StoreState},
    domain::cluster::PeerView,
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
    // A node that is cut off from the others goes on serving whoever comes: taking it out would only make it worse. The same is
    // true of a bucket or a database that is away: it is away for every node, and whoever comes is told what does not go on.
    let standing = state.standing().await?;
    if standing.as_ref().is_some_and(|standing| !standing.begun) {
        return Err(Refusal::because(Code::NotReady, "it has not reached its cluster yet").into());
    }
    Ok(HttpResponse::Ok().json(json!({ "status": "ok", "mode": mode(standing.as_ref()) })))
}

/// How the node runs, in one word.
pub fn mode(standing: Option<&Standing>) -> &'static str {
    standing.map_or("local", |standing| mode_name(standing.view.mode))
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
    let breakers = state.breakers.iter().map(|(name, store)| (*name, store.state()));
    let breakers: BTreeMap<&str, StoreState> = breakers.collect();
    let storage = soon(state.videos.free_bytes()).await;
    // A bucket says nothing of its space, but whether it answers is known from what was asked last.
    let storage = storage.and_then(|free| match breakers.get("s3") {
        None | Some(StoreState::Closed) => Ok(free),
        Some(StoreState::Open | StoreState::HalfOpen) => Err(()),
    });
    let catalog = soon(state.catalog.page(CatalogFilter { limit: 1, ..CatalogFilter::default() })).await;
    let merging = recordings.as_ref().is_ok_and(|counted| counted.merging_works);
    let standing = state.standing().await;
    let check = |ok: bool| if ok { "ok" } else { "down" };
    let up =
        state.managers_alive() && census.is_ok() && recordings.is_ok() && storage.is_ok() && standing.is_ok();
    let standing = standing.ok().flatten();
    let shared = standing.as_ref().is_none_or(Standing::is_connected);
    let same_stores = state.same_stores.are_same();
    let whole = up && catalog.is_ok() && merging && shared && same_stores;
    let status = match (up, whole, state.is_draining()) {
        (true, _, true) => "draining",
        (true, true, false) => "ok",
        (true, false, false) => "degraded",
        (false, ..) => "down",
    };
    let mut response = if up { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    let mut checks = json!({
        "room_manager": check(census.is_ok()),
        "recording_supervisor": check(recordings.is_ok()),
        "merge_worker": check(state.merges.connected()),
        "export_worker": check(state.exports.connected()),
        "keeper": check(state.keeper.connected()),
        "storage": check(storage.is_ok()),
        "catalog": check(catalog.is_ok()),
        "ffmpeg": check(merging),
    });
    if state.cluster.is_some() {
        checks["cluster"] = json!(check(shared));
        checks["same_stores"] = json!(check(same_stores));
    }
    response.json(json!({
        "status": status,
        "node_id": state.node.id,
        "checks": checks,
        "breakers": breakers.iter().map(|(name, state)| (*name, state.name())).collect::<BTreeMap<_, _>>(),
        "sessions": census.ok().map(|census| census.present + census.suspect),
        "recorders": recordings.ok().map(|counted| counted.recorders),
        "storage_free_bytes": storage.ok(),
    }))
}

/// Waits for an answer, but no longer than whoever asks for the node's health would. What went wrong is not for strangers.
async fn soon<T, E>(answer: impl Future<Output = Result<T, E>>) -> Result<T, ()> {
    tokio::time::timeout(PATIENCE, answer).await.map_err(|_| ())?.map_err(|_| ())
}

/// `GET /health/info`: what runs here, and since when.
pub async fn info(state: Data<HttpState>) -> Result<HttpResponse, Problem> {
    let standing = state.standing().await?;
    let node = standing.as_ref().map_or(&state.node, |standing| &standing.view.node);
    let uptime = state.clock.now().mono.saturating_sub(state.started.mono);
    Ok(HttpResponse::Ok().json(json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "node_id": node.id,
        "incarnation": node.incarnation,
        "mode": mode(standing.as_ref()),
        "started_at": rfc3339(state.started.wall_ms),
        "uptime_secs": uptime.as_secs(),
    })))
}

fn rfc3339(wall_ms: u64) -> Value {
    let time = i64::try_from(wall_ms).ok().and_then(DateTime::from_timestamp_millis);
    json!(time.map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true)))
}

/// `GET /health/cluster`: how the node stands among the others.
pub async fn cluster(state: Data<HttpState>) -> Result<HttpResponse, Problem> {
    let census = ask(&state.count, CountRooms).await?;
    let standing = state.standing().await?;
    let mut answer = json!({
        "mode": mode(standing.as_ref()),
        "redis_connected": standing.as_ref().is_some_and(Standing::is_connected),
        "local_connections": census.present,
    });
    if let Some(Standing { view, .. }) = &standing {
        let peer = |peer: &PeerView| {
            json!({
                "node_id": peer.node.id,
                "incarnation": peer.node.incarnation,
                "state": NodeState::of(peer).name(),
                "lease_left_ms": millis(peer.lease_left),
                "unacked": peer.unacked,
            })
        };
        answer["node"] = json!(view.node.id);
        answer["incarnation"] = json!(view.node.incarnation);
        answer["lease_left_ms"] = json!(millis(view.lease_left));
        answer["peers"] = view.peers.iter().map(peer).collect();
    }
    Ok(HttpResponse::Ok().json(answer))
}

/// As it stands in answers.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
