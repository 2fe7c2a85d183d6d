//! A peer that stops reading costs its neighbours nothing and the node little: it is taken out of the room, its socket
//! is ended, memory stays bounded, and what the others say to each other keeps flowing.
//!
//! Two kinds of it: a process that is stopped in the middle of its life (this program, run again as a child), and a
//! socket with a small buffer that simply is not read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

mod support;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};
use support::{Closed, DEADLINE, Heard, Peer, Process, Raw, eventually, metric, setting, signal, soon};

const MEBIBYTE: u64 = 1024 * 1024;
/// What is said at once before the neighbour must have heard it: well below what a session keeps (1 MiB), so that only
/// who does not read falls behind.
const AT_ONCE: u64 = 16;
const SAYING_BYTES: usize = 8 * 1024;
/// A connection that does not end when told to is ended from outside after 2 s; the kernel would end it after 20.
const KILLED: Duration = Duration::from_secs(10);
/// Where the child finds its node.
const NODE_OF_CHILD: &str = "GREENROOM_TEST_STALL_AT";

/// A node, and in one room of it somebody who talks and somebody who listens.
struct Stage {
    talker: Peer,
    neighbour: Peer,
    said: u64,
    /// What each has heard of others, in order.
    news: [Vec<Value>; 2],
    saying: String,
    node: Process,
}

impl Stage {
    async fn set(grace_secs: u32) -> Self {
        let node = Process::start(&[
            "--messages-per-sec=100000",
            "--messages-burst=100000",
            "--slow-consumer-secs=1",
            &format!("--session-grace-secs={grace_secs}"),
        ]);
        let mut talker = Peer::join(node.address(), "blue", "talker").await;
        let neighbour = Peer::join(node.address(), "blue", "neighbour").await;
        talker.expect("UserJoined").await;
        let saying = "x".repeat(SAYING_BYTES);
        let mut stage = Self { talker, neighbour, said: 0, news: [Vec::new(), Vec::new()], saying, node };
        // The node's buffers grow to what this traffic needs before memory is looked at.
        for _ in 0..20 {
            stage.talk().await;
        }
        stage
    }

    /// The talker speaks to everyone, and the neighbour hears all of it in order.
    async fn talk(&mut self) {
        for number in self.said..self.said + AT_ONCE {
            self.talker.send(json!({ "type": "Message", "data": { "n": number, "x": self.saying } })).await;
        }
        for number in self.said..self.said + AT_ONCE {
            let heard = self.hear("Message").await;
            assert_eq!(heard["data"]["n"], number);
        }
        self.said += AT_ONCE;
        // The talker listens too.
        self.talker.send(json!({ "type": "Ping" })).await;
        loop {
            let heard = self.talker.next().await;
            if heard["type"] == "Pong" {
                break;
            }
            self.news[0].push(heard);
        }
    }

    async fn hear(&mut self, kind: &str) -> Value {
        loop {
            let heard = self.neighbour.next().await;
            if heard["type"] == kind {
                return heard;
            }
            self.news[1].push(heard);
        }
    }

    /// Talks until both have heard that somebody is gone; the most memory the node had meanwhile.
    async fn talk_until_it_is_gone(&mut self) -> u64 {
        let until = Instant::now() + DEADLINE;
        let gone = |news: &Vec<Value>| news.iter().any(|heard| heard["type"] == "UserLeft");
        let mut most = 0;
        while !self.news.iter().all(gone) {
            assert!(Instant::now() < until, "still there after {} messages: {:?}", self.said, self.news);
            self.talk().await;
            most = most.max(self.node.resident_bytes());
        }
        most
    }

