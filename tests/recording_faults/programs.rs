//! ffmpeg that is missing, hangs, dies, or lies.

use serde_json::json;

use crate::{
    stored,
    support::{
        BY_FFMPEG, Process, Recorder, Upload, check_video, cut, eventually, get, metric, ready, stand_in,
        state, status, webm,
    },
};

/// Records and stops; the recorder is there to hear what becomes of it.
async fn stopped(node: &Process, chunks: &[Vec<u8>]) -> Recorder {
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, chunks).await;
    recorder.stop(json!({ "chunks": chunks.len() })).await;
    recorder.expect("finished").await;
    recorder
}

#[tokio::test]
async fn without_ffmpeg_everything_is_kept_until_there_is_one() {
    let storage = tempfile::tempdir().unwrap();
    let chunks = cut(webm(), 4, 110);
    let node = Process::start_on(storage.path(), &["--ffmpeg=/nonexistent/ffmpeg", BY_FFMPEG]);
    let mut recorder = stopped(&node, &chunks).await;
    assert_eq!(recorder.started["merging"], "unavailable");
    let error = recorder.wait_for("recordingError").await;
    assert_eq!(
        (&error["code"], &error["retryable"]),
        (&json!("merging_unavailable"), &json!(true)),
        "{error}"
    );
    assert_eq!(get(node.address(), "/health").await.json()["checks"]["ffmpeg"], "down");
    assert_eq!(get(node.address(), "/health/ready").await.status, 200);
    for (index, chunk) in (0u32..).zip(&chunks) {
        assert_eq!(stored(storage.path(), "talk", index).as_ref(), Some(chunk));
    }
    assert_eq!(status(node.address(), "talk").await["error"]["code"], "merging_unavailable");
    node.kill();

    let node = Process::start_on(storage.path(), &[BY_FFMPEG]);
    let row = ready(node.address(), "talk").await;
    check_video(node.address(), &row, webm()).await;
    assert_eq!(row["error"], json!(null));
}

#[tokio::test]
async fn once_ffmpeg_is_there_videos_are_made_without_a_restart() {
    let storage = tempfile::tempdir().unwrap();
    let programs = tempfile::tempdir().unwrap();
    let chunks = cut(webm(), 3, 113);
    let missing = format!("--ffmpeg={}", programs.path().join("ffmpeg").display());
    let node = Process::start_on(storage.path(), &[&missing, BY_FFMPEG]);
    let mut recorder = stopped(&node, &chunks).await;
    let error = recorder.wait_for("recordingError").await;
    assert_eq!(error["code"], "merging_unavailable", "{error}");
    // As a package does it: whole, under another name first.
    let unpacked = tempfile::tempdir_in(programs.path()).unwrap();
    stand_in(unpacked.path(), "exec ffmpeg \"$@\"");
    std::fs::rename(unpacked.path().join("ffmpeg"), programs.path().join("ffmpeg")).unwrap();
    let told = recorder.ready().await;
    check_video(node.address(), &told, webm()).await;
    let health = get(node.address(), "/health").await.json();
    assert_eq!((&health["status"], &health["checks"]["ffmpeg"]), (&json!("ok"), &json!("ok")), "{health}");
    assert_eq!(status(node.address(), "talk").await["error"], json!(null));
    recorder.begin(json!({ "recordId": "next" })).await;
    assert_eq!(recorder.started["merging"], "available");
}

/// In its way of failing, nothing is made, nothing is lost, and a node with a good ffmpeg makes up for it.
async fn survives(body: &str, flags: &[&str], code: &str) {
    let storage = tempfile::tempdir().unwrap();
    let programs = tempfile::tempdir().unwrap();
    let bad = stand_in(programs.path(), body);
    let chunks = cut(webm(), 3, 111);
    let node = Process::start_on(storage.path(), &[&[bad.as_str(), BY_FFMPEG], flags].concat());
    let mut recorder = stopped(&node, &chunks).await;
    assert_eq!(recorder.started["merging"], "available");
    let error = recorder.wait_for("recordingError").await;
    assert_eq!(error["code"], code, "{error}");
    let row = status(node.address(), "talk").await;
    assert_eq!(row["error"]["code"], code, "{row}");
    assert_eq!((&row["downloadUrl"], &row["key"]), (&json!(null), &json!(null)), "{row}");
    assert_eq!(
        storage.path().join("recordings").read_dir().unwrap().count(),
        0,
        "no video and no piece of one"
    );
    for (index, chunk) in (0u32..).zip(&chunks) {
        assert_eq!(stored(storage.path(), "talk", index).as_ref(), Some(chunk), "nothing is thrown away");
    }
    node.kill();
    let node = Process::start_on(storage.path(), &[BY_FFMPEG]);
    let row = state(node.address(), "talk", "ready").await;
    check_video(node.address(), &row, webm()).await;
}

