//! A socket that speaks WebSocket by hand (RFC 6455 §5.2), and so can break every rule of it.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::{
    Closed,
    http::{Answer, request},
    within,
};

const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

/// A frame as a client must send it: `first` is the first byte, with FIN, reserved bits and opcode.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64);
    bytes.extend(masked(payload));
    bytes
}

/// The header of a masked frame that declares so many bytes of payload.
pub fn header(first: u8, declared: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match declared {
        0..=125 => bytes.push(0x80 | u8::try_from(declared).expect("small")),
        126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(declared).expect("small").to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(declared.to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes
}

/// Payload as it goes on the wire.
pub fn masked(payload: &[u8]) -> Vec<u8> {
    payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
}

/// A TCP connection to a node's `/ws`.
pub struct Raw {
    read: OwnedReadHalf,
    /// `None` once this side has ended.
    write: Option<OwnedWriteHalf>,
    buffer: Vec<u8>,
}

impl Raw {
    /// Connects and upgrades.
    pub async fn upgrade(address: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await;
        Self::upgrade_on(stream.expect("the node accepts connections"), address).await
    }

    /// Connects and upgrades with these further header lines.
    pub async fn upgrade_with(address: SocketAddr, headers: &str) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await;
        let stream = stream.expect("the node accepts connections");
        Self::upgrade_by(stream, &handshake_with(address, headers)).await
    }

    /// Connects and upgrades as a recorder.
    pub async fn recorder(address: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await;
        let handshake = handshake(address).replacen("/ws", "/recording", 1);
        Self::upgrade_by(stream.expect("the node accepts connections"), &handshake).await
    }

    /// Upgrades a connection that somebody has made.
    pub async fn upgrade_on(stream: TcpStream, address: SocketAddr) -> Self {
        Self::upgrade_by(stream, &handshake(address)).await
    }

    async fn upgrade_by(stream: TcpStream, handshake: &str) -> Self {
        let (read, write) = stream.into_split();
        let mut raw = Self { read, write: Some(write), buffer: Vec::new() };
        raw.write(handshake.as_bytes()).await;
        let head = within("a handshake", raw.read_head()).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        raw
    }

    /// Upgrades and joins a room.
    pub async fn join(address: SocketAddr, room: &str, user: &str) -> Self {
        let mut raw = Self::upgrade(address).await;
        raw.enter(room, user).await;
        raw
    }

    /// Joins a room.
    pub async fn enter(&mut self, room: &str, user: &str) {
        let join = format!(r#"{{"type":"Join","room_name":"{room}","user_id":"{user}"}}"#);
        self.write(&frame(0x81, join.as_bytes())).await;
        let welcome = self.next_message().await;
        assert_eq!(welcome["type"], "RoomJoined", "{welcome}");
    }

    async fn read_head(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.buffer.drain(..end + 4).collect();
                return String::from_utf8(head).expect("text");
            }
            assert!(self.more().await, "the node answers the handshake");
        }
    }

    /// Writes bytes. The node may have ended the connection meanwhile; that shows when reading.
    pub async fn write(&mut self, bytes: &[u8]) {
        let Some(write) = &mut self.write else { panic!("this side has ended") };
        let _ = within("bytes are taken", write.write_all(bytes)).await;
    }

    /// Takes the writing half, for who must read meanwhile.
    pub fn take_writer(&mut self) -> OwnedWriteHalf {
        self.write.take().expect("not taken yet")
    }

    /// Ends this side of the connection, without a word of WebSocket.
    pub fn end_sending(&mut self) {
        self.write = None;
    }

    /// Reads once; `false` at the end.
    async fn more(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        match within("bytes to read", self.read.read(&mut piece)).await {
            Ok(read @ 1..) => {
                self.buffer.extend_from_slice(&piece[..read]);
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// The next frame, as its first byte and payload; `None` at the end of the connection.
    pub async fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((first, start, end)) = whole_frame(&self.buffer) {
                let payload = self.buffer[start..end].to_vec();
                self.buffer.drain(..end);
                return Some((first, payload));
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// The next text message.
    pub async fn next_message(&mut self) -> Value {
        loop {
            match self.next_frame().await {
                Some((0x81, payload)) => return serde_json::from_slice(&payload).expect("JSON"),
                Some((0x89 | 0x8a, _)) => {}
                other => panic!("a text message is expected: {other:?}"),
            }
        }
    }

    /// Reads to the end of the connection; the codes of `Error` messages on the way, and how it was closed.
    pub async fn ending(&mut self) -> (Vec<String>, Closed) {
        // Pings may come all the way.
        within("the end of the connection", self.read_out()).await
    }

    async fn read_out(&mut self) -> (Vec<String>, Closed) {
        let (mut errors, mut closed) = (Vec::new(), None);
        while let Some((first, payload)) = self.next_frame().await {
            assert!(closed.is_none(), "nothing follows a close: {first:#x}");
            match first {
                0x81 => {
                    let message: Value = serde_json::from_slice(&payload).expect("JSON");
                    errors.extend(message["code"].as_str().map(str::to_owned));
                }
                0x88 => {
                    closed = Some(close_reason(&payload));
                    self.end_sending();
                }
                0x89 | 0x8a => {}
                other => panic!("a frame that no node sends: {other:#x}"),
            }
        }
        (errors, closed)
    }
}

/// Asks for a WebSocket with these further header lines and reads the refusal to its end.
pub async fn knock(address: SocketAddr, headers: &str) -> Answer {
    let request_text = handshake_with(address, &format!("{headers}Accept: application/json\r\n"));
    request(address, request_text.as_bytes()).await
}

fn handshake(address: SocketAddr) -> String {
    handshake_with(address, "")
}

fn handshake_with(address: SocketAddr, headers: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    )
}

fn close_reason(payload: &[u8]) -> (u16, String) {
    match payload {
        [high, low, reason @ ..] => {
            (u16::from_be_bytes([*high, *low]), String::from_utf8(reason.to_vec()).expect("text"))
        }
        _ => (1005, String::new()),
    }
}

/// First byte, and where the payload begins and ends, of the frame at the front of the buffer. A node masks nothing.
fn whole_frame(buffer: &[u8]) -> Option<(u8, usize, usize)> {
    let (&first, &second) = (buffer.first()?, buffer.get(1)?);
    assert!(second & 0x80 == 0, "a node never masks (RFC 6455 §5.1)");
    let (start, length) = match second {
        126 => (4, usize::from(u16::from_be_bytes([*buffer.get(2)?, *buffer.get(3)?]))),
        127 => {
            let eight: [u8; 8] = buffer.get(2..10)?.try_into().ok()?;
            (10, usize::try_from(u64::from_be_bytes(eight)).ok()?)
        }
        short => (2, usize::from(short)),
    };
    (buffer.len() >= start + length).then_some((first, start, start + length))
}
