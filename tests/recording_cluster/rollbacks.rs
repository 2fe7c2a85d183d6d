//! Redis goes back in time over the end of a recording: what was deleted stays deleted, and what is ready stays as it is.

use std::collections::BTreeSet;

use serde_json::json;

use crate::{
    state,
    support::{
        Cluster, Postgres, Recorder, Redis, check_video, cut, eventually, get, names, ready, send, status,
        webm,
    },
    videos,
};

const FLAGS: [&str; 3] = ["--lease-secs=2", "--recording-grace-secs=2", "--reopen-secs=1"];

/// Has Redis keep what it has now, for the next time that it is started.
fn remember(cluster: &Cluster) {
    cluster.redis().run::<()>(&["SAVE"]);
}

/// Redis has again what it had then.
fn go_back(cluster: &mut Cluster) {
    cluster.redis_mut().kill();
    cluster.redis_mut().restart();
}

async fn delete(cluster: &Cluster, node: usize, id: &str, token: &str) {
    let bearer = format!("Bearer {token}");
    let authorised = [("Authorization", bearer.as_str())];
    let deleted = send(cluster.address(node), &format!("DELETE /recordings/{id}"), &authorised, b"").await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
}

/// Redis knows of no recording any more.
async fn is_forgotten(cluster: &Cluster) {
    eventually("Redis has forgotten it", async || {
        let keys = cluster.redis().keys();
        let due: u64 = cluster.redis().run(&["ZCARD", "recordings:active"]);
        (due == 0 && !keys.iter().any(|key| key.starts_with("recording:"))).then_some(())
    })
    .await;
}

async fn nothing_is_known(cluster: &Cluster) {
    for node in 0..cluster.len() {
        let list = get(cluster.address(node), "/recordings").await.json();
        assert_eq!(list["recordings"], json!([]), "{list}");
    }
}

/// Its recorder comes back, as a page does whose socket was lost while its recording was deleted.
#[tokio::test]
async fn who_comes_back_to_what_was_deleted_does_not_bring_it_back() {
    if !Redis::is_here() {
        return;
    }
    let mut cluster = Cluster::start_with(2, &FLAGS).await;
    let chunks = cut(webm(), 4, 360);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..2]).await;
    remember(&cluster);
    let token = recorder.lose();
    delete(&cluster, 1, "talk", &token).await;
    go_back(&mut cluster);
    let refused = eventually("Redis is back", async || {
        let mut again = Recorder::connect(cluster.address(1)).await;
        again.ask_to_begin(json!({ "uploadToken": token })).await;
        let answer = again.expect("recordingError").await;
        (answer["retryable"] == false).then_some(answer)
    })
    .await;
    assert_eq!(refused["code"], "recording_unknown", "{refused}");
    is_forgotten(&cluster).await;
    nothing_is_known(&cluster).await;
    // Its name is free.
    let mut next = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    next.store_all(0, &chunks).await;
    check_video(cluster.address(1), &next.stop_and_wait(&chunks).await, webm()).await;
}

/// The chunks have come back too.
#[tokio::test]
async fn what_was_deleted_is_not_made_though_redis_has_its_chunks_again() {
    if !Redis::is_here() {
        return;
    }
    let flags = [&FLAGS[..], &["--chunk-store=REDIS"]].concat();
    let mut cluster = Cluster::start_with(2, &flags).await;
    let chunks = cut(webm(), 4, 361);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    remember(&cluster);
    let token = recorder.lose();
    delete(&cluster, 1, "talk", &token).await;
    go_back(&mut cluster);
    is_forgotten(&cluster).await;
    nothing_is_known(&cluster).await;
    assert_eq!(videos(&cluster), Vec::<String>::new());
}

/// The chunks have come back, and everything that is known of them is of a time before the end.
#[tokio::test]
async fn what_is_ready_stays_so_though_redis_has_its_chunks_again() {
    if !Redis::is_here() {
        return;
    }
    let flags = [&FLAGS[..], &["--chunk-store=REDIS"]].concat();
    let mut cluster = Cluster::start_with(2, &flags).await;
    let chunks = cut(webm(), 4, 362);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    remember(&cluster);
    let told = recorder.stop_and_wait(&chunks).await;
    state(cluster.address(1), "talk", "ready").await;
    is_forgotten(&cluster).await;
    let made = videos(&cluster);
    go_back(&mut cluster);
    is_forgotten(&cluster).await;
    let row = ready(cluster.address(0), "talk").await;
    assert_eq!((&row["version"], &row["key"]), (&json!(1), &told["key"]));
    assert_eq!(videos(&cluster), made, "it was not made again");
    check_video(cluster.address(0), &row, webm()).await;
}

/// While PostgreSQL is away too, nobody can tell what has become of it: it waits, and nobody takes it for lost.
#[tokio::test]
async fn nothing_is_given_up_while_the_catalog_cannot_say_what_became_of_it() {
    if !(Redis::is_here() && Postgres::is_here()) {
        return;
    }
    let mut postgres = Postgres::start().await;
    postgres.create("greenroom").await;
    let database = format!("--database-url={}", postgres.url("greenroom"));
    let mut cluster = Cluster::start_with(2, &[&FLAGS[..], &[database.as_str()]].concat()).await;
    let chunks = cut(webm(), 4, 363);
    let mut made = Recorder::start(cluster.address(0), json!({ "recordId": "made" })).await;
    made.store_all(0, &chunks).await;
    let mut deleted = Recorder::start(cluster.address(1), json!({ "recordId": "deleted" })).await;
    deleted.store_all(0, &chunks).await;
    remember(&cluster);
    let told = made.stop_and_wait(&chunks).await;
    delete(&cluster, 0, "deleted", &deleted.lose()).await;
    is_forgotten(&cluster).await;
    postgres.kill();
    go_back(&mut cluster);
    let waits = async |id: &str| {
        let account = format!("recording:{{{id}}}");
        eventually("it was claimed", async || {
            let state: Option<String> = cluster.redis().run(&["HGET", &account, "state"]);
            (state.as_deref() == Some("finalising")).then_some(())
        })
        .await;
    };
    waits("made").await;
    waits("deleted").await;
    postgres.restart().await;
    is_forgotten(&cluster).await;
    let row = ready(cluster.address(0), "made").await;
    assert_eq!((&row["version"], &row["key"]), (&json!(1), &told["key"]), "{row}");
    let list = get(cluster.address(1), "/recordings").await.json();
    assert_eq!(list["recordings"].as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(names(&cluster.storage(0).join("chunks")), BTreeSet::new());
    assert_eq!(status(cluster.address(1), "made").await["state"], "ready");
}
