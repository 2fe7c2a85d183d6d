//! Chunks on the way to a bucket and back, and what is noted of them.

use std::fs;

use bytes::Bytes;
use greenroom::{
    adapters::ports::{ChunkStore as _, Committed, StoreError, StoredChunk, VideoStore as _},
    protocol::chunk::ChunkMark,
};
use tempfile::TempDir;

use super::{chunks, until_ok, videos};
use crate::{
    chunk_suite::{manifest, of, put},
    id, index, mark,
    s3_server::{Fault, S3Server},
    video_suite::{key, proof},
};

/// What a chunk meets on its way, and how often it is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_is_tried_again_where_that_helps() {
    let server = S3Server::start();
    let store = chunks(&server).await;
    let cases = [
        // A server in trouble, and one that wants to be left in peace for a moment.
        ("busy", Fault::Answer(500, "InternalError"), 2, true),
        ("slow", Fault::Answer(503, "SlowDown"), 1, true),
        // It was done, and nobody heard of it.
        ("lost", Fault::AnswerLost, 1, false),
        ("cut", Fault::Cut, 1, false),
        // Asking again changes nothing.
        ("forbidden", Fault::Answer(403, "AccessDenied"), 1, false),
        ("damaged", Fault::ChangedUpload, 1, false),
    ];
    for (name, fault, times, at_once) in cases {
        let id = id(name);
        store.create(manifest(&id, 1)).await.unwrap();
        let staged = store.stage(&of(&id, 'a'), Bytes::from_static(b"as it came")).await.unwrap();
        let place = format!("{name}/chunk_00000000");
        server.fail("PUT", &place, times, fault);
        let first = staged.commit(index(0), mark(b"as it came")).await;
        if at_once {
            assert_eq!(first.unwrap(), Committed::Stored, "{name}");
            assert_eq!(server.seen("PUT", &place), times + 1, "{name}");
        } else {
            // Of a lost connection the client may find that it can send again, and a server may say of changed bytes that they
            // were its own mistake.
            if let Err(error) = first {
                assert!(matches!(error, StoreError::Failed(_)), "{name}: {error}");
                let again = staged.commit(index(0), mark(b"as it came")).await;
                assert_eq!(again.unwrap(), Committed::Stored, "{name}");
            } else {
                assert!(!matches!(fault, Fault::Answer(..)), "{name} went through");
            }
        }
        let expected = [StoredChunk { index: index(0), mark: mark(b"as it came") }];
        assert_eq!(store.list(&id).await.unwrap(), expected, "{name}");
        assert_eq!(store.read(&id, index(0)).await.unwrap(), b"as it came".as_slice(), "{name}");
    }
    assert_eq!(server.seen("PUT", "forbidden/chunk_00000000"), 2, "once for each time that it was asked for");
}

