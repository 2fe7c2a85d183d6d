//! The real binary as a process of its own, whose memory, time and words can be looked at.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use tempfile::TempDir;

use super::program;

/// How the kernel counts processor time for programs: ticks of 10 ms (`USER_HZ`, proc(5)).
const TICK: Duration = Duration::from_millis(10);

/// A node as a process; killed by its id when dropped.
pub struct Process {
    child: Child,
    address: SocketAddr,
    logs: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    _folder: TempDir,
}

/// For nodes that merge everything by ffmpeg.
pub const BY_FFMPEG: &str = "--assemble=false";

/// The flag for a program in this folder that takes the place of ffmpeg: it says its version like the real one, and does `body`
/// for everything else.
pub fn stand_in(folder: &Path, body: &str) -> String {
    let path = folder.join("ffmpeg");
    let script = format!("#!/bin/sh\n[ \"$1\" = -version ] && exec ffmpeg -version\n{body}\n");
    fs::write(&path, script).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    format!("--ffmpeg={}", path.display())
}

/// The binary, in this folder and with nothing of this process's environment. A flag beats what it is told of programs.
pub fn greenroom(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_greenroom"));
    command.env_clear().current_dir(folder).stdin(Stdio::null());
    command.envs([("FFMPEG", program("ffmpeg")), ("FFPROBE", program("ffprobe"))]);
    command
}

impl Process {
    /// Starts a node with these flags on a free loopback port.
    pub fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = greenroom(folder.path());
        command.args(["--port=0", "--host=127.0.0.1", "--node-id=test-node"]).args(flags);
        Self::run(command, folder)
    }

    /// Starts a node on this storage, which outlives it, with these flags.
    pub fn start_on(storage: &Path, flags: &[&str]) -> Self {
        let storage = format!("--storage-local-path={}", storage.display());
        Self::start(&[&[storage.as_str()], flags].concat())
    }

    /// Starts a node by this command, which lives in this folder.
    pub fn run(mut command: Command, folder: TempDir) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let (logs, reader) = collect(child.stderr.take().expect("piped"));
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("text");
        let address = line.trim().strip_prefix("greenroom: http://").and_then(|url| url.strip_suffix('/'));
        let Some(address) = address.and_then(|address| address.parse().ok()) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("no address in {line:?}; it logged: {}", text(&logs));
        };
        Self { child, address, logs, reader: Some(reader), _folder: folder }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has logged so far.
    pub fn logs(&self) -> String {
        text(&self.logs)
    }

    /// The lines since it began to drain that say that something is not as it should be.
    pub fn complaints_of_its_end(&self) -> Vec<String> {
        let logs = self.logs();
        let (_, end) = logs.split_once(": draining").unwrap_or_else(|| panic!("it never drained: {logs}"));
        let worries = |line: &&str| line.contains(" WARN ") || line.contains("ERROR ");
        end.lines().filter(worries).map(str::to_owned).collect()
    }

    /// Resident memory now. Unit: bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("proc(5)");
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kilobytes * 1024
    }

    /// Processor time used so far, by the program and for it.
    pub fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        // The name in parentheses may have spaces; user and system time are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(") ").expect("proc(5)");
        let ticks: u32 =
            fields.split(' ').skip(11).take(2).map(|field| field.parse::<u32>().expect("a number")).sum();
        TICK * ticks
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a power cut ends the program: without a word. It is gone when this returns.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("a child of ours");
    }

    /// Sends it a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    /// Waits until it has ended; what it logged in its last moments is then there too.
    pub async fn ended(&mut self) -> ExitStatus {
        let status = super::eventually("the process has ended", async || {
            self.child.try_wait().expect("a child of ours")
        })
        .await;
        if let Some(reader) = self.reader.take() {
            reader.join().expect("its logs are read");
        }
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors are those of a process that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to one process.
pub fn signal(name: &str, pid: u32) {
    let sent = Command::new("sh")
        .args(["-c", r#"kill -s "$1" "$2""#, "sh", name, &pid.to_string()])
        .status()
        .expect("a shell");
    assert!(sent.success(), "SIG{name} to a process that is gone");
}

/// Reads everything from a pipe, so that the writer never waits.
fn collect(mut pipe: ChildStderr) -> (Arc<Mutex<Vec<u8>>>, JoinHandle<()>) {
    let collected = Arc::new(Mutex::new(Vec::new()));
    let into = collected.clone();
    let reader = thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(read @ 1..) = pipe.read(&mut piece) {
            into.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&piece[..read]);
        }
    });
    (collected, reader)
}

fn text(logs: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&logs.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}
