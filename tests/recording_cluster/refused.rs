//! Bad input that comes by way of other nodes than the one where its recording was begun: each is refused as on one node, and
//! leaves the recording as it was, as every node sees it.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::{
    gate::Gate,
    support::{
        Cluster, Recorder, Redis, Upload, check_video, chunk_frame, cut, eventually, frame_of, get, ready,
        send, status, try_download, webm,
    },
};

const CHUNK: &str = "PUT /recordings/talk/chunks/4";
const NEXT: &str = "POST /recordings/talk/chunks";
const STOP: &str = "POST /recordings/talk/stop";
const START: &str = "POST /recordings";

/// How a recording stands, of which every node says the same.
async fn stands(cluster: &Cluster) -> Value {
    let first = status(cluster.address(0), "talk").await;
    for node in 1..cluster.len() {
        assert_eq!(status(cluster.address(node), "talk").await, first, "at node {node}");
    }
    first
}

/// A request, and how it must be refused.
struct Bad {
    line: &'static str,
    headers: String,
    body: Vec<u8>,
    refusal: (u16, &'static str),
}

impl Bad {
    /// One that says how long it is.
    fn new(line: &'static str, headers: &str, body: &[u8], refusal: (u16, &'static str)) -> Self {
        let headers = format!("{headers}\r\nContent-Length: {}", body.len());
        Self { line, headers, body: body.to_vec(), refusal }
    }

    /// One that says what these headers say and nothing else.
    fn bare(line: &'static str, headers: String, refusal: (u16, &'static str)) -> Self {
        Self { line, headers, body: Vec::new(), refusal }
    }

    async fn is_refused(&self, at: SocketAddr) {
        let Self { line, headers, .. } = self;
        let head = format!("{line} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n{headers}\r\n\r\n");
        let answer = try_download(at, &[head.as_bytes(), &self.body].concat()).await.expect("an answer");
        let (status, code) = answer.refusal();
        assert_eq!((status, code.as_str()), self.refusal, "{line}: {headers:?}: {answer:?}");
    }
}

/// Each is refused by the two nodes where nothing was begun, and nothing changes.
async fn all_are_refused(cluster: &Cluster, table: &[Bad]) {
    let before = stands(cluster).await;
    for bad in table {
        for node in [1, 2] {
            bad.is_refused(cluster.address(node)).await;
            assert_eq!(stands(cluster).await, before, "{} at node {node}: {:?}", bad.line, bad.headers);
        }
    }
}

