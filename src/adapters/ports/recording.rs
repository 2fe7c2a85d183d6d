//! The ports of recordings under way: where chunks are kept, and who may do what.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{PortFuture, RecordingRef, Swept};
use crate::{
    domain::recording::{
        Attached, Claim, Fault, Finished, Kept, Manifest, Noted, Number, Placed, StopRefused, StopTaken,
        Unplaced,
    },
    protocol::{
        Code, Fence, NodeId, RecordId, Refusal, RoomName, TokenDigest, UploadToken,
        chunk::{ChunkIndex, ChunkMark},
        recorder::Made,
    },
};

/// Where the bytes of recordings are until their video is made. The truth about what was acknowledged: a ledger can be
/// rebuilt from it (L-4).
///
/// Everything that an operation says it did is on stable storage when its future is done (L-1).
pub trait ChunkStore: Send + Sync + 'static {
    /// Makes a recording's place, where its chunks may be stored from then on. `false`: there is one of this name, and
    /// nothing has changed.
    fn create(&self, manifest: Manifest) -> PortFuture<Result<bool, StoreError>>;

    /// Replaces what is known of a recording as a whole, atomically, unless something of a later revision is there. A
    /// recording that was taken away is not brought back by it.
    fn save_manifest(&self, manifest: Manifest) -> PortFuture<Result<(), StoreError>>;

    /// What is known of a recording; `None` where there is none.
    fn manifest(&self, id: &RecordId) -> PortFuture<Result<Option<Manifest>, StoreError>>;

    /// Every recording that has anything here.
    fn recordings(&self) -> PortFuture<Result<Vec<RecordId>, StoreError>>;

    /// Writes a chunk where nobody counts it yet, if its recording is there: the one with this token, and not the next of its
    /// name. It belongs to that one whatever becomes of the name until it is committed. Dropped without a commit, it is
    /// cleared away.
    fn stage(
        &self,
        recording: &RecordingRef,
        payload: Bytes,
    ) -> PortFuture<Result<Box<dyn StagedChunk>, StoreError>>;

    /// Every chunk that was committed, in order of index; among them the empty ones of voids.
    fn list(&self, id: &RecordId) -> PortFuture<Result<Vec<StoredChunk>, StoreError>>;

    /// A chunk's bytes, as they are now: whoever uses them compares their checksum.
    fn read(&self, id: &RecordId, index: ChunkIndex) -> PortFuture<Result<Bytes, StoreError>>;

    /// Makes a recording none, in one step that takes no longer for many chunks than for one, if it is the one with this
    /// token: its name may be another's by now. `None`: whichever it is. Nothing there is no error. What is left of it nobody
    /// finds any more.
    fn begin_delete(
        &self,
        id: &RecordId,
        which: Option<TokenDigest>,
    ) -> PortFuture<Result<Remains, StoreError>>;

    /// The same, and clears away what is left.
    fn delete(&self, id: &RecordId, which: Option<TokenDigest>) -> PortFuture<Result<(), StoreError>> {
        let begun = self.begin_delete(id, which);
        Box::pin(async move { begun.await?.clear().await })
    }

    /// How long ago anything of a recording was last stored, by the store's own clock where it has one; `None` where there
    /// is nothing.
    fn age(&self, id: &RecordId) -> PortFuture<Result<Option<Duration>, StoreError>>;

    /// Space left for more; `None`: as much as anybody wants. Unit: bytes.
    fn free_bytes(&self) -> PortFuture<Result<Option<u64>, StoreError>>;

    /// Clears away what writes that never ended have left, and says how much that was.
    fn sweep(&self) -> PortFuture<Result<Swept, StoreError>>;
}

/// A chunk whose bytes are durable, but which has no place yet.
pub trait StagedChunk: Send + Sync {
    /// Gives it its place, unless another chunk has it: whatever is there first stands (L-2). Can be tried again.
    fn commit(&self, index: ChunkIndex, mark: ChunkMark) -> PortFuture<Result<Committed, StoreError>>;
}

/// What is left of a recording that is none any more. Whoever drops it leaves it to a sweep of its store.
#[must_use]
pub struct Remains(Option<PortFuture<Result<(), StoreError>>>);

impl Remains {
    /// There was no such recording.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Goes by this, which does nothing before it is awaited.
    pub fn new(clearing: impl Future<Output = Result<(), StoreError>> + Send + 'static) -> Self {
        Self(Some(Box::pin(clearing)))
    }

