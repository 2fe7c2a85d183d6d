//! Nodes that die, freeze or are told to go: others go on from there.

use std::fs;

use serde_json::{Value, json};

use crate::{
    chunk_folders,
    gate::Gate,
    only, state,
    support::{
        Cluster, Recorder, Redis, Upload, check_video, cut, eventually, metric, mp4, ready, send, status,
        webm,
    },
    videos, worker,
};

const FAST: [&str; 2] = ["--lease-secs=2", "--recording-grace-secs=2"];

#[tokio::test]
async fn a_recorder_whose_node_is_killed_goes_on_at_another() {
    if !Redis::is_here() {
        return;
    }
    let mut cluster = Cluster::start_with(3, &["--lease-secs=2", "--recording-grace-secs=600"]).await;
    let chunks = cut(webm(), 12, 310);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..4]).await;
    // Some are on their way when it happens.
    recorder.chunk(5, &chunks[5]).await;
    recorder.chunk(6, &chunks[6]).await;
    cluster.kill(0);
    let token = recorder.token();
    assert_eq!(recorder.hear_out().await.1, None, "no word of farewell");

    let mut again = Recorder::go_on(cluster.address(1), &token).await;
    assert_eq!((&again.started["recordId"], &again.started["state"]), (&json!("talk"), &json!("recording")));
    let missing: Vec<u64> = serde_json::from_value(again.started["missing"].clone()).unwrap();
    assert!(missing.iter().all(|index| [4, 5].contains(index)), "{missing:?}");
    assert!((4..=7).contains(&again.started["nextIndex"].as_u64().unwrap()), "{}", again.started);
    again.store_all(0, &chunks[..8]).await;
    // That one too.
    cluster.kill(1);
    let mut last = Recorder::go_on(cluster.address(2), &token).await;
    assert_eq!((&last.started["missing"], &last.started["nextIndex"]), (&json!([]), &json!(8)));
    last.store_all(8, &chunks[8..]).await;
    let told = last.stop_and_wait(&chunks).await;
    assert_eq!(told["version"], 1);
    check_video(cluster.address(2), &told, webm()).await;
    only(cluster.address(2), "talk").await;
}

#[tokio::test]
async fn a_recording_whose_node_is_killed_and_whose_recorder_does_not_return_is_finalised_by_another() {
    if !Redis::is_here() {
        return;
    }
    let mut cluster = Cluster::start_with(2, &FAST).await;
    let chunks = cut(webm(), 5, 311);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..4]).await;
    cluster.kill(0);
    let row = ready(cluster.address(1), "talk").await;
    check_video(cluster.address(1), &json_complete(&row), &chunks[..4].concat()).await;
    // Whoever comes back all the same makes it better.
    let mut late = Recorder::go_on(cluster.address(1), &recorder.token()).await;
    assert_eq!((&late.started["state"], &late.started["nextIndex"]), (&json!("recording"), &json!(4)));
    late.store(4, &chunks[4]).await;
    let told = late.stop_and_wait(&chunks).await;
    assert_eq!(told["version"], 2);
    check_video(cluster.address(1), &told, webm()).await;
    only(cluster.address(1), "talk").await;
}

/// What was cut off in the middle of its last frame lacks nothing that was stored.
fn json_complete(row: &Value) -> Value {
    assert_eq!((&row["missingChunks"], &row["chunks"]), (&json!([]), &json!(4)), "{row}");
    row.clone()
}

/// Records by way of one node, stops at it, and waits until somebody is in the middle of making the video.
async fn merging(cluster: &Cluster, gate: &Gate, chunks: &[Vec<u8>]) -> usize {
    let (upload, _) = Upload::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    for (index, chunk) in (0u32..).zip(chunks) {
        assert_eq!(upload.put(index, chunk).await.status, 200);
    }
    assert_eq!(upload.stop(json!({ "chunks": chunks.len() })).await.status, 202);
    gate.began().await;
    worker(cluster, "talk").await
}

/// A node that is not this one.
fn other(cluster: &Cluster, than: usize) -> usize {
    (than + 1) % cluster.len()
}

/// The one video is there and nothing else.
async fn nothing_else_is_left(cluster: &Cluster, node: usize) {
    let address = cluster.address(node);
    eventually("the chunks are gone", async || (chunk_folders(cluster) == 0).then_some(())).await;
    only(address, "talk").await;
    let row = status(address, "talk").await;
    let key = row["key"].as_str().unwrap();
    let stem = key.rsplit_once('.').unwrap().0;
    let videos = videos(cluster);
    assert!(videos.iter().all(|name| name.starts_with(stem)), "{videos:?} for {key}");
    let claimed: Option<String> = cluster.redis().run(&["HGET", "recording:{talk}", "claimed_by"]);
    assert_eq!(claimed, None);
}

