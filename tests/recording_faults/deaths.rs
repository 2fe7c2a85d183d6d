//! A node that dies, and its next life on the same storage.

use std::path::Path;

use serde_json::json;

use crate::{
    stored,
    support::{
        BY_FFMPEG, Chance, Process, Recorder, Upload, check_video, cut, eventually, get, names, ready, send,
        stand_in, state, try_download, webm,
    },
};

#[tokio::test]
async fn a_recording_goes_on_in_the_next_life_of_its_node() {
    let storage = tempfile::tempdir().unwrap();
    let chunks = cut(webm(), 9, 100);
    let node = Process::start_on(storage.path(), &[]);
    let mut recorder =
        Recorder::start(node.address(), json!({ "recordId": "talk", "title": "A talk" })).await;
    for index in [0, 1, 2, 4] {
        recorder.store(index, &chunks[index as usize]).await;
    }
    // Some are on their way when it happens.
    recorder.chunk(5, &chunks[5]).await;
    recorder.chunk(6, &chunks[6]).await;
    node.kill();
    let token = recorder.token();
    assert_eq!(recorder.hear_out().await.1, None, "no word of farewell");

    let node = Process::start_on(storage.path(), &[]);
    let mut again = Recorder::go_on(node.address(), &token).await;
    assert_eq!((&again.started["recordId"], &again.started["state"]), (&json!("talk"), &json!("recording")));
    let missing: Vec<u64> = serde_json::from_value(again.started["missing"].clone()).unwrap();
    assert!(missing.contains(&3) && !missing.iter().any(|index| [0, 1, 2, 4].contains(index)), "{missing:?}");
    assert!((5..=7).contains(&again.started["nextIndex"].as_u64().unwrap()));
    // What it has it takes again.
    again.store_all(0, &chunks).await;
    let told = again.stop_and_wait(&chunks).await;
    check_video(node.address(), &told, webm()).await;
    let row = ready(node.address(), "talk").await;
    assert_eq!((&row["title"], &row["chunks"]), (&json!("A talk"), &json!(9)));
}

#[tokio::test]
async fn a_recording_whose_recorder_never_returns_is_finalised_in_the_next_life() {
    let storage = tempfile::tempdir().unwrap();
    let chunks = cut(webm(), 4, 101);
    let node = Process::start_on(storage.path(), &[]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    node.kill();
    let node = Process::start_on(storage.path(), &["--recording-grace-secs=1"]);
    let row = ready(node.address(), "talk").await;
    check_video(node.address(), &row, webm()).await;
}

/// A recording was finalised without its recorder; a late chunk is acknowledged, and the node dies in that moment.
#[tokio::test]
async fn a_chunk_acknowledged_after_the_video_is_in_the_next_one() {
    let chunks = cut(webm(), 4, 102);
    let grace = "--recording-grace-secs=1";
    for _ in 0..3 {
        let storage = tempfile::tempdir().unwrap();
        let node = Process::start_on(storage.path(), &[grace]);
        let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
        recorder.store_all(0, &chunks[..3]).await;
        let upload = Upload::of(node.address(), &recorder.token());
        drop(recorder);
        ready(node.address(), "talk").await;
        assert_eq!(upload.put(3, &chunks[3]).await.status, 200);
        node.kill();

        let node = Process::start_on(storage.path(), &[grace]);
        let row = eventually("the second version", async || {
            let row = ready(node.address(), "talk").await;
            (row["version"] == 2).then_some(row)
        })
        .await;
        check_video(node.address(), &row, webm()).await;
    }
}

/// How many merges have a folder.
fn merges(storage: &Path) -> usize {
    let folders = storage.join("tmp").read_dir().into_iter().flatten();
    folders.map(|entry| entry.unwrap().path().read_dir().map_or(0, Iterator::count)).sum()
}

#[tokio::test]
async fn a_merge_that_died_with_its_node_is_done_again() {
    let storage = tempfile::tempdir().unwrap();
    let programs = tempfile::tempdir().unwrap();
    let slow = stand_in(programs.path(), "sleep 30; exec ffmpeg \"$@\"");
    let chunks = cut(webm(), 4, 102);
    let node = Process::start_on(storage.path(), &[&slow, BY_FFMPEG]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    recorder.stop(json!({ "chunks": 4, "bytes": webm().len() })).await;
    recorder.expect("finished").await;
    state(node.address(), "talk", "finalising").await;
    eventually("the merge is under way", async || (merges(storage.path()) > 0).then_some(())).await;
    node.kill();

    let node = Process::start_on(storage.path(), &[]);
    let mut again = Recorder::go_on(node.address(), &recorder.token()).await;
    if again.started["state"] == "finalising" {
        assert_eq!(again.expect("finished").await["chunks"], 4, "it need not count again");
    }
    let told = again.ready().await;
    assert_eq!(told["version"], 1);
    check_video(node.address(), &told, webm()).await;
    let list = get(node.address(), "/recordings").await.json();
    assert_eq!(list["recordings"].as_array().map(Vec::len), Some(1), "{list}");
    // Once its row is written nothing else is left, neither of the one nor of the other try.
    eventually("nothing but the video is left", async || {
        let chunks = storage.path().join("chunks").read_dir().map_or(0, Iterator::count);
        (chunks == 0 && merges(storage.path()) == 0).then_some(())
    })
    .await;
}

/// Killed right after an acknowledgement, over and over, as fast as it can be.
#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_at_any_moment() {
    let storage = tempfile::tempdir().unwrap();
    let chunks = cut(webm(), 40, 103);
    let mut chance = Chance(103);
    let (mut token, mut acked) = (None::<String>, Vec::new());
    for life in 0..4 {
        let node = Process::start_on(storage.path(), &["--recording-grace-secs=600"]);
        let mut recorder = match &token {
            None => Recorder::start(node.address(), json!({ "recordId": "talk" })).await,
            Some(token) => Recorder::go_on(node.address(), token).await,
        };
        token = Some(recorder.token());
        let missing: Vec<u32> = serde_json::from_value(recorder.started["missing"].clone()).unwrap();
        let next = recorder.started["nextIndex"].as_u64().unwrap();
        for &index in &acked {
            assert_eq!(
                stored(storage.path(), "talk", index),
                Some(chunks[index as usize].clone()),
                "life {life}"
            );
            assert!(
                u64::from(index) < next && !missing.contains(&index),
                "{index} is known: {}",
                recorder.started
            );
        }
        let mut rest: Vec<u32> = (0..40).filter(|index| !acked.contains(index)).collect();
        chance.shuffle(&mut rest);
        rest.truncate(8);
        let hear = 1 + chance.below(6);
        for &index in &rest {
            recorder.chunk(index, &chunks[index as usize]).await;
        }
        acked.extend(recorder.expect_acks(hear).await);
        node.kill();
        // What was said before its death is heard after it, and counts.
        for event in recorder.hear_out().await.0 {
            acked.push(event["index"].as_u64().unwrap().try_into().unwrap());
        }
    }
    let node = Process::start_on(storage.path(), &["--recording-grace-secs=600"]);
    let mut recorder = Recorder::go_on(node.address(), &token.unwrap()).await;
    for index in (0..40).filter(|index| !acked.contains(index)) {
        recorder.store(index, &chunks[index as usize]).await;
    }
    let told = recorder.stop_and_wait(&chunks).await;
    check_video(node.address(), &told, webm()).await;
}

#[tokio::test]
async fn a_node_that_is_told_to_go_tells_its_recorders() {
    let storage = tempfile::tempdir().unwrap();
    let chunks = cut(webm(), 4, 104);
    let mut node = Process::start_on(storage.path(), &["--drain-deadline-secs=10"]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..3]).await;
    node.signal("TERM");
    let token = recorder.token();
    let (_, closed) = recorder.hear_out().await;
    assert_eq!(closed, Some((1001, "draining".to_owned())));
    assert!(node.ended().await.success(), "{}", node.logs());
    assert!(!node.logs().contains("panic"), "{}", node.logs());

    let node = Process::start_on(storage.path(), &[]);
    let mut again = Recorder::go_on(node.address(), &token).await;
    assert_eq!(again.started["nextIndex"], 3);
    again.store(3, &chunks[3]).await;
    let told = again.stop_and_wait(&chunks).await;
    check_video(node.address(), &told, webm()).await;
}

