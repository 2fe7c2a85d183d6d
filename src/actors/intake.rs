//! The way of a chunk: checked, stored durably, noted, and only then acknowledged (L-1). The same for sockets and HTTP.
//!
//! ```text
//!  indexed   place? ─► stage ─► commit ─► note ─► ack          refused, duplicate, taken by other bytes: told at once
//!  raw       admit? ─► stage ─► number ─► commit ─► note ─► ack
//! ```
//! A number whose node died before the commit is void after a while ([`Accounts::fill_late`]): whoever comes late finds the
//! place taken, and is refused, because its recorder has sent the chunk again, or will.
//!
//! While the ledger is away, chunks that bring their place go on being taken: the store keeps their order, and the ledger
//! follows (`away`). Those that need a number cannot be; one that has its number and is stored is as good as any.
//!
//! It is no actor: many chunks are on their way at once, each in its own task, and none of them holds anything but its
//! bytes. Those are bounded over the whole node; what comes then waits in its socket (Q-1).

mod away;

use std::{sync::Arc, time::Instant};

use actix::Recipient;
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::{debug, warn};

use self::away::Heads;
use super::{
    accounts::Accounts,
    chunk_gate::ChunkGates,
    mailbox::{Mailbox, post},
    messages::{ChunkStored, ChunksUnnoted, RecordingWentOn},
};
use crate::{
    adapters::{
        crash,
        ports::{
            CameChunk, ChunkStore, Committed, HeldBytes, Ledger, LedgerError, Patience, RecordingPorts,
            RecordingRef, SameStores, StagedChunk, StoreError, StoredChunk,
        },
    },
    domain::recording::{Noted, Number, Placed, RecordingRules, Unplaced},
    metrics::{Metrics, gauge},
    protocol::{
        Code, RecordId, Refusal, UploadToken,
        chunk::{Chunk, ChunkIndex, ChunkMark},
        limits,
    },
};

/// How often a commit that failed is tried again before its number is given back.
const COMMIT_TRIES: u32 = 3;

/// Takes chunks in. Cheap to clone: clones share their bound.
#[derive(Clone)]
pub struct Intake {
    chunks: Arc<dyn ChunkStore>,
    ledger: Arc<dyn Ledger>,
    accounts: Accounts,
    gates: ChunkGates,
    tell: IntakeLinks,
    heads: Heads,
    same_stores: SameStores,
    rules: RecordingRules,
    budget: Arc<Semaphore>,
    /// Room for bytes that somebody else wants to have too.
    follow_budget: Arc<Semaphore>,
    metrics: Metrics,
}

/// Who is told of chunks that change how a recording stands.
#[derive(Clone)]
pub struct IntakeLinks {
    /// One came after its recording was claimed.
    pub went_on: Recipient<RecordingWentOn>,
    /// Some are stored and the ledger does not know.
    pub unnoted: Recipient<ChunksUnnoted>,
    /// One is stored.
    pub stored: Recipient<ChunkStored>,
}

/// By which way a chunk comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By the socket of the recorder of this generation.
    Socket {
        /// Of the recorder, as it was taken up.
        generation: u64,
    },
    /// In a request of its own.
    Http,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Socket { .. } => "socket",
            Self::Http => "http",
        }
    }

    fn generation(self) -> Option<u64> {
        match self {
            Self::Socket { generation } => Some(generation),
            Self::Http => None,
        }
    }

    fn patience(self) -> Patience {
        match self {
            Self::Socket { .. } => Patience::Socket,
            Self::Http => Patience::Http,
        }
    }
}

enum Outcome {
    Stored(ChunkIndex),
    Duplicate(ChunkIndex),
}

impl Intake {
    /// An intake into this store and this ledger, which goes by these rules.
    #[must_use]
    pub fn new(
        ports: &RecordingPorts,
        (accounts, gates): (Accounts, ChunkGates),
        tell: IntakeLinks,
        rules: RecordingRules,
        metrics: Metrics,
    ) -> Self {
        let (chunks, ledger) = (ports.chunks.clone(), ports.ledger.clone());
        Self {
            chunks,
            ledger,
            accounts,
            gates,
            tell,
            heads: Heads::default(),
            same_stores: ports.same_stores.clone(),
            rules,
            budget: Arc::new(Semaphore::new(limits::INTAKE_BYTES_MAX)),
            follow_budget: Arc::new(Semaphore::new(limits::FOLLOW_BYTES_MAX)),
            metrics,
        }
    }

