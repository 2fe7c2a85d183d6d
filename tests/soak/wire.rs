//! Nodes that may be gone at any moment, and connections to them. Whatever ends without an answer is `None`.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use crate::support::Chance;

/// After which a node that says nothing counts as gone, as for a page.
pub const SILENCE: Duration = Duration::from_secs(20);

/// Where nodes listen, whether they run or not.
pub struct Nodes(Vec<SocketAddr>);

impl Nodes {
    /// Of all nodes.
    pub fn new(addresses: Vec<SocketAddr>) -> Self {
        Self(addresses)
    }

    /// Any of them, as behind a balancer.
    pub fn any(&self, chance: &mut Chance) -> SocketAddr {
        *chance.pick(&self.0)
    }
}

/// A socket of a recorder.
pub struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// Opens one.
    pub async fn open(node: SocketAddr) -> Option<Self> {
        let opening = async {
            let stream = TcpStream::connect(node).await.ok()?;
            stream.set_nodelay(true).ok()?;
            client_async(format!("ws://{node}/recording"), stream).await.ok()
        };
        timeout(SILENCE, opening).await.ok()?.map(|(socket, _)| Self(socket))
    }

    /// Sends a message.
    pub async fn say(&mut self, message: &Value) -> Option<()> {
        self.send(Message::text(message.to_string())).await
    }

    /// Sends a frame with a chunk.
    pub async fn send_frame(&mut self, frame: Vec<u8>) -> Option<()> {
        self.send(Message::binary(frame)).await
    }

    async fn send(&mut self, message: Message) -> Option<()> {
        timeout(SILENCE, self.0.send(message)).await.ok()?.ok()
    }

    /// The next event. May be dropped while it waits: nothing is lost.
    pub async fn hear(&mut self) -> Option<Value> {
        loop {
            match self.0.next().await?.ok()? {
                Message::Text(text) => return Some(serde_json::from_str(text.as_str()).expect("JSON")),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }
}

/// Sends a request on a connection of its own. The status and the body.
pub async fn call(node: SocketAddr, line: &str, bearer: &str, body: &[u8]) -> Option<(u16, Value)> {
    let exchange = async {
        let mut stream = TcpStream::connect(node).await.ok()?;
        let head = format!(
            "{line} HTTP/1.1\r\nHost: {node}\r\nConnection: close\r\nAuthorization: Bearer {bearer}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        // What was cut off says nothing.
        Some((head.split(' ').nth(1)?.parse().ok()?, serde_json::from_str(body).ok()?))
    };
    // A node waits for its stores as long as that, and tells.
    timeout(SILENCE * 2, exchange).await.ok()?
}
