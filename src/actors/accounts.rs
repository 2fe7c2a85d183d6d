//! The way to a recording's account: one that the ledger has lost is put back from the chunk store first (L-4).
//!
//! Whoever needs it first does that, on whatever node. Twice is harmless: what is there is only ever added to.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::chunk_gate::ChunkGates;
use crate::{
    adapters::{
        crash,
        ports::{
            Catalog, ChunkStore, Committed, Ledger, LedgerError, PortFuture, RecordingPorts, RecordingRef,
            SameStores, StoreError, StoredChunk,
        },
    },
    domain::recording::{Manifest, StopRefused},
    protocol::{
        Code, RecordId, Refusal, TokenDigest,
        chunk::{ChunkIndex, ChunkMark},
    },
};

/// Accounts that a node puts back at one time, whoever asks.
const AT_ONCE: usize = 16;
/// How many of them may be those that nobody asks for.
const UNASKED_AT_ONCE: usize = AT_ONCE / 2;

/// Accounts behind the ledger and the chunk store. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    ledger: Arc<dyn Ledger>,
    chunks: Arc<dyn ChunkStore>,
    catalog: Arc<dyn Catalog>,
    same_stores: SameStores,
    /// Each is put back by one at a time: after an outage everybody asks at once. A chunk store that is slow with one holds
    /// up no other.
    turns: ChunkGates,
    /// Waited for behind the turn, so that each recording takes one place here at most.
    places: Arc<Semaphore>,
}

/// What an account says no with.
pub trait SaysNo {
    /// Why.
    fn code(&self) -> Code;
}

impl SaysNo for Refusal {
    fn code(&self) -> Code {
        self.code
    }
}

impl SaysNo for StopRefused {
    fn code(&self) -> Code {
        self.refusal.code
    }
}

/// Why an account was not put back.
#[derive(Debug, thiserror::Error)]
pub enum NotPutBack {
    /// The chunk store says why.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger says why.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl NotPutBack {
    /// What a recorder is told.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Store(error) => error.refusal(),
            Self::Ledger(error) => error.refusal(),
        }
    }
}

impl Accounts {
    /// Accounts of what recordings stand on.
    #[must_use]
    pub fn of(ports: &RecordingPorts) -> Self {
        let RecordingPorts { ledger, chunks, catalog, same_stores, .. } = ports.clone();
        let places = Arc::new(Semaphore::new(AT_ONCE));
        Self { ledger, chunks, catalog, same_stores, turns: ChunkGates::default(), places }
    }

    /// Asks something of an account; should the ledger not know it, again once it was put back.
    ///
    /// # Errors
    /// The ledger gives no answer.
    pub async fn ask<T, E: SaysNo>(
        &self,
        id: &RecordId,
        ask: impl Fn(&dyn Ledger) -> PortFuture<Result<Result<T, E>, LedgerError>>,
    ) -> Result<Result<T, E>, LedgerError> {
        let answer = ask(&*self.ledger).await?;
        if !matches!(&answer, Err(no) if no.code() == Code::RecordingUnknown) {
            return Ok(answer);
        }
        if self.is_put_back(id).await? { ask(&*self.ledger).await } else { Ok(answer) }
    }

    /// The same of what says `None` where there is no account.
    ///
    /// # Errors
    /// The ledger gives no answer.
    pub async fn find<T>(
        &self,
        id: &RecordId,
        ask: impl Fn(&dyn Ledger) -> PortFuture<Result<Option<T>, LedgerError>>,
    ) -> Result<Option<T>, LedgerError> {
        let answer = ask(&*self.ledger).await?;
        if answer.is_some() || !self.is_put_back(id).await? {
            return Ok(answer);
        }
        ask(&*self.ledger).await
    }

    async fn is_put_back(&self, id: &RecordId) -> Result<bool, LedgerError> {
        match self.put_back_lost(id).await {
            Ok(is_there) => Ok(is_there),
            Err(NotPutBack::Ledger(error)) => Err(error),
            // Whether there is such a recording cannot be told now.
            Err(NotPutBack::Store(error)) => {
                warn!(recording = %id, %error, "an account could not be put back");
                Err(LedgerError::Unavailable(format!("the chunk store: {error}")))
            }
        }
    }

    /// Puts back an account that the ledger does not know. Whether there is one now.
    ///
    /// # Errors
    /// The chunk store or the ledger fails.
    pub async fn put_back_lost(&self, id: &RecordId) -> Result<bool, NotPutBack> {
        let _turn = self.turns.close(id).await;
        let _place = self.places.acquire().await;
        if self.ledger.show(id).await?.is_some() {
            return Ok(true);
        }
        self.tell(id).await
    }

    /// Tells the ledger what the chunk store has of a recording. `false`: nothing of it is there, or it is over, and whatever
    /// is there is in its video.
    ///
    /// # Errors
    /// The chunk store or the ledger fails.
    pub async fn catch_up(&self, id: &RecordId) -> Result<bool, NotPutBack> {
        let _turn = self.turns.close(id).await;
        let _place = self.places.acquire().await;
        self.tell(id).await
    }

    /// The same of a recording that may have been about to be closed for good, and is not: it has more than its video, or
    /// whoever was at it has died.
    ///
    /// # Errors
    /// The chunk store or the ledger fails.
    pub async fn reopen(&self, id: &RecordId) -> Result<bool, NotPutBack> {
        if let Some(closed) = self.chunks.manifest(id).await?.filter(Manifest::is_closed) {
            self.chunks.save_manifest(closed.reopened()).await?;
        }
        self.catch_up(id).await
    }

