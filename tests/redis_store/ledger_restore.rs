//! A ledger that was emptied, or rolled back, and is put back from the chunk store.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use greenroom::{
    adapters::ports::{Ledger as _, Patience, StoredChunk},
    domain::recording::{CAREFUL_FROM, ClaimedWork, Manifest, Noted, Placed, RecordingRules},
    protocol::{
        chunk::ChunkMark,
        recorder::{Made, RecordingState},
    },
};
use tokio::runtime::Runtime;

use crate::{
    ledger_kit::{Books, RULES, Shelf, at, id, mark, patient, token, unplaced},
    support::{Proxy, Redis, eventually},
};

/// Brings chunks to a ledger that forgets, and puts it back whenever it is unknown there.
async fn bring_and_put_back(
    books: &Books,
    manifest: &Manifest,
    shelf: &Shelf,
    crcs: impl Iterator<Item = u32>,
) {
    let token = token(&manifest.record_id, 1);
    for crc in crcs {
        let mark = ChunkMark { crc, ..mark(0) };
        loop {
            let number =
                books.ledger.number(token.clone(), unplaced(mark.length)).await.expect("Redis answers");
            let Ok(number) = number else {
                books.ledger.restore(manifest.clone(), shelf.list()).await.expect("Redis answers");
                continue;
            };
            let stands = shelf.commit(number.index, mark);
            if stands != mark {
                // The counter was behind the store.
                assert_eq!(books.ledger.give_back(id("tuesday"), number).await, Ok(true));
                books
                    .ledger
                    .note(token.clone(), number.index, stands, Patience::Http)
                    .await
                    .expect("an answer");
                continue;
            }
            let note = || books.ledger.note_numbered(token.clone(), number, mark, Patience::Http);
            match note().await.expect("Redis answers") {
                Some(Noted::Withdrawn) | None => {
                    books.ledger.restore(manifest.clone(), shelf.list()).await.expect("Redis answers");
                    assert_eq!(note().await, Ok(Some(Noted::InTime)), "it is in its place");
                }
                Some(_) => {}
            }
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_ledger_is_put_back_by_many_at_once_while_chunks_come() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let books = ["n1", "n2", "n3", "n4"].map(|name| Arc::new(Books::on(&redis, name)));
    let (token, attached) = books[0].opened("tuesday", Some("blue"), Some("ada")).await;
    let manifest = Arc::new(attached.manifest);
    let shelf = Arc::new(Shelf::default());
    // More than one call brings, so that those of several are mixed.
    for index in 0..1700 {
        shelf.commit(at(index), ChunkMark { crc: 100_000 + index, ..mark(0) });
    }
    for round in 0..4 {
        redis.empty();
        assert_eq!(books[0].ledger.is_whole().await, Ok(false));
        let loss = books[0].ledger.loss().await.expect("Redis answers");
        let bringing = books.each_ref().map(|books| {
            let (books, manifest, shelf) = (books.clone(), manifest.clone(), shelf.clone());
            let node = books.node.as_str()[1..].parse::<u32>().expect("a number");
            let crcs = (0..40).map(move |n| round * 1000 + node * 100 + n);
            tokio::spawn(async move { bring_and_put_back(&books, &manifest, &shelf, crcs).await })
        });
        for brought in join_all(bringing).await {
            brought.expect("it is brought");
        }
        for books in &books {
            books.ledger.restore((*manifest).clone(), shelf.list()).await.expect("Redis answers");
        }
        books[0].ledger.set_whole(loss).await.expect("Redis answers");
        assert_eq!(books[1].ledger.is_whole().await, Ok(true));
        let chunks = 1700 + 160 * (round + 1);
        assert_eq!(u32::try_from(shelf.list().len()), Ok(chunks), "each is stored once");
        let view = books[0].ledger.show(token.record_id()).await.expect("Redis answers").expect("there");
        assert_eq!((view.chunks, view.next_index, view.bytes), (chunks, chunks, 10 * u64::from(chunks)));
        assert_eq!(books[0].ledger.missing(token.record_id()).await, Ok(vec![]));
        assert_eq!(books[2].rooms().await, ["blue"]);
        for index in [0, 1699, chunks - 1] {
            let stored = shelf.list()[index as usize].mark;
            let placed = books[3].ledger.place(token.clone(), at(index), stored, true).await;
            assert_eq!(placed, Ok(Ok(Placed::Duplicate)));
        }
    }
    assert!(redis.keys().iter().all(|key| redis.run::<i64>(&["TTL", key]) == -1), "nothing goes by itself");
}

#[tokio::test]
async fn what_is_noted_late_leaves_the_grace_that_the_rules_say_and_voids_come_back() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    // Less than requests without a socket have.
    let grace = Duration::from_secs(7);
    let books = Books::under(RecordingRules { grace, ..RULES }, &redis, "n1");
    let (token, attached) = books.opened("tuesday", None, None).await;
    books.ledger.detach(id("tuesday"), attached.generation).await.expect("Redis answers");
    let place = |index, mark| StoredChunk { index: at(index), mark };
    let late = vec![place(0, mark(0)), place(1, ChunkMark::VOID), place(2, mark(2))];
    for put_back in [false, true] {
        if put_back {
            redis.empty();
        }
        let now_ms = books.ledger.now_ms().await.expect("Redis answers");
        books.ledger.restore(attached.manifest.clone(), late.clone()).await.expect("Redis answers");
        let due_ms: u64 = redis.run(&["HGET", "recording:{tuesday}", "deadline"]);
        assert!((now_ms + 7_000..now_ms + 20_000).contains(&due_ms), "{due_ms} after {now_ms}");
        let view = books.ledger.show(token.record_id()).await.expect("Redis answers").expect("there");
        assert_eq!((view.chunks, view.next_index), (2, 3));
        assert_eq!(books.ledger.missing(token.record_id()).await, Ok(vec![]));
    }
    let stopped = books.ledger.stop(token, Made { chunks: Some(2), bytes: None }).await;
    assert_eq!(stopped.expect("Redis answers").expect("whole").chunks, 2);
}

#[tokio::test]
async fn an_account_that_was_put_back_half_way_is_unknown_and_goes_away() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let books = Books::on(&redis, "n1");
    let (token, attached) = books.opened("tuesday", None, None).await;
    redis.empty();
    let chunks: Vec<_> = (0..8000).map(|n| StoredChunk { index: at(n), mark: mark(n) }).collect();
    let proxy = Proxy::start(redis.address());
    proxy.delay(Duration::from_millis(30));
    let dies = Runtime::new().expect("a runtime");
    let settings = patient(&redis.url_at(proxy.address()));
    let (manifest, some) = (attached.manifest.clone(), chunks.clone());
    dies.spawn(async move { Books::with(settings, "n2", RULES).ledger.restore(manifest, some).await });
    eventually("it has begun", async || {
        (redis.run::<i64>(&["EXISTS", "recording:{tuesday}"]) == 1).then_some(())
    })
    .await;
    dies.shutdown_background();
    proxy.cut();
    for key in ["recording:{tuesday}", "recording:{tuesday}:chunk_index", "recording:{tuesday}:chunks"] {
        assert!(redis.run::<i64>(&["TTL", key]) > 0, "{key}");
    }
    assert_eq!(books.ledger.show(token.record_id()).await, Ok(None));
    assert_eq!(books.noted("tuesday", 5).await, None);
    // Whoever does it next gets to the end.
    books.ledger.restore(attached.manifest.clone(), chunks.clone()).await.expect("Redis answers");
    let view = books.ledger.show(token.record_id()).await.expect("Redis answers").expect("there");
    let bytes = chunks.iter().map(|chunk| u64::from(chunk.mark.length)).sum();
    assert_eq!((view.chunks, view.next_index, view.bytes), (8000, 8000, bytes));
    for key in redis.keys() {
        assert_eq!(redis.run::<i64>(&["TTL", &key]), -1, "{key} stays");
    }
    redis.run::<i64>(&["HDEL", "recording:{tuesday}", "state"]);
    // Another recording of this name has nothing of it.
    let other = crate::ledger_kit::token(token.record_id(), 2);
    let opened = books.open(&other, None, None, 9).await.expect("Redis answers").expect("opened");
    assert_eq!((opened.next_index, opened.missing), (0, vec![]));
    books.ledger.restore(attached.manifest, chunks).await.expect("Redis answers");
    let view = books.ledger.show(token.record_id()).await.expect("Redis answers").expect("there");
    assert_eq!((view.chunks, view.manifest.token), (0, other.digest()), "another's is left alone");
    assert_eq!(redis.run::<i64>(&["TTL", "recording:{tuesday}"]), -1);
}

