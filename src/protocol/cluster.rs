//! What nodes say to each other, as JSON over Redis pub/sub. Only nodes speak it; `docs/PROTOCOL.md` §9 shows it to
//! operators.
//!
//! ```text
//!  cluster:messages:<node>   Inbox: frames of links, hints, and the node's own probe
//!  cluster:events            Event: a node came, goes, is dead
//! ```
//! A link is one direction between two lives of nodes: numbered, acknowledged, repaired. Its rules are in
//! `domain::cluster::link`. A hint goes by none: nobody misses one that is lost.
//!
//! A node drops and counts what it cannot read, such as a kind of message that came with a later version.

use serde::{Deserialize, Serialize};

use super::{
    CommandId, Incarnation, NodeRef, RecordId, RoomName, Seq, SessionId, TokenDigest, UserId,
    command::{MediaKind, Username},
    event::{Body, LeaveReason, Presence},
    metadata::Metadata,
};

/// Outdates earlier holders of the same participant: a higher number is the newer one. Unique in its room.
pub type Generation = u64;

/// What is mirrored of one participant (`rooms:{<room>}:participants`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Which life of which node holds the session (C-1).
    #[serde(flatten)]
    pub node: NodeRef,
    /// The session.
    pub session: SessionId,
    /// Given at admission, and anew when the session moves to another node.
    #[serde(rename = "gen")]
    pub generation: Generation,
    /// Rises with each change that its node makes under one generation.
    #[serde(rename = "rev")]
    pub revision: u64,
    /// For people to read.
    pub username: Username,
    /// Whether it has a socket.
    pub state: Presence,
    /// What it says of itself.
    pub metadata: Metadata,
    /// First admission of this participant; a replaced one keeps it, and with it its seniority. Unique in its room.
    /// Unit: ms, Unix time.
    pub joined_at: u64,
    /// Of the session's resume token: any node can check a browser whose node has died.
    pub proof: TokenDigest,
    /// Its node is dead: it is taken away then. Unit: ms of the registry's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

impl Row {
    /// Orders two states of one participant's row.
    #[must_use]
    pub fn version(&self) -> (Generation, u64) {
        (self.generation, self.revision)
    }
}

/// What arrives in a node's inbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Inbox {
    /// A frame of a link.
    Frame(Box<Frame>),
    /// The node's own, to see that its subscription lives. The higher, the later.
    Probe {
        /// Who sent it.
        from: NodeRef,
        /// Rises by 1.
        number: u64,
    },
    /// Something that is good to know.
    Hint(Hint),
}

/// What a node lets another one know of a recording. It saves time, and nothing depends on it: it may be lost, come twice or
/// late, or be wrong by the time it comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hint {
    /// Chunks of it come to the sender in requests, and of all nodes the receiver follows what comes so.
    Requested {
        /// Which.
        record_id: RecordId,
        /// Of its upload token: tells it from others of its name.
        token: TokenDigest,
    },
    /// It was stopped at the sender, which has not followed it; what came in requests the receiver has. It is due.
    Stopped {
        /// Which.
        record_id: RecordId,
    },
    /// The sender has made its video, or has failed to. Its recorder's socket may be at the receiver.
    Ended {
        /// Which.
        record_id: RecordId,
    },
}

/// To every node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A node serves.
    Up(NodeRef),
    /// A node is going away, and hands its sessions over.
    Draining(NodeRef),
    /// A node has gone, or was found dead.
    Down(NodeRef),
}

/// One frame on a link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// Who sends.
    pub from: NodeRef,
    /// Which life of the receiver is meant.
    pub to: Incarnation,
    /// Which numbering of this link; a higher one begins anew with 1.
    pub stream: u64,
    /// Everything up to here came by the link in the other direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack: Option<Ack>,
    /// What it carries.
    pub body: FrameBody,
}

/// A cumulative acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Of which numbering.
    pub stream: u64,
    /// Up to here.
    pub seq: u64,
}

/// What a frame carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FrameBody {
    /// A message.
    Data {
        /// From 1, rising by 1.
        seq: u64,
        /// It.
        message: Box<NodeMessage>,
    },
    /// Nothing new: the last number that was given. Finds a lost tail, or a lost acknowledgement.
    Tick {
        /// 0: everything is acknowledged, so this needs no answer.
        last: u64,
    },
    /// Something is missing: send again from `next`.
    Nack {
        /// Of which numbering.
        stream: u64,
        /// The first that is missing.
        next: u64,
    },
}

