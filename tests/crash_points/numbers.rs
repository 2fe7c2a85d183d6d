//! A node dies between the number of a chunk and its bytes, and nobody takes the recording up again: its recorder sends one request
//! after the other, and what was not answered once more, to another node. The place stays empty, and nothing is missing.

use serde_json::json;

use crate::support::{
    Cluster, Recorder, Redis, Upload, cut, eventually, packets, ready, sha256, status, video, webm,
};

const CHUNKS: usize = 5;
const FLAGS: [&str; 2] = ["--lease-secs=2", "--recording-grace-secs=1"];

/// A recording of whose chunks the third got a number and never came, the others after it.
struct Gap {
    cluster: Cluster,
    upload: Upload,
}

impl Gap {
    /// The second node dies at this point, should it come to it.
    async fn leave(crash_at: Option<&str>) -> Self {
        let mut cluster = Cluster::start_with(0, &FLAGS).await;
        cluster.add(&["--crash-at=chunk.numbered:3"]).await;
        let (first, _) = Upload::start(cluster.address(0), json!({ "recordId": "talk" })).await;
        let chunks = cut(webm(), CHUNKS, 400);
        for (index, chunk) in chunks[..2].iter().enumerate() {
            assert_eq!(first.post(chunk).await.json()["index"], index);
        }
        assert!(first.try_post(&chunks[2]).await.is_none(), "it dies with the number");
        cluster.ended(0).await;
        let crash_at = crash_at.map(|point| format!("--crash-at={point}"));
        cluster.add(&crash_at.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let upload = Upload::of(cluster.address(1), first.bearer.trim_start_matches("Bearer "));
        for (index, chunk) in (3..).zip(&chunks[2..]) {
            assert_eq!(
                upload.post(chunk).await.json()["index"],
                index,
                "nothing takes the place out of order"
            );
        }
        let status = status(cluster.address(1), "talk").await;
        assert_eq!((&status["chunks"], &status["missingChunks"]), (&json!(5), &json!([])), "{status}");
        Self { cluster, upload }
    }

    fn at(&self, node: usize) -> Upload {
        Upload::of(self.cluster.address(node), self.upload.bearer.trim_start_matches("Bearer "))
    }

    /// The video holds each chunk once, in order, and nothing is said to be missing.
    async fn check(&self, node: usize) {
        let node = self.cluster.address(node);
        let row = ready(node, "talk").await;
        let told = [&row["complete"], &row["chunks"], &row["missingChunks"], &row["gaps"]];
        assert_eq!(told, [&json!(true), &json!(5), &json!([]), &json!([])], "{row}");
        let bytes = video(node, &row).await;
        assert_eq!(row["sha256"], sha256(&bytes));
        let hashes = |media: &[u8]| {
            packets(media).map(|packets| packets.into_iter().map(|packet| packet.1).collect::<Vec<_>>())
        };
        assert_eq!(hashes(webm()), hashes(&bytes));
    }
}

#[tokio::test]
async fn what_its_recorder_says_it_made_is_there() {
    if !Redis::is_here() {
        return;
    }
    let gap = Gap::leave(None).await;
    let stopped = gap.upload.stop(json!({ "chunks": CHUNKS, "bytes": webm().len() })).await;
    assert_eq!((stopped.status, &stopped.json()["chunks"]), (202, &json!(5)), "{stopped:?}");
    gap.check(1).await;
}

#[tokio::test]
async fn whoever_makes_the_number_void_dies_and_another_does_it() {
    if !Redis::is_here() {
        return;
    }
    let mut gap = Gap::leave(Some("number.filled")).await;
    assert!(gap.upload.try_stop(json!({})).await.is_none());
    gap.cluster.ended(1).await;
    gap.cluster.add(&[]).await;
    let stopped = gap.at(2).stop(json!({})).await;
    assert_eq!((stopped.status, &stopped.json()["chunks"]), (202, &json!(5)), "{stopped:?}");
    gap.check(2).await;
}

#[tokio::test]
async fn nobody_says_stop_and_nothing_is_missing() {
    if !Redis::is_here() {
        return;
    }
    let gap = Gap::leave(None).await;
    // As if the half minute were over that requests without a socket have.
    let redis = gap.cluster.redis();
    redis.run::<i64>(&["HSET", "recording:{talk}", "deadline", "1"]);
    redis.run::<i64>(&["ZADD", "recordings:active", "1", "talk"]);
    gap.check(1).await;
}

#[tokio::test]
async fn a_redis_that_is_emptied_after_that_knows_of_it_again() {
    if !Redis::is_here() {
        return;
    }
    let gap = Gap::leave(None).await;
    let node = gap.cluster.address(1);
    let again = Recorder::go_on(node, gap.upload.bearer.trim_start_matches("Bearer ")).await;
    assert_eq!((&again.started["nextIndex"], &again.started["missing"]), (&json!(6), &json!([])));
    gap.cluster.redis().empty();
    eventually("its account is back", async || {
        let next: Option<u32> = gap.cluster.redis().run(&["GET", "recording:{talk}:chunk_index"]);
        (next == Some(6)).then_some(())
    })
    .await;
    let stopped = gap.upload.stop(json!({ "chunks": CHUNKS })).await;
    assert_eq!(stopped.status, 202, "{stopped:?}");
    gap.check(1).await;
}
