//! The ledger of a node that is alone: the rules themselves, in memory. It is put back from the chunk store when the
//! node starts.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::ready,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use uuid::Uuid;

use super::{
    clock::Clock,
    ports::{ClaimEnd, Ledger, LedgerError, LedgerView, Loss, Patience, PortFuture, StoredChunk},
};
use crate::{
    domain::recording::{
        Attached, Claim, Finished, Kept, Manifest, Noted, Number, Placed, RecordingRecord, RecordingRules,
        StopRefused, StopTaken, Unplaced,
    },
    protocol::{
        Code, Fence, NodeId, RecordId, Refusal, RoomName, TokenDigest, UploadToken,
        chunk::{ChunkIndex, ChunkMark},
        recorder::{Made, RecordingState},
    },
};

/// Accounts as [`RecordingRecord`]s behind one lock that is never held over a wait.
#[derive(Debug)]
pub struct MemoryLedger {
    node: NodeId,
    clock: Clock,
    rules: RecordingRules,
    records: Mutex<BTreeMap<RecordId, RecordingRecord>>,
    whole: AtomicBool,
}

impl MemoryLedger {
    /// A ledger without accounts.
    #[must_use]
    pub fn new(node: NodeId, clock: Clock, rules: RecordingRules) -> Self {
        Self { node, clock, rules, records: Mutex::default(), whole: AtomicBool::new(false) }
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<RecordId, RecordingRecord>> {
        // Each operation leaves an account whole before anything in it could panic.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, id: &RecordId, act: impl FnOnce(&mut RecordingRecord) -> T) -> Option<T> {
        self.records().get_mut(id).map(act)
    }

    /// Does something with an account, if it is that of this recording: its name may be another's by now.
    fn with_own<T>(
        &self,
        id: &RecordId,
        whose: TokenDigest,
        act: impl FnOnce(&mut RecordingRecord) -> T,
    ) -> Option<T> {
        self.records().get_mut(id).filter(|record| record.manifest().token == whose).map(act)
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

    /// Takes an account out, if it is the one that is meant.
    fn take_out(&self, id: &RecordId, meant: impl FnOnce(&RecordingRecord) -> bool) -> Option<Manifest> {
        let mut records = self.records();
        let is_meant = records.get(id).is_some_and(meant);
        let taken = if is_meant { records.remove(id) } else { None };
        taken.map(|record| record.manifest().clone())
    }
}

/// An answer that is there at once.
fn at_once<T: Send + 'static>(answer: T) -> PortFuture<Result<T, LedgerError>> {
    Box::pin(ready(Ok(answer)))
}

impl Ledger for MemoryLedger {
    fn now_ms(&self) -> PortFuture<Result<u64, LedgerError>> {
        at_once(self.clock.steady_ms())
    }

    fn known_now_ms(&self) -> Option<u64> {
        Some(self.clock.steady_ms())
    }

    fn open(
        &self,
        manifest: Manifest,
        owner_max: u32,
    ) -> PortFuture<Result<Result<Attached, Refusal>, LedgerError>> {
        let mut records = self.records();
        let id = manifest.record_id.clone();
        if records.contains_key(&id) {
            return at_once(Err(Code::RecordIdTaken.into()));
        }
        let busy = manifest.owner.as_ref().is_some_and(|owner| {
            let counts = |record: &&RecordingRecord| record.manifest().counts_for(owner);
            records.values().filter(counts).count() >= owner_max as usize
        });
        if busy {
            return at_once(Err(Code::TooManyRecordings.into()));
        }
        let record = RecordingRecord::open(manifest, self.clock.steady_ms(), self.rules);
        let attached = record.as_opened();
        records.insert(id, record);
        at_once(Ok(attached))
    }

    fn attach(&self, token: UploadToken) -> PortFuture<Result<Result<Attached, Refusal>, LedgerError>> {
        let (now, rules) = (self.clock.steady_ms(), self.rules);
        at_once(self.with_token(&token, |record| record.attach(&token, now, rules)))
    }

    fn authorise(&self, token: UploadToken) -> PortFuture<Result<Result<(), Refusal>, LedgerError>> {
        at_once(self.with_token(&token, |record| record.authorise(&token)))
    }

    fn admit(
        &self,
        token: UploadToken,
        chunk: Unplaced,
    ) -> PortFuture<Result<Result<(), Refusal>, LedgerError>> {
        let (now, rules) = (self.clock.steady_ms(), self.rules);
        at_once(self.with_token(&token, |record| record.admit(&token, chunk, now, rules)))
    }

    fn place(
        &self,
        token: UploadToken,
        index: ChunkIndex,
        mark: ChunkMark,
        may_begin: bool,
    ) -> PortFuture<Result<Result<Placed, Refusal>, LedgerError>> {
        let (now, rules) = (self.clock.steady_ms(), self.rules);
        at_once(self.with_token(&token, |record| record.place(&token, index, mark, may_begin, now, rules)))
    }

