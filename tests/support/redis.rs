//! A real Redis on a free loopback port, in a folder of its own. Nodes enter it as a user who may neither search the keys nor
//! empty it, as on a server that others use too.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use deadpool_redis::redis::{self, FromRedisValue, cmd};
use tempfile::TempDir;

use super::{setting, signal};

/// Longest that a server may take to answer after its start.
const STARTED_WITHIN: Duration = Duration::from_secs(20);
/// A port that was free a moment ago may be taken; then another is tried.
const PORTS_TRIED: usize = 5;
/// How often it is asked.
const POLL: Duration = Duration::from_millis(5);

/// What nodes may do: nothing that searches the keys, empties the server or changes it.
const NODE_USER: &str = "user greenroom on >node-secret ~rooms:* ~servers:* ~cluster:* ~recording:* \
                         ~recordings:* &cluster:* \
                         +@all -@admin -@dangerous -scan +info +cluster|slots +cluster|shards +cluster|nodes";

/// A `redis-server` as a process; killed by its id when dropped. It keeps nothing on disk: started again, it is empty.
pub struct Redis {
    child: Child,
    port: u16,
    lines: Vec<String>,
    folder: TempDir,
}

impl Redis {
    /// Whether Redis is installed. Where it must be, its absence fails; elsewhere a line says that a test is skipped.
    pub fn is_here() -> bool {
        let here = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_ok();
        assert!(here || setting("GREENROOM_REQUIRE_TOOLS").is_none(), "redis-server is missing");
        if !here {
            println!("skipped: redis-server is missing");
        }
        here
    }

    /// Starts a server.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with these lines in its configuration.
    pub fn start_with(lines: &[&str]) -> Self {
        Self::try_start_with(lines).unwrap_or_else(|log| panic!("redis-server does not start: {log}"))
    }

    /// The same, where the server may not know a line.
    ///
    /// # Errors
    /// What it has logged.
    pub fn try_start_with(lines: &[&str]) -> Result<Self, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        // Between the choice of a port and its use another process may take it.
        for _ in 0..PORTS_TRIED {
            let port = free_port();
            if let Some(child) = launch(folder.path(), port, &lines) {
                return Ok(Self { child, port, lines, folder });
            }
        }
        Err(log(folder.path()))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// For nodes.
    pub fn url(&self) -> String {
        self.url_at(self.address())
    }

    /// For nodes that reach it by another address, such as a proxy's.
    pub fn url_at(&self, address: SocketAddr) -> String {
        format!("redis://greenroom:node-secret@{address}")
    }

    /// Where it keeps its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A connection that may do everything.
    pub fn admin(&self) -> redis::Connection {
        let until = Instant::now() + STARTED_WITHIN;
        loop {
            // A sentinel ends all connections of a server that is the master no more.
            match try_admin(self.port) {
                Some(admin) => return admin,
                None => {
                    assert!(
                        Instant::now() < until,
                        "the server does not answer: {}",
                        log(self.folder.path())
                    );
                }
            }
            thread::sleep(POLL);
        }
    }

    /// Does one command with all rights.
    pub fn run<T: FromRedisValue>(&self, words: &[&str]) -> T {
        match command(words).query(&mut self.admin()) {
            Ok(answer) => answer,
            Err(error) if error.is_connection_dropped() => self.run(words),
            Err(error) => panic!("{words:?}: {error}"),
        }
    }

    /// Throws all data away.
    pub fn empty(&self) {
        self.run::<()>(&["FLUSHALL"]);
    }

    /// Every key, for looking at what is left.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.run(&["KEYS", "*"]);
        keys.sort();
        keys
    }

    /// Holds up every command for so long; connections stay.
    pub fn pause(&self, pause: Duration) {
        self.run::<()>(&["CLIENT", "PAUSE", &pause.as_millis().to_string(), "ALL"]);
    }

    /// Stops its process where it is; the kernel goes on taking connections for it.
    pub fn freeze(&self) {
        signal("STOP", self.pid());
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        signal("CONT", self.pid());
    }

    /// Ends it as a power cut would. Gone when this returns.
    pub fn kill(&mut self) {
        // Errors are those of a process that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again at the same address, empty. Ends it first, if it still runs.
    pub fn restart(&mut self) {
        self.kill();
        let until = Instant::now() + STARTED_WITHIN;
        loop {
            if let Some(child) = launch(self.folder.path(), self.port, &self.lines) {
                self.child = child;
                return;
            }
            assert!(Instant::now() < until, "it does not start again: {}", log(self.folder.path()));
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A command of these words.
pub fn command(words: &[&str]) -> redis::Cmd {
    let (name, arguments) = words.split_first().expect("a command");
    let mut command = cmd(name);
    command.arg(arguments);
    command
}

/// A port of the loopback that nobody uses now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}

/// Starts a server and waits until it answers. `None`: it has ended, as when the port is taken.
fn launch(folder: &Path, port: u16, lines: &[String]) -> Option<Child> {
    let file = folder.join("redis.conf");
    let basics = format!(
        "bind 127.0.0.1\nport {port}\ndir {}\nsave \"\"\nappendonly no\nlogfile redis.log\n\
         user default on nopass ~* &* +@all\n{NODE_USER}\n",
        folder.display()
    );
    fs::write(&file, basics + &lines.join("\n") + "\n").expect("a configuration");
    let mut command = Command::new("redis-server");
    command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("redis-server is installed");
    let until = Instant::now() + STARTED_WITHIN;
    while try_admin(port).is_none() {
        if child.try_wait().expect("a child of ours").is_some() {
            return None;
        }
        assert!(Instant::now() < until, "redis-server does not answer: {}", log(folder));
        thread::sleep(POLL);
    }
    Some(child)
}

/// What it has logged.
fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("redis.log")).unwrap_or_default()
}

fn try_admin(port: u16) -> Option<redis::Connection> {
    let client = redis::Client::open((Ipv4Addr::LOCALHOST.to_string(), port)).ok()?;
    let mut connection = client.get_connection_with_timeout(Duration::from_secs(1)).ok()?;
    cmd("PING").query::<String>(&mut connection).ok()?;
    Some(connection)
}
