//! What thousands of participants cost who are only there.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    client::Client,
    figures::{kib, micros, per},
    node::Node,
};

const SESSIONS: u64 = 5000;
/// Participants of one room.
const ROOM: usize = 2;
/// Clients that join, or leave, at once.
const AT_ONCE: usize = 32;
/// How often as many come and go, to see whether memory keeps growing.
const WAVES: usize = 3;
/// One interval of the node's pings with the default settings, so every socket has been pinged when memory is read.
const WATCH: Duration = Duration::from_secs(10);
/// After everyone left, memory is read when it has not moved for a while, or after this long.
const SETTLE: Duration = Duration::from_secs(3);
/// Files that this process needs beside its clients' sockets; the node takes two for each connection.
const FILES_BESIDE: u64 = 200;

/// What the node has used so far.
struct Reading {
    resident: u64,
    cpu: Duration,
    at: Instant,
}

impl Reading {
    fn of(node: &Node) -> anyhow::Result<Self> {
        Ok(Self { resident: node.resident()?, cpu: node.cpu()?, at: Instant::now() })
    }
}

/// Measures and prints.
pub async fn measure(files: u64) -> anyhow::Result<()> {
    let sessions = usize::try_from(SESSIONS.min(files.saturating_sub(FILES_BESIDE) / 2))?;
    let node = Node::start()?;
    warm_up(&node).await?;
    let before = Reading::of(&node)?;
    let crowd = Crowd::join(&node, sessions).await?;
    let joined = Reading::of(&node)?;
    sleep(WATCH).await;
    let watched = Reading::of(&node)?;
    crowd.leave().await?;
    let left = settled(&node).await?;
    print(sessions, &before, &joined, &watched, left);
    for _ in 1..WAVES {
        let crowd = Crowd::join(&node, sessions).await?;
        let again = settled(&node).await?;
        crowd.leave().await?;
        println!(
            "as many again, and left:  {:>8.0} KiB, {:>8.0} KiB",
            kib(again),
            kib(settled(&node).await?)
        );
    }
    Ok(())
}

fn print(sessions: usize, before: &Reading, joined: &Reading, watched: &Reading, left: u64) {
    let each = |now: u64| per(kib(now.saturating_sub(before.resident)), sessions);
    let idle_s = watched.at.duration_since(joined.at).as_secs_f64();
    let idle_cpu = watched.cpu.saturating_sub(joined.cpu).as_secs_f64();
    println!(
        "\nidle sessions in rooms of {ROOM}: {sessions}, over {idle_s:.0} s; resident memory of the node\n\
         before:                   {:>8.0} KiB\n\
         joined:                   {:>8.0} KiB, {:.1} KiB a session\n\
         idle, pinged once:        {:>8.0} KiB, {:.1} KiB a session\n\
         after all have left:      {:>8.0} KiB",
        kib(before.resident),
        kib(joined.resident),
        each(joined.resident),
        kib(watched.resident),
        each(watched.resident),
        kib(left)
    );
    println!(
        "CPU: {:.0} us for a connection with its join; idle {:.1} % of one core ({:.2} us a session a second)",
        per(micros(joined.cpu.saturating_sub(before.cpu)), sessions),
        100.0 * idle_cpu / idle_s,
        per(1e6 * idle_cpu / idle_s, sessions)
    );
}

/// What a node allocates once, for whoever comes first, is no session's.
async fn warm_up(node: &Node) -> anyhow::Result<()> {
    Crowd::join(node, AT_ONCE).await?.leave().await
}

/// Participants who are only there.
struct Crowd {
    stay: Rc<watch::Sender<bool>>,
    members: JoinSet<anyhow::Result<()>>,
}

impl Crowd {
    async fn join(node: &Node, sessions: usize) -> anyhow::Result<Self> {
        let mut crowd = Self { stay: Rc::new(watch::Sender::new(true)), members: JoinSet::new() };
        let mut joining = JoinSet::new();
        for number in 0..sessions {
            let address = node.address();
            joining.spawn_local(async move {
                let room = format!("idle-{}", number / ROOM);
                Client::join(address, &room, &format!("user-{number}")).await
            });
            if joining.len() >= AT_ONCE {
                crowd.welcome(&mut joining).await?;
            }
        }
        while !joining.is_empty() {
            crowd.welcome(&mut joining).await?;
        }
        Ok(crowd)
    }

    async fn welcome(&mut self, joining: &mut JoinSet<anyhow::Result<Client>>) -> anyhow::Result<()> {
        let mut client = joining.join_next().await.context("nobody joins")???;
        let mut stay = self.stay.subscribe();
        self.members.spawn_local(async move {
            tokio::select! {
                lost = client.idle() => lost,
                _ = stay.wait_for(|stay| !stay) => client.leave().await,
            }
        });
        Ok(())
    }

    async fn leave(mut self) -> anyhow::Result<()> {
        self.stay.send_replace(false);
        while let Some(left) = self.members.join_next().await {
            left??;
        }
        Ok(())
    }
}

/// Resident memory once it does not move. Unit: bytes.
async fn settled(node: &Node) -> anyhow::Result<u64> {
    let mut last = node.resident()?;
    let settling = async {
        let mut quiet = 0;
        while quiet < 3 {
            sleep(Duration::from_millis(250)).await;
            let now = node.resident()?;
            quiet = if now.abs_diff(last) < last / 200 { quiet + 1 } else { 0 };
            last = now;
        }
        anyhow::Ok(())
    };
    // Still moving is no failure; what is read then is printed.
    timeout(SETTLE, settling).await.unwrap_or(Ok(()))?;
    Ok(last)
}
