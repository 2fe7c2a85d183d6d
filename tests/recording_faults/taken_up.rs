//! A file that was put together, and is gone on with: on disks that are nearly full, and after it was completed.

use std::{fs, path::PathBuf, time::Duration};

use serde_json::{Value, json};

use crate::{
    assembled::{checkpoint, growing, nothing_left},
    support::{
        Process, Recorder, SmallDisk, check_video, cut, eventually, fill, frame_of, get, mp4, names, ready,
        send, soon, vp9, webm,
    },
};

/// Of which each is a segment of its own.
const SEGMENTS: u32 = 12;
/// After so many of them there is a checkpoint.
const SAVED: u32 = 8;
/// A disk that was full is left alone for a while.
const WITHIN: Duration = Duration::from_secs(90);
const ANY_SPACE: &str = "--min-free-bytes=0";

async fn store_segments(recorder: &mut Recorder, range: std::ops::Range<u32>, media: &[u8]) {
    let length = u32::try_from(media.len()).unwrap();
    for index in range {
        recorder.send_bytes(frame_of(index, 1, length, crc32c::crc32c(media), media)).await;
        recorder.expect_ack(index).await;
    }
}

/// Everything was recorded.
async fn stop(recorder: &mut Recorder) {
    recorder.stop(json!({ "chunks": SEGMENTS })).await;
    recorder.expect("finished").await;
}

