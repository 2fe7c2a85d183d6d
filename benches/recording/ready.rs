//! How long a recorder waits for its video after `stop`, where that time goes, and what it takes.
//!
//! `assembled` alone leaves out what ffmpeg makes; `bucket` is what of it goes into a bucket. The steps are seen from outside: the claim in the node's log, the others at the percentages that the recorder is
//! told (`src/adapters/ffmpeg/job.rs` says which step ends at which).

use std::{
    net::SocketAddr,
    ops::Range,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tokio::{task::JoinSet, time::timeout};

use crate::{
    bucket::Bucket,
    disk::{Durable, cool, dd, free_bytes, settle, shell},
    figures::{Spread, mb, mib},
    group::{self, Group},
    media::{Kind, Media},
    node::folder,
    process,
    recorder::Recorder,
    run::wanted,
    watch::Watch,
};

/// Uploads of one recording at once.
const UPLOADS: usize = 4;
/// For a merge.
const PATIENCE: Duration = Duration::from_secs(240);
/// Between two looks at a file, or at a bucket.
pub const POLL: Duration = Duration::from_millis(50);
/// Of nodes that share their ledger; none of them dies here.
const LEASE_SECS: u32 = 8;
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
    /// Whether three nodes share its folder, Redis and PostgreSQL.
    clustered: bool,
    /// Whether it is put together while it comes; otherwise ffmpeg makes it at its end.
    assembled: bool,
    /// Whether it goes into a bucket; otherwise into a folder.
    bucket: bool,
}

/// Merged by ffmpeg, by one node and with its chunks in the page cache.
const MERGED: Row = Row {
    name: "",
    kind: Kind::Webm,
    seconds: 10,
    rounds: 5,
    cold: false,
    clustered: false,
    assembled: false,
    bucket: false,
};

const ROWS: [Row; 16] = [
    Row { name: "10 s WebM, assembled", rounds: 50, assembled: true, ..MERGED },
    Row { name: "10 min WebM, assembled", seconds: 600, rounds: 20, assembled: true, ..MERGED },
    Row { name: "10 min MP4, assembled", kind: Kind::Mp4, seconds: 600, assembled: true, ..MERGED },
    Row { name: "10 min WebM, assembled, 3 nodes", seconds: 600, assembled: true, clustered: true, ..MERGED },
    Row { name: "2 h WebM, assembled", seconds: 7200, rounds: 5, assembled: true, ..MERGED },
    Row { name: "10 s WebM, assembled, bucket", rounds: 20, assembled: true, bucket: true, ..MERGED },
    Row { name: "10 min WebM, assembled, bucket", seconds: 600, assembled: true, bucket: true, ..MERGED },
    Row {
        name: "2 h WebM, assembled, bucket",
        seconds: 7200,
        rounds: 5,
        assembled: true,
        bucket: true,
        ..MERGED
    },
    Row { name: "10 s WebM", ..MERGED },
    Row { name: "10 min WebM", seconds: 600, rounds: 3, ..MERGED },
    Row { name: "10 min MP4", kind: Kind::Mp4, seconds: 600, rounds: 3, ..MERGED },
    Row { name: "2 h WebM", seconds: 7200, rounds: 2, ..MERGED },
    Row { name: "2 h WebM, cold", seconds: 7200, rounds: 2, cold: true, ..MERGED },
    Row { name: "10 s WebM, 3 nodes", clustered: true, ..MERGED },
    Row { name: "10 min WebM, 3 nodes", seconds: 600, rounds: 3, clustered: true, ..MERGED },
    Row { name: "2 h WebM, 3 nodes", seconds: 7200, rounds: 2, clustered: true, ..MERGED },
];

/// What one round took. Unit: seconds.
struct Round {
    upload_rate: f64,
    /// Of the nodes, until all chunks were there, and in the file where it is put together while they come.
    coming_cpu: f64,
    stopped: Stopped,
    yardstick: Yardstick,
    /// By the nodes to the disk, from the first chunk on, for each byte of media.
    written: f64,
    node_cpu: f64,
    programs_cpu: f64,
    memory: Memory,
    /// Of it the bucket's server, which copies all parts when the last is there.
    joining: Option<f64>,
}

