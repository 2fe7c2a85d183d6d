//! The ports of finished recordings: who merges, where videos are kept, and where they are found.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use sha2::{Digest as _, Sha256};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{ChunkStore, OutboxEvent, PortFuture, SentVideo, StoreError, StoredChunk, VideoParts, Watched};
use crate::{
    domain::recording::{Manifest, VideoFacts},
    protocol::{
        Code, Fence, RecordId, Refusal, RoomName, TokenDigest, UploadToken, UserId,
        recorder::{Gap, RecordingState, SegmentWork, VideoKey},
    },
};

/// Where finished videos and their posters are.
pub trait VideoStore: Send + Sync + 'static {
    /// Takes a finished file away from where it lies, and says so when it is durable under its key and proven to be what
    /// was meant. What was there under the key is replaced.
    fn put(&self, key: &VideoKey, file: &Path, proof: FileProof) -> PortFuture<Result<(), StoreError>>;

    /// The way into it for what is still being recorded. `None`: there is none, and a file is moved into it at its end.
    fn parts(&self) -> Option<Arc<dyn VideoParts>>;

    /// Where a video can be read; `None` where there is none.
    fn find(&self, key: &VideoKey) -> PortFuture<Result<Option<VideoSource>, StoreError>>;

    /// A video as a file on this machine: its own, or a copy in this folder. `None` where there is no video.
    fn local(&self, key: &VideoKey, folder: &Path) -> PortFuture<Result<Option<PathBuf>, StoreError>>;

    /// The SHA-256 of a video's bytes; `None` where there is no video. Takes as long as there are bytes, where the store does not
    /// keep it.
    fn sha256(&self, key: &VideoKey) -> PortFuture<Result<Option<[u8; 32]>, StoreError>>;

    /// A way to a video that its store serves itself, good for a while and for `GET` alone; whoever goes it is told this
    /// `Content-Disposition`. `None`: the store serves nobody.
    fn link(&self, key: &VideoKey, disposition: String) -> PortFuture<Result<Option<String>, StoreError>>;

    /// Everything there of one recording.
    fn of(&self, id: &RecordId) -> PortFuture<Result<Vec<VideoKey>, StoreError>>;

    /// What is there, in order of name, at most `limit` after this one: for whoever looks for what nobody needs.
    fn list(&self, after: Option<VideoKey>, limit: usize)
    -> PortFuture<Result<Vec<StoredVideo>, StoreError>>;

    /// Takes a video away. Nothing there is no error.
    fn delete(&self, key: &VideoKey) -> PortFuture<Result<(), StoreError>>;

    /// Space left for more; `None`: as much as anybody wants. Unit: bytes.
    fn free_bytes(&self) -> PortFuture<Result<Option<u64>, StoreError>>;

    /// Clears away what writes that never ended have left, and says how much that was.
    fn sweep(&self) -> PortFuture<Result<Swept, StoreError>>;
}

/// Where a video can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VideoSource {
    /// A file on this machine.
    File(PathBuf),
    /// Whoever wants it gets it from its store ([`VideoStore::link`]).
    Elsewhere(Elsewhere),
}

/// A video in a store that serves it itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// Unit: bytes.
    pub size_bytes: u64,
    /// The `ETag` that the store answers with, in its quotes.
    pub tag: Option<String>,
    /// When it was stored, by the store's clock.
    pub modified: SystemTime,
}

/// Something in a video store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredVideo {
    /// Its name.
    pub key: VideoKey,
    /// Unit: bytes.
    pub size_bytes: u64,
    /// How long it has been there, by the store's own clock where it has one.
    pub age: Duration,
}

/// What was cleared away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Files or objects.
    pub count: u64,
    /// Unit: bytes.
    pub bytes: u64,
}

impl std::ops::AddAssign for Swept {
    fn add_assign(&mut self, more: Self) {
        self.count += more.count;
        self.bytes += more.bytes;
    }
}

/// What a file must be, to be the one that was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileProof {
    /// Unit: bytes.
    pub size_bytes: u64,
    /// Of its bytes. `None`: they were proven where they are, as they were written.
    pub sha256: Option<[u8; 32]>,
}

impl FileProof {
    /// What a small file is now.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn of(file: &Path) -> Result<Self, StoreError> {
        let bytes = tokio::fs::read(file).await.map_err(|error| StoreError::io(file.display(), &error))?;
        let size_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(Self { size_bytes, sha256: Some(Sha256::digest(&bytes).into()) })
    }
}

