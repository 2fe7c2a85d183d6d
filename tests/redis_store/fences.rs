//! What was sent in time and comes too late: after a hang of the server, or of the network.

use std::time::Duration;

use greenroom::{
    adapters::{
        ports::{Leases as _, Registry as _},
        redis::RedisSettings,
    },
    domain::{
        cluster::{Mine, Renewal},
        membership::Change,
    },
};

use crate::{
    kit::{Part, room, unavailable, user, withdraw},
    support::{Redis, eventually},
};

#[tokio::test]
async fn a_write_that_is_overtaken_by_the_end_of_its_lease_does_nothing() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    // By its own clock the node may write for an hour, as one that was frozen in between may believe.
    let part = Part::on(&redis, "n1");
    part.leases.beat(&part.node, Renewal::First, Duration::from_secs(60)).await.expect("answers");
    let row = part.admitted("blue", "ada").await.row;
    part.leases.beat(&part.node, Renewal::Again, Duration::from_millis(1)).await.expect("answers");
    eventually("the lease has run out", async || {
        let beat = part.leases.beat(&part.node, Renewal::Look, Duration::ZERO).await.expect("answers");
        (beat.mine == Mine::RunOut).then_some(())
    })
    .await;
    unavailable(part.registry.admit(part.request("blue", "bob", 9))).await;
    unavailable(part.registry.mirror(withdraw("blue", "ada", &row))).await;
    unavailable(part.registry.mirror(Change::SetLocked {
        room: room("blue"),
        lock: greenroom::protocol::cluster::RoomLock { locked: true, version: 1 },
    }))
    .await;
    unavailable(part.registry.sync(part.sync_request("blue", vec![]))).await;
    assert_eq!((part.counted("admit", "outdated"), part.counted("sync", "outdated")), (1, 1));
    let picture = part.picture("blue").await;
    assert_eq!((picture.rows.len(), picture.lock.locked), (1, false));

    part.leases.beat(&part.node, Renewal::First, Duration::from_secs(60)).await.expect("answers");
    part.admitted("blue", "bob").await;
}

#[tokio::test]
async fn what_a_hung_server_executes_later_harms_nothing_and_is_repaired_by_a_sync() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let settings =
        RedisSettings { timeout: Duration::from_millis(100), ..RedisSettings::single(&redis.url()) };
    let [part, other] = ["n1", "n2"].map(|name| Part::with(settings.clone(), name));
    let ada = part.admitted("blue", "ada").await.row;
    redis.freeze();
    let ghost = part.request("blue", "bob", 9);
    let session = ghost.session;
    unavailable(part.registry.admit(ghost)).await;
    let take_back = Change::TakeBack { room: room("blue"), user_id: user("bob"), session };
    unavailable(part.registry.mirror(take_back)).await;
    unavailable(part.registry.mirror(withdraw("blue", "ada", &ada))).await;
    redis.thaw();
    // Ada comes back at another node; what was asked before may be done before or after that.
    let eve = eventually("Redis answers again", async || {
        other.registry.admit(other.request("blue", "ada", 9)).await.ok()
    })
    .await;
    let eve = eve.expect("let in").row;
    let picture = eventually("Redis answers again", async || {
        part.registry.sync(part.sync_request("blue", vec![])).await.ok()
    })
    .await;
    assert_eq!(picture.rows.into_values().collect::<Vec<_>>(), [eve]);
}
