//! Recorders on three nodes for a long time, while nodes are killed and Redis loses everything: in the end every
//! acknowledged chunk is in its video once, and nothing else is left.
//!
//! ```text
//! scripts/soak 600                  # ten minutes
//! SOAK_SEED=<seed> scripts/soak     # the same recorders and the same faults, at the same times
//! ```
//! Chance comes from one seed, which is printed; what the machine makes of it is another matter. Nodes, Redis, PostgreSQL
//! and the folder are real. [`page`] and [`uploader`] are the recorders, [`faults`] is what happens to the nodes and to
//! Redis, [`books`] holds what was acknowledged, and [`audit`] compares it with what there is at the end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "this is how a test fails, and reports to whoever runs it"
)]

#[path = "../support/mod.rs"]
mod support;

mod audit;
mod books;
mod faults;
mod page;
#[path = "../../benches/recording/process.rs"]
#[allow(dead_code, reason = "each program uses its own part of this")]
mod process;
mod take;
mod uploader;
mod wire;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::timeout};

use self::{
    books::Books,
    faults::{Lives, Timeline},
    support::{Chance, Cluster, Postgres, Redis, setting},
    wire::Nodes,
};

/// What is run, and for how long.
struct Plan {
    seed: u64,
    /// In which recordings begin and faults happen.
    length: Duration,
    /// Recordings at one time.
    recorders: usize,
    /// Between two chunks of one recorder. Unit: milliseconds.
    pace_ms: (u64, u64),
    kill_every: Duration,
    /// For how long a node that was killed stays away. Unit: milliseconds.
    away_ms: (u64, u64),
    /// Whether Redis is killed too, and uploaders vanish whom nodes wait for longest.
    thorough: bool,
    /// How long the chunks of recordings whose recorders have vanished are kept.
    reopen: Duration,
    lease_secs: u32,
    /// For everything to be whole again afterwards.
    patience: Duration,
}

impl Plan {
    /// What fits into a run of all tests: one kill, and Redis emptied once.
    fn short() -> Self {
        Self {
            seed: 1,
            length: Duration::from_secs(9),
            recorders: 5,
            pace_ms: (20, 100),
            kill_every: Duration::from_secs(5),
            away_ms: (1_000, 2_000),
            thorough: false,
            reopen: Duration::from_secs(5),
            lease_secs: 2,
            patience: Duration::from_secs(60),
        }
    }

    /// For as long as wanted, by settings of the run.
    fn long() -> Self {
        let number = |name: &str| setting(name).map(|value| value.parse::<u64>().expect("a number"));
        // A long run goes where no run was before.
        let fresh = || uuid::Uuid::new_v4().as_u64_pair().0;
        Self {
            seed: number("SOAK_SEED").unwrap_or_else(fresh),
            length: Duration::from_secs(number("SOAK_SECS").unwrap_or(600)),
            recorders: number("SOAK_RECORDERS").map_or(8, |value| usize::try_from(value).expect("a few")),
            pace_ms: (100, 700),
            kill_every: Duration::from_secs(20),
            away_ms: (2_000, 9_000),
            thorough: true,
            reopen: Duration::from_secs(30),
            lease_secs: 8,
            patience: Duration::from_secs(180),
        }
    }

    fn flags(&self, database: &str) -> Vec<String> {
        vec![
            format!("--database-url={database}"),
            format!("--lease-secs={}", self.lease_secs),
            format!("--reopen-secs={}", self.reopen.as_secs()),
            // What is left over is to be gone by the end.
            "--housekeeping-secs=1".to_owned(),
        ]
    }
}

#[tokio::test]
async fn every_acknowledged_chunk_is_in_its_video_whatever_is_killed() {
    soak(Plan::short()).await;
}

#[tokio::test]
#[ignore = "for as long as wanted: scripts/soak"]
async fn for_as_long_as_wanted() {
    soak(Plan::long()).await;
}

async fn soak(plan: Plan) {
    if !Redis::is_here() || !Postgres::is_here() {
        return;
    }
    println!("SOAK_SEED={} for {:?}, {} recorders at one time", plan.seed, plan.length, plan.recorders);
    let postgres = Postgres::start().await;
    postgres.create("greenroom").await;
    let flags = plan.flags(&postgres.url("greenroom"));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut cluster = Cluster::start_with(3, &flags).await;
    let nodes = Nodes::new((0..cluster.len()).map(|node| cluster.address(node)).collect());
    // Before time begins to count.
    take::sources();
    let books = Arc::new(Books::new(nodes));
    let mut chance = Chance(plan.seed);
    let timeline = Timeline::new(&plan, cluster.len(), &mut chance);

    let until = Instant::now() + plan.length;
    let mut recorders = JoinSet::new();
    for _ in 0..plan.recorders {
        let habits = Habits { pace_ms: plan.pace_ms, patient_uploads: !plan.thorough };
        recorders.spawn(keep_recording(books.clone(), Chance(chance.next()), habits, until));
    }
    let mut lives = Lives::default();
    timeline.run(&mut cluster, &mut lives, &books).await;
    if timeout(plan.patience, recorders.join_all()).await.is_err() {
        books.wrong("recorders are still not through");
    }
    books.tell("all recorders are through");
    audit::audit(&cluster, &books, plan.patience).await;
    books.tell("all is looked at");
    for node in 0..cluster.len() {
        lives.note(&cluster, node);
    }
    books.print();
    lives.print();
    lives.print_about(&books.names_of_wrong());
    let wrong = books.all_wrong();
    assert!(wrong.is_empty(), "SOAK_SEED={}:\n{}", plan.seed, wrong.join("\n"));
}

/// What recorders of one run have in common.
#[derive(Clone, Copy)]
struct Habits {
    pace_ms: (u64, u64),
    /// No uploader over HTTP vanishes: nodes wait half a minute for one.
    patient_uploads: bool,
}

/// One recording after the other.
async fn keep_recording(books: Arc<Books>, mut chance: Chance, habits: Habits, until: Instant) {
    while Instant::now() < until {
        let seed = Chance(chance.next());
        if chance.one_in(4) {
            uploader::upload(&books, seed, habits).await;
        } else {
            page::record(&books, seed, habits).await;
        }
    }
}