#[tokio::test]
async fn a_redis_that_was_rolled_back_counts_on_and_gives_out_no_fence_twice() {
    if !Redis::is_here() {
        return;
    }
    let mut redis = Redis::start();
    let rules = RecordingRules { lease: Duration::ZERO, ..RULES };
    let books = Books::under(rules, &redis, "n1");
    let (token, _) = books.opened("tuesday", None, None).await;
    let loss = books.ledger.loss().await.expect("Redis answers");
    books.ledger.set_whole(loss).await.expect("Redis answers");
    let mut stored = vec![];
    let mut bring = async |count: u32| {
        for _ in 0..count {
            let number = books.ledger.number(token.clone(), unplaced(10)).await.expect("Redis answers");
            let index = number.expect("given out").index;
            stored.push(StoredChunk { index, mark: mark(index.get()) });
            books.noted("tuesday", index.get()).await;
        }
    };
    bring(5).await;
    redis.run::<()>(&["SAVE"]);
    bring(4).await;
    let attached = books.ledger.attach(token.clone()).await.expect("Redis answers").expect("taken up");
    let stopped = books.ledger.stop(token.clone(), Made::default()).await.expect("Redis answers");
    let manifest = stopped.expect("whole").manifest;
    let mut fences = vec![];
    // As many as nobody waits between.
    for _ in 0..CAREFUL_FROM {
        let claim = eventually("it is due", async || books.claims().await.pop()).await;
        fences.push(claim.manifest.fence);
    }
    redis.restart();
    let whole = eventually("Redis answers", async || books.ledger.is_whole().await.ok()).await;
    assert!(!whole, "another life of the server");
    let view = books.ledger.show(token.record_id()).await.expect("Redis answers").expect("there");
    assert_eq!((view.next_index, view.manifest.state), (5, RecordingState::Recording), "as it was once");
    books.ledger.restore(manifest.clone(), stored.clone()).await.expect("Redis answers");
    let view = books.ledger.show(token.record_id()).await.expect("Redis answers").expect("there");
    assert_eq!((view.next_index, view.chunks, view.manifest.stopped), (9, 9, true));
    let claim = eventually("it is due", async || books.claims().await.pop()).await;
    assert!(fences.iter().all(|fence| *fence < claim.manifest.fence), "{fences:?}");
    assert_eq!(claim.work, ClaimedWork::Finalise { expected: 9, chunks: 9 });
    let again = books.ledger.attach(token).await.expect("Redis answers").expect("taken up");
    assert!(again.generation > attached.generation);
}

