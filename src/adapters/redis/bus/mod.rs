//! The bus on Redis: pub/sub, which promises nothing. Links number what they send, and repair.
//!
//! In Redis Cluster channels are sharded (`SPUBLISH`), so a message goes to one master and not to all.

mod listen;
mod publish;

use std::sync::Arc;

use backon::ExponentialBuilder;
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use self::publish::{Outbox, Post};
use super::{RedisStore, keys, row::json};
use crate::{
    adapters::ports::{Bus, BusError, BusLink},
    protocol::{
        NodeId,
        cluster::{Event, Inbox},
    },
};

/// News that wait to be taken. Overflow act: dropped and counted, as if it had been lost on the way.
const NEWS_MAX: usize = 4 * 1024;

/// The way to other nodes through Redis.
pub struct RedisBus {
    store: Arc<RedisStore>,
    outbox: Outbox,
    /// Rises with each wish for new connections.
    rebuilds: watch::Sender<u64>,
}

impl RedisBus {
    /// A bus through this store; it publishes from now on.
    #[must_use]
    pub fn new(store: Arc<RedisStore>) -> Self {
        let rebuilds = watch::Sender::new(0);
        let outbox = publish::start(&store, rebuilds.subscribe());
        Self { store, outbox, rebuilds }
    }

    fn post(&self, channel: String, message: &impl Serialize) -> Result<(), BusError> {
        let taken = self.outbox.put(Post { channel, payload: json(message) });
        if taken.is_err() {
            self.store.metrics.bus_published.with_label_values(&["full"]).inc();
        }
        taken
    }
}

impl Bus for RedisBus {
    fn listen(&self, node: &NodeId) -> BusLink {
        let (tell, news) = mpsc::channel(NEWS_MAX);
        let channels = [keys::inbox(node), keys::MESSAGES.to_owned(), keys::EVENTS.to_owned()];
        let listening = listen::run(self.store.clone(), channels, tell, self.rebuilds.subscribe());
        self.store.runtime.spawn(listening);
        BusLink { news }
    }

    fn publish(&self, to: &NodeId, message: &Inbox) -> Result<(), BusError> {
        self.post(keys::inbox(to), message)
    }

    fn announce(&self, event: &Event) -> Result<(), BusError> {
        self.post(keys::EVENTS.to_owned(), event)
    }

    fn rebuild(&self) {
        self.rebuilds.send_modify(|wishes| *wishes += 1);
    }
}

/// Pauses between attempts to connect: from a tenth of a second to two, each up to twice as long by chance.
fn pauses() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(std::time::Duration::from_millis(100))
        .with_max_delay(std::time::Duration::from_secs(1))
        .without_max_times()
        .with_jitter()
}
