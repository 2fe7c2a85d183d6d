//! What an operator allows a recording, its owner and the disk.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    chunk_folder,
    support::{
        DEADLINE, Node, Process, Recorder, Upload, check_video, cut, eventually, ready, send, status, video,
        webm,
    },
};

/// Begins over HTTP; gives the status and the code of the refusal.
async fn refused(node: &Node, start: Value) -> (u16, String) {
    let answer = send(node.address(), "POST /recordings", &[], start.to_string().as_bytes()).await;
    answer.refusal()
}

#[tokio::test]
async fn a_recording_takes_no_more_bytes_than_one_may_have_and_what_it_has_becomes_its_video() {
    let limit = format!("--max-recording-bytes={}", webm().len());
    let node = crate::node(&[&limit]);
    let chunks = cut(webm(), 5, 140);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..4]).await;
    // One byte too many, whichever way it comes; what fits still does.
    let upload = Upload::of(node.address(), &recorder.token());
    let more = [&chunks[4][..], b"x"].concat();
    recorder.chunk(4, &more).await;
    let error = recorder.expect_chunk_error("recording_too_large").await;
    assert_eq!((&error["index"], &error["retryable"]), (&json!(4), &json!(false)));
    assert_eq!(upload.put(4, &more).await.refusal(), (413, "recording_too_large".into()));
    assert_eq!(upload.post(&more).await.refusal(), (413, "recording_too_large".into()));
    let live = status(node.address(), "talk").await;
    assert_eq!((&live["chunks"], &live["nextIndex"]), (&json!(4), &json!(4)));
    recorder.store(4, &chunks[4]).await;
    recorder.chunk(5, b"x").await;
    recorder.expect_chunk_error("recording_too_large").await;
    // What is stored is acknowledged again.
    recorder.store(0, &chunks[0]).await;
    let told = recorder.stop_and_wait(&chunks).await;
    check_video(node.address(), &told, webm()).await;
}

/// Half a recording at once, so that something can be seen of it however soon its time is over, and then little by little.
fn slowly(seed: u64) -> Vec<Vec<u8>> {
    let (first, rest) = webm().split_at(webm().len() / 2);
    [vec![first.to_vec()], cut(rest, 300, seed)].concat()
}

