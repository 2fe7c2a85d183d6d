//! MP4s of recordings that are none: made once, in the background, proven, and gone with their recording.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    left_behind, only_left,
    support::{
        Download, ExportProgram, Node, Process, Recorder, Upload, ask_mp4, cut, eventually, get, metric, mp4,
        mp4_of, packets, pictured, probe, ready, send, sha256, status, video, videos, vp9, webm,
    },
};

/// Records these bytes on a node; their row.
async fn recorded(node: &Node, id: &str, media: &[u8]) -> Value {
    let fields = json!({ "recordId": id, "title": "A talk" });
    let (upload, _) = Upload::start(node.address(), fields).await;
    assert_eq!(upload.put(0, media).await.status, 200);
    assert_eq!(upload.stop(json!({ "chunks": 1 })).await.status, 202);
    let row = pictured(node.address(), id).await;
    let chunks = crate::chunk_folder(node, id);
    eventually("its chunks are gone", async || (!chunks.exists()).then_some(())).await;
    row
}

fn key(row: &Value) -> &str {
    row["key"].as_str().expect("a name")
}

/// The name of its MP4.
fn mp4_key(row: &Value) -> String {
    format!("{}.mp4", key(row).rsplit_once('.').expect("an ending").0)
}

async fn exports(node: &Node, outcome: &str) -> f64 {
    metric(node.address(), &format!(r#"greenroom_exports_total{{outcome="{outcome}"}}"#)).await
}

/// Waits until so many have ended so: an MP4 can be had a moment before it is counted.
async fn counted(node: &Node, outcome: &str, count: f64) {
    eventually(outcome, async || (exports(node, outcome).await == count).then_some(())).await;
}

/// What ffprobe sees in these bytes: the format, the codecs, and for how many milliseconds it plays.
fn seen(bytes: &[u8]) -> (Vec<String>, f64) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let probed = probe(file.path());
    assert!(probed["format"]["format_name"].as_str().unwrap().contains("mp4"), "{probed}");
    let codec = |stream: &Value| stream["codec_name"].as_str().unwrap().to_owned();
    let codecs = probed["streams"].as_array().unwrap().iter().map(codec).collect();
    (codecs, probed["format"]["duration"].as_str().unwrap().parse().unwrap())
}

fn place(bytes: &[u8], name: &[u8]) -> usize {
    bytes.windows(name.len()).position(|window| window == name).expect("a box")
}

#[tokio::test]
async fn an_mp4_is_made_once_and_then_served_as_videos_are() {
    let node = crate::node(&[]);
    let row = recorded(&node, "talk", webm()).await;
    assert_eq!(ask_mp4(node.address(), "HEAD", key(&row)).await.status, 404, "looking begins nothing");
    let begun = ask_mp4(node.address(), "GET", key(&row)).await;
    assert_eq!(begun.status, 202, "{begun:?}");
    assert!(begun.header("retry-after").is_some_and(|secs| secs.parse::<u32>().is_ok()), "{begun:?}");
    assert_eq!(begun.header("cache-control"), Some("no-store"));
    let told = json!({ "recordId": "talk", "key": mp4_key(&row), "state": "converting", "percent": 0 });
    assert_eq!(begun.json(), told);

    let made = mp4_of(node.address(), key(&row)).await;
    let (codecs, seconds) = seen(&made.body);
    assert_eq!(codecs, ["h264", "opus"]);
    assert!((2.9..3.2).contains(&seconds), "{seconds}");
    assert!(place(&made.body, b"moov") < place(&made.body, b"mdat"), "it plays before all of it is there");
    let ([pictures, sound], [recorded_pictures, recorded_sound]) = (packets(&made.body), packets(webm()));
    assert_eq!(pictures.len(), recorded_pictures.len());
    for (one, other) in pictures.iter().zip(&recorded_pictures) {
        assert!((one.0 - other.0).abs() <= 2, "a picture is at {} for {}", one.0, other.0);
    }
    let bytes = |packets: &[(i64, String)]| packets.iter().map(|(_, hash)| hash.clone()).collect::<Vec<_>>();
    assert_eq!(bytes(&sound), bytes(&recorded_sound), "sound is copied");

    assert_eq!(made.header("content-type"), Some("video/mp4"));
    let name = made.header("content-disposition").expect("a name");
    assert!(name.contains("A talk.mp4"), "{name}");
    let tag = made.header("etag").expect("a validator").to_owned();
    let ask = async |method: &str, headers: &[(&str, &str)]| -> Download {
        let line = format!("{method} /recordings/download/{}?format=mp4", key(&row));
        send(node.address(), &line, headers, b"").await
    };
    assert_eq!(ask("GET", &[("If-None-Match", &tag)]).await.status, 304);
    let part = ask("GET", &[("Range", "bytes=4-7")]).await;
    assert_eq!((part.status, &part.body[..]), (206, &b"ftyp"[..]));
    let head = ask("HEAD", &[]).await;
    assert_eq!((head.status, head.header("content-length")), (200, made.header("content-length")));
    let itself = send(node.address(), &format!("GET /recordings/download/{}", mp4_key(&row)), &[], b"").await;
    assert_eq!(sha256(&itself.body), sha256(&made.body));
    assert_eq!(ask_mp4(node.address(), "GET", &mp4_key(&row)).await.status, 200);
    counted(&node, "made", 1.0).await;

    let deleted = send(node.address(), "DELETE /recordings/talk", &[], b"").await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
    only_left(&node, &[]).await;
}

#[tokio::test]
async fn what_mp4_may_hold_is_copied_and_sound_without_a_codec_becomes_aac() {
    let node = crate::node(&[]);
    let row = recorded(&node, "talk", vp9()).await;
    let made = mp4_of(node.address(), key(&row)).await;
    let (codecs, seconds) = seen(&made.body);
    assert_eq!(codecs, ["vp9", "aac"]);
    assert!((2.9..3.2).contains(&seconds), "{seconds}");
    let ([pictures, _], [recorded, _]) = (packets(&made.body), packets(vp9()));
    assert_eq!(pictures.len(), recorded.len());
    for (at, (one, other)) in pictures.iter().zip(&recorded).enumerate() {
        assert_eq!(one.1, other.1, "picture {at}");
        assert!((one.0 - other.0).abs() <= 2, "picture {at}");
    }
}

#[tokio::test]
async fn what_is_an_mp4_is_served_as_it_is_and_anything_else_is_refused() {
    let node = crate::node(&[]);
    let row = recorded(&node, "phone", mp4()).await;
    let served = ask_mp4(node.address(), "GET", key(&row)).await;
    assert_eq!((served.status, served.body), (200, video(node.address(), &row).await));

    let row = recorded(&node, "talk", webm()).await;
    let poster = row["posterUrl"].as_str().expect("a poster");
    let download = row["downloadUrl"].as_str().expect("a video");
    for path in [
        format!("{poster}?format=mp4"),
        format!("{download}?format=avi"),
        format!("{download}?format="),
        format!("{download}?format=MP4"),
        "/recordings/download/none.1.webm?format=avi".to_owned(),
    ] {
        let answer = send(node.address(), &format!("GET {path}"), &[], b"").await;
        assert_eq!(answer.refusal(), (400, "malformed".into()), "{path}");
    }
    for key in ["none.1.webm", "talk.1.webm", "none.1.mp4", "..%2ftalk.webm"] {
        assert_eq!(ask_mp4(node.address(), "GET", key).await.refusal(), (404, "not_found".into()), "{key}");
    }
    assert_eq!(get(node.address(), &format!("{download}?format=")).await.status, 400);
    assert_eq!(ask_mp4(node.address(), "HEAD", key(&row)).await.status, 404, "nothing has begun");
    let running = metric(node.address(), "greenroom_exports_running").await;
    assert_eq!((running, exports(&node, "made").await), (0.0, 0.0));
}

#[tokio::test]
async fn it_is_told_how_far_it_is_and_others_wait_for_their_turn() {
    // As fast as it plays.
    let program = ExportProgram::doing("exec ffmpeg -re \"$@\"");
    let node = crate::node(&[program.flag()]);
    let (first, second) = (recorded(&node, "one", webm()).await, recorded(&node, "two", webm()).await);
    let mut told = vec![];
    assert_eq!(ask_mp4(node.address(), "GET", key(&first)).await.status, 202);
    assert_eq!(ask_mp4(node.address(), "GET", key(&second)).await.json()["percent"], 0);
    program.began().await;
    assert_eq!(metric(node.address(), "greenroom_exports_running").await, 1.0);
    let head = ask_mp4(node.address(), "HEAD", key(&first)).await;
    assert_eq!((head.status, head.body.len()), (202, 0), "{head:?}");
    eventually("the first is there", async || {
        let begun = program.runs().len();
        let answer = ask_mp4(node.address(), "GET", key(&first)).await;
        if answer.status == 202 {
            assert!(begun < 2, "one at a time");
            told.push(answer.json()["percent"].as_u64().expect("a number"));
        }
        (answer.status == 200).then_some(())
    })
    .await;
    assert!(told.is_sorted(), "{told:?}");
    told.dedup();
    assert!(told.iter().filter(|percent| (6..90).contains(*percent)).count() >= 2, "{told:?}");
    assert_eq!(mp4_of(node.address(), key(&second)).await.status, 200);
    counted(&node, "made", 2.0).await;
    assert_eq!(program.runs().len(), 2);
}

/// Whether a process is there, and no zombie.
fn runs(process: u32) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(process.to_string()).join("stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn deleting_a_recording_ends_its_export_and_leaves_nothing() {
    let program = ExportProgram::gated();
    let node = crate::node(&[program.flag()]);
    let row = recorded(&node, "talk", webm()).await;
    assert_eq!(ask_mp4(node.address(), "GET", key(&row)).await.status, 202);
    let process = program.began().await;
    assert_eq!(send(node.address(), "DELETE /recordings/talk", &[], b"").await.status, 204);
    assert_eq!(ask_mp4(node.address(), "GET", key(&row)).await.refusal(), (404, "not_found".into()));
    counted(&node, "outdated", 1.0).await;
    eventually("ffmpeg has ended", async || (!runs(process)).then_some(())).await;
    only_left(&node, &[]).await;
}

#[tokio::test]
async fn a_newer_video_ends_the_export_of_the_one_before_it() {
    let program = ExportProgram::gated();
    let node = crate::node(&[program.flag(), "--recording-grace-secs=1"]);
    let chunks = cut(webm(), 4, 400);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..3]).await;
    let token = recorder.lose();
    let first = ready(node.address(), "talk").await;
    assert_eq!(ask_mp4(node.address(), "GET", key(&first)).await.status, 202);
    program.began().await;
    let mut recorder = Recorder::go_on(node.address(), &token).await;
    recorder.store_all(3, &chunks[3..]).await;
    let told = recorder.stop_and_wait(&chunks).await;
    assert_ne!(told["key"], first["key"]);
    counted(&node, "outdated", 1.0).await;
    assert_eq!(ask_mp4(node.address(), "GET", key(&first)).await.status, 404);
    // That of the newer one is made, and stays.
    program.open();
    assert_eq!(mp4_of(node.address(), key(&told)).await.status, 200);
    let stem = key(&told).rsplit_once('.').unwrap().0.to_owned();
    let expected = ["jpg", "mp4", "webm"].map(|end| format!("{stem}.{end}"));
    eventually("nothing else is there", async || (videos(node.folder()) == expected).then_some(())).await;
}

