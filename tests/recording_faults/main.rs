//! Recording when things go wrong: processes killed at any moment, disks full, ffmpeg missing, hanging or lying. What was
//! acknowledged is never lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

#[path = "../support/mod.rs"]
mod support;

mod deaths;
mod disks;
mod programs;
mod stores;

use std::path::Path;

use serde_json::Value;

use self::support::{Process, status};

/// The stored bytes of a chunk.
fn stored(storage: &Path, id: &str, index: u32) -> Option<Vec<u8>> {
    std::fs::read(storage.join(format!("chunks/{id}/chunk_{index:08}"))).ok()
}

/// Waits until a recording stands so.
async fn state(node: &Process, id: &str, wanted: &str) -> Value {
    support::eventually(wanted, async || {
        let status = status(node.address(), id).await;
        (status["state"] == wanted).then_some(status)
    })
    .await
}

/// A program that takes the place of ffmpeg: it says its version like the real one, and does `body` for everything else.
fn stand_in(folder: &Path, body: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join("ffmpeg");
    let script = format!("#!/bin/sh\n[ \"$1\" = -version ] && exec ffmpeg -version\n{body}\n");
    std::fs::write(&path, script).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
    format!("--ffmpeg={}", path.display())
}
