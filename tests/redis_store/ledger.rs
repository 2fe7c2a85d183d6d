//! The ledger on Redis: what many ask at one time, what many claim, and when.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use greenroom::{
    adapters::{
        clock::Clock,
        memory_ledger::MemoryLedger,
        ports::{ClaimEnd, Ledger, LedgerError, Patience},
        redis::RedisSettings,
    },
    domain::recording::{Noted, RecordingRules},
    protocol::{UploadToken, chunk::ChunkMark, recorder::Made},
};

use crate::{
    ledger_kit::{
        Books, HOUR, RULES, Shelf, at, fault, finished, id, manifest_of, mark, patient, token, unplaced,
    },
    support::{Proxy, Redis, eventually},
};

/// Asks until Redis answers.
async fn answered<T>(mut ask: impl AsyncFnMut() -> Result<T, LedgerError>) -> T {
    eventually("Redis answers", async || ask().await.ok()).await
}

/// Brings a chunk as a node does whose answers are lost now and then; its bytes are named by their checksum.
async fn bring(books: &Books, token: &UploadToken, shelf: &Shelf, crc: u32) {
    let (mark, ledger) = (ChunkMark { crc, ..mark(0) }, &books.ledger);
    let number = answered(async || ledger.number(token.clone(), unplaced(mark.length)).await).await;
    let number = number.expect("it is given one");
    assert_eq!(shelf.commit(number.index, mark), mark, "nobody else has the number");
    let note = || ledger.note_numbered(token.clone(), number, mark, Patience::Http);
    let noted = answered(async || note().await).await.expect("there is an account");
    assert_ne!(noted, Noted::Withdrawn);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_chunks_at_once_get_a_hundred_numbers_whatever_answers_are_lost() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let proxies: Vec<Proxy> = (0..4).map(|_| Proxy::start(redis.address())).collect();
    let books: Vec<Books> = proxies
        .iter()
        .enumerate()
        .map(|(n, proxy)| {
            let settings = RedisSettings {
                timeout: Duration::from_millis(100),
                ..RedisSettings::single(&redis.url_at(proxy.address()))
            };
            Books::with(settings, &format!("n{n}"), RULES)
        })
        .collect();
    let patient = Books::on(&redis, "n5");
    let (token, _) = patient.opened("tuesday", None, None).await;
    let (shelf, over) = (Shelf::default(), Arc::new(AtomicBool::new(false)));
    let trouble = {
        let over = over.clone();
        tokio::spawn(async move {
            let mut round = 0;
            while !over.load(Ordering::Relaxed) {
                let proxy = &proxies[round % proxies.len()];
                if round % 3 == 0 {
                    proxy.silence();
                } else {
                    proxy.cut();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
                proxy.heal();
                tokio::time::sleep(Duration::from_millis(10)).await;
                round += 1;
            }
            (round, proxies)
        })
    };
    join_all((0..100).map(|crc| bring(&books[crc as usize % 4], &token, &shelf, crc))).await;
    over.store(true, Ordering::Relaxed);
    let (rounds, _proxies) = trouble.await.expect("it ends");
    assert!(rounds > 0);
    // What is owed of numbers that nobody has heard of is done by each sweep.
    for books in &books {
        answered(async || books.ledger.claim_due(0, Duration::ZERO).await).await;
    }
    let stored: BTreeSet<u32> = shelf.list().iter().map(|chunk| chunk.mark.crc).collect();
    assert_eq!(stored.len(), 100, "each is stored once");
    let id = token.record_id();
    let view = patient.ledger.show(id).await.expect("Redis answers").expect("there");
    assert_eq!(view.chunks, 100);
    assert_eq!(patient.ledger.missing(id).await, Ok(vec![]));
    let many = Made { chunks: Some(100), bytes: None };
    let mut stopped = patient.ledger.stop(token.clone(), many).await.expect("Redis answers");
    if stopped.is_err() {
        // Numbers that nobody has heard of while others came are void.
        let late = patient.ledger.late_numbers(id).await.expect("Redis answers");
        assert_eq!(late.len() + 100, view.next_index as usize);
        patient.ledger.fill(id.clone(), token.digest(), late).await.expect("Redis answers");
        stopped = patient.ledger.stop(token, many).await.expect("Redis answers");
    }
    assert_eq!(stopped.expect("nothing is missing").chunks, 100);
}

#[tokio::test]
async fn a_number_that_nobody_has_heard_of_is_given_back_before_anything_else() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let proxy = Proxy::start(redis.address());
    let settings = RedisSettings {
        timeout: Duration::from_millis(200),
        ..RedisSettings::single(&redis.url_at(proxy.address()))
    };
    let books = Books::with(settings, "n1", RULES);
    let patient = Books::on(&redis, "n2");
    let (token, _) = patient.opened("tuesday", None, None).await;
    // From now on the server knows the script.
    let number = patient.ledger.number(token.clone(), unplaced(10)).await.expect("Redis answers");
    let given_back = patient.ledger.give_back(id("tuesday"), number.expect("given out")).await;
    assert_eq!(given_back, Ok(true));
    answered(async || books.ledger.show(token.record_id()).await).await;
    for _ in 0..3 {
        // The question arrives, the answer does not.
        redis.freeze();
        books.ledger.number(token.clone(), unplaced(10)).await.expect_err("no answer");
        redis.thaw();
        eventually("it was given one", async || {
            let next: Option<u32> = redis.run(&["GET", "recording:{tuesday}:chunk_index"]);
            (next == Some(1)).then_some(())
        })
        .await;
        let number = answered(async || books.ledger.number(token.clone(), unplaced(10)).await).await;
        let number = number.expect("given out");
        assert_eq!(number.index, at(0));
        assert_eq!(patient.ledger.give_back(id("tuesday"), number).await, Ok(true));
        let next: u32 = redis.run(&["GET", "recording:{tuesday}:chunk_index"]);
        assert_eq!(next, 0);
    }
}

