//! What waits for ffmpeg, and what does not.

use serde_json::{Value, json};

use crate::support::{
    Process, Recorder, Upload, cut, eventually, metric, pictured, ready, send, stand_in, status, vp9, webm,
};

/// Records, stops, and gives what is told when the video is there.
async fn recorded(node: &Process, id: &str, chunks: &[Vec<u8>]) -> Value {
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": id })).await;
    recorder.store_all(0, chunks).await;
    recorder.stop_and_wait(chunks).await
}

/// A recording with another codec in its middle is ffmpeg's; one that is put together already is ready while ffmpeg has no turn for
/// anybody, and its poster follows.
#[tokio::test]
async fn what_is_put_together_is_ready_while_ffmpeg_has_no_turn_for_anybody() {
    let programs = tempfile::tempdir().unwrap();
    let go = programs.path().join("go");
    let body = format!("while [ ! -e {} ]; do sleep 0.02; done\nexec ffmpeg \"$@\"", go.display());
    let node = Process::start(&["--merge-jobs=1", &stand_in(programs.path(), &body)]);
    let address = node.address();

    let (upload, _) = Upload::start(address, json!({ "recordId": "changed" })).await;
    assert_eq!(upload.put(0, webm()).await.status, 200);
    assert_eq!(upload.put_with(1, &[("X-Segment-Start", "true")], vp9()).await.status, 200);
    assert_eq!(upload.stop(json!({ "chunks": 2 })).await.status, 202);
    eventually("ffmpeg is at it", async || {
        let running = metric(address, "greenroom_merges_running").await;
        ((running - 1.0).abs() < 0.1).then_some(())
    })
    .await;

    let told = recorded(&node, "whole", &cut(webm(), 4, 7)).await;
    assert_eq!((&told["complete"], &told["posterUrl"]), (&json!(true), &json!(null)));
    let before = status(address, "whole").await;
    assert_eq!(status(address, "changed").await["state"], "finalising");

    std::fs::write(go, "").unwrap();
    let row = pictured(address, "whole").await;
    assert_eq!((&row["version"], &row["readyAt"]), (&before["version"], &before["readyAt"]), "{row}");
    let poster = send(address, &format!("GET {}", row["posterUrl"].as_str().unwrap()), &[], b"").await;
    assert_eq!((poster.status, &poster.body[..3]), (200, &[0xff, 0xd8, 0xff][..]));
    assert_eq!(ready(address, "changed").await["complete"], true);
}
