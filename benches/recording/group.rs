//! Nodes that are measured together: on one folder, one Redis and one PostgreSQL; or a single one that needs neither.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::{
    node::{Node, folder},
    process::{self, Cpu},
    support::{Postgres, Redis, eventually, get},
};

/// As in `actors/recording_supervisor/finalise.rs`, at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// Nodes, and what they stand on.
pub struct Group {
    /// `None`: it was killed.
    nodes: Vec<Option<Node>>,
    redis: Option<Redis>,
    /// Writes nothing through to the disk: no chunk waits for it.
    _postgres: Option<Postgres>,
}

/// Whether what several nodes need is installed; says so, if it is not.
pub fn is_possible() -> bool {
    Redis::is_here() && Postgres::is_here()
}

impl Group {
    /// One node that shares nothing.
    pub fn alone() -> anyhow::Result<Self> {
        Self::alone_with(&[])
    }

    /// The same with these settings.
    pub fn alone_with(settings: &[(&'static str, String)]) -> anyhow::Result<Self> {
        let node = Node::start_in(Arc::new(folder("node")?), settings)?;
        Ok(Self { nodes: vec![Some(node)], redis: None, _postgres: None })
    }

    /// So many nodes of one cluster, and waits until all serve.
    pub async fn start(count: usize, lease_secs: u32) -> anyhow::Result<Self> {
        Self::start_with(count, lease_secs, &[]).await
    }

    /// The same with these settings.
    pub async fn start_with(
        count: usize,
        lease_secs: u32,
        settings: &[(&'static str, String)],
    ) -> anyhow::Result<Self> {
        let (redis, postgres) = (Redis::start(), Postgres::start().await);
        postgres.create("greenroom").await;
        let folder = Arc::new(folder("nodes")?);
        let mut nodes = Vec::new();
        for number in 0..count {
            let mut all = vec![
                ("CLUSTER_MODE", "true".to_owned()),
                ("NODE_ID", format!("node-{number}")),
                ("REDIS_URL", redis.url()),
                ("DATABASE_URL", postgres.url("greenroom")),
                ("LEASE_SECS", lease_secs.to_string()),
            ];
            all.extend_from_slice(settings);
            nodes.push(Some(Node::start_in(folder.clone(), &all)?));
        }
        for node in nodes.iter().flatten() {
            eventually("a node is one of the cluster", async || {
                let cluster = get(node.address(), "/health/cluster").await;
                (cluster.status == 200 && cluster.json()["mode"] == "cluster").then_some(())
            })
            .await;
        }
        // So long a node that has just begun in a cluster claims nothing: recorders may be there that it has not heard of.
        tokio::time::sleep(PATIENCE).await;
        Ok(Self { nodes, redis: Some(redis), _postgres: Some(postgres) })
    }

    /// A node that runs.
    #[expect(clippy::expect_used, reason = "a bench asks for no node that it has killed")]
    pub fn node(&self, number: usize) -> &Node {
        self.nodes[number].as_ref().expect("the node runs")
    }

    /// The last of those that run.
    pub fn last(&self) -> usize {
        self.nodes.iter().rposition(Option::is_some).unwrap_or_default()
    }

    /// Ends a node without a word. It is gone when this returns.
    pub fn kill(&mut self, number: usize) {
        self.nodes[number] = None;
    }

    /// Of those that run.
    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().flatten().map(Node::pid).collect()
    }

    /// Where those that run listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().flatten().map(Node::address).collect()
    }

    /// CPU that all nodes have used.
    pub fn cpu(&self) -> anyhow::Result<Cpu> {
        let each = self.pids().into_iter().map(Cpu::of).collect::<anyhow::Result<Vec<_>>>()?;
        each.into_iter().reduce(Cpu::and).context("no node runs")
    }

    /// CPU that Redis has used; nothing where there is none.
    pub fn redis_cpu(&self) -> anyhow::Result<Option<Cpu>> {
        self.redis.as_ref().map(|redis| Cpu::of(redis.pid())).transpose()
    }

    /// What all that run have written to the disk. Unit: bytes.
    pub fn written(&self) -> anyhow::Result<u64> {
        self.pids().into_iter().map(process::written).sum()
    }

    /// From now on the peaks are those of what follows.
    pub fn forget_peaks(&self) -> anyhow::Result<()> {
        self.pids().into_iter().try_for_each(process::forget_peak)
    }

    /// Most resident memory of each. Unit: bytes.
    pub fn peaks(&self) -> anyhow::Result<Vec<u64>> {
        self.pids().into_iter().map(process::peak).collect()
    }

    /// Who has claimed a recording to make its video, and when, of what was said since the last time that this was asked.
    pub fn claimed_at(&self, recording: &str) -> Option<(usize, Instant)> {
        let words = ["claimed", "Finalise", recording];
        let said = |(number, node): (usize, &Option<Node>)| Some((number, node.as_ref()?.said_at(&words)?));
        self.nodes.iter().enumerate().filter_map(said).min_by_key(|(_, at)| *at)
    }
}