/// The video of these segments where there is room.
async fn undisturbed(media: &[u8]) -> (Value, Vec<u8>) {
    let storage = tempfile::tempdir().unwrap();
    let node = Process::start_on(storage.path(), &[]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    store_segments(&mut recorder, 0..SEGMENTS, media).await;
    stop(&mut recorder).await;
    let told = recorder.ready().await;
    let video = crate::support::video(node.address(), &told).await;
    (told, video)
}

/// A recording whose chunks have room, and what is put together of them has not.
struct Small {
    storage: tempfile::TempDir,
    _disk: SmallDisk,
}

impl Small {
    fn mount(size: &str) -> Option<Self> {
        let storage = tempfile::tempdir().unwrap();
        let disk = SmallDisk::mount(&storage.path().join("assembly"), size)?;
        Some(Self { storage, _disk: disk })
    }

    fn node(&self, flags: &[&str]) -> Process {
        let flags: Vec<&str> =
            ["--recording-grace-secs=600", ANY_SPACE].iter().chain(flags).copied().collect();
        Process::start_on(self.storage.path(), &flags)
    }

    fn folder(&self) -> PathBuf {
        self.storage.path().join("assembly")
    }

    fn filler(&self) -> PathBuf {
        self.storage.path().join("assembly/filler")
    }

    /// From now on so much is free, and no more.
    fn frees(&self, bytes: u64) {
        let filler = fs::File::options().write(true).open(self.filler()).unwrap();
        filler.set_len(filler.metadata().unwrap().len() - bytes).unwrap();
    }

    /// Waits until so much is in its file.
    async fn has_grown(&self, bytes: u64) {
        eventually("it is put together", async || {
            let part = growing(self.storage.path(), ".part").pop()?;
            (fs::metadata(self.folder().join(part)).ok()?.len() >= bytes).then_some(())
        })
        .await;
    }

    /// Its video is what it is elsewhere, and nothing else is left of it.
    async fn check(&self, node: &Process, wanted: &Value) {
        let row = soon(WITHIN, "it is ready", async || {
            let row = get(node.address(), "/recordings/talk/status").await.json();
            (row["state"] == "ready").then_some(row)
        })
        .await;
        assert_eq!((&row["complete"], &row["sha256"]), (&json!(true), &wanted["sha256"]), "{row}");
        eventually("nothing is left of it", async || {
            names(&self.folder()).iter().eq(["filler"]).then_some(())
        })
        .await;
    }
}

/// Room for the rest, and none for another one of what is there already.
#[tokio::test]
async fn a_disk_that_was_full_in_the_middle_needs_no_room_for_a_copy() {
    let Some(small) = Small::mount("4m") else { return };
    let (wanted, _) = undisturbed(webm()).await;
    let node = small.node(&[]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    store_segments(&mut recorder, 0..SAVED, webm()).await;
    checkpoint(small.storage.path()).await;
    fill(&small.filler());
    store_segments(&mut recorder, SAVED..SEGMENTS, webm()).await;
    stop(&mut recorder).await;
    recorder.wait_for("recordingError").await;
    small.frees(webm().len() as u64 * 5);
    small.check(&node, &wanted).await;
}

/// The node dies as it goes back to its checkpoint: who comes after it makes no copy either.
#[tokio::test]
async fn where_no_copy_has_room_it_is_made_of_its_chunks() {
    let Some(small) = Small::mount("4m") else { return };
    let (wanted, _) = undisturbed(mp4()).await;
    let mut node = small.node(&["--crash-at=assembly.cut"]);
    let start = json!({ "recordId": "talk", "mimeType": "video/mp4" });
    let mut recorder = Recorder::start(node.address(), start).await;
    store_segments(&mut recorder, 0..SAVED, mp4()).await;
    checkpoint(small.storage.path()).await;
    fill(&small.filler());
    store_segments(&mut recorder, SAVED..SEGMENTS, mp4()).await;
    recorder.stop(json!({ "chunks": SEGMENTS })).await;
    node.ended().await;
    small.frees(mp4().len() as u64 * 5);
    let node = small.node(&[]);
    small.check(&node, &wanted).await;
}

/// With its last byte there is no room for its tables.
#[tokio::test]
async fn a_disk_that_was_full_at_the_index_needs_no_room_for_a_copy() {
    let (wanted, video) = undisturbed(mp4()).await;
    let Some(small) = Small::mount("4m") else { return };
    // As much as stands in front of the tables is in one box.
    let before = u32::from_be_bytes(video[..4].try_into().unwrap()) as usize;
    assert_eq!(&video[before + 4..before + 8], b"mdat");
    let data = u64::from_be_bytes(video[before + 8..before + 16].try_into().unwrap()) + before as u64;
    assert!(video.len() as u64 - data > 4096, "more than a page");
    let node = small.node(&[]);
    let start = json!({ "recordId": "talk", "mimeType": "video/mp4" });
    let mut recorder = Recorder::start(node.address(), start).await;
    store_segments(&mut recorder, 0..SEGMENTS, mp4()).await;
    small.has_grown(data).await;
    checkpoint(small.storage.path()).await;
    fill(&small.filler());
    stop(&mut recorder).await;
    recorder.wait_for("recordingError").await;
    small.frees(64 * 1024);
    small.check(&node, &wanted).await;
}

/// A node that has less left than it is told to leave copies nothing: not while it comes, and not in the end.
#[tokio::test]
async fn below_its_line_a_node_copies_nothing() {
    let (storage, chunks) = (tempfile::tempdir().unwrap(), cut(mp4(), 24, 140));
    let node = Process::start_on(storage.path(), &["--recording-grace-secs=600"]);
    let start = json!({ "recordId": "talk", "mimeType": "video/mp4" });
    let mut recorder = Recorder::start(node.address(), start).await;
    recorder.store_all(0, &chunks[..12]).await;
    let saved = checkpoint(storage.path()).await;
    node.kill();
    let line = format!("--min-free-bytes={}", 1_u64 << 60);
    let node = Process::start_on(storage.path(), &["--recording-grace-secs=600", &line]);
    let mut recorder = Recorder::go_on(node.address(), &recorder.token()).await;
    recorder.store_all(12, &chunks[12..]).await;
    eventually("it has looked", async || {
        let metrics = get(node.address(), "/metrics").await;
        let count =
            metrics.body.lines().find(|line| line.contains("errors") && line.contains("\"assembly\""))?;
        (!count.ends_with(" 0")).then_some(())
    })
    .await;
    assert_eq!(growing(storage.path(), ".part"), [saved.replace(".state", ".part")]);
    let told = recorder.stop_and_wait(&chunks).await;
    check_video(node.address(), &told, mp4()).await;
    nothing_left(storage.path()).await;
}

/// What can be watched, from the first byte on.
async fn watched(node: &Process) -> Vec<u8> {
    eventually("it can be watched", async || {
        let live = get(node.address(), "/recordings/talk/live").await.json();
        let link = live["streamUrl"].as_str()?;
        let media = send(node.address(), &format!("GET {link}"), &[], b"").await;
        (media.status == 200).then_some(media.body)
    })
    .await
}

/// There is no place for its video when it is completed, and its recorder comes back meanwhile.
#[tokio::test]
async fn what_was_completed_and_goes_on_is_watched_as_it_was() {
    for (media, mime_type) in [(webm(), "video/webm"), (mp4(), "video/mp4")] {
        let (storage, chunks) = (tempfile::tempdir().unwrap(), cut(media, 24, 140));
        let node = Process::start_on(storage.path(), &["--recording-grace-secs=1"]);
        let start = json!({ "recordId": "talk", "mimeType": mime_type });
        let mut recorder = Recorder::start(node.address(), start).await;
        recorder.store_all(0, &chunks[..20]).await;
        let before = watched(&node).await;
        let (videos, away) = (storage.path().join("recordings"), storage.path().join("away"));
        fs::rename(&videos, &away).unwrap();
        fs::write(&videos, "no folder").unwrap();
        let token = recorder.lose();
        eventually("its head is completed", async || {
            let is_completed = |name: String| {
                let part = fs::read(storage.path().join("assembly").join(name)).unwrap_or_default();
                part.len() > before.len() && part[..before.len()] != before
            };
            growing(storage.path(), ".part").into_iter().any(is_completed).then_some(())
        })
        .await;
        let mut recorder = Recorder::go_on(node.address(), &token).await;
        recorder.store_all(20, &chunks[20..23]).await;
        let now = watched(&node).await;
        assert!(now.len() >= before.len() && now[..before.len()] == before, "{mime_type}: other bytes");
        fs::remove_file(&videos).unwrap();
        fs::rename(&away, &videos).unwrap();
        recorder.store_all(23, &chunks[23..]).await;
        let told = recorder.stop_and_wait(&chunks).await;
        check_video(node.address(), &told, media).await;
    }
}

/// A recording that is none of the assembler's any more, long after others could go on with it.
#[tokio::test]
async fn what_goes_on_in_another_codec_is_made_by_ffmpeg_and_whole() {
    let storage = tempfile::tempdir().unwrap();
    let node = Process::start_on(storage.path(), &[]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &cut(webm(), 10, 141)).await;
    checkpoint(storage.path()).await;
    let length = u32::try_from(vp9().len()).unwrap();
    recorder.send_bytes(frame_of(10, 1, length, crc32c::crc32c(vp9()), vp9())).await;
    recorder.expect_ack(10).await;
    eventually("nothing of it stays", async || growing(storage.path(), "").is_empty().then_some(())).await;
    recorder.stop(json!({ "chunks": 11 })).await;
    recorder.expect("finished").await;
    let told = recorder.ready().await;
    assert_eq!((&told["complete"], &told["gaps"]), (&json!(true), &json!([])), "{told}");
    let length_ms = told["durationMs"].as_u64().unwrap();
    assert!((5900..6300).contains(&length_ms), "both segments: {told}");
    let row = ready(node.address(), "talk").await;
    assert_eq!((&row["chunks"], &row["missingChunks"]), (&json!(11), &json!([])), "{row}");
    nothing_left(storage.path()).await;
}
