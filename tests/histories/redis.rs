//! What happens to Redis, and between it and a node.

use std::time::Duration;

use crate::{
    call::{Call, SHORT},
    support::{Cluster, eventually},
};

const ALL: [usize; 3] = [0, 1, 2];

async fn becomes(cluster: &Cluster, node: usize, mode: &str) {
    eventually(mode, async || (cluster.mode(node).await == mode).then_some(())).await;
}

async fn all_become(cluster: &Cluster, mode: &str) {
    for node in ALL {
        becomes(cluster, node, mode).await;
    }
}

/// Empties Redis, and waits until all nodes have seen it.
async fn forget(cluster: &Cluster, call: &mut Call) {
    call.goes_wrong();
    cluster.redis().empty();
    eventually("all nodes have a lease again", async || {
        (cluster.redis().run::<usize>(&["ZCARD", "servers:leases"]) == ALL.len()).then_some(())
    })
    .await;
    call.is_over();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_killed_and_comes_back_empty() {
    let mut cluster = Cluster::start_with(3, &SHORT).await;
    let mut call = Call::begin(&cluster).await;
    call.goes_wrong();
    cluster.redis_mut().kill();
    all_become(&cluster, "isolated").await;
    call.talk(50).await;
    cluster.redis_mut().restart();
    all_become(&cluster, "cluster").await;
    call.is_over();
    call.talk(100).await;
    call.end(&cluster, &ALL, &[cluster.redis()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_forgets_everything() {
    let cluster = Cluster::start_with(3, &SHORT).await;
    let mut call = Call::begin(&cluster).await;
    forget(&cluster, &mut call).await;
    call.talk(150).await;
    call.hush(&cluster, &ALL, &[cluster.redis()]).await;
    forget(&cluster, &mut call).await;
    call.end(&cluster, &ALL, &[cluster.redis()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_held_up_for_three_seconds() {
    let cluster = Cluster::start_with(3, &SHORT).await;
    let mut call = Call::begin(&cluster).await;
    call.goes_wrong();
    cluster.redis().pause(Duration::from_secs(3));
    all_become(&cluster, "isolated").await;
    all_become(&cluster, "cluster").await;
    call.is_over();
    call.talk(100).await;
    call.end(&cluster, &ALL, &[cluster.redis()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_line_between_a_node_and_redis_is_cut_silent_and_slow() {
    let cluster = Cluster::behind_proxies(3, &SHORT).await;
    let mut call = Call::begin(&cluster).await;
    call.goes_wrong();
    cluster.proxy(1).cut();
    becomes(&cluster, 1, "isolated").await;
    call.goes(1).await;
    call.talk(50).await;
    cluster.proxy(1).heal();
    becomes(&cluster, 1, "cluster").await;
    call.talk(50).await;
    cluster.proxy(1).silence();
    becomes(&cluster, 1, "isolated").await;
    call.talk(50).await;
    cluster.proxy(1).heal();
    becomes(&cluster, 1, "cluster").await;
    call.talk(50).await;
    cluster.proxy(1).delay(Duration::from_millis(300));
    call.talk(200).await;
    cluster.proxy(1).heal();
    becomes(&cluster, 1, "cluster").await;
    call.is_over();
    call.talk(100).await;
    call.end(&cluster, &ALL, &[cluster.redis()]).await;
}
