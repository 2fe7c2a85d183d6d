//! Nodes that do not keep recordings in the same stores: those that come later serve rooms, and take no part in recordings.

use std::{fs, os::unix::fs::symlink, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    s3::S3Server,
    state,
    support::{
        Cluster, Peer, Process, Proxy, Recorder, Redis, Upload, check_video, cut, eventually, get, greenroom,
        ready, send, webm,
    },
};

const FLAGS: [&str; 2] = ["--lease-secs=2", "--recording-grace-secs=1"];

/// Adds a node that has a folder of its own.
async fn add_apart(cluster: &mut Cluster) -> (usize, TempDir) {
    let own = tempfile::tempdir().unwrap();
    let node = cluster.add(&[&at(own.path())]).await;
    (node, own)
}

fn at(folder: &Path) -> String {
    format!("--storage-local-path={}", folder.display())
}

/// What Redis knows of a store.
fn known(cluster: &Cluster, what: &str) -> Option<String> {
    cluster.redis().run(&["HGET", "recordings:stores", what])
}

/// Waits until a node says this of whether it has the same stores as the others.
async fn check_says(cluster: &Cluster, node: usize, wanted: &str) {
    eventually(wanted, async || {
        let health = get(cluster.address(node), "/health").await.json();
        (health["checks"]["same_stores"] == wanted).then_some(())
    })
    .await;
}

/// A node takes no recording, and says why in the log, once.
async fn takes_none(cluster: &Cluster, node: usize, why: &str) {
    let address = cluster.address(node);
    let health = get(address, "/health").await;
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("degraded")), "{health:?}");
    assert_eq!(health.json()["checks"]["same_stores"], "down", "{health:?}");
    for path in ["/health/ready", "/health/live", "/recordings"] {
        assert_eq!(get(address, path).await.status, 200, "{path}");
    }
    refuses_to_begin(cluster, node, json!({})).await;
    let logs = cluster.process(node).logs();
    let said: Vec<_> = logs.lines().filter(|line| line.contains("ERROR ")).collect();
    assert!(matches!(said[..], [line] if line.contains(why)), "{why}: {said:?}");
}

async fn refuses_to_begin(cluster: &Cluster, node: usize, fields: Value) {
    let mut recorder = Recorder::connect(cluster.address(node)).await;
    recorder.ask_to_begin(fields).await;
    let refused = recorder.expect("recordingError").await;
    assert_eq!(
        (&refused["code"], &refused["retryable"]),
        (&json!("storage_failed"), &json!(true)),
        "{refused}"
    );
}

/// Waits until a node has run for so long from now.
async fn runs_on(cluster: &Cluster, node: usize, secs: u64) {
    let uptime = async || get(cluster.address(node), "/health/info").await.json()["uptime_secs"].as_u64();
    let until = uptime().await.unwrap() + secs;
    eventually("it has run on", async || (uptime().await? >= until).then_some(())).await;
}

fn chunk_folders_in(folder: &Path) -> usize {
    folder.join("chunks").read_dir().map_or(0, Iterator::count)
}

#[tokio::test]
async fn a_node_with_a_folder_of_its_own_serves_rooms_and_takes_no_part_in_recordings() {
    if !Redis::is_here() {
        return;
    }
    let mut cluster = Cluster::start_with(1, &FLAGS).await;
    let (second, own) = add_apart(&mut cluster).await;
    let mut ada = Peer::join(cluster.address(0), "blue", "ada").await;
    let mut bob = Peer::join(cluster.address(second), "blue", "bob").await;
    assert_eq!(ada.expect("UserJoined").await["user"]["user_id"], "bob");
    let why = format!(
        "STORAGE_LOCAL_PATH {} is not where the other nodes of the cluster keep chunks",
        own.path().display()
    );
    takes_none(&cluster, second, &why).await;

    let chunks = cut(webm(), 3, 370);
    let (upload, started) =
        Upload::start(cluster.address(0), json!({ "recordId": "talk", "roomName": "blue" })).await;
    assert_eq!(upload.put(0, &chunks[0]).await.status, 200);
    for peer in [&mut ada, &mut bob] {
        assert_eq!(peer.expect("RoomState").await["recording"], true);
    }
    let token = started["uploadToken"].as_str().unwrap();
    refuses_to_begin(&cluster, second, json!({ "uploadToken": token })).await;
    let elsewhere = Upload::of(cluster.address(second), token);
    let answers = [
        elsewhere.put(1, &chunks[1]).await,
        elsewhere.post(&chunks[1]).await,
        elsewhere.stop(json!({})).await,
        send(cluster.address(second), "DELETE /recordings/talk", &[], b"").await,
    ];
    for answer in answers {
        assert_eq!((answer.status, &answer.json()["code"]), (503, &json!("storage_failed")), "{answer:?}");
    }
    for (index, chunk) in (1..).zip(&chunks[1..]) {
        assert_eq!(upload.put(index, chunk).await.status, 200);
    }
    assert_eq!(upload.stop(json!({ "chunks": 3 })).await.status, 202);
    check_video(cluster.address(0), &ready(cluster.address(0), "talk").await, webm()).await;
    assert_eq!(chunk_folders_in(own.path()), 0, "nothing was written");
    assert_eq!(get(cluster.address(0), "/health").await.json()["checks"]["same_stores"], "ok");
}

