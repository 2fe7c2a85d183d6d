//! Every key and channel, as `docs/PROTOCOL.md` names them. Braces are hash tags of Redis Cluster: all keys of one script
//! share a slot.

use crate::{
    adapters::chunk_store::names::whose,
    protocol::{NodeId, RecordId, RoomName, TokenDigest, UserId, chunk::ChunkIndex, recorder::VideoKey},
};

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

/// Hash: a recording's account, except its chunks.
pub fn recording(id: &RecordId) -> String {
    format!("recording:{{{id}}}")
}

/// All keys of a recording's account: itself; counter: the next index; hash index → `length:crc`; hash: numbers given out whose
/// chunks have not come.
pub fn account(id: &RecordId) -> [String; 4] {
    let account = recording(id);
    let part = |name: &str| format!("{account}:{name}");
    [account.clone(), part("chunk_index"), part("chunks"), part("given")]
}

/// Sorted set id → when to look whether it is due; never later than its deadline. Unit: ms of the server's clock.
pub const ACTIVE: &str = "recordings:active";

/// A recording in an index: names it also by its token, so that whoever takes one out leaves another of its name.
pub fn entry(id: &RecordId, token: &TokenDigest) -> String {
    format!("{id} {}", whose(token))
}

/// Hash [`entry`] → `fence:since:room`: which rooms are recorded; `#version` tells whether anything has changed.
pub const ROOMS: &str = "recordings:rooms";

/// Hash [`entry`] → `fence:since:`: what an owner records.
pub fn owner(owner: &UserId) -> String {
    format!("recordings:owner:{{{owner}}}")
}

/// String: every account that the chunk store has was put back since the data was lost; which servers had it then. Before that:
/// the name of the loss, and the servers.
pub const WHOLE: &str = "recordings:whole";

/// Hash with a term, what → where: in which stores the nodes keep recordings; `since` says since when.
pub const STORES: &str = "recordings:stores";

/// String with a term: who does something for all nodes.
pub fn lead(what: &str) -> String {
    format!("recordings:lead:{what}")
}

/// Hash with a term: who makes this MP4 and how far it is, or why it could not be made.
pub fn export(key: &VideoKey) -> String {
    format!("recordings:export:{}", key.as_str())
}

/// What the chunk store has of a recording beside its bytes. Hash: what is known of it; hash index → mark; string with a term:
/// somebody renews the terms.
pub fn stored(id: &RecordId) -> [String; 3] {
    ["manifest", "marks", "renewing"].map(|part| format!("{}:{part}", recording(id)))
}

/// String: the bytes of a chunk of the recording of that token.
pub fn data(id: &RecordId, whose: &str, index: ChunkIndex) -> String {
    format!("{}:data:{whose}:{index}", recording(id))
}

/// Sorted set [`entry`] → end of its term: which recordings the chunk store has. Unit: ms of the server's clock.
pub const STORED: &str = "recordings:stored";
