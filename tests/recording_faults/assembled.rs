//! What is put together while it comes: whatever happens on the way, the video is the same, byte for byte.

use std::{fs, os::unix::fs::FileExt as _, path::Path};

use greenroom::domain::assembly::Checkpoint;
use serde_json::{Value, json};

use crate::{
    stored,
    support::{
        Process, Recorder, SmallDisk, Upload, check_video, cut, eventually, fill, frame_of, get, mp4, names,
        ready, send, status, video, webm,
    },
};

/// So many that a checkpoint is made before they are all there.
const CHUNKS: usize = 24;

fn chunks() -> Vec<Vec<u8>> {
    cut(webm(), CHUNKS, 140)
}

/// Names of what grows, with this ending.
pub fn growing(storage: &Path, ending: &str) -> Vec<String> {
    let names = names(&storage.join("assembly")).into_iter();
    names.filter(|name| name.ends_with(ending)).collect()
}

/// The video of these chunks as a node makes it that nothing happens to.
async fn undisturbed(chunks: &[Vec<u8>]) -> Value {
    let storage = tempfile::tempdir().unwrap();
    let node = Process::start_on(storage.path(), &[]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, chunks).await;
    recorder.stop_and_wait(chunks).await
}

/// Waits until nothing is left of what grew.
pub async fn nothing_left(storage: &Path) {
    eventually("nothing is left of it", async || growing(storage, "").is_empty().then_some(())).await;
}

/// A checkpoint that is whole, by its name: a file of it is there a moment before.
fn saved(storage: &Path) -> Option<String> {
    let is_whole = |name: &String| {
        let read = fs::read(storage.join("assembly").join(name));
        read.is_ok_and(|state| Checkpoint::restore(&state).is_ok())
    };
    growing(storage, ".state").into_iter().rfind(is_whole)
}

/// Waits until another node could go on with it.
pub async fn checkpoint(storage: &Path) -> String {
    eventually("a checkpoint is there", async || saved(storage)).await
}

