//! A real S3 server on a free loopback port, with one bucket in a folder of its own; and in front of it what can go wrong on
//! the way and in a server: refusals, errors, slowness, lost answers, changed bytes.
//!
//! The server writes a file as a look and then a rename; one turn for each write of an object makes its conditions hold under
//! concurrency, as they do on S3.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc as threads},
    thread,
    time::{Duration, Instant},
};

use base64::Engine as _;
use bytes::Bytes;
use greenroom::adapters::s3::S3Settings;
use hyper::{Method, Request, StatusCode, body::Incoming, header::HeaderValue, service::service_fn};
use hyper_util::rt::TokioIo;
use s3s::{
    Body, HttpRequest, HttpResponse,
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{RwLock, watch},
};

const BUCKET: &str = "videos";
const REGION: &str = "us-east-1";
const KEYS: (&str, &str) = ("greenroom-test", "greenroom-test-secret");
/// Longest that its start may take.
const STARTED_WITHIN: Duration = Duration::from_secs(20);
/// Larger than any request of the tests.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// This status and code instead of an answer.
    Answer(u16, &'static str),
    /// Nothing is answered.
    Hangs,
    /// Nothing is done before this is mended.
    Waits,
    /// Done, and the connection is lost before the answer.
    AnswerLost,
    /// The connection is lost before anything is done.
    Cut,
    /// A byte of what is sent is another when it arrives.
    ChangedUpload,
    /// A byte of what is answered is another when it arrives.
    ChangedDownload,
    /// The connection is lost in the middle of the answer.
    HalfAnswer,
    /// A write whose condition does not hold is said to be done.
    IgnoresConditions,
    /// What was sent with an object beside its bytes is forgotten.
    ForgetsMetadata,
}

/// Which requests a fault meets, and how many of them.
#[derive(Debug, Clone)]
struct Rule {
    method: &'static str,
    /// In path and query, or in the list of what is to be deleted.
    part: String,
    left: u32,
    fault: Fault,
}

/// The server; ends when dropped.
pub struct S3Server {
    address: SocketAddr,
    root: TempDir,
    rules: Arc<Mutex<Vec<Rule>>>,
    seen: Arc<Mutex<BTreeMap<String, u32>>>,
    joining: Arc<Mutex<Duration>>,
    _end: watch::Sender<()>,
}

struct Server {
    service: S3Service,
    root: PathBuf,
    rules: Arc<Mutex<Vec<Rule>>>,
    seen: Arc<Mutex<BTreeMap<String, u32>>>,
    joining: Arc<Mutex<Duration>>,
    turn: RwLock<()>,
}

