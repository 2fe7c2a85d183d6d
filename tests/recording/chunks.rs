//! Single chunks: what is taken, taken again, and refused; nothing changes by what is refused.

use serde_json::json;

use crate::{
    chunk_folder, stored,
    support::{Node, Recorder, Upload, chunk_frame, cut, frame_of, send, status, webm},
};

async fn recorder(node: &Node) -> Recorder {
    Recorder::start(node.address(), json!({ "recordId": "talk" })).await
}

fn files(node: &Node, begin: &str) -> usize {
    let names = std::fs::read_dir(chunk_folder(node, "talk")).expect("a folder");
    names.filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with(begin)).count()
}

#[tokio::test]
async fn what_is_acknowledged_is_on_disk_byte_for_byte() {
    let node = crate::node(&[]);
    let mut recorder = recorder(&node).await;
    for (index, chunk) in (0u32..).zip(cut(webm(), 20, 20)) {
        recorder.store(index, &chunk).await;
        assert_eq!(stored(&node, "talk", index).as_ref(), Some(&chunk), "chunk {index}");
    }
}

#[tokio::test]
async fn a_chunk_that_comes_again_is_acknowledged_again_and_stored_once() {
    let node = crate::node(&[]);
    let mut recorder = recorder(&node).await;
    let upload = Upload::of(node.address(), &recorder.token());
    let chunks = cut(webm(), 3, 21);
    recorder.store_all(0, &chunks).await;
    for _ in 0..3 {
        recorder.store(1, &chunks[1]).await;
        assert_eq!(upload.put(1, &chunks[1]).await.status, 200);
    }
    // Also side by side, on a place that nobody has yet.
    let again = b"the same from two sides".to_vec();
    for _ in 0..6 {
        recorder.chunk(3, &again).await;
    }
    assert_eq!(recorder.expect_acks(6).await, [3; 6]);
    assert_eq!((files(&node, "chunk_"), files(&node, "mark_")), (4, 4));
    let live = status(node.address(), "talk").await;
    assert_eq!((&live["chunks"], &live["nextIndex"]), (&json!(4), &json!(4)));
    // Every byte counts once.
    let bytes = webm().len() + again.len();
    let stopped = upload.stop(json!({ "chunks": 4, "bytes": bytes })).await;
    assert_eq!(stopped.status, 202, "{stopped:?}");
}

#[tokio::test]
async fn other_bytes_at_the_same_place_are_a_conflict_and_the_first_stand() {
    let node = crate::node(&[]);
    let mut recorder = recorder(&node).await;
    let upload = Upload::of(node.address(), &recorder.token());
    let first = &cut(webm(), 2, 22)[0];
    recorder.store(0, first).await;
    let mut other = first.clone();
    *other.last_mut().unwrap() ^= 1;
    recorder.chunk(0, &other).await;
    let error = recorder.expect_chunk_error("conflict").await;
    assert_eq!(
        (&error["index"], &error["recordId"], &error["retryable"]),
        (&json!(0), &json!("talk"), &json!(false))
    );
    assert_eq!(upload.put(0, &other).await.refusal(), (409, "conflict".into()));
    recorder.store(0, first).await;
    assert_eq!(stored(&node, "talk", 0).as_ref(), Some(first));
    assert_eq!((files(&node, "chunk_"), files(&node, "mark_")), (1, 1));
}

#[tokio::test]
async fn two_that_want_one_place_at_once_do_not_both_get_it() {
    let node = crate::node(&[]);
    let mut recorder = recorder(&node).await;
    let upload = Upload::of(node.address(), &recorder.token());
    for index in 0..8u32 {
        let one = [webm(), &[1]].concat();
        let other = [webm(), &[2]].concat();
        recorder.chunk(index, &one).await;
        let (put, heard) = tokio::join!(upload.put(index, &other), recorder.next());
        let winner = match (put.status, heard["type"].as_str()) {
            (409, Some("chunkAck")) => one,
            (200, Some("chunkError")) => other,
            _ => panic!("{put:?}, {heard}"),
        };
        assert_eq!(stored(&node, "talk", index), Some(winner), "who was acknowledged is stored");
    }
}

