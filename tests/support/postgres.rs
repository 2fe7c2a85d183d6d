//! A real PostgreSQL on a free loopback port, in a folder of its own. Nodes enter it as a user who owns their databases and
//! nothing else.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    os::unix::{
        fs::{MetadataExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;

use super::{free_port, setting, signal};

/// Longest that a server may take to answer after its start.
const STARTED_WITHIN: Duration = Duration::from_secs(20);
/// A port that was free a moment ago may be taken; then another is tried.
const PORTS_TRIED: usize = 5;
/// How often it is asked.
const POLL: Duration = Duration::from_millis(20);
/// Files in memory, on Linux.
const MEMORY: &str = "/dev/shm";
/// What must be free there: a server has 50 MB at first, and several tests have one each.
const MEMORY_BYTES_MIN: u64 = 2 << 30;
/// Where distributions that can have several versions at once keep each of them.
const VERSIONS: &str = "/usr/lib/postgresql";

/// A `postgres` as a process; ended by its id when dropped. What it has taken outlives a kill, but not a power cut.
pub struct Postgres {
    programs: PathBuf,
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Postgres {
    /// Whether PostgreSQL is installed. Where it must be, its absence fails; elsewhere a line says that a test is skipped.
    pub fn is_here() -> bool {
        let here = programs().is_some();
        assert!(here || setting("GREENROOM_REQUIRE_TOOLS").is_none(), "postgres is missing");
        if !here {
            println!("skipped: postgres is missing");
        }
        here
    }

    /// Makes and starts a server.
    pub async fn start() -> Self {
        let programs = programs().expect("PostgreSQL is installed");
        let folder = folder().expect("a folder");
        initialise(&programs, folder.path());
        // Between the choice of a port and its use another process may take it.
        for _ in 0..PORTS_TRIED {
            let port = free_port();
            if let Some(child) = launch(&programs, folder.path(), port).await {
                let server = Self { programs, child, port, folder };
                server.run("postgres", "CREATE ROLE greenroom LOGIN PASSWORD 'node-secret'").await;
                return server;
            }
        }
        panic!("postgres does not start: {}", log(folder.path()));
    }

    /// Makes a database for nodes, whose letters are in the order of a language, as they are in most.
    pub async fn create(&self, database: &str) {
        self.create_as(database, "ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'").await;
    }

    /// The same with these words at the end of its statement.
    pub async fn create_as(&self, database: &str, words: &str) {
        let statement = format!("CREATE DATABASE \"{database}\" OWNER greenroom TEMPLATE template0 {words}");
        self.run("postgres", &statement).await;
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// For nodes.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://greenroom:node-secret@{}/{database}", self.address())
    }

    /// Does one statement with all rights.
    pub async fn run(&self, database: &str, statement: &str) {
        let mut admin = self.admin(database).await;
        let done = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut admin).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
        admin.close().await.expect("it says goodbye");
    }

    /// A connection that may do everything.
    pub async fn admin(&self, database: &str) -> PgConnection {
        admin(self.port, database).await.expect("the server answers")
    }

    /// Stops all its processes where they are; the kernel goes on taking connections for it.
    pub fn freeze(&self) {
        // The one that starts the others first.
        signal("STOP", self.child.id());
        self.tell_children("STOP");
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        self.tell_children("CONT");
        signal("CONT", self.child.id());
    }

    /// Ends it as a crash would. Its last processes may take a moment more.
    pub fn kill(&mut self) {
        // Errors are those of a process that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again at the same address, with what it has. Ends it first, if it still runs.
    pub async fn restart(&mut self) {
        self.kill();
        let until = Instant::now() + STARTED_WITHIN;
        loop {
            if let Some(child) = launch(&self.programs, self.folder.path(), self.port).await {
                self.child = child;
                return;
            }
            assert!(Instant::now() < until, "it does not start again: {}", log(self.folder.path()));
        }
    }

    /// A server has a process for each connection, and some for itself.
    fn tell_children(&self, signal: &str) {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"kill -s "$@""#, "sh", signal]).args(children.split_whitespace());
        // One whose connection has just ended may be gone.
        let _ = shell.stderr(Stdio::null()).status().expect("a shell");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.thaw();
            // At once, but not without giving back its shared memory.
            signal("QUIT", self.child.id());
            let until = Instant::now() + Duration::from_secs(5);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
                thread::sleep(POLL);
            }
        }
        self.kill();
    }
}

