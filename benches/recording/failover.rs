//! A node is killed: how long until the video of its recorder is there, made by another.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::{
    figures::Spread,
    group::{self, Group},
    media::{Kind, Media, WEBM},
    ready::{caught_up, check, upload},
    recorder::Recorder,
    support::get,
};

/// Nodes killed one after the other for one row; one more looks on.
const KILLED: usize = 4;
/// Unit: seconds. The first is the default, the second the shortest that can be set.
const LEASES: [u32; 2] = [8, 2];
/// How long a recorder that is lost is waited for: the default. Unit: seconds.
const GRACE_SECS: u32 = 5;
/// How often somebody asks for the video.
const ASK: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(90);

/// What the node is at when it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// It has a recorder, which vanishes with it.
    Recording,
    /// The same, and nearly all of it is put together.
    Assembled,
    /// ffmpeg makes a video.
    Finalising,
}

/// Measures and prints.
pub async fn measure() -> anyhow::Result<()> {
    if !group::is_possible() {
        return Ok(());
    }
    println!(
        "\nkill -9 of a node, {KILLED} times for each row, until the video is ready by way of another; median (lowest-highest), s"
    );
    let media = |seconds| Media::of(Kind::Webm, seconds);
    let (short, long, longest) = (media(10)?, media(600)?, media(7200)?);
    for lease in LEASES {
        let (alive, _) = row(lease, At::Recording, &short).await?;
        println!(
            "lease {lease} s, 10 s recorded, its recorder gone too: {}; after its grace of {GRACE_SECS} s: {}",
            Spread::of(alive.clone()),
            Spread::of(alive.into_iter().map(|took| took - f64::from(GRACE_SECS)))
        );
        for (name, media) in [("10 min", &long), ("2 h", &longest)] {
            let (alive, made) = row(lease, At::Assembled, media).await?;
            println!(
                "lease {lease} s, {name} recorded, its recorder gone too: {}; after its grace of {GRACE_SECS} s: {}; of which from the claim on: {}",
                Spread::of(alive.clone()),
                Spread::of(alive.into_iter().map(|took| took - f64::from(GRACE_SECS))),
                Spread::of(made)
            );
        }
        let (merging, made) = row(lease, At::Finalising, &long).await?;
        println!(
            "lease {lease} s, 10 min, in the middle of its merge: {}; after the lease: {}; of which the merge anew: {}",
            Spread::of(merging.clone()),
            Spread::of(merging.into_iter().map(|took| took - f64::from(lease))),
            Spread::of(made)
        );
    }
    Ok(())
}

/// From each kill until the video is there; and of that from the new claim on. Unit: seconds.
async fn row(lease: u32, at: At, media: &Media) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
    let by_ffmpeg = at == At::Finalising;
    let settings = [("RECORDING_GRACE_SECS", GRACE_SECS.to_string()), ("ASSEMBLE", (!by_ffmpeg).to_string())];
    let mut group = Group::start_with(1 + KILLED, lease, &settings).await?;
    let mut all = (Vec::new(), Vec::new());
    for _ in 0..KILLED {
        let number = group.last();
        let mut recorder = Recorder::start(group.node(number).address(), WEBM).await?;
        let owner = match at {
            At::Recording => {
                recorder.record(media).await?;
                number
            }
            At::Assembled => {
                recorder.record(media).await?;
                caught_up(&group.node(number).chunks(&recorder.id), media).await?;
                number
            }
            At::Finalising => {
                // How far a merge is, is told twice a second: one that was faster is no case of this.
                while !is_half_made(&mut recorder, &group.addresses(), media).await? {
                    recorder = Recorder::start(group.node(number).address(), WEBM).await?;
                }
                group.claimed_at(&recorder.id).context("nobody has claimed it")?.0
            }
        };
        let killed = Instant::now();
        group.kill(owner);
        let ready = timeout(PATIENCE, ready(&group, &recorder.id)).await.context("no video")??;
        let took = killed.elapsed();
        check(&ready, media)?;
        let (_, claimed) = group.claimed_at(&recorder.id).context("nobody has claimed it anew")?;
        ensure!(claimed > killed, "it was made before the node was killed");
        all.0.push(took.as_secs_f64());
        all.1.push((took - (claimed - killed)).as_secs_f64());
    }
    Ok(all)
}

/// Records all of it, and waits until ffmpeg has copied something. `false`: it was made before that was told.
async fn is_half_made(recorder: &mut Recorder, nodes: &[SocketAddr], media: &Media) -> anyhow::Result<bool> {
    upload(recorder, nodes, media, 0..media.chunks).await?;
    recorder.stop(media).await?;
    loop {
        let event = recorder.hear().await?;
        if event["type"] == "recordingReady" {
            return Ok(false);
        }
        if event["type"] == "mergeProgress" && event["percent"].as_u64() > Some(0) {
            return Ok(true);
        }
    }
}

/// Asks a node that runs until the video is there.
async fn ready(group: &Group, id: &str) -> anyhow::Result<Value> {
    loop {
        let status = get(group.node(group.last()).address(), &format!("/recordings/{id}/status")).await;
        ensure!(status.status == 200, "the status is answered with {status:?}");
        let status = status.json();
        if status["state"] == "ready" {
            return Ok(status);
        }
        sleep(ASK).await;
    }
}
