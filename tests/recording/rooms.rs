//! Everyone in a room knows that it is recorded.

use serde_json::json;

use crate::support::{Peer, Recorder, cut, webm};

async fn expect_recording(peer: &mut Peer, recording: bool) {
    let news = peer.expect("RoomState").await;
    assert_eq!(news["recording"], recording, "{news}");
}

#[tokio::test]
async fn a_room_is_told_when_recording_begins_and_ends() {
    let node = crate::node(&[]);
    let chunks = cut(webm(), 2, 70);
    let mut ada = Peer::join(node.address(), "blue", "ada").await;
    assert_eq!(ada.welcome["recording"], false);
    let mut elsewhere = Peer::join(node.address(), "green", "eve").await;

    let mut recorder = Recorder::start(node.address(), json!({ "roomName": "blue" })).await;
    expect_recording(&mut ada, true).await;
    let bob = Peer::join(node.address(), "blue", "bob").await;
    assert_eq!(bob.welcome["recording"], true, "who joins later is told as well");
    ada.expect("UserJoined").await;

    // A second recording of the same room changes nothing, and neither does its end.
    let mut second =
        Recorder::start(node.address(), json!({ "roomName": "blue", "recordId": "second" })).await;
    second.send(json!({ "type": "abort", "recordId": "second" })).await;
    second.expect_nothing().await;

    recorder.store_all(0, &chunks).await;
    recorder.stop(json!({ "chunks": 2 })).await;
    expect_recording(&mut ada, false).await;
    recorder.expect("finished").await;
    ada.expect_nothing().await;
    elsewhere.expect_nothing().await;
    let carl = Peer::join(node.address(), "blue", "carl").await;
    assert_eq!(carl.welcome["recording"], false);
}

#[tokio::test]
async fn a_room_is_told_when_its_recorder_is_gone_or_gives_up() {
    let node = crate::node(&["--recording-grace-secs=1"]);
    let mut ada = Peer::join(node.address(), "blue", "ada").await;
    let mut recorder =
        Recorder::start(node.address(), json!({ "roomName": "blue", "recordId": "one" })).await;
    expect_recording(&mut ada, true).await;
    recorder.send(json!({ "type": "abort", "recordId": "one" })).await;
    expect_recording(&mut ada, false).await;

    recorder.begin(json!({ "roomName": "blue", "recordId": "two" })).await;
    expect_recording(&mut ada, true).await;
    recorder.store(0, webm()).await;
    let token = recorder.lose();
    expect_recording(&mut ada, false).await;
    let _again = Recorder::go_on(node.address(), &token).await;
    expect_recording(&mut ada, true).await;
}

#[tokio::test]
async fn a_room_that_is_recorded_before_anybody_is_in_it_is_told_too() {
    let node = crate::node(&[]);
    let _recorder = Recorder::start(node.address(), json!({ "roomName": "empty" })).await;
    let mut ada = Peer::join(node.address(), "empty", "ada").await;
    if ada.welcome["recording"] != true {
        expect_recording(&mut ada, true).await;
    }
}