    async fn tell(&self, id: &RecordId) -> Result<bool, NotPutBack> {
        self.same_stores.check()?;
        let Some(mut manifest) = self.chunks.manifest(id).await? else { return Ok(false) };
        if manifest.record_id != *id || self.is_forgotten(&manifest).await? {
            return Ok(false);
        }
        // The last version may have reached the catalog and not the manifest: what comes now must not be older.
        if let Ok(Some(row)) = self.catalog.get(id).await
            && row.started_ms == manifest.started_ms
        {
            manifest.version = manifest.version.max(row.version);
        }
        let mut chunks = self.chunks.list(id).await?;
        let there: Vec<_> = chunks.iter().map(|chunk| (chunk.index, chunk.mark)).collect();
        let empty = manifest.never_came(&there);
        if !empty.is_empty() {
            for index in empty {
                self.make_void(&RecordingRef::of(&manifest), index).await?;
            }
            chunks = self.chunks.list(id).await?;
        }
        info!(recording = %id, chunks = StoredChunk::count(&chunks), "an account is made whole from the chunk store");
        let whose = manifest.token;
        self.ledger.restore(manifest, chunks).await?;
        if self.chunks.manifest(id).await?.is_none_or(|manifest| manifest.token != whose) {
            // It was taken away meanwhile: nothing would lead to this account any more, and it would hold the name.
            self.ledger.close(id, Some(whose)).await?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Closes the account of a recording that was deleted: a ledger that has gone back in time has it again, and nothing can
    /// be added to it any more. Whether it was one.
    pub async fn close_deleted(&self, id: &RecordId) -> bool {
        if !matches!(self.chunks.manifest(id).await, Ok(None)) {
            return false;
        }
        let Ok(Some(view)) = self.ledger.show(id).await else { return false };
        let Manifest { started_ms, token, .. } = view.manifest;
        if !matches!(self.catalog.was_deleted(id, started_ms).await, Ok(true)) {
            return false;
        }
        warn!(recording = %id, "a recording that was deleted had an account again");
        matches!(self.ledger.close(id, Some(token)).await, Ok(Some(_)))
    }

    /// Makes the numbers void whose chunks did not come in time: an empty chunk takes the place of each, durably, so that
    /// nothing can come there any more, and a ledger that is put back knows of it. What has come after all, and was not
    /// noted, gets into the account as after an outage.
    ///
    /// # Errors
    /// The chunk store or the ledger fails; what was not done is done the next time.
    pub async fn fill_late(&self, id: &RecordId, whose: TokenDigest) -> Result<(), NotPutBack> {
        self.same_stores.check()?;
        let late = self.ledger.late_numbers(id).await?;
        let (mut voids, numbers) = (Vec::new(), late.len());
        let recording = RecordingRef { id: id.clone(), token: whose };
        for index in late {
            if self.make_void(&recording, index).await? {
                voids.push(index);
            }
            crash::point("number.filled");
        }
        let has_come = voids.len() < numbers;
        if !voids.is_empty() {
            info!(recording = %id, numbers = voids.len(), "numbers whose chunks did not come are void");
            self.ledger.fill(id.clone(), whose, voids).await?;
        }
        if has_come {
            self.catch_up(id).await?;
        }
        Ok(())
    }

    /// An empty chunk takes this place, unless something has come there. Whether it is empty.
    async fn make_void(&self, recording: &RecordingRef, index: ChunkIndex) -> Result<bool, NotPutBack> {
        let staged = self.chunks.stage(recording, Bytes::new()).await?;
        Ok(match staged.commit(index, ChunkMark::VOID).await? {
            Committed::Taken(stored) => stored.is_void(),
            Committed::Stored => true,
        })
    }

    /// Chunks that an operator keeps longer than a recording can be taken up again belong to no account. But what was
    /// acknowledged while the ledger was away is not in the video, however late it is by now (L-1).
    async fn is_forgotten(&self, manifest: &Manifest) -> Result<bool, NotPutBack> {
        let Some(until) = manifest.keep_until_ms else { return Ok(false) };
        if manifest.is_closed() {
            return Ok(true);
        }
        if until > self.ledger.now_ms().await? {
            return Ok(false);
        }
        let stored = self.chunks.list(&manifest.record_id).await?;
        Ok(!manifest.has_less_than(StoredChunk::count(&stored)))
    }

    /// Puts back every account that the chunk store has and the ledger has lost, and tells the ledger what it does not know
    /// of the others: it may have gone back in time. Gives those that there are now, and how many could not be put back:
    /// these harm no other, and are looked for again.
    ///
    /// # Errors
    /// The chunk store cannot be read at all, or the ledger is away.
    pub async fn put_back_all(&self) -> Result<(Vec<RecordId>, usize), NotPutBack> {
        let ids: HashSet<_> = self.chunks.recordings().await?.into_iter().collect();
        let (mut back, mut failed) = (Vec::new(), 0);
        let told = stream::iter(ids).map(|id| async move { (self.catch_up(&id).await, id) });
        let mut told = std::pin::pin!(told.buffer_unordered(UNASKED_AT_ONCE));
        while let Some((told, id)) = told.next().await {
            match told {
                Ok(true) => back.push(id),
                Ok(false) => {}
                Err(NotPutBack::Store(error)) => {
                    warn!(recording = %id, %error, "a recording that cannot be read; it is left alone");
                    failed += 1;
                }
                Err(error @ NotPutBack::Ledger(_)) => return Err(error),
            }
        }
        Ok((back, failed))
    }
}

#[cfg(test)]
#[path = "accounts_kit.rs"]
pub(super) mod kit;

#[cfg(test)]
#[path = "accounts_tests.rs"]
mod tests;
