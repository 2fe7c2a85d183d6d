//! Storage that is damaged, or may not be written.

use std::{fs, process::Output};

use serde_json::json;

use crate::{
    stored,
    support::{
        BY_FFMPEG, Process, Recorder, check_video, cut, eventually, get, greenroom, ready, send, status, webm,
    },
};

fn run_to_its_end(flags: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    greenroom(folder.path()).args(["--port=0", "--host=127.0.0.1"]).args(flags).output().unwrap()
}

fn one_sentence(output: &Output, names: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.trim_end().lines().last().unwrap_or_default();
    assert!(last.starts_with("greenroom: ") && last.contains(names), "{text}");
    assert!(!text.contains("panick"), "{text}");
}

#[test]
fn a_storage_that_cannot_be_used_stops_the_start_with_a_sentence() {
    one_sentence(&run_to_its_end(&["--storage-local-path=/proc/nowhere"]), "/proc/nowhere");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "no folder").unwrap();
    one_sentence(&run_to_its_end(&[&format!("--storage-local-path={}", file.display())]), "file");
}

#[test]
fn a_catalog_that_cannot_be_used_stops_the_start_with_a_sentence() {
    let storage = tempfile::tempdir().unwrap();
    fs::write(storage.path().join("recordings.db"), vec![0x5a; 8192]).unwrap();
    let flag = format!("--storage-local-path={}", storage.path().display());
    one_sentence(&run_to_its_end(&[&flag]), "DATABASE_URL");
    one_sentence(&run_to_its_end(&["--database-url=sqlite:///proc/nowhere/recordings.db"]), "DATABASE_URL");
}

