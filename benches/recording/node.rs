//! A node that is measured: started on a folder, looked at through `/proc`, and ended.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::Instant,
};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::process::Cpu;

/// The clients answer no pings, so there are none.
const SETTINGS: [(&str, &str); 7] = [
    ("HOST", "127.0.0.1"),
    ("PORT", "0"),
    ("CONNECTIONS_PER_IP", "10000"),
    ("RECORDING_GRACE_SECS", "300"),
    ("PING_INTERVAL_SECS", "300"),
    ("PING_TIMEOUT_SECS", "900"),
    // What it says of each recording is of use; it says nothing of chunks.
    ("LOG_LEVEL", "info"),
];

/// A node as a process.
pub struct Node {
    process: Child,
    address: SocketAddr,
    folder: Arc<TempDir>,
    said: mpsc::Receiver<(Instant, String)>,
}

impl Node {
    /// Starts the release binary on a folder of its own and waits until it says where it listens.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_in(Arc::new(folder("node")?), &[])
    }

    /// The same on a folder that others may use too, with these settings beside those of all nodes.
    pub fn start_in(folder: Arc<TempDir>, settings: &[(&str, String)]) -> anyhow::Result<Self> {
        let mut process = Command::new(env!("CARGO_BIN_EXE_greenroom"))
            .env_clear()
            .envs(SETTINGS)
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .env("STORAGE_LOCAL_PATH", folder.path())
            // Away from any `.env`.
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("the node does not start")?;
        let stdout = process.stdout.take().context("no standard output")?;
        let said = listen(process.stderr.take().context("no standard error")?);
        let mut node = Self { process, address: SocketAddr::from(([0; 4], 0)), folder, said };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().strip_prefix("greenroom: http://").and_then(|url| url.strip_suffix('/'));
        node.address = address.with_context(|| format!("the node says {line:?}"))?.parse()?;
        Ok(node)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// CPU that it has used.
    pub fn cpu(&self) -> anyhow::Result<Cpu> {
        Cpu::of(self.pid())
    }

    /// The folder of a recording's chunks.
    pub fn chunks(&self, recording: &str) -> PathBuf {
        self.folder.path().join("chunks").join(recording)
    }

    /// When it said so, of what it has said since the last time that this was asked.
    pub fn said_at(&self, words: &[&str]) -> Option<Instant> {
        let with_all = |line: &str| words.iter().all(|word| line.contains(word));
        self.said.try_iter().find(|(_, line)| with_all(line)).map(|(at, _)| at)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Notes when each line of the log came.
fn listen(stderr: ChildStderr) -> mpsc::Receiver<(Instant, String)> {
    let (lines, said) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if line.contains("WARN") || line.contains("ERROR") {
                println!("the node: {line}");
            }
            // Nobody wants to hear it any more.
            let _ = lines.send((Instant::now(), line));
        }
    });
    said
}

/// An empty folder on the disk of the build, gone when this is dropped.
pub fn folder(name: &str) -> anyhow::Result<TempDir> {
    let here = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(here)?;
    Ok(tempfile::Builder::new().prefix(&format!("bench-{name}-")).tempdir_in(here)?)
}
