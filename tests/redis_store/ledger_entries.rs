//! What leads to recordings: their names, their owners' bounds, the recorded rooms.

use std::time::Duration;

use futures_util::future::join_all;
use greenroom::{
    adapters::ports::{Ledger as _, Patience},
    domain::recording::{Noted, RecordingRules},
    protocol::{
        Code,
        recorder::{Made, RecordingState},
    },
};

use crate::{
    kit::{room, user},
    ledger_kit::{Books, RULES, at, entry, id, manifest_of, mark, patient, token},
    support::{Proxy, Redis, eventually},
};

#[tokio::test]
async fn an_owner_never_records_more_at_once_than_it_may() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let books: Vec<Books> = (0..4).map(|n| Books::on(&redis, &format!("n{n}"))).collect();
    let open = async |books: &Books, name: &str| {
        books.open(&token(&id(name), 1), None, Some("ada"), 3).await.expect("Redis answers")
    };
    for round in 0..5 {
        let names: Vec<_> = (0..24).map(|n| format!("r{round}-{n}")).collect();
        let opened = join_all(names.iter().enumerate().map(|(n, name)| open(&books[n % 4], name))).await;
        let (opened, refused): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
        assert_eq!(opened.len(), 3);
        assert!(refused.iter().all(|no| no.as_ref().is_err_and(|no| no.code == Code::TooManyRecordings)));
        // One is over; there is room for one more.
        let mut open_ids: Vec<_> = opened.into_iter().flatten().map(|one| one.manifest.record_id).collect();
        let over = open_ids.pop().expect("three");
        let stopped = books[1].ledger.stop(token(&over, 1), Made::default()).await.expect("Redis answers");
        stopped.expect("taken");
        let names = [format!("r{round}-a"), format!("r{round}-b")];
        let [one, other] = names.each_ref().map(|name| open(&books[2], name));
        let (one, other) = tokio::join!(one, other);
        assert!(one.is_ok() != other.is_ok(), "one more");
        open_ids.extend([one, other].into_iter().flatten().map(|one| one.manifest.record_id));
        // Those whose end left an entry behind, as when a node is killed, count for nobody.
        for id in open_ids {
            redis.run::<i64>(&["DEL", &format!("recording:{{{id}}}")]);
            redis.run::<i64>(&["HSET", "recordings:owner:{ada}", &entry(&id, 1), "1:1:"]);
        }
        // One that just begins counts, though its account is not there yet.
        let began: String = (books[0].ledger.now_ms().await.expect("Redis answers")).to_string();
        redis.run::<i64>(&[
            "HSET",
            "recordings:owner:{ada}",
            &entry(&id("begins"), 1),
            &format!("1:{began}:"),
        ]);
        let last = join_all((0..3).map(|n| open(&books[0], ["x", "y", "z"][n]))).await;
        assert_eq!(last.iter().filter(|opened| opened.is_ok()).count(), 2);
        redis.empty();
    }
}

#[tokio::test]
async fn a_name_is_given_to_one_and_who_did_not_hear_of_it_is_told_again() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let books = ["n1", "n2"].map(|name| Books::on(&redis, name));
    for round in 0..20 {
        let name = id(&format!("r{round}"));
        let tokens = [token(&name, 1), token(&name, 2)];
        let [one, other] = [0, 1].map(|n| {
            books[n].open(&tokens[n], [Some("blue"), Some("red")][n], [Some("ada"), Some("bob")][n], 9)
        });
        let (one, other) = tokio::join!(one, other);
        let [one, other] = [one, other].map(|answer| answer.expect("Redis answers"));
        let winner = usize::from(other.is_ok());
        let opened = [&one, &other][winner].as_ref().expect("one of them");
        let refused = [&one, &other][1 - winner].as_ref().expect_err("the other");
        assert_eq!(refused.code, Code::RecordIdTaken);
        assert_eq!(books[0].rooms().await, [["blue", "red"][winner]]);
        let owner = ["ada", "bob"][1 - winner];
        assert!(!redis.keys().contains(&format!("recordings:owner:{{{owner}}}")), "counts for nobody else");
        let again = books[winner].open(&tokens[winner], None, None, 9).await.expect("Redis answers");
        assert_eq!(again.expect("its own").generation, opened.generation);
        let closed = books[0].ledger.close(&name, Some(tokens[winner].digest())).await;
        assert!(closed.expect("Redis answers").is_some());
        assert!(books[1].rooms().await.is_empty());
    }
}

