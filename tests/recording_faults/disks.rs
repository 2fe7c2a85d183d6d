//! A disk that is full. Needs the right to mount.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;

use crate::{
    check_video, stored,
    support::{Process, Recorder, Upload, cut, get, setting, status, webm},
};

/// A file system in memory; gone when this is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, with a word about it, where the test may not mount. Where tools are required and the user may everything,
    /// that is a failure.
    #[expect(clippy::print_stdout, reason = "who reads the test's output learns why it did nothing")]
    fn mount(at: &Path, size: &str) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output();
        let why = match mounted {
            Ok(done) if done.status.success() => return Some(Self(at.to_owned())),
            Ok(done) => String::from_utf8_lossy(&done.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        let required = setting("GREENROOM_REQUIRE_TOOLS").is_some_and(|value| !value.is_empty());
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let root = status.lines().any(|line| line.starts_with("Uid:\t0\t0"));
        assert!(!(required && root), "cannot mount a small disk: {why}");
        println!("skipped: cannot mount a small disk: {}", why.trim());
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_when_there_is_space_again_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("disk");
    let Some(_disk) = SmallDisk::mount(&at, "6m") else { return };
    let node = Process::start_on(&at, &[]);
    let chunks = cut(webm(), 3, 130);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store(0, &chunks[0]).await;
    let filler = at.join("filler");
    fill(&filler);

    let upload = Upload::of(node.address(), &recorder.token());
    for _ in 0..3 {
        recorder.chunk(1, &chunks[1]).await;
        let error = recorder.expect_chunk_error("storage_full").await;
        assert_eq!((&error["index"], &error["retryable"]), (&json!(1), &json!(true)));
        assert_eq!(upload.put(1, &chunks[1]).await.refusal(), (507, "storage_full".into()));
        assert_eq!(upload.post(&chunks[1]).await.refusal(), (507, "storage_full".into()));
    }
    let live = status(node.address(), "talk").await;
    assert_eq!(
        (&live["chunks"], &live["nextIndex"], &live["missingChunks"]),
        (&json!(1), &json!(1), &json!([]))
    );
    assert_eq!(stored(&at, "talk", 1), None, "nothing half-written");
    let left = fs::read_dir(at.join("chunks/talk")).unwrap().count();
    assert_eq!(left, 3, "the chunk, its note and the manifest");
    assert_eq!(get(node.address(), "/health/live").await.status, 200);

    fs::remove_file(&filler).unwrap();
    recorder.store_all(1, &chunks[1..]).await;
    let told = recorder.stop_and_wait(&chunks).await;
    check_video(&node, &told, webm()).await;
}

/// Leaves not one block.
fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = fs::File::create(path).unwrap();
    for block in [64 * 1024, 4096, 1] {
        while file.write_all(&vec![1; block]).is_ok() {}
    }
}

#[tokio::test]
async fn a_node_on_a_full_disk_starts_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("disk");
    let Some(_disk) = SmallDisk::mount(&at, "6m") else { return };
    let chunks = cut(webm(), 2, 131);
    let node = Process::start_on(&at, &[]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    node.kill();
    let filler = at.join("filler");
    fill(&filler);
    // A merge without room for its video fails, keeps everything, and is done when there is room.
    let node = Process::start_on(&at, &["--recording-grace-secs=600"]);
    let mut again = Recorder::go_on(node.address(), &recorder.token()).await;
    assert_eq!(again.started["nextIndex"], 2);
    let mut other = Recorder::connect(node.address()).await;
    other.ask_to_begin(json!({ "recordId": "other" })).await;
    other.expect_error("storage_full").await;
    assert!(!at.join("chunks/other").exists());
    fs::remove_file(&filler).unwrap();
    other.begin(json!({ "recordId": "other" })).await;
    let told = again.stop_and_wait(&chunks).await;
    check_video(&node, &told, webm()).await;
}

#[tokio::test]
async fn a_merge_that_finds_no_room_keeps_everything_and_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("disk");
    let Some(_disk) = SmallDisk::mount(&at, "6m") else { return };
    let chunks = cut(webm(), 2, 132);
    let node = Process::start_on(&at, &[]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    // Room for what is noted, none for a video.
    fs::write(at.join("filler"), vec![1; 64 * 1024]).unwrap();
    let free = fill_but(&at, 40 * 1024);
    assert!(free < webm().len() as u64);
    recorder.stop(json!({ "chunks": 2 })).await;
    recorder.expect("finished").await;
    let error = recorder.wait_for("recordingError").await;
    assert!(["merge_failed", "storage_full"].contains(&error["code"].as_str().unwrap()), "{error}");
    assert_eq!(stored(&at, "talk", 0).as_ref(), Some(&chunks[0]));
    fs::remove_file(at.join("filler")).unwrap();
    fs::remove_file(at.join("more")).unwrap();
    let told = recorder.wait_for("recordingReady").await;
    check_video(&node, &told, webm()).await;
}

/// Fills all but so many bytes; says how many are left.
fn fill_but(at: &Path, bytes: usize) -> u64 {
    let spare = at.join("spare");
    fs::write(&spare, vec![1; bytes]).unwrap();
    fill(&at.join("more"));
    fs::remove_file(&spare).unwrap();
    bytes as u64
}
