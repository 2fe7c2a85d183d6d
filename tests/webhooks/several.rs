//! Nodes of one cluster: one of them tells, and another when that one is gone.

use crate::{
    record,
    support::{Cluster, Receiver, Redis},
};

#[tokio::test]
async fn one_node_of_a_cluster_tells_for_all_and_another_follows_it() {
    if !Redis::is_here() {
        return;
    }
    let receiver = Receiver::start();
    let flags = receiver.flags();
    let mut cluster = Cluster::start_with(2, &[&flags[0], &flags[1]]).await;
    for (node, id) in [(0, "one"), (1, "two")] {
        record(cluster.address(node), id).await;
        receiver.hears(&format!("ready {id}")).await;
    }
    let mut words = receiver.words();
    words.sort();
    assert_eq!(words, ["ready one", "ready two", "started one", "started two"], "each once");

    for (gone, left, id) in [(0, 1, "three"), (1, 0, "four")] {
        cluster.kill(gone);
        record(cluster.address(left), id).await;
        receiver.hears(&format!("ready {id}")).await;
        assert_eq!(receiver.words_of(id), [format!("started {id}"), format!("ready {id}")]);
        cluster.restart(gone).await;
    }
}