fn authorization(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// Chunks of a recording of which 1 and 3 are stored.
fn bad_chunks(token: &str) -> Vec<Bad> {
    let own = authorization(token);
    let with = |header: &str| format!("{own}\r\n{header}");
    let at = |line, refusal| Bad::new(line, &own, b"other bytes", refusal);
    vec![
        at("PUT /recordings/talk/chunks/1", (409, "conflict")),
        at("PUT /recordings/talk/chunks/3", (409, "conflict")),
        at("PUT /recordings/talk/chunks/0", (415, "not_media")),
        at("PUT /recordings/talk/chunks/100000", (400, "index_out_of_range")),
        at("PUT /recordings/talk/chunks/1048576", (400, "index_out_of_range")),
        at("PUT /recordings/talk/chunks/4294967296", (400, "malformed")),
        at("PUT /recordings/talk/chunks/one", (400, "malformed")),
        Bad::new(CHUNK, &with("X-Checksum-Crc32c: 00000000"), b"bytes", (400, "checksum_wrong")),
        Bad::new(NEXT, &with("X-Checksum-Crc32c: 00000000"), b"bytes", (400, "checksum_wrong")),
        Bad::new(CHUNK, &with("X-Checksum-Crc32c: nonsense"), b"bytes", (400, "bad_chunk")),
        Bad::new(CHUNK, &with("X-Segment-Start: maybe"), b"bytes", (400, "bad_chunk")),
        Bad::new(CHUNK, &with("X-Timecode: -1"), b"bytes", (400, "bad_chunk")),
        Bad::new(CHUNK, &own, b"", (400, "empty_chunk")),
        Bad::new(NEXT, &own, b"", (400, "empty_chunk")),
        Bad::new(CHUNK, &own, &vec![7; (16 << 20) + 1], (413, "too_large")),
        Bad::bare(CHUNK, with("Content-Length: 50000000"), (413, "too_large")),
        Bad::bare(NEXT, with("Content-Length: 50000000"), (413, "too_large")),
        Bad::bare(CHUNK, own.clone(), (411, "length_required")),
        Bad::bare(NEXT, own, (411, "length_required")),
    ]
}

/// Whoever has another token than the recording's, or none.
fn strangers(token: &str) -> Vec<Bad> {
    let zeros = "0".repeat(64);
    let unauthorised = (401, "unauthorised");
    let mut table = Vec::new();
    for headers in [
        "X-Timecode: 1".to_owned(),
        "Authorization: Bearer".to_owned(),
        "Authorization: Basic YTpi".to_owned(),
        authorization(&format!("talk.{zeros}")),
        // The right secret, of a recording of another name.
        authorization(&token.replace("talk.", "other.")),
    ] {
        for line in [CHUNK, NEXT, STOP] {
            table.push(Bad::new(line, &headers, b"", unauthorised));
        }
    }
    let nobody = authorization(&format!("nobody.{zeros}"));
    for line in ["PUT /recordings/nobody/chunks/0", "POST /recordings/nobody/chunks"] {
        table.push(Bad::new(line, &nobody, webm(), (404, "recording_unknown")));
    }
    table.push(Bad::new("POST /recordings/nobody/stop", &nobody, b"{}", (404, "recording_unknown")));
    let delete = "DELETE /recordings/talk";
    table.push(Bad::new(delete, &authorization(&format!("talk.{zeros}")), b"", unauthorised));
    table.push(Bad::new(delete, "X-Timecode: 1", b"", (409, "recording_active")));
    table
}

/// Stops that do not count right, and starts that are none.
fn bad_words(token: &str) -> Vec<Bad> {
    let json = "Content-Type: application/json";
    let own = format!("{}\r\n{json}", authorization(token));
    let mut table = Vec::new();
    for (made, refusal) in [
        (r#"{"chunks":1}"#, (400, "malformed")),
        (r#"{"chunks":-1}"#, (400, "malformed")),
        (r#"{"chunks":1048577}"#, (400, "malformed")),
        (r#"{"chunks":1048576}"#, (400, "index_out_of_range")),
        ("{", (400, "malformed")),
    ] {
        table.push(Bad::new(STOP, &own, made.as_bytes(), refusal));
    }
    for (start, refusal) in [
        (r#"{"recordId":"talk","mimeType":"video/webm"}"#, (409, "record_id_taken")),
        (r#"{"recordId":"talk","mimeType":"text/html"}"#, (415, "unsupported_type")),
        (r#"{"recordId":"../talk","mimeType":"video/webm"}"#, (400, "malformed")),
        ("[]", (400, "malformed")),
    ] {
        table.push(Bad::new(START, json, start.as_bytes(), refusal));
    }
    table
}

#[tokio::test]
async fn bad_requests_are_refused_at_any_node_and_change_nothing() {
    if !Redis::is_here() {
        return;
    }
    let cluster = Cluster::start_with(3, &[]).await;
    let chunks = cut(webm(), 6, 370);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    for index in [1, 3] {
        recorder.store(index, &chunks[index as usize]).await;
    }
    let token = recorder.token();
    for table in [bad_chunks(&token), strangers(&token), bad_words(&token)] {
        all_are_refused(&cluster, &table).await;
    }
    for (index, node) in [(0, 1), (2, 2), (4, 1)] {
        let stored = Upload::of(cluster.address(node), &token).put(index, &chunks[index as usize]).await;
        assert_eq!(stored.status, 200, "{stored:?}");
    }
    // The recorder has heard of none of them.
    recorder.store(5, &chunks[5]).await;
    let told = recorder.stop_and_wait(&chunks).await;
    for node in 0..3 {
        check_video(cluster.address(node), &told, webm()).await;
    }
}

#[tokio::test]
async fn bad_frames_are_refused_at_whichever_node_has_the_socket_and_change_nothing() {
    if !Redis::is_here() {
        return;
    }
    let cluster = Cluster::start_with(3, &[]).await;
    let chunks = cut(webm(), 5, 371);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..2]).await;
    let before = stands(&cluster).await;
    let token = recorder.token();
    let next = &chunks[2];
    let (length, crc) = (u32::try_from(next.len()).unwrap(), crc32c::crc32c(next));
    for node in [1, 2] {
        let mut newer = Recorder::go_on(cluster.address(node), &token).await;
        recorder.expect_close(4409, "replaced").await;
        for (frame, code) in [
            (chunk_frame(1, b"other bytes"), "conflict"),
            (frame_of(2, 0, length, crc ^ 1, next), "checksum_wrong"),
            (frame_of(2, 0, length - 1, crc, next), "bad_chunk"),
            (frame_of(2, 0, 0, 0, b""), "empty_chunk"),
            (frame_of(100_000, 0, length, crc, next), "index_out_of_range"),
            (b"GR".to_vec(), "bad_chunk"),
        ] {
            newer.send_bytes(frame).await;
            newer.expect_chunk_error(code).await;
            assert_eq!(stands(&cluster).await, before, "{code} at node {node}");
        }
        newer.ask_to_begin(json!({ "recordId": "other" })).await;
        newer.expect_error("already_started").await;
        newer.send(json!({ "type": "stop", "recordId": "other" })).await;
        newer.expect_error("not_started").await;
        for (fields, code) in [
            (json!({ "recordId": "talk" }), "record_id_taken"),
            (json!({ "uploadToken": format!("talk.{}", "0".repeat(64)) }), "unauthorised"),
        ] {
            let mut eve = Recorder::connect(cluster.address(node)).await;
            eve.ask_to_begin(fields).await;
            eve.expect_error(code).await;
        }
        assert_eq!(stands(&cluster).await, before, "bad words at node {node}");
        recorder = newer;
    }
    recorder.store_all(2, &chunks[2..]).await;
    let told = recorder.stop_and_wait(&chunks).await;
    for node in 0..3 {
        check_video(cluster.address(node), &told, webm()).await;
    }
}

#[tokio::test]
async fn a_stop_is_judged_by_what_has_come_to_all_nodes_and_the_first_that_is_taken_stands() {
    if !Redis::is_here() {
        return;
    }
    let gate = Gate::behind();
    let cluster = Cluster::start_with(3, &gate.flags()).await;
    let chunks = cut(webm(), 6, 372);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    let by = |node: usize| Upload::of(cluster.address(node), &recorder.token());
    let (first, second, third) = (by(0), by(1), by(2));
    recorder.store(0, &chunks[0]).await;
    for (upload, index) in [(&second, 1), (&third, 3), (&second, 4)] {
        assert_eq!(upload.put(index, &chunks[index as usize]).await.status, 200);
    }
    // Whoever says it hears what is missing, and nobody else.
    recorder.stop(json!({ "chunks": 6 })).await;
    let error = recorder.expect_error("chunks_missing").await;
    let missing = |told: &Value| {
        let told = (&told["missingChunks"], &told["totalExpected"]);
        assert_eq!(told, (&json!([2, 5]), &json!(6)));
    };
    missing(&error);
    for upload in [&second, &third] {
        let refused = upload.stop(json!({ "chunks": 6 })).await;
        assert_eq!(refused.refusal(), (409, "chunks_missing".into()));
        missing(&refused.json());
        assert_eq!(upload.put(6, b"more").await.refusal(), (400, "index_out_of_range".into()));
        assert_eq!(stands(&cluster).await["missingChunks"], json!([2, 5]));
    }
    recorder.expect_nothing().await;
    assert_eq!(third.put(2, &chunks[2]).await.status, 200);
    assert_eq!(second.put(5, &chunks[5]).await.status, 200);
    let before = stands(&cluster).await;
    for upload in [&second, &third] {
        let refused = upload.stop(json!({ "chunks": 6, "bytes": webm().len() + 1 })).await;
        assert_eq!(refused.refusal(), (409, "bytes_differ".into()));
        assert_eq!(stands(&cluster).await, before);
    }
    let made = json!({ "chunks": 6, "bytes": webm().len() });
    assert_eq!(third.stop(made).await.status, 202);

    gate.began().await;
    // ffmpeg has taken all of it, and waits: nothing moves any more.
    eventually("its merge stands still", async || {
        (status(cluster.address(1), "talk").await["percent"] == 85).then_some(())
    })
    .await;
    nothing_more_is_taken(&cluster, [&first, &second, &third], "finalising").await;
    gate.open();
    let told = recorder.ready().await;
    for node in 0..3 {
        ready(cluster.address(node), "talk").await;
        check_video(cluster.address(node), &told, webm()).await;
    }
    nothing_more_is_taken(&cluster, [&first, &second, &third], "ready").await;
}

/// A recording of six chunks is stopped, whatever is said of it afterwards.
async fn nothing_more_is_taken(cluster: &Cluster, uploads: [&Upload; 3], state: &str) {
    let before = stands(cluster).await;
    assert_eq!(before["state"], state, "{before}");
    for upload in uploads {
        assert_eq!(upload.put(6, b"late").await.refusal(), (409, "recording_stopped".into()));
        assert_eq!(upload.post(b"late").await.refusal(), (409, "recording_stopped".into()));
        // The first stop stands: another that says something else is answered as that one was.
        for made in [json!({ "chunks": 9 }), json!({ "chunks": 6, "bytes": 1 }), json!({})] {
            let answer = upload.stop(made).await;
            assert_eq!(answer.status, 202, "{answer:?}");
            assert_eq!(answer.json(), json!({ "recordId": "talk", "chunks": 6, "state": state }));
        }
        assert_eq!(stands(cluster).await, before);
    }
}

/// What a player passes over; 100 bytes, of which the last two are this number.
fn filling(number: u16) -> Vec<u8> {
    let mut element = vec![0xEC, 0x80 | 98];
    element.resize(100 - 2, 0);
    element.extend(number.to_be_bytes());
    element
}

#[tokio::test]
async fn a_recording_takes_nothing_at_any_node_after_its_time() {
    if !Redis::is_here() {
        return;
    }
    // Made before its time runs, of which this machine may need much.
    let media = webm();
    let cluster = Cluster::start_with(3, &["--max-recording-duration=3s"]).await;
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store(0, media).await;
    let uploads = [0, 1, 2].map(|node| Upload::of(cluster.address(node), &recorder.token()));
    let mut number = 0;
    let refused = eventually("its time is over", async || {
        let answer = uploads[usize::from(number + 1) % 3].put(u32::from(number) + 1, &filling(number)).await;
        number += u16::from(answer.status == 200);
        (answer.status != 200).then_some(answer)
    })
    .await;
    let too_long = (409, "recording_too_long".to_owned());
    assert_eq!(refused.refusal(), too_long, "{refused:?}");
    let before = stands(&cluster).await;
    assert_eq!(before["chunks"], number + 1, "{before}");
    for upload in &uploads {
        assert_eq!(upload.put(u32::from(number) + 1, &filling(number)).await.refusal(), too_long);
        assert_eq!(upload.post(&filling(number)).await.refusal(), too_long);
        // What is stored is acknowledged again.
        assert_eq!(upload.put(0, media).await.status, 200);
        assert_eq!(stands(&cluster).await, before);
    }
    assert_eq!(uploads[2].stop(json!({ "chunks": number + 1 })).await.status, 202);
    let told = recorder.ready().await;
    for node in 0..3 {
        check_video(cluster.address(node), &told, media).await;
    }
}

/// Ada may not begin this recording at any node, nor is anything left of it.
async fn ada_begins_nothing(cluster: &Cluster, refusal: (u16, &'static str)) {
    let start = json!({ "recordId": "three", "owner": "ada", "mimeType": "video/webm" }).to_string();
    for node in 0..3 {
        let refused = send(cluster.address(node), START, &[], start.as_bytes()).await;
        assert_eq!(refused.refusal(), (refusal.0, refusal.1.to_owned()), "at node {node}");
        for node in 0..3 {
            assert_eq!(get(cluster.address(node), "/recordings/three/status").await.status, 404);
        }
    }
}

#[tokio::test]
async fn what_a_recording_and_its_owner_may_have_is_counted_over_all_nodes() {
    if !Redis::is_here() {
        return;
    }
    let bytes = format!("--max-recording-bytes={}", webm().len());
    let flags = [&bytes, "--max-owner-recordings=2", "--max-owner-bytes=1000"];
    let cluster = Cluster::start_with(3, &flags).await;
    let chunks = cut(webm(), 5, 373);
    let of = |owner: &str, name: &str| json!({ "recordId": name, "owner": owner });
    let mut recorder = Recorder::start(cluster.address(0), of("ada", "talk")).await;
    let uploads = [0, 1, 2].map(|node| Upload::of(cluster.address(node), &recorder.token()));
    for (index, chunk) in (0..4).zip(&chunks) {
        assert_eq!(uploads[index as usize % 3].put(index, chunk).await.status, 200);
    }
    let before = stands(&cluster).await;
    let too_large = (413, "recording_too_large".to_owned());
    let more = [&chunks[4][..], b"x"].concat();
    for upload in &uploads {
        assert_eq!(upload.put(4, &more).await.refusal(), too_large);
        assert_eq!(upload.post(&more).await.refusal(), too_large);
        assert_eq!(stands(&cluster).await, before);
    }
    // What fits is still taken, and nothing after it.
    assert_eq!(uploads[2].put(4, &chunks[4]).await.status, 200);
    for upload in &uploads {
        assert_eq!(upload.put(5, b"x").await.refusal(), too_large);
    }

    let (second, _) = Upload::start(cluster.address(1), of("ada", "two")).await;
    ada_begins_nothing(&cluster, (429, "too_many_recordings")).await;
    Upload::start(cluster.address(2), of("bob", "four")).await;
    let told = recorder.stop_and_wait(&chunks).await;
    for node in 0..3 {
        check_video(cluster.address(node), &told, webm()).await;
    }
    eventually("the catalog has it", async || {
        let list = get(cluster.address(1), "/recordings?owner=ada&state=ready").await.json();
        (list["recordings"].as_array().map(Vec::len) == Some(1)).then_some(())
    })
    .await;
    ada_begins_nothing(&cluster, (507, "quota_exceeded")).await;
    Upload::start(cluster.address(0), of("bob", "five")).await;
    // One that runs goes on, whatever its owner has by then; and what is deleted makes room.
    assert_eq!(second.put(0, webm()).await.status, 200);
    assert_eq!(second.stop(json!({ "chunks": 1 })).await.status, 202);
    check_video(cluster.address(2), &ready(cluster.address(2), "two").await, webm()).await;
    for (name, node) in [("talk", 1), ("two", 2)] {
        let deleted = send(cluster.address(node), &format!("DELETE /recordings/{name}"), &[], b"").await;
        assert_eq!(deleted.status, 204, "{deleted:?}");
    }
    Upload::start(cluster.address(1), of("ada", "three")).await;
}
