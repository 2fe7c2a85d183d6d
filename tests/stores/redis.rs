//! The chunk store on Redis: its suite on a real server, its terms, and what becomes of chunks when Redis is full, slow or away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use greenroom::{
    adapters::{
        clock::Clock,
        ports::{ChunkStore, Committed, StoreError, StoredChunk, Swept},
        redis::{RedisChunks, RedisSettings, RedisStore},
    },
    domain::recording::Manifest,
    metrics::Metrics,
};

use crate::{
    chunk_suite::{self, manifest, of, put, token},
    eventually, id, index, mark,
    support::{Proxy, Redis},
};

const TERM: Duration = Duration::from_secs(60 * 60);

/// The store of one node.
fn chunks(url: &str) -> RedisChunks {
    chunks_with(RedisSettings::single(url))
}

fn chunks_with(settings: RedisSettings) -> RedisChunks {
    let metrics = Metrics::new().expect("good names");
    let store = RedisStore::new(settings, Clock::start(), metrics).expect("good settings");
    RedisChunks::new(store, TERM)
}

/// Two nodes in turn.
async fn suite(one: RedisChunks, other: RedisChunks) {
    let opened = AtomicUsize::new(0);
    chunk_suite::suite(&|| {
        let turn = opened.fetch_add(1, Ordering::Relaxed);
        Arc::new([&one, &other][turn % 2].clone())
    })
    .await;
}

