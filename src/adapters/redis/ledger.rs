//! The ledger on Redis: every account a hash with its chunks beside it, every operation on one a script (one slot), whose meaning is
//! [`RecordingRecord`](crate::domain::recording::RecordingRecord); time is the server's own (C-4).
//!
//! What finds accounts stands in other slots, and is written before the account and taken away after it (C-6): the index of times
//! (`sweep`), the recorded rooms and each owner's recordings (`entries`).
//!
//! A node's own lease counts for nothing here. Whatever was sent too late, or by a node that was taken for dead, is told apart by
//! what it carries: the fence of a claim, the generation of a recorder, the request for a number, the token of the recording; and
//! a chunk of it that is stored is stored, whoever says so.
//!
//! What it is not: it has no bytes, and is not the truth about chunks. What Redis forgets is put back from the chunk store
//! ([`Ledger::restore`]).

mod accounts;
mod answer;
mod call;
mod chunks;
mod entries;
mod exports;
mod owed;
mod restore;
mod sweep;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use deadpool_redis::redis::ScriptInvocation;
use tokio::sync::Semaphore;
use uuid::Uuid;

use self::{entries::SeenRooms, owed::Owed};
use super::{
    Question, RedisStore,
    scripts::{self, Script},
    trouble::Trouble,
};
use crate::{
    adapters::ports::{ClaimEnd, Ledger, LedgerError, LedgerView, Loss, Patience, PortFuture, StoredChunk},
    domain::recording::{
        Attached, Claim, Finished, Kept, Manifest, Noted, Number, Placed, RecordingRules, StopRefused,
        StopTaken, Unplaced,
    },
    protocol::{
        Code, Fence, NodeId, RecordId, Refusal, RoomName, TokenDigest, UploadToken,
        chunk::{ChunkIndex, ChunkMark},
        recorder::Made,
    },
};

/// Operations that wait or run. Overflow act: a call is answered with `Unavailable`.
const WAITING_MAX: usize = 16 * 1024;
/// Operations on their way to the server at one time. More would only wait there, each with its timeout running.
const RUNNING_MAX: usize = 128;

/// The accounts of recordings, in Redis.
pub struct RedisLedger {
    work: Arc<Work>,
}

/// What operations work with.
struct Work {
    store: Arc<RedisStore>,
    node: NodeId,
    /// As scripts take them.
    rules: [u64; 15],
    /// How long one is waited for that has just been opened or put back.
    idle_ms: u64,
    owed: Owed,
    rooms: Mutex<SeenRooms>,
    waiting: Arc<Semaphore>,
    running: Semaphore,
}

impl From<Trouble> for LedgerError {
    fn from(trouble: Trouble) -> Self {
        Self::Unavailable(trouble.to_string())
    }
}

impl RedisLedger {
    /// The ledger of the node of this name.
    #[must_use]
    pub fn new(store: Arc<RedisStore>, node: NodeId, rules: RecordingRules) -> Self {
        let work = Work {
            store,
            node,
            rules: call::rules(rules),
            idle_ms: call::ms(rules.idle()),
            owed: Owed::default(),
            rooms: Mutex::default(),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            running: Semaphore::new(RUNNING_MAX),
        };
        Self { work: Arc::new(work) }
    }

    /// Does something, whether or not anybody waits for it: what takes several steps is not left half-way.
    fn run<T, F>(&self, act: impl FnOnce(Arc<Work>) -> F) -> PortFuture<Result<T, LedgerError>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Trouble>> + Send + 'static,
    {
        self.after(std::future::ready(Ok(())), act)
    }

    /// The same to one recording, after its numbers were given back that nobody has heard of.
    fn on<T, F>(&self, id: &RecordId, act: impl FnOnce(Arc<Work>) -> F) -> PortFuture<Result<T, LedgerError>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Trouble>> + Send + 'static,
    {
        let (work, id) = (self.work.clone(), id.clone());
        self.after(async move { work.pay(&id).await }, act)
    }

    /// The same after something whose server may be away. Meanwhile it takes none of the places that others could run in, whose
    /// server is not.
    fn after<T, F>(
        &self,
        first: impl Future<Output = Result<(), Trouble>> + Send + 'static,
        act: impl FnOnce(Arc<Work>) -> F,
    ) -> PortFuture<Result<T, LedgerError>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Trouble>> + Send + 'static,
    {
        let unavailable = |why: &str| Err(LedgerError::Unavailable(why.to_owned()));
        let Ok(place) = self.work.waiting.clone().try_acquire_owned() else {
            return Box::pin(std::future::ready(unavailable("too much waits for it already")));
        };
        let (work, act) = (self.work.clone(), act(self.work.clone()));
        let job = self.work.store.runtime.spawn(async move {
            let _place = place;
            first.await?;
            // The semaphore is never closed.
            let _running = work.running.acquire().await;
            act.await
        });
        Box::pin(async move {
            match job.await {
                Ok(done) => done.map_err(LedgerError::from),
                Err(_) => unavailable("the node stops"),
            }
        })
    }
}

