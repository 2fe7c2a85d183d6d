//! Joins and leaves without end leave nothing behind: the node's memory after them is what it was before. And a recorder keeps
//! little of it between its chunks.
//!
//! Of joins `scripts/test` makes some tens of thousands. The full million takes minutes; it is run by
//!
//! ```text
//! GREENROOM_TEST_JOINS=1000000 cargo test --release --test memory -- --nocapture
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

mod support;

use futures_util::future::join_all;
use serde_json::{Value, json};
use support::{
    Heard, Peer, Process, Recorder, cut_evenly, eventually, get, greenroom, longer, metric, setting,
};

/// How many joins, each with its leave, unless `GREENROOM_TEST_JOINS` says otherwise.
const JOINS: u64 = 30_000;
/// Sockets that join and leave at the same time.
const SOCKETS: u64 = 16;
/// Joins and leaves that a socket sends before it reads.
const AT_ONCE: u64 = 10;
/// Of so many rounds of a socket, one loses it instead of leaving.
const ROUNDS_PER_LOSS: usize = 10;
/// The process's allocator keeps a little of what it once had.
const GROWTH_MAX: u64 = 2 * 1024 * 1024;

#[tokio::test]
async fn joins_and_leaves_leave_nothing_behind() {
    let joins: u64 =
        setting("GREENROOM_TEST_JOINS").map_or(JOINS, |number| number.parse().expect("a number"));
    let node =
        Process::start(&["--messages-per-sec=100000", "--messages-burst=100000", "--session-grace-secs=0"]);
    // First what grows to its working size and stays there: buffers, tables, arenas.
    let warm_up = (joins / 4).min(50_000);
    churn(&node, 0..warm_up).await;
    let before = settled(&node).await;
    churn(&node, warm_up..warm_up + joins).await;
    let after = settled(&node).await;
    let joined = metric(node.address(), r#"greenroom_joins_total{result="joined"}"#).await;
    println!("{joined} joins; resident memory {} KiB before, {} KiB after", before / 1024, after / 1024);
    assert!(after < before + GROWTH_MAX, "grew from {} KiB to {} KiB", before / 1024, after / 1024);
}

/// As a browser's at 2.2 Mbit/s. Unit: bytes.
const CHUNK_BYTES: usize = 280_000;
/// Recorders that are there at one time, and what each has sent by then.
const RECORDERS: usize = 24;
const CHUNKS: usize = 5;
/// Of memory, for each of them: less than for a chunk of each to be kept. Unit: bytes.
const RECORDER_MAX: usize = CHUNK_BYTES * 3 / 2;

/// Measured by `cargo bench --bench recording -- pace`, it is less than 256 KiB.
#[tokio::test]
async fn recorders_take_up_little_between_their_chunks() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = greenroom(folder.path());
    // As in its container: what is large goes back to the system, however many threads there are.
    command.args(["--port=0", "--host=127.0.0.1"]).env("MALLOC_MMAP_THRESHOLD_", "65536");
    let node = Process::run(command, folder);
    let chunks = cut_evenly(longer(), longer().len() / CHUNK_BYTES);
    let record = async |id: String| {
        let mut recorder = Recorder::start(node.address(), json!({ "recordId": id })).await;
        recorder.store_all(0, &chunks[..CHUNKS]).await;
        recorder
    };
    // What is allocated once, for whoever comes first, is nobody's.
    let _first = record("first".to_owned()).await;
    let before = node.resident_bytes();
    let mut recorders = Vec::new();
    for number in 0..RECORDERS {
        recorders.push(record(format!("talk-{number}")).await);
    }
    let each = usize::try_from(node.resident_bytes().saturating_sub(before)).expect("small") / RECORDERS;
    println!("{RECORDERS} recorders; {} KiB for each", each / 1024);
    assert!(each < RECORDER_MAX, "{} KiB for each of {}", each / 1024, recorders.len());
}

/// Memory once nobody is left.
async fn settled(node: &Process) -> u64 {
    eventually("nobody is left", async || {
        let sockets = metric(node.address(), r#"greenroom_sockets{kind="peer"}"#).await;
        let sessions = get(node.address(), "/health").await.json()["sessions"].as_u64();
        (sockets < 0.5 && sessions == Some(0)).then_some(())
    })
    .await;
    assert_eq!(get(node.address(), "/api/rooms").await.json(), json!({ "rooms": [] }));
    node.resident_bytes()
}

/// Joins and leaves for each of these numbers, on several sockets at once.
async fn churn(node: &Process, numbers: std::ops::Range<u64>) {
    let each = (numbers.end - numbers.start) / SOCKETS;
    let shares = (0..SOCKETS).map(|share| {
        let first = numbers.start + share * each;
        churn_alone(node, share, first..first + each)
    });
    join_all(shares).await;
}

async fn churn_alone(node: &Process, share: u64, numbers: std::ops::Range<u64>) {
    let mut peer = Peer::connect(node.address()).await;
    for (round, first) in numbers.clone().step_by(usize::try_from(AT_ONCE).expect("small")).enumerate() {
        for number in first..numbers.end.min(first + AT_ONCE) {
            peer.send(join(share, number)).await;
            peer.send(json!({ "type": "Leave" })).await;
        }
        for number in first..numbers.end.min(first + AT_ONCE) {
            let welcome = hear(&mut peer, "RoomJoined").await;
            assert_eq!(welcome["user_id"], format!("user-{share}-{number}"));
        }
        if round.is_multiple_of(ROUNDS_PER_LOSS) {
            peer.send(join(share, first)).await;
            hear(&mut peer, "RoomJoined").await;
            peer.lose();
            peer = Peer::connect(node.address()).await;
        }
    }
}

/// Hears this, and what others do on the way.
async fn hear(peer: &mut Peer, kind: &str) -> Value {
    loop {
        match peer.hear().await {
            Heard::Message(message) if message["type"] == kind => return message,
            Heard::Message(other) => {
                assert!(
                    ["UserJoined", "UserUpdated", "UserLeft"].iter().any(|news| other["type"] == *news),
                    "{other}"
                );
            }
            Heard::Closed(closed) => panic!("{kind} is expected, but the socket ended: {closed:?}"),
        }
    }
}

/// Every other one has a room of its own name that was never there before; the rest meet in a few.
fn join(share: u64, number: u64) -> Value {
    let room = if number.is_multiple_of(2) {
        format!("room-{share}-{number}")
    } else {
        format!("meeting-{}", share % 4)
    };
    json!({ "type": "Join", "room_name": room, "user_id": format!("user-{share}-{number}"), "metadata": { "n": number } })
}
