//! The application is told of recordings: signed, in order, at least once, whatever is away or dies meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

#[path = "../support/mod.rs"]
mod support;

mod outages;
mod several;
mod telling;

use std::{net::SocketAddr, path::Path};

use serde_json::json;

use self::support::{Process, Upload, eventually, metric, pictured, webm};

/// A node on this storage that tells an application.
fn node(storage: &Path, webhook: &[String; 2], flags: &[&str]) -> Process {
    Process::start_on(storage, &[&[webhook[0].as_str(), webhook[1].as_str()], flags].concat())
}

/// Records something whole.
async fn record(address: SocketAddr, id: &str) {
    let fields = json!({ "recordId": id, "roomName": "blue", "owner": "ada", "title": "A talk" });
    let (upload, _) = Upload::start(address, fields).await;
    assert_eq!(upload.put(0, webm()).await.status, 200);
    assert_eq!(upload.stop(json!({ "chunks": 1 })).await.status, 202);
    pictured(address, id).await;
}

/// Waits until so many tries have come to this.
async fn tries(address: SocketAddr, outcome: &str, least: f64) {
    let series = format!(r#"greenroom_webhook_deliveries_total{{outcome="{outcome}"}}"#);
    eventually(&series, async || (metric(address, &series).await >= least).then_some(())).await;
}