    async fn sockets(&self) -> f64 {
        metric(self.node.address(), r#"greenroom_sockets{kind="peer"}"#).await
    }
}

/// What must be true of any peer that has stopped reading under the name `stalled`. `port` is its own.
async fn is_taken_out(mut stage: Stage, port: u16) {
    let before = stage.node.resident_bytes();
    assert!(is_established(stage.node.address(), port), "it is connected at first");
    let most = stage.talk_until_it_is_gone().await;
    let grown = most.saturating_sub(before);
    assert!(grown < 16 * MEBIBYTE, "resident memory grew by {} KiB", grown / 1024);

    for news in &stage.news {
        let [joined, suspect, left] = news.as_slice() else { panic!("not once each: {news:?}") };
        assert_eq!(joined["type"], "UserJoined");
        assert_eq!((&suspect["type"], &suspect["user"]["state"]), (&json!("UserUpdated"), &json!("suspect")));
        assert_eq!((&left["user_id"], &left["reason"]), (&json!("stalled"), &json!("timeout")));
    }
    soon(KILLED, "its socket has ended", async || {
        let ended = stage.sockets().await < 2.5 && !is_established(stage.node.address(), port);
        ended.then_some(())
    })
    .await;
    let slow = metric(stage.node.address(), "greenroom_slow_consumers_ended_total").await;
    assert!((slow - 1.0).abs() < 0.5, "{slow} slow consumers");
    // And on it goes.
    stage.talk().await;
}

/// Whether the kernel has this connection of the node as established (`/proc/net/tcp`, state 01).
fn is_established(node: SocketAddr, peer_port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("proc(5)");
    let (local, remote) = (format!(":{:04X}", node.port()), format!(":{peer_port:04X}"));
    table.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let is = |field: Option<&str>, port: &str| field.is_some_and(|field| field.ends_with(port));
        is(fields.next(), &local) && is(fields.next(), &remote) && fields.next() == Some("01")
    })
}

#[tokio::test]
async fn a_stopped_process_is_taken_out_and_harms_nobody() {
    let stage = Stage::set(1).await;
    let (child, port) = Stalled::join(stage.node.address());
    signal("STOP", child.0.id());
    is_taken_out(stage, port).await;
    drop(child);
}

#[tokio::test]
async fn a_socket_that_is_not_read_is_taken_out_and_harms_nobody() {
    let stage = Stage::set(1).await;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    socket.connect(&stage.node.address().into()).expect("the node accepts connections");
    socket.set_nonblocking(true).expect("a socket");
    let stream = tokio::net::TcpStream::from_std(socket.into()).expect("a socket");
    let port = stream.local_addr().expect("an address").port();
    let mut stalled = Raw::upgrade_on(stream, stage.node.address()).await;
    stalled.enter("blue", "stalled").await;
    is_taken_out(stage, port).await;
    drop(stalled);
}

#[tokio::test]
async fn who_was_too_slow_may_come_back_and_is_told_how_things_stand() {
    let mut stage = Stage::set(60).await;
    let mut slow = Peer::join(stage.node.address(), "blue", "stalled").await;
    let heard_nothing_since = slow.last_seq();
    eventually("it is suspect", async || {
        stage.talk().await;
        stage.news[1].iter().any(|heard| heard["user"]["state"] == "suspect").then_some(())
    })
    .await;
    let mut back = Peer::resume(stage.node.address(), &slow.welcome, heard_nothing_since).await;
    assert_eq!(back.expect("Resumed").await["outcome"], "snapshot");
    let last = stage.said;
    stage.talk().await;
    assert_eq!(back.expect("Message").await["data"]["n"], last, "it hears what is said from now on");
    // The old socket gets what was in the kernel's buffers, in order, and its end.
    let closed: Closed = loop {
        match slow.hear().await {
            Heard::Message(_) => {}
            Heard::Closed(closed) => break closed,
        }
    };
    let told = closed.is_none_or(|(code, _)| [4408, 4409].contains(&code));
    assert!(told, "nothing but the truth");
}

/// A child that has joined as `stalled`; killed when dropped, stopped or not.
struct Stalled(Child);

impl Stalled {
    fn join(node: SocketAddr) -> (Self, u16) {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "stalled_child", "--ignored", "--nocapture"])
            .env(NODE_OF_CHILD, node.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts again");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let child = Self(child);
        let mut lines = output.lines().map_while(Result::ok);
        let port = lines.find_map(|line| line.strip_prefix("joined from ")?.parse().ok());
        (child, port.expect("the child has joined"))
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        // Errors are those of a process that has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Not a test: what the child does. It reads as fast as it can, until it is stopped.
#[test]
#[ignore = "run as a child by the tests above"]
fn stalled_child() {
    let Some(node) = setting(NODE_OF_CHILD) else { return };
    let node: SocketAddr = node.parse().expect("an address");
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
        let mut peer = Peer::join(node, "blue", "stalled").await;
        writeln!(std::io::stdout(), "\njoined from {}", peer.port()).expect("somebody reads");
        while let Heard::Message(_) = peer.hear().await {}
    });
}
