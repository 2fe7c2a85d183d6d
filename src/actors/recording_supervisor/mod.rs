//! The recording supervisor: who records here, what is due, and what became of it.
//!
//! ```text
//!  RecorderSession ─ BeginRecording, StopRecording ─► RecordingSupervisor ─ MergeRecording ─► MergeWorker
//!        ▲ ToRecorder                                  │ Ledger · ChunkStore · Catalog          │
//!        └─────────────────────────────────────────────┘ ◄──── MergeProgressed, MergeEnded ─────┘
//! ```
//! The truth is in the chunk store and the ledger (ports), which nodes may share; what is held here is who listens, under
//! which claims this node works, and which rows the catalog has still to be told. So what becomes of a recording is seen
//! in its account, by the node that has its recorder's socket as by the one that makes its video. It waits for nobody:
//! answers of ports come back as steps. Coming and going: `begin`, `removal`, `leaving`; who is there: `presence`; what is due and
//! what became of it: `finalise`, `faults`, `clearing`; what others do, and who makes what was stopped: `others`; the catalog: `rows`;
//! accounts that were lost: `recover`; figures: `figures`.

mod begin;
mod clearing;
mod completing;
mod events;
mod faults;
mod figures;
mod finalise;
#[cfg(test)]
mod kit;
mod leaving;
mod others;
mod presence;
mod recover;
mod removal;
mod rows;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use actix::{
    Actor, AsyncContext as _, Context, Handler, MessageResult, Recipient, ResponseActFuture, WrapFuture as _,
    fut,
};
use futures_util::{StreamExt as _, stream};
use tokio::sync::{Semaphore, oneshot};
use tracing::warn;

use self::{
    figures::Attended, finalise::Held, leaving::Leaving, presence::Attachment, removal::Named, rows::Rows,
};
pub use self::{
    recover::{Recovered, recover},
    rows::row_of,
};
use super::{
    accounts::Accounts,
    chunk_gate::ChunkGates,
    messages::{
        AbortRecording, BeginRecording, CancelMerge, ChunksUnnoted, ClaimRecording, CountRecordings,
        DeleteRecording, DrainRecordings, LiveRecording, LookAtRecording, MergeEnded, MergeProgressed,
        MergeRecording, RecorderGone, RecordingCensus, RecordingEnded, RecordingStopped, RecordingWentOn,
        ShowRecordings, StopRecording, TellRecording,
    },
};
use crate::{
    adapters::{
        clock::Clock,
        ports::{LedgerError, LedgerView, RecordingPorts},
    },
    domain::recording::{KEPT_MIN, Tries},
    metrics::Metrics,
    protocol::{RecordId, Refusal, RoomName, limits, recorder::RecordingState},
};

/// How often what is due is looked for.
const SWEEP: Duration = Duration::from_millis(250);
/// Sweeps of nodes that share a ledger leave what has become due so long to the node that has followed it: it knows of it at once, and has
/// its file. Should it be dead, others need not wait for its lease to end.
const HEAD_START: Duration = Duration::from_millis(200);
/// How often the ledger is told that recorders and claims are still there.
const KEEP: Duration = Duration::from_millis(500);
/// How often space and kept bytes are measured.
const MEASURE: Duration = Duration::from_secs(10);
/// Whoever has lost its recorder's socket is made within the grace and a second, and a recorder that is there is not given up
/// because one of its words to the ledger was late.
const _: () = assert!(
    (SWEEP.as_millis() + HEAD_START.as_millis() + KEEP.as_millis()) < 1000
        && 2 * KEEP.as_millis() <= KEPT_MIN.as_millis(),
    "deadlines are looked at in time, and pushed in time"
);
/// Recordings looked up at one time for one question.
const SIDE_BY_SIDE: usize = 16;

