//! Recorders at the pace of browsers, a chunk a second each: what a recorded second costs of CPU, and what a recording takes
//! of memory while it is recorded, put together while it comes or not.

use std::{rc::Rc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    disk::{Loop, settle},
    figures::{Spread, kib, percentile_ms},
    group::Group,
    media::{Kind, Media, WEBM},
    process,
    recorder::Recorder,
};

const RECORDERS: u32 = 40;
const SECONDS: u32 = 30;
const ROUNDS: usize = 3;
/// How often memory is read.
const LOOK: Duration = Duration::from_millis(50);
/// Each begins its second at another moment.
const SECOND: Duration = Duration::from_secs(1);
/// How long the bare loop writes.
const BARE: Duration = Duration::from_secs(2);

/// What one round took.
struct Round {
    /// Of the node, for each recorded second. Unit: milliseconds.
    cpu_ms: f64,
    /// Of the node, for each recording: in the middle of all looks, and most. Unit: KiB.
    usual: f64,
    most: f64,
    /// Unit: milliseconds.
    p50: f64,
    p99: f64,
}

/// Measures and prints.
pub async fn measure() -> anyhow::Result<()> {
    let media = Rc::new(Media::of(Kind::Webm, 600)?);
    println!(
        "\n{RECORDERS} recorders at 2.25 Mbit/s, a chunk a second each for {SECONDS} s; median of {ROUNDS} rounds in turns (lowest-highest)"
    );
    let (mut assembled, mut left, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        assembled.push(round(true, &media).await?);
        left.push(round(false, &media).await?);
        let bytes = media.chunk(1)?.len();
        let stretch = Loop { folders: 1, writers: 1, bytes, most: 1000 }.run(BARE)?;
        bare.push(stretch.cpu.as_secs_f64() * 1e3 / f64::from(u32::try_from(stretch.latencies.len())?));
    }
    print("put together while it comes", &assembled);
    print("left to ffmpeg", &left);
    let added = assembled.iter().zip(&left).map(|(assembled, left)| assembled.cpu_ms - left.cpu_ms);
    println!(
        "- putting it together adds {:.2} ms; a bare loop that stores such a chunk takes {:.2} ms",
        Spread::of(added),
        Spread::of(bare)
    );
    Ok(())
}

fn print(name: &str, rounds: &[Round]) {
    let of = |figure: fn(&Round) -> f64| Spread::of(rounds.iter().map(figure));
    println!(
        "{name}: CPU for a recorded second {:.2} ms; resident for each recording {:.0} KiB, at most {:.0}; \
         acknowledged after {:.1} ms (p50), {:.1} ms (p99)",
        of(|round| round.cpu_ms),
        of(|round| round.usual),
        of(|round| round.most),
        of(|round| round.p50),
        of(|round| round.p99)
    );
}

async fn round(assembled: bool, media: &Rc<Media>) -> anyhow::Result<Round> {
    let group = Group::alone_with(&[("ASSEMBLE", assembled.to_string())])?;
    let node = group.node(0);
    // What a node allocates once, for whoever comes first, is no recording's.
    let mut first = Recorder::start(node.address(), WEBM).await?;
    first.pace(media, Instant::now(), 3).await?;
    first.discard().await?;
    let before = process::resident(node.pid())?;
    let mut recording = JoinSet::new();
    let begins = Instant::now() + SECOND;
    for number in 0..RECORDERS {
        let mut recorder = Recorder::start(node.address(), WEBM).await?;
        let media = media.clone();
        recording.spawn_local(async move {
            let latencies = recorder.pace(&media, begins + SECOND * number / RECORDERS, SECONDS).await?;
            anyhow::Ok((recorder, latencies))
        });
    }
    sleep_until(begins).await;
    let cpu = node.cpu()?;
    let mut looks = Vec::new();
    // The last of them are still recording then.
    for look in 1..=SECONDS * 20 {
        sleep_until(begins + LOOK * look).await;
        looks.push(kib(process::resident(node.pid())?.saturating_sub(before)) / f64::from(RECORDERS));
    }
    let cpu = node.cpu()?.since(cpu).own.as_secs_f64();
    let (mut latencies, mut crowd) = (Vec::new(), Vec::new());
    while let Some(done) = recording.join_next().await {
        let (recorder, some) = done??;
        latencies.extend(some);
        crowd.push(recorder);
    }
    for recorder in crowd {
        recorder.discard().await?;
    }
    settle()?;
    // All are in their stride in the second half.
    let mut second_half = looks.split_off(looks.len() / 2);
    second_half.sort_unstable_by(f64::total_cmp);
    let usual = second_half.get(second_half.len() / 2).copied().unwrap_or(f64::NAN);
    let most = looks.into_iter().chain(second_half).fold(0.0, f64::max);
    Ok(Round {
        cpu_ms: cpu * 1e3 / f64::from(RECORDERS * SECONDS),
        usual,
        most,
        p50: percentile_ms(&latencies, 50),
        p99: percentile_ms(&latencies, 99),
    })
}
