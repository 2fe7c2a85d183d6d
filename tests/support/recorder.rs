//! A scripted recorder: over a WebSocket, and over HTTP alone.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use super::{
    Closed, Heard, eventually,
    http::{Download, get, send, try_send},
    media::assert_recorded,
    within,
};

/// The media type of what the tests record unless they say otherwise.
pub const WEBM: &str = "video/webm;codecs=vp8,opus";

/// One socket of one recorder.
pub struct Recorder {
    socket: WebSocketStream<TcpStream>,
    /// `started` as it came; null before.
    pub started: Value,
}

impl Recorder {
    /// Opens a socket and says nothing.
    pub async fn connect(address: SocketAddr) -> Self {
        let opening = async {
            let stream = TcpStream::connect(address).await.expect("the node accepts connections");
            stream.set_nodelay(true).expect("a socket");
            client_async(format!("ws://{address}/recording"), stream).await.expect("the node upgrades").0
        };
        Self { socket: within("a WebSocket", opening).await, started: Value::Null }
    }

    /// Opens a socket and starts a recording of WebM, with places of its own for chunks, and with these fields.
    pub async fn start(address: SocketAddr, fields: Value) -> Self {
        let mut recorder = Self::connect(address).await;
        recorder.begin(fields).await;
        recorder
    }

    /// Opens a socket and goes on with the recording that gave out this token.
    pub async fn go_on(address: SocketAddr, token: &str) -> Self {
        Self::start(address, json!({ "uploadToken": token })).await
    }

    /// Starts by the socket that is open.
    pub async fn begin(&mut self, fields: Value) {
        self.ask_to_begin(fields).await;
        self.started = self.expect("started").await;
    }

    /// Says `start` with these fields, and awaits nothing.
    pub async fn ask_to_begin(&mut self, fields: Value) {
        let mut start = json!({ "type": "start", "mimeType": WEBM, "framing": "indexed" });
        for (name, value) in fields.as_object().expect("fields") {
            start[name] = value.clone();
        }
        self.send(start).await;
    }

    /// The recording's name.
    pub fn id(&self) -> String {
        self.started["recordId"].as_str().expect("started").to_owned()
    }

    /// The recording's token.
    pub fn token(&self) -> String {
        self.started["uploadToken"].as_str().expect("started").to_owned()
    }

    /// Sends a message.
    pub async fn send(&mut self, message: Value) {
        self.send_frame(Message::text(message.to_string())).await;
    }

    /// Sends a message of any kind.
    pub async fn send_frame(&mut self, message: Message) {
        within("a message is taken", self.socket.send(message)).await.expect("the socket is open");
    }

    /// Sends a chunk with its place to a node that may be gone; its socket then ends.
    pub async fn try_chunk(&mut self, index: u32, bytes: &[u8]) {
        self.try_bytes(chunk_frame(index, bytes)).await;
    }

    /// The same with bytes as they are.
    pub async fn try_bytes(&mut self, bytes: Vec<u8>) {
        let _ = within("a message is taken", self.socket.send(Message::binary(bytes))).await;
    }

    /// Says how much was recorded, to a node that may be gone.
    pub async fn try_stop(&mut self, made: Value) {
        let mut stop = json!({ "type": "stop", "recordId": self.id() });
        for (name, value) in made.as_object().expect("fields") {
            stop[name] = value.clone();
        }
        let _ = within("a message is taken", self.socket.send(Message::text(stop.to_string()))).await;
    }

    /// Sends bytes as they are, as a chunk of raw framing or a frame made elsewhere.
    pub async fn send_bytes(&mut self, bytes: Vec<u8>) {
        self.send_frame(Message::binary(bytes)).await;
    }

    /// Sends a chunk with its place; the first begins a segment.
    pub async fn chunk(&mut self, index: u32, bytes: &[u8]) {
        self.send_bytes(chunk_frame(index, bytes)).await;
    }

    /// Sends a chunk and hears that it is stored.
    pub async fn store(&mut self, index: u32, bytes: &[u8]) {
        self.chunk(index, bytes).await;
        self.expect_ack(index).await;
    }

    /// Sends chunks one after the other, each once the one before is stored.
    pub async fn store_all(&mut self, from: u32, chunks: &[Vec<u8>]) {
        for (index, bytes) in (from..).zip(chunks) {
            self.store(index, bytes).await;
        }
    }

    /// Says how much was recorded.
    pub async fn stop(&mut self, made: Value) {
        let mut stop = json!({ "type": "stop", "recordId": self.id() });
        for (name, value) in made.as_object().expect("fields") {
            stop[name] = value.clone();
        }
        self.send(stop).await;
    }

