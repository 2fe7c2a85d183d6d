//! Every message between actors, on this page and that of `following`. Requests are imperative, facts past.

mod following;

use std::time::Instant;

use actix::Message;
use serde::Serialize;

pub use self::following::{
    ChunkStored, ClaimRecording, HintNode, Hinted, LookAtRecording, RecordingEnded, RecordingStopped,
};
use super::door::Door;
use crate::{
    adapters::ports::{CatalogRow, LedgerView, MergeError, StoreState},
    domain::{
        cluster::{ClusterView, Mode},
        membership::{RoomPicture, Row},
        recording::{Manifest, StopRefused, StopTaken, VideoFacts},
        rooms::{Census, Room, RoomInput},
    },
    protocol::{
        Code, ConnectionId, Fence, NodeId, NodeRef, RecordId, Refusal, RoomName, Seq, UploadToken, UserId,
        cluster::NodeMessage,
        command::Username,
        event::{Body, Presence, Role},
        metadata::Metadata,
        recorder::{Made, RecorderEvent, Start, Started, VideoKey},
    },
};

/// To the room manager, from a new connection: the way to it. It is ended with the node even if it never asks for more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct OpenDoor {
    /// Who has come.
    pub connection: ConnectionId,
    /// The way to it.
    pub door: Door,
}

/// To the room manager, from a connection that waits for the answer: `Join`, `Resume` or `Leave`.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), Refusal>")]
pub struct AskRooms {
    /// Who waits.
    pub connection: ConnectionId,
    /// What is wanted.
    pub input: RoomInput,
}

/// To the room manager, from a connection or the cluster bridge, which go on at once.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PostRooms {
    /// When it was posted, for the mailbox's delay.
    pub posted_at: Instant,
    /// What has happened or is wanted.
    pub input: RoomInput,
}

/// To the room manager: how many are there?
#[derive(Debug, Message)]
#[rtype(result = "Census")]
pub struct CountRooms;

/// To the room manager: which rooms are there, in order of name?
#[derive(Debug, Message)]
#[rtype(result = "Vec<RoomSummary>")]
pub struct ListRooms;

/// To the room manager: who is in this room?
#[derive(Debug, Message)]
#[rtype(result = "Option<RoomDetail>")]
pub struct ShowRoom(pub RoomName);

/// A room in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RoomSummary {
    /// Its name.
    pub room_name: RoomName,
    /// How many are in.
    pub participants: usize,
    /// Whether nobody new is admitted.
    pub locked: bool,
}

/// A room with its roster. What is large in it is shared, so taking it costs the room manager little; whoever asked
/// serialises it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RoomDetail {
    /// Its name.
    pub room_name: RoomName,
    /// Whether nobody new is admitted.
    pub locked: bool,
    /// Who is in, the longest present first.
    pub participants: Vec<RosterEntry>,
}

impl RoomDetail {
    /// A room as this node knows it.
    #[must_use]
    pub fn of(room_name: RoomName, room: &Room) -> Self {
        let entry = |(user_id, row, role): (&UserId, &Row, Role)| RosterEntry {
            user_id: user_id.clone(),
            username: row.username.clone(),
            role,
            state: row.state,
            metadata: row.metadata.clone(),
            node: row.node.id.clone(),
        };
        let participants = room.roster().into_iter().map(entry).collect();
        Self { room_name, locked: room.lock.locked, participants }
    }

    /// A room as the registry has it; `None`: nobody is in.
    #[must_use]
    pub fn of_picture(room_name: RoomName, picture: RoomPicture) -> Option<Self> {
        let mut room = Room::new(picture.lock);
        for (user_id, row) in picture.rows {
            room.put(user_id, row);
        }
        (room.len() > 0).then(|| Self::of(room_name, &room))
    }
}

/// A participant as the others see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RosterEntry {
    /// Unique in the room.
    pub user_id: UserId,
    /// For people to read.
    pub username: Username,
    /// What it may do.
    pub role: Role,
    /// Whether it can be reached.
    pub state: Presence,
    /// What it says of itself.
    pub metadata: Metadata,
    /// Where its session is.
    #[serde(skip)]
    pub node: NodeId,
}

