//! `scripts/cluster`: all of it with one command, and nothing left of it afterwards.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::support::{Nginx, Peer, eventually, signal};

/// The command while it runs.
struct Running {
    script: Child,
    folder: tempfile::TempDir,
}

impl Running {
    /// Starts two nodes behind nginx, and waits until it says that all is there.
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| File::create(folder.path().join(name)).expect("a file");
        let script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/cluster"))
            .arg("2")
            .env("GREENROOM_BIN", env!("CARGO_BIN_EXE_greenroom"))
            .env("STORAGE_LOCAL_PATH", folder.path())
            .env("TMPDIR", folder.path())
            .env("HOST", "127.0.0.1")
            .env("PORT", "0")
            .stdin(Stdio::null())
            .stdout(file("says"))
            .stderr(file("complains"))
            .spawn()
            .expect("the script starts");
        let mut running = Self { script, folder };
        eventually("everything is there", async || {
            let ended = running.script.try_wait().expect("a child of ours");
            assert!(ended.is_none(), "{ended:?}: {}", running.read("complains"));
            running.read("says").contains("Ctrl-C stops all.").then_some(())
        })
        .await;
        running
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).expect("a file")
    }

    /// Where nginx listens: what it says first.
    fn address(&self) -> SocketAddr {
        let says = self.read("says");
        let address = says.strip_prefix("greenroom: http://").and_then(|rest| rest.split('/').next());
        address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("no address: {says}"))
    }

    /// The processes it has told of: nginx, two nodes and Redis.
    fn parts(&self) -> Vec<u32> {
        let says = self.read("says");
        let pids = says.lines().filter_map(|line| line.split_once("  pid ")?.1.split([',', ' ']).next());
        let pids: Vec<u32> = pids.map(|pid| pid.parse().expect("a number")).collect();
        assert_eq!(pids.len(), 4, "{says}");
        pids
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Its parts end with it. Errors are those of one that has ended.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

/// Waits until none of these processes runs. One that nobody has waited for yet has ended all the same.
async fn have_ended(pids: &[u32]) {
    let runs = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with('Z'))
    };
    eventually("all parts have ended", async || (!pids.iter().any(runs)).then_some(())).await;
}

#[tokio::test]
async fn one_command_starts_a_cluster_and_takes_all_of_it_away_again() {
    if !Nginx::is_here() {
        return;
    }
    let mut running = Running::start().await;
    let mut ada = Peer::join_through(running.address(), "blue", "ada").await;
    let bob = Peer::join_through(running.address(), "blue", "bob").await;
    assert_ne!(ada.welcome["node_id"], bob.welcome["node_id"]);
    assert_eq!(ada.expect("UserJoined").await["user"]["user_id"], "bob");
    let parts = running.parts();
    signal("TERM", running.script.id());
    ada.expect("Draining").await;
    drop((ada, bob));
    let ended =
        eventually("the script has ended", async || running.script.try_wait().expect("a child of ours"))
            .await;
    assert_eq!(ended.code(), Some(143), "{}", running.read("complains"));
    have_ended(&parts).await;
    let left: Vec<_> = fs::read_dir(running.folder.path()).expect("a folder").flatten().collect();
    assert!(!left.iter().any(|entry| entry.file_name().to_string_lossy().contains("greenroom")), "{left:?}");
}

#[tokio::test]
async fn its_parts_end_even_when_it_is_killed() {
    if !Nginx::is_here() {
        return;
    }
    let running = Running::start().await;
    let parts = running.parts();
    drop(running);
    have_ended(&parts).await;
}
