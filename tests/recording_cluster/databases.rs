//! A catalog in PostgreSQL that goes away: recordings go on, and their rows follow.

use serde_json::{Value, json};

use crate::{
    chunk_folders,
    support::{
        Cluster, Postgres, Recorder, Redis, Upload, check_video, cut, eventually, get, send, status, webm,
    },
    worker,
};

/// So many nodes on one database.
async fn start(nodes: usize, flags: &[&str]) -> Option<(Postgres, Cluster)> {
    if !(Redis::is_here() && Postgres::is_here()) {
        return None;
    }
    let postgres = Postgres::start().await;
    postgres.create("greenroom").await;
    let database = format!("--database-url={}", postgres.url("greenroom"));
    let cluster = Cluster::start_with(nodes, &[&[database.as_str()], flags].concat()).await;
    Some((postgres, cluster))
}

/// Waits until the catalog has this recording, with its video.
async fn row(cluster: &Cluster, node: usize, id: &str) -> Value {
    eventually("the row has followed", async || {
        let answer = get(cluster.address(node), "/recordings?state=ready").await;
        if answer.status != 200 {
            return None;
        }
        let list = answer.json();
        list["recordings"].as_array().unwrap().iter().find(|row| row["recordId"] == id).cloned()
    })
    .await
}

#[tokio::test]
async fn recordings_go_on_while_the_database_is_away_and_their_rows_follow() {
    let Some((mut postgres, cluster)) = start(2, &["--lease-secs=2"]).await else { return };
    let chunks = cut(webm(), 6, 340);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..2]).await;
    postgres.kill();
    recorder.store_all(2, &chunks[2..4]).await;
    let token = recorder.lose();
    let mut recorder = Recorder::go_on(cluster.address(1), &token).await;
    recorder.store_all(4, &chunks[4..]).await;
    // Whether a chosen name is free nobody can say now; one that is drawn is nobody's.
    let mut other = Recorder::connect(cluster.address(0)).await;
    other.ask_to_begin(json!({ "recordId": "other" })).await;
    let refused = other.expect("recordingError").await;
    assert_eq!(
        (&refused["code"], &refused["retryable"]),
        (&json!("storage_failed"), &json!(true)),
        "{refused}"
    );
    other.begin(json!({})).await;
    other.store_all(0, &chunks).await;
    for recorder in [&mut recorder, &mut other] {
        let told = recorder.stop_and_wait(&chunks).await;
        assert_eq!(told["version"], 1);
        check_video(cluster.address(0), &told, webm()).await;
    }
    assert_eq!(chunk_folders(&cluster), 2, "chunks go only after the row is written");
    assert_eq!(status(cluster.address(0), "talk").await["state"], "ready");
    postgres.restart().await;
    let other = other.started["recordId"].as_str().unwrap().to_owned();
    for node in 0..2 {
        for id in ["talk", &other] {
            let row = row(&cluster, node, id).await;
            assert_eq!((&row["version"], &row["chunks"]), (&json!(1), &json!(6)));
            check_video(cluster.address(node), &row, webm()).await;
        }
    }
    eventually("the chunks are gone", async || (chunk_folders(&cluster) == 0).then_some(())).await;
}

