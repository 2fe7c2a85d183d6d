//! Recording over several nodes, as processes, on one Redis, one folder and one catalog: any node takes any chunk of any
//! recording, and whatever dies, each acknowledged chunk is in the video once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "this is how a test fails, and says that it cannot run"
)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/s3.rs"]
#[allow(dead_code, reason = "the tests of the stores use the rest")]
mod s3;

mod anywhere;
mod apart;
mod clocks;
mod databases;
mod deaths;
mod exports;
mod gate;
mod live;
mod outages;
mod own_node;
mod parts;
mod recorders;
mod refused;
mod rollbacks;
mod rooms;
mod storage;
mod stores;
mod tries;

use std::net::SocketAddr;

use serde_json::json;

use self::support::{Cluster, eventually, get, state};

/// Who works on a recording, once somebody does.
async fn worker(cluster: &Cluster, id: &str) -> usize {
    let account = format!("recording:{{{id}}}");
    let name = eventually("it is claimed", async || {
        cluster.redis().run::<Option<String>>(&["HGET", &account, "claimed_by"])
    })
    .await;
    cluster.find(&json!(name))
}

/// The catalog has this one recording and no other.
async fn only(node: SocketAddr, id: &str) {
    let list = get(node, "/recordings").await.json();
    let ids: Vec<_> = list["recordings"].as_array().unwrap().iter().map(|row| &row["recordId"]).collect();
    assert_eq!(ids, [id], "{list}");
}

/// What is stored of videos, by name.
fn videos(cluster: &Cluster) -> Vec<String> {
    support::videos(&cluster.storage(0))
}

/// How many recordings have chunks, or what is left of them.
fn chunk_folders(cluster: &Cluster) -> usize {
    cluster.storage(0).join("chunks").read_dir().map_or(0, Iterator::count)
}
