//! What every chunk store must do.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use greenroom::{
    adapters::ports::{ChunkStore, Committed, RecordingRef, StoreError, StoredChunk},
    domain::recording::Manifest,
    protocol::{
        Fence, RecordId, TokenDigest,
        chunk::{Chunk, ChunkMark},
        recorder::{Framing, MimeType, RecordingState, Title},
    },
};

use crate::{id, index, mark};

/// Opens the store that is under test anew, as a restarted node would.
pub type Open<'a> = &'a (dyn Fn() -> Arc<dyn ChunkStore> + Sync);

/// Runs everything, each part on recordings of its own.
pub async fn suite(open: Open<'_>) {
    keeps_what_was_committed(open).await;
    keeps_marks_of_the_upload(open).await;
    forgets_what_was_only_staged(open).await;
    acknowledges_a_duplicate_once(open).await;
    keeps_places_empty(open).await;
    lets_the_first_of_many_stand(open).await;
    lets_the_first_of_many_twins_stand(open).await;
    takes_a_hundred_at_once(open).await;
    lists_by_number(open).await;
    replaces_a_manifest_whole(open).await;
    lets_one_of_many_begin(open).await;
    lets_the_latest_of_many_manifests_stand(open).await;
    deletes_and_begins_again(open).await;
    deletes_only_the_one_that_is_meant(open).await;
    never_mixes_two_of_one_name(open).await;
    says_its_age_and_space(open).await;
    commits_again(open).await;
    says_what_is_not_there(open).await;
}

/// Stages and commits; how it ended.
pub async fn put(
    store: &dyn ChunkStore,
    id: &RecordId,
    at: u32,
    payload: &[u8],
) -> Result<Committed, StoreError> {
    put_marked(store, id, at, payload, mark(payload)).await
}

async fn put_marked(
    store: &dyn ChunkStore,
    id: &RecordId,
    at: u32,
    payload: &[u8],
    mark: ChunkMark,
) -> Result<Committed, StoreError> {
    // `false` is a recording that is there already.
    store.create(manifest(id, 1)).await?;
    let staged = store.stage(&of(id, 'a'), Bytes::copy_from_slice(payload)).await?;
    staged.commit(index(at), mark).await
}

/// The recording of this name whose token is made of this letter; that of every manifest here is made of an a.
pub fn of(id: &RecordId, letter: char) -> RecordingRef {
    RecordingRef { id: id.clone(), token: token(letter) }
}

/// Whose token is made of this letter.
pub fn token(letter: char) -> TokenDigest {
    TokenDigest::parse(&letter.to_string().repeat(64)).expect("a digest")
}

pub fn manifest(id: &RecordId, version: u32) -> Manifest {
    Manifest {
        record_id: id.clone(),
        token: token('a'),
        mime_type: MimeType::parse("video/webm;codecs=vp8,opus").expect("known"),
        framing: Framing::Indexed,
        room: None,
        title: Title::parse("Weekly \"sync\" 🎥").expect("valid"),
        owner: None,
        started_ms: 1_700_000_000_000,
        ended_ms: None,
        state: RecordingState::Recording,
        stopped: false,
        announced: None,
        version,
        fence: Fence(7),
        keep_until_ms: None,
        merged_chunks: None,
        unheard: 0,
        fault: None,
        finished: None,
        revision: u64::from(version),
    }
}

async fn keeps_what_was_committed(open: Open<'_>) {
    let id = id("kept");
    let payload = [b"\x1A\x45\xDF\xA3".as_slice(), &[7; 100_000]].concat();
    assert_eq!(put(&*open(), &id, 0, &payload).await.unwrap(), Committed::Stored);
    assert_eq!(put(&*open(), &id, 1, b"more").await.unwrap(), Committed::Stored);

    let store = open();
    let expected = [
        StoredChunk { index: index(0), mark: mark(&payload) },
        StoredChunk { index: index(1), mark: mark(b"more") },
    ];
    assert_eq!(store.list(&id).await.unwrap(), expected);
    assert!(expected[0].mark.begins_segment && !expected[1].mark.begins_segment);
    assert_eq!(store.read(&id, index(0)).await.unwrap(), payload);
    assert_eq!(store.read(&id, index(1)).await.unwrap(), b"more".as_slice());
    assert!(store.recordings().await.unwrap().contains(&id));
}

