//! Recordings that are taken away: by a recorder that has thought better of it, or by somebody who wants one gone.

use std::time::Duration;

use actix::{ActorFuture, ActorFutureExt as _, Context, WrapFuture as _};
use tracing::info;

use super::{
    RecordingSupervisor, at_once,
    begin::{Answer, unreachable_catalog},
};
use crate::{
    actors::messages::{AbortRecording, DeleteRecording},
    adapters::ports::{RecordingPorts, StoreError},
    protocol::{
        Code, Fence, RecordId, Refusal, TokenDigest, UploadToken,
        recorder::{RecordingState, VideoKey},
    },
};

/// How long whoever deletes waits for the catalog.
const CATALOG_PATIENCE: Duration = Duration::from_secs(3);

impl RecordingSupervisor {
    pub(super) fn abort(&mut self, token: UploadToken) -> Answer<AbortRecording> {
        let id = token.record_id().clone();
        Box::pin(self.remove(id, Right::Recorder(token)).then(|removed, supervisor, ctx| {
            let (id, started_ms) = match removed {
                Ok(removed) => removed,
                Err(refusal) => return at_once(Err(refusal)),
            };
            supervisor.metrics.recordings_ended.with_label_values(&["aborted", "discarded"]).inc();
            supervisor.forget((&id, started_ms), "aborted", ctx)
        }))
    }

    pub(super) fn delete(&mut self, message: DeleteRecording) -> Answer<DeleteRecording> {
        let DeleteRecording { id, token } = message;
        if token.as_ref().is_some_and(|token| *token.record_id() != id) {
            return at_once(Err(Code::Unauthorised.into()));
        }
        Box::pin(self.remove(id, Right::Anybody(token)).then(|removed, supervisor, ctx| {
            let (id, started_ms) = match removed {
                Ok(removed) => removed,
                Err(refusal) => return at_once(Err(refusal)),
            };
            supervisor.tell_refused(&id, &Code::RecordingUnknown.into());
            supervisor.forget((&id, started_ms), "deleted", ctx)
        }))
    }

    /// Takes away a recording's account, chunks and videos, in this order: nothing can be added to it any more. One that
    /// still runs needs its token; what is over anybody may delete, and then a token says no more than no token. Also gives when it
    /// began, where its account says so.
    fn remove(
        &self,
        id: RecordId,
        right: Right,
    ) -> impl ActorFuture<Self, Output = Result<(RecordId, Option<u64>), Refusal>> + use<> {
        let (ports, links) = (self.ports.clone(), self.links.clone());
        let unwritten = self.rows.get(&id).is_some();
        let removed = async move {
            let view = links.accounts.find(&id, |ledger| ledger.show(&id)).await;
            let account = view.map_err(|error| error.refusal())?.map(|view| view.manifest);
            let which = match &account {
                Some(manifest) => Some(right.check(manifest.state, &manifest.token)?),
                None if right.is_recorders() => return Err(Code::RecordingUnknown.into()),
                None if unwritten => None,
                None => {
                    let row = ports.catalog.get(&id).await.map_err(|error| unreachable_catalog(&error))?;
                    row.ok_or(Code::RecordingUnknown)?;
                    None
                }
            };
            // The account first, so that nothing is added any more; then whoever is on its way, then what is there.
            ports.ledger.close(&id, which).await.map_err(|error| error.refusal())?;
            let _alone = links.gates.close(&id).await;
            ports.chunks.delete(&id, which).await.map_err(|error| error.refusal())?;
            ports.delete_videos(&id, &[]).await.map_err(|error| error.refusal())?;
            Ok((id, account.map(|manifest| manifest.started_ms)))
        };
        removed.into_actor(self)
    }

    /// Nothing of it is left: its recorder's socket is free for another, and its row goes. Done when the catalog has
    /// forgotten it, or does not answer: then it follows.
    fn forget(
        &mut self,
        (id, started_ms): (&RecordId, Option<u64>),
        why: &'static str,
        ctx: &mut Context<Self>,
    ) -> Answer<AbortRecording> {
        info!(recording = %id, why, "a recording is gone");
        self.metrics.cleanups.with_label_values(&[why]).inc();
        self.take_back_merge(id, Fence(u64::MAX));
        self.detach(id);
        self.faults.remove(id);
        self.attended.remove(id);
        let written = self.rows.delete(id, started_ms);
        self.write_rows(ctx);
        let told = tokio::time::timeout(CATALOG_PATIENCE, written);
        Box::pin(told.into_actor(self).map(|_, _, _| Ok(())))
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

impl RecordingPorts {
    /// Takes away everything that a recording has in the video store but these.
    pub(super) async fn delete_videos(&self, id: &RecordId, but: &[VideoKey]) -> Result<(), StoreError> {
        for key in self.videos.of(id).await? {
            if !but.contains(&key) {
                self.videos.delete(&key).await?;
            }
        }
        Ok(())
    }
}
