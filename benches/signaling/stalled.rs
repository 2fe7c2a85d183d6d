//! How far a participant that reads nothing moves the latency of its neighbours.
//!
//! In one room: a talker broadcasts to all, one participant sends another candidates, and a fourth either reads like
//! everyone or not at all. Both are measured turn by turn on one node, each turn in a new room. Who does not read is
//! ended by the node in the end, and its session waits for it meanwhile: all of this falls into the measured time.

use std::time::{Duration, Instant};

use tokio::{
    net::TcpSocket,
    task::spawn_local,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    client::{Client, kind},
    figures::{Spread, Stretch},
    node::Node,
};

const ROUNDS: usize = 3;
const TURN: Duration = Duration::from_millis(2500);
const TALK_BYTES: usize = 8 * 1024;
const TALK_EVERY: Duration = Duration::from_millis(2);
const SIGNAL_EVERY: Duration = Duration::from_millis(2);
/// What has not come so long after everything was sent does not come.
const PATIENCE: Duration = Duration::from_secs(5);
/// A stalled peer's kernel takes little for it, so that the node notices soon. Unit: bytes.
const STALLED_RECV_BYTES: u32 = 16 * 1024;

/// What the fourth participant does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fourth {
    Reads,
    Stalls,
}

/// What one turn has shown.
#[derive(Default)]
struct Turn {
    signals: Stretch,
    signals_sent: usize,
    talk_sent: usize,
    talk_received: usize,
    /// When the node has given the fourth up.
    suspected: Option<Duration>,
}

/// What one participant has seen.
#[derive(Default)]
struct Seen {
    sent: usize,
    latencies: Vec<Duration>,
    talk: usize,
    /// Ends of others' parts that have come.
    ends: usize,
    suspected: Option<Duration>,
}

/// What one participant says, and how many others it hears to their end.
struct Part {
    say: Option<(Duration, Say)>,
    hears: usize,
}

/// What to say at a time of the turn; `None` is the end.
type Say = fn(Option<Duration>) -> String;

/// Measures and prints.
pub async fn measure() -> anyhow::Result<()> {
    let node = Node::start()?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    turn(&node, "warm-up", Fourth::Reads).await?;
    for round in 0..ROUNDS {
        without.push(turn(&node, &format!("without-{round}"), Fourth::Reads).await?);
        with.push(turn(&node, &format!("with-{round}"), Fourth::Stalls).await?);
    }
    println!(
        "\nstalled peer: 300 B every {} ms between two, {TALK_BYTES} B every {} ms to all; {ROUNDS} rounds of {} ms each\n\
         {:<14} {:>8} {:>8} {:>8} {:>8} | {:<23} {:<23}",
        SIGNAL_EVERY.as_millis(),
        TALK_EVERY.as_millis(),
        TURN.as_millis(),
        "",
        "p50, us",
        "p90, us",
        "p99, us",
        "CPU, ms",
        "signals received/sent",
        "talk received/sent"
    );
    print_turns("all four read", &without);
    print_turns("one stalls", &with);
    let ratio = |percent| {
        let pairs = with.iter().zip(&without);
        Spread::of(pairs.map(|(with, without)| {
            with.signals.percentile_us(percent) / without.signals.percentile_us(percent)
        }))
    };
    let given_up: Vec<_> =
        with.iter().filter_map(|turn| turn.suspected).map(|after| after.as_secs_f64()).collect();
    println!(
        "with / without, median (lowest-highest): p50 {}; p90 {}; p99 {}\n\
         the stalled peer was given up in {} of {ROUNDS} rounds, after s: {:.1?}",
        ratio(50),
        ratio(90),
        ratio(99),
        given_up.len(),
        given_up
    );
    Ok(())
}

fn print_turns(name: &str, turns: &[Turn]) {
    let mut all = Turn::default();
    for turn in turns {
        all.signals.absorb(&turn.signals);
        all.signals_sent += turn.signals_sent;
        all.talk_sent += turn.talk_sent;
        all.talk_received += turn.talk_received;
    }
    println!(
        "{name:<14} {:>8.0} {:>8.0} {:>8.0} {:>8.0} | {:<23} {:<23}",
        all.signals.percentile_us(50),
        all.signals.percentile_us(90),
        all.signals.percentile_us(99),
        all.signals.server_cpu.as_secs_f64() * 1e3,
        format!("{}/{}", all.signals.latencies.len(), all.signals_sent),
        format!("{}/{}", all.talk_received, all.talk_sent)
    );
}

