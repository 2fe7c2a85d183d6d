//! The same recordings in a bucket, and chunks in Redis: what nodes keep them in makes no difference to anybody.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::{
    s3::{Fault, S3Server},
    support::{
        Cluster, Postgres, Proxy, Recorder, Redis, Upload, assert_recorded, cut, cut_at, eventually, get,
        large, metric, ready, send, status, webm,
    },
};

/// Nodes that keep videos in a bucket, which they reach at this address, chunks there, and their catalog in a database. `None`:
/// a program is missing.
async fn start(
    nodes: usize,
    chunk_store: &str,
    way: impl FnOnce(&S3Server) -> SocketAddr,
) -> Option<(S3Server, Postgres, Cluster)> {
    if !(Redis::is_here() && Postgres::is_here()) {
        return None;
    }
    let (server, postgres) = (S3Server::start(), Postgres::start().await);
    postgres.create("greenroom").await;
    let mut flags = server.flags_at(way(&server));
    flags.extend([
        format!("--chunk-store={chunk_store}"),
        format!("--database-url={}", postgres.url("greenroom")),
    ]);
    flags.extend(["--lease-secs=2", "--recording-grace-secs=2"].map(str::to_owned));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let cluster = Cluster::start_with(nodes, &flags).await;
    Some((server, postgres, cluster))
}

async fn survives_its_node(chunk_store: &str) {
    let Some((server, _postgres, mut cluster)) = start(3, chunk_store, S3Server::address).await else {
        return;
    };
    let chunks = cut(webm(), 8, 310);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..4]).await;
    let token = recorder.token();
    cluster.kill(0);
    let mut again = Recorder::go_on(cluster.address(1), &token).await;
    assert_eq!((&again.started["nextIndex"], &again.started["missing"]), (&json!(4), &json!([])));
    again.store_all(4, &chunks[4..6]).await;
    for (index, chunk) in (6..).zip(&chunks[6..]) {
        assert_eq!(Upload::of(cluster.address(2), &token).put(index, chunk).await.status, 200);
    }
    again.stop(json!({ "chunks": 8, "bytes": webm().len() })).await;
    let told = again.wait_for("recordingReady").await;

    // Whoever wants the video is sent to the bucket, which lets nobody in by other ways.
    let link = told["downloadUrl"].as_str().expect("a link").to_owned();
    for node in [1, 2] {
        let answer = send(cluster.address(node), &format!("GET {link}"), &[], b"").await;
        assert_eq!(answer.status, 307, "{answer:?}");
        let place = answer.header("location").expect("where it is").to_owned();
        let path =
            place.strip_prefix(&format!("http://{}", server.address())).expect("in the bucket").to_owned();
        let part = send(server.address(), &format!("GET {path}"), &[("Range", "bytes=0-3")], b"").await;
        assert_eq!((part.status, part.body.as_slice()), (206, &webm()[..4]));
        let video = send(server.address(), &format!("GET {path}"), &[], b"").await;
        assert_eq!(video.status, 200, "{}", video.status);
        assert_recorded(&told, &video.body, webm());
        let (bare, _) = path.split_once('?').expect("signed");
        assert_eq!(get(server.address(), bare).await.status, 403, "without its signature");
    }
    eventually("the chunks are gone, and nothing else is there", async || {
        let left = server.keys().into_iter().filter(|key| key.starts_with("chunks/")).count();
        let data = cluster.redis().keys().into_iter().filter(|key| key.contains(":data")).count();
        (left == 0 && data == 0).then_some(())
    })
    .await;
    assert_eq!(server.parts(), 0, "no part of an upload is left");
}

#[tokio::test]
async fn a_recording_in_a_bucket_survives_its_node() {
    survives_its_node("S3").await;
}

#[tokio::test]
async fn a_recording_whose_chunks_are_in_redis_survives_its_node() {
    survives_its_node("REDIS").await;
}

#[tokio::test]
async fn a_bucket_that_is_away_holds_up_a_recording_and_loses_nothing_of_it() {
    let Some((server, _postgres, cluster)) = start(2, "S3", S3Server::address).await else { return };
    let chunks = cut(webm(), 3, 311);
    let (upload, _) = Upload::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    assert_eq!(upload.put(0, &chunks[0]).await.status, 200);
    server.fail("PUT", "chunk_00000001", u32::MAX, Fault::Answer(500, "InternalError"));
    let refused = upload.put(1, &chunks[1]).await;
    assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("storage_failed")), "{refused:?}");
    server.mend();
    eventually("the chunk is taken", async || (upload.put(1, &chunks[1]).await.status == 200).then_some(()))
        .await;
    assert_eq!(upload.put(2, &chunks[2]).await.status, 200);
    // The video cannot be put, and is tried again.
    server.fail("PUT", "recordings/", u32::MAX, Fault::Answer(503, "SlowDown"));
    server.fail("POST", "recordings/", u32::MAX, Fault::Answer(503, "SlowDown"));
    assert_eq!(upload.stop(json!({ "chunks": 3 })).await.status, 202);
    eventually("it is told", async || {
        let status = status(cluster.address(1), "talk").await;
        (status["error"]["code"] == "merge_failed" && status["state"] == "finalising").then_some(())
    })
    .await;
    server.mend();
    let row = ready(cluster.address(1), "talk").await;
    assert_eq!((&row["complete"], &row["version"]), (&json!(true), &json!(1)));
}