/// One row for each recording, for whoever looks for one: state, times, result.
pub trait Catalog: Send + Sync + 'static {
    /// Puts a row, unless there is one of a higher version, then fence, then revision (M-3), the same version is ready and this
    /// one says that it is not, or its recording was deleted. `false`: so it was, and nothing has changed.
    /// The events wait in the [`Outbox`](super::Outbox) if and only if the row was put; those that wait there already are not
    /// doubled.
    fn put(&self, row: CatalogRow, events: Vec<OutboxEvent>) -> PortFuture<Result<bool, CatalogError>>;

    /// One row.
    fn get(&self, id: &RecordId) -> PortFuture<Result<Option<CatalogRow>, CatalogError>>;

    /// Rows that fit, the newest first, from where a page before ended.
    fn page(&self, filter: CatalogFilter) -> PortFuture<Result<CatalogPage, CatalogError>>;

    /// Takes the rows of recordings away for good; that of another one of this name stays. Nothing there is no error. No row of what
    /// was deleted is put again until [`Self::forget_deleted`], and so long it counts as deleted: the events wait unless all of
    /// them were so before.
    fn delete(&self, deletion: Deletion, events: Vec<OutboxEvent>) -> PortFuture<Result<(), CatalogError>>;

    /// Whether the recording of this name that began then was deleted, as far as it is remembered.
    fn was_deleted(&self, id: &RecordId, started_ms: u64) -> PortFuture<Result<bool, CatalogError>>;

    /// Forgets which recordings were deleted before then. Unit: Unix milliseconds.
    fn forget_deleted(&self, before_ms: u64) -> PortFuture<Result<(), CatalogError>>;

    /// What the videos of an owner take. Unit: bytes.
    fn owner_bytes(&self, owner: &UserId) -> PortFuture<Result<u64, CatalogError>>;

    /// Recordings that are over for so long that they may go, the oldest first, at most `limit`.
    fn due(&self, before: DueBefore, limit: u32) -> PortFuture<Result<Vec<CatalogRow>, CatalogError>>;
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
    /// Of its account when this was written: under one claim, what was known later stands.
    pub revision: u64,
}

/// What is deleted. Times are Unix milliseconds of the ledger's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// Its name.
    pub record_id: RecordId,
    /// When the recordings of this name began that are meant. Rows of theirs may not be written yet.
    pub started_ms: BTreeSet<u64>,
    /// When.
    pub at_ms: u64,
}

impl Deletion {
    /// Of one recording, which began then.
    #[must_use]
    pub fn of(record_id: RecordId, started_ms: u64, at_ms: u64) -> Self {
        Self { record_id, started_ms: BTreeSet::from([started_ms]), at_ms }
    }
}

/// How old a recording is that may go. `None`: those of this kind are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DueBefore {
    /// Complete, and its video was there before this. Unit: Unix milliseconds.
    pub ready_ms: Option<u64>,
    /// Failed, or with gaps, and over before this. Unit: Unix milliseconds.
    pub partial_ms: Option<u64>,
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
    /// It does not let this node in, or not do this; somebody must act first.
    #[error("the catalog refuses: {0}")]
    Refused(String),
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

    /// Does what can be done of a recording that still comes; these chunks are stored since it was last told. It may be told
    /// late, twice, or never: the chunk store knows. Told of none it looks there.
    fn follow(&self, recording: RecordingRef, came: Vec<CameChunk>) -> PortFuture<Result<(), StoreError>>;

    /// Whether another node had more to do to make the video of it than this one. Where nothing is done before the end, none has.
    fn is_followed(&self, recording: RecordingRef) -> PortFuture<bool> {
        let _ = recording;
        Box::pin(async { true })
    }

    /// Makes the video, proves that it holds what was recorded, and leaves it in a file. Deletes nothing of the recording.
    /// Dropping the future ends whatever it has started.
    fn merge(&self, job: MergeJob) -> PortFuture<Result<Merged, MergeError>>;

    /// A recording is gone, or its video is stored: what was done for it goes. What cannot go now, a sweep takes.
    fn forget(&self, recording: RecordingRef) -> PortFuture<()>;

    /// Clears away what nobody goes on with, and says how much that was.
    fn sweep(&self) -> PortFuture<Result<Swept, StoreError>>;

    /// A picture of a finished video that plays for so long, in a file that whoever stores it takes away; `None` where none
    /// could be made.
    fn picture(&self, video: PathBuf, duration_ms: u64) -> PortFuture<Option<PathBuf>> {
        let _ = (video, duration_ms);
        Box::pin(async { None })
    }

    /// As far as a recording that still comes can be watched. Whoever goes on asking keeps it going, on whatever node. `anew`:
    /// what was said a moment ago is of no use, because that file is gone.
    fn watch(&self, id: RecordId, anew: bool) -> PortFuture<Result<Watched, StoreError>> {
        let _ = (id, anew);
        Box::pin(async { Ok(Watched::Never) })
    }
}

