//! A recorder as our own page is one, but for what it would cost: its frames are masked with zeros, and the checksum of
//! a chunk that is sent again and again is made once.

use std::{cell::RefCell, convert::Infallible, net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail, ensure};
use bytes::{Buf, Bytes};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Semaphore,
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::client_async;

use crate::{
    http::Http,
    media::{Media, WEBM},
};

/// For anything but a merge.
const PATIENCE: Duration = Duration::from_secs(30);

/// Chunks that a node takes before it has acknowledged one.
const WINDOW: u32 = 8;

/// What a chunk holds, and its checksum.
#[derive(Clone)]
pub struct Payload {
    bytes: Bytes,
    crc: u32,
}

impl Payload {
    /// Of these bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let crc = crc32c::crc32c(&bytes);
        Self { bytes, crc }
    }

    /// So many bytes that begin as WebM does; the node looks no further.
    pub fn any(bytes: usize) -> Self {
        let mut state = 1_u32;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        });
        Self::new([0x1a, 0x45, 0xdf, 0xa3].into_iter().chain(noise).take(bytes).collect::<Vec<_>>())
    }

    /// Of the bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// A recorder on a socket, with a recording of its own.
pub struct Recorder {
    node: SocketAddr,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    /// The recording's name.
    pub id: String,
    token: String,
    next: u32,
}

/// One whose socket is gone.
pub struct Lost {
    node: SocketAddr,
    token: String,
}

impl Lost {
    /// Connects again and goes on.
    pub async fn come_back(self) -> anyhow::Result<Recorder> {
        let token = self.token;
        let start = json!({ "type": "start", "mimeType": WEBM, "framing": "indexed", "uploadToken": token });
        Recorder::begin(self.node, start).await
    }
}

impl Recorder {
    /// Connects and starts a recording.
    pub async fn start(node: SocketAddr, mime_type: &str) -> anyhow::Result<Self> {
        Self::begin(node, json!({ "type": "start", "mimeType": mime_type, "framing": "indexed" })).await
    }

    /// Loses its socket.
    pub fn lose(self) -> Lost {
        Lost { node: self.node, token: self.token }
    }

    async fn begin(node: SocketAddr, start: Value) -> anyhow::Result<Self> {
        let starting = async {
            let stream = TcpStream::connect(node).await?;
            stream.set_nodelay(true)?;
            // The node says nothing before it is told to start, so nothing is left behind.
            let (socket, _) = client_async(format!("ws://{node}/recording"), stream).await?;
            let (reader, writer) = socket.into_inner().into_split();
            let reader = BufReader::new(reader);
            let mut recorder =
                Self { node, reader, writer, id: String::new(), token: String::new(), next: 0 };
            recorder.say(&start).await?;
            let started = recorder.hear().await?;
            recorder.next = u32::try_from(started["nextIndex"].as_u64().unwrap_or(0))?;
            recorder.id = text(&started, "recordId")?;
            recorder.token = text(&started, "uploadToken")?;
            anyhow::Ok(recorder)
        };
        timeout(PATIENCE, starting).await.context("no answer to a start")?
    }

    /// Says something.
    pub async fn say(&mut self, message: &Value) -> anyhow::Result<()> {
        let message = message.to_string();
        let frame = [&frame_header(1, message.len())[..], message.as_bytes()].concat();
        Ok(self.writer.write_all(&frame).await?)
    }

    /// What the node says next.
    pub async fn hear(&mut self) -> anyhow::Result<Value> {
        hear(&mut self.reader).await
    }

    /// Sends the same chunk again and again until `end`, or so many of them, `window` of them unacknowledged. Returns
    /// how long each took from its first byte to its acknowledgement.
    pub async fn drive(
        &mut self,
        payload: &Payload,
        window: u32,
        end: Instant,
        most: usize,
    ) -> anyhow::Result<Vec<Duration>> {
        self.send(|_| Ok(payload.clone()), window, end, most).await
    }

    /// Sends all chunks of a recording and waits until they are acknowledged.
    pub async fn record(&mut self, media: &Media) -> anyhow::Result<()> {
        let chunks = usize::try_from(media.chunks - self.next)?;
        let sent = self.send(|index| media.chunk(index), WINDOW, Instant::now() + PATIENCE, chunks).await?;
        ensure!(sent.len() == chunks, "not all chunks were acknowledged in time");
        Ok(())
    }

    /// Sends the first chunks of a recording as a browser does, one in each second from then on. Returns how long each took
    /// until it was acknowledged.
    pub async fn pace(
        &mut self,
        media: &Media,
        begins: Instant,
        seconds: u32,
    ) -> anyhow::Result<Vec<Duration>> {
        let mut latencies = Vec::new();
        for second in 0..seconds {
            sleep_until(begins + Duration::from_secs(1) * second).await;
            let sent = self.send(|index| media.chunk(index), 1, Instant::now() + PATIENCE, 1).await?;
            latencies.extend(sent);
        }
        Ok(latencies)
    }

