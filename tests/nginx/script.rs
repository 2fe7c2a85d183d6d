//! `scripts/cluster`: all of it with one command, and nothing left of it afterwards.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    rc::Rc,
};

use serde_json::json;

use crate::support::{Nginx, Peer, Postgres, Recorder, eventually, get, ready, signal, video, webm};

/// Whether all that the script starts is installed.
fn can_run() -> bool {
    Nginx::is_here() && Postgres::is_here()
}

/// The command for two nodes behind nginx, with all that it has in this folder.
fn script(folder: &Path) -> Command {
    let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/cluster"));
    script.arg("2").env("GREENROOM_BIN", env!("CARGO_BIN_EXE_greenroom"));
    script.env("STORAGE_LOCAL_PATH", folder).env("TMPDIR", folder);
    script.env("HOST", "127.0.0.1").env("PORT", "0").stdin(Stdio::null());
    script
}

/// The command while it runs.
struct Running {
    script: Child,
    folder: Rc<tempfile::TempDir>,
}

impl Running {
    /// Starts two nodes behind nginx, and waits until it says that all is there.
    async fn start() -> Self {
        Self::start_in(Rc::new(tempfile::tempdir().expect("a folder"))).await
    }

    /// The same on what another one has left in this folder.
    async fn start_in(folder: Rc<tempfile::TempDir>) -> Self {
        let file = |name: &str| File::create(folder.path().join(name)).expect("a file");
        let script = script(folder.path())
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

    /// Asks it to stop and waits until it has; the answer is its exit code.
    async fn stop(&mut self) -> Option<i32> {
        signal("TERM", self.script.id());
        let ended =
            eventually("the script has ended", async || self.script.try_wait().expect("a child of ours"));
        ended.await.code()
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

    /// Where each node listens.
    fn nodes(&self) -> Vec<SocketAddr> {
        let says = self.read("says");
        let lines = says.lines().filter(|line| line.starts_with("  node-"));
        let addresses =
            lines.filter_map(|line| line.split_once("http://")?.1.split_once('/')?.0.parse().ok());
        addresses.collect()
    }

    /// The processes it has told of: nginx, two nodes, Redis and PostgreSQL.
    fn parts(&self) -> Vec<u32> {
        let says = self.read("says");
        let pids = says.lines().filter_map(|line| line.split_once("  pid ")?.1.split([',', ' ']).next());
        let pids: Vec<u32> = pids.map(|pid| pid.parse().expect("a number")).collect();
        assert_eq!(pids.len(), 5, "{says}");
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
    if !can_run() {
        return;
    }
    let mut running = Running::start().await;
    let mut ada = Peer::join_through(running.address(), "blue", "ada").await;
    let bob = Peer::join_through(running.address(), "blue", "bob").await;
    assert_ne!(ada.welcome["node_id"], bob.welcome["node_id"]);
    assert_eq!(ada.expect("UserJoined").await["user"]["user_id"], "bob");
    let parts = running.parts();
    signal("TERM", running.script.id());
    // The other node may be quicker to say that bob is on his way.
    while ada.next().await["type"] != "Draining" {}
    drop((ada, bob));
    assert_eq!(running.stop().await, Some(143), "{}", running.read("complains"));
    have_ended(&parts).await;
    let left: Vec<_> = fs::read_dir(running.folder.path()).expect("a folder").flatten().collect();
    assert!(!left.iter().any(|entry| entry.file_name().to_string_lossy().contains("greenroom")), "{left:?}");
}

#[tokio::test]
async fn its_parts_end_even_when_it_is_killed() {
    if !can_run() {
        return;
    }
    let running = Running::start().await;
    let parts = running.parts();
    drop(running);
    have_ended(&parts).await;
}

#[tokio::test]
async fn a_recording_made_through_one_node_is_in_the_library_of_all_also_after_a_restart() {
    if !can_run() {
        return;
    }
    let mut running = Running::start().await;
    let mut recorder =
        Recorder::start(running.address(), json!({ "recordId": "mine", "title": "Tuesday" })).await;
    let chunks = [webm().to_vec()];
    recorder.store_all(0, &chunks).await;
    recorder.stop_and_wait(&chunks).await;
    let whole = video(running.address(), &ready(running.address(), "mine").await).await;
    in_every_library(&running, &whole).await;
    running.stop().await;
    let running = Running::start_in(Rc::clone(&running.folder)).await;
    in_every_library(&running, &whole).await;
}

/// Each node lists the recording, and has its video.
async fn in_every_library(running: &Running, whole: &[u8]) {
    let nodes = running.nodes();
    assert_eq!(nodes.len(), 2, "{}", running.read("says"));
    for node in nodes {
        eventually("the recording is in its list", async || {
            let list = get(node, "/recordings").await.json();
            let found = list["recordings"].as_array().expect("a list").first()?.clone();
            assert_eq!((&found["recordId"], &found["title"]), (&json!("mine"), &json!("Tuesday")));
            (found["state"] == "ready").then_some(())
        })
        .await;
        assert!(video(node, &ready(node, "mine").await).await == whole, "the same bytes from {node}");
    }
}

#[tokio::test]
async fn it_tells_of_each_part_that_ends_and_how_to_start_it_again() {
    if !can_run() {
        return;
    }
    let running = Running::start().await;
    // At once, so that the end of one is told while the other ends.
    for node in &running.parts()[1..=2] {
        signal("KILL", *node);
    }
    for node in ["node-1", "node-2"] {
        let line = format!("{node} has ended with 137; to start it again, in another terminal:");
        eventually("its end is told", async || running.read("complains").contains(&line).then_some(())).await;
    }
    let told = running.read("complains");
    for node in ["node-1", "node-2"] {
        assert_eq!(told.matches(&format!("/{node}.start")).count(), 1, "{told}");
    }
    assert_eq!(get(running.address(), "/health/live").await.status, 502, "nginx still runs");
}

/// Whoever reads what it says, or looks at the processes of the machine, does not come into the database by it.
#[tokio::test]
async fn it_tells_nobody_the_password_of_the_database_and_psql_finds_it() {
    if !can_run() {
        return;
    }
    let running = Running::start().await;
    signal("KILL", running.parts()[1]);
    eventually("its end is told", async || running.read("complains").contains("node-1.start").then_some(()))
        .await;
    let storage = running.folder.path().join("cluster/postgres");
    let password = fs::read_to_string(storage.join("password")).expect("a password");
    let said = running.read("says") + &running.read("complains");
    assert!(!said.contains(&password), "{said}");
    for pid in running.parts().iter().skip(2) {
        let command = fs::read(format!("/proc/{pid}/cmdline")).expect("it runs");
        assert!(!String::from_utf8_lossy(&command).contains(&password));
    }
    let (_, command) = said.split_once("  PGPASSFILE=").expect("how to look into the database");
    let (command, _) = command.split_once("\n\n").expect("its end");
    let asked = Command::new("sh").arg("-c").arg(format!("PGPASSFILE={command}")).output().expect("a shell");
    assert!(asked.status.success(), "{asked:?}");
}

#[test]
fn a_database_of_another_version_is_named_in_a_sentence() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("cluster/postgres/data");
    fs::create_dir_all(&data).expect("made");
    fs::write(data.join("PG_VERSION"), "8\n").expect("written");
    let ended = script(folder.path()).output().expect("the script starts");
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let words = String::from_utf8_lossy(&ended.stderr);
    assert!(words.contains("is of PostgreSQL 8; install postgresql-8, or move the folder away"), "{words}");
}
