//! What the tests against a running node share: nodes in this process and as the real binary, scripted peers, raw
//! sockets, and waiting that polls with a deadline.

#![allow(dead_code, unused_imports, reason = "each test program uses its own part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "this is how a test fails and says why, also in what tests share"
)]

mod chance;
mod cluster;
mod disk;
mod export;
mod files;
mod fuzz;
mod http;
mod kept;
mod media;
mod nginx;
mod node;
mod peer;
mod postgres;
mod process;
mod proxy;
mod raw;
mod recorder;
mod redis;
mod servers;
mod webhook;

use std::time::{Duration, Instant};

pub use self::{
    chance::Chance,
    cluster::Cluster,
    disk::{SmallDisk, fill},
    export::{ExportProgram, ask_mp4, mp4_of},
    files::{age, make_old, make_older, names, videos},
    fuzz::{FIRST_SEED, fuzz},
    http::{Answer, Download, get, metric, request, roster, send, try_download, try_request},
    kept::{installed, keep, kept_media, program},
    media::{
        assert_recorded, cut, cut_at, cut_evenly, kept, large, longer, mp4, packets, probe, sha256, vp9, webm,
    },
    nginx::{CONFIGURATIONS, Nginx},
    node::Node,
    peer::{Closed, Heard, Peer, resume},
    postgres::Postgres,
    process::{BY_FFMPEG, Process, greenroom, signal, stand_in},
    proxy::Proxy,
    raw::{Raw, frame, header, knock, masked},
    recorder::{
        Recorder, Upload, check_video, chunk_frame, frame_of, pictured, ready, state, state_now, status,
        video,
    },
    redis::{Redis, command, free_port},
    servers::{Sentinel, cluster_agrees, master_of, start_cluster, start_replica},
    webhook::{Call, Receiver, Reply, SECRET},
};

/// Longest that anything awaited here may take. Generous: two loaded processors run these tests in the dev profile.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// How often something is looked at again.
const POLL: Duration = Duration::from_millis(10);

/// Asks until there is an answer; fails at the deadline.
pub async fn eventually<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    soon(DEADLINE, what, ask).await
}

/// The same with a deadline of its own, for what would come to pass later anyway.
pub async fn soon<T>(deadline: Duration, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + deadline;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < until, "not within {deadline:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// Waits for what is awaited; fails at the deadline.
pub async fn within<T>(what: &str, awaited: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, awaited).await {
        Ok(done) => done,
        Err(_) => panic!("not within {DEADLINE:?}: {what}"),
    }
}

/// A setting of the test run itself, such as for how long to fuzz.
#[expect(clippy::disallowed_methods, reason = "settings of the tests are none of the node's")]
pub fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
