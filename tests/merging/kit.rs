//! What the cases share: media made by ffmpeg, recordings made of it chunk by chunk, a store that can fail, the merge,
//! and readings of what came in and out.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use greenroom::{
    adapters::{
        ffmpeg::{FfmpegConfig, FfmpegMerger},
        ports::{
            ChunkStore, MergeError, MergeJob, Merged, Merger, PortFuture, RecordingRef, Remains, StagedChunk,
            StoreError, StoredChunk, Swept,
        },
    },
    domain::recording::Manifest,
    protocol::{
        RecordId, TokenDigest,
        chunk::{Chunk, ChunkIndex},
    },
};

use sha2::{Digest as _, Sha256};

use crate::support::{Chance, kept};

/// Runs a program to its end; fails with what it complains of.
pub fn run(program: &str, args: &[&str]) -> Vec<u8> {
    let Output { status, stdout, stderr } = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&stderr));
    stdout
}

/// Media as a live recorder makes it, by ffmpeg: moving pictures and a tone, in the format that `args` end with.
pub fn media(args: &str) -> Vec<u8> {
    kept(args)
}

pub const LIVE: &str = "-f webm -live 1 -cluster_time_limit 1000";
pub const LIVE_MKV: &str = "-f matroska -live 1 -cluster_time_limit 1000";
pub const FRAGMENTS: &str = "-f mp4 -movflags frag_keyframe+empty_moov+default_base_moof";

/// Pictures and a tone: `size` such as 160x120, for so many seconds.
pub fn both(size: &str, seconds: &str) -> String {
    format!("-f lavfi -i testsrc2=s={size}:r=30:d={seconds} -f lavfi -i sine=f=440:r=48000:d={seconds}")
}

pub const VP8: &str = "-c:v libvpx -b:v 300k -g 45 -deadline realtime -cpu-used -8";
pub const VP9: &str = "-c:v libvpx-vp9 -b:v 300k -g 45 -deadline realtime -cpu-used 8";
pub const AV1: &str = "-c:v libsvtav1 -preset 12 -g 45 -pix_fmt yuv420p";
pub const H264: &str = "-c:v libx264 -preset ultrafast -bf 0 -g 45 -pix_fmt yuv420p";
pub const OPUS: &str = "-c:a libopus -b:a 48k -ac 1";
pub const AAC: &str = "-c:a aac -b:a 64k -ac 1";

/// A recording: its chunks by index, and how many its recorder made.
#[derive(Default)]
pub struct Recording {
    pub chunks: BTreeMap<u32, Chunk>,
    pub made: u32,
}

