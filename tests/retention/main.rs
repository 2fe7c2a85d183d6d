//! What is taken away by itself: recordings whose time is over, and what belongs to nothing. And what never is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/s3.rs"]
#[allow(dead_code, reason = "the tests of the stores use the rest")]
mod s3;

mod kept;
mod orphans;
mod several;
mod times;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use self::support::{Process, Recorder, cut, eventually, metric, pictured, state_now, webm};

/// A node on this storage that sweeps every second.
fn node(storage: &Path, flags: &[&str]) -> Process {
    Process::start_on(storage, &[&["--housekeeping-secs=1", "--recording-grace-secs=1"], flags].concat())
}

/// Records something whole; gives how it stands then.
async fn record(address: SocketAddr, id: &str) -> Value {
    let mut recorder = Recorder::start(address, json!({ "recordId": id })).await;
    recorder.store(0, webm()).await;
    recorder.stop(json!({ "chunks": 1 })).await;
    pictured(address, id).await
}

/// Records something of which a chunk in the middle never comes; gives its token, and how it stands then.
async fn record_with_gap(address: SocketAddr, id: &str) -> (String, Value) {
    let chunks = cut(webm(), 6, 310);
    let mut recorder = Recorder::start(address, json!({ "recordId": id })).await;
    for index in [0, 1, 2, 4, 5] {
        recorder.store(index, &chunks[index as usize]).await;
    }
    let token = recorder.lose();
    let row = pictured(address, id).await;
    assert_eq!(row["complete"], false, "{row}");
    (token, row)
}

/// Records something of which no video can be made.
async fn record_broken(address: SocketAddr, id: &str) {
    let mut recorder = Recorder::start(address, json!({ "recordId": id })).await;
    recorder.store(0, &[&webm()[..4], &[0x5a; 4000]].concat()).await;
    recorder.stop(json!({ "chunks": 1 })).await;
    recorder.wait_for("recordingError").await;
}

async fn gone(address: SocketAddr, id: &str) {
    eventually(&format!("{id} is gone"), async || state_now(address, id).await.is_null().then_some(())).await;
}

fn chunks(storage: &Path, id: &str) -> PathBuf {
    storage.join("chunks").join(id)
}

/// Waits until so many were taken away for this reason; gives how many bytes that was.
async fn swept(address: SocketAddr, reason: &str, count: f64) -> f64 {
    let of = |what: &str| format!(r#"greenroom_housekeeping_{what}_total{{reason="{reason}"}}"#);
    eventually(reason, async || (metric(address, &of("deleted")).await >= count).then_some(())).await;
    assert_eq!(metric(address, &of("deleted")).await, count, "{reason}");
    metric(address, &of("deleted_bytes")).await
}

/// Waits until the node has logged this.
async fn logged(node: &Process, words: &str) {
    eventually(words, async || node.logs().contains(words).then_some(())).await;
}

async fn sweeps(address: SocketAddr, outcome: &str) -> f64 {
    metric(address, &format!(r#"greenroom_housekeeping_sweeps_total{{outcome="{outcome}"}}"#)).await
}

/// Waits until so many more sweeps have come to this: what they were to find they have found twice.
async fn after_sweeps(address: SocketAddr, outcome: &str, more: f64) {
    let before = sweeps(address, outcome).await;
    eventually(outcome, async || (sweeps(address, outcome).await >= before + more).then_some(())).await;
}
