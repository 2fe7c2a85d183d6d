//! Redis loses everything: how soon the nodes have put it back, and that nobody notices.

use std::time::{Duration, Instant};

use anyhow::ensure;
use deadpool_redis::redis::{Connection, cmd, pipe};
use greenroom::protocol::limits;
use tokio::time::sleep;

use crate::{
    crowd::{Crowd, room_name},
    figures::Spread,
    start,
    support::soon,
};

const ROOMS: usize = 1000;
/// Participants of one room, each on a node of its own.
const SEATS: usize = 2;
const RUNS: usize = 4;
/// By how much later each run begins than the one before it.
const STAGGER: Duration = Duration::from_millis(600);
/// Longest that everything may take to come back.
const BACK_WITHIN: Duration = Duration::from_secs(30);
/// When nothing more can come of it.
const QUIET_AFTER: Duration = limits::AMNESTY.saturating_add(Duration::from_secs(2));

/// Measures and prints.
pub async fn measure() -> anyhow::Result<()> {
    // Nobody reads while everybody is waited for.
    let cluster = start(SEATS, &["--ping-timeout-secs=300"]).await;
    let mut crowd = Crowd::join(&cluster, ROOMS, SEATS).await?;
    let mut redis = cluster.redis().admin();
    sleep(QUIET_AFTER).await;
    // Until now each has heard of those who came after it, and so it is seen that what is said is counted.
    ensure!(crowd.heard().await? == ROOMS * SEATS * (SEATS - 1) / 2, "not everybody heard of the others");
    let (mut began, mut took, mut all, mut heard) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for run in 0..RUNS {
        // Beats come every 2 s: each run begins at another moment between two of them.
        sleep(STAGGER * u32::try_from(run)?).await;
        let (first, last) = once(&mut redis).await?;
        began.push(first.as_secs_f64());
        took.push((last - first).as_secs_f64());
        all.push(last.as_secs_f64());
        sleep(QUIET_AFTER).await;
        heard += crowd.heard().await?;
        ensure!(rows(&mut redis)? == ROOMS * SEATS, "rows are lost again");
    }
    println!(
        "\nFLUSHALL with {ROOMS} rooms of {SEATS}, each on {SEATS} nodes, lease of 8 s; {RUNS} runs; median (lowest-highest), s\n\
         until a node notices, at its next beat    {}\n\
         from then until every row is back         {}\n\
         both                                      {}\n\
         messages that any of the {} peers heard  {heard}",
        Spread::of(began),
        Spread::of(took),
        Spread::of(all),
        ROOMS * SEATS
    );
    Ok(())
}

/// Until the first room is back, and until all rows are.
async fn once(redis: &mut Connection) -> anyhow::Result<(Duration, Duration)> {
    let keys = size(redis)?;
    cmd("FLUSHALL").exec(redis)?;
    let at = Instant::now();
    let mut first = None;
    let last = soon(BACK_WITHIN, "every row is back", async || {
        let now = size(redis).ok()?;
        // Leases and the like are a handful of keys.
        if first.is_none() && now > ROOMS / 20 {
            first = Some(at.elapsed());
        }
        (now >= keys && rows(redis).ok()? == ROOMS * SEATS).then(|| at.elapsed())
    })
    .await;
    Ok((first.unwrap_or(last), last))
}

/// How many keys there are.
fn size(redis: &mut Connection) -> anyhow::Result<usize> {
    Ok(cmd("DBSIZE").query(redis)?)
}

/// How many rows all rooms have.
fn rows(redis: &mut Connection) -> anyhow::Result<usize> {
    let mut ask = pipe();
    for room in 0..ROOMS {
        ask.cmd("HLEN").arg(format!("rooms:{{{}}}:participants", room_name(room)));
    }
    let rows: Vec<usize> = ask.query(redis)?;
    Ok(rows.iter().sum())
}
