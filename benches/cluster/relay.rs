//! A signal from one participant to another, on one node and between two.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::{
    figures::{Spread, percentile_ms},
    node::thread_cpu,
    start,
    support::Cluster,
    ways::{Member, Pair, Signal, Way as _},
};

const ROUNDS: usize = 7;
/// How long one way is measured at a time, one message after the other.
const STRETCH: Duration = Duration::from_millis(600);
/// Messages sent without waiting, and how many such bursts make a turn.
pub const BURST: usize = 1000;
const BURSTS: usize = 4;

/// Measures and prints.
pub async fn measure() -> anyhow::Result<()> {
    let cluster = start(2, &[]).await;
    let signal = candidate();
    let mut here = join(&cluster, "here", [0, 0], &signal).await?;
    let mut across = join(&cluster, "across", [0, 1], &signal).await?;
    println!(
        "\nrelay of an `IceCandidate` of {} B, on one node and to another, in {ROUNDS} rounds of turns;\n\
         median (lowest-highest) of rounds; CPU in us for a message",
        signal.text.len()
    );
    for (name, how) in [("one after the other", How::OneByOne), ("bursts of 1,000", How::Bursts)] {
        // The first turn of each warms up.
        turn(&cluster, &mut here, how).await?;
        turn(&cluster, &mut across, how).await?;
        let (mut on_one, mut on_two) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            on_one.push(turn(&cluster, &mut here, how).await?);
            on_two.push(turn(&cluster, &mut across, how).await?);
        }
        print(name, how, &on_one, &on_two);
    }
    Ok(())
}

/// A sender and a receiver on these nodes.
pub async fn join(cluster: &Cluster, room: &str, nodes: [usize; 2], signal: &Signal) -> anyhow::Result<Pair> {
    let [sender, receiver] = nodes.map(|node| cluster.address(node));
    Ok(Pair {
        sender: Member::join(sender, room, "sender", signal).await?,
        receiver: Member::join(receiver, room, "receiver", signal).await?,
    })
}

/// An `IceCandidate` as a browser sends it.
pub fn candidate() -> Signal {
    let head = concat!(
        r#"{"type":"IceCandidate","target_user_id":"receiver","candidate":{"#,
        r#""candidate":"candidate:842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx raddr 10.0.0.7","#,
        r#""sdpMid":"0","sdpMLineIndex":0,"usernameFragment":""#
    );
    Signal { kind: "IceCandidate", text: format!(r#"{head}{}"}}}}"#, "EsAw".repeat(20)).into() }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    OneByOne,
    Bursts,
}

/// What one turn came to.
struct Turn {
    latencies: Vec<Duration>,
    messages: f64,
    nodes: Duration,
    redis: Duration,
}

impl Turn {
    fn p50_us(&self) -> f64 {
        percentile_ms(&self.latencies, 50) * 1e3
    }

    fn p99_us(&self) -> f64 {
        percentile_ms(&self.latencies, 99) * 1e3
    }

    fn nodes_us(&self) -> f64 {
        self.nodes.as_secs_f64() * 1e6 / self.messages
    }

    fn redis_us(&self) -> f64 {
        self.redis.as_secs_f64() * 1e6 / self.messages
    }
}

async fn turn(cluster: &Cluster, pair: &mut Pair, how: How) -> anyhow::Result<Turn> {
    let (nodes, redis) = cpu(cluster)?;
    let mut latencies = Vec::new();
    let mut messages = 0.0;
    match how {
        How::OneByOne => {
            let end = Instant::now() + STRETCH;
            while Instant::now() < end {
                latencies.push(one(pair).await?);
                messages += 1.0;
            }
        }
        How::Bursts => {
            for _ in 0..BURSTS {
                let began = Instant::now();
                messages += burst(pair, BURST).await?;
                latencies.push(began.elapsed());
            }
        }
    }
    let (nodes_now, redis_now) = cpu(cluster)?;
    Ok(Turn { latencies, messages, nodes: nodes_now - nodes, redis: redis_now - redis })
}

/// Sends one message and waits until it has come.
pub async fn one(pair: &mut Pair) -> anyhow::Result<Duration> {
    let sent = Instant::now();
    pair.send().await?;
    pair.receive().await?;
    Ok(sent.elapsed())
}

/// Sends so many without waiting, and reads them as they come.
pub async fn burst(pair: &mut Pair, messages: usize) -> anyhow::Result<f64> {
    let Pair { sender, receiver } = pair;
    let sending = async {
        for _ in 0..messages {
            sender.send().await?;
        }
        anyhow::Ok(())
    };
    let receiving = async {
        let mut received = 0.0;
        for _ in 0..messages {
            receiver.receive().await?;
            received += 1.0;
        }
        anyhow::Ok(received)
    };
    tokio::try_join!(sending, receiving).map(|((), received)| received)
}

/// What both nodes have used, and Redis.
fn cpu(cluster: &Cluster) -> anyhow::Result<(Duration, Duration)> {
    let mut nodes = Duration::ZERO;
    for node in 0..cluster.len() {
        nodes += of_process(cluster.process(node).id())?;
    }
    Ok((nodes, of_process(cluster.redis().pid())?))
}

/// What all threads of a process have used; none of these processes ends one meanwhile.
fn of_process(pid: u32) -> anyhow::Result<Duration> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))?;
    threads.map(|thread| thread_cpu(&thread?.path().to_string_lossy())).sum()
}

fn print(name: &str, how: How, on_one: &[Turn], on_two: &[Turn]) {
    let of = |turns: &[Turn], figure: fn(&Turn) -> f64| Spread::of(turns.iter().map(figure));
    let line = |what: &str, figure: fn(&Turn) -> f64| {
        let ratio = Spread::of(on_two.iter().zip(on_one).map(|(two, one)| figure(two) / figure(one)));
        println!("  {what:<28} {:<20.0} {:<20.0} {ratio:.1}", of(on_one, figure), of(on_two, figure));
    };
    println!("{name:<30} {:<20} {:<20} ratio", "one node", "two nodes");
    match how {
        How::OneByOne => {
            line("p50, us", Turn::p50_us);
            line("p99, us", Turn::p99_us);
        }
        How::Bursts => line("a whole burst, us, p50", Turn::p50_us),
    }
    line("CPU of the nodes", Turn::nodes_us);
    println!(
        "  {:<28} {:<20.1} {:.1}",
        "CPU of Redis",
        of(on_one, Turn::redis_us),
        of(on_two, Turn::redis_us)
    );
}
