//! Redis is there and does not do what it is told: it refuses writes, or it hangs. And what happens meanwhile to what one
//! node has for another.

use serde_json::{Value, json};

use crate::{
    outages::{becomes, know_each_other},
    support::{Cluster, Peer, Redis, eventually, get, roster},
};

/// The participants of a room and their states, as a node shows them.
async fn states(cluster: &Cluster, node: usize, room: &str) -> Vec<(String, String)> {
    let shown = roster(cluster.address(node), room).await;
    let users = shown["participants"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    users.iter().map(|user| (text(&user["user_id"]), text(&user["state"]))).collect()
}

/// Waits until both nodes and Redis have exactly these participants, all of them present.
async fn all_agree(cluster: &Cluster, room: &str, users: &[&str]) {
    let truth: Vec<_> = users.iter().map(|&user| (user.to_owned(), "present".to_owned())).collect();
    eventually("rosters are the truth", async || {
        let (one, other) = (states(cluster, 0, room).await, states(cluster, 1, room).await);
        let rows: Vec<(String, String)> =
            cluster.redis().run(&["HGETALL", &format!("rooms:{{{room}}}:participants")]);
        let mut rows: Vec<_> = rows
            .into_iter()
            .map(|(user, row)| {
                let row: Value = serde_json::from_str(&row).expect("a row is JSON");
                (user, row["state"].as_str().unwrap_or_default().to_owned())
            })
            .collect();
        rows.sort();
        (one == truth && other == truth && rows == truth).then_some(())
    })
    .await;
}

/// Both nodes have noticed, and their leases are over.
async fn both_are_cut_off(cluster: &Cluster) {
    for node in 0..2 {
        becomes(cluster, node, "isolated").await;
        eventually("its lease has run out", async || {
            let standing = get(cluster.address(node), "/health/cluster").await.json();
            (standing["lease_left_ms"] == 0).then_some(())
        })
        .await;
        let ready = get(cluster.address(node), "/health/ready").await;
        assert_eq!((ready.status, &ready.json()["mode"]), (200, &json!("isolated")));
    }
}

/// A call on two nodes, from before Redis does `refuse` until after it has done `work` again.
async fn a_call_goes_on(refuse: impl FnOnce(&Redis), work: impl FnOnce(&Redis)) {
    let cluster = Cluster::start_with(2, &["--lease-secs=2", "--session-grace-secs=20"]).await;
    let mut ada = Peer::join(cluster.address(0), "blue", "ada").await;
    let mut bob = Peer::join(cluster.address(0), "blue", "bob").await;
    let mut eve = Peer::join(cluster.address(1), "blue", "eve").await;
    for user in ["bob", "eve"] {
        assert_eq!(ada.expect("UserJoined").await["user"]["user_id"], user);
    }
    bob.expect("UserJoined").await;

    refuse(cluster.redis());
    both_are_cut_off(&cluster).await;
    ada.send(json!({ "type": "Offer", "target_user_id": "bob", "sdp": "v=0", "id": "o" })).await;
    ada.expect_accepted("o").await;
    assert_eq!(bob.expect("Offer").await["sdp"], "v=0");
    let mut zoe = Peer::join(cluster.address(0), "blue", "zoe").await;
    let others: Vec<_> = zoe.welcome["participants"].as_array().expect("a list").iter().collect();
    let others: Vec<_> = others.iter().map(|user| user["user_id"].clone()).collect();
    assert_eq!(
        (&zoe.welcome["isolated"], others),
        (&json!(true), vec![json!("ada"), json!("bob"), json!("eve")])
    );
    for peer in [&mut ada, &mut bob] {
        assert_eq!(peer.expect("UserJoined").await["user"]["user_id"], "zoe");
    }

    work(cluster.redis());
    for node in 0..2 {
        becomes(&cluster, node, "cluster").await;
    }
    all_agree(&cluster, "blue", &["ada", "bob", "eve", "zoe"]).await;
    assert_eq!(eve.expect("UserJoined").await["user"]["user_id"], "zoe");
    let told = zoe.expect("Resumed").await;
    assert_eq!(
        (&told["outcome"], &told["isolated"]),
        (&json!("snapshot"), &Value::Null),
        "no longer cut off"
    );
    know_each_other(&cluster).await;
    eve.send(json!({ "type": "Offer", "target_user_id": "zoe", "sdp": "v=1" })).await;
    assert_eq!(zoe.expect("Offer").await["sdp"], "v=1");
    for peer in [&mut ada, &mut bob, &mut eve, &mut zoe] {
        peer.expect_nothing().await;
    }
}

#[tokio::test]
async fn a_redis_that_may_only_be_read_stops_no_call() {
    a_call_goes_on(
        |redis| redis.run::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]),
        |redis| redis.run::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]),
    )
    .await;
}

#[tokio::test]
async fn a_redis_that_is_made_a_replica_of_nobody_stops_no_call() {
    a_call_goes_on(
        |redis| redis.run::<()>(&["REPLICAOF", "127.0.0.1", "1"]),
        |redis| redis.run::<()>(&["REPLICAOF", "NO", "ONE"]),
    )
    .await;
}

#[tokio::test]
async fn a_redis_without_memory_stops_no_call() {
    a_call_goes_on(
        |redis| redis.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]),
        |redis| redis.run::<()>(&["CONFIG", "SET", "maxmemory", "0"]),
    )
    .await;
}

