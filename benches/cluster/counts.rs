//! What is asked of Redis, counted by the nodes and by Redis.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::support::{Cluster, get};

/// What counting itself asks of Redis.
const OURS: [&str; 6] = ["info", "ping", "hello", "client|setinfo", "select", "auth"];

/// Counters at one time.
pub struct Counts {
    at: Instant,
    /// By the nodes: each a command, or a script by its name.
    sent: BTreeMap<String, f64>,
    /// By Redis: scripts, and beside them each command that a script does.
    done: BTreeMap<String, f64>,
}

/// What was counted in between, for each of so many occasions.
pub struct Rates {
    sent: BTreeMap<String, f64>,
    done: BTreeMap<String, f64>,
}

impl Counts {
    /// As they are now.
    pub async fn now(cluster: &Cluster) -> Self {
        let mut sent = BTreeMap::new();
        for node in 0..cluster.len() {
            for line in get(cluster.address(node), "/metrics").await.body.lines() {
                if let Some((name, count)) = operation(line) {
                    *sent.entry(name.to_owned()).or_default() += count;
                }
            }
        }
        let statistics: String = cluster.redis().run(&["INFO", "commandstats"]);
        let done = statistics.lines().filter_map(command).collect();
        Self { at: Instant::now(), sent, done }
    }

    /// What has been counted since, less what comes by itself, for each of so many occasions.
    pub async fn each(&self, cluster: &Cluster, occasions: f64, by_itself: Option<&Rates>) -> Rates {
        let now = Self::now(cluster).await;
        let passed = now.at - self.at;
        let each = |now: BTreeMap<String, f64>,
                    then: &BTreeMap<String, f64>,
                    pick: fn(&Rates) -> &BTreeMap<String, f64>| {
            let own = by_itself.map(pick);
            let of = |name: &String, count: f64| {
                let background =
                    own.and_then(|own| own.get(name)).map_or(0.0, |rate| rate * passed.as_secs_f64());
                (count - then.get(name).unwrap_or(&0.0) - background) / occasions
            };
            now.into_iter().map(|(name, count)| (name.clone(), of(&name, count))).collect()
        };
        Rates {
            sent: each(now.sent, &self.sent, |rates| &rates.sent),
            done: each(now.done, &self.done, |rates| &rates.done),
        }
    }

    /// What has been counted since, for each second.
    pub async fn each_second(&self, cluster: &Cluster) -> Rates {
        let passed: Duration = self.at.elapsed();
        self.each(cluster, passed.as_secs_f64(), None).await
    }
}

impl Rates {
    /// All that nodes have sent.
    pub fn sent(&self) -> f64 {
        self.sent.values().sum()
    }

    /// All that Redis has done.
    pub fn done(&self) -> f64 {
        self.done.values().sum()
    }

    /// By name, the many first; what rounds to nothing is left out.
    pub fn sent_by_name(&self) -> String {
        let mut named: Vec<_> = self.sent.iter().filter(|(_, rate)| **rate >= 0.005).collect();
        named.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        named.iter().map(|(name, rate)| format!("{name} {rate:.2}")).collect::<Vec<_>>().join(", ")
    }
}

/// Reads `greenroom_redis_operations_total{command="admit",outcome="ok"} 3` and `greenroom_bus_published_total{outcome="sent"} 5`.
fn operation(line: &str) -> Option<(&str, f64)> {
    let (series, count) = line.rsplit_once(' ')?;
    let name = match series.strip_prefix("greenroom_redis_operations_total{command=\"") {
        Some(labels) => labels.split_once('"')?.0,
        None if series == "greenroom_bus_published_total{outcome=\"sent\"}" => "publish",
        None => return None,
    };
    Some((name, count.parse().ok()?))
}

/// Reads `cmdstat_hget:calls=21,usec=…`.
fn command(line: &str) -> Option<(String, f64)> {
    let (name, figures) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
    let calls = figures.split(',').next()?.parse().ok()?;
    (!OURS.contains(&name)).then(|| (name.to_owned(), calls))
}