#[tokio::test]
async fn a_number_whose_chunk_never_comes_is_void_after_a_while() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let books = Books::on(&redis, "n1");
    let (token, _) = books.opened("tuesday", None, None).await;
    let number = async || {
        let number = books.ledger.number(token.clone(), unplaced(10)).await.expect("Redis answers");
        number.expect("given out")
    };
    let (dead, _, slow) = (number().await, number().await, number().await);
    books.noted("tuesday", 1).await;
    let id = id("tuesday");
    assert_eq!(books.ledger.late_numbers(&id).await, Ok(vec![]));
    // A minute later, for the first of them.
    let given: BTreeMap<String, String> = redis.run(&["HGETALL", "recording:{tuesday}:given"]);
    let (given_at, request) = given["0"].split_once(':').expect("time and request");
    let before = (given_at.parse::<u64>().expect("ms") - 60_000).to_string();
    redis.run::<i64>(&["HSET", "recording:{tuesday}:given", "0", &format!("{before}:{request}")]);
    redis.run::<i64>(&["HSET", "recording:{tuesday}", "given_since", &before]);
    let next = number().await;
    assert_eq!((next.index, next.others_are_late), (at(3), true));
    assert_eq!(books.ledger.late_numbers(&id).await, Ok(vec![at(0)]), "the other one may still come");
    assert_eq!(redis.run::<i64>(&["HLEN", "recording:{tuesday}:given"]), 6, "three, and their requests");
    books.ledger.fill(id.clone(), token.digest(), vec![at(0)]).await.expect("Redis answers");
    let noted = async |number| {
        books.ledger.note_numbered(token.clone(), number, mark(number.index.get()), Patience::Http).await
    };
    assert_eq!(noted(dead).await, Ok(Some(Noted::Withdrawn)));
    for number in [slow, next] {
        assert_eq!(noted(number).await, Ok(Some(Noted::InTime)));
    }
    assert!(!redis.keys().contains(&"recording:{tuesday}:given".to_owned()), "all have come");
    let stopped = books.ledger.stop(token.clone(), Made::default()).await.expect("Redis answers");
    assert_eq!(stopped.expect("whole").chunks, 3);
}

