//! A file that one node has begun, and another goes on with. Neither has ever heard of the other.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use greenroom::{
    adapters::{
        assembly::{Assembling, AssemblingMerger},
        chunk_store::FolderChunks,
        ffmpeg::{FfmpegConfig, FfmpegMerger},
        ports::{ChunkStore as _, MergeError, MergeJob, Merger as _, RecordingRef, StoredChunk},
    },
    domain::recording::Manifest,
    protocol::{Fence, chunk::Chunk, chunk::ChunkIndex},
};
use serde_json::json;

use crate::support::{cut_evenly, names, webm};

/// So many that it is saved twice before the last has come.
const CHUNKS: usize = 20;

fn manifest() -> Manifest {
    let manifest = json!({
        "recordId": "talk", "token": "0".repeat(64), "mimeType": "video/webm", "framing": "indexed",
        "startedMs": 1_700_000_000_000_u64, "state": "recording", "version": 1, "fence": 1, "revision": 1,
    });
    serde_json::from_value(manifest).unwrap()
}

fn node(folder: &Path, chunks: &Arc<FolderChunks>) -> AssemblingMerger {
    let (ffmpeg, ffprobe) = ("ffmpeg".into(), "ffprobe".into());
    let with = Assembling {
        folder: folder.join("assembly"),
        work: folder.join("work"),
        chunks: chunks.clone(),
        parts: None,
        ffmpeg: FfmpegMerger::new(FfmpegConfig { ffmpeg, ffprobe, time_limit: Duration::from_secs(60) }),
        hashed_at_once: u64::MAX,
        min_free_bytes: 0,
    };
    AssemblingMerger::open(with).unwrap()
}

/// What a file is, whatever its name.
fn inode(folder: &Path) -> u64 {
    let names = names(&folder.join("assembly"));
    let parts: Vec<_> = names.iter().filter(|name| name.ends_with(".part")).collect();
    let [part] = parts[..] else { panic!("one file: {names:?}") };
    fs::metadata(folder.join("assembly").join(part)).unwrap().ino()
}

#[tokio::test]
async fn whoever_takes_over_goes_on_in_the_same_file_and_leaves_out_nothing_in_it() {
    // Beside what is built, which is on a disk.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let store = Arc::new(FolderChunks::open(&folder.path().join("chunks")).unwrap());
    let recording = RecordingRef::of(&manifest());
    store.create(manifest()).await.unwrap();
    let mut stored = Vec::new();
    for (index, bytes) in (0..).zip(cut_evenly(webm(), CHUNKS)) {
        let (index, chunk) = (ChunkIndex::new(index).unwrap(), Chunk::raw(Bytes::from(bytes)).unwrap());
        stored.push(StoredChunk { index, mark: chunk.mark });
        let staged = store.stage(&recording, chunk.payload).await.unwrap();
        staged.commit(index, chunk.mark).await.unwrap();
    }
    node(folder.path(), &store).follow(recording.clone(), Vec::new()).await.unwrap();
    let begun = inode(folder.path());
    let next = node(folder.path(), &store);
    next.follow(recording.clone(), Vec::new()).await.unwrap();
    assert_eq!(inode(folder.path()), begun, "nothing was copied");

    let merge = async |chunks: Vec<StoredChunk>, expected: usize| {
        let job = MergeJob {
            recording: recording.clone(),
            fence: Fence(2),
            expected: u32::try_from(expected).unwrap(),
            chunks,
            folder: folder.path().join("merge"),
            store: store.clone(),
            progress: Box::new(drop),
            turn: Box::new(|| Box::pin(async { None })),
        };
        next.merge(job).await
    };
    // Somebody counted before the last of them came, which whoever had the file may have seen already.
    let early = merge(stored[..CHUNKS - 1].to_vec(), CHUNKS - 1).await;
    assert!(matches!(early, Err(MergeError::Interrupted(_))), "{early:?}");
    let mut without = stored.clone();
    let lost = without.remove(CHUNKS - 2);
    let lacking = merge(without, CHUNKS).await.unwrap();
    assert_eq!(lacking.missing, [lost.index.get()]);
    assert_ne!(fs::metadata(&lacking.file).unwrap().ino(), begun, "it is another file");
}
