//! The ways by which a recording comes, from its start to its video.

use serde_json::{Value, json};

use crate::{
    is_key, link, only_left,
    support::{
        Chance, Recorder, Upload, check_video, cut, cut_at, get, mp4, pictured, probe, ready, send, status,
        video, webm,
    },
};

#[tokio::test]
async fn indexed_chunks_on_a_socket_become_a_video() {
    let node = crate::node(&[]);
    let chunks = cut(webm(), 12, 1);
    let mut recorder = Recorder::start(
        node.address(),
        json!({ "recordId": "talk", "title": "A talk", "owner": "ada", "roomName": "blue" }),
    )
    .await;
    let limits = json!({ "maxChunkBytes": 4 * 1024 * 1024, "maxInFlight": 8 });
    let token = recorder.token();
    assert_eq!(
        recorder.started,
        json!({
            "type": "started", "recordId": "talk", "uploadToken": token, "nextIndex": 0, "missing": [],
            "limits": limits, "graceMs": 5000, "state": "recording", "merging": "available",
        })
    );
    recorder.store_all(0, &chunks).await;
    let live = status(node.address(), "talk").await;
    assert_eq!(
        (&live["state"], &live["chunks"], &live["nextIndex"]),
        (&json!("recording"), &json!(12), &json!(12))
    );

    recorder.stop(json!({ "chunks": 12, "bytes": webm().len() })).await;
    assert_eq!(
        recorder.expect("finished").await,
        json!({ "type": "finished", "recordId": "talk", "chunks": 12 })
    );
    let (percents, told) = recorder.progress_and_ready().await;
    assert!(!percents.is_empty(), "something was told of the merge");
    assert!(is_key(&told["key"], "talk", "webm"), "{told}");
    assert_eq!(told["version"], 1);
    assert_eq!(told["mimeType"].as_str().expect("a type").split(';').next(), Some("video/webm"));
    check_video(node.address(), &told, webm()).await;

    // It has what a file needs: its length, and as told.
    let key = told["key"].as_str().expect("a name");
    let made = node.folder().join("recordings").join(key);
    let seconds: f64 = probe(&made)["format"]["duration"].as_str().expect("a length").parse().unwrap();
    let told_ms = told["durationMs"].as_f64().expect("a number");
    assert!((seconds * 1000.0 - told_ms).abs() < 40.0, "{seconds} s, told {told_ms} ms");
    assert!((2900.0..3200.0).contains(&told_ms), "{told_ms}");

    let row = pictured(node.address(), "talk").await;
    let poster = send(node.address(), &format!("GET {}", link(&row, "posterUrl")), &[], b"").await;
    assert_eq!((poster.status, &poster.body[..3]), (200, &b"\xff\xd8\xff"[..]), "a JPEG");

    // The chunks are gone, and the catalog agrees with what was told.
    let stem = key.strip_suffix(".webm").expect("as checked");
    only_left(&node, &[&format!("recordings/{stem}.jpg"), &format!("recordings/{key}")]).await;
    assert_same_video(&row, &told);
    for (field, value) in [
        ("state", json!("ready")),
        ("owner", json!("ada")),
        ("roomName", json!("blue")),
        ("title", json!("A talk")),
        ("chunks", json!(12)),
        ("missingChunks", json!([])),
        ("error", Value::Null),
    ] {
        assert_eq!(row[field], value, "{field}: {row}");
    }
    assert_eq!(row["work"][0]["did"], "copied");
    assert_eq!(row["work"][0]["chunks"], json!([0, 11]));
    let list = get(node.address(), "/recordings").await.json();
    assert_eq!(list["recordings"], json!([row]));
}

/// A row says of its video what `recordingReady` said.
fn assert_same_video(row: &Value, told: &Value) {
    for field in
        ["key", "downloadUrl", "durationMs", "sizeBytes", "sha256", "mimeType", "complete", "version"]
    {
        assert_eq!(row[field], told[field], "{field}");
    }
}

#[tokio::test]
async fn raw_chunks_are_numbered_by_the_node() {
    let node = crate::node(&[]);
    let chunks = cut(webm(), 7, 2);
    let mut recorder = Recorder::start(node.address(), json!({ "framing": "raw" })).await;
    assert!(recorder.id().len() > 10, "a name of its own: {}", recorder.started);
    for chunk in &chunks {
        recorder.send_bytes(chunk.clone()).await;
    }
    assert_eq!(recorder.expect_acks(7).await, (0..7).collect::<Vec<_>>());
    let told = recorder.stop_and_wait(&chunks).await;
    check_video(node.address(), &told, webm()).await;
}

#[tokio::test]
async fn a_recording_can_be_uploaded_over_http_alone() {
    let node = crate::node(&[]);
    let chunks = cut(webm(), 5, 3);
    let (upload, started) = Upload::start(node.address(), json!({ "recordId": "posted" })).await;
    assert_eq!((&started["state"], &started["nextIndex"]), (&json!("recording"), &json!(0)));
    for (index, chunk) in (0u32..).zip(&chunks[..3]) {
        let answer = upload.put(index, chunk).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json(), json!({ "recordId": "posted", "index": index, "status": "success" }));
    }
    for (index, chunk) in (3..).zip(&chunks[3..]) {
        assert_eq!(upload.post(chunk).await.json()["index"], index);
    }
    let stopped = upload.stop(json!({ "chunks": 5, "bytes": webm().len() })).await;
    assert_eq!(stopped.status, 202, "{stopped:?}");
    assert_eq!(stopped.json(), json!({ "recordId": "posted", "chunks": 5, "state": "finalising" }));
    let row = ready(node.address(), "posted").await;
    check_video(node.address(), &row, webm()).await;
}

