//! Half an hour that was never sent comes when its recording was finalised long ago: until when it is taken, and the video is
//! complete.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, ensure};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    burst::made,
    disk::settle,
    figures::Spread,
    group::Group,
    media::{Kind, Media, WEBM},
    ready::check,
    recorder::Recorder,
    support::get,
};

const SECONDS: u32 = 1800;
/// What had come before the recorder was lost.
const BEFORE: u32 = 10;
const ROUNDS: usize = 3;
/// How often somebody asks how it stands.
const ASK: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures and prints.
pub async fn measure() -> anyhow::Result<()> {
    let media = Media::of(Kind::Webm, SECONDS)?;
    let (mut taken, mut waited) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let group = Group::alone_with(&[("RECORDING_GRACE_SECS", "1".to_owned())])?;
        let address = group.node(0).address();
        let mut recorder = Recorder::start(address, WEBM).await?;
        recorder.pace(&media, Instant::now() - Duration::from_secs(BEFORE.into()), BEFORE).await?;
        let mut recorder =
            timeout(PATIENCE, lost(address, recorder)).await.context("it is not finalised")??;
        let began = Instant::now();
        recorder.record(&media).await?;
        taken.push(began.elapsed().as_secs_f64());
        let stopped = Instant::now();
        recorder.stop(&media).await?;
        let ready = timeout(PATIENCE, made(&mut recorder)).await.context("no video")??;
        waited.push(stopped.elapsed().as_secs_f64());
        check(&ready, &media)?;
        ensure!(ready["version"] == 2, "it was never finalised before: {ready}");
        drop(group);
        settle()?;
    }
    println!(
        "\n{SECONDS} s of backlog, come back after its recording was finalised: taken in {:.1} s, {:.0} times as fast as it was recorded; \
         ready {:.3} s after the stop",
        Spread::of(taken.clone()),
        Spread::of(taken.into_iter().map(|took| f64::from(SECONDS - BEFORE) / took)),
        Spread::of(waited)
    );
    Ok(())
}

/// The recorder loses its socket, and comes back when its recording was finalised without it.
async fn lost(node: SocketAddr, recorder: Recorder) -> anyhow::Result<Recorder> {
    let status = format!("/recordings/{}/status", recorder.id);
    let lost = recorder.lose();
    while get(node, &status).await.json()["state"] != "ready" {
        sleep(ASK).await;
    }
    lost.come_back().await
}
