//! `GET /api/rooms`, `GET /api/rooms/{room}`: who is where.

use actix_web::{
    HttpResponse,
    web::{Data, Path},
};
use serde_json::json;

use super::{
    error::Problem,
    state::{HttpState, ask},
};
use crate::{
    actors::messages::{ListRooms, ShowRoom},
    protocol::{Code, Refusal, RoomName},
};

/// `{"rooms":[{"room_name","participants","locked"}]}`, in order of name.
pub async fn list(state: Data<HttpState>) -> Result<HttpResponse, Problem> {
    let rooms = ask(&state.list, ListRooms).await?;
    Ok(HttpResponse::Ok().json(json!({ "rooms": rooms })))
}

/// `{"room_name","locked","participants":[…]}`, the longest present first; 404 when nobody is in.
pub async fn show(path: Path<String>, state: Data<HttpState>) -> Result<HttpResponse, Problem> {
    let name = RoomName::parse(&path)
        .map_err(|error| Refusal::because(Code::Malformed, format!("the room's name {error}")))?;
    let room = ask(&state.show, ShowRoom(name)).await?;
    room.map_or(Err(Code::NotFound.into()), |room| Ok(HttpResponse::Ok().json(room)))
}
