//! How long a recorder waits for its video after `stop`, where that time goes, and what it takes.
//!
//! The steps are seen from outside: the claim in the node's log, the others at the percentages that the recorder is
//! told (`src/adapters/ffmpeg/job.rs` says which step ends at which).

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    disk::{cool, free_bytes, settle, shell},
    figures::{Spread, mb, mib},
    media::{Kind, Media},
    node::{Node, folder},
    process::{self, Cpu},
    recorder::Recorder,
};

/// Uploads of one recording at once.
const UPLOADS: u32 = 4;
/// For a merge.
const PATIENCE: Duration = Duration::from_secs(240);
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Copies of a recording that are on the disk at once: media, chunks, a yardstick's or a merge's two.
const COPIES: u64 = 5;

/// A recording to be finished.
#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    kind: Kind,
    seconds: u32,
    rounds: usize,
    /// Whether its chunks have left the page cache when it is stopped.
    cold: bool,
}

const ROWS: [Row; 5] = [
    Row { name: "10 s WebM", kind: Kind::Webm, seconds: 10, rounds: 5, cold: false },
    Row { name: "10 min WebM", kind: Kind::Webm, seconds: 600, rounds: 3, cold: false },
    Row { name: "10 min MP4", kind: Kind::Mp4, seconds: 600, rounds: 3, cold: false },
    Row { name: "2 h WebM", kind: Kind::Webm, seconds: 7200, rounds: 2, cold: false },
    Row { name: "2 h WebM, cold", kind: Kind::Webm, seconds: 7200, rounds: 2, cold: true },
];

/// What one round took. Unit: seconds.
struct Round {
    upload_rate: f64,
    /// From `stop` to the claim.
    claim: f64,
    /// Until ffmpeg has ended.
    copying: f64,
    /// Until its result is read, hashed, durable and proven.
    proof: f64,
    /// Until ffprobe, a decode of the beginning and the poster are done.
    looks: f64,
    /// Until the video is in the store and the recorder knows.
    store: f64,
    yardstick: Yardstick,
    node_cpu: f64,
    programs_cpu: f64,
    memory: Memory,
}

/// The same chunks joined by no node. Unit: seconds.
struct Yardstick {
    /// `cat chunks > file`, fsync.
    joined: f64,
    /// `cat chunks | ffmpeg -c copy`.
    copied: f64,
    /// fsync of ffmpeg's file.
    synced: f64,
}

/// Most resident memory from `stop` to ready. Unit: bytes.
#[derive(Clone, Copy)]
struct Memory {
    before: u64,
    node: u64,
    ffmpeg: u64,
}

impl Round {
    fn total(&self) -> f64 {
        self.claim + self.copying + self.proof + self.looks + self.store
    }
}

/// Measures and prints.
pub async fn measure() -> anyhow::Result<()> {
    println!(
        "\nstop to ready, 720p at 2.25 Mbit/s in chunks of a second; seconds, median of rounds (lowest-highest)"
    );
    for row in ROWS {
        let media = Media::of(row.kind, row.seconds)?;
        let needed = media.bytes() * COPIES;
        if free_bytes()? < needed {
            println!("{}: left out, as it needs {:.0} MB of disk", row.name, mb(needed));
            continue;
        }
        let mut rounds = Vec::new();
        for _ in 0..row.rounds {
            // One of its own, so that its memory has seen nothing else.
            let node = Node::start()?;
            rounds.push(round(&node, row, &media).await.context(row.name)?);
            drop(node);
            settle()?;
        }
        print_row(row, &media, &rounds);
    }
    Ok(())
}

async fn round(node: &Node, row: Row, media: &Media) -> anyhow::Result<Round> {
    let mut recorder = Recorder::start(node.address(), row.kind.mime_type()).await?;
    let began = Instant::now();
    upload(&recorder, media).await?;
    let upload_rate = mb(media.bytes()) / began.elapsed().as_secs_f64();
    let chunks = node.chunks(&recorder.id);
    // Its files stay until the video is ready: a disk that clears them away is a slower one.
    let left = folder("yardstick")?;
    let yardstick = yardstick(row, &chunks, left.path())?;
    prepare(row, &chunks, left.path())?;
    process::forget_peak(node.pid())?;
    let (watch, before, cpu) = (Watch::start(node.pid()), process::resident(node.pid())?, node.cpu()?);
    let stopped = timeout(PATIENCE, stop(node, &mut recorder, media)).await.context("no video")??;
    let Cpu { own, children } = node.cpu()?.since(cpu);
    let memory = Memory { before, node: process::peak(node.pid())?, ffmpeg: watch.stop()? };
    recorder.discard().await?;
    Ok(Round {
        upload_rate,
        claim: stopped.claim,
        copying: stopped.copying,
        proof: stopped.proof,
        looks: stopped.looks,
        store: stopped.store,
        yardstick,
        node_cpu: own.as_secs_f64(),
        programs_cpu: children.as_secs_f64(),
        memory,
    })
}

