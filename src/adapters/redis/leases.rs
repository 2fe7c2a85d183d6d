//! Leases on Redis, by the server's clock.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool_redis::redis::{ParsingError, Value, cmd, from_redis_value};
use serde_json::json;
use tracing::debug;
use uuid::Uuid;

use super::{
    By, Question, RedisStore,
    index::{self, Entry},
    keys, scripts,
    trouble::Trouble,
};
use crate::{
    adapters::ports::{Guarded as _, Leases, PortFuture, RegistryError, StoreState},
    domain::{
        cluster::{Beat, IndexEntry, Mine, Peer, Renewal},
        membership::Generation,
    },
    protocol::{NodeId, NodeRef, SessionId},
};

/// Entries of an index that one call of a script takes away: it holds up everybody else's.
const FORGOTTEN_AT_ONCE: usize = 200;

/// Who is alive, in Redis.
pub struct RedisLeases {
    store: Arc<RedisStore>,
}

impl RedisLeases {
    /// The leases of this store.
    #[must_use]
    pub fn new(store: Arc<RedisStore>) -> Self {
        Self { store }
    }

    fn ask<T: Send + 'static>(
        &self,
        question: Question,
        read: impl FnOnce(Value) -> Result<T, ParsingError> + Send + 'static,
    ) -> PortFuture<Result<T, RegistryError>> {
        let store = self.store.clone();
        self.store.run(async move {
            let answer = store.ask(By::Leases, question).await?;
            Ok(read(answer).map_err(Trouble::from)?)
        })
    }
}

impl Leases for RedisLeases {
    fn beat(
        &self,
        node: &NodeRef,
        renewal: Renewal,
        lease: Duration,
    ) -> PortFuture<Result<Beat, RegistryError>> {
        let (store, node) = (self.store.clone(), node.clone());
        self.store.run(async move { Ok(beat(&store, node, renewal, lease).await?) })
    }

    fn remove(&self, node: &NodeRef) -> PortFuture<Result<(), RegistryError>> {
        let mut command = cmd("ZREM");
        command.arg(keys::LEASES).arg(node.to_string());
        self.ask(Question::command("lease_remove", command), |_| Ok(()))
    }

    fn claim_reaping(
        &self,
        dead: &NodeRef,
        by: &NodeRef,
        term: Duration,
    ) -> PortFuture<Result<bool, RegistryError>> {
        let question = Question::script(&scripts::CLAIM, |call| {
            call.key(keys::reaper(&dead.id)).arg(by.to_string()).arg(ms(term));
        });
        self.ask(question, from_redis_value)
    }

    fn index(&self, node: &NodeId) -> PortFuture<Result<Vec<IndexEntry>, RegistryError>> {
        let mut command = cmd("HGETALL");
        command.arg(keys::connections(node));
        let node = node.clone();
        self.ask(Question::command("index", command), move |answer| {
            let fields: Vec<(String, Vec<u8>)> = from_redis_value(answer)?;
            let entry = |(session, entry): (String, Vec<u8>)| {
                let entry: Entry = serde_json::from_slice(&entry).ok()?;
                Some(entry.leads(SessionId::parse(&session)?, &node))
            };
            Ok(fields.into_iter().filter_map(entry).collect())
        })
    }

    fn unindex(&self, dead: &NodeRef, sessions: Vec<SessionId>) -> PortFuture<Result<(), RegistryError>> {
        let (store, dead) = (self.store.clone(), dead.clone());
        self.store.run(async move {
            for sessions in sessions.chunks(FORGOTTEN_AT_ONCE) {
                let question = index::forget(&dead.id, dead.incarnation, Generation::MAX, sessions);
                store.ask(By::Leases, question).await?;
            }
            Ok(())
        })
    }

    fn granted(&self, node: &NodeRef, until: Instant) {
        self.store.lease().granted = Some((node.clone(), until));
    }

    fn state(&self) -> StoreState {
        self.store.state()
    }
}

/// One script for the leases, then the epoch. It stands in another slot; were the store emptied between the two, the next beat
/// would find its lease gone.
async fn beat(
    store: &Arc<RedisStore>,
    node: NodeRef,
    renewal: Renewal,
    lease: Duration,
) -> Result<Beat, Trouble> {
    let how = match renewal {
        Renewal::Look => "look",
        Renewal::First => "first",
        Renewal::Again => "again",
    };
    // Twice is harmless: a lease that the first has taken or renewed is then found to run, which is true.
    let question = Question::script(&scripts::BEAT, |call| {
        call.key(keys::LEASES).arg(node.to_string()).arg(how).arg(ms(lease));
    });
    let answer = store.ask(By::Leases, question).await?;
    let (now_ms, before, ends, leases): (u64, String, String, Vec<String>) = from_redis_value(answer)?;
    store.tells_time(now_ms);
    let mine = match score(&before) {
        None => Mine::Absent,
        Some(before) if before <= now_ms => Mine::RunOut,
        Some(before) => Mine::Until(before),
    };
    let ends_ms = score(&ends).unwrap_or(0);
    if ends_ms > now_ms && renewal != Renewal::Look {
        store.lease().ends = Some((node.clone(), ends_ms));
        show_heartbeat(store, &node, ends_ms, lease);
    }
    let peers =
        leases.chunks_exact(2).filter_map(|entry| peer(entry, now_ms)).filter(|peer| peer.node != node);
    Ok(Beat { mine, ends_ms, peers: peers.collect(), epoch: epoch(store).await? })
}

/// The name that the data has for itself; given now, if it has none.
async fn epoch(store: &RedisStore) -> Result<String, Trouble> {
    let mut get = cmd("GET");
    get.arg(keys::EPOCH);
    let known = store.ask(By::Leases, Question::command("epoch", get.clone())).await?;
    if let Some(epoch) = from_redis_value(known)? {
        return Ok(epoch);
    }
    let mut set = cmd("SET");
    set.arg(keys::EPOCH).arg(Uuid::new_v4().to_string()).arg("NX");
    store.ask(By::Leases, Question::command("epoch", set)).await?;
    // Another node may have been first.
    Ok(from_redis_value(store.ask(By::Leases, Question::command("epoch", get)).await?)?)
}

/// For people who look into Redis. Nobody waits for it, and nothing depends on it.
fn show_heartbeat(store: &Arc<RedisStore>, node: &NodeRef, ends_ms: u64, lease: Duration) {
    let shown = json!({
        "node": node.id, "inc": node.incarnation, "at": store.clock.now().wall_ms,
        "lease_ms": ms(lease), "lease_ends": ends_ms,
    });
    let mut command = cmd("SET");
    command.arg(keys::heartbeat(&node.id)).arg(shown.to_string()).arg("PX").arg(ms(lease));
    let writer = store.clone();
    store.runtime.spawn(async move {
        if let Err(error) = writer.ask(By::Leases, Question::command("heartbeat", command)).await {
            debug!(%error, "the heartbeat for people was not written");
        }
    });
}

/// Reads a member of the leases and its score.
fn peer(entry: &[String], now_ms: u64) -> Option<Peer> {
    let node = NodeRef::parse(entry.first()?)?;
    let ends_ms = score(entry.get(1)?)?;
    Some(Peer { node, ends_ms, left: Duration::from_millis(ends_ms.saturating_sub(now_ms)) })
}

/// Scores of leases are whole and not negative. `None`: there is none.
fn score(text: &str) -> Option<u64> {
    text.parse().ok()
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