/// Asks until it is told why there is no MP4.
async fn failed(node: &Node, row: &Value) -> Download {
    eventually("it has failed", async || {
        let answer = ask_mp4(node.address(), "GET", key(row)).await;
        (answer.status != 202).then_some(answer)
    })
    .await
}

#[tokio::test]
async fn an_export_that_fails_says_why_and_is_not_tried_again_at_once() {
    let program = ExportProgram::doing("echo 'Invalid data found' >&2; exit 1");
    let node = crate::node(&[program.flag()]);
    let row = recorded(&node, "talk", webm()).await;
    let answer = failed(&node, &row).await;
    assert_eq!(answer.refusal(), (503, "export_failed".into()), "{answer:?}");
    assert!(answer.json()["detail"].as_str().unwrap().contains("Invalid data found"), "{answer:?}");
    let folder = node.folder().display().to_string();
    assert!(!format!("{answer:?}").contains(&folder), "where it lies is nobody's business");
    for method in ["GET", "HEAD", "GET"] {
        let again = ask_mp4(node.address(), method, key(&row)).await;
        assert_eq!(again.status, 503, "{again:?}");
        let pause: u32 = again.header("retry-after").expect("when").parse().expect("seconds");
        assert!((1..=30).contains(&pause), "{pause}");
    }
    counted(&node, "impossible", 1.0).await;
    assert_eq!(program.runs().len(), 1);
    assert_eq!(status(node.address(), "talk").await["state"], "ready", "the recording is as it was");
    eventually("nothing half done is left", async || {
        left_behind(&node).iter().all(|name| name.starts_with("recordings/")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_mp4_that_is_not_what_was_recorded_is_not_stored() {
    // It says that all went well.
    let program = ExportProgram::doing("exec ffmpeg -t 1 \"$@\"");
    let node = crate::node(&[program.flag()]);
    let row = recorded(&node, "talk", webm()).await;
    assert_eq!(failed(&node, &row).await.refusal(), (503, "export_failed".into()));
    counted(&node, "not_proven", 1.0).await;
    assert!(!videos(node.folder()).contains(&mp4_key(&row)));
}

#[tokio::test]
async fn without_ffmpeg_or_space_there_is_no_mp4() {
    let storage = tempfile::tempdir().unwrap();
    let node = Process::start_on(storage.path(), &[]);
    let (upload, _) = Upload::start(node.address(), json!({ "recordId": "talk" })).await;
    assert_eq!(upload.put(0, webm()).await.status, 200);
    assert_eq!(upload.stop(json!({})).await.status, 202);
    let row = ready(node.address(), "talk").await;
    node.kill();
    let told = async |flag: &str, wanted: (u16, &str)| {
        let node = Process::start_on(storage.path(), &[flag]);
        let answer = eventually("it has failed", async || {
            let answer = ask_mp4(node.address(), "GET", key(&row)).await;
            (answer.status != 202).then_some(answer)
        })
        .await;
        assert_eq!(answer.refusal(), (wanted.0, wanted.1.to_owned()), "{answer:?}");
        node.kill();
    };
    told("--min-free-bytes=1000000000000000", (507, "storage_full")).await;
    told("--ffmpeg=/nowhere/ffmpeg", (503, "merging_unavailable")).await;
    let node = Process::start_on(storage.path(), &[]);
    assert_eq!(mp4_of(node.address(), key(&row)).await.status, 200, "and then there is one");
}
