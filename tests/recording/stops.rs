//! The end of a recording, as its recorder says it.

use serde_json::json;

use crate::support::{Recorder, Upload, check_video, cut, ready, status, webm};

#[tokio::test]
async fn a_stop_before_everything_has_come_says_what_is_missing() {
    let node = crate::node(&[]);
    let chunks = cut(webm(), 6, 30);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    for index in [0, 2, 3] {
        recorder.store(index, &chunks[index as usize]).await;
    }
    recorder.stop(json!({ "chunks": 6 })).await;
    let error = recorder.expect_error("chunks_missing").await;
    assert_eq!((&error["missingChunks"], &error["totalExpected"]), (&json!([1, 4, 5]), &json!(6)));
    assert_eq!((&error["retryable"], &error["recordId"]), (&json!(true), &json!("talk")));
    let upload = Upload::of(node.address(), &recorder.token());
    let refused = upload.stop(json!({ "chunks": 6 })).await;
    assert_eq!(refused.refusal(), (409, "chunks_missing".into()));
    let problem = refused.json();
    assert_eq!((&problem["missingChunks"], &problem["totalExpected"]), (&json!([1, 4, 5]), &json!(6)));
    assert_eq!(status(node.address(), "talk").await["missingChunks"], json!([1, 4, 5]));

    for index in [5, 1, 4] {
        recorder.store(index, &chunks[index as usize]).await;
    }
    let told = recorder.stop_and_wait(&chunks).await;
    check_video(node.address(), &told, webm()).await;
}

#[tokio::test]
async fn a_stop_that_does_not_count_right_is_refused() {
    let node = crate::node(&[]);
    let chunks = cut(webm(), 3, 31);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    for (made, code) in [
        (json!({ "chunks": 2 }), "malformed"),
        (json!({ "chunks": 3, "bytes": webm().len() - 1 }), "bytes_differ"),
        (json!({ "bytes": 0 }), "bytes_differ"),
        (json!({ "chunks": 1_048_577 }), "malformed"),
        (json!({ "chunks": 1_048_576 }), "index_out_of_range"),
        (json!({ "chunks": -1 }), "malformed"),
    ] {
        recorder.stop(made).await;
        recorder.expect_error(code).await;
    }
    assert_eq!(status(node.address(), "talk").await["state"], "recording");
    let told = recorder.stop_and_wait(&chunks).await;
    check_video(node.address(), &told, webm()).await;
}

#[tokio::test]
async fn a_stop_right_after_the_last_chunk_waits_for_it() {
    let node = crate::node(&[]);
    let chunks = cut(webm(), 8, 32);
    let mut recorder = Recorder::start(node.address(), json!({})).await;
    for (index, chunk) in (0u32..).zip(&chunks) {
        recorder.chunk(index, chunk).await;
    }
    recorder.stop(json!({ "chunks": 8, "bytes": webm().len() })).await;
    recorder.expect_acks(8).await;
    assert_eq!(recorder.expect("finished").await["chunks"], 8);
    let told = recorder.ready().await;
    check_video(node.address(), &told, webm()).await;
}

#[tokio::test]
async fn stopping_twice_is_stopping_once() {
    let node = crate::node(&[]);
    let chunks = cut(webm(), 3, 33);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    let upload = Upload::of(node.address(), &recorder.token());
    recorder.store_all(0, &chunks).await;
    recorder.stop(json!({ "chunks": 3 })).await;
    recorder.stop(json!({ "chunks": 3 })).await;
    let mut finished = 0;
    let told = loop {
        let event = recorder.next().await;
        match event["type"].as_str() {
            Some("finished") => finished += 1,
            Some("mergeProgress") => {}
            Some("recordingReady") => break event,
            _ => panic!("{event}"),
        }
    };
    assert!((1..=2).contains(&finished), "{finished}");
    // Also much later, and over HTTP; and it is still the first version.
    let again = upload.stop(json!({ "chunks": 3 })).await;
    assert_eq!((again.status, &again.json()["state"]), (202, &json!("ready")), "{again:?}");
    assert_eq!(status(node.address(), "talk").await["version"], 1);
    check_video(node.address(), &told, webm()).await;
}

#[tokio::test]
async fn a_second_socket_may_stop_what_the_first_one_has() {
    let node = crate::node(&[]);
    let chunks = cut(webm(), 3, 34);
    let mut first = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    first.store_all(0, &chunks).await;
    let mut second = Recorder::go_on(node.address(), &first.token()).await;
    first.expect_close(4409, "replaced").await;
    assert_eq!(second.started["nextIndex"], 3);
    let told = second.stop_and_wait(&chunks).await;
    check_video(node.address(), &told, webm()).await;
    // Whoever asks now is told at once.
    let mut third = Recorder::go_on(node.address(), &first.token()).await;
    assert_eq!(third.started["state"], "ready");
    assert_eq!(third.ready().await, told);
}

#[tokio::test]
async fn a_stop_without_a_chunk_is_told_and_leaves_no_video() {
    let node = crate::node(&[]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "nothing" })).await;
    recorder.stop(json!({ "chunks": 0 })).await;
    recorder.expect("finished").await;
    recorder.expect_error("empty_recording").await;
    let row = status(node.address(), "nothing").await;
    assert_eq!(
        (&row["state"], &row["error"]["code"]),
        (&json!("failed"), &json!("empty_recording")),
        "{row}"
    );
    // And the socket is free for a better one.
    let chunks = cut(webm(), 2, 35);
    recorder.begin(json!({ "recordId": "something" })).await;
    recorder.store_all(0, &chunks).await;
    recorder.stop_and_wait(&chunks).await;
}

#[tokio::test]
async fn a_first_chunk_that_is_not_the_rest_of_a_file_fails_and_is_kept() {
    let node = crate::node(&[]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "broken" })).await;
    let broken = [vec![0x1a, 0x45, 0xdf, 0xa3, 0x80], vec![0x55; 3000]].concat();
    recorder.store(0, &broken).await;
    recorder.stop(json!({ "chunks": 1 })).await;
    recorder.expect("finished").await;
    let error = recorder.wait_for("recordingError").await;
    assert_eq!(error["code"], "merge_failed", "{error}");
    assert_eq!(crate::stored(&node, "broken", 0), Some(broken));
    let row = status(node.address(), "broken").await;
    assert_eq!((&row["state"], &row["error"]["code"]), (&json!("failed"), &json!("merge_failed")), "{row}");
    // The socket may begin another.
    let chunks = cut(webm(), 2, 36);
    recorder.begin(json!({ "recordId": "whole" })).await;
    recorder.store_all(0, &chunks).await;
    recorder.stop_and_wait(&chunks).await;
    ready(node.address(), "whole").await;
}