/// The wire is watched: what arrives otherwise than it was sent, or half, is no chunk.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_is_whole_or_an_error() {
    let server = S3Server::start();
    let store = chunks(&server).await;
    put(&store, &id("wire"), 0, &[7; 100_000]).await.unwrap();
    server.fail("GET", "wire/chunk_00000000", 9, Fault::HalfAnswer);
    let error = store.read(&id("wire"), index(0)).await.expect_err("half of it");
    assert!(matches!(error, StoreError::Failed(_)), "{error}");
    server.mend();
    // A changed byte is for the mark to find.
    server.fail("GET", "wire/chunk_00000000", 1, Fault::ChangedDownload);
    let changed = until_ok(async || store.read(&id("wire"), index(0)).await).await;
    assert_ne!(mark(&changed), store.list(&id("wire")).await.unwrap()[0].mark);
    // An error is no chunk that is missing.
    for (status, code) in [(403, "AccessDenied"), (404, "NoSuchBucket"), (500, "InternalError")] {
        server.fail("GET", "wire/chunk_00000000", 4, Fault::Answer(status, code));
        let error = store.read(&id("wire"), index(0)).await.expect_err("an error");
        assert!(matches!(error, StoreError::Failed(_)), "{code}: {error}");
        server.mend();
        until_ok(async || store.list(&id("wire")).await).await;
    }
    server.fail("GET", "manifests/wire", 1, Fault::Answer(404, "NoSuchBucket"));
    assert!(store.manifest(&id("wire")).await.is_err(), "no recording is gone because its bucket is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_without_space_is_said() {
    let server = S3Server::start();
    let (store, videos, desk) = (chunks(&server).await, videos(&server).await, TempDir::new().unwrap());
    store.create(manifest(&id("full"), 1)).await.unwrap();
    let staged = store.stage(&of(&id("full"), 'a'), Bytes::from_static(b"x")).await.unwrap();
    for (status, code) in [(507, "XMinioStorageFull"), (403, "QuotaExceeded")] {
        server.fail("PUT", "chunk_00000000", 4, Fault::Answer(status, code));
        let error = staged.commit(index(0), mark(b"x")).await.expect_err("no space");
        assert!(matches!(error, StoreError::Full(_)) && error.is_transient(), "{error}");
        server.mend();
    }
    assert_eq!(staged.commit(index(0), mark(b"x")).await.unwrap(), Committed::Stored);
    let file = desk.path().join("made.webm");
    fs::write(&file, b"video").unwrap();
    server.fail("PUT", "recordings/", 4, Fault::Answer(507, "XMinioStorageFull"));
    let error = videos.put(&key("full"), &file, proof(b"video")).await.expect_err("no space");
    assert!(matches!(error, StoreError::Full(_)), "{error}");
    assert!(file.exists(), "what could not be put is kept");
}

/// Who came second and died before it could clear up has left a note; the chunk itself says which is its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_note_of_another_chunk_is_no_mark() {
    let server = S3Server::start();
    let store = chunks(&server).await;
    let said = ChunkMark { timecode_ms: Some(9), ..mark(b"stands") };
    store.create(manifest(&id("notes"), 1)).await.unwrap();
    let staged = store.stage(&of(&id("notes"), 'a'), Bytes::from_static(b"stands")).await.unwrap();
    staged.commit(index(0), said).await.unwrap();
    put(&store, &id("notes"), 1, b"plain").await.unwrap();
    let folder = server.file("chunks/notes");
    let others =
        ["mark_00000000_6_ffffffff_0_-_aaaaaaaaaaaaaaaa", "mark_00000001_5_ffffffff_0_-_bbbbbbbbbbbbbbbb"];
    for name in others {
        fs::write(folder.join(name), b"").unwrap();
    }
    fs::write(folder.join("mark_00000002_4_00000000_0_-_aaaaaaaaaaaaaaaa"), b"").unwrap();
    fs::write(folder.join("notes.txt"), b"foreign").unwrap();
    let expected =
        [StoredChunk { index: index(0), mark: said }, StoredChunk { index: index(1), mark: mark(b"plain") }];
    assert_eq!(store.list(&id("notes")).await.unwrap(), expected);
    // And one whose own note was lost.
    let mine =
        server.keys().into_iter().find(|key| key.contains("mark_00000001") && key.contains("aaaa")).unwrap();
    fs::remove_file(server.file(&mine)).unwrap();
    assert_eq!(store.list(&id("notes")).await.unwrap(), expected);
}

/// By the names alone, where they leave no doubt.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_reads_no_chunk() {
    let server = S3Server::start();
    let store = chunks(&server).await;
    for at in 0..20 {
        put(&store, &id("names"), at, &at.to_be_bytes()).await.unwrap();
    }
    let asked = |method| server.seen(method, "names/chunk_");
    let before = (asked("GET"), asked("HEAD"));
    assert_eq!(store.list(&id("names")).await.unwrap().len(), 20);
    assert_eq!((asked("GET"), asked("HEAD")), before);
}