    fn number(
        &self,
        token: UploadToken,
        chunk: Unplaced,
    ) -> PortFuture<Result<Result<Number, Refusal>, LedgerError>> {
        let (now, rules, request) = (self.clock.steady_ms(), self.rules, Uuid::new_v4());
        let number = |record: &mut RecordingRecord| record.number(&token, request, chunk, now, rules);
        at_once(self.with_token(&token, number))
    }

    fn give_back(&self, id: RecordId, number: Number) -> PortFuture<Result<bool, LedgerError>> {
        at_once(self.with(&id, |record| record.give_back(number.request)).unwrap_or(false))
    }

    fn late_numbers(&self, id: &RecordId) -> PortFuture<Result<Vec<ChunkIndex>, LedgerError>> {
        let now = self.clock.steady_ms();
        at_once(self.with(id, |record| record.late_numbers(now)).unwrap_or_default())
    }

    fn fill(
        &self,
        id: RecordId,
        whose: TokenDigest,
        voids: Vec<ChunkIndex>,
    ) -> PortFuture<Result<(), LedgerError>> {
        self.with_own(&id, whose, |record| record.fill(voids));
        at_once(())
    }

    fn note(
        &self,
        token: UploadToken,
        index: ChunkIndex,
        mark: ChunkMark,
        patience: Patience,
    ) -> PortFuture<Result<Option<Noted>, LedgerError>> {
        let (now, rules, over_http) = (self.clock.steady_ms(), self.rules, patience == Patience::Http);
        let note = |record: &mut RecordingRecord| record.note(index, mark, over_http, now, rules);
        at_once(self.with_own(token.record_id(), token.digest(), note))
    }

    fn note_numbered(
        &self,
        token: UploadToken,
        number: Number,
        mark: ChunkMark,
        patience: Patience,
    ) -> PortFuture<Result<Option<Noted>, LedgerError>> {
        let (now, rules, over_http) = (self.clock.steady_ms(), self.rules, patience == Patience::Http);
        let note = |record: &mut RecordingRecord| record.note_numbered(number, mark, over_http, now, rules);
        at_once(self.with_own(token.record_id(), token.digest(), note))
    }

    fn stop(
        &self,
        token: UploadToken,
        made: Made,
    ) -> PortFuture<Result<Result<StopTaken, StopRefused>, LedgerError>> {
        at_once(self.with_token(&token, |record| record.stop(&token, made, self.clock.steady_ms())))
    }

    fn keep(&self, id: RecordId, generation: u64) -> PortFuture<Result<Option<Kept>, LedgerError>> {
        let (now, rules) = (self.clock.steady_ms(), self.rules);
        at_once(self.with(&id, |record| record.keep(generation, now, rules)))
    }

    fn detach(&self, id: RecordId, generation: u64) -> PortFuture<Result<(), LedgerError>> {
        self.with(&id, |record| record.detach(generation, self.clock.steady_ms(), self.rules));
        at_once(())
    }

    fn claim_due(&self, limit: usize, since: Duration) -> PortFuture<Result<Vec<Claim>, LedgerError>> {
        let (now, rules) = (self.clock.steady_ms(), self.rules);
        let since = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let mut records = self.records();
        let was_due = |due: u64| due.saturating_add(since) <= now;
        let is_due = |record: &&mut RecordingRecord| record.due_ms().is_some_and(was_due);
        let mut due: Vec<_> = records.values_mut().filter(is_due).collect();
        // Who has waited longest comes first, whatever its name is.
        due.sort_by_key(|record| record.due_ms());
        let claims = due.into_iter().filter_map(|record| record.claim(&self.node, now, rules));
        at_once(claims.take(limit).collect())
    }

    fn claim(&self, id: &RecordId) -> PortFuture<Result<Option<Claim>, LedgerError>> {
        let (now, rules) = (self.clock.steady_ms(), self.rules);
        at_once(self.with(id, |record| record.claim(&self.node, now, rules)).flatten())
    }

    fn keep_claim(
        &self,
        id: RecordId,
        fence: Fence,
        percent: Option<u8>,
    ) -> PortFuture<Result<bool, LedgerError>> {
        let (now, rules) = (self.clock.steady_ms(), self.rules);
        let kept = self.with(&id, |record| record.keep_claim(fence, percent, now, rules));
        at_once(kept.unwrap_or(false))
    }

    fn holds(&self, id: RecordId, fence: Fence) -> PortFuture<Result<bool, LedgerError>> {
        at_once(self.with(&id, |record| record.holds(fence)).unwrap_or(false))
    }

    fn publish(
        &self,
        id: RecordId,
        fence: Fence,
        finished: Finished,
    ) -> PortFuture<Result<Option<Manifest>, LedgerError>> {
        let now = self.clock.steady_ms();
        at_once(self.with(&id, |record| record.publish(fence, finished, now)).flatten())
    }

