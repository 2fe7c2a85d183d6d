//! A node is killed: how long until others see it, and until its people are back who come to another node at once.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::{task::JoinSet, time::sleep};

use crate::{
    figures::Spread,
    start,
    support::{Cluster, Peer, resume},
};

/// Nodes killed one after the other, over the time between two of their beats; one more looks on.
const KILLED: u32 = 6;
/// Unit: seconds. The first is the default, the second the shortest that can be set.
const LEASES: [u32; 2] = [8, 2];

/// Measures and prints.
pub async fn measure() -> anyhow::Result<()> {
    println!("\nkill -9 of a node, {KILLED} times for each row; median (lowest-highest), s");
    for lease in LEASES {
        let seen = Doomed::start(lease).await?.seen().await?;
        println!("lease of {lease} s: until others hear `suspect`                 {}", Spread::of(seen));
    }
    for lease in LEASES {
        let (back, tries) = Doomed::start(lease).await?.come_back().await?;
        println!(
            "lease of {lease} s: until a peer that resumes at once is back    {}, resumes sent {:.0}",
            Spread::of(back),
            Spread::of(tries)
        );
    }
    Ok(())
}

/// A room with one participant on each node, all nodes but the first to be killed.
struct Doomed {
    cluster: Cluster,
    watcher: Peer,
    members: Vec<Peer>,
    /// Between two kills.
    pause: Duration,
}

impl Doomed {
    async fn start(lease: u32) -> anyhow::Result<Self> {
        let killed = usize::try_from(KILLED)?;
        let lease_flag = format!("--lease-secs={lease}");
        let cluster = start(1 + killed, &[&lease_flag, "--session-grace-secs=60"]).await;
        let watcher = Peer::join(cluster.address(0), "doomed", "watcher").await;
        let mut members = Vec::new();
        for node in 1..=killed {
            members.push(Peer::join(cluster.address(node), "doomed", &Cluster::name(node)).await);
        }
        // A lease is renewed four times while it runs.
        let pause = Duration::from_secs(lease.into()) / 4 / KILLED;
        Ok(Self { cluster, watcher, members, pause })
    }

    /// From each kill until the watcher is told. Unit: seconds.
    async fn seen(mut self) -> anyhow::Result<Vec<f64>> {
        let mut killed = BTreeMap::new();
        for node in 1..self.cluster.len() {
            killed.insert(Cluster::name(node), Instant::now());
            self.cluster.kill(node);
            sleep(self.pause).await;
        }
        let mut seen = Vec::new();
        while !killed.is_empty() {
            let news = self.watcher.next().await;
            if news["user"]["state"] == "suspect" {
                let user = news["user"]["user_id"].as_str().context("no user")?;
                let at = killed.remove(user).with_context(|| format!("{user} was not killed"))?;
                seen.push(at.elapsed().as_secs_f64());
            }
        }
        Ok(seen)
    }

    /// From each kill until its participant is in the room again, in seconds; and how often it has asked for that.
    async fn come_back(mut self) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
        let mut coming = JoinSet::new();
        for (member, node) in self.members.into_iter().zip(1..) {
            let (welcome, last_seq) = member.lose();
            let killed = Instant::now();
            self.cluster.kill(node);
            coming.spawn_local(insist(self.cluster.address(0), welcome, last_seq, killed));
            sleep(self.pause).await;
        }
        coming
            .join_all()
            .await
            .into_iter()
            .collect::<anyhow::Result<Vec<_>>>()
            .map(|all| all.into_iter().unzip())
    }
}

/// Resumes as a page does: again as soon as the node says.
async fn insist(
    node: SocketAddr,
    welcome: Value,
    last_seq: u64,
    killed: Instant,
) -> anyhow::Result<(f64, f64)> {
    let mut tries = 0.0;
    loop {
        tries += 1.0;
        let mut peer = Peer::connect(node).await;
        peer.send(resume(&welcome, last_seq)).await;
        let answer = peer.next().await;
        if answer["type"] == "Resumed" {
            return Ok((killed.elapsed().as_secs_f64(), tries));
        }
        ensure!(answer["retryable"] == true, "refused: {answer}");
        sleep(Duration::from_millis(answer["retry_after_ms"].as_u64().unwrap_or_default())).await;
    }
}
