//! Leases by the server's clock, the claim on clearing away, the index, the epoch.

use std::time::Duration;

use greenroom::{
    adapters::ports::{Leases as _, Registry as _, StoreState},
    adapters::redis::{CheckError, RedisSettings},
    domain::{
        cluster::{Mine, Renewal},
        membership::SyncRequest,
    },
    protocol::{Incarnation, NodeRef},
};

use crate::{
    kit::{Part, in_an_hour, node, room, user},
    support::{Redis, eventually},
};

const LEASE: Duration = Duration::from_secs(8);

#[tokio::test]
async fn a_lease_is_taken_renewed_and_runs_out_by_the_servers_clock() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let part = Part::on(&redis, "n1");
    let beat =
        async |node: &NodeRef, renewal, lease| part.leases.beat(node, renewal, lease).await.expect("answers");
    let me = node("n1", 1);

    let looked = beat(&me, Renewal::Look, LEASE).await;
    assert_eq!((looked.mine, looked.ends_ms, looked.peers.len()), (Mine::Absent, 0, 0));
    let again = beat(&me, Renewal::Again, LEASE).await;
    assert_eq!((again.mine, again.ends_ms), (Mine::Absent, 0), "what is not there is not renewed");
    assert_eq!(redis.keys(), ["cluster:epoch"]);

    let first = beat(&me, Renewal::First, LEASE).await;
    assert_eq!(first.mine, Mine::Absent);
    let time: (u64, u64) = redis.run(&["TIME"]);
    let now_ms = time.0 * 1000 + time.1 / 1000;
    assert!(first.ends_ms > now_ms && first.ends_ms <= now_ms + 8000, "{} at {now_ms}", first.ends_ms);
    let again = beat(&me, Renewal::Again, LEASE).await;
    assert_eq!(again.mine, Mine::Until(first.ends_ms));
    assert!(again.ends_ms >= first.ends_ms);
    assert_eq!(again.epoch, looked.epoch);

    // Another node sees it, and how much is left.
    let other = node("n2.b", 7);
    let seen = beat(&other, Renewal::First, Duration::from_millis(1)).await;
    assert_eq!((seen.peers.len(), &seen.peers[0].node, seen.peers[0].ends_ms), (1, &me, again.ends_ms));
    assert!(seen.peers[0].left > Duration::from_secs(1) && seen.peers[0].left <= LEASE);
    let run_out = eventually("it has run out", async || {
        let beat = beat(&other, Renewal::Look, LEASE).await;
        (beat.mine == Mine::RunOut).then_some(beat)
    })
    .await;
    let again = beat(&other, Renewal::Again, LEASE).await;
    assert_eq!((again.mine, again.ends_ms), (Mine::RunOut, run_out.ends_ms), "it is not renewed any more");
    let dead = &beat(&me, Renewal::Again, LEASE).await.peers[0];
    assert_eq!((&dead.node, dead.left), (&other, Duration::ZERO), "it is listed until it is taken away");
    part.leases.remove(&other).await.expect("answers");
    assert!(beat(&me, Renewal::Look, LEASE).await.peers.is_empty());
}

#[tokio::test]
async fn a_store_that_was_emptied_has_another_name() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let parts = ["n1", "n2"].map(|name| Part::on(&redis, name));
    let beats = async || {
        let [one, two] = parts.each_ref().map(|part| part.leases.beat(&part.node, Renewal::First, LEASE));
        let (one, two) = tokio::join!(one, two);
        let (one, two) = (one.expect("answers"), two.expect("answers"));
        assert_eq!(one.epoch, two.epoch, "all see the same");
        one.epoch
    };
    let before = beats().await;
    assert_eq!(beats().await, before);
    redis.empty();
    assert_ne!(beats().await, before);
}

#[tokio::test]
async fn people_see_who_lives() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let part = Part::on(&redis, "n1");
    part.leases.beat(&part.node, Renewal::First, LEASE).await.expect("answers");
    let key = "servers:{n1}:heartbeat";
    let shown = eventually("it is shown", async || redis.run::<Option<String>>(&["GET", key])).await;
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!((&shown["node"], &shown["inc"], &shown["lease_ms"]), (&"n1".into(), &1.into(), &8000.into()));
    let left: i64 = redis.run(&["PTTL", key]);
    assert!(left > 0 && left <= 8000);
}

#[tokio::test]
async fn one_node_at_a_time_clears_away() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let parts = ["n1", "n2"].map(|name| Part::on(&redis, name));
    let dead = node("n3", 1);
    let claim = async |part: &Part, ms| {
        part.leases.claim_reaping(&dead, &part.node, Duration::from_millis(ms)).await.expect("answers")
    };
    assert!(claim(&parts[0], 60_000).await);
    assert!(claim(&parts[0], 1).await, "who has it goes on with it");
    eventually("it is over", async || claim(&parts[1], 60_000).await.then_some(())).await;
    assert!(!claim(&parts[0], 60_000).await);
}

#[tokio::test]
async fn the_index_leads_to_what_a_dead_node_has_left_and_spares_what_came_back() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let [dead, other] = ["n1", "n2"].map(|name| Part::on(&redis, name));
    let ada = dead.admitted("blue", "ada").await.row;
    let bob = dead.admitted("red", "bob").await.row;
    let mut entries = other.leases.index(&dead.node.id).await.expect("answers");
    entries.sort_by_key(|entry| entry.room.to_string());
    assert_eq!(
        entries.iter().map(|entry| (entry.session, &entry.node)).collect::<Vec<_>>(),
        [(ada.session, &dead.node), (bob.session, &dead.node)]
    );
    assert_eq!((&entries[0].room, &entries[1].room), (&room("blue"), &room("red")));

    // In its next life the node puts ada back, while somebody clears away what the first has left.
    let life = NodeRef { incarnation: Incarnation(2), ..dead.node.clone() };
    dead.leases.granted(&life, in_an_hour());
    let mine = vec![(user("ada"), greenroom::domain::membership::Row { node: life.clone(), ..ada.clone() })];
    let request = SyncRequest { node: life, ..dead.sync_request("blue", mine) };
    dead.registry.sync(request).await.expect("answers");
    other.leases.unindex(&dead.node, vec![ada.session, bob.session]).await.expect("answers");
    assert_eq!(other.indexed(&dead.node).await, [ada.session]);
}

#[tokio::test]
async fn a_redis_that_would_lose_what_it_is_told_is_not_used() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let part = Part::on(&redis, "n1");
    assert_eq!(part.store.check().await, Ok(()));
    redis.run::<()>(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let Err(CheckError::Unsuitable(why)) = part.store.check().await else { panic!("unsuitable") };
    assert_eq!(
        why,
        "Redis may throw away what it is told: set its maxmemory-policy to noeviction (it is allkeys-lru)"
    );
    redis.run::<()>(&["ACL", "SETUSER", "greenroom", "-info"]);
    for _ in 0..10 {
        assert!(matches!(part.store.check().await, Err(CheckError::Unknown(_))));
    }
    assert_eq!(
        part.leases.state(),
        StoreState::Closed,
        "a right that is missing is no reason to leave Redis alone"
    );
    let nowhere = Part::with(RedisSettings::single("redis://127.0.0.1:1"), "n1");
    assert!(matches!(nowhere.store.check().await, Err(CheckError::Unknown(_))));
}