/// To the room manager: the first so many rooms with their rosters, in order of name.
#[derive(Debug, Message)]
#[rtype(result = "Vec<RoomDetail>")]
pub struct ShowRooms {
    /// Most rooms to show.
    pub rooms_max: usize,
}

/// To the cluster bridge: for another node, after what was posted before.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SendToNode {
    /// Which.
    pub to: NodeRef,
    /// What.
    pub message: Box<NodeMessage>,
}

/// To the cluster bridge: the shared store gave no answer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct StoreFailed;

/// To the cluster bridge: how does the node stand?
#[derive(Debug, Message)]
#[rtype(result = "Standing")]
pub struct ShowStanding;

/// A node's place in its cluster, for people.
#[derive(Debug, Clone)]
pub struct Standing {
    /// By the rules.
    pub view: ClusterView,
    /// Whether the node ever had a lease. Before that it knows no room but its own empty ones, and lets nobody in.
    pub begun: bool,
    /// How the shared store answers.
    pub store: StoreState,
}

impl Standing {
    /// Whether the shared store answers: the last beat was answered, and nothing has failed over and over since.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.view.mode != Mode::Isolated && self.store == StoreState::Closed
    }
}

/// To the cluster bridge: the node is going away; tell the others.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct DrainCluster;

/// To the cluster bridge: the node stops. Answered when its lease is gone and the others have been told.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct StopCluster;

/// To the room manager: the node is going away. Answered when every connection of a session has ended; in a cluster, when
/// every session has besides moved to another node or run out.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct DrainRooms {
    /// Browsers come back over this span. Unit: milliseconds.
    pub spread_ms: u64,
}

/// To the room manager: whether anybody records this room.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct TellRecording {
    /// The room.
    pub room: RoomName,
    /// Whether anybody does.
    pub recording: bool,
}

/// To the recording supervisor: begin a recording, or go on with one.
#[derive(Debug, Message)]
#[rtype(result = "Result<Begun, Refusal>")]
pub struct BeginRecording {
    /// What is wanted.
    pub start: Start,
    /// How its recorder comes; `None`: over HTTP, where nothing can be told to it.
    pub socket: Option<(ConnectionId, Door<ToRecorder>)>,
}

/// A recording has begun, or goes on.
#[derive(Debug, Clone)]
pub struct Begun {
    /// Proves that it is its recorder's.
    pub token: UploadToken,
    /// Names this recorder against earlier and later ones.
    pub generation: u64,
    /// What its recorder is told.
    pub started: Started,
    /// What it is told after that, where the recording is past taking chunks.
    pub outcome: Option<RecorderEvent>,
}

/// To the recording supervisor: everything was sent.
#[derive(Debug, Message)]
#[rtype(result = "Result<StopTaken, StopRefused>")]
pub struct StopRecording {
    /// Whose recording.
    pub token: UploadToken,
    /// How much the recorder made.
    pub made: Made,
}

/// To the recording supervisor: discard a recording whose recorder has thought better of it.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), Refusal>")]
pub struct AbortRecording {
    /// Whose recording.
    pub token: UploadToken,
}

/// To the recording supervisor: take a recording away, with its video. One that still runs needs its token.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), Refusal>")]
pub struct DeleteRecording {
    /// Its name.
    pub id: RecordId,
    /// When it began, where no other one of its name is meant. Unit: Unix milliseconds.
    pub started_ms: Option<u64>,
    /// Of its recorder.
    pub token: Option<UploadToken>,
}

/// To the recording supervisor: a recorder's socket is over. Twice is harmless.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RecorderGone {
    /// Which.
    pub connection: ConnectionId,
}

/// To the recording supervisor: a chunk has come after its recording was claimed, so the recording goes on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RecordingWentOn {
    /// Which.
    pub id: RecordId,
}

/// To the recording supervisor: chunks of a recording were stored and acknowledged while the ledger was away.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ChunksUnnoted {
    /// Which.
    pub id: RecordId,
}

/// To the recording supervisor: how many are there?
#[derive(Debug, Message)]
#[rtype(result = "RecordingCensus")]
pub struct CountRecordings;