impl S3Server {
    /// Starts a server with an empty bucket.
    pub fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"))
    }

    /// The same, in a folder that nobody else has.
    pub fn start_in(root: TempDir) -> Self {
        fs::create_dir(root.path().join(BUCKET)).expect("a bucket");
        let mut builder = S3ServiceBuilder::new(FileSystem::new(root.path()).expect("a folder"));
        builder.set_auth(SimpleAuth::from_single(KEYS.0, KEYS.1));
        let (rules, seen, joining) = (Arc::default(), Arc::default(), Arc::default());
        let server = Arc::new(Server {
            service: builder.build(),
            root: root.path().to_owned(),
            rules: Arc::clone(&rules),
            seen: Arc::clone(&seen),
            joining: Arc::clone(&joining),
            turn: RwLock::default(),
        });
        let (listening, address) = threads::channel();
        let (end, ended) = watch::channel(());
        // A test that blocks does not hold it up.
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
                listening.send(listener.local_addr().expect("bound")).expect("the test waits");
                serve(listener, server, ended).await;
            });
        });
        let address = address.recv_timeout(STARTED_WITHIN).expect("the server listens");
        Self { address, root, rules, seen, joining, _end: end }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How a node gets into it.
    pub fn settings(&self) -> S3Settings {
        self.settings_at(self.address)
    }

    /// The flags of a node that keeps its videos in it, and finds it at this address.
    pub fn flags_at(&self, address: SocketAddr) -> Vec<String> {
        let settings = self.settings_at(address);
        vec![
            "--storage-type=S3".to_owned(),
            format!("--s3-bucket={}", settings.bucket),
            format!("--s3-endpoint=http://{address}"),
            format!("--s3-access-key-id={}", settings.access_key),
            format!("--s3-secret-access-key={}", settings.secret_key),
        ]
    }

    /// The same by another way.
    pub fn settings_at(&self, address: SocketAddr) -> S3Settings {
        S3Settings {
            bucket: BUCKET.to_owned(),
            endpoint: Some(format!("http://{address}")),
            public_endpoint: None,
            region: REGION.to_owned(),
            path_style: true,
            access_key: KEYS.0.to_owned(),
            secret_key: KEYS.1.to_owned(),
            prefix: String::new(),
            link_ttl: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
        }
    }

    /// The flags of one that keeps chunks there, and videos in this bucket.
    pub fn flags(&self, chunk_store: &str) -> Vec<String> {
        [self.flags_at(self.address), vec![format!("--chunk-store={chunk_store}")]].concat()
    }

    /// The next requests of this method with this in path or query meet that fault.
    pub fn fail(&self, method: &'static str, part: &str, times: u32, fault: Fault) {
        self.rules.lock().expect("whole").push(Rule { method, part: part.to_owned(), left: times, fault });
    }

    /// Nothing goes wrong any more.
    pub fn mend(&self) {
        self.rules.lock().expect("whole").clear();
    }

    /// How long it has been at making objects of their parts, which is a copy of all of them here.
    pub fn joining(&self) -> Duration {
        *self.joining.lock().expect("whole")
    }

    /// How many requests of this method with this in path or query have come.
    pub fn seen(&self, method: &str, part: &str) -> u32 {
        let seen = self.seen.lock().expect("whole");
        let fits = |request: &str| request.starts_with(method) && request.contains(part);
        seen.iter().filter(|(request, _)| fits(request)).map(|(_, times)| times).sum()
    }

    /// The same with both of these in it.
    pub fn seen_both(&self, method: &str, part: &str, other: &str) -> u32 {
        let seen = self.seen.lock().expect("whole");
        let fits =
            |request: &str| request.starts_with(method) && request.contains(part) && request.contains(other);
        seen.iter().filter(|(request, _)| fits(request)).map(|(_, times)| times).sum()
    }

    /// The file that holds an object.
    pub fn file(&self, key: &str) -> PathBuf {
        self.root.path().join(BUCKET).join(key)
    }

    /// The file that holds what stands with an object beside its bytes.
    pub fn attributes(&self, key: &str) -> PathBuf {
        let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let name = format!(".bucket-{}.object-{}.metadata.json", encode(BUCKET), encode(key));
        self.root.path().join(name)
    }

    /// The keys of all objects, in order.
    pub fn keys(&self) -> Vec<String> {
        let bucket = self.root.path().join(BUCKET);
        let mut keys = Vec::new();
        gather(&bucket, &bucket, &mut keys);
        keys.sort();
        keys
    }

    /// What there is of uploads that are not over.
    pub fn parts(&self) -> usize {
        let entries = fs::read_dir(self.root.path()).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
        names.filter(|name| name.contains("upload_id") || name.contains("upload-")).count()
    }
}

fn gather(bucket: &Path, folder: &Path, keys: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            gather(bucket, &path, keys);
        } else {
            keys.push(path.strip_prefix(bucket).expect("below").to_str().expect("a name").to_owned());
        }
    }
}

/// Accepts until the server is dropped; the connections end with the runtime.
async fn serve(listener: TcpListener, server: Arc<Server>, mut end: watch::Receiver<()>) {
    let accepting = async {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(converse(stream, server.clone()));
        }
    };
    tokio::select! {
        _ = end.changed() => {}
        () = accepting => {}
    }
}