#[tokio::test]
async fn a_second_loss_is_not_made_good_by_what_was_put_back_before_it() {
    if !Redis::is_here() {
        return;
    }
    let mut redis = Redis::start();
    let [one, other] = ["n1", "n2"].map(|name| Books::on(&redis, name));
    let loss_of = async |books: &Books| eventually("its name", async || books.ledger.loss().await.ok()).await;
    let is_whole =
        async |books: &Books| eventually("an answer", async || books.ledger.is_whole().await.ok()).await;
    // Several put back what one loss has taken, and whoever is first has made it good.
    let first = loss_of(&one).await;
    assert_eq!(loss_of(&other).await, first);
    assert!(!is_whole(&one).await, "it is only named");
    // Emptied, in the same life and in another, before that was done.
    redis.empty();
    let second = loss_of(&other).await;
    assert_ne!(second, first);
    one.ledger.set_whole(first).await.expect("Redis answers");
    assert!(!is_whole(&one).await, "emptied meanwhile");
    redis.restart();
    assert!(!is_whole(&one).await);
    other.ledger.set_whole(second).await.expect("Redis answers");
    assert!(!is_whole(&one).await, "restarted meanwhile");
    let third = loss_of(&one).await;
    one.ledger.set_whole(third.clone()).await.expect("Redis answers");
    assert!(is_whole(&other).await);
    // Whoever comes late finds it done.
    other.ledger.set_whole(third).await.expect("Redis answers");
    let none = loss_of(&other).await;
    other.ledger.set_whole(none).await.expect("Redis answers");
    assert!(is_whole(&one).await);
    // Started again with what it was told, it is another life.
    redis.run::<()>(&["SAVE"]);
    redis.restart();
    assert!(!is_whole(&one).await);
    let fourth = loss_of(&other).await;
    redis.run::<()>(&["SAVE"]);
    redis.restart();
    assert_ne!(loss_of(&one).await, fourth, "the name is kept, the server is not the same");
    one.ledger.set_whole(fourth).await.expect("Redis answers");
    assert!(!is_whole(&other).await);
}
