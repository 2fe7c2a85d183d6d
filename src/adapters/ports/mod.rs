//! The traits through which actors reach the world.

mod cluster;
mod export;
mod live;
mod outbox;
mod parts;
mod recording;
mod same_stores;
mod video;

use std::{future::Future, pin::Pin, sync::Arc};

pub use self::{
    cluster::{Breakers, Bus, BusError, BusLink, BusNews, Guarded, Leases, StoreState},
    export::{ExportJob, ExportLeases, ExportStands, Exported, Exporter},
    live::{LiveFile, Watched},
    outbox::{Outbox, OutboxEvent},
    parts::{PartsRef, SavedNote, SentVideo, VideoParts},
    recording::{
        ChunkStore, ClaimEnd, Committed, Ledger, LedgerError, LedgerView, Loss, Patience, Remains,
        StagedChunk, StoreError, StoredChunk,
    },
    same_stores::SameStores,
    video::{
        CameChunk, Catalog, CatalogCursor, CatalogError, CatalogFilter, CatalogPage, CatalogRow, Deletion,
        DueBefore, Elsewhere, FileProof, HeldBytes, MergeError, MergeJob, Merged, Merger, RecordingRef,
        StoredVideo, Swept, Turn, VideoSource, VideoStore,
    },
};

use crate::{
    domain::membership::{AdmissionRequest, Admitted, Change, RoomPicture, Row, SyncRequest, TakeOver},
    protocol::{Refusal, RoomName, UserId},
};

/// What a port gives back: done later, on any thread.
pub type PortFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// Who is in which room, over all nodes that share it: the mirror, and the gate to every room.
///
/// **Order.** Operations on one room take effect in the order of the *calls*, not in that in which their futures are
/// polled or finish: an implementation queues at the call. So a lock is in force for every admission asked for after
/// it, and a row is never withdrawn before it was put.
///
/// The rules are those of [`crate::domain::membership::RoomRecord`], whatever the implementation.
pub trait Registry: Send + Sync + 'static {
    /// Admits somebody or says why not. The inner result is the rules' answer; the outer one says whether there was
    /// any.
    fn admit(
        &self,
        request: AdmissionRequest,
    ) -> PortFuture<Result<Result<Admitted, Refusal>, RegistryError>>;

    /// Mirrors a change and says whether it applied. One by a writer that is out of date does not, which is no error
    /// (C-2).
    fn mirror(&self, change: Change) -> PortFuture<Result<bool, RegistryError>>;

    /// Puts back what a node holds of a room and takes further what is dead in it. Twice is harmless.
    fn sync(&self, request: SyncRequest) -> PortFuture<Result<RoomPicture, RegistryError>>;

    /// A participant's row, wherever its session is.
    fn find(&self, room: RoomName, user_id: UserId) -> PortFuture<Result<Option<Row>, RegistryError>>;

    /// The room as it stands, for people. Only reads; a room that nobody is in has no rows.
    fn show(&self, room: RoomName) -> PortFuture<Result<RoomPicture, RegistryError>>;

    /// Gives a session a new home.
    fn take_over(&self, request: TakeOver) -> PortFuture<Result<Result<Admitted, Refusal>, RegistryError>>;
}

/// What a node's place in a cluster stands on.
#[derive(Clone)]
pub struct ClusterPorts {
    /// Who is alive.
    pub leases: Arc<dyn Leases>,
    /// The way to other nodes.
    pub bus: Arc<dyn Bus>,
    /// Who is in which room.
    pub registry: Arc<dyn Registry>,
}

/// What recording stands on.
#[derive(Clone)]
pub struct RecordingPorts {
    /// Where chunks are.
    pub chunks: Arc<dyn ChunkStore>,
    /// Where videos are.
    pub videos: Arc<dyn VideoStore>,
    /// Who may do what.
    pub ledger: Arc<dyn Ledger>,
    /// What people look at.
    pub catalog: Arc<dyn Catalog>,
    /// What the application has still to be told.
    pub outbox: Arc<dyn Outbox>,
    /// Who merges.
    pub merger: Arc<dyn Merger>,
    /// Who makes MP4s.
    pub exporter: Arc<dyn Exporter>,
    /// Which node is at which MP4.
    pub exports: Arc<dyn ExportLeases>,
    /// Whether other nodes keep recordings there too.
    pub same_stores: SameStores,
}

/// Why the registry gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// It cannot be reached at the moment; what was asked may or may not have been done.
    #[error("the registry cannot be reached: {0}")]
    Unavailable(String),
}

impl RegistryError {
    /// Whether asking again may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
        }
    }
}
