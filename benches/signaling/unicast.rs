//! A signal from one participant to another, beside a bare echo of as many bytes.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    bare::{Bare, Duty},
    figures::{Spread, Stretch},
    node::Node,
    ways::{Line, Member, Pair, Signal, Way},
};

const ROUNDS: usize = 9;
/// How long one way of one row is measured at a time.
const STRETCH: Duration = Duration::from_millis(150);

/// What is sent, and how.
struct Row {
    name: &'static str,
    signal: Signal,
    pairs: usize,
    /// Messages of one pair that are under way at once.
    window: usize,
}

/// Measures and prints.
pub async fn measure() -> anyhow::Result<()> {
    let (node, echo) = (Node::start()?, Bare::start(Duty::Echo)?);
    println!(
        "\nrelay to one participant, beside a bare TCP echo; {ROUNDS} rounds of {} ms each\n\
         {:<37} {:>21} {:>8} | {:>21} {:>8} | node / echo, median of rounds (middle half)\n\
         {:<37} {:>10} {:>10} {:>8} | {:>10} {:>10} {:>8} | {:<19} {:<19} {:<19}",
        STRETCH.as_millis(),
        "",
        "node: latency, us",
        "CPU, us",
        "echo: latency, us",
        "CPU, us",
        "pairs x messages under way",
        "p50",
        "p99",
        "/message",
        "p50",
        "p99",
        "/message",
        "p50",
        "p99",
        "CPU"
    );
    for row in rows() {
        print_row(&row, &rounds(&row, &node, &echo).await?);
    }
    println!("CPU in us for a message is the same number as CPU in ms for 1,000 messages");
    Ok(())
}

fn rows() -> Vec<Row> {
    let candidate = Signal { kind: "IceCandidate", text: candidate(300).into() };
    let offer = Signal { kind: "Offer", text: offer(4096).into() };
    let mut rows = Vec::new();
    for (name, signal) in [("IceCandidate, 300 B", candidate), ("Offer, 4 KiB", offer)] {
        for (pairs, window) in [(1, 1), (8, 1), (8, 16)] {
            rows.push(Row { name, signal: signal.clone(), pairs, window });
        }
    }
    rows
}

/// An `IceCandidate` as a browser sends it, about so many bytes long.
fn candidate(bytes: usize) -> String {
    let head = concat!(
        r#"{"type":"IceCandidate","target_user_id":"receiver","candidate":{"#,
        r#""candidate":"candidate:842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx raddr 10.0.0.7","#,
        r#""sdpMid":"0","sdpMLineIndex":0,"usernameFragment":""#
    );
    fill(head, "EsAw", r#""}}"#, bytes)
}

/// An `Offer` about so many bytes long.
fn offer(bytes: usize) -> String {
    let head = concat!(
        r#"{"type":"Offer","target_user_id":"receiver","#,
        r#""sdp":"v=0\r\no=- 46117317 2 IN IP4 127.0.0.1\r\ns=-\r\n"#
    );
    fill(head, r"a=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\n", r#""}"#, bytes)
}

/// Repeats `filling` as often as fits whole, so that escapes stay whole.
fn fill(head: &str, filling: &str, tail: &str, bytes: usize) -> String {
    let times = bytes.saturating_sub(head.len() + tail.len()) / filling.len();
    format!("{head}{}{tail}", filling.repeat(times))
}

/// Node and echo, turn by turn.
async fn rounds(row: &Row, node: &Node, echo: &Bare) -> anyhow::Result<Vec<(Stretch, Stretch)>> {
    let (mut pairs, mut lines) = (Vec::new(), Vec::new());
    for number in 0..row.pairs {
        let room = format!("pair-{number}");
        let sender = Member::join(node.address(), &room, "sender", &row.signal).await?;
        let receiver = Member::join(node.address(), &room, "receiver", &row.signal).await?;
        pairs.push(Pair { sender, receiver });
        lines.push(Line::connect(echo.address(), &row.signal).await?);
    }
    // The first turn of each warms up.
    stretch(&mut pairs, row.window, || node.cpu()).await?;
    stretch(&mut lines, row.window, || echo.cpu()).await?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let relayed = stretch(&mut pairs, row.window, || node.cpu()).await?;
        let echoed = stretch(&mut lines, row.window, || echo.cpu()).await?;
        rounds.push((relayed, echoed));
    }
    for pair in pairs {
        pair.sender.leave().await?;
        pair.receiver.leave().await?;
    }
    Ok(rounds)
}

/// All ways at once for a while.
async fn stretch<W: Way>(
    ways: &mut Vec<W>,
    window: usize,
    server_cpu: impl Fn() -> anyhow::Result<Duration>,
) -> anyhow::Result<Stretch> {
    let before = server_cpu()?;
    let end = Instant::now() + STRETCH;
    let mut driven = JoinSet::new();
    for mut way in ways.drain(..) {
        driven.spawn_local(async move {
            let latencies = drive(&mut way, window, end).await?;
            anyhow::Ok((way, latencies))
        });
    }
    let mut latencies = Vec::new();
    while let Some(done) = driven.join_next().await {
        let (way, some) = done??;
        ways.push(way);
        latencies.extend(some);
    }
    Ok(Stretch { latencies, server_cpu: server_cpu()?.saturating_sub(before) })
}

/// Keeps `window` messages under way until `end`, and waits for the last.
async fn drive(way: &mut impl Way, window: usize, end: Instant) -> anyhow::Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    let mut under_way = VecDeque::new();
    for _ in 0..window {
        under_way.push_back(Instant::now());
        way.send().await?;
    }
    while let Some(sent) = under_way.pop_front() {
        way.receive().await?;
        latencies.push(sent.elapsed());
        if Instant::now() < end {
            under_way.push_back(Instant::now());
            way.send().await?;
        }
    }
    Ok(latencies)
}

fn print_row(row: &Row, rounds: &[(Stretch, Stretch)]) {
    let (mut relayed, mut echoed) = (Stretch::default(), Stretch::default());
    for (of_node, of_echo) in rounds {
        relayed.absorb(of_node);
        echoed.absorb(of_echo);
    }
    let ratio = |figure: fn(&Stretch) -> f64| {
        Spread::of(rounds.iter().map(|(node, echo)| figure(node) / figure(echo)))
    };
    println!(
        "{:<37} {:>10.0} {:>10.0} {:>8.1} | {:>10.0} {:>10.0} {:>8.1} | {:<19} {:<19} {:<19}",
        format!("{}, {} x {}", row.name, row.pairs, row.window),
        relayed.percentile_us(50),
        relayed.percentile_us(99),
        relayed.cpu_us(),
        echoed.percentile_us(50),
        echoed.percentile_us(99),
        echoed.cpu_us(),
        ratio(|stretch| stretch.percentile_us(50)),
        ratio(|stretch| stretch.percentile_us(99)),
        ratio(Stretch::cpu_us),
    );
}
