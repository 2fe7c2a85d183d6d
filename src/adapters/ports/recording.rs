//! The ports of recording: where chunks, videos and their rows are kept, who may do what, and who merges.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::PortFuture;
use crate::{
    domain::recording::{Attached, Claim, Manifest, Noted, Placed, StopRefused, StopTaken},
    protocol::{
        Code, Fence, RecordId, Refusal, RoomName, UploadToken, UserId,
        chunk::{ChunkIndex, ChunkMark},
        recorder::{Did, Gap, Made, RecordingState, SegmentWork, VideoKey},
    },
};

/// Where the bytes of recordings are until their video is made. The truth about what was acknowledged: a ledger can be
/// rebuilt from it (L-4).
///
/// Everything that an operation says it did is on stable storage when its future is done (L-1).
pub trait ChunkStore: Send + Sync + 'static {
    /// Makes or replaces what is known of a recording as a whole, atomically.
    fn save_manifest(&self, manifest: Manifest) -> PortFuture<Result<(), StoreError>>;

    /// What is known of a recording; `None` where there is none.
    fn manifest(&self, id: &RecordId) -> PortFuture<Result<Option<Manifest>, StoreError>>;

    /// Every recording that has anything here.
    fn recordings(&self) -> PortFuture<Result<Vec<RecordId>, StoreError>>;

    /// Writes a chunk where nobody counts it yet. Dropped without a commit, it is cleared away.
    fn stage(&self, id: &RecordId, payload: Bytes) -> PortFuture<Result<Box<dyn StagedChunk>, StoreError>>;

    /// Every chunk that was committed, in order of index.
    fn list(&self, id: &RecordId) -> PortFuture<Result<Vec<StoredChunk>, StoreError>>;

    /// A chunk's bytes, as they are now: whoever uses them compares their checksum.
    fn read(&self, id: &RecordId, index: ChunkIndex) -> PortFuture<Result<Bytes, StoreError>>;

    /// Takes away a recording with everything that belongs to it. Nothing there is no error.
    fn delete(&self, id: &RecordId) -> PortFuture<Result<(), StoreError>>;
}

/// A chunk whose bytes are durable, but which has no place yet.
pub trait StagedChunk: Send + Sync {
    /// Gives it its place, unless another chunk has it: whatever is there first stands (L-2). Can be tried again.
    fn commit(&self, index: ChunkIndex, mark: ChunkMark) -> PortFuture<Result<Committed, StoreError>>;
}

/// How a commit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// The chunk is in its place.
    Stored,
    /// The place was taken, by a chunk with this mark.
    Taken(ChunkMark),
}

/// A chunk in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredChunk {
    /// Its place.
    pub index: ChunkIndex,
    /// What was noted when it came.
    pub mark: ChunkMark,
}

/// Why a store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no space left for it.
    #[error("no space left: {0}")]
    Full(String),
    /// It is not there.
    #[error("not there: {0}")]
    Missing(String),
    /// Anything else, such as a disk that fails.
    #[error("{0}")]
    Failed(String),
}

impl StoreError {
    /// What happened to a file, in the words of the system.
    #[must_use]
    pub fn io(what: impl fmt::Display, error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::Full(format!("{what}: {error}"))
            }
            std::io::ErrorKind::NotFound => Self::Missing(format!("{what}: {error}")),
            _ => Self::Failed(format!("{what}: {error}")),
        }
    }

    /// Whether trying again may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Missing(_))
    }

    /// What a recorder is told.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        const PAUSE_MS: u64 = 2000;
        let code = match self {
            Self::Full(_) => Code::StorageFull,
            Self::Missing(_) | Self::Failed(_) => Code::StorageFailed,
        };
        Refusal::from(code).retry_after_ms(PAUSE_MS)
    }
}

