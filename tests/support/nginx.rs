//! nginx with the configuration that is shipped. Only where it listens and which nodes there are is said from outside.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Instant,
};

use tempfile::TempDir;

use super::{DEADLINE, POLL, setting, signal};

/// The configurations that are shipped.
pub const CONFIGURATIONS: [&str; 2] = ["round_robin", "sticky_by_room"];

/// A port that was free a moment ago may be taken; then another is tried.
const PORTS_TRIED: usize = 5;

/// An nginx on a free port of the loopback; ended when dropped.
pub struct Nginx {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Nginx {
    /// Whether nginx is installed. Where it must be, its absence fails; elsewhere a line says that a test is skipped.
    pub fn is_here() -> bool {
        let here = Command::new(program()).arg("-v").stderr(Stdio::null()).status().is_ok();
        assert!(here || setting("GREENROOM_REQUIRE_TOOLS").is_none(), "nginx is missing");
        if !here {
            println!("skipped: nginx is missing");
        }
        here
    }

    /// Starts nginx with one of [`CONFIGURATIONS`] in front of these nodes.
    pub fn start(configuration: &str, nodes: &[SocketAddr]) -> Self {
        for _ in 0..PORTS_TRIED {
            if let Some(nginx) = Self::try_start(configuration, nodes) {
                return nginx;
            }
        }
        panic!("no port for nginx");
    }

    /// `None`: the port was taken by somebody else.
    fn try_start(configuration: &str, nodes: &[SocketAddr]) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("bound");
        lay_out(folder.path(), address, nodes);
        drop(free);
        let log = |name: &str| File::create(folder.path().join(name)).expect("a file");
        let child = Command::new(program())
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(folder.path().join(format!("{configuration}.conf")))
            .stdin(Stdio::null())
            .stdout(log("requests.log"))
            .stderr(log("errors.log"))
            .spawn()
            .expect("nginx starts");
        let mut nginx = Self { child, address, folder };
        let until = Instant::now() + DEADLINE;
        while TcpStream::connect(address).is_err() {
            if nginx.child.try_wait().expect("a child of ours").is_some() {
                let errors = nginx.errors();
                assert!(errors.contains("Address already in use"), "nginx does not start: {errors}");
                return None;
            }
            assert!(Instant::now() < until, "nginx does not listen: {}", nginx.errors());
            thread::sleep(POLL);
        }
        Some(nginx)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A line for each request that is over.
    pub fn requests(&self) -> String {
        fs::read_to_string(self.folder.path().join("requests.log")).expect("a log")
    }

    /// The nodes that were asked so far, also in vain.
    pub fn nodes_asked(&self) -> BTreeSet<SocketAddr> {
        let requests = self.requests();
        let asked = requests.lines().filter_map(|line| line.split_once(" to ")?.1.split_once(" in "));
        asked.flat_map(|(nodes, _)| nodes.split(", ")).map(|node| node.parse().expect("an address")).collect()
    }

    /// What it complained about.
    pub fn errors(&self) -> String {
        fs::read_to_string(self.folder.path().join("errors.log")).expect("a log")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers would outlive a master that is killed, so it is asked first. Errors are those of one that has ended.
        if matches!(self.child.try_wait(), Ok(None)) {
            signal("TERM", self.child.id());
            let until = Instant::now() + DEADLINE;
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
                thread::sleep(POLL);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Debian keeps it where only root looks.
fn program() -> PathBuf {
    let known = Path::new("/usr/sbin/nginx");
    if known.exists() { known.to_owned() } else { PathBuf::from("nginx") }
}

/// Copies the configuration as it is, and says in the two files meant for it what is different here.
fn lay_out(folder: &Path, address: SocketAddr, nodes: &[SocketAddr]) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/nginx");
    for entry in fs::read_dir(&shipped).expect("what is shipped") {
        let file = entry.expect("an entry").path();
        fs::copy(&file, folder.join(file.file_name().expect("a name"))).expect("a file");
    }
    let read = |name: &str| fs::read_to_string(shipped.join(name)).expect("shipped");
    let listen = read("listen.conf").replace("listen 8080;", &format!("listen {address};"));
    assert!(listen.contains(&address.to_string()), "{listen}");
    fs::write(folder.join("listen.conf"), listen).expect("a file");
    let named = read("nodes.conf");
    let line = named.lines().find(|line| line.contains("node-1:9000")).expect("a line for each node");
    let nodes: String =
        nodes.iter().map(|node| line.replace("node-1:9000", &node.to_string()) + "\n").collect();
    fs::write(folder.join("nodes.conf"), nodes).expect("a file");
}
