//! What many ask at one time, and in which order it takes effect.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use greenroom::{
    adapters::{
        ports::{Leases as _, Registry as _},
        redis::RedisSettings,
    },
    domain::membership::{AdmissionRequest, Change, RoomLock, Row, TakeOver},
    protocol::{Code, SessionId, event::Presence, metadata::Metadata},
};

use crate::{
    kit::{Part, in_an_hour, node, room, unavailable, update, user, withdraw},
    support::{Redis, command, eventually},
};

#[tokio::test]
async fn many_who_come_at_once_to_several_nodes_never_exceed_the_cap() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let parts: Vec<Part> = (1..=4).map(|n| Part::on(&redis, &format!("n{n}"))).collect();
    parts[0].admitted("blue", "first").await;
    let joins = (0..40).map(|n| {
        let part = &parts[n % parts.len()];
        part.registry.admit(part.request("blue", &format!("user-{n}"), 2))
    });
    let answers = join_all(joins).await;
    let (admitted, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().map(|answer| answer.expect("Redis answers")).partition(Result::is_ok);
    assert_eq!(admitted.len(), 1, "one place was left");
    assert!(
        refused.iter().all(|answer| answer.as_ref().is_err_and(|refusal| refusal.code == Code::RoomFull))
    );
    assert_eq!(parts[0].picture("blue").await.rows.len(), 2);
    // Who was refused is in no index for long.
    for part in &parts {
        eventually("the index leads to rows only", async || {
            let here = parts[0].picture("blue").await.rows.into_values().filter(|row| row.node == part.node);
            let here: BTreeSet<SessionId> = here.map(|row| row.session).collect();
            (BTreeSet::from_iter(part.indexed(&part.node).await) == here).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn one_participant_who_comes_to_two_nodes_at_once_ends_as_one() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let parts = ["n1", "n2"].map(|name| Part::on(&redis, name));
    for round in 0..20 {
        let name = format!("room-{round}");
        let [one, other] = parts.each_ref().map(|part| part.registry.admit(part.request(&name, "ada", 1)));
        let (one, other) = tokio::join!(one, other);
        let [one, other] = [one, other].map(|answer| answer.expect("Redis answers").expect("let in"));
        let later = if one.row.generation > other.row.generation { &one } else { &other };
        let earlier = if one.row.generation > other.row.generation { &other } else { &one };
        assert_ne!(one.row.generation, other.row.generation);
        assert_eq!((earlier.replaced.as_ref(), later.replaced.as_ref()), (None, Some(&earlier.row.node)));
        let picture = parts[0].picture(&name).await;
        assert_eq!(picture.rows.values().collect::<Vec<_>>(), [&later.row]);
        let loser = parts.iter().find(|part| part.node == earlier.row.node).expect("one of them");
        // Its own withdrawal of the session that was replaced comes too late.
        let late = loser.registry.mirror(withdraw(&name, "ada", &earlier.row)).await;
        assert_eq!(late, Ok(false));
        eventually("the replaced session is in no index", async || {
            (!loser.indexed(&loser.node).await.contains(&earlier.row.session)).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn what_is_asked_of_one_room_takes_effect_in_the_order_of_the_calls() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let part = Part::on(&redis, "n1");
    for round in 0..20 {
        let name = format!("room-{round}");
        let row = part.admitted(&name, "ada").await.row;
        let lock = |locked, version| {
            let lock = RoomLock { locked, version };
            part.registry.mirror(Change::SetLocked { room: room(&name), lock })
        };
        // Futures are polled in the other order, or never.
        let mut answers = Vec::new();
        for revision in 1..=20 {
            drop(lock(true, 2 * revision - 1));
            let shut = part.registry.admit(part.request(&name, "bob", 100));
            drop(lock(false, 2 * revision));
            let open = part.registry.admit(part.request(&name, "bob", 100));
            let state = if revision % 2 == 0 { Presence::Present } else { Presence::Suspect };
            let updated = part.registry.mirror(update(&name, "ada", &row, revision, state));
            answers.push((shut, open, updated));
        }
        for (number, (shut, open, updated)) in answers.into_iter().enumerate().rev() {
            assert_eq!(updated.await, Ok(true), "none was overtaken by a later one");
            let open = open.await.expect("Redis answers");
            assert!(open.is_ok(), "after it was opened");
            let shut = shut.await.expect("Redis answers");
            assert_eq!(shut.is_err(), number == 0, "bob was kept out until he was in once");
        }
    }
}

/// Looks all the time, until told to stop, whether a row stands in the room that the index does not lead to.
fn watch_the_index(redis: &Redis, stop: Arc<AtomicBool>) -> JoinHandle<u32> {
    const MISSING: &str = "for _, row in ipairs(redis.call('HVALS', KEYS[1])) do
            local session = string.match(row, '\"session\":\"([^\"]+)\"')
            if redis.call('HEXISTS', KEYS[2], session) == 0 then return session end
        end
        return ''";
    let mut admin = redis.admin();
    thread::spawn(move || {
        let look = command(&["EVAL", MISSING, "2", "rooms:{blue}:participants", "servers:{n1}:connections"]);
        let mut looks = 0;
        while !stop.load(Ordering::Relaxed) {
            let missing: String = look.query(&mut admin).expect("Redis answers");
            assert_eq!(missing, "", "a row without an entry");
            looks += 1;
        }
        looks
    })
}

#[tokio::test]
async fn a_row_is_in_the_index_before_it_is_there_and_until_it_has_gone() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let part = Part::on(&redis, "n1");
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = watch_the_index(&redis, stop.clone());
    let names: Vec<String> = (0..8).map(|n| format!("user-{n}")).collect();
    for round in 0..50 {
        join_all(names.iter().map(|name| part.admitted("blue", name))).await;
        let rows = join_all(names.iter().map(|name| part.admitted("blue", name))).await;
        if round % 2 == 0 {
            part.registry.sync(part.sync_request("blue", vec![])).await.expect("Redis answers");
        } else {
            let gone = names.iter().zip(&rows).map(|(name, admitted)| withdraw("blue", name, &admitted.row));
            join_all(gone.map(|change| part.registry.mirror(change))).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    assert!(watcher.join().expect("every row was in the index") > 0);
}

#[tokio::test]
async fn a_session_that_moves_is_in_the_index_of_its_home_alone() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let [one, two] = ["n1", "n2"].map(|name| Part::on(&redis, name));
    let mut row = one.admitted("blue", "ada").await.row;
    for (from, to) in [(&one, &two), (&two, &one), (&one, &two)] {
        let request = |row: &Row| TakeOver {
            room: room("blue"),
            user_id: user("ada"),
            expected: row.generation,
            row: Row { node: to.node.clone(), ..row.clone() },
        };
        let moved = to.registry.take_over(request(&row)).await.expect("Redis answers").expect("it moves");
        assert_eq!(moved.replaced.as_ref(), Some(&from.node));
        let again = to.registry.take_over(request(&row)).await.expect("Redis answers");
        assert_eq!(again.expect_err("it has moved").code, Code::SessionUnknown);
        eventually("the index of the old home is clean", async || {
            from.indexed(&from.node).await.is_empty().then_some(())
        })
        .await;
        assert_eq!(to.indexed(&to.node).await, [row.session], "of the new one, also after the second try");
        let late = from.registry.mirror(withdraw("blue", "ada", &row)).await;
        assert_eq!(late, Ok(false), "the session is not its old home's any more");
        row = moved.row;
    }
}

#[tokio::test]
async fn what_redis_has_forgotten_is_put_back_by_a_sync() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let [one, two] = ["n1", "n2"].map(|name| Part::on(&redis, name));
    let ada = one.admitted("blue", "ada").await.row;
    let bob = two.admitted("blue", "bob").await.row;
    redis.empty();
    assert!(one.picture("blue").await.rows.is_empty());
    let picture = one.registry.sync(one.sync_request("blue", vec![(user("ada"), ada.clone())])).await;
    assert_eq!(picture.expect("Redis answers").rows.len(), 1);
    let picture = two.registry.sync(two.sync_request("blue", vec![(user("bob"), bob.clone())])).await;
    let picture = picture.expect("Redis answers");
    assert_eq!(picture.rows.into_values().collect::<Vec<_>>(), [ada.clone(), bob.clone()]);
    assert_eq!(
        (one.indexed(&one.node).await, two.indexed(&two.node).await),
        (vec![ada.session], vec![bob.session])
    );
    let eve = one.admitted("blue", "eve").await.row;
    assert!(eve.generation > ada.generation.max(bob.generation) && eve.joined_at > bob.joined_at);
}

#[tokio::test]
async fn scripts_that_the_server_does_not_know_are_sent_whole() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let part = Part::on(&redis, "n1");
    let row = part.admitted("blue", "ada").await.row;
    redis.run::<()>(&["SCRIPT", "FLUSH"]);
    assert_eq!(part.refused("blue", "bob", 1).await, Code::RoomFull);
    redis.run::<()>(&["SCRIPT", "FLUSH"]);
    assert_eq!(part.registry.mirror(withdraw("blue", "ada", &row)).await, Ok(true));
    assert_eq!(part.counted("admit", "ok"), 2);
}

#[tokio::test]
async fn a_room_that_nobody_is_in_leaves_nothing() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let part = Part::on(&redis, "n1");
    let row = part.admitted("blue", "ada").await.row;
    let changes = [
        Change::SetLocked { room: room("blue"), lock: RoomLock { locked: true, version: 1 } },
        Change::Ban { room: room("blue"), user_id: user("eve"), duration: Duration::from_secs(60) },
    ];
    for change in changes.clone() {
        part.registry.mirror(change).await.expect("Redis answers");
    }
    assert_eq!(part.refused("blue", "eve", 9).await, Code::Banned);
    assert_eq!(part.refused("blue", "bob", 9).await, Code::RoomLocked);
    assert_eq!(part.registry.mirror(withdraw("blue", "ada", &row)).await, Ok(true));
    // Nor do a lock and a ban of a room that nobody is in.
    for change in changes {
        part.registry.mirror(change).await.expect("Redis answers");
    }
    eventually("nothing is left", async || redis.keys().is_empty().then_some(())).await;
    let metadata: Metadata = serde_json::from_str(r#"{"list":[],"none":{}}"#).expect("an object");
    let request = AdmissionRequest { metadata, ..part.request("blue", "eve", 9) };
    part.registry.admit(request).await.expect("Redis answers").expect("the ban went with the room");
    let stored: String = redis.run(&["HGET", "rooms:{blue}:participants", "eve"]);
    assert!(stored.contains(r#""metadata":{"list":[],"none":{}}"#), "{stored}");
}

#[tokio::test]
async fn nothing_is_written_in_the_name_of_another_life_or_without_a_lease() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let part = Part::without_lease(RedisSettings::single(&redis.url()), "n1");
    let why = unavailable(part.registry.admit(part.request("blue", "ada", 9))).await;
    assert!(why.contains("lease"), "{why}");
    part.leases.granted(&part.node, in_an_hour());
    let row = part.admitted("blue", "ada").await.row;
    part.leases.granted(&node("n1", 2), in_an_hour());
    unavailable(part.registry.admit(part.request("blue", "bob", 9))).await;
    unavailable(part.registry.sync(part.sync_request("blue", vec![(user("ada"), row.clone())]))).await;
    part.leases.granted(&node("n1", 1), Instant::now());
    unavailable(part.registry.mirror(withdraw("blue", "ada", &row))).await;
    // To look is no writing.
    let found = part.registry.find(room("blue"), user("ada")).await.expect("Redis answers");
    assert_eq!(found, Some(row));
    assert_eq!(part.picture("blue").await.rows.len(), 1);
}
