//! Recorders that go, come back, and replace one another.

use serde_json::json;

use crate::support::{Recorder, Upload, check_video, cut, eventually, metric, ready, send, status, webm};

#[tokio::test]
async fn somebody_elses_token_opens_nothing() {
    let node = crate::node(&[]);
    let chunks = cut(webm(), 2, 50);
    let mut ada = Recorder::start(node.address(), json!({ "recordId": "ada" })).await;
    let bob = Recorder::start(node.address(), json!({ "recordId": "bob" })).await;
    let forged = ada.token().replace("ada.", "bob.");
    let (_, secret) =
        ada.token().split_once('.').map(|(id, secret)| (id.to_owned(), secret.to_owned())).unwrap();
    for fields in [
        json!({ "uploadToken": forged }),
        json!({ "uploadToken": ada.token(), "recordId": "bob" }),
        json!({ "uploadToken": format!("ada.{}", secret.replace(|c: char| c != '0', "0")) }),
        json!({ "uploadToken": "nonsense" }),
        json!({ "uploadToken": "" }),
    ] {
        let mut eve = Recorder::connect(node.address()).await;
        eve.ask_to_begin(fields.clone()).await;
        eve.expect_error("unauthorised").await;
        eve.expect_close(4401, "unauthorised").await;
    }
    let line = "PUT /recordings/bob/chunks/0";
    for bearer in
        [format!("Bearer {}", ada.token()), format!("Bearer {forged}"), "Basic YTpi".into(), "Bearer".into()]
    {
        let refused = send(node.address(), line, &[("Authorization", &bearer)], &chunks[0]).await;
        assert_eq!(refused.refusal(), (401, "unauthorised".into()), "{bearer}");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    }
    assert_eq!(send(node.address(), line, &[], &chunks[0]).await.status, 401);
    let stop = "POST /recordings/bob/stop";
    assert_eq!(
        send(node.address(), stop, &[("Authorization", &format!("Bearer {forged}"))], b"{}").await.status,
        401
    );
    let delete = "DELETE /recordings/bob";
    assert_eq!(
        send(node.address(), delete, &[("Authorization", &format!("Bearer {forged}"))], b"").await.status,
        401
    );
    // Nobody has noticed anything.
    assert_eq!(status(node.address(), "bob").await["chunks"], 0);
    ada.store(0, &chunks[0]).await;
    drop(bob);
}

#[tokio::test]
async fn who_comes_back_within_the_grace_goes_on() {
    let node = crate::node(&["--recording-grace-secs=60"]);
    let chunks = cut(webm(), 8, 51);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    for index in [0, 1, 4] {
        recorder.store(index, &chunks[index as usize]).await;
    }
    let token = recorder.lose();
    let mut again = Recorder::go_on(node.address(), &token).await;
    let started = &again.started;
    assert_eq!((&started["nextIndex"], &started["missing"]), (&json!(5), &json!([2, 3])));
    assert_eq!((&started["state"], &started["uploadToken"]), (&json!("recording"), &json!(token)));
    assert_eq!(started["graceMs"], 60_000);
    for index in [2, 3, 5, 6, 7] {
        again.store(index, &chunks[index as usize]).await;
    }
    let told = again.stop_and_wait(&chunks).await;
    assert_eq!(told["version"], 1);
    check_video(node.address(), &told, webm()).await;
    let back = r#"greenroom_recorder_reconnects_total{outcome="in_grace"}"#;
    assert_eq!(metric(node.address(), back).await, 1.0);
}

#[tokio::test]
async fn whose_recorder_does_not_come_back_is_finalised_without_it() {
    let node = crate::node(&["--recording-grace-secs=1"]);
    let chunks = cut(webm(), 4, 52);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    drop(recorder);
    let row = ready(node.address(), "talk").await;
    assert_eq!((&row["complete"], &row["chunks"]), (&json!(true), &json!(4)));
    check_video(node.address(), &row, webm()).await;
    let ended = r#"greenroom_recordings_ended_total{how="auto",outcome="complete"}"#;
    assert_eq!(metric(node.address(), ended).await, 1.0);
}

