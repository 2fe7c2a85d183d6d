//! What putting a recording together takes by itself, beside a bare program that writes the same bytes once more.
//!
//! Without a node: between two rounds of a node that puts together and one that does not the noise is as large as what is looked for.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::Path,
    process,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use greenroom::{
    adapters::{
        assembly::{Assembling, AssemblingMerger},
        chunk_store::FolderChunks,
        ffmpeg::{FfmpegConfig, FfmpegMerger},
        ports::{CameChunk, ChunkStore as _, HeldBytes, Merger as _, RecordingRef, StoredChunk},
    },
    domain::recording::Manifest,
    protocol::chunk::{Chunk, ChunkIndex},
};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::{
    disk::settle,
    figures::Spread,
    media::{Kind, Media, WEBM},
    node::folder,
    process::Cpu,
};

const RECORDINGS: u32 = 8;
const SECONDS: u32 = 240;
const ROUNDS: usize = 5;
/// Of which so many get a chunk at one time: on a node with time to spare one, and on one that is busy as many as its worker takes.
const SIDE_BY_SIDE: [usize; 2] = [1, 4];
/// As many chunks as the assembler takes between two checkpoints.
pub const DURABLE_EVERY: u32 = 8;
/// Read at once. Unit: bytes.
const READ_BYTES: usize = 64 * 1024;

/// Measures and prints.
pub async fn measure() -> anyhow::Result<()> {
    let media = Media::of(Kind::Webm, 600)?;
    let chunks: Vec<Bytes> =
        (0..SECONDS).map(|second| media.piece(second).map(Bytes::from)).collect::<Result<_, _>>()?;
    let (mut follows, mut bare) = (SIDE_BY_SIDE.map(|_| Vec::new()), Vec::new());
    for _ in 0..ROUNDS {
        for (side_by_side, follows) in SIDE_BY_SIDE.into_iter().zip(&mut follows) {
            follows.push(per_second(follow(&chunks, side_by_side).await?));
            settle()?;
        }
        bare.push(per_second(write(&chunks)?));
        settle()?;
    }
    println!(
        "\n{RECORDINGS} recordings at 2.25 Mbit/s are put together while they come, {SECONDS} s each, without a node; median of {ROUNDS} \
         rounds in turns (lowest-highest)\n\
         CPU for a recorded second of a bare loop that writes the same, makes it durable every {DURABLE_EVERY} s and reads it back \
         {:.3} ms",
        Spread::of(bare.clone())
    );
    for (side_by_side, follows) in SIDE_BY_SIDE.into_iter().zip(follows) {
        let times = Spread::of(follows.iter().zip(&bare).map(|(follow, bare)| follow / bare));
        let follows = Spread::of(follows);
        println!("{side_by_side} at one time: {follows:.3} ms; times as much {times:.2}");
    }
    Ok(())
}

/// Unit: milliseconds.
fn per_second(cpu: Duration) -> f64 {
    cpu.as_secs_f64() * 1e3 / f64::from(RECORDINGS * SECONDS)
}

/// CPU of this process while it follows recordings, so many at one time.
async fn follow(chunks: &[Bytes], side_by_side: usize) -> anyhow::Result<Duration> {
    let folder = folder("follow")?;
    let store = Arc::new(FolderChunks::open(folder.path())?);
    // Pictures are made beside it, by processes of their own, which would take the cores from what is measured.
    let (ffmpeg, ffprobe) = ("false".into(), "false".into());
    let merger = AssemblingMerger::open(Assembling {
        folder: folder.path().join("assembly"),
        work: folder.path().join("work"),
        chunks: store.clone(),
        parts: None,
        ffmpeg: FfmpegMerger::new(FfmpegConfig { ffmpeg, ffprobe, time_limit: Duration::from_secs(60) }),
        hashed_at_once: 0,
        min_free_bytes: 0,
    })?;
    let room = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
    let mut recordings = Vec::new();
    for number in 0..RECORDINGS {
        let manifest = manifest(number)?;
        recordings.push(RecordingRef::of(&manifest));
        store.create(manifest).await?;
    }
    let stored = (0..).zip(chunks).map(|(index, bytes)| {
        let refused = |refusal| anyhow::anyhow!("{refusal:?}");
        let mark = Chunk::raw(bytes.clone()).map_err(refused)?.mark;
        anyhow::Ok(StoredChunk { index: ChunkIndex::new(index).map_err(refused)?, mark })
    });
    let stored: Vec<_> = stored.collect::<Result<_, _>>()?;
    let before = Cpu::of(process::id())?;
    for (&chunk, bytes) in stored.iter().zip(chunks) {
        let one = |recording: &RecordingRef| {
            let bytes = HeldBytes::hold(bytes.clone(), &room);
            merger.follow(recording.clone(), vec![CameChunk { chunk, bytes }])
        };
        let mut followed = stream::iter(recordings.iter().map(one)).buffer_unordered(side_by_side);
        while let Some(done) = followed.next().await {
            done?;
        }
    }
    Ok(Cpu::of(process::id())?.since(before).own)
}

fn manifest(number: u32) -> anyhow::Result<Manifest> {
    let started_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    serde_json::from_value(json!({
        "recordId": format!("follow-{number}"),
        "token": format!("{number:064x}"),
        "mimeType": WEBM,
        "framing": "indexed",
        "startedMs": u64::try_from(started_ms)?,
        "state": "recording",
        "version": 1,
        "fence": 1,
        "revision": 1,
    }))
    .context("a manifest")
}

/// The same while it writes as many files.
fn write(chunks: &[Bytes]) -> anyhow::Result<Duration> {
    let folder = folder("written")?;
    let names: Vec<_> = (0..RECORDINGS).map(|number| folder.path().join(number.to_string())).collect();
    for name in &names {
        fs::write(name, b"")?;
    }
    let before = Cpu::of(process::id())?;
    for (second, bytes) in (1..).zip(chunks) {
        for name in &names {
            let mut file = OpenOptions::new().append(true).open(name)?;
            file.write_all(bytes)?;
            if second % DURABLE_EVERY == 0 {
                file.sync_data()?;
                read_last(name, bytes.len() as u64 * u64::from(DURABLE_EVERY))?;
            }
        }
    }
    Ok(Cpu::of(process::id())?.since(before).own)
}

fn read_last(name: &Path, bytes: u64) -> anyhow::Result<()> {
    let file = File::open(name)?;
    let end = file.metadata()?.len();
    let mut piece = vec![0; READ_BYTES];
    let mut at = end.saturating_sub(bytes);
    while at < end {
        at += file.read_at(&mut piece, at)? as u64;
    }
    Ok(())
}
