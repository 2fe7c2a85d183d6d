//! Nodes that do not keep recordings in the same stores: the one that comes later does not start, or ends when that is seen.

use std::{path::Path, process::Command};

use tempfile::TempDir;

use crate::{
    s3::S3Server,
    support::{Cluster, Process, Proxy, Redis, eventually, get, greenroom, within},
};

const FLAGS: [&str; 1] = ["--lease-secs=2"];

/// A node of this cluster with settings of its own.
fn other(cluster: &Cluster, redis: &str, flags: &[&str]) -> (Command, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = greenroom(folder.path());
    command.args([
        "--port=0",
        "--host=127.0.0.1",
        "--node-id=other",
        "--cluster-mode=true",
        "--lease-secs=2",
    ]);
    command.args([
        format!("--redis-url={redis}"),
        format!("--storage-local-path={}", cluster.storage(0).display()),
    ]);
    command.args(flags);
    (command, folder)
}

/// Such a node does not start; gives what it says.
async fn refused(cluster: &Cluster, flags: &[&str]) -> String {
    let (mut command, _folder) = other(cluster, &cluster.redis().url(), flags);
    let ended = tokio::task::spawn_blocking(move || command.output().expect("the binary starts"));
    let output = within("it ends", ended).await.expect("no panic");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "it never listened: {output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn at(folder: &Path) -> String {
    format!("--storage-local-path={}", folder.display())
}

/// What Redis knows of a store.
fn known(cluster: &Cluster, what: &str) -> Option<String> {
    cluster.redis().run(&["HGET", "recordings:stores", what])
}

#[tokio::test]
async fn a_node_with_a_folder_of_its_own_does_not_start_and_says_why() {
    if !Redis::is_here() {
        return;
    }
    let cluster = Cluster::start_with(1, &FLAGS).await;
    let own = tempfile::tempdir().unwrap();
    let words = refused(&cluster, &[&at(own.path())]).await;
    let sentence = format!(
        "greenroom: STORAGE_LOCAL_PATH {} is not where the other nodes of the cluster keep chunks: all need the same \
         folder or bucket.",
        own.path().display()
    );
    assert!(words.contains(&sentence), "{words}");
    let words = refused(&cluster, &["--chunk-store=REDIS"]).await;
    assert!(
        words.contains("CHUNK_STORE=REDIS is not where the other nodes of the cluster keep chunks"),
        "{words}"
    );
    assert_eq!(cluster.mode(0).await, "cluster", "the first one is none the worse");
}

#[tokio::test]
async fn a_node_with_another_bucket_does_not_start_either() {
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
    let cluster = Cluster::start_with(2, &flags).await;
    let words = refused(&cluster, &[&flags[..], &["--s3-prefix=elsewhere"]].concat()).await;
    assert!(words.contains("greenroom: S3_BUCKET "), "{words}");
    assert!(words.contains("is not where the other nodes of the cluster keep chunks"), "{words}");
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
    std::os::unix::fs::symlink(cluster.storage(0), &way).unwrap();
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
    let (command, folder) = other(&cluster, &url, &[&at(own.path())]);
    let mut apart = Process::run(command, folder);
    let (command, folder) = other(&cluster, &url, &["--node-id=third"]);
    let third = Process::run(command, folder);
    line.heal();
    assert_eq!(apart.ended().await.code(), Some(1), "{}", apart.logs());
    let logs = apart.logs();
    assert!(logs.contains("is not where the other nodes of the cluster keep chunks"), "{logs}");
    for address in [third.address(), cluster.address(0)] {
        eventually("it serves", async || (get(address, "/health/ready").await.status == 200).then_some(()))
            .await;
    }
}