#[tokio::test]
async fn a_row_that_its_node_could_not_write_before_it_died_is_written_by_another() {
    let Some((mut postgres, mut cluster)) = start(3, &["--lease-secs=2"]).await else { return };
    let chunks = cut(webm(), 3, 341);
    let mut recorder = Recorder::start(cluster.address(2), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    row_is_begun(&cluster, "talk").await;
    postgres.kill();
    let upload = Upload::of(cluster.address(0), &recorder.token());
    assert_eq!(upload.stop(json!({ "chunks": 3 })).await.status, 202);
    let maker = worker(&cluster, "talk").await;
    recorder.ready().await;
    cluster.kill(maker);
    postgres.restart().await;
    let node = (maker + 1) % 3;
    let row = row(&cluster, node, "talk").await;
    assert_eq!(row["version"], 1);
    check_video(cluster.address(node), &row, webm()).await;
    eventually("the chunks are gone", async || (chunk_folders(&cluster) == 0).then_some(())).await;
}

async fn row_is_begun(cluster: &Cluster, id: &str) {
    eventually("the catalog knows of it", async || {
        let list = get(cluster.address(0), "/recordings").await.json();
        (list["recordings"][0]["recordId"] == id).then_some(())
    })
    .await;
}

/// Its row would stay, as one of nothing.
#[tokio::test]
async fn what_is_ready_is_not_deleted_while_the_database_is_away() {
    let Some((mut postgres, cluster)) = start(2, &["--lease-secs=2"]).await else { return };
    let chunks = cut(webm(), 3, 344);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    let told = recorder.stop_and_wait(&chunks).await;
    row(&cluster, 1, "talk").await;
    let delete = async |node| send(cluster.address(node), "DELETE /recordings/talk", &[], b"").await;
    postgres.kill();
    for node in 0..2 {
        let refused = delete(node).await;
        assert_eq!(refused.refusal(), (503, "storage_failed".into()));
        assert_eq!(refused.json()["retryable"], true);
    }
    check_video(cluster.address(1), &told, webm()).await;
    assert_eq!(status(cluster.address(0), "talk").await["state"], "ready");
    postgres.restart().await;
    eventually("it can be deleted", async || (delete(1).await.status == 204).then_some(())).await;
    let list = get(cluster.address(0), "/recordings").await.json();
    assert_eq!(list["recordings"], json!([]), "{list}");
}

/// It takes connections and answers nothing: whoever waits for it waits for a bounded time, and chunks do not wait at all.
#[tokio::test]
async fn a_database_that_hangs_holds_up_no_recording() {
    let Some((postgres, cluster)) = start(2, &["--lease-secs=2"]).await else { return };
    let chunks = cut(webm(), 4, 342);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    postgres.freeze();
    recorder.store_all(0, &chunks).await;
    let told = recorder.stop_and_wait(&chunks).await;
    postgres.thaw();
    let row = row(&cluster, 1, "talk").await;
    assert_eq!(row["sha256"], told["sha256"]);
    check_video(cluster.address(1), &told, webm()).await;
}

/// The quota of an owner is in the catalog: while that is away, nobody is refused for it.
#[tokio::test]
async fn while_the_database_is_away_nobody_is_refused_for_what_an_owner_has() {
    let flags = ["--lease-secs=2", "--max-owner-bytes=1"];
    let Some((mut postgres, cluster)) = start(2, &flags).await else { return };
    let chunks = cut(webm(), 2, 343);
    let by_ada = json!({ "owner": "ada" });
    let mut recorder = Recorder::start(cluster.address(0), by_ada.clone()).await;
    recorder.store_all(0, &chunks).await;
    recorder.stop_and_wait(&chunks).await;
    row(&cluster, 1, &recorder.id()).await;
    let mut other = Recorder::connect(cluster.address(1)).await;
    other.ask_to_begin(by_ada.clone()).await;
    other.expect_error("quota_exceeded").await;
    postgres.kill();
    other.begin(by_ada).await;
    other.store_all(0, &chunks).await;
    let told = other.stop_and_wait(&chunks).await;
    check_video(cluster.address(0), &told, webm()).await;
}

#[tokio::test]
async fn a_cluster_whose_catalog_is_a_file_warns_of_it() {
    let Some((_postgres, shared)) = start(1, &[]).await else { return };
    let alone = Cluster::start_with(1, &[]).await;
    let warns = |cluster: &Cluster| cluster.process(0).logs().contains("a file of SQLite");
    eventually("it warns", async || warns(&alone).then_some(())).await;
    assert!(!warns(&shared));
}
