//! The index of what a node would leave behind: for each session a room in which it may have a row. An entry is written before
//! the row and taken away after it, so the index is always a superset (C-6); two keys in two slots cannot be written as one.

use deadpool_redis::redis::{Cmd, cmd};
use serde::{Deserialize, Serialize};

use super::{Question, keys, row::json, scripts};
use crate::{
    domain::{cluster::IndexEntry, membership::Generation},
    protocol::{Incarnation, NodeId, NodeRef, RoomName, SessionId, UserId, command::Username},
};

/// The value of an entry. Scripts read its first two fields in this order.
#[derive(Serialize, Deserialize)]
pub struct Entry {
    inc: Incarnation,
    /// The session's generation as its node knew it then; 0: it was yet to be admitted. What was written later is higher, also
    /// when a session comes back.
    connection_id: Generation,
    user_id: UserId,
    username: Username,
    room_id: RoomName,
    /// When the entry was written, by the node's clock: for people.
    connected_at: u64,
}

/// Whose entry it is to be.
pub struct Mine<'a> {
    pub node: &'a NodeRef,
    pub room: &'a RoomName,
    pub session: SessionId,
    pub user_id: &'a UserId,
    pub username: &'a Username,
    pub generation: Generation,
}

/// Entries that lead nowhere any more.
#[derive(Debug)]
pub struct Left {
    pub node: NodeId,
    pub session: SessionId,
    /// Only what was written under this generation, or one before it.
    pub generation_max: Generation,
}

impl Entry {
    /// What an entry leads to.
    pub fn leads(self, session: SessionId, node: &NodeId) -> IndexEntry {
        let node = NodeRef { id: node.clone(), incarnation: self.inc };
        IndexEntry { session, room: self.room_id, node }
    }
}

/// Writes entries into the index of their node.
pub fn put<'a>(node: &NodeId, now_ms: u64, entries: impl Iterator<Item = Mine<'a>>) -> Question {
    let mut command: Cmd = cmd("HSET");
    command.arg(keys::connections(node));
    for mine in entries {
        let entry = Entry {
            inc: mine.node.incarnation,
            connection_id: mine.generation,
            user_id: mine.user_id.clone(),
            username: mine.username.clone(),
            room_id: mine.room.clone(),
            connected_at: now_ms,
        };
        command.arg(mine.session.to_string()).arg(json(&entry));
    }
    Question::command("index_put", command)
}

/// Takes entries away that are as old as these bounds.
pub fn forget(
    node: &NodeId,
    incarnation_max: Incarnation,
    generation_max: Generation,
    sessions: &[SessionId],
) -> Question {
    Question::script(&scripts::UNINDEX, |call| {
        call.key(keys::connections(node)).arg(incarnation_max.0).arg(generation_max);
        for session in sessions {
            call.arg(session.to_string());
        }
    })
}
