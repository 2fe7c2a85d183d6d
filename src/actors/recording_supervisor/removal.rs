//! Recordings that are taken away: by a recorder that has thought better of it, or by somebody who wants one gone.
//!
//! ```text
//!  account closed ─► chunks no recording's any more ─► videos gone ─► row gone: answered ─► files are cleared away
//! ```
//! However long it was, each step before the answer is a short one, and durable when it is done. What a node that dies leaves
//! are files of no recording, which the stores' sweeps find. Each step is for one recording: a node that is slow may find the
//! next one of its name there, made after another node was quicker. Nothing that is over goes while the catalog is away: the row that
//! stayed would be one of nothing, and nobody would look for it.

use std::time::Duration;

use actix::{ActorFutureExt as _, Context, WrapFuture as _};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout, timeout_at},
};
use tracing::info;

use super::{
    RecordingSupervisor, at_once,
    begin::{Answer, unreachable_catalog},
    leaving::Left,
};
use crate::{
    actors::{
        accounts::Accounts,
        messages::{AbortRecording, DeleteRecording},
    },
    adapters::ports::{
        CatalogError, CatalogRow, LedgerView, RecordingPorts, RecordingRef, Remains, StoreError,
    },
    domain::recording::Manifest,
    protocol::{
        Code, Fence, RecordId, Refusal, TokenDigest, UploadToken,
        recorder::{RecordingState, VideoKey},
    },
};

/// How long whoever deletes waits for the video store and the catalog. Less than a request waits for an answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// How much of that it may take the catalog to say whether it is there.
const LOOK: Duration = Duration::from_secs(2);

/// A name, and when the recording of it began that is meant.
pub(super) type Named = (RecordId, u64);

/// Why a recording goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Aborted,
    Deleted,
}

/// How a recording is taken away.
#[derive(Debug, Clone, Copy)]
struct Removal {
    why: Why,
    which: Which,
    /// How long whoever asked waits for what is slow.
    until: Instant,
}

/// One recording. The next one of its name is another, and is left alone.
#[derive(Debug, Clone, Copy)]
struct Which {
    /// When it began.
    started_ms: u64,
    /// Of its account, or of what the chunk store has of it. `None`: there is neither.
    token: Option<TokenDigest>,
    /// No video of it was made under a later claim, and none of the next one under this or an earlier one.
    fence: Fence,
    /// Whether its row may go when the catalog is back: it never said that there is anything to be had.
    row_may_wait: bool,
}

/// What there is to be taken away.
enum Found {
    This(Which),
    /// Nothing, as far as can be told.
    Nothing(Refusal),
}

impl RecordingSupervisor {
    pub(super) fn abort(&mut self, token: UploadToken) -> Answer<AbortRecording> {
        let id = token.record_id().clone();
        self.remove(id, Right::Recorder(token), None)
    }

    pub(super) fn delete(&mut self, message: DeleteRecording) -> Answer<DeleteRecording> {
        let DeleteRecording { id, started_ms, token } = message;
        if token.as_ref().is_some_and(|token| *token.record_id() != id) {
            return at_once(Err(Code::Unauthorised.into()));
        }
        self.remove(id, Right::Anybody(token), started_ms)
    }

    /// Takes a recording away, if it began then, where that is said. One that still runs needs its token; what is over anybody may
    /// delete, and then a token says no more than no token.
    fn remove(&self, id: RecordId, right: Right, started_ms: Option<u64>) -> Answer<DeleteRecording> {
        if let Err(error) = self.ports.same_stores.check() {
            return at_once(Err(error.refusal()));
        }
        let until = Instant::now() + PATIENCE;
        let why = if right.is_recorders() { Why::Aborted } else { Why::Deleted };
        let looking = Looking { ports: self.ports.clone(), accounts: self.links.accounts.clone() };
        let (named, unwritten) = (id.clone(), self.rows.get(&id).cloned());
        let found = async move { looking.look_up(&named, &right, unwritten).await };
        Box::pin(found.into_actor(self).then(move |found, supervisor, _| match found {
            Ok(Found::This(which)) if started_ms.is_some_and(|meant| meant != which.started_ms) => {
                at_once(Err(Code::RecordingUnknown.into()))
            }
            Ok(Found::This(which)) => supervisor.close_once(id, Removal { why, which, until }),
            Ok(Found::Nothing(refusal)) => supervisor.closed_before(&id, refusal),
            Err(refusal) => at_once(Err(refusal)),
        }))
    }

    /// One that this node is taking away already is so once, and everybody who asked gets one answer.
    fn close_once(&mut self, id: RecordId, removal: Removal) -> Answer<DeleteRecording> {
        let closing = (id, removal.which.started_ms);
        if self.closing.contains_key(&closing) {
            return self.join(&closing);
        }
        self.closing.insert(closing.clone(), Vec::new());
        self.close(closing, removal)
    }

