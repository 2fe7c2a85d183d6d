//! A call over all nodes, from its beginning to the judgement.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    browser::{Browser, Phase, Seen, Stage, look},
    checker::{Entry, History, Truth, What, check, text},
    support::{Cluster, Redis, eventually, setting},
    truth,
};

/// How nodes are started: with the shortest lease there is, and a grace in which a browser finds another node.
pub const SHORT: [&str; 2] = ["--lease-secs=2", "--session-grace-secs=4"];
const GRACE: Duration = Duration::from_secs(4);

const BROWSERS: usize = 7;
const ROOMS: [&str; 2] = ["blue", "red"];

/// Longest that it may take until all is as it should be: longer than lease, grace and everything that waits.
const QUIET: Duration = Duration::from_secs(30);
/// How often it is looked at.
const POLL: Duration = Duration::from_millis(100);
/// How often everybody speaks to everybody at the end: what would come twice of one call comes before the next.
const CALLS: usize = 2;

/// A call that goes on.
pub struct Call {
    began: Instant,
    phase: watch::Sender<Phase>,
    browsers: Vec<Arc<Mutex<Seen>>>,
    troubles: Vec<(Duration, Duration)>,
}

impl Call {
    /// Browsers come to all nodes and begin to talk.
    pub async fn begin(cluster: &Cluster) -> Self {
        let (phase, watched) = watch::channel(Phase::Talk);
        let nodes = (0..cluster.len()).map(|node| cluster.address(node)).collect();
        let seed = setting("SEED").map_or(1, |seed| seed.parse().expect("a number"));
        let stage = Stage { began: Instant::now(), seed, nodes, phase: watched };
        let browsers = (0..BROWSERS)
            .map(|number| Browser::start(&stage, number, ROOMS[number / cluster.len() % ROOMS.len()]))
            .collect();
        let call = Self { began: stage.began, phase, browsers, troubles: Vec::new() };
        call.talk(150).await;
        call
    }

    /// Waits until so many relays more were heard.
    pub async fn talk(&self, relays: usize) {
        let heard = || self.browsers.iter().map(|seen| look(seen).relays).sum::<usize>();
        let enough = heard() + relays;
        eventually("browsers hear each other", async || (heard() >= enough).then_some(())).await;
    }

    /// Notes that from now on something is out of order.
    pub fn goes_wrong(&mut self) {
        self.troubles.push((self.began.elapsed(), Duration::MAX));
    }

    /// Notes that it is over.
    pub fn is_over(&mut self) {
        let now = self.began.elapsed();
        self.troubles.last_mut().expect("something was wrong").1 = now;
    }

    /// Has one of a node's browsers go for good, without a word: nobody but the nodes can take its row away.
    pub async fn goes(&self, node: usize) {
        eventually("somebody is there", async || {
            let there = self.browsers.iter().map(|seen| look(seen));
            let mut there = there.filter(|seen| seen.node == Some(node) && seen.page.attached);
            there.next().map(|mut seen| seen.gone = true)
        })
        .await;
    }

    /// Waits until all is as it should be and nobody does anything any more: nothing heals by the way what comes then.
    pub async fn hush(&self, cluster: &Cluster, living: &[usize], servers: &[&Redis]) {
        self.phase.send_replace(Phase::Quiet);
        self.must_be_right(&self.settled(cluster, living, servers).await);
    }

    /// Waits until all is quiet, lets everybody speak to everybody, and judges.
    pub async fn end(self, cluster: &Cluster, living: &[usize], servers: &[&Redis]) {
        self.hush(cluster, living, servers).await;
        for call in 1..=CALLS {
            self.phase.send_replace(Phase::Call(call));
            self.must_be_right(&self.settled(cluster, living, servers).await);
        }
        self.would_be_noticed(&self.truth(cluster, living, servers).await);
    }

