//! What signaling costs: `cargo bench --bench signaling` (about a minute, Linux).
//!
//! The node is the release binary as a process of its own, on loopback, so that its CPU and memory are its own and not
//! those of the clients. Times on a shared machine say little by themselves: beside every relay a bare TCP echo of as
//! many bytes is measured in the same run, turn by turn, and the ratios are the result. `docs/PERFORMANCE.md` reads
//! the figures; [`unicast`], [`broadcast`], [`idle`] and [`stalled`] make them.
//!
//! What it is not: a load generator. One thread drives all clients, so rates are the clients' and are not reported.

#![expect(clippy::print_stdout, reason = "a bench reports to whoever runs it")]

mod bare;
mod broadcast;
mod client;
mod figures;
mod idle;
mod node;
mod run;
mod stalled;
mod unicast;
mod ways;

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;

use self::run::{run, wanted};

/// The whole bench gives up after this long.
const PATIENCE: Duration = Duration::from_secs(90);

fn main() -> anyhow::Result<ExitCode> {
    run(PATIENCE, measure)
}

async fn measure(files: u64) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?;
    println!("greenroom {} on loopback, {cores} cores shared by node and clients", env!("CARGO_PKG_VERSION"));
    if wanted("relay") {
        unicast::measure().await.context("relay")?;
    }
    if wanted("broadcast") {
        broadcast::measure().await.context("broadcast")?;
    }
    if wanted("stalled") {
        stalled::measure().await.context("stalled peer")?;
    }
    if wanted("idle") {
        idle::measure(files).await.context("idle sessions")?;
    }
    println!(
        "\nnot measured: networks, TLS and proxies; browsers; several nodes; the highest rate (one thread of clients);\n\
         memory that the kernel keeps for sockets; more than 5,000 sessions; hours."
    );
    Ok(())
}