async fn converse(stream: TcpStream, server: Arc<Server>) {
    let answer = service_fn(move |request| {
        let server = server.clone();
        // What has begun is done to its end, as on S3, though whoever asked may be gone: otherwise there would be objects by halves.
        async move { tokio::spawn(async move { server.answer(request).await }).await.unwrap_or(Err(Cut)) }
    });
    // An error is a connection that was cut, on either side.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

/// The connection is to be cut.
#[derive(Debug, thiserror::Error)]
#[error("cut")]
struct Cut;

impl From<Infallible> for Cut {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl Server {
    async fn answer(&self, request: Request<Incoming>) -> Result<HttpResponse, Cut> {
        let mut what = format!("{} {}", request.method(), request.uri());
        let (head, body) = request.into_parts();
        let mut body = Body::from(body);
        let mut bytes = body.store_all_limited(BODY_BYTES_MAX).await.map_err(|_| Cut)?;
        // Which objects are to go stands in there.
        if head.uri.query() == Some("delete") {
            what.push_str(&String::from_utf8_lossy(&bytes));
        }
        *self.seen.lock().expect("whole").entry(what.clone()).or_default() += 1;
        let fault = self.fault(&what);
        match fault {
            Some(Fault::Answer(status, code)) => return Ok(refusal(status, code)),
            Some(Fault::Hangs) => std::future::pending().await,
            Some(Fault::Waits) => self.mended().await,
            Some(Fault::Cut) => return Err(Cut),
            Some(Fault::ChangedUpload) => bytes = changed(&bytes),
            _ => {}
        }
        let mut whole = HttpRequest::new(Body::from(bytes));
        *whole.method_mut() = head.method;
        *whole.uri_mut() = head.uri;
        *whole.headers_mut() = head.headers;
        let mut answer = self.act(whole).await;
        match fault {
            Some(Fault::IgnoresConditions) if answer.status() == StatusCode::PRECONDITION_FAILED => {
                answer = HttpResponse::new(Body::empty());
                answer.headers_mut().insert("etag", HeaderValue::from_static("\"0123\""));
                Ok(answer)
            }
            Some(Fault::ForgetsMetadata) => {
                let names: Vec<_> = answer.headers().keys().cloned().collect();
                for name in names.iter().filter(|name| name.as_str().starts_with("x-amz-meta-")) {
                    answer.headers_mut().remove(name);
                }
                Ok(answer)
            }
            Some(Fault::AnswerLost) => Err(Cut),
            Some(Fault::ChangedDownload) => Ok(with_body(answer, changed).await),
            // The length stays, so whoever reads sees that there is more.
            Some(Fault::HalfAnswer) => Ok(with_body(answer, |bytes| bytes.slice(..bytes.len() / 2)).await),
            _ => Ok(answer),
        }
    }

    fn fault(&self, what: &str) -> Option<Fault> {
        let mut rules = self.rules.lock().expect("whole");
        let fits =
            |rule: &&mut Rule| rule.left > 0 && what.starts_with(rule.method) && what.contains(&rule.part);
        let rule = rules.iter_mut().find(fits)?;
        rule.left -= 1;
        Some(rule.fault)
    }

    async fn mended(&self) {
        while !self.rules.lock().expect("whole").is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Writes take turns, and one that is refused leaves nothing, as on S3.
    async fn act(&self, request: HttpRequest) -> HttpResponse {
        // No part is another's, and none is an object yet.
        let is_part = || request.uri().query().is_some_and(|query| query.contains("partNumber="));
        if matches!(*request.method(), Method::GET | Method::HEAD) || is_part() {
            let _turn = self.turn.read().await;
            return self.service.call(request).await.expect("an answer");
        }
        let _turn = self.turn.write().await;
        let file = self.root.join(request.uri().path().trim_start_matches('/'));
        let was_there = file.exists();
        let is_joined = *request.method() == Method::POST
            && request.uri().query().is_some_and(|query| query.starts_with("uploadId="));
        let began = Instant::now();
        let mut answer = self.service.call(request).await.expect("an answer");
        if is_joined {
            // That goes on while the answer is read.
            answer = with_body(answer, Bytes::clone).await;
            *self.joining.lock().expect("whole") += began.elapsed();
        }
        if !answer.status().is_success() && !was_there && file.is_file() {
            fs::remove_file(file).expect("it was just written");
        }
        answer
    }
}

fn refusal(status: u16, code: &str) -> HttpResponse {
    let xml = format!("<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>");
    let mut answer = HttpResponse::new(Body::from(xml));
    *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
    answer
}

/// With its middle byte changed.
fn changed(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    bytes.into()
}

async fn with_body(answer: HttpResponse, change: impl FnOnce(&Bytes) -> Bytes) -> HttpResponse {
    let (mut head, mut body) = answer.into_parts();
    let bytes = body.store_all_limited(BODY_BYTES_MAX).await.expect("a body");
    head.headers.remove("transfer-encoding");
    head.headers.insert("content-length", HeaderValue::from(bytes.len()));
    let mut answer = HttpResponse::new(Body::from(change(&bytes)));
    *answer.status_mut() = head.status;
    *answer.headers_mut() = head.headers;
    answer
}
