//! How long a browser that goes to some place of a long video waits for its frame, over HTTP in ranges; beside it, in
//! turns, the same in what ffmpeg copies of the same chunks, from a bare server. `seek.mjs` is the browser's side.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    burst::made,
    disk::{free_bytes, settle},
    figures::{Spread, mb, percentile_ms},
    group::Group,
    media::{Kind, Media},
    node::folder,
    ready::{check, copy, upload},
    recorder::Recorder,
};

const SECONDS: u32 = 7200;
/// Copies of the recording that are on the disk at once: chunks, the node's video, ffmpeg's.
const COPIES: u64 = 3;
/// For the video.
const PATIENCE: Duration = Duration::from_secs(240);
const HERE: &str = env!("CARGO_MANIFEST_DIR");
const SCRIPT: &str = "benches/recording/seek.mjs";

/// Measures and prints.
pub async fn measure() -> anyhow::Result<()> {
    let Some(chromium) = chromium()? else {
        println!(
            "\nseeking: left out, as it needs node.js, playwright-core (`npm ci`) and Chromium (`$CHROMIUM`)"
        );
        return Ok(());
    };
    let media = Media::of(Kind::Webm, SECONDS)?;
    let needed = media.bytes() * COPIES;
    if free_bytes()? < needed {
        println!("\nseeking: left out, as it needs {:.0} MB of disk", mb(needed));
        return Ok(());
    }
    let (group, left) = (Group::alone()?, folder("seek")?);
    let address = group.node(0).address();
    let copied = left.path().join("copied.webm");
    let mut recorder = Recorder::start(address, Kind::Webm.mime_type()).await?;
    upload(&recorder, &group.addresses(), &media, 0..media.chunks).await?;
    copy(Kind::Webm, &group.node(0).chunks(&recorder.id), &copied)?;
    recorder.stop(&media).await?;
    let ready = timeout(PATIENCE, made(&mut recorder)).await.context("no video")??;
    check(&ready, &media)?;
    settle()?;
    let path = ready["downloadUrl"].as_str().context("a video without an address")?;
    let seen = watch(&chromium, &format!("http://{address}{path}"), &copied)?;
    print(&media, &Player::read(&seen["ours"])?, &Player::read(&seen["bare"])?)
}

/// The browser, where all is there that it takes to drive one.
fn chromium() -> anyhow::Result<Option<String>> {
    let line = "node -e 'import(\"playwright-core\")' && command -v \"${CHROMIUM:-chromium}\"";
    let found = Command::new("sh").args(["-c", line]).current_dir(HERE).stdin(Stdio::null()).output()?;
    Ok(found.status.success().then(|| String::from_utf8_lossy(&found.stdout).trim().to_owned()))
}

/// Has the browser seek in both.
fn watch(chromium: &str, video: &str, copied: &Path) -> anyhow::Result<Value> {
    let seen = Command::new("node")
        .args([SCRIPT, video])
        .arg(copied)
        .env("CHROMIUM", chromium)
        .current_dir(HERE)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(seen.status.success(), "the browser does not seek");
    Ok(serde_json::from_slice(&seen.stdout)?)
}

/// What one player saw.
struct Player {
    seeks: Vec<Duration>,
    /// Until its first frame.
    loaded_ms: f64,
    bytes: u64,
    requests: u64,
}

impl Player {
    fn read(report: &Value) -> anyhow::Result<Self> {
        let seeks = report["seeksMs"].as_array().context("no seeks")?;
        let seeks = seeks.iter().map(|ms| Some(Duration::from_secs_f64(ms.as_f64()? / 1e3)));
        Ok(Self {
            seeks: seeks.collect::<Option<_>>().context("a seek without a time")?,
            loaded_ms: report["loadedMs"].as_f64().context("no first frame")?,
            bytes: report["bytes"].as_u64().context("no bytes")?,
            requests: report["requests"].as_u64().context("no requests")?,
        })
    }

    fn ms(&self, percent: usize) -> f64 {
        percentile_ms(&self.seeks, percent)
    }

    fn print(&self, name: &str) {
        println!(
            "- {name}: {:.0} p50, {:.0} p95, {:.0} at most; first frame {:.0}; {:.1} MB in {} requests",
            self.ms(50),
            self.ms(95),
            self.ms(100),
            self.loaded_ms,
            mb(self.bytes),
            self.requests
        );
    }
}

fn print(media: &Media, ours: &Player, bare: &Player) -> anyhow::Result<()> {
    ensure!(!ours.seeks.is_empty() && ours.seeks.len() == bare.seeks.len(), "not all places were sought");
    let places = ours.seeks.iter().zip(&bare.seeks);
    println!(
        "\nseeking in {} h of WebM, {:.0} MB, in Chromium: {} places; ms until the frame of the place is shown",
        SECONDS / 3600,
        mb(media.bytes()),
        ours.seeks.len()
    );
    ours.print("node, assembled");
    bare.print("bare server, ffmpeg -c copy");
    println!(
        "- node / bare: p50 {:.2}, p95 {:.2}; place by place {}",
        ours.ms(50) / bare.ms(50),
        ours.ms(95) / bare.ms(95),
        Spread::of(places.map(|(ours, bare)| ours.as_secs_f64() / bare.as_secs_f64()))
    );
    Ok(())
}
