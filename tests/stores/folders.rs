//! The stores on folders: their suites, and what only a folder can do wrong.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use greenroom::{
    adapters::{
        chunk_store::FolderChunks,
        ports::{ChunkStore, Committed, StoreError, StoredChunk, Swept, VideoStore},
        video_store::FolderVideos,
    },
    protocol::chunk::ChunkMark,
};
use tempfile::TempDir;

use crate::{
    chunk_suite::{self, manifest, of, put},
    eventually, id, index, mark,
    support::make_old,
    video_suite::{self, key, proof, read},
};

fn chunks(root: &Path) -> FolderChunks {
    FolderChunks::open(root).expect("it opens")
}

fn videos(root: &Path) -> FolderVideos {
    FolderVideos::open(root).expect("it opens")
}

/// The names in a folder, in order.
fn listing(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(name).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_in_a_folder_do_what_every_chunk_store_must() {
    let root = TempDir::new().unwrap();
    chunk_suite::suite(&|| Arc::new(chunks(&root.path().join("below/not yet there")))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn videos_in_a_folder_do_what_every_video_store_must() {
    let root = TempDir::new().unwrap();
    video_suite::suite(&|| Arc::new(videos(&root.path().join("below"))), root.path()).await;
    assert_eq!(
        listing(&root.path().join("below/recordings")),
        [
            "again.1.webm",
            "kept.1.webm",
            "o.9.mp4",
            "of-two.9.webm",
            "of.10.jpg",
            "of.10.webm",
            "of.9.webm",
            "replaced.1.webm",
            "stays.1.webm"
        ]
    );
}

/// The names are for other programs too.
#[tokio::test]
async fn a_chunk_is_a_file_of_exactly_its_bytes() {
    let root = TempDir::new().unwrap();
    let store = chunks(root.path());
    put(&store, &id("tuesday"), 12, b"bytes").await.unwrap();
    store.save_manifest(manifest(&id("tuesday"), 12)).await.unwrap();
    store.save_manifest(manifest(&id("tuesday"), 100)).await.unwrap();
    let folder = root.path().join("chunks/tuesday");
    assert_eq!(fs::read(folder.join("chunk_00000012")).unwrap(), b"bytes");
    eventually("the staged name is gone", || listing(&folder).len() == 4).await;
    let mark = format!("mark_00000012_5_{:08x}_0_-", mark(b"bytes").crc);
    assert_eq!(listing(&folder), ["chunk_00000012", "manifest.json", &mark, "revisions"]);
    assert_eq!(listing(&folder.join("revisions")), ["00000000000000000100.json"], "what is outdated is gone");
}

#[tokio::test]
async fn a_byte_that_changed_in_storage_is_seen() {
    let root = TempDir::new().unwrap();
    put(&chunks(root.path()), &id("flip"), 0, b"as it came").await.unwrap();
    fs::write(root.path().join("chunks/flip/chunk_00000000"), b"as it cAme").unwrap();
    let store = chunks(root.path());
    let noted = store.list(&id("flip")).await.unwrap()[0].mark;
    assert_eq!(noted, mark(b"as it came"), "the mark is that of the upload");
    assert_eq!(store.read(&id("flip"), index(0)).await.unwrap(), b"as it cAme".as_slice(), "read as it is");
    // The first bytes stand for what was sent, though the disk has lost them: sent again, they are no conflict.
    assert_eq!(put(&store, &id("flip"), 0, b"as it came").await.unwrap(), Committed::Taken(noted));
}

#[tokio::test]
async fn a_chunk_without_a_mark_gets_one_from_its_bytes_once() {
    let root = TempDir::new().unwrap();
    let folder = root.path().join("chunks/bare");
    let media = b"\x1A\x45\xDF\xA3 media";
    let store = chunks(root.path());
    assert!(store.create(manifest(&id("bare"), 1)).await.unwrap());
    fs::write(folder.join("chunk_00000003"), media).unwrap();
    let expected = [StoredChunk { index: index(3), mark: mark(media) }];
    assert!(expected[0].mark.begins_segment);
    assert_eq!(store.list(&id("bare")).await.unwrap(), expected);
    assert_eq!(put(&store, &id("bare"), 3, media).await.unwrap(), Committed::Taken(mark(media)));
    // From now on a change is seen.
    fs::write(folder.join("chunk_00000003"), b"changed").unwrap();
    assert_eq!(chunks(root.path()).list(&id("bare")).await.unwrap(), expected);
    // Where nobody knows whose it is, nothing is added.
    fs::remove_file(folder.join("manifest.json")).unwrap();
    assert!(put(&store, &id("bare"), 4, media).await.is_err());
    assert_eq!(store.list(&id("bare")).await.unwrap(), expected);
}

#[tokio::test]
async fn names_that_are_not_ours_are_no_chunks_and_are_left_alone() {
    let root = TempDir::new().unwrap();
    let store = chunks(root.path());
    put(&store, &id("mine"), 0, b"mine").await.unwrap();
    let folder = root.path().join("chunks/mine");
    let foreign =
        ["chunk_00000001.webm", "chunk_1", "chunk_99999999", "chunk_000000001", "notes.txt", ".partialx"];
    for name in foreign {
        fs::write(folder.join(name), b"foreign").unwrap();
        make_old(&folder.join(name));
    }
    fs::create_dir(folder.join("chunk_00000002")).unwrap();
    for name in ["no recording", "a.b", ".hidden"] {
        fs::create_dir(root.path().join("chunks").join(name)).unwrap();
        fs::write(root.path().join("chunks").join(name).join("chunk_00000000"), b"foreign").unwrap();
    }
    fs::write(root.path().join("chunks/a-file"), b"foreign").unwrap();

    let store = chunks(root.path());
    assert_eq!(store.list(&id("mine")).await.unwrap().len(), 1);
    assert_eq!(store.recordings().await.unwrap(), [id("mine")]);
    for name in foreign {
        assert!(folder.join(name).exists(), "{name}");
    }
}

#[tokio::test]
async fn what_a_crash_left_is_cleared_away_at_the_next_start() {
    let root = TempDir::new().unwrap();
    let folder = root.path().join("chunks/crashed");
    put(&chunks(root.path()), &id("crashed"), 0, b"acknowledged").await.unwrap();
    let before = || listing(&folder);
    eventually("the staged name is gone", || before().len() == 3).await;
    let whole = before();

    // A file half written, one that was noted and lost its power before it had a place, and one just being written.
    let young = ".partial-0123";
    let left = [".partial-4567", "mark_00000001_4_00000000_0_-"];
    for name in [left[0], left[1], young] {
        fs::write(folder.join(name), b"half").unwrap();
    }
    left.iter().for_each(|name| make_old(&folder.join(name)));
    // A delete that was half done, and a recording that never had anything.
    let deleted = root.path().join("chunks/.deleted-gone-0123");
    fs::create_dir_all(deleted.join("x")).unwrap();
    fs::write(deleted.join("chunk_00000000"), b"x").unwrap();
    let empty = root.path().join("chunks/empty");
    fs::create_dir(&empty).unwrap();
    make_old(&empty);
    let copy = root.path().join("recordings/.partial-89ab");
    fs::create_dir(root.path().join("recordings")).unwrap();
    fs::write(&copy, b"half").unwrap();
    make_old(&copy);

    let store = chunks(root.path());
    videos(root.path());
    assert_eq!(
        before(),
        [&[young.to_owned()], whole.as_slice()].concat(),
        "another node's work is left alone"
    );
    assert!(!deleted.exists() && !empty.exists() && !copy.exists());
    assert_eq!(
        store.list(&id("crashed")).await.unwrap(),
        [StoredChunk { index: index(0), mark: mark(b"acknowledged") }]
    );
}

/// Whoever lost the race for a place and died before it could clear up has left a note for that place.
#[tokio::test]
async fn a_note_of_another_file_is_no_mark_of_the_chunk() {
    let root = TempDir::new().unwrap();
    let store = chunks(root.path());
    let said = ChunkMark { timecode_ms: Some(9), ..mark(b"stands") };
    store.create(manifest(&id("notes"), 1)).await.unwrap();
    let staged = store.stage(&of(&id("notes"), 'a'), Bytes::from_static(b"stands")).await.unwrap();
    staged.commit(index(0), said).await.unwrap();
    let folder = root.path().join("chunks/notes");
    for name in ["mark_00000000_4_00000000_1_0", "mark_00000000_9_ffffffff_0_-"] {
        fs::write(folder.join(name), b"lost").unwrap();
    }
    assert_eq!(store.list(&id("notes")).await.unwrap(), [StoredChunk { index: index(0), mark: said }]);
    assert_eq!(put(&store, &id("notes"), 0, b"lost").await.unwrap(), Committed::Taken(said));
}

#[tokio::test]
async fn who_comes_second_leaves_nothing() {
    let root = TempDir::new().unwrap();
    let store = chunks(root.path());
    put(&store, &id("second"), 0, b"first").await.unwrap();
    assert_eq!(put(&store, &id("second"), 0, b"others").await.unwrap(), Committed::Taken(mark(b"first")));
    let folder = root.path().join("chunks/second");
    eventually("only the chunk, its mark and the manifest", || listing(&folder).len() == 3).await;
    assert!(listing(&folder)[2].starts_with("mark_00000000_5_"));
}

/// Died between the note and the place: the next to come with the same bytes goes on from there.
#[tokio::test]
async fn a_commit_goes_on_where_one_that_died_had_come_to() {
    let root = TempDir::new().unwrap();
    let store = chunks(root.path());
    store.create(manifest(&id("half"), 1)).await.unwrap();
    let said = mark(b"bytes");
    let note = format!("mark_00000000_5_{:08x}_0_-", said.crc);
    fs::write(root.path().join("chunks/half").join(note), b"bytes").unwrap();
    assert!(store.list(&id("half")).await.unwrap().is_empty());
    assert_eq!(
        put(&store, &id("half"), 0, b"bytes").await.unwrap(),
        Committed::Taken(said),
        "it is there now"
    );
    assert_eq!(
        chunks(root.path()).list(&id("half")).await.unwrap(),
        [StoredChunk { index: index(0), mark: said }]
    );
}

#[tokio::test]
async fn a_staged_chunk_that_is_dropped_leaves_no_file() {
    let root = TempDir::new().unwrap();
    let store = chunks(root.path());
    store.create(manifest(&id("dropped"), 1)).await.unwrap();
    let staged = store.stage(&of(&id("dropped"), 'a'), Bytes::from_static(b"x")).await.unwrap();
    let folder = root.path().join("chunks/dropped");
    assert_eq!(listing(&folder).len(), 2, "and the manifest");
    drop(staged);
    eventually("the file is gone", || listing(&folder).len() == 1).await;
    // Nobody waits for the answer any more.
    drop(store.stage(&of(&id("dropped"), 'a'), Bytes::from(vec![0; 1 << 20])));
    let asked = tokio::spawn(store.stage(&of(&id("dropped"), 'a'), Bytes::from(vec![0; 1 << 20])));
    tokio::task::yield_now().await;
    asked.abort();
    let _ = asked.await;
    assert_eq!(put(&store, &id("dropped"), 0, b"after").await.unwrap(), Committed::Stored);
    eventually("only the chunk, its mark and the manifest", || listing(&folder).len() == 3).await;
}

/// A disk that is not mounted is no recording without chunks, and gets no chunks of its own.
#[tokio::test]
async fn a_folder_that_vanishes_is_said_and_may_come_back() {
    let root = TempDir::new().unwrap();
    let (here, away) = (root.path().join("disk"), root.path().join("away"));
    let store = chunks(&here);
    let videos = videos(&here);
    put(&store, &id("away"), 0, b"safe").await.unwrap();
    let staged = store.stage(&of(&id("away"), 'a'), Bytes::from_static(b"next")).await.unwrap();

    fs::rename(&here, &away).unwrap();
    let is_transient = |error: StoreError| matches!(error, StoreError::Failed(_)) && error.is_transient();
    assert!(is_transient(store.list(&id("away")).await.unwrap_err()));
    assert!(is_transient(store.manifest(&id("away")).await.unwrap_err()));
    assert!(is_transient(store.recordings().await.unwrap_err()));
    assert!(is_transient(store.read(&id("away"), index(0)).await.unwrap_err()));
    assert!(is_transient(store.delete(&id("away"), None).await.unwrap_err()));
    assert!(is_transient(staged.commit(index(1), mark(b"next")).await.unwrap_err()));
    assert!(is_transient(put(&store, &id("new"), 0, b"x").await.unwrap_err()));
    assert!(is_transient(store.create(manifest(&id("new"), 1)).await.unwrap_err()));
    assert!(is_transient(store.age(&id("away")).await.unwrap_err()));
    assert!(is_transient(store.sweep().await.unwrap_err()));
    assert!(is_transient(videos.find(&key("any")).await.unwrap_err()), "no video that is gone");
    assert!(is_transient(videos.of(&id("any")).await.unwrap_err()));
    assert!(is_transient(videos.list(None, 9).await.unwrap_err()));
    let made = root.path().join("made");
    fs::write(&made, b"video").unwrap();
    assert!(is_transient(videos.put(&key("any"), &made, proof(b"video")).await.unwrap_err()));
    assert!(made.exists(), "what could not be put is kept");
    assert!(videos.free_bytes().await.is_err() && store.free_bytes().await.is_err());
    assert!(!here.exists(), "nothing is made where the disk was");

    fs::rename(&away, &here).unwrap();
    assert_eq!(staged.commit(index(1), mark(b"next")).await.unwrap(), Committed::Stored, "tried again");
    assert_eq!(store.list(&id("away")).await.unwrap().len(), 2);
    assert_eq!(put(&store, &id("new"), 0, b"x").await.unwrap(), Committed::Stored);
}

/// Another node on the same folder has taken a recording away that this one still remembers.
#[tokio::test]
async fn a_recording_that_another_node_deleted_begins_anew() {
    let root = TempDir::new().unwrap();
    let (one, other) = (chunks(root.path()), chunks(root.path()));
    put(&one, &id("shared"), 0, b"old").await.unwrap();
    other.delete(&id("shared"), None).await.unwrap();
    assert_eq!(put(&one, &id("shared"), 0, b"new").await.unwrap(), Committed::Stored);
    assert_eq!(other.read(&id("shared"), index(0)).await.unwrap(), b"new".as_slice());
    assert_eq!(listing(&root.path().join("chunks")), ["shared"]);
}

/// A node died after it had put a recording aside and before it knew whose it was, or was too late to put it back.
#[tokio::test]
async fn what_was_put_aside_and_never_judged_comes_back() {
    let root = TempDir::new().unwrap();
    let store = chunks(root.path());
    let all = root.path().join("chunks");
    for name in ["lost-1", "taken"] {
        put(&store, &id(name), 0, b"acknowledged").await.unwrap();
        let aside = all.join(format!(".aside-{name}-0123456789abcdef0123456789abcdef"));
        fs::rename(all.join(name), &aside).unwrap();
    }
    assert!(store.list(&id("lost-1")).await.unwrap().is_empty());
    store.sweep().await.unwrap();
    assert_eq!(store.recordings().await.unwrap(), [], "somebody may be at work on it");
    put(&store, &id("taken"), 0, b"of another").await.unwrap();
    let asides: Vec<_> = listing(&all).into_iter().filter(|name| name.starts_with(".aside-")).collect();
    asides.iter().for_each(|name| make_old(&all.join(name)));

    store.sweep().await.unwrap();
    assert_eq!(store.read(&id("lost-1"), index(0)).await.unwrap(), b"acknowledged".as_slice());
    assert_eq!(store.read(&id("taken"), index(0)).await.unwrap(), b"of another".as_slice());
    let kept = all.join(".aside-taken-0123456789abcdef0123456789abcdef");
    assert_eq!(fs::read(kept.join("chunk_00000000")).unwrap(), b"acknowledged", "nothing is thrown away");
}

/// An older state that is written late has a name that does not count.
#[tokio::test]
async fn a_state_that_comes_late_outdates_nothing() {
    let root = TempDir::new().unwrap();
    let store = chunks(root.path());
    store.create(manifest(&id("late"), 1)).await.unwrap();
    store.save_manifest(manifest(&id("late"), 6)).await.unwrap();
    let revisions = root.path().join("chunks/late/revisions");
    let older = serde_json::to_vec(&manifest(&id("late"), 5)).unwrap();
    fs::write(revisions.join(format!("{:020}.json", 5)), older).unwrap();
    for foreign in ["7.json", "00000000000000000009.json~", "x.json"] {
        fs::write(revisions.join(foreign), b"foreign").unwrap();
    }
    assert_eq!(store.manifest(&id("late")).await.unwrap(), Some(manifest(&id("late"), 6)));
}

/// What a sweep says that it cleared away.
#[tokio::test]
async fn a_sweep_counts_what_it_clears_away() {
    let root = TempDir::new().unwrap();
    let (store, videos) = (chunks(root.path()), videos(root.path()));
    assert_eq!(store.sweep().await.unwrap(), Swept::default());
    put(&store, &id("swept"), 0, b"stays").await.unwrap();
    let all = root.path().join("chunks");
    let deleted = all.join(".deleted-gone-0123");
    fs::create_dir(&deleted).unwrap();
    fs::write(deleted.join("chunk_00000000"), b"12345").unwrap();
    fs::hard_link(deleted.join("chunk_00000000"), deleted.join("mark_00000000_5_00000000_0_-")).unwrap();
    let partials = [all.join("swept/.partial-01"), root.path().join("recordings/.partial-01")];
    for partial in &partials {
        fs::write(partial, b"123").unwrap();
        make_old(partial);
    }
    assert_eq!(store.sweep().await.unwrap(), Swept { count: 3, bytes: 8 }, "two names are one file's bytes");
    assert_eq!(videos.sweep().await.unwrap(), Swept { count: 1, bytes: 3 });
    assert!(!deleted.exists() && partials.iter().all(|partial| !partial.exists()));
    assert_eq!(store.list(&id("swept")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_damaged_manifest_is_said() {
    let root = TempDir::new().unwrap();
    let store = chunks(root.path());
    store.create(manifest(&id("torn"), 1)).await.unwrap();
    let path = root.path().join("chunks/torn/manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, &text[..text.len() / 2]).unwrap();
    assert!(matches!(store.manifest(&id("torn")).await, Err(StoreError::Failed(_))));
    store.save_manifest(manifest(&id("torn"), 2)).await.unwrap();
    assert_eq!(store.manifest(&id("torn")).await.unwrap(), Some(manifest(&id("torn"), 2)));
}

#[tokio::test]
async fn a_file_that_grew_beyond_any_chunk_is_not_read_whole() {
    let root = TempDir::new().unwrap();
    let store = chunks(root.path());
    put(&store, &id("grown"), 0, b"small").await.unwrap();
    let chunk =
        fs::OpenOptions::new().write(true).open(root.path().join("chunks/grown/chunk_00000000")).unwrap();
    chunk.set_len(1 << 40).unwrap();
    let bytes = store.read(&id("grown"), index(0)).await.unwrap();
    assert!(bytes.len() > 5 && bytes.len() < 1 << 25, "enough to show that it is not what came");
}

#[tokio::test]
async fn a_link_is_no_video_and_leads_nowhere() {
    let root = TempDir::new().unwrap();
    let store = videos(root.path());
    let secret: PathBuf = root.path().join("secret");
    fs::write(&secret, b"secret").unwrap();
    let place = root.path().join("recordings/kept.1.webm");
    std::os::unix::fs::symlink(&secret, &place).unwrap();
    assert_eq!(store.find(&key("kept")).await.unwrap(), None);
    fs::create_dir(root.path().join("recordings/folder.1.webm")).unwrap();
    assert_eq!(store.find(&key("folder")).await.unwrap(), None);

    // A link in the place of a finished file is not taken for it either.
    let link = root.path().join("link");
    std::os::unix::fs::symlink(&secret, &link).unwrap();
    assert!(store.put(&key("kept"), &link, proof(b"secret")).await.is_err());

    let file = root.path().join("made");
    fs::write(&file, b"video").unwrap();
    store.put(&key("kept"), &file, proof(b"video")).await.unwrap();
    assert_eq!(read(&store, &key("kept")).await.as_deref(), Some(b"video".as_slice()));
    assert_eq!(fs::read(&secret).unwrap(), b"secret", "nothing was written through the link");
}
