//! What bad input costs the process: memory and processor time of the real binary.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;

use crate::{
    Pair,
    support::{Process, Raw, eventually, frame, header, masked, metric},
};

const MEBIBYTE: u64 = 1024 * 1024;

/// Long enough for a share of a processor to be measured in ticks of 10 ms.
const STRETCH: Duration = Duration::from_millis(400);

/// Each is enough to make a loop of a stream handler that does not stop at an error.
#[tokio::test]
async fn no_bad_frame_spins_a_worker() {
    let node = Process::start(&[]);
    let mut pair = Pair::join(node.address()).await;
    for bytes in
        [vec![0x81, 0x00], vec![0x81, 0x7f], frame(0x83, b"x"), frame(0xf1, b""), frame(0x81, b"\xff")]
    {
        let mut mallory = Raw::join(node.address(), "green", "mallory").await;
        mallory.write(&bytes).await;
        mallory.ending().await;
    }
    // Also for who does not stay to hear of it.
    for _ in 0..5 {
        let mut mallory = Raw::join(node.address(), "green", "mallory").await;
        mallory.write(&[0x81, 0x00]).await;
    }
    eventually("only the pair's sockets are open", async || {
        (metric(node.address(), r#"greenroom_sockets{kind="peer"}"#).await < 2.5).then_some(())
    })
    .await;
    let share = least_share(&node).await;
    assert!(share < 0.2, "{share:.2} of a processor is used with nothing to do");
    pair.unharmed("bad frames").await;
    assert!(!node.logs().contains("panic"), "{}", node.logs());
}

/// The least share of a processor used over a stretch of time. A worker that spins uses a whole one all the time; a
/// neighbour that keeps the machine busy only makes it less.
async fn least_share(node: &Process) -> f64 {
    let mut least = f64::MAX;
    for _ in 0..4 {
        let (before, since) = (node.processor_time(), Instant::now());
        eventually("a stretch of time", async || (since.elapsed() > STRETCH).then_some(())).await;
        let used = node.processor_time() - before;
        least = least.min(used.as_secs_f64() / since.elapsed().as_secs_f64());
    }
    least
}

/// Sends a frame that declares so many bytes and goes on sending until the node ends it; how it ended.
async fn pour(node: &Process, declared: u64, sent: usize) -> Option<(u16, String)> {
    let mut mallory = Raw::join(node.address(), "green", "mallory").await;
    let mut writer = mallory.take_writer();
    let piece = masked(&[b'x'; 64 * 1024]);
    let writing = async move {
        if writer.write_all(&header(0x81, declared)).await.is_err() {
            return;
        }
        for _ in 0..sent / piece.len() {
            if writer.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    let ((_, end), ()) = tokio::join!(mallory.ending(), writing);
    end
}

#[tokio::test]
async fn a_huge_frame_costs_no_memory() {
    let node = Process::start(&[]);
    let mut pair = Pair::join(node.address()).await;
    pair.unharmed("nothing yet").await;
    let before = node.resident_bytes();
    for (declared, sent) in [(10 << 20, 10 << 20), (1 << 30, 64 << 20)] {
        let end = pour(&node, declared, sent).await;
        assert_eq!(end, Some((1009, "too_large".to_owned())), "{declared} bytes declared");
    }
    let grown = node.resident_bytes().saturating_sub(before);
    assert!(grown < 4 * MEBIBYTE, "resident memory grew by {} KiB", grown / 1024);
    pair.unharmed("huge frames").await;
}

#[tokio::test]
async fn a_flood_of_tiny_frames_costs_no_memory() {
    const FRAMES: usize = 2_000_000;
    let node = Process::start(&["--messages-per-sec=1000", "--messages-burst=1000"]);
    let mut pair = Pair::join(node.address()).await;
    pair.unharmed("nothing yet").await;
    let before = node.resident_bytes();
    let mut mallory = Raw::join(node.address(), "green", "mallory").await;
    let mut writer = mallory.take_writer();
    let flood = frame(0x8a, b"").repeat(FRAMES);
    let writing = async move {
        // Cut off in the middle.
        let _ = writer.write_all(&flood).await;
    };
    let ((_, end), ()) = tokio::join!(mallory.ending(), writing);
    assert_eq!(end, Some((4429, "rate_limited".to_owned())));
    let grown = node.resident_bytes().saturating_sub(before);
    assert!(grown < 4 * MEBIBYTE, "resident memory grew by {} KiB", grown / 1024);
    pair.unharmed("a flood").await;
}