#[tokio::test]
async fn a_frame_that_is_wrong_is_refused_by_its_code() {
    let node = crate::node(&[]);
    let mut recorder = recorder(&node).await;
    let good = &cut(webm(), 2, 23)[0];
    let (length, crc) = (u32::try_from(good.len()).unwrap(), crc32c::crc32c(good));
    let right = chunk_frame(0, good);
    let changed = |at: usize, byte: u8| {
        let mut frame = right.clone();
        frame[at] = byte;
        frame
    };
    for (what, frame, code, index) in [
        ("a wrong checksum", frame_of(0, 1, length, crc ^ 1, good), "checksum_wrong", Some(0)),
        ("a changed byte", changed(right.len() - 1, !right[right.len() - 1]), "checksum_wrong", Some(0)),
        ("a length too long", frame_of(0, 1, length + 1, crc, good), "bad_chunk", Some(0)),
        ("a length too short", frame_of(0, 1, length - 1, crc, good), "bad_chunk", Some(0)),
        ("the longest length", frame_of(0, 1, u32::MAX, crc, good), "bad_chunk", Some(0)),
        ("another magic", changed(0, b'g'), "bad_chunk", None),
        ("another version", changed(2, 2), "bad_chunk", None),
        ("less than a header", right[..19].to_vec(), "bad_chunk", None),
        ("nothing", vec![], "bad_chunk", None),
        ("no payload", frame_of(0, 1, 0, 0, b""), "empty_chunk", Some(0)),
        ("the highest index", frame_of(u32::MAX, 0, length, crc, good), "index_out_of_range", Some(u32::MAX)),
        (
            "the first index too high",
            frame_of(1 << 20, 0, length, crc, good),
            "index_out_of_range",
            Some(1 << 20),
        ),
        ("an index far ahead", frame_of(100_000, 0, length, crc, good), "index_out_of_range", Some(100_000)),
        ("no media", chunk_frame(0, b"<html>no media</html>"), "not_media", Some(0)),
    ] {
        recorder.send_bytes(frame).await;
        let error = recorder.expect_chunk_error(code).await;
        assert_eq!(error["index"].as_u64(), index.map(u64::from), "{what}: {error}");
        assert_eq!(error["recordId"], "talk", "{what}");
        assert_eq!(error["retryable"], code == "checksum_wrong", "{what}");
        assert!(error["error"].as_str().is_some_and(|text| text.ends_with('.')), "{what}: {error}");
    }
    let live = status(node.address(), "talk").await;
    assert_eq!((&live["chunks"], &live["nextIndex"]), (&json!(0), &json!(0)));
    assert_eq!(files(&node, "chunk_") + files(&node, "mark_") + files(&node, ".partial"), 0);
    // Flags that nobody knows yet, and a flag that lies, do no harm.
    recorder.send_bytes(frame_of(0, 0xff, length, crc, good)).await;
    recorder.expect_ack(0).await;
    recorder.send_bytes(frame_of(1, 1, 4, crc32c::crc32c(b"more"), b"more")).await;
    recorder.expect_ack(1).await;
}

#[tokio::test]
async fn a_request_that_is_wrong_is_refused_by_its_code() {
    let node = crate::node(&[]);
    let (upload, _) = Upload::start(node.address(), json!({ "recordId": "talk" })).await;
    let good = &cut(webm(), 2, 24)[0];
    let crc = format!("{:08x}", crc32c::crc32c(good));
    for (headers, body, status, code) in [
        (&[("X-Checksum-Crc32c", "00000000")][..], &good[..], 400, "checksum_wrong"),
        (&[("X-Checksum-Crc32c", "nonsense")], good, 400, "bad_chunk"),
        (&[("X-Checksum-Crc32c", "0")], good, 400, "bad_chunk"),
        (&[("X-Checksum-Crc32c", "+0000000")], good, 400, "bad_chunk"),
        (&[("X-Segment-Start", "maybe")], good, 400, "bad_chunk"),
        (&[("X-Timecode", "-1")], good, 400, "bad_chunk"),
        (&[], b"", 400, "empty_chunk"),
        (&[], b"<html>", 415, "not_media"),
    ] {
        assert_eq!(upload.put_with(0, headers, body).await.refusal(), (status, code.into()), "{headers:?}");
    }
    for (index, status, code) in [
        ("1048576", 400, "index_out_of_range"),
        ("4294967295", 400, "index_out_of_range"),
        ("4294967296", 400, "malformed"),
        ("-1", 400, "malformed"),
        ("one", 400, "malformed"),
        ("%30x", 400, "malformed"),
    ] {
        let line = format!("PUT /recordings/talk/chunks/{index}");
        let answer = send(node.address(), &line, &[("Authorization", &upload.bearer)], good).await;
        assert_eq!(answer.refusal(), (status, code.into()), "{index}");
    }
    let all = [("X-Checksum-Crc32c", crc.as_str()), ("X-Segment-Start", "true"), ("X-Timecode", "17")];
    assert_eq!(upload.put_with(0, &all, good).await.status, 200);
}

