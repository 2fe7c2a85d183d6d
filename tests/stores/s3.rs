//! The stores in a bucket: their suites on a real S3 server, and what only a bucket, or the way to it, can do wrong.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use greenroom::{
    adapters::{
        clock::Clock,
        ports::{
            ChunkStore, Committed, Guarded as _, StoreError, StoreState, StoredChunk, Swept, VideoSource,
            VideoStore,
        },
        s3::{Bucket, S3Chunks, S3Settings, S3Unusable, S3Videos},
    },
    domain::recording::Manifest,
    protocol::chunk::ChunkMark,
};
use tempfile::TempDir;

use crate::{
    chunk_suite::{self, manifest, put, token},
    eventually, id, index, mark, metrics,
    s3_server::{Fault, S3Server},
    support::{Proxy, make_older},
    video_suite::{self, key, proof, read},
};

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
        let staged = store.stage(&id, Bytes::from_static(b"as it came")).await.unwrap();
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
    let staged = store.stage(&id("full"), Bytes::from_static(b"x")).await.unwrap();
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
    let staged = store.stage(&id("notes"), Bytes::from_static(b"stands")).await.unwrap();
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

/// A chunk that came after its recording was taken away, from a node that died before it could see that.
#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_came_too_late_is_nobodys() {
    let server = S3Server::start();
    let store = chunks(&server).await;
    put(&store, &id("late"), 0, b"of the first").await.unwrap();
    put(&store, &id("late"), 1, b"of the first too").await.unwrap();
    let names = server.keys();
    let late: Vec<_> = names.iter().filter(|name| name.starts_with("chunks/late/")).collect();
    let kept = TempDir::new().unwrap();
    let meta = |key: &str| server.attributes(key);
    for (at, name) in late.iter().enumerate() {
        fs::copy(server.file(name), kept.path().join(at.to_string())).unwrap();
        fs::copy(meta(name), kept.path().join(format!("{at}.meta"))).unwrap();
    }
    store.delete(&id("late"), None).await.unwrap();
    assert!(server.keys().iter().all(|name| !name.starts_with("chunks/late/")));
    // As if somebody had taken away what remembers the name.
    fs::remove_file(server.file("manifests/late.json")).unwrap();
    assert!(store.create(Manifest { token: token('b'), ..manifest(&id("late"), 1) }).await.unwrap());
    for (at, name) in late.iter().enumerate() {
        fs::create_dir_all(server.file("chunks/late")).unwrap();
        fs::copy(kept.path().join(at.to_string()), server.file(name)).unwrap();
        fs::copy(kept.path().join(format!("{at}.meta")), meta(name)).unwrap();
    }

    // Nothing of the first is in the second, and nothing is in its way.
    assert!(store.list(&id("late")).await.unwrap().is_empty());
    let staged = store.stage(&id("late"), Bytes::from_static(b"of the second")).await.unwrap();
    let said = mark(b"of the second");
    assert_eq!(staged.commit(index(0), said).await.unwrap(), Committed::Stored);
    assert_eq!(store.list(&id("late")).await.unwrap(), [StoredChunk { index: index(0), mark: said }]);
    assert_eq!(store.read(&id("late"), index(0)).await.unwrap(), b"of the second".as_slice());
    // Somebody else's object is not written over.
    fs::write(server.file("chunks/late/chunk_00000007"), b"foreign").unwrap();
    let staged = store.stage(&id("late"), Bytes::from_static(b"x")).await.unwrap();
    assert!(staged.commit(index(7), mark(b"x")).await.is_err());
    assert_eq!(fs::read(server.file("chunks/late/chunk_00000007")).unwrap(), b"foreign");

    // Whoever finds what came late, where it wants to begin, begins beside it.
    fs::create_dir_all(server.file("chunks/left")).unwrap();
    let note = "chunks/left/mark_00000000_4_00000000_0_-_cccccccccccccccc";
    fs::write(server.file(note), b"").unwrap();
    put(&store, &id("left"), 0, b"mine").await.unwrap();
    assert!(server.file("chunks/left/aaaaaaaaaaaaaaaa/chunk_00000000").exists());
    assert!(server.file(note).exists());
}

