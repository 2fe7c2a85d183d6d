//! Discarding a recording: nothing of it is left.

use serde_json::json;

use crate::{
    left_behind, only_left,
    support::{Node, Recorder, Upload, cut, eventually, get, send, webm},
};

async fn nothing_is_left(node: &Node) {
    eventually("the list is empty", async || {
        let list = get(node.address(), "/recordings").await.json();
        (list["recordings"] == json!([])).then_some(())
    })
    .await;
    only_left(node, &[]).await;
}

#[tokio::test]
async fn an_abort_leaves_nothing_and_frees_the_socket_and_the_name() {
    let node = crate::node(&[]);
    let chunks = cut(webm(), 3, 40);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    let upload = Upload::of(node.address(), &recorder.token());
    recorder.store_all(0, &chunks).await;
    recorder.send(json!({ "type": "abort", "recordId": "talk" })).await;
    recorder.expect_nothing().await;
    nothing_is_left(&node).await;
    assert_eq!(get(node.address(), "/recordings/talk/status").await.status, 404);
    assert_eq!(upload.put(3, b"late").await.refusal(), (404, "recording_unknown".into()));
    assert_eq!(upload.stop(json!({})).await.refusal(), (404, "recording_unknown".into()));
    recorder.chunk(3, b"late").await;
    recorder.expect_chunk_error("not_started").await;
    let mut late = Recorder::connect(node.address()).await;
    late.ask_to_begin(json!({ "uploadToken": upload.bearer.trim_start_matches("Bearer ") })).await;
    late.expect_error("recording_unknown").await;
    nothing_is_left(&node).await;

    recorder.begin(json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    recorder.stop_and_wait(&chunks).await;
}

#[tokio::test]
async fn chunks_on_their_way_do_not_outlive_an_abort() {
    let node = crate::node(&[]);
    let chunk = [webm(), &vec![0; 300_000]].concat();
    for round in 0..10 {
        let id = format!("r{round}");
        let mut recorder = Recorder::start(node.address(), json!({ "recordId": &id })).await;
        for index in 0..5 {
            recorder.chunk(index, &chunk).await;
        }
        recorder.send(json!({ "type": "abort", "recordId": id })).await;
        // Whatever became of each chunk, it is told or the abort came first.
        recorder.send(json!({ "type": "stop", "recordId": id })).await;
        loop {
            let event = recorder.next().await;
            if event["code"] == "not_started" && event["type"] == "recordingError" {
                break;
            }
        }
    }
    nothing_is_left(&node).await;
}

#[tokio::test]
async fn what_is_told_of_a_chunk_names_the_recording_that_it_was_for() {
    let node = crate::node(&[]);
    let chunk = [webm(), &vec![0; 300_000]].concat();
    for round in 0..10 {
        let (first, second) = (format!("a{round}"), format!("b{round}"));
        let mut recorder = Recorder::start(node.address(), json!({ "recordId": &first })).await;
        for index in 0..5 {
            recorder.chunk(index, &chunk).await;
        }
        recorder.send(json!({ "type": "abort", "recordId": first })).await;
        let start =
            json!({ "type": "start", "recordId": &second, "mimeType": "video/webm", "framing": "indexed" });
        recorder.send(start).await;
        loop {
            let event = recorder.next().await;
            if event["type"] == "started" {
                assert_eq!(event["recordId"], second);
                break;
            }
            // A chunk that was never sent to the second must not be acknowledged as its own.
            assert_eq!(event["recordId"], first, "{event}");
            if event["code"] == "already_started" {
                break;
            }
        }
        drop(recorder);
    }
}

#[tokio::test]
async fn who_has_no_token_leaves_nothing_either() {
    let node = crate::node(&[]);
    let stranger = format!("Bearer ghost.{}", "ab".repeat(32));
    for line in ["POST /recordings/ghost/chunks", "PUT /recordings/ghost/chunks/0"] {
        let refused = send(node.address(), line, &[("Authorization", &stranger)], webm()).await;
        assert_eq!(refused.refusal(), (404, "recording_unknown".into()), "{line}");
    }
    assert_eq!(left_behind(&node), Vec::<String>::new());
}

#[tokio::test]
async fn an_abort_ends_a_merge_and_leaves_nothing_of_it() {
    let node = crate::node(&[]);
    let chunks = cut(webm(), 3, 41);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    recorder.stop(json!({ "chunks": 3 })).await;
    recorder.expect("finished").await;
    recorder.send(json!({ "type": "abort", "recordId": "talk" })).await;
    // The video may have been faster: then its name was not this socket's any more.
    recorder.send(json!({ "type": "nothing of the kind" })).await;
    let mut made = false;
    loop {
        let event = recorder.next().await;
        match (event["type"].as_str(), event["code"].as_str()) {
            (Some("mergeProgress"), _) | (_, Some("not_started")) => {}
            (Some("recordingReady"), _) => made = true,
            (_, Some("unsupported")) => break,
            _ => panic!("{event}"),
        }
    }
    if !made {
        nothing_is_left(&node).await;
    }
}
