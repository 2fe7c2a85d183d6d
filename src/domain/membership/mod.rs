//! Who is admitted to a room: the rules that hold across nodes, each as one step.
//!
//! This is the meaning of the registry's scripts. The in-memory registry runs [`RoomRecord`] as it is, the simulation's
//! model of Redis too; a registry on Redis runs the same steps as scripts and is held to it by the same tests. It knows
//! nothing of sockets or sessions' rings: that is [`super::rooms`].
//!
//! A node is the truth about its own sessions and this is their mirror, so whatever the registry forgets, [`RoomRecord::sync`]
//! puts back: it is the one step of healing.

mod record;

use std::{collections::BTreeMap, time::Duration};

pub use self::record::RoomRecord;
pub use crate::protocol::cluster::{Generation, RoomLock, Row};
use crate::protocol::{
    Incarnation, NodeRef, RoomName, SessionId, TokenDigest, UserId, command::Username, event::Presence,
    metadata::Metadata,
};

/// Somebody wants in.
#[derive(Debug, Clone)]
pub struct AdmissionRequest {
    /// The room.
    pub room: RoomName,
    /// The participant.
    pub user_id: UserId,
    /// Its new session and where that lives.
    pub node: NodeRef,
    /// The session.
    pub session: SessionId,
    /// For people to read.
    pub username: Username,
    /// What it says of itself.
    pub metadata: Metadata,
    /// Of the session's resume token.
    pub proof: TokenDigest,
    /// Most participants the room may have.
    pub participants_max: usize,
}

/// Somebody is in.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// The row as it now stands.
    pub row: Row,
    /// The room with it.
    pub picture: RoomPicture,
    /// Where the session lives that it has replaced, or lived before it moved: that node is told too.
    pub replaced: Option<NodeRef>,
}

/// A room as the registry has it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RoomPicture {
    /// Who is in.
    pub rows: BTreeMap<UserId, Row>,
    /// Whether the room admits nobody new.
    pub lock: RoomLock,
    /// The highest generation given so far: whoever has a higher one came after this picture was made.
    pub last_generation: Generation,
    /// When the first of those whose node is dead is to be taken away.
    pub due_in: Option<Duration>,
    /// Where sessions lived that this very step has replaced by newer ones: those nodes need not be in the room any more, and
    /// are told too.
    pub displaced: Vec<NodeRef>,
    /// Rows of the asking node that it no longer has, and that this very step has taken away: others may have seen them.
    pub removed: Vec<(UserId, SessionId, Generation)>,
    /// Whether rows of the asking node had to be put back by this very step: what else is missing may have been forgotten too.
    pub restored: bool,
}

/// A session has come to another node.
#[derive(Debug, Clone)]
pub struct TakeOver {
    /// The room.
    pub room: RoomName,
    /// The participant.
    pub user_id: UserId,
    /// Its row as its new node will have it; generation and seniority are the registry's.
    pub row: Row,
    /// What the row must still be of: the session, under this generation.
    pub expected: Generation,
}

/// What a node holds of a room, to be put back; and what it knows to be dead.
#[derive(Debug, Clone)]
pub struct SyncRequest {
    /// The room.
    pub room: RoomName,
    /// Who asks.
    pub node: NodeRef,
    /// Its participants.
    pub mine: Vec<(UserId, Row)>,
    /// Sessions for which it has asked admission, whose rows it may not know yet.
    pub keep: Vec<SessionId>,
    /// What it knows of the room's lock.
    pub lock: RoomLock,
    /// Lives of nodes that are over, each with those before it.
    pub dead: Vec<NodeRef>,
    /// How long the participants of dead nodes are waited for.
    pub grace: Duration,
}

impl SyncRequest {
    /// Takes a room's dead further and touches nothing else: whoever clears away after them may be in the room itself, and
    /// does not speak for its own participants here.
    #[must_use]
    pub fn reaping(room: RoomName, dead: NodeRef, grace: Duration) -> Self {
        // Asked for by a life before the first, which can have no rows.
        let node = NodeRef { id: dead.id.clone(), incarnation: Incarnation(0) };
        Self {
            room,
            node,
            mine: Vec::new(),
            keep: Vec::new(),
            lock: RoomLock::default(),
            dead: vec![dead],
            grace,
        }
    }
}

/// A change of one participant's row, valid only while the row is still of that generation (C-2).
#[derive(Debug, Clone)]
pub struct RowUpdate {
    /// The room.
    pub room: RoomName,
    /// The participant.
    pub user_id: UserId,
    /// What the writer holds; another one in the row means that the writer is out of date.
    pub generation: Generation,
    /// Later changes have a higher one.
    pub revision: u64,
    /// New presence.
    pub state: Presence,
    /// New metadata.
    pub metadata: Metadata,
}

/// A change to what a room shares, mirrored in the order in which it was made.
#[derive(Debug, Clone)]
pub enum Change {
    /// A participant's row has changed.
    Update(RowUpdate),
    /// Whatever an admission that was never answered may have put there.
    TakeBack {
        /// The room.
        room: RoomName,
        /// The participant.
        user_id: UserId,
        /// The session that was to be admitted.
        session: SessionId,
    },
    /// A participant is gone.
    Withdraw {
        /// The room.
        room: RoomName,
        /// The participant.
        user_id: UserId,
        /// Its session.
        session: SessionId,
        /// What the writer holds.
        generation: Generation,
    },
    /// The room admits nobody new, or somebody again.
    SetLocked {
        /// The room.
        room: RoomName,
        /// The new state.
        lock: RoomLock,
    },
    /// A participant was removed and is kept out for a while.
    Ban {
        /// The room.
        room: RoomName,
        /// The participant.
        user_id: UserId,
        /// For how long, from when the registry takes the change (C-4: by its clock).
        duration: Duration,
    },
}

impl Change {
    /// The room it is about.
    #[must_use]
    pub fn room(&self) -> &RoomName {
        match self {
            Self::Update(update) => &update.room,
            Self::TakeBack { room, .. }
            | Self::Withdraw { room, .. }
            | Self::SetLocked { room, .. }
            | Self::Ban { room, .. } => room,
        }
    }
}

#[cfg(test)]
#[path = "membership_tests.rs"]
mod tests;
