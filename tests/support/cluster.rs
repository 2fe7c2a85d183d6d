//! Several nodes as processes of their own: a cluster on a Redis of its own, or nodes apart that share nothing.

use std::{net::SocketAddr, path::PathBuf, process::ExitStatus, thread};

use serde_json::Value;
use tempfile::TempDir;

use super::{Nginx, Process, Proxy, Redis, eventually, get, greenroom};

/// Nodes named `node-0`, `node-1` and so on. Those that still run are killed when it is dropped.
pub struct Cluster {
    /// `None`: these nodes are apart.
    redis: Option<Redis>,
    /// Between each node and Redis, where there are any.
    proxies: Vec<Proxy>,
    nodes: Vec<Slot>,
    flags: Vec<String>,
    folder: TempDir,
}

/// A place for one node, which comes back to the same port and the same storage.
struct Slot {
    address: SocketAddr,
    /// `None` while it is down.
    process: Option<Process>,
}

impl Cluster {
    /// Starts a Redis and so many nodes on it, and waits until all serve.
    pub async fn start(nodes: usize) -> Self {
        Self::start_with(nodes, &[]).await
    }

    /// The same with these flags for every node. All of them share a folder and, unless a flag says otherwise, a catalog.
    pub async fn start_with(nodes: usize, flags: &[&str]) -> Self {
        Self::start_all(nodes, flags, Some(Redis::start()), Vec::new()).await
    }

    /// The same, each node with a proxy between itself and Redis.
    pub async fn behind_proxies(nodes: usize, flags: &[&str]) -> Self {
        let redis = Redis::start();
        let proxies = (0..nodes).map(|_| Proxy::start(redis.address())).collect();
        Self::start_all(nodes, flags, Some(redis), proxies).await
    }

    /// Starts so many nodes that know nothing of each other.
    pub async fn apart(nodes: usize, flags: &[&str]) -> Self {
        Self::start_all(nodes, flags, None, Vec::new()).await
    }

    async fn start_all(nodes: usize, flags: &[&str], redis: Option<Redis>, proxies: Vec<Proxy>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        let mut cluster = Self { redis, proxies, nodes: Vec::new(), flags, folder };
        for node in 0..nodes {
            let process = cluster.run(node, 0, &[], &[]);
            cluster.nodes.push(Slot { address: process.address(), process: Some(process) });
        }
        for node in 0..nodes {
            cluster.serves(node).await;
        }
        cluster
    }

    /// Starts the process of a node on this port; 0: a free one.
    fn run(&self, node: usize, port: u16, flags: &[&str], environment: &[(&str, String)]) -> Process {
        let own = tempfile::tempdir().expect("a folder");
        let mut command = greenroom(own.path());
        command
            .args([format!("--port={port}"), "--host=127.0.0.1".to_owned()])
            .args([format!("--node-id={}", Self::name(node)), "--drain-deadline-secs=5".to_owned()])
            .arg(format!("--storage-local-path={}", self.storage(node).display()))
            .args(&self.flags)
            .args(flags)
            .envs(environment.iter().cloned());
        if let Some(redis) = &self.redis {
            let url = match self.proxies.get(node) {
                Some(proxy) => redis.url_at(proxy.address()),
                None => redis.url(),
            };
            command.args(["--cluster-mode=true".to_owned(), format!("--redis-url={url}")]);
        }
        Process::run(command, own)
    }

    /// Starts one more node, with these flags beside those of all nodes. Waits until it serves.
    pub async fn add(&mut self, flags: &[&str]) -> usize {
        let node = self.len();
        let process = self.run(node, 0, flags, &[]);
        self.nodes.push(Slot { address: process.address(), process: Some(process) });
        self.serves(node).await;
        node
    }

    /// How many nodes there are, running or not.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// A node's name.
    pub fn name(node: usize) -> String {
        format!("node-{node}")
    }

