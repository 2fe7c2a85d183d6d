//! The same recordings in a bucket, and chunks in Redis: what nodes keep them in makes no difference to anybody.

use serde_json::json;

use crate::{
    s3::{Fault, S3Server},
    support::{
        Cluster, Postgres, Recorder, Redis, Upload, cut, eventually, get, packets, ready, send, sha256,
        status, webm,
    },
};

/// Flags for nodes that keep videos in this bucket.
fn flags(server: &S3Server, chunks: &str, database: &str) -> Vec<String> {
    let settings = server.settings();
    vec![
        "--storage-type=S3".to_owned(),
        format!("--chunk-store={chunks}"),
        format!("--s3-bucket={}", settings.bucket),
        format!("--s3-endpoint=http://{}", server.address()),
        format!("--s3-access-key-id={}", settings.access_key),
        format!("--s3-secret-access-key={}", settings.secret_key),
        format!("--database-url={database}"),
        "--lease-secs=2".to_owned(),
        "--recording-grace-secs=2".to_owned(),
    ]
}

async fn survives_its_node(chunk_store: &str) {
    if !(Redis::is_here() && Postgres::is_here()) {
        return;
    }
    let (server, postgres) = (S3Server::start(), Postgres::start().await);
    postgres.create("greenroom").await;
    let flags = flags(&server, chunk_store, &postgres.url("greenroom"));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut cluster = Cluster::start_with(3, &flags).await;
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
        assert_eq!((video.status, told["sha256"].as_str()), (200, Some(sha256(&video.body).as_str())));
        let hashes =
            |media: &[u8]| packets(media).map(|all| all.into_iter().map(|one| one.1).collect::<Vec<_>>());
        assert_eq!(hashes(webm()), hashes(&video.body));
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
    if !(Redis::is_here() && Postgres::is_here()) {
        return;
    }
    let (server, postgres) = (S3Server::start(), Postgres::start().await);
    postgres.create("greenroom").await;
    let flags = flags(&server, "S3", &postgres.url("greenroom"));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let cluster = Cluster::start_with(2, &flags).await;
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