#[tokio::test]
async fn an_ffmpeg_that_hangs_is_ended() {
    survives("exec sleep 600", &["--merge-timeout-secs=1"], "merge_failed").await;
}

#[tokio::test]
async fn an_ffmpeg_that_does_not_read_is_ended() {
    survives("exec sleep 600 <&-", &["--merge-timeout-secs=1"], "merge_failed").await;
}

#[tokio::test]
async fn an_ffmpeg_that_is_killed_is_a_merge_that_failed() {
    survives("kill -9 $$", &[], "merge_failed").await;
}

#[tokio::test]
async fn an_ffmpeg_that_says_no_is_a_merge_that_failed() {
    survives("cat >/dev/null; echo 'Invalid data found' >&2; exit 1", &[], "merge_failed").await;
}

#[tokio::test]
async fn an_ffmpeg_that_makes_garbage_and_calls_it_good_is_not_believed() {
    let body = "cat >/dev/null; for file; do :; done; head -c 20000 /dev/urandom >\"$file\"; exit 0";
    survives(body, &[], "merge_failed").await;
}

#[tokio::test]
async fn an_ffmpeg_that_makes_nothing_and_calls_it_good_is_not_believed() {
    survives("cat >/dev/null; exit 0", &[], "merge_failed").await;
}

/// The first second is kept and the rest is dropped: what a concat of chunks would do, with status 0.
#[tokio::test]
async fn an_ffmpeg_that_drops_the_end_and_calls_it_good_is_not_believed() {
    let body = r#"case "$*" in *pipe:0*|*" - "*|*"-i -"*) exec ffmpeg -t 1 "$@";; esac
head=""; for last; do :; done
set -- "$@" X; n=$#; i=1; while [ $i -lt $((n-1)) ]; do a=$1; shift; set -- "$@" "$a"; i=$((i+1)); done
shift 2; exec ffmpeg "$@" -t 1 "$last""#;
    survives(body, &[], "merge_failed").await;
}

/// The others wait, and are made one after the other.
#[tokio::test]
async fn only_so_many_merges_run_at_once() {
    for (jobs, running) in [("--merge-jobs=1", 1), ("--merge-jobs=2", 2)] {
        let programs = tempfile::tempdir().unwrap();
        let at = programs.path().display();
        // Each merge has a folder of its own, which names it.
        let body = format!(
            "mkdir {at}/began-${{PWD##*/}} 2>/dev/null\nwhile [ ! -e {at}/go ]; do sleep 0.02; done\nexec ffmpeg \"$@\""
        );
        let node = Process::start(&[jobs, &stand_in(programs.path(), &body), BY_FFMPEG]);
        let address = node.address();
        let began = || {
            let names = std::fs::read_dir(programs.path()).unwrap().map(|entry| entry.unwrap().file_name());
            names.filter(|name| name.to_string_lossy().starts_with("began-")).count()
        };
        let names = ["one", "two", "three"];
        for name in names {
            let (upload, _) = Upload::start(address, json!({ "recordId": name })).await;
            upload.put(0, webm()).await;
            assert_eq!(upload.stop(json!({ "chunks": 1 })).await.status, 202);
        }
        // A node takes as many again as it can make at once; what is beyond that is for whoever has room.
        let waiting = running.min(names.len() - running);
        let counts = async || {
            (
                metric(address, "greenroom_merges_running").await,
                metric(address, "greenroom_merges_waiting").await,
            )
        };
        #[allow(clippy::cast_precision_loss, reason = "small")]
        let wanted = (running as f64, waiting as f64);
        eventually("as many run as may, and the others wait", async || {
            (counts().await == wanted && began() == running).then_some(())
        })
        .await;
        std::fs::write(programs.path().join("go"), "").unwrap();
        for name in names {
            ready(address, name).await;
        }
        assert_eq!(began(), names.len());
        eventually("nothing is left to do", async || (counts().await == (0.0, 0.0)).then_some(())).await;
    }
}

/// Nothing that a merge has started is left when its node is killed.
#[tokio::test]
async fn no_ffmpeg_outlives_its_node() {
    let storage = tempfile::tempdir().unwrap();
    let programs = tempfile::tempdir().unwrap();
    let pid_file = programs.path().join("pid");
    let slow = stand_in(
        programs.path(),
        &format!("echo $$ >{}.new; mv {0}.new {0}; exec sleep 600", pid_file.display()),
    );
    let node = Process::start_on(storage.path(), &[&slow, BY_FFMPEG]);
    let _recorder = stopped(&node, &cut(webm(), 2, 112)).await;
    let pid = eventually("it runs", async || std::fs::read_to_string(&pid_file).ok()).await;
    let process = format!("/proc/{}/stat", pid.trim());
    state(node.address(), "talk", "finalising").await;
    node.kill();
    eventually("it is gone", async || {
        let stat = std::fs::read_to_string(&process).unwrap_or_default();
        // A zombie waits only for its new parent.
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    })
    .await;
}
