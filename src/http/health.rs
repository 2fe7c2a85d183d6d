//! Health: for orchestrators, load balancers and people.
//!
//! Liveness asks whether a restart would help; it looks at this process only. Readiness asks whether the node may take
//! traffic.

use actix_web::{HttpResponse, web::Data};
use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};

use super::{
    error::Problem,
    state::{HttpState, ask},
};
use crate::{
    actors::messages::CountRooms,
    protocol::{Code, Refusal},
};

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
        Err(Refusal::because(Code::NotReady, "the room manager has died; restart the node").into())
    }
}

/// `GET /health`: everything the node depends on, each by name. 503 when one is away.
pub async fn all(state: Data<HttpState>) -> HttpResponse {
    let census = ask(&state.count, CountRooms).await;
    let check = |ok: bool| if ok { "ok" } else { "down" };
    let up = census.is_ok();
    let status = match (up, state.is_draining()) {
        (true, false) => "ok",
        (true, true) => "draining",
        (false, _) => "down",
    };
    let mut response = if up { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(json!({
        "status": status,
        "node_id": state.node.id,
        "checks": { "room_manager": check(up) },
        "sessions": census.ok().map(|census| census.present + census.suspect),
    }))
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
