//! A scripted peer: it says what it is told to, and checks everything it hears for its number.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use super::within;

/// How a socket ended: close code and reason; `None` when it ended without a close frame.
pub type Closed = Option<(u16, String)>;

/// What a peer hears next.
#[derive(Debug)]
pub enum Heard {
    /// A message.
    Message(Value),
    /// The end.
    Closed(Closed),
}

/// One socket of one peer.
pub struct Peer {
    socket: WebSocketStream<TcpStream>,
    /// The number of the last message heard in this session.
    heard: u64,
    pings: u32,
    /// `RoomJoined` as it came; null before.
    pub welcome: Value,
}

impl Peer {
    /// Opens a socket and says nothing.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::connect_at(address, "/ws").await
    }

    /// Opens a socket at this path and says nothing.
    pub async fn connect_at(address: SocketAddr, path: &str) -> Self {
        let opening = async {
            let stream = TcpStream::connect(address).await.expect("the node accepts connections");
            stream.set_nodelay(true).expect("a socket");
            client_async(format!("ws://{address}{path}"), stream).await.expect("the node upgrades").0
        };
        let socket = within("a WebSocket", opening).await;
        Self { socket, heard: 0, pings: 0, welcome: Value::Null }
    }

    /// Opens a socket and joins a room.
    pub async fn join(address: SocketAddr, room: &str, user: &str) -> Self {
        Self::join_with(address, json!({ "room_name": room, "user_id": user })).await
    }

    /// Opens a socket and joins with these fields.
    pub async fn join_with(address: SocketAddr, fields: Value) -> Self {
        let mut peer = Self::connect(address).await;
        peer.enter(fields).await;
        peer
    }

    /// Opens a socket that tells a proxy on the way which room it is for, and joins it.
    pub async fn join_through(proxy: SocketAddr, room: &str, user: &str) -> Self {
        let mut peer = Self::connect_at(proxy, &format!("/ws?room={room}")).await;
        peer.enter(json!({ "room_name": room, "user_id": user })).await;
        peer
    }

    /// Joins with these fields by the socket that is open.
    pub async fn enter(&mut self, mut fields: Value) {
        fields["type"] = json!("Join");
        self.send(fields).await;
        self.welcome = self.expect("RoomJoined").await;
    }

    /// Opens a socket and asks to take up the session of `lost`, which heard everything up to `last_seq`.
    pub async fn resume(address: SocketAddr, welcome: &Value, last_seq: u64) -> Self {
        let mut peer = Self::expecting(address, last_seq).await;
        peer.welcome = welcome.clone();
        peer.send(resume(welcome, last_seq)).await;
        peer
    }

    /// Opens a socket on which the message after `last_seq` is expected first.
    pub async fn expecting(address: SocketAddr, last_seq: u64) -> Self {
        let mut peer = Self::connect(address).await;
        peer.heard = last_seq;
        peer
    }

    /// The number of the last message heard.
    pub fn last_seq(&self) -> u64 {
        self.heard
    }

    /// Its own port.
    pub fn port(&self) -> u16 {
        self.socket.get_ref().local_addr().expect("connected").port()
    }

    /// Who the node says this is.
    pub fn user_id(&self) -> &str {
        self.welcome["user_id"].as_str().expect("joined")
    }

    /// Sends a message.
    pub async fn send(&mut self, message: Value) {
        self.send_text(message.to_string()).await;
    }

    /// Sends a text, whatever it says.
    pub async fn send_text(&mut self, text: String) {
        let sent = within("a message is taken", self.socket.send(Message::text(text))).await;
        sent.expect("the socket is open");
    }

    /// Sends a message of any other kind.
    pub async fn send_frame(&mut self, message: Message) {
        within("a message is taken", self.socket.send(message)).await.expect("the socket is open");
    }

    /// What comes next, as it came.
    async fn hear_text(&mut self) -> Result<String, Closed> {
        // One deadline for all of it: pings keep coming, also when nothing else does.
        within("something to hear", self.next_text_or_end()).await
    }

    async fn next_text_or_end(&mut self) -> Result<String, Closed> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map(|frame| (frame.code.into(), frame.reason.to_string())));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(other)) => panic!("a node sends text only: {other:?}"),
                None | Some(Err(_)) => return Err(None),
            }
        }
    }

    /// What comes next, and never a message out of its turn.
    pub async fn hear(&mut self) -> Heard {
        match self.hear_text().await {
            Ok(text) => Heard::Message(self.numbered(&text)),
            Err(closed) => Heard::Closed(closed),
        }
    }

    /// The next message as the text it came in.
    pub async fn next_text(&mut self) -> String {
        let text = self.hear_text().await.expect("a message");
        self.numbered(&text);
        text
    }

    /// The number rises by 1 from the first message on; only a snapshot may leave some out.
    fn numbered(&mut self, text: &str) -> Value {
        let message: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let seq = message["seq"].as_u64().unwrap_or_else(|| panic!("no number: {text}"));
        let snapshot = message["outcome"] == "snapshot";
        let in_turn = if snapshot { seq > self.heard } else { seq == self.heard + 1 };
        assert!(in_turn, "after {} comes {seq}: {text}", self.heard);
        self.heard = seq;
        message
    }

    /// The next message.
    pub async fn next(&mut self) -> Value {
        match self.hear().await {
            Heard::Message(message) => message,
            Heard::Closed(closed) => panic!("a message is expected, but the socket ended: {closed:?}"),
        }
    }

    /// The next message, which is of this type.
    pub async fn expect(&mut self, kind: &str) -> Value {
        let message = self.next().await;
        assert_eq!(message["type"], kind, "{message}");
        message
    }

    /// The next message, which is an `Error` with this code.
    pub async fn expect_error(&mut self, code: &str) -> Value {
        let error = self.expect("Error").await;
        assert_eq!(error["code"], code, "{error}");
        error
    }

    /// The next message, which says that the command of this name was taken.
    pub async fn expect_accepted(&mut self, id: impl Into<Value>) {
        let accepted = self.expect("Accepted").await;
        assert_eq!(accepted["id"], id.into(), "{accepted}");
    }

    /// The next message, which says of somebody else that it is now so.
    pub async fn expect_updated(&mut self, user: &str, field: &str, value: impl Into<Value>) {
        let news = self.expect("UserUpdated").await;
        assert_eq!((&news["user"]["user_id"], &news["user"][field]), (&json!(user), &value.into()), "{news}");
    }

    /// The next message, which says that somebody is gone.
    pub async fn expect_left(&mut self, user: &str, reason: &str) {
        let news = self.expect("UserLeft").await;
        assert_eq!((&news["user_id"], &news["reason"]), (&json!(user), &json!(reason)), "{news}");
    }

    /// There was nothing to hear: the answer to a `Ping` comes next. Everything that others had been answered before
    /// this call would have come first.
    pub async fn expect_nothing(&mut self) {
        self.pings += 1;
        let id = format!("nothing-{}", self.pings);
        self.send(json!({ "type": "Ping", "id": id })).await;
        let pong = self.expect("Pong").await;
        assert_eq!(pong["id"], id.as_str());
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
        let mut messages = Vec::new();
        loop {
            match self.hear().await {
                Heard::Message(message) => messages.push(message),
                Heard::Closed(closed) => return (messages, closed),
            }
        }
    }

    /// Loses the socket without a word, as a network does.
    pub fn lose(self) -> (Value, u64) {
        (self.welcome, self.heard)
    }

    /// Closes the socket properly and waits for the node's answer.
    pub async fn close(mut self) -> (Value, u64) {
        self.send_frame(Message::Close(None)).await;
        self.hear_out().await;
        (self.welcome, self.heard)
    }
}

/// A `Resume` of the session that `welcome` began.
pub fn resume(welcome: &Value, last_seq: u64) -> Value {
    json!({
        "type": "Resume",
        "session_id": welcome["session_id"],
        "resume_token": welcome["resume_token"],
        "last_seq": last_seq,
    })
}
