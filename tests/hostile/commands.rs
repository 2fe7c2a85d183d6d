//! Messages that are no commands, and commands that nobody may give.

use serde_json::{Value, json};

use crate::{
    Stage,
    support::{Peer, roster},
};

/// What cannot be read, and its code.
fn unreadable() -> Vec<(String, &'static str)> {
    let deep = |around: &str| around.replace('_', &format!("{}{}", "[".repeat(1000), "]".repeat(1000)));
    let mut texts: Vec<(String, &str)> = [
        "",
        " ",
        "{",
        "}",
        "null",
        "1",
        "[]",
        "\"Join\"",
        "{}",
        "nonsense",
        "{'type':'Ping'}",
        "{\"type\":\"Ping\"",
        "{\"type\":\"Ping\"} x",
        "{\"type\":\"Ping\",}",
        "{\"type\":1}",
        "{\"type\":null}",
        "{\"type\":[\"Ping\"]}",
        "{\"type\":\"\\ud800\"}",
        "{\"type\":\"Ping\",\"type\":\"Ping\"}",
        "\u{feff}{\"type\":\"Ping\"}",
        "{\"type\":\"Ping\"}\u{0}",
        "{\"type\":\"Ping\",\"id\":{}}",
        "{\"type\":\"Ping\",\"id\":1.5}",
        "{\"type\":\"Ping\",\"id\":1e999}",
        "{\"type\":\"Ping\",\"id\":18446744073709551616}",
        "{\"type\":\"Join\"}",
        "{\"type\":\"Join\",\"room_name\":null}",
        "{\"type\":\"Join\",\"room_name\":7}",
        "{\"type\":\"Offer\",\"sdp\":\"\"}",
        "{\"type\":\"Offer\",\"target_user_id\":\"bob\"}",
        "{\"type\":\"IceCandidate\",\"target_user_id\":\"bob\"}",
        "{\"type\":\"Message\"}",
        "{\"type\":\"Message\",\"data\":NaN}",
        "{\"type\":\"Message\",\"data\":01}",
        "{\"type\":\"Update\"}",
        "{\"type\":\"Update\",\"metadata\":[]}",
        "{\"type\":\"Update\",\"metadata\":null}",
        "{\"type\":\"Kick\"}",
        "{\"type\":\"Lock\"}",
        "{\"type\":\"Lock\",\"locked\":1}",
        "{\"type\":\"Mute\",\"target_user_id\":\"bob\"}",
        "{\"type\":\"Ack\"}",
        "{\"type\":\"Ack\",\"seq\":-1}",
        "{\"type\":\"Ack\",\"seq\":1.5}",
        "{\"type\":\"Ack\",\"seq\":\"1\"}",
        "{\"type\":\"Resume\",\"session_id\":\"x\",\"last_seq\":0}",
    ]
    .into_iter()
    .map(|text| (text.to_owned(), "malformed"))
    .collect();
    texts.push((r#"{"type":"Mute","target_user_id":"bob","kind":"<b>"}"#.to_owned(), "malformed"));
    texts.push((format!(r#"{{"type":"Ping","id":"{}"}}"#, "x".repeat(65)), "malformed"));
    texts.push((r#"{"type":"Nonsense"}"#.to_owned(), "unsupported"));
    texts.push((r#"{"type":""}"#.to_owned(), "unsupported"));
    texts.push((r#"{"type":"join","room_name":"blue"}"#.to_owned(), "unsupported"));
    texts.push((r#"{"type":"RoomJoined"}"#.to_owned(), "unsupported"));
    for around in ["_", r#"{"type":"Message","data":_}"#, r#"{"type":"Ping","unknown":_}"#, r#"{"a":_"#] {
        texts.push((deep(around), "too_deep"));
    }
    texts.push((r#"{"a":"#.repeat(1000), "too_deep"));
    texts
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_by_its_code() {
    let mut stage = Stage::set().await;
    // Each connection may send ten such messages, so each batch has its own.
    for batch in unreadable().chunks(10) {
        let mut mallory = Peer::join(stage.address(), "green", "mallory").await;
        let before = roster(stage.address(), "green").await;
        let mut stranger = Peer::connect(stage.address()).await;
        for (text, code) in batch {
            for peer in [&mut mallory, &mut stranger] {
                peer.send_text(text.clone()).await;
                let error = peer.expect("Error").await;
                assert_eq!(
                    (&error["code"], &error["retryable"]),
                    (&json!(code), &json!(false)),
                    "{text}: {error}"
                );
            }
            assert_eq!(roster(stage.address(), "green").await, before, "{text}");
            stage.unharmed(text).await;
        }
        mallory.expect_nothing().await;
    }
}

#[tokio::test]
async fn an_error_quotes_no_more_than_a_little() {
    let stage = Stage::set().await;
    let mut mallory = Peer::connect(stage.address()).await;
    let long = format!(r#"{{"type":"Lock","locked":"{}"}}"#, "\u{1f600}<".repeat(9000));
    mallory.send_text(long).await;
    let error = mallory.expect_error("malformed").await;
    assert!(error["message"].as_str().is_some_and(|message| message.chars().count() < 250), "{error}");
}

#[tokio::test]
async fn ids_that_are_none_are_refused_wherever_they_stand() {
    let mut stage = Stage::set().await;
    let long = "x".repeat(65);
    let bad = [
        "/",
        "a/b",
        "..",
        "../../etc/passwd",
        "a\u{0}b",
        "\u{0}",
        &long,
        "\u{1f600}",
        "é",
        "",
        " ",
        "a b",
        "%2e",
    ];
    for id in bad {
        let mut mallory = Peer::join(stage.address(), "green", "mallory").await;
        let before = roster(stage.address(), "green").await;
        for command in [
            json!({ "type": "Offer", "target_user_id": id, "sdp": "", "id": 1 }),
            json!({ "type": "Message", "room_name": id, "data": 0, "id": 1 }),
            json!({ "type": "Kick", "target_user_id": id, "id": 1 }),
            json!({ "type": "Mute", "target_user_id": id, "kind": "audio", "id": 1 }),
        ] {
            mallory.send(command.clone()).await;
            assert_eq!(mallory.expect_error("malformed").await["id"], 1, "{command}");
        }
        let mut stranger = Peer::connect(stage.address()).await;
        for join in
            [json!({ "room_name": id, "user_id": "eve" }), json!({ "room_name": "blue", "user_id": id })]
        {
            let mut join = join.clone();
            join["type"] = json!("Join");
            stranger.send(join.clone()).await;
            stranger.expect_error("malformed").await;
        }
        assert_eq!(roster(stage.address(), "green").await, before, "{id:?}");
        stage.unharmed(id).await;
    }
}

#[tokio::test]
async fn nothing_but_join_and_resume_goes_before_a_session() {
    let mut stage = Stage::set().await;
    let commands = [
        json!({ "type": "Leave" }),
        json!({ "type": "Offer", "target_user_id": "bob", "sdp": "" }),
        json!({ "type": "Answer", "target_user_id": "bob", "sdp": "" }),
        json!({ "type": "IceCandidate", "target_user_id": "bob", "candidate": null }),
        json!({ "type": "Message", "data": "hello", "room_name": "blue" }),
        json!({ "type": "Update", "metadata": {} }),
        json!({ "type": "Kick", "target_user_id": "bob" }),
        json!({ "type": "Lock", "locked": true }),
        json!({ "type": "Mute", "target_user_id": "bob", "kind": "audio" }),
        json!({ "type": "Ack", "seq": 1 }),
        json!({ "type": "Ping" }),
    ];
    let mut stranger = Peer::connect(stage.address()).await;
    for mut command in commands {
        command["id"] = json!("c-1");
        stranger.send(command.clone()).await;
        assert_eq!(stranger.expect_error("not_joined").await["id"], "c-1", "{command}");
        stage.unharmed(&command.to_string()).await;
    }
    // It may still join; the session goes on with its numbers.
    stranger.enter(json!({ "room_name": "green", "user_id": "eve" })).await;
}

#[tokio::test]
async fn a_signal_leaves_its_room_for_nobody() {
    let mut stage = Stage::set().await;
    let mut mallory = Peer::join(stage.address(), "green", "mallory").await;
    for (target, room, code) in [
        ("ada", Value::Null, "peer_unreachable"),
        ("ada", json!("blue"), "wrong_room"),
        ("mallory", Value::Null, "self_target"),
        ("nobody", Value::Null, "peer_unreachable"),
        ("ada", json!("green"), "peer_unreachable"),
    ] {
        for (kind, field) in
            [("Offer", "sdp"), ("Answer", "sdp"), ("IceCandidate", "candidate"), ("Message", "data")]
        {
            let mut signal = json!({ "type": kind, "target_user_id": target, "room_name": room, "id": 7 });
            signal[field] = json!("x");
            mallory.send(signal.clone()).await;
            assert_eq!(mallory.expect_error(code).await["id"], 7, "{signal}");
        }
        stage.unharmed(code).await;
    }
    mallory.expect_nothing().await;
}

#[tokio::test]
async fn a_second_join_by_the_same_socket_is_refused() {
    let mut stage = Stage::set().await;
    let mut mallory = Peer::join(stage.address(), "green", "mallory").await;
    let before = roster(stage.address(), "green").await;
    for message in [
        json!({ "type": "Join", "room_name": "blue", "user_id": "ada" }),
        json!({ "type": "Join", "room_name": "green", "user_id": "mallory" }),
        json!({ "type": "Resume", "session_id": "x", "resume_token": "y", "last_seq": 0 }),
    ] {
        mallory.send(message).await;
        mallory.expect_error("already_joined").await;
        stage.unharmed("a second join").await;
    }
    assert_eq!(roster(stage.address(), "green").await, before);
}

#[tokio::test]
async fn markup_in_names_is_passed_on_as_the_text_it_is() {
    const MARKUP: &str = "<img src=x onerror=\"alert('1')\">&amp;</script>\u{202e}";
    let stage = Stage::set().await;
    let mut eve = Peer::join(stage.address(), "green", "eve").await;
    let fields = json!({ "room_name": "green", "user_id": "mallory", "username": MARKUP, "metadata": { MARKUP: MARKUP } });
    let mut mallory = Peer::join_with(stage.address(), fields).await;
    let news = eve.expect("UserJoined").await;
    assert_eq!(
        (&news["user"]["username"], &news["user"]["metadata"][MARKUP]),
        (&json!(MARKUP), &json!(MARKUP))
    );
    mallory.send(json!({ "type": "Message", "data": MARKUP })).await;
    assert_eq!(eve.expect("Message").await["data"], MARKUP);
    // Over HTTP it is JSON, and says that it is nothing else.
    let answer = crate::support::get(stage.address(), "/api/rooms/green").await;
    assert_eq!(answer.json()["participants"][1]["username"], MARKUP);
    assert!(answer.head.contains("content-type: application/json"), "{answer:?}");
    assert!(answer.head.contains("x-content-type-options: nosniff"), "{answer:?}");
    // A name that is a path or a page is none.
    let page = crate::support::get(stage.address(), "/room/%3Cscript%3Ealert(1)%3C%2Fscript%3E").await;
    assert!(!page.body.contains("<script>alert"), "{page:?}");
}

#[tokio::test]
async fn a_name_too_long_or_with_controls_is_refused() {
    let mut stage = Stage::set().await;
    let mut mallory = Peer::connect(stage.address()).await;
    for name in [
        "x".repeat(129),
        "\u{1f600}".repeat(33),
        "a\u{0}b".to_owned(),
        "a\nb".to_owned(),
        "\u{7f}".to_owned(),
    ] {
        mallory
            .send(json!({ "type": "Join", "room_name": "blue", "user_id": "eve", "username": name }))
            .await;
        mallory.expect_error("malformed").await;
        stage.unharmed("a bad name").await;
    }
}