/// A mark is what the recorder said and sent, and is not made from the bytes that are found later.
async fn keeps_marks_of_the_upload(open: Open<'_>) {
    let id = id("marks");
    let media = Bytes::from_static(b"\x1A\x45\xDF\xA3 as media begins");
    let said = [
        Chunk::described(media.clone(), Some(true), Some(u32::MAX)).unwrap(),
        Chunk::described(media.clone(), Some(false), Some(0)).unwrap(),
        Chunk::described(media.clone(), None, None).unwrap(),
    ];
    for (at, chunk) in (0..).zip(&said) {
        put_marked(&*open(), &id, at, &chunk.payload, chunk.mark).await.unwrap();
    }
    // What nothing in the bytes shows.
    let odd = ChunkMark { length: 4, crc: 0, begins_segment: true, timecode_ms: Some(40) };
    put_marked(&*open(), &id, 3, b"five!", odd).await.unwrap();
    let listed: Vec<_> = open().list(&id).await.unwrap().into_iter().map(|chunk| chunk.mark).collect();
    assert_eq!(listed, [said[0].mark, said[1].mark, said[2].mark, odd]);
}

/// A number whose chunk never came is void: whoever comes late finds its place taken.
async fn keeps_places_empty(open: Open<'_>) {
    let id = id("voids");
    put(&*open(), &id, 0, b"first").await.unwrap();
    let void = || async { put_marked(&*open(), &id, 1, b"", ChunkMark::VOID).await.unwrap() };
    assert_eq!(void().await, Committed::Stored);
    assert!(matches!(void().await, Committed::Stored | Committed::Taken(ChunkMark::VOID)));
    assert_eq!(put(&*open(), &id, 1, b"late").await.unwrap(), Committed::Taken(ChunkMark::VOID));
    put(&*open(), &id, 2, b"third").await.unwrap();
    let listed = open().list(&id).await.unwrap();
    assert_eq!(listed[1], StoredChunk { index: index(1), mark: ChunkMark::VOID });
    assert_eq!((listed.len(), StoredChunk::count(&listed)), (3, 2));
    let full = put_marked(&*open(), &id, 0, b"", ChunkMark::VOID).await.unwrap();
    assert_eq!(full, Committed::Taken(mark(b"first")), "what has come stands");
}

async fn forgets_what_was_only_staged(open: Open<'_>) {
    let id = id("staged");
    let store = open();
    assert!(
        store.stage(&of(&id, 'a'), Bytes::from_static(b"of nobody")).await.is_err(),
        "there is no such recording"
    );
    assert!(!store.recordings().await.unwrap().contains(&id), "and it makes none");
    store.create(manifest(&id, 1)).await.unwrap();
    let staged = store.stage(&of(&id, 'a'), Bytes::from_static(b"nobody counts it")).await.unwrap();
    assert!(store.list(&id).await.unwrap().is_empty());
    drop(staged);
    assert!(open().list(&id).await.unwrap().is_empty());
}

async fn acknowledges_a_duplicate_once(open: Open<'_>) {
    let id = id("twice");
    let said = mark(b"same bytes");
    let first = ChunkMark { timecode_ms: Some(1), ..said };
    assert_eq!(put_marked(&*open(), &id, 5, b"same bytes", first).await.unwrap(), Committed::Stored);
    // Sent again, perhaps with another time: the answer is the mark that stands.
    for again in [first, ChunkMark { timecode_ms: Some(2), ..said }] {
        let answer = put_marked(&*open(), &id, 5, b"same bytes", again).await.unwrap();
        assert_eq!(answer, Committed::Taken(first));
    }
    assert_eq!(put(&*open(), &id, 5, b"other bytes").await.unwrap(), Committed::Taken(first));
    let store = open();
    assert_eq!(store.list(&id).await.unwrap(), [StoredChunk { index: index(5), mark: first }]);
    assert_eq!(store.read(&id, index(5)).await.unwrap(), b"same bytes".as_slice());
}

