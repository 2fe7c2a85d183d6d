//! Recording on one node with real ffmpeg: what each message and request brings, and that the video is what was
//! recorded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/s3.rs"]
#[allow(dead_code, reason = "the tests of the stores use all of it")]
mod s3;

mod aborts;
mod bucket;
mod chunks;
mod comings;
mod downloads;
mod exports;
mod imports;
mod late;
mod library;
mod limits;
mod live;
mod rooms;
mod stops;
mod watching;
mod ways;

use std::path::PathBuf;

use serde_json::Value;

use self::support::Node;

/// A node that ends at once when it is dropped: sockets that the test has just lost are not waited for.
fn node(flags: &[&str]) -> Node {
    Node::start(&[&["--drain-deadline-secs=0"], flags].concat())
}

/// Where the chunks of a recording are while it is made.
fn chunk_folder(node: &Node, id: &str) -> PathBuf {
    node.folder().join("chunks").join(id)
}

/// The stored bytes of a chunk.
fn stored(node: &Node, id: &str, index: u32) -> Option<Vec<u8>> {
    std::fs::read(chunk_folder(node, id).join(format!("chunk_{index:08}"))).ok()
}

/// A name in the store of videos, such as that under `key`, if it is one of this recording's with this ending: it was made
/// under some claim.
fn is_key(name: &Value, id: &str, extension: &str) -> bool {
    let parts: Vec<_> = name.as_str().unwrap_or_default().split('.').collect();
    matches!(parts[..], [of, fence, end] if of == id && end == extension && fence.parse::<u64>().is_ok())
}

/// A link to the video or the poster, as it was told.
fn link<'a>(told: &'a Value, field: &str) -> &'a str {
    told[field].as_str().unwrap_or_else(|| panic!("no {field}: {told}"))
}

/// Names of files and folders that no recording should leave behind.
fn left_behind(node: &Node) -> Vec<String> {
    let names = |folder: &str| {
        let entries = std::fs::read_dir(node.folder().join(folder)).into_iter().flatten();
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
        entries.map(|entry| format!("{folder}/{}", name(entry).display())).collect::<Vec<_>>()
    };
    // Merges have their folders in one that stays.
    let merges = names("tmp").iter().flat_map(|folder| names(folder)).collect();
    [names("chunks"), merges, names("recordings")].concat()
}

/// Waits until these files and folders are left, and no others.
async fn only_left(node: &Node, names: &[&str]) {
    let until = std::time::Instant::now() + support::DEADLINE;
    loop {
        let mut left = left_behind(node);
        left.sort();
        if left == names {
            return;
        }
        assert!(std::time::Instant::now() < until, "{left:?} is left, and not {names:?}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