/// Stores chunk after chunk until the recording takes none any more; says how many it has.
async fn record_until_refused(recorder: &mut Recorder, chunks: &[Vec<u8>], code: &str) -> u32 {
    let until = Instant::now() + DEADLINE;
    for (index, bytes) in (0u32..).zip(chunks) {
        recorder.chunk(index, bytes).await;
        let event = recorder.next().await;
        if event["type"] != "chunkAck" {
            assert_eq!((&event["type"], &event["code"]), (&json!("chunkError"), &json!(code)), "{event}");
            assert_eq!(event["retryable"], false, "{event}");
            return index;
        }
        assert!(Instant::now() < until, "{index} chunks were taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("all of it was taken");
}

#[tokio::test]
async fn a_recording_takes_no_chunk_after_its_time_and_its_recorder_can_stop_it() {
    let node = crate::node(&["--max-recording-duration=1s"]);
    let chunks = slowly(141);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    let stored = record_until_refused(&mut recorder, &chunks, "recording_too_long").await;
    let upload = Upload::of(node.address(), &recorder.token());
    let next = &chunks[stored as usize];
    assert_eq!(upload.put(stored, next).await.refusal(), (409, "recording_too_long".into()));
    assert_eq!(upload.post(next).await.refusal(), (409, "recording_too_long".into()));
    let told = recorder.stop_and_wait(&chunks[..stored as usize]).await;
    assert_eq!(told["complete"], true, "{told}");
    assert_eq!(status(node.address(), "talk").await["chunks"], stored);
    // Another has its own time.
    recorder.begin(json!({ "recordId": "next" })).await;
    recorder.store(0, &chunks[0]).await;
}

#[tokio::test]
async fn one_that_nobody_stops_after_its_time_is_finalised_with_its_recorder_still_there() {
    let node = crate::node(&["--max-recording-duration=1s"]);
    let chunks = slowly(142);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    let stored = record_until_refused(&mut recorder, &chunks, "recording_too_long").await;
    let told = recorder.ready().await;
    assert_eq!(status(node.address(), "talk").await["chunks"], stored);
    assert_eq!(told["sizeBytes"], video(node.address(), &told).await.len(), "{told}");
}

#[tokio::test]
async fn an_owner_records_only_so_much_at_once() {
    let node = crate::node(&["--max-owner-recordings=2"]);
    let of = |owner: &str, name: &str| json!({ "recordId": name, "owner": owner, "mimeType": "video/webm" });
    let mut first = Recorder::start(node.address(), of("ada", "one")).await;
    Upload::start(node.address(), of("ada", "two")).await;
    assert_eq!(refused(&node, of("ada", "three")).await, (429, "too_many_recordings".into()));
    let mut other = Recorder::connect(node.address()).await;
    other.ask_to_begin(of("ada", "three")).await;
    assert_eq!(other.expect_error("too_many_recordings").await["retryable"], true);
    assert!(!chunk_folder(&node, "three").exists(), "nothing is left of what was refused");
    // Others, and what has no owner, are counted apart.
    Upload::start(node.address(), of("bob", "four")).await;
    for name in ["five", "six", "seven"] {
        Upload::start(node.address(), json!({ "recordId": name })).await;
    }
    // One that is over makes room, and the name that was refused is free.
    first.store(0, webm()).await;
    first.stop_and_wait(&[webm().to_vec()]).await;
    other.begin(of("ada", "three")).await;
    assert_eq!(refused(&node, of("ada", "eight")).await, (429, "too_many_recordings".into()));
}

#[tokio::test]
async fn an_owner_with_as_many_bytes_as_one_may_have_begins_nothing_until_some_are_deleted() {
    let node = crate::node(&["--max-owner-bytes=1000"]);
    let of = |owner: &str, name: &str| json!({ "recordId": name, "owner": owner, "mimeType": "video/webm" });
    let mut recorder = Recorder::start(node.address(), of("ada", "one")).await;
    // One that runs goes on, whatever its owner has by then.
    let mut second = Recorder::start(node.address(), of("ada", "two")).await;
    recorder.store(0, webm()).await;
    recorder.stop_and_wait(&[webm().to_vec()]).await;
    let full = (507, "quota_exceeded".to_owned());
    eventually("the catalog knows how much it is", async || {
        let start = of("ada", "three");
        let answer = send(node.address(), "POST /recordings", &[], start.to_string().as_bytes()).await;
        if answer.status == 201 {
            let token = answer.json()["uploadToken"].as_str().expect("a token").to_owned();
            let bearer = format!("Bearer {token}");
            send(node.address(), "DELETE /recordings/three", &[("Authorization", &bearer)], b"").await;
            return None;
        }
        assert_eq!(answer.refusal(), full);
        Some(())
    })
    .await;
    recorder.ask_to_begin(of("ada", "three")).await;
    assert_eq!(recorder.expect_error("quota_exceeded").await["retryable"], false);
    second.store(0, webm()).await;
    second.stop_and_wait(&[webm().to_vec()]).await;
    Upload::start(node.address(), of("bob", "four")).await;
    Upload::start(node.address(), json!({ "recordId": "five" })).await;

    for name in ["one", "two"] {
        assert_eq!(send(node.address(), &format!("DELETE /recordings/{name}"), &[], b"").await.status, 204);
    }
    recorder.begin(of("ada", "three")).await;
}

#[tokio::test]
async fn with_too_little_space_nothing_begins_and_what_runs_goes_on() {
    let storage = tempfile::tempdir().unwrap();
    let chunks = cut(webm(), 4, 143);
    let node = Process::start_on(storage.path(), &[]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..2]).await;
    node.kill();

    let node = Process::start_on(storage.path(), &["--min-free-bytes=1000000000000000000"]);
    let mut again = Recorder::go_on(node.address(), &recorder.token()).await;
    let mut other = Recorder::connect(node.address()).await;
    other.ask_to_begin(json!({ "recordId": "other" })).await;
    assert_eq!(other.expect_error("storage_full").await["retryable"], true);
    let start = json!({ "recordId": "other", "mimeType": "video/webm" }).to_string();
    let answer = send(node.address(), "POST /recordings", &[], start.as_bytes()).await;
    assert_eq!(answer.refusal(), (507, "storage_full".into()));
    assert!(!storage.path().join("chunks/other").exists());

    again.store_all(2, &chunks[2..]).await;
    again.stop_and_wait(&chunks).await;
    let row = ready(node.address(), "talk").await;
    assert_eq!((&row["chunks"], &row["complete"]), (&json!(4), &json!(true)));
}
