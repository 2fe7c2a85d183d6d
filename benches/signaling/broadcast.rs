//! One message to everyone in a room, beside a bare TCP server that writes the same bytes to as many sockets.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::mpsc;

use crate::{
    bare::{Bare, Duty},
    figures::{Spread, micros, per},
    node::Node,
    ways::{Line, Member, Signal, Way},
};

const LISTENERS: usize = 50;
const ROUNDS: usize = 9;
const STRETCH: Duration = Duration::from_millis(150);
/// Messages sent at once before everyone must have heard them.
const BURST: usize = 8;

/// A talker, and a notice from each listener that has heard a burst.
struct Room<W> {
    talker: W,
    heard: mpsc::Receiver<anyhow::Result<()>>,
}

/// Measures and prints.
pub async fn measure() -> anyhow::Result<()> {
    let data = "the same for everyone ".repeat(12);
    let text = format!(r#"{{"type":"Message","data":"{data}"}}"#);
    let signal = Signal { kind: "Message", text: text.into() };
    let (node, bare) = (Node::start()?, Bare::start(Duty::FanOut(LISTENERS))?);
    let mut members = of_members(&node, &signal).await?;
    let mut lines = of_lines(&bare, &signal).await?;
    stretch(&mut members, || node.cpu()).await?;
    stretch(&mut lines, || bare.cpu()).await?;
    let (mut told, mut bares, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let by_node = stretch(&mut members, || node.cpu()).await?;
        let by_bare = stretch(&mut lines, || bare.cpu()).await?;
        told.push(by_node);
        bares.push(by_bare);
        ratios.push(by_node / by_bare);
    }
    println!(
        "\nbroadcast of {} B to {LISTENERS} in one room, beside a bare fan-out; {ROUNDS} rounds of {} ms each\n\
         CPU for a delivery, us, median (middle half): node {}; bare {}; node / bare {}",
        signal.text.len(),
        STRETCH.as_millis(),
        Spread::of(told),
        Spread::of(bares),
        Spread::of(ratios)
    );
    Ok(())
}

async fn of_members(node: &Node, signal: &Signal) -> anyhow::Result<Room<Member>> {
    let talker = Member::join(node.address(), "broadcast", "talker", signal).await?;
    let mut listeners = Vec::new();
    for number in 0..LISTENERS {
        listeners
            .push(Member::join(node.address(), "broadcast", &format!("listener-{number}"), signal).await?);
    }
    Ok(Room { talker, heard: listen(listeners) })
}

async fn of_lines(bare: &Bare, signal: &Signal) -> anyhow::Result<Room<Line>> {
    let talker = Line::connect(bare.address(), signal).await?;
    let mut listeners = Vec::new();
    for _ in 0..LISTENERS {
        listeners.push(Line::connect(bare.address(), signal).await?);
    }
    Ok(Room { talker, heard: listen(listeners) })
}

/// Everyone listens until the room is dropped.
fn listen<W: Way>(listeners: Vec<W>) -> mpsc::Receiver<anyhow::Result<()>> {
    let (notices, heard) = mpsc::channel(LISTENERS);
    for mut listener in listeners {
        let notices = notices.clone();
        tokio::task::spawn_local(async move {
            // The room is dropped, or the listener is lost; the driver hears of both.
            while notices.send(burst(&mut listener).await).await.is_ok() {}
        });
    }
    heard
}

async fn burst(listener: &mut impl Way) -> anyhow::Result<()> {
    for _ in 0..BURST {
        listener.receive().await?;
    }
    Ok(())
}

/// Bursts for a while. Returns the server's CPU for a delivery; unit: microseconds.
async fn stretch<W: Way>(
    room: &mut Room<W>,
    server_cpu: impl Fn() -> anyhow::Result<Duration>,
) -> anyhow::Result<f64> {
    let before = server_cpu()?;
    let end = Instant::now() + STRETCH;
    let mut deliveries = 0;
    while Instant::now() < end {
        for _ in 0..BURST {
            room.talker.send().await?;
        }
        for _ in 0..LISTENERS {
            room.heard.recv().await.context("the listeners are gone")??;
        }
        deliveries += BURST * LISTENERS;
    }
    Ok(per(micros(server_cpu()?.saturating_sub(before)), deliveries))
}
