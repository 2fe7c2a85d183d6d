//! Chunks and videos in a bucket, by way of one node: what is told of them, and how a recording goes whose files take long.

use serde_json::{Value, json};

use crate::{
    left_behind, link,
    s3::{Fault, S3Server},
    support::{Download, Node, Recorder, Upload, ask_mp4, cut, eventually, get, mp4_of, ready, send, webm},
};

fn node(server: &S3Server) -> Node {
    node_with(server, &[])
}

fn node_with(server: &S3Server, more: &[&str]) -> Node {
    let settings = server.settings();
    let flags = [
        "--storage-type=S3".to_owned(),
        "--chunk-store=S3".to_owned(),
        format!("--s3-bucket={}", settings.bucket),
        format!("--s3-endpoint=http://{}", server.address()),
        format!("--s3-access-key-id={}", settings.access_key),
        format!("--s3-secret-access-key={}", settings.secret_key),
    ];
    crate::node(&flags.iter().map(String::as_str).chain(more.iter().copied()).collect::<Vec<_>>())
}

async fn recorded(node: &Node) -> Value {
    let fields = json!({ "recordId": "talk", "title": "Ütopia & \"more\"" });
    let (upload, _) = Upload::start(node.address(), fields).await;
    for (index, chunk) in (0..).zip(cut(webm(), 3, 90)) {
        assert_eq!(upload.put(index, &chunk).await.status, 200);
    }
    assert_eq!(upload.stop(json!({ "chunks": 3 })).await.status, 202);
    ready(node.address(), "talk").await
}

async fn delete(node: &Node) -> Download {
    send(node.address(), "DELETE /recordings/talk", &[], b"").await
}

/// Objects of chunks.
fn chunks(server: &S3Server) -> usize {
    server.keys().iter().filter(|key| key.starts_with("chunks/")).count()
}

async fn no_chunks(server: &S3Server) {
    eventually("the chunks are gone", async || (chunks(server) == 0).then_some(())).await;
}

/// A server that takes objects away one after the other, thousands of them, for longer than anybody waits.
#[tokio::test]
async fn who_deletes_waits_for_no_files() {
    let server = S3Server::start();
    let node = node(&server);
    server.fail("POST", "chunks/talk/", u32::MAX, Fault::Waits);
    let row = recorded(&node).await;
    eventually("its chunks are being taken away", async || {
        (server.seen("POST", "chunks/talk/") > 0).then_some(())
    })
    .await;
    let deleted = delete(&node).await;
    assert_eq!((deleted.status, deleted.body.len()), (204, 0), "{deleted:?}");
    for path in ["/recordings/talk/status", link(&row, "downloadUrl"), link(&row, "posterUrl")] {
        assert_eq!(get(node.address(), path).await.status, 404, "{path}");
    }
    assert_eq!(get(node.address(), "/recordings").await.json()["recordings"], json!([]));
    // Whoever asks again is told the same, and nothing is done twice.
    let asked = server.seen("POST", "recordings/talk");
    assert_eq!(delete(&node).await.status, 204);
    assert_eq!(server.seen("POST", "recordings/talk"), asked);
    assert!(chunks(&server) > 0, "they are still there");
    server.mend();
    no_chunks(&server).await;
    eventually("nobody remembers it", async || (delete(&node).await.status == 404).then_some(())).await;
}

#[tokio::test]
async fn two_who_delete_at_once_get_one_answer() {
    let server = S3Server::start();
    let node = node(&server);
    recorded(&node).await;
    no_chunks(&server).await;
    let keys: Vec<_> = server.keys().into_iter().filter(|key| key.starts_with("recordings/")).collect();
    assert_eq!(keys.len(), 2, "a video and its poster: {keys:?}");
    let answers = futures_util::join!(delete(&node), delete(&node), delete(&node));
    assert_eq!((answers.0.status, answers.1.status, answers.2.status), (204, 204, 204));
    for key in keys {
        assert_eq!(server.seen("POST", &key), 1, "{key}");
    }
}

#[tokio::test]
async fn who_aborts_waits_for_no_files_either() {
    let server = S3Server::start();
    let node = node(&server);
    let bytes = cut(webm(), 3, 91);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &bytes).await;
    server.fail("POST", "chunks/talk/", u32::MAX, Fault::Waits);
    recorder.send(json!({ "type": "abort", "recordId": "talk" })).await;
    recorder.expect_nothing().await;
    let status = async || get(node.address(), "/recordings/talk/status").await.status;
    eventually("it is gone", async || (status().await == 404).then_some(())).await;
    // The socket is free for another.
    recorder.begin(json!({ "recordId": "next" })).await;
    recorder.store_all(0, &bytes).await;
    assert!(chunks(&server) > 2 * bytes.len(), "those of the first are still there");
    server.mend();
    recorder.stop_and_wait(&bytes).await;
    no_chunks(&server).await;
}

