//! What an operator sees of recordings.

use serde_json::json;

use crate::support::{Recorder, Upload, cut, eventually, get, metric, ready, webm};

#[tokio::test]
async fn metrics_follow_a_recording() {
    let node = crate::node(&[]);
    let address = node.address();
    let chunks = cut(webm(), 3, 90);
    let mut recorder = Recorder::start(address, json!({ "recordId": "talk" })).await;
    let upload = Upload::of(address, &recorder.token());
    recorder.store_all(0, &chunks[..2]).await;
    recorder.store(1, &chunks[1]).await;
    recorder.chunk(0, &[webm(), b"x"].concat()).await;
    recorder.expect_chunk_error("conflict").await;
    assert_eq!(upload.put(2, &chunks[2]).await.status, 200);
    for (series, value) in [
        (r#"greenroom_sockets{kind="recorder"}"#, 1.0),
        (r#"greenroom_recordings_started_total{result="started"}"#, 1.0),
        (r#"greenroom_chunks_total{result="acked",way="socket"}"#, 2.0),
        (r#"greenroom_chunks_total{result="duplicate",way="socket"}"#, 1.0),
        (r#"greenroom_chunks_total{result="conflict",way="socket"}"#, 1.0),
        (r#"greenroom_chunks_total{result="acked",way="http"}"#, 1.0),
        (r#"greenroom_chunk_ack_seconds_count{way="socket"}"#, 2.0),
        ("greenroom_chunks_in_flight", 0.0),
        ("greenroom_chunk_in_flight_bytes", 0.0),
        ("greenroom_merges_running", 0.0),
    ] {
        assert_eq!(metric(address, series).await, value, "{series}");
    }
    #[allow(clippy::cast_precision_loss, reason = "small")]
    let bytes = (chunks[0].len() + chunks[1].len()) as f64;
    assert_eq!(metric(address, r#"greenroom_chunk_bytes_total{way="socket"}"#).await, bytes);
    eventually("one recorder is counted", async || {
        (metric(address, "greenroom_recorders").await == 1.0).then_some(())
    })
    .await;
    assert!(metric(address, "greenroom_storage_free_bytes").await > 0.0);

    recorder.stop_and_wait(&chunks).await;
    for (series, value) in [
        (r#"greenroom_merges_total{outcome="ready",path="copied"}"#, 1.0),
        (r#"greenroom_recordings_ended_total{how="stopped",outcome="complete"}"#, 1.0),
        (r#"greenroom_merge_duration_seconds_count{path="copied"}"#, 1.0),
        ("greenroom_merges_waiting", 0.0),
        ("greenroom_chunks_missing_total", 0.0),
        ("greenroom_gaps_total", 0.0),
    ] {
        assert_eq!(metric(address, series).await, value, "{series}");
    }
    eventually("the clearing up is counted", async || {
        (metric(address, r#"greenroom_cleanups_total{outcome="merged"}"#).await == 1.0).then_some(())
    })
    .await;
    // The next one on the same socket is one recorder, not two.
    recorder.begin(json!({ "recordId": "next" })).await;
    let counted = eventually("the recorders are counted anew", async || {
        let health = get(address, "/health").await.json();
        health["recorders"].as_u64()
    })
    .await;
    assert_eq!(counted, 1, "one socket");
    drop(recorder);
    eventually("no recorder is left", async || {
        (metric(address, "greenroom_recorders").await == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn metrics_tell_what_is_in_no_video() {
    let node = crate::node(&["--recording-grace-secs=1"]);
    let address = node.address();
    let (chunks, sent) = (cut(webm(), 6, 91), [0, 1, 2, 4]);
    let mut incomplete = Recorder::start(address, json!({ "recordId": "incomplete" })).await;
    let mut kept = 0;
    for index in sent {
        incomplete.store(index, &chunks[index as usize]).await;
        kept += chunks[index as usize].len();
    }
    // Who comes back within its grace announces how many there must be, and goes for good.
    let token = incomplete.lose();
    let mut again = Recorder::go_on(address, &token).await;
    again.stop(json!({ "chunks": 6 })).await;
    again.expect_error("chunks_missing").await;
    drop(again);
    let row = ready(address, "incomplete").await;
    let mut failed = Recorder::start(address, json!({ "recordId": "failed" })).await;
    let broken = [vec![0x1a, 0x45, 0xdf, 0xa3, 0x80], vec![0x55; 3000]].concat();
    kept += broken.len();
    failed.store(0, &broken).await;
    failed.stop(json!({ "chunks": 1 })).await;
    failed.wait_for("recordingError").await;
    let mut running = Recorder::start(address, json!({ "recordId": "running" })).await;
    running.store(0, webm()).await;

    let gaps = row["gaps"].as_array().expect("a list").len();
    assert!(gaps > 0, "{row}");
    let number = |count: usize| f64::from(u32::try_from(count).expect("small"));
    for (series, value) in [
        (r#"greenroom_recorder_reconnects_total{outcome="in_grace"}"#, 1.0),
        (r#"greenroom_recordings_ended_total{how="auto",outcome="incomplete"}"#, 1.0),
        (r#"greenroom_recordings_ended_total{how="stopped",outcome="failed"}"#, 1.0),
        ("greenroom_chunks_missing_total", 2.0),
        ("greenroom_gaps_total", number(gaps)),
    ] {
        assert_eq!(metric(address, series).await, value, "{series}");
    }
    // Looked at from time to time.
    for (series, value) in [
        (r#"greenroom_recordings{state="recording"}"#, 1.0),
        (r#"greenroom_recordings{state="finalising"}"#, 0.0),
        (r#"greenroom_recordings{state="ready"}"#, 1.0),
        (r#"greenroom_recordings{state="failed"}"#, 1.0),
        ("greenroom_unmerged_bytes", number(kept)),
    ] {
        eventually(series, async || (metric(address, series).await == value).then_some(())).await;
    }
}

#[tokio::test]
async fn no_id_of_a_recording_is_in_a_metric() {
    let node = crate::node(&[]);
    let (upload, _) =
        Upload::start(node.address(), json!({ "recordId": "secretname", "roomName": "secretroom" })).await;
    upload.put(0, webm()).await;
    get(node.address(), "/recordings/secretname/status").await;
    get(node.address(), "/recordings/download/secretname.webm").await;
    let metrics = get(node.address(), "/metrics").await.body;
    assert!(!metrics.contains("secret"), "{metrics}");
}

#[tokio::test]
async fn health_names_what_recording_needs() {
    let node = crate::node(&[]);
    let health = get(node.address(), "/health").await;
    assert_eq!(health.status, 200);
    let health = health.json();
    assert_eq!(health["status"], "ok", "{health}");
    for check in ["recording_supervisor", "storage", "catalog", "ffmpeg"] {
        assert_eq!(health["checks"][check], "ok", "{health}");
    }
    assert!(health["storage_free_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{health}");
    assert_eq!(health["recorders"], 0);
}

#[tokio::test]
async fn without_ffmpeg_the_node_is_degraded_and_ready() {
    let node = crate::node(&["--ffmpeg=/nonexistent/ffmpeg"]);
    let health = get(node.address(), "/health").await;
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("degraded")));
    assert_eq!(health.json()["checks"]["ffmpeg"], "down");
    assert_eq!(get(node.address(), "/health/ready").await.status, 200);
}

#[tokio::test]
async fn the_pages_of_recording_are_served() {
    let node = crate::node(&[]);
    for page in ["/recorder", "/recorder?room=blue", "/library"] {
        let answer = get(node.address(), page).await;
        assert_eq!(answer.status, 200, "{page}");
        assert!(answer.head.contains("content-type: text/html"), "{}", answer.head);
    }
}
