//! Bad recorders: each is refused or held back, costs the node little, and nobody else notices.

use std::time::Duration;

use greenroom::protocol::limits;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    Pair,
    support::{
        Process, Raw, Recorder, Upload, chunk_frame, cut, eventually, frame, get, header, masked, metric,
        request, send, status, try_download, webm, within,
    },
};

const MEBIBYTE: u64 = 1024 * 1024;

/// A node as a process, a healthy pair in a room, and a recorder in the middle of its recording.
struct Studio {
    pair: Pair,
    recorder: Recorder,
    chunks: Vec<Vec<u8>>,
    next: usize,
    node: Process,
}

impl Studio {
    async fn set() -> Self {
        let node = Process::start(&["--messages-per-sec=1000", "--messages-burst=1000"]);
        let pair = Pair::join(node.address()).await;
        let recorder = Recorder::start(node.address(), json!({ "recordId": "good" })).await;
        Self { pair, recorder, chunks: cut(webm(), 40, 200), next: 0, node }
    }

    /// The others speak and record as before.
    async fn unharmed(&mut self, by: &str) {
        self.pair.unharmed(by).await;
        let index = u32::try_from(self.next).expect("small");
        self.recorder.store(index, &self.chunks[self.next]).await;
        self.next += 1;
    }

    /// What was recorded meanwhile is whole, and the node is well.
    async fn end(mut self) {
        let rest = self.chunks.split_off(self.next);
        self.recorder.store_all(u32::try_from(self.next).expect("small"), &rest).await;
        let told = self.recorder.stop_and_wait(&[self.chunks, rest].concat()).await;
        assert_eq!(told["complete"], true);
        assert_eq!(get(self.node.address(), "/health/ready").await.status, 200);
        assert!(!self.node.logs().contains("panic"), "{}", self.node.logs());
    }
}

