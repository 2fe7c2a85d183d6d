//! Every key and channel, as `docs/PROTOCOL.md` names them. Braces are hash tags of Redis Cluster: all keys of one script
//! share a slot.

use crate::protocol::{NodeId, RoomName};

/// Hash `user_id` → row: who is in the room.
pub fn participants(room: &RoomName) -> String {
    format!("rooms:{{{room}}}:participants")
}

/// Hash: what else the room shares.
pub fn meta(room: &RoomName) -> String {
    format!("rooms:{{{room}}}:meta")
}

/// Hash `session_id` → where it may have a row: what a node would leave behind.
pub fn connections(node: &NodeId) -> String {
    format!("servers:{{{node}}}:connections")
}

/// String with a term: who clears away what the node has left.
pub fn reaper(node: &NodeId) -> String {
    format!("servers:{{{node}}}:reaper")
}

/// String with a term, for people: the node lives.
pub fn heartbeat(node: &NodeId) -> String {
    format!("servers:{{{node}}}:heartbeat")
}

/// Sorted set `node#inc` → end of its lease. Unit: ms of the server's clock.
pub const LEASES: &str = "servers:leases";

/// String: the name that the data has for itself.
pub const EPOCH: &str = "cluster:epoch";

/// Channel: to every node.
pub const EVENTS: &str = "cluster:events";

/// Channel: frames to every node.
pub const MESSAGES: &str = "cluster:messages";

/// Channel: a node's inbox.
pub fn inbox(node: &NodeId) -> String {
    format!("{MESSAGES}:{node}")
}
