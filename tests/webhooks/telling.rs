//! What is told, and what becomes of answers.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    node, record,
    support::{Call, Receiver, Recorder, Reply, SECRET, cut, eventually, metric, ready, send, status, webm},
    tries,
};

/// HMAC-SHA256 as RFC 2104 writes it, by the test's own hand.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let pad = |with: u8| {
        let mut block = [with; 64];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        block
    };
    let inner = Sha256::digest([&pad(0x36)[..], text].concat());
    Sha256::digest([&pad(0x5c)[..], &inner[..]].concat()).to_vec()
}

/// The request is signed as the scheme says, just now, and is about what its headers say.
fn check_signed(call: &Call, key: &[u8]) {
    let (id, second) = (call.header("webhook-id"), call.header("webhook-timestamp"));
    let signed = format!("{id}.{second}.{}", call.body);
    let signature = format!("v1,{}", STANDARD.encode(hmac(key, signed.as_bytes())));
    assert_eq!(call.header("webhook-signature"), signature);
    assert_eq!(call.event()["id"], id);
    let age = Utc::now().timestamp() - second.parse::<i64>().expect("unix seconds");
    assert!((0..3600).contains(&age), "{age}");
    assert_eq!(call.line, "POST /hook HTTP/1.1");
    assert_eq!(call.header("content-type"), "application/json");
    assert!(call.header("user-agent").starts_with("greenroom/"));
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no time: {value}"))
}