#[tokio::test]
async fn a_node_that_is_told_to_go_while_it_merges_leaves_the_merge_to_the_next_life() {
    let storage = tempfile::tempdir().unwrap();
    let programs = tempfile::tempdir().unwrap();
    let slow = stand_in(programs.path(), "sleep 30; exec ffmpeg \"$@\"");
    let chunks = cut(webm(), 2, 105);
    let mut node = Process::start_on(storage.path(), &[&slow, BY_FFMPEG, "--drain-deadline-secs=1"]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    recorder.stop(json!({ "chunks": 2 })).await;
    recorder.expect("finished").await;
    node.signal("TERM");
    assert!(node.ended().await.success(), "{}", node.logs());
    assert!(!node.logs().contains("panic"), "{}", node.logs());
    let node = Process::start_on(storage.path(), &[]);
    let row = ready(node.address(), "talk").await;
    check_video(node.address(), &row, webm()).await;
}

/// What is cleared away after the answer is no recording's any more, so a node that dies then leaves nothing that comes back.
#[tokio::test]
async fn files_of_a_deleted_recording_go_in_the_next_life_of_the_node() {
    let storage = tempfile::tempdir().unwrap();
    let mut node = Process::start_on(storage.path(), &["--crash-at=remove.begun"]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &cut(webm(), 4, 107)).await;
    let bearer = format!("Bearer {}", recorder.token());
    let head =
        format!("Host: node\r\nConnection: close\r\nAuthorization: {bearer}\r\nContent-Length: 0\r\n\r\n");
    let request = format!("DELETE /recordings/talk HTTP/1.1\r\n{head}");
    // It may be answered or not: that is a race with the end.
    let _ = try_download(node.address(), request.as_bytes()).await;
    node.ended().await;
    let left = names(&storage.path().join("chunks"));
    assert!(
        left.iter().all(|name| name.starts_with('.')) && left.len() == 1,
        "no recording, and not cleared away: {left:?}"
    );

    let node = Process::start_on(storage.path(), &[]);
    assert!(names(&storage.path().join("chunks")).is_empty());
    let again = send(node.address(), "DELETE /recordings/talk", &[("Authorization", &bearer)], b"").await;
    assert!([204, 404].contains(&again.status), "{again:?}");
    assert_eq!(get(node.address(), "/recordings/talk/status").await.status, 404);
    assert_eq!(get(node.address(), "/recordings").await.json()["recordings"], json!([]));
}
