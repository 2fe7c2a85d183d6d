//! What is left of recordings that were taken away, or came to nothing.

use std::{fs, time::Duration};

use bytes::Bytes;
use greenroom::{
    adapters::ports::{ChunkStore as _, Committed, StoreError, StoredChunk, Swept},
    domain::recording::Manifest,
};
use tempfile::TempDir;

use super::{HOURS, chunks, until_ok};
use crate::{
    chunk_suite::{manifest, of, put, token},
    id, index, mark,
    s3_server::{Fault, S3Server},
    support::make_older,
};

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
    let staged = store.stage(&of(&id("late"), 'b'), Bytes::from_static(b"of the second")).await.unwrap();
    let said = mark(b"of the second");
    assert_eq!(staged.commit(index(0), said).await.unwrap(), Committed::Stored);
    assert_eq!(store.list(&id("late")).await.unwrap(), [StoredChunk { index: index(0), mark: said }]);
    assert_eq!(store.read(&id("late"), index(0)).await.unwrap(), b"of the second".as_slice());
    // Somebody else's object is not written over.
    fs::write(server.file("chunks/late/chunk_00000007"), b"foreign").unwrap();
    let staged = store.stage(&of(&id("late"), 'b'), Bytes::from_static(b"x")).await.unwrap();
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
        assert!(
            store.stage(&of(&id, 'a'), Bytes::from_static(b"x")).await.is_err(),
            "nobody knows whose it is"
        );
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
            let staged = stores[1].stage(&of(&id, 'b'), Bytes::from_static(b"new")).await.unwrap();
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