#[tokio::test]
async fn garbage_and_floods_of_text_end_the_socket_that_sent_them() {
    let mut studio = Studio::set().await;
    let address = studio.node.address();
    // Bytes that are no frame of ours are refused one by one.
    let mut mallory = Recorder::start(address, json!({ "recordId": "mallory" })).await;
    for length in [0, 1, 19, 20, 21, 1000, 100_000] {
        let garbage = (0..length).map(|at: u32| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]);
        mallory.send_bytes(garbage.collect()).await;
        mallory.expect_chunk_error("bad_chunk").await;
    }
    studio.unharmed("garbage").await;
    // Text that cannot be read is counted.
    let deep = format!(
        r#"{{"type":"start","mimeType":"video/webm","later":{}1{}}}"#,
        "[".repeat(5000),
        "]".repeat(5000)
    );
    let long = format!(r#"{{"type":"start","mimeType":"video/webm","title":"{}"}}"#, "x".repeat(17_000));
    for (text, code) in [
        ("", "malformed"),
        ("{", "malformed"),
        ("[]", "malformed"),
        ("null", "malformed"),
        (r#"{"type":7}"#, "malformed"),
        (r#"{"type":"start"}"#, "malformed"),
        (deep.as_str(), "too_deep"),
        (long.as_str(), "too_large"),
        (r#"{"type":"Join","room_name":"blue"}"#, "unsupported"),
        (r#"{"type":"stop"}"#, "malformed"),
    ] {
        mallory.send_frame(Message::text(text)).await;
        mallory.expect_error(code).await;
    }
    mallory.send_frame(Message::text("{")).await;
    mallory.expect_error("malformed_repeatedly").await;
    mallory.expect_close(4400, "malformed_repeatedly").await;
    studio.unharmed("bad texts").await;
    // And a flood is cut off, whatever it says.
    let mut mallory = Raw::recorder(address).await;
    let mut writer = mallory.take_writer();
    let flood = frame(0x81, br#"{"type":"stop","recordId":"good"}"#).repeat(20_000);
    let (ending, _) = tokio::join!(mallory.ending(), writer.write_all(&flood));
    assert_eq!(ending.1, Some((4429, "rate_limited".to_owned())));
    studio.unharmed("a flood").await;
    studio.end().await;
}

#[tokio::test]
async fn a_frame_of_fifty_megabytes_is_refused_at_its_header_and_never_held() {
    let mut studio = Studio::set().await;
    let address = studio.node.address();
    studio.unharmed("nothing").await;
    let before = studio.node.resident_bytes();
    let piece = masked(&vec![0x55; 1 << 20]);
    let mut socks = Vec::new();
    for first in [0x82, 0x81] {
        for _ in 0..4 {
            let mut mallory = Raw::recorder(address).await;
            mallory.write(&header(first, 50 << 20)).await;
            let mut writer = mallory.take_writer();
            let writing = async {
                for _ in 0..50 {
                    if writer.write_all(&piece).await.is_err() {
                        break;
                    }
                }
            };
            let (ending, ()) = tokio::join!(mallory.ending(), writing);
            assert_eq!(ending.1, Some((1009, "too_large".to_owned())));
            socks.push(mallory);
        }
    }
    let grown = studio.node.resident_bytes().saturating_sub(before);
    assert!(grown < 24 * MEBIBYTE, "{} KiB more", grown / 1024);
    // In fragments neither: what they are together counts.
    let mut mallory = Raw::recorder(address).await;
    let mut writer = mallory.take_writer();
    let writing = async {
        let _ = writer.write_all(&header(0x02, 1 << 20)).await;
        let _ = writer.write_all(&piece).await;
        for _ in 0..49 {
            let _ = writer.write_all(&header(0x00, 1 << 20)).await;
            if writer.write_all(&piece).await.is_err() {
                break;
            }
        }
    };
    let (ending, ()) = tokio::join!(mallory.ending(), writing);
    assert_eq!(ending.1, Some((1009, "too_large".to_owned())));
    studio.unharmed("frames of fifty megabytes").await;
    studio.end().await;
}

#[tokio::test]
async fn bodies_that_lie_about_their_length_store_nothing() {
    let mut studio = Studio::set().await;
    let address = studio.node.address();
    let (upload, _) = Upload::start(address, json!({ "recordId": "posted" })).await;
    let put = |headers: &str, body: &[u8]| {
        let head = format!(
            "PUT /recordings/posted/chunks/0 HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\nConnection: close\r\n{headers}\r\n",
            upload.bearer
        );
        [head.as_bytes(), body].concat()
    };
    let refusal = async |bytes: &[u8]| {
        let answer = try_download(address, bytes).await.expect("an answer");
        answer.refusal()
    };
    assert_eq!(refusal(&put("", b"")).await, (411, "length_required".into()));
    // Not one byte of these is awaited.
    for length in [(16u64 << 20) + 1, 50_000_000, u64::MAX] {
        let refused = refusal(&put(&format!("Content-Length: {length}\r\n"), b"")).await;
        assert_eq!(refused, (413, "too_large".into()), "{length}");
    }
    for length in ["-1", "1e3", "+5", "99999999999999999999999", "5, 6", ""] {
        let bytes = put(&format!("Content-Length: {length}\r\n"), b"GR");
        let answer = try_download(address, &bytes).await;
        assert!(answer.is_none_or(|answer| (400..=413).contains(&answer.status)), "{length:?}");
    }
    // In pieces of chunked coding a body is as good, and as bounded, as in one.
    let mut endless = b"100000\r\n".to_vec();
    endless.extend(vec![0x55; 0x10_0000]);
    endless.extend(b"\r\n");
    let refused =
        refusal(&put("Transfer-Encoding: chunked\r\n", &[&endless.repeat(17)[..], b"0\r\n\r\n"].concat()))
            .await;
    assert_eq!(refused, (413, "too_large".into()));
    studio.unharmed("long bodies").await;

    // One that ends early is a chunk that never came.
    for cut_off in [0, 1, 1000] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let bytes = put(&format!("Content-Length: {}\r\n", webm().len()), &webm()[..cut_off]);
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = within("the end", stream.read_to_end(&mut answer)).await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(status(address, "posted").await["chunks"], 0);
    let chunked = [format!("{:x}\r\n", webm().len()).as_bytes(), webm(), b"\r\n0\r\n\r\n"].concat();
    let answer = try_download(address, &put("Transfer-Encoding: chunked\r\n", &chunked)).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(status(address, "posted").await["chunks"], 1);
    studio.unharmed("bodies that lie").await;
    studio.end().await;
}

#[tokio::test]
async fn a_body_that_drips_holds_up_nobody() {
    let mut studio = Studio::set().await;
    let address = studio.node.address();
    let (upload, _) = Upload::start(address, json!({ "recordId": "slow" })).await;
    let mut slow = Vec::new();
    // More whole bodies than the node would hold at one time.
    for index in 0..limits::UPLOADS_BYTES_MAX / limits::UPLOAD_BYTES_MAX + 8 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "PUT /recordings/slow/chunks/{index} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\nContent-Length: 1000000\r\n\r\n",
            upload.bearer
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    for _ in 0..3 {
        for stream in &mut slow {
            stream.write_all(b"x").await.unwrap();
        }
        studio.unharmed("bodies that drip").await;
    }
    let answer = upload.put(0, webm()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    drop(slow);
    studio.end().await;
}

#[tokio::test]
async fn bodies_without_a_token_are_not_read() {
    let mut studio = Studio::set().await;
    let address = studio.node.address();
    let before = studio.node.resident_bytes();
    let stranger = format!("Authorization: Bearer good.{}\r\n", "00".repeat(32));
    for headers in ["", &stranger] {
        for line in ["PUT /recordings/good/chunks/77", "POST /recordings/good/chunks"] {
            let head = format!(
                "{line} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: 8000000\r\nConnection: close\r\n\r\n"
            );
            let answer = request(address, &[head.as_bytes(), &vec![0x55; 8_000_000]].concat()).await;
            assert_eq!(
                (answer.status, answer.json()["code"].as_str()),
                (401, Some("unauthorised")),
                "{line}"
            );
        }
    }
    let grown = studio.node.resident_bytes().saturating_sub(before);
    assert!(grown < 24 * MEBIBYTE, "{} KiB more", grown / 1024);
    studio.unharmed("strangers").await;
    studio.end().await;
}

#[tokio::test]
async fn a_thousand_starts_leave_the_node_as_it_was() {
    let mut studio = Studio::set().await;
    let address = studio.node.address();
    let started =
        |number: u32| json!({ "recordId": format!("s{number}"), "mimeType": "video/webm" }).to_string();
    for number in 0..100 {
        assert_eq!(send(address, "POST /recordings", &[], started(number).as_bytes()).await.status, 201);
    }
    let before = studio.node.resident_bytes();
    for number in 100..1000 {
        let answer = send(address, "POST /recordings", &[], started(number).as_bytes()).await;
        assert!([201, 429, 503].contains(&answer.status), "{answer:?}");
    }
    let grown = studio.node.resident_bytes().saturating_sub(before);
    assert!(grown < 32 * MEBIBYTE, "{} KiB more", grown / 1024);
    studio.unharmed("a thousand starts").await;
    let list = get(address, "/recordings?limit=200").await;
    assert_eq!(list.status, 200);
    studio.end().await;
}

#[tokio::test]
async fn a_recorder_that_reads_nothing_is_bounded() {
    let mut studio = Studio::set().await;
    let address = studio.node.address();
    let mut mallory = Raw::recorder(address).await;
    mallory
        .write(&frame(
            0x81,
            br#"{"type":"start","mimeType":"video/webm","framing":"indexed","recordId":"deaf"}"#,
        ))
        .await;
    let mut writer = mallory.take_writer();
    let chunk = frame(0x82, &chunk_frame(0, webm()));
    let before = studio.node.resident_bytes();
    // The same chunk again and again: every one is acknowledged, and nothing of it is heard.
    let writing = async {
        for _ in 0..3000 {
            if writer.write_all(&chunk).await.is_err() {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(3), writing).await;
    let grown = studio.node.resident_bytes().saturating_sub(before);
    assert!(grown < 48 * MEBIBYTE, "{} KiB more", grown / 1024);
    studio.unharmed("a deaf recorder").await;
    drop((writer, mallory));
    eventually("its socket is gone", async || {
        (metric(address, r#"greenroom_sockets{kind="recorder"}"#).await < 1.5).then_some(())
    })
    .await;
    studio.end().await;
}
