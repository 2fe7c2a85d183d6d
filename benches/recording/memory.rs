//! What recorders cost who are only there, and what a hundred cost who send.

use std::time::Duration;

use anyhow::Context as _;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    disk::settle,
    figures::{kib, mb, mib, percentile_ms},
    group::{self, Group},
    media::WEBM,
    node::Node,
    process,
    recorder::{Payload, Recorder},
};

const IDLE: u32 = 500;
const LEASE_SECS: u32 = 8;
const SENDERS: u32 = 100;
const CHUNK_BYTES: usize = 280_000;
/// Recorders that start at once.
const AT_ONCE: usize = 16;
/// How long those who are idle are watched.
const WATCH: Duration = Duration::from_secs(5);
/// Chunks that each sends at the pace of a browser, one a second.
const PACED: u32 = 6;
/// How long all send as fast as they may.
const FLAT_OUT: Duration = Duration::from_secs(3);
/// After which memory is read again.
const REST: Duration = Duration::from_secs(2);
/// Most frames that a socket may send at once, and some to spare.
const MOST: usize = 900;

/// Measures and prints.
pub async fn measure() -> anyhow::Result<()> {
    idle("the node", &Group::alone()?).await?;
    if group::is_possible() {
        idle("one node of a cluster", &Group::start(1, LEASE_SECS).await?).await?;
    }
    sending().await
}

async fn idle(name: &str, group: &Group) -> anyhow::Result<()> {
    let node = group.node(0);
    // What a node allocates once, for whoever comes first, is no recorder's.
    discard(recorders(node, 32).await?).await?;
    let before = process::resident(node.pid())?;
    let crowd = recorders(node, IDLE).await?;
    let started = process::resident(node.pid())?;
    let (began, cpu) = (Instant::now(), node.cpu()?);
    sleep(WATCH).await;
    let watched = process::resident(node.pid())?;
    let cpu = node.cpu()?.since(cpu).own.as_secs_f64() / began.elapsed().as_secs_f64();
    discard(crowd).await?;
    let each = |now: u64| kib(now.saturating_sub(before)) / f64::from(IDLE);
    println!(
        "\nresident memory of {name}, {IDLE} recorders that have started and send nothing\n\
         before {:.1} MiB; started {:.1} MiB, {:.1} KiB each; {} s later {:.1} MiB, {:.1} KiB each; CPU {:.1} % of a core",
        mib(before),
        mib(started),
        each(started),
        WATCH.as_secs(),
        mib(watched),
        each(watched),
        100.0 * cpu
    );
    Ok(())
}

async fn sending() -> anyhow::Result<()> {
    let node = Node::start()?;
    let payload = Payload::any(CHUNK_BYTES);
    let crowd = recorders(&node, SENDERS).await?;
    let before = process::resident(node.pid())?;
    println!(
        "\nresident memory of the node, {SENDERS} recorders that send {} KB chunks; before: {:.0} MiB",
        CHUNK_BYTES / 1000,
        mib(before)
    );
    process::forget_peak(node.pid())?;
    let began = Instant::now();
    let (crowd, latencies) = all(crowd, |recorder, number| paced(recorder, &payload, number)).await?;
    print(&node, "one a second each", began, &latencies)?;
    process::forget_peak(node.pid())?;
    let began = Instant::now();
    let end = began + FLAT_OUT;
    let drive = |mut recorder: Recorder, _| {
        let payload = payload.clone();
        async move {
            let latencies = recorder.drive(&payload, 8, end, MOST).await?;
            anyhow::Ok((recorder, latencies))
        }
    };
    let (crowd, latencies) = all(crowd, drive).await?;
    print(&node, "8 under way each", began, &latencies)?;
    sleep(REST).await;
    println!("{:<20} {:.0} MiB", "at rest again", mib(process::resident(node.pid())?));
    discard(crowd).await?;
    sleep(REST).await;
    println!("{:<20} {:.0} MiB", "all have left", mib(process::resident(node.pid())?));
    Ok(())
}

fn print(node: &Node, name: &str, began: Instant, latencies: &[Duration]) -> anyhow::Result<()> {
    let bytes = (latencies.len() * CHUNK_BYTES) as u64;
    println!(
        "{name:<20} {:.0} MiB at most; {:.0} MB/s; acknowledged after {:.1} ms (p50), {:.1} ms (p99)",
        mib(process::peak(node.pid())?),
        mb(bytes) / began.elapsed().as_secs_f64(),
        percentile_ms(latencies, 50),
        percentile_ms(latencies, 99)
    );
    Ok(())
}

/// Sends as a browser does, not all at the same moment.
fn paced(
    mut recorder: Recorder,
    payload: &Payload,
    number: u32,
) -> impl Future<Output = anyhow::Result<(Recorder, Vec<Duration>)>> + use<> {
    let payload = payload.clone();
    async move {
        let mut latencies = Vec::new();
        let begins = Instant::now() + Duration::from_secs(1) * number / SENDERS;
        for second in 0..PACED {
            sleep_until(begins + Duration::from_secs(1) * second).await;
            let end = Instant::now() + FLAT_OUT;
            latencies.extend(recorder.drive(&payload, 1, end, 1).await?);
        }
        Ok((recorder, latencies))
    }
}

/// All at once, each what it does.
async fn all<F>(
    crowd: Vec<Recorder>,
    act: impl Fn(Recorder, u32) -> F,
) -> anyhow::Result<(Vec<Recorder>, Vec<Duration>)>
where
    F: Future<Output = anyhow::Result<(Recorder, Vec<Duration>)>> + 'static,
{
    let mut acting = JoinSet::new();
    for (recorder, number) in crowd.into_iter().zip(0..) {
        acting.spawn_local(act(recorder, number));
    }
    let (mut crowd, mut latencies) = (Vec::new(), Vec::new());
    while let Some(done) = acting.join_next().await {
        let (recorder, some) = done??;
        crowd.push(recorder);
        latencies.extend(some);
    }
    Ok((crowd, latencies))
}

async fn recorders(node: &Node, count: u32) -> anyhow::Result<Vec<Recorder>> {
    let (mut crowd, mut starting) = (Vec::new(), JoinSet::new());
    for _ in 0..count {
        starting.spawn_local(Recorder::start(node.address(), WEBM));
        if starting.len() >= AT_ONCE {
            crowd.push(starting.join_next().await.context("nobody starts")???);
        }
    }
    while let Some(started) = starting.join_next().await {
        crowd.push(started??);
    }
    Ok(crowd)
}

async fn discard(crowd: Vec<Recorder>) -> anyhow::Result<()> {
    for recorder in crowd {
        recorder.discard().await?;
    }
    settle()
}
