//! As much of HTTP as an uploader needs, on a connection that stays open.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

/// A connection.
pub struct Http {
    stream: BufReader<TcpStream>,
}

impl Http {
    /// Opens it.
    pub async fn connect(node: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(node).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a request and reads the body of its answer, which must be a success. `headers` end with their lines.
    pub async fn send(&mut self, line: &str, headers: &str, body: &[u8]) -> anyhow::Result<String> {
        let length = body.len();
        let head = format!("{line} HTTP/1.1\r\nHost: bench\r\nContent-Length: {length}\r\n{headers}\r\n");
        self.stream.write_all(head.as_bytes()).await?;
        self.stream.write_all(body).await?;
        let status = self.line().await?;
        let mut length = 0;
        loop {
            let header = self.line().await?.to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        let body = String::from_utf8(body)?;
        if status.starts_with("HTTP/1.1 2") { Ok(body) } else { bail!("{line}: {status} {body}") }
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        Ok(line.strip_suffix("\r\n").context("the node ended the connection")?.to_owned())
    }
}