impl Recording {
    /// Adds a segment, cut anywhere into `pieces`.
    pub fn segment(mut self, bytes: &[u8], pieces: usize, seed: u64) -> Self {
        let mut chance = Chance(seed);
        let mut cuts: Vec<_> = (1..pieces).map(|_| 1 + chance.below(bytes.len() - 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        cuts.dedup();
        let seconds = u32::try_from(cuts.len()).unwrap();
        for (at, cut) in (0..seconds).zip(cuts.windows(2)) {
            self.push(&bytes[cut[0]..cut[1]], at == 0, at * 1000);
        }
        self
    }

    /// Adds one chunk.
    pub fn push(&mut self, bytes: &[u8], begins: bool, timecode_ms: u32) {
        let payload = Bytes::copy_from_slice(bytes);
        let mut chunk = Chunk::described(payload, Some(begins), Some(timecode_ms)).unwrap();
        chunk.mark.begins_segment = begins;
        self.chunks.insert(self.made, chunk);
        self.made += 1;
    }

    /// Takes chunks away, as if they had never come.
    pub fn without(mut self, indices: &[u32]) -> Self {
        indices.iter().for_each(|index| assert!(self.chunks.remove(index).is_some(), "no chunk {index}"));
        self
    }

    pub fn id() -> RecordId {
        RecordId::parse("tested").unwrap()
    }
}

/// A chunk store in memory, whose bytes can be changed behind everybody's back.
pub struct Shelf {
    pub chunks: BTreeMap<u32, Bytes>,
    /// Reading these fails so many times.
    pub failing: Mutex<BTreeMap<u32, u32>>,
    /// Called before each reading.
    pub before: Box<dyn Fn(u32) + Send + Sync>,
}

impl Shelf {
    pub fn of(recording: &Recording) -> Self {
        let chunks = recording.chunks.iter().map(|(index, chunk)| (*index, chunk.payload.clone())).collect();
        Self { chunks, failing: Mutex::default(), before: Box::new(|_| {}) }
    }

    /// Changes a stored chunk.
    pub fn change(mut self, index: u32, change: impl Fn(&mut Vec<u8>)) -> Self {
        let mut bytes = self.chunks[&index].to_vec();
        change(&mut bytes);
        self.chunks.insert(index, bytes.into());
        self
    }
}

fn unused<T: Send + 'static>() -> PortFuture<Result<T, StoreError>> {
    Box::pin(async { Err(StoreError::Failed("a merge has no business here".into())) })
}

impl ChunkStore for Shelf {
    fn create(&self, _: Manifest) -> PortFuture<Result<bool, StoreError>> {
        unused()
    }
    fn save_manifest(&self, _: Manifest) -> PortFuture<Result<(), StoreError>> {
        unused()
    }
    fn manifest(&self, _: &RecordId) -> PortFuture<Result<Option<Manifest>, StoreError>> {
        unused()
    }
    fn recordings(&self) -> PortFuture<Result<Vec<RecordId>, StoreError>> {
        unused()
    }
    fn stage(&self, _: &RecordingRef, _: Bytes) -> PortFuture<Result<Box<dyn StagedChunk>, StoreError>> {
        unused()
    }
    fn list(&self, _: &RecordId) -> PortFuture<Result<Vec<StoredChunk>, StoreError>> {
        unused()
    }
    fn begin_delete(&self, _: &RecordId, _: Option<TokenDigest>) -> PortFuture<Result<Remains, StoreError>> {
        unused()
    }
    fn age(&self, _: &RecordId) -> PortFuture<Result<Option<Duration>, StoreError>> {
        unused()
    }
    fn free_bytes(&self) -> PortFuture<Result<Option<u64>, StoreError>> {
        unused()
    }
    fn sweep(&self) -> PortFuture<Result<Swept, StoreError>> {
        unused()
    }
    fn read(&self, _: &RecordId, index: ChunkIndex) -> PortFuture<Result<Bytes, StoreError>> {
        let index = index.get();
        (self.before)(index);
        let fails = {
            let mut failing = self.failing.lock().unwrap();
            failing.get_mut(&index).is_some_and(|times| {
                let fails = *times > 0;
                *times = times.saturating_sub(1);
                fails
            })
        };
        let answer = match self.chunks.get(&index) {
            _ if fails => Err(StoreError::Failed("the disk does not answer".into())),
            None => Err(StoreError::Missing(format!("chunk {index}"))),
            Some(bytes) => Ok(bytes.clone()),
        };
        Box::pin(async { answer })
    }
}

/// A merge that was done: its folder lives as long as this.
pub struct Done {
    pub merged: Merged,
    pub percents: Vec<u8>,
    /// Holds the files.
    _folder: tempfile::TempDir,
}

/// The merger of this machine.
pub fn merger() -> FfmpegMerger {
    with_programs("ffmpeg".into(), Duration::from_secs(60))
}

pub fn with_programs(ffmpeg: PathBuf, time_limit: Duration) -> FfmpegMerger {
    FfmpegMerger::new(FfmpegConfig { ffmpeg, ffprobe: "ffprobe".into(), time_limit })
}

/// Merges a recording that nobody has touched.
pub async fn merge(recording: &Recording) -> Done {
    let done = try_merge(recording, Shelf::of(recording), &merger()).await;
    done.unwrap_or_else(|error| panic!("{error}"))
}

pub async fn try_merge(
    recording: &Recording,
    shelf: Shelf,
    merger: &FfmpegMerger,
) -> Result<Done, MergeError> {
    let folder = tempfile::tempdir().unwrap();
    merge_in(folder, recording, shelf, merger).await
}

pub async fn merge_in(
    folder: tempfile::TempDir,
    recording: &Recording,
    shelf: Shelf,
    merger: &FfmpegMerger,
) -> Result<Done, MergeError> {
    let percents = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&percents);
    let chunks = recording
        .chunks
        .iter()
        .map(|(index, chunk)| StoredChunk { index: ChunkIndex::new(*index).unwrap(), mark: chunk.mark });
    let job = MergeJob {
        fence: greenroom::protocol::Fence(1),
        recording: RecordingRef { id: Recording::id(), token: TokenDigest::parse(&"0".repeat(64)).unwrap() },
        chunks: chunks.collect(),
        expected: recording.made,
        folder: folder.path().to_owned(),
        store: Arc::new(shelf),
        progress: Box::new(move |percent| told.lock().unwrap().push(percent)),
        turn: Box::new(|| Box::pin(async { None })),
    };
    let merged = merger.merge(job).await?;
    let percents = percents.lock().unwrap().clone();
    Ok(Done { merged, percents, _folder: folder })
}

