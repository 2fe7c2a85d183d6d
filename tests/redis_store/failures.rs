//! Redis away, hung, or refusing: no answer is `Unavailable`, soon and without asking where it has not answered before; and it
//! is used again when it is back.

use std::time::Duration;

use greenroom::adapters::{
    breaker::FAILURES_MAX,
    ports::{Leases as _, Registry as _, StoreState},
    redis::RedisSettings,
};

use crate::{
    kit::{Part, unavailable},
    support::{Proxy, Redis, eventually},
};

/// A node that does not wait long.
fn impatient(url: &str) -> Part {
    Part::with(RedisSettings { timeout: Duration::from_millis(100), ..RedisSettings::single(url) }, "n1")
}

/// Asks until nothing is asked any more.
async fn given_up(part: &Part) -> String {
    let mut why = String::new();
    for _ in 0..FAILURES_MAX {
        why = unavailable(part.registry.admit(part.request("blue", "ada", 9))).await;
    }
    assert_eq!(part.leases.state(), StoreState::Open);
    unavailable(part.registry.admit(part.request("blue", "ada", 9))).await;
    assert!(part.metrics.redis_operations.with_label_values(&["index_put", "not_asked"]).get() > 0);
    why
}

async fn used_again(part: &Part) {
    eventually("Redis is used again", async || {
        part.registry.admit(part.request("blue", "ada", 9)).await.ok()?.ok()
    })
    .await;
    assert_eq!(part.leases.state(), StoreState::Closed);
    assert_eq!(part.metrics.redis_breaker.with_label_values(&["closed"]).get(), 1);
}

#[tokio::test]
async fn a_server_that_is_killed_is_left_alone_and_used_again_when_it_is_back() {
    if !Redis::is_here() {
        return;
    }
    let mut redis = Redis::start();
    let part = impatient(&redis.url());
    used_again(&part).await;
    redis.kill();
    given_up(&part).await;
    redis.restart();
    used_again(&part).await;
}

#[tokio::test]
async fn a_server_that_holds_up_commands_is_left_alone() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let part = impatient(&redis.url());
    used_again(&part).await;
    redis.pause(Duration::from_secs(2));
    assert!(given_up(&part).await.contains("in time"));
    used_again(&part).await;
}

#[tokio::test]
async fn a_server_that_is_frozen_is_left_alone() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let part = impatient(&redis.url());
    used_again(&part).await;
    redis.freeze();
    assert!(given_up(&part).await.contains("in time"));
    redis.thaw();
    used_again(&part).await;
}

#[tokio::test]
async fn a_line_that_swallows_everything_is_given_up_and_another_is_taken() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let proxy = Proxy::start(redis.address());
    let part = impatient(&redis.url_at(proxy.address()));
    used_again(&part).await;
    proxy.silence();
    given_up(&part).await;
    proxy.heal();
    used_again(&part).await;
    proxy.cut();
    given_up(&part).await;
    proxy.heal();
    used_again(&part).await;
}

#[tokio::test]
async fn a_connection_that_was_lost_costs_nobody_an_answer() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let part = Part::on(&redis, "n1");
    for round in 0..10 {
        redis.run::<i64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        part.admitted("blue", &format!("user-{round}")).await;
    }
}

#[tokio::test]
async fn a_server_that_refuses_to_write_is_left_alone_and_keeps_what_it_has() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let part = Part::on(&redis, "n1");
    let wishes: [(&[&str], &[&str], &str); 3] = [
        (&["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"], "READONLY"),
        (
            &["CONFIG", "SET", "min-replicas-to-write", "1"],
            &["CONFIG", "SET", "min-replicas-to-write", "0"],
            "NOREPLICAS",
        ),
        (&["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"], "OOM"),
    ];
    for (refuse, take, code) in wishes {
        used_again(&part).await;
        redis.run::<()>(refuse);
        let why = given_up(&part).await;
        assert!(why.to_uppercase().contains(code), "{why}");
        redis.run::<()>(take);
        used_again(&part).await;
        assert_eq!(part.picture("blue").await.rows.len(), 1);
    }
}

#[tokio::test]
async fn a_script_is_refused_as_a_whole_where_the_index_could_still_be_written() {
    if !Redis::is_here() {
        return;
    }
    // What the index takes needs no memory anew; the script then finds none for the row.
    let redis = Redis::start();
    let part = Part::on(&redis, "n1");
    let row = part.admitted("blue", "ada").await.row;
    redis.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let locked = greenroom::domain::membership::Change::SetLocked {
        room: crate::kit::room("blue"),
        lock: greenroom::protocol::cluster::RoomLock { locked: true, version: 1 },
    };
    let why = unavailable(part.registry.mirror(locked)).await;
    assert!(why.contains("OOM"), "{why}");
    redis.run::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    let picture = part.picture("blue").await;
    assert_eq!((picture.lock.locked, picture.rows.into_values().collect::<Vec<_>>()), (false, vec![row]));
}

#[tokio::test]
async fn a_node_may_neither_search_the_keys_nor_empty_the_server() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let client = deadpool_redis::redis::Client::open(redis.url()).expect("a URL");
    let mut connection = client.get_connection().expect("it answers");
    for words in [&["KEYS", "*"][..], &["SCAN", "0"], &["FLUSHALL"], &["FLUSHDB"], &["CONFIG", "GET", "*"]] {
        let answer: Result<(), _> = crate::support::command(words).query(&mut connection);
        assert_eq!(answer.expect_err("refused").code(), Some("NOPERM"), "{words:?}");
    }
}
