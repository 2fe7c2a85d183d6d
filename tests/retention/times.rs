//! Recordings whose time is over.

use std::fs;

use serde_json::json;

use crate::{
    after_sweeps, chunks, gone, logged, node, record, record_broken, record_with_gap,
    support::{Recorder, cut, eventually, get, ready, state_now, status, video, videos, webm},
    swept,
};

#[tokio::test]
async fn a_finished_recording_goes_whole_when_its_time_is_over() {
    let storage = tempfile::tempdir().unwrap();
    let node = node(storage.path(), &["--recording-retention=2s", "--reopen-secs=600"]);
    let shown = record(node.address(), "talk").await;
    gone(node.address(), "talk").await;
    eventually("nothing of it is left", async || {
        (videos(storage.path()).is_empty() && !chunks(storage.path(), "talk").exists()).then_some(())
    })
    .await;
    let list = get(node.address(), "/recordings").await.json();
    assert_eq!(list["recordings"], json!([]));
    let bytes = swept(node.address(), "retention", 1.0).await;
    assert!(bytes >= shown["sizeBytes"].as_f64().unwrap(), "{bytes}");
    logged(&node, "why=\"retention\"").await;
    // Its name is free again.
    Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
}

/// The chunks go, whatever the operator keeps of complete recordings, and the video stays as it is.
#[tokio::test]
async fn the_chunks_of_a_recording_with_gaps_go_when_their_time_is_over() {
    for keeps in ["--cleanup-chunks=true", "--cleanup-chunks=false"] {
        let storage = tempfile::tempdir().unwrap();
        let node = node(storage.path(), &["--partial-retention=2s", keeps]);
        let (token, shown) = record_with_gap(node.address(), "talk").await;
        assert!(chunks(storage.path(), "talk").exists(), "kept at first");
        eventually("its chunks are gone", async || (!chunks(storage.path(), "talk").exists()).then_some(()))
            .await;
        eventually("its account has let go", async || {
            let mut late = Recorder::connect(node.address()).await;
            late.ask_to_begin(json!({ "uploadToken": token })).await;
            (late.next().await["code"] == "recording_over").then_some(())
        })
        .await;
        let row = status(node.address(), "talk").await;
        for name in ["state", "complete", "gaps", "key", "missingChunks", "version"] {
            assert_eq!(row[name], shown[name], "{keeps}: {name}");
        }
        assert_eq!(video(node.address(), &row).await.len() as u64, row["sizeBytes"].as_u64().unwrap());
        assert!(swept(node.address(), "partial", 1.0).await > 10_000.0, "{keeps}");
    }
}

#[tokio::test]
async fn a_failed_recording_goes_whole_when_its_time_is_over() {
    let storage = tempfile::tempdir().unwrap();
    let node = node(storage.path(), &["--partial-retention=2s"]);
    record_broken(node.address(), "broken").await;
    assert_eq!(state_now(node.address(), "broken").await, "failed");
    let mut empty = Recorder::start(node.address(), json!({ "recordId": "empty" })).await;
    empty.stop(json!({ "chunks": 0 })).await;
    empty.wait_for("recordingError").await;
    gone(node.address(), "broken").await;
    gone(node.address(), "empty").await;
    assert!(!chunks(storage.path(), "broken").exists());
    assert_eq!(swept(node.address(), "partial", 2.0).await, 4004.0);
}

/// With gaps and all: the longer of both times counts.
#[tokio::test]
async fn a_recording_with_gaps_goes_whole_when_both_times_are_over() {
    let storage = tempfile::tempdir().unwrap();
    let node = node(storage.path(), &["--recording-retention=2s", "--partial-retention=1s"]);
    record_with_gap(node.address(), "talk").await;
    gone(node.address(), "talk").await;
    eventually("nothing of it is left", async || {
        (videos(storage.path()).is_empty() && !chunks(storage.path(), "talk").exists()).then_some(())
    })
    .await;
}

/// It was taken up again, and what came then could not be made a video together with what was there.
#[tokio::test]
async fn the_video_of_an_earlier_version_outlives_the_chunks_of_one_that_failed() {
    let storage = tempfile::tempdir().unwrap();
    let node = node(storage.path(), &["--partial-retention=3s"]);
    let parts = cut(webm(), 2, 313);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store(0, &parts[0]).await;
    let token = recorder.lose();
    let first = ready(node.address(), "talk").await;
    let stored = chunks(storage.path(), "talk").join("chunk_00000000");
    fs::write(&stored, vec![0x5a; parts[0].len()]).unwrap();
    let mut again = Recorder::go_on(node.address(), &token).await;
    again.store(1, &parts[1]).await;
    again.stop(json!({ "chunks": 2 })).await;
    again.wait_for("recordingError").await;
    let failed = status(node.address(), "talk").await;
    assert_eq!((&failed["state"], &failed["key"]), (&json!("failed"), &first["key"]));
    eventually("its chunks are gone", async || (!chunks(storage.path(), "talk").exists()).then_some(()))
        .await;
    after_sweeps(node.address(), "done", 2.0).await;
    let row = status(node.address(), "talk").await;
    assert_eq!((&row["state"], &row["key"]), (&json!("failed"), &first["key"]));
    assert_eq!(video(node.address(), &row).await.len() as u64, first["sizeBytes"].as_u64().unwrap());
    swept(node.address(), "partial", 1.0).await;
}
