//! What is asked of Redis for a join, a leave, a relay, and for somebody who is only there.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::{
    client::Client,
    counts::{Counts, Rates},
    crowd::Crowd,
    figures::Spread,
    relay::{BURST, burst, candidate, join, one},
    start,
    support::Cluster,
};

/// Rooms that are joined and left, one after the other.
const ROOMS: u32 = 200;
/// Relays one after the other.
const RELAYS: u32 = 2000;
/// Relays with pauses, each so long that what answers one goes by itself.
const LONELY: u32 = 40;
const LONELY_PAUSE: Duration = Duration::from_millis(100);
const RUNS: usize = 3;
const IDLE_ROOMS: usize = 250;
const IDLE_SEATS: usize = 2;
/// How long it is watched that nothing happens.
const WATCH: Duration = Duration::from_secs(20);
/// What follows an answer (acknowledgements, the index) has been sent after this long.
const SETTLED: Duration = Duration::from_millis(700);

/// Measures and prints.
pub async fn measure() -> anyhow::Result<()> {
    let cluster = start(2, &[]).await;
    let alone = idle(&cluster, 0).await?;
    let watched = idle(&cluster, IDLE_ROOMS).await?;
    println!(
        "\nasked of Redis by 2 nodes in a second, over {} s (lease of 8 s); sent by nodes; done by Redis, what scripts do included\n\
         without a connection         sent {:.2}, done {:.2}: {}\n\
         with {} idle connections    sent {:.2}, done {:.2}: {}",
        WATCH.as_secs(),
        alone.sent(),
        alone.done(),
        alone.sent_by_name(),
        IDLE_ROOMS * IDLE_SEATS,
        watched.sent(),
        watched.done(),
        watched.sent_by_name()
    );
    println!(
        "\nasked of Redis for each, beyond that; {RUNS} runs of {ROOMS} joins and leaves one after the other; median (lowest-highest)"
    );
    let mut bench = Bench { cluster, alone, rows: Vec::new() };
    for run in 0..RUNS {
        bench.comings_and_goings(run).await?;
        bench.relays().await?;
    }
    bench.print();
    Ok(())
}

/// What is sent in a second while these rooms are full of people who say nothing.
async fn idle(cluster: &Cluster, rooms: usize) -> anyhow::Result<Rates> {
    let mut crowd = Crowd::join(cluster, rooms, IDLE_SEATS).await?;
    crowd.heard().await?;
    sleep(SETTLED).await;
    let before = Counts::now(cluster).await;
    if rooms == 0 {
        sleep(WATCH).await;
    } else if let Ok(ended) = timeout(WATCH, crowd.idle()).await {
        ended?;
    }
    let rates = before.each_second(cluster).await;
    crowd.leave().await?;
    sleep(SETTLED).await;
    Ok(rates)
}

struct Bench {
    cluster: Cluster,
    /// What nodes send by themselves.
    alone: Rates,
    /// For each kind of occasion what each run says.
    rows: Vec<(&'static str, Vec<Rates>)>,
}

impl Bench {
    /// Rooms of their own for each run: that somebody was there a moment ago is another case.
    async fn comings_and_goings(&mut self, run: usize) -> anyhow::Result<()> {
        let first = self.join("join, nobody there", run, "first", 0).await?;
        let second = self.join("join, somebody on the same node", run, "second", 0).await?;
        let third = self.join("join, two on another node", run, "third", 1).await?;
        self.leave("leave, two on another node", third).await?;
        let third = self.join("join again in seconds, two on another node", run, "third", 1).await?;
        self.leave("leave, two on another node", third).await?;
        self.leave("leave, somebody on the same node", second).await?;
        self.leave("leave, nobody stays", first).await?;
        // Whoever was there a moment ago comes again, in the same order.
        let first = self.join("join, nobody there", run, "first", 0).await?;
        let second = self.join("join, somebody on the same node", run, "second", 0).await?;
        let third = self.join("join again, after all three had left", run, "third", 1).await?;
        for clients in [third, second, first] {
            for client in clients {
                client.leave().await?;
            }
        }
        Ok(())
    }

    async fn join(
        &mut self,
        what: &'static str,
        run: usize,
        user: &str,
        node: usize,
    ) -> anyhow::Result<Vec<Client>> {
        let before = Counts::now(&self.cluster).await;
        let mut joined = Vec::new();
        for room in 0..ROOMS {
            let room = format!("run-{run}-{room}");
            joined.push(Client::join(self.cluster.address(node), &room, user).await?);
        }
        self.note(what, &before, ROOMS).await;
        Ok(joined)
    }

    async fn leave(&mut self, what: &'static str, clients: Vec<Client>) -> anyhow::Result<()> {
        let before = Counts::now(&self.cluster).await;
        for client in clients {
            client.leave().await?;
        }
        self.note(what, &before, ROOMS).await;
        Ok(())
    }

    async fn relays(&mut self) -> anyhow::Result<()> {
        let signal = candidate();
        let mut here = join(&self.cluster, "here", [0, 0], &signal).await?;
        let mut across = join(&self.cluster, "across", [0, 1], &signal).await?;
        sleep(SETTLED).await;
        let before = Counts::now(&self.cluster).await;
        burst(&mut here, BURST).await?;
        self.note("relay on one node", &before, u32::try_from(BURST)?).await;
        let before = Counts::now(&self.cluster).await;
        for _ in 0..LONELY {
            one(&mut across).await?;
            sleep(LONELY_PAUSE).await;
        }
        self.note("relay to another node, ten in a second", &before, LONELY).await;
        let before = Counts::now(&self.cluster).await;
        for _ in 0..RELAYS {
            one(&mut across).await?;
        }
        self.note("relay to another node, one after the other", &before, RELAYS).await;
        let before = Counts::now(&self.cluster).await;
        burst(&mut across, BURST).await?;
        self.note("relay to another node, a burst of 1,000", &before, u32::try_from(BURST)?).await;
        for pair in [here, across] {
            pair.sender.leave().await?;
            pair.receiver.leave().await?;
        }
        sleep(SETTLED).await;
        Ok(())
    }

    async fn note(&mut self, what: &'static str, before: &Counts, occasions: u32) {
        sleep(SETTLED).await;
        let rates = before.each(&self.cluster, occasions.into(), Some(&self.alone)).await;
        match self.rows.iter_mut().find(|(name, _)| *name == what) {
            Some((_, runs)) => runs.push(rates),
            None => self.rows.push((what, vec![rates])),
        }
    }

    fn print(&self) {
        println!("{:<44} {:<20} {:<20} sent, by name, of the last run", "", "sent by nodes", "done by Redis");
        for (what, runs) in &self.rows {
            let named = runs.last().map(Rates::sent_by_name).unwrap_or_default();
            println!(
                "{what:<44} {:<20} {:<20} {named}",
                Spread::of(runs.iter().map(Rates::sent)),
                Spread::of(runs.iter().map(Rates::done))
            );
        }
    }
}