impl Work {
    /// A call of a script on an account.
    fn on(
        &self,
        script: &'static Script,
        id: &RecordId,
        arguments: impl FnOnce(&mut ScriptInvocation<'static>),
    ) -> Question {
        call::on_account(script, id, &self.rules, arguments)
    }
}

impl Ledger for RedisLedger {
    fn now_ms(&self) -> PortFuture<Result<u64, LedgerError>> {
        self.run(|work| async move { work.now_ms().await })
    }

    fn known_now_ms(&self) -> Option<u64> {
        self.work.store.known_time_ms()
    }

    fn open(
        &self,
        manifest: Manifest,
        owner_max: u32,
    ) -> PortFuture<Result<Result<Attached, Refusal>, LedgerError>> {
        let id = manifest.record_id.clone();
        self.on(&id, |work| async move { work.open(manifest, owner_max).await })
    }

    fn attach(&self, token: UploadToken) -> PortFuture<Result<Result<Attached, Refusal>, LedgerError>> {
        let id = token.record_id().clone();
        self.on(&id, |work| async move { work.attach(&token).await })
    }

    fn authorise(&self, token: UploadToken) -> PortFuture<Result<Result<(), Refusal>, LedgerError>> {
        self.run(|work| async move { work.authorise(&token).await })
    }

    fn admit(
        &self,
        token: UploadToken,
        chunk: Unplaced,
    ) -> PortFuture<Result<Result<(), Refusal>, LedgerError>> {
        let id = token.record_id().clone();
        self.on(&id, move |work| async move { work.admit(&token, chunk).await })
    }

    fn place(
        &self,
        token: UploadToken,
        index: ChunkIndex,
        mark: ChunkMark,
        may_begin: bool,
    ) -> PortFuture<Result<Result<Placed, Refusal>, LedgerError>> {
        let id = token.record_id().clone();
        self.on(&id, move |work| async move { work.place(&token, index, mark, may_begin).await })
    }

    fn number(
        &self,
        token: UploadToken,
        chunk: Unplaced,
    ) -> PortFuture<Result<Result<Number, Refusal>, LedgerError>> {
        let id = token.record_id().clone();
        self.on(&id, move |work| async move { work.number(&token, chunk, Uuid::new_v4()).await })
    }

    fn give_back(&self, id: RecordId, number: Number) -> PortFuture<Result<bool, LedgerError>> {
        self.on(&id.clone(), move |work| async move { work.give_back(&id, number.request).await })
    }

    fn late_numbers(&self, id: &RecordId) -> PortFuture<Result<Vec<ChunkIndex>, LedgerError>> {
        let late = id.clone();
        self.on(id, move |work| async move { work.late_numbers(&late).await })
    }

    fn fill(
        &self,
        id: RecordId,
        whose: TokenDigest,
        voids: Vec<ChunkIndex>,
    ) -> PortFuture<Result<(), LedgerError>> {
        self.on(&id.clone(), move |work| async move { work.fill(&id, whose, &voids).await })
    }

    fn note(
        &self,
        token: UploadToken,
        index: ChunkIndex,
        mark: ChunkMark,
        patience: Patience,
    ) -> PortFuture<Result<Option<Noted>, LedgerError>> {
        let id = token.record_id().clone();
        self.on(&id, move |work| async move { work.note(&token, index, mark, patience, None).await })
    }

    fn note_numbered(
        &self,
        token: UploadToken,
        number: Number,
        mark: ChunkMark,
        patience: Patience,
    ) -> PortFuture<Result<Option<Noted>, LedgerError>> {
        let id = token.record_id().clone();
        let Number { index, request, .. } = number;
        self.on(&id, move |work| async move { work.note(&token, index, mark, patience, Some(request)).await })
    }

    fn stop(
        &self,
        token: UploadToken,
        made: Made,
    ) -> PortFuture<Result<Result<StopTaken, StopRefused>, LedgerError>> {
        let id = token.record_id().clone();
        self.on(&id, move |work| async move { work.stop(&token, made).await })
    }

    fn keep(&self, id: RecordId, generation: u64) -> PortFuture<Result<Option<Kept>, LedgerError>> {
        self.on(&id.clone(), move |work| async move { work.keep(&id, generation).await })
    }