#[tokio::test]
async fn nothing_comes_before_a_start_or_after_a_stop() {
    let node = crate::node(&[]);
    let mut recorder = Recorder::connect(node.address()).await;
    recorder.chunk(0, webm()).await;
    let error = recorder.expect_chunk_error("not_started").await;
    assert!(error.get("recordId").is_none(), "{error}");
    recorder.send(json!({ "type": "stop", "recordId": "talk" })).await;
    recorder.expect_error("not_started").await;
    recorder.send(json!({ "type": "abort", "recordId": "talk" })).await;
    recorder.expect_error("not_started").await;

    recorder.begin(json!({ "recordId": "talk" })).await;
    recorder.ask_to_begin(json!({ "recordId": "other" })).await;
    recorder.expect_error("already_started").await;
    // Of somebody else's recording nothing is said.
    recorder.send(json!({ "type": "stop", "recordId": "other" })).await;
    recorder.expect_error("not_started").await;

    let upload = Upload::of(node.address(), &recorder.token());
    let chunks = cut(webm(), 2, 25);
    recorder.store_all(0, &chunks).await;
    recorder.stop(json!({ "chunks": 2 })).await;
    recorder.expect("finished").await;
    assert_eq!(upload.put(2, b"late").await.refusal(), (409, "recording_stopped".into()));
    assert_eq!(upload.post(b"late").await.refusal(), (409, "recording_stopped".into()));
    recorder.chunk(2, b"late").await;
    loop {
        let event = recorder.next().await;
        if event["type"] == "chunkError" {
            assert!(event["code"] == "recording_stopped" || event["code"] == "not_started", "{event}");
            break;
        }
        assert_ne!(event["type"], "chunkAck", "{event}");
    }
}

#[tokio::test]
async fn the_first_chunk_may_come_late_but_must_be_media() {
    let node = crate::node(&[]);
    let mut recorder = recorder(&node).await;
    recorder.store(1, b"anything").await;
    recorder.chunk(0, b"no media at all").await;
    recorder.expect_chunk_error("not_media").await;
    recorder.store(0, &cut(webm(), 2, 26)[0]).await;
    let mut raw = Recorder::start(node.address(), json!({ "framing": "raw", "recordId": "raw" })).await;
    raw.send_bytes(b"no media at all".to_vec()).await;
    raw.expect_chunk_error("not_media").await;
    raw.send_bytes(vec![]).await;
    raw.expect_chunk_error("empty_chunk").await;
    raw.send_bytes(webm().to_vec()).await;
    raw.expect_ack(0).await;
}

#[tokio::test]
async fn a_recorder_that_does_not_wait_for_acks_is_held_back_and_loses_nothing() {
    let node = crate::node(&[]);
    let mut recorder = recorder(&node).await;
    // 200 chunks of 200 KiB, and nothing is heard until all are sent.
    let mut chunk = webm().to_vec();
    chunk.resize(200 * 1024, 0);
    for index in 0..200u32 {
        chunk[200 * 1024 - 4..].copy_from_slice(&index.to_be_bytes());
        recorder.chunk(index, &chunk).await;
    }
    let mut acked = recorder.expect_acks(200).await;
    acked.sort_unstable();
    assert_eq!(acked, (0..200).collect::<Vec<_>>());
    for index in [0u32, 99, 199] {
        chunk[200 * 1024 - 4..].copy_from_slice(&index.to_be_bytes());
        assert_eq!(stored(&node, "talk", index).as_ref(), Some(&chunk));
    }
}

#[tokio::test]
async fn the_largest_chunk_is_taken_and_a_larger_one_is_not() {
    let node = crate::node(&[]);
    let mut recorder = recorder(&node).await;
    let upload = Upload::of(node.address(), &recorder.token());
    let mut chunk = webm().to_vec();
    chunk.resize(4 << 20, 0);
    recorder.store(0, &chunk).await;
    chunk.resize(16 << 20, 0);
    assert_eq!(upload.put(1, &chunk).await.status, 200);
    chunk.push(0);
    assert_eq!(upload.put(2, &chunk).await.refusal(), (413, "too_large".into()));
    chunk.truncate((4 << 20) + 1);
    recorder.chunk(2, &chunk).await;
    recorder.expect_close(1009, "too_large").await;
    assert_eq!(status(node.address(), "talk").await["chunks"], 2);
}