/// All are staged before any is committed, and through two openings, as on two nodes.
async fn race(open: Open<'_>, id: &RecordId, payloads: &[Vec<u8>]) -> Vec<Committed> {
    let stores = [open(), open()];
    stores[0].create(manifest(id, 1)).await.unwrap();
    let mut staged = Vec::new();
    for (payload, store) in payloads.iter().zip(stores.iter().cycle()) {
        staged.push((store.stage(&of(id, 'a'), payload.clone().into()).await.unwrap(), mark(payload)));
    }
    let commits = staged.iter().map(|(staged, mark)| staged.commit(index(0), *mark));
    join_all(commits).await.into_iter().map(Result::unwrap).collect()
}

async fn lets_the_first_of_many_stand(open: Open<'_>) {
    let id = id("conflict");
    let payloads: Vec<_> = (0..50_u8).map(|letter| vec![letter; 1000 + usize::from(letter)]).collect();
    let answers = race(open, &id, &payloads).await;

    let winners: Vec<_> = (0..50).filter(|&at| answers[at] == Committed::Stored).collect();
    let [winner] = *winners.as_slice() else { panic!("stored: {winners:?}") };
    let stands = mark(&payloads[winner]);
    for (at, answer) in answers.iter().enumerate().filter(|(at, _)| *at != winner) {
        assert_eq!(*answer, Committed::Taken(stands), "attempt {at}");
    }
    let store = open();
    assert_eq!(store.list(&id).await.unwrap(), [StoredChunk { index: index(0), mark: stands }]);
    assert_eq!(store.read(&id, index(0)).await.unwrap(), payloads[winner]);
}

async fn lets_the_first_of_many_twins_stand(open: Open<'_>) {
    let id = id("twins");
    let payloads = vec![b"the very same".to_vec(); 50];
    let answers = race(open, &id, &payloads).await;
    let stored = answers.iter().filter(|answer| **answer == Committed::Stored).count();
    let taken = answers.iter().filter(|answer| **answer == Committed::Taken(mark(b"the very same"))).count();
    assert_eq!((stored, taken), (1, 49));
    assert_eq!(open().list(&id).await.unwrap().len(), 1);
}

async fn takes_a_hundred_at_once(open: Open<'_>) {
    let id = id("hundred");
    let store = open();
    let payload = |at: u32| at.to_be_bytes().repeat(500);
    let puts = (0..100).map(|at| {
        let (store, id, payload) = (store.clone(), id.clone(), payload(at));
        async move { put(&*store, &id, at, &payload).await.unwrap() }
    });
    assert!(join_all(puts).await.iter().all(|answer| *answer == Committed::Stored));
    let store = open();
    let listed = store.list(&id).await.unwrap();
    assert_eq!(listed.len(), 100);
    for (chunk, at) in listed.iter().zip(0..) {
        assert_eq!((chunk.index, chunk.mark), (index(at), mark(&payload(at))));
        assert_eq!(store.read(&id, index(at)).await.unwrap(), payload(at));
    }
}

async fn lists_by_number(open: Open<'_>) {
    let id = id("order");
    let store = open();
    let places = [1_048_575, 10, 9, 100_000, 2, 99_999, 0, 11, 1_000_000, 100];
    for at in places {
        put(&*store, &id, at, b"x").await.unwrap();
    }
    let listed: Vec<_> = open().list(&id).await.unwrap().iter().map(|chunk| chunk.index.get()).collect();
    assert_eq!(listed, BTreeSet::from(places).into_iter().collect::<Vec<_>>());
}

