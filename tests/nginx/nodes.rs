//! Which node a request comes to, and what becomes of it when that node is gone or going.

use std::collections::BTreeSet;

use crate::support::{CONFIGURATIONS, Cluster, Nginx, Peer, eventually, get};

/// Enough requests to come to each of three nodes, whatever is hashed.
const MANY: usize = 24;

/// The node that answers a request, which is answered.
async fn answering(nginx: &Nginx) -> String {
    let answer = get(nginx.address(), "/health/info").await;
    assert_eq!(answer.status, 200, "{answer:?}\n{}", nginx.errors());
    answer.json()["node_id"].as_str().expect("a name").to_owned()
}

/// All nodes that answer.
async fn all_answering(nginx: &Nginx) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for _ in 0..MANY {
        names.insert(answering(nginx).await);
    }
    names
}

/// All nodes that let somebody in, each into a room of their own.
async fn all_joined(nginx: &Nginx) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for room in 0..MANY {
        let peer = Peer::join_through(nginx.address(), &format!("room-{room}"), "ada").await;
        names.insert(peer.welcome["node_id"].as_str().expect("a name").to_owned());
    }
    names
}

fn names(nodes: &[usize]) -> BTreeSet<String> {
    nodes.iter().map(|&node| Cluster::name(node)).collect()
}

#[tokio::test]
async fn every_node_gets_its_share() {
    if !Nginx::is_here() {
        return;
    }
    let cluster = Cluster::apart(3, &[]).await;
    for configuration in CONFIGURATIONS {
        let nginx = cluster.through_nginx(configuration);
        assert_eq!(all_answering(&nginx).await, names(&[0, 1, 2]), "{configuration}");
        assert_eq!(all_joined(&nginx).await, names(&[0, 1, 2]), "{configuration}");
    }
}

#[tokio::test]
async fn a_killed_node_is_skipped_and_gets_its_share_again_when_it_is_back() {
    if !Nginx::is_here() {
        return;
    }
    let mut cluster = Cluster::apart(3, &[]).await;
    for configuration in CONFIGURATIONS {
        let nginx = cluster.through_nginx(configuration);
        cluster.kill(1);
        assert_eq!(all_answering(&nginx).await, names(&[0, 2]), "{configuration}");
        assert_eq!(all_joined(&nginx).await, names(&[0, 2]), "{configuration}");
        cluster.restart(1).await;
        eventually("the node gets its share again", async || {
            (answering(&nginx).await == Cluster::name(1)).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_node_that_is_going_away_is_given_nobody() {
    if !Nginx::is_here() {
        return;
    }
    for configuration in CONFIGURATIONS {
        let cluster = Cluster::apart(3, &[]).await;
        let nginx = cluster.through_nginx(configuration);
        // They are told to leave one after the other, and meanwhile the node is there and refuses others.
        let mut told = Vec::new();
        for room in 0..8 {
            told.push(Peer::join(cluster.address(1), &format!("old-{room}"), "ada").await);
        }
        cluster.process(1).signal("TERM");
        told[0].expect("Draining").await;
        assert_eq!(all_joined(&nginx).await, names(&[0, 2]), "{configuration}");
        assert_eq!(get(nginx.address(), "/health/ready").await.status, 200, "{configuration}");
    }
}

#[tokio::test]
async fn without_any_node_nginx_says_so_and_does_not_wait() {
    if !Nginx::is_here() {
        return;
    }
    let mut cluster = Cluster::apart(2, &[]).await;
    let nginx = cluster.through_nginx("round_robin");
    cluster.kill(0);
    cluster.kill(1);
    assert_eq!(get(nginx.address(), "/health/ready").await.status, 502);
}