    fn settle(
        &self,
        id: RecordId,
        fence: Fence,
        end: ClaimEnd,
    ) -> PortFuture<Result<Option<Manifest>, LedgerError>> {
        let now = self.clock.steady_ms();
        let at = |span: Duration| now.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
        let settled = self.with(&id, |record| match end {
            ClaimEnd::Ready { keep } => record.settle_ready(fence, at(keep)),
            ClaimEnd::TryAgain { pause, fault } => record.settle_again(fence, at(pause), fault),
            ClaimEnd::Failed(fault) => record.settle_failed(fence, fault),
        });
        at_once(settled.flatten())
    }

    fn release(&self, id: RecordId, fence: Fence) -> PortFuture<Result<Option<Manifest>, LedgerError>> {
        at_once(self.take_out(&id, |record| record.holds(fence)))
    }

    fn retry(&self, id: &RecordId) -> PortFuture<Result<bool, LedgerError>> {
        at_once(self.with(id, |record| record.retry(self.clock.steady_ms())).unwrap_or(false))
    }

    fn restore(&self, manifest: Manifest, chunks: Vec<StoredChunk>) -> PortFuture<Result<(), LedgerError>> {
        let (now, rules) = (self.clock.steady_ms(), self.rules);
        let chunks = chunks.into_iter().map(|chunk| (chunk.index, chunk.mark));
        let mut records = self.records();
        match records.get_mut(&manifest.record_id) {
            Some(record) if record.manifest().token == manifest.token => {
                record.catch_up(manifest, chunks, now, rules);
            }
            Some(_) => {}
            None => {
                let id = manifest.record_id.clone();
                records.insert(id, RecordingRecord::restore(manifest, chunks, now, rules));
            }
        }
        at_once(())
    }

    fn is_whole(&self) -> PortFuture<Result<bool, LedgerError>> {
        at_once(self.whole.load(Ordering::Relaxed))
    }

    /// It has none but that of all data, when its process begins.
    fn loss(&self) -> PortFuture<Result<Loss, LedgerError>> {
        at_once(Loss::default())
    }

    fn set_whole(&self, _: Loss) -> PortFuture<Result<(), LedgerError>> {
        self.whole.store(true, Ordering::Relaxed);
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
            claimed_by: record.claimed_by().cloned(),
            percent: record.percent(),
        }))
    }

    fn recorded_rooms(&self) -> PortFuture<Result<Arc<BTreeSet<RoomName>>, LedgerError>> {
        let recorded = |record: &RecordingRecord| {
            let manifest = record.manifest();
            manifest.room.clone().filter(|_| manifest.state == RecordingState::Recording)
        };
        at_once(Arc::new(self.records().values().filter_map(recorded).collect()))
    }

    fn forget_chunks(&self, id: &RecordId, fence: Fence) -> PortFuture<Result<bool, LedgerError>> {
        at_once(self.with(id, |record| record.forget_chunks(fence)).unwrap_or(false))
    }

    fn close(
        &self,
        id: &RecordId,
        which: Option<TokenDigest>,
    ) -> PortFuture<Result<Option<Manifest>, LedgerError>> {
        at_once(self.take_out(id, |record| which.is_none_or(|token| record.manifest().token == token)))
    }

    fn leads(&self, _: &'static str, _: Duration) -> PortFuture<Result<bool, LedgerError>> {
        at_once(true)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::protocol::recorder::{Framing, MimeType};

    fn finished(name: &str, keep_until_ms: u64) -> Manifest {
        let record_id = RecordId::parse(name).expect("valid");
        Manifest {
            token: UploadToken::new(record_id.clone(), [7; 32]).digest(),
            record_id,
            mime_type: MimeType::parse("video/webm").expect("valid"),
            framing: Framing::Raw,
            room: None,
            title: None,
            owner: None,
            started_ms: 0,
            ended_ms: None,
            state: RecordingState::Ready,
            stopped: true,
            announced: None,
            version: 1,
            fence: Fence(1),
            keep_until_ms: Some(keep_until_ms),
            merged_chunks: None,
            unheard: 0,
            fault: None,
            finished: None,
            revision: 0,
        }
    }

    #[test]
    fn who_has_waited_longest_is_claimed_first_whatever_its_name() {
        let rules = RecordingRules {
            grace: Duration::ZERO,
            lease: Duration::from_secs(8),
            bytes_max: u64::MAX,
            duration_max: Duration::MAX,
        };
        let ledger = MemoryLedger::new(NodeId::parse("one").expect("valid"), Clock::start(), rules);
        for (name, due_ms) in [("a", 30), ("b", 10), ("c", 20)] {
            let restored = ledger.restore(finished(name, due_ms), Vec::new());
            restored.now_or_never().expect("at once").expect("answers");
        }
        let claim = || {
            let claims =
                ledger.claim_due(1, Duration::ZERO).now_or_never().expect("at once").expect("answers");
            claims.first().map(|claim| claim.manifest.record_id.to_string())
        };
        assert_eq!([claim(), claim(), claim(), claim()].map(Option::unwrap_or_default), ["b", "c", "a", ""]);
    }
}
