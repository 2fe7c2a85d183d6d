//! A recording is watched while it comes, by way of whatever node.

use serde_json::{Value, json};

use crate::{
    s3::S3Server,
    support::{Cluster, Postgres, Recorder, Redis, Upload, eventually, get, names, ready, send, video, webm},
};

const CHUNKS: usize = 24;

/// Pieces of the same size, so that it is known how much has come with so many.
fn even() -> Vec<Vec<u8>> {
    webm().chunks(webm().len().div_ceil(CHUNKS)).map(<[u8]>::to_vec).collect()
}

/// Once so much can be watched at this node. Unit: milliseconds.
async fn live(cluster: &Cluster, node: usize, duration_ms: u64) -> Value {
    eventually("it can be watched", async || {
        let answer = get(cluster.address(node), "/recordings/talk/live").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let live = answer.json();
        (live["durationMs"].as_u64()? >= duration_ms).then_some(live)
    })
    .await
}

/// The bytes behind a link at this node.
async fn bytes(cluster: &Cluster, node: usize, live: &Value, link: &str) -> Vec<u8> {
    let path = live[link].as_str().expect("a link");
    let answer = send(cluster.address(node), &format!("GET {path}"), &[], b"").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// What was seen of a stream is in what is seen of it now, but for the head.
fn assert_grown(live: &Value, seen: &[u8], now: &[u8]) {
    let head = usize::try_from(live["headBytes"].as_u64().unwrap()).unwrap();
    assert!(seen.len() > head && now.len() >= seen.len());
    assert!(seen[head..] == now[head..seen.len()], "other bytes at the same place");
}

#[tokio::test]
async fn every_node_shows_the_same_and_goes_on_when_one_dies() {
    if !Redis::is_here() {
        return;
    }
    let flags = ["--lease-secs=2", "--recording-grace-secs=60"];
    let mut cluster = Cluster::start_with(3, &flags).await;
    let chunks = even();
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..16]).await;
    let first = live(&cluster, 0, 1000).await;
    let mut seen = bytes(&cluster, 0, &first, "streamUrl").await;
    let file = bytes(&cluster, 0, &first, "fileUrl").await;
    for node in [1, 2] {
        let there = live(&cluster, node, 1000).await;
        assert_grown(&first, &seen, &bytes(&cluster, node, &there, "streamUrl").await);
        assert!(
            bytes(&cluster, node, &first, "fileUrl").await == file,
            "a file up to a cut is the same everywhere"
        );
    }

    cluster.kill(0);
    let mut recorder = Recorder::go_on(cluster.address(1), &recorder.token()).await;
    recorder.store_all(16, &chunks[16..]).await;
    for node in [1, 2] {
        let there = live(&cluster, node, 2000).await;
        let now = bytes(&cluster, node, &there, "streamUrl").await;
        assert_grown(&first, &seen, &now);
        assert!(bytes(&cluster, node, &first, "fileUrl").await == file, "also later");
        seen = now;
    }
    let told = recorder.stop_and_wait(&chunks).await;
    assert_grown(&first, &seen, &video(cluster.address(2), &told).await);
    eventually("it is over everywhere", async || {
        let there = get(cluster.address(2), "/recordings/talk/live").await;
        (there.status == 409 && there.json()["code"] == "recording_over").then_some(())
    })
    .await;
}

/// Three nodes, and a recording whose chunks came in requests to each of them in turn.
async fn requested() -> (Cluster, Upload) {
    let cluster = Cluster::start_with(3, &[]).await;
    let (upload, started) = Upload::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    let token = started["uploadToken"].as_str().unwrap();
    for (index, chunk) in (0..).zip(&even()) {
        let upload = Upload::of(cluster.address(index as usize % 3), token);
        assert_eq!(upload.put(index, chunk).await.status, 200);
    }
    (cluster, upload)
}

/// No node has its socket, and still one of them follows.
#[tokio::test]
async fn what_comes_by_requests_to_all_nodes_is_put_together_while_it_comes() {
    if !Redis::is_here() {
        return;
    }
    let (cluster, upload) = requested().await;
    let folder = cluster.storage(0).join("assembly");
    let is_saved = || names(&folder).into_iter().any(|name| name.ends_with(".state"));
    eventually("it is put together", async || is_saved().then_some(())).await;
    assert_eq!(upload.stop(json!({ "chunks": CHUNKS })).await.status, 202);
    ready(cluster.address(0), "talk").await;
}

#[tokio::test]
async fn what_comes_by_requests_to_all_nodes_can_be_watched_at_each() {
    if !Redis::is_here() {
        return;
    }
    let (cluster, upload) = requested().await;
    let first = live(&cluster, 1, 2000).await;
    let seen = bytes(&cluster, 1, &first, "streamUrl").await;
    let there = live(&cluster, 2, 2000).await;
    assert_grown(&first, &seen, &bytes(&cluster, 2, &there, "streamUrl").await);
    assert_eq!(upload.stop(json!({ "chunks": CHUNKS })).await.status, 202);
    let row = ready(cluster.address(0), "talk").await;
    assert_grown(&first, &seen, &video(cluster.address(2), &row).await);
}

/// What the recorder's node has of it no other can see.
#[tokio::test]
async fn nodes_that_share_a_bucket_and_no_folder_show_the_same() {
    if !(Redis::is_here() && Postgres::is_here()) {
        return;
    }
    let (server, postgres) = (S3Server::start(), Postgres::start().await);
    postgres.create("greenroom").await;
    let mut flags = server.flags_at(server.address());
    flags.extend(["--chunk-store=S3".to_owned(), format!("--database-url={}", postgres.url("greenroom"))]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut cluster = Cluster::start_with(0, &flags).await;
    let own = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for folder in &own {
        cluster.add(&[&format!("--temp-dir={}", folder.path().display())]).await;
    }
    let full = tempfile::tempdir().unwrap();
    let line = format!("--min-free-bytes={}", 1_u64 << 60);
    cluster.add(&[&format!("--temp-dir={}", full.path().display()), &line]).await;
    let chunks = even();
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    let first = live(&cluster, 0, 2000).await;
    let seen = bytes(&cluster, 0, &first, "streamUrl").await;
    let there = live(&cluster, 1, 2000).await;
    assert_grown(&first, &seen, &bytes(&cluster, 1, &there, "streamUrl").await);
    assert!(
        bytes(&cluster, 1, &first, "fileUrl").await == bytes(&cluster, 0, &first, "fileUrl").await,
        "a file up to a cut is the same everywhere"
    );
    // A node with less left than it is told to leave puts nothing together for those who only watch.
    let refused = get(cluster.address(2), "/recordings/talk/live").await;
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("not_live")));
    let node = full.path().join(format!("merges-{}", Cluster::name(2)));
    assert!(names(&node.join("watched")).is_empty());
    recorder.stop_and_wait(&chunks).await;
}
