//! The shared store of a cluster: Redis, as one server, behind Sentinel, or as Redis Cluster.
//!
//! ```text
//!  RedisRegistry ─► a line for each room ─┐
//!  RedisLeases, RedisLedger, RedisChunks ─┴─► ask: breaker, timeout, retry, metrics ─► a connection that is shared ─► scripts
//!  RedisBus ─► one queue ─► one publishing connection            one listening connection ─► bounded queue
//! ```
//! Redis is a mirror and a gate, never the owner: whatever it forgets, nodes put back. All that happens to a room happens in a
//! script, whose meaning is [`RoomRecord`](crate::domain::membership::RoomRecord); time is the server's own (C-4). A call without
//! an answer may be executed later, so every script compares before it writes (C-2), and does nothing once the lease of the node
//! that sent it has ended (C-3).
//!
//! Next: [`registry`](RedisRegistry), `leases`, `bus`, [`ledger`](RedisLedger), [`chunks`](RedisChunks); `keys` names every key, `scripts/` has the scripts.

mod bus;
mod check;
mod chunks;
mod connect;
mod index;
mod keys;
mod leases;
mod ledger;
mod queue;
mod registry;
mod row;
mod scripts;
mod settings;
mod stores;
mod trouble;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use backon::{ExponentialBuilder, Retryable as _};
use deadpool_redis::redis::{Cmd, ScriptInvocation, Value};
use tokio::{runtime::Handle, time::timeout};

pub use self::{
    bus::RedisBus,
    check::CheckError,
    chunks::RedisChunks,
    leases::RedisLeases,
    ledger::RedisLedger,
    registry::RedisRegistry,
    settings::{RedisKind, RedisSettings, SettingsError, TIMEOUT},
    stores::{Standing, StoresSaid},
};
use self::{
    connect::{Connector, Link, Seat},
    scripts::Script,
    trouble::Trouble,
};
use super::{
    breaker::Breaker,
    chance::chance,
    clock::Clock,
    ports::{Guarded, PortFuture, RegistryError, StoreState},
};
use crate::{metrics::Metrics, protocol::NodeRef};

/// What registry, leases and bus share: the way to Redis, and whether it may be gone.
pub struct RedisStore {
    settings: RedisSettings,
    connector: Connector,
    rooms: Seat,
    /// Apart from the rooms', so that a lease is not renewed late because a large roster is on its way.
    leases: Seat,
    /// Apart from both, so that recordings hold up neither.
    ledger: Seat,
    /// Apart from all, because a chunk is large.
    chunks: Seat,
    breaker: Breaker,
    lease: Mutex<Lease>,
    /// What its clock said last (Unix ms), and when that was.
    told_time: Mutex<Option<(u64, Instant)>>,
    clock: Clock,
    metrics: Metrics,
    runtime: Handle,
}

/// Until when this node may write.
#[derive(Default)]
struct Lease {
    /// Its present life, and when that ends by the monotonic clock.
    granted: Option<(NodeRef, Instant)>,
    /// The same by the server's clock. Unit: ms.
    ends: Option<(NodeRef, u64)>,
}

/// Something to be asked.
struct Question {
    /// As metrics call it.
    command: &'static str,
    what: What,
    /// Whether it may be asked twice where the first answer was lost.
    repeats: bool,
}

enum What {
    Command(Cmd),
    Script(ScriptInvocation<'static>),
}

/// By which connection, and whether also while the store is left alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// Work on rooms.
    Rooms,
    /// A beat, and what else keeps a node alive: it is asked in any state, being the try that shows the store is back. One
    /// node beats once at a time.
    Leases,
    /// Work on recordings.
    Ledger,
    /// Chunks themselves.
    Chunks,
}

