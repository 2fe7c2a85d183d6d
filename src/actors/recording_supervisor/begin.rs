//! Recorders that come, go on, stop, and think better of it.

use std::time::Duration;

use actix::{ActorFuture, ActorFutureExt as _, Message, ResponseActFuture, WrapFuture as _};
use tracing::info;
use uuid::Uuid;

use super::{Attachment, RecordingSupervisor, at_once};
use crate::{
    actors::{
        chunk_gate::ChunkGates,
        mailbox::{Mailbox, post},
        messages::{AbortRecording, BeginRecording, Begun, CancelMerge, DeleteRecording, StopRecording},
        secret,
    },
    adapters::ports::{CatalogError, LedgerError, RecordingPorts, StoreError, VideoFacts},
    domain::recording::{Attached, Manifest, StopRefused, StopTaken},
    protocol::{
        Code, Fence, RecordId, Refusal, UploadToken, limits,
        recorder::{Merging, RecorderEvent, RecorderLimits, RecordingState, Start, Started},
    },
};

type Answer<M> = ResponseActFuture<RecordingSupervisor, <M as Message>::Result>;

impl RecordingSupervisor {
    pub(super) fn begin(&mut self, message: BeginRecording) -> Answer<BeginRecording> {
        let BeginRecording { start, socket } = message;
        let ports = self.ports.clone();
        let started_ms = self.clock.now().wall_ms;
        let goes_on = start.upload_token.is_some();
        let attached = async move {
            match &start.upload_token {
                Some(sent) => {
                    let own = sent.0.clone().filter(|token| names_its_own(token, &start));
                    let token = own.ok_or(Code::Unauthorised)?;
                    let attached = ports.go_on(&token).await?;
                    Ok((token, attached))
                }
                None => ports.open(&start, started_ms).await,
            }
        };
        Box::pin(attached.into_actor(self).map(move |attached, supervisor, _| {
            supervisor.count_begin(goes_on, attached.as_ref().map(|(_, attached)| attached));
            let (token, attached) = attached?;
            // Who looks back at a finished one is told at once, and then has nothing more to do with it.
            if let Some((connection, door)) = socket
                && attached.manifest.state != RecordingState::Ready
            {
                let generation = attached.generation;
                supervisor.attach(token.record_id(), Attachment { connection, door, generation });
            }
            Ok(supervisor.begun(token, attached))
        }))
    }

    fn count_begin(&self, goes_on: bool, attached: Result<&Attached, &Refusal>) {
        let (counter, taken) = if goes_on {
            let reopened = attached.is_ok_and(|attached| attached.reopened);
            (&self.metrics.recorder_reconnects, if reopened { "reopened" } else { "in_grace" })
        } else {
            (&self.metrics.recordings_started, "started")
        };
        let result = attached.map_or_else(|refusal| refusal.code.name(), |_| taken);
        counter.with_label_values(&[result]).inc();
    }

    /// Makes this the recording's recorder; whoever was before is told, and ended. Answers may have come in another
    /// order than their recorders: the newest stays.
    fn attach(&mut self, id: &RecordId, attachment: Attachment) {
        let newer = |present: &Attachment| present.generation > attachment.generation;
        if self.attached.get(id).is_some_and(newer) {
            return self.close_door(&attachment, Code::Replaced);
        }
        let Some(outdated) = self.attached.insert(id.clone(), attachment) else { return };
        let busy = |present: &Attachment| present.connection == outdated.connection;
        // It may be recording something else by now.
        if !self.attached.values().any(busy) {
            self.close_door(&outdated, Code::Replaced);
        }
    }

    fn begun(&mut self, token: UploadToken, attached: Attached) -> Begun {
        let manifest = &attached.manifest;
        info!(recording = %manifest.record_id, reopened = attached.reopened, "a recorder is there");
        if attached.reopened {
            self.take_back_merge(&manifest.record_id);
        }
        if manifest.state == RecordingState::Recording {
            self.row_of(manifest, |row| row.error = None);
            self.room_follows(manifest);
        }
        let outcome = self.outcome(manifest);
        let started = Started {
            record_id: manifest.record_id.clone(),
            upload_token: token.to_text(),
            next_index: attached.next_index,
            missing: attached.missing,
            limits: RecorderLimits {
                max_chunk_bytes: limits::CHUNK_BYTES_MAX,
                max_in_flight: limits::CHUNKS_IN_FLIGHT_MAX,
            },
            grace_ms: u64::try_from(self.config.grace.as_millis()).unwrap_or(u64::MAX),
            state: manifest.state,
            merging: if self.merging_works { Merging::Available } else { Merging::Unavailable },
        };
        Begun { token, started, outcome }
    }