    fn detach(&self, id: RecordId, generation: u64) -> PortFuture<Result<(), LedgerError>> {
        self.on(&id.clone(), move |work| async move { work.detach(&id, generation).await })
    }

    fn claim_due(&self, limit: usize, since: Duration) -> PortFuture<Result<Vec<Claim>, LedgerError>> {
        self.run(move |work| async move { work.claim_due(limit, since).await })
    }

    fn claim(&self, id: &RecordId) -> PortFuture<Result<Option<Claim>, LedgerError>> {
        let asked = id.clone();
        self.on(id, |work| async move { work.claim_if_due(&asked, Duration::ZERO).await })
    }

    fn keep_claim(
        &self,
        id: RecordId,
        fence: Fence,
        percent: Option<u8>,
    ) -> PortFuture<Result<bool, LedgerError>> {
        self.run(move |work| async move { work.keep_claim(&id, fence, percent).await })
    }

    fn holds(&self, id: RecordId, fence: Fence) -> PortFuture<Result<bool, LedgerError>> {
        self.run(move |work| async move { work.holds(&id, fence).await })
    }

    fn publish(
        &self,
        id: RecordId,
        fence: Fence,
        finished: Finished,
    ) -> PortFuture<Result<Option<Manifest>, LedgerError>> {
        self.run(move |work| async move { work.publish(&id, fence, finished).await })
    }

    fn settle(
        &self,
        id: RecordId,
        fence: Fence,
        end: ClaimEnd,
    ) -> PortFuture<Result<Option<Manifest>, LedgerError>> {
        self.run(move |work| async move { work.settle(&id, fence, end).await })
    }

    fn release(&self, id: RecordId, fence: Fence) -> PortFuture<Result<Option<Manifest>, LedgerError>> {
        self.run(move |work| async move { work.close(&id, Some(fence), None).await })
    }

    fn retry(&self, id: &RecordId) -> PortFuture<Result<bool, LedgerError>> {
        let asked = id.clone();
        self.on(id, |work| async move { work.retry(&asked).await })
    }

    fn restore(&self, manifest: Manifest, chunks: Vec<StoredChunk>) -> PortFuture<Result<(), LedgerError>> {
        let id = manifest.record_id.clone();
        self.on(&id, |work| async move { work.restore(manifest, chunks).await })
    }

    fn is_whole(&self) -> PortFuture<Result<bool, LedgerError>> {
        self.run(|work| async move { work.is_whole().await })
    }

    fn loss(&self) -> PortFuture<Result<Loss, LedgerError>> {
        self.run(|work| async move { work.loss().await })
    }

    fn set_whole(&self, loss: Loss) -> PortFuture<Result<(), LedgerError>> {
        self.run(|work| async move { work.set_whole(&loss).await })
    }

    fn missing(&self, id: &RecordId) -> PortFuture<Result<Vec<u32>, LedgerError>> {
        let question = self.work.on(&scripts::RECORDING_MISSING, id, |_| {});
        self.on(id, |work| async move { work.store.ask_ledger(question).await })
    }

    fn show(&self, id: &RecordId) -> PortFuture<Result<Option<LedgerView>, LedgerError>> {
        let id = id.clone();
        self.run(|work| async move { work.show(&id).await })
    }

    fn recorded_rooms(&self) -> PortFuture<Result<Arc<BTreeSet<RoomName>>, LedgerError>> {
        self.run(|work| async move { work.rooms().await })
    }

    fn forget_chunks(&self, id: &RecordId, fence: Fence) -> PortFuture<Result<bool, LedgerError>> {
        let question = self.work.on(&scripts::RECORDING_FORGET, id, |call| {
            call.arg(fence.0);
        });
        self.run(|work| async move { work.store.ask_ledger(question).await })
    }

    fn close(
        &self,
        id: &RecordId,
        which: Option<TokenDigest>,
    ) -> PortFuture<Result<Option<Manifest>, LedgerError>> {
        let id = id.clone();
        self.run(move |work| async move { work.close(&id, None, which).await })
    }

    fn leads(&self, what: &'static str, term: Duration) -> PortFuture<Result<bool, LedgerError>> {
        self.run(move |work| async move { work.leads(what, term).await })
    }
}

/// Puts things into any order.
fn shuffle<T>(things: &mut [T]) {
    things.sort_by_cached_key(|_| Uuid::new_v4());
}

/// An inner answer that is a refusal without more to say.
fn refused<T>(code: &str) -> Result<Result<T, Refusal>, Trouble> {
    Ok(Err(answer::code(code)?.into()))
}

/// There is no such account.
fn unknown<T>() -> Result<T, Refusal> {
    Err(Code::RecordingUnknown.into())
}