/// Its recorder is gone and one chunk is missing, so the video is completed without it; then it comes after all.
#[tokio::test]
async fn a_chunk_that_comes_while_a_video_is_completed_without_it_is_in_the_video() {
    let server = S3Server::start();
    let node = node_with(&server, &["--recording-grace-secs=1"]);
    let bytes = cut(webm(), 10, 93);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    for index in [0, 1, 2, 3, 4, 6, 7, 8, 9] {
        recorder.store(index, &bytes[index as usize]).await;
    }
    // It goes past the missing one, and no further.
    server.fail("GET", "chunks/talk/chunk_00000008", u32::MAX, Fault::Waits);
    let token = recorder.lose();
    eventually("it is being completed", async || {
        (server.seen("GET", "chunks/talk/chunk_00000008") > 0).then_some(())
    })
    .await;
    let upload = Upload::of(node.address(), &token);
    assert_eq!(upload.put(5, &bytes[5]).await.status, 200);
    server.mend();
    assert_eq!(upload.stop(json!({ "chunks": 10 })).await.status, 202);
    let row = eventually("it is there with all its chunks", async || {
        let row = ready(node.address(), "talk").await;
        (row["chunks"] == 10).then_some(row)
    })
    .await;
    assert_eq!((&row["complete"], &row["missingChunks"]), (&json!(true), &json!([])), "{row}");
}

/// With which name the server of a bucket is to answer a link.
fn disposition(link: &str) -> Option<String> {
    let link = reqwest::Url::parse(&format!("http://bucket{link}")).unwrap();
    let said = link.query_pairs().find(|(name, _)| name == "response-content-disposition");
    said.map(|(_, how)| how.into_owned())
}

/// A link to the bucket is signed for `GET`: who asks by `HEAD` would be sent to a refusal.
#[tokio::test]
async fn what_is_in_a_bucket_can_be_looked_at_without_fetching_it() {
    let server = S3Server::start();
    let node = node(&server);
    let row = recorded(&node).await;
    for (path, kind) in [(link(&row, "downloadUrl"), "video/webm"), (link(&row, "posterUrl"), "image/jpeg")] {
        let told = send(node.address(), &format!("HEAD {path}"), &[], b"").await;
        assert_eq!((told.status, told.body.len()), (200, 0), "{told:?}");
        let got = send(node.address(), &format!("GET {path}"), &[], b"").await;
        assert_eq!(got.status, 307, "{got:?}");
        let place = got.header("location").expect("where it is");
        let place = place.strip_prefix(&format!("http://{}", server.address())).expect("in the bucket");
        let video = send(server.address(), &format!("GET {place}"), &[], b"").await;
        assert_eq!(told.header("content-length"), Some(&*video.body.len().to_string()));
        for name in ["etag", "last-modified"] {
            assert!(told.header(name).is_some(), "{name}: {told:?}");
            assert_eq!(told.header(name), video.header(name), "{name}");
        }
        assert_eq!((told.header("content-type"), told.header("accept-ranges")), (Some(kind), Some("bytes")));
        let how = told.header("content-disposition").expect("a name");
        assert!(how.contains("_topia & -more-.") && how.contains("%C3%9Ctopia"), "{how}");
        assert_eq!(Some(how), disposition(place).as_deref(), "the same by whichever way");
    }
    let none = send(node.address(), "HEAD /recordings/download/none.1.webm", &[], b"").await;
    assert_eq!(none.status, 404);
}

/// The video is in no folder of the node: it is fetched, and its MP4 is where the video is.
#[tokio::test]
async fn an_mp4_of_what_is_in_a_bucket_is_made_and_in_the_bucket() {
    let server = S3Server::start();
    let node = node(&server);
    let row = recorded(&node).await;
    let key = row["key"].as_str().unwrap();
    assert_eq!(ask_mp4(node.address(), "GET", key).await.status, 202);
    let there = mp4_of(node.address(), key).await;
    assert_eq!(there.status, 307, "{there:?}");
    let place = there.header("location").expect("where it is");
    let place = place.strip_prefix(&format!("http://{}", server.address())).expect("in the bucket");
    assert!(disposition(place).is_some_and(|how| how.contains("_topia & -more-.mp4")), "{place}");
    let made = send(server.address(), &format!("GET {place}"), &[], b"").await;
    assert_eq!((made.status, &made.body[4..8]), (200, &b"ftyp"[..]));
    let head = ask_mp4(node.address(), "HEAD", key).await;
    assert_eq!((head.status, head.header("content-type")), (200, Some("video/mp4")));
    assert_eq!(head.header("content-length"), Some(&*made.body.len().to_string()));
    eventually("the copy of the video is gone", async || left_behind(&node).is_empty().then_some(())).await;
    assert_eq!(delete(&node).await.status, 204);
    let left = server.keys().into_iter().filter(|key| key.starts_with("recordings/")).count();
    assert_eq!(left, 0, "{:?}", server.keys());
}
