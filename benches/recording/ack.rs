//! How fast chunks are acknowledged, beside a loop that makes as many files durable at once, and `dd`.

use std::time::Duration;

use tokio::{task::JoinSet, time::Instant};

use crate::{
    disk::{Durable, Loop, dd, settle},
    figures::{Spread, mb},
    group::{self, Group},
    media::WEBM,
    process::Cpu,
    recorder::{Payload, Recorder},
    stretch::Stretch,
};

const ROUNDS: usize = 3;
/// How long one way of one row is measured at a time.
const STRETCH: Duration = Duration::from_millis(800);
/// Chunks of one recorder in a stretch. A socket may not send more than 1,000 frames at once.
const MOST: usize = 900;
/// Of the node that is one of a cluster.
const LEASE_SECS: u32 = 8;
const SIZES: [(&str, usize); 3] = [("30 KB", 30_000), ("280 KB", 280_000), ("1 MB", 1_000_000)];

/// How chunks come.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Over a socket, with so many unacknowledged.
    Socket(u32),
    /// Over HTTP, one after the other.
    Http,
}

/// So many recorders at once.
#[derive(Debug, Clone, Copy)]
struct Row {
    way: Way,
    recorders: usize,
}

const ROWS: [Row; 6] = [
    Row { way: Way::Socket(1), recorders: 1 },
    Row { way: Way::Socket(8), recorders: 1 },
    Row { way: Way::Socket(8), recorders: 8 },
    Row { way: Way::Socket(8), recorders: 32 },
    Row { way: Way::Http, recorders: 1 },
    Row { way: Way::Http, recorders: 8 },
];

impl Row {
    fn name(self) -> String {
        match self.way {
            Way::Socket(window) => format!("socket, {} x {window}", self.recorders),
            Way::Http => format!("HTTP PUT, {}", self.recorders),
        }
    }

    /// Chunks of one recorder under way at once.
    fn window(self) -> usize {
        match self.way {
            Way::Socket(window) => usize::try_from(window).unwrap_or(1),
            Way::Http => 1,
        }
    }
}

/// One row in one round, by one node alone, by one of a cluster, where that is possible, and by nobody's program.
struct Round {
    alone: Stretch,
    clustered: Option<Stretch>,
    bare: Stretch,
}

/// What `dd` did in one round. Unit: MB for each second.
struct Yardstick {
    each_block: f64,
    at_the_end: f64,
}

/// Measures and prints.
pub async fn measure() -> anyhow::Result<()> {
    let alone = Group::alone()?;
    let clustered = if group::is_possible() { Some(Group::start(1, LEASE_SECS).await?) } else { None };
    println!(
        "\nchunks until they are acknowledged; {ROUNDS} rounds of {} ms for each way, in turn\n\
         by a node alone and by one whose ledger is in Redis, and beside a loop of write, fsync, rename, fsync of the folder, with as many threads as chunks are under way",
        STRETCH.as_millis()
    );
    for (name, bytes) in SIZES {
        let payload = Payload::any(bytes);
        // The first turn warms up.
        for group in [Some(&alone), clustered.as_ref()].into_iter().flatten() {
            stretch(group, ROWS[1], &payload).await?;
        }
        let mut rounds: [Vec<Round>; ROWS.len()] = Default::default();
        let mut yardsticks = Vec::new();
        for _ in 0..ROUNDS {
            for (row, rounds) in ROWS.into_iter().zip(&mut rounds) {
                rounds.push(round(&alone, clustered.as_ref(), row, &payload).await?);
            }
            let chunks = rounds[2].last().map_or(1, |round| round.alone.latencies.len());
            yardsticks.push(yardstick(bytes, chunks)?);
        }
        print_size(name, &rounds, &yardsticks);
    }
    println!(
        "\"8 x 8\": eight recorders, each with eight chunks unacknowledged. CPU is that of the node's process and of\n\
         Redis, or of the loop's threads, user and system; the client's and the kernel's own threads' is in neither."
    );
    Ok(())
}

async fn round(
    alone: &Group,
    clustered: Option<&Group>,
    row: Row,
    payload: &Payload,
) -> anyhow::Result<Round> {
    let bare = Loop { folders: row.recorders, writers: row.window(), bytes: payload.len(), most: MOST };
    let of_one = stretch(alone, row, payload).await?;
    let of_cluster = match clustered {
        Some(clustered) => Some(stretch(clustered, row, payload).await?),
        None => None,
    };
    let of_bare = tokio::task::spawn_blocking(move || bare.run(STRETCH)).await??;
    settle()?;
    Ok(Round { alone: of_one, clustered: of_cluster, bare: of_bare })
}

fn yardstick(bytes: usize, chunks: usize) -> anyhow::Result<Yardstick> {
    let total = mb((bytes * chunks) as u64);
    let each_block = total / dd(bytes, chunks, Durable::EachBlock)?.as_secs_f64();
    settle()?;
    let at_the_end = total / dd(bytes, chunks, Durable::AtTheEnd)?.as_secs_f64();
    settle()?;
    Ok(Yardstick { each_block, at_the_end })
}

