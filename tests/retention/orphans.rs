//! What belongs to nothing.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use serde_json::json;

use crate::{
    after_sweeps, chunks, logged, make_old, node, record,
    s3::S3Server,
    support::{Process, Recorder, cut, eventually, metric, ready, video, webm},
    swept, videos,
};

#[tokio::test]
async fn chunks_that_no_recording_has_go_when_they_are_old() {
    let storage = tempfile::tempdir().unwrap();
    let node = node(storage.path(), &["--reopen-secs=0"]);
    record(node.address(), "known").await;
    eventually("its account is closed", async || {
        (metric(node.address(), r#"greenroom_cleanups_total{outcome="forgotten"}"#).await == 1.0)
            .then_some(())
    })
    .await;
    for id in ["old", "young", "known", "foreign"] {
        let folder = chunks(storage.path(), id);
        fs::create_dir_all(&folder).unwrap();
        let name = if id == "foreign" { "notes.txt" } else { "chunk_00000000" };
        fs::write(folder.join(name), "alone").unwrap();
        fs::write(folder.join("mark_00000000_5_0000abcd_1_-"), "").unwrap();
        if id != "young" {
            make_old(&folder);
        }
    }
    eventually("the old ones go", async || (!chunks(storage.path(), "old").exists()).then_some(())).await;
    after_sweeps(node.address(), "done", 2.0).await;
    assert!(chunks(storage.path(), "young").exists(), "somebody may be at them");
    assert!(chunks(storage.path(), "known").exists(), "the catalog knows of it");
    assert!(chunks(storage.path(), "foreign").exists(), "these are none of ours");
    assert_eq!(swept(node.address(), "orphaned_chunks", 1.0).await, 5.0);
    logged(&node, "recording=old").await;
}

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Two stores, one rule.
#[tokio::test]
async fn chunks_in_a_bucket_that_no_recording_has_go_when_they_are_old() {
    let (storage, server) = (tempfile::tempdir().unwrap(), S3Server::start());
    let lose = |id: &str, age: Duration| {
        let folder = server.file(&format!("chunks/{id}"));
        fs::create_dir_all(&folder).unwrap();
        for name in ["chunk_00000000", "mark_00000000_5_0000abcd_1_-_aaaaaaaaaaaaaaaa"] {
            let bytes = if name.starts_with("chunk") { "alone" } else { "" };
            fs::write(folder.join(name), bytes).unwrap();
            let file = fs::File::open(folder.join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        }
    };
    lose("young", 23 * HOUR);
    lose("old", 25 * HOUR);
    let flags = server.flags("S3");
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let node = node(storage.path(), &flags);
    eventually("the old ones go", async || {
        server.keys().iter().all(|key| !key.starts_with("chunks/old/")).then_some(())
    })
    .await;
    after_sweeps(node.address(), "done", 2.0).await;
    assert_eq!(server.keys().iter().filter(|key| key.starts_with("chunks/young/")).count(), 2);
    assert_eq!(swept(node.address(), "orphaned_chunks", 1.0).await, 5.0);
    swept(node.address(), "half_written", 0.0).await;
    logged(&node, "recording=old").await;
}

#[tokio::test]
async fn a_recording_without_an_account_gets_it_back() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let parts = cut(webm(), 3, 312);
    let elsewhere = Process::start_on(first.path(), &["--recording-grace-secs=600"]);
    let mut recorder = Recorder::start(elsewhere.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &parts).await;
    elsewhere.kill();

    // As if its account had been lost: the node has begun without it.
    let node = node(second.path(), &[]);
    let (from, to) = (chunks(first.path(), "talk"), chunks(second.path(), "talk"));
    fs::rename(&from, &to).unwrap();
    make_old(&to);
    // Whoever asked for it would have it put back.
    eventually("its video is made", async || (!videos(second.path()).is_empty()).then_some(())).await;
    let row = ready(node.address(), "talk").await;
    assert_eq!((&row["complete"], &row["chunks"]), (&json!(true), &json!(3)));
    swept(node.address(), "orphaned_chunks", 0.0).await;
}

#[tokio::test]
async fn videos_that_no_row_names_go_when_they_are_old() {
    let storage = tempfile::tempdir().unwrap();
    let node = node(storage.path(), &[]);
    let shown = record(node.address(), "talk").await;
    let folder = storage.path().join("recordings");
    let named = videos(storage.path());
    assert_eq!(named.len(), 2, "a video and its poster: {named:?}");
    let fence: u64 = shown["key"].as_str().unwrap().split('.').nth(1).unwrap().parse().unwrap();
    let (earlier, later) = (format!("talk.{}.webm", fence - 1), format!("talk.{}.webm", fence + 1));
    let stay = [later.as_str(), "young.1.webm", "notes.txt"];
    let go = [earlier.as_str(), "deleted.1.webm"];
    for name in stay.iter().chain(&go) {
        fs::write(folder.join(name), "a try").unwrap();
    }
    for name in named.iter().map(String::as_str).chain([later.as_str(), "notes.txt"]).chain(go) {
        make_old(&folder.join(name));
    }
    eventually("they go", async || go.iter().all(|name| !folder.join(name).exists()).then_some(())).await;
    after_sweeps(node.address(), "done", 2.0).await;
    let mut left: Vec<_> = named.into_iter().chain(stay.map(str::to_owned)).collect();
    left.sort();
    assert_eq!(videos(storage.path()), left);
    assert_eq!(swept(node.address(), "orphaned_video", 2.0).await, 10.0);
    assert_eq!(video(node.address(), &shown).await.len() as u64, shown["sizeBytes"].as_u64().unwrap());
}

/// Whoever has the catalog of another installation, or an empty one, does not lose its videos because of it.
#[tokio::test]
async fn a_catalog_that_knows_hardly_any_video_is_not_believed() {
    let storage = tempfile::tempdir().unwrap();
    let folder = storage.path().join("recordings");
    fs::create_dir_all(&folder).unwrap();
    for number in 0..5 {
        let path = folder.join(format!("talk-{number}.1.webm"));
        fs::write(&path, "a video").unwrap();
        make_old(&path);
    }
    let node = node(storage.path(), &[]);
    record(node.address(), "new").await;
    for name in videos(storage.path()) {
        make_old(&folder.join(name));
    }
    after_sweeps(node.address(), "done", 2.0).await;
    assert_eq!(videos(storage.path()).len(), 7);
    logged(&node, "is it the right one").await;
}

#[tokio::test]
async fn what_was_half_written_goes_when_it_is_old() {
    let storage = tempfile::tempdir().unwrap();
    let node = node(storage.path(), &[]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store(0, webm()).await;
    let folders = [chunks(storage.path(), "talk"), storage.path().join("recordings")];
    for folder in &folders {
        for (name, old) in [(".partial-old", true), (".partial-young", false)] {
            fs::write(folder.join(name), "half a").unwrap();
            if old {
                make_old(&folder.join(name));
            }
        }
    }
    eventually("they go", async || {
        folders.iter().all(|folder| !folder.join(".partial-old").exists()).then_some(())
    })
    .await;
    assert_eq!(swept(node.address(), "half_written", 2.0).await, 12.0);
    assert!(folders.iter().all(|folder| folder.join(".partial-young").exists()));
    recorder.stop(json!({ "chunks": 1 })).await;
    ready(node.address(), "talk").await;
}