async fn replaces_a_manifest_whole(open: Open<'_>) {
    let id = id("manifest");
    assert_eq!(open().manifest(&id).await.unwrap(), None);
    assert!(open().save_manifest(manifest(&id, 1)).await.is_err(), "there is no such recording");
    assert!(open().create(manifest(&id, 1)).await.unwrap());
    assert!(!open().create(manifest(&id, 9)).await.unwrap(), "the name is taken");
    assert_eq!(open().manifest(&id).await.unwrap(), Some(manifest(&id, 1)));
    assert!(open().recordings().await.unwrap().contains(&id), "before its first chunk");

    let store = open();
    let saved = join_all((2..12).map(|version| store.save_manifest(manifest(&id, version)))).await;
    assert!(saved.iter().all(Result::is_ok));
    assert_eq!(open().manifest(&id).await.unwrap(), Some(manifest(&id, 11)), "the latest revision stands");
    store.save_manifest(manifest(&id, 3)).await.expect("an older one is no error");
    assert_eq!(open().manifest(&id).await.unwrap(), Some(manifest(&id, 11)));
    assert!(open().list(&id).await.unwrap().is_empty(), "a manifest is no chunk");
}

/// On several nodes at once.
async fn lets_one_of_many_begin(open: Open<'_>) {
    let id = id("begun");
    let stores: Vec<_> = (0..8).map(|_| open()).collect();
    let owners: Vec<_> = "01234567".chars().map(token).collect();
    let creations = stores.iter().zip(&owners);
    let creations = creations.map(|(store, &token)| store.create(Manifest { token, ..manifest(&id, 1) }));
    let created: Vec<_> = join_all(creations).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(created.iter().filter(|&&created| created).count(), 1, "{created:?}");
    let winner = created.iter().position(|&created| created).unwrap();
    assert_eq!(open().manifest(&id).await.unwrap().map(|manifest| manifest.token), Some(owners[winner]));
}

async fn lets_the_latest_of_many_manifests_stand(open: Open<'_>) {
    let id = id("revised");
    let stores: Vec<_> = (0..4).map(|_| open()).collect();
    assert!(stores[0].create(manifest(&id, 1)).await.unwrap());
    for round in 0..5_u32 {
        let versions = (0..12).map(|at| 2 + round * 12 + (at * 7 + round) % 12);
        let saves = versions.zip(stores.iter().cycle());
        let saves = saves.map(|(version, store)| store.save_manifest(manifest(&id, version)));
        assert!(join_all(saves).await.iter().all(Result::is_ok));
        let latest = manifest(&id, 2 + round * 12 + 11);
        assert_eq!(open().manifest(&id).await.unwrap(), Some(latest));
    }
    // The same again is no error; another state of the same revision takes its place.
    let again = manifest(&id, 61);
    stores[1].save_manifest(again.clone()).await.unwrap();
    let changed = Manifest { stopped: true, ..again };
    stores[2].save_manifest(changed.clone()).await.unwrap();
    assert_eq!(open().manifest(&id).await.unwrap(), Some(changed));
}

async fn deletes_and_begins_again(open: Open<'_>) {
    let (id, other) = (id("deleted"), id("neighbour"));
    let store = open();
    put(&*store, &other, 0, b"stays").await.unwrap();
    put(&*store, &id, 0, b"goes").await.unwrap();
    let staged = store.stage(&of(&id, 'a'), Bytes::from_static(b"too late")).await.unwrap();
    store.delete(&id, None).await.unwrap();

    assert!(staged.commit(index(1), mark(b"too late")).await.is_err(), "its recording is gone");
    drop(staged);
    assert!(
        store.stage(&of(&id, 'a'), Bytes::from_static(b"too late")).await.is_err(),
        "nobody brings it back"
    );
    assert!(store.save_manifest(manifest(&id, 2)).await.is_err());
    for store in [store.clone(), open()] {
        assert!(store.list(&id).await.unwrap().is_empty());
        assert_eq!(store.manifest(&id).await.unwrap(), None);
        assert!(!store.recordings().await.unwrap().contains(&id));
        assert_eq!(store.list(&other).await.unwrap().len(), 1);
    }
    store.delete(&id, None).await.expect("nothing there is no error");

    assert_eq!(put(&*store, &id, 0, b"anew").await.unwrap(), Committed::Stored);
    assert_eq!(open().read(&id, index(0)).await.unwrap(), b"anew".as_slice());
    assert_eq!(open().list(&id).await.unwrap().len(), 1);
}