/// A node that stood still while its recording was deleted and another begun under the name.
#[tokio::test]
async fn what_is_said_late_of_one_recording_is_not_taken_for_the_next_of_its_name() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let books = Books::on(&redis, "n1");
    let memory = MemoryLedger::new(books.node.clone(), Clock::start(), RULES);
    let id = id("tuesday");
    let [older, newer] = [1, 2].map(|secret| token(&id, secret));
    for ledger in [&books.ledger as &dyn Ledger, &memory] {
        let open = async |token: &UploadToken| {
            let manifest = manifest_of(token, ledger.now_ms().await.expect("answers"));
            ledger.open(manifest, 9).await.expect("answers").expect("opened");
        };
        open(&older).await;
        let number = ledger.number(older.clone(), unplaced(10)).await.expect("answers").expect("given out");
        ledger.close(&id, None).await.expect("answers").expect("it was there");
        open(&newer).await;
        ledger.note(newer.clone(), at(0), mark(0), Patience::Http).await.expect("answers").expect("there");
        let before = ledger.show(&id).await;
        assert_eq!(ledger.note(older.clone(), at(7), mark(7), Patience::Http).await, Ok(None));
        assert_eq!(ledger.note_numbered(older.clone(), number, mark(0), Patience::Http).await, Ok(None));
        assert_eq!(ledger.fill(id.clone(), older.digest(), vec![at(3)]).await, Ok(()));
        assert_eq!(ledger.give_back(id.clone(), number).await, Ok(false));
        assert_eq!(ledger.show(&id).await, before);
        let next = ledger.number(newer.clone(), unplaced(10)).await.expect("answers").expect("given out");
        assert_eq!(next.index, at(1), "its numbers are its own");
    }
}

#[tokio::test]
async fn each_due_recording_is_claimed_by_one_node() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let books = ["n1", "n2", "n3"].map(|name| Books::on(&redis, name));
    for n in 0..40 {
        let (token, _) = books[n % 3].opened(&format!("r{n}"), None, None).await;
        books[0].noted(&format!("r{n}"), 0).await;
        books[1].ledger.stop(token, Made::default()).await.expect("Redis answers").expect("taken");
    }
    books[0].opened("goes-on", None, None).await;
    let claimed = join_all(books.each_ref().map(|books| books.ledger.claim_due(14, Duration::ZERO))).await;
    let claimed: Vec<_> = claimed.into_iter().map(|claims| claims.expect("Redis answers")).collect();
    assert!(claimed.iter().all(|claims| claims.len() <= 14), "no more than was asked for");
    let mut all: BTreeSet<_> = claimed.concat().into_iter().map(|claim| claim.manifest.record_id).collect();
    assert_eq!(all.len(), claimed.concat().len(), "none twice");
    for books in &books {
        all.extend(books.claims().await.into_iter().map(|claim| claim.manifest.record_id));
    }
    assert_eq!((all.len(), all.contains(&id("goes-on"))), (40, false));
}

#[tokio::test]
async fn whoever_lost_a_claim_can_do_nothing_under_it() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let rules = RecordingRules { lease: Duration::ZERO, ..RULES };
    let first = Books::under(rules, &redis, "n1");
    let second = Books::on(&redis, "n2");
    let (token, _) = first.opened("tuesday", None, None).await;
    first.noted("tuesday", 0).await;
    first.ledger.stop(token, Made::default()).await.expect("Redis answers").expect("taken");
    let lost = first.claims().await.remove(0).manifest.fence;
    assert_eq!(first.ledger.holds(id("tuesday"), lost).await, Ok(true));
    let claim = eventually("the lease has run out", async || second.claims().await.pop()).await;
    assert!(claim.manifest.fence > lost);
    let ends = [
        ClaimEnd::Ready { keep: HOUR },
        ClaimEnd::TryAgain { pause: HOUR, fault: Some(fault()) },
        ClaimEnd::Failed(fault()),
    ];
    let id = id("tuesday");
    let before = second.ledger.show(&id).await;
    assert_eq!(first.ledger.holds(id.clone(), lost).await, Ok(false));
    assert_eq!(first.ledger.keep_claim(id.clone(), lost, Some(9)).await, Ok(false));
    assert_eq!(first.ledger.publish(id.clone(), lost, finished(&id, 1)).await, Ok(None));
    assert_eq!(first.ledger.forget_chunks(&id, lost).await, Ok(false));
    assert_eq!(first.ledger.release(id.clone(), lost).await, Ok(None));
    for end in ends.clone() {
        assert_eq!(first.ledger.settle(id.clone(), lost, end).await, Ok(None));
    }
    assert_eq!(second.ledger.show(&id).await, before, "nothing has changed");
    let fence = claim.manifest.fence;
    assert_eq!(second.ledger.keep_claim(id.clone(), fence, Some(9)).await, Ok(true));
    let published = second.ledger.publish(id.clone(), fence, finished(&id, 1)).await;
    assert!(published.expect("Redis answers").is_some_and(|manifest| manifest.finished.is_some()));
    let [ready, ..] = ends;
    assert!(second.ledger.settle(id, fence, ready).await.expect("Redis answers").is_some());
}