    /// What somebody who comes late is told of how it stands.
    fn outcome(&self, manifest: &Manifest) -> Option<RecorderEvent> {
        let row = self.rows.get(&manifest.record_id)?;
        let record_id = manifest.record_id.clone();
        match manifest.state {
            RecordingState::Recording => None,
            RecordingState::Finalising => Some(RecorderEvent::Finished { record_id, chunks: row.chunks }),
            RecordingState::Ready => {
                self.ready(row).map(|ready| RecorderEvent::RecordingReady(Box::new(ready)))
            }
            RecordingState::Failed => Some(RecorderEvent::RecordingError {
                record_id: Some(record_id),
                problem: (&Refusal::from(Code::MergeFailed)).into(),
                missing_chunks: None,
                total_expected: None,
            }),
        }
    }

    /// The merge that runs is for nothing: there is more to come.
    pub(super) fn take_back_merge(&mut self, id: &RecordId) {
        self.merging.remove(id);
        let cancel = CancelMerge { id: id.clone() };
        // Should its mailbox be full: its result will be found outdated.
        let _ = post(&self.links.cancel, Mailbox::Supervisor, &self.metrics, cancel);
    }

    pub(super) fn stop(&mut self, message: StopRecording) -> Answer<StopRecording> {
        let ports = self.ports.clone();
        let StopRecording { token, made } = message;
        let finished = self.rows.get(token.record_id()).is_some_and(|row| row.state == RecordingState::Ready);
        let stopped = async move {
            let answer = ports.ledger.stop(token, made).await.map_err(|error| error.refusal())?;
            let learnt = match &answer {
                Ok(taken) => Some(&taken.manifest),
                Err(refused) => refused.manifest.as_deref(),
            };
            if let Some(manifest) = learnt.filter(|_| !finished) {
                // A new life of the node must know it too.
                let saved = ports.chunks.save_manifest(manifest.clone()).await;
                saved.map_err(|error| error.refusal())?;
            }
            answer
        };
        Box::pin(stopped.into_actor(self).map(|answer: Result<StopTaken, StopRefused>, supervisor, ctx| {
            if let Ok(taken) = &answer {
                let now = supervisor.clock.now().wall_ms;
                supervisor.room_follows(&taken.manifest);
                supervisor.row_of(&taken.manifest, |row| {
                    row.chunks = taken.chunks;
                    row.ended_ms = row.ended_ms.or(Some(now));
                });
                supervisor.sweep(ctx);
            }
            answer
        }))
    }

    pub(super) fn abort(&mut self, token: UploadToken) -> Answer<AbortRecording> {
        let id = token.record_id().clone();
        Box::pin(self.remove(id, Some(token)).then(|removed, supervisor, ctx| {
            let id = match removed {
                Ok(id) => id,
                Err(refusal) => return at_once(Err(refusal)),
            };
            supervisor.metrics.recordings_ended.with_label_values(&["aborted", "discarded"]).inc();
            supervisor.forget(&id, "aborted", ctx)
        }))
    }

    pub(super) fn delete(&mut self, message: DeleteRecording) -> Answer<DeleteRecording> {
        let DeleteRecording { id, token } = message;
        let state = self.rows.get(&id).map(|row| row.state);
        let runs = matches!(state, Some(RecordingState::Recording | RecordingState::Finalising));
        // What is over anybody may delete; then a token says no more than no token.
        let token = if runs { token } else { None };
        match token {
            None if runs => at_once(Err(Code::RecordingActive.into())),
            Some(token) if *token.record_id() != id => at_once(Err(Code::Unauthorised.into())),
            token => Box::pin(self.remove(id, token).then(|removed, supervisor, ctx| {
                let id = match removed {
                    Ok(id) => id,
                    Err(refusal) => return at_once(Err(refusal)),
                };
                supervisor.tell_refused(&id, &Code::RecordingUnknown.into());
                supervisor.forget(&id, "deleted", ctx)
            })),
        }
    }

    /// Takes away a recording's account, chunks and videos, in this order: nothing can be added to it any more.
    fn remove(
        &self,
        id: RecordId,
        token: Option<UploadToken>,
    ) -> impl ActorFuture<Self, Output = Result<RecordId, Refusal>> + use<> {
        let (ports, gates) = (self.ports.clone(), self.links.gates.clone());
        let known = self.rows.get(&id).cloned();
        let removed = async move {
            if let Some(token) = &token {
                ports.authorise(token).await?;
            }
            let row = match known {
                Some(row) => Some(row),
                None => ports.catalog.get(&id).await.map_err(|error| catalog_refusal(&error))?,
            };
            let row = row.ok_or(Code::RecordingUnknown)?;
            ports.discard(&id, &gates).await?;
            for key in row.video.iter().flat_map(VideoFacts::keys) {
                ports.videos.delete(key).await.map_err(|error| error.refusal())?;
            }
            Ok(id)
        };
        removed.into_actor(self)
    }

