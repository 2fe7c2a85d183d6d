//! Rows that are taken along to another catalog.

use std::{path::Path, process::Output};

use serde_json::{Value, json};

use crate::support::{Postgres, Process, Recorder, eventually, get, greenroom, metric, ready, video, webm};

fn import(from: &str, to: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let flags = [format!("--import-catalog={from}"), format!("--database-url={to}")];
    greenroom(folder.path()).args(flags).output().expect("the binary starts")
}

async fn rows(node: &Process) -> Vec<Value> {
    get(node.address(), "/recordings").await.json()["recordings"].as_array().unwrap().clone()
}

/// Records two on this storage, and gives what its library has then.
async fn recorded(storage: &Path) -> Vec<Value> {
    let node = Process::start_on(storage, &[]);
    for id in ["one", "two"] {
        let mut recorder = Recorder::start(node.address(), json!({ "recordId": id, "title": "" })).await;
        recorder.store(0, webm()).await;
        recorder.stop(json!({ "chunks": 1 })).await;
        ready(node.address(), id).await;
    }
    // The chunks go after the row.
    eventually("the rows are there", async || {
        let merged = metric(node.address(), r#"greenroom_cleanups_total{outcome="merged"}"#).await;
        (merged == 2.0).then_some(())
    })
    .await;
    rows(&node).await
}

#[tokio::test]
async fn rows_are_taken_along_to_another_catalog_and_videos_stay_where_they_are() {
    if !Postgres::is_here() {
        return;
    }
    let (storage, postgres) = (tempfile::tempdir().unwrap(), Postgres::start().await);
    postgres.create("greenroom").await;
    let url = postgres.url("greenroom");
    let before = recorded(storage.path()).await;
    let from = format!("sqlite://{}/recordings.db", storage.path().display());
    let words = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let first = import(&from, &url);
    assert!(first.status.success(), "{first:?}");
    assert_eq!(words(&first), "greenroom: 2 rows taken; of 0 there were newer ones\n");
    assert!(import(&from, &url).status.success(), "again is harmless");

    let node = Process::start_on(storage.path(), &[&format!("--database-url={url}")]);
    assert_eq!(rows(&node).await, before);
    for row in &before {
        assert_eq!(video(node.address(), row).await.len() as u64, row["sizeBytes"].as_u64().unwrap());
    }
}

#[test]
fn a_catalog_that_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.db");
    let to = format!("sqlite://{}/new.db", folder.path().display());
    let output = import(&format!("sqlite://{}", missing.display()), &to);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("greenroom: --import-catalog cannot be opened: "), "{said}");
    assert!(!missing.exists());
}
