//! Redis servers that belong together: the masters and replicas of a Redis Cluster, and sentinels that watch a master.

use std::{
    fs,
    ops::RangeInclusive,
    process::{Child, Command, Stdio},
    time::Duration,
};

use deadpool_redis::redis::{self, FromRedisValue};
use tempfile::TempDir;

use super::{Redis, command, eventually, free_port};

/// A third of the slots for each of three masters.
const SLOTS: [RangeInclusive<u16>; 3] = [0..=5460, 5461..=10_922, 10_923..=16_383];

/// Starts servers of a cluster, with these lines besides; the first three are its masters.
pub async fn start_cluster(servers: usize, lines: &[&str]) -> Vec<Redis> {
    let start = |_| {
        let port = format!("cluster-port {}", free_port());
        Redis::start_with(&[&["cluster-enabled yes", &port], lines].concat())
    };
    let servers: Vec<Redis> = (0..servers).map(start).collect();
    for (server, slots) in servers.iter().zip(SLOTS) {
        let (first, last) = (slots.start().to_string(), slots.end().to_string());
        server.run::<()>(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
    }
    let (first, others) = servers.split_first().expect("three at least");
    for other in others {
        let bus_port: Vec<String> = other.run(&["CONFIG", "GET", "cluster-port"]);
        let port = other.address().port().to_string();
        first.run::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus_port[1]]);
    }
    cluster_agrees(&servers).await;
    servers
}

/// Waits until all know of all.
pub async fn cluster_agrees(servers: &[Redis]) {
    let known = format!("cluster_known_nodes:{}", servers.len());
    eventually("the cluster has formed", async || {
        let formed = |server: &Redis| {
            let info: String = server.run(&["CLUSTER", "INFO"]);
            ["cluster_state:ok", "cluster_size:3", &known].iter().all(|word| info.contains(word))
        };
        servers.iter().all(formed).then_some(())
    })
    .await;
}

/// Which of the masters has a key or a channel.
pub fn master_of(servers: &[Redis], key: &str) -> usize {
    let slot: u16 = servers[0].run(&["CLUSTER", "KEYSLOT", key]);
    SLOTS.iter().position(|slots| slots.contains(&slot)).expect("all slots are somewhere")
}

/// Starts a server that copies a master.
pub fn start_replica(master: &Redis) -> Redis {
    let replica_of = format!("replicaof 127.0.0.1 {}", master.address().port());
    Redis::start_with(&[&replica_of, "repl-diskless-sync-delay 0"])
}

/// A sentinel as a process; killed by its id when dropped.
pub struct Sentinel {
    child: Child,
    port: u16,
    password: Option<&'static str>,
    _folder: TempDir,
}

impl Sentinel {
    /// Watches a master, which it calls `main`. So many must agree that it is down.
    pub fn watching(master: &Redis, quorum: usize, password: Option<&'static str>) -> Self {
        let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
        let file = folder.path().join("sentinel.conf");
        let secret = password.map(|password| format!("requirepass {password}\n")).unwrap_or_default();
        let lines = format!(
            "bind 127.0.0.1\nport {port}\ndir {}\nlogfile sentinel.log\n{secret}\
             sentinel monitor main 127.0.0.1 {} {quorum}\nsentinel down-after-milliseconds main 1000\n\
             sentinel failover-timeout main 5000\n",
            folder.path().display(),
            master.address().port(),
        );
        fs::write(&file, lines).expect("a configuration");
        let mut server = Command::new("redis-server");
        server.arg(&file).arg("--sentinel").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { child: server.spawn().expect("it is installed"), port, password, _folder: folder }
    }

    /// Where it is, and how to enter.
    pub fn url(&self) -> String {
        let login = self.password.map(|password| format!(":{password}@")).unwrap_or_default();
        format!("redis://{login}{}", self.address())
    }

    /// Where it is.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it answers, if it does.
    pub fn ask<T: FromRedisValue>(&self, words: &[&str]) -> Option<T> {
        let client = redis::Client::open(self.url()).ok()?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(1)).ok()?;
        command(words).query(&mut connection).ok()
    }

    /// Waits until it knows the one replica, and so many other sentinels.
    pub async fn knows(&self, others: usize) {
        eventually("the sentinel knows the others", async || {
            let replicas: Vec<redis::Value> = self.ask(&["SENTINEL", "REPLICAS", "main"])?;
            let sentinels: Vec<redis::Value> = self.ask(&["SENTINEL", "SENTINELS", "main"])?;
            (replicas.len() == 1 && sentinels.len() == others).then_some(())
        })
        .await;
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        // Errors are those of a process that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
