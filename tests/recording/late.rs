//! Recorders that come back after their recording was finalised without them.

use serde_json::json;

use crate::{
    is_key, link,
    support::{
        Node, Recorder, Upload, check_video, cut, eventually, get, metric, ready, send, status, video, webm,
    },
};

async fn finalised_without_recorder(node: &Node, chunks: &[Vec<u8>]) -> String {
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, chunks).await;
    recorder.lose()
}

#[tokio::test]
async fn a_late_return_makes_a_second_version_and_the_first_is_there_until_then() {
    let node = crate::node(&["--recording-grace-secs=1"]);
    let chunks = cut(webm(), 6, 60);
    let token = finalised_without_recorder(&node, &chunks[..4]).await;
    let first = ready(node.address(), "talk").await;
    assert!(is_key(&first["key"], "talk", "webm"), "{first}");
    let early = video(node.address(), &first).await;

    let mut recorder = Recorder::go_on(node.address(), &token).await;
    let started = &recorder.started;
    assert_eq!(
        (&started["state"], &started["nextIndex"], &started["missing"]),
        (&json!("recording"), &json!(4), &json!([]))
    );
    recorder.store_all(4, &chunks[4..]).await;
    assert_eq!(video(node.address(), &first).await, early, "the first version is still there");
    let told = recorder.stop_and_wait(&chunks).await;
    assert_eq!(told["version"], 2);
    assert_ne!(told["key"], first["key"], "what was made before stands under a name of its own");
    check_video(node.address(), &told, webm()).await;
    eventually("the first version gives way", async || {
        let path = format!("GET {}", link(&first, "downloadUrl"));
        (send(node.address(), &path, &[], b"").await.status == 404).then_some(())
    })
    .await;
    let reopened = r#"greenroom_recorder_reconnects_total{outcome="reopened"}"#;
    assert_eq!(metric(node.address(), reopened).await, 1.0);
    assert_eq!(status(node.address(), "talk").await["version"], 2);
}

#[tokio::test]
async fn a_late_chunk_over_http_re_opens_as_well() {
    let node = crate::node(&["--recording-grace-secs=1"]);
    let chunks = cut(webm(), 4, 61);
    let token = finalised_without_recorder(&node, &chunks[..3]).await;
    ready(node.address(), "talk").await;
    let upload = Upload::of(node.address(), &token);
    assert_eq!(upload.put(3, &chunks[3]).await.status, 200);
    let stopped = upload.stop(json!({ "chunks": 4, "bytes": webm().len() })).await;
    assert_eq!(stopped.status, 202, "{stopped:?}");
    let row = eventually("the second version", async || {
        let row = status(node.address(), "talk").await;
        (row["state"] == "ready" && row["version"] == 2).then_some(row)
    })
    .await;
    check_video(node.address(), &row, webm()).await;
}

#[tokio::test]
async fn a_stop_after_the_video_is_there_makes_no_other() {
    let node = crate::node(&["--recording-grace-secs=1"]);
    let chunks = cut(webm(), 3, 65);
    let token = finalised_without_recorder(&node, &chunks).await;
    let first = ready(node.address(), "talk").await;
    let upload = Upload::of(node.address(), &token);
    for made in [json!({ "chunks": 3, "bytes": webm().len() }), json!({})] {
        let stopped = upload.stop(made).await;
        assert_eq!(stopped.status, 202, "{stopped:?}");
    }
    assert_eq!(upload.put(3, b"more").await.refusal(), (409, "recording_stopped".into()));
    let row = ready(node.address(), "talk").await;
    assert_eq!((&row["key"], &row["version"]), (&first["key"], &json!(1)));
    check_video(node.address(), &row, webm()).await;
}

#[tokio::test]
async fn where_the_tail_never_came_the_video_says_so_when_the_end_was_announced() {
    let node = crate::node(&["--recording-grace-secs=1"]);
    let chunks = cut(webm(), 6, 62);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    for index in [0, 1, 2, 4] {
        recorder.store(index, &chunks[index as usize]).await;
    }
    recorder.stop(json!({ "chunks": 6 })).await;
    recorder.expect_error("chunks_missing").await;
    drop(recorder);
    let row = ready(node.address(), "talk").await;
    assert_eq!((&row["complete"], &row["missingChunks"]), (&json!(false), &json!([3, 5])), "{row}");
    // What is not whole is kept.
    assert!(crate::stored(&node, "talk", 4).is_some());
}

#[tokio::test]
async fn without_time_to_come_back_a_late_return_is_told_that_it_is_over() {
    let node = crate::node(&["--recording-grace-secs=1", "--reopen-secs=0"]);
    let chunks = cut(webm(), 4, 63);
    let token = finalised_without_recorder(&node, &chunks).await;
    let row = ready(node.address(), "talk").await;
    eventually("the chunks are gone", async || (!crate::chunk_folder(&node, "talk").exists()).then_some(()))
        .await;
    let mut late = Recorder::connect(node.address()).await;
    late.ask_to_begin(json!({ "uploadToken": token })).await;
    late.expect_error("recording_over").await;
    let upload = Upload::of(node.address(), &token);
    let refused = upload.put(4, b"late").await;
    assert!([404, 409].contains(&refused.status), "{refused:?}");
    check_video(node.address(), &row, webm()).await;
    assert!(!crate::chunk_folder(&node, "talk").exists());
}

#[tokio::test]
async fn a_link_to_a_version_that_was_deleted_leads_nowhere() {
    let node = crate::node(&["--recording-grace-secs=1"]);
    let chunks = cut(webm(), 2, 64);
    finalised_without_recorder(&node, &chunks).await;
    let row = ready(node.address(), "talk").await;
    // Its chunks are still kept for a late return; who deletes means those too.
    assert_eq!(send(node.address(), "DELETE /recordings/talk", &[], b"").await.status, 204);
    assert!(!crate::chunk_folder(&node, "talk").exists());
    assert_eq!(get(node.address(), link(&row, "downloadUrl")).await.status, 404);
}
