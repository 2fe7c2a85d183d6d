//! Resumes with what is not one's own.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    Stage,
    support::{Heard, Peer, Raw, frame, resume},
};

async fn refused(stage: &mut Stage, message: Value, code: &str) {
    let mut mallory = Peer::connect(stage.address()).await;
    mallory.send(message).await;
    mallory.expect_error(code).await;
    if code == "unauthorised" {
        mallory.expect_close(4401, "unauthorised").await;
    } else {
        // The socket stays, and may still join.
        mallory.enter(json!({ "room_name": "green", "user_id": "mallory" })).await;
    }
    stage.unharmed(code).await;
}

#[tokio::test]
async fn a_token_opens_only_its_own_session() {
    let mut stage = Stage::set().await;
    let (ada, bob) = (stage.pair.ada.welcome.clone(), stage.pair.bob.welcome.clone());
    let token = ada["resume_token"].as_str().expect("a token");
    let with = |token: &str| {
        let mut message = resume(&ada, 0);
        message["resume_token"] = json!(token);
        message
    };
    let foreign = bob["resume_token"].as_str().expect("a token");
    let (secret, place) = token.split_at(64);
    let digit = if secret.ends_with('0') { '1' } else { '0' };
    let wrong_by_one = format!("{}{digit}{place}", &secret[..63]);
    let bad = [
        foreign,
        &wrong_by_one,
        "",
        &token[..63],
        secret,
        &format!("0{token}"),
        &format!("{}{place}", secret.to_uppercase()),
        "\u{0}",
        "\u{1f600}",
    ];
    for sent in bad {
        // Only digits: upper case is then no change.
        if sent != token {
            refused(&mut stage, with(sent), "unauthorised").await;
        }
    }
}

#[tokio::test]
async fn a_session_that_is_none_is_unknown() {
    let mut stage = Stage::set().await;
    let ada = stage.pair.ada.welcome.clone();
    for name in
        ["", "x", "00000000-0000-0000-0000-000000000000", "../../etc/passwd", "\u{0}", &"f".repeat(5000)]
    {
        let mut message = resume(&ada, 0);
        message["session_id"] = json!(name);
        refused(&mut stage, message, "session_unknown").await;
    }
}

#[tokio::test]
async fn an_old_session_is_over_for_good() {
    let mut stage = Stage::set().await;
    let mut left = Peer::join(stage.address(), "green", "eve").await;
    left.send(json!({ "type": "Leave", "id": 1 })).await;
    left.expect_accepted(1).await;
    refused(&mut stage, resume(&left.welcome, 1), "session_unknown").await;
    let replaced = Peer::join(stage.address(), "green", "eve").await;
    let _successor = Peer::join(stage.address(), "green", "eve").await;
    refused(&mut stage, resume(&replaced.welcome, 1), "session_unknown").await;
}

#[tokio::test]
async fn of_sockets_that_resume_one_session_at_once_one_has_it() {
    const AT_ONCE: usize = 8;
    let mut stage = Stage::set().await;
    let mut eve = Peer::join(stage.address(), "green", "eve").await;
    let lost = Peer::join(stage.address(), "green", "ann").await;
    eve.expect("UserJoined").await;
    let (welcome, heard) = lost.lose();
    eve.expect_updated("ann", "state", "suspect").await;

    let mut sockets = Vec::new();
    for _ in 0..AT_ONCE {
        sockets.push(Peer::expecting(stage.address(), heard).await);
    }
    // All have asked before any is answered; each but the last taken is then replaced.
    join_all(sockets.iter_mut().map(|socket| socket.send(resume(&welcome, heard)))).await;
    eve.expect_updated("ann", "state", "present").await;
    eve.expect_nothing().await;
    let mut holders = 0;
    for socket in &mut sockets {
        // Its own `Resumed`, and those of the ones before it, which it has missed.
        let mut resumed = 0;
        let replaced = loop {
            match socket.hear().await {
                Heard::Message(message) => {
                    assert_eq!((&message["type"], &message["outcome"]), (&json!("Resumed"), &json!("full")));
                    resumed += 1;
                    // The last one hears of all of them.
                    if resumed == AT_ONCE {
                        break false;
                    }
                }
                Heard::Closed(closed) => {
                    assert_eq!(closed, Some((4409, "replaced".to_owned())));
                    break true;
                }
            }
        };
        holders += usize::from(!replaced);
    }
    assert_eq!(holders, 1);
    stage.unharmed("many resumes").await;
}

#[tokio::test]
async fn a_refused_resume_leaves_the_owner_in_its_place() {
    let mut stage = Stage::set().await;
    let mut eve = Peer::join(stage.address(), "green", "eve").await;
    let mut message = resume(&eve.welcome, 0);
    message["resume_token"] = json!("f".repeat(64));
    refused(&mut stage, message, "unauthorised").await;
    eve.expect_nothing().await;
    // Nor does a socket take a session with it that it asked for and did not wait for.
    let mut hasty = Raw::upgrade(stage.address()).await;
    hasty.write(&frame(0x81, resume(&eve.welcome, eve.last_seq()).to_string().as_bytes())).await;
    drop(hasty);
    stage.unharmed("a hasty resume").await;
}
