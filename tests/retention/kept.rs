//! What stays.

use serde_json::json;

use crate::{
    after_sweeps, chunks, gone, node, record, record_broken, record_with_gap,
    support::{Postgres, Recorder, cut, eventually, get, make_old, state_now, videos, webm},
    sweeps, swept,
};

#[tokio::test]
async fn nothing_goes_unless_somebody_wants_it() {
    let storage = tempfile::tempdir().unwrap();
    let node = node(storage.path(), &[]);
    record(node.address(), "whole").await;
    record_with_gap(node.address(), "gaps").await;
    record_broken(node.address(), "broken").await;
    let before = videos(storage.path());
    for id in ["gaps", "broken"] {
        make_old(&chunks(storage.path(), id));
    }
    for name in &before {
        make_old(&storage.path().join("recordings").join(name));
    }
    after_sweeps(node.address(), "done", 3.0).await;
    assert_eq!(state_now(node.address(), "whole").await, "ready");
    assert_eq!(state_now(node.address(), "gaps").await, "ready");
    assert_eq!(state_now(node.address(), "broken").await, "failed");
    assert_eq!(videos(storage.path()), before);
    for id in ["gaps", "broken"] {
        assert!(chunks(storage.path(), id).exists(), "{id}");
    }
}

#[tokio::test]
async fn what_still_runs_is_left_alone() {
    let storage = tempfile::tempdir().unwrap();
    let node = node(storage.path(), &["--recording-retention=1s", "--partial-retention=1s"]);
    let chunks = cut(webm(), 2, 311);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store(0, &chunks[0]).await;
    make_old(&crate::chunks(storage.path(), "talk"));
    after_sweeps(node.address(), "done", 3.0).await;
    recorder.store(1, &chunks[1]).await;
    assert_eq!(recorder.stop_and_wait(&chunks).await["complete"], true);
    gone(node.address(), "talk").await;
}

/// A recording of which only one kind of time is set keeps what the other is for.
#[tokio::test]
async fn each_time_is_for_its_own() {
    let storage = tempfile::tempdir().unwrap();
    let node = node(storage.path(), &["--recording-retention=1s"]);
    record_with_gap(node.address(), "gaps").await;
    record_broken(node.address(), "broken").await;
    record(node.address(), "whole").await;
    gone(node.address(), "whole").await;
    after_sweeps(node.address(), "done", 2.0).await;
    assert_eq!(state_now(node.address(), "gaps").await, "ready");
    assert_eq!(state_now(node.address(), "broken").await, "failed");
    assert!(chunks(storage.path(), "gaps").exists() && chunks(storage.path(), "broken").exists());
}

#[tokio::test]
async fn nothing_goes_while_the_catalog_is_away() {
    if !Postgres::is_here() {
        return;
    }
    let (storage, mut postgres) = (tempfile::tempdir().unwrap(), Postgres::start().await);
    postgres.create("greenroom").await;
    let database = format!("--database-url={}", postgres.url("greenroom"));
    let node = node(storage.path(), &[&database, "--recording-retention=4s"]);
    let shown = record(node.address(), "talk").await;
    let key = shown["key"].as_str().unwrap().to_owned();
    eventually("the catalog knows", async || {
        (get(node.address(), "/recordings?state=ready").await.json()["recordings"][0]["recordId"] == "talk")
            .then_some(())
    })
    .await;
    postgres.kill();
    let (video, orphan) =
        (storage.path().join("recordings").join(&key), storage.path().join("recordings/talk.1.webm"));
    std::fs::write(&orphan, "an earlier try").unwrap();
    for path in [&video, &orphan] {
        make_old(path);
    }
    let done = sweeps(node.address(), "done").await;
    // Long enough that its time is over.
    after_sweeps(node.address(), "put_off", 5.0).await;
    assert!(video.exists() && orphan.exists());
    assert_eq!(sweeps(node.address(), "done").await, done);

    postgres.restart().await;
    gone(node.address(), "talk").await;
    eventually("both go", async || (!orphan.exists() && !video.exists()).then_some(())).await;
    swept(node.address(), "retention", 1.0).await;
}
