//! The node that is measured: started, looked at through `/proc`, and ended.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;

/// Out of the way: what is measured is the node, not its limits.
const SETTINGS: [(&str, &str); 6] = [
    ("HOST", "127.0.0.1"),
    ("PORT", "0"),
    ("MESSAGES_PER_SEC", "100000"),
    ("MESSAGES_BURST", "100000"),
    ("ROOM_MAX_PARTICIPANTS", "1000"),
    ("LOG_LEVEL", "warn"),
];

/// A node as a process.
pub struct Node {
    process: Child,
    address: SocketAddr,
}

impl Node {
    /// Starts the release binary and waits until it says where it listens.
    pub fn start() -> anyhow::Result<Self> {
        let mut process = Command::new(env!("CARGO_BIN_EXE_greenroom"))
            .env_clear()
            .envs(SETTINGS)
            // Away from any `.env`.
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("the node does not start")?;
        let stdout = process.stdout.take().context("no standard output")?;
        let mut node = Self { process, address: SocketAddr::from(([0; 4], 0)) };
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

    /// CPU that all its threads have used, user and system.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let mut total = Duration::ZERO;
        for thread in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            total += thread_cpu(&thread?.path().to_string_lossy())?;
        }
        Ok(total)
    }

    /// Its resident memory. Unit: bytes.
    pub fn resident(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// CPU that the thread of this directory in `/proc` has used, to the nanosecond (`stat` counts in hundredths).
pub fn thread_cpu(directory: &str) -> anyhow::Result<Duration> {
    let statistics = fs::read_to_string(format!("{directory}/schedstat"))
        .context("this kernel keeps no scheduler statistics")?;
    let run_ns = statistics.split_whitespace().next().context("empty scheduler statistics")?;
    Ok(Duration::from_nanos(run_ns.parse()?))
}
