//! A recorder that changes its node: what becomes of its recording reaches it where it is, and nobody else.

use std::{fs, path::Path};

use serde_json::json;

use crate::{
    gate::Gate,
    only,
    support::{
        Cluster, Recorder, Redis, Upload, check_video, cut, eventually, get, mp4, ready, send, status, webm,
    },
    videos,
};

#[tokio::test]
async fn a_recorder_that_moves_takes_its_recording_along() {
    if !Redis::is_here() {
        return;
    }
    let cluster = Cluster::start_with(3, &["--recording-grace-secs=600"]).await;
    let chunks = cut(webm(), 8, 330);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..2]).await;
    recorder.store(4, &chunks[4]).await;
    let token = recorder.lose();
    let mut second = Recorder::go_on(cluster.address(1), &token).await;
    assert_eq!((&second.started["nextIndex"], &second.started["missing"]), (&json!(5), &json!([2, 3])));
    second.store_all(2, &chunks[2..4]).await;
    // The same token at another node: the newer one has it now, and the older is told.
    let mut third = Recorder::go_on(cluster.address(2), &token).await;
    assert_eq!((&third.started["nextIndex"], &third.started["missing"]), (&json!(5), &json!([])));
    second.expect_close(4409, "replaced").await;
    let mut fourth = Recorder::go_on(cluster.address(2), &token).await;
    third.expect_close(4409, "replaced").await;
    fourth.store_all(5, &chunks[5..]).await;
    // Stopped by way of a node on which it never was.
    let made = json!({ "chunks": 8, "bytes": webm().len() });
    assert_eq!(Upload::of(cluster.address(0), &token).stop(made).await.status, 202);
    let told = fourth.ready().await;
    assert_eq!(told["version"], 1);
    check_video(cluster.address(1), &told, webm()).await;
    // Its socket is free for another.
    fourth.begin(json!({ "recordId": "next" })).await;
}

#[tokio::test]
async fn two_sockets_at_two_nodes_in_the_same_moment_leave_one() {
    if !Redis::is_here() {
        return;
    }
    let cluster = Cluster::start_with(2, &["--recording-grace-secs=600"]).await;
    let chunks = cut(webm(), 4, 331);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store(0, &chunks[0]).await;
    let token = recorder.lose();
    let (mut one, mut other) = tokio::join!(
        Recorder::go_on(cluster.address(0), &token),
        Recorder::go_on(cluster.address(1), &token)
    );
    let mut stays = tokio::select! {
        (events, closed) = one.hear_out() => {
            assert_eq!((events.len(), closed), (0, Some((4409, "replaced".to_owned()))));
            other
        }
        (events, closed) = other.hear_out() => {
            assert_eq!((events.len(), closed), (0, Some((4409, "replaced".to_owned()))));
            one
        }
    };
    stays.store_all(1, &chunks[1..]).await;
    let told = stays.stop_and_wait(&chunks).await;
    check_video(cluster.address(0), &told, webm()).await;
}

