//! What every video store must do.

use std::{fs, path::Path, sync::Arc, time::Duration};

use greenroom::{
    adapters::ports::{FileProof, StoreError, StoredVideo, VideoSource, VideoStore},
    protocol::{Fence, recorder::VideoKey},
};
use sha2::{Digest as _, Sha256};

use crate::id;

/// Opens the store that is under test anew, as a restarted node would.
pub type Open<'a> = &'a (dyn Fn() -> Arc<dyn VideoStore> + Sync);

/// Runs everything; `desk` is where finished files lie before they are put.
pub async fn suite(open: Open<'_>, desk: &Path) {
    keeps_what_was_put(open, desk).await;
    replaces_only_by_what_was_meant(open, desk).await;
    finds_its_work_done(open, desk).await;
    deletes(open, desk).await;
    lends_its_bytes(open, desk).await;
    tells_what_is_there(open, desk).await;
    assert!(open().free_bytes().await.unwrap().is_none_or(|bytes| bytes > 0));
    open().sweep().await.expect("at any time");
}

pub fn key(text: &str) -> VideoKey {
    VideoKey::new(&id(text), Fence(1), "webm")
}

pub fn proof(bytes: &[u8]) -> FileProof {
    FileProof { size_bytes: bytes.len() as u64, sha256: Some(Sha256::digest(bytes).into()) }
}

/// What is under a key.
pub async fn read(store: &dyn VideoStore, key: &VideoKey) -> Option<Vec<u8>> {
    match store.find(key).await.unwrap()? {
        VideoSource::File(path) => Some(fs::read(path).unwrap()),
        // As a browser gets it.
        VideoSource::Elsewhere(_) => {
            let link = store.link(key, "attachment".to_owned()).await.unwrap().expect("a way there");
            let answer = reqwest::get(&link).await.unwrap().error_for_status().unwrap();
            Some(answer.bytes().await.unwrap().to_vec())
        }
    }
}

async fn keeps_what_was_put(open: Open<'_>, desk: &Path) {
    let (key, file) = (key("kept"), desk.join("made.webm"));
    assert_eq!(read(&*open(), &key).await, None);
    // Larger than what is read at once.
    let video: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(&file, &video).unwrap();
    open().put(&key, &file, proof(&video)).await.unwrap();
    assert!(read(&*open(), &key).await.as_deref() == Some(&video), "as it was made");
    assert!(!file.exists(), "it was moved");
    assert_eq!(open().sha256(&key).await.unwrap(), proof(&video).sha256);
    assert_eq!(open().sha256(&super::video_suite::key("nobodys")).await.unwrap(), None);
    assert_eq!(
        read(&*open(), &VideoKey::new(&id("kept"), Fence(2), "webm")).await,
        None,
        "each version has a key"
    );
}

async fn replaces_only_by_what_was_meant(open: Open<'_>, desk: &Path) {
    let (key, file) = (key("replaced"), desk.join("next.webm"));
    fs::write(&file, b"first").unwrap();
    open().put(&key, &file, proof(b"first")).await.unwrap();

    let cases =
        [proof(b"sec0nd"), FileProof { size_bytes: 5, ..proof(b"second") }, proof(b"second and more")];
    for wrong in cases {
        fs::write(&file, b"second").unwrap();
        let error = open().put(&key, &file, wrong).await.expect_err("not what was meant");
        assert!(matches!(error, StoreError::Failed(_)), "{error}");
        assert_eq!(read(&*open(), &key).await.as_deref(), Some(b"first".as_slice()), "the old one stands");
    }
    fs::write(&file, b"second").unwrap();
    open().put(&key, &file, proof(b"second")).await.unwrap();
    assert_eq!(read(&*open(), &key).await.as_deref(), Some(b"second".as_slice()));

    // Of what was proven as it was written the size is looked at.
    let (short, right) =
        (FileProof { size_bytes: 4, sha256: None }, FileProof { sha256: None, ..proof(b"third") });
    fs::write(&file, b"third").unwrap();
    open().put(&key, &file, short).await.expect_err("it is longer");
    assert_eq!(read(&*open(), &key).await.as_deref(), Some(b"second".as_slice()), "the old one stands");
    fs::write(&file, b"third").unwrap();
    open().put(&key, &file, right).await.unwrap();
    assert_eq!(open().sha256(&key).await.unwrap(), proof(b"third").sha256);
}

