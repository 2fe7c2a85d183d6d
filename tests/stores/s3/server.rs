//! The server itself: one that lets nobody in, knows no conditions, is away, hangs.

use std::time::Duration;

use greenroom::adapters::{
    clock::Clock,
    ports::{ChunkStore as _, Committed, Guarded as _, StoreError, StoreState, VideoStore as _},
    s3::{Bucket, S3Chunks, S3Settings, S3Unusable, S3Videos},
};

use super::{bucket, until_ok};
use crate::{
    chunk_suite::{manifest, put},
    id, index, metrics,
    s3_server::{Fault, S3Server},
    support::Proxy,
    video_suite::key,
};

/// Why it is not opened.
async fn refused(settings: S3Settings) -> String {
    let S3Unusable(why) =
        Bucket::open(settings, Clock::start(), metrics()).await.err().expect("it is refused");
    assert!(!why.contains("test-secret"), "{why}");
    why
}

/// A node with a wrong setting does not start, and says which.
#[tokio::test]
async fn a_bucket_that_cannot_be_entered_is_refused_at_the_start() {
    let server = S3Server::start();
    let settings = server.settings();
    let why = refused(S3Settings { secret_key: "wrong".to_owned(), ..settings.clone() }).await;
    assert!(why.contains("SignatureDoesNotMatch"), "{why}");
    let why = refused(S3Settings { access_key: "nobody".to_owned(), ..settings.clone() }).await;
    assert!(why.contains("bucket videos"), "{why}");
    let refusals = [
        (301, "PermanentRedirect"),
        (400, "AuthorizationHeaderMalformed"),
        (403, "AccessDenied"),
        (403, "RequestTimeTooSkewed"),
        (404, "NoSuchBucket"),
    ];
    for (status, code) in refusals {
        server.fail("PUT", "probe-", 1, Fault::Answer(status, code));
        let why = refused(settings.clone()).await;
        assert!(why.contains("bucket videos") && why.contains("region us-east-1"), "{why}");
        assert!(status == 301 || why.contains(code), "{why}");
    }
    server.fail("GET", "list-type", 1, Fault::Answer(403, "AccessDenied"));
    assert!(refused(settings.clone()).await.contains("AccessDenied"), "it may not list");
    server.fail("HEAD", "probe-", 1, Fault::ForgetsMetadata);
    assert!(refused(settings.clone()).await.contains("x-amz-meta-"));
    refused(S3Settings { prefix: "a b".to_owned(), ..settings }).await;
}

/// A server that ignores conditions would let a second chunk take the place of the first.
#[tokio::test]
async fn a_server_that_knows_no_conditions_gets_no_chunks() {
    let server = S3Server::start();
    let bucket = bucket(server.settings()).await;
    // The first write stands, the second and the third must be refused.
    server.fail("PUT", "probe-", 9, Fault::IgnoresConditions);
    let S3Unusable(why) = S3Chunks::open(bucket.clone()).await.err().expect("refused");
    assert!(why.contains("If-None-Match"), "{why}");
    server.mend();
    S3Chunks::open(bucket).await.expect("once it obeys them");
}

/// Away at the start, a bucket holds nobody up; what needs it fails until it is back, and only what needs it.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_away_at_the_start_may_come_back() {
    let server = S3Server::start();
    let proxy = Proxy::start(server.address());
    proxy.cut();
    let settings = S3Settings { timeout: Duration::from_secs(1), ..server.settings_at(proxy.address()) };
    let bucket = bucket(settings).await;
    let store = S3Chunks::open(bucket.clone()).await.expect("it may come back");
    let videos = S3Videos::new(bucket);
    let is_transient = |error: StoreError| matches!(error, StoreError::Failed(_)) && error.is_transient();
    assert!(is_transient(store.create(manifest(&id("early"), 1)).await.unwrap_err()));
    assert!(is_transient(store.list(&id("early")).await.unwrap_err()), "no recording without chunks");
    assert!(is_transient(store.manifest(&id("early")).await.unwrap_err()));
    assert!(is_transient(store.read(&id("early"), index(0)).await.unwrap_err()));
    assert!(is_transient(videos.find(&key("early")).await.unwrap_err()));
    assert!(is_transient(videos.of(&id("early")).await.unwrap_err()));

    proxy.heal();
    until_ok(async || store.create(manifest(&id("early"), 1)).await).await;
    assert_eq!(put(&store, &id("early"), 0, b"stored").await.unwrap(), Committed::Stored);
    assert_eq!(videos.find(&key("early")).await.unwrap(), None);
}

/// A server that answers nobody costs a timeout, and then nothing, until it is asked again.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_left_alone() {
    let server = S3Server::start();
    let settings = S3Settings { timeout: Duration::from_millis(200), ..server.settings() };
    let metrics = metrics();
    let bucket = Bucket::open(settings, Clock::start(), metrics.clone()).await.expect("it opens");
    let breaker = |state: &str| metrics.s3_breaker.with_label_values(&[state]).get();
    let heads = |outcome: &str| metrics.s3_operations.with_label_values(&["head", outcome]).get();
    let store = S3Videos::new(bucket.clone());
    let before = (bucket.state(), breaker("closed"), breaker("open"), heads("away"));
    assert_eq!(before, (StoreState::Closed, 1, 0, 0));
    server.fail("HEAD", "recordings/", u32::MAX, Fault::Hangs);
    for _ in 0..10 {
        assert!(store.find(&key("any")).await.is_err());
    }
    let asked = server.seen("HEAD", "recordings/");
    assert!(store.find(&key("any")).await.unwrap_err().to_string().contains("left alone"));
    assert_eq!(server.seen("HEAD", "recordings/"), asked);
    assert_ne!(bucket.state(), StoreState::Closed);
    assert_eq!(breaker("closed"), 0);
    assert!(heads("away") >= 5 && heads("not_asked") > 0);
    server.mend();
    assert_eq!(until_ok(async || { store.find(&key("any")).await }).await, None);
    assert_eq!((bucket.state(), breaker("closed"), breaker("open")), (StoreState::Closed, 1, 0));
    assert!(heads("missing") > 0);
    // As long as those took that it waited for, and nothing for what was not asked.
    let took = metrics.s3_duration.with_label_values(&["head"]);
    assert_eq!(took.get_sample_count(), ["ok", "away", "missing"].map(heads).iter().sum::<u64>());
}