#[tokio::test]
async fn a_stop_over_http_needs_no_body() {
    let node = crate::node(&[]);
    let (upload, _) = Upload::start(node.address(), json!({ "recordId": "plain" })).await;
    assert_eq!(upload.put(0, webm()).await.status, 200);
    let line = "POST /recordings/plain/stop";
    let stopped = send(node.address(), line, &[("Authorization", &upload.bearer)], b"").await;
    assert_eq!((stopped.status, &stopped.json()["chunks"]), (202, &json!(1)));
    ready(node.address(), "plain").await;
}

#[tokio::test]
async fn chunks_of_one_recording_may_come_by_any_way_in_any_order() {
    let node = crate::node(&[]);
    let chunks = cut(webm(), 24, 4);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "mixed" })).await;
    let upload = Upload::of(node.address(), &recorder.token());
    let mut order: Vec<u32> = (0..24).collect();
    Chance(4).shuffle(&mut order);
    assert_ne!(order[0], 0);
    for (turn, index) in order.into_iter().enumerate() {
        let chunk = &chunks[index as usize];
        if turn % 2 == 0 {
            recorder.store(index, chunk).await;
        } else {
            assert_eq!(upload.put(index, chunk).await.status, 200);
        }
    }
    let told = recorder.stop_and_wait(&chunks).await;
    check_video(node.address(), &told, webm()).await;
}

#[tokio::test]
async fn fragmented_mp4_becomes_mp4() {
    let node = crate::node(&[]);
    let chunks = cut(mp4(), 9, 5);
    let start = json!({ "recordId": "boxes", "mimeType": "video/mp4" });
    let mut recorder = Recorder::start(node.address(), start).await;
    recorder.store_all(0, &chunks).await;
    let told = recorder.stop_and_wait(&chunks).await;
    assert!(is_key(&told["key"], "boxes", "mp4"), "{told}");
    check_video(node.address(), &told, mp4()).await;
}

#[tokio::test]
async fn a_recorder_that_begins_anew_makes_one_video_of_both_segments() {
    let node = crate::node(&[]);
    let (first, second) = (cut(webm(), 3, 6), cut(webm(), 4, 7));
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "twice" })).await;
    recorder.store_all(0, &first).await;
    let begins = &second[0];
    let length = u32::try_from(begins.len()).unwrap();
    recorder.send_bytes(crate::support::frame_of(3, 1, length, crc32c::crc32c(begins), begins)).await;
    recorder.expect_ack(3).await;
    recorder.store_all(4, &second[1..]).await;
    let told = recorder.stop_and_wait(&[first, second].concat()).await;
    assert_eq!(told["complete"], true, "{told}");
    let made = crate::support::packets(&video(node.address(), &told).await);
    for (recorded, made) in crate::support::packets(webm()).iter().zip(made) {
        let hashes =
            |packets: &[(i64, String)]| packets.iter().map(|packet| packet.1.clone()).collect::<Vec<_>>();
        assert_eq!([hashes(recorded), hashes(recorded)].concat(), hashes(&made));
    }
    let duration_ms = told["durationMs"].as_u64().unwrap();
    assert!((5900..6300).contains(&duration_ms), "{duration_ms}");
}

#[tokio::test]
async fn borders_of_chunks_mean_nothing() {
    let node = crate::node(&[]);
    // Single bytes at the beginning, in the middle and at the end.
    let end = webm().len();
    let chunks = cut_at(webm(), &[1, 2, 3, 4, 5, 40, 41, end / 2, end / 2 + 1, end - 1]);
    let mut recorder = Recorder::start(node.address(), json!({})).await;
    recorder.store_all(0, &chunks).await;
    let told = recorder.stop_and_wait(&chunks).await;
    check_video(node.address(), &told, webm()).await;
}

#[tokio::test]
async fn one_socket_makes_one_recording_after_the_other() {
    let node = crate::node(&[]);
    let chunks = cut(webm(), 3, 8);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "one" })).await;
    recorder.store_all(0, &chunks).await;
    recorder.stop_and_wait(&chunks).await;
    recorder.begin(json!({ "recordId": "two" })).await;
    recorder.store_all(0, &chunks).await;
    let told = recorder.stop_and_wait(&chunks).await;
    assert_eq!(told["recordId"], "two");
    check_video(node.address(), &told, webm()).await;
    let list = get(node.address(), "/recordings").await.json();
    assert_eq!(list["recordings"].as_array().map(Vec::len), Some(2), "{list}");
}

#[tokio::test]
async fn who_looks_back_at_a_finished_recording_does_not_end_the_next() {
    let node = crate::node(&[]);
    let chunks = cut(webm(), 2, 9);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "one" })).await;
    let token = recorder.token();
    recorder.store_all(0, &chunks).await;
    recorder.stop_and_wait(&chunks).await;
    recorder.begin(json!({ "recordId": "two" })).await;
    recorder.store(0, &chunks[0]).await;
    // Another page asks what became of the first.
    let mut other = Recorder::go_on(node.address(), &token).await;
    assert_eq!(other.started["state"], "ready");
    other.expect("recordingReady").await;
    recorder.store(1, &chunks[1]).await;
}

#[tokio::test]
async fn with_a_base_url_links_begin_with_it() {
    let node = crate::node(&["--api-base-url=https://rooms.example/"]);
    let chunks = cut(webm(), 2, 10);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "linked" })).await;
    recorder.store_all(0, &chunks).await;
    let told = recorder.stop_and_wait(&chunks).await;
    let key = told["key"].as_str().expect("a name");
    assert_eq!(told["downloadUrl"], format!("https://rooms.example/recordings/download/{key}"));
    assert_eq!(status(node.address(), "linked").await["downloadUrl"], told["downloadUrl"]);
}
