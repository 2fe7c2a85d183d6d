//! The same bytes by either way: as a message of a participant, or bare over TCP.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::client::Client;

/// Sends and receives one and the same message, again and again.
pub trait Way: 'static {
    /// Sends it once.
    async fn send(&mut self) -> anyhow::Result<()>;
    /// Receives it once.
    async fn receive(&mut self) -> anyhow::Result<()>;
}

/// Message and recipients in words of the wire.
#[derive(Clone)]
pub struct Signal {
    /// Its `type`.
    pub kind: &'static str,
    /// All of it.
    pub text: Utf8Bytes,
}

/// A participant of a room.
pub struct Member {
    client: Client,
    signal: Signal,
}

impl Member {
    /// Joins the room.
    pub async fn join(node: SocketAddr, room: &str, user: &str, signal: &Signal) -> anyhow::Result<Self> {
        Ok(Self { client: Client::join(node, room, user).await?, signal: signal.clone() })
    }

    /// Leaves it.
    pub async fn leave(self) -> anyhow::Result<()> {
        self.client.leave().await
    }
}

impl Way for Member {
    async fn send(&mut self) -> anyhow::Result<()> {
        self.client.send(self.signal.text.clone()).await
    }

    async fn receive(&mut self) -> anyhow::Result<()> {
        self.client.next_of(self.signal.kind).await.map(drop)
    }
}

/// A sender and a receiver of one room.
pub struct Pair {
    /// Only sends.
    pub sender: Member,
    /// Only receives.
    pub receiver: Member,
}

impl Way for Pair {
    async fn send(&mut self) -> anyhow::Result<()> {
        self.sender.send().await
    }

    async fn receive(&mut self) -> anyhow::Result<()> {
        self.receiver.receive().await
    }
}

/// A bare connection.
pub struct Line {
    stream: BufReader<TcpStream>,
    message: Vec<u8>,
    back: Vec<u8>,
}

impl Line {
    /// Connects.
    pub async fn connect(server: SocketAddr, signal: &Signal) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let message = signal.text.as_bytes().to_vec();
        Ok(Self { stream: BufReader::new(stream), back: vec![0; message.len()], message })
    }
}

impl Way for Line {
    async fn send(&mut self) -> anyhow::Result<()> {
        Ok(self.stream.write_all(&self.message).await?)
    }

    async fn receive(&mut self) -> anyhow::Result<()> {
        self.stream.read_exact(&mut self.back).await?;
        Ok(())
    }
}
