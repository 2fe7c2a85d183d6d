//! Videos that cannot be made: what is tried again, when, and what is not.

use std::fs;

use serde_json::{Value, json};

use crate::{
    chunk_folders,
    gate::Gate,
    state,
    support::{Cluster, Recorder, Redis, Upload, check_video, cut, eventually, names, ready, status, webm},
};

const ACCOUNT: &str = "recording:{talk}";

/// How many merges were begun of which nothing was heard.
fn unheard(cluster: &Cluster) -> Option<u32> {
    cluster.redis().run(&["HGET", ACCOUNT, "unheard"])
}

#[tokio::test]
async fn what_has_failed_is_tried_again_when_a_node_starts() {
    if !Redis::is_here() {
        return;
    }
    let broken = Gate::broken();
    let mut cluster = Cluster::start_with(0, &["--lease-secs=2"]).await;
    for _ in 0..2 {
        cluster.add(&broken.flags()).await;
    }
    let chunks = cut(webm(), 3, 350);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    recorder.stop(json!({ "chunks": chunks.len() })).await;
    let failed = state(cluster.address(1), "talk", "failed").await;
    assert_eq!(failed["error"]["code"], "merge_failed", "{failed}");
    for node in 0..2 {
        cluster.kill(node);
    }
    for node in 0..2 {
        cluster.restart(node).await;
    }
    let row = ready(cluster.address(1), "talk").await;
    check_video(cluster.address(0), &row, webm()).await;
    assert_eq!(row["error"], json!(null));
}

/// A recording whose video nobody survives: such as one for which a machine has too little memory.
#[tokio::test]
async fn a_merge_that_takes_every_node_down_is_given_up_and_its_recorder_may_try_it_again() {
    if !Redis::is_here() {
        return;
    }
    let deadly = "--crash-at=merge.planned";
    let mut cluster = Cluster::start_with(0, &["--lease-secs=2"]).await;
    for _ in 0..2 {
        cluster.add(&[deadly]).await;
    }
    let chunks = cut(webm(), 3, 351);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    let token = recorder.token();
    recorder.try_stop(json!({ "chunks": chunks.len() })).await;
    for node in 0..2 {
        cluster.ended(node).await;
    }
    assert_eq!(unheard(&cluster), Some(2));
    // And so on, and each waits longer.
    cluster.redis().run::<u32>(&["HSET", ACCOUNT, "unheard", "8"]);
    cluster.restart_with(0, &[deadly]).await;
    let failed = state(cluster.address(0), "talk", "failed").await;
    let why = failed["error"]["message"].as_str().unwrap_or_default();
    assert!(why.contains("died"), "{failed}");
    assert_eq!(chunk_folders(&cluster), 1, "M-5");

    // A new life of a node does not begin it again.
    cluster.restart(1).await;
    let upload = Upload::of(cluster.address(1), &token);
    assert_eq!(status(cluster.address(1), "talk").await["state"], "failed");
    assert_eq!(unheard(&cluster), Some(8));
    cluster.kill(0);
    assert_eq!(upload.stop(json!({ "chunks": chunks.len() })).await.status, 202);
    let row = ready(cluster.address(1), "talk").await;
    check_video(cluster.address(1), &row, webm()).await;
    eventually("it counts anew", async || unheard(&cluster).is_none_or(|unheard| unheard == 0).then_some(()))
        .await;
}

/// Its ledger dies with it; what it has tried it learns from what is kept with the chunks.
#[tokio::test]
async fn a_node_that_is_alone_gives_up_too_what_takes_it_down() {
    let deadly = "--crash-at=merge.planned";
    let mut node = Cluster::apart(0, &[]).await;
    node.add(&[deadly]).await;
    let chunks = cut(webm(), 3, 352);
    let mut recorder = Recorder::start(node.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    let token = recorder.token();
    recorder.try_stop(json!({ "chunks": chunks.len() })).await;
    node.ended(0).await;
    let folder = node.storage(0).join("chunks/talk/revisions");
    let path = folder.join(names(&folder).last().expect("the latest"));
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(manifest["unheard"], 1, "{manifest}");
    manifest["unheard"] = json!(8);
    fs::write(&path, manifest.to_string()).unwrap();
    node.restart_with(0, &[deadly]).await;
    state(node.address(0), "talk", "failed").await;
    assert_eq!(chunk_folders(&node), 1, "M-5");

    node.kill(0);
    node.restart(0).await;
    state(node.address(0), "talk", "failed").await;
    let upload = Upload::of(node.address(0), &token);
    assert_eq!(upload.stop(json!({ "chunks": chunks.len() })).await.status, 202);
    let row = ready(node.address(0), "talk").await;
    check_video(node.address(0), &row, webm()).await;
}