    /// Clears it away. Takes as long as there are chunks.
    ///
    /// # Errors
    /// The store fails; the rest is for its sweep.
    pub async fn clear(self) -> Result<(), StoreError> {
        match self.0 {
            Some(clearing) => clearing.await,
            None => Ok(()),
        }
    }
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

impl StoredChunk {
    /// How many chunks are in these places; some may be kept empty.
    #[must_use]
    pub fn count(places: &[Self]) -> u32 {
        let chunks = places.iter().filter(|place| !place.mark.is_void()).count();
        u32::try_from(chunks).unwrap_or(u32::MAX)
    }
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
///
/// Operations may be done twice, where an answer was lost. An account that it has lost is unknown to it, until somebody
/// puts it back from the chunk store ([`Self::restore`]).
pub trait Ledger: Send + Sync + 'static {
    /// The time of its clock. Unit: Unix milliseconds.
    fn now_ms(&self) -> PortFuture<Result<u64, LedgerError>>;

    /// The same without asking: as far as this node knows, by what it heard last and its own monotonic clock. `None`: it never
    /// heard.
    fn known_now_ms(&self) -> Option<u64>;

    /// Opens an account for a new recording, unless its owner has `owner_max` of them that still record.
    fn open(
        &self,
        manifest: Manifest,
        owner_max: u32,
    ) -> PortFuture<Result<Result<Attached, Refusal>, LedgerError>>;

    /// Takes up a recording again: the caller becomes its recorder, and whoever was before is outdated.
    fn attach(&self, token: UploadToken) -> PortFuture<Result<Result<Attached, Refusal>, LedgerError>>;

    /// Asks whether a token is its recording's.
    fn authorise(&self, token: UploadToken) -> PortFuture<Result<Result<(), Refusal>, LedgerError>>;

    /// Asks whether a chunk may come at all, before anything of it is stored.
    fn admit(
        &self,
        token: UploadToken,
        chunk: Unplaced,
    ) -> PortFuture<Result<Result<(), Refusal>, LedgerError>>;

    /// Asks whether a chunk may be stored at this place, before it is.
    fn place(
        &self,
        token: UploadToken,
        index: ChunkIndex,
        mark: ChunkMark,
        may_begin: bool,
    ) -> PortFuture<Result<Result<Placed, Refusal>, LedgerError>>;

    /// Takes the next number for a chunk that is staged. That of a recorder before the present one gets none.
    fn number(
        &self,
        token: UploadToken,
        chunk: Unplaced,
    ) -> PortFuture<Result<Result<Number, Refusal>, LedgerError>>;

    /// Takes back a number whose chunk could not be stored. `false`: it was taken back before, or has come. Its request is of
    /// this recording alone, whoever has the name by now.
    fn give_back(&self, id: RecordId, number: Number) -> PortFuture<Result<bool, LedgerError>>;

    /// The numbers whose chunks did not come in time, because their node died or nobody waits for them any more.
    fn late_numbers(&self, id: &RecordId) -> PortFuture<Result<Vec<ChunkIndex>, LedgerError>>;

    /// Learns that the places of such numbers are kept empty from now on: the chunk store has voids there. An account of
    /// another recording under this name (another token) is left alone.
    fn fill(
        &self,
        id: RecordId,
        whose: TokenDigest,
        voids: Vec<ChunkIndex>,
    ) -> PortFuture<Result<(), LedgerError>>;

    /// Notes a chunk that is durable in its place. `None`: there is no account with this token; its name may be another's by
    /// now.
    fn note(
        &self,
        token: UploadToken,
        index: ChunkIndex,
        mark: ChunkMark,
        patience: Patience,
    ) -> PortFuture<Result<Option<Noted>, LedgerError>>;

    /// Notes a chunk that is durable in the place of its number, unless that was taken back. `None`: as above.
    fn note_numbered(
        &self,
        token: UploadToken,
        number: Number,
        mark: ChunkMark,
        patience: Patience,
    ) -> PortFuture<Result<Option<Noted>, LedgerError>>;

    /// Takes a stop, unless chunks are missing. Numbers that are out are late from then on, as after each claim and each
    /// [`Self::attach`].
    fn stop(
        &self,
        token: UploadToken,
        made: Made,
    ) -> PortFuture<Result<Result<StopTaken, StopRefused>, LedgerError>>;

    /// The recorder of this generation is still there; how its recording stands. `None`: there is no such account.
    fn keep(&self, id: RecordId, generation: u64) -> PortFuture<Result<Option<Kept>, LedgerError>>;

    /// The recorder of this generation is gone: its grace begins.
    fn detach(&self, id: RecordId, generation: u64) -> PortFuture<Result<(), LedgerError>>;

    /// Claims what has been due for so long, at most so many, each under a new fence.
    fn claim_due(&self, limit: usize, since: Duration) -> PortFuture<Result<Vec<Claim>, LedgerError>>;

    /// Claims this one, if it is due. `None`: it is not, or somebody else has it.
    fn claim(&self, id: &RecordId) -> PortFuture<Result<Option<Claim>, LedgerError>>;

    /// Whoever has a claim is still at it, and so far (0–100). `false`: it no longer holds.
    fn keep_claim(
        &self,
        id: RecordId,
        fence: Fence,
        percent: Option<u8>,
    ) -> PortFuture<Result<bool, LedgerError>>;

