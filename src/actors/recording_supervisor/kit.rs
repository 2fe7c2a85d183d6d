//! What tests of the supervisor stand on: one on the stores of a test, and a catalog that is away when it is told to be.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use actix::{Actor, Addr, Context, Handler};
use tokio::sync::Semaphore;

use super::{RecordingConfig, RecordingSupervisor, Recovered, SupervisorLinks};
use crate::{
    actors::{
        accounts::{Accounts, kit::Stores},
        chunk_gate::ChunkGates,
        messages::{
            CancelMerge, MergeRecording, RecordingEnded, RecordingStopped, TellRecording, ToRecorder,
        },
    },
    adapters::{
        catalog::SqlCatalog,
        clock::Clock,
        ports::{
            Catalog, CatalogError, CatalogFilter, CatalogPage, CatalogRow, Deletion, DueBefore, OutboxEvent,
            PortFuture, RecordingPorts,
        },
    },
    domain::recording::VideoFacts,
    metrics::Metrics,
    protocol::{Fence, RecordId, UserId, recorder::VideoKey},
};

/// After so long, it does not come to pass.
const DEADLINE: Duration = Duration::from_secs(60);

/// Hears everything, and does nothing.
pub struct Deaf;

impl Actor for Deaf {
    type Context = Context<Self>;
}

macro_rules! hears {
    ($($message:ty),*) => {
        $(impl Handler<$message> for Deaf {
            type Result = ();

            fn handle(&mut self, _: $message, _: &mut Self::Context) {}
        })*
    };
}

hears!(TellRecording, MergeRecording, CancelMerge, RecordingStopped, RecordingEnded, ToRecorder);

/// A supervisor of a node among others.
pub fn supervisor(stores: &Stores) -> (RecordingSupervisor, Addr<Deaf>) {
    supervisor_on(stores.ports(), config())
}

/// The same on these ports.
pub fn supervisor_on(ports: RecordingPorts, config: RecordingConfig) -> (RecordingSupervisor, Addr<Deaf>) {
    let deaf = Deaf.start();
    let links = links(&deaf, &ports);
    let metrics = Metrics::new().expect("valid");
    let supervisor =
        RecordingSupervisor::new(ports, config, links, Clock::start(), metrics, Recovered::default());
    (supervisor, deaf)
}

/// Everybody else is this one.
pub fn links<A>(everybody: &Addr<A>, ports: &RecordingPorts) -> SupervisorLinks
where
    A: Actor<Context = Context<A>>
        + Handler<TellRecording>
        + Handler<MergeRecording>
        + Handler<CancelMerge>
        + Handler<RecordingStopped>
        + Handler<RecordingEnded>,
{
    SupervisorLinks {
        rooms: everybody.clone().recipient(),
        merge: everybody.clone().recipient(),
        cancel: everybody.clone().recipient(),
        stopped: everybody.clone().recipient(),
        ended: everybody.clone().recipient(),
        gates: ChunkGates::default(),
        accounts: Accounts::of(ports),
    }
}

/// Of a node among others, for which nobody has to wait.
pub fn config() -> RecordingConfig {
    RecordingConfig {
        grace: Duration::from_secs(60),
        reopen: Duration::from_secs(3600),
        duration_max: None,
        cleanup_chunks: true,
        api_base_url: String::new(),
        merge_jobs: 1,
        clustered: true,
        min_free_bytes: 0,
        owner_bytes_max: None,
        owner_recordings_max: 10,
        webhook: true,
    }
}

/// A video of one second that was made under this claim.
pub fn facts(id: &RecordId, fence: Fence) -> VideoFacts {
    VideoFacts {
        key: VideoKey::new(id, fence, "webm"),
        poster: None,
        duration_ms: 1000,
        size_bytes: 2000,
        sha256: Some("07".repeat(32)),
        codecs: vec!["vp9".to_owned()],
        complete: true,
        gaps: Vec::new(),
        work: Vec::new(),
    }
}

