//! A recording whose requests come to whichever node is next: all of them have it, and one that is dead costs nothing.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{
    CONFIGURATIONS, Cluster, Nginx, Recorder, Upload, check_video, cut, eventually, metric, ready, send,
    status, video, webm,
};

const MEBIBYTE: usize = 1024 * 1024;
/// The largest chunk over HTTP. Unit: bytes.
const CHUNK_BYTES_MAX: usize = 16 * MEBIBYTE;
/// More requests than nginx needs to find out that a node is dead, and enough to come to each that lives.
const MANY: usize = 24;

/// How each body ends that a node takes whole and does not answer.
const END: &[u8] = b"the end of it";

/// A chunk of this size that is part of a video and shows nothing.
fn filling(bytes: usize) -> Vec<u8> {
    let mut chunk = vec![0xEC, 0x01];
    chunk.extend(&(bytes as u64 - 9).to_be_bytes()[1..]);
    chunk.resize(bytes - END.len(), 0);
    chunk.extend(END);
    chunk
}

#[tokio::test]
async fn large_chunks_come_to_all_nodes_and_each_sends_any_part_of_the_video() {
    if !Nginx::is_here() {
        return;
    }
    let cluster = Cluster::start_with(3, &[]).await;
    let nginx = cluster.through_nginx("round_robin");
    let (upload, _) = Upload::start(nginx.address(), json!({ "recordId": "mine" })).await;
    let chunks = [webm().to_vec(), filling(CHUNK_BYTES_MAX), filling(CHUNK_BYTES_MAX)];
    for (index, chunk) in chunks.iter().enumerate() {
        let stored = upload.put(u32::try_from(index).expect("small"), chunk).await;
        assert_eq!(stored.status, 200, "{index}: {stored:?}");
    }
    assert_eq!(nginx.nodes_asked().len(), 3, "{}", nginx.requests());
    assert_eq!(upload.stop(json!({ "chunks": 3 })).await.status, 202);
    let made = ready(nginx.address(), "mine").await;
    let whole = video(nginx.address(), &made).await;
    let link = made["downloadUrl"].as_str().expect("a link");
    let mut tags = BTreeSet::new();
    for from in [0, 100, 200, 300, 400, 500] {
        let range = format!("bytes={from}-{}", from + 99);
        let part = send(nginx.address(), &format!("GET {link}"), &[("Range", &range)], b"").await;
        assert_eq!(part.status, 206, "{part:?}");
        assert!(part.body == whole[from..from + 100], "{range}");
        tags.insert(part.header("etag").expect("a validator").to_owned());
    }
    // A player takes parts of one video from several nodes only where they say that it is the same.
    assert_eq!(tags.len(), 1, "{tags:?}");
}

#[tokio::test]
async fn a_dead_node_costs_no_chunk() {
    if !Nginx::is_here() {
        return;
    }
    for configuration in CONFIGURATIONS {
        let mut cluster = Cluster::start_with(3, &[]).await;
        let nginx = cluster.through_nginx(configuration);
        let chunks = cut(webm(), 2 * MANY, 401);
        let (put, _) = Upload::start(nginx.address(), json!({ "recordId": "put" })).await;
        let (posted, _) = Upload::start(nginx.address(), json!({ "recordId": "posted" })).await;
        for (index, chunk) in chunks.iter().enumerate() {
            if index == MANY {
                cluster.kill(1);
            }
            let stored = put.put(u32::try_from(index).expect("small"), chunk).await;
            assert_eq!(stored.status, 200, "{configuration}: {index}: {stored:?}");
            let stored = posted.post(chunk).await;
            assert_eq!(stored.status, 200, "{configuration}: {index}: {stored:?}");
            assert_eq!(stored.json()["index"], index, "{configuration}");
        }
        let made = json!({ "chunks": chunks.len(), "bytes": webm().len() });
        let mut videos = BTreeSet::new();
        for upload in [put, posted] {
            assert_eq!(upload.stop(made.clone()).await.status, 202, "{configuration}");
            let finished = ready(nginx.address(), &upload.id).await;
            assert_eq!(finished["complete"], true, "{configuration}: {finished}");
            videos.insert(finished["sha256"].as_str().expect("a checksum").to_owned());
        }
        assert_eq!(videos.len(), 1, "{configuration}: both ways lead to the same video");
    }
}