/// How long each key lasts, of those that do.
fn terms(redis: &Redis) -> Vec<(String, i64)> {
    redis.keys().into_iter().map(|key| (key.clone(), redis.run(&["PTTL", &key]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_in_redis_do_what_every_chunk_store_must() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    suite(chunks(&redis.url()), chunks(&redis.url())).await;
    for (key, left) in terms(&redis) {
        assert!(left > 0 || key == "recordings:stored", "{key} would stay for ever");
    }
}

/// Where keys of one script in two slots are refused.
#[tokio::test(flavor = "multi_thread")]
async fn all_keys_of_a_recording_share_a_slot() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start_with(&["cluster-enabled yes"]);
    redis.run::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    eventually("it serves all slots", || {
        redis.run::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
    })
    .await;
    suite(chunks(&redis.url()), chunks(&redis.url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_recording_does_not_lose_its_beginning() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let store = chunks(&redis.url());
    for at in 0..3 {
        put(&store, &id("long"), at, b"early").await.unwrap();
    }
    let half = i64::try_from(TERM.as_millis() / 2).unwrap();
    let age = |left: i64| {
        for key in redis.keys().iter().filter(|key| key.starts_with("recording:{long}")) {
            redis.run::<()>(&["PEXPIRE", key, &left.to_string()]);
        }
    };
    let of_chunks = || terms(&redis).into_iter().filter(|(key, _)| key.starts_with("recording:{long}"));

    // More than half is left: each chunk has its own term.
    age(half + 60_000);
    put(&store, &id("long"), 3, b"later").await.unwrap();
    assert_eq!(
        of_chunks().filter(|(_, left)| *left < half + 120_000).count(),
        5,
        "three chunks, manifest, marks"
    );
    age(half - 60_000);
    put(&store, &id("long"), 4, b"later yet").await.unwrap();
    eventually("everything is renewed", || of_chunks().all(|(_, left)| left > half)).await;
    // A change of its state is as good as a chunk.
    age(half - 60_000);
    store.save_manifest(manifest(&id("long"), 2)).await.unwrap();
    assert!(of_chunks().all(|(_, left)| left > half));
    assert_eq!(store.list(&id("long")).await.unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_renews_goes_whole() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let store = chunks(&redis.url());
    put(&store, &id("over"), 0, b"bytes").await.unwrap();
    put(&store, &id("stays"), 0, b"bytes").await.unwrap();
    for key in redis.keys().iter().filter(|key| key.starts_with("recording:{over}")) {
        redis.run::<()>(&["PEXPIRE", key, "1"]);
    }
    eventually("its keys are gone", || redis.keys().iter().all(|key| !key.contains("{over}"))).await;
    assert_eq!(store.recordings().await.unwrap(), [id("stays")]);
    assert_eq!(store.age(&id("over")).await.unwrap(), None);
    assert!(store.list(&id("over")).await.unwrap().is_empty());
    // The index forgets it an hour after its term.
    assert_eq!(store.sweep().await.unwrap(), Swept::default());
    let entries: Vec<String> = redis.run(&["ZRANGE", "recordings:stored", "0", "-1"]);
    let over = entries.iter().find(|entry| entry.starts_with("over ")).expect("it is there");
    redis.run::<()>(&["ZADD", "recordings:stored", "1000", over]);
    assert_eq!(store.sweep().await.unwrap(), Swept { count: 1, bytes: 0 });
    assert_eq!(store.recordings().await.unwrap(), [id("stays")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_recording_is_left_after_its_delete() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let store = chunks(&redis.url());
    // Of the next one of its name, whose bytes have other keys, nothing goes with it.
    for at in 0..700 {
        put(&store, &id("gone"), at, b"x").await.unwrap();
    }
    let staged = store.stage(&of(&id("gone"), 'a'), Bytes::from_static(b"late")).await.unwrap();
    store.delete(&id("gone"), Some(token('a'))).await.unwrap();
    assert_eq!(redis.keys(), Vec::<String>::new());
    assert!(store.create(Manifest { token: token('b'), ..manifest(&id("gone"), 1) }).await.unwrap());
    assert!(staged.commit(index(0), mark(b"late")).await.is_err());
    let next = store.stage(&of(&id("gone"), 'b'), Bytes::from_static(b"next")).await.unwrap();
    assert_eq!(next.commit(index(0), mark(b"next")).await.unwrap(), Committed::Stored);
    assert_eq!(store.recordings().await.unwrap(), [id("gone")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_is_said_and_nothing_half_stored_counts() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let store = chunks(&redis.url());
    assert_eq!(store.free_bytes().await.unwrap(), None, "it has no bound");
    store.create(manifest(&id("full"), 1)).await.unwrap();
    let staged = store.stage(&of(&id("full"), 'a'), Bytes::from(vec![7; 100_000])).await.unwrap();
    redis.run::<()>(&["CONFIG", "SET", "maxmemory", "1mb"]);
    assert_eq!(store.free_bytes().await.unwrap(), Some(0), "a server without anything takes more than that");
    let error = staged.commit(index(0), mark(&[7; 100_000])).await.expect_err("no space");
    assert!(matches!(error, StoreError::Full(_)) && error.is_transient(), "{error}");
    assert!(store.list(&id("full")).await.unwrap().is_empty());
    redis.run::<()>(&["CONFIG", "SET", "maxmemory", "100mb"]);
    assert!(store.free_bytes().await.unwrap().is_some_and(|bytes| bytes > 10_000_000));
    assert_eq!(staged.commit(index(0), mark(&[7; 100_000])).await.unwrap(), Committed::Stored);
}

/// Whatever became of the first try, it is told apart from somebody else's chunk.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_was_lost_is_done_once() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let proxy = Proxy::start(redis.address());
    let url = redis.url_at(proxy.address());
    // Ten times as long for a chunk.
    let store =
        chunks_with(RedisSettings { timeout: Duration::from_millis(100), ..RedisSettings::single(&url) });
    store.create(manifest(&id("lost"), 1)).await.unwrap();
    let staged = store.stage(&of(&id("lost"), 'a'), Bytes::from_static(b"bytes")).await.unwrap();
    redis.pause(Duration::from_secs(3));
    let error = staged.commit(index(0), mark(b"bytes")).await.expect_err("no answer");
    assert!(matches!(error, StoreError::Failed(_)) && error.is_transient(), "{error}");
    // It may be done by now, or not yet.
    let until = std::time::Instant::now() + crate::DEADLINE;
    let again = loop {
        match staged.commit(index(0), mark(b"bytes")).await {
            Ok(answer) => break answer,
            Err(error) => assert!(std::time::Instant::now() < until, "{error}"),
        }
    };
    assert_eq!(again, Committed::Stored);
    assert_eq!(
        store.list(&id("lost")).await.unwrap(),
        [StoredChunk { index: index(0), mark: mark(b"bytes") }]
    );

    proxy.cut();
    for error in [
        store.list(&id("lost")).await.map(drop).unwrap_err(),
        store.manifest(&id("lost")).await.map(drop).unwrap_err(),
        store.recordings().await.map(drop).unwrap_err(),
        store.read(&id("lost"), index(0)).await.map(drop).unwrap_err(),
        store.free_bytes().await.map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Failed(_)) && error.is_transient(), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_are_as_durable_as_redis_is_told_to_be() {
    if !Redis::is_here() {
        return;
    }
    let mut redis = Redis::start();
    let store = chunks(&redis.url());
    let fear = store.fear().await.expect("memory alone");
    assert!(fear.contains("append-only"), "{fear}");
    redis.run::<()>(&["CONFIG", "SET", "appendonly", "yes"]);
    assert_eq!(store.fear().await, None);
    drop(store);

    let kept = Redis::start_with(&["appendonly yes", "appendfsync always"]);
    put(&chunks(&kept.url()), &id("durable"), 0, b"bytes").await.unwrap();
    redis.kill();
    let mut kept = kept;
    kept.restart();
    assert_eq!(chunks(&kept.url()).read(&id("durable"), index(0)).await.unwrap(), b"bytes".as_slice());
}

/// Chunks of the largest size, several at once.
#[tokio::test(flavor = "multi_thread")]
async fn large_chunks_go_through() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let (store, id) = (chunks(&redis.url()), id("large"));
    let payload = vec![9; 16 * 1024 * 1024];
    let puts = (0..4).map(|at| put(&store, &id, at, &payload));
    for answer in futures_util::future::join_all(puts).await {
        assert_eq!(answer.unwrap(), Committed::Stored);
    }
    for at in 0..4 {
        assert!(store.read(&id, index(at)).await.unwrap() == payload);
    }
}