/// The same chunks joined by no node. Unit: seconds.
struct Yardstick {
    /// `cat chunks > file`, fsync.
    joined: f64,
    /// `cat chunks | ffmpeg -c copy`.
    copied: f64,
    /// fsync of ffmpeg's file.
    synced: f64,
    /// As many bytes of nothing, by `dd conv=fsync`.
    nothing: f64,
}

/// Most resident memory from `stop` to ready. Unit: bytes.
#[derive(Clone, Copy)]
struct Memory {
    before: u64,
    node: u64,
    ffmpeg: u64,
}

/// Measures and prints.
pub async fn measure() -> anyhow::Result<()> {
    println!(
        "\nstop to ready, 720p at 2.25 Mbit/s in chunks of a second; seconds, median of rounds (lowest-highest)"
    );
    for row in ROWS.into_iter().filter(is_wanted) {
        if row.clustered && !group::is_possible() {
            continue;
        }
        let media = Media::of(row.kind, row.seconds)?;
        let needed = media.bytes() * (COPIES + u64::from(row.bucket));
        if free_bytes()? < needed {
            println!("{}: left out, as it needs {:.0} MB of disk", row.name, mb(needed));
            continue;
        }
        let mut rounds = Vec::new();
        for _ in 0..row.rounds {
            // Nodes of its own, so that their memory has seen nothing else.
            let bucket = row.bucket.then(Bucket::start).transpose()?;
            let mut settings = vec![("ASSEMBLE", row.assembled.to_string())];
            settings.extend(bucket.iter().flat_map(Bucket::settings));
            let group = if row.clustered {
                Group::start_with(3, LEASE_SECS, &settings).await?
            } else {
                Group::alone_with(&settings)?
            };
            rounds.push(round(&group, row, &media, bucket.as_ref()).await.context(row.name)?);
            drop((group, bucket));
            settle()?;
        }
        print_row(row, &media, &rounds);
    }
    Ok(())
}

fn is_wanted(row: &Row) -> bool {
    wanted("ready") || row.assembled && (wanted("assembled") || row.bucket && wanted("bucket"))
}

async fn round(group: &Group, row: Row, media: &Media, bucket: Option<&Bucket>) -> anyhow::Result<Round> {
    let node = group.node(0);
    let mut recorder = Recorder::start(node.address(), row.kind.mime_type()).await?;
    let (began, idle, unwritten) = (Instant::now(), group.cpu()?, group.written()?);
    match bucket {
        Some(bucket) => bucket.upload(&recorder, group, media).await?,
        None => upload(&recorder, &group.addresses(), media, 0..media.chunks).await?,
    }
    let upload_rate = mb(media.bytes()) / began.elapsed().as_secs_f64();
    let chunks = node.chunks(&recorder.id);
    if row.assembled {
        caught_up(&chunks, media).await?;
    }
    let coming_cpu = group.cpu()?.since(idle).own.as_secs_f64();
    // Its files stay until the video is ready: a disk that clears them away is a slower one.
    let left = folder("yardstick")?;
    let yardstick = yardstick(row, media, &chunks, left.path())?;
    prepare(row, &chunks, left.path())?;
    group.forget_peaks()?;
    let (watch, before, cpu) = (Watch::start(group.pids()), process::resident(node.pid())?, group.cpu()?);
    let joining = bucket.map(Bucket::joining);
    let stopped = timeout(PATIENCE, stop(group, &mut recorder, media)).await.context("no video")??;
    let joining = bucket.zip(joining).map(|(bucket, before)| (bucket.joining() - before).as_secs_f64());
    let cpu = group.cpu()?.since(cpu);
    let written = mb(group.written()? - unwritten) / mb(media.bytes());
    let node = group.peaks()?.into_iter().fold(0, u64::max);
    let memory = Memory { before, node, ffmpeg: watch.stop()? };
    Ok(Round {
        upload_rate,
        coming_cpu,
        stopped,
        yardstick,
        written,
        node_cpu: cpu.own.as_secs_f64(),
        programs_cpu: cpu.children.as_secs_f64(),
        memory,
        joining,
    })
}