async fn deletes_only_the_one_that_is_meant(open: Open<'_>) {
    let id = id("reused");
    let store = open();
    store.delete(&id, Some(token('a'))).await.expect("nothing there is no error");
    put(&*store, &id, 0, b"of a").await.unwrap();
    store.save_manifest(manifest(&id, 2)).await.unwrap();
    store.delete(&id, Some(token('b'))).await.expect("another's is no error");
    assert_eq!(open().list(&id).await.unwrap().len(), 1, "and stays");
    assert_eq!(open().manifest(&id).await.unwrap(), Some(manifest(&id, 2)));
    store.delete(&id, Some(token('a'))).await.unwrap();
    assert_eq!(open().manifest(&id).await.unwrap(), None);
    assert!(open().list(&id).await.unwrap().is_empty());
}

/// A node that slept comes late with what belongs to a recording whose name is another's by now.
async fn never_mixes_two_of_one_name(open: Open<'_>) {
    let id = id("mixed");
    let (late, store) = (open(), open());
    assert!(late.create(manifest(&id, 1)).await.unwrap());
    let staged = late.stage(&of(&id, 'a'), Bytes::from_static(b"of the first")).await.unwrap();
    store.delete(&id, Some(token('a'))).await.unwrap();
    let second = Manifest { token: token('b'), ..manifest(&id, 1) };
    assert!(store.create(second.clone()).await.unwrap());

    assert!(staged.commit(index(0), mark(b"of the first")).await.is_err());
    assert!(
        late.stage(&of(&id, 'a'), Bytes::from_static(b"of the first")).await.is_err(),
        "nor does it begin"
    );
    assert!(late.save_manifest(manifest(&id, 9)).await.is_err());
    late.delete(&id, Some(token('a'))).await.unwrap();
    drop(staged);
    for store in [store, late, open()] {
        assert!(store.list(&id).await.unwrap().is_empty());
        assert_eq!(store.manifest(&id).await.unwrap(), Some(second.clone()));
    }
}

async fn says_its_age_and_space(open: Open<'_>) {
    let id = id("aged");
    let store = open();
    assert_eq!(store.age(&id).await.unwrap(), None);
    put(&*store, &id, 0, b"young").await.unwrap();
    let age = open().age(&id).await.unwrap().expect("it is there");
    assert!(age < Duration::from_secs(60), "{age:?}");
    assert!(store.free_bytes().await.unwrap().is_none_or(|bytes| bytes > 0));
    store.sweep().await.expect("at any time");
    assert_eq!(open().list(&id).await.unwrap().len(), 1, "nothing of it was left behind");
    assert_eq!(open().manifest(&id).await.unwrap(), Some(manifest(&id, 1)));
}

/// A commit whose answer was lost is asked for again.
async fn commits_again(open: Open<'_>) {
    let id = id("again");
    let store = open();
    store.create(manifest(&id, 1)).await.unwrap();
    let staged = store.stage(&of(&id, 'a'), Bytes::from_static(b"once")).await.unwrap();
    for _ in 0..2 {
        assert_eq!(staged.commit(index(3), mark(b"once")).await.unwrap(), Committed::Stored);
    }
    drop(staged);
    assert_eq!(open().list(&id).await.unwrap(), [StoredChunk { index: index(3), mark: mark(b"once") }]);
    assert_eq!(open().read(&id, index(3)).await.unwrap(), b"once".as_slice());
}

async fn says_what_is_not_there(open: Open<'_>) {
    let (id, unknown) = (id("holes"), id("unknown"));
    let store = open();
    put(&*store, &id, 1, b"x").await.unwrap();
    for (id, at) in [(&id, 0), (&unknown, 1)] {
        let error = store.read(id, index(at)).await.expect_err("not there");
        assert!(matches!(error, StoreError::Missing(_)), "{error}");
    }
    assert!(store.list(&unknown).await.unwrap().is_empty());
    assert_eq!(store.manifest(&unknown).await.unwrap(), None);
    assert!(!store.recordings().await.unwrap().contains(&unknown), "asking makes nothing");
}