    /// Says that everything of `chunks` was sent, and waits for the video.
    pub async fn stop_and_wait(&mut self, chunks: &[Vec<u8>]) -> Value {
        let bytes: usize = chunks.iter().map(Vec::len).sum();
        self.stop(json!({ "chunks": chunks.len(), "bytes": bytes })).await;
        assert_eq!(self.expect("finished").await["chunks"], chunks.len());
        self.ready().await
    }

    /// Waits for the video; until then there is nothing but rising progress.
    pub async fn ready(&mut self) -> Value {
        self.progress_and_ready().await.1
    }

    /// The same with every percentage on the way.
    pub async fn progress_and_ready(&mut self) -> (Vec<u64>, Value) {
        let mut percents = Vec::new();
        loop {
            let event = self.next().await;
            match event["type"].as_str() {
                Some("mergeProgress") => {
                    let percent = event["percent"].as_u64().expect("a whole number");
                    assert!(percent <= 100, "{event}");
                    assert!(percents.last().is_none_or(|last| *last < percent), "{percents:?}, {event}");
                    percents.push(percent);
                }
                Some("recordingReady") => return (percents, event),
                _ => panic!("the video is awaited: {event}"),
            }
        }
    }

    /// What comes next.
    pub async fn hear(&mut self) -> Heard {
        within("something to hear", self.next_or_end()).await
    }

    async fn next_or_end(&mut self) -> Heard {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    return Heard::Message(serde_json::from_str(text.as_str()).expect("JSON"));
                }
                Some(Ok(Message::Close(frame))) => {
                    return Heard::Closed(frame.map(|frame| (frame.code.into(), frame.reason.to_string())));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(other)) => panic!("a node sends text only: {other:?}"),
                None | Some(Err(_)) => return Heard::Closed(None),
            }
        }
    }

    /// The next event.
    pub async fn next(&mut self) -> Value {
        match self.hear().await {
            Heard::Message(message) => message,
            Heard::Closed(closed) => panic!("an event is expected, but the socket ended: {closed:?}"),
        }
    }

    /// The next event, which is of this type.
    pub async fn expect(&mut self, kind: &str) -> Value {
        let event = self.next().await;
        assert_eq!(event["type"], kind, "{event}");
        event
    }

    /// The next event of this type, whatever comes before.
    pub async fn wait_for(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next().await;
            if event["type"] == kind {
                return event;
            }
        }
    }

    /// The next event, which says that this chunk is stored.
    pub async fn expect_ack(&mut self, index: u32) {
        let ack = self.expect("chunkAck").await;
        let id = self.started["recordId"].clone();
        assert_eq!(ack, json!({ "type": "chunkAck", "recordId": id, "index": index, "status": "success" }));
    }

    /// So many acknowledgements, in any order.
    pub async fn expect_acks(&mut self, count: usize) -> Vec<u32> {
        let mut indices = Vec::new();
        for _ in 0..count {
            let index = self.expect("chunkAck").await["index"].as_u64().expect("a number");
            indices.push(u32::try_from(index).expect("small"));
        }
        indices
    }

    /// The next event, which refuses a chunk.
    pub async fn expect_chunk_error(&mut self, code: &str) -> Value {
        let error = self.expect("chunkError").await;
        assert_eq!(error["code"], code, "{error}");
        error
    }

    /// The next event, which refuses something else.
    pub async fn expect_error(&mut self, code: &str) -> Value {
        let error = self.expect("recordingError").await;
        assert_eq!(error["code"], code, "{error}");
        error
    }

    /// There was nothing to hear, and the socket still answers.
    pub async fn expect_nothing(&mut self) {
        self.send(json!({ "type": "nothing of the kind" })).await;
        self.expect_error("unsupported").await;
    }

    /// The end comes next, with this code and reason.
    pub async fn expect_close(&mut self, code: u16, reason: &str) {
        match self.hear().await {
            Heard::Closed(closed) => assert_eq!(closed, Some((code, reason.to_owned()))),
            Heard::Message(message) => panic!("a close with {reason} is expected: {message}"),
        }
    }

    /// Whatever is said until the end, and how it ends.
    pub async fn hear_out(&mut self) -> (Vec<Value>, Closed) {
        let mut events = Vec::new();
        loop {
            match self.hear().await {
                Heard::Message(event) => events.push(event),
                Heard::Closed(closed) => return (events, closed),
            }
        }
    }

    /// Loses the socket without a word, as a network does; the token is what is left.
    pub fn lose(self) -> String {
        self.token()
    }
}

/// A frame of indexed framing as a recorder writes it, by its own hand: none of the product's code has a part in it.
pub fn frame_of(index: u32, flags: u8, length: u32, crc: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = b"GR\x01".to_vec();
    frame.push(flags);
    for word in [index, 0, length, crc] {
        frame.extend(word.to_be_bytes());
    }
    frame.extend(payload);
    frame
}