/// Waits until nothing is left to be put into the file: in a real recording there is a second for each chunk.
pub async fn caught_up(chunks: &Path, media: &Media) -> anyhow::Result<()> {
    let storage = chunks.ancestors().nth(2).context("a storage")?;
    // Beside the videos, or where no videos are among what is of use for a while.
    let places = [storage.join("assembly"), storage.join("tmp/assembly")];
    let written = || -> anyhow::Result<u64> {
        let mut bytes = 0;
        let mut has_picture = false;
        for entry in places.iter().filter_map(|place| std::fs::read_dir(place).ok()).flatten() {
            let entry = entry?;
            let path = entry.path();
            has_picture |= path.extension().is_some_and(|ending| ending == "jpg");
            if path.extension().is_some_and(|ending| ending == "part") {
                bytes += entry.metadata()?.len();
            }
        }
        // It is made at the eighth second, long before anybody stops.
        Ok(if has_picture { bytes } else { 0 })
    };
    // What came last may wait for what follows it. The rest goes in while the yardsticks are taken.
    let chunk = media.bytes() / u64::from(media.chunks);
    let enough = media.bytes() - (media.bytes() / 50).max(2 * chunk);
    let deadline = Instant::now() + PATIENCE;
    while written()? < enough {
        ensure!(Instant::now() < deadline, "the file does not grow any more");
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// Puts these chunks of a recording over HTTP, some at once, by way of all these nodes, as behind nginx.
pub async fn upload(
    recorder: &Recorder,
    nodes: &[SocketAddr],
    media: &Media,
    chunks: Range<u32>,
) -> anyhow::Result<()> {
    let mut uploads = JoinSet::new();
    let media = std::rc::Rc::new(media.again()?);
    for (first, &node) in (chunks.start..).take(UPLOADS).zip(nodes.iter().cycle()) {
        let (mut uploader, media) = (recorder.uploader_at(node).await?, media.clone());
        uploads.spawn_local(async move {
            for index in (first..chunks.end).step_by(UPLOADS) {
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

fn yardstick(row: Row, media: &Media, chunks: &Path, made: &Path) -> anyhow::Result<Yardstick> {
    let to = made.display();
    let seconds = |line: String| shell(&line, chunks).map(|took| took.as_secs_f64());
    let file = made.join("copied").with_extension(row.kind.extension());
    prepare(row, chunks, made)?;
    let joined = seconds(format!("cat chunk_* > '{to}/joined' && sync '{to}/joined'"))?;
    prepare(row, chunks, made)?;
    let copied = copy(row.kind, chunks, &file)?.as_secs_f64();
    let synced = seconds(format!("sync '{}'", file.display()))?;
    let block = 1 << 20;
    let blocks = usize::try_from(media.bytes())?.div_ceil(block);
    let nothing = dd(block, blocks, Durable::AtTheEnd)?.as_secs_f64();
    Ok(Yardstick { joined, copied, synced, nothing })
}

/// Copies the packets of chunks into a file, as ffmpeg does it by itself. Returns how long that took.
pub fn copy(kind: Kind, chunks: &Path, file: &Path) -> anyhow::Result<Duration> {
    let (demuxer, file) = (kind.demuxer(), file.display());
    shell(&format!("cat chunk_* | ffmpeg -v error -f {demuxer} -i pipe:0 -map 0 -c copy -y '{file}'"), chunks)
}

/// What `stop` led to. Unit: seconds.
struct Stopped {
    total: f64,
    /// Until it was claimed.
    claim: f64,
    /// What followed, where it is told at once: a cluster tells twice a second how far it is.
    steps: Option<Steps>,
}

/// One after the other. Unit: seconds.
#[derive(Clone, Copy)]
struct Steps {
    /// Until ffmpeg has ended.
    copying: f64,
    /// Until its result is read, hashed, durable and proven.
    proof: f64,
    /// Until ffprobe, a decode of the beginning and the poster are done.
    looks: f64,
    /// Until the video is in the store and the recorder knows.
    store: f64,
}

async fn stop(group: &Group, recorder: &mut Recorder, media: &Media) -> anyhow::Result<Stopped> {
    let id = recorder.id.clone();
    let began = Instant::now();
    recorder.stop(media).await?;
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
    let claimed = group.claimed_at(&id).context("no log tells of a claim")?.1;
    let between = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64();
    let steps = match reached {
        [Some(copied), Some(proven), Some(looked)] => Some(Steps {
            copying: between(claimed, copied),
            proof: between(copied, proven),
            looks: between(proven, looked),
            store: between(looked, ended),
        }),
        _ => None,
    };
    Ok(Stopped { total: between(began, ended), claim: between(began, claimed), steps })
}

/// What is fast because something is missing is not counted.
pub fn check(ready: &Value, media: &Media) -> anyhow::Result<()> {
    ensure!(ready["complete"] == true, "the video is not complete: {ready}");
    let (duration_ms, expected_ms) = (ready["durationMs"].as_u64(), u64::from(media.chunks) * 1000);
    let off = duration_ms.context("a video without a duration")?.abs_diff(expected_ms);
    ensure!(off <= 1000, "the video is {off} ms longer or shorter than it should be");
    Ok(())
}

fn print_row(row: Row, media: &Media, rounds: &[Round]) {
    let of = |figure: fn(&Round) -> f64| Spread::of(rounds.iter().map(figure));
    let bytes =
        |figure: fn(&Memory) -> u64| Spread::of(rounds.iter().map(|round| mib(figure(&round.memory))));
    println!(
        "\n{}: {:.1} MB in {} chunks, {} rounds; put over HTTP at {:.0} MB/s{}\n\
         stop to ready: {:.3}   /(cat > file, fsync): {:.2}   /(cat | ffmpeg -c copy, fsync): {:.2}\n\
         - claim {:.2}{}\n\
         - yardsticks: cat > file and fsync {:.2}; cat | ffmpeg -c copy {:.2}, fsync of it {:.2}; dd conv=fsync {:.2}\n\
         - written to the disk, of the media: {:.2} times\n\
         {}- CPU: nodes {:.3}, ffmpeg and ffprobe {:.2}; while its chunks came {:.2}, of a recorded second {:.2} ms\n\
         - resident, MiB: node before {:.0}, at most {:.0}; ffmpeg at most {:.0}",
        row.name,
        mb(media.bytes()),
        media.chunks,
        row.rounds,
        of(|round| round.upload_rate),
        if row.bucket { ", with pauses in which parts are sent" } else { "" },
        of(|round| round.stopped.total),
        of(|round| round.stopped.total / round.yardstick.joined),
        of(|round| round.stopped.total / (round.yardstick.copied + round.yardstick.synced)),
        of(|round| round.stopped.claim),
        steps(row, rounds),
        of(|round| round.yardstick.joined),
        of(|round| round.yardstick.copied),
        of(|round| round.yardstick.synced),
        of(|round| round.yardstick.nothing),
        of(|round| round.written),
        joining(rounds),
        of(|round| round.node_cpu),
        of(|round| round.programs_cpu),
        of(|round| round.coming_cpu),
        Spread::of(rounds.iter().map(|round| round.coming_cpu * 1000.0 / f64::from(row.seconds))),
        bytes(|memory| memory.before),
        bytes(|memory| memory.node),
        bytes(|memory| memory.ffmpeg),
    );
}

/// What of the time a bucket's server took that S3 would not take so: this one is for tests.
fn joining(rounds: &[Round]) -> String {
    let took: Vec<_> =
        rounds.iter().filter_map(|round| Some((round.stopped.total, round.joining?))).collect();
    if took.is_empty() {
        return String::new();
    }
    let joining = Spread::of(took.iter().map(|(_, joining)| *joining));
    let without = Spread::of(took.iter().map(|(total, joining)| total - joining));
    format!("- the server's copy of all parts: {joining:.3}; without it: {without:.3}\n")
}

/// Where the time went, on one node.
fn steps(row: Row, rounds: &[Round]) -> String {
    let steps: Vec<Steps> = rounds.iter().filter_map(|round| round.stopped.steps).collect();
    if row.clustered || steps.len() < rounds.len() {
        return String::new();
    }
    let of = |figure: fn(&Steps) -> f64| Spread::of(steps.iter().map(figure));
    format!(
        ", ffmpeg {:.2}, proof and hash {:.2}, probe, decode and poster {:.2}, store {:.2}",
        of(|steps| steps.copying),
        of(|steps| steps.proof),
        of(|steps| steps.looks),
        of(|steps| steps.store)
    )
}