/// The account of every recording that is not over, over all nodes that share it: what came, what is due, and who may
/// finalise (M-3). Its rules are those of [`crate::domain::recording::RecordingRecord`], whatever the implementation;
/// its time is its own (C-4).
pub trait Ledger: Send + Sync + 'static {
    /// Opens an account for a new recording.
    fn open(&self, manifest: Manifest) -> PortFuture<Result<Result<Attached, Refusal>, LedgerError>>;

    /// Takes up a recording again: the caller becomes its recorder, and whoever was before is outdated.
    fn attach(&self, token: UploadToken) -> PortFuture<Result<Result<Attached, Refusal>, LedgerError>>;

    /// Asks whether a chunk may be stored at this place, before it is.
    fn place(
        &self,
        token: UploadToken,
        index: ChunkIndex,
        mark: ChunkMark,
        may_begin: bool,
    ) -> PortFuture<Result<Result<Placed, Refusal>, LedgerError>>;

    /// Takes the next number for a chunk that is staged and has no place of its own.
    fn number(
        &self,
        token: UploadToken,
        may_begin: bool,
    ) -> PortFuture<Result<Result<ChunkIndex, Refusal>, LedgerError>>;

    /// Takes back a number whose chunk could not be stored.
    fn give_back(&self, id: RecordId, index: ChunkIndex) -> PortFuture<Result<(), LedgerError>>;

    /// Notes a chunk that is durable in its place.
    fn note(
        &self,
        id: RecordId,
        index: ChunkIndex,
        mark: ChunkMark,
        patience: Patience,
    ) -> PortFuture<Result<Noted, LedgerError>>;

    /// Takes a stop, unless chunks are missing.
    fn stop(
        &self,
        token: UploadToken,
        made: Made,
    ) -> PortFuture<Result<Result<StopTaken, StopRefused>, LedgerError>>;

    /// The recorder of this generation is still there.
    fn keep(&self, id: RecordId, generation: u64) -> PortFuture<Result<(), LedgerError>>;

    /// The recorder of this generation is gone: its grace begins.
    fn detach(&self, id: RecordId, generation: u64) -> PortFuture<Result<(), LedgerError>>;

    /// Claims every recording that is due, each under a new fence.
    fn claim_due(&self) -> PortFuture<Result<Vec<Claim>, LedgerError>>;

    /// Whether a fence still holds.
    fn holds(&self, id: RecordId, fence: Fence) -> PortFuture<Result<bool, LedgerError>>;

    /// Ends a claim; the recording as it then stands. `None`: the fence no longer held, and nothing has changed.
    fn settle(
        &self,
        id: RecordId,
        fence: Fence,
        end: ClaimEnd,
    ) -> PortFuture<Result<Option<Manifest>, LedgerError>>;

    /// Puts back an account from what the chunk store says.
    fn restore(&self, manifest: Manifest, chunks: Vec<StoredChunk>) -> PortFuture<Result<(), LedgerError>>;

    /// What is known of a recording.
    fn show(&self, id: &RecordId) -> PortFuture<Result<Option<LedgerView>, LedgerError>>;

    /// The chunks of a finished recording are gone; its account stays until it is forgotten.
    fn forget_chunks(&self, id: &RecordId) -> PortFuture<Result<(), LedgerError>>;

    /// Every account.
    fn list(&self) -> PortFuture<Result<Vec<RecordId>, LedgerError>>;

    /// Closes an account for good.
    fn close(&self, id: &RecordId) -> PortFuture<Result<(), LedgerError>>;
}

/// For how long a recorder that has just sent a chunk is not taken for gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Its socket says by itself whether it is there.
    Socket,
    /// It comes with each chunk anew, over HTTP.
    Http,
}

/// How a claim ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimEnd {
    /// The video is there. If its recorder is not back by then, the recording is forgotten.
    Ready {
        /// For how long its account, and chunks that are not taken away, are kept.
        keep: Duration,
    },
    /// It could not be made this time; it is tried again after this.
    TryAgain(Duration),
    /// It could not be made, and trying again by itself would not help.
    Failed,
}

/// A recording's account as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerView {
    /// The recording as it stands.
    pub manifest: Manifest,
    /// One more than the highest index stored or given out.
    pub next_index: u32,
    /// Indices below what is expected that are not stored.
    pub missing: Vec<u32>,
    /// Chunks stored.
    pub chunks: u32,
    /// Bytes stored.
    pub bytes: u64,
}

/// Why the ledger gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// It cannot be reached at the moment; what was asked may or may not have been done.
    #[error("the ledger cannot be reached: {0}")]
    Unavailable(String),
}

impl LedgerError {
    /// What a recorder is told.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        Code::StorageFailed.into()
    }
}