#[tokio::test]
async fn progress_of_another_nodes_merge_is_told() {
    if !Redis::is_here() {
        return;
    }
    let gate = Gate::behind();
    let cluster = Cluster::start_with(2, &gate.flags()).await;
    let chunks = cut(webm(), 3, 332);
    let mut recorder = Recorder::start(cluster.address(1), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    let upload = Upload::of(cluster.address(0), &recorder.token());
    assert_eq!(upload.stop(json!({ "chunks": 3 })).await.status, 202);
    let progress = recorder.expect("mergeProgress").await;
    let percent = progress["percent"].as_u64().unwrap();
    assert!((1..100).contains(&percent), "{progress}");
    for node in 0..2 {
        // The maker says it twice a second.
        eventually("every node knows how far it is", async || {
            let live = status(cluster.address(node), "talk").await;
            assert_eq!(live["state"], "finalising", "{live}");
            (live["percent"].as_u64() >= Some(percent)).then_some(())
        })
        .await;
    }
    // Whoever comes by way of a third place is told how far it is, and what comes of it.
    let mut again = Recorder::go_on(cluster.address(0), &recorder.token()).await;
    assert_eq!(again.started["state"], "finalising");
    assert_eq!(again.expect("finished").await["chunks"], 3);
    assert_eq!(recorder.hear_out().await.1, Some((4409, "replaced".to_owned())));
    gate.open();
    let told = again.ready().await;
    check_video(cluster.address(1), &told, webm()).await;
}

/// How a name stands that somebody has.
async fn is_taken(cluster: &Cluster) {
    for node in 0..cluster.len() {
        let mut other = Recorder::connect(cluster.address(node)).await;
        other.ask_to_begin(json!({ "recordId": "talk" })).await;
        other.expect_error("record_id_taken").await;
        let start = json!({ "recordId": "talk", "mimeType": "video/webm" }).to_string();
        let refused = send(cluster.address(node), "POST /recordings", &[], start.as_bytes()).await;
        assert_eq!(refused.refusal(), (409, "record_id_taken".into()));
    }
}

#[tokio::test]
async fn a_name_is_taken_on_every_node_until_its_recording_is_deleted() {
    if !Redis::is_here() {
        return;
    }
    let gate = Gate::new();
    let cluster =
        Cluster::start_with(2, &[&["--recording-grace-secs=600"][..], &gate.flags()].concat()).await;
    let chunks = cut(webm(), 4, 333);
    let mut recorder =
        Recorder::start(cluster.address(0), json!({ "recordId": "talk", "title": "old" })).await;
    let old = recorder.token();
    is_taken(&cluster).await;
    recorder.store_all(0, &chunks).await;
    is_taken(&cluster).await;
    recorder.stop(json!({ "chunks": 4 })).await;
    recorder.expect("finished").await;
    gate.began().await;
    is_taken(&cluster).await;
    gate.open();
    recorder.ready().await;
    is_taken(&cluster).await;
    let delete = async || send(cluster.address(1), "DELETE /recordings/talk", &[], b"").await.status;
    assert_eq!(delete().await, 204);
    for node in 0..2 {
        assert_eq!(get(cluster.address(node), "/recordings/talk/status").await.status, 404);
    }
    assert_eq!(videos(&cluster), Vec::<String>::new());

    let start = json!({ "recordId": "talk", "mimeType": "video/mp4;codecs=avc1,mp4a.40.2" });
    let mut next = Recorder::start(cluster.address(0), start).await;
    assert_eq!((&next.started["nextIndex"], &next.started["missing"]), (&json!(0), &json!([])));
    // Who has the token of the old one has no part in the new one.
    for node in 0..2 {
        let late = Upload::of(cluster.address(node), &old);
        assert_eq!(late.put(0, &chunks[0]).await.refusal(), (401, "unauthorised".into()));
        assert_eq!(late.stop(json!({})).await.refusal(), (401, "unauthorised".into()));
    }
    let chunks = cut(mp4(), 3, 333);
    next.store_all(0, &chunks).await;
    let told = next.stop_and_wait(&chunks).await;
    assert_eq!(told["version"], 1);
    check_video(cluster.address(1), &told, mp4()).await;
    only(cluster.address(1), "talk").await;
    assert_eq!(status(cluster.address(1), "talk").await["title"], json!(null));
}

/// Whether nothing is stored of it.
fn is_gone(storage: &Path, id: &str) -> bool {
    !storage.join("chunks").join(id).exists()
        && !fs::read_dir(storage.join("recordings"))
            .unwrap()
            .any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with(id))
}

#[tokio::test]
async fn one_that_runs_is_deleted_by_way_of_another_node() {
    if !Redis::is_here() {
        return;
    }
    let gate = Gate::new();
    let cluster =
        Cluster::start_with(2, &[&["--recording-grace-secs=600"][..], &gate.flags()].concat()).await;
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store(0, webm()).await;
    let refused = send(cluster.address(1), "DELETE /recordings/talk", &[], b"").await;
    assert_eq!(refused.refusal(), (409, "recording_active".into()));
    let bearer = format!("Bearer {}", recorder.token());
    let authorised = [("Authorization", bearer.as_str())];
    let deleted = send(cluster.address(1), "DELETE /recordings/talk", &authorised, b"").await;
    assert_eq!(deleted.status, 204);
    recorder.expect_error("recording_unknown").await;
    assert!(is_gone(&cluster.storage(0), "talk"));
    // The same in the middle of its merge, which is another node's.
    let (upload, _) = Upload::start(cluster.address(0), json!({ "recordId": "next" })).await;
    assert_eq!(upload.put(0, webm()).await.status, 200);
    assert_eq!(upload.stop(json!({})).await.status, 202);
    gate.began().await;
    let maker = crate::worker(&cluster, "next").await;
    let authorised = [("Authorization", upload.bearer.as_str())];
    let at = cluster.address(1 - maker);
    assert_eq!(send(at, "DELETE /recordings/next", &authorised, b"").await.status, 204);
    gate.open();
    eventually("the merge has ended", async || {
        let running = crate::support::metric(cluster.address(maker), "greenroom_merges_running").await;
        (running == 0.0).then_some(())
    })
    .await;
    assert!(is_gone(&cluster.storage(0), "next"));
    eventually("no row is left", async || {
        (get(at, "/recordings").await.json()["recordings"] == json!([])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_that_is_aborted_is_gone_on_every_node() {
    if !Redis::is_here() {
        return;
    }
    let cluster = Cluster::start_with(2, &["--recording-grace-secs=600"]).await;
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store(0, webm()).await;
    let token = recorder.lose();
    let mut again = Recorder::go_on(cluster.address(1), &token).await;
    again.send(json!({ "type": "abort", "recordId": "talk" })).await;
    eventually("it is gone", async || {
        (get(cluster.address(0), "/recordings/talk/status").await.status == 404).then_some(())
    })
    .await;
    assert!(is_gone(&cluster.storage(0), "talk"));
    let mut next = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    next.store(0, webm()).await;
    next.stop(json!({ "chunks": 1 })).await;
    next.expect("finished").await;
    ready(cluster.address(1), "talk").await;
}
