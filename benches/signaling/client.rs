//! A participant as our own page is one: joins, reads, and acknowledges in bulk.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, Utf8Bytes, protocol::WebSocketConfig},
};

/// As `static/js/acks.js` does it.
const ACK_EVERY: u32 = 16;
const ACK_AFTER: Duration = Duration::from_secs(1);
/// For anything that the node should do at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// Small, for thousands of clients in one process.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// A participant in a room.
pub struct Client {
    socket: WebSocketStream<TcpStream>,
    last_seq: u64,
    unacked: u32,
}

impl Client {
    /// Joins a room.
    pub async fn join(node: SocketAddr, room: &str, user: &str) -> anyhow::Result<Self> {
        Self::join_by(TcpSocket::new_v4()?, node, room, user).await
    }

    /// Joins a room with a socket that somebody has prepared.
    pub async fn join_by(
        socket: TcpSocket,
        node: SocketAddr,
        room: &str,
        user: &str,
    ) -> anyhow::Result<Self> {
        timeout(PATIENCE, async {
            let stream = socket.connect(node).await?;
            stream.set_nodelay(true)?;
            let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
            let url = format!("ws://{node}/ws");
            let (socket, _) = client_async_with_config(url, stream, Some(config)).await?;
            let mut client = Self { socket, last_seq: 0, unacked: 0 };
            client
                .send(format!(r#"{{"type":"Join","room_name":"{room}","user_id":"{user}"}}"#).into())
                .await?;
            client.next_of("RoomJoined").await?;
            Ok(client)
        })
        .await
        .context("no answer to a Join")?
    }

    /// Sends one message.
    pub async fn send(&mut self, text: Utf8Bytes) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::Text(text)).await?)
    }

    /// The next message of the node. Dropping the future loses nothing.
    pub async fn next(&mut self) -> anyhow::Result<Utf8Bytes> {
        loop {
            if self.unacked >= ACK_EVERY {
                self.acknowledge().await?;
            }
            let Some(message) = self.socket.next().await else { bail!("the node has closed") };
            let Message::Text(text) = message? else { continue };
            self.last_seq = seq(&text).context("a message without seq")?;
            self.unacked += 1;
            if kind(&text) == "Error" {
                bail!("the node refuses: {text}");
            }
            return Ok(text);
        }
    }

    /// The next message of this kind; others are passed over.
    pub async fn next_of(&mut self, wanted: &str) -> anyhow::Result<Utf8Bytes> {
        loop {
            let text = self.next().await?;
            if kind(&text) == wanted {
                return Ok(text);
            }
        }
    }

    /// Reads and acknowledges for as long as it is polled.
    pub async fn idle(&mut self) -> anyhow::Result<()> {
        loop {
            match timeout(ACK_AFTER, self.next()).await {
                Ok(message) => drop(message?),
                Err(_) if self.unacked > 0 => self.acknowledge().await?,
                Err(_) => {}
            }
        }
    }

    /// Leaves the room and closes the socket.
    pub async fn leave(mut self) -> anyhow::Result<()> {
        self.send(r#"{"type":"Leave"}"#.into()).await?;
        self.socket.close(None).await?;
        // The node's own close is enough; the end of the stream comes up to a second later.
        let ended = async {
            while let Some(Ok(message)) = self.socket.next().await
                && !message.is_close()
            {}
        };
        timeout(PATIENCE, ended).await.context("the node does not close")
    }

    async fn acknowledge(&mut self) -> anyhow::Result<()> {
        self.unacked = 0;
        self.send(format!(r#"{{"type":"Ack","seq":{}}}"#, self.last_seq).into()).await
    }
}

/// The number of a message: the node writes it first.
fn seq(text: &str) -> Option<u64> {
    text.strip_prefix(r#"{"seq":"#)?.split_once(',')?.0.parse().ok()
}

/// The `type` of a message: the node writes it second.
pub fn kind(text: &str) -> &str {
    text.split_once(r#""type":""#).and_then(|(_, rest)| rest.split_once('"')).map_or("", |(kind, _)| kind)
}
