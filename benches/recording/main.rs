//! What recording costs: `cargo bench --bench recording` (about five minutes and 10 GB of disk, Linux).
//!
//! The node is the release binary as a process of its own, on loopback and on a folder of the disk that the build is
//! on. Times on a shared machine say little by themselves: what the node does is measured in turns with something bare
//! that does the same to the same disk, and the ratios are the result. `docs/PERFORMANCE.md` reads the figures;
//! [`ack`] (chunks until they are acknowledged), [`ready`] (from `stop` to the video) and [`memory`] make them.
//!
//! What it is not: a load generator. One thread drives all clients, on the cores that the node uses too.

#![expect(clippy::print_stdout, reason = "a bench reports to whoever runs it")]

mod ack;
mod disk;
mod figures;
mod http;
mod media;
mod memory;
mod node;
mod process;
mod ready;
mod recorder;
#[path = "../signaling/run.rs"]
mod run;
mod stretch;

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;

use self::run::{run, wanted};

/// The whole bench gives up after this long, in which its media are made once.
const PATIENCE: Duration = Duration::from_secs(900);

fn main() -> anyhow::Result<ExitCode> {
    run(PATIENCE, |_| measure())
}

async fn measure() -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?;
    println!(
        "greenroom {} on loopback, {cores} cores shared by node and clients; load average {}",
        env!("CARGO_PKG_VERSION"),
        process::load()
    );
    if wanted("ack") {
        ack::measure().await.context("acknowledgements")?;
    }
    if wanted("ready") {
        ready::measure().await.context("stop to ready")?;
    }
    if wanted("memory") {
        memory::measure().await.context("memory")?;
    }
    println!(
        "\nload average at the end {}\n\
         not measured: networks, TLS and proxies; NFS and other disks; several nodes; several merges at once;\n\
         re-encoding; downloads; a disk that is nearly full; hours.",
        process::load()
    );
    Ok(())
}