#[tokio::test]
async fn a_newer_socket_takes_over_from_the_older() {
    let node = crate::node(&[]);
    let chunks = cut(webm(), 4, 53);
    let mut older = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    older.store_all(0, &chunks[..2]).await;
    let mut newer = Recorder::go_on(node.address(), &older.token()).await;
    older.expect_close(4409, "replaced").await;
    drop(older);
    // The end of the older is no end of the recording.
    eventually("one socket is left", async || {
        (metric(node.address(), r#"greenroom_sockets{kind="recorder"}"#).await < 1.5).then_some(())
    })
    .await;
    newer.store_all(2, &chunks[2..]).await;
    assert_eq!(status(node.address(), "talk").await["state"], "recording");
    let told = newer.stop_and_wait(&chunks).await;
    check_video(node.address(), &told, webm()).await;
}

#[tokio::test]
async fn the_framing_is_a_matter_of_each_socket() {
    let node = crate::node(&[]);
    let chunks = cut(webm(), 4, 54);
    let mut raw = Recorder::start(node.address(), json!({ "framing": "raw" })).await;
    raw.send_bytes(chunks[0].clone()).await;
    raw.expect_ack(0).await;
    let mut indexed = Recorder::go_on(node.address(), &raw.token()).await;
    indexed.store_all(1, &chunks[1..3]).await;
    let again = json!({ "uploadToken": raw.token(), "framing": "raw", "mimeType": "video/webm" });
    let mut raw = Recorder::start(node.address(), again).await;
    raw.send_bytes(chunks[3].clone()).await;
    raw.expect_ack(3).await;
    let told = raw.stop_and_wait(&chunks).await;
    check_video(node.address(), &told, webm()).await;
}

#[tokio::test]
async fn a_name_is_given_once() {
    let node = crate::node(&[]);
    let chunks = cut(webm(), 2, 55);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    let mut other = Recorder::connect(node.address()).await;
    let body = json!({ "recordId": "talk", "mimeType": "video/webm" }).to_string();
    let taken = async || {
        let refused = send(node.address(), "POST /recordings", &[], body.as_bytes()).await;
        assert_eq!(refused.refusal(), (409, "record_id_taken".into()));
    };
    other.ask_to_begin(json!({ "recordId": "talk" })).await;
    other.expect_error("record_id_taken").await;
    taken().await;
    recorder.store_all(0, &chunks).await;
    recorder.stop_and_wait(&chunks).await;
    other.ask_to_begin(json!({ "recordId": "talk" })).await;
    other.expect_error("record_id_taken").await;
    taken().await;
    // And the socket may try another.
    other.begin(json!({ "recordId": "talk-2" })).await;
}

#[tokio::test]
async fn a_start_that_is_wrong_is_refused_by_its_code() {
    let node = crate::node(&[]);
    for (fields, code, status) in [
        (json!({ "mimeType": "text/html" }), "unsupported_type", 415),
        (json!({ "mimeType": "video/ogg" }), "unsupported_type", 415),
        (json!({ "mimeType": "" }), "unsupported_type", 415),
        (json!({ "mimeType": 7 }), "malformed", 400),
        (json!({ "mimeType": null }), "malformed", 400),
        (json!({ "framing": "boxed" }), "malformed", 400),
        (json!({ "recordId": "../etc" }), "malformed", 400),
        (json!({ "recordId": "" }), "malformed", 400),
        (json!({ "recordId": "a".repeat(65) }), "malformed", 400),
        (json!({ "roomName": "a b" }), "malformed", 400),
        (json!({ "owner": "ada@example.org" }), "malformed", 400),
        (json!({ "title": "a".repeat(201) }), "malformed", 400),
        (json!({ "title": "a\u{7}b" }), "malformed", 400),
    ] {
        let mut recorder = Recorder::connect(node.address()).await;
        recorder.ask_to_begin(fields.clone()).await;
        recorder.expect_error(code).await;
        let mut start = json!({ "mimeType": "video/webm" });
        for (name, value) in fields.as_object().unwrap() {
            start[name] = value.clone();
        }
        let refused = send(node.address(), "POST /recordings", &[], start.to_string().as_bytes()).await;
        assert_eq!(refused.refusal(), (status, code.into()), "{start}");
    }
    assert_eq!(crate::left_behind(&node), Vec::<String>::new());
    for body in [&b""[..], b"{", b"[]", b"\xff"] {
        assert_eq!(send(node.address(), "POST /recordings", &[], body).await.status, 400, "{body:?}");
    }
    // What is not known is not looked at.
    let (_, started) =
        Upload::start(node.address(), json!({ "token": "an application's", "later": [1] })).await;
    assert_eq!(started["state"], "recording");
}