/// Whether a room admits nobody new. Of two, that of the higher version stands, wherever they meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RoomLock {
    /// Whether it is locked.
    pub locked: bool,
    /// About when that was said, by the registry's clock, and higher than the one before; 0: nobody has said so. Unit: ms.
    pub version: u64,
}

/// Which session of a participant is gone, and why. Another session of the same participant may be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// The session.
    pub session: SessionId,
    /// Its last generation.
    pub generation: Generation,
    /// Why.
    pub reason: LeaveReason,
}

/// One recipient of a relay, and the relay's number for this pair of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// For whom.
    pub session: SessionId,
    /// From 1, rising by 1 for each pair.
    pub n: u64,
    /// The last before it that was not refused; whoever has heard that one may hear this one.
    pub after: u64,
}

/// What one node tells another about a room, or asks of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the variants say what their fields are for")]
pub enum NodeMessage {
    /// A participant came, changed or moved; the receiver knows what it knew.
    Row { room: RoomName, user_id: UserId, row: Box<Row> },
    /// A participant is gone.
    Gone { room: RoomName, user_id: UserId, departure: Departure },
    /// Whether the room admits nobody new.
    Locked { room: RoomName, lock: RoomLock },
    /// A moderator removes a participant of the receiver.
    Kick { room: RoomName, session: SessionId },
    /// A moderator asks a participant of the receiver to mute.
    Mute { room: RoomName, session: SessionId, kind: MediaKind, by: UserId },
    /// Passed on unread.
    Relay(Box<RelayMessage>),
    /// A relay to one participant that the receiver sent has found nobody.
    Bounced { from: SessionId, id: Option<CommandId> },
    /// A browser has come to the sender with this session of the receiver's.
    Claim { ticket: u64, session: SessionId, secret: String, branch: u64, last_seq: Seq },
    /// The answer: take it over.
    HandedOver { ticket: u64, state: Box<SessionState> },
    /// The answer: no such session, or not with that secret.
    NotHere { ticket: u64, session: SessionId },
    /// The sender has the session now.
    Moved { session: SessionId },
    /// A node that was cut off has taken something for a session that is the receiver's by now.
    Missed { session: SessionId },
    /// Whoever has a session of this participant, or believes that the sender has, looks whether it is in the registry still:
    /// another one may have displaced it without everybody being told.
    Check { room: RoomName, user_id: UserId },
    /// The first message of a numbering that replaces one of which something was lost.
    Resync,
}

/// A relay on its way to another node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RelayMessage {
    /// Where sender and recipients are.
    pub room: RoomName,
    /// Whose session it comes from.
    pub from: SessionId,
    /// When the sender began to count: a higher one begins anew.
    pub numbering: Generation,
    /// What recipients are told.
    pub body: Body,
    /// Those of the receiving node.
    pub to: Vec<Target>,
    /// The browser's own name for the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<CommandId>,
    /// Whether its sender is told where it finds nobody: it is meant for one participant, or goes to another life than the
    /// one that had its recipients.
    pub single: bool,
}

/// A session on its way to another node: all that its browser was told and may have missed, and how far it has counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionState {
    /// Which.
    pub session: SessionId,
    /// Its room.
    pub room: RoomName,
    /// Whose it is.
    pub user_id: UserId,
    /// The row as its node has it.
    pub row: Row,
    /// The resume token's secret, 64 hexadecimal digits.
    pub secret: String,
    /// The number of the newest message to its browser.
    pub last: Seq,
    /// The messages that are kept, up to `last`, without a hole. `None`: too much is lost, a snapshot is needed.
    pub kept: Option<Vec<Body>>,
    /// When it began to number its relays.
    pub numbering: Generation,
    /// Its relays, by recipient: the last number, and the last that was not refused.
    pub sent: Vec<(SessionId, u64, u64)>,
    /// Relays to it, by sender: its numbering, and the last that was heard.
    pub heard: Vec<(SessionId, Generation, u64)>,
    /// Everyone else in the room, as its browser was last told.
    pub roster: Vec<(UserId, Row)>,
    /// The room's lock, as its browser was last told.
    pub lock: RoomLock,
    /// Whether its browser was last told that somebody records.
    pub recording: bool,
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