const HOURS: Duration = Duration::from_secs(2 * 60 * 60);

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_was_half_done_goes_on() {
    let server = S3Server::start();
    let store = chunks(&server).await;
    for name in ["half", "stays"] {
        for at in 0..3 {
            put(&store, &id(name), at, b"bytes").await.unwrap();
        }
    }
    // Its manifest is gone, its chunks are not.
    server.fail("POST", "delete", 9, Fault::Answer(500, "InternalError"));
    assert!(store.delete(&id("half"), Some(token('a'))).await.is_err());
    server.mend();
    until_ok(async || store.manifest(&id("stays")).await).await;
    assert_eq!(store.recordings().await.unwrap(), [id("stays")]);
    assert!(store.list(&id("half")).await.unwrap().is_empty(), "not one that lost its chunks");
    assert_eq!(store.age(&id("half")).await.unwrap(), None);
    assert_eq!(store.sweep().await.unwrap(), Swept::default(), "somebody may be at work on it");
    make_older(&server.file("manifests/half.json"), HOURS);
    let swept = store.sweep().await.unwrap();
    assert_eq!(swept, Swept { count: 7, bytes: 15 }, "three chunks, their notes, and what showed it");
    assert!(server.keys().iter().all(|key| !key.starts_with("chunks/half/")));

    // What came too late goes after an hour, and nothing of a recording does.
    fs::create_dir_all(server.file("chunks/half/aaaaaaaaaaaaaaaa")).unwrap();
    for late in ["chunks/half/chunk_00000007", "chunks/half/aaaaaaaaaaaaaaaa/chunk_00000000"] {
        fs::write(server.file(late), b"12345").unwrap();
    }
    assert_eq!(store.sweep().await.unwrap(), Swept::default());
    for late in ["chunks/half/chunk_00000007", "chunks/half/aaaaaaaaaaaaaaaa/chunk_00000000"] {
        make_older(&server.file(late), HOURS);
    }
    for at in 0..3 {
        make_older(&server.file(&format!("chunks/stays/chunk_0000000{at}")), 13 * HOURS);
    }
    make_older(&server.file("manifests/stays.json"), 13 * HOURS);
    assert_eq!(store.recordings().await.unwrap(), [id("stays")], "what came late is no recording");
    assert_eq!(store.sweep().await.unwrap(), Swept { count: 2, bytes: 10 });
    assert_eq!(store.list(&id("stays")).await.unwrap().len(), 3, "what is a recording's stays");
    assert!(store.age(&id("stays")).await.unwrap().unwrap() < Duration::from_secs(60), "by its notes");
}

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
    let staged = store.stage(&id("daily"), Bytes::from_static(b"of b")).await.unwrap();
    assert_eq!(staged.commit(index(0), mark(b"of b")).await.unwrap(), Committed::Stored);
    assert!(
        server.file("chunks/daily/bbbbbbbbbbbbbbbb/chunk_00000000").exists(),
        "where no late delete reaches"
    );
    assert_eq!(server.seen("DELETE", "manifests/"), 0);
}

