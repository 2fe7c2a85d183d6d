//! Recordings that are taken away: by a recorder that has thought better of it, or by somebody who wants one gone.
//!
//! ```text
//!  account closed ─► chunks no recording's any more ─► videos gone ─► row gone: answered ─► files are cleared away
//! ```
//! However long it was, each step before the answer is a short one, and durable when it is done. What a node that dies leaves
//! are files of no recording, which the stores' sweeps find.

use std::time::Duration;

use actix::{ActorFuture, ActorFutureExt as _, Context, WrapFuture as _};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};
use tracing::info;

use super::{
    RecordingSupervisor, at_once,
    begin::{Answer, unreachable_catalog},
    leaving::Left,
};
use crate::{
    actors::messages::{AbortRecording, DeleteRecording},
    adapters::ports::{RecordingPorts, Remains, StoreError},
    domain::recording::Manifest,
    protocol::{
        Code, Fence, RecordId, Refusal, TokenDigest, UploadToken,
        recorder::{RecordingState, VideoKey},
    },
};

/// How long whoever deletes waits for the video store and the catalog. Less than a request waits for an answer.
const PATIENCE: Duration = Duration::from_secs(4);

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
    /// When it began, where its account says so.
    started_ms: Option<u64>,
    /// How long whoever asked waits for what is slow.
    until: Instant,
}

/// What there is to be taken away.
enum Found {
    /// An account, of this token, of a recording that began then.
    Account { token: TokenDigest, started_ms: u64 },
    /// A row alone.
    Row,
    /// Neither, as far as can be told.
    Nothing(Refusal),
}

impl RecordingSupervisor {
    pub(super) fn abort(&mut self, token: UploadToken) -> Answer<AbortRecording> {
        let id = token.record_id().clone();
        self.remove(id, Right::Recorder(token), Why::Aborted)
    }

    pub(super) fn delete(&mut self, message: DeleteRecording) -> Answer<DeleteRecording> {
        let DeleteRecording { id, token } = message;
        if token.as_ref().is_some_and(|token| *token.record_id() != id) {
            return at_once(Err(Code::Unauthorised.into()));
        }
        self.remove(id, Right::Anybody(token), Why::Deleted)
    }

    /// Takes a recording away. One that still runs needs its token; what is over anybody may delete, and then a token says
    /// no more than no token. One that this node is taking away already is so once, and everybody who asked gets one answer.
    fn remove(&self, id: RecordId, right: Right, why: Why) -> Answer<DeleteRecording> {
        let until = Instant::now() + PATIENCE;
        Box::pin(self.look_up(id.clone(), right).then(move |found, supervisor, _| {
            let (which, started_ms) = match found {
                Ok(Found::Account { token, started_ms }) => (Some(token), Some(started_ms)),
                Ok(Found::Row) => (None, None),
                Ok(Found::Nothing(_)) if supervisor.leaving.has(&id) => return at_once(Ok(())),
                Ok(Found::Nothing(refusal)) if !supervisor.closing.contains_key(&id) => {
                    return at_once(Err(refusal));
                }
                Ok(Found::Nothing(_)) => (None, None),
                Err(refusal) => return at_once(Err(refusal)),
            };
            if let Some(waiting) = supervisor.closing.get_mut(&id) {
                let (tell, told) = oneshot::channel();
                waiting.push(tell);
                let gone = |_| Err(Code::Internal.into());
                return Box::pin(
                    told.into_actor(supervisor).map(move |told, _, _| told.unwrap_or_else(gone)),
                );
            }
            supervisor.closing.insert(id.clone(), Vec::new());
            supervisor.close(id, which, Removal { why, started_ms, until })
        }))
    }