/// A chunk that was stored a moment ago.
#[derive(Debug)]
pub struct CameChunk {
    /// Which.
    pub chunk: StoredChunk,
    /// Its bytes, where they are still at hand.
    pub bytes: Option<HeldBytes>,
}

/// Bytes of which only so many are held at one time.
#[derive(Debug)]
pub struct HeldBytes {
    bytes: Bytes,
    _part: OwnedSemaphorePermit,
}

impl HeldBytes {
    /// Holds these bytes, if there is room for them.
    #[must_use]
    pub fn hold(bytes: Bytes, room: &Arc<Semaphore>) -> Option<Self> {
        let part = room.clone().try_acquire_many_owned(u32::try_from(bytes.len()).ok()?).ok()?;
        Some(Self { bytes, _part: part })
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }
}

/// Which recording: names of those that are gone are used again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordingRef {
    /// Its name.
    pub id: RecordId,
    /// Whose: no two recordings have the same token.
    pub token: TokenDigest,
}

impl RecordingRef {
    /// What names of things begin with that are its own, and no other's. No two tokens are alike in so many digits.
    #[must_use]
    pub fn stem(&self) -> String {
        const TOKEN_DIGITS: usize = 16;
        let token = self.token.to_hex();
        format!("{}.{}", self.id, token.get(..TOKEN_DIGITS).unwrap_or(&token))
    }

    /// The one that this is known of.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Self {
        Self { id: manifest.record_id.clone(), token: manifest.token }
    }

    /// The one that this token is of.
    #[must_use]
    pub fn by(token: &UploadToken) -> Self {
        Self { id: token.record_id().clone(), token: token.digest() }
    }
}

/// One merge. The job may be done twice, one after the other: each time from the chunks anew.
pub struct MergeJob {
    /// Which recording.
    pub recording: RecordingRef,
    /// Under which claim.
    pub fence: Fence,
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
    /// Whoever needs much of the processor, or other programs, waits for a turn first and keeps it to its end.
    pub turn: Box<dyn Fn() -> PortFuture<Turn> + Send + Sync>,
}

/// A turn at what few may do at once. It is over when this is dropped.
pub type Turn = Option<OwnedSemaphorePermit>;

/// A finished and proven video, not yet in its store.
#[derive(Debug, Clone)]
pub struct Merged {
    /// Somewhere; whoever stores it takes it away from there.
    pub file: PathBuf,
    /// What it is.
    pub proof: FileProof,
    /// Where it is in its store already, but for the last step.
    pub sent: Option<SentVideo>,
    /// Of its bytes. `None`: there are so many that it takes a while; whoever has stored them says ([`VideoStore::sha256`]).
    pub sha256: Option<[u8; 32]>,
    /// `webm`, `mkv` or `mp4`.
    pub extension: &'static str,
    /// With `codecs` (RFC 6381).
    pub mime_type: String,
    /// In the order of its tracks, such as `vp9`, `opus`.
    pub codecs: Vec<String>,
    /// From the first packet to the end of the last. Unit: milliseconds.
    pub duration_ms: u64,
    /// A picture of it in a file (JPEG), where it has pictures.
    pub poster: Option<PathBuf>,
    /// It has pictures, and one of them is made when its video is in the store ([`Merger::picture`]).
    pub poster_follows: bool,
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
    /// There is nothing in the chunks to see and nothing to hear.
    #[error("{0}")]
    Nothing(String),
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
            Self::Nothing(what) => Refusal::because(Code::EmptyRecording, what.clone()),
            // By what is for the log: folders of this machine, or another server's address.
            Self::Interrupted(_) => Refusal::because(Code::MergeFailed, "the work was broken off"),
            other => Refusal::because(Code::MergeFailed, other.to_string()),
        }
    }
}