#[tokio::test]
async fn a_node_that_is_killed_again_and_again_makes_the_same_bytes() {
    let (storage, chunks) = (tempfile::tempdir().unwrap(), chunks());
    let mut node = Process::start_on(storage.path(), &["--recording-grace-secs=600"]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    let (token, mut before) = (recorder.token(), String::new());
    for (part, index) in chunks.chunks(9).zip((0..).step_by(9)) {
        recorder.store_all(index, part).await;
        let is_saved = eventually("a checkpoint of this life", async || {
            saved(storage.path()).filter(|name| *name != before)
        });
        if part.len() == 9 {
            before = is_saved.await;
        }
        node.kill();
        node = Process::start_on(storage.path(), &["--recording-grace-secs=600"]);
        recorder = Recorder::go_on(node.address(), &token).await;
    }
    let told = recorder.stop_and_wait(&chunks).await;
    check_video(node.address(), &told, webm()).await;
    assert_eq!(told["sha256"], undisturbed(&chunks).await["sha256"]);
    nothing_left(storage.path()).await;
}

/// A chunk that comes late is put in when it is there, and those after it then.
#[tokio::test]
async fn the_order_in_which_chunks_come_makes_no_difference() {
    let (storage, chunks) = (tempfile::tempdir().unwrap(), chunks());
    let node = Process::start_on(storage.path(), &[]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    for index in (0..CHUNKS).rev().chain([3, 9]) {
        recorder.store(u32::try_from(index).unwrap(), &chunks[index]).await;
    }
    let told = recorder.stop_and_wait(&chunks).await;
    check_video(node.address(), &told, webm()).await;
    assert_eq!(told["sha256"], undisturbed(&chunks).await["sha256"]);
}

/// What was saved is not believed where it is not whole, or not of this version: the recording is put together anew.
#[tokio::test]
async fn a_checkpoint_that_is_torn_costs_nothing() {
    for spoil in [
        |state: &Path, _: &Path| fs::write(state, b"GRAS").unwrap(),
        |state: &Path, _: &Path| {
            let mut bytes = fs::read(state).unwrap();
            bytes[7] += 1;
            fs::write(state, bytes).unwrap();
        },
        |state: &Path, _: &Path| {
            let bytes = fs::read(state).unwrap();
            fs::write(state, &bytes[..bytes.len() - 1]).unwrap();
        },
        |_: &Path, part: &Path| fs::write(part, b"short").unwrap(),
        |_: &Path, part: &Path| fs::remove_file(part).unwrap(),
    ] {
        let (storage, chunks) = (tempfile::tempdir().unwrap(), chunks());
        let node = Process::start_on(storage.path(), &["--recording-grace-secs=600"]);
        let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
        recorder.store_all(0, &chunks[..12]).await;
        let state = storage.path().join("assembly").join(checkpoint(storage.path()).await);
        node.kill();
        spoil(&state, &state.with_extension("part"));
        let node = Process::start_on(storage.path(), &["--recording-grace-secs=600"]);
        let mut recorder = Recorder::go_on(node.address(), &recorder.token()).await;
        recorder.store_all(12, &chunks[12..]).await;
        let told = recorder.stop_and_wait(&chunks).await;
        check_video(node.address(), &told, webm()).await;
        nothing_left(storage.path()).await;
    }
}

/// Whoever had the file may have stood still in the middle of a write, and wakes when another has completed it. Of MP4 it may write
/// what does not stay; and so may who believes in a chunk that has turned out to be of no use.
#[tokio::test]
async fn what_a_former_owner_still_writes_is_in_nobodys_file() {
    for (media, mime_type, damaged) in [(mp4(), "video/mp4", false), (webm(), "video/webm", true)] {
        let (storage, chunks) = (tempfile::tempdir().unwrap(), cut(media, CHUNKS, 140));
        let node = Process::start_on(storage.path(), &["--recording-grace-secs=600"]);
        let start = json!({ "recordId": "talk", "mimeType": mime_type });
        let mut recorder = Recorder::start(node.address(), start).await;
        recorder.store_all(0, &chunks[..12]).await;
        let part = storage.path().join("assembly").join(checkpoint(storage.path()).await);
        let stale = fs::File::options().write(true).open(part.with_extension("part")).unwrap();
        node.kill();
        if damaged {
            fs::write(storage.path().join("chunks/talk/chunk_00000011"), b"of no use").unwrap();
        }
        let node = Process::start_on(storage.path(), &["--recording-grace-secs=600"]);
        let mut recorder = Recorder::go_on(node.address(), &recorder.token()).await;
        recorder.store_all(12, &chunks[12..]).await;
        let told = recorder.stop_and_wait(&chunks).await;
        let before = video(node.address(), &told).await;
        stale.write_all_at(&[0; 512], 64).unwrap();
        assert!(video(node.address(), &told).await == before);
        assert_eq!(told["complete"], !damaged);
        if !damaged {
            check_video(node.address(), &told, media).await;
        }
    }
}

/// A folder that somebody has emptied is made again.
#[tokio::test]
async fn a_folder_that_is_taken_away_costs_nothing() {
    let (storage, chunks) = (tempfile::tempdir().unwrap(), chunks());
    let node = Process::start_on(storage.path(), &[]);
    for id in ["while-it-comes", "before"] {
        let mut recorder = Recorder::start(node.address(), json!({ "recordId": id })).await;
        if id == "before" {
            fs::remove_dir_all(storage.path().join("assembly")).unwrap();
        }
        recorder.store_all(0, &chunks[..12]).await;
        if id == "while-it-comes" {
            checkpoint(storage.path()).await;
            fs::remove_dir_all(storage.path().join("assembly")).unwrap();
        }
        recorder.store_all(12, &chunks[12..]).await;
        let told = recorder.stop_and_wait(&chunks).await;
        check_video(node.address(), &told, webm()).await;
    }
}

/// What was saved is gone on with: a chunk that is in the file already may be damaged since.
#[tokio::test]
async fn whoever_takes_over_goes_on_from_what_was_saved() {
    let (storage, chunks) = (tempfile::tempdir().unwrap(), chunks());
    let node = Process::start_on(storage.path(), &["--recording-grace-secs=600"]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..12]).await;
    checkpoint(storage.path()).await;
    node.kill();
    let path = storage.path().join("chunks/talk/chunk_00000002");
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let node = Process::start_on(storage.path(), &["--recording-grace-secs=600"]);
    let mut recorder = Recorder::go_on(node.address(), &recorder.token()).await;
    recorder.store_all(12, &chunks[12..]).await;
    let told = recorder.stop_and_wait(&chunks).await;
    check_video(node.address(), &told, webm()).await;
}

/// Bytes that somebody has changed in the file are found when it is read back, and it is made anew by ffmpeg.
#[tokio::test]
async fn a_file_that_is_not_what_was_written_is_not_believed() {
    let (storage, chunks) = (tempfile::tempdir().unwrap(), chunks());
    let node = Process::start_on(storage.path(), &[]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..12]).await;
    let state = storage.path().join("assembly").join(checkpoint(storage.path()).await);
    let part = state.with_extension("part");
    let mut bytes = fs::read(&part).unwrap();
    // In the head, which is read once more at the end: a codec that it is not.
    let codec = bytes.windows(5).position(|word| word == b"V_VP8").unwrap();
    bytes[codec + 4] = b'9';
    fs::write(&part, bytes).unwrap();
    recorder.store_all(12, &chunks[12..]).await;
    let told = recorder.stop_and_wait(&chunks).await;
    check_video(node.address(), &told, webm()).await;
    let made = video(node.address(), &told).await;
    assert!(made.windows(5).any(|word| word == b"V_VP8"), "it says what is in it");
}

