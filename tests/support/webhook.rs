//! An application that is told of recordings: it notes every request, and answers as the test wants.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use super::eventually;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Call {
    /// Such as `POST /hook HTTP/1.1`.
    pub line: String,
    headers: Vec<(String, String)>,
    /// The body, byte for byte.
    pub body: String,
}

impl Call {
    /// A header's value.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map_or_else(|| panic!("no {name}: {self:?}"), |(_, value)| value)
    }

    /// The body as JSON.
    pub fn event(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Which event of which recording, such as `ready talk`.
    pub fn words(&self) -> String {
        let event = self.event();
        let kind = event["type"].as_str().and_then(|kind| kind.strip_prefix("recording."));
        let id = event["data"]["recordId"].as_str();
        format!("{} {}", kind.unwrap_or_else(|| panic!("{event}")), id.unwrap_or_else(|| panic!("{event}")))
    }
}

/// What a request is answered with.
#[derive(Debug, Clone, Copy)]
pub enum Reply {
    /// This status.
    Status(u16),
    /// That what is wanted is elsewhere, though it is here.
    Elsewhere,
    /// Nothing: the sender waits.
    Nothing,
}

type Answers = Box<dyn Fn(&Call) -> Reply + Send + Sync>;

struct Shared {
    calls: Mutex<Vec<Call>>,
    answers: Mutex<Answers>,
}

/// An application that listens; it is away when dropped.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: oneshot::Sender<()>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Receiver {
    /// Starts one that takes everything.
    pub fn start() -> Self {
        Self::start_at(0)
    }

    /// The same on this port.
    pub fn start_at(port: u16) -> Self {
        Self::answering(port, |_| Reply::Status(204))
    }

    /// One that answers so, on this port; 0: a free one.
    pub fn answering(port: u16, answers: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared { calls: Mutex::default(), answers: Mutex::new(Box::new(answers)) });
        let (stop, stopped) = oneshot::channel();
        let (listening, address) = mpsc::channel();
        let noted = shared.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("a port");
                listening.send(listener.local_addr().expect("bound")).expect("the test waits");
                tokio::select! {
                    () = serve(listener, noted) => {}
                    _ = stopped => {}
                }
            });
        });
        let address = address.recv_timeout(super::DEADLINE).expect("it listens");
        Self { address, shared, _stop: stop, thread: Some(thread) }
    }

    /// What a node is told about it.
    pub fn flags(&self) -> [String; 2] {
        Self::flags_at(self.address.port())
    }

    /// The same of one that will be there.
    pub fn flags_at(port: u16) -> [String; 2] {
        [format!("--webhook-url=http://127.0.0.1:{port}/hook"), format!("--webhook-secret={SECRET}")]
    }

    /// From now on it answers so.
    pub fn answer(&self, answers: impl Fn(&Call) -> Reply + Send + Sync + 'static) {
        *self.shared.answers.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(answers);
    }

    /// Every request so far.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What they told, in their order.
    pub fn words(&self) -> Vec<String> {
        self.calls().iter().map(Call::words).collect()
    }

    /// What was told of one recording.
    pub fn words_of(&self, id: &str) -> Vec<String> {
        let of = |words: &String| words.split(' ').nth(1) == Some(id);
        self.words().into_iter().filter(of).collect()
    }

    /// Waits until somebody has told this.
    pub async fn hears(&self, words: &str) -> Call {
        eventually(words, async || self.calls().into_iter().find(|call| call.words() == words)).await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let (stop, _) = oneshot::channel();
        drop(std::mem::replace(&mut self._stop, stop));
        if let Some(thread) = self.thread.take() {
            // Its port is free when it has ended.
            let _ = thread.join();
        }
    }
}

/// What nodes sign with: 24 bytes.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.expect("connections");
        tokio::spawn(converse(stream, shared.clone()));
    }
}

/// One request after the other, until the sender has no more.
async fn converse(stream: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(call) = read(&mut stream).await? {
        let reply = shared.answers.lock().unwrap_or_else(PoisonError::into_inner)(&call);
        shared.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        let head = match reply {
            Reply::Status(status) => format!("HTTP/1.1 {status} So"),
            Reply::Elsewhere => "HTTP/1.1 307 So\r\nLocation: /elsewhere".to_owned(),
            Reply::Nothing => std::future::pending().await,
        };
        // A body, though it says nothing: it is to be read.
        let answer = format!("{head}\r\nContent-Length: 4\r\n\r\nwell");
        stream.get_mut().write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

async fn read(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<Call>> {
    let (mut line, mut headers) = (String::new(), Vec::new());
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await?;
        match header.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
            None => break,
        }
    }
    let mut call = Call { line: line.trim_end().to_owned(), headers, body: String::new() };
    let mut body = vec![0; call.header("content-length").parse().expect("a number")];
    stream.read_exact(&mut body).await?;
    call.body = String::from_utf8(body).expect("text");
    Ok(Some(call))
}