    /// Whether a fence still holds.
    fn holds(&self, id: RecordId, fence: Fence) -> PortFuture<Result<bool, LedgerError>>;

    /// The video is in its store since now, and everybody may know; the claim goes on. `None`: the fence no longer held, and nothing
    /// has changed.
    fn publish(
        &self,
        id: RecordId,
        fence: Fence,
        finished: Finished,
    ) -> PortFuture<Result<Option<Manifest>, LedgerError>>;

    /// Ends a claim; the recording as it then stands, also when asked again before anything else has happened to it. `None`: the
    /// fence no longer held, and nothing has changed.
    fn settle(
        &self,
        id: RecordId,
        fence: Fence,
        end: ClaimEnd,
    ) -> PortFuture<Result<Option<Manifest>, LedgerError>>;

    /// Closes the account of a claim for good; the recording as it last stood. `None`: the fence no longer held, and
    /// nothing has changed.
    fn release(&self, id: RecordId, fence: Fence) -> PortFuture<Result<Option<Manifest>, LedgerError>>;

    /// A recording that has failed is due again, because what it lacked may be there now, unless its merges took their nodes
    /// down. Whether it is.
    fn retry(&self, id: &RecordId) -> PortFuture<Result<bool, LedgerError>>;

    /// Puts back an account from what the chunk store has, or adds to the account that there is what it does not know
    /// ([`RecordingRecord::restore`](crate::domain::recording::RecordingRecord::restore),
    /// [`catch_up`](crate::domain::recording::RecordingRecord::catch_up)). An account of another recording under this
    /// name (another token) is left alone.
    fn restore(&self, manifest: Manifest, chunks: Vec<StoredChunk>) -> PortFuture<Result<(), LedgerError>>;

    /// Whether every account that the chunk store has was put back since the ledger last lost its data. A new ledger has
    /// lost everything.
    fn is_whole(&self) -> PortFuture<Result<bool, LedgerError>>;

    /// The loss of data that is to be made good by putting accounts back. Asked before the first of them is.
    fn loss(&self) -> PortFuture<Result<Loss, LedgerError>>;

    /// Notes that this loss was made good. Should data have been lost again meanwhile, the ledger is not whole by that.
    fn set_whole(&self, loss: Loss) -> PortFuture<Result<(), LedgerError>>;

    /// The indices below what is expected that are not stored. Takes as long as there are chunks.
    fn missing(&self, id: &RecordId) -> PortFuture<Result<Vec<u32>, LedgerError>>;

    /// What is known of a recording.
    fn show(&self, id: &RecordId) -> PortFuture<Result<Option<LedgerView>, LedgerError>>;

    /// The rooms that somebody is recording.
    fn recorded_rooms(&self) -> PortFuture<Result<Arc<BTreeSet<RoomName>>, LedgerError>>;

    /// The chunks of a finished recording are gone; its account stays until it is forgotten. `false`: the fence no longer
    /// held.
    fn forget_chunks(&self, id: &RecordId, fence: Fence) -> PortFuture<Result<bool, LedgerError>>;

    /// Closes an account for good, if it is that of this token; `None`: whichever it is. What it was.
    fn close(
        &self,
        id: &RecordId,
        which: Option<TokenDigest>,
    ) -> PortFuture<Result<Option<Manifest>, LedgerError>>;

    /// Whether this node is the one that does this for all, such as looking for what is old; it then is for this long,
    /// and longer if it asks again in time.
    fn leads(&self, what: &'static str, term: Duration) -> PortFuture<Result<bool, LedgerError>>;
}

/// One time that a ledger has lost data, as it calls it: the same for everybody who asks, until it loses data again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loss(pub String);

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
    /// Its row is in the catalog. If its recorder is not back by then, the recording is forgotten.
    Ready {
        /// For how long its account, and chunks that are not taken away, are kept.
        keep: Duration,
    },
    /// What was due could not be done this time; it is due again after this.
    TryAgain {
        /// After how long.
        pause: Duration,
        /// Why, where people are told.
        fault: Option<Fault>,
    },
    /// The video could not be made, and trying again by itself would not help.
    Failed(Fault),
}

/// A recording's account as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerView {
    /// The recording as it stands.
    pub manifest: Manifest,
    /// One more than the highest index stored or given out.
    pub next_index: u32,
    /// Chunks stored.
    pub chunks: u32,
    /// Bytes stored.
    pub bytes: u64,
    /// Who finalises it at the moment.
    pub claimed_by: Option<NodeId>,
    /// How far its merge is, where one runs: 0–100.
    pub percent: Option<u8>,
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
        const PAUSE_MS: u64 = 1000;
        Refusal::from(Code::StorageFailed).retry_after_ms(PAUSE_MS)
    }
}
