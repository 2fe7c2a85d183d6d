//! What a participant takes of Redis's memory.

use std::time::Duration;

use deadpool_redis::redis::{Connection, cmd, pipe};
use tokio::time::sleep;

use crate::{
    crowd::{Crowd, room_name},
    figures::Spread,
    start,
    support::Cluster,
};

const PARTICIPANTS: u32 = 2000;
/// Participants of one room.
const SEATS: [u32; 2] = [2, 50];
const RUNS: usize = 3;
/// Buffers of connections have shrunk after this long.
const SETTLED: Duration = Duration::from_secs(2);

/// Measures and prints.
pub async fn measure() -> anyhow::Result<()> {
    let cluster = start(2, &[]).await;
    let mut redis = cluster.redis().admin();
    println!(
        "\nbytes of Redis for each of {PARTICIPANTS} participants on 2 nodes, without metadata; {RUNS} runs; median (lowest-highest)\n\
         {:<18} {:<18} {:<18} {:<18} {:<18} of used_memory",
        "", "row", "meta", "index", "all three"
    );
    for seats in SEATS {
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            runs.push(run(&cluster, &mut redis, seats).await?);
        }
        let of = |figure: fn(&Taken) -> f64| {
            format!("{:.0}", Spread::of(runs.iter().map(|taken| figure(taken) / f64::from(PARTICIPANTS))))
        };
        println!(
            "{:<18} {:<18} {:<18} {:<18} {:<18} {}",
            format!("rooms of {seats}"),
            of(|taken| taken.rows),
            of(|taken| taken.meta),
            of(|taken| taken.index),
            of(|taken| taken.rows + taken.meta + taken.index),
            of(|taken| taken.used)
        );
    }
    Ok(())
}

/// Unit: bytes, of all participants.
struct Taken {
    rows: f64,
    meta: f64,
    index: f64,
    /// By what `used_memory` has risen.
    used: f64,
}

async fn run(cluster: &Cluster, redis: &mut Connection, seats: u32) -> anyhow::Result<Taken> {
    sleep(SETTLED).await;
    let before = used(redis)?;
    let rooms = usize::try_from(PARTICIPANTS / seats)?;
    let crowd = Crowd::join(cluster, rooms, usize::try_from(seats)?).await?;
    sleep(SETTLED).await;
    let used = used(redis)? - before;
    let of_rooms =
        |part: &str| (0..rooms).map(|room| format!("rooms:{{{}}}:{part}", room_name(room))).collect();
    let index = (0..cluster.len()).map(|node| format!("servers:{{{}}}:connections", Cluster::name(node)));
    let taken = Taken {
        rows: usage(redis, of_rooms("participants"))?,
        meta: usage(redis, of_rooms("meta"))?,
        index: usage(redis, index.collect())?,
        used,
    };
    crowd.leave().await?;
    Ok(taken)
}

/// What the allocator has given to Redis. Unit: bytes.
fn used(redis: &mut Connection) -> anyhow::Result<f64> {
    let statistics: String = cmd("INFO").arg("memory").query(redis)?;
    let line = statistics.lines().find_map(|line| line.strip_prefix("used_memory:"));
    Ok(line.unwrap_or_default().trim().parse()?)
}

/// What these keys take, every field of them counted. Unit: bytes.
fn usage(redis: &mut Connection, keys: Vec<String>) -> anyhow::Result<f64> {
    let mut ask = pipe();
    for key in keys {
        ask.cmd("MEMORY").arg("USAGE").arg(key).arg("SAMPLES").arg(0);
    }
    let taken: Vec<f64> = ask.query(redis)?;
    Ok(taken.iter().sum())
}