/// Asks until it is so.
pub async fn becomes(what: &str, is_so: impl AsyncFn() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !is_so().await {
        assert!(Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until the supervisor has looked so often more for what is due.
pub async fn sweeps(stores: &Stores, count: u32) {
    let until = stores.ledger.asked("is_whole") + count;
    becomes("it sweeps", async || stores.ledger.asked("is_whole") >= until).await;
}

/// A catalog that does not answer what it is told not to, and keeps one answer back. Clones are one catalog.
#[derive(Clone)]
pub struct FlakyCatalog(Arc<Flaky>);

struct Flaky {
    inner: Arc<SqlCatalog>,
    away: Mutex<Away>,
    keeps_next: AtomicBool,
    kept: Semaphore,
}

/// Which operations get no answer.
type Away = Box<dyn Fn(&str) -> bool + Send>;

impl FlakyCatalog {
    /// That of these stores.
    pub fn of(stores: &Stores) -> Self {
        let (inner, keeps_next, kept) = (stores.catalog.clone(), AtomicBool::new(false), Semaphore::new(0));
        Self(Arc::new(Flaky { inner, away: Mutex::new(Box::new(|_| false)), keeps_next, kept }))
    }

    /// From now on these operations get no answer.
    pub fn away_for(&self, operations: impl Fn(&str) -> bool + Send + 'static) {
        *self.0.away.lock().expect("whole") = Box::new(operations);
    }

    /// Whoever gets a row next waits for it until [`Self::let_go`].
    pub fn keep_next_answer(&self) {
        self.0.keeps_next.store(true, Ordering::Relaxed);
    }

    /// Whether somebody waits so.
    pub fn has_kept(&self) -> bool {
        !self.0.keeps_next.load(Ordering::Relaxed)
    }

    /// Gives the answer that was kept back.
    pub fn let_go(&self) {
        self.0.kept.add_permits(1);
    }

    fn ask<T: Send + 'static>(
        &self,
        operation: &str,
        ask: impl FnOnce(&SqlCatalog) -> PortFuture<Result<T, CatalogError>>,
    ) -> PortFuture<Result<T, CatalogError>> {
        if (self.0.away.lock().expect("whole"))(operation) {
            return Box::pin(std::future::ready(Err(CatalogError::Unavailable("it is away".to_owned()))));
        }
        ask(&self.0.inner)
    }
}

impl Catalog for FlakyCatalog {
    fn put(&self, row: CatalogRow, events: Vec<OutboxEvent>) -> PortFuture<Result<bool, CatalogError>> {
        self.ask("put", |inner| inner.put(row, events))
    }

    fn get(&self, id: &RecordId) -> PortFuture<Result<Option<CatalogRow>, CatalogError>> {
        let (flaky, answer) = (self.0.clone(), self.ask("get", |inner| inner.get(id)));
        Box::pin(async move {
            let answer = answer.await;
            if flaky.keeps_next.swap(false, Ordering::Relaxed) {
                flaky.kept.acquire().await.expect("open").forget();
            }
            answer
        })
    }

    fn page(&self, filter: CatalogFilter) -> PortFuture<Result<CatalogPage, CatalogError>> {
        self.ask("page", |inner| inner.page(filter))
    }

    fn delete(&self, deletion: Deletion, events: Vec<OutboxEvent>) -> PortFuture<Result<(), CatalogError>> {
        self.ask("delete", |inner| inner.delete(deletion, events))
    }

    fn was_deleted(&self, id: &RecordId, started_ms: u64) -> PortFuture<Result<bool, CatalogError>> {
        self.ask("was_deleted", |inner| inner.was_deleted(id, started_ms))
    }

    fn forget_deleted(&self, before_ms: u64) -> PortFuture<Result<(), CatalogError>> {
        self.ask("forget_deleted", |inner| inner.forget_deleted(before_ms))
    }

    fn owner_bytes(&self, owner: &UserId) -> PortFuture<Result<u64, CatalogError>> {
        self.ask("owner_bytes", |inner| inner.owner_bytes(owner))
    }

    fn due(&self, before: DueBefore, limit: u32) -> PortFuture<Result<Vec<CatalogRow>, CatalogError>> {
        self.ask("due", |inner| inner.due(before, limit))
    }
}