#[tokio::test]
async fn a_recorder_that_is_lost_is_waited_for_by_the_servers_clock() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let grace = Duration::from_millis(1500);
    let rules = RecordingRules { grace, ..RULES };
    let [books, other] = ["n1", "n2"].map(|name| Books::under(rules, &redis, name));
    let now_ms = || {
        let (seconds, micros): (u64, u64) = redis.run(&["TIME"]);
        seconds * 1000 + micros / 1000
    };
    let (_, attached) = books.opened("tuesday", None, None).await;
    books.ledger.keep(id("tuesday"), attached.generation).await.expect("Redis answers");
    let before = now_ms();
    books.ledger.detach(id("tuesday"), attached.generation).await.expect("Redis answers");
    let after = now_ms();
    let claim = eventually("it is due", async || {
        // Whatever the times of nodes: none of them is asked.
        let (claims, at) = (other.claims().await, now_ms());
        assert!(!claims.is_empty() || at < after + 1500 + 1000, "not looked at in time");
        claims.into_iter().next()
    })
    .await;
    assert!(claim.manifest.ended_ms.is_some_and(|ended| ended >= before + 1500), "not before its time");
    let ledgers_ms = books.ledger.now_ms().await.expect("Redis answers");
    assert!(ledgers_ms >= after && ledgers_ms <= now_ms());
}

