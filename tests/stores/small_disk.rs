//! The stores on a disk that is full, on one that cannot be written, and across two disks. Needs the right to mount.

use std::{fs, path::Path};

use bytes::Bytes;
use greenroom::adapters::{
    chunk_store::FolderChunks,
    ports::{ChunkStore, Committed, StoreError, VideoStore},
    video_store::FolderVideos,
};
use tempfile::TempDir;

use crate::{
    chunk_suite::{manifest, of, put},
    eventually, id, index, mark,
    support::{SmallDisk, fill},
    video_suite::{key, proof, read},
};

fn used(folder: &Path) -> usize {
    let size = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        if path.is_dir() { used(&path) } else { usize::try_from(path.metadata().unwrap().len()).unwrap() }
    };
    fs::read_dir(folder).unwrap().map(size).sum()
}

#[tokio::test]
async fn a_full_disk_is_said_and_nothing_half_written_counts() {
    const PIECE: usize = 100 * 1024;
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("small");
    let Some(_disk) = SmallDisk::mount(&root, "1m") else { return };
    let store = FolderChunks::open(&root).unwrap();
    store.create(manifest(&id("full"), 1)).await.unwrap();
    let mut stored = 0;
    let error = loop {
        let payload = vec![u8::try_from(stored).unwrap(); PIECE];
        match put(&store, &id("full"), stored, &payload).await {
            Ok(answer) => assert_eq!(answer, Committed::Stored),
            Err(error) => break error,
        }
        stored += 1;
        assert!(stored < 20, "the disk is larger than it was made");
    };
    assert!(matches!(error, StoreError::Full(_)) && error.is_transient(), "{error}");
    assert!(stored >= 5);
    let listed = store.list(&id("full")).await.unwrap();
    assert_eq!(listed.len(), stored as usize);
    eventually("nothing of the failed one is left", || {
        used(&root.join("chunks/full")) < 2 * PIECE * stored as usize + 4096
    })
    .await;
    assert!(store.save_manifest(manifest(&id("full"), 2)).await.is_ok(), "a page is left for what is small");

    // Fill it to the last page: a manifest that cannot be written leaves the one that is there.
    fill(&root.join("filler"));
    assert!(matches!(store.save_manifest(manifest(&id("full"), 3)).await, Err(StoreError::Full(_))));
    assert_eq!(store.manifest(&id("full")).await.unwrap(), Some(manifest(&id("full"), 2)));
    let store = FolderChunks::open(&root).expect("a node can start on a full disk");
    assert_eq!(store.list(&id("full")).await.unwrap(), listed);

    // Space comes free, and the same chunk is taken.
    fs::remove_file(root.join("filler")).unwrap();
    store.delete(&id("full"), None).await.unwrap();
    assert_eq!(put(&store, &id("full"), 0, &[1; PIECE]).await.unwrap(), Committed::Stored);
}

/// Names need space too: where there is room for the bytes alone, the chunk has no place.
#[tokio::test]
async fn a_disk_without_room_for_a_name_counts_nothing() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("few");
    // The file system, three folders, a manifest and a staged file; a link costs one more.
    let Some(_disk) = SmallDisk::mount(&root, "1m,nr_inodes=7") else { return };
    let store = FolderChunks::open(&root).unwrap();
    store.create(manifest(&id("few"), 1)).await.unwrap();
    let mut fillers = 0;
    let staged = store.stage(&of(&id("few"), 'a'), Bytes::from_static(b"bytes")).await.unwrap();
    while fs::write(root.join(format!("filler-{fillers}")), b"").is_ok() {
        fillers += 1;
        assert!(fillers < 20);
    }
    assert!(fillers >= 2, "room for the two names, once it is free");
    // Room for no name, then for one of the two.
    for free in 0..2 {
        let error = staged.commit(index(0), mark(b"bytes")).await.expect_err("no room");
        assert!(matches!(error, StoreError::Full(_)), "{error}");
        assert!(store.list(&id("few")).await.unwrap().is_empty());
        assert_eq!(
            fs::read_dir(root.join("chunks/few")).unwrap().count(),
            2,
            "the manifest and what is staged"
        );
        fs::remove_file(root.join(format!("filler-{free}"))).unwrap();
    }
    assert_eq!(staged.commit(index(0), mark(b"bytes")).await.unwrap(), Committed::Stored, "tried again");
    assert_eq!(store.list(&id("few")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_can_be_read() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("frozen");
    let Some(disk) = SmallDisk::mount(&root, "1m") else { return };
    put(&FolderChunks::open(&root).unwrap(), &id("frozen"), 0, b"there").await.unwrap();
    FolderVideos::open(&root).unwrap();
    eventually("the staged name is gone", || fs::read_dir(root.join("chunks/frozen")).unwrap().count() == 3)
        .await;
    disk.remount("ro");

    let store = FolderChunks::open(&root).expect("what is there can be read");
    assert_eq!(store.list(&id("frozen")).await.unwrap().len(), 1);
    assert_eq!(store.read(&id("frozen"), index(0)).await.unwrap(), b"there".as_slice());
    for name in ["frozen", "new"] {
        let error = put(&store, &id(name), 1, b"x").await.expect_err("it cannot be written");
        assert!(matches!(error, StoreError::Failed(_)) && error.is_transient(), "{error}");
    }
    assert!(store.delete(&id("frozen"), None).await.is_err());
    assert_eq!(store.list(&id("frozen")).await.unwrap().len(), 1, "and is still there");
    let made = folder.path().join("made.webm");
    fs::write(&made, b"video").unwrap();
    assert!(FolderVideos::open(&root).unwrap().put(&key("made"), &made, proof(b"video")).await.is_err());
    assert!(made.exists(), "what could not be put is kept");
}

#[tokio::test]
async fn a_video_is_copied_from_another_disk_and_proven_there() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("other");
    let Some(_disk) = SmallDisk::mount(&root, "1m") else { return };
    let store = FolderVideos::open(&root).unwrap();
    let free = store.free_bytes().await.unwrap().expect("a disk has an end");
    assert!(free > 0 && free <= 1 << 20, "{free}");

    let made = folder.path().join("made.webm");
    let video = vec![5; 300 * 1024];
    fs::write(&made, &video).unwrap();
    store.put(&key("far"), &made, proof(b"not this")).await.expect_err("not what was meant");
    assert!(made.exists());
    store.put(&key("far"), &made, proof(&video)).await.unwrap();
    assert!(read(&store, &key("far")).await == Some(video.clone()));
    assert!(!made.exists(), "it was moved");

    // The next does not fit: what is there stands, what was made is kept, and no half copy is left.
    let large = vec![6; 900 * 1024];
    fs::write(&made, &large).unwrap();
    let error = store.put(&key("far"), &made, proof(&large)).await.expect_err("no space");
    assert!(matches!(error, StoreError::Full(_)), "{error}");
    assert!(made.exists() && read(&store, &key("far")).await == Some(video));
    assert_eq!(fs::read_dir(root.join("recordings")).unwrap().count(), 1);
}