    /// Nothing of it is left: its room is told, its recorder's socket is free for another, and its row goes. Done when
    /// the catalog has forgotten it, or does not answer: then it follows.
    fn forget(
        &mut self,
        id: &RecordId,
        why: &'static str,
        ctx: &mut actix::Context<Self>,
    ) -> Answer<AbortRecording> {
        info!(recording = %id, why, "a recording is gone");
        self.metrics.cleanups.with_label_values(&[why]).inc();
        self.take_back_merge(id);
        self.attached.remove(id);
        self.faults.remove(id);
        if let Some(room) = self.recorded_rooms.remove(id) {
            self.tell_room(&room);
        }
        let written = self.rows.delete(id.clone());
        self.write_rows(ctx);
        let told = tokio::time::timeout(CATALOG_PATIENCE, written);
        Box::pin(told.into_actor(self).map(|_, _, _| Ok(())))
    }
}

/// How long whoever deletes waits for the catalog.
const CATALOG_PATIENCE: Duration = Duration::from_secs(3);

fn names_its_own(token: &UploadToken, start: &Start) -> bool {
    start.record_id.as_ref().is_none_or(|id| id == token.record_id())
}

fn catalog_refusal(error: &CatalogError) -> Refusal {
    Refusal::because(Code::StorageFailed, error.to_string())
}

impl RecordingPorts {
    /// Opens a recording: known to the ledger, and durable before anybody is told.
    async fn open(&self, start: &Start, started_ms: u64) -> Result<(UploadToken, Attached), Refusal> {
        let id = start.record_id.clone().unwrap_or_else(spare_record_id);
        // The catalog may be away: then a name is taken only where this node still knows the recording.
        if matches!(self.catalog.get(&id).await, Ok(Some(_))) {
            return Err(Code::RecordIdTaken.into());
        }
        let token = UploadToken::new(id.clone(), secret::draw());
        let manifest = Manifest {
            record_id: id.clone(),
            token: token.digest(),
            mime_type: start.mime_type.clone(),
            framing: start.framing,
            room: start.room_name.clone(),
            title: start.title.clone(),
            owner: start.owner.clone(),
            started_ms,
            state: RecordingState::Recording,
            stopped: false,
            announced: None,
            version: 1,
            fence: Fence(0),
            keep_until_ms: None,
        };
        let attached = self.ledger.open(manifest.clone()).await.map_err(|error| error.refusal())??;
        if let Err(error) = self.chunks.save_manifest(manifest).await {
            let _: Result<(), LedgerError> = self.ledger.close(&id).await;
            let _: Result<(), StoreError> = self.chunks.delete(&id).await;
            return Err(error.refusal());
        }
        Ok((token, attached))
    }

    /// Goes on with a recording.
    async fn go_on(&self, token: &UploadToken) -> Result<Attached, Refusal> {
        let answer = self.ledger.attach(token.clone()).await.map_err(|error| error.refusal())?;
        match answer {
            Ok(attached) => {
                if attached.reopened {
                    let saved = self.chunks.save_manifest(attached.manifest.clone()).await;
                    saved.map_err(|error| error.refusal())?;
                }
                Ok(attached)
            }
            Err(refusal) if refusal.code == Code::RecordingUnknown => {
                let known = matches!(self.catalog.get(token.record_id()).await, Ok(Some(_)));
                Err(if known { Code::RecordingOver.into() } else { refusal })
            }
            Err(refusal) => Err(refusal),
        }
    }

    async fn authorise(&self, token: &UploadToken) -> Result<(), Refusal> {
        let view = self.ledger.show(token.record_id()).await.map_err(|error| error.refusal())?;
        let manifest = view.ok_or(Code::RecordingUnknown)?.manifest;
        if manifest.token.matches(token) { Ok(()) } else { Err(Code::Unauthorised.into()) }
    }

    /// Takes away everything that is not in the catalog: the account first, so that nothing is added any more.
    async fn discard(&self, id: &RecordId, gates: &ChunkGates) -> Result<(), Refusal> {
        self.ledger.close(id).await.map_err(|error| error.refusal())?;
        let _alone = gates.close(id).await;
        self.chunks.delete(id).await.map_err(|error| error.refusal())
    }
}

/// A name for a recording that was given none. Random, so that it is nobody else's.
fn spare_record_id() -> RecordId {
    // 34 plain characters: always an id.
    RecordId::parse(&format!("r-{}", Uuid::new_v4().simple())).unwrap_or_else(|_| unreachable!())
}