/// Sets the clock of a server, and of nothing else that runs with it, an hour ahead.
const AHEAD: &str = "#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>
int gettimeofday(struct timeval *time, void *zone) {
    long failed = syscall(SYS_gettimeofday, time, zone);
    if (!failed && !strcmp(program_invocation_short_name, \"redis-server\")) time->tv_sec += 3600;
    return (int)failed;
}
";

#[test]
fn a_node_whose_clock_is_an_hour_off_claims_when_it_is_time() {
    if !Redis::is_here() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let [source, library] = ["ahead.c", "ahead.so"].map(|name| folder.path().join(name));
    std::fs::write(&source, AHEAD).expect("written");
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(compiled.expect("a C compiler, as Rust needs one").success());
    let ran = Command::new(std::env::current_exe().expect("this test"))
        .args(["ledger::by_a_server_an_hour_ahead", "--exact", "--ignored"])
        .env("LD_PRELOAD", &library)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "a_node_whose_clock_is_an_hour_off_claims_when_it_is_time runs it"]
async fn by_a_server_an_hour_ahead() {
    let redis = Redis::start();
    let rules = RecordingRules { grace: Duration::from_millis(500), ..RULES };
    let books = Books::under(rules, &redis, "n1");
    let ahead_ms = books.ledger.now_ms().await.expect("Redis answers") - Clock::start().now().wall_ms;
    assert!((3_500_000..3_700_000).contains(&ahead_ms), "{ahead_ms}");
    let (_, attached) = books.opened("tuesday", None, None).await;
    books.ledger.keep(id("tuesday"), attached.generation).await.expect("Redis answers");
    assert!(books.claims().await.is_empty());
    let gone_ms = books.ledger.now_ms().await.expect("Redis answers");
    books.ledger.detach(id("tuesday"), attached.generation).await.expect("Redis answers");
    let claim = eventually("it is due", async || books.claims().await.pop()).await;
    let ended_ms = claim.manifest.ended_ms.expect("over");
    assert!((gone_ms + 500..gone_ms + 60_000).contains(&ended_ms), "{ended_ms} after {gone_ms}");
    assert!(claim.manifest.fence.0 >= gone_ms, "by the same clock");
}

#[tokio::test]
async fn a_deadline_that_the_index_was_not_told_of_is_told_later() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let books = Books::on(&redis, "n1");
    let (token, _) = books.opened("tuesday", None, None).await;
    books.noted("tuesday", 0).await;
    redis.run::<()>(&["ACL", "SETUSER", "greenroom", "-zadd"]);
    books.ledger.stop(token, Made::default()).await.expect("Redis answers").expect("taken");
    assert!(books.claims().await.is_empty(), "nobody knows of it");
    redis.run::<()>(&["ACL", "SETUSER", "greenroom", "+zadd"]);
    assert_eq!(books.claims().await.len(), 1);
}

#[tokio::test]
async fn a_deadline_that_becomes_sooner_while_somebody_looks_is_not_missed() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let proxy = Proxy::start(redis.address());
    let rules = RecordingRules { grace: Duration::ZERO, ..RULES };
    let books = Books::under(rules, &redis, "n1");
    let other = Books::with(patient(&redis.url_at(proxy.address())), "n2", rules);
    other.claims().await;
    proxy.delay(Duration::from_millis(10));
    for round in 0..20 {
        let name = format!("r{round}");
        let (_, attached) = books.opened(&name, None, None).await;
        // It is to be looked at, and is not due yet: whoever looks sets a later time, three steps after it began.
        redis.run::<i64>(&["ZADD", "recordings:active", "1", &name]);
        let looking = other.ledger.claim_due(9, Duration::ZERO);
        let detaching = async {
            tokio::time::sleep(Duration::from_millis(20 + 2 * round)).await;
            books.ledger.detach(id(&name), attached.generation).await
        };
        let (looked, detached) = tokio::join!(looking, detaching);
        detached.expect("Redis answers");
        let found = looked.expect("Redis answers").len() + books.claims().await.len();
        assert_eq!(found, 1, "in round {round}");
    }
}

#[tokio::test]
async fn one_that_waits_for_somebody_stays_where_it_is_found() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let books = Books::on(&redis, "n1");
    let (token, _) = books.opened("tuesday", None, None).await;
    books.noted("tuesday", 0).await;
    let stop = async || books.ledger.stop(token.clone(), Made::default()).await;
    stop().await.expect("Redis answers").expect("taken");
    let fence = books.claims().await.remove(0).manifest.fence;
    books.ledger.settle(id("tuesday"), fence, ClaimEnd::Failed(fault())).await.expect("Redis answers");
    let score = || redis.run::<Option<f64>>(&["ZSCORE", "recordings:active", "tuesday"]);
    let before = score();
    assert!(books.claims().await.is_empty());
    assert!(score() > before, "looked at again one day");
    stop().await.expect("Redis answers").expect("taken");
    assert_eq!(books.claims().await.len(), 1);
    // One without an account is looked at no more.
    books.ledger.close(&id("tuesday"), None).await.expect("Redis answers").expect("closed");
    redis.run::<i64>(&["ZADD", "recordings:active", "1", "tuesday"]);
    assert!(books.claims().await.is_empty());
    assert_eq!(score(), None);
}

#[tokio::test]
async fn one_node_at_a_time_leads() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let books = ["n1", "n2"].map(|name| Books::on(&redis, name));
    let leads = async |n: usize, what, term| books[n].ledger.leads(what, term).await.expect("Redis answers");
    assert!(leads(0, "sweep", HOUR).await);
    assert!(!leads(1, "sweep", HOUR).await);
    assert!(leads(1, "other", HOUR).await);
    assert!(leads(0, "sweep", Duration::from_millis(1)).await, "whoever does goes on");
    eventually("its term is over", async || leads(1, "sweep", HOUR).await.then_some(())).await;
    assert!(!leads(0, "sweep", HOUR).await);
}