    fn must_be_right(&self, wrong: &[String]) {
        if !wrong.is_empty() {
            self.print();
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// What is still wrong when nothing is wrong any more, or when it has lasted too long.
    async fn settled(&self, cluster: &Cluster, living: &[usize], servers: &[&Redis]) -> Vec<String> {
        let until = Instant::now() + QUIET;
        loop {
            let mut wrong = self.unfinished();
            if wrong.is_empty() {
                let truth = self.truth(cluster, living, servers).await;
                wrong = check(&self.histories(), &truth);
                for node in living {
                    for room in ROOMS {
                        truth::compare(cluster.address(*node), room, &truth, &mut wrong).await;
                    }
                }
            }
            if wrong.is_empty() || Instant::now() > until {
                return wrong;
            }
            sleep(POLL).await;
        }
    }

    /// Who is not in yet, and who has not yet done what the phase asks for.
    fn unfinished(&self) -> Vec<String> {
        let call = match *self.phase.borrow() {
            Phase::Call(call) => call,
            Phase::Talk | Phase::Quiet => 0,
        };
        let mut unfinished = Vec::new();
        for seen in &self.browsers {
            let seen = look(seen);
            let name = &seen.history.browser;
            if !seen.page.attached && !seen.gone && (seen.wants || seen.page.session.is_some()) {
                unfinished.push(format!("{name} is not in: {:?}", seen.refused));
            }
            if seen.page.attached && (seen.called < call || !seen.unanswered.is_empty()) {
                unfinished.push(format!(
                    "{name} is at call {}, without answer: {:?}",
                    seen.called, seen.unanswered
                ));
            }
        }
        unfinished
    }

    async fn truth(&self, cluster: &Cluster, living: &[usize], servers: &[&Redis]) -> Truth {
        let mut truth = Truth {
            participants_max: BROWSERS,
            troubles: self.troubles.clone(),
            grace: GRACE,
            ..Truth::default()
        };
        for node in living {
            truth.live.insert(truth::life(cluster.address(*node)).await);
        }
        truth::read(servers, &mut truth);
        truth
    }

    fn histories(&self) -> Vec<History> {
        self.browsers.iter().map(|seen| look(seen).history.clone()).collect()
    }

    /// A judge that finds nothing wrong must be one that could.
    fn would_be_noticed(&self, truth: &Truth) {
        assert_eq!(check(&self.histories(), truth), Vec::<String>::new());
        let mut ghost = truth.clone();
        let mut row = ghost.rows.first().expect("somebody is in").clone();
        row.user = "ghost".to_owned();
        ghost.rows.push(row);
        assert!(!check(&self.histories(), &ghost).is_empty(), "a ghost in Redis");
        // Who has gone at the end was not owed the last that it heard.
        let deaf = (0..BROWSERS).any(|number| {
            let mut histories = self.histories();
            let entries = &mut histories[number].entries;
            let last = entries.iter().rposition(is_relay);
            last.map(|last| entries.remove(last)).is_some() && !check(&histories, truth).is_empty()
        });
        assert!(deaf, "a relay that was not heard");
    }

    /// Shows what everybody has lived through.
    #[expect(clippy::print_stdout, reason = "shown with a failure")]
    fn print(&self) {
        println!("troubles: {:?}", self.troubles);
        let histories = self.histories();
        let mut lines: Vec<_> = histories
            .iter()
            .flat_map(|history| history.entries.iter().map(|entry| (entry.at, &history.browser, &entry.what)))
            .collect();
        lines.sort_by_key(|(at, ..)| *at);
        for (at, browser, what) in lines {
            let line = match what {
                What::Opened => "opened".to_owned(),
                What::Said(message) => format!("says {message}"),
                What::Heard(message) => format!("hears {message}"),
                What::Closed(code) => format!("closed {code:?}"),
            };
            println!("{:.3}s {browser} {line}", at.as_secs_f64());
        }
    }
}

fn is_relay(entry: &Entry) -> bool {
    matches!(&entry.what, What::Heard(message) if ["Offer", "Message"].contains(&text(message, "type")))
}