    /// Whether a token is the one of its recording.
    ///
    /// # Errors
    /// [`Code::RecordingUnknown`], [`Code::Unauthorised`]; [`Code::StorageFailed`]: this node takes no part in recordings.
    pub async fn authorise(&self, token: &UploadToken) -> Result<(), Refusal> {
        self.takes_part()?;
        let asked = self.accounts.ask(token.record_id(), |ledger| ledger.authorise(token.clone()));
        match asked.await {
            Ok(answer) => answer,
            Err(_) => self.authorise_away(token).await.map(drop),
        }
    }

    /// Whether a chunk of this size could be stored at once. Where it could not, whoever reads chunks from a socket reads
    /// no further, so that they wait in there and not in memory.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.budget.available_permits() >= bytes
    }

    /// Takes a chunk, at the place its recorder gave it or at the next one.
    ///
    /// Done when it is durable; gives its place.
    ///
    /// # Errors
    /// Why it was not taken; nothing of it is stored then.
    pub async fn take(
        &self,
        token: &UploadToken,
        place: Option<ChunkIndex>,
        chunk: Chunk,
        way: Way,
    ) -> Result<ChunkIndex, Refusal> {
        let (intake, token) = (self.clone(), token.clone());
        // A task of its own, which also counts: a socket that ends now must not leave the chunk half-way.
        let storing = tokio::spawn(async move { intake.counted(&token, place, chunk, way).await });
        storing.await.unwrap_or_else(|_| Err(Code::Internal.into()))
    }

    async fn counted(
        &self,
        token: &UploadToken,
        place: Option<ChunkIndex>,
        chunk: Chunk,
        way: Way,
    ) -> Result<ChunkIndex, Refusal> {
        let (came, name) = (Instant::now(), way.name());
        let bytes = u64::from(chunk.mark.length);
        let count = |result: &str| self.metrics.chunks.with_label_values(&[name, result]).inc();
        let (mark, payload) = (chunk.mark, chunk.payload.clone());
        match self.bounded(token, place, chunk, way).await {
            Ok(Outcome::Stored(index)) => {
                let recording = RecordingRef::by(token);
                let held = HeldBytes::hold(payload, &self.follow_budget);
                let chunk = CameChunk { chunk: StoredChunk { index, mark }, bytes: held };
                let stored = ChunkStored { recording, came: chunk, in_request: way == Way::Http };
                // Should there be no room: whoever completes the recording looks at its chunks.
                let _ = post(&self.tell.stored, Mailbox::AssemblyWorker, &self.metrics, stored);
                count("acked");
                self.metrics.chunk_bytes.with_label_values(&[name]).inc_by(bytes);
                self.metrics.chunk_ack.with_label_values(&[name]).observe(came.elapsed().as_secs_f64());
                Ok(index)
            }
            Ok(Outcome::Duplicate(index)) => {
                count("duplicate");
                Ok(index)
            }
            Err(refusal) => {
                count(refusal.code.name());
                Err(refusal)
            }
        }
    }

    async fn bounded(
        &self,
        token: &UploadToken,
        place: Option<ChunkIndex>,
        chunk: Chunk,
        way: Way,
    ) -> Result<Outcome, Refusal> {
        let _passing = self.gates.pass(token.record_id()).await;
        let _permit = self.permit(chunk.mark.length).await?;
        self.takes_part()?;
        let (count, bytes) = (&self.metrics.chunks_in_flight, &self.metrics.chunk_bytes_in_flight);
        let (count, bytes) = (count.with_label_values::<&str>(&[]), bytes.with_label_values::<&str>(&[]));
        let length = gauge(chunk.payload.len());
        count.inc();
        bytes.add(length);
        let outcome = match place {
            Some(index) => self.take_placed(token, index, chunk, way).await,
            None => self.take_next(token, chunk, way).await,
        };
        count.dec();
        bytes.sub(length);
        outcome
    }

    fn takes_part(&self) -> Result<(), Refusal> {
        self.same_stores.check().map_err(|error| error.refusal())
    }

    async fn permit(&self, bytes: u32) -> Result<SemaphorePermit<'_>, Refusal> {
        let overloaded = || Refusal::from(Code::Overloaded).retry_after_ms(1000);
        let permit = tokio::time::timeout(limits::INTAKE_TIMEOUT, self.budget.acquire_many(bytes));
        permit.await.map_err(|_| overloaded())?.map_err(|_| overloaded())
    }

    async fn take_placed(
        &self,
        token: &UploadToken,
        index: ChunkIndex,
        chunk: Chunk,
        way: Way,
    ) -> Result<Outcome, Refusal> {
        let id = token.record_id();
        let mark = chunk.mark;
        let may_begin = chunk.check_first().is_ok();
        let asked = self.accounts.ask(id, |ledger| ledger.place(token.clone(), index, mark, may_begin));
        let placed = match asked.await {
            Ok(placed) => {
                // What comes by way of the ledger is not counted there.
                self.heads.forget(id);
                placed?
            }
            Err(_) => return self.take_away(token, index, chunk).await,
        };
        if placed == Placed::Duplicate {
            return Ok(Outcome::Duplicate(index));
        }
        crash::point("chunk.placed");
        let staged = self.stage(token, &chunk).await?;
        crash::point("chunk.staged");
        let outcome = match self.store_said("commit", staged.commit(index, mark).await)? {
            Committed::Stored => Outcome::Stored(index),
            // Another connection brought the same chunk at the same time.
            Committed::Taken(stored) if stored.same_bytes(&mark) => Outcome::Duplicate(index),
            Committed::Taken(_) => return Err(Code::Conflict.into()),
        };
        crash::point("chunk.committed");
        let said = self.note(token, index, mark, way.patience()).await;
        self.noted_or_unnoted(token, index, said).await?;
        crash::point("chunk.noted");
        Ok(outcome)
    }

    async fn take_next(&self, token: &UploadToken, chunk: Chunk, way: Way) -> Result<Outcome, Refusal> {
        let id = token.record_id();
        let (may_begin, patience) = (chunk.check_first().is_ok(), way.patience());
        let unplaced = Unplaced { length: chunk.mark.length, may_begin, generation: way.generation() };
        let asked = self.accounts.ask(id, |ledger| ledger.admit(token.clone(), unplaced));
        self.ledger_said("admit", asked.await)??;
        crash::point("chunk.admitted");
        let staged = self.stage(token, &chunk).await?;
        loop {
            let number = self.number(token, unplaced).await?;
            crash::point("chunk.numbered");
            match self.commit_numbered(&*staged, id, number, &chunk).await? {
                Committed::Stored => {
                    crash::point("chunk.number_stored");
                    self.note_numbered(token, number, chunk.mark, patience).await?;
                    crash::point("chunk.number_noted");
                    return Ok(Outcome::Stored(number.index));
                }
                // It is there: an earlier try has got as far as that, and was not acknowledged.
                Committed::Taken(stored) if stored.same_bytes(&chunk.mark) => {
                    self.note_numbered(token, number, chunk.mark, patience).await?;
                    return Ok(Outcome::Duplicate(number.index));
                }
                Committed::Taken(stored) => self.give_way(token, number, stored, patience).await?,
            }
        }
    }

    async fn number(&self, token: &UploadToken, chunk: Unplaced) -> Result<Number, Refusal> {
        let id = token.record_id();
        let asked = self.accounts.ask(id, |ledger| ledger.number(token.clone(), chunk));
        let number = self.ledger_said("number", asked.await)?;
        // The account may be full of numbers of nodes that are dead.
        let is_full = number.as_ref().is_err_and(|refusal| refusal.code == Code::Overloaded);
        if (is_full || number.as_ref().is_ok_and(|number| number.others_are_late))
            && let Err(failure) = self.accounts.fill_late(id, token.digest()).await
        {
            debug!(recording = %id, %failure, "numbers whose chunks did not come are seen to later");
        }
        number
    }

    /// Somebody else's chunk has the place of a number.
    async fn give_way(
        &self,
        token: &UploadToken,
        number: Number,
        stored: ChunkMark,
        patience: Patience,
    ) -> Result<(), Refusal> {
        let (id, index) = (token.record_id(), number.index);
        if stored.is_void() {
            // Its time was over. A ledger that has forgotten that must hear of it, or it gives the number out again.
            let filled = self.ledger.fill(id.clone(), token.digest(), vec![index]).await;
            self.ledger_said("fill", filled)?;
            return Err(withdrawn());
        }
        if !self.ledger_said("give_back", self.ledger.give_back(id.clone(), number).await)? {
            return Err(withdrawn());
        }
        // The counter was behind the store: note what is there, and take the next.
        let said = self.note(token, index, stored, patience).await;
        self.noted(id, said).await
    }

    /// Commits under a number. Should that fail for good, the number is given back: a failed write leaves no hole.
    async fn commit_numbered(
        &self,
        staged: &dyn StagedChunk,
        id: &RecordId,
        number: Number,
        chunk: &Chunk,
    ) -> Result<Committed, Refusal> {
        let mut tries = 1;
        loop {
            match self.store_said("commit", staged.commit(number.index, chunk.mark).await) {
                Err(_) if tries < COMMIT_TRIES => tries += 1,
                Err(refusal) => {
                    self.ledger_said("give_back", self.ledger.give_back(id.clone(), number).await)?;
                    return Err(refusal);
                }
                committed => return committed,
            }
        }
    }

    async fn stage(&self, token: &UploadToken, chunk: &Chunk) -> Result<Box<dyn StagedChunk>, Refusal> {
        let staged = self.chunks.stage(&RecordingRef::by(token), chunk.payload.clone()).await;
        match self.store_said("stage", staged) {
            Err(_) if self.accounts.close_deleted(token.record_id()).await => {
                Err(Code::RecordingUnknown.into())
            }
            staged => staged,
        }
    }

    async fn note(
        &self,
        token: &UploadToken,
        index: ChunkIndex,
        mark: ChunkMark,
        patience: Patience,
    ) -> Result<Option<Noted>, LedgerError> {
        let note = |ledger: &dyn Ledger| ledger.note(token.clone(), index, mark, patience);
        self.accounts.find(token.record_id(), note).await
    }

    /// The same of a number's chunk. It is not sent again because the ledger gave no answer: that may have noted it, and the
    /// chunk would get another number.
    async fn note_numbered(
        &self,
        token: &UploadToken,
        number: Number,
        mark: ChunkMark,
        patience: Patience,
    ) -> Result<(), Refusal> {
        let note = |ledger: &dyn Ledger| ledger.note_numbered(token.clone(), number, mark, patience);
        let said = self.accounts.find(token.record_id(), note).await;
        self.noted_or_unnoted(token, number.index, said).await
    }

    /// What was said of a chunk that is durable in a place of its own: should that be nothing, the account follows. That there
    /// is no such recording any more is an answer.
    async fn noted_or_unnoted(
        &self,
        token: &UploadToken,
        index: ChunkIndex,
        said: Result<Option<Noted>, LedgerError>,
    ) -> Result<(), Refusal> {
        let id = token.record_id();
        if said.is_ok() {
            return self.noted(id, said).await;
        }
        let _ = self.ledger_said("note", said);
        self.still_counts(token, index).await?;
        self.tell_unnoted(id)
    }

    async fn noted(&self, id: &RecordId, said: Result<Option<Noted>, LedgerError>) -> Result<(), Refusal> {
        match self.ledger_said("note", said)? {
            None => Err(Code::RecordingUnknown.into()),
            Some(Noted::InTime) => Ok(()),
            Some(Noted::Withdrawn) => Err(withdrawn()),
            Some(Noted::Outdated) => {
                self.save_reopened(id).await;
                let message = RecordingWentOn { id: id.clone() };
                // Should it not be told: the account has it, and whoever has the claim hears that it no longer holds.
                let _ = post(&self.tell.went_on, Mailbox::Supervisor, &self.metrics, message);
                Ok(())
            }
        }
    }

    /// Before the chunk is acknowledged: should the node die now, its next life must know that there was a video without it.
    /// Where this fails the chunk is in the video all the same.
    async fn save_reopened(&self, id: &RecordId) {
        if let Ok(Some(view)) = self.ledger_said("show", self.ledger.show(id).await) {
            let _ = self.store_said("manifest", self.chunks.save_manifest(view.manifest).await);
        }
    }

    fn store_said<T>(&self, operation: &str, said: Result<T, StoreError>) -> Result<T, Refusal> {
        said.map_err(|error| {
            warn!(operation, %error, "the chunk store failed");
            self.metrics.storage_errors.with_label_values(&["chunks", operation]).inc();
            error.refusal()
        })
    }

    fn ledger_said<T>(&self, operation: &str, said: Result<T, LedgerError>) -> Result<T, Refusal> {
        said.map_err(|error| {
            warn!(operation, %error, "the ledger failed");
            self.metrics.storage_errors.with_label_values(&["ledger", operation]).inc();
            error.refusal()
        })
    }
}

/// A chunk's number was taken back before it was noted: to whoever still waits for it, it did not come.
fn withdrawn() -> Refusal {
    Refusal::because(Code::StorageFailed, "it took too long").retry_after_ms(1000)
}

#[cfg(test)]
mod tests;
