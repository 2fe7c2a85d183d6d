//! ffmpeg killed, hanging, lying, flooding or not there: nothing is taken for a video that is none, and nothing is
//! left behind.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use greenroom::adapters::ports::{MergeError, Merger};

use crate::{
    kit::{LIVE, OPUS, Recording, Shelf, VP8, both, media, merge_in, run, try_merge, with_programs},
    support::setting,
};

const DEADLINE: Duration = Duration::from_secs(20);

fn recording() -> Recording {
    Recording::default().segment(&media(&format!("{} {VP8} {OPUS} {LIVE}", both("160x120", "4"))), 5, 1)
}

/// A program of ours in ffmpeg's place.
fn fake(folder: &Path, body: &str) -> PathBuf {
    let script = folder.join("fake-ffmpeg");
    fs::write(&script, format!("#!/bin/sh\n[ \"$1\" = ready ] && exit 0\n{body}\n")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    // A child that another thread is starting may hold the file open for a moment: then it cannot be run.
    eventually("the script can be run", || Command::new(&script).arg("ready").status().is_ok());
    script
}

fn eventually(what: &str, mut ask: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !ask() {
        assert!(Instant::now() < until, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process does anything any more; one that is only waiting to be counted does not.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// Waits for a process to write its number.
fn pid_in(file: &Path) -> String {
    eventually("a process has said its number", || {
        fs::read_to_string(file).is_ok_and(|pid| pid.ends_with('\n'))
    });
    fs::read_to_string(file).unwrap().trim().to_owned()
}

async fn fails(body: &str, limit: Duration) -> MergeError {
    let folder = tempfile::tempdir().unwrap();
    let merger = with_programs(fake(folder.path(), body), limit);
    let recording = recording();
    try_merge(&recording, Shelf::of(&recording), &merger).await.map(drop).unwrap_err()
}

#[tokio::test]
async fn it_says_what_it_is() {
    let version = with_programs("ffmpeg".into(), DEADLINE).check().await.unwrap();
    assert!(version.starts_with("ffmpeg version "), "{version}");
}

#[tokio::test]
async fn missing() {
    let merger = with_programs("/nowhere/ffmpeg".into(), DEADLINE);
    let error = merger.check().await.unwrap_err();
    assert!(matches!(error, MergeError::Unavailable(_)), "{error}");
    let recording = recording();
    let error = try_merge(&recording, Shelf::of(&recording), &merger).await.map(drop).unwrap_err();
    assert!(matches!(error, MergeError::Unavailable(_)) && error.is_transient(), "{error}");
}

#[tokio::test]
async fn killed_in_the_middle() {
    let error = fails("head -c 30000 > /dev/null; echo half-way >&2; kill -9 $$", DEADLINE).await;
    let MergeError::Interrupted(said) = &error else { panic!("{error}") };
    assert!(said.contains("signal 9") && said.contains("half-way"), "{said}");
}

#[tokio::test]
async fn hanging() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let error = fails(&format!("echo $$ > {}; exec sleep 600", pid.display()), Duration::from_secs(1)).await;
    let MergeError::Interrupted(said) = &error else { panic!("{error}") };
    assert!(said.contains("was not done within"), "{said}");
    let pid = pid_in(&pid);
    eventually("it is gone", || !runs(&pid));
}

#[tokio::test]
async fn content_with_half_of_it() {
    // All that ffmpeg does, then half of the file, then success.
    let body = "for last; do :; done; ffmpeg \"$@\" || exit\n\
                case $last in *.webm) truncate -s $(($(stat -c %s $last) / 2)) $last;; esac";
    let error = fails(body, DEADLINE).await;
    assert!(matches!(error, MergeError::NotProven(_)), "{error}");
    let error = fails("cat > /dev/null; exit 0", DEADLINE).await;
    assert!(matches!(error, MergeError::NotProven(_)), "{error}");
}

#[tokio::test]
async fn an_altered_packet_time_is_found() {
    // The whole file, exit 0, a picture a tenth of a second late.
    let body = "for last; do :; done; ffmpeg \"$@\" || exit\n\
                case $last in *.webm) ffmpeg -v error -y -i $last -c copy -bsf:v \"setts=ts=TS+100*eq(N\\,40)\" \
                -reserve_index_space 4000 -f webm late.webm && mv late.webm $last;; esac";
    let error = fails(body, DEADLINE).await;
    let MergeError::NotProven(said) = &error else { panic!("{error}") };
    assert!(said.contains("packet 40 of vp8"), "{said}");
}

#[tokio::test]
async fn flooding_its_complaints() {
    let error = fails(
        "cat > /dev/null; yes 'all is lost' | head -c 30000000 >&2; echo the end >&2; exit 3",
        DEADLINE,
    )
    .await;
    let MergeError::Impossible(said) = &error else { panic!("{error}") };
    assert!(said.ends_with("the end") && said.contains("ended with 3"), "{said}");
    assert!(said.len() < 5000, "{} bytes", said.len());
}

#[tokio::test]
async fn a_merge_that_is_given_up_ends_its_program() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let script = fake(folder.path(), &format!("echo $$ > {}; exec sleep 600", pid.display()));
    let recording = recording();
    let merger = with_programs(script, DEADLINE);
    let merging = try_merge(&recording, Shelf::of(&recording), &merger);
    tokio::select! {
        _ = merging => panic!("it hangs"),
        () = async { while !fs::read_to_string(&pid).is_ok_and(|pid| pid.ends_with('\n')) { tokio::time::sleep(Duration::from_millis(5)).await } } => {}
    }
    let pid = pid_in(&pid);
    eventually("it is gone", || !runs(&pid));
}

/// Merges with a program that never ends, until it is killed; run by the next test as a process of its own.
#[tokio::test]
#[ignore = "another test starts it"]
async fn a_node_that_is_about_to_be_killed() {
    let folder = PathBuf::from(setting("MERGING_FOLDER").expect("started by another test"));
    let pid = folder.join("pid");
    // A real ffmpeg that reads no standard input.
    let endless = "exec ffmpeg -v error -nostdin -re -f lavfi -i testsrc -f null -";
    let script = fake(&folder, &format!("echo $$ > {}; {endless}", pid.display()));
    let recording = recording();
    let merger = with_programs(script, Duration::from_secs(600));
    let _ = try_merge(&recording, Shelf::of(&recording), &merger).await;
}

#[test]
fn a_node_killed_at_once_leaves_no_ffmpeg() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "programs::a_node_that_is_about_to_be_killed", "--ignored"])
        .env("MERGING_FOLDER", folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let ffmpeg = pid_in(&folder.path().join("pid"));
    eventually("ffmpeg runs", || {
        fs::read_to_string(format!("/proc/{ffmpeg}/comm")).is_ok_and(|name| name.trim() == "ffmpeg")
    });
    node.kill().unwrap();
    node.wait().unwrap();
    eventually("no ffmpeg is left over", || !runs(&ffmpeg));
}

/// A folder on a disk of its own; `None` where this machine lets nobody mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(kib: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={kib}k");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path()).output();
        mount.is_ok_and(|mount| mount.status.success()).then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run("umount", &["-l", self.0.path().to_str().unwrap()]);
    }
}

#[tokio::test]
async fn a_full_disk_is_no_end() {
    let Some(disk) = SmallDisk::new(64) else {
        return println!("skipped: this machine lets nobody mount a small disk");
    };
    let recording = recording();
    for recording in [&recording, &recording_in_two()] {
        let folder = tempfile::tempdir_in(disk.0.path()).unwrap();
        let merger = with_programs("ffmpeg".into(), DEADLINE);
        let error = merge_in(folder, recording, Shelf::of(recording), &merger).await.map(drop).unwrap_err();
        assert!(matches!(error, MergeError::Interrupted(_)), "{error}");
    }
}

fn recording_in_two() -> Recording {
    let source = media(&format!("{} {VP8} {OPUS} {LIVE}", both("160x120", "4")));
    recording().segment(&source, 3, 2)
}