/// A frame in which everything is right; the first chunk begins a segment.
pub fn chunk_frame(index: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small");
    frame_of(index, u8::from(index == 0), length, crc32c::crc32c(payload), payload)
}

/// A recording that is uploaded over HTTP.
pub struct Upload {
    address: SocketAddr,
    /// The recording's name.
    pub id: String,
    /// `Bearer …`.
    pub bearer: String,
}

impl Upload {
    /// Starts a recording of WebM with these fields.
    pub async fn start(address: SocketAddr, fields: Value) -> (Self, Value) {
        let mut start = json!({ "mimeType": WEBM });
        for (name, value) in fields.as_object().expect("fields") {
            start[name] = value.clone();
        }
        let answer = send(address, "POST /recordings", &[], start.to_string().as_bytes()).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let started = answer.json();
        let token = started["uploadToken"].as_str().expect("a token");
        (Self::of(address, token), started)
    }

    /// Goes on with what a token is for.
    pub fn of(address: SocketAddr, token: &str) -> Self {
        let (id, _) = token.split_once('.').expect("a token");
        Self { address, id: id.to_owned(), bearer: format!("Bearer {token}") }
    }

    /// Puts a chunk in its place.
    pub async fn put(&self, index: u32, bytes: &[u8]) -> Download {
        self.put_with(index, &[], bytes).await
    }

    /// The same with these further headers.
    pub async fn put_with(&self, index: u32, headers: &[(&str, &str)], bytes: &[u8]) -> Download {
        let line = format!("PUT /recordings/{}/chunks/{index}", self.id);
        self.send_with(&line, headers, bytes).await
    }

    /// Adds a chunk at the next place.
    pub async fn post(&self, bytes: &[u8]) -> Download {
        self.try_post(bytes).await.expect("the node answers")
    }

    /// The same where the node may die of it.
    pub async fn try_post(&self, bytes: &[u8]) -> Option<Download> {
        self.try_send_with(&format!("POST /recordings/{}/chunks", self.id), &[], bytes).await
    }

    /// Says how much was recorded.
    pub async fn stop(&self, made: Value) -> Download {
        self.try_stop(made).await.expect("the node answers")
    }

    /// The same where the node may die of it.
    pub async fn try_stop(&self, made: Value) -> Option<Download> {
        let line = format!("POST /recordings/{}/stop", self.id);
        let json = [("Content-Type", "application/json")];
        self.try_send_with(&line, &json, made.to_string().as_bytes()).await
    }

    async fn send_with(&self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Download {
        self.try_send_with(line, headers, body).await.expect("the node answers")
    }

    async fn try_send_with(&self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Download> {
        let headers = [&[("Authorization", self.bearer.as_str())], headers].concat();
        try_send(self.address, line, &headers, body).await
    }
}

/// How a recording stands.
pub async fn status(address: SocketAddr, id: &str) -> Value {
    let answer = get(address, &format!("/recordings/{id}/status")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Its state alone; null where there is no such recording.
pub async fn state_now(address: SocketAddr, id: &str) -> Value {
    let answer = get(address, &format!("/recordings/{id}/status")).await;
    if answer.status == 404 { Value::Null } else { answer.json()["state"].clone() }
}

/// Waits until a recording stands so.
pub async fn state(address: SocketAddr, id: &str, wanted: &str) -> Value {
    eventually(wanted, async || {
        let status = status(address, id).await;
        (status["state"] == wanted).then_some(status)
    })
    .await
}

/// Waits until a recording has its video.
pub async fn ready(address: SocketAddr, id: &str) -> Value {
    eventually("the video is there", async || {
        let status = status(address, id).await;
        assert_ne!(status["state"], "failed", "{status}");
        (status["state"] == "ready").then_some(status)
    })
    .await
}

/// Waits for the video and its poster, which follows where a machine has much to do.
pub async fn pictured(address: SocketAddr, id: &str) -> Value {
    ready(address, id).await;
    eventually("its poster is there", async || {
        let row = status(address, id).await;
        row["posterUrl"].is_string().then_some(row)
    })
    .await
}

/// The video that can be downloaded is what was recorded, packet by packet, and what was told of it is true.
pub async fn check_video(address: SocketAddr, linked: &Value, recorded: &[u8]) {
    assert_recorded(linked, &video(address, linked).await, recorded);
}

/// The video, to which a status or a `recordingReady` has the link.
pub async fn video(address: SocketAddr, linked: &Value) -> Vec<u8> {
    let link = linked["downloadUrl"].as_str().unwrap_or_else(|| panic!("no link: {linked}"));
    let answer = send(address, &format!("GET {link}"), &[], b"").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}