/// Whoever looked for them in a folder of its own would take them for deleted.
#[tokio::test]
async fn what_one_node_records_another_with_a_folder_of_its_own_leaves_alone() {
    if !Redis::is_here() {
        return;
    }
    let mut cluster = Cluster::start_with(1, &FLAGS).await;
    let (second, _own) = add_apart(&mut cluster).await;
    let chunks = cut(webm(), 3, 371);
    let names: Vec<String> = (0..6).map(|talk| format!("talk-{talk}")).collect();
    let mut recorders = Vec::new();
    for name in &names {
        let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": name })).await;
        recorder.store_all(0, &chunks).await;
        recorders.push(recorder);
    }
    // Their accounts have to be put back by whoever has their chunks.
    cluster.redis().empty();
    for recorder in recorders {
        recorder.lose();
    }
    for name in &names {
        check_video(cluster.address(0), &state(cluster.address(0), name, "ready").await, webm()).await;
    }
    let logs = cluster.process(second).logs();
    for word in ["claimed", "accounts are put back", "made whole"] {
        assert!(!logs.contains(word), "{word}: {logs}");
    }
}

#[tokio::test]
async fn a_node_with_chunks_in_redis_or_another_bucket_takes_none_either() {
    if !Redis::is_here() {
        return;
    }
    let server = S3Server::start();
    let settings = server.settings();
    let flags = [
        "--chunk-store=S3".to_owned(),
        format!("--s3-bucket={}", settings.bucket),
        format!("--s3-endpoint=http://{}", server.address()),
        format!("--s3-access-key-id={}", settings.access_key),
        format!("--s3-secret-access-key={}", settings.secret_key),
        "--lease-secs=2".to_owned(),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut cluster = Cluster::start_with(2, &flags).await;
    for node in 0..2 {
        check_says(&cluster, node, "ok").await;
    }
    let sentence = "is not where the other nodes of the cluster keep chunks";
    for (flag, setting) in
        [("--s3-prefix=elsewhere", "S3_BUCKET "), ("--chunk-store=REDIS", "CHUNK_STORE=REDIS ")]
    {
        let node = cluster.add(&[flag]).await;
        takes_none(&cluster, node, sentence).await;
        let logs = cluster.process(node).logs();
        assert!(logs.contains(&format!("no recordings here: {setting}")), "{logs}");
    }
}

#[tokio::test]
async fn a_node_takes_part_as_soon_as_its_folder_is_that_of_the_others() {
    if !Redis::is_here() {
        return;
    }
    let mut cluster = Cluster::start_with(1, &FLAGS).await;
    let (ways, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let way = ways.path().join("way");
    symlink(own.path(), &way).unwrap();
    let second = cluster.add(&[&at(&way)]).await;
    takes_none(&cluster, second, "STORAGE_LOCAL_PATH ").await;
    // As if the share were mounted now.
    symlink(cluster.storage(0), ways.path().join("right")).unwrap();
    fs::rename(ways.path().join("right"), &way).unwrap();
    check_says(&cluster, second, "ok").await;
    let mut recorder = Recorder::start(cluster.address(second), json!({ "recordId": "talk" })).await;
    recorder.store(0, webm()).await;
    recorder.stop(json!({ "chunks": 1 })).await;
    recorder.expect("finished").await;
    check_video(cluster.address(0), &recorder.ready().await, webm()).await;
}

/// Where the others turn out to be elsewhere later, recorders go to them.
#[tokio::test]
async fn a_node_that_turns_out_to_be_apart_lets_its_recorders_go_until_it_is_not() {
    if !Redis::is_here() {
        return;
    }
    let cluster = Cluster::start_with(1, &["--lease-secs=2", "--recording-grace-secs=600"]).await;
    let chunks = cut(webm(), 3, 372);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store(0, &chunks[0]).await;
    let folder = known(&cluster, "chunks").expect("it was said");
    let say = |place: &str| {
        let stores = ["HSET", "recordings:stores", "chunks", place, "videos", place, "since", "1"];
        cluster.redis().run::<()>(&stores);
    };
    say("elsewhere");
    recorder.expect_close(1001, "draining").await;
    takes_none(&cluster, 0, "STORAGE_LOCAL_PATH ").await;
    let token = recorder.token();
    refuses_to_begin(&cluster, 0, json!({ "uploadToken": token })).await;
    say(&folder);
    check_says(&cluster, 0, "ok").await;
    let mut recorder = Recorder::go_on(cluster.address(0), &token).await;
    recorder.store_all(1, &chunks[1..]).await;
    recorder.stop(json!({ "chunks": 3 })).await;
    recorder.expect("finished").await;
    check_video(cluster.address(0), &recorder.ready().await, webm()).await;
}

/// While the first one is away, what it has is still there, and somebody has to wait for it.
#[tokio::test]
async fn a_node_that_is_apart_does_not_take_over_when_the_others_are_away() {
    if !Redis::is_here() {
        return;
    }
    let mut cluster = Cluster::start_with(1, &FLAGS).await;
    let own = tempfile::tempdir().unwrap();
    let second = cluster.add(&[&at(own.path()), "--housekeeping-secs=1"]).await;
    // It is not new any more.
    runs_on(&cluster, second, 7).await;
    let chunks = cut(webm(), 3, 373);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    cluster.kill(0);
    eventually("Redis has forgotten it", async || known(&cluster, "chunks").is_none().then_some(())).await;
    // A few more times the second one says where it keeps recordings.
    runs_on(&cluster, second, 4).await;
    takes_none(&cluster, second, "STORAGE_LOCAL_PATH ").await;
    let sweeps = cluster.redis().run::<Option<String>>(&["GET", "recordings:lead:housekeeping"]);
    assert_eq!(sweeps, None, "it keeps no house");
    cluster.restart(0).await;
    check_says(&cluster, 0, "ok").await;
    check_video(cluster.address(0), &state(cluster.address(0), "talk", "ready").await, webm()).await;
}

#[tokio::test]
async fn others_that_move_to_the_folder_of_a_node_take_it_along() {
    if !Redis::is_here() {
        return;
    }
    let mut cluster = Cluster::start_with(1, &FLAGS).await;
    let (second, own) = add_apart(&mut cluster).await;
    check_says(&cluster, second, "down").await;
    cluster.stop(0).await;
    cluster.restart_with(0, &[&at(own.path())]).await;
    for node in [0, second] {
        check_says(&cluster, node, "ok").await;
    }
}

/// A Redis that was emptied learns it again, and from those who were there first.
#[tokio::test]
async fn an_emptied_redis_learns_where_recordings_are_from_those_that_were_there() {
    if !Redis::is_here() {
        return;
    }
    let cluster = Cluster::start_with(2, &FLAGS).await;
    let folder = known(&cluster, "videos").expect("it was said");
    cluster.redis().empty();
    eventually("it is said again", async || known(&cluster, "videos")).await;
    assert_eq!(known(&cluster, "videos"), Some(folder.clone()));
    // As if somebody newer had been quicker.
    let newer = ["chunks", "elsewhere", "videos", "elsewhere", "since", "99999999999999"];
    cluster.redis().run::<()>(&[&["HSET", "recordings:stores"][..], &newer].concat());
    eventually("the older ones stand", async || {
        (known(&cluster, "videos").as_ref() == Some(&folder)).then_some(())
    })
    .await;
    for node in 0..2 {
        assert_eq!(get(cluster.address(node), "/health/ready").await.status, 200);
    }
}

#[tokio::test]
async fn all_nodes_may_move_to_another_folder_together() {
    if !Redis::is_here() {
        return;
    }
    let mut cluster = Cluster::start_with(2, &FLAGS).await;
    let (moved, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // The same folder, by another way: it takes its name along.
    cluster.stop(1).await;
    let way = moved.path().join("way");
    symlink(cluster.storage(0), &way).unwrap();
    cluster.restart_with(1, &[&at(&way)]).await;
    // Another one: once nobody uses the first any more.
    for node in 0..2 {
        cluster.stop(node).await;
    }
    eventually("Redis has forgotten it", async || known(&cluster, "chunks").is_none().then_some(())).await;
    for node in 0..2 {
        cluster.restart_with(node, &[&at(new.path())]).await;
    }
}

#[tokio::test]
async fn what_could_not_be_seen_at_the_start_is_seen_when_redis_is_back() {
    if !Redis::is_here() {
        return;
    }
    let cluster = Cluster::start_with(1, &FLAGS).await;
    let line = Proxy::start(cluster.redis().address());
    line.cut();
    let (own, url) = (tempfile::tempdir().unwrap(), cluster.redis().url_at(line.address()));
    let start = |name: &str, storage: &Path| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = greenroom(folder.path());
        command.args(["--port=0", "--host=127.0.0.1", "--cluster-mode=true", FLAGS[0]]).args([
            format!("--node-id={name}"),
            format!("--redis-url={url}"),
            at(storage),
        ]);
        Process::run(command, folder)
    };
    let (apart, third) = (start("apart", own.path()), start("third", &cluster.storage(0)));
    line.heal();
    for (node, wanted) in [(&apart, "down"), (&third, "ok")] {
        eventually(wanted, async || {
            let health = get(node.address(), "/health").await.json();
            let is_ready = get(node.address(), "/health/ready").await.status == 200;
            (is_ready && health["checks"]["same_stores"] == wanted).then_some(())
        })
        .await;
    }
    eventually("it says why", async || {
        apart.logs().contains("is not where the other nodes of the cluster keep chunks").then_some(())
    })
    .await;
}
