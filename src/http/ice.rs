//! `GET /api/ice-servers`: what a browser connects through.

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, ContentType},
    web::{Data, Query},
};
use serde::Deserialize;

use super::{error::Problem, state::HttpState};
use crate::protocol::{Code, Refusal, UserId};

/// For whom TURN credentials are made.
#[derive(Debug, Deserialize)]
pub struct ForUser {
    user_id: Option<String>,
}

/// `{"ice_servers":[…]}` with TURN credentials that run out; `?user_id=` puts a name into them.
pub async fn list(query: Query<ForUser>, state: Data<HttpState>) -> Result<HttpResponse, Problem> {
    let user_id = UserId::parse(query.user_id.as_deref().unwrap_or("guest"))
        .map_err(|error| Refusal::because(Code::Malformed, format!("`user_id` {error}")))?;
    let servers = state.ice.for_user(&user_id, state.clock.now());
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(ContentType::json())
        .body(format!(r#"{{"ice_servers":{}}}"#, servers.get())))
}
