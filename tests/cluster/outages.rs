//! Redis goes away, forgets, and comes back: calls go on.

use serde_json::{Value, json};

use crate::support::{Cluster, Peer, Process, Proxy, Redis, eventually, get, roster};

/// The participants of a room as a node shows them.
async fn users(cluster: &Cluster, node: usize, room: &str) -> Vec<String> {
    let shown = roster(cluster.address(node), room).await;
    let users = shown["participants"].as_array().map(Vec::as_slice).unwrap_or_default();
    users.iter().filter_map(|user| user["user_id"].as_str().map(str::to_owned)).collect()
}

pub async fn becomes(cluster: &Cluster, node: usize, mode: &str) {
    eventually(mode, async || (cluster.mode(node).await == mode).then_some(())).await;
}

/// Waits until each of two nodes knows the other in its present life: what is sent before that may be refused, and is told.
pub async fn know_each_other(cluster: &Cluster) {
    let standing = async |node| get(cluster.address(node), "/health/cluster").await.json();
    eventually("each knows the other", async || {
        let (one, other) = (standing(0).await, standing(1).await);
        let knows = |one: &Value, other: &Value| {
            one["peers"].as_array().is_some_and(|peers| {
                peers
                    .iter()
                    .any(|peer| peer["incarnation"] == other["incarnation"] && peer["state"] == "live")
            })
        };
        (knows(&one, &other) && knows(&other, &one)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_node_cut_off_from_redis_serves_on_and_is_one_of_the_cluster_again() {
    let cluster = Cluster::behind_proxies(2, &["--lease-secs=2", "--session-grace-secs=20"]).await;
    let mut ada = Peer::join(cluster.address(0), "blue", "ada").await;
    let mut bob = Peer::join(cluster.address(0), "blue", "bob").await;
    ada.expect("UserJoined").await;
    cluster.proxy(0).cut();
    becomes(&cluster, 0, "isolated").await;
    let ready = get(cluster.address(0), "/health/ready").await;
    assert_eq!((ready.status, &ready.json()["mode"]), (200, &json!("isolated")));
    assert_eq!(get(cluster.address(0), "/health/live").await.status, 200);
    let health = get(cluster.address(0), "/health").await.json();
    assert_eq!((&health["status"], &health["checks"]["cluster"]), (&json!("degraded"), &json!("down")));
    ada.send(json!({ "type": "Offer", "target_user_id": "bob", "sdp": "v=0" })).await;
    assert_eq!(bob.expect("Offer").await["sdp"], "v=0");
    let eve = Peer::join(cluster.address(0), "blue", "eve").await;
    assert_eq!(eve.welcome["isolated"], true);
    for peer in [&mut ada, &mut bob] {
        peer.expect("UserJoined").await;
    }
    cluster.proxy(0).heal();
    becomes(&cluster, 0, "cluster").await;
    eventually("the other node sees everybody", async || {
        (users(&cluster, 1, "blue").await == ["ada", "bob", "eve"]).then_some(())
    })
    .await;
    for peer in [&mut ada, &mut bob] {
        peer.expect_nothing().await;
    }
}

#[tokio::test]
async fn what_redis_has_forgotten_is_put_back_and_nobody_notices() {
    let cluster = Cluster::start_with(2, &["--lease-secs=2"]).await;
    let mut ada = Peer::join(cluster.address(0), "blue", "ada").await;
    let mut bob = Peer::join(cluster.address(1), "blue", "bob").await;
    ada.expect("UserJoined").await;
    cluster.redis().empty();
    eventually("the rows are back", async || {
        let mut rows: Vec<String> = cluster.redis().run(&["HKEYS", "rooms:{blue}:participants"]);
        rows.sort();
        (rows == ["ada", "bob"]).then_some(())
    })
    .await;
    ada.send(json!({ "type": "Offer", "target_user_id": "bob", "sdp": "v=0" })).await;
    assert_eq!(bob.expect("Offer").await["sdp"], "v=0");
    ada.expect_nothing().await;
    bob.expect_nothing().await;
}

#[tokio::test]
async fn a_redis_that_comes_back_empty_is_told_everything_and_nobody_notices() {
    let mut cluster = Cluster::start_with(2, &["--lease-secs=2"]).await;
    let mut ada = Peer::join(cluster.address(0), "blue", "ada").await;
    let mut bob = Peer::join(cluster.address(1), "blue", "bob").await;
    ada.expect("UserJoined").await;
    cluster.redis_mut().kill();
    for node in 0..2 {
        becomes(&cluster, node, "isolated").await;
        eventually("its lease has run out", async || {
            let standing = get(cluster.address(node), "/health/cluster").await.json();
            (standing["lease_left_ms"] == 0).then_some(())
        })
        .await;
    }
    cluster.redis_mut().restart();
    for node in 0..2 {
        becomes(&cluster, node, "cluster").await;
    }
    know_each_other(&cluster).await;
    let mut eve = Peer::join(cluster.address(1), "blue", "eve").await;
    assert_eq!(eve.welcome["participants"].as_array().map(Vec::len), Some(2), "{}", eve.welcome);
    for peer in [&mut ada, &mut bob] {
        assert_eq!(peer.expect("UserJoined").await["user"]["user_id"], "eve");
    }
    eve.send(json!({ "type": "Offer", "target_user_id": "ada", "sdp": "v=0" })).await;
    assert_eq!(ada.expect("Offer").await["sdp"], "v=0");
    for peer in [&mut ada, &mut bob, &mut eve] {
        peer.expect_nothing().await;
    }
}

#[tokio::test]
async fn a_node_that_finds_no_redis_at_its_start_waits_for_it_and_serves_then() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.address());
    proxy.cut();
    let url = format!("--redis-url={}", redis.url_at(proxy.address()));
    let node = Process::start(&["--cluster-mode=true", "--lease-secs=2", &url]);
    let mode = async || get(node.address(), "/health/cluster").await.json()["mode"].clone();
    assert_eq!(mode().await, "isolated");
    assert!(node.logs().contains("Redis does not answer"), "{}", node.logs());
    let ready = get(node.address(), "/health/ready").await;
    assert_eq!((ready.status, &ready.json()["code"]), (503, &json!("not_ready")));
    assert_eq!(get(node.address(), "/health/live").await.status, 200);
    let mut ada = Peer::connect(node.address()).await;
    ada.send(json!({ "type": "Join", "room_name": "blue", "user_id": "ada" })).await;
    assert_eq!(ada.expect_error("overloaded").await["retryable"], true);

    proxy.heal();
    eventually("one of the cluster", async || (mode().await == "cluster").then_some(())).await;
    assert_eq!(get(node.address(), "/health/ready").await.status, 200);
    ada.enter(json!({ "room_name": "blue", "user_id": "ada" })).await;
    let rows: Vec<String> = redis.run(&["HKEYS", "rooms:{blue}:participants"]);
    assert_eq!(rows, ["ada"]);
}

#[tokio::test]
async fn a_node_that_has_reached_redis_once_lets_people_in_without_it() {
    let cluster = Cluster::behind_proxies(1, &["--lease-secs=2"]).await;
    cluster.proxy(0).cut();
    becomes(&cluster, 0, "isolated").await;
    let mut ada = Peer::join(cluster.address(0), "blue", "ada").await;
    assert_eq!(ada.welcome["isolated"], true);
    cluster.proxy(0).heal();
    becomes(&cluster, 0, "cluster").await;
    eventually("its people are in Redis", async || {
        let rows: Vec<String> = cluster.redis().run(&["HKEYS", "rooms:{blue}:participants"]);
        (rows == ["ada"]).then_some(())
    })
    .await;
    let told = ada.expect("Resumed").await;
    assert_eq!(
        (&told["outcome"], &told["isolated"]),
        (&json!("snapshot"), &json!(null)),
        "no longer cut off"
    );
    ada.expect_nothing().await;
}
