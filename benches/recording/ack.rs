//! How fast chunks are acknowledged, beside a loop that makes as many files durable at once, and `dd`.

use std::time::Duration;

use tokio::{task::JoinSet, time::Instant};

use crate::{
    disk::{Durable, Loop, dd, settle},
    figures::{Spread, mb},
    media::WEBM,
    node::Node,
    recorder::{Payload, Recorder},
    stretch::Stretch,
};

const ROUNDS: usize = 3;
/// How long one way of one row is measured at a time.
const STRETCH: Duration = Duration::from_millis(800);
/// Chunks of one recorder in a stretch. A socket may not send more than 1,000 frames at once.
const MOST: usize = 900;
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

/// One row in one round.
struct Round {
    node: Stretch,
    bare: Stretch,
}

/// What `dd` did in one round. Unit: MB for each second.
struct Yardstick {
    each_block: f64,
    at_the_end: f64,
}

/// Measures and prints.
pub async fn measure() -> anyhow::Result<()> {
    let node = Node::start()?;
    println!(
        "\nchunks until they are acknowledged; {ROUNDS} rounds of {} ms for each way, in turn\n\
         beside a loop of write, fsync, rename, fsync of the folder, with as many threads as chunks are under way",
        STRETCH.as_millis()
    );
    for (name, bytes) in SIZES {
        let payload = Payload::any(bytes);
        // The first turn warms up.
        stretch(&node, ROWS[1], &payload).await?;
        let mut rounds: [Vec<Round>; ROWS.len()] = Default::default();
        let mut yardsticks = Vec::new();
        for _ in 0..ROUNDS {
            for (row, rounds) in ROWS.into_iter().zip(&mut rounds) {
                rounds.push(round(&node, row, &payload).await?);
            }
            let chunks = rounds[2].last().map_or(1, |round| round.node.latencies.len());
            yardsticks.push(yardstick(bytes, chunks)?);
        }
        print_size(name, &rounds, &yardsticks);
    }
    println!(
        "\"8 x 8\": eight recorders, each with eight chunks unacknowledged. CPU is that of the node's process, or of the\n\
         loop's threads, user and system; the client's and the kernel's own threads' is in neither."
    );
    Ok(())
}

async fn round(node: &Node, row: Row, payload: &Payload) -> anyhow::Result<Round> {
    let bare = Loop { folders: row.recorders, writers: row.window(), bytes: payload.len(), most: MOST };
    let of_node = stretch(node, row, payload).await?;
    let of_bare = tokio::task::spawn_blocking(move || bare.run(STRETCH)).await??;
    settle()?;
    Ok(Round { node: of_node, bare: of_bare })
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
async fn stretch(node: &Node, row: Row, payload: &Payload) -> anyhow::Result<Stretch> {
    let mut recorders = Vec::new();
    for _ in 0..row.recorders {
        recorders.push(Recorder::start(node.address(), WEBM).await?);
    }
    settle()?;
    let (before, began) = (node.cpu()?, Instant::now());
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
    total.cpu = node.cpu()?.since(before).own;
    for recorder in recorders {
        recorder.discard().await?;
    }
    settle()?;
    Ok(total)
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
        print_row(row, rounds, yardsticks);
    }
    println!(
        "dd, MB/s: oflag=dsync {:.0}; conv=fsync {:.0}",
        Spread::of(yardsticks.iter().map(|dd| dd.each_block)),
        Spread::of(yardsticks.iter().map(|dd| dd.at_the_end))
    );
}

fn print_row(row: Row, rounds: &[Round], yardsticks: &[Yardstick]) {
    let ratio = |figure: fn(&Stretch) -> f64| {
        Spread::of(rounds.iter().map(|round| figure(&round.node) / figure(&round.bare)))
    };
    let to_dd = |figure: fn(&Yardstick) -> f64| {
        Spread::of(rounds.iter().zip(yardsticks).map(|(round, dd)| round.node.rate() / figure(dd)))
    };
    let (mut node, mut bare) = (Stretch::default(), Stretch::default());
    for round in rounds {
        node.absorb(&round.node);
        bare.absorb(&round.bare);
        node.wall += round.node.wall;
        bare.wall += round.bare.wall;
    }
    println!(
        "{:<16} {:<17} {:<17} {:<17} {:<17} | {:>13} | {:>13} {:>13} | {:>11} | {:<22} {:<11}",
        row.name(),
        ratio(Stretch::rate),
        ratio(Stretch::p50),
        ratio(Stretch::p99),
        ratio(Stretch::cpu_ms),
        format!("{:.0} : {:.0}", node.rate(), bare.rate()),
        format!("{:.1}/{:.1}", node.p50(), node.p99()),
        format!("{:.1}/{:.1}", bare.p50(), bare.p99()),
        format!("{:.2} : {:.2}", node.cpu_ms(), bare.cpu_ms()),
        to_dd(|dd| dd.each_block),
        to_dd(|dd| dd.at_the_end),
    );
}