    async fn send(
        &mut self,
        payload: impl Fn(u32) -> anyhow::Result<Payload>,
        window: u32,
        end: Instant,
        most: usize,
    ) -> anyhow::Result<Vec<Duration>> {
        let first = self.next;
        let begun = RefCell::new(Vec::<Instant>::new());
        let latencies = RefCell::new(Vec::new());
        let free = Semaphore::new(usize::try_from(window)?);
        let (reader, writer, next) = (&mut self.reader, &mut self.writer, &mut self.next);
        let sending = async {
            while Instant::now() < end && begun.borrow().len() < most {
                free.acquire().await?.forget();
                begun.borrow_mut().push(Instant::now());
                let payload = payload(*next)?;
                let header = chunk_header(*next, &payload);
                write(writer, &header, &payload).await?;
                *next += 1;
            }
            // All that was sent is acknowledged.
            free.acquire_many(window).await?.forget();
            anyhow::Ok(())
        };
        let mut hearing = async || -> anyhow::Result<Infallible> {
            loop {
                let index = acknowledged(&hear(reader).await?)?;
                let at = usize::try_from(index.checked_sub(first).context("an old chunk")?)?;
                let began = *begun.borrow().get(at).context("a chunk that was never sent")?;
                latencies.borrow_mut().push(began.elapsed());
                free.add_permits(1);
            }
        };
        tokio::select! {
            sent = sending => sent?,
            Err(lost) = hearing() => return Err(lost),
        }
        Ok(latencies.into_inner())
    }

    /// Says that all of this was sent.
    pub async fn stop(&mut self, media: &Media) -> anyhow::Result<()> {
        let (id, chunks, bytes) = (&self.id, media.chunks, media.bytes());
        self.say(&json!({ "type": "stop", "recordId": id, "chunks": chunks, "bytes": bytes })).await
    }

    /// A way to put chunks into the same recording.
    pub async fn uploader(&self) -> anyhow::Result<Uploader> {
        self.uploader_at(self.node).await
    }

    /// The same by way of this node.
    pub async fn uploader_at(&self, node: SocketAddr) -> anyhow::Result<Uploader> {
        let http = Http::connect(node).await?;
        Ok(Uploader { http, id: self.id.clone(), token: self.token.clone() })
    }

    /// Takes the recording away, with all its chunks.
    pub async fn discard(self) -> anyhow::Result<()> {
        let mut uploader = self.uploader().await?;
        timeout(PATIENCE, uploader.delete()).await.context("a recording does not go away")?
    }
}

/// One connection over which chunks are put into a recording.
pub struct Uploader {
    http: Http,
    id: String,
    token: String,
}

impl Uploader {
    /// Puts a chunk and waits until it is acknowledged.
    pub async fn put(&mut self, index: u32, payload: &Payload) -> anyhow::Result<()> {
        let line = format!("PUT /recordings/{}/chunks/{index}", self.id);
        let headers = format!(
            "Authorization: Bearer {}\r\nX-Checksum-Crc32c: {:08x}\r\nX-Segment-Start: {}\r\n",
            self.token,
            payload.crc,
            index == 0
        );
        self.http.send(&line, &headers, &payload.bytes).await.map(drop)
    }

    /// Puts the same chunk again and again until `end`, or so many of them; see [`Recorder::drive`].
    pub async fn drive(
        &mut self,
        payload: &Payload,
        end: Instant,
        most: usize,
    ) -> anyhow::Result<Vec<Duration>> {
        let mut latencies = Vec::new();
        while Instant::now() < end && latencies.len() < most {
            let began = Instant::now();
            self.put(u32::try_from(latencies.len())?, payload).await?;
            latencies.push(began.elapsed());
        }
        Ok(latencies)
    }

    async fn delete(&mut self) -> anyhow::Result<()> {
        let line = format!("DELETE /recordings/{}", self.id);
        let headers = format!("Authorization: Bearer {}\r\n", self.token);
        self.http.send(&line, &headers, b"").await.map(drop)
    }
}

async fn write(writer: &mut OwnedWriteHalf, header: &[u8], payload: &Payload) -> anyhow::Result<()> {
    let mut frame = Buf::chain(header, payload.bytes.clone());
    Ok(writer.write_all_buf(&mut frame).await?)
}

/// What stands before a chunk's payload: the frame's header, and the chunk's own 20 bytes.
fn chunk_header(index: u32, payload: &Payload) -> Vec<u8> {
    let mut header = frame_header(2, 20 + payload.len());
    header.extend_from_slice(b"GR\x01");
    header.push(u8::from(index == 0));
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    for word in [index, index.wrapping_mul(1000), length, payload.crc] {
        header.extend_from_slice(&word.to_be_bytes());
    }
    header
}

/// A whole message in one frame, masked with zeros (RFC 6455 §5.2).
fn frame_header(opcode: u8, length: usize) -> Vec<u8> {
    let mut header = vec![0x80 | opcode];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..=125), _) => header.push(0x80 | short),
        (_, Ok(middle)) => {
            header.push(0x80 | 126);
            header.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    header.extend_from_slice(&[0; 4]);
    header
}

async fn hear(reader: &mut BufReader<OwnedReadHalf>) -> anyhow::Result<Value> {
    loop {
        let opcode = reader.read_u8().await? & 0x0f;
        let length = match reader.read_u8().await? {
            126 => u64::from(reader.read_u16().await?),
            127 => reader.read_u64().await?,
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length)?];
        reader.read_exact(&mut payload).await?;
        match opcode {
            1 => return Ok(serde_json::from_slice(&payload)?),
            8 => bail!("the node closes: {}", String::from_utf8_lossy(payload.get(2..).unwrap_or_default())),
            _ => {}
        }
    }
}

fn acknowledged(event: &Value) -> anyhow::Result<u32> {
    if event["type"] != "chunkAck" {
        bail!("the node says {event} instead of a chunkAck");
    }
    Ok(u32::try_from(event["index"].as_u64().context("an ack without its index")?)?)
}

fn text(event: &Value, field: &str) -> anyhow::Result<String> {
    Ok(event[field].as_str().with_context(|| format!("the node says {event}"))?.to_owned())
}
