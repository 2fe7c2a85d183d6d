//! A TCP proxy on the loopback whose line can fail: cut, silent, slow, and whole again. Between a node and its Redis it is
//! the network.

use std::{net::SocketAddr, sync::mpsc as threads, thread, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

/// Pieces that are on their way in one direction of one connection; then the sender waits.
const PIECES_UNDER_WAY: usize = 64;
const PIECE_BYTES: usize = 16 * 1024;

/// What the line does with what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Passes everything on, this much later.
    Whole { delay: Duration },
    /// Takes everything and passes nothing on; nobody is told. What was taken arrives once the line is whole again, as
    /// TCP would send it again.
    Silent,
    /// Resets every connection, and each new one.
    Cut,
}

/// A proxy to one address; it ends when dropped.
pub struct Proxy {
    address: SocketAddr,
    line: watch::Sender<Line>,
}

impl Proxy {
    /// Starts a proxy to this address, on a thread of its own: a test may wait without holding it up.
    pub fn start(target: SocketAddr) -> Self {
        let (line, watched) = watch::channel(Line::Whole { delay: Duration::ZERO });
        let (listening, address) = threads::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                listening.send(listener.local_addr().expect("bound")).expect("the test waits");
                serve(listener, target, watched).await;
            });
        });
        Self { address: address.recv_timeout(super::DEADLINE).expect("the proxy listens"), line }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resets every connection, and each new one, until the line is healed.
    pub fn cut(&self) {
        self.line.send_replace(Line::Cut);
    }

    /// Takes everything and passes nothing on, until the line is healed.
    pub fn silence(&self) {
        self.line.send_replace(Line::Silent);
    }

    /// Passes everything on, in each direction this much later.
    pub fn delay(&self, delay: Duration) {
        self.line.send_replace(Line::Whole { delay });
    }

    /// Passes everything on at once.
    pub fn heal(&self) {
        self.delay(Duration::ZERO);
    }
}

/// Accepts until the proxy is dropped; the connections end with the runtime.
async fn serve(listener: TcpListener, target: SocketAddr, line: watch::Receiver<Line>) {
    let mut end = line.clone();
    let dropped = async move { while end.changed().await.is_ok() {} };
    let accepting = async {
        loop {
            let (near, _) = listener.accept().await.expect("a connection");
            tokio::spawn(carry(near, target, line.clone()));
        }
    };
    tokio::select! {
        () = dropped => {}
        () = accepting => {}
    }
}

/// Carries one connection until it ends or is cut.
async fn carry(mut near: TcpStream, target: SocketAddr, mut line: watch::Receiver<Line>) {
    let far = if may_pass(&mut line).await { TcpStream::connect(target).await.ok() } else { None };
    let Some(mut far) = far else { return reset(&near) };
    near.set_nodelay(true).expect("a socket");
    far.set_nodelay(true).expect("a socket");
    let mut cut = line.clone();
    let carried = async {
        let ((near_in, near_out), (far_in, far_out)) = (near.split(), far.split());
        tokio::join!(pass(near_in, far_out, line.clone()), pass(far_in, near_out, line.clone()));
    };
    let whole = tokio::select! {
        () = carried => true,
        // An error is a proxy that was dropped.
        _ = cut.wait_for(|line| *line == Line::Cut) => false,
    };
    if !whole {
        reset(&near);
        reset(&far);
    }
}

/// Whoever is at the other end learns of a lost connection, and not of one that has ended, when the stream is dropped.
fn reset(stream: &TcpStream) {
    // An error is a connection that is lost already.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Waits while the line is silent; whether it is whole then.
async fn may_pass(line: &mut watch::Receiver<Line>) -> bool {
    matches!(line.wait_for(|line| *line != Line::Silent).await.as_deref(), Ok(Line::Whole { .. }))
}

/// Passes on what comes from one side to the other, in order and each piece as late as the line was when it came.
async fn pass(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, line: watch::Receiver<Line>) {
    let (pieces, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES_UNDER_WAY);
    let mut seen = line.clone();
    let read = async move {
        loop {
            let mut piece = vec![0; PIECE_BYTES];
            let Ok(bytes @ 1..) = from.read(&mut piece).await else { return };
            piece.truncate(bytes);
            let delay = match *line.borrow() {
                Line::Whole { delay } => delay,
                Line::Silent | Line::Cut => Duration::ZERO,
            };
            if pieces.send((Instant::now() + delay, piece)).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, piece)) = under_way.recv().await {
            sleep_until(due).await;
            if !may_pass(&mut seen).await || to.write_all(&piece).await.is_err() {
                return;
            }
        }
        // The other side has said all it had to say.
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}