    /// The node of this name, as `RoomJoined` and `/health/info` have it.
    pub fn find(&self, name: &Value) -> usize {
        let found = (0..self.len()).find(|&node| name == Self::name(node).as_str());
        found.unwrap_or_else(|| panic!("no node is named {name}"))
    }

    /// Where a node keeps its recordings.
    pub fn storage(&self, node: usize) -> PathBuf {
        let name = if self.redis.is_some() { "shared".to_owned() } else { Self::name(node) };
        self.folder.path().join(name)
    }

    /// Where a node listens, or will again.
    pub fn address(&self, node: usize) -> SocketAddr {
        self.nodes[node].address
    }

    /// The process of a node that runs.
    pub fn process(&self, node: usize) -> &Process {
        self.nodes[node].process.as_ref().expect("the node runs")
    }

    /// The Redis of a cluster.
    pub fn redis(&self) -> &Redis {
        self.redis.as_ref().expect("these nodes are a cluster")
    }

    /// The same, to do something to it.
    pub fn redis_mut(&mut self) -> &mut Redis {
        self.redis.as_mut().expect("these nodes are a cluster")
    }

    /// What stands between a node and Redis.
    pub fn proxy(&self, node: usize) -> &Proxy {
        &self.proxies[node]
    }

    /// An nginx in front of all of them, with this configuration.
    pub fn through_nginx(&self, configuration: &str) -> Nginx {
        let addresses: Vec<SocketAddr> = self.nodes.iter().map(|slot| slot.address).collect();
        Nginx::start(configuration, &addresses)
    }

    /// Ends a node without a word.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].process.take().expect("the node runs").kill();
    }

    /// Waits until a node has ended by itself.
    pub async fn ended(&mut self, node: usize) -> ExitStatus {
        self.nodes[node].process.take().expect("the node runs").ended().await
    }

    /// Asks a node to stop and waits until it has.
    pub async fn stop(&mut self, node: usize) -> ExitStatus {
        let mut process = self.nodes[node].process.take().expect("the node runs");
        process.signal("TERM");
        process.ended().await
    }

    /// Stops a node in the middle of whatever it does; its connections stay.
    pub fn freeze(&self, node: usize) {
        self.process(node).signal("STOP");
    }

    /// Lets a frozen node go on.
    pub fn thaw(&self, node: usize) {
        self.process(node).signal("CONT");
    }

    /// Starts a node that is down: a new life under the same name, on the same port. Waits until it serves.
    pub async fn restart(&mut self, node: usize) {
        self.restart_with(node, &[]).await;
    }

    /// The same with these flags beside those of all nodes, of which the last one counts.
    pub async fn restart_with(&mut self, node: usize, flags: &[&str]) {
        self.restart_in(node, flags, &[]).await;
    }

    /// The same in this environment.
    pub async fn restart_in(&mut self, node: usize, flags: &[&str], environment: &[(&str, String)]) {
        assert!(self.nodes[node].process.is_none(), "the node runs");
        let process = self.run(node, self.address(node).port(), flags, environment);
        self.nodes[node].process = Some(process);
        self.serves(node).await;
    }

    /// Waits until a node takes traffic, and is one of the cluster if there is one.
    pub async fn serves(&self, node: usize) {
        let wanted = if self.redis.is_some() { "cluster" } else { "local" };
        eventually(&format!("{} is ready", Self::name(node)), async || {
            let ready = get(self.address(node), "/health/ready").await.status == 200;
            (ready && self.mode(node).await == wanted).then_some(())
        })
        .await;
    }

    /// `cluster`, `isolated` or `local`.
    pub async fn mode(&self, node: usize) -> Value {
        get(self.address(node), "/health/cluster").await.json()["mode"].clone()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        for (node, slot) in self.nodes.iter().enumerate() {
            if let Some(process) = &slot.process {
                println!("--- {} logged:\n{}", Self::name(node), process.logs());
            }
        }
    }
}
