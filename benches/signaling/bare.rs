//! What everything is compared with: bytes in, the same bytes out, on this machine at this time.

use std::{fs, io, net::SocketAddr, sync::mpsc, thread, time::Duration};

use anyhow::Context as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Builder,
    task::LocalSet,
};

use crate::node::thread_cpu;

/// Largest piece that is read and written at once. Unit: bytes.
const PIECE_BYTES: usize = 16 * 1024;

/// To whom bytes go.
#[derive(Debug, Clone, Copy)]
pub enum Duty {
    /// Back to whom they came from.
    Echo,
    /// From whom came first to so many who came after.
    FanOut(usize),
}

/// A bare TCP server on a thread of its own, which lasts as long as the bench.
pub struct Bare {
    address: SocketAddr,
    thread: String,
}

impl Bare {
    /// Starts it.
    pub fn start(duty: Duty) -> anyhow::Result<Self> {
        let (started, starts) = mpsc::sync_channel(1);
        thread::Builder::new().name("bare".into()).spawn(move || serve(duty, &started))?;
        let (address, thread) = starts.recv().context("the bare server does not start")?;
        Ok(Self { address, thread })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// CPU that it has used.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        thread_cpu(&self.thread)
    }
}

fn serve(duty: Duty, started: &mpsc::SyncSender<(SocketAddr, String)>) -> io::Result<()> {
    let thread = format!("/proc/{}", fs::read_link("/proc/thread-self")?.display());
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        // The bench waits for it.
        let _ = started.send((listener.local_addr()?, thread));
        match duty {
            Duty::Echo => echo(&listener).await,
            Duty::FanOut(listeners) => fan_out(&listener, listeners).await,
        }
    })
}

async fn echo(listener: &TcpListener) -> io::Result<()> {
    loop {
        let mut stream = accept(listener).await?;
        tokio::task::spawn_local(async move {
            let mut piece = vec![0; PIECE_BYTES];
            while let Ok(read @ 1..) = stream.read(&mut piece).await {
                stream.write_all(&piece[..read]).await?;
            }
            io::Result::Ok(())
        });
    }
}

async fn fan_out(listener: &TcpListener, listeners: usize) -> io::Result<()> {
    let mut talker = accept(listener).await?;
    let mut streams = Vec::new();
    for _ in 0..listeners {
        streams.push(accept(listener).await?);
    }
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(read @ 1..) = talker.read(&mut piece).await {
        for stream in &mut streams {
            stream.write_all(&piece[..read]).await?;
        }
    }
    Ok(())
}

async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
