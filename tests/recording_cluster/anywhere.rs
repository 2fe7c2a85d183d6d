//! Nothing about a recording depends on the node that somebody happens to talk to.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::{
    Chance, Cluster, Recorder, Redis, Upload, check_video, cut, eventually, get, ready, status, webm,
};

#[tokio::test]
async fn a_recording_is_begun_sent_stopped_and_watched_by_way_of_different_nodes() {
    if !Redis::is_here() {
        return;
    }
    let cluster = Cluster::start_with(3, &[]).await;
    let at = |node: usize| cluster.address(node);
    let chunks = cut(webm(), 9, 300);
    let mut recorder = Recorder::start(at(0), json!({ "recordId": "talk", "title": "A talk" })).await;
    recorder.store_all(0, &chunks[..4]).await;
    for (index, chunk) in (4u32..).zip(&chunks[4..]) {
        let node = at(index as usize % 3);
        assert_eq!(Upload::of(node, &recorder.token()).put(index, chunk).await.status, 200);
    }
    for node in 0..3 {
        let live = status(at(node), "talk").await;
        assert_eq!(
            (&live["state"], &live["chunks"], &live["title"]),
            (&json!("recording"), &json!(9), &json!("A talk"))
        );
    }
    let made = json!({ "chunks": 9, "bytes": webm().len() });
    assert_eq!(Upload::of(at(1), &recorder.token()).stop(made).await.status, 202);
    // Its socket hears of it, whoever has made the video.
    let told = recorder.ready().await;
    for node in 0..3 {
        check_video(at(node), &told, webm()).await;
        assert_eq!(ready(at(node), "talk").await["sha256"], told["sha256"]);
        let list = get(at(node), "/recordings").await.json();
        assert_eq!(list["recordings"].as_array().map(Vec::len), Some(1), "{list}");
    }
}

/// All of it is there, as every node sees it.
async fn all_hundred(cluster: &Cluster) {
    for node in 0..cluster.len() {
        eventually("all are counted", async || {
            let live = status(cluster.address(node), "talk").await;
            (live["chunks"] == 100 && live["missingChunks"] == json!([])).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_hundred_chunks_at_once_over_all_nodes_have_a_hundred_places() {
    if !Redis::is_here() {
        return;
    }
    let cluster = Cluster::start_with(3, &[]).await;
    let start = json!({ "recordId": "talk", "framing": "raw" });
    let mut recorder = Recorder::start(cluster.address(0), start).await;
    let token = recorder.token();
    recorder.send_bytes(webm().to_vec()).await;
    recorder.expect_ack(0).await;
    let (mut chance, mut sent) = (Chance(301), Vec::new());
    for chunk in 1..70u8 {
        let upload = Upload::of(cluster.address(chance.below(3)), &token);
        let bytes = vec![chunk; 1000 + usize::from(chunk)];
        sent.push(tokio::spawn(async move { upload.post(&bytes).await.json()["index"].as_u64() }));
    }
    for chunk in 70..100u8 {
        recorder.send_bytes(vec![chunk; 1000 + usize::from(chunk)]).await;
    }
    let mut places = BTreeSet::from([0]);
    for place in recorder.expect_acks(30).await {
        assert!(places.insert(place.into()), "a place is given once");
    }
    for answer in sent {
        assert!(places.insert(answer.await.unwrap().expect("a place")), "a place is given once");
    }
    assert_eq!(places, (0..100).collect());
    all_hundred(&cluster).await;
}

#[tokio::test]
async fn a_hundred_chunks_sent_anywhere_and_twice_are_a_hundred_chunks() {
    if !Redis::is_here() {
        return;
    }
    let cluster = Cluster::start_with(3, &[]).await;
    let chunks = cut(webm(), 100, 302);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    let token = recorder.token();
    let mut chance = Chance(302);
    let mut order: Vec<u32> = (0..100).chain((0..100).filter(|_| chance.one_in(3))).collect();
    chance.shuffle(&mut order);
    let (mut sent, mut on_socket) = (Vec::new(), Vec::new());
    for index in order {
        let chunk = &chunks[index as usize];
        if chance.one_in(4) {
            recorder.chunk(index, chunk).await;
            on_socket.push(index);
        } else {
            let (upload, chunk) = (Upload::of(cluster.address(chance.below(3)), &token), chunk.clone());
            sent.push(tokio::spawn(async move { upload.put(index, &chunk).await }));
        }
    }
    let mut acked = recorder.expect_acks(on_socket.len()).await;
    acked.sort_unstable();
    on_socket.sort_unstable();
    assert_eq!(acked, on_socket);
    for answer in sent {
        let answer = answer.await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    all_hundred(&cluster).await;
    let told = recorder.stop_and_wait(&chunks).await;
    check_video(cluster.address(1), &told, webm()).await;
}
