//! The ledger of a node that is alone: the rules themselves, in memory. It is put back from the chunk store when the
//! node starts.

use std::{
    collections::BTreeMap,
    future::ready,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    clock::Clock,
    ports::{ClaimEnd, Ledger, LedgerError, LedgerView, Patience, PortFuture, StoredChunk},
};
use crate::{
    domain::recording::{
        Attached, Claim, Manifest, Noted, Placed, RecordingRecord, RecordingTimes, StopRefused, StopTaken,
    },
    protocol::{
        Code, Fence, RecordId, Refusal, UploadToken,
        chunk::{ChunkIndex, ChunkMark},
        recorder::Made,
    },
};

/// Accounts as [`RecordingRecord`]s behind one lock that is never held over a wait.
#[derive(Debug)]
pub struct MemoryLedger {
    clock: Clock,
    times: RecordingTimes,
    records: Mutex<BTreeMap<RecordId, RecordingRecord>>,
}

impl MemoryLedger {
    /// A ledger without accounts.
    #[must_use]
    pub fn new(clock: Clock, times: RecordingTimes) -> Self {
        Self { clock, times, records: Mutex::default() }
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<RecordId, RecordingRecord>> {
        // Each operation leaves an account whole before anything in it could panic.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, id: &RecordId, act: impl FnOnce(&mut RecordingRecord) -> T) -> Option<T> {
        self.records().get_mut(id).map(act)
    }

    /// Does something with the account that a token names, or refuses.
    fn with_token<T, E: From<Refusal>>(
        &self,
        token: &UploadToken,
        act: impl FnOnce(&mut RecordingRecord) -> Result<T, E>,
    ) -> Result<T, E> {
        let unknown = || Err(Refusal::from(Code::RecordingUnknown).into());
        self.with(token.record_id(), act).unwrap_or_else(unknown)
    }

    fn now_ms(&self) -> u64 {
        self.clock.steady_ms()
    }
}

/// An answer that is there at once.
fn at_once<T: Send + 'static>(answer: T) -> PortFuture<Result<T, LedgerError>> {
    Box::pin(ready(Ok(answer)))
}

impl Ledger for MemoryLedger {
    fn open(&self, manifest: Manifest) -> PortFuture<Result<Result<Attached, Refusal>, LedgerError>> {
        let mut records = self.records();
        let id = manifest.record_id.clone();
        if records.contains_key(&id) {
            return at_once(Err(Code::RecordIdTaken.into()));
        }
        let record = RecordingRecord::open(manifest, self.now_ms(), self.times);
        let attached = record.as_opened();
        records.insert(id, record);
        at_once(Ok(attached))
    }

    fn attach(&self, token: UploadToken) -> PortFuture<Result<Result<Attached, Refusal>, LedgerError>> {
        at_once(self.with_token(&token, |record| record.attach(&token, self.now_ms(), self.times)))
    }

    fn authorise(&self, token: UploadToken) -> PortFuture<Result<Result<(), Refusal>, LedgerError>> {
        at_once(self.with_token(&token, |record| record.authorise(&token)))
    }

    fn admit(
        &self,
        token: UploadToken,
        may_begin: bool,
    ) -> PortFuture<Result<Result<(), Refusal>, LedgerError>> {
        at_once(self.with_token(&token, |record| record.admit(&token, may_begin)))
    }

    fn place(
        &self,
        token: UploadToken,
        index: ChunkIndex,
        mark: ChunkMark,
        may_begin: bool,
    ) -> PortFuture<Result<Result<Placed, Refusal>, LedgerError>> {
        at_once(self.with_token(&token, |record| record.place(&token, index, mark, may_begin)))
    }

    fn number(
        &self,
        token: UploadToken,
        may_begin: bool,
    ) -> PortFuture<Result<Result<ChunkIndex, Refusal>, LedgerError>> {
        at_once(self.with_token(&token, |record| record.number(&token, may_begin)))
    }

