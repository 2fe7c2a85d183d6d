//! A hundred recordings are stopped in one second: until when all are ready, and what that takes of memory.

use std::{rc::Rc, time::Duration};

use anyhow::{Context as _, ensure};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    figures::{Spread, mib},
    group::{self, Group},
    media::{Kind, Media, WEBM},
    process,
    ready::check,
    recorder::Recorder,
    watch::Watch,
};

const RECORDINGS: u32 = 100;
const SECONDS: u32 = 10;
const NODES: usize = 3;
const LEASE_SECS: u32 = 8;
/// In which all are stopped.
const SPREAD: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(300);

/// Measures and prints.
pub async fn measure() -> anyhow::Result<()> {
    let media = Rc::new(Media::of(Kind::Webm, SECONDS)?);
    println!(
        "\n{RECORDINGS} recordings of {SECONDS} s at 2.25 Mbit/s, stopped within {} s",
        SPREAD.as_secs()
    );
    run("one node", &Group::alone()?, 1, &media).await?;
    if group::is_possible() {
        run("three nodes", &Group::start(NODES, LEASE_SECS).await?, NODES, &media).await?;
    }
    Ok(())
}

async fn run(name: &str, group: &Group, nodes: usize, media: &Rc<Media>) -> anyhow::Result<()> {
    let mut recorders = Vec::new();
    for number in 0..RECORDINGS {
        let node = group.node(usize::try_from(number)? % nodes);
        let mut recorder = Recorder::start(node.address(), WEBM).await?;
        recorder.record(media).await?;
        recorders.push(recorder);
    }
    let before = mib(process::resident(group.node(0).pid())?);
    group.forget_peaks()?;
    let (watch, cpu, began) = (Watch::start(group.pids()), group.cpu()?, Instant::now());
    let mut stopping = JoinSet::new();
    for (mut recorder, number) in recorders.into_iter().zip(0..) {
        let media = media.clone();
        stopping.spawn_local(async move {
            sleep_until(began + SPREAD * number / RECORDINGS).await;
            let stopped = Instant::now();
            recorder.stop(&media).await?;
            let ready = timeout(PATIENCE, made(&mut recorder)).await.context("no video")??;
            check(&ready, &media)?;
            anyhow::Ok(stopped.elapsed().as_secs_f64())
        });
    }
    let mut waited = Vec::new();
    while let Some(done) = stopping.join_next().await {
        waited.push(done??);
    }
    let (all, cpu) = (began.elapsed().as_secs_f64(), group.cpu()?.since(cpu));
    let peaks: Vec<String> = group.peaks()?.into_iter().map(|peak| format!("{:.0}", mib(peak))).collect();
    println!(
        "{name}: all ready {all:.1} s after the first stop; each waited {:.1} s; CPU: nodes {:.1} s, ffmpeg and ffprobe {:.1} s\n\
         - resident, MiB: first node before {before:.0}; each node at most {}; one ffmpeg at most {:.0}",
        Spread::of(waited),
        cpu.own.as_secs_f64(),
        cpu.children.as_secs_f64(),
        peaks.join(", "),
        mib(watch.stop()?)
    );
    Ok(())
}

/// Waits for the video.
pub async fn made(recorder: &mut Recorder) -> anyhow::Result<serde_json::Value> {
    loop {
        let event = recorder.hear().await?;
        ensure!(event["type"] != "recordingError", "no video is made: {event}");
        if event["type"] == "recordingReady" {
            return Ok(event);
        }
    }
}
