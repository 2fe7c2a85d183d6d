//! `GET /api/rooms`, `GET /api/rooms/{room}`, `GET /api/route`, `GET /api/cluster`: who is where.

use actix_web::{
    HttpResponse,
    web::{Data, Path, Query},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    error::Problem,
    state::{HttpState, ask},
};
use crate::{
    actors::{
        cluster_bridge::NodeState,
        messages::{ListRooms, RoomDetail, RoomSummary, ShowRoom, Standing},
    },
    domain::route::node_for,
    protocol::{Code, NodeId, Refusal, RoomName, event::Presence},
};

/// `{"rooms":[{"room_name","participants","locked"}]}`, in order of name. In a cluster those of all nodes, the first
/// so many, and `truncated` says whether there are more.
pub async fn list(state: Data<HttpState>) -> Result<HttpResponse, Problem> {
    if state.cluster.is_none() {
        let rooms = ask(&state.list, ListRooms).await?;
        return Ok(HttpResponse::Ok().json(json!({ "rooms": rooms })));
    }
    let overview = state.overviews.get(&state).await?;
    let summary = |room: &RoomDetail| RoomSummary {
        room_name: room.room_name.clone(),
        participants: room.participants.len(),
        locked: room.locked,
    };
    let rooms: Vec<_> = overview.rooms.iter().map(summary).collect();
    Ok(HttpResponse::Ok().json(json!({ "rooms": rooms, "truncated": overview.truncated })))
}

/// `{"room_name","locked","participants":[…]}`, the longest present first; 404 when nobody is in.
pub async fn show(path: Path<String>, state: Data<HttpState>) -> Result<HttpResponse, Problem> {
    let room = detail(&state, parse(&path)?).await?;
    room.map_or(Err(Code::NotFound.into()), |room| Ok(HttpResponse::Ok().json(room)))
}

/// Which room a node is asked for.
#[derive(Debug, Deserialize)]
pub struct ForRoom {
    room: String,
}

/// `{"room_name","node_id","live"}`: the node that a room is best served by, and whether anybody is in the room. It may
/// be served by any.
pub async fn route(query: Query<ForRoom>, state: Data<HttpState>) -> Result<HttpResponse, Problem> {
    let name = parse(&query.room)?;
    let standing = state.standing().await?;
    // While the registry is away, this node knows what it knows.
    let room = detail(&state, name.clone()).await.unwrap_or_default();
    let present = room.iter().flat_map(|room| &room.participants);
    let present = present.filter(|entry| entry.state == Presence::Present).map(|entry| &entry.node);
    let node = node_for(&name, present, &serving(&state, standing.as_ref()));
    Ok(HttpResponse::Ok().json(json!({
        "room_name": name,
        // Where every node is going away, one is as good as the other.
        "node_id": node.unwrap_or_else(|| state.node.id.clone()),
        "live": room.is_some(),
    })))
}

/// Everything at a glance, for the status page.
pub async fn cluster(state: Data<HttpState>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(state.overviews.get(&state).await?.to_json()))
}

fn parse(name: &str) -> Result<RoomName, Problem> {
    let bad = |error| Refusal::because(Code::Malformed, format!("the room's name {error}"));
    Ok(RoomName::parse(name).map_err(bad)?)
}

/// A room as this node knows it, which is the latest where it has somebody in it; otherwise as the registry does.
async fn detail(state: &HttpState, name: RoomName) -> Result<Option<RoomDetail>, Problem> {
    let here = ask(&state.show, ShowRoom(name.clone())).await?;
    match (&state.cluster, here) {
        (Some(cluster), None) => match cluster.registry.show(name.clone()).await {
            Ok(picture) => Ok(RoomDetail::of_picture(name, picture)),
            Err(_) => Err(Refusal::because(Code::Overloaded, "the cluster's store does not answer").into()),
        },
        (_, here) => Ok(here),
    }
}

/// Nodes that take traffic.
fn serving(state: &HttpState, standing: Option<&Standing>) -> Vec<NodeId> {
    let peers = standing.iter().flat_map(|standing| NodeState::live(&standing.view)).cloned();
    let own = (!state.is_draining()).then(|| state.node.id.clone());
    let mut nodes: Vec<_> = peers.chain(own).collect();
    nodes.sort();
    nodes.dedup();
    nodes
}
