//! Chunks that come while the ledger is away.
//!
//! A chunk with a place of its own needs no counter: the chunk store takes each place once, whoever comes (L-2), so it can
//! be stored and acknowledged. What the ledger would have refused is looked up in the chunk store itself. The account is
//! made whole from there when the ledger is back, by this node, or by whoever needs it first.

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
    adapters::ports::Committed,
    domain::recording::Manifest,
    protocol::{
        Code, RecordId, Refusal, UploadToken,
        chunk::{Chunk, ChunkIndex},
        limits,
    },
};

/// Recordings of which it is remembered how far they are.
const HEADS_MAX: usize = 10_000;

/// How far recordings are that go on while the ledger is away, as far as this node knows.
#[derive(Debug, Clone, Default)]
pub(super) struct Heads(Arc<Mutex<HashMap<RecordId, Head>>>);

/// How far a recording was when the chunk store was looked at, and what came here since.
#[derive(Debug, Clone, Copy)]
struct Head {
    /// One more than the highest index stored.
    next: u32,
    /// Chunks stored.
    chunks: u32,
}

impl Head {
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

    fn allow(&self, id: &RecordId, index: ChunkIndex) -> bool {
        self.known().get(id).is_some_and(|head| head.allows(index))
    }

    fn learn(&self, id: &RecordId, head: Head) {
        let mut known = self.known();
        if known.len() >= HEADS_MAX && !known.contains_key(id) {
            known.clear();
        }
        known.insert(id.clone(), head);
    }

    fn stored(&self, id: &RecordId, index: ChunkIndex) {
        if let Some(head) = self.known().get_mut(id) {
            head.next = head.next.max(index.get() + 1);
            head.chunks += 1;
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
        self.check_away(token, index, &chunk).await?;
        let staged = self.stage(id, &chunk).await?;
        let outcome = match self.store_said("commit", staged.commit(index, mark).await)? {
            Committed::Stored => {
                self.heads.stored(id, index);
                Outcome::Stored(index)
            }
            Committed::Taken(stored) if stored.same_bytes(&mark) => Outcome::Duplicate(index),
            Committed::Taken(_) => return Err(Code::Conflict.into()),
        };
        self.tell_unnoted(id)?;
        Ok(outcome)
    }

    /// Whether a token is the one of its recording, as the chunk store knows it.
    pub(super) async fn authorise_away(&self, token: &UploadToken) -> Result<Manifest, Refusal> {
        let manifest = self.store_said("manifest", self.chunks.manifest(token.record_id()).await)?;
        let manifest = manifest.ok_or(Code::RecordingUnknown)?;
        if manifest.token.matches(&token.digest()) { Ok(manifest) } else { Err(Code::Unauthorised.into()) }
    }

    async fn check_away(&self, token: &UploadToken, index: ChunkIndex, chunk: &Chunk) -> Result<(), Refusal> {
        let id = token.record_id();
        let manifest = self.authorise_away(token).await?;
        if manifest.stopped {
            return Err(Code::RecordingStopped.into());
        }
        if index.get() == 0 {
            chunk.check_first()?;
        }
        let end = manifest.announced.unwrap_or(limits::CHUNKS_MAX);
        // What is remembered may be of an outage before, and other nodes have stored what is not remembered here.
        if index.get() >= end || !(self.heads.allow(id, index) || self.look(id).await?.allows(index)) {
            return Err(Code::IndexOutOfRange.into());
        }
        Ok(())
    }

    async fn look(&self, id: &RecordId) -> Result<Head, Refusal> {
        let stored = self.store_said("list", self.chunks.list(id).await)?;
        let next = stored.last().map_or(0, |chunk| chunk.index.get() + 1);
        let head = Head { next, chunks: u32::try_from(stored.len()).unwrap_or(u32::MAX) };
        self.heads.learn(id, head);
        Ok(head)
    }

    /// The account follows when the ledger is back. Nobody is told of a chunk for which that is not certain.
    pub(super) fn tell_unnoted(&self, id: &RecordId) -> Result<(), Refusal> {
        let message = ChunksUnnoted { id: id.clone() };
        let told = post(&self.tell.unnoted, Mailbox::Supervisor, &self.metrics, message);
        told.map_err(|_| Refusal::from(Code::Overloaded).retry_after_ms(1000))
    }
}