/// What an operator has set.
#[derive(Debug, Clone)]
pub struct RecordingConfig {
    /// How long a lost recorder is waited for.
    pub grace: Duration,
    /// How long the chunks of a recording whose recorder vanished are kept.
    pub reopen: Duration,
    /// Longest that a recording may take, for its recorder to know; `None`: any time.
    pub duration_max: Option<Duration>,
    /// Whether chunks are taken away once their video is complete.
    pub cleanup_chunks: bool,
    /// In front of every link, such as `https://rooms.example.org`; empty: links begin with `/`.
    pub api_base_url: String,
    /// Merges at once.
    pub merge_jobs: usize,
    /// Whether other nodes share the ledger.
    pub clustered: bool,
    /// No recording begins with less space than this. Unit: bytes.
    pub min_free_bytes: u64,
    /// Most bytes of finished recordings of one owner; `None`: any number.
    pub owner_bytes_max: Option<u64>,
    /// Most recordings that one owner makes at one time.
    pub owner_recordings_max: u32,
    /// Whether an application is told of what happens.
    pub webhook: bool,
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
    /// Says who has followed it, to whoever that is.
    pub stopped: Recipient<RecordingStopped>,
    /// Says, to all other nodes, that one has come to its end.
    pub ended: Recipient<RecordingEnded>,
    /// Keeps chunks on their way apart from what takes them away.
    pub gates: ChunkGates,
    /// Accounts of the ledger, and how lost ones are put back.
    pub accounts: Accounts,
}

