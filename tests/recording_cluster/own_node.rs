//! What comes in requests is followed by one node and made by it, whichever nodes the requests and the stop come to.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf, time::Duration};

use greenroom::{
    adapters::ports::RecordingRef,
    domain::route::own_node,
    protocol::{NodeId, RecordId, UploadToken},
};
use serde_json::json;

use crate::{
    only,
    support::{
        Cluster, Recorder, Redis, Upload, check_video, eventually, get, metric, names, ready, status, webm,
    },
};

/// More than a file is saved after.
const CHUNKS: usize = 24;
/// Recordings of one test.
const MANY: usize = 6;
/// A node is told of the others with a look, and claims nothing for as long after its start as this. Unit: seconds.
const PATIENCE_SECS: u64 = 3;
/// What a node has heard from others.
const HEARD: &str = r#"greenroom_bus_received_total{kind="message"}"#;
const FLAGS: [&str; 2] = ["--lease-secs=300", "--recording-grace-secs=2"];

fn chunks() -> Vec<Vec<u8>> {
    webm().chunks(webm().len().div_ceil(CHUNKS)).map(<[u8]>::to_vec).collect()
}

/// Three nodes that know each other.
async fn start() -> Cluster {
    let cluster = Cluster::start_with(3, &FLAGS).await;
    for node in 0..3 {
        let address = cluster.address(node);
        eventually("it has run on", async || {
            let uptime = get(address, "/health/info").await.json()["uptime_secs"].as_u64()?;
            (uptime >= PATIENCE_SECS).then_some(())
        })
        .await;
    }
    cluster
}

/// The node that follows what comes of this recording in requests.
fn own(cluster: &Cluster, id: &str) -> usize {
    let name = |node| NodeId::parse(&Cluster::name(node)).expect("a name");
    let nodes: Vec<_> = (0..cluster.len()).map(name).collect();
    let own = own_node(&RecordId::parse(id).expect("a name"), &nodes).expect("there are nodes");
    cluster.find(&json!(own.as_str()))
}

/// Names of recordings whose own node is not the first.
fn ids(cluster: &Cluster) -> Vec<String> {
    let ids = (0..).map(|number| format!("talk-{number}"));
    ids.filter(|id| own(cluster, id) != 0).take(MANY).collect()
}

/// Records this by way of the first node alone. Gives its token.
async fn record(cluster: &Cluster, id: &str) -> String {
    let (upload, started) = Upload::start(cluster.address(0), json!({ "recordId": id })).await;
    for (index, chunk) in (0..).zip(&chunks()) {
        assert_eq!(upload.put(index, chunk).await.status, 200);
    }
    started["uploadToken"].as_str().expect("a token").to_owned()
}

/// Stops it by way of this node.
async fn stop(cluster: &Cluster, node: usize, token: &str) {
    let stopped = Upload::of(cluster.address(node), token).stop(json!({ "chunks": CHUNKS })).await;
    assert_eq!(stopped.status, 202);
}

/// The file in which a recording is put together, once something of it is saved.
async fn followed(cluster: &Cluster, id: &str) -> PathBuf {
    let folder = cluster.storage(0).join("assembly");
    let saved = |name: &String| name.starts_with(&format!("{id}.")) && name.ends_with(".state");
    let state =
        eventually("it is put together while it comes", async || names(&folder).into_iter().find(saved));
    folder.join(state.await).with_extension("part")
}

/// What names of a recording's files begin with.
fn stem(token: &str) -> String {
    RecordingRef::by(&UploadToken::parse(token).expect("a token")).stem()
}

/// Where a node hears what is for it alone.
fn inbox(node: usize) -> String {
    format!("cluster:messages:{}", Cluster::name(node))
}