/// A chunk that is damaged before its turn comes is told and kept; one that was put in already is in the video.
#[tokio::test]
async fn a_chunk_that_is_damaged_before_its_turn_is_told() {
    let (storage, chunks) = (tempfile::tempdir().unwrap(), chunks());
    let node = Process::start_on(storage.path(), &[]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    for index in (0..CHUNKS).filter(|index| *index != 9) {
        recorder.store(u32::try_from(index).unwrap(), &chunks[index]).await;
    }
    checkpoint(storage.path()).await;
    let path = storage.path().join("chunks/talk/chunk_00000015");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&path, &bytes).unwrap();
    recorder.store(9, &chunks[9]).await;
    recorder.stop(json!({ "chunks": CHUNKS })).await;
    recorder.expect("finished").await;
    let told = recorder.ready().await;
    assert_eq!(told["complete"], false, "{told}");
    assert_eq!(status(node.address(), "talk").await["missingChunks"], json!([15]));
    for index in 0..u32::try_from(CHUNKS).unwrap() {
        assert!(stored(storage.path(), "talk", index).is_some(), "chunk {index} is kept");
    }
}

/// Without ffmpeg there is no picture of it, and what only ffmpeg can make waits.
#[tokio::test]
async fn without_ffmpeg_what_browsers_record_is_ready_all_the_same() {
    let storage = tempfile::tempdir().unwrap();
    let node = Process::start_on(storage.path(), &["--ffmpeg=/nonexistent/ffmpeg"]);
    let chunks = chunks();
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    let told = recorder.stop_and_wait(&chunks).await;
    check_video(node.address(), &told, webm()).await;
    assert_eq!(told["posterUrl"], Value::Null, "{told}");

    let boxes = cut(mp4(), 20, 8);
    let start = json!({ "recordId": "boxes", "mimeType": "video/mp4" });
    let mut recorder = Recorder::start(node.address(), start).await;
    recorder.store_all(0, &boxes).await;
    let told = recorder.stop_and_wait(&boxes).await;
    check_video(node.address(), &told, mp4()).await;

    let mut mixed = Recorder::start(node.address(), json!({ "recordId": "mixed" })).await;
    mixed.store(0, webm()).await;
    let length = u32::try_from(mp4().len()).unwrap();
    mixed.send_bytes(frame_of(1, 1, length, crc32c::crc32c(mp4()), mp4())).await;
    mixed.expect_ack(1).await;
    mixed.stop(json!({ "chunks": 2 })).await;
    mixed.expect("finished").await;
    let error = mixed.wait_for("recordingError").await;
    assert_eq!(error["code"], "merging_unavailable", "{error}");
    nothing_left(storage.path()).await;
}

/// Of a recording that is deleted or aborted nothing stays that was put together of it.
#[tokio::test]
async fn what_grew_of_a_recording_goes_with_it() {
    let (storage, chunks) = (tempfile::tempdir().unwrap(), chunks());
    let node = Process::start_on(storage.path(), &[]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    checkpoint(storage.path()).await;
    recorder.send(json!({ "type": "abort", "recordId": "talk" })).await;
    nothing_left(storage.path()).await;
    // Nor does what is told late begin it anew.
    eventually("nobody knows of it", async || {
        (get(node.address(), "/recordings/talk/status").await.status == 404).then_some(())
    })
    .await;
    recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    let told = recorder.stop_and_wait(&chunks).await;
    check_video(node.address(), &told, webm()).await;
    nothing_left(storage.path()).await;
}

/// A disk that has room for chunks and none for what is made of them: nothing is lost, and what could not be put together while it
/// came is when there is room.
#[tokio::test]
async fn a_disk_that_is_full_while_it_comes_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("disk");
    let Some(_disk) = SmallDisk::mount(&at, "6m") else { return };
    let chunks = chunks();
    let node = Process::start_on(&at, &["--min-free-bytes=0"]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..12]).await;
    checkpoint(&at).await;
    fill(&at.join("filler"));
    recorder.chunk(12, &chunks[12]).await;
    recorder.expect_chunk_error("storage_full").await;
    fs::remove_file(at.join("filler")).unwrap();
    recorder.store_all(12, &chunks[12..]).await;
    let told = recorder.stop_and_wait(&chunks).await;
    check_video(node.address(), &told, webm()).await;
    let row = ready(node.address(), "talk").await;
    assert_eq!(row["sha256"], undisturbed(&chunks).await["sha256"]);
}

