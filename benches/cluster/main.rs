//! What a cluster costs, and how soon it is whole again: `cargo bench --bench cluster` (less than four minutes; Linux, redis-server).
//!
//! Nodes are release binaries as processes of their own, on a Redis of their own, all on loopback. Times of failures are mostly
//! those that are set (a lease, a beat); what is to be seen is how little comes on top. Relays between nodes are measured in
//! turns with relays on one node, and the ratios are the result. `docs/PERFORMANCE.md` reads the figures; [`deaths`], [`resume`],
//! [`wipe`], [`relay`], [`commands`] and [`memory`] make them.
//!
//! What it is not: a load generator. One thread drives all clients, on the cores that nodes and Redis use too.

#![expect(clippy::print_stdout, reason = "a bench reports to whoever runs it")]

#[path = "../signaling/client.rs"]
mod client;
mod commands;
mod counts;
mod crowd;
mod deaths;
#[path = "../recording/figures.rs"]
#[allow(dead_code, reason = "each bench uses its own part of this")]
mod figures;
mod memory;
#[path = "../signaling/node.rs"]
#[allow(dead_code, reason = "each bench uses its own part of this")]
mod node;
#[path = "../recording/process.rs"]
#[allow(dead_code, reason = "each bench uses its own part of this")]
mod process;
mod relay;
mod resume;
#[path = "../signaling/run.rs"]
mod run;
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../signaling/ways.rs"]
#[allow(dead_code, reason = "each bench uses its own part of this")]
mod ways;
mod wipe;

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;

use self::{
    run::{run, wanted},
    support::{Cluster, Redis},
};

/// The whole bench gives up after this long.
const PATIENCE: Duration = Duration::from_secs(400);

/// Out of the way: what is measured is the cluster, not the limits of its nodes.
const FLAGS: [&str; 3] = ["--messages-per-sec=100000", "--messages-burst=100000", "--log-level=warn"];

fn main() -> anyhow::Result<ExitCode> {
    run(PATIENCE, |_| measure())
}

async fn measure() -> anyhow::Result<()> {
    if !Redis::is_here() {
        return Ok(());
    }
    let cores = std::thread::available_parallelism()?;
    println!(
        "greenroom {} on loopback, {cores} cores shared by nodes, Redis and clients; load average {}",
        env!("CARGO_PKG_VERSION"),
        process::load()
    );
    if wanted("deaths") {
        deaths::measure().await.context("deaths")?;
    }
    if wanted("resume") {
        resume::measure().await.context("resume")?;
    }
    if wanted("wipe") {
        wipe::measure().await.context("wipe")?;
    }
    if wanted("relay") {
        relay::measure().await.context("relay")?;
    }
    if wanted("commands") {
        commands::measure().await.context("commands")?;
    }
    if wanted("memory") {
        memory::measure().await.context("memory")?;
    }
    println!(
        "\nload average at the end {}\n\
         not measured: networks, so also the distance to Redis; TLS; Sentinel and Redis Cluster; nodes and Redis on machines\n\
         of their own; rooms over more than two nodes; the highest rate; hours.",
        process::load()
    );
    Ok(())
}

/// A cluster with these flags beside ours.
async fn start(nodes: usize, flags: &[&str]) -> Cluster {
    Cluster::start_with(nodes, &[&FLAGS[..], flags].concat()).await
}
