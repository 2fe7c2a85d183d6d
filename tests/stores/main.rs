//! What every chunk store, every video store and every catalog must do, whatever it is kept on.
//!
//! Each suite is written against the port. A suite's argument opens the store anew, as a restarted node would; so the
//! implementations on other servers are held to the same tests. What only one of them can do wrong stands in a file of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this is how a test fails, also in what tests share"
)]
#![allow(clippy::print_stdout, reason = "a test says what it skips")]

mod catalog_suite;
mod chunk_suite;
mod folders;
mod killed;
mod outbox_suite;
mod postgres;
mod redis;
mod s3;
#[path = "../support/s3.rs"]
#[allow(dead_code, reason = "tests of clusters use the rest of it")]
mod s3_server;
mod small_disk;
mod sql;
#[path = "../support/mod.rs"]
mod support;
mod video_suite;

use std::time::{Duration, Instant};

use greenroom::{
    metrics::Metrics,
    protocol::{
        RecordId,
        chunk::{Chunk, ChunkIndex, ChunkMark},
    },
};

/// Longest that anything awaited here may take.
const DEADLINE: Duration = Duration::from_secs(20);

fn id(text: &str) -> RecordId {
    RecordId::parse(text).expect("a valid name")
}

/// Counters that nobody looks at.
fn metrics() -> Metrics {
    Metrics::new().expect("valid")
}

fn index(number: u32) -> ChunkIndex {
    ChunkIndex::new(number).expect("in bounds")
}

/// What is noted of bytes that came without a word about them.
fn mark(payload: &[u8]) -> ChunkMark {
    Chunk::raw(payload.to_vec().into()).expect("a chunk").mark
}

/// Asks until it is so; fails at the deadline.
async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < until, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
