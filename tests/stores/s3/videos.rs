//! Videos: uploads in parts, and links.

use std::{fs, time::Duration};

use greenroom::adapters::{
    ports::{StoreError, VideoSource, VideoStore as _},
    s3::{S3Settings, S3Videos},
};
use tempfile::TempDir;

use super::{bucket, until_ok, videos};
use crate::{
    eventually,
    s3_server::{Fault, S3Server},
    video_suite::{key, proof, read},
};

/// A part is 8 MiB; this is sent in two.
fn large_video() -> Vec<u8> {
    (0..2_200_000_u32).flat_map(u32::to_le_bytes).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_fails_leaves_no_parts_and_stands_for_nothing() {
    let server = S3Server::start();
    let (store, desk) = (videos(&server).await, TempDir::new().unwrap());
    let (file, video) = (desk.path().join("large.webm"), large_video());
    fs::write(&file, &video).unwrap();
    let cases = [
        ("partNumber=2", Fault::Answer(403, "AccessDenied")),
        ("partNumber=2", Fault::Answer(500, "InternalError")),
        ("partNumber=2", Fault::ChangedUpload),
        ("partNumber=1", Fault::Answer(400, "BadDigest")),
    ];
    for (part, fault) in cases {
        server.fail("PUT", part, 9, fault);
        let error = store.put(&key("failed"), &file, proof(&video)).await.expect_err("it fails");
        assert!(matches!(error, StoreError::Failed(_)) && error.is_transient(), "{error}");
        server.mend();
        assert_eq!(server.parts(), 0, "after {fault:?}");
        assert!(file.exists(), "what could not be put is kept");
        until_ok(async || store.find(&key("failed")).await.map(|found| assert_eq!(found, None))).await;
    }
    // Another file than the one that was proven.
    let error = store.put(&key("failed"), &file, proof(&video[1..])).await.expect_err("not what was meant");
    assert!(error.to_string().contains("not what was meant"), "{error}");
    assert_eq!((server.parts(), store.find(&key("failed")).await.unwrap()), (0, None));

    // Nobody waits for it any more.
    server.fail("PUT", "partNumber=2", 1, Fault::Hangs);
    let sending = tokio::spawn(store.put(&key("failed"), &file, proof(&video)));
    eventually("a part is there", || server.parts() > 1).await;
    sending.abort();
    let _ = sending.await;
    eventually("its parts are taken away", || server.parts() == 0).await;
    assert_eq!(store.find(&key("failed")).await.unwrap(), None);

    // Trouble that passes is nothing: a busy server, lost answers.
    server.mend();
    server.fail("POST", "uploads", 1, Fault::Answer(503, "SlowDown"));
    server.fail("PUT", "partNumber=1", 1, Fault::Answer(500, "InternalError"));
    server.fail("PUT", "partNumber=2", 1, Fault::AnswerLost);
    store.put(&key("failed"), &file, proof(&video)).await.unwrap();
    assert!(read(&store, &key("failed")).await == Some(video));
    assert!(!file.exists() && server.parts() == 0);
}

/// More parts than are on their way at one time.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_video_arrives_in_order() {
    let server = S3Server::start();
    let (store, desk) = (videos(&server).await, TempDir::new().unwrap());
    let (file, video) = (desk.path().join("long.webm"), large_video().repeat(3));
    fs::write(&file, &video).unwrap();
    server.fail("PUT", "partNumber=2", 1, Fault::Answer(503, "SlowDown"));
    store.put(&key("long"), &file, proof(&video)).await.unwrap();
    assert_eq!(server.seen("PUT", "partNumber=") - 1, 4);
    assert!(fs::read(server.file("recordings/long.1.webm")).unwrap() == video);
}

/// The last answer is lost, and the upload is over.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_end_was_not_heard_is_done() {
    let server = S3Server::start();
    let (store, desk) = (videos(&server).await, TempDir::new().unwrap());
    let (file, video) = (desk.path().join("large.webm"), large_video());
    fs::write(&file, &video).unwrap();
    server.fail("POST", "uploadId", 1, Fault::AnswerLost);
    if let Err(error) = store.put(&key("unheard"), &file, proof(&video)).await {
        // However it was told: done again, it is done.
        assert!(error.is_transient(), "{error}");
        store.put(&key("unheard"), &file, proof(&video)).await.unwrap();
    }
    assert!(read(&store, &key("unheard")).await == Some(video));
    assert_eq!(server.parts(), 0);
}

async fn link_of(store: &S3Videos) -> String {
    match store.find(&key("linked")).await.unwrap() {
        Some(VideoSource::Elsewhere(about)) => {
            assert_eq!(about.size_bytes, 5);
            let how = r#"attachment; filename="A talk.webm""#.to_owned();
            store.link(&key("linked"), how).await.unwrap().expect("a way there")
        }
        other => panic!("no link: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_leads_to_a_video_by_the_way_of_browsers_and_for_a_while() {
    let server = S3Server::start();
    let settings = S3Settings {
        public_endpoint: Some("https://videos.example.com".to_owned()),
        link_ttl: Duration::from_secs(90),
        ..server.settings()
    };
    let (store, desk) = (S3Videos::new(bucket(settings).await), TempDir::new().unwrap());
    let file = desk.path().join("v");
    fs::write(&file, b"video").unwrap();
    assert_eq!(store.find(&key("linked")).await.unwrap(), None);
    store.put(&key("linked"), &file, proof(b"video")).await.unwrap();
    let link = link_of(&store).await;
    assert!(link.starts_with("https://videos.example.com/videos/recordings/linked.1.webm?"), "{link}");
    assert!(link.contains("X-Amz-Expires=90") && !link.contains("secret"), "{link}");

    let near = videos(&server).await;
    let link = link_of(&near).await;
    let answer = reqwest::get(&link).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "video/webm");
    assert_eq!(answer.headers()["content-disposition"], "attachment; filename=\"A talk.webm\"");
    assert_eq!(answer.bytes().await.unwrap(), b"video".as_slice());
    assert_eq!(reqwest::get(link.replace("linked", "other")).await.unwrap().status(), 403);
}
