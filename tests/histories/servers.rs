//! What happens to one of several servers: Redis with Sentinel, and Redis Cluster.

use crate::{
    call::{Call, SHORT},
    support::{Cluster, Redis, Sentinel, eventually, master_of, start_cluster, start_replica},
};

const ALL: [usize; 3] = [0, 1, 2];

/// Three nodes that find their Redis by these flags. (The one that they are started with gives the login only.)
async fn nodes_with(flags: &[&str]) -> Cluster {
    Cluster::start_with(3, &[&SHORT[..], flags].concat()).await
}

async fn all_serve(cluster: &Cluster) {
    for node in ALL {
        cluster.serves(node).await;
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
    let replica = start_replica(&master);
    follows(&replica).await;
    let sentinels = [(); 3].map(|()| Sentinel::watching(&master, 2, None));
    for sentinel in &sentinels {
        sentinel.knows(2).await;
    }
    let addresses = sentinels.each_ref().map(Sentinel::address).join(",");
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
    let servers = start_cluster(6, &["cluster-node-timeout 1000", "repl-diskless-sync-delay 0"]).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_of_redis_cluster_is_killed_and_its_replica_takes_over() {
    let mut servers = six_servers().await;
    let addresses: Vec<String> = servers.iter().map(|server| server.address().to_string()).collect();
    let found_by = format!("--redis-cluster-nodes={}", addresses.join(","));
    let cluster = nodes_with(&[&found_by]).await;
    let mut call = Call::begin(&cluster).await;
    // The one with the leases: without it nobody knows who is alive.
    let home = master_of(&servers, "servers:leases");
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
