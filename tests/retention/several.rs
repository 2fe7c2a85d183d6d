//! Nodes of one cluster: one of them sweeps, and another when that one is gone.

use std::time::Duration;

use crate::{
    chunks, gone, record_broken, record_with_gap,
    support::{Cluster, Redis, eventually, soon, state_now, status},
    sweeps,
};

/// Longer than a node that has died counts as the one that sweeps.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(40);

#[tokio::test]
async fn one_node_of_a_cluster_sweeps_for_all_and_another_follows_it() {
    if !Redis::is_here() {
        return;
    }
    let flags = ["--housekeeping-secs=1", "--recording-grace-secs=1", "--partial-retention=3s"];
    let mut cluster = Cluster::start_with(2, &flags).await;
    let (_, shown) = record_with_gap(cluster.address(0), "gaps").await;
    record_broken(cluster.address(1), "broken").await;
    gone(cluster.address(0), "broken").await;
    let folder = chunks(&cluster.storage(0), "gaps");
    eventually("its chunks are gone", async || (!folder.exists()).then_some(())).await;
    let row = status(cluster.address(1), "gaps").await;
    assert_eq!((&row["state"], &row["key"]), (&shown["state"], &shown["key"]));

    let keeper = usize::from(sweeps(cluster.address(1), "done").await > 0.0);
    let other = 1 - keeper;
    assert_eq!(sweeps(cluster.address(other), "done").await, 0.0, "one sweeps");
    cluster.kill(keeper);
    record_broken(cluster.address(other), "later").await;
    soon(FOLLOWED_WITHIN, "the other follows", async || {
        state_now(cluster.address(other), "later").await.is_null().then_some(())
    })
    .await;
}