/// In memory, where there is room: a server begins with more than a thousand files, for which a disk that has just seen those of
/// other tests go looks long. It is asked to sync none of them.
fn folder() -> io::Result<TempDir> {
    let free = rustix::fs::statvfs(MEMORY).map(|there| there.f_bavail * there.f_frsize);
    if free.is_ok_and(|free| free >= MEMORY_BYTES_MIN) {
        return tempfile::tempdir_in(MEMORY);
    }
    tempfile::tempdir()
}

/// The folder of its programs: where the shell finds them, or of the newest version of those side by side.
fn programs() -> Option<PathBuf> {
    let path = setting("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let mut versions: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    versions.sort();
    folders.extend(versions.into_iter().rev());
    folders.into_iter().find(|folder| folder.join("postgres").exists() && folder.join("initdb").exists())
}

/// A program of it. It refuses to run as root, so root runs it as whoever owns the folder.
fn program(programs: &Path, name: &str, folder: &Path) -> Command {
    let owner = fs::metadata(folder).expect("a folder");
    let mut command = Command::new(programs.join(name));
    command.current_dir(folder).stdin(Stdio::null()).uid(owner.uid()).gid(owner.gid());
    command
}

/// Makes what a server needs, in an empty folder.
fn initialise(programs: &Path, folder: &Path) {
    if fs::metadata(folder).expect("a folder").uid() == 0 {
        let (user, group) = somebody();
        chown(folder, Some(user), Some(group)).expect("root may");
    }
    fs::write(folder.join("password"), "admin-secret").expect("a file");
    let mut command = program(programs, "initdb", folder);
    command.args(["--pgdata=data", "--username=admin", "--pwfile=password", "--auth=scram-sha-256"]);
    command.args(["--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]);
    let done = command.output().expect("initdb starts");
    assert!(done.status.success(), "initdb: {}", String::from_utf8_lossy(&done.stderr));
}

/// Whom root runs it as: its own user, where there is one.
fn somebody() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").expect("users");
    let find = |name: &str| {
        let mut fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let user = fields.find(|fields| fields.first() == Some(&name))?;
        Some((user.get(2)?.parse().ok()?, user.get(3)?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody")).expect("somebody who is not root")
}

/// Starts a server and waits until it answers. `None`: it has ended, as when the port is taken.
async fn launch(programs: &Path, folder: &Path, port: u16) -> Option<Child> {
    let log_file = fs::File::options().create(true).append(true).open(folder.join("log")).expect("a log");
    let mut command = program(programs, "postgres", folder);
    command.args(["-D", "data", "-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
    command.args(["-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "max_connections=300"]);
    let mut child = command.stdout(Stdio::null()).stderr(log_file).spawn().expect("postgres starts");
    let until = Instant::now() + STARTED_WITHIN;
    while admin(port, "postgres").await.is_none() {
        if child.try_wait().expect("a child of ours").is_some() {
            return None;
        }
        assert!(Instant::now() < until, "postgres does not answer: {}", log(folder));
        tokio::time::sleep(POLL).await;
    }
    Some(child)
}

/// What it has logged.
fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

async fn admin(port: u16, database: &str) -> Option<PgConnection> {
    let url = format!("postgres://admin:admin-secret@127.0.0.1:{port}/{database}");
    PgConnection::connect(&url).await.ok()
}