async fn turn(node: &Node, room: &str, fourth: Fourth) -> anyhow::Result<Turn> {
    let talker = Client::join(node.address(), room, "talker").await?;
    let sender = Client::join(node.address(), room, "sender").await?;
    let receiver = Client::join(node.address(), room, "receiver").await?;
    let socket = TcpSocket::new_v4()?;
    if fourth == Fourth::Stalls {
        socket.set_recv_buffer_size(STALLED_RECV_BYTES)?;
    }
    let fourth_client = Client::join_by(socket, node.address(), room, "fourth").await?;
    let (idle, stalled) = match fourth {
        Fourth::Reads => (Some(fourth_client), None),
        Fourth::Stalls => (None, Some(fourth_client)),
    };

    let clock = Instant::now();
    let before = node.cpu()?;
    let parts = [
        (talker, Part { say: Some((TALK_EVERY, talk)), hears: 0 }),
        (sender, Part { say: Some((SIGNAL_EVERY, signal)), hears: 1 }),
        (receiver, Part { say: None, hears: 2 }),
    ];
    let [talks, sends, receives] = parts.map(|(client, part)| spawn_local(participate(client, clock, part)));
    let reads = idle.map(|client| spawn_local(participate(client, clock, Part { say: None, hears: 1 })));
    let (talked, sent, received) = (talks.await??, sends.await??, receives.await??);
    let mut talk_received = sent.talk + received.talk;
    let mut talk_sent = 2 * talked.sent;
    if let Some(reads) = reads {
        talk_received += reads.await??.talk;
        talk_sent += talked.sent;
    }
    let server_cpu = node.cpu()?.saturating_sub(before);
    drop(stalled);
    Ok(Turn {
        signals: Stretch { latencies: received.latencies, server_cpu },
        signals_sent: sent.sent,
        talk_sent,
        talk_received,
        suspected: sent.suspected,
    })
}

fn talk(now: Option<Duration>) -> String {
    let data = now.map_or("null".to_owned(), |_| format!("\"{}\"", "x".repeat(TALK_BYTES)));
    format!(r#"{{"type":"Message","data":{data}}}"#)
}

/// A candidate that carries its time. Unit of `t`: nanoseconds of the turn.
fn signal(now: Option<Duration>) -> String {
    let candidate = now.map_or("null".to_owned(), |now| {
        format!(r#"{{"t":{},"candidate":"{}"}}"#, now.as_nanos(), "candidate ".repeat(20))
    });
    format!(r#"{{"type":"IceCandidate","target_user_id":"receiver","candidate":{candidate}}}"#)
}

/// Says its part at its pace and reads all the time, until it has heard the others to their end.
async fn participate(mut client: Client, clock: Instant, part: Part) -> anyhow::Result<Seen> {
    let mut seen = Seen::default();
    if let Some((every, say)) = part.say {
        let mut pace = interval(every);
        // A late one is not made up for by a burst.
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while clock.elapsed() < TURN {
            tokio::select! {
                _ = pace.tick() => {
                    client.send(say(Some(clock.elapsed())).into()).await?;
                    seen.sent += 1;
                }
                text = client.next() => seen.note(&text?, clock),
            }
        }
        client.send(say(None).into()).await?;
    }
    let patience = TURN.saturating_sub(clock.elapsed()) + PATIENCE;
    let rest = async {
        while seen.ends < part.hears {
            seen.note(&client.next().await?, clock);
        }
        anyhow::Ok(())
    };
    // What did not come is missing in the figures.
    timeout(patience, rest).await.unwrap_or(Ok(()))?;
    client.leave().await?;
    Ok(seen)
}

impl Seen {
    fn note(&mut self, text: &str, clock: Instant) {
        match kind(text) {
            "Message" if text.ends_with(r#""data":null}"#) => self.ends += 1,
            "Message" => self.talk += 1,
            "IceCandidate" if text.ends_with(r#""candidate":null}"#) => self.ends += 1,
            "IceCandidate" => {
                self.latencies.extend(sent_at(text).map(|sent| clock.elapsed().saturating_sub(sent)));
            }
            "UserUpdated" if text.contains(r#""state":"suspect""#) => {
                self.suspected.get_or_insert(clock.elapsed());
            }
            _ => {}
        }
    }
}

fn sent_at(text: &str) -> Option<Duration> {
    let (_, time) = text.split_once(r#""t":"#)?;
    Some(Duration::from_nanos(time.split_once(',')?.0.parse().ok()?))
}
