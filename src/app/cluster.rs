//! A node's place in its cluster, from the first word to the last.

use std::{sync::Arc, time::Duration};

use actix::{
    Addr, Arbiter, Context,
    dev::channel::{self, AddressReceiver},
};
use anyhow::{Context as _, anyhow};
use tokio::sync::mpsc;
use tracing::warn;

use super::{Ports, recording::Others};
use crate::{
    actors::{
        cluster_bridge::{BridgeLinks, ClusterBridge, WORDS, Word},
        messages::{DrainCluster, ShowStanding, StopCluster},
        room_manager::ClusterLink,
    },
    adapters::{
        clock::Clock,
        ports::ClusterPorts,
        redis::{CheckError, RedisBus, RedisLeases, RedisRegistry, RedisStore},
    },
    config::ClusterSettings,
    domain::cluster::{ClusterConfig, Mode},
    http::ClusterAccess,
    metrics::Metrics,
    protocol::{NodeId, NodeRef, limits},
};

/// How long the others may take to hear of a drain or a stop. It takes a moment, unless the shared store is away.
const OTHERS_TOLD: Duration = Duration::from_secs(1);

impl Ports {
    /// Puts what nodes share in the place of what a node has for itself.
    pub fn join(&mut self, node: &NodeId, store: &Arc<RedisStore>) {
        let registry = Arc::new(RedisRegistry::new(store.clone(), node.clone()));
        self.registry = registry.clone();
        self.cluster = Some(ClusterPorts {
            leases: Arc::new(RedisLeases::new(store.clone())),
            bus: Arc::new(RedisBus::new(store.clone())),
            registry,
        });
    }
}

/// The Redis that the nodes of a cluster share.
///
/// # Errors
/// It answers and is not one that can be used.
pub(super) async fn open_store(
    settings: &ClusterSettings,
    clock: Clock,
    metrics: &Metrics,
) -> anyhow::Result<Arc<RedisStore>> {
    let store = RedisStore::new(settings.redis.clone(), clock, metrics.clone());
    let store = store.map_err(|error| anyhow!("{} cannot be used: {error}.", settings.redis_from))?;
    match store.check().await {
        Ok(()) => {}
        Err(CheckError::Unsuitable(why)) => return Err(anyhow!("{why}.")),
        Err(CheckError::Unknown(why)) => warn!(why, "it is not known whether this Redis can be used"),
    }
    Ok(store)
}

/// A node that is about to join its cluster: the bridge has an address, and is not built yet.
pub(super) struct Joining {
    config: ClusterConfig,
    ports: ClusterPorts,
    address: Addr<ClusterBridge>,
    inbox: AddressReceiver<ClusterBridge>,
}

impl Joining {
    pub(super) fn new(
        node: &NodeRef,
        settings: &ClusterSettings,
        grace: Duration,
        ports: ClusterPorts,
    ) -> Self {
        let (sender, inbox) = channel::channel(limits::CLUSTER_BRIDGE_MAILBOX);
        let config = ClusterConfig { node: node.clone(), lease: settings.lease, grace };
        Self { config, ports, address: Addr::new(sender), inbox }
    }

    pub(super) fn link(&self) -> ClusterLink {
        ClusterLink { send: self.address.clone().recipient(), store_failed: self.address.clone().recipient() }
    }

    /// Says which nodes there are, and tells them of recordings.
    pub(super) fn others(&self) -> Others {
        (self.address.clone().recipient(), self.address.clone().recipient())
    }

    /// Builds the bridge and waits until the node may take traffic.
    pub(super) async fn begin(
        self,
        links: BridgeLinks,
        clock: Clock,
        metrics: &Metrics,
    ) -> anyhow::Result<Bridge> {
        let Self { config, ports, address, inbox } = self;
        let (arbiter, kept) = (Arbiter::new(), ports.clone());
        let (words, mut said) = mpsc::channel(WORDS);
        let metrics = metrics.clone();
        arbiter.spawn_fn(move || {
            let bridge = ClusterBridge::new(config, ports, links, words, clock, metrics);
            Context::with_receiver(inbox).run(bridge);
        });
        match said.recv().await.context("the cluster bridge has died")? {
            Word::Began(Mode::Serving) => {}
            Word::Began(Mode::Starting | Mode::Isolated) => {
                warn!("Redis does not answer: the node waits for it, and lets nobody in until then");
            }
            Word::Rival(rival) => {
                arbiter.stop();
                return Err(name_taken(&rival));
            }
        }
        Ok(Bridge { address, ports: kept, arbiter, said })
    }
}

/// Two nodes of one name would take each other's messages and clear away each other's sessions.
fn name_taken(rival: &NodeRef) -> anyhow::Error {
    anyhow!(
        "NODE_ID is {}, but another node of the cluster runs under this name (its incarnation is {}): give each its own.",
        rival.id,
        rival.incarnation.0
    )
}

/// A node's place in its cluster.
pub(super) struct Bridge {
    address: Addr<ClusterBridge>,
    ports: ClusterPorts,
    arbiter: Arbiter,
    said: mpsc::Receiver<Word>,
}

impl Bridge {
    /// Waits until the node has lost its name to another; mostly for ever.
    pub(super) async fn outdone(&mut self) -> anyhow::Error {
        loop {
            match self.said.recv().await {
                Some(Word::Rival(rival)) => return name_taken(&rival),
                Some(Word::Began(_)) => {}
                // Liveness sees a bridge that has died.
                None => std::future::pending().await,
            }
        }
    }

    pub(super) fn access(&self) -> ClusterAccess {
        ClusterAccess {
            standing: self.address.clone().recipient(),
            leases: self.ports.leases.clone(),
            registry: self.ports.registry.clone(),
        }
    }

    /// Tells the others that the node is going away.
    pub(super) async fn drain(&self) {
        let _ = tokio::time::timeout(OTHERS_TOLD, self.address.send(DrainCluster)).await;
    }

    /// Clears this node's index, once no session of it is left: entries go after the rows that they lead to, so the last
    /// ones may still be there, and where there is no other node nobody would take them away.
    pub(super) async fn clear_index(&self) {
        let clearing = async {
            let view = self.address.send(ShowStanding).await.ok()?.view;
            let entries = self.ports.leases.index(&view.node.id).await.ok()?;
            let sessions = entries.into_iter().map(|entry| entry.session).collect();
            self.ports.leases.unindex(&view.node, sessions).await.ok()
        };
        // Where the shared store is away, the stop will say so.
        let _ = tokio::time::timeout(OTHERS_TOLD, clearing).await;
    }

    /// Gives the place up and tells the others.
    pub(super) async fn stop(&self) {
        let told = tokio::time::timeout(OTHERS_TOLD, self.address.send(StopCluster)).await;
        if !matches!(told, Ok(Ok(()))) {
            warn!("the other nodes could not be told; they will see it when the lease runs out");
        }
        self.arbiter.stop();
    }
}
