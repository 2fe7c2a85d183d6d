//! A recording that is watched while it comes.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{
    Download, Node, Recorder, cut_at, cut_evenly, eventually, get, longer, mp4, packets, probe, send, video,
    webm,
};

/// Three seconds, a Cluster a second.
const CHUNKS: usize = 12;
/// More than the first second.
const FIRST: usize = 7;

/// Pieces of the same size, so that it is known how much has come with so many.
fn even() -> Vec<Vec<u8>> {
    webm().chunks(webm().len().div_ceil(CHUNKS)).map(<[u8]>::to_vec).collect()
}

async fn begun(node: &Node, chunks: &[Vec<u8>]) -> Recorder {
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, chunks).await;
    recorder
}

/// Once so much can be watched. Unit: milliseconds.
async fn live(node: &Node, duration_ms: u64) -> Value {
    eventually("it can be watched", async || {
        let answer = get(node.address(), "/recordings/talk/live").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let live = answer.json();
        (live["durationMs"].as_u64()? >= duration_ms).then_some(live)
    })
    .await
}

async fn fetch(node: &Node, path: &str) -> Download {
    send(node.address(), &format!("GET {path}"), &[], b"").await
}

async fn part(node: &Node, path: &str, range: &str) -> Download {
    send(node.address(), &format!("GET {path}"), &[("Range", range)], b"").await
}

fn text<'a>(live: &'a Value, field: &str) -> &'a str {
    live[field].as_str().unwrap_or_else(|| panic!("no {field}: {live}"))
}

#[tokio::test]
async fn what_has_come_can_be_watched_from_its_beginning_and_is_part_of_the_video() {
    let node = crate::node(&[]);
    let chunks = even();
    let mut recorder = begun(&node, &chunks).await;
    let live = live(&node, 2000).await;
    assert_eq!(text(&live, "mimeType"), "video/webm;codecs=\"vp8,opus\"");
    let (bytes, head) = (live["bytes"].as_u64().unwrap(), live["headBytes"].as_u64().unwrap());
    let places: Vec<(u64, u64)> = serde_json::from_value(live["places"].clone()).unwrap();
    assert!(places.is_sorted() && places[0].0 < 50 && places[0].1 >= head, "{live}");
    let &[.., last] = &places[..] else { panic!("{live}") };
    assert!((900..1100).contains(&last.0), "the second second begins with a keyframe: {live}");
    let later = get(node.address(), &format!("/recordings/talk/live?from={}", last.1)).await.json();
    assert_eq!(later["places"], json!([last]));

    // As a stream: head and whatever a player wants, in parts.
    let stream = text(&live, "streamUrl");
    let whole = fetch(&node, stream).await;
    assert_eq!((whole.status, whole.body.len() as u64), (200, bytes));
    assert_eq!(whole.header("content-type"), Some("video/webm;codecs=\"vp8,opus\""));
    let second = part(&node, stream, &format!("bytes={}-", last.1)).await;
    assert_eq!(second.status, 206);
    let range = format!("bytes {}-{}/*", last.1, bytes - 1);
    assert_eq!(second.header("content-range"), Some(range.as_str()));
    assert_eq!(second.body, whole.body[usize::try_from(last.1).unwrap()..]);
    assert_eq!(second.body[..4], [0x1f, 0x43, 0xb6, 0x75], "a Cluster begins there");

    let told = recorder.stop_and_wait(&chunks).await;
    let made = video(node.address(), &told).await;
    let settled = usize::try_from(head).unwrap()..usize::try_from(bytes).unwrap();
    assert_eq!(whole.body[settled.clone()], made[settled], "what was watched is in the video");
    for path in ["/recordings/talk/live", stream] {
        assert_eq!(fetch(&node, path).await.refusal(), (409, "recording_over".into()), "{path}");
    }
}