    /// Of what is not there any more, this node may be taking the rest away.
    fn closed_before(&mut self, id: &RecordId, refusal: Refusal) -> Answer<DeleteRecording> {
        match self.last_closing(id).cloned() {
            Some(closing) => self.join(&closing),
            None if refusal.code == Code::RecordingUnknown && self.leaving.has(id) => at_once(Ok(())),
            None => at_once(Err(refusal)),
        }
    }

    /// Whether a recording of this name is being taken away by this node.
    pub(super) fn is_closing(&self, id: &RecordId) -> bool {
        self.last_closing(id).is_some()
    }

    fn last_closing(&self, id: &RecordId) -> Option<&Named> {
        let of_name = (id.clone(), 0)..=(id.clone(), u64::MAX);
        self.closing.range(of_name).next_back().map(|(closing, _)| closing)
    }

    fn join(&mut self, closing: &Named) -> Answer<DeleteRecording> {
        let (tell, told) = oneshot::channel();
        self.closing.entry(closing.clone()).or_default().push(tell);
        let gone = |_| Err(Code::Internal.into());
        Box::pin(told.into_actor(self).map(move |told, _, _| told.unwrap_or_else(gone)))
    }

    /// Everything that the answer says.
    fn close(&self, closing: Named, removal: Removal) -> Answer<DeleteRecording> {
        let (ports, named) = (self.ports.clone(), closing.0.clone());
        let closed = async move { ports.close(&named, removal).await };
        let named = closing.0.clone();
        let forgotten = closed.into_actor(self).then(move |closed, supervisor, ctx| {
            let Closed { left, fence, videos } = match closed {
                Ok(closed) => closed,
                Err(refusal) => return at_once(Err(refusal)),
            };
            supervisor.clear_away(&named, left, ctx);
            let removal = Removal { which: Which { fence, ..removal.which }, ..removal };
            match videos {
                Ok(()) => supervisor.forget(&named, removal, ctx),
                Err(refusal) => at_once(Err(refusal)),
            }
        });
        Box::pin(forgotten.map(move |answer: Result<(), Refusal>, supervisor, _| {
            for waiting in supervisor.closing.remove(&closing).unwrap_or_default() {
                // Whoever has gone needs no answer.
                let _ = waiting.send(answer.clone());
            }
            answer
        }))
    }

    /// Nothing of it can be had any more: its recorder's socket is free for another, and its row goes. Done when the catalog
    /// has forgotten it.
    fn forget(
        &mut self,
        id: &RecordId,
        Removal { why, which, until }: Removal,
        ctx: &mut Context<Self>,
    ) -> Answer<DeleteRecording> {
        let word = match why {
            Why::Aborted => {
                self.metrics.recordings_ended.with_label_values(&["aborted", "discarded"]).inc();
                "aborted"
            }
            Why::Deleted => "deleted",
        };
        info!(recording = %id, why = word, "a recording is gone");
        self.metrics.cleanups.with_label_values(&[word]).inc();
        self.let_go(id, why, which.fence);
        let written = timeout_at(until, self.rows.delete(id, which.started_ms));
        self.write_rows(ctx);
        Box::pin(written.into_actor(self).map(move |written, _, _| match written {
            // It follows.
            Err(_) if which.row_may_wait => Ok(()),
            Err(_) => Err(unreachable_catalog(&late())),
            Ok(_) => Ok(()),
        }))
    }

    /// This node has nothing more to do with it. By a later claim its name is another's here: that one is left alone.
    fn let_go(&mut self, id: &RecordId, why: Why, fence: Fence) {
        self.take_back_merge(id, Fence(fence.0 + 1));
        if self.attended.is_later_than(id, fence) {
            return;
        }
        if why == Why::Deleted {
            self.tell_refused(id, &Code::RecordingUnknown.into());
        }
        self.detach(id);
        self.faults.remove(id);
        self.attended.remove(id);
    }
}

/// What looking for something that is to go needs.
struct Looking {
    ports: RecordingPorts,
    accounts: Accounts,
}

impl Looking {
    /// Changes nothing. What could not be taken away as a whole now, because of the catalog, is refused.
    async fn look_up(
        &self,
        id: &RecordId,
        right: &Right,
        unwritten: Option<CatalogRow>,
    ) -> Result<Found, Refusal> {
        let view = self.accounts.find(id, |ledger| ledger.show(id)).await;
        let Some(LedgerView { manifest, .. }) = view.map_err(|error| error.refusal())? else {
            if right.is_recorders() {
                return Ok(Found::Nothing(Code::RecordingUnknown.into()));
            }
            return self.look_for_row(id, unwritten).await;
        };
        let Manifest { started_ms, state, version, fence, .. } = manifest;
        let token = Some(right.check(state, &manifest.token)?);
        let row_may_wait = right.is_recorders() && state == RecordingState::Recording && version == 1;
        let row = if row_may_wait { None } else { self.row(id).await? };
        // A ledger that has gone back in time knows of earlier claims only.
        let written = row.filter(|row| row.started_ms == started_ms).map(|row| row.fence);
        Ok(Found::This(Which {
            started_ms,
            token,
            fence: written.map_or(fence, |written| written.max(fence)),
            row_may_wait,
        }))
    }

