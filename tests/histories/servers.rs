//! What happens to one of several servers: Redis with Sentinel, and Redis Cluster.

use std::{
    fs,
    ops::RangeInclusive,
    process::{Child, Command, Stdio},
};

use deadpool_redis::redis::{self, FromRedisValue};
use tempfile::TempDir;

use crate::{
    call::{Call, SHORT},
    support::{Cluster, Redis, command, eventually, free_port},
};

const ALL: [usize; 3] = [0, 1, 2];

/// A third of the slots each.
const SLOTS: [RangeInclusive<u16>; 3] = [0..=5460, 5461..=10_922, 10_923..=16_383];

/// Three nodes that find their Redis by these flags. (The one that they are started with gives the login only.)
async fn nodes_with(flags: &[&str]) -> Cluster {
    Cluster::start_with(3, &[&SHORT[..], flags].concat()).await
}

async fn all_serve(cluster: &Cluster) {
    for node in ALL {
        cluster.serves(node).await;
    }
}

/// A sentinel as a process; killed by its id when dropped.
struct Sentinel {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Sentinel {
    /// Two of three that agree are enough.
    fn watching(master: &Redis) -> Self {
        let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
        let file = folder.path().join("sentinel.conf");
        let lines = format!(
            "bind 127.0.0.1\nport {port}\ndir {}\nlogfile sentinel.log\n\
             sentinel monitor main 127.0.0.1 {} 2\nsentinel down-after-milliseconds main 1000\n\
             sentinel failover-timeout main 5000\n",
            folder.path().display(),
            master.address().port(),
        );
        fs::write(&file, lines).expect("a configuration");
        let mut server = Command::new("redis-server");
        server.arg(&file).arg("--sentinel").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { child: server.spawn().expect("it is installed"), port, _folder: folder }
    }

    fn ask<T: FromRedisValue>(&self, words: &[&str]) -> Option<T> {
        let client = redis::Client::open(("127.0.0.1", self.port)).ok()?;
        command(words).query(&mut client.get_connection().ok()?).ok()
    }

    /// Waits until it knows the replica and the other two.
    async fn knows_all(&self) {
        eventually("the sentinels know each other", async || {
            let replicas: Vec<redis::Value> = self.ask(&["SENTINEL", "REPLICAS", "main"])?;
            let others: Vec<redis::Value> = self.ask(&["SENTINEL", "SENTINELS", "main"])?;
            (replicas.len() == 1 && others.len() == 2).then_some(())
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

async fn follows(replica: &Redis) {
    eventually("the replica has what its master has", async || {
        let replication: String = replica.run(&["INFO", "replication"]);
        replication.contains("master_link_status:up").then_some(())
    })
    .await;
}

async fn becomes_master(replica: &Redis) {
    eventually("the replica is the master", async || {
        let replication: String = replica.run(&["INFO", "replication"]);
        replication.contains("role:master").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_is_killed_and_sentinels_make_its_replica_the_master() {
    let mut master = Redis::start();
    let replica_of = format!("replicaof 127.0.0.1 {}", master.address().port());
    let replica = Redis::start_with(&[&replica_of, "repl-diskless-sync-delay 0"]);
    follows(&replica).await;
    let sentinels = [(); 3].map(|()| Sentinel::watching(&master));
    for sentinel in &sentinels {
        sentinel.knows_all().await;
    }
    let addresses = sentinels.each_ref().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).join(",");
    let found_by = format!("--redis-sentinels={addresses}");
    let cluster = nodes_with(&[&found_by, "--redis-sentinel-master=main"]).await;
    let mut call = Call::begin(&cluster).await;
    call.goes_wrong();
    master.kill();
    becomes_master(&replica).await;
    all_serve(&cluster).await;
    call.is_over();
    call.talk(100).await;
    call.end(&cluster, &ALL, &[&replica]).await;
}

/// Starts six servers that know each other: three masters, and a replica of each in the same order.
async fn six_servers() -> Vec<Redis> {
    let start = |_| {
        let port = format!("cluster-port {}", free_port());
        let lines = ["cluster-enabled yes", "cluster-node-timeout 1000", "repl-diskless-sync-delay 0", &port];
        Redis::start_with(&lines)
    };
    let servers: Vec<Redis> = (0..6).map(start).collect();
    for (server, slots) in servers.iter().zip(SLOTS) {
        let (first, last) = (slots.start().to_string(), slots.end().to_string());
        server.run::<()>(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
    }
    for other in servers.iter().skip(1) {
        let bus: Vec<String> = other.run(&["CONFIG", "GET", "cluster-port"]);
        let port = other.address().port().to_string();
        servers[0].run::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus[1]]);
    }
    agree(&servers).await;
    for (master, replica) in servers.iter().zip(&servers[3..]) {
        let id: String = master.run(&["CLUSTER", "MYID"]);
        replica.run::<()>(&["CLUSTER", "REPLICATE", &id]);
    }
    for (master, replica) in servers.iter().zip(&servers[3..]) {
        follows(replica).await;
        eventually("the master knows its replica", async || {
            let id: String = master.run(&["CLUSTER", "MYID"]);
            let replicas: Vec<String> = servers[0].run(&["CLUSTER", "REPLICAS", &id]);
            (replicas.len() == 1).then_some(())
        })
        .await;
    }
    servers
}

async fn agree(servers: &[Redis]) {
    eventually("the cluster has formed", async || {
        let formed = |server: &Redis| {
            let info: String = server.run(&["CLUSTER", "INFO"]);
            ["cluster_state:ok", "cluster_size:3", "cluster_known_nodes:6"]
                .iter()
                .all(|word| info.contains(word))
        };
        servers.iter().all(formed).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_of_redis_cluster_is_killed_and_its_replica_takes_over() {
    let mut servers = six_servers().await;
    let addresses: Vec<String> = servers.iter().map(|server| server.address().to_string()).collect();
    let found_by = format!("--redis-cluster-nodes={}", addresses.join(","));
    let cluster = nodes_with(&[&found_by]).await;
    let mut call = Call::begin(&cluster).await;
    // The one with the leases: without it nobody knows who is alive.
    let slot: u16 = servers[0].run(&["CLUSTER", "KEYSLOT", "servers:leases"]);
    let home = SLOTS.iter().position(|slots| slots.contains(&slot)).expect("all slots are somewhere");
    call.goes_wrong();
    servers[home].kill();
    becomes_master(&servers[home + 3]).await;
    all_serve(&cluster).await;
    call.is_over();
    call.talk(100).await;
    let there: Vec<&Redis> =
        servers.iter().enumerate().filter(|(server, _)| *server != home).map(|(_, server)| server).collect();
    call.end(&cluster, &ALL, &there).await;
}
