//! The stores in a bucket: their suites on a real S3 server, and what only a bucket, or the way to it, can do wrong.

mod chunks;
mod deletes;
mod names;
mod parts;
mod server;
mod videos;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use greenroom::adapters::{
    clock::Clock,
    ports::StoreError,
    s3::{Bucket, S3Chunks, S3Settings, S3Videos},
};
use tempfile::TempDir;

use crate::{chunk_suite, metrics, s3_server::S3Server, video_suite};

const HOURS: Duration = Duration::from_secs(2 * 60 * 60);

async fn bucket(settings: S3Settings) -> Arc<Bucket> {
    Bucket::open(settings, Clock::start(), metrics()).await.expect("it opens")
}

async fn chunks(server: &S3Server) -> S3Chunks {
    S3Chunks::open(bucket(server.settings()).await).await.expect("it opens")
}

async fn videos(server: &S3Server) -> S3Videos {
    S3Videos::new(bucket(server.settings()).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_in_a_bucket_do_what_every_chunk_store_must() {
    let server = S3Server::start();
    let (one, other) = (chunks(&server).await, chunks(&server).await);
    // Two nodes in turn.
    let opened = AtomicUsize::new(0);
    chunk_suite::suite(&|| {
        let turn = opened.fetch_add(1, Ordering::Relaxed);
        Arc::new([&one, &other][turn % 2].clone())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn videos_in_a_bucket_do_what_every_video_store_must() {
    let (server, desk) = (S3Server::start(), TempDir::new().unwrap());
    let store = videos(&server).await;
    video_suite::suite(&|| Arc::new(store.clone()), desk.path()).await;
    assert_eq!(server.parts(), 0);
}

/// Asks again until it is done; a server that did not answer is left alone for a moment.
async fn until_ok<T>(ask: impl AsyncFn() -> Result<T, StoreError>) -> T {
    let until = std::time::Instant::now() + crate::DEADLINE;
    loop {
        match ask().await {
            Ok(done) => return done,
            Err(error) => assert!(std::time::Instant::now() < until, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