#[tokio::test]
async fn a_recorder_whose_node_is_killed_goes_on_through_nginx() {
    if !Nginx::is_here() {
        return;
    }
    let mut cluster = Cluster::start_with(3, &["--recording-grace-secs=15"]).await;
    let nginx = cluster.through_nginx("round_robin");
    let chunks = cut(webm(), 8, 402);
    let mut recorder = Recorder::start(nginx.address(), json!({ "recordId": "mine" })).await;
    recorder.store_all(0, &chunks[..4]).await;
    let mut home = None;
    for node in 0..3 {
        if metric(cluster.address(node), r#"greenroom_sockets{kind="recorder"}"#).await > 0.0 {
            home = Some(node);
        }
    }
    cluster.kill(home.expect("a node has its socket"));
    let token = recorder.lose();
    let mut recorder = Recorder::go_on(nginx.address(), &token).await;
    assert_eq!(recorder.started["nextIndex"], 4, "{}", recorder.started);
    recorder.store_all(4, &chunks[4..]).await;
    let told = recorder.stop_and_wait(&chunks).await;
    assert_eq!((&told["complete"], &told["gaps"]), (&json!(true), &json!([])));
}

/// Stands where a node should: takes a request, but not more of it than this, answers none, and counts them.
async fn swallower(bytes_max: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(END)
                && request.len() < bytes_max
                && stream.read_buf(&mut request).await.is_ok_and(|read| read > 0)
            {}
            count.fetch_add(1, Ordering::Relaxed);
            let _ = stream.shutdown().await;
        }
    });
    (address, taken)
}

#[tokio::test]
async fn a_chunk_that_a_dying_node_may_have_numbered_is_given_to_no_other() {
    if !Nginx::is_here() {
        return;
    }
    for configuration in CONFIGURATIONS {
        let ((one, by_one), (other, by_other)) = (swallower(usize::MAX).await, swallower(usize::MAX).await);
        let nginx = Nginx::start(configuration, &[one, other]);
        for body in [filling(100), filling(MEBIBYTE)] {
            let before = by_one.load(Ordering::Relaxed) + by_other.load(Ordering::Relaxed);
            let answer = send(nginx.address(), "POST /recordings/mine/chunks", &[], &body).await;
            assert_eq!(answer.status, 502, "{configuration}");
            let after = by_one.load(Ordering::Relaxed) + by_other.load(Ordering::Relaxed);
            assert_eq!(after, before + 1, "{configuration}: {} bytes", body.len());
        }
    }
}

/// Its place is in the request, so whoever brings it may do so again, and another node may have it. One that came whole with its
/// head is passed on by nginx; of a longer one a part has gone by then, and its sender hears of that.
#[tokio::test]
async fn a_chunk_with_a_place_whose_node_dies_at_it_is_stored_once_by_another() {
    if !Nginx::is_here() {
        return;
    }
    for configuration in CONFIGURATIONS {
        let cluster = Cluster::start_with(2, &[]).await;
        let (begun, started) = Upload::start(cluster.address(0), json!({ "recordId": "mine" })).await;
        let token = started["uploadToken"].as_str().expect("a token");
        assert_eq!(begun.put(0, webm()).await.status, 200);
        let (small, large) = (filling(100), filling(MEBIBYTE));
        let deaths = [
            ("small, whole", &small, usize::MAX, 200),
            ("large, half", &large, MEBIBYTE / 2, 502),
            ("large, whole", &large, usize::MAX, 502),
        ];
        for (index, (what, chunk, bytes_max, code)) in (1..).zip(deaths) {
            let (dying, taken) = swallower(bytes_max).await;
            let living = cluster.address(1);
            // The first request comes to the first of the nodes.
            let nginx = Nginx::start(configuration, &[dying, living]);
            let upload = Upload::of(nginx.address(), token);
            let answer = upload.put(index, chunk).await;
            assert_eq!(answer.status, code, "{configuration}: {what}: {answer:?}");
            assert_eq!(taken.load(Ordering::Relaxed), 1, "{configuration}: {what}");
            let asked = eventually("the request is over", async || {
                Some(nginx.nodes_asked()).filter(|asked| !asked.is_empty())
            })
            .await;
            let passed_on = code == 200;
            assert_eq!(asked.contains(&living), passed_on, "{configuration}: {what}: {asked:?}");
            let stored = index + u32::from(passed_on);
            assert_eq!(status(cluster.address(0), "mine").await["chunks"], stored, "{configuration}: {what}");
            // Who puts it again comes to the next node, and may do so whatever became of the first.
            let again = upload.put(index, chunk).await;
            assert_eq!(again.status, 200, "{configuration}: {what}: {again:?}");
            assert_eq!(
                status(cluster.address(0), "mine").await["chunks"],
                index + 1,
                "{configuration}: {what}"
            );
        }
        let bytes = webm().len() + small.len() + 2 * large.len();
        assert_eq!(begun.stop(json!({ "chunks": 4, "bytes": bytes })).await.status, 202);
        check_video(cluster.address(0), &ready(cluster.address(1), "mine").await, webm()).await;
    }
}