    fn give_back(&self, id: RecordId, index: ChunkIndex) -> PortFuture<Result<(), LedgerError>> {
        self.with(&id, |record| record.give_back(index));
        at_once(())
    }

    fn note(
        &self,
        id: RecordId,
        index: ChunkIndex,
        mark: ChunkMark,
        patience: Patience,
    ) -> PortFuture<Result<Noted, LedgerError>> {
        let over_http = patience == Patience::Http;
        let noted = self.with(&id, |record| record.note(index, mark, over_http, self.now_ms(), self.times));
        let gone = || LedgerError::Unavailable("the recording was discarded".to_owned());
        Box::pin(ready(noted.ok_or_else(gone)))
    }

    fn stop(
        &self,
        token: UploadToken,
        made: Made,
    ) -> PortFuture<Result<Result<StopTaken, StopRefused>, LedgerError>> {
        at_once(self.with_token(&token, |record| record.stop(&token, made, self.now_ms())))
    }

    fn keep(&self, id: RecordId, generation: u64) -> PortFuture<Result<(), LedgerError>> {
        self.with(&id, |record| record.keep(generation, self.now_ms(), self.times));
        at_once(())
    }

    fn detach(&self, id: RecordId, generation: u64) -> PortFuture<Result<(), LedgerError>> {
        self.with(&id, |record| record.detach(generation, self.now_ms(), self.times));
        at_once(())
    }

    fn claim_due(&self) -> PortFuture<Result<Vec<Claim>, LedgerError>> {
        let now_ms = self.now_ms();
        at_once(self.records().values_mut().filter_map(|record| record.claim(now_ms)).collect())
    }

    fn holds(&self, id: RecordId, fence: Fence) -> PortFuture<Result<bool, LedgerError>> {
        at_once(self.with(&id, |record| record.holds(fence)).unwrap_or(false))
    }

    fn settle(
        &self,
        id: RecordId,
        fence: Fence,
        end: ClaimEnd,
    ) -> PortFuture<Result<Option<Manifest>, LedgerError>> {
        let at = |span: Duration| {
            self.now_ms().saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
        };
        let settled = self.with(&id, |record| match end {
            ClaimEnd::Ready { keep } => record.settle_ready(fence, at(keep)),
            ClaimEnd::TryAgain(span) => record.settle_again(fence, at(span)),
            ClaimEnd::Failed => record.settle_failed(fence),
        });
        at_once(settled.flatten())
    }

    fn release(&self, id: RecordId, fence: Fence) -> PortFuture<Result<Option<Manifest>, LedgerError>> {
        let mut records = self.records();
        let holds = records.get(&id).is_some_and(|record| record.holds(fence));
        let released = if holds { records.remove(&id) } else { None };
        at_once(released.map(|record| record.manifest().clone()))
    }

    fn restore(&self, manifest: Manifest, chunks: Vec<StoredChunk>) -> PortFuture<Result<(), LedgerError>> {
        let id = manifest.record_id.clone();
        let chunks = chunks.into_iter().map(|chunk| (chunk.index, chunk.mark));
        let record = RecordingRecord::restore(manifest, chunks, self.now_ms(), self.times);
        self.records().insert(id, record);
        at_once(())
    }

    fn missing(&self, id: &RecordId) -> PortFuture<Result<Vec<u32>, LedgerError>> {
        at_once(self.with(id, |record| record.missing()).unwrap_or_default())
    }

    fn show(&self, id: &RecordId) -> PortFuture<Result<Option<LedgerView>, LedgerError>> {
        at_once(self.with(id, |record| LedgerView {
            manifest: record.manifest().clone(),
            next_index: record.next_index(),
            chunks: record.chunk_count(),
            bytes: record.bytes(),
        }))
    }

    fn forget_chunks(&self, id: &RecordId) -> PortFuture<Result<(), LedgerError>> {
        self.with(id, RecordingRecord::forget_chunks);
        at_once(())
    }

    fn close(&self, id: &RecordId) -> PortFuture<Result<(), LedgerError>> {
        self.records().remove(id);
        at_once(())
    }
}