/// Much more is on its way to them than sockets hold.
#[tokio::test]
async fn viewers_who_do_not_read_hold_up_nobody_and_get_what_they_asked_for() {
    let node = crate::node(&[]);
    let chunks = cut_evenly(longer(), 120);
    let mut recorder = begun(&node, &chunks).await;
    let live = live(&node, 150_000).await;
    let (bytes, head) = (live["bytes"].as_u64().unwrap(), live["headBytes"].as_u64().unwrap());
    let path = text(&live, "streamUrl");
    let mut viewers = Vec::new();
    for _ in 0..4 {
        let mut viewer = TcpStream::connect(node.address()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        viewer.write_all(request.as_bytes()).await.unwrap();
        viewer.readable().await.unwrap();
        viewers.push(viewer);
    }
    let told = recorder.stop_and_wait(&chunks).await;
    let read = viewers.into_iter().map(async |mut viewer| {
        let mut answer = Vec::new();
        viewer.read_to_end(&mut answer).await.unwrap();
        answer
    });
    let answers = join_all(read).await;
    let made = video(node.address(), &told).await;
    let settled = usize::try_from(head).unwrap()..usize::try_from(bytes).unwrap();
    for answer in answers {
        let body = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(&answer[..12], b"HTTP/1.1 200");
        assert!(answer[body..][settled.clone()] == made[settled.clone()], "what was watched is in the video");
    }
}

#[tokio::test]
async fn what_has_come_is_a_file_that_has_its_length_and_seeks() {
    let node = crate::node(&[]);
    let chunks = even();
    let mut recorder = begun(&node, &chunks[..FIRST]).await;
    let first = live(&node, 1000).await;
    let link = text(&first, "fileUrl").to_owned();
    let file = fetch(&node, &link).await;
    assert_eq!(file.status, 200);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.webm");
    std::fs::write(&path, &file.body).unwrap();
    let seconds: f64 = probe(&path)["format"]["duration"].as_str().unwrap().parse().unwrap();
    assert_eq!(json!((seconds * 1000.0).round()), json!(first["durationMs"].as_f64()));
    let (came, found) = (packets(webm()), packets(&file.body));
    for (came, found) in came.iter().zip(found) {
        assert!(!found.is_empty());
        assert_eq!(came[..found.len()], found);
    }

    recorder.store_all(u32::try_from(FIRST).unwrap(), &chunks[FIRST..]).await;
    live(&node, 2000).await;
    let again = fetch(&node, &link).await;
    assert_eq!(again.body, file.body, "it stays what it was while more comes");
    let tag = file.header("etag").expect("a tag");
    assert_eq!(again.header("etag"), Some(tag));
    let total = file.body.len();
    for (from, to) in [(0, 3), (20, 120), (total - 60, total - 1), (0, total - 1)] {
        let range = format!("bytes={from}-{to}");
        let part = part(&node, &link, &range).await;
        assert_eq!((part.status, part.body.as_slice()), (206, &file.body[from..=to]), "{range}");
        assert_eq!(part.header("content-range"), Some(format!("bytes {from}-{to}/{total}").as_str()));
    }
    let head = send(node.address(), &format!("HEAD {link}"), &[], b"").await;
    assert_eq!((head.status, head.header("content-length")), (200, Some(total.to_string().as_str())));
    let other = send(
        node.address(),
        &format!("GET {link}"),
        &[("Range", "bytes=0-3"), ("If-Range", "\"another\"")],
        b"",
    )
    .await;
    assert_eq!((other.status, other.body.len()), (200, total), "parts of two files are never mixed");
    let beyond = part(&node, &link, &format!("bytes={total}-")).await;
    assert_eq!(beyond.refusal(), (416, "range_not_satisfiable".into()));
}

/// It has no index before its end: a player begins at its beginning.
#[tokio::test]
async fn mp4_that_has_come_can_be_watched_too() {
    let node = crate::node(&[]);
    let chunks: Vec<_> = mp4().chunks(mp4().len().div_ceil(CHUNKS)).map(<[u8]>::to_vec).collect();
    let fields = json!({ "recordId": "talk", "mimeType": "video/mp4;codecs=avc1,mp4a.40.2" });
    let mut recorder = Recorder::start(node.address(), fields).await;
    recorder.store_all(0, &chunks).await;
    let live = live(&node, 1000).await;
    let (bytes, head) = (live["bytes"].as_u64().unwrap(), live["headBytes"].as_u64().unwrap());
    assert_eq!(live["places"], json!([[0, head]]));
    assert!(text(&live, "mimeType").starts_with("video/mp4;codecs="), "{live}");
    let stream = fetch(&node, text(&live, "streamUrl")).await;
    let (came, found) = (packets(mp4()), packets(&stream.body));
    for (came, found) in came.iter().zip(&found) {
        assert!(!found.is_empty() && came[..found.len()] == found[..], "{found:?}");
    }
    let (head, bytes) = (usize::try_from(head).unwrap(), usize::try_from(bytes).unwrap());
    let file = fetch(&node, text(&live, "fileUrl")).await;
    assert!(file.body == stream.body[..bytes], "the stream may have gone on since");
    let told = recorder.stop_and_wait(&chunks).await;
    let made = video(node.address(), &told).await;
    assert!(stream.body[head..] == made[head..stream.body.len()], "what was watched is in the video");
}

#[tokio::test]
async fn what_cannot_be_watched_is_said() {
    let node = crate::node(&[]);
    let media = "/recordings/talk/live/media";
    for path in ["/recordings/talk/live", media] {
        assert_eq!(fetch(&node, path).await.refusal(), (404, "recording_unknown".into()), "{path}");
    }
    let chunks = cut_at(webm(), &[400, 20_000, 60_000]);
    let mut recorder = begun(&node, &chunks[..1]).await;
    let answer = get(node.address(), "/recordings/talk/live").await;
    assert_eq!((answer.status, &answer.json()["bytes"]), (200, &json!(0)), "nothing whole has come");
    let refused = fetch(&node, media).await;
    assert_eq!(refused.header("retry-after"), Some("2"), "{refused:?}");
    assert_eq!(refused.refusal(), (409, "not_live".into()));
    recorder.store_all(1, &chunks[1..]).await;
    let live = live(&node, 2000).await;
    for (query, refusal) in [
        ("bytes=1000", (400, "malformed")),
        ("bytes=x&durationMs=1&every=1", (400, "malformed")),
        ("bytes=99999999999&durationMs=1000&every=1", (404, "not_found")),
        ("bytes=1&durationMs=1000&every=1", (404, "not_found")),
        (&format!("bytes={}&durationMs=1000&every=0", live["bytes"]), (404, "not_found")),
        (&format!("bytes={}&durationMs={}&every=1", live["bytes"], u64::MAX), (404, "not_found")),
    ] {
        let answer = fetch(&node, &format!("{media}?{query}")).await;
        assert_eq!(answer.refusal(), (refusal.0, refusal.1.to_owned()), "{query}");
    }
}

#[tokio::test]
async fn what_ffmpeg_will_make_cannot_be_watched_before() {
    let node = crate::node(&["--assemble=false"]);
    let _recorder = begun(&node, &even()).await;
    let answer = fetch(&node, "/recordings/talk/live").await;
    assert_eq!(answer.refusal(), (409, "not_live".into()));
}
