//! Recorders that come, go on, stop, and think better of it.

use std::{ops::RangeInclusive, time::Duration};

use actix::{ActorFuture, ActorFutureExt as _, Message, ResponseActFuture, WrapFuture as _};
use tracing::{info, warn};
use uuid::Uuid;

use super::{Attachment, RecordingSupervisor, at_once};
use crate::{
    actors::{
        mailbox::{Mailbox, post},
        messages::{AbortRecording, BeginRecording, Begun, CancelMerge, DeleteRecording, StopRecording},
        secret,
    },
    adapters::ports::{CatalogError, RecordingPorts, StoreError},
    domain::recording::{Attached, Manifest, StopRefused, StopTaken},
    protocol::{
        Code, Fence, RecordId, Refusal, UploadToken, limits,
        recorder::{Merging, RecorderEvent, RecorderLimits, RecordingState, Start, Started, VideoKey},
    },
};

type Answer<M> = ResponseActFuture<RecordingSupervisor, <M as Message>::Result>;

impl RecordingSupervisor {
    pub(super) fn begin(&mut self, message: BeginRecording) -> Answer<BeginRecording> {
        let BeginRecording { start, socket } = message;
        if self.draining {
            return at_once(Err(Code::Draining.into()));
        }
        let ports = self.ports.clone();
        let started_ms = self.clock.now().wall_ms;
        let goes_on = start.upload_token.is_some();
        // The catalog may not know of it yet.
        let taken = start.record_id.as_ref().is_some_and(|id| self.rows.get(id).is_some());
        let attached = async move {
            match &start.upload_token {
                Some(sent) => {
                    let own = sent.0.clone().filter(|token| names_its_own(token, &start));
                    let token = own.ok_or(Code::Unauthorised)?;
                    let attached = ports.go_on(&token).await?;
                    Ok((token, attached))
                }
                None if taken => Err(Code::RecordIdTaken.into()),
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
            if !goes_on {
                supervisor.open_row(&attached.manifest);
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
            self.take_back_merge(&manifest.record_id, manifest.fence);
        }
        if manifest.state == RecordingState::Recording {
            self.row_of(manifest, |row| row.error = None);
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
            RecordingState::Failed => {
                Some(RecorderEvent::refused(Some(record_id), &Code::MergeFailed.into()))
            }
        }
    }

    /// Merges under claims before this one are for nothing: there is more to come, or nothing at all.
    pub(super) fn take_back_merge(&mut self, id: &RecordId, below: Fence) {
        self.merging.remove(id);
        let cancel = CancelMerge { id: id.clone(), below };
        // Should its mailbox be full: its result will be found outdated.
        let _ = post(&self.links.cancel, Mailbox::MergeWorker, &self.metrics, cancel);
    }

    pub(super) fn stop(&mut self, message: StopRecording) -> Answer<StopRecording> {
        let (ports, gates) = (self.ports.clone(), self.links.gates.clone());
        let StopRecording { token, made } = message;
        let stopped = async move {
            // A merge of nothing may be over first: it takes the folder away once what was learnt is in it.
            let _passing = gates.pass(token.record_id()).await;
            let answer = ports.ledger.stop(token, made).await.map_err(|error| error.refusal())?;
            let learnt = match &answer {
                Ok(taken) => Some(&taken.manifest),
                Err(refused) => refused.manifest.as_deref(),
            };
            if let Some(manifest) = learnt.filter(|manifest| !is_finished(manifest)) {
                // A new life of the node must know it too.
                let saved = ports.chunks.save_manifest(manifest.clone()).await;
                saved.map_err(|error| error.refusal())?;
            }
            answer
        };
        Box::pin(stopped.into_actor(self).map(
            move |answer: Result<StopTaken, StopRefused>, supervisor, ctx| {
                if let Ok(taken) = &answer {
                    let now = supervisor.clock.now().wall_ms;
                    if !is_finished(&taken.manifest) {
                        supervisor.row_of(&taken.manifest, |row| {
                            row.chunks = taken.chunks;
                            row.ended_ms = row.ended_ms.or(Some(now));
                        });
                    }
                    supervisor.sweep(ctx);
                }
                answer
            },
        ))
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
                None => ports.catalog.get(&id).await.map_err(|error| unreachable_catalog(&error))?,
            };
            let row = row.ok_or(Code::RecordingUnknown)?;
            // The account first, so that nothing is added any more; then whoever is on its way, then what is there.
            ports.ledger.close(&id).await.map_err(|error| error.refusal())?;
            let _alone = gates.close(&id).await;
            ports.chunks.delete(&id).await.map_err(|error| error.refusal())?;
            ports.delete_versions(&id, 1..=row.version).await.map_err(|error| error.refusal())?;
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
        self.take_back_merge(id, Fence(u64::MAX));
        self.attached.remove(id);
        self.faults.remove(id);
        if let Some(room) = self.recorded_rooms.remove(id) {
            self.tell_room(&room);
        }
        let written = self.rows.delete(id);
        self.write_rows(ctx);
        let told = tokio::time::timeout(CATALOG_PATIENCE, written);
        Box::pin(told.into_actor(self).map(|_, _, _| Ok(())))
    }
}

/// How long whoever deletes waits for the catalog.
const CATALOG_PATIENCE: Duration = Duration::from_secs(3);

fn fresh_manifest(start: &Start, token: &UploadToken, started_ms: u64) -> Manifest {
    Manifest {
        record_id: token.record_id().clone(),
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
        merged_chunks: None,
        revision: 0,
    }
}

/// Whether its video is there, so that a stop says nothing new.
fn is_finished(manifest: &Manifest) -> bool {
    manifest.state == RecordingState::Ready
}

fn names_its_own(token: &UploadToken, start: &Start) -> bool {
    start.record_id.as_ref().is_none_or(|id| id == token.record_id())
}

fn unreachable_catalog(error: &CatalogError) -> Refusal {
    warn!(%error, "the catalog gave no answer");
    Refusal::because(Code::StorageFailed, "the catalog gives no answer")
}

impl RecordingPorts {
    /// Opens a recording: durable, and known to the ledger, before anybody is told.
    async fn open(&self, start: &Start, started_ms: u64) -> Result<(UploadToken, Attached), Refusal> {
        // A name that was drawn at random is nobody's; one that was chosen may be, also while the catalog is away.
        let id = match &start.record_id {
            Some(id) if self.is_taken(id).await? => return Err(Code::RecordIdTaken.into()),
            Some(id) => id.clone(),
            None => spare_record_id(),
        };
        let token = UploadToken::new(id.clone(), secret::draw());
        let manifest = fresh_manifest(start, &token, started_ms);
        if !self.chunks.create(manifest.clone()).await.map_err(|error| error.refusal())? {
            return Err(Code::RecordIdTaken.into());
        }
        let attached = self.ledger.open(manifest).await.map_err(|error| error.refusal()).flatten();
        if attached.is_err() {
            // What this call has made, nobody has been told of.
            let _: Result<(), StoreError> = self.chunks.delete(&id).await;
        }
        attached.map(|attached| (token, attached))
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
        self.ledger.authorise(token.clone()).await.map_err(|error| error.refusal())?
    }

    /// Takes away the videos and posters of these versions, whatever they end with.
    pub(super) async fn delete_versions(
        &self,
        id: &RecordId,
        versions: RangeInclusive<u32>,
    ) -> Result<(), StoreError> {
        for version in versions {
            for extension in VideoKey::EXTENSIONS {
                self.videos.delete(&VideoKey::new(id, version, extension)).await?;
            }
        }
        Ok(())
    }

    /// Whether anything stands under this name, as far as can be told.
    async fn is_taken(&self, id: &RecordId) -> Result<bool, Refusal> {
        let row = self.catalog.get(id).await.map_err(|error| unreachable_catalog(&error))?;
        Ok(row.is_some())
    }
}

/// A name for a recording that was given none. Random, so that it is nobody else's.
fn spare_record_id() -> RecordId {
    // 34 plain characters: always an id.
    RecordId::parse(&format!("r-{}", Uuid::new_v4().simple())).unwrap_or_else(|_| unreachable!())
}
