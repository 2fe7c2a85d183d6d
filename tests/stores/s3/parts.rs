//! Videos that go into a bucket part by part: who may go on with one, who may complete it, and what becomes of those that nobody
//! completes.

use std::{fs, sync::Arc};

use bytes::Bytes;
use greenroom::{
    adapters::ports::{PartsRef, RecordingRef, SentVideo, StoreError, VideoParts, VideoStore as _},
    protocol::{Fence, TokenDigest},
};

use super::videos;
use crate::{
    id,
    s3_server::{Fault, S3Server},
    support::make_old,
};

const PART: usize = 5 * 1024 * 1024;

fn recording(digit: &str) -> RecordingRef {
    RecordingRef { id: id("talk"), token: TokenDigest::parse(&digit.repeat(64)).unwrap() }
}

async fn parts(server: &S3Server) -> Arc<dyn VideoParts> {
    videos(server).await.parts().expect("a bucket takes parts")
}

/// Begins one of which two parts and a note are there.
async fn begun(parts: &dyn VideoParts) -> (PartsRef, Vec<String>, String) {
    let begun = parts.begin(recording("a"), Fence(7), "webm").await.unwrap();
    let to = begun.parts;
    parts.save_first(&to, vec![1; PART].into()).await.unwrap();
    let second = parts.put(&to, 2, vec![2; 1000].into()).await.unwrap();
    let tag = parts.save(&to, Bytes::from_static(b"a note"), begun.tag).await.unwrap().expect("it is ours");
    let first = parts.put(&to, 1, vec![1; PART].into()).await.unwrap();
    (to, vec![first, second], tag)
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_become_a_video_once_and_nothing_is_there_before() {
    let server = S3Server::start();
    let (one, other) = (parts(&server).await, parts(&server).await);
    let (to, tags, _) = begun(&*one).await;
    assert_eq!(to.key.fence(), Fence(7));
    assert!(videos(&server).await.find(&to.key).await.unwrap().is_none());
    assert!(one.claim(&to, Fence(9)).await.unwrap() && one.claim(&to, Fence(9)).await.unwrap());
    assert!(!other.claim(&to, Fence(10)).await.unwrap(), "another claim has it");
    let sent = SentVideo { parts: to.clone(), tags, is_in_file: true };
    let error = one.complete(&sent, 1).await.expect_err("it is longer");
    assert!(error.to_string().contains("not in the bucket as it was sent"), "{error}");
    // Its answer was lost: it is there.
    let size = PART as u64 + 1000;
    one.complete(&sent, size).await.unwrap();
    let store = videos(&server).await;
    let bytes = fs::read(server.file(&format!("recordings/{}", to.key.as_str()))).unwrap();
    assert_eq!((bytes.len() as u64, bytes[0], bytes[PART]), (size, 1, 2));
    assert_eq!(store.sha256(&to.key).await.unwrap(), crate::video_suite::proof(&bytes).sha256);
    one.forget(&recording("a")).await.unwrap();
    assert!(server.keys().iter().all(|key| !key.starts_with("assembly/")), "{:?}", server.keys());
    assert!(store.find(&to.key).await.unwrap().is_some(), "a video that is complete stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_at_a_time_goes_on_with_it() {
    let server = S3Server::start();
    let (one, other) = (parts(&server).await, parts(&server).await);
    let (to, _, tag) = begun(&*one).await;
    assert_eq!(other.load(&recording("b")).await.unwrap(), None, "another recording of this name");
    let loaded = other.load(&recording("a")).await.unwrap().expect("it is noted");
    assert_eq!((&loaded.parts, &loaded.note, &loaded.tag), (&to, &Bytes::from_static(b"a note"), &tag));
    assert!(other.load_first(&to).await.unwrap() == vec![1; PART]);
    let next = other.save(&to, Bytes::from_static(b"further"), loaded.tag).await.unwrap().expect("ours");
    assert_eq!(one.save(&to, Bytes::from_static(b"late"), tag).await.unwrap(), None);
    assert_eq!(other.load(&recording("a")).await.unwrap().expect("it is there").note, b"further".as_slice());
    // An answer that was lost is heard the second time.
    server.fail("PUT", ".state", 1, Fault::AnswerLost);
    assert!(other.save(&to, Bytes::from_static(b"on"), next).await.unwrap().is_some());
    other.claim(&to, Fence(9)).await.unwrap();
    assert_eq!(one.load(&recording("a")).await.unwrap(), None, "somebody completes it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_completes_is_ended() {
    let server = S3Server::start();
    let one = parts(&server).await;
    let (to, tags, _) = begun(&*one).await;
    // While the bucket is away it stays, with its note, by which it is found again.
    server.fail("DELETE", "uploadId", u32::MAX, Fault::Answer(500, "InternalError"));
    one.forget(&recording("a")).await.expect_err("it is away");
    server.mend();
    assert!(super::until_ok(async || one.load(&recording("a")).await).await.is_some());
    one.forget(&recording("a")).await.unwrap();
    assert_eq!((server.parts(), one.load(&recording("a")).await.unwrap()), (0, None));
    let error = one.put(&to, 2, Bytes::from_static(b"late")).await.expect_err("it is over");
    assert!(matches!(error, StoreError::Failed(_) | StoreError::Missing(_)), "{error}");
    let sent = SentVideo { parts: to, tags, is_in_file: true };
    one.complete(&sent, 9).await.expect_err("it is over");

    let (to, _, _) = begun(&*one).await;
    let store = videos(&server).await;
    let old = |kind: &str| {
        let mark = to.key.mark().expect("it has one");
        make_old(&server.file(&format!("assembly/{}.{mark}.{kind}", recording("a").stem())));
    };
    old("first");
    store.sweep().await.unwrap();
    assert!(server.parts() > 0, "its note is young");
    old("state");
    assert_eq!(store.sweep().await.unwrap().count, 2);
    assert_eq!((server.parts(), one.load(&recording("a")).await.unwrap()), (0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_obeys_no_conditions_gets_no_parts() {
    let server = S3Server::start();
    let one = parts(&server).await;
    server.fail("PUT", "", u32::MAX, Fault::IgnoresConditions);
    let error = one.begin(recording("a"), Fence(7), "webm").await.expect_err("two could go on with it");
    assert!(matches!(error, StoreError::Missing(_)), "{error}");
    assert_eq!(server.parts(), 0);
}
