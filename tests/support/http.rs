//! HTTP requests to a node, one connection each.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::within;

/// What a node answered.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Status line and headers, in lower case.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// `GET path`.
pub async fn get(address: SocketAddr, path: &str) -> Answer {
    let text = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    request(address, text.as_bytes()).await
}

/// Sends these bytes and reads the answer.
pub async fn request(address: SocketAddr, bytes: &[u8]) -> Answer {
    try_request(address, bytes).await.expect("the node answers")
}

/// Sends these bytes and reads the answer; `None` when the connection ends without one.
pub async fn try_request(address: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("the node accepts connections");
        let mut answer = Vec::new();
        // A node that has refused reads no further and may reset the connection; what it said before counts.
        let _ = stream.write_all(bytes).await;
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).expect("the answer is text")
    };
    let answer = within("an answer over HTTP", exchange).await;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Some(Answer {
        status: status.unwrap_or_else(|| panic!("no status: {answer}")),
        head: head.to_lowercase(),
        body: body.to_owned(),
    })
}

/// `GET /api/rooms/{room}` as JSON; fails when nobody is in.
pub async fn roster(address: SocketAddr, room: &str) -> Value {
    let answer = get(address, &format!("/api/rooms/{room}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// A series of `/metrics`, such as `greenroom_sockets{kind="peer"}`; 0 while there is none.
pub async fn metric(address: SocketAddr, series: &str) -> f64 {
    let answer = get(address, "/metrics").await;
    let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.trim().parse().ok();
    answer.body.lines().find_map(value).unwrap_or(0.0)
}
