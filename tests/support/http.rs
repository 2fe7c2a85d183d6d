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

/// What a node answered, byte for byte.
pub struct Download {
    /// The status code.
    pub status: u16,
    /// Status line and headers, as they came.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Download {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let line =
            |line: &str| line.split_once(':').is_some_and(|(found, _)| found.eq_ignore_ascii_case(name));
        let found = self.head.lines().find(|candidate| line(candidate))?;
        found.split_once(':').map(|(_, value)| value.trim())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The status, and the code of the problem where there is one.
    pub fn refusal(&self) -> (u16, String) {
        let code = serde_json::from_slice::<Value>(&self.body).ok();
        let code = code.and_then(|problem| problem["code"].as_str().map(str::to_owned));
        (self.status, code.unwrap_or_default())
    }
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let begin = String::from_utf8_lossy(&self.body[..self.body.len().min(500)]);
        write!(f, "{}\n\n{begin} ({} bytes)", self.head, self.body.len())
    }
}

/// Any request, with its length, these further header lines and this body.
pub async fn send(
    address: SocketAddr,
    request_line: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Download {
    try_send(address, request_line, headers, body).await.expect("the node answers")
}

/// The same to a node that may die of it.
pub async fn try_send(
    address: SocketAddr,
    request_line: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<Download> {
    let mut bytes = format!("{request_line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        bytes.push_str(&format!("{name}: {value}\r\n"));
    }
    if !request_line.starts_with("GET ") && !request_line.starts_with("HEAD ") {
        bytes.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    bytes.push_str("\r\n");
    download(&exchange(address, &[bytes.as_bytes(), body].concat()).await)
}

/// Sends these bytes and reads the answer; `None` when the connection ends without one.
pub async fn try_download(address: SocketAddr, bytes: &[u8]) -> Option<Download> {
    download(&exchange(address, bytes).await)
}

fn download(answer: &[u8]) -> Option<Download> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8(answer[..end].to_vec()).expect("a head is text");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status: {head}"));
    Some(Download { status, head, body: answer[end + 4..].to_vec() })
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
    let answer = String::from_utf8(exchange(address, bytes).await).expect("the answer is text");
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Some(Answer {
        status: status.unwrap_or_else(|| panic!("no status: {answer}")),
        head: head.to_lowercase(),
        body: body.to_owned(),
    })
}

async fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("the node accepts connections");
        let mut answer = Vec::new();
        // A node that has refused reads no further and may reset the connection; what it said before counts.
        let _ = stream.write_all(bytes).await;
        let _ = stream.read_to_end(&mut answer).await;
        answer
    };
    within("an answer over HTTP", exchange).await
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
