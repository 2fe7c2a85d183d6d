//! What happens to nodes and to Redis, and what nodes leave to be read.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use tokio::time::{sleep, sleep_until};

use crate::{
    Plan,
    books::Books,
    page::between,
    process,
    support::{Chance, Cluster},
};

/// How long Redis stays away when it is killed.
const REDIS_AWAY: Duration = Duration::from_secs(3);
/// No node dies so shortly before the end that it would come back long after it.
const QUIET: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill(usize),
    Restart(usize),
    EmptyRedis,
    KillRedis,
}

/// What happens when.
pub struct Timeline(Vec<(Duration, Fault)>);

impl Timeline {
    /// A kill at each step; Redis emptied at a third and killed at two thirds, or emptied at two thirds where there is only one of both.
    pub fn new(plan: &Plan, nodes: usize, chance: &mut Chance) -> Self {
        let third = plan.length / 3;
        let mut faults = vec![(third * 2, if plan.thorough { Fault::KillRedis } else { Fault::EmptyRedis })];
        if plan.thorough {
            faults.push((third, Fault::EmptyRedis));
        }
        let mut at = plan.kill_every;
        while at + QUIET < plan.length {
            let node = chance.below(nodes);
            faults.push((at, Fault::Kill(node)));
            faults.push((at + between(plan.away_ms, chance), Fault::Restart(node)));
            at += plan.kill_every;
        }
        faults.sort_by_key(|(at, _)| *at);
        Self(faults)
    }

    /// Lets it happen. At the end all nodes run.
    pub async fn run(self, cluster: &mut Cluster, lives: &mut Lives, books: &Books) {
        let began = Instant::now();
        for (at, fault) in self.0 {
            sleep_until((began + at).into()).await;
            books.tell(&format!("{fault:?}"));
            match fault {
                Fault::Kill(node) => {
                    lives.note(cluster, node);
                    cluster.kill(node);
                }
                Fault::Restart(node) => cluster.restart(node).await,
                Fault::EmptyRedis => cluster.redis().empty(),
                Fault::KillRedis => {
                    cluster.redis_mut().kill();
                    sleep(REDIS_AWAY).await;
                    cluster.redis_mut().restart();
                }
            }
        }
    }
}

/// What was left by each life of each node.
#[derive(Default)]
pub struct Lives(Vec<Life>);

struct Life {
    node: usize,
    /// Most resident memory. Unit: bytes.
    peak: u64,
    log: String,
}

impl Lives {
    /// Notes how a node stands, which is about to end or not.
    pub fn note(&mut self, cluster: &Cluster, node: usize) {
        let process = cluster.process(node);
        let peak = process::peak(process.id()).expect("it runs");
        self.0.push(Life { node, peak, log: process.logs() });
    }

    /// Prints how much memory nodes took at most.
    pub fn print(&self) {
        for life in &self.0 {
            let lines = |word: &str| life.log.lines().filter(|line| line.contains(word)).count();
            println!(
                "{}: {:.1} MiB resident at most, {} warnings, {} errors",
                Cluster::name(life.node),
                f64::from(u32::try_from(life.peak / 1024).expect("KiB")) / 1024.0,
                lines(" WARN "),
                lines(" ERROR ")
            );
        }
    }

    /// Prints what all of them have logged about these.
    pub fn print_about(&self, names: &BTreeSet<String>) {
        for (number, life) in self.0.iter().enumerate() {
            for line in life.log.lines().filter(|line| names.iter().any(|name| line.contains(name))) {
                println!("life {number} of {}: {line}", Cluster::name(life.node));
            }
        }
    }
}
