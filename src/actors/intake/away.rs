//! Chunks that come while the ledger is away.
//!
//! A chunk with a place of its own needs no counter: the chunk store takes each place once, whoever comes (L-2), so it can
//! be stored and acknowledged. What the ledger would have refused is looked up in the chunk store itself, by the same rules:
//! what other nodes take meanwhile is seen only now and then. The account is made whole from there when the ledger is back, by this node, or by whoever needs it first.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Intake, Outcome};
use crate::{
    actors::{
        mailbox::{Mailbox, post},
        messages::ChunksUnnoted,
    },
    adapters::ports::{Committed, StoredChunk},
    domain::recording::{Manifest, Placed},
    protocol::{
        Code, RecordId, Refusal, UploadToken,
        chunk::{Chunk, ChunkIndex, ChunkMark},
        limits,
    },
};

/// Recordings of which it is remembered how far they are.
const HEADS_MAX: usize = 10_000;

/// How far recordings are that go on while the ledger is away, as far as this node knows.
#[derive(Debug, Clone, Default)]
pub(super) struct Heads(Arc<Mutex<HashMap<RecordId, Head>>>);

/// How far a recording was when the chunk store was looked at, and what came here since. Places that are kept empty count as
/// chunks.
#[derive(Debug, Clone, Copy)]
struct Head {
    /// One more than the highest index stored.
    next: u32,
    /// Chunks stored.
    chunks: u32,
    /// Bytes stored.
    bytes: u64,
}

impl Head {
    fn of(stored: &[StoredChunk]) -> Self {
        Self {
            next: stored.last().map_or(0, |chunk| chunk.index.get() + 1),
            chunks: u32::try_from(stored.len()).unwrap_or(u32::MAX),
            bytes: stored.iter().map(|chunk| u64::from(chunk.mark.length)).sum(),
        }
    }

    /// Whether a chunk at this place leaves no more missing than an account may bear.
    fn allows(self, index: ChunkIndex) -> bool {
        let ahead = index.get().saturating_sub(self.next);
        let holes = self.next.saturating_sub(self.chunks);
        holes.saturating_add(ahead) <= limits::CHUNKS_MISSING_MAX
    }
}

impl Heads {
    fn known(&self) -> MutexGuard<'_, HashMap<RecordId, Head>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, id: &RecordId) -> Option<Head> {
        self.known().get(id).copied()
    }

    /// The ledger is there, and counts again.
    pub(super) fn forget(&self, id: &RecordId) {
        self.known().remove(id);
    }

    fn learn(&self, id: &RecordId, head: Head) {
        let mut known = self.known();
        if known.len() >= HEADS_MAX && !known.contains_key(id) {
            known.clear();
        }
        known.insert(id.clone(), head);
    }

    fn stored(&self, id: &RecordId, index: ChunkIndex, mark: ChunkMark) {
        if let Some(head) = self.known().get_mut(id) {
            head.next = head.next.max(index.get() + 1);
            head.chunks += 1;
            head.bytes += u64::from(mark.length);
        }
    }
}

impl Intake {
    /// Takes a chunk at its place without the ledger.
    pub(super) async fn take_away(
        &self,
        token: &UploadToken,
        index: ChunkIndex,
        chunk: Chunk,
    ) -> Result<Outcome, Refusal> {
        let (id, mark) = (token.record_id(), chunk.mark);
        if self.place_away(token, index, &chunk).await? == Placed::Duplicate {
            self.tell_unnoted(id)?;
            return Ok(Outcome::Duplicate(index));
        }
        let staged = self.stage(token, &chunk).await?;
        let outcome = match self.store_said("commit", staged.commit(index, mark).await)? {
            Committed::Stored => {
                self.heads.stored(id, index, mark);
                Outcome::Stored(index)
            }
            Committed::Taken(stored) if stored.same_bytes(&mark) => Outcome::Duplicate(index),
            Committed::Taken(_) => return Err(Code::Conflict.into()),
        };
        self.still_counts(token, index).await?;
        self.tell_unnoted(id)?;
        Ok(outcome)
    }

    /// Whether a chunk that is durable, and not in the ledger, is seen by whoever ends its recording. Who ends one says so in
    /// the chunk store and only then looks what is there for the last time: of two that do not know of each other one sees
    /// what the other did.
    pub(super) async fn still_counts(&self, token: &UploadToken, index: ChunkIndex) -> Result<(), Refusal> {
        let manifest = self.authorise_away(token).await?;
        let was_announced = manifest.announced.is_some_and(|count| index.get() < count);
        if manifest.stopped && !was_announced { Err(Code::RecordingStopped.into()) } else { Ok(()) }
    }

    /// Whether a token is the one of its recording, as the chunk store knows it.
    pub(super) async fn authorise_away(&self, token: &UploadToken) -> Result<Manifest, Refusal> {
        let manifest = self.store_said("manifest", self.chunks.manifest(token.record_id()).await)?;
        let manifest = manifest.ok_or(Code::RecordingUnknown)?;
        if !manifest.token.matches(&token.digest()) {
            return Err(Code::Unauthorised.into());
        }
        if manifest.is_closed() { Err(Code::RecordingOver.into()) } else { Ok(manifest) }
    }

    /// What the ledger would say of a chunk's place, as far as the chunk store can tell.
    async fn place_away(
        &self,
        token: &UploadToken,
        index: ChunkIndex,
        chunk: &Chunk,
    ) -> Result<Placed, Refusal> {
        let id = token.record_id();
        let manifest = self.authorise_away(token).await?;
        // By what is remembered a chunk may come, but is not refused: other nodes may know better.
        if self.heads.get(id).is_some_and(|head| self.may_come(&manifest, head, index, chunk).is_ok()) {
            return Ok(Placed::New);
        }
        let stored = self.store_said("list", self.chunks.list(id).await)?;
        if let Some(there) = stored.iter().find(|there| there.index == index) {
            let is_same = there.mark.same_bytes(&chunk.mark);
            return if is_same { Ok(Placed::Duplicate) } else { Err(Code::Conflict.into()) };
        }
        let head = Head::of(&stored);
        self.heads.learn(id, head);
        self.may_come(&manifest, head, index, chunk).map(|()| Placed::New)
    }

    fn may_come(
        &self,
        manifest: &Manifest,
        head: Head,
        index: ChunkIndex,
        chunk: &Chunk,
    ) -> Result<(), Refusal> {
        // A node that has never heard the ledger's clock does not know how long the recording is.
        let now_ms = self.ledger.known_now_ms().unwrap_or(manifest.started_ms);
        self.rules.take_chunk(manifest, head.bytes, chunk.mark.length, now_ms)?;
        if index.get() == 0 {
            chunk.check_first()?;
        }
        let end = manifest.announced.unwrap_or(limits::CHUNKS_MAX);
        if index.get() < end && head.allows(index) { Ok(()) } else { Err(Code::IndexOutOfRange.into()) }
    }

    /// The account follows when the ledger is back. Nobody is told of a chunk for which that is not certain.
    pub(super) fn tell_unnoted(&self, id: &RecordId) -> Result<(), Refusal> {
        let message = ChunksUnnoted { id: id.clone() };
        let told = post(&self.tell.unnoted, Mailbox::Supervisor, &self.metrics, message);
        told.map_err(|_| Refusal::from(Code::Overloaded).retry_after_ms(1000))
    }
}
