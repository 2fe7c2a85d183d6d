//! A browser comes back: at its own node, at another while its own lives, and at another after its own has died.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::{
    figures::{Spread, percentile_ms},
    start,
    support::{Cluster, Peer, resume},
};

/// Sessions that come back, one after the other.
const SESSIONS: usize = 40;
/// How often all of it is done.
const RUNS: usize = 3;
/// Messages that wait for a browser that comes back.
const MISSED: usize = 200;
const FLAGS: [&str; 2] = ["--lease-secs=2", "--session-grace-secs=60"];

/// Where a browser comes back that was on node 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    Own,
    Other,
    OtherOfDead,
}

/// Measures and prints.
pub async fn measure() -> anyhow::Result<()> {
    println!(
        "\nfrom `Resume` to `Resumed`, the socket open before; {SESSIONS} sessions, each of a room with somebody on the other\n\
         node, in {RUNS} runs; median (lowest-highest) of runs, ms\n{:<52} {:<20} p99",
        "", "p50"
    );
    for (name, to, missed) in [
        ("own node", To::Own, 0),
        ("another node, its own lives", To::Other, 0),
        ("the same, 200 messages missed and sent before", To::Other, MISSED),
        ("another node, its own known to be dead", To::OtherOfDead, 0),
    ] {
        let (mut p50, mut p99) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let times = run(to, missed).await?;
            p50.push(percentile_ms(&times, 50));
            p99.push(percentile_ms(&times, 99));
        }
        println!("{name:<52} {:<20} {}", Spread::of(p50), Spread::of(p99));
    }
    Ok(())
}

async fn run(to: To, missed: usize) -> anyhow::Result<Vec<Duration>> {
    let mut cluster = start(2, &FLAGS).await;
    let mut pairs = Vec::new();
    for number in 0..SESSIONS {
        pairs.push(Pair::join(&cluster, number).await);
    }
    if to == To::OtherOfDead {
        cluster.kill(1);
    }
    let mut times = Vec::new();
    for pair in pairs {
        times.push(pair.come_back(&cluster, to, missed).await?);
    }
    Ok(times)
}

/// A room of two.
struct Pair {
    /// On node 0.
    stays: Peer,
    /// On node 1.
    leaves: Peer,
}

impl Pair {
    async fn join(cluster: &Cluster, number: usize) -> Self {
        let room = format!("pair-{number}");
        let mut stays = Peer::join(cluster.address(0), &room, "stays").await;
        let leaves = Peer::join(cluster.address(1), &room, "leaves").await;
        stays.expect("UserJoined").await;
        Self { stays, leaves }
    }

    async fn come_back(mut self, cluster: &Cluster, to: To, missed: usize) -> anyhow::Result<Duration> {
        let (welcome, last_seq) = match to {
            To::Own | To::Other => self.leaves.close().await,
            To::OtherOfDead => self.leaves.lose(),
        };
        self.stays.expect_updated("leaves", "state", "suspect").await;
        for number in 0..missed {
            self.stays.send(message(number)).await;
        }
        // They have all been read once what came after them is answered.
        self.stays.expect_nothing().await;
        let node = cluster.address(usize::from(to == To::Own));
        let mut back = Peer::expecting(node, last_seq).await;
        let asked = Instant::now();
        back.send(resume(&welcome, last_seq)).await;
        for number in 0..missed {
            let message = back.next().await;
            ensure!(message["data"]["number"] == number, "message {number} is expected: {message}");
        }
        let resumed = back.next().await;
        let took = asked.elapsed();
        let outcome = resumed["outcome"].as_str().context("not resumed")?;
        ensure!(
            (outcome == "snapshot") == (to == To::OtherOfDead),
            "resumed with another outcome: {resumed}"
        );
        self.stays.expect_updated("leaves", "state", "present").await;
        Ok(took)
    }
}

/// About as long as a candidate.
fn message(number: usize) -> Value {
    json!({ "type": "Message", "target_user_id": "leaves", "data": { "number": number, "text": "x".repeat(200) } })
}