/// A packet or a frame as ffmpeg reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub time_ms: i64,
    pub hash: String,
}

/// Each stream's packets (as stored) or frames (decoded), pictures first.
pub type Streams = Vec<Vec<Item>>;

/// The packets of a file, by the hash of their payload.
pub fn packets(file: &Path) -> Streams {
    listing(file, &["-c", "copy", "-f", "framehash", "-hash", "md5"])
}

/// The decoded frames of a file's pictures; times from the first packet of the file on.
pub fn frames(file: &Path) -> Vec<Item> {
    let args = [
        "-an",
        "-enc_time_base",
        "1:1000",
        "-autoscale",
        "0",
        "-fps_mode",
        "passthrough",
        "-pix_fmt",
        "yuv420p",
        "-f",
        "framehash",
        "-hash",
        "md5",
    ];
    let first = first_ms(&packets(file));
    let mut frames = listing(file, &args).into_iter().next().unwrap_or_default();
    frames.iter_mut().for_each(|frame| frame.time_ms -= first);
    frames
}

/// Files are read again and again here, and sources by one case after the other: what a program said of the same bytes is kept.
fn listing(file: &Path, args: &[&str]) -> Streams {
    static READ: Mutex<Vec<(Vec<u8>, String, Streams)>> = Mutex::new(Vec::new());
    let bytes = std::fs::read(file).unwrap();
    let (digest, asked) = (Sha256::digest(&bytes).to_vec(), args.join(" "));
    let lock = || READ.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((.., streams)) = lock().iter().find(|read| read.0 == digest && read.1 == asked) {
        return streams.clone();
    }
    let mut words = vec!["-v", "error", "-nostdin", "-copyts"];
    if bytes.get(4..8) == Some(b"ftyp") {
        // All that is stored, also what an edit list would not show.
        words.extend(["-ignore_editlist", "1"]);
    }
    words.extend(["-i", file.to_str().unwrap(), "-map", "0:v?", "-map", "0:a?"]);
    words.extend(args);
    words.push("-");
    // Damaged sources are read too, so only what can be read counts.
    let output = Command::new("ffmpeg").args(&words).stdin(Stdio::null()).output().unwrap();
    let streams = parse(&String::from_utf8(output.stdout).unwrap());
    lock().push((digest, asked, streams.clone()));
    streams
}

fn parse(text: &str) -> Streams {
    let mut bases = BTreeMap::new();
    let mut streams = BTreeMap::<usize, Vec<Item>>::new();
    for line in text.lines() {
        if let Some(base) = line.strip_prefix("#tb ") {
            let (stream, ratio) = base.split_once(": ").unwrap();
            let (one, per) = ratio.split_once('/').unwrap();
            let ratio = (one.parse::<i64>().unwrap(), per.parse::<i64>().unwrap());
            bases.insert(stream.parse::<usize>().unwrap(), ratio);
        } else if !line.starts_with('#') {
            let fields: Vec<_> = line.split(',').map(str::trim).collect();
            let stream = fields[0].parse::<usize>().unwrap();
            let (one, per) = bases[&stream];
            let ticks = fields[2].parse::<i64>().unwrap();
            let time_ms = (ticks * one * 2000 + per).div_euclid(per * 2);
            streams.entry(stream).or_default().push(Item { time_ms, hash: fields[5].to_owned() });
        }
    }
    streams.into_values().collect()
}

/// Writes bytes to a file that lives as long as what it returns.
pub fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

/// Holds lists of packets or frames against each other: the same in order, each within 2 ms of where it should be.
pub fn assert_same(what: &str, wanted: &[Item], found: &[Item]) {
    for (at, (wanted, found)) in wanted.iter().zip(found).enumerate() {
        assert_eq!(wanted.hash, found.hash, "{what}: item {at}, at {} ms", wanted.time_ms);
        let off = wanted.time_ms.abs_diff(found.time_ms);
        assert!(off <= 2, "{what}: item {at} is at {} ms, not at {}", found.time_ms, wanted.time_ms);
    }
    assert_eq!(wanted.len(), found.len(), "{what}: how many");
}

/// The earliest time of all streams.
pub fn first_ms(streams: &Streams) -> i64 {
    streams.iter().flatten().map(|item| item.time_ms).min().unwrap_or(0)
}

/// Begins at 0, as the video does: by the earliest of all streams.
pub fn from_zero(mut streams: Streams) -> Streams {
    let first = first_ms(&streams);
    streams.iter_mut().flatten().for_each(|item| item.time_ms -= first);
    streams
}