impl RedisStore {
    /// Nothing is connected yet: a store that is away at the start is away, not an error. Work is done on the runtime that this
    /// is called on.
    ///
    /// # Errors
    /// Settings that cannot be used.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn new(settings: RedisSettings, clock: Clock, metrics: Metrics) -> Result<Arc<Self>, SettingsError> {
        settings.check()?;
        let store = Self {
            connector: Connector::new(&settings)?,
            rooms: Seat::new(&settings)?,
            leases: Seat::new(&settings)?,
            ledger: Seat::new(&settings)?,
            chunks: Seat::new(&RedisSettings { timeout: settings.chunk_timeout(), ..settings.clone() })?,
            breaker: Breaker::default(),
            lease: Mutex::default(),
            told_time: Mutex::default(),
            clock,
            metrics,
            runtime: Handle::current(),
            settings,
        };
        store.breaker.show(&store.metrics.redis_breaker);
        Ok(Arc::new(store))
    }

    /// Asks, within the timeout, unless the store is left alone.
    async fn ask(&self, by: By, question: Question) -> Result<Value, Trouble> {
        let Question { command, what, repeats } = question;
        let started = Instant::now();
        let answer = if self.breaker.admits(self.clock.now().mono) || by == By::Leases {
            // On a connection that was lost just now; what takes longer is for whoever asked to decide.
            let again = ExponentialBuilder::default()
                .with_min_delay(Duration::from_millis(20))
                .with_max_times(2)
                .with_jitter();
            (|| self.ask_once(by, &what))
                .retry(again)
                .when(|trouble| {
                    repeats
                        && matches!(trouble, Trouble::Lost(_))
                        && started.elapsed() < self.settings.timeout
                })
                .await
        } else {
            Err(Trouble::NotAsked)
        };
        self.note(command, started.elapsed(), answer.as_ref().err());
        answer
    }

    async fn ask_once(&self, by: By, what: &What) -> Result<Value, Trouble> {
        let seat = self.seat(by);
        let connected = timeout(self.settings.connect_limit(), seat.link()).await;
        let (number, mut link) = connected.map_err(|_| Trouble::Late)??;
        let limit = match by {
            By::Chunks => self.settings.chunk_timeout(),
            By::Rooms | By::Leases | By::Ledger => self.settings.timeout,
        };
        let answer = timeout(limit, what.ask(&mut link)).await.unwrap_or(Err(Trouble::Late));
        // A connection may lead to a server that hangs, or is the master no more. Those to a cluster are mended one by one by the
        // library, and one master in trouble is none of the others'; they are only given up when nothing is answered at all.
        let one_of_many = self.settings.is_cluster() && self.breaker.state() == StoreState::Closed;
        if answer.as_ref().is_err_and(Trouble::is_the_stores) && !one_of_many {
            seat.discard(number).await;
        }
        answer
    }

    fn seat(&self, by: By) -> &Seat {
        match by {
            By::Rooms => &self.rooms,
            By::Leases => &self.leases,
            By::Ledger => &self.ledger,
            By::Chunks => &self.chunks,
        }
    }

    fn note(&self, command: &'static str, took: Duration, trouble: Option<&Trouble>) {
        let outcome = trouble.map_or("ok", Trouble::outcome);
        self.metrics.redis_operations.with_label_values(&[command, outcome]).inc();
        match trouble {
            Some(Trouble::NotAsked) => return,
            Some(trouble) if trouble.is_the_stores() => {
                self.breaker.failed(self.clock.now().mono, chance());
            }
            Some(_) | None => self.breaker.succeeded(),
        }
        self.metrics.redis_duration.with_label_values(&[command]).observe(took.as_secs_f64());
        self.breaker.show(&self.metrics.redis_breaker);
    }

    /// Whether this node may write now: when its lease ends by the server's clock, if that is known (C-3).
    fn may_write(&self, by: Option<&NodeRef>) -> Result<u64, Trouble> {
        let lease = self.lease();
        let (node, until) = lease.granted.as_ref().ok_or(Trouble::Outdated)?;
        if *until <= Instant::now() || by.is_some_and(|by| by != node) {
            return Err(Trouble::Outdated);
        }
        // The masters of a cluster have a clock each, and only one of them knows the leases.
        let ends = lease.ends.as_ref().filter(|(of, _)| of == node && !self.settings.is_cluster());
        Ok(ends.map_or(0, |(_, ends_ms)| *ends_ms))
    }

    /// Its clock says this now.
    fn tells_time(&self, now_ms: u64) {
        *self.told_time() = Some((now_ms, Instant::now()));
    }

    /// The time of its clock as far as it is known without asking; `None`: it never said. Unit: Unix ms.
    fn known_time_ms(&self) -> Option<u64> {
        let (then_ms, then) = (*self.told_time())?;
        Some(then_ms.saturating_add(u64::try_from(then.elapsed().as_millis()).unwrap_or(u64::MAX)))
    }

    fn told_time(&self) -> MutexGuard<'_, Option<(u64, Instant)>> {
        // Only whole values are put in.
        self.told_time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lease(&self) -> MutexGuard<'_, Lease> {
        // Only whole values are put in.
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something on the store's runtime, whether or not anybody waits for it.
    fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, RegistryError>> + Send + 'static,
    ) -> PortFuture<Result<T, RegistryError>> {
        let work = self.runtime.spawn(work);
        Box::pin(async move {
            work.await.unwrap_or_else(|_| Err(RegistryError::Unavailable("the node stops".to_owned())))
        })
    }
}

impl Guarded for RedisStore {
    fn state(&self) -> StoreState {
        self.breaker.state()
    }
}

impl Question {
    fn command(name: &'static str, command: Cmd) -> Self {
        Self { command: name, what: What::Command(command), repeats: true }
    }

    fn script(script: &'static Script, prepare: impl FnOnce(&mut ScriptInvocation<'static>)) -> Self {
        let mut call = script.call();
        prepare(&mut call);
        Self { command: script.name, what: What::Script(call), repeats: true }
    }

    /// For what is not the same when it is done twice.
    fn once(self) -> Self {
        Self { repeats: false, ..self }
    }
}

impl What {
    async fn ask(&self, link: &mut Link) -> Result<Value, Trouble> {
        let answer = match self {
            Self::Command(command) => command.query_async(link).await,
            Self::Script(call) => call.invoke_async(link).await,
        };
        answer.map_err(Trouble::from)
    }
}