    fn look_up(
        &self,
        id: RecordId,
        right: Right,
    ) -> impl ActorFuture<Self, Output = Result<Found, Refusal>> + use<> {
        let (ports, accounts) = (self.ports.clone(), self.links.accounts.clone());
        let unwritten = self.rows.get(&id).is_some();
        let found = async move {
            let view =
                accounts.find(&id, |ledger| ledger.show(&id)).await.map_err(|error| error.refusal())?;
            if let Some(view) = view {
                let Manifest { state, token, started_ms, .. } = view.manifest;
                return right.check(state, &token).map(|token| Found::Account { token, started_ms });
            }
            if right.is_recorders() {
                return Ok(Found::Nothing(Code::RecordingUnknown.into()));
            }
            if unwritten {
                return Ok(Found::Row);
            }
            Ok(match ports.catalog.get(&id).await {
                Ok(Some(_)) => Found::Row,
                Ok(None) => Found::Nothing(Code::RecordingUnknown.into()),
                Err(error) => Found::Nothing(unreachable_catalog(&error)),
            })
        };
        found.into_actor(self)
    }

    /// Everything that the answer says.
    fn close(&self, id: RecordId, which: Option<TokenDigest>, removal: Removal) -> Answer<DeleteRecording> {
        let (ports, named) = (self.ports.clone(), id.clone());
        let closing = async move { ports.close(&named, which, removal.until).await };
        let named = id.clone();
        let forgotten = closing.into_actor(self).then(move |closed, supervisor, ctx| {
            let Closed { left, videos } = match closed {
                Ok(closed) => closed,
                Err(refusal) => return at_once(Err(refusal)),
            };
            supervisor.clear_away(&named, left, ctx);
            match videos {
                Ok(()) => supervisor.forget(&named, removal, ctx),
                Err(refusal) => at_once(Err(refusal)),
            }
        });
        Box::pin(forgotten.map(move |answer: Result<(), Refusal>, supervisor, _| {
            for waiting in supervisor.closing.remove(&id).unwrap_or_default() {
                // Whoever has gone needs no answer.
                let _ = waiting.send(answer.clone());
            }
            answer
        }))
    }

    /// Nothing of it can be had any more: its recorder's socket is free for another, and its row goes. Done when the catalog
    /// has forgotten it, or does not answer: then it follows.
    fn forget(
        &mut self,
        id: &RecordId,
        Removal { why, started_ms, until }: Removal,
        ctx: &mut Context<Self>,
    ) -> Answer<DeleteRecording> {
        let word = match why {
            Why::Aborted => {
                self.metrics.recordings_ended.with_label_values(&["aborted", "discarded"]).inc();
                "aborted"
            }
            Why::Deleted => {
                self.tell_refused(id, &Code::RecordingUnknown.into());
                "deleted"
            }
        };
        info!(recording = %id, why = word, "a recording is gone");
        self.metrics.cleanups.with_label_values(&[word]).inc();
        self.take_back_merge(id, Fence(u64::MAX));
        self.detach(id);
        self.faults.remove(id);
        self.attended.remove(id);
        let written = timeout_at(until, self.rows.delete(id, started_ms));
        self.write_rows(ctx);
        Box::pin(written.into_actor(self).map(|_, _, _| Ok(())))
    }
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
    /// Whether its videos are gone.
    videos: Result<(), Refusal>,
}

impl RecordingPorts {
    /// The account goes first, so that nothing is added any more, then the chunks, of which the account could be put back,
    /// then the videos.
    async fn close(
        &self,
        id: &RecordId,
        which: Option<TokenDigest>,
        until: Instant,
    ) -> Result<Closed, Refusal> {
        let last = self.ledger.close(id, which).await.map_err(|error| error.refusal())?;
        let remains: Remains = self.chunks.begin_delete(id, which).await.map_err(|error| error.refusal())?;
        let videos = match timeout_at(until, self.delete_videos(id, |_| true)).await {
            Ok(deleted) => deleted.map_err(|error| error.refusal()),
            Err(_) => Err(Refusal::because(Code::StorageFailed, "the video store gives no answer")),
        };
        Ok(Closed { left: Left { remains, below: last.map(|last| Fence(last.fence.0 + 1)) }, videos })
    }

    /// Takes away what a recording has in the video store, as far as it is meant.
    pub(super) async fn delete_videos(
        &self,
        id: &RecordId,
        is_meant: impl Fn(&VideoKey) -> bool,
    ) -> Result<(), StoreError> {
        for key in self.videos.of(id).await? {
            if is_meant(&key) {
                self.videos.delete(&key).await?;
            }
        }
        Ok(())
    }
}