#[tokio::test]
async fn each_event_is_told_signed_and_in_its_order() {
    let (storage, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    let node = node(storage.path(), &receiver.flags(), &["--api-base-url=https://rooms.example.org"]);
    record(node.address(), "talk").await;
    let shown = status(node.address(), "talk").await;
    let told = receiver.hears("ready talk").await;
    let deleted = send(node.address(), "DELETE /recordings/talk", &[], b"").await;
    assert_eq!(deleted.status, 204);
    receiver.hears("deleted talk").await;
    assert_eq!(receiver.words(), ["started talk", "ready talk", "deleted talk"]);
    let calls = receiver.calls();
    let key = STANDARD.decode(SECRET.trim_start_matches("whsec_")).unwrap();
    calls.iter().for_each(|call| check_signed(call, &key));
    let ids: BTreeSet<_> = calls.iter().map(|call| call.header("webhook-id")).collect();
    assert_eq!(ids.len(), 3);
    let times: Vec<_> = calls.iter().map(|call| time(&call.event()["time"])).collect();
    assert!(times.is_sorted(), "{times:?}");

    let (event, started) = (told.event(), calls[0].event());
    assert_eq!(time(&event["time"]), time(&shown["readyAt"]));
    assert_eq!(time(&started["time"]), time(&shown["startedAt"]));
    for data in [&event["data"], &started["data"]] {
        let about = ["recordId", "roomName", "owner", "title"].map(|name| data[name].as_str().unwrap());
        assert_eq!(about, ["talk", "blue", "ada", "A talk"]);
    }
    assert_eq!(started["data"]["state"], "recording");
    for name in [
        "state",
        "key",
        "downloadUrl",
        "posterUrl",
        "durationMs",
        "sizeBytes",
        "mimeType",
        "sha256",
        "complete",
        "gaps",
        "version",
    ] {
        assert_eq!(event["data"][name], shown[name], "{name}");
        assert!(!shown[name].is_null(), "{name}");
    }
    let link = event["data"]["downloadUrl"].as_str().unwrap();
    assert!(link.starts_with("https://rooms.example.org/recordings/download/talk."), "{link}");
}

#[tokio::test]
async fn any_text_is_a_secret() {
    let (storage, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    let mut flags = receiver.flags();
    flags[1] = "--webhook-secret=plain words".to_owned();
    let node = node(storage.path(), &flags, &[]);
    record(node.address(), "talk").await;
    check_signed(&receiver.hears("started talk").await, b"plain words");
}

#[tokio::test]
async fn a_recording_that_is_taken_up_again_and_one_that_fails_are_told() {
    let (storage, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    let node = node(storage.path(), &receiver.flags(), &["--recording-grace-secs=1"]);
    let chunks = cut(webm(), 2, 300);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store(0, &chunks[0]).await;
    let token = recorder.lose();
    ready(node.address(), "talk").await;
    receiver.hears("ready talk").await;
    let mut again = Recorder::go_on(node.address(), &token).await;
    receiver.hears("reopened talk").await;
    again.store(1, &chunks[1]).await;
    again.stop_and_wait(&chunks).await;
    eventually("both versions are told", async || {
        (receiver.words_of("talk") == ["started talk", "ready talk", "reopened talk", "ready talk"])
            .then_some(())
    })
    .await;
    let calls = receiver.calls();
    assert_eq!(
        [&calls[1], &calls[3]].map(|call| call.event()["data"]["version"].as_u64()),
        [Some(1), Some(2)]
    );

    let mut broken = Recorder::start(node.address(), json!({ "recordId": "broken" })).await;
    broken.store(0, &[&webm()[..4], &[0x5a; 4000]].concat()).await;
    broken.stop(json!({ "chunks": 1 })).await;
    let failed = receiver.hears("failed broken").await.event();
    assert_eq!(failed["data"]["code"], "merge_failed");
    assert!(failed["data"]["error"].as_str().is_some_and(|words| !words.is_empty()), "{failed}");
}

#[tokio::test]
async fn what_is_refused_is_told_again_and_nothing_overtakes_it() {
    let storage = tempfile::tempdir().unwrap();
    let answered = AtomicUsize::new(0);
    let receiver = Receiver::answering(0, move |_| match answered.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::Status(500),
        1 => Reply::Elsewhere,
        _ => Reply::Status(200),
    });
    let node = node(storage.path(), &receiver.flags(), &[]);
    record(node.address(), "talk").await;
    receiver.hears("ready talk").await;
    assert_eq!(receiver.words(), ["started talk", "started talk", "started talk", "ready talk"]);
    let calls = receiver.calls();
    assert!(calls.iter().all(|call| call.line == "POST /hook HTTP/1.1"), "no redirect is followed");
    assert!(calls[..3].iter().all(|call| call.body == calls[0].body), "the same words");
    let ids: BTreeSet<_> = calls[..3].iter().map(|call| call.header("webhook-id")).collect();
    assert_eq!(ids.len(), 1, "and the same name");
    tries(node.address(), "refused", 2.0).await;
    tries(node.address(), "taken", 2.0).await;
}

#[tokio::test]
async fn what_the_application_wants_no_more_is_given_up() {
    let storage = tempfile::tempdir().unwrap();
    let gone = |call: &Call| Reply::Status(if call.words() == "started talk" { 410 } else { 200 });
    let receiver = Receiver::answering(0, gone);
    let node = node(storage.path(), &receiver.flags(), &[]);
    record(node.address(), "talk").await;
    receiver.hears("ready talk").await;
    assert_eq!(receiver.words(), ["started talk", "ready talk"]);
    tries(node.address(), "given_up", 1.0).await;
    eventually("it is logged", async || {
        node.logs().contains("the application is not told of this").then_some(())
    })
    .await;
}

#[tokio::test]
async fn whoever_is_slow_or_refused_holds_up_no_other() {
    let storage = tempfile::tempdir().unwrap();
    let receiver = Receiver::answering(0, |call| match call.words().as_str() {
        "started slow" => Reply::Nothing,
        "started refused" => Reply::Status(503),
        _ => Reply::Status(200),
    });
    let node = node(storage.path(), &receiver.flags(), &[]);
    for id in ["slow", "refused"] {
        record(node.address(), id).await;
        receiver.hears(&format!("started {id}")).await;
    }
    for id in ["one", "two", "three"] {
        record(node.address(), id).await;
        receiver.hears(&format!("ready {id}")).await;
    }
    for id in ["slow", "refused"] {
        let words = receiver.words_of(id);
        assert!(words.iter().all(|words| words.starts_with("started ")), "{words:?}");
    }
    // What waits is counted, and then told after all.
    eventually("it is counted", async || {
        (metric(node.address(), "greenroom_webhook_waiting_events").await >= 4.0).then_some(())
    })
    .await;
    receiver.answer(|_| Reply::Status(200));
    receiver.hears("ready refused").await;
}