/// Two open one name at the same moment, and who comes second dies before it could clear up.
#[tokio::test]
async fn who_wanted_a_taken_name_and_died_takes_nothing_from_who_has_it() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let proxy = Proxy::start(redis.address());
    let (name, winner) = (id("tuesday"), Books::on(&redis, "n1"));
    let loser = Books::with(patient(&redis.url_at(proxy.address())), "n2", RULES);
    let second = token(&name, 2);
    let mut manifest = manifest_of(&second, loser.ledger.now_ms().await.expect("Redis answers"));
    (manifest.room, manifest.owner) = (Some(room("red")), Some(user("ada")));
    redis.run::<()>(&["CONFIG", "RESETSTAT"]);
    proxy.delay(Duration::from_millis(600));
    let losing = loser.ledger.open(manifest, 9);
    // It has looked for the name, and hears that it is free.
    eventually("it has asked", async || {
        redis.run::<String>(&["INFO", "commandstats"]).contains("cmdstat_hmget:").then_some(())
    })
    .await;
    winner.opened("tuesday", Some("blue"), Some("ada")).await;
    eventually("it is entered", async || {
        let entries: Vec<String> = redis.run(&["HVALS", "recordings:rooms"]);
        entries.iter().any(|entry| entry.ends_with(":red")).then_some(())
    })
    .await;
    proxy.cut();
    losing.await.expect_err("nobody hears of it");
    assert!(winner.rooms().await.contains(&"blue".to_owned()), "its room is recorded");
    let owned: Vec<String> = redis.run(&["HKEYS", "recordings:owner:{ada}"]);
    assert!(owned.contains(&entry(&name, 1)), "and it counts: {owned:?}");

    // What is left of the other leads nowhere, although somebody records under that name, and is found.
    redis.run::<i64>(&["HSET", "recordings:rooms", &entry(&name, 2), "1:1:red", "#version", "9999999999999"]);
    redis.run::<i64>(&["HSET", "recordings:owner:{ada}", &entry(&name, 2), "1:1:"]);
    let late = Books::on(&redis, "n3");
    eventually("it was found", async || (late.rooms().await == ["blue"]).then_some(())).await;
    let one_more = late.open(&token(&id("friday"), 1), None, Some("ada"), 2).await.expect("Redis answers");
    one_more.expect("the other counts for nobody");
}

#[tokio::test]
async fn the_recorded_rooms_are_those_of_recordings_that_record() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let rules = RecordingRules { grace: Duration::ZERO, ..RULES };
    let [books, other] = ["n1", "n2"].map(|name| Books::under(rules, &redis, name));
    let (token, attached) = books.opened("tuesday", Some("blue"), None).await;
    books.opened("wednesday", Some("red"), None).await;
    books.opened("thursday", Some("red"), None).await;
    assert_eq!(other.rooms().await, ["blue", "red"]);
    books.noted("tuesday", 0).await;
    books.ledger.detach(id("tuesday"), attached.generation).await.expect("Redis answers");
    assert_eq!(other.rooms().await, ["blue", "red"], "in its grace");
    let claim = other.claims().await.remove(0);
    assert_eq!(books.rooms().await, ["red"]);
    assert_eq!(other.noted("tuesday", 1).await, Some(Noted::Outdated));
    assert_eq!(books.rooms().await, ["blue", "red"], "it goes on");
    assert_eq!(other.ledger.holds(id("tuesday"), claim.manifest.fence).await, Ok(false));
    books.ledger.stop(token, Made::default()).await.expect("Redis answers").expect("taken");
    books.ledger.close(&id("wednesday"), None).await.expect("Redis answers").expect("closed");
    assert_eq!(other.rooms().await, ["red"], "the third records there");
    books.ledger.close(&id("thursday"), None).await.expect("Redis answers").expect("closed");
    assert!(other.rooms().await.is_empty());

    // What a node that was killed has left leads nowhere, and is found.
    let ghost = entry(&id("ghost"), 1);
    redis.run::<i64>(&["HSET", "recordings:rooms", &ghost, "1:1:green", "#version", "9999999999999"]);
    let late = Books::on(&redis, "n3");
    assert_eq!(late.rooms().await, ["green"]);
    eventually("it was found", async || other.rooms().await.is_empty().then_some(())).await;
    assert!(late.rooms().await.is_empty());
}

#[tokio::test]
async fn what_leads_to_a_recording_is_there_before_it_records() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let rules = RecordingRules { grace: Duration::ZERO, ..RULES };
    let books = Books::under(rules, &redis, "n1");
    // As if nodes were killed between two steps: the second key cannot be written.
    let forbid = |key: &str| {
        redis.run::<()>(&["ACL", "SETUSER", "greenroom", "resetkeys", "~recording:*", key]);
    };
    let token = token(&id("tuesday"), 1);
    let mut manifest = manifest_of(&token, books.ledger.now_ms().await.expect("Redis answers"));
    (manifest.room, manifest.owner) = (Some(room("blue")), Some(user("ada")));
    let allowed = ["~recordings:active", "~recordings:owner:*", "~recordings:rooms"];
    for lacking in 0..3 {
        redis.run::<()>(&["ACL", "SETUSER", "greenroom", "resetkeys", "~recording:*"]);
        for (_, key) in allowed.iter().enumerate().filter(|(n, _)| *n != lacking) {
            redis.run::<()>(&["ACL", "SETUSER", "greenroom", key]);
        }
        books.ledger.open(manifest.clone(), 9).await.expect_err("not to its end");
        assert!(
            !redis.keys().contains(&"recording:{tuesday}".to_owned()),
            "no account that nothing leads to"
        );
    }
    forbid("~recordings:*");
    let opened = books.ledger.open(manifest, 9).await.expect("Redis answers");
    books.noted("tuesday", 0).await;
    books.ledger.detach(id("tuesday"), opened.expect("opened").generation).await.expect("Redis answers");
    books.claims().await.pop().expect("due");
    forbid("~recordings:active");
    let noted = books.ledger.note(token.clone(), at(1), mark(1), Patience::Http).await;
    noted.expect_err("not to its end");
    books.ledger.attach(token.clone()).await.expect_err("not to its end");
    let view = books.ledger.show(&id("tuesday")).await.expect("Redis answers").expect("there");
    assert_eq!((view.chunks, view.manifest.state), (1, RecordingState::Finalising), "nothing has changed");
    forbid("~recordings:*");
    assert_eq!(books.noted("tuesday", 1).await, Some(Noted::Outdated));
    assert_eq!(books.rooms().await, ["blue"]);
}
