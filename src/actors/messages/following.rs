//! Messages about who follows a recording while it comes, and makes its video once it was stopped.

use actix::Message;

use crate::{
    adapters::ports::{CameChunk, RecordingRef},
    protocol::{NodeId, RecordId, cluster::Hint},
};

/// To the assembly worker: a chunk is stored.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ChunkStored {
    /// Of which recording.
    pub recording: RecordingRef,
    /// It.
    pub came: CameChunk,
    /// Whether it came in a request of its own: where there are other nodes, each may come to another one.
    pub in_request: bool,
}

/// To the assembly worker of a node among others: a recording was stopped by way of this one.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RecordingStopped {
    /// Which.
    pub recording: RecordingRef,
}

/// To the assembly worker of a node among others: this node has made the video of a recording, or can make none.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RecordingEnded {
    /// Which.
    pub id: RecordId,
}

/// To the assembly worker: another node says so.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Hinted(pub Hint);

/// To the cluster bridge: let another node know.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct HintNode {
    /// Which.
    pub to: NodeId,
    /// What.
    pub hint: Hint,
}

/// To the recording supervisor: of all nodes this one had better make it, once it is due, as it should be now.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ClaimRecording {
    /// Which.
    pub id: RecordId,
}

/// To the recording supervisor: another node says that it has come to an end with it, as it should be known here.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LookAtRecording {
    /// Which.
    pub id: RecordId,
}