/// How many videos a node has made.
async fn made(cluster: &Cluster, node: usize) -> f64 {
    metric(cluster.address(node), r#"greenroom_merges_total{outcome="ready",path="copied"}"#).await
}

/// Requests of each come to a node that is not its own, and its stop to the third one. Should a machine stand still for long one may be made by another
/// node; by that most of them are not.
#[tokio::test]
async fn what_comes_by_requests_to_another_node_is_put_together_and_made_by_its_own() {
    if !Redis::is_here() {
        return;
    }
    let cluster = start().await;
    let (mut by_own, mut in_its_file) = (0, 0);
    for id in &ids(&cluster) {
        let token = record(&cluster, id).await;
        let file = fs::metadata(followed(&cluster, id).await).unwrap().ino();
        let own = own(&cluster, id);
        let before = made(&cluster, own).await;
        stop(&cluster, 3 - own, &token).await;
        let row = ready(cluster.address(0), id).await;
        check_video(cluster.address(2), &row, webm()).await;
        let video = cluster.storage(0).join("recordings").join(row["key"].as_str().unwrap());
        by_own += usize::from(made(&cluster, own).await > before);
        // A node that has no file copies that of another.
        in_its_file += usize::from(fs::metadata(video).unwrap().ino() == file);
    }
    assert!(by_own * 2 > MANY, "{by_own} of {MANY} were made by their own nodes");
    assert!(in_its_file * 2 > MANY, "{in_its_file} of {MANY} were made of the file that was there");
}

/// A recorder whose socket is at the first node, and whose chunks come in requests alone, as behind a proxy that lets large ones
/// through only there.
#[tokio::test]
async fn what_is_stopped_by_a_socket_is_made_by_whoever_has_followed_its_requests() {
    if !Redis::is_here() {
        return;
    }
    let cluster = start().await;
    let mut in_its_file = 0;
    let mut redis = cluster.redis().admin();
    let mut hints = redis.as_pubsub();
    hints.subscribe(inbox(0)).unwrap();
    hints.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    for id in &ids(&cluster) {
        let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": id })).await;
        let upload = Upload::of(cluster.address(0), &recorder.token());
        for (index, chunk) in (0..).zip(&chunks()) {
            assert_eq!(upload.put(index, chunk).await.status, 200);
        }
        let file = fs::metadata(followed(&cluster, id).await).unwrap().ino();
        let by_its_socket = made(&cluster, 0).await;
        let row = recorder.stop_and_wait(&chunks()).await;
        check_video(cluster.address(2), &row, webm()).await;
        let row = ready(cluster.address(0), id).await;
        let video = cluster.storage(0).join("recordings").join(row["key"].as_str().unwrap());
        in_its_file += usize::from(fs::metadata(video).unwrap().ino() == file);
        if made(&cluster, 0).await > by_its_socket {
            continue;
        }
        // The recorder need not wait for the next look at what others have made.
        while !hints.get_message().unwrap().get_payload::<String>().unwrap().contains(r#""Ended""#) {}
    }
    assert!(in_its_file * 2 > MANY, "{in_its_file} of {MANY} were made of the file that was there");
}

/// Nobody can tell its recorder why, once another node has cleared its account away, as one may where a machine stands still for long.
#[tokio::test]
async fn who_stops_without_a_chunk_is_told_so_whichever_node_its_own_is() {
    if !Redis::is_here() {
        return;
    }
    let cluster = start().await;
    let mut told = Vec::new();
    for id in &ids(&cluster) {
        let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": id })).await;
        recorder.stop(json!({ "chunks": 0 })).await;
        recorder.expect("finished").await;
        told.push(recorder.expect("recordingError").await["code"].clone());
    }
    let why = told.iter().filter(|code| *code == "empty_recording").count();
    assert!(why * 2 > MANY, "{told:?}");
}

/// Its lease goes on, so all others take it for alive.
#[tokio::test]
async fn what_its_own_node_does_not_make_another_does() {
    if !Redis::is_here() {
        return;
    }
    let cluster = start().await;
    let id = ids(&cluster).remove(0);
    let own = own(&cluster, &id);
    let token = record(&cluster, &id).await;
    followed(&cluster, &id).await;
    cluster.freeze(own);
    stop(&cluster, 0, &token).await;
    let row = ready(cluster.address(0), &id).await;
    cluster.thaw(own);
    check_video(cluster.address(own), &row, webm()).await;
    only(cluster.address(own), &id).await;
    // What it was told it hears by now, and there is nothing to be done.
    let before = metric(cluster.address(own), HEARD).await;
    eventually("it hears what comes", async || {
        (metric(cluster.address(own), HEARD).await > before).then_some(())
    })
    .await;
    assert_eq!(
        (made(&cluster, own).await, &status(cluster.address(own), &id).await["version"]),
        (0.0, &json!(1))
    );
}

/// Such as of another version, or late, or from somebody who has no business there.
#[tokio::test]
async fn a_hint_that_is_wrong_changes_nothing() {
    if !Redis::is_here() {
        return;
    }
    let cluster = start().await;
    let (upload, token) = (record(&cluster, "talk").await, "07".repeat(32));
    let of_another = format!(r#"{{"Hint":{{"Requested":{{"record_id":"talk","token":"{token}"}}}}}}"#);
    let of_nobody = format!(r#"{{"Hint":{{"Requested":{{"record_id":"nobody","token":"{token}"}}}}}}"#);
    for hint in [
        of_another.as_str(),
        of_nobody.as_str(),
        r#"{"Hint":{"Stopped":{"record_id":"talk"}}}"#,
        r#"{"Hint":{"Stopped":{"record_id":"nobody"}}}"#,
        r#"{"Hint":{"Stopped":{"record_id":"../talk"}}}"#,
        r#"{"Hint":{"Ended":{"record_id":"talk"}}}"#,
        r#"{"Hint":{"Ended":{"record_id":"nobody"}}}"#,
        r#"{"Hint":{"Paused":{"record_id":"talk"}}}"#,
        r#"{"Hint":"#,
    ] {
        for node in 0..3 {
            assert_eq!(cluster.redis().run::<u32>(&["PUBLISH", &inbox(node), hint]), 1, "it listens");
        }
    }
    for node in 0..3 {
        eventually("what has no place there is counted", async || {
            let unreadable = r#"greenroom_bus_received_total{kind="unreadable"}"#;
            (metric(cluster.address(node), unreadable).await >= 3.0).then_some(())
        })
        .await;
    }
    followed(&cluster, "talk").await;
    // What comes after the hints each node looks for together with them, or later.
    let mut stems = vec![stem(&upload)];
    for node in 0..3 {
        let is_own = |id: &String| own(&cluster, id) == node;
        let id = (0..).map(|number| format!("talk-{number}")).find(is_own).unwrap();
        stems.push(stem(&record(&cluster, &id).await));
        followed(&cluster, &id).await;
    }
    let files = names(&cluster.storage(0).join("assembly"));
    let is_known = |name: &String| stems.iter().any(|stem| name.starts_with(stem));
    assert!(files.iter().all(is_known), "{files:?} {stems:?}");
    assert_eq!(status(cluster.address(1), "talk").await["state"], "recording");
    stop(&cluster, 1, &upload).await;
    let row = ready(cluster.address(2), "talk").await;
    assert_eq!(row["version"], 1);
    check_video(cluster.address(2), &row, webm()).await;
}