/// A node that died after the move and before it could say so does it again.
async fn finds_its_work_done(open: Open<'_>, desk: &Path) {
    let (key, file) = (key("again"), desk.join("again.webm"));
    fs::write(&file, b"once").unwrap();
    for _ in 0..2 {
        open().put(&key, &file, proof(b"once")).await.unwrap();
    }
    open().put(&key, &file, proof(b"0nce")).await.expect_err("something else is there");
    let nowhere = super::video_suite::key("nowhere");
    let error = open().put(&nowhere, &file, proof(b"once")).await.expect_err("neither here nor there");
    assert!(matches!(error, StoreError::Missing(_)), "{error}");
    assert_eq!(read(&*open(), &key).await.as_deref(), Some(b"once".as_slice()));
}

async fn deletes(open: Open<'_>, desk: &Path) {
    let (key, other, file) = (key("deleted"), key("stays"), desk.join("x.webm"));
    for key in [&key, &other] {
        fs::write(&file, b"x").unwrap();
        open().put(key, &file, proof(b"x")).await.unwrap();
    }
    for _ in 0..2 {
        open().delete(&key).await.expect("nothing there is no error");
    }
    assert_eq!(read(&*open(), &key).await, None);
    assert!(read(&*open(), &other).await.is_some());
}

async fn lends_its_bytes(open: Open<'_>, desk: &Path) {
    let (key, file) = (key("lent"), desk.join("lent.webm"));
    let folder = desk.join("work");
    fs::create_dir_all(&folder).unwrap();
    assert_eq!(open().local(&key, &folder).await.unwrap(), None);
    // Larger than what is fetched at once, and no multiple of it.
    let video: Vec<u8> = (0..2_200_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(&file, &video).unwrap();
    open().put(&key, &file, proof(&video)).await.unwrap();
    let lent = open().local(&key, &folder).await.unwrap().expect("a file on this machine");
    assert!(fs::read(lent).unwrap() == video, "as it was put");
    assert!(read(&*open(), &key).await.as_deref() == Some(&video), "and it is still there");
    open().delete(&key).await.unwrap();
}

async fn tells_what_is_there(open: Open<'_>, desk: &Path) {
    let file = desk.join("of.webm");
    let named = |name: &str, fence, extension| VideoKey::new(&id(name), Fence(fence), extension);
    // One's name is the beginning of the other's.
    let mine = [named("of", 10, "jpg"), named("of", 10, "webm"), named("of", 9, "webm")];
    let others = [named("of-two", 9, "webm"), named("o", 9, "mp4")];
    for key in mine.iter().chain(&others) {
        fs::write(&file, key.as_str()).unwrap();
        open().put(key, &file, proof(key.as_str().as_bytes())).await.unwrap();
    }
    let mut found = open().of(&id("of")).await.unwrap();
    found.sort();
    assert_eq!(found, mine);
    assert_eq!(open().of(&id("of-none")).await.unwrap(), []);

    let all = open().list(None, 1000).await.unwrap();
    assert!(all.is_sorted_by_key(|video| video.key.clone()), "{all:?}");
    for key in mine.iter().chain(&others) {
        let stored = all.iter().find(|video| video.key == *key).expect("all of them");
        assert_eq!(stored.size_bytes, key.as_str().len() as u64);
        assert!(stored.age < Duration::from_secs(60), "{stored:?}");
    }
    // In pieces it is the same.
    let (mut pieces, mut after) = (vec![], None);
    loop {
        let piece = open().list(after, 2).await.unwrap();
        assert!(piece.len() <= 2);
        let Some(last) = piece.last() else { break };
        after = Some(last.key.clone());
        pieces.extend(piece);
    }
    let keys = |videos: &[StoredVideo]| videos.iter().map(|video| video.key.clone()).collect::<Vec<_>>();
    assert_eq!(keys(&pieces), keys(&all));
}