/// Whoever waits for a long video is told at once, and of its digest when it is there; the same in its row.
#[tokio::test]
async fn a_digest_that_would_take_long_follows() {
    let (storage, chunks) = (tempfile::tempdir().unwrap(), chunks());
    let limit = format!("--hashed-at-once-bytes={}", webm().len() / 2);
    let node = Process::start_on(storage.path(), &[&limit]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    let told = recorder.stop_and_wait(&chunks).await;
    assert_eq!((&told["sha256"], &told["complete"]), (&Value::Null, &json!(true)), "{told}");
    let row = eventually("its digest is there", async || {
        let row = status(node.address(), "talk").await;
        row["sha256"].is_string().then_some(row)
    })
    .await;
    check_video(node.address(), &row, webm()).await;
    node.kill();
    let node = Process::start_on(storage.path(), &[&limit]);
    assert_eq!(ready(node.address(), "talk").await["sha256"], row["sha256"], "it is in the catalog");
}

/// Its picture is made before anybody waits for it.
#[tokio::test]
async fn a_longer_one_has_its_picture_while_it_is_recorded() {
    let (storage, chunks) = (tempfile::tempdir().unwrap(), chunks());
    let node = Process::start_on(storage.path(), &[]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..20]).await;
    eventually("its picture is there", async || {
        let picture = storage.path().join("assembly").join(growing(storage.path(), ".jpg").pop()?);
        fs::metadata(picture).is_ok_and(|picture| picture.len() > 0).then_some(())
    })
    .await;
    recorder.store_all(20, &chunks[20..]).await;
    let told = recorder.stop_and_wait(&chunks).await;
    let path = format!("GET {}", told["posterUrl"].as_str().expect("a link"));
    let picture = send(node.address(), &path, &[], b"").await;
    assert_eq!((picture.status, picture.body.get(..2)), (200, Some(&[0xff, 0xd8][..])), "JPEG");
}

/// A picture of four megabytes that comes in halves, in many recordings at once: what is held of them is bounded, and each is whole
/// in the end.
#[tokio::test]
async fn many_halves_of_large_pictures_are_not_all_held() {
    const HALF: usize = 3_900_000;
    const HELD: usize = greenroom::protocol::limits::UNFINISHED_BYTES_MAX / HALF;
    let storage = tempfile::tempdir().unwrap();
    let node = Process::start_on(storage.path(), &[]);
    // A Cluster without a size at 3.2 s, and in it a SimpleBlock of track 1 with all of the picture.
    let mut first = webm().to_vec();
    first.extend(b"\x1f\x43\xb6\x75\x01\xff\xff\xff\xff\xff\xff\xff\xe7\x82\x0c\x80\xa3\x01\0\0\0");
    first.extend(u32::try_from(HALF + 1000 + 4).unwrap().to_be_bytes());
    first.extend(b"\x81\0\0\x80");
    first.extend(vec![0; HALF]);
    let second = vec![0; 1000];
    let begun = |upload: &Upload| {
        let parts = growing(storage.path(), ".part").into_iter();
        parts.filter(|name| name.starts_with(&format!("{}.", upload.id))).count() == 1
    };
    let mut uploads = Vec::new();
    for number in 0..HELD + 3 {
        let (upload, _) =
            Upload::start(node.address(), json!({ "recordId": format!("talk-{number}") })).await;
        assert_eq!(upload.put(0, &first).await.status, 200);
        if number < HELD {
            eventually("it is begun", async || begun(&upload).then_some(())).await;
        }
        uploads.push(upload);
    }
    // What comes after them is followed all the same, so they have had their turns.
    let (last, _) = Upload::start(node.address(), json!({ "recordId": "last" })).await;
    assert_eq!(last.put(0, webm()).await.status, 200);
    eventually("the last is begun", async || begun(&last).then_some(())).await;
    eventually("no more is held than may be", async || {
        (uploads.iter().filter(|upload| begun(upload)).count() <= HELD).then_some(())
    })
    .await;
    for upload in &uploads {
        assert_eq!(upload.put(1, &second).await.status, 200);
        assert_eq!(upload.stop(json!({ "chunks": 2 })).await.status, 202);
    }
    for upload in &uploads {
        let row = ready(node.address(), &upload.id).await;
        assert_eq!((&row["complete"], &row["gaps"]), (&json!(true), &json!([])), "{row}");
    }
}