/// How it stands with recording.
#[derive(Debug, Clone, Copy)]
pub struct RecordingCensus {
    /// Recorders with a socket.
    pub recorders: usize,
    /// Whether ffmpeg was there when it was last needed.
    pub merging_works: bool,
}

/// To the recording supervisor: how do recordings stand that are not over?
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<LiveRecording>, Refusal>")]
pub struct ShowRecordings {
    /// Which; those that are over are left out.
    pub ids: Vec<RecordId>,
    /// Whether an account that the ledger has lost is put back for it; the ledger then must answer.
    pub thoroughly: bool,
}

/// A recording that is not over.
#[derive(Debug, Clone)]
pub struct LiveRecording {
    /// Its row, as new as the catalog's or newer.
    pub row: CatalogRow,
    /// What its account says.
    pub view: Option<LedgerView>,
    /// While it runs: the indices that are expected and not stored.
    pub missing: Vec<u32>,
}

/// To the merge worker: make a recording's video.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct MergeRecording {
    /// The recording under its claim.
    pub manifest: Manifest,
    /// How many chunks there must be.
    pub expected: u32,
    /// How many were stored, as far as its account knows.
    pub noted: u32,
}

/// To the merge worker: claims before this one no longer hold, their work is for nothing.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CancelMerge {
    /// Which recording.
    pub id: RecordId,
    /// Merges under this fence or a later one go on.
    pub below: Fence,
}

/// To the recording supervisor: how far a merge is.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct MergeProgressed {
    /// Which.
    pub id: RecordId,
    /// Under which claim.
    pub fence: Fence,
    /// 0–100.
    pub percent: u8,
}

/// To the recording supervisor: a merge has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct MergeEnded {
    /// The recording under the claim that the merge had.
    pub manifest: Manifest,
    /// The video, already in its store; or why there is none.
    pub outcome: Result<MergedVideo, MergeFault>,
}

/// A video in its store.
#[derive(Debug, Clone)]
pub struct MergedVideo {
    /// What it is.
    pub facts: VideoFacts,
    /// With its codecs.
    pub mime_type: String,
    /// Chunks that are not in it.
    pub missing: Vec<u32>,
    /// How many there were.
    pub chunks: u32,
    /// Whether its poster is to be made yet.
    pub poster_follows: bool,
}

/// Why there is no video.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeFault {
    /// Not one chunk has come.
    #[error("not one chunk has come")]
    Empty,
    /// So many chunks were stored, and not one of them is there.
    #[error("{0} chunks were stored, and not one of them is there")]
    Lost(u32),
    /// The claim no longer held: nothing was stored.
    #[error("its claim no longer held")]
    Overtaken,
    /// The merger says why.
    #[error(transparent)]
    Merge(MergeError),
    /// A store failed. The words are for the log.
    #[error("{0}")]
    Store(String),
}

/// To the export worker: how does the MP4 of this video stand, which is not there?
#[derive(Debug, Message)]
#[rtype(result = "Result<ExportAnswer, Refusal>")]
pub struct AskExport {
    /// The video.
    pub video: VideoKey,
    /// What is wanted.
    pub wish: ExportWish,
}

/// What is wanted of the export worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportWish {
    /// The MP4: its making begins, unless somebody is at it.
    Begin,
    /// To know how it stands.
    Look,
}

/// How an MP4 stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportAnswer {
    /// It is there by now.
    There,
    /// It is being made, by whichever node.
    Converting {
        /// 0–100.
        percent: u8,
    },
    /// Nobody is at it.
    NotBegun,
}

/// To the recording supervisor: the node is going away. Recorders are told to go on elsewhere, or later.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct DrainRecordings;

/// To a recorder's connection.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum ToRecorder {
    /// Send this.
    Event(RecorderEvent),
    /// Say why, and end.
    Close(Code),
}

/// To a peer's connection.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum ToPeer {
    /// Send this.
    Event {
        /// Its number in the session.
        seq: Seq,
        /// The rest of it.
        body: Body,
    },
    /// Say why, and end.
    Close(Code),
}
