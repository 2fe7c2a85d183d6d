//! The recording supervisor: who records what, what is due, and what became of it.
//!
//! ```text
//!  RecorderSession ─ BeginRecording, StopRecording ─► RecordingSupervisor ─ MergeRecording ─► MergeWorker
//!        ▲ ToRecorder                                  │ Ledger · ChunkStore · Catalog          │
//!        └─────────────────────────────────────────────┘ ◄──── MergeProgressed, MergeEnded ─────┘
//! ```
//! The truth is in the chunk store and the ledger (ports); what is held here is who listens and which rows the catalog
//! has still to be told. It waits for nobody: answers of ports come back as steps. Coming and going: `begin`; what is
//! due and what became of it: `finalise`; the catalog: `rows`; a new life of the node: `recover`.

mod begin;
mod finalise;
mod recover;
mod rows;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use actix::{
    Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, MessageResult, Recipient,
    ResponseActFuture, WrapFuture as _, fut,
};
use tracing::warn;

pub use self::recover::{Recovered, recover};
use self::rows::Rows;
use super::{
    chunk_gate::ChunkGates,
    mailbox::{Mailbox, post},
    messages::{
        AbortRecording, BeginRecording, CancelMerge, CountRecordings, DeleteRecording, Door, DrainRecordings,
        LiveRecording, MergeEnded, MergeProgressed, MergeRecording, RecorderGone, RecordingCensus,
        RecordingWentOn, ShowRecordings, StopRecording, TellRecording, ToRecorder,
    },
};
use crate::{
    adapters::{
        clock::Clock,
        ports::{LedgerError, RecordingPorts, VideoFacts},
    },
    domain::recording::Manifest,
    metrics::{Metrics, gauge},
    protocol::{
        Code, ConnectionId, RecordId, Refusal, RoomName, limits,
        recorder::{RecorderEvent, RecordingState},
    },
};

/// How often what is due is looked for.
const SWEEP: Duration = Duration::from_millis(250);
/// How often the ledger is told that recorders are still there.
const KEEP: Duration = Duration::from_millis(500);
/// How often space and kept bytes are measured.
const MEASURE: Duration = Duration::from_secs(10);

/// What an operator has set.
#[derive(Debug, Clone)]
pub struct RecordingConfig {
    /// How long a lost recorder is waited for.
    pub grace: Duration,
    /// How long the chunks of a recording whose recorder vanished are kept.
    pub reopen: Duration,
    /// Whether chunks are taken away once their video is complete.
    pub cleanup_chunks: bool,
    /// In front of every link, such as `https://rooms.example.org`; empty: links begin with `/`.
    pub api_base_url: String,
}

/// Whom the supervisor talks to.
#[derive(Clone)]
pub struct SupervisorLinks {
    /// Is told which rooms are recorded.
    pub rooms: Recipient<TellRecording>,
    /// Makes videos.
    pub merge: Recipient<MergeRecording>,
    /// Stops making one.
    pub cancel: Recipient<CancelMerge>,
    /// Keeps chunks on their way apart from what takes them away.
    pub gates: ChunkGates,
}

/// The present recorder of a recording.
struct Attachment {
    connection: ConnectionId,
    door: Door<ToRecorder>,
    generation: u64,
}

/// Owns the recordings of this node.
pub struct RecordingSupervisor {
    ports: RecordingPorts,
    config: RecordingConfig,
    links: SupervisorLinks,
    clock: Clock,
    metrics: Metrics,
    attached: HashMap<RecordId, Attachment>,
    rows: Rows,
    /// How far each merge is.
    merging: HashMap<RecordId, u8>,
    /// Merges of a recording that came to nothing, one after the other.
    faults: HashMap<RecordId, u32>,
    recorded_rooms: BTreeMap<RecordId, RoomName>,
    /// Rooms that could not be told what has become of them: they are told with the next keeping.
    untold_rooms: BTreeSet<RoomName>,
    merging_works: bool,
    sweeping: bool,
    draining: bool,
}

impl RecordingSupervisor {
    /// A supervisor that goes on from what was found at the start.
    #[must_use]
    pub fn new(
        ports: RecordingPorts,
        config: RecordingConfig,
        links: SupervisorLinks,
        clock: Clock,
        metrics: Metrics,
        recovered: Recovered,
    ) -> Self {
        Self {
            ports,
            config,
            links,
            clock,
            metrics,
            attached: HashMap::new(),
            rows: Rows::new(recovered.rows, recovered.unwritten),
            merging: HashMap::new(),
            faults: HashMap::new(),
            recorded_rooms: BTreeMap::new(),
            untold_rooms: BTreeSet::new(),
            merging_works: recovered.merging_works,
            sweeping: false,
            draining: false,
        }
    }

