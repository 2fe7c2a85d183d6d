//! Recording when things go wrong: processes killed at any moment, disks full, ffmpeg missing, hanging or lying. What was
//! acknowledged is never lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

#[path = "../support/mod.rs"]
mod support;

mod assembled;
mod deaths;
mod disks;
mod programs;
mod stores;
mod taken_up;
mod turns;

use std::path::Path;

/// The stored bytes of a chunk.
fn stored(storage: &Path, id: &str, index: u32) -> Option<Vec<u8>> {
    std::fs::read(storage.join(format!("chunks/{id}/chunk_{index:08}"))).ok()
}