/// All recorders at once for a while, each with a recording that goes afterwards.
async fn stretch(group: &Group, row: Row, payload: &Payload) -> anyhow::Result<Stretch> {
    let node = group.node(0);
    let mut recorders = Vec::new();
    for _ in 0..row.recorders {
        recorders.push(Recorder::start(node.address(), WEBM).await?);
    }
    settle()?;
    let (before, began) = (cpu(group)?, Instant::now());
    let mut driven = JoinSet::new();
    for mut recorder in recorders {
        let payload = payload.clone();
        driven.spawn_local(async move {
            let end = began + STRETCH;
            let latencies = match row.way {
                Way::Socket(window) => recorder.drive(&payload, window, end, MOST).await?,
                Way::Http => recorder.uploader().await?.drive(&payload, end, MOST).await?,
            };
            anyhow::Ok((recorder, latencies))
        });
    }
    let (mut total, mut recorders) = (Stretch::default(), Vec::new());
    while let Some(done) = driven.join_next().await {
        let (recorder, latencies) = done??;
        recorders.push(recorder);
        total.bytes += (latencies.len() * payload.len()) as u64;
        total.latencies.extend(latencies);
    }
    total.wall = began.elapsed();
    total.cpu = cpu(group)?.since(before).own;
    for recorder in recorders {
        recorder.discard().await?;
    }
    settle()?;
    Ok(total)
}

/// Of the nodes, and of the Redis that they use.
fn cpu(group: &Group) -> anyhow::Result<Cpu> {
    let nodes = group.cpu()?;
    Ok(group.redis_cpu()?.map_or(nodes, |redis| nodes.and(redis)))
}

fn print_size(name: &str, rounds: &[Vec<Round>], yardsticks: &[Yardstick]) {
    println!(
        "\nchunks of {name:<8}  node / loop, median of rounds (lowest-highest)\n\
         {:<16} {:<17} {:<17} {:<17} {:<17} | {:>13} | {:>13} {:>13} | {:>11} | node / dd: {:<11} {:<11}",
        "",
        "MB/s",
        "p50",
        "p99",
        "CPU for a MB",
        "MB/s",
        "node p50/p99",
        "loop, ms",
        "CPU ms/MB",
        "each fsync'd",
        "at the end"
    );
    for (row, rounds) in ROWS.into_iter().zip(rounds) {
        let alone: Vec<&Stretch> = rounds.iter().map(|round| &round.alone).collect();
        let bare: Vec<&Stretch> = rounds.iter().map(|round| &round.bare).collect();
        print_row(&row.name(), &alone, &bare, yardsticks);
        let clustered: Vec<&Stretch> = rounds.iter().filter_map(|round| round.clustered.as_ref()).collect();
        if !clustered.is_empty() {
            print_row("- with Redis", &clustered, &bare, yardsticks);
            print_against(&clustered, &alone);
        }
    }
    println!(
        "dd, MB/s: oflag=dsync {:.0}; conv=fsync {:.0}",
        Spread::of(yardsticks.iter().map(|dd| dd.each_block)),
        Spread::of(yardsticks.iter().map(|dd| dd.at_the_end))
    );
}

fn print_row(name: &str, nodes: &[&Stretch], loops: &[&Stretch], yardsticks: &[Yardstick]) {
    let to_dd = |figure: fn(&Yardstick) -> f64| {
        Spread::of(nodes.iter().zip(yardsticks).map(|(node, dd)| node.rate() / figure(dd)))
    };
    let (node, bare) = (Stretch::sum(nodes), Stretch::sum(loops));
    println!(
        "{name:<16} {:<17} {:<17} {:<17} {:<17} | {:>13} | {:>13} {:>13} | {:>11} | {:<22} {:<11}",
        ratio(nodes, loops, Stretch::rate),
        ratio(nodes, loops, Stretch::p50),
        ratio(nodes, loops, Stretch::p99),
        ratio(nodes, loops, Stretch::cpu_ms),
        format!("{:.0} : {:.0}", node.rate(), bare.rate()),
        format!("{:.1}/{:.1}", node.p50(), node.p99()),
        format!("{:.1}/{:.1}", bare.p50(), bare.p99()),
        format!("{:.2} : {:.2}", node.cpu_ms(), bare.cpu_ms()),
        to_dd(|dd| dd.each_block),
        to_dd(|dd| dd.at_the_end),
    );
}

/// A node of a cluster against one alone.
fn print_against(clustered: &[&Stretch], alone: &[&Stretch]) {
    println!(
        "{:<16} {:<17} {:<17} {:<17} {:<17}",
        "  / alone",
        ratio(clustered, alone, Stretch::rate),
        ratio(clustered, alone, Stretch::p50),
        ratio(clustered, alone, Stretch::p99),
        ratio(clustered, alone, Stretch::cpu_ms)
    );
}

/// Round by round.
fn ratio(these: &[&Stretch], those: &[&Stretch], figure: fn(&Stretch) -> f64) -> Spread {
    Spread::of(these.iter().zip(those).map(|(this, that)| figure(this) / figure(that)))
}
