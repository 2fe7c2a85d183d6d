//! What belongs to nothing.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use greenroom::adapters::catalog;
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};

use crate::{
    after_sweeps, chunks, logged, node, record,
    s3::S3Server,
    support::{
        Process, Recorder, cut, eventually, make_old, make_older, metric, ready, state_now, video, videos,
        webm,
    },
    swept,
};

/// Waits until so many recordings are over for good.
async fn closed(address: SocketAddr, recordings: u32) {
    eventually("their accounts are closed", async || {
        let closed = metric(address, r#"greenroom_cleanups_total{outcome="forgotten"}"#).await;
        (closed == f64::from(recordings)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn chunks_that_no_recording_has_go_when_they_are_old() {
    let storage = tempfile::tempdir().unwrap();
    let node = node(storage.path(), &["--reopen-secs=0"]);
    record(node.address(), "known").await;
    closed(node.address(), 1).await;
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
    assert_eq!(node.logs().matches("they stay").count(), 1, "that is told once");
    assert_eq!(swept(node.address(), "orphaned_chunks", 1.0).await, 5.0);
    logged(&node, "recording=old").await;
}

/// Records something whole, and leaves its chunks where they were, as a store does that fails when they are to go.
async fn left_behind(storage: &Path) {
    let node = node(storage, &["--reopen-secs=0", "--cleanup-chunks=false"]);
    record(node.address(), "talk").await;
    closed(node.address(), 1).await;
    make_old(&chunks(storage, "talk"));
}

#[tokio::test]
async fn chunks_that_are_in_a_video_go_when_they_are_old() {
    let storage = tempfile::tempdir().unwrap();
    left_behind(storage.path()).await;
    let node = node(storage.path(), &[]);
    assert!(swept(node.address(), "orphaned_chunks", 1.0).await > 10_000.0);
    logged(&node, "recording=talk").await;
    assert!(!chunks(storage.path(), "talk").exists());
}

/// A row that was put back from a backup speaks of an earlier version, or of a video that is not there any more.
#[tokio::test]
async fn chunks_stay_where_the_video_is_gone_or_the_row_is_of_an_earlier_version() {
    let (without_video, earlier) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for storage in [&without_video, &earlier] {
        left_behind(storage.path()).await;
    }
    for name in videos(without_video.path()) {
        fs::remove_file(without_video.path().join("recordings").join(name)).unwrap();
    }
    sql(earlier.path(), "UPDATE recordings SET version = 0").await;
    for storage in [without_video, earlier] {
        let node = node(storage.path(), &[]);
        after_sweeps(node.address(), "done", 3.0).await;
        assert!(chunks(storage.path(), "talk").exists());
        swept(node.address(), "orphaned_chunks", 0.0).await;
    }
}

/// Does one statement on the catalog of this storage, whose node is stopped.
async fn sql(storage: &Path, statement: &'static str) {
    let url = catalog::sqlite_url(&storage.join("recordings.db"));
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
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
            make_older(&folder.join(name), age);
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
async fn videos_and_posters_of_overtaken_claims_go_when_they_are_old() {
    let storage = tempfile::tempdir().unwrap();
    let node = node(storage.path(), &[]);
    let shown = record(node.address(), "talk").await;
    let folder = storage.path().join("recordings");
    let named = videos(storage.path());
    assert_eq!(named.len(), 2, "a video and its poster: {named:?}");
    let fence: u64 = shown["key"].as_str().unwrap().split('.').nth(1).unwrap().parse().unwrap();
    let go = ["webm", "jpg", "mp4", "00000000000000ab.mkv"].map(|kind| format!("talk.{}.{kind}", fence - 1));
    let (later, mp4) = (format!("talk.{}.webm", fence + 1), format!("talk.{fence}.mp4"));
    // Of a recording of this name that another catalog knew; of one of which nothing is known; and of no version of ours.
    // What was made of the video that the row names is no row's, and stays with it.
    let stay =
        [later.as_str(), mp4.as_str(), "talk.1.webm", "talk.mp4", "lost.1.webm", "lost.1.jpg", "notes.txt"];
    for name in go.iter().map(String::as_str).chain(stay) {
        fs::write(folder.join(name), "a try").unwrap();
    }
    for name in go.iter().map(String::as_str).chain(stay).chain(named.iter().map(String::as_str)) {
        make_old(&folder.join(name));
    }
    eventually("they go", async || go.iter().all(|name| !folder.join(name).exists()).then_some(())).await;
    after_sweeps(node.address(), "done", 2.0).await;
    let mut left: Vec<_> = named.into_iter().chain(stay.map(str::to_owned)).collect();
    left.sort();
    assert_eq!(videos(storage.path()), left);
    assert_eq!(swept(node.address(), "orphaned_video", 4.0).await, 20.0);
    assert_eq!(video(node.address(), &shown).await.len() as u64, shown["sizeBytes"].as_u64().unwrap());
}

/// Whoever has the catalog of another installation, or an empty one, does not lose its videos because of it, however much that
/// catalog comes to know.
#[tokio::test]
async fn videos_that_the_catalog_could_not_know_stay() {
    let storage = tempfile::tempdir().unwrap();
    let folder = storage.path().join("recordings");
    fs::create_dir_all(&folder).unwrap();
    let others: Vec<_> = ["a.1.webm", "a.1.jpg", "b.2.webm", "c.1.mp4", "new-0.1.webm"].into();
    for name in &others {
        fs::write(folder.join(name), "a video").unwrap();
        make_old(&folder.join(name));
    }
    let node = node(storage.path(), &[]);
    logged(&node, "is it the right one").await;
    for number in 0..6 {
        record(node.address(), &format!("new-{number}")).await;
    }
    for name in videos(storage.path()) {
        make_old(&folder.join(name));
    }
    after_sweeps(node.address(), "done", 3.0).await;
    let left = videos(storage.path());
    assert_eq!(left.len(), 12 + others.len(), "{left:?}");
    swept(node.address(), "orphaned_video", 0.0).await;
}

/// Of what was recorded since the backup the catalog knows nothing, and of the rest everything.
#[tokio::test]
async fn videos_stay_after_the_catalog_was_put_back_from_a_backup() {
    let storage = tempfile::tempdir().unwrap();
    let (database, backup) = (storage.path().join("recordings.db"), storage.path().join("backup.db"));
    let first = node(storage.path(), &["--reopen-secs=0"]);
    for id in ["a", "b", "c"] {
        record(first.address(), id).await;
    }
    closed(first.address(), 3).await;
    drop(first);
    sql(storage.path(), "PRAGMA wal_checkpoint(TRUNCATE)").await;
    fs::copy(&database, &backup).unwrap();
    let second = node(storage.path(), &["--reopen-secs=0"]);
    record(second.address(), "since").await;
    closed(second.address(), 1).await;
    drop(second);
    for log in ["recordings.db-wal", "recordings.db-shm"] {
        let _ = fs::remove_file(storage.path().join(log));
    }
    fs::rename(&backup, &database).unwrap();
    let before = videos(storage.path());
    for name in &before {
        make_old(&storage.path().join("recordings").join(name));
    }
    let third = node(storage.path(), &[]);
    logged(&third, "videos of which the catalog knows nothing").await;
    after_sweeps(third.address(), "done", 2.0).await;
    assert_eq!(videos(storage.path()), before);
    assert_eq!(state_now(third.address(), "since").await, Value::Null);
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

#[tokio::test]
async fn what_merges_of_nodes_have_left_that_never_came_back_goes_when_it_is_old() {
    let storage = tempfile::tempdir().unwrap();
    let merges = storage.path().join("tmp");
    let work = |node: &str, file: &str| {
        let folder = merges.join(node).join("talk-7");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(file), "half a video").unwrap();
        folder.join(file)
    };
    let (gone, idle, slow) =
        (work("merges-gone", "a.webm"), work("merges-idle", "a.webm"), work("merges-slow", "a.webm"));
    // One merge has begun long ago, and still writes.
    for file in [&gone, &idle] {
        make_old(file);
    }
    // Another of that node is just at work.
    let busy = merges.join("merges-idle").join("song-8");
    fs::create_dir_all(&busy).unwrap();
    let others = work("of-another-program", "a.webm");
    make_old(&others);
    for folder in [gone.parent(), idle.parent(), slow.parent(), others.parent()] {
        make_old(folder.unwrap());
        make_old(folder.unwrap().parent().unwrap());
    }
    let node = node(storage.path(), &[]);
    let left = |node: &str| merges.join(node).exists();
    eventually("it goes", async || (!left("merges-gone") && !idle.exists()).then_some(())).await;
    assert!(slow.exists() && busy.exists() && others.exists());
    assert_eq!(swept(node.address(), "half_written", 2.0).await, 24.0);
    record(node.address(), "talk").await;
}