async fn upload(recorder: &Recorder, media: &Media) -> anyhow::Result<()> {
    let mut uploads = JoinSet::new();
    let media = std::rc::Rc::new(media.again()?);
    for first in 0..UPLOADS {
        let (mut uploader, media) = (recorder.uploader().await?, media.clone());
        uploads.spawn_local(async move {
            for index in (first..media.chunks).step_by(usize::try_from(UPLOADS)?) {
                uploader.put(index, &media.chunk(index)?).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = uploads.join_next().await {
        done??;
    }
    Ok(())
}

/// Nothing is left to be written, what was made of the chunks before is out of the page cache, which otherwise has to
/// grow for each that follows, and the chunks are in it or not.
fn prepare(row: Row, chunks: &Path, made: &Path) -> anyhow::Result<()> {
    settle()?;
    cool(made)?;
    if row.cold { cool(chunks) } else { Ok(()) }
}

fn yardstick(row: Row, chunks: &Path, made: &Path) -> anyhow::Result<Yardstick> {
    let to = made.display();
    let seconds = |line: String| shell(&line, chunks).map(|took| took.as_secs_f64());
    let demuxer = row.kind.demuxer();
    let ending = if row.kind == Kind::Webm { "webm" } else { "mp4" };
    prepare(row, chunks, made)?;
    let joined = seconds(format!("cat chunk_* > '{to}/joined' && sync '{to}/joined'"))?;
    prepare(row, chunks, made)?;
    let copied = seconds(format!(
        "cat chunk_* | ffmpeg -v error -f {demuxer} -i pipe:0 -map 0 -c copy -y '{to}/copied.{ending}'"
    ))?;
    let synced = seconds(format!("sync '{to}/copied.{ending}'"))?;
    Ok(Yardstick { joined, copied, synced })
}

/// What `stop` led to. Unit: seconds.
struct Stopped {
    claim: f64,
    copying: f64,
    proof: f64,
    looks: f64,
    store: f64,
}

async fn stop(node: &Node, recorder: &mut Recorder, media: &Media) -> anyhow::Result<Stopped> {
    let id = recorder.id.clone();
    let began = Instant::now();
    recorder
        .say(&json!({ "type": "stop", "recordId": id, "chunks": media.chunks, "bytes": media.bytes() }))
        .await?;
    let mut reached = [None; 3];
    let ready = loop {
        let event = recorder.hear().await?;
        let now = Instant::now();
        match event["type"].as_str() {
            Some("finished") => {}
            Some("mergeProgress") => {
                for (at, percent) in reached.iter_mut().zip([88, 97, 100]) {
                    if event["percent"].as_u64() >= Some(percent) {
                        at.get_or_insert(now);
                    }
                }
            }
            Some("recordingReady") => break event,
            _ => bail!("the node says {event}"),
        }
    };
    let ended = Instant::now();
    check(&ready, media)?;
    let claimed = node.said_at(&["finalising", &id]).context("the node's log tells of no claim")?;
    let [Some(copied), Some(proven), Some(looked)] = reached else {
        bail!("of 88, 97 and 100 percent not all were told: {reached:?}")
    };
    let between = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64();
    Ok(Stopped {
        claim: between(began, claimed),
        copying: between(claimed, copied),
        proof: between(copied, proven),
        looks: between(proven, looked),
        store: between(looked, ended),
    })
}

/// What is fast because something is missing is not counted.
fn check(ready: &Value, media: &Media) -> anyhow::Result<()> {
    ensure!(ready["complete"] == true, "the video is not complete: {ready}");
    let (duration_ms, expected_ms) = (ready["durationMs"].as_u64(), u64::from(media.chunks) * 1000);
    let off = duration_ms.context("a video without a duration")?.abs_diff(expected_ms);
    ensure!(off <= 1000, "the video is {off} ms longer or shorter than it should be");
    Ok(())
}

/// Looks again and again at the memory of what a node has started.
struct Watch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Watch {
    fn start(node: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let mut most = 0;
            while !seen.load(Ordering::Relaxed) {
                let programs = process::children(node).into_iter().filter(|(_, name)| name == "ffmpeg");
                // One that has just ended has no memory any more.
                most = programs.filter_map(|(pid, _)| process::peak(pid).ok()).fold(most, u64::max);
                thread::sleep(LOOK);
            }
            most
        });
        Self { over, thread }
    }

    fn stop(self) -> anyhow::Result<u64> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the watch over memory panicked"))
    }
}

fn print_row(row: Row, media: &Media, rounds: &[Round]) {
    let of = |figure: fn(&Round) -> f64| Spread::of(rounds.iter().map(figure));
    let bytes =
        |figure: fn(&Memory) -> u64| Spread::of(rounds.iter().map(|round| mib(figure(&round.memory))));
    println!(
        "\n{}: {:.1} MB in {} chunks, {} rounds; put over HTTP at {:.0} MB/s\n\
         stop to ready: {:.2}   /(cat > file, fsync): {:.2}   /(cat | ffmpeg -c copy, fsync): {:.2}\n\
         - claim {:.2}, ffmpeg {:.2}, proof and hash {:.2}, probe, decode and poster {:.2}, store {:.2}\n\
         - yardsticks: cat > file and fsync {:.2}; cat | ffmpeg -c copy {:.2}, fsync of it {:.2}\n\
         - CPU: node {:.2}, ffmpeg and ffprobe {:.2}\n\
         - resident, MiB: node before {:.0}, at most {:.0}; ffmpeg at most {:.0}",
        row.name,
        mb(media.bytes()),
        media.chunks,
        row.rounds,
        of(|round| round.upload_rate),
        of(Round::total),
        of(|round| round.total() / round.yardstick.joined),
        of(|round| round.total() / (round.yardstick.copied + round.yardstick.synced)),
        of(|round| round.claim),
        of(|round| round.copying),
        of(|round| round.proof),
        of(|round| round.looks),
        of(|round| round.store),
        of(|round| round.yardstick.joined),
        of(|round| round.yardstick.copied),
        of(|round| round.yardstick.synced),
        of(|round| round.node_cpu),
        of(|round| round.programs_cpu),
        bytes(|memory| memory.before),
        bytes(|memory| memory.node),
        bytes(|memory| memory.ffmpeg),
    );
}
