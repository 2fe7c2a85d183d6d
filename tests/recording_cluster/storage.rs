//! Storage that goes away, may not be written, or is full on one node.

use std::fs;

use serde_json::json;

use crate::support::{
    BY_FFMPEG, Cluster, Recorder, Redis, SmallDisk, Upload, check_video, cut, eventually, fill, ready,
    status, webm,
};

const FLAGS: [&str; 2] = ["--lease-secs=2", "--recording-grace-secs=2"];

#[tokio::test]
async fn a_shared_folder_that_is_away_for_a_while_costs_nothing() {
    if !Redis::is_here() {
        return;
    }
    let elsewhere = tempfile::tempdir().unwrap();
    // The catalog is not what is away.
    let database = format!("--database-url=sqlite://{}", elsewhere.path().join("recordings.db").display());
    let cluster = Cluster::start_with(2, &[&FLAGS[..], &[database.as_str()]].concat()).await;
    let chunks = cut(webm(), 6, 350);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    let mut gone = Recorder::start(cluster.address(1), json!({ "recordId": "gone" })).await;
    recorder.store_all(0, &chunks[..3]).await;
    gone.store_all(0, &chunks).await;
    // Nobody claims anything before a new ledger is known to be whole, which the folder says.
    let (first, _) = Upload::start(cluster.address(0), json!({ "recordId": "first" })).await;
    assert_eq!(first.put(0, webm()).await.status, 200);
    assert_eq!(first.stop(json!({ "chunks": 1 })).await.status, 202);
    ready(cluster.address(0), "first").await;
    let (there, away) = (cluster.storage(0), elsewhere.path().join("away"));
    fs::rename(&there, &away).unwrap();
    // As an empty mount point is.
    fs::create_dir(&there).unwrap();
    recorder.chunk(3, &chunks[3]).await;
    let error = recorder.expect_chunk_error("storage_failed").await;
    assert_eq!(error["retryable"], true, "{error}");
    let upload = Upload::of(cluster.address(1), &recorder.token());
    assert_eq!(upload.put(3, &chunks[3]).await.refusal(), (503, "storage_failed".into()));
    assert_eq!(upload.post(&chunks[3]).await.refusal(), (503, "storage_failed".into()));
    let mut other = Recorder::connect(cluster.address(0)).await;
    other.ask_to_begin(json!({ "recordId": "other" })).await;
    assert_eq!(other.expect("recordingError").await["retryable"], true);
    // What is due in the meantime is not taken for empty.
    gone.lose();
    eventually("somebody has tried", async || {
        let status = status(cluster.address(0), "gone").await;
        assert_ne!(status["state"], "failed", "{status}");
        (status["error"]["code"] == "merge_failed").then_some(())
    })
    .await;
    assert!(!there.join("chunks").exists(), "nothing is put where the folder should be");
    let _ = fs::remove_dir_all(&there);
    fs::rename(&away, &there).unwrap();

    for (index, chunk) in (3u32..).zip(&chunks[3..]) {
        eventually("the chunk is taken", async || {
            (upload.put(index, chunk).await.status == 200).then_some(())
        })
        .await;
    }
    let told = recorder.stop_and_wait(&chunks).await;
    assert_eq!(told["version"], 1);
    check_video(cluster.address(1), &told, webm()).await;
    check_video(cluster.address(0), &ready(cluster.address(0), "gone").await, webm()).await;
    other.begin(json!({ "recordId": "other" })).await;
}

#[tokio::test]
async fn a_shared_folder_that_may_not_be_written_refuses_and_loses_nothing() {
    if !Redis::is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("disk");
    let Some(disk) = SmallDisk::mount(&at, "32m") else { return };
    let elsewhere = tempfile::tempdir().unwrap();
    let flags = [
        format!("--storage-local-path={}", at.display()),
        format!("--database-url=sqlite://{}", elsewhere.path().join("recordings.db").display()),
        "--min-free-bytes=0".to_owned(),
    ];
    let mut cluster = Cluster::start_with(0, &FLAGS).await;
    for _ in 0..2 {
        cluster.add(&flags.each_ref().map(String::as_str)).await;
    }
    let chunks = cut(webm(), 4, 351);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..2]).await;
    disk.remount("ro");
    recorder.chunk(2, &chunks[2]).await;
    assert_eq!(recorder.expect_chunk_error("storage_failed").await["retryable"], true);
    let upload = Upload::of(cluster.address(1), &recorder.token());
    assert_eq!(upload.put(2, &chunks[2]).await.refusal(), (503, "storage_failed".into()));
    // A stop could not be written down.
    recorder.stop(json!({ "chunks": 2 })).await;
    let refused = recorder.expect("recordingError").await;
    assert_eq!(refused["retryable"], true, "{refused}");
    disk.remount("rw");
    recorder.lose();
    let row = ready(cluster.address(1), "talk").await;
    assert_eq!((&row["chunks"], &row["missingChunks"]), (&json!(2), &json!([])));
    check_video(cluster.address(0), &row, &chunks[..2].concat()).await;
}

/// One node has no room for its work; the others have.
#[tokio::test]
async fn a_node_whose_own_disk_is_full_leaves_merges_to_others() {
    if !Redis::is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("disk");
    let Some(_disk) = SmallDisk::mount(&at, "1m") else { return };
    let mut cluster = Cluster::start_with(3, &[&FLAGS[..], &[BY_FFMPEG]].concat()).await;
    cluster.kill(0);
    let work = at.join("work");
    fs::create_dir(&work).unwrap();
    cluster.restart_with(0, &[&format!("--temp-dir={}", work.display())]).await;
    fill(&at.join("filler"));
    let chunks = cut(webm(), 4, 352);
    // By way of the node with the full disk, which is the first to know, until it was the one that tried.
    let mut tries = 0;
    eventually("it has tried", async || {
        tries += 1;
        let id = format!("talk-{tries}");
        let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": id })).await;
        recorder.store_all(0, &chunks).await;
        recorder.stop(json!({ "chunks": 4, "bytes": webm().len() })).await;
        recorder.expect("finished").await;
        let mut failed = None;
        loop {
            let told = recorder.next().await;
            match told["type"].as_str() {
                Some("mergeProgress") => {}
                Some("recordingError") => {
                    assert_eq!(
                        (&told["retryable"], &failed),
                        (&json!(true), &None),
                        "{told}: the next one is another's"
                    );
                    failed = Some(());
                }
                _ => {
                    assert_eq!((&told["type"], &told["version"]), (&json!("recordingReady"), &json!(1)));
                    check_video(cluster.address(0), &told, webm()).await;
                    return failed;
                }
            }
        }
    })
    .await;
}