#[tokio::test]
async fn a_node_killed_while_it_makes_a_video_is_followed_by_another() {
    if !Redis::is_here() {
        return;
    }
    let gate = Gate::new();
    let mut cluster = Cluster::start_with(3, &[&["--lease-secs=2"][..], &gate.flags()].concat()).await;
    let chunks = cut(webm(), 6, 312);
    let victim = merging(&cluster, &gate, &chunks).await;
    cluster.kill(victim);
    gate.open();
    let node = other(&cluster, victim);
    let row = ready(cluster.address(node), "talk").await;
    assert_eq!(row["version"], 1);
    check_video(cluster.address(node), &row, webm()).await;
    nothing_else_is_left(&cluster, node).await;
    // In its next life it has nothing to add.
    cluster.restart(victim).await;
    assert_eq!(status(cluster.address(victim), "talk").await["sha256"], row["sha256"]);
    nothing_else_is_left(&cluster, victim).await;
}

#[tokio::test]
async fn a_merge_whose_ffmpeg_is_killed_is_told_and_done_again() {
    if !Redis::is_here() {
        return;
    }
    let gate = Gate::new();
    let cluster = Cluster::start_with(2, &[&["--lease-secs=2"][..], &gate.flags()].concat()).await;
    let chunks = cut(webm(), 3, 313);
    let mut recorder = Recorder::start(cluster.address(1), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    // By way of the other node: what becomes of it comes from there.
    let upload = Upload::of(cluster.address(0), &recorder.token());
    assert_eq!(upload.stop(json!({ "chunks": 3 })).await.status, 202);
    gate.kill().await;
    let error = recorder.wait_for("recordingError").await;
    assert_eq!((&error["code"], &error["retryable"]), (&json!("merge_failed"), &json!(true)), "{error}");
    gate.open();
    let told = recorder.wait_for("recordingReady").await;
    assert_eq!(told["version"], 1);
    check_video(cluster.address(0), &told, webm()).await;
    assert_eq!(status(cluster.address(0), "talk").await["error"], json!(null));
    nothing_else_is_left(&cluster, 0).await;
}

#[tokio::test]
async fn a_node_that_wakes_after_another_has_made_the_video_changes_nothing() {
    if !Redis::is_here() {
        return;
    }
    let gate = Gate::new();
    let cluster = Cluster::start_with(3, &[&["--lease-secs=2"][..], &gate.flags()].concat()).await;
    let chunks = cut(webm(), 6, 314);
    let frozen = merging(&cluster, &gate, &chunks).await;
    cluster.freeze(frozen);
    gate.open();
    let node = other(&cluster, frozen);
    let row = ready(cluster.address(node), "talk").await;
    nothing_else_is_left(&cluster, node).await;
    cluster.thaw(frozen);
    is_overtaken(&cluster, frozen).await;
    assert_eq!(status(cluster.address(frozen), "talk").await, status(cluster.address(node), "talk").await);
    assert_eq!(
        (&row["version"], &status(cluster.address(frozen), "talk").await["sha256"]),
        (&json!(1), &row["sha256"])
    );
    check_video(cluster.address(frozen), &row, webm()).await;
    nothing_else_is_left(&cluster, frozen).await;
}

/// A node has seen that somebody else has its claim, and has nothing under way.
async fn is_overtaken(cluster: &Cluster, node: usize) {
    cluster.serves(node).await;
    let address = cluster.address(node);
    eventually("it sees that its claim is over", async || {
        let logs = cluster.process(node).logs();
        let knows = logs.contains("a claim no longer holds") || logs.contains("a merge was overtaken");
        (knows && metric(address, "greenroom_merges_running").await == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_node_that_wakes_leaves_the_next_recording_of_that_name_alone() {
    if !Redis::is_here() {
        return;
    }
    let gate = Gate::new();
    let cluster = Cluster::start_with(2, &[&["--lease-secs=2"][..], &gate.flags()].concat()).await;
    let frozen = merging(&cluster, &gate, &cut(webm(), 6, 315)).await;
    cluster.freeze(frozen);
    gate.open();
    let address = cluster.address(other(&cluster, frozen));
    ready(address, "talk").await;
    eventually("it is done", async || (chunk_folders(&cluster) == 0).then_some(())).await;
    assert_eq!(send(address, "DELETE /recordings/talk", &[], b"").await.status, 204);
    let chunks = cut(mp4(), 4, 315);
    let begin = json!({ "recordId": "talk", "mimeType": "video/mp4;codecs=avc1,mp4a.40.2" });
    let mut recorder = Recorder::start(address, begin).await;
    recorder.store_all(0, &chunks[..2]).await;
    cluster.thaw(frozen);
    is_overtaken(&cluster, frozen).await;
    assert_eq!(status(cluster.address(frozen), "talk").await["chunks"], 2);
    recorder.store_all(2, &chunks[2..]).await;
    let told = recorder.stop_and_wait(&chunks).await;
    assert_eq!(told["version"], 1);
    check_video(cluster.address(frozen), &told, mp4()).await;
    nothing_else_is_left(&cluster, frozen).await;
}

#[tokio::test]
async fn a_node_that_is_told_to_go_hands_over_its_merge_at_once() {
    if !Redis::is_here() {
        return;
    }
    let gate = Gate::new();
    // A claim that had to run out first would take longer than the test.
    let mut cluster = Cluster::start_with(3, &[&["--lease-secs=60"][..], &gate.flags()].concat()).await;
    let chunks = cut(webm(), 6, 316);
    let goes = merging(&cluster, &gate, &chunks).await;
    assert!(cluster.stop(goes).await.success());
    gate.open();
    let node = other(&cluster, goes);
    let row = ready(cluster.address(node), "talk").await;
    assert_eq!((&row["version"], &row["error"]), (&json!(1), &json!(null)));
    check_video(cluster.address(node), &row, webm()).await;
    nothing_else_is_left(&cluster, node).await;
}

#[tokio::test]
async fn a_recorder_whose_node_is_told_to_go_goes_on_at_another() {
    if !Redis::is_here() {
        return;
    }
    let mut cluster = Cluster::start_with(2, &["--recording-grace-secs=600"]).await;
    let chunks = cut(webm(), 4, 317);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..3]).await;
    cluster.process(0).signal("TERM");
    let token = recorder.token();
    assert_eq!(recorder.hear_out().await.1, Some((1001, "draining".to_owned())));
    let mut again = Recorder::go_on(cluster.address(1), &token).await;
    assert!(cluster.ended(0).await.success());
    assert_eq!((&again.started["nextIndex"], &again.started["missing"]), (&json!(3), &json!([])));
    again.store(3, &chunks[3]).await;
    let told = again.stop_and_wait(&chunks).await;
    assert_eq!(told["version"], 1);
    check_video(cluster.address(1), &told, webm()).await;
}

#[tokio::test]
async fn all_nodes_are_killed_and_come_back() {
    if !Redis::is_here() {
        return;
    }
    let gate = Gate::new();
    let mut cluster = Cluster::start_with(
        2,
        &[&["--lease-secs=2", "--recording-grace-secs=600"][..], &gate.flags()].concat(),
    )
    .await;
    let chunks = cut(webm(), 6, 318);
    let mut recorder = Recorder::start(cluster.address(1), json!({ "recordId": "lecture" })).await;
    recorder.store_all(0, &chunks[..3]).await;
    merging(&cluster, &gate, &chunks).await;
    cluster.kill(0);
    cluster.kill(1);
    gate.open();
    for node in 0..2 {
        cluster.restart(node).await;
    }
    let row = ready(cluster.address(0), "talk").await;
    assert_eq!(row["version"], 1);
    check_video(cluster.address(1), &row, webm()).await;
    let mut again = Recorder::go_on(cluster.address(0), &recorder.token()).await;
    assert_eq!(again.started["nextIndex"], 3);
    again.store_all(3, &chunks[3..]).await;
    let told = again.stop_and_wait(&chunks).await;
    check_video(cluster.address(1), &told, webm()).await;
    state(cluster.address(1), "lecture", "ready").await;
    eventually("nothing but videos is left", async || (chunk_folders(&cluster) == 0).then_some(())).await;
    assert_eq!(fs::read_dir(cluster.storage(0).join("chunks")).map_or(0, Iterator::count), 0);
}

/// Its account is closed and its folder is still there, for as long as its node stands still or, as here, is dead.
#[tokio::test]
async fn a_recorder_that_comes_back_while_its_recording_is_closed_is_told_that_it_is_over() {
    if !Redis::is_here() {
        return;
    }
    let mut cluster = Cluster::start_with(0, &["--lease-secs=2", "--recording-grace-secs=1"]).await;
    cluster.add(&["--crash-at=release.closed"]).await;
    let token = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await.lose();
    cluster.ended(0).await;
    cluster.add(&[]).await;
    assert_eq!(chunk_folders(&cluster), 1);
    let mut again = Recorder::connect(cluster.address(1)).await;
    again.ask_to_begin(json!({ "uploadToken": token })).await;
    again.expect_error("recording_over").await;
    let refused = Upload::of(cluster.address(1), &token).put(0, webm()).await;
    assert_eq!(refused.refusal(), (404, "recording_unknown".into()));
    // Whoever looks for what was left tells its end.
    cluster.kill(1);
    cluster.restart_with(1, &["--housekeeping-secs=1"]).await;
    let row = state(cluster.address(1), "talk", "failed").await;
    assert_eq!(row["error"]["code"], "empty_recording", "{row}");
    eventually("nothing is left", async || (chunk_folders(&cluster) == 0).then_some(())).await;
}
