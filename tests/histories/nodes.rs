//! What happens to nodes.

use crate::{
    call::{Call, SHORT},
    support::{Cluster, eventually, get},
};

const ALL: [usize; 3] = [0, 1, 2];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_happens() {
    let cluster = Cluster::start_with(3, &SHORT).await;
    let call = Call::begin(&cluster).await;
    call.talk(300).await;
    call.end(&cluster, &ALL, &[cluster.redis()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_killed_and_started_again_under_its_name() {
    let mut cluster = Cluster::start_with(3, &SHORT).await;
    let mut call = Call::begin(&cluster).await;
    call.goes_wrong();
    call.goes(1).await;
    cluster.kill(1);
    call.talk(100).await;
    cluster.restart(1).await;
    call.is_over();
    call.talk(100).await;
    call.end(&cluster, &ALL, &[cluster.redis()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_stands_still_for_longer_than_its_lease_and_goes_on() {
    let cluster = Cluster::start_with(3, &SHORT).await;
    let mut call = Call::begin(&cluster).await;
    call.goes_wrong();
    call.goes(1).await;
    cluster.freeze(1);
    eventually("it counts as dead", async || {
        let peers = get(cluster.address(0), "/health/cluster").await.json()["peers"].clone();
        (!peers.to_string().contains("node-1")).then_some(())
    })
    .await;
    call.talk(50).await;
    cluster.thaw(1);
    cluster.serves(1).await;
    call.is_over();
    call.talk(100).await;
    call.end(&cluster, &ALL, &[cluster.redis()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_told_to_stop_and_its_sessions_move() {
    let mut cluster = Cluster::start_with(3, &SHORT).await;
    let mut call = Call::begin(&cluster).await;
    call.goes_wrong();
    assert!(cluster.stop(1).await.success());
    call.is_over();
    call.talk(100).await;
    call.end(&cluster, &[0, 2], &[cluster.redis()]).await;
}
