//! Names that are used again, and those that objects have.

use std::fs;

use bytes::Bytes;
use greenroom::{
    adapters::{
        ports::{ChunkStore as _, Committed, StoreError, VideoStore as _},
        s3::{S3Chunks, S3Settings, S3Videos},
    },
    domain::recording::Manifest,
};
use tempfile::TempDir;

use super::{HOURS, bucket, chunks, until_ok};
use crate::{
    chunk_suite::{manifest, of, put, token},
    id, index, mark,
    s3_server::{Fault, S3Server},
    support::make_older,
    video_suite::{key, proof},
};

/// A `DELETE` may arrive when the name is another's: none is ever sent to where manifests are.
#[tokio::test(flavor = "multi_thread")]
async fn what_remembers_a_name_is_only_ever_replaced() {
    let server = S3Server::start();
    let store = chunks(&server).await;
    put(&store, &id("daily"), 0, b"of a").await.unwrap();
    store.delete(&id("daily"), Some(token('a'))).await.unwrap();
    make_older(&server.file("manifests/daily.json"), 365 * 12 * HOURS);
    store.sweep().await.unwrap();
    assert_eq!(fs::read(server.file("manifests/daily.json")).unwrap(), b"", "however long ago it was");
    assert!(store.recordings().await.unwrap().is_empty());
    assert!(server.keys().iter().all(|key| !key.starts_with("chunks/")));

    let second = Manifest { token: token('b'), ..manifest(&id("daily"), 1) };
    assert!(store.create(second.clone()).await.unwrap());
    assert_eq!(store.recordings().await.unwrap(), [id("daily")], "before its first chunk");
    assert_eq!(store.manifest(&id("daily")).await.unwrap(), Some(second));
    let staged = store.stage(&of(&id("daily"), 'b'), Bytes::from_static(b"of b")).await.unwrap();
    assert_eq!(staged.commit(index(0), mark(b"of b")).await.unwrap(), Committed::Stored);
    assert!(
        server.file("chunks/daily/bbbbbbbbbbbbbbbb/chunk_00000000").exists(),
        "where no late delete reaches"
    );
    assert_eq!(server.seen("DELETE", "manifests/"), 0);
}

/// Whoever wants the name finishes what another node has begun, and keeps out of the way of what that one may still do.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_used_again_has_a_folder_of_its_own() {
    let server = S3Server::start();
    let store = chunks(&server).await;
    put(&store, &id("again"), 0, b"of a").await.unwrap();
    server.fail("POST", "delete", 9, Fault::Answer(500, "InternalError"));
    assert!(store.delete(&id("again"), None).await.is_err());
    server.mend();
    let first = server.keys().into_iter().filter(|key| key.starts_with("chunks/again/"));
    let first: Vec<_> = first.collect();
    assert_eq!(first.len(), 3);

    let second = Manifest { token: token('b'), ..manifest(&id("again"), 1) };
    until_ok(async || store.create(second.clone()).await).await;
    assert!(server.keys().iter().all(|key| !first.contains(key)), "the first one's are gone");
    let staged = store.stage(&of(&id("again"), 'b'), Bytes::from_static(b"of b")).await.unwrap();
    assert_eq!(staged.commit(index(0), mark(b"of b")).await.unwrap(), Committed::Stored);
    let own = "chunks/again/bbbbbbbbbbbbbbbb/chunk_00000000";
    assert_eq!(fs::read(server.file(own)).unwrap(), b"of b");
    store.save_manifest(Manifest { revision: 9, ..second.clone() }).await.unwrap();
    assert_eq!(store.list(&id("again")).await.unwrap().len(), 1);
    assert_eq!(store.read(&id("again"), index(0)).await.unwrap(), b"of b".as_slice());

    // What the first delete would still do meets nothing of the second.
    for key in &first {
        assert!(!server.file(key).exists(), "{key}");
    }
    store.delete(&id("again"), Some(token('b'))).await.unwrap();
    assert_eq!(server.keys().iter().filter(|key| key.starts_with("chunks/")).count(), 0);
}

/// Two nodes take the same recording away, and a third wants its name, all at once.
#[tokio::test(flavor = "multi_thread")]
async fn deletes_and_a_new_recording_of_one_name_do_not_mix() {
    let server = S3Server::start();
    let stores = [chunks(&server).await, chunks(&server).await, chunks(&server).await];
    for round in 0..3 {
        let id = id(&format!("race-{round}"));
        for at in 0..10 {
            put(&stores[0], &id, at, b"old").await.unwrap();
        }
        let deleting = |store: &S3Chunks| store.delete(&id, Some(token('a')));
        let beginning = async {
            let second = Manifest { token: token('b'), ..manifest(&id, 1) };
            let created = until_ok(async || match stores[2].create(second.clone()).await {
                Ok(false) => Err(StoreError::Failed("the first is still there".into())),
                created => created,
            });
            assert!(created.await);
            for at in 0..3 {
                let staged = stores[2].stage(&of(&id, 'b'), Bytes::from_static(b"new")).await.unwrap();
                assert_eq!(staged.commit(index(at), mark(b"new")).await.unwrap(), Committed::Stored);
            }
        };
        let (one, other, ()) = futures_util::join!(deleting(&stores[0]), deleting(&stores[1]), beginning);
        one.unwrap();
        other.unwrap();
        let listed = stores[1].list(&id).await.unwrap();
        assert_eq!(listed.len(), 3, "round {round}");
        for chunk in listed {
            assert_eq!(stores[1].read(&id, chunk.index).await.unwrap(), b"new".as_slice());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_named_as_files_are() {
    let server = S3Server::start();
    let settings = S3Settings { prefix: "team-a/greenroom".to_owned(), ..server.settings() };
    let bucket = bucket(settings).await;
    let (store, videos) = (S3Chunks::open(bucket.clone()).await.unwrap(), S3Videos::new(bucket));
    put(&store, &id("tuesday"), 12, b"bytes").await.unwrap();
    let desk = TempDir::new().unwrap();
    fs::write(desk.path().join("v"), b"video").unwrap();
    videos.put(&key("tuesday"), &desk.path().join("v"), proof(b"video")).await.unwrap();
    let crc = mark(b"bytes").crc;
    let expected = [
        "chunks/tuesday/begun_aaaaaaaaaaaaaaaa".to_owned(),
        "chunks/tuesday/chunk_00000012".to_owned(),
        format!("chunks/tuesday/mark_00000012_5_{crc:08x}_0_-_aaaaaaaaaaaaaaaa"),
        "manifests/tuesday.json".to_owned(),
        "recordings/tuesday.1.webm".to_owned(),
    ];
    assert_eq!(server.keys(), expected.map(|name| format!("team-a/greenroom/{name}")));
    assert_eq!(fs::read(server.file("team-a/greenroom/chunks/tuesday/chunk_00000012")).unwrap(), b"bytes");
    assert_eq!(store.recordings().await.unwrap(), [id("tuesday")]);
    assert_eq!(videos.of(&id("tuesday")).await.unwrap(), [key("tuesday")]);
}