/// Where finished videos and their posters are.
pub trait VideoStore: Send + Sync + 'static {
    /// Takes a finished file away from where it lies, and says so when it is durable under its key and proven to be what
    /// was meant. What was there under the key is replaced.
    fn put(&self, key: &VideoKey, file: &Path, proof: FileProof) -> PortFuture<Result<(), StoreError>>;

    /// Where a video can be read on this machine; `None` where there is none.
    fn path(&self, key: &VideoKey) -> PortFuture<Result<Option<PathBuf>, StoreError>>;

    /// Takes a video away. Nothing there is no error.
    fn delete(&self, key: &VideoKey) -> PortFuture<Result<(), StoreError>>;

    /// Space left for more. Unit: bytes.
    fn free_bytes(&self) -> PortFuture<Result<u64, StoreError>>;
}

/// What a file must be, to be the one that was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileProof {
    /// Unit: bytes.
    pub size_bytes: u64,
    /// Of its bytes.
    pub sha256: [u8; 32],
}

impl FileProof {
    /// What a small file is now.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn of(file: &Path) -> Result<Self, StoreError> {
        let bytes = tokio::fs::read(file).await.map_err(|error| StoreError::io(file.display(), &error))?;
        let size_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(Self { size_bytes, sha256: Sha256::digest(&bytes).into() })
    }
}

/// One row for each recording, for whoever looks for one: state, times, result.
pub trait Catalog: Send + Sync + 'static {
    /// Puts a row, unless there is one with a higher version or fence (M-3). `false`: there was, and it stands.
    fn put(&self, row: CatalogRow) -> PortFuture<Result<bool, CatalogError>>;

    /// One row.
    fn get(&self, id: &RecordId) -> PortFuture<Result<Option<CatalogRow>, CatalogError>>;

    /// Rows that fit, the newest first, from where a page before ended.
    fn page(&self, filter: CatalogFilter) -> PortFuture<Result<CatalogPage, CatalogError>>;

    /// Takes a row away. Nothing there is no error.
    fn delete(&self, id: &RecordId) -> PortFuture<Result<(), CatalogError>>;

    /// Which recording a video or a poster belongs to.
    fn find_key(&self, key: &VideoKey) -> PortFuture<Result<Option<CatalogRow>, CatalogError>>;
}

/// A recording as the catalog has it. Times are Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogRow {
    /// Its name.
    pub record_id: RecordId,
    /// Where it stands.
    pub state: RecordingState,
    /// Who recorded, as the application said.
    pub owner: Option<UserId>,
    /// The room that was recorded.
    pub room: Option<RoomName>,
    /// For people to read.
    pub title: Option<String>,
    /// When it began.
    pub started_ms: u64,
    /// When its last chunk came or it was stopped.
    pub ended_ms: Option<u64>,
    /// When its video was there.
    pub ready_ms: Option<u64>,
    /// As its recorder said, then as it is.
    pub mime_type: String,
    /// Chunks stored.
    pub chunks: u32,
    /// Chunks that were expected and are not in the video: missing or damaged.
    pub missing: Vec<u32>,
    /// What went wrong: a code and a sentence.
    pub error: Option<(String, String)>,
    /// The result, where there is one.
    pub video: Option<VideoFacts>,
    /// Rises when a recording is finalised again.
    pub version: u32,
    /// Under which claim this was written.
    pub fence: Fence,
}

/// A finished video as the catalog has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VideoFacts {
    /// Its name in the store.
    pub key: VideoKey,
    /// Its poster's name, where it has pictures.
    pub poster: Option<VideoKey>,
    /// Unit: milliseconds.
    pub duration_ms: u64,
    /// Unit: bytes.
    pub size_bytes: u64,
    /// Hexadecimal.
    pub sha256: String,
    /// Such as `vp9`, `opus`: in the order of the file's tracks.
    pub codecs: Vec<String>,
    /// Whether every chunk that was recorded is in it.
    pub complete: bool,
    /// Where something is missing.
    pub gaps: Vec<Gap>,
    /// What was done with each segment.
    pub work: Vec<SegmentWork>,
}

impl VideoFacts {
    /// The dearest thing that was done for it, for metrics.
    #[must_use]
    pub fn path(&self) -> &'static str {
        self.work.iter().map(|segment| segment.did).max().map_or("none", Did::name)
    }
}