#[tokio::test]
async fn a_byte_that_changed_on_disk_is_noticed_told_and_kept() {
    let storage = tempfile::tempdir().unwrap();
    let chunks = cut(webm(), 8, 120);
    let node = Process::start_on(storage.path(), &[BY_FFMPEG]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    let path = storage.path().join("chunks/talk/chunk_00000005");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    // In its place: the file keeps its names.
    fs::write(&path, &bytes).unwrap();
    recorder.stop(json!({ "chunks": 8 })).await;
    recorder.expect("finished").await;
    let told = recorder.ready().await;
    assert_eq!(told["complete"], false, "{told}");
    let listed = told["gaps"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|gap| gap["chunks"].as_array().unwrap())
        .any(|chunk| *chunk == 5);
    let row = status(node.address(), "talk").await;
    assert!(listed || row["missingChunks"] == json!([5]), "{told} {row}");
    for index in 0..8 {
        assert!(stored(storage.path(), "talk", index).is_some(), "chunk {index} is kept");
    }
}

#[tokio::test]
async fn a_recording_goes_on_while_the_catalog_is_away() {
    let storage = tempfile::tempdir().unwrap();
    let chunks = cut(webm(), 3, 121);
    let node = Process::start_on(storage.path(), &[]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store(0, &chunks[0]).await;
    // Somebody else holds the database, as a backup does.
    let database = storage.path().join("recordings.db");
    let holder = Holder::of(&database);
    recorder.store_all(1, &chunks[1..]).await;
    recorder.stop(json!({ "chunks": 3 })).await;
    recorder.expect("finished").await;
    let told = recorder.ready().await;
    check_video(node.address(), &told, webm()).await;
    assert!(stored(storage.path(), "talk", 0).is_some(), "chunks go only after the row is written");
    drop(holder);
    eventually("the catalog has followed, and the chunks are gone", async || {
        (stored(storage.path(), "talk", 0).is_none()).then_some(())
    })
    .await;
    let list = get(node.address(), "/recordings?state=ready").await.json();
    assert_eq!(list["recordings"][0]["recordId"], "talk", "{list}");
}

#[tokio::test]
async fn what_ends_while_the_catalog_is_away_is_found_and_keeps_its_name() {
    let storage = tempfile::tempdir().unwrap();
    let node = Process::start_on(storage.path(), &[]);
    let address = node.address();
    let holder = Holder::of(&storage.path().join("recordings.db"));
    let mut recorder = Recorder::start(address, json!({ "recordId": "nothing" })).await;
    recorder.stop(json!({ "chunks": 0 })).await;
    recorder.expect("finished").await;
    recorder.expect_error("empty_recording").await;
    assert!(!storage.path().join("chunks/nothing").exists(), "nothing is left of it");
    let row = status(address, "nothing").await;
    assert_eq!((&row["state"], &row["error"]["code"]), (&json!("failed"), &json!("empty_recording")));
    recorder.ask_to_begin(json!({ "recordId": "nothing" })).await;
    recorder.expect_error("record_id_taken").await;
    drop(holder);
    eventually("the catalog has followed", async || {
        let list = get(address, "/recordings?state=failed").await.json();
        (list["recordings"][0]["recordId"] == "nothing").then_some(())
    })
    .await;
    assert_eq!(status(address, "nothing").await["error"]["code"], "empty_recording");
}

/// As of a folder that was put back without what was in it.
#[tokio::test]
async fn chunks_that_were_stored_and_are_not_there_are_no_empty_recording() {
    let (storage, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let chunks = cut(webm(), 3, 122);
    let node = Process::start_on(storage.path(), &[]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    let folder = storage.path().join("chunks/talk");
    let mut lost = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name();
        if ["chunk_", "mark_"].iter().any(|kind| name.to_string_lossy().starts_with(kind)) {
            fs::rename(folder.join(&name), elsewhere.path().join(&name)).unwrap();
            lost.push(name);
        }
    }
    assert!(lost.len() >= 3, "{lost:?}");
    recorder.stop(json!({ "chunks": 3 })).await;
    recorder.expect("finished").await;
    let error = recorder.wait_for("recordingError").await;
    assert_eq!((&error["code"], &error["retryable"]), (&json!("chunks_lost"), &json!(true)), "{error}");
    assert_eq!(status(node.address(), "talk").await["error"]["code"], "chunks_lost");
    for name in lost {
        fs::rename(elsewhere.path().join(&name), folder.join(&name)).unwrap();
    }
    let told = recorder.ready().await;
    check_video(node.address(), &told, webm()).await;
}

/// A process that has locked a database. Ends when dropped, also when its test fails.
struct Holder(std::process::Child);

impl Holder {
    fn of(database: &std::path::Path) -> Self {
        use std::io::{BufRead as _, BufReader};
        let program = "import sqlite3,sys,time\nc=sqlite3.connect(sys.argv[1],isolation_level=None)\nc.execute('PRAGMA busy_timeout=20000')\nc.execute('BEGIN IMMEDIATE')\nprint('held',flush=True)\ntime.sleep(600)";
        let mut child = std::process::Command::new("python3")
            .args(["-c", program])
            .arg(database)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "held");
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_recording_of_which_the_chunks_were_lost_is_told_as_lost() {
    let storage = tempfile::tempdir().unwrap();
    let node = Process::start_on(storage.path(), &[]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store(0, webm()).await;
    eventually("the catalog knows", async || {
        (get(node.address(), "/recordings").await.json()["recordings"][0]["recordId"] == "talk").then_some(())
    })
    .await;
    node.kill();
    fs::remove_dir_all(storage.path().join("chunks/talk")).unwrap();
    let node = Process::start_on(storage.path(), &[]);
    let row = status(node.address(), "talk").await;
    assert_eq!(row["state"], "failed", "{row}");
    let deleted = send(node.address(), "DELETE /recordings/talk", &[], b"").await;
    assert_eq!(deleted.status, 204);
}

#[tokio::test]
async fn what_a_manifest_says_wrongly_harms_no_other_recording() {
    let storage = tempfile::tempdir().unwrap();
    let chunks = cut(webm(), 2, 122);
    let node = Process::start_on(storage.path(), &[]);
    let mut good = Recorder::start(node.address(), json!({ "recordId": "good" })).await;
    let mut bad = Recorder::start(node.address(), json!({ "recordId": "bad" })).await;
    good.store(0, &chunks[0]).await;
    bad.store(0, &chunks[0]).await;
    node.kill();
    let manifest = fs::read_dir(storage.path().join("chunks/bad"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "json"))
        .unwrap();
    fs::write(manifest, "{ half a").unwrap();
    let node = Process::start_on(storage.path(), &[]);
    let mut again = Recorder::go_on(node.address(), &good.token()).await;
    again.store(1, &chunks[1]).await;
    let told = again.stop_and_wait(&chunks).await;
    check_video(node.address(), &told, webm()).await;
    assert!(stored(storage.path(), "bad", 0).is_some(), "what is not understood is left alone");
    ready(node.address(), "good").await;
}