    /// Tells a recording's recorder, where it has a socket here.
    fn tell(&mut self, id: &RecordId, event: RecorderEvent) {
        let Some(attachment) = self.attached.get(id) else { return };
        if post(&attachment.door.outbox, Mailbox::Recorder, &self.metrics, ToRecorder::Event(event)).is_err()
        {
            // It takes nothing any more; what it missed it is told when it comes back.
            attachment.door.kill();
        }
    }

    /// Tells a recording's recorder that something was not done, and why.
    fn tell_refused(&mut self, id: &RecordId, refusal: &Refusal) {
        self.tell(id, RecorderEvent::refused(Some(id.clone()), refusal));
    }

    /// Ends a recorder's socket.
    fn close_door(&self, attachment: &Attachment, code: Code) {
        if post(&attachment.door.outbox, Mailbox::Recorder, &self.metrics, ToRecorder::Close(code)).is_err() {
            attachment.door.kill();
        }
    }

    /// Keeps the room that is recorded informed.
    fn room_follows(&mut self, manifest: &Manifest) {
        let id = &manifest.record_id;
        let now = match (&manifest.room, manifest.state) {
            (Some(room), RecordingState::Recording) => Some(room.clone()),
            _ => None,
        };
        let before = match &now {
            Some(room) => self.recorded_rooms.insert(id.clone(), room.clone()),
            None => self.recorded_rooms.remove(id),
        };
        for room in before.iter().chain(&now) {
            self.tell_room(room);
        }
    }

    fn tell_room(&mut self, room: &RoomName) {
        let recording = self.recorded_rooms.values().any(|recorded| recorded == room);
        let message = TellRecording { room: room.clone(), recording };
        if post(&self.links.rooms, Mailbox::RoomManager, &self.metrics, message).is_err() {
            warn!(%room, "a room is told later whether it is recorded");
            self.untold_rooms.insert(room.clone());
        }
    }

    fn ledger_failed(&self, operation: &'static str, error: &LedgerError) {
        warn!(operation, %error, "the ledger failed");
        self.metrics.storage_errors.with_label_values(&["ledger", operation]).inc();
    }

    /// Pushes the deadlines of recorders that are there, and begins the grace of those that are gone.
    fn keep(&mut self, ctx: &mut Context<Self>) {
        let gone = |attachment: &Attachment| !attachment.door.is_open();
        let lost: Vec<_> = self
            .attached
            .values()
            .filter(|attachment| gone(attachment))
            .map(|lost| lost.connection)
            .collect();
        for connection in lost {
            self.recorder_gone(connection, ctx);
        }
        for (id, attachment) in &self.attached {
            let kept = self.ports.ledger.keep(id.clone(), attachment.generation);
            ctx.spawn(kept.into_actor(self).map(|kept, supervisor, _| {
                if let Err(error) = kept {
                    supervisor.ledger_failed("keep", &error);
                }
            }));
        }
        for room in std::mem::take(&mut self.untold_rooms) {
            self.tell_room(&room);
        }
        self.metrics.recorders.with_label_values::<&str>(&[]).set(gauge(self.attached.len()));
        for state in RecordingState::ALL {
            let count = self.rows.live().filter(|row| row.state == state).count();
            self.metrics.recordings.with_label_values(&[state.name()]).set(gauge(count));
        }
    }

    fn recorder_gone(&mut self, connection: ConnectionId, ctx: &mut Context<Self>) {
        let gone = self.attached.extract_if(|_, attachment| attachment.connection == connection);
        for (id, attachment) in gone.collect::<Vec<_>>() {
            let detached = self.ports.ledger.detach(id, attachment.generation);
            ctx.spawn(detached.into_actor(self).map(|detached, supervisor, _| {
                if let Err(error) = detached {
                    supervisor.ledger_failed("detach", &error);
                }
            }));
        }
    }

    fn measure(&mut self, ctx: &mut Context<Self>) {
        let free = self.ports.videos.free_bytes();
        ctx.spawn(free.into_actor(self).map(|free, supervisor, _| match free {
            Ok(bytes) => {
                let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
                supervisor.metrics.free_bytes.with_label_values::<&str>(&[]).set(bytes);
            }
            Err(error) => warn!(%error, "the space that is left cannot be told"),
        }));
        self.measure_unmerged(ctx);
    }

    /// Bytes that are in no video, and are kept because of that.
    fn measure_unmerged(&mut self, ctx: &mut Context<Self>) {
        let incomplete = |video: &VideoFacts| !video.complete;
        let unmerged = self.rows.live().filter(|row| match row.state {
            RecordingState::Failed => true,
            RecordingState::Ready => row.video.as_ref().is_some_and(incomplete),
            RecordingState::Recording | RecordingState::Finalising => false,
        });
        let ids: Vec<_> = unmerged.map(|row| row.record_id.clone()).collect();
        let ledger = self.ports.ledger.clone();
        let sum = async move {
            let mut bytes = 0;
            for id in &ids {
                bytes += ledger.show(id).await.ok().flatten().map_or(0, |view| view.bytes);
            }
            bytes
        };
        ctx.spawn(sum.into_actor(self).map(|bytes, supervisor, _| {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            supervisor.metrics.unmerged_bytes.with_label_values::<&str>(&[]).set(bytes);
        }));
    }
}