/// Which rows are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CatalogFilter {
    /// Only in this state.
    pub state: Option<RecordingState>,
    /// Only of this room.
    pub room: Option<RoomName>,
    /// Only of this owner.
    pub owner: Option<UserId>,
    /// Only with this in title, room or name; letters' case does not matter.
    pub search: Option<String>,
    /// At most so many.
    pub limit: u32,
    /// Go on after the page that gave this out.
    pub after: Option<CatalogCursor>,
}

/// Where a page ended: rows are in order of start, the newest first, then of name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogCursor {
    /// When the last row's recording began. Unit: Unix milliseconds.
    pub started_ms: u64,
    /// The last row's name.
    pub record_id: RecordId,
}

/// Some rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CatalogPage {
    /// In order.
    pub rows: Vec<CatalogRow>,
    /// Where to go on; `None`: there are no more.
    pub next: Option<CatalogCursor>,
}

/// Why the catalog did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// It cannot be reached, or is too busy; trying again may help.
    #[error("the catalog cannot be reached: {0}")]
    Unavailable(String),
    /// What it holds cannot be understood.
    #[error("the catalog holds something strange: {0}")]
    Corrupt(String),
}

impl CatalogError {
    /// Whether trying again may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// Makes one video of a recording's chunks.
pub trait Merger: Send + Sync + 'static {
    /// Whether it can work at all; its version in words.
    fn check(&self) -> PortFuture<Result<String, MergeError>>;

    /// Makes the video, proves that it holds what was recorded, and leaves it in the job's folder. Deletes nothing.
    /// Dropping the future ends whatever it has started.
    fn merge(&self, job: MergeJob) -> PortFuture<Result<Merged, MergeError>>;
}

/// One merge. The job may be done twice, one after the other: each time from the chunks anew.
pub struct MergeJob {
    /// Which recording.
    pub id: RecordId,
    /// Every chunk stored, in order of index.
    pub chunks: Vec<StoredChunk>,
    /// How many chunks were expected: what is missing below counts as a gap.
    pub expected: u32,
    /// An empty folder of its own; whoever gave it clears it away.
    pub folder: PathBuf,
    /// Where the chunks' bytes are.
    pub store: Arc<dyn ChunkStore>,
    /// Is told how far it is: 0–100, never falling.
    pub progress: Box<dyn Fn(u8) + Send + Sync>,
}

/// A finished and proven video, not yet in its store.
#[derive(Debug, Clone)]
pub struct Merged {
    /// In the job's folder.
    pub file: PathBuf,
    /// What it is.
    pub proof: FileProof,
    /// `webm`, `mkv` or `mp4`.
    pub extension: &'static str,
    /// With `codecs` (RFC 6381).
    pub mime_type: String,
    /// In the order of its tracks, such as `vp9`, `opus`.
    pub codecs: Vec<String>,
    /// From the first packet to the end of the last. Unit: milliseconds.
    pub duration_ms: u64,
    /// A picture of it in the job's folder (JPEG), where it has pictures.
    pub poster: Option<PathBuf>,
    /// Chunks that are not in it: missing, damaged in storage, or of no use without a missing one.
    pub missing: Vec<u32>,
    /// Where something is missing.
    pub gaps: Vec<Gap>,
    /// What was done with each segment.
    pub work: Vec<SegmentWork>,
}

/// Why there is no video.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// The program that is needed is not there or does not run.
    #[error("ffmpeg does not run: {0}")]
    Unavailable(String),
    /// Something that may go better another time: killed, out of time, disk full, a store that is away.
    #[error("{0}")]
    Interrupted(String),
    /// It cannot be done with these chunks. The words say why, with the end of what ffmpeg had to say.
    #[error("{0}")]
    Impossible(String),
    /// Something was made, but it is not what was recorded.
    #[error("the result is not what was recorded: {0}")]
    NotProven(String),
}

impl MergeError {
    /// Whether trying again may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Interrupted(_))
    }

    /// What a recorder is told.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Unavailable(_) => Code::MergingUnavailable.into(),
            other => Refusal::because(Code::MergeFailed, other.to_string()),
        }
    }
}
