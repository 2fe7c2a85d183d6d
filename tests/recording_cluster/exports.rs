//! MP4s over several nodes: made once, by whichever node is asked first, and by another when that one dies.

use serde_json::{Value, json};

use crate::{
    support::{
        Cluster, ExportProgram, Redis, Upload, ask_mp4, eventually, metric, mp4_of, ready, send, webm,
    },
    videos,
};

/// So many nodes with this program, and a recording.
async fn recorded(nodes: usize, program: &ExportProgram) -> (Cluster, Value) {
    let cluster = Cluster::start_with(nodes, &["--lease-secs=2", program.flag()]).await;
    let (upload, _) = Upload::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    assert_eq!(upload.put(0, webm()).await.status, 200);
    assert_eq!(upload.stop(json!({ "chunks": 1 })).await.status, 202);
    let row = ready(cluster.address(0), "talk").await;
    (cluster, row)
}

async fn made(cluster: &Cluster, node: usize) -> f64 {
    metric(cluster.address(node), r#"greenroom_exports_total{outcome="made"}"#).await
}

fn mp4s(cluster: &Cluster) -> usize {
    videos(cluster).iter().filter(|name| name.ends_with(".mp4")).count()
}

#[tokio::test]
async fn an_mp4_that_two_nodes_are_asked_for_is_made_once() {
    if !Redis::is_here() {
        return;
    }
    let program = ExportProgram::gated();
    let (cluster, row) = recorded(2, &program).await;
    let key = row["key"].as_str().unwrap();
    let (one, other) = (cluster.address(0), cluster.address(1));
    let answers = futures_util::join!(ask_mp4(one, "GET", key), ask_mp4(other, "GET", key));
    assert_eq!((answers.0.status, answers.1.status), (202, 202));
    program.began().await;
    for node in [one, other, one, other] {
        let told = ask_mp4(node, "GET", key).await;
        assert_eq!((told.status, &told.json()["state"]), (202, &json!("converting")), "{told:?}");
        assert!(told.json()["percent"].is_u64(), "{told:?}");
        assert_eq!(ask_mp4(node, "HEAD", key).await.status, 202);
    }
    program.open();
    let (there, here) = (mp4_of(one, key).await, mp4_of(other, key).await);
    assert_eq!((there.status, there.body == here.body), (200, true));
    eventually("it is counted", async || {
        (made(&cluster, 0).await + made(&cluster, 1).await == 1.0).then_some(())
    })
    .await;
    assert_eq!((program.runs().len(), mp4s(&cluster)), (1, 1));
}

#[tokio::test]
async fn an_mp4_whose_node_is_killed_is_made_by_the_next_that_is_asked() {
    if !Redis::is_here() {
        return;
    }
    let program = ExportProgram::gated();
    let (mut cluster, row) = recorded(2, &program).await;
    let key = row["key"].as_str().unwrap();
    assert_eq!(ask_mp4(cluster.address(0), "GET", key).await.status, 202);
    program.began().await;
    cluster.kill(0);
    assert_eq!(ask_mp4(cluster.address(1), "GET", key).await.status, 202);
    program.open();
    assert_eq!(mp4_of(cluster.address(1), key).await.status, 200);
    eventually("it is counted", async || (made(&cluster, 1).await == 1.0).then_some(())).await;
    assert_eq!(mp4s(&cluster), 1);
    // What the dead one has left goes with its next life.
    cluster.restart(0).await;
    assert_eq!(mp4_of(cluster.address(0), key).await.status, 200);
    let folder = cluster.storage(0).join("tmp").join("merges-node-0");
    eventually("its folder is empty", async || {
        folder.read_dir().map_or(true, |mut entries| entries.next().is_none()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_deletion_at_one_node_ends_the_export_of_another() {
    if !Redis::is_here() {
        return;
    }
    let program = ExportProgram::gated();
    let (cluster, row) = recorded(2, &program).await;
    let key = row["key"].as_str().unwrap();
    assert_eq!(ask_mp4(cluster.address(0), "GET", key).await.status, 202);
    program.began().await;
    let deleted = send(cluster.address(1), "DELETE /recordings/talk", &[], b"").await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
    eventually("it is over", async || {
        let outdated = r#"greenroom_exports_total{outcome="outdated"}"#;
        (metric(cluster.address(0), outdated).await == 1.0).then_some(())
    })
    .await;
    assert_eq!(videos(&cluster), Vec::<String>::new());
}

#[tokio::test]
async fn why_an_mp4_could_not_be_made_is_told_by_every_node() {
    if !Redis::is_here() {
        return;
    }
    let program = ExportProgram::doing("exit 1");
    let (cluster, row) = recorded(2, &program).await;
    let key = row["key"].as_str().unwrap();
    for node in [0, 1, 0] {
        let told = eventually("it has failed", async || {
            let answer = ask_mp4(cluster.address(node), "GET", key).await;
            (answer.status != 202).then_some(answer)
        })
        .await;
        assert_eq!(told.refusal(), (503, "export_failed".into()), "{told:?}");
    }
    assert_eq!(program.runs().len(), 1);
}

/// Before it is stored, and when it is stored and nobody was told.
#[tokio::test]
async fn an_mp4_whose_node_dies_around_its_storing_is_there_once() {
    if !Redis::is_here() {
        return;
    }
    for point in ["export.made", "export.stored"] {
        let program = ExportProgram::gated();
        program.open();
        let (mut cluster, row) = recorded(1, &program).await;
        let key = row["key"].as_str().unwrap();
        let dying = cluster.add(&[&format!("--crash-at={point}")]).await;
        assert_eq!(ask_mp4(cluster.address(dying), "GET", key).await.status, 202, "{point}");
        assert!(!cluster.ended(dying).await.success(), "{point}");
        let there = mp4_of(cluster.address(0), key).await;
        assert_eq!((there.status, mp4s(&cluster)), (200, 1), "{point}");
    }
}
