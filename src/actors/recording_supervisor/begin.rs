//! Recorders that come, go on, and stop.

use std::time::Duration;

use actix::{ActorFutureExt as _, Message, ResponseActFuture, WrapFuture as _};
use tracing::{info, warn};
use uuid::Uuid;

use super::{RecordingConfig, RecordingSupervisor, at_once, presence::Attachment, row_of};
use crate::{
    actors::{
        accounts::Accounts,
        mailbox::{Mailbox, post},
        messages::{BeginRecording, Begun, CancelMerge, StopRecording},
        secret,
    },
    adapters::{
        crash,
        ports::{CatalogError, LedgerError, RecordingPorts, StoreError},
    },
    domain::recording::{Attached, Manifest, StopRefused, StopTaken},
    protocol::{
        Code, Fence, RecordId, Refusal, UploadToken, limits,
        recorder::{Merging, RecorderEvent, RecorderLimits, RecordingState, Start, Started},
    },
};

pub(super) type Answer<M> = ResponseActFuture<RecordingSupervisor, <M as Message>::Result>;

/// What a recording's beginning needs.
struct Beginning {
    ports: RecordingPorts,
    accounts: Accounts,
    config: RecordingConfig,
}

impl RecordingSupervisor {
    pub(super) fn begin(&mut self, message: BeginRecording) -> Answer<BeginRecording> {
        let BeginRecording { start, socket } = message;
        if self.draining {
            return at_once(Err(Code::Draining.into()));
        }
        if let Err(error) = self.ports.same_stores.check() {
            return at_once(Err(error.refusal()));
        }
        let beginning = Beginning {
            ports: self.ports.clone(),
            accounts: self.links.accounts.clone(),
            config: self.config.clone(),
        };
        let goes_on = start.upload_token.is_some();
        // The catalog may not know of it yet.
        let taken = start.record_id.as_ref().is_some_and(|id| self.rows.get(id).is_some());
        let (on_socket, came) = (socket.is_some(), self.clock.now().mono);
        let attached = async move {
            let (token, attached) = match &start.upload_token {
                Some(sent) => {
                    let own = sent.0.clone().filter(|token| names_its_own(token, &start));
                    let token = own.ok_or(Code::Unauthorised)?;
                    let attached = beginning.go_on(&token).await?;
                    (token, attached)
                }
                None if taken => return Err(Code::RecordIdTaken.into()),
                None => beginning.open(&start).await?,
            };
            if on_socket {
                beginning.expect_socket(token.record_id(), attached.generation).await;
            }
            if goes_on {
                beginning.fill_late(&token).await;
            }
            Ok((token, attached))
        };
        Box::pin(attached.into_actor(self).map(move |attached, supervisor, _| {
            supervisor.count_begin(goes_on, attached.as_ref().map(|(_, attached)| attached));
            let (token, attached) = attached?;
            // Who looks back at a finished one is told at once, and then has nothing more to do with it.
            if let Some((connection, door)) = socket
                && attached.manifest.state != RecordingState::Ready
            {
                let attachment = Attachment::new((connection, door), token.clone(), &attached, came);
                supervisor.attach(token.record_id(), attachment);
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

    fn begun(&mut self, token: UploadToken, attached: Attached) -> Begun {
        let manifest = &attached.manifest;
        info!(recording = %manifest.record_id, reopened = attached.reopened, "a recorder is there");
        if attached.reopened {
            self.take_back_merge(&manifest.record_id, manifest.fence);
        }
        if manifest.state == RecordingState::Recording {
            self.row_changed(manifest, attached.chunks);
        }
        let outcome = self.outcome(&attached);
        let started = Started {
            record_id: manifest.record_id.clone(),
            upload_token: token.to_text(),
            next_index: attached.next_index,
            missing: attached.missing,
            limits: RecorderLimits {
                max_chunk_bytes: limits::CHUNK_BYTES_MAX,
                max_in_flight: limits::CHUNKS_IN_FLIGHT_MAX,
                max_duration_ms: self.config.duration_max.map(ms),
            },
            grace_ms: ms(self.config.grace),
            state: manifest.state,
            merging: if self.merging_works { Merging::Available } else { Merging::Unavailable },
        };
        Begun { token, generation: attached.generation, started, outcome }
    }

    /// What somebody who comes late is told of how it stands.
    fn outcome(&self, attached: &Attached) -> Option<RecorderEvent> {
        let (manifest, chunks) = (&attached.manifest, attached.chunks);
        let record_id = manifest.record_id.clone();
        match manifest.state {
            RecordingState::Recording => None,
            RecordingState::Finalising => Some(RecorderEvent::Finished { record_id, chunks }),
            RecordingState::Ready => self
                .ready(&row_of(manifest, chunks))
                .map(|ready| RecorderEvent::RecordingReady(Box::new(ready))),
            RecordingState::Failed => {
                Some(RecorderEvent::refused(Some(record_id), &Code::MergeFailed.into()))
            }
        }
    }

    /// Merges under claims before this one are for nothing: there is more to come, or nothing at all.
    pub(super) fn take_back_merge(&mut self, id: &RecordId, below: Fence) {
        if self.claims.get(id).is_some_and(|held| held.fence() < below) {
            self.claims.remove(id);
        }
        let cancel = CancelMerge { id: id.clone(), below };
        // Should its mailbox be full: its result will be found outdated.
        let _ = post(&self.links.cancel, Mailbox::MergeWorker, &self.metrics, cancel);
    }

    pub(super) fn stop(&mut self, message: StopRecording) -> Answer<StopRecording> {
        if let Err(error) = self.ports.same_stores.check() {
            return at_once(Err(error.refusal().into()));
        }
        let (ports, links) = (self.ports.clone(), self.links.clone());
        let StopRecording { token, made } = message;
        let stopped = async move {
            // A merge of nothing may be over first: it takes the folder away once what was learnt is in it.
            let _passing = links.gates.pass(token.record_id()).await;
            let ask = || links.accounts.ask(token.record_id(), |ledger| ledger.stop(token.clone(), made));
            let mut answer = ask().await.map_err(|error| error.refusal())?;
            if answer.as_ref().is_err_and(lacks_chunks) {
                // The account may not have heard of them: they were acknowledged while the ledger was away, or it has
                // forgotten them. Nobody is asked for what is stored.
                let caught_up = links.accounts.catch_up(token.record_id()).await;
                caught_up.map_err(|failure| failure.refusal())?;
                // Nor for what nobody was told of.
                let filled = links.accounts.fill_late(token.record_id(), token.digest()).await;
                filled.map_err(|failure| failure.refusal())?;
                answer = ask().await.map_err(|error| error.refusal())?;
            }
            crash::point("stop.taken");
            let learnt = match &answer {
                Ok(taken) => Some(&taken.manifest),
                Err(refused) => refused.manifest.as_deref(),
            };
            if let Some(manifest) = learnt.filter(|manifest| !is_finished(manifest)) {
                // Whoever has nothing but the chunk store must know it too.
                let saved = ports.chunks.save_manifest(manifest.clone()).await;
                saved.map_err(|error| error.refusal())?;
                crash::point("stop.saved");
            }
            answer
        };
        Box::pin(stopped.into_actor(self).map(
            move |answer: Result<StopTaken, StopRefused>, supervisor, ctx| {
                if let Ok(taken) = &answer
                    && !is_finished(&taken.manifest)
                {
                    supervisor.row_changed(&taken.manifest, taken.chunks);
                    supervisor.was_stopped(&taken.manifest, taken.chunks, ctx);
                }
                answer
            },
        ))
    }
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

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
        ended_ms: None,
        state: RecordingState::Recording,
        stopped: false,
        announced: None,
        version: 1,
        // Above those of any other recording that ever had this name.
        fence: Fence(started_ms),
        keep_until_ms: None,
        merged_chunks: None,
        unheard: 0,
        fault: None,
        finished: None,
        revision: 0,
    }
}

/// Whether a stop was refused because not everything has come.
fn lacks_chunks(refused: &StopRefused) -> bool {
    refused.missing.is_some() || matches!(refused.refusal.code, Code::BytesDiffer | Code::IndexOutOfRange)
}

/// Whether its video is there, so that a stop says nothing new.
fn is_finished(manifest: &Manifest) -> bool {
    manifest.state == RecordingState::Ready
}

fn names_its_own(token: &UploadToken, start: &Start) -> bool {
    start.record_id.as_ref().is_none_or(|id| id == token.record_id())
}

pub(super) fn unreachable_catalog(error: &CatalogError) -> Refusal {
    warn!(%error, "the catalog gave no answer");
    Refusal::because(Code::StorageFailed, "the catalog gives no answer")
}

impl Beginning {
    /// Opens a recording: durable, and known to the ledger, before anybody is told.
    async fn open(&self, start: &Start) -> Result<(UploadToken, Attached), Refusal> {
        self.check_space().await?;
        self.check_owner(start).await?;
        // A name that was drawn at random is nobody's; one that was chosen may be, also while the catalog is away.
        let id = match &start.record_id {
            Some(id) if self.is_taken(id).await? => return Err(Code::RecordIdTaken.into()),
            Some(id) => id.clone(),
            None => spare_record_id(),
        };
        let token = UploadToken::new(id.clone(), secret::draw());
        let started_ms = self.ports.ledger.now_ms().await.map_err(|error| error.refusal())?;
        let manifest = fresh_manifest(start, &token, started_ms);
        if !self.ports.chunks.create(manifest.clone()).await.map_err(|error| error.refusal())? {
            return Err(Code::RecordIdTaken.into());
        }
        crash::point("open.created");
        let opened = self.ports.ledger.open(manifest, self.config.owner_recordings_max).await;
        let attached = opened.map_err(|error| error.refusal()).flatten();
        if attached.is_err() {
            // What this call has made, nobody has been told of; nor of an account that was put back from it meanwhile. In this
            // order: whoever puts one back later sees that there are no chunks.
            let _: Result<(), StoreError> = self.ports.chunks.delete(&id, Some(token.digest())).await;
            let _: Result<_, LedgerError> = self.ports.ledger.close(&id, Some(token.digest())).await;
        }
        crash::point("open.opened");
        attached.map(|attached| (token, attached))
    }

    /// A store that fills up refuses the next recording, rather than breaking those that run.
    async fn check_space(&self) -> Result<(), Refusal> {
        let least = self.config.min_free_bytes;
        for free in [self.ports.chunks.free_bytes().await, self.ports.videos.free_bytes().await] {
            if free.map_err(|error| error.refusal())?.is_some_and(|free| free < least) {
                return Err(Refusal::because(Code::StorageFull, "too little is left for another recording"));
            }
        }
        Ok(())
    }

    async fn check_owner(&self, start: &Start) -> Result<(), Refusal> {
        let (Some(owner), Some(most)) = (&start.owner, self.config.owner_bytes_max) else { return Ok(()) };
        match self.ports.catalog.owner_bytes(owner).await {
            Ok(bytes) if bytes >= most => Err(Code::QuotaExceeded.into()),
            Ok(_) => Ok(()),
            // Recording goes on while the catalog is away.
            Err(error) => {
                warn!(%error, "nobody knows how much an owner has");
                Ok(())
            }
        }
    }

    /// Goes on with a recording.
    async fn go_on(&self, token: &UploadToken) -> Result<Attached, Refusal> {
        let asked = self.accounts.ask(token.record_id(), |ledger| ledger.attach(token.clone()));
        match asked.await.map_err(|error| error.refusal())? {
            Ok(_) if self.accounts.close_deleted(token.record_id()).await => {
                Err(Code::RecordingUnknown.into())
            }
            Ok(attached) => {
                if attached.reopened {
                    let saved = self.ports.chunks.save_manifest(attached.manifest.clone()).await;
                    saved.map_err(|error| error.refusal())?;
                }
                Ok(attached)
            }
            Err(refusal) if refusal.code == Code::RecordingUnknown => {
                let known = matches!(self.ports.catalog.get(token.record_id()).await, Ok(Some(_)));
                Err(if known { Code::RecordingOver.into() } else { refusal })
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// From now on this recorder's node says that it is there. Should the node die before it first does, the recording is
    /// due after the grace, and not after the longer time that requests without a socket have.
    async fn expect_socket(&self, id: &RecordId, generation: u64) {
        if let Err(error) = self.ports.ledger.keep(id.clone(), generation).await {
            warn!(recording = %id, %error, "its recorder is kept later");
        }
    }

    /// What was on its way is sent again, and must not come twice. What is not done now is done before its video is made.
    async fn fill_late(&self, token: &UploadToken) {
        let id = token.record_id();
        if let Err(failure) = self.accounts.fill_late(id, token.digest()).await {
            warn!(recording = %id, %failure, "numbers whose chunks did not come are seen to later");
        }
    }

    /// Whether anything stands under this name, as far as can be told.
    async fn is_taken(&self, id: &RecordId) -> Result<bool, Refusal> {
        let row = self.ports.catalog.get(id).await.map_err(|error| unreachable_catalog(&error))?;
        Ok(row.is_some())
    }
}

/// A name for a recording that was given none. Random, so that it is nobody else's.
fn spare_record_id() -> RecordId {
    // 34 plain characters: always an id.
    RecordId::parse(&format!("r-{}", Uuid::new_v4().simple())).unwrap_or_else(|_| unreachable!())
}