/// Attends to recordings on this node.
pub struct RecordingSupervisor {
    ports: RecordingPorts,
    config: RecordingConfig,
    links: SupervisorLinks,
    clock: Clock,
    metrics: Metrics,
    attached: HashMap<RecordId, Attachment>,
    claims: HashMap<RecordId, Held>,
    rows: Rows,
    attended: Attended,
    /// Recordings that are being taken away, until that is durable, with whoever else waits for the answer.
    closing: BTreeMap<Named, Vec<oneshot::Sender<Result<(), Refusal>>>>,
    leaving: Leaving,
    /// Whoever reads a whole video for its digest, or makes its poster.
    completing: Arc<Semaphore>,
    /// Merges of a recording that came to nothing, one after the other.
    faults: HashMap<RecordId, Tries>,
    recorded_rooms: Arc<BTreeSet<RoomName>>,
    /// Rooms that could not be told what has become of them: they are told with the next sweep.
    untold_rooms: BTreeSet<RoomName>,
    /// Whether the ledger was whole when it was last asked which rooms those are.
    was_whole: bool,
    /// Recordings of which the ledger is being told that their recorder is here, and whether there is news since: then it is told once more.
    /// It may take long, if the account is lost.
    keeping: HashMap<RecordId, bool>,
    /// Recordings with chunks that are stored and that the ledger does not know of.
    unnoted: BTreeSet<RecordId>,
    /// Those of which it is being told.
    noting: HashSet<RecordId>,
    /// From when it is told: after a failure it is left alone for a while. By the monotonic clock.
    notes_from: Duration,
    /// From when this node claims anything: after the ledger was away, or may have been, nobody's silence proves anything for
    /// a while, and after a merge that failed others try first. By the monotonic clock.
    claims_from: Duration,
    ledger_away: bool,
    merging_works: bool,
    sweeping: bool,
    /// What this node was told of and has not asked for yet, most often for want of room.
    wanted: VecDeque<RecordId>,
    /// Whether something was left by the last sweep, as far as it knows.
    more_is_due: bool,
    recovering: bool,
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
        let Recovered { found, lost, merging_works } = recovered;
        let mut new = Self {
            ports,
            config,
            links,
            clock,
            metrics,
            attached: HashMap::new(),
            claims: HashMap::new(),
            rows: Rows::default(),
            attended: Attended::default(),
            closing: BTreeMap::new(),
            leaving: Leaving::default(),
            completing: Arc::new(Semaphore::new(1)),
            faults: HashMap::new(),
            recorded_rooms: Arc::default(),
            untold_rooms: BTreeSet::new(),
            was_whole: false,
            keeping: HashMap::new(),
            unnoted: BTreeSet::new(),
            noting: HashSet::new(),
            notes_from: Duration::ZERO,
            claims_from: Duration::ZERO,
            ledger_away: false,
            merging_works,
            sweeping: false,
            wanted: VecDeque::new(),
            more_is_due: false,
            recovering: false,
            draining: false,
        };
        if new.config.clustered {
            // The ledger may have been away until now.
            new.be_patient();
        }
        new.take_back(&found, lost);
        new
    }

    fn ledger_failed(&self, operation: &'static str, error: &LedgerError) {
        warn!(operation, %error, "the ledger failed");
        self.metrics.storage_errors.with_label_values(&["ledger", operation]).inc();
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
        ctx.run_interval(KEEP, |supervisor, ctx| {
            supervisor.keep(ctx);
            supervisor.keep_claims(ctx);
        });
        ctx.run_interval(MEASURE, Self::measure);
        self.measure(ctx);
        self.retry_failed(ctx);
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

impl Handler<ChunksUnnoted> for RecordingSupervisor {
    type Result = ();

    fn handle(&mut self, message: ChunksUnnoted, _: &mut Self::Context) {
        self.unnoted.insert(message.id);
    }
}

impl Handler<ClaimRecording> for RecordingSupervisor {
    type Result = ();

    fn handle(&mut self, message: ClaimRecording, ctx: &mut Self::Context) {
        self.want(message.id, ctx);
    }
}

impl Handler<LookAtRecording> for RecordingSupervisor {
    type Result = ();

    fn handle(&mut self, message: LookAtRecording, ctx: &mut Self::Context) {
        self.keep_anew(&message.id, ctx);
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

    fn handle(&mut self, _: DrainRecordings, ctx: &mut Self::Context) {
        self.drain(ctx);
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
    type Result = ResponseActFuture<Self, <ShowRecordings as actix::Message>::Result>;

    fn handle(&mut self, message: ShowRecordings, _: &mut Self::Context) -> Self::Result {
        let ShowRecordings { ids, thoroughly } = message;
        let asked: Vec<_> = ids.into_iter().map(|id| (self.rows.get(&id).cloned(), id)).collect();
        let (ledger, accounts) = (self.ports.ledger.clone(), self.links.accounts.clone());
        let shown = async move {
            let shown = stream::iter(asked).map(|(row, id)| {
                let (ledger, accounts) = (ledger.clone(), accounts.clone());
                async move {
                    let view = if thoroughly {
                        let found = accounts.find(&id, |ledger| ledger.show(&id)).await;
                        found.map_err(|error| error.refusal())?
                    } else {
                        ledger.show(&id).await.ok().flatten()
                    };
                    let missing = match &view {
                        Some(view) if runs(view) => ledger.missing(&id).await.unwrap_or_default(),
                        _ => Vec::new(),
                    };
                    let row = view.as_ref().map(|view| row_of(&view.manifest, view.chunks)).or(row);
                    Ok(row.map(|row| LiveRecording { row, view, missing }))
                }
            });
            let shown: Vec<Result<Option<LiveRecording>, Refusal>> =
                shown.buffered(SIDE_BY_SIDE).collect().await;
            shown.into_iter().filter_map(Result::transpose).collect()
        };
        Box::pin(shown.into_actor(self))
    }
}

/// Whether chunks may still be missing.
fn runs(view: &LedgerView) -> bool {
    matches!(view.manifest.state, RecordingState::Recording | RecordingState::Finalising)
}

/// An answer that needs no port.
fn at_once<T: 'static>(answer: T) -> ResponseActFuture<RecordingSupervisor, T> {
    Box::pin(fut::ready(answer))
}

#[cfg(test)]
#[path = "away_tests.rs"]
mod away_tests;
