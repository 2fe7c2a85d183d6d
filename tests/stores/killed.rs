//! What was acknowledged is there after the process was killed, and the order of the system calls that makes it survive
//! the loss of power too.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use greenroom::adapters::{
    catalog::{SqlCatalog, sqlite_url},
    chunk_store::FolderChunks,
    ports::{Catalog as _, CatalogRow, ChunkStore as _, Committed},
};
use tempfile::TempDir;

use crate::{
    catalog_suite::row,
    chunk_suite::{manifest, put},
    id, index, mark, metrics,
    support::setting,
};

/// Where the process that will be killed writes; without it, this is not that process.
const FOLDER: &str = "GREENROOM_TEST_KILLED_FOLDER";
/// How many chunks it writes at most.
const PUTS: &str = "GREENROOM_TEST_KILLED_PUTS";
const ACKED: &str = "acked ";

fn payload(at: u32) -> Vec<u8> {
    at.to_be_bytes().repeat(5000)
}

/// Not a test of its own: what the tests below start as another process, and kill.
#[tokio::test]
#[ignore = "the other process of the tests beside it"]
async fn writes_until_it_is_killed() {
    let Some(root) = setting(FOLDER) else { return };
    let root = Path::new(&root);
    let store = FolderChunks::open(root).unwrap();
    let catalog = SqlCatalog::open(&sqlite_url(&root.join("recordings.db")), metrics()).await.unwrap();
    store.create(manifest(&id("killed"), 1)).await.unwrap();
    let from = u32::try_from(store.list(&id("killed")).await.unwrap().len()).unwrap();
    let puts: u32 = setting(PUTS).unwrap().parse().unwrap();
    for at in from..from + puts {
        let answer = put(&store, &id("killed"), at, &payload(at)).await.unwrap();
        assert_eq!(answer, Committed::Stored);
        catalog.put(CatalogRow { chunks: at + 1, ..row("killed", 1) }, vec![]).await.unwrap();
        println!("\n{ACKED}{at}");
    }
}

/// The arguments that make this test program that other process.
const AS_OTHER: [&str; 4] = ["--exact", "killed::writes_until_it_is_killed", "--ignored", "--nocapture"];

fn this_program() -> std::path::PathBuf {
    fs::read_link("/proc/self/exe").unwrap()
}

fn start(mut command: Command, root: &Path, puts: u32) -> Child {
    command.args(AS_OTHER).env(FOLDER, root).env(PUTS, puts.to_string()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// The number in a line that acknowledges.
fn acked(line: &str) -> Option<u32> {
    line.strip_prefix(ACKED).map(|number| number.parse().unwrap())
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let root = TempDir::new().unwrap();
    let mut expected = 0;
    for enough in [1, 20, 50] {
        let mut other = start(Command::new(this_program()), root.path(), u32::MAX / 2);
        let lines = BufReader::new(other.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut counted = 0;
        for number in lines.filter_map(|line| acked(&line)) {
            counted += 1;
            expected = number + 1;
            if counted == enough {
                other.kill().unwrap();
            }
        }
        other.wait().unwrap();
        assert!(counted >= enough, "it ended by itself after {counted}");

        let store = FolderChunks::open(root.path()).unwrap();
        let listed = store.list(&id("killed")).await.unwrap();
        assert!(listed.len() >= expected as usize, "{} of {expected}", listed.len());
        for (chunk, at) in listed.iter().zip(0..) {
            assert_eq!((chunk.index, chunk.mark), (index(at), mark(&payload(at))));
            assert!(store.read(&id("killed"), index(at)).await.unwrap() == payload(at), "chunk {at}");
        }
        let catalog =
            SqlCatalog::open(&sqlite_url(&root.path().join("recordings.db")), metrics()).await.unwrap();
        let row = catalog.get(&id("killed")).await.unwrap().expect("a row");
        assert!(row.chunks >= expected, "{} of {expected}", row.chunks);
        assert_eq!(store.manifest(&id("killed")).await.unwrap(), Some(manifest(&id("killed"), 1)));
    }
}

/// Bytes, then names, then the folder, then the word: any other order loses an acknowledged chunk with the power.
#[test]
fn nothing_is_acknowledged_before_bytes_and_names_are_synced() {
    const CALLS: &str = "trace=mkdir,fsync,fdatasync,link,linkat,rename,renameat,renameat2,write";
    let root = TempDir::new().unwrap();
    let trace = root.path().join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-s", "64", "-e", CALLS, "-o"]).arg(&trace).arg(this_program());
    if !Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success())
    {
        println!("skipped: strace is missing or may not trace");
        return;
    }
    assert!(start(strace, root.path(), 1).wait().unwrap().success());
    let trace = fs::read_to_string(&trace).unwrap();
    let folder = format!("{}/chunks", root.path().canonicalize().unwrap().display());

    // Each is looked for after the one before.
    let steps = [
        ("mkdir(", format!("{folder}/killed\"")),
        ("fsync(", format!("<{folder}>")),
        ("fsync(", format!("<{folder}/killed/.partial-")),
        ("link", "/killed/manifest.json\"".to_owned()),
        ("fsync(", format!("<{folder}/killed>")),
        ("write(", format!("<{folder}/killed/.partial-")),
        ("fsync(", format!("<{folder}/killed/.partial-")),
        ("link", "/mark_00000000_20000_".to_owned()),
        ("link", "/chunk_00000000\"".to_owned()),
        ("fsync(", format!("<{folder}/killed>")),
        ("sync(", "recordings.db-wal>".to_owned()),
        ("write(1", format!("{ACKED}0")),
    ];
    let mut lines = trace.lines();
    for (call, what) in &steps {
        let found = lines.any(|line| line.contains(call) && line.contains(what));
        assert!(found, "no {call}…{what} in its turn in\n{trace}");
    }
}
