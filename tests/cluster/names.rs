//! Names of nodes: each belongs to one node at a time.

use crate::support::{Cluster, Peer, get, greenroom, within};

#[tokio::test]
async fn a_second_node_of_the_same_name_refuses_to_start_and_says_why() {
    let cluster = Cluster::start_with(1, &["--lease-secs=2"]).await;
    let mut ada = Peer::join(cluster.address(0), "blue", "ada").await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = greenroom(folder.path());
    command.args([
        "--port=0",
        "--host=127.0.0.1",
        "--node-id=node-0",
        "--cluster-mode=true",
        "--lease-secs=2",
    ]);
    command.arg(format!("--redis-url={}", cluster.redis().url()));
    command.arg(format!("--storage-local-path={}", cluster.storage(0).display()));
    let ended = tokio::task::spawn_blocking(move || command.output().expect("the binary starts"));
    let output = within("it ends", ended).await.expect("no panic");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("greenroom: NODE_ID is node-0, but another node"), "{words}");
    assert!(output.stdout.is_empty(), "it never listened: {output:?}");
    ada.expect_nothing().await;
    assert_eq!(cluster.mode(0).await, "cluster", "the first one is none the worse");
}

#[tokio::test]
async fn a_restart_under_the_same_name_is_a_new_life_that_clears_away_the_old_one() {
    let mut cluster = Cluster::start_with(2, &["--lease-secs=2", "--session-grace-secs=1"]).await;
    let mut ada = Peer::join(cluster.address(0), "blue", "ada").await;
    let _bob = Peer::join(cluster.address(1), "blue", "bob").await;
    ada.expect("UserJoined").await;
    cluster.kill(1);
    cluster.restart(1).await;
    ada.expect_updated("bob", "state", "suspect").await;
    ada.expect_left("bob", "timeout").await;
    let mut eve = Peer::join(cluster.address(1), "blue", "eve").await;
    ada.expect("UserJoined").await;
    eve.expect_nothing().await;
    let info = get(cluster.address(1), "/health/info").await.json();
    assert_eq!((info["node_id"].as_str(), info["mode"].as_str()), (Some("node-1"), Some("cluster")));
}
