//! A disk that is full. Needs the right to mount.

use std::{fs, path::Path};

use serde_json::json;

use crate::{
    stored,
    support::{BY_FFMPEG, Process, Recorder, SmallDisk, Upload, check_video, cut, fill, get, status, webm},
};

/// Otherwise nothing begins on a disk as small as those of these tests.
const ANY_SPACE: &str = "--min-free-bytes=0";

#[tokio::test]
async fn a_full_disk_is_told_and_when_there_is_space_again_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("disk");
    let Some(_disk) = SmallDisk::mount(&at, "6m") else { return };
    let node = Process::start_on(&at, &[ANY_SPACE]);
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
    check_video(node.address(), &told, webm()).await;
}

#[tokio::test]
async fn a_node_on_a_full_disk_starts_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("disk");
    let Some(_disk) = SmallDisk::mount(&at, "6m") else { return };
    let chunks = cut(webm(), 2, 131);
    let node = Process::start_on(&at, &[ANY_SPACE]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    node.kill();
    let filler = at.join("filler");
    fill(&filler);
    // A merge without room for its video fails, keeps everything, and is done when there is room.
    let node = Process::start_on(&at, &[ANY_SPACE, "--recording-grace-secs=600"]);
    let mut again = Recorder::go_on(node.address(), &recorder.token()).await;
    assert_eq!(again.started["nextIndex"], 2);
    let mut other = Recorder::connect(node.address()).await;
    other.ask_to_begin(json!({ "recordId": "other" })).await;
    other.expect_error("storage_full").await;
    assert!(!at.join("chunks/other").exists());
    fs::remove_file(&filler).unwrap();
    other.begin(json!({ "recordId": "other" })).await;
    let told = again.stop_and_wait(&chunks).await;
    check_video(node.address(), &told, webm()).await;
}

#[tokio::test]
async fn a_merge_that_finds_no_room_keeps_everything_and_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("disk");
    let Some(_disk) = SmallDisk::mount(&at, "6m") else { return };
    let chunks = cut(webm(), 2, 132);
    let node = Process::start_on(&at, &[ANY_SPACE, BY_FFMPEG]);
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
    check_video(node.address(), &told, webm()).await;
}

/// Fills all but so many bytes; says how many are left.
fn fill_but(at: &Path, bytes: usize) -> u64 {
    let spare = at.join("spare");
    fs::write(&spare, vec![1; bytes]).unwrap();
    fill(&at.join("more"));
    fs::remove_file(&spare).unwrap();
    bytes as u64
}