#[tokio::test]
async fn a_redis_that_hangs_stops_no_call() {
    a_call_goes_on(Redis::freeze, Redis::thaw).await;
}

/// Two people on two nodes that know each other.
async fn two(flags: &[&str]) -> (Cluster, Peer, Peer) {
    let cluster = Cluster::start_with(2, flags).await;
    let mut ada = Peer::join(cluster.address(0), "blue", "ada").await;
    let bob = Peer::join(cluster.address(1), "blue", "bob").await;
    ada.expect("UserJoined").await;
    (cluster, ada, bob)
}

/// What a numbered candidate is called.
fn name(number: usize) -> String {
    format!("c{number}")
}

fn candidate(to: &str, number: usize) -> Value {
    json!({ "type": "IceCandidate", "target_user_id": to, "candidate": { "n": number }, "id": name(number) })
}

/// Sends a numbered candidate to somebody, and hears that it was taken.
async fn say(from: &mut Peer, to: &str, number: usize) {
    from.send(candidate(to, number)).await;
    from.expect_accepted(name(number)).await;
}

/// Both hear whatever is said from now on, and nothing else.
async fn both_hear(ada: &mut Peer, bob: &mut Peer, number: usize) {
    say(ada, "bob", number).await;
    assert_eq!(bob.expect("IceCandidate").await["candidate"]["n"], number);
    say(bob, "ada", number).await;
    assert_eq!(ada.expect("IceCandidate").await["candidate"]["n"], number);
    for peer in [ada, bob] {
        peer.expect_nothing().await;
    }
}

#[tokio::test]
async fn what_waits_for_another_node_for_too_long_is_refused_by_its_name() {
    let (mut cluster, mut ada, mut bob) = two(&["--lease-secs=2", "--session-grace-secs=30"]).await;
    cluster.redis_mut().kill();
    for number in 0..3 {
        say(&mut ada, "bob", number).await;
    }
    for number in 0..3 {
        let error = ada.expect_error("peer_unreachable").await;
        assert_eq!(error["id"], name(number));
    }
    cluster.redis_mut().restart();
    for node in 0..2 {
        becomes(&cluster, node, "cluster").await;
    }
    know_each_other(&cluster).await;
    both_hear(&mut ada, &mut bob, 3).await;
}

/// Many are sent while Redis is away, and the first of them has waited for less than a link's patience when it is back.
async fn what_waits_arrives(leave: impl FnOnce(&mut Redis), back: impl FnOnce(&mut Redis)) {
    const SIGNALS: usize = 20;
    let (mut cluster, mut ada, mut bob) = two(&["--lease-secs=16", "--session-grace-secs=30"]).await;
    leave(cluster.redis_mut());
    for node in 0..2 {
        becomes(&cluster, node, "isolated").await;
    }
    for number in 0..SIGNALS {
        say(&mut ada, "bob", number).await;
        say(&mut bob, "ada", number).await;
    }
    back(cluster.redis_mut());
    for number in 0..SIGNALS {
        assert_eq!(bob.expect("IceCandidate").await["candidate"]["n"], number);
        assert_eq!(ada.expect("IceCandidate").await["candidate"]["n"], number);
    }
    for node in 0..2 {
        becomes(&cluster, node, "cluster").await;
    }
    both_hear(&mut ada, &mut bob, SIGNALS).await;
}

#[tokio::test]
async fn what_waits_for_another_node_arrives_once_and_in_order_when_redis_is_started_again() {
    what_waits_arrives(Redis::kill, Redis::restart).await;
}

#[tokio::test]
async fn what_waits_for_another_node_arrives_once_and_in_order_when_redis_wakes_up() {
    what_waits_arrives(|redis| redis.freeze(), |redis| redis.thaw()).await;
}

#[tokio::test]
async fn after_an_outage_longer_than_a_lease_what_waited_is_refused_or_has_arrived_and_never_lost_in_silence()
{
    const SIGNALS: usize = 5;
    let (mut cluster, mut ada, mut bob) = two(&["--lease-secs=2", "--session-grace-secs=30"]).await;
    cluster.redis_mut().kill();
    both_are_cut_off(&cluster).await;
    for number in 0..SIGNALS {
        say(&mut ada, "bob", number).await;
    }
    cluster.redis_mut().restart();
    for node in 0..2 {
        becomes(&cluster, node, "cluster").await;
    }
    know_each_other(&cluster).await;

    // The one that says that those before it are over.
    ada.send(candidate("bob", SIGNALS)).await;
    let (mut refused, mut heard) = (Vec::new(), Vec::new());
    loop {
        let told = ada.next().await;
        match told["type"].as_str() {
            Some("Error") => refused.push((told["code"].clone(), told["id"].clone())),
            _ => break assert_eq!((&told["type"], &told["id"]), (&json!("Accepted"), &json!(name(SIGNALS)))),
        }
    }
    loop {
        match bob.expect("IceCandidate").await["candidate"]["n"].as_u64() {
            Some(number) if number == SIGNALS as u64 => break,
            number => heard.push(number.expect("a number")),
        }
    }
    assert!(heard.is_sorted_by(|one, next| one < next), "once and in order: {heard:?}");
    for number in 0..SIGNALS {
        let told = refused.contains(&(json!("peer_unreachable"), json!(name(number))));
        assert!(told || heard.contains(&(number as u64)), "{number}: {refused:?} {heard:?}");
    }
    both_hear(&mut ada, &mut bob, SIGNALS + 1).await;
}
