//! A node in this process, on its own thread.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use greenroom::{
    adapters::{clock::Clock, ports::Registry},
    app::{App, Ports},
    config::{self, Config, Request},
};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// A node that listens on a free loopback port; it is drained and stopped when dropped.
pub struct Node {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    folder: TempDir,
}

impl Node {
    /// Starts a node with these flags.
    pub fn start(flags: &[&str]) -> Self {
        Self::start_with(flags, |_| ())
    }

    /// Starts a node with these flags on this registry.
    pub fn start_on(flags: &[&str], registry: Arc<dyn Registry>) -> Self {
        Self::start_with(flags, |ports| ports.registry = registry)
    }

    /// The same with some of what it stands on exchanged.
    pub fn start_with(flags: &[&str], exchange: impl FnOnce(&mut Ports) + Send + 'static) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(flags, folder.path());
        let (stop, stopped) = oneshot::channel();
        let (listening, address) = mpsc::channel();
        let thread = thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let clock = Clock::start();
                let mut ports = Ports::open(&config, clock).await.expect("ports");
                exchange(&mut ports);
                let node = App::start_on(&config, clock, ports).await.expect("the node starts");
                listening.send(node.address()).expect("the test waits");
                // An error is a test that has failed: stop as well.
                let _ = stopped.await;
                node.stop().await;
            });
        });
        let address = address.recv_timeout(super::DEADLINE).expect("the node listens");
        Self { address, stop: Some(stop), thread: Some(thread), folder }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it keeps its recordings.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Tells it to drain and stop, and does not wait.
    pub fn begin_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // An error is a node that has stopped already.
            let _ = stop.send(());
        }
    }

    /// Waits until it has stopped.
    pub async fn stopped(mut self) {
        self.begin_stop();
        super::eventually("the node has stopped", async || {
            self.thread.as_ref().is_none_or(JoinHandle::is_finished).then_some(())
        })
        .await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.begin_stop();
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(matches!(ended, None | Some(Ok(()))), "the node panicked");
        }
    }
}

/// A flag given by the test comes later than ours, and so is the one that counts.
fn config(flags: &[&str], folder: &Path) -> Config {
    let storage = format!("--storage-local-path={}", folder.display());
    let [ffmpeg, ffprobe] =
        ["ffmpeg", "ffprobe"].map(|name| format!("--{name}={}", super::program(name).display()));
    let fixed = ["greenroom", "--port=0", "--host=127.0.0.1", "--node-id=test-node"];
    let fixed = fixed.into_iter().chain([storage.as_str(), &ffmpeg, &ffprobe]);
    match config::parse(fixed.chain(flags.iter().copied())) {
        Ok(Request::Run(config)) => *config,
        other => panic!("these flags run no node: {flags:?}: {other:?}"),
    }
}