impl Actor for RecordingSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(limits::RECORDING_SUPERVISOR_MAILBOX);
        ctx.run_interval(SWEEP, |supervisor, ctx| {
            supervisor.sweep(ctx);
            supervisor.write_rows(ctx);
        });
        ctx.run_interval(KEEP, Self::keep);
        ctx.run_interval(MEASURE, Self::measure);
        self.measure(ctx);
        let recording: Vec<_> =
            self.rows.live().filter(|row| row.state == RecordingState::Recording).cloned().collect();
        for row in recording {
            if let Some(room) = row.room {
                self.recorded_rooms.insert(row.record_id, room.clone());
                self.tell_room(&room);
            }
        }
    }
}

impl Handler<BeginRecording> for RecordingSupervisor {
    type Result = ResponseActFuture<Self, <BeginRecording as actix::Message>::Result>;

    fn handle(&mut self, message: BeginRecording, _: &mut Self::Context) -> Self::Result {
        self.begin(message)
    }
}

impl Handler<StopRecording> for RecordingSupervisor {
    type Result = ResponseActFuture<Self, <StopRecording as actix::Message>::Result>;

    fn handle(&mut self, message: StopRecording, _: &mut Self::Context) -> Self::Result {
        self.stop(message)
    }
}

impl Handler<AbortRecording> for RecordingSupervisor {
    type Result = ResponseActFuture<Self, <AbortRecording as actix::Message>::Result>;

    fn handle(&mut self, message: AbortRecording, _: &mut Self::Context) -> Self::Result {
        self.abort(message.token)
    }
}

impl Handler<DeleteRecording> for RecordingSupervisor {
    type Result = ResponseActFuture<Self, <DeleteRecording as actix::Message>::Result>;

    fn handle(&mut self, message: DeleteRecording, _: &mut Self::Context) -> Self::Result {
        self.delete(message)
    }
}

impl Handler<RecorderGone> for RecordingSupervisor {
    type Result = ();

    fn handle(&mut self, message: RecorderGone, ctx: &mut Self::Context) {
        self.recorder_gone(message.connection, ctx);
    }
}

impl Handler<RecordingWentOn> for RecordingSupervisor {
    type Result = ();

    fn handle(&mut self, message: RecordingWentOn, ctx: &mut Self::Context) {
        self.went_on(&message.id, ctx);
    }
}

impl Handler<MergeProgressed> for RecordingSupervisor {
    type Result = ();

    fn handle(&mut self, message: MergeProgressed, _: &mut Self::Context) {
        self.merge_progressed(&message);
    }
}

impl Handler<MergeEnded> for RecordingSupervisor {
    type Result = ();

    fn handle(&mut self, message: MergeEnded, ctx: &mut Self::Context) {
        self.merge_ended(message, ctx);
    }
}

impl Handler<DrainRecordings> for RecordingSupervisor {
    type Result = ();

    fn handle(&mut self, _: DrainRecordings, _: &mut Self::Context) {
        self.draining = true;
        for attachment in self.attached.values() {
            self.close_door(attachment, Code::Draining);
        }
    }
}

impl Handler<CountRecordings> for RecordingSupervisor {
    type Result = MessageResult<CountRecordings>;

    fn handle(&mut self, _: CountRecordings, _: &mut Self::Context) -> Self::Result {
        let recorders = self.attached.len();
        MessageResult(RecordingCensus { recorders, merging_works: self.merging_works })
    }
}

impl Handler<ShowRecordings> for RecordingSupervisor {
    type Result = ResponseActFuture<Self, Vec<LiveRecording>>;

    fn handle(&mut self, message: ShowRecordings, _: &mut Self::Context) -> Self::Result {
        let rows: Vec<_> = message.ids.iter().filter_map(|id| self.rows.get(id)).cloned().collect();
        let merging = self.merging.clone();
        let ledger = self.ports.ledger.clone();
        let shown = async move {
            let mut shown = Vec::new();
            for row in rows {
                let view = ledger.show(&row.record_id).await.ok().flatten();
                let runs = matches!(row.state, RecordingState::Recording | RecordingState::Finalising);
                let missing = if runs { ledger.missing(&row.record_id).await.ok() } else { None };
                let percent = merging.get(&row.record_id).copied();
                shown.push(LiveRecording { row, view, missing: missing.unwrap_or_default(), percent });
            }
            shown
        };
        Box::pin(shown.into_actor(self))
    }
}

/// An answer that needs no port.
fn at_once<T: 'static>(answer: T) -> ResponseActFuture<RecordingSupervisor, T> {
    Box::pin(fut::ready(answer))
}