fn breaker(health: &Value) -> (&Value, &Value) {
    (&health["breakers"]["s3"], &health["checks"]["storage"])
}

/// The bucket cannot be reached at all for a while: the recorder is told to come again, and everybody sees why.
#[tokio::test]
async fn a_bucket_that_cannot_be_reached_in_mid_recording_costs_nothing() {
    let mut through = None;
    let way = |server: &S3Server| through.insert(Proxy::start(server.address())).address();
    let Some((server, _postgres, cluster)) = start(2, "S3", way).await else { return };
    let way = through.expect("started");
    let chunks = cut(webm(), 6, 312);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..3]).await;
    way.cut();
    eventually("the bucket is left alone", async || {
        recorder.chunk(3, &chunks[3]).await;
        let error = recorder.next().await;
        let what = (&error["type"], &error["code"], &error["retryable"]);
        assert_eq!(what, (&json!("chunkError"), &json!("storage_failed"), &json!(true)), "{error}");
        let health = get(cluster.address(0), "/health").await.json();
        (breaker(&health) == (&json!("open"), &json!("down"))).then_some(())
    })
    .await;
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(get(cluster.address(0), path).await.status, 200, "{path}: it is away for every node");
    }
    assert_eq!(metric(cluster.address(0), r#"greenroom_s3_breaker{state="closed"}"#).await, 0.0);
    way.heal();
    for (index, chunk) in (3..).zip(&chunks[3..]) {
        eventually("the chunk is taken", async || {
            recorder.chunk(index, chunk).await;
            (recorder.next().await["type"] == "chunkAck").then_some(())
        })
        .await;
    }
    let health = get(cluster.address(0), "/health").await.json();
    assert_eq!(breaker(&health), (&json!("closed"), &json!("ok")), "{health}");
    recorder.stop(json!({ "chunks": 6, "bytes": webm().len() })).await;
    let told = recorder.wait_for("recordingReady").await;
    is_in_the_bucket(&server, &told, webm());
}

/// The video is in the bucket as it was told, and has everything that was recorded.
fn is_in_the_bucket(server: &S3Server, told: &Value, recorded: &[u8]) {
    let key = told["key"].as_str().expect("a name");
    let video = std::fs::read(server.file(&format!("recordings/{key}"))).expect("it is there");
    assert_recorded(told, &video, recorded);
}

/// Each of these keeps the video out of the bucket for a while: the recording waits with its chunks, and is ready soon after.
#[tokio::test]
async fn a_video_that_its_bucket_does_not_take_is_put_when_it_does() {
    let Some((server, _postgres, cluster)) = start(2, "S3", S3Server::address).await else { return };
    let faults = [
        ("refused", "PUT", Fault::Answer(403, "AccessDenied"), webm()),
        ("broken", "PUT", Fault::Answer(500, "InternalError"), webm()),
        ("changed", "PUT", Fault::ChangedUpload, webm()),
        // The parts are there, and never become one.
        ("in-parts", "POST", Fault::Answer(403, "AccessDenied"), large()),
    ];
    for (id, method, fault, media) in faults {
        let borders: Vec<usize> = (1..4).map(|border| border * media.len() / 4).collect();
        let chunks = cut_at(media, &borders);
        let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": id })).await;
        recorder.store_all(0, &chunks).await;
        // Beginning an upload in parts is a POST too.
        let part = if method == "POST" { "uploadId=" } else { "recordings/" };
        server.fail(method, part, u32::MAX, fault);
        recorder.stop(json!({ "chunks": 4, "bytes": media.len() })).await;
        let error = recorder.wait_for("recordingError").await;
        assert_eq!(error["code"], "merge_failed", "{id}: {error}");
        let waits = status(cluster.address(1), id).await;
        assert_eq!((&waits["state"], &waits["chunks"]), (&json!("finalising"), &json!(4)), "{waits}");
        let kept = server.keys().into_iter().filter(|key| key.starts_with(&format!("chunks/{id}/chunk_")));
        assert_eq!(kept.count(), 4, "{id}: nothing that was acknowledged is gone");
        eventually("nothing of an upload is left", async || (server.parts() == 0).then_some(())).await;
        server.mend();
        let row = ready(cluster.address(1), id).await;
        assert_eq!(row["version"], 1, "{row}");
        is_in_the_bucket(&server, &row, media);
    }
}