/// Chunks may be the only copy of what was acknowledged, whatever became of their manifest.
#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_have_lost_their_manifest_stay_until_somebody_says_so() {
    let server = S3Server::start();
    let store = chunks(&server).await;
    // One in the first folder of its name, one in a folder of its own.
    for name in ["first", "later"] {
        if name == "later" {
            put(&store, &id(name), 0, b"earlier").await.unwrap();
            store.delete(&id(name), None).await.unwrap();
        }
        put(&store, &id(name), 0, b"12345").await.unwrap();
        put(&store, &id(name), 1, b"678").await.unwrap();
        fs::remove_file(server.file(&format!("manifests/{name}.json"))).unwrap();
    }
    for key in server.keys().iter().filter(|key| key.starts_with("chunks/")) {
        make_older(&server.file(key), 13 * HOURS);
    }
    assert_eq!(store.sweep().await.unwrap(), Swept::default());
    assert_eq!(store.recordings().await.unwrap(), [id("first"), id("later")]);
    for name in ["first", "later"] {
        let id = id(name);
        assert_eq!(store.manifest(&id).await.unwrap(), None);
        assert!(store.age(&id).await.unwrap().unwrap() > 12 * HOURS);
        let expected = [(0, b"12345".as_slice()), (1, b"678")];
        let listed = store.list(&id).await.unwrap();
        let expected_list = expected.map(|(at, bytes)| StoredChunk { index: index(at), mark: mark(bytes) });
        assert_eq!(listed, expected_list, "{name}");
        for (at, bytes) in expected {
            assert_eq!(store.read(&id, index(at)).await.unwrap(), bytes);
        }
        assert!(!store.create(manifest(&id, 1)).await.unwrap(), "the name is taken");
        assert!(store.stage(&id, Bytes::from_static(b"x")).await.is_err(), "nobody knows whose it is");
        store.delete(&id, Some(token('a'))).await.expect("another's is no error");
        assert_eq!(store.list(&id).await.unwrap().len(), 2, "and stays");
        store.delete(&id, None).await.unwrap();
        assert!(server.keys().iter().all(|key| !key.starts_with(&format!("chunks/{name}/"))));
        assert_eq!(store.age(&id).await.unwrap(), None);
    }
    assert!(store.recordings().await.unwrap().is_empty());
    assert!(store.create(manifest(&id("first"), 1)).await.unwrap(), "the name is free again");
}

/// A node that takes chunks without a manifest away, and sleeps, takes nothing away of who has the name next.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_delete_of_lost_chunks_meets_nothing_of_the_next_recording() {
    let server = S3Server::start();
    let stores = [chunks(&server).await, chunks(&server).await];
    for round in 0..5 {
        let id = id(&format!("lost-{round}"));
        for at in 0..5 {
            put(&stores[0], &id, at, b"old").await.unwrap();
        }
        fs::remove_file(server.file(&format!("manifests/{id}.json"))).unwrap();
        let second = Manifest { token: token('b'), ..manifest(&id, 1) };
        let beginning = async {
            let created = until_ok(async || match stores[1].create(second.clone()).await {
                Ok(false) => Err(StoreError::Failed("the first is still there".into())),
                created => created,
            });
            assert!(created.await);
            let staged = stores[1].stage(&id, Bytes::from_static(b"new")).await.unwrap();
            assert_eq!(staged.commit(index(0), mark(b"new")).await.unwrap(), Committed::Stored);
        };
        // Who comes when the name is another's takes away that one: so only one deletes, and is met by a beginning.
        let (deleted, ()) = futures_util::join!(stores[0].delete(&id, None), beginning);
        deleted.unwrap();
        assert_eq!(stores[0].list(&id).await.unwrap().len(), 1, "round {round}");
        assert_eq!(stores[0].manifest(&id).await.unwrap().map(|kept| kept.token), Some(token('b')));
    }
}

/// A node died between showing that there is a recording and beginning it.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_to_nothing_is_no_recording_and_goes() {
    let server = S3Server::start();
    let store = chunks(&server).await;
    fs::create_dir_all(server.file("chunks/nothing")).unwrap();
    let left = ["begun_aaaaaaaaaaaaaaaa", "mark_00000000_4_00000000_0_-_aaaaaaaaaaaaaaaa"]
        .map(|name| format!("chunks/nothing/{name}"));
    for key in &left {
        fs::write(server.file(key), b"").unwrap();
    }
    assert!(store.recordings().await.unwrap().is_empty());
    assert_eq!(store.sweep().await.unwrap(), Swept::default(), "somebody may be at work on it");
    left.iter().for_each(|key| make_older(&server.file(key), HOURS));
    assert_eq!(store.sweep().await.unwrap(), Swept { count: 2, bytes: 0 });
    assert!(store.create(manifest(&id("nothing"), 1)).await.unwrap());
    assert!(!store.create(Manifest { token: token('b'), ..manifest(&id("nothing"), 1) }).await.unwrap());
    assert_eq!(store.recordings().await.unwrap(), [id("nothing")]);
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
    let staged = store.stage(&id("again"), Bytes::from_static(b"of b")).await.unwrap();
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
                let staged = stores[2].stage(&id, Bytes::from_static(b"new")).await.unwrap();
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
