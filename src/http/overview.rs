//! What people see of all nodes and rooms: one look for everybody who asks within a second.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{
    error::Problem,
    health::{millis, mode},
    state::{ClusterAccess, HttpState, ask},
};
use crate::{
    actors::{
        cluster_bridge::NodeState,
        messages::{CountRooms, RoomDetail, RosterEntry, ShowRooms, Standing},
    },
    protocol::{NodeId, NodeRef, RoomName, limits},
};

/// How long a look is good for. One that took long is good for longer, so that looking never is what a cluster does most.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// Rooms that are asked for at once.
const ROOMS_AT_ONCE: usize = 32;

/// The latest look, shared.
#[derive(Clone, Default)]
pub struct Overviews(Arc<Mutex<Option<Kept>>>);

struct Kept {
    until: Instant,
    overview: Arc<Overview>,
}

/// Nodes and rooms at one moment.
pub struct Overview {
    node_id: NodeId,
    mode: &'static str,
    nodes: Vec<NodeOverview>,
    /// In order of name, at most [`limits::OVERVIEW_ROOMS_MAX`].
    pub rooms: Vec<RoomDetail>,
    /// Whether there are more rooms than are shown.
    pub truncated: bool,
}

struct NodeOverview {
    node: NodeRef,
    state: NodeState,
    lease_left: Duration,
    /// `None`: as many as are seen in the rooms.
    sessions: Option<usize>,
}

impl Overviews {
    /// The latest look, or a new one. Whoever asks meanwhile waits for the same.
    ///
    /// # Errors
    /// A manager does not answer.
    pub async fn get(&self, state: &HttpState) -> Result<Arc<Overview>, Problem> {
        let mut kept = self.0.lock().await;
        let began = Instant::now();
        if let Some(kept) = kept.as_ref().filter(|kept| began < kept.until) {
            return Ok(kept.overview.clone());
        }
        let overview = Arc::new(look(state).await?);
        let until = Instant::now() + GOOD_FOR.max(began.elapsed() * 10);
        *kept = Some(Kept { until, overview: overview.clone() });
        Ok(overview)
    }
}

impl Overview {
    /// For `GET /api/cluster`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let node = |node: &NodeOverview| {
            let seen = || self.rooms.iter().flat_map(|room| &room.participants);
            let seen = || seen().filter(|entry| entry.node == node.node.id).count();
            json!({
                "node_id": node.node.id,
                "incarnation": node.node.incarnation,
                "state": node.state.name(),
                "lease_left_ms": millis(node.lease_left),
                "sessions": node.sessions.unwrap_or_else(seen),
            })
        };
        let entry = |entry: &RosterEntry| {
            json!({
                "user_id": entry.user_id,
                "username": entry.username,
                "state": entry.state,
                "node_id": entry.node,
            })
        };
        let room = |room: &RoomDetail| {
            json!({
                "room_name": room.room_name,
                "locked": room.locked,
                "participants": room.participants.iter().map(entry).collect::<Vec<_>>(),
            })
        };
        json!({
            "node_id": self.node_id,
            "mode": self.mode,
            "nodes": self.nodes.iter().map(node).collect::<Vec<_>>(),
            "rooms": self.rooms.iter().map(room).collect::<Vec<_>>(),
            "truncated": self.truncated,
        })
    }
}

async fn look(state: &HttpState) -> Result<Overview, Problem> {
    let standing = state.standing().await?;
    let census = ask(&state.count, CountRooms).await?;
    let rooms = ask(&state.show_all, ShowRooms { rooms_max: limits::OVERVIEW_ROOMS_MAX }).await?;
    let mut rooms: BTreeMap<_, _> = rooms.into_iter().map(|room| (room.room_name.clone(), room)).collect();
    let mut nodes = vec![own(state, standing.as_ref(), Some(census.present + census.suspect))];
    let mut elsewhere = BTreeSet::new();
    if let (Some(cluster), Some(standing)) = (&state.cluster, &standing) {
        nodes.extend(others(cluster, standing, &mut elsewhere).await);
        elsewhere.retain(|room| !rooms.contains_key(room));
    }
    let truncated = census.rooms + elsewhere.len() > limits::OVERVIEW_ROOMS_MAX;
    if let Some(cluster) = &state.cluster {
        // As many as could be among the first of all.
        rooms.extend(show(cluster, elsewhere.into_iter().take(limits::OVERVIEW_ROOMS_MAX)).await);
    }
    nodes.sort_by(|a, b| a.node.cmp(&b.node));
    Ok(Overview {
        node_id: state.node.id.clone(),
        mode: mode(standing.as_ref()),
        nodes,
        rooms: rooms.into_values().take(limits::OVERVIEW_ROOMS_MAX).collect(),
        truncated,
    })
}

fn own(state: &HttpState, standing: Option<&Standing>, sessions: Option<usize>) -> NodeOverview {
    match standing {
        Some(Standing { view, .. }) => NodeOverview {
            node: view.node.clone(),
            state: NodeState::own(view),
            lease_left: view.lease_left,
            sessions,
        },
        None => NodeOverview {
            node: state.node.clone(),
            state: if state.is_draining() { NodeState::Draining } else { NodeState::Live },
            lease_left: Duration::ZERO,
            sessions,
        },
    }
}

/// The other nodes, and into `rooms` where they have somebody, as far as the shared store says so.
async fn others(
    cluster: &ClusterAccess,
    standing: &Standing,
    rooms: &mut BTreeSet<RoomName>,
) -> Vec<NodeOverview> {
    let mut nodes = Vec::new();
    for peer in &standing.view.peers {
        let homes = if standing.is_connected() { homes(cluster, &peer.node).await } else { None };
        let sessions = homes.as_ref().map(Vec::len);
        rooms.extend(homes.into_iter().flatten());
        let (node, state, lease_left) = (peer.node.clone(), NodeState::of(peer), peer.lease_left);
        nodes.push(NodeOverview { node, state, lease_left, sessions });
    }
    nodes
}

/// The rooms of one life of a node, once for each of its sessions.
async fn homes(cluster: &ClusterAccess, node: &NodeRef) -> Option<Vec<RoomName>> {
    let entries = cluster.leases.index(&node.id).await.ok()?.into_iter();
    Some(entries.filter(|entry| entry.node == *node).map(|entry| entry.room).collect())
}

/// Rooms of which this node has nobody, as the registry has them.
async fn show(
    cluster: &ClusterAccess,
    names: impl IntoIterator<Item = RoomName>,
) -> Vec<(RoomName, RoomDetail)> {
    let ask = |name: RoomName| {
        let answer = cluster.registry.show(name.clone());
        async move { RoomDetail::of_picture(name.clone(), answer.await.ok()?).map(|room| (name, room)) }
    };
    stream::iter(names)
        .map(ask)
        .buffer_unordered(ROOMS_AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await
}
