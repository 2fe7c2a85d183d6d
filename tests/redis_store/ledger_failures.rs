//! Redis away, hung, or refusing: the ledger says so soon, changes nothing, and goes on when Redis is back.

use std::time::{Duration, Instant};

use greenroom::{
    adapters::{
        breaker::FAILURES_MAX,
        ports::{Guarded as _, Ledger as _, LedgerError, Patience, StoreState},
        redis::RedisSettings,
    },
    domain::recording::{Noted, RecordingRules},
    protocol::recorder::{Made, RecordingState},
};

use crate::{
    ledger_kit::{Books, RULES, at, id, mark, patient, token, unplaced},
    support::{Proxy, Redis, eventually},
};

/// A node that does not wait long.
fn impatient(url: &str) -> Books {
    let settings = RedisSettings { timeout: Duration::from_millis(100), ..RedisSettings::single(url) };
    Books::with(settings, "n1", RULES)
}

async fn note(books: &Books, index: u32) -> Result<Option<Noted>, LedgerError> {
    books.ledger.note(token(&id("tuesday"), 1), at(index), mark(index), Patience::Http).await
}

/// Asks until nothing is asked any more.
async fn given_up(books: &Books) -> String {
    let mut why = String::new();
    for _ in 0..FAILURES_MAX {
        let LedgerError::Unavailable(last) = note(books, 1).await.expect_err("no answer");
        why = last;
    }
    assert_eq!(books.store.state(), StoreState::Open);
    note(books, 1).await.expect_err("not asked");
    assert!(books.metrics.redis_operations.with_label_values(&["recording_note", "not_asked"]).get() > 0);
    why
}

async fn used_again(books: &Books) {
    eventually("Redis is used again", async || note(books, 0).await.ok()?).await;
    assert_eq!(books.store.state(), StoreState::Closed);
}

#[tokio::test]
async fn a_server_that_hangs_or_is_cut_off_costs_little_and_is_used_again() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let proxy = Proxy::start(redis.address());
    let books = impatient(&redis.url_at(proxy.address()));
    let patient = Books::on(&redis, "n2");
    let (token, _) = patient.opened("tuesday", None, None).await;
    used_again(&books).await;
    redis.freeze();
    assert!(given_up(&books).await.contains("in time"));
    redis.thaw();
    used_again(&books).await;
    proxy.silence();
    given_up(&books).await;
    proxy.heal();
    used_again(&books).await;
    proxy.cut();
    given_up(&books).await;
    // All that is asked is answered, although Redis is not.
    let began = Instant::now();
    assert!(books.ledger.claim_due(9, Duration::ZERO).await.is_err());
    assert!(books.ledger.recorded_rooms().await.is_err());
    assert!(books.ledger.stop(token.clone(), Made::default()).await.is_err());
    assert!(books.ledger.number(token.clone(), unplaced(10)).await.is_err());
    assert!(began.elapsed() < Duration::from_secs(10));
    proxy.heal();
    used_again(&books).await;
    let view = patient.ledger.show(token.record_id()).await.expect("Redis answers").expect("there");
    assert_eq!(view.next_index, view.chunks, "what was executed late left no hole");
}

#[tokio::test]
async fn a_connection_that_was_lost_costs_nobody_an_answer() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let books = Books::on(&redis, "n1");
    let (token, _) = books.opened("tuesday", None, None).await;
    let kill = || redis.run::<i64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    for index in 0..10 {
        kill();
        let number =
            books.ledger.number(token.clone(), unplaced(10)).await.expect("an answer").expect("given");
        assert_eq!(number.index, at(index));
        kill();
        assert_eq!(note(&books, index).await, Ok(Some(Noted::InTime)));
    }
    kill();
    books.ledger.stop(token, Made::default()).await.expect("an answer").expect("taken");
    kill();
    let claim = books.claims().await.pop().expect("due");
    kill();
    let released = books.ledger.release(id("tuesday"), claim.manifest.fence).await.expect("an answer");
    assert_eq!(released, Some(claim.manifest));
}

/// A node that hands over, or that waits for recorders to say that they are there, has room for none.
#[tokio::test]
async fn a_claim_that_nobody_has_heard_of_is_asked_for_where_there_is_room() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let books = Books::under(RecordingRules { grace: Duration::ZERO, ..RULES }, &redis, "n1");
    let (_, attached) = books.opened("tuesday", None, None).await;
    // It is looked at while its recorder is there, as the index is only a lower bound, and nothing is heard of that.
    redis.run::<i64>(&["ZADD", "recordings:active", "0", "tuesday"]);
    redis.run::<()>(&["ACL", "SETUSER", "greenroom", "resetkeys", "~recordings:*"]);
    books.ledger.claim_due(9, Duration::ZERO).await.expect_err("no answer of use");
    redis.run::<()>(&["ACL", "SETUSER", "greenroom", "~recording:*"]);
    books.ledger.detach(id("tuesday"), attached.generation).await.expect("Redis answers");
    assert_eq!(books.ledger.claim_due(0, Duration::ZERO).await, Ok(vec![]));
    let view = books.ledger.show(&id("tuesday")).await.expect("Redis answers").expect("there");
    assert_eq!((view.manifest.state, view.claimed_by), (RecordingState::Recording, None));
    assert_eq!(books.ledger.claim_due(1, Duration::ZERO).await.map(|claims| claims.len()), Ok(1));
}

