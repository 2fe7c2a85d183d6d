//! A node whose clock is wrong: what is due is due by the ledger's clock.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::json;

use crate::support::{
    Cluster, Receiver, Recorder, Redis, Upload, check_video, cut, get, ready, setting, status, webm,
};

/// Takes the place of the C library's wall clock, which is then so many seconds off; what counts spans stays right.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, id, now);
    const char *off = getenv("SECONDS_OFF");
    if (!failed && id == CLOCK_REALTIME && off) now->tv_sec += atol(off);
    return failed;
}
"#;

/// Builds it. `None`, with a word about it, where there is no C compiler.
#[expect(clippy::print_stdout, reason = "who reads the test's output learns why it did nothing")]
fn clock(folder: &Path) -> Option<String> {
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    fs::write(&source, CLOCK).unwrap();
    let mut compiler = Command::new("cc");
    let built = compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).status();
    if built.is_ok_and(|status| status.success()) {
        return Some(library.display().to_string());
    }
    assert!(setting("GREENROOM_REQUIRE_TOOLS").is_none(), "cc is missing");
    println!("skipped: cc is missing");
    None
}

#[tokio::test]
async fn clocks_that_are_an_hour_off_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = clock(folder.path()) else { return };
    if !Redis::is_here() {
        return;
    }
    let mut cluster = Cluster::start_with(3, &["--lease-secs=2", "--recording-grace-secs=2"]).await;
    for (node, off) in [(0, "3600"), (1, "-3600")] {
        cluster.kill(node);
        let environment = [("LD_PRELOAD", library.clone()), ("SECONDS_OFF", off.to_owned())];
        cluster.restart_in(node, &[], &environment).await;
    }
    let mut hours = Vec::new();
    for node in 0..3 {
        let head = get(cluster.address(node), "/health/live").await.head;
        let date = head.lines().find_map(|line| line.strip_prefix("date: ")).expect("a date").to_owned();
        hours.push(date.split(' ').nth(4).expect("a time")[..2].to_owned());
    }
    assert!(hours[0] != hours[1] && hours[1] != hours[2] && hours[2] != hours[0], "{hours:?}");
    let chunks = cut(webm(), 6, 360);
    let mut ahead = Recorder::start(cluster.address(0), json!({ "recordId": "ahead" })).await;
    let mut behind = Recorder::start(cluster.address(1), json!({ "recordId": "behind" })).await;
    ahead.store_all(0, &chunks[..2]).await;
    behind.store_all(0, &chunks[..2]).await;
    // Neither is given up, nor kept for an hour, by a node that sees another time.
    let (token, other) = (ahead.lose(), behind.lose());
    let mut ahead = Recorder::go_on(cluster.address(1), &token).await;
    let mut behind = Recorder::go_on(cluster.address(0), &other).await;
    assert_eq!(
        (&ahead.started["state"], &behind.started["state"]),
        (&json!("recording"), &json!("recording"))
    );
    ahead.store_all(2, &chunks[2..]).await;
    behind.store_all(2, &chunks[2..]).await;
    let told = ahead.stop_and_wait(&chunks).await;
    assert_eq!(told["version"], 1);
    check_video(cluster.address(2), &told, webm()).await;
    behind.lose();
    let row = ready(cluster.address(2), "behind").await;
    assert_eq!(row["version"], 1);
    check_video(cluster.address(0), &row, webm()).await;
    // By whose clock they began shows in their order.
    let straight = Recorder::start(cluster.address(2), json!({ "recordId": "straight" })).await;
    let mut began = Vec::new();
    for id in ["ahead", "behind", &straight.id()] {
        began.push(status(cluster.address(2), id).await["startedAt"].as_str().unwrap().to_owned());
    }
    assert!(began.is_sorted(), "{began:?}");
}

/// Whoever is told refuses what is signed at another time than its own.
#[tokio::test]
async fn what_the_application_is_told_is_signed_at_the_time_that_all_go_by() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = clock(folder.path()) else { return };
    if !Redis::is_here() {
        return;
    }
    let receiver = Receiver::start();
    let flags = receiver.flags();
    let mut cluster = Cluster::start_with(2, &["--lease-secs=2", &flags[0], &flags[1]]).await;
    let offs = ["3600", "-3600"];
    let wrong = |node: usize| [("LD_PRELOAD", library.clone()), ("SECONDS_OFF", offs[node].to_owned())];
    for node in 0..2 {
        cluster.kill(node);
        cluster.restart_in(node, &[], &wrong(node)).await;
    }
    // Whichever of them tells, and then the other.
    for (gone, left) in [(0, 1), (1, 0)] {
        cluster.kill(gone);
        let id = format!("talk-{left}");
        let (upload, _) = Upload::start(cluster.address(left), json!({ "recordId": id })).await;
        assert_eq!(upload.put(0, webm()).await.status, 200);
        assert_eq!(upload.stop(json!({ "chunks": 1 })).await.status, 202);
        let call = receiver.hears(&format!("ready {id}")).await;
        let signed: u64 = call.header("webhook-timestamp").parse().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!(signed.abs_diff(now) < 600, "{signed} at {now}");
        cluster.restart_in(gone, &[], &wrong(gone)).await;
    }
}