    async fn look_for_row(&self, id: &RecordId, unwritten: Option<CatalogRow>) -> Result<Found, Refusal> {
        let written = match self.row(id).await {
            Ok(row) => row,
            Err(refusal) => return Ok(Found::Nothing(refusal)),
        };
        let latest = unwritten.into_iter().chain(written).max_by_key(|row| (row.started_ms, row.fence));
        let Some(CatalogRow { started_ms, fence, .. }) = latest else {
            return Ok(Found::Nothing(Code::RecordingUnknown.into()));
        };
        // Chunks that an operator keeps longer than a recording can be taken up again belong to no account.
        let kept = self.ports.chunks.manifest(id).await.map_err(|error| error.refusal())?;
        let token = kept.filter(|kept| kept.started_ms == started_ms).map(|kept| kept.token);
        Ok(Found::This(Which { started_ms, token, fence, row_may_wait: false }))
    }

    async fn row(&self, id: &RecordId) -> Result<Option<CatalogRow>, Refusal> {
        let row = timeout(LOOK, self.ports.catalog.get(id)).await.map_err(|_| late()).flatten();
        row.map_err(|error| unreachable_catalog(&error))
    }
}

fn late() -> CatalogError {
    CatalogError::Unavailable("it takes too long".to_owned())
}

/// By what right a recording is taken away.
enum Right {
    /// It is its recorder.
    Recorder(UploadToken),
    /// It is over; or it runs, and this is its token.
    Anybody(Option<UploadToken>),
}

impl Right {
    fn is_recorders(&self) -> bool {
        matches!(self, Self::Recorder(_))
    }

    /// Whether it is enough for a recording in this state, with this token.
    fn check(&self, state: RecordingState, own: &TokenDigest) -> Result<TokenDigest, Refusal> {
        let runs = matches!(state, RecordingState::Recording | RecordingState::Finalising);
        match self {
            Self::Anybody(None) if runs => Err(Code::RecordingActive.into()),
            Self::Anybody(_) if !runs => Ok(*own),
            Self::Recorder(token) | Self::Anybody(Some(token)) if own.matches(&token.digest()) => Ok(*own),
            Self::Recorder(_) | Self::Anybody(_) => Err(Code::Unauthorised.into()),
        }
    }
}

/// A recording that takes nothing more, and whose chunks are nobody's.
struct Closed {
    left: Left,
    /// The latest of its claims.
    fence: Fence,
    /// Whether its videos are gone.
    videos: Result<(), Refusal>,
}

impl RecordingPorts {
    /// The account goes first, so that nothing is added any more, then the chunks, of which the account could be put back,
    /// then the videos.
    async fn close(&self, id: &RecordId, removal: Removal) -> Result<Closed, Refusal> {
        let Removal { which: Which { token, fence, .. }, until, .. } = removal;
        let (last, remains) = match token {
            Some(whose) => {
                let last = self.ledger.close(id, token).await.map_err(|error| error.refusal())?;
                let remains = self.chunks.begin_delete(id, token).await.map_err(|error| error.refusal())?;
                self.merger.forget(RecordingRef { id: id.clone(), token: whose }).await;
                (last, remains)
            }
            None => (None, Remains::none()),
        };
        let last = last.map(|last| last.fence);
        let fence = last.map_or(fence, |last| last.max(fence));
        let videos = match timeout_at(until, self.delete_videos(id, |key| key.fence() <= fence)).await {
            Ok(deleted) => deleted.map_err(|error| error.refusal()),
            Err(_) => Err(Refusal::because(Code::StorageFailed, "the video store gives no answer")),
        };
        Ok(Closed { left: Left { remains, below: last.map(|last| Fence(last.0 + 1)) }, fence, videos })
    }

    /// Takes away what a recording has in the video store, as far as it is meant; and then what has come meanwhile: an MP4 of a
    /// video may be stored as long as that is there, and none is later.
    pub(super) async fn delete_videos(
        &self,
        id: &RecordId,
        is_meant: impl Fn(&VideoKey) -> bool,
    ) -> Result<(), StoreError> {
        for _ in 0..2 {
            for key in self.videos.of(id).await?.iter().filter(|key| is_meant(key)) {
                self.videos.delete(key).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "removal_tests.rs"]
mod tests;
