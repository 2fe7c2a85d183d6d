//! The ports of finished recordings: who merges, where videos are kept, and where they are found.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{ChunkStore, PortFuture, StoreError, StoredChunk};
use crate::protocol::{
    Code, Fence, RecordId, Refusal, RoomName, UserId,
    recorder::{Did, Gap, RecordingState, SegmentWork, VideoKey},
};

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
    /// The names of everything that it has in the store.
    pub fn keys(&self) -> impl Iterator<Item = &VideoKey> {
        std::iter::once(&self.key).chain(&self.poster)
    }

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