#[tokio::test]
async fn a_server_that_refuses_to_write_changes_nothing() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let books = Books::on(&redis, "n1");
    books.opened("tuesday", None, None).await;
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
        used_again(&books).await;
        let before: Vec<String> = redis.run(&["HGETALL", "recording:{tuesday}"]);
        redis.run::<()>(refuse);
        let why = given_up(&books).await;
        assert!(why.to_uppercase().contains(code), "{why}");
        assert_eq!(redis.run::<Vec<String>>(&["HGETALL", "recording:{tuesday}"]), before);
        assert_eq!(redis.run::<i64>(&["HLEN", "recording:{tuesday}:chunks"]), 1);
        redis.run::<()>(take);
        used_again(&books).await;
    }
}

/// Has the server close the account of this name, and nobody hear of it.
async fn closed_unheard<T>(redis: &Redis, proxy: &Proxy, name: &str, closing: impl Future<Output = T>) -> T {
    proxy.delay(Duration::from_millis(200));
    let cut = async {
        eventually("it is closed", async || {
            (redis.run::<i64>(&["EXISTS", &format!("recording:{{{name}}}")]) == 0).then_some(())
        })
        .await;
        // The answer is on its way, and so is nothing else from then on.
        proxy.cut();
    };
    let (closed, ()) = futures_util::join!(closing, cut);
    proxy.heal();
    closed
}

#[tokio::test]
async fn whoever_asks_again_because_nothing_was_answered_hears_that_the_account_was_closed() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let proxy = Proxy::start(redis.address());
    let books = Books::with(patient(&redis.url_at(proxy.address())), "n1", RULES);
    // The server knows the script.
    let (token, _) = books.opened("sunday", None, None).await;
    books.ledger.close(&id("sunday"), None).await.expect("an answer").expect("closed");
    let again = books.ledger.close(&id("sunday"), Some(token.digest())).await;
    assert_eq!(again, Ok(None), "that was answered");

    let (token, _) = books.opened("monday", None, None).await;
    let close = || books.ledger.close(&id("monday"), Some(token.digest()));
    closed_unheard(&redis, &proxy, "monday", close()).await.expect_err("no answer");
    let closed = eventually("Redis is used again", async || close().await.ok()).await;
    assert_eq!(closed.map(|last| last.token), Some(token.digest()));
    assert_eq!(close().await, Ok(None), "once");

    let (token, _) = books.opened("tuesday", None, None).await;
    books.noted("tuesday", 0).await;
    books.ledger.stop(token, Made::default()).await.expect("an answer").expect("taken");
    let claim = books.claims().await.pop().expect("due").manifest;
    let release = || books.ledger.release(id("tuesday"), claim.fence);
    closed_unheard(&redis, &proxy, "tuesday", release()).await.expect_err("no answer");
    assert_eq!(eventually("Redis is used again", async || release().await.ok()).await, Some(claim.clone()));

    // Who has an account again is told of that one.
    let (token, opened) = books.opened("friday", None, None).await;
    let close = || books.ledger.close(&id("friday"), Some(token.digest()));
    closed_unheard(&redis, &proxy, "friday", close()).await.expect_err("no answer");
    let back = async || books.ledger.restore(opened.manifest.clone(), Vec::new()).await.ok();
    eventually("Redis is used again", back).await;
    assert!(close().await.expect("an answer").is_some());
    assert_eq!(books.ledger.show(&id("friday")).await, Ok(None));
}

#[tokio::test]
async fn an_account_whose_end_was_not_heard_of_was_closed_all_the_same() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let proxy = Proxy::start(redis.address());
    let books = Books::with(patient(&redis.url_at(proxy.address())), "n1", RULES);
    // The server knows the scripts from the first of them.
    for name in ["monday", "tuesday"] {
        let (token, _) = books.opened(name, None, None).await;
        proxy.delay(Duration::from_millis(200));
        let closing = books.ledger.close(&id(name), Some(token.digest()));
        if name == "tuesday" {
            eventually("it is closed", async || {
                (redis.run::<i64>(&["EXISTS", "recording:{tuesday}"]) == 0).then_some(())
            })
            .await;
            // The answer is on its way.
            proxy.cut();
        }
        proxy.heal();
        let closed = closing.await.expect("an answer").expect("closed");
        assert_eq!(closed.token, token.digest());
        assert_eq!(books.ledger.close(&id(name), None).await, Ok(None), "there is nothing any more");
    }
}
