//! What recording costs: `cargo bench --bench recording` (more than half an hour and 12 GB of disk, Linux; for clusters also
//! redis-server and PostgreSQL, for seeking node.js with playwright-core and Chromium).
//!
//! Nodes are the release binary as processes of their own, on loopback and on a folder of the disk that the build is
//! on. Times on a shared machine say little by themselves: what the node does is measured in turns with something bare
//! that does the same to the same disk, and the ratios are the result. `docs/PERFORMANCE.md` reads the figures;
//! [`ack`] (chunks until they are acknowledged), [`ready`] (from `stop` to the video), [`failover`] (a node is killed),
//! [`burst`] (a hundred are stopped at once), [`backlog`] (half an hour comes late), [`pace`] (recorders at the pace of browsers),
//! [`follow`] (what putting together takes by itself), [`memory`] and [`seek`] (a browser
//! goes to places of the video) make them.
//!
//! What it is not: a load generator. One thread drives all clients, on the cores that the node uses too.

#![expect(clippy::print_stdout, reason = "a bench reports to whoever runs it")]

mod ack;
mod backlog;
mod bucket;
mod burst;
mod disk;
mod failover;
mod figures;
mod follow;
mod group;
mod http;
mod media;
mod memory;
mod node;
mod pace;
mod process;
mod ready;
mod recorder;
#[path = "../signaling/run.rs"]
mod run;
#[allow(dead_code, clippy::expect_used, reason = "tests use more of it, and this is how a test fails")]
#[path = "../../tests/support/s3.rs"]
mod s3;
mod seek;
mod stretch;
#[path = "../../tests/support/mod.rs"]
mod support;
mod watch;

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;

use self::run::{run, wanted};

/// The whole bench gives up after this long, in which its media are made once.
const PATIENCE: Duration = Duration::from_secs(4500);

fn main() -> anyhow::Result<ExitCode> {
    run(PATIENCE, |_| measure())
}

async fn measure() -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?;
    println!(
        "greenroom {} on loopback, {cores} cores shared by nodes and clients; load average {}",
        env!("CARGO_PKG_VERSION"),
        process::load()
    );
    if wanted("ack") {
        ack::measure().await.context("acknowledgements")?;
    }
    if wanted("ready") || wanted("assembled") || wanted("bucket") {
        ready::measure().await.context("stop to ready")?;
    }
    if wanted("failover") {
        failover::measure().await.context("failover")?;
    }
    if wanted("burst") {
        burst::measure().await.context("a burst of stops")?;
    }
    if wanted("backlog") {
        backlog::measure().await.context("a backlog")?;
    }
    if wanted("pace") {
        pace::measure().await.context("recorders at the pace of browsers")?;
    }
    if wanted("follow") {
        follow::measure().await.context("putting together by itself")?;
    }
    if wanted("memory") {
        memory::measure().await.context("memory")?;
    }
    if wanted("seek") {
        seek::measure().await.context("seeking")?;
    }
    println!(
        "\nload average at the end {}\n\
         not measured: networks, TLS and proxies; NFS and other disks; nodes on machines of their own; S3 but on loopback;\n\
         re-encoding; downloads; a disk that is nearly full; hours.",
        process::load()
    );
    Ok(())
}
