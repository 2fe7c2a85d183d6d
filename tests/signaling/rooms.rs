//! Coming, being replaced, and leaving.

use serde_json::json;

use crate::support::{Node, Peer};

#[tokio::test]
async fn a_join_shows_who_is_there_and_the_others_see_it() {
    let node =
        Node::start(&["--room-max-participants=7", "--session-grace-secs=3", "--ping-interval-secs=4"]);
    let fields = json!({
        "room_name": "blue", "user_id": "ada", "username": " Ada L. ", "metadata": { "audio": true, "x": null },
        "id": "j-1", "field_of_tomorrow": 1,
    });
    let mut ada = Peer::join_with(node.address(), fields).await;
    ada.expect_accepted("j-1").await;
    let welcome = ada.welcome.clone();
    assert_eq!(
        (
            &welcome["room_name"],
            &welcome["user_id"],
            &welcome["role"],
            &welcome["participants"],
            &welcome["node_id"]
        ),
        (&json!("blue"), &json!("ada"), &json!("moderator"), &json!([]), &json!("test-node"))
    );
    assert_eq!(welcome["limits"]["participants"], 7);
    assert_eq!(welcome["limits"]["grace_ms"], 3000);
    assert_eq!(welcome["heartbeat_ms"], 4000);
    assert!(welcome["ice_servers"].is_array(), "{welcome}");
    let secret = welcome["resume_token"].as_str().and_then(|token| token.get(..64)).expect("a secret");
    assert!(secret.bytes().all(|byte| byte.is_ascii_hexdigit()));

    let mut bob = Peer::join(node.address(), "blue", "bob").await;
    let shown = json!({
        "user_id": "ada", "username": "Ada L.", "role": "moderator", "state": "present", "metadata": { "audio": true },
    });
    assert_eq!(bob.welcome["participants"], json!([shown]));
    assert_eq!(bob.welcome["role"], "participant");
    assert_ne!(bob.welcome["session_id"], welcome["session_id"]);
    assert_ne!(bob.welcome["resume_token"], welcome["resume_token"]);

    let news = ada.expect("UserJoined").await;
    let seen = json!({
        "user_id": "bob", "username": "bob", "role": "participant", "state": "present", "metadata": {},
    });
    assert_eq!((&news["room_name"], &news["user"]), (&json!("blue"), &seen));
    bob.expect_nothing().await;
}

#[tokio::test]
async fn rooms_do_not_hear_of_each_other() {
    let node = Node::start(&[]);
    let mut ada = Peer::join(node.address(), "blue", "ada").await;
    let mut other_ada = Peer::join(node.address(), "green", "ada").await;
    assert_eq!(other_ada.welcome["role"], "moderator", "another room, another participant");
    other_ada.send(json!({ "type": "Message", "data": "to nobody", "id": 1 })).await;
    other_ada.expect_accepted(1).await;
    ada.expect_nothing().await;
}

#[tokio::test]
async fn who_gives_no_name_is_given_one() {
    let node = Node::start(&[]);
    let first = Peer::join_with(node.address(), json!({ "room_name": "blue" })).await;
    let second = Peer::join_with(node.address(), json!({ "room_name": "blue" })).await;
    assert!(first.user_id().starts_with("u-") && first.user_id().len() == 34, "{}", first.user_id());
    assert_ne!(first.user_id(), second.user_id());
    assert_eq!(second.welcome["participants"][0]["username"], first.user_id());
}

#[tokio::test]
async fn a_user_id_may_be_a_number_and_comes_back_as_text() {
    let node = Node::start(&[]);
    let mut ada = Peer::join_with(node.address(), json!({ "room_name": "blue", "user_id": 42 })).await;
    assert_eq!(ada.user_id(), "42");
    let mut bob = Peer::join_with(node.address(), json!({ "room_name": "blue", "user_id": -7 })).await;
    assert_eq!(ada.expect("UserJoined").await["user"]["user_id"], "-7");
    bob.send(json!({ "type": "Message", "target_user_id": 42, "data": 1 })).await;
    assert_eq!(ada.expect("Message").await["from_user_id"], "-7");
    // The same participant, whether its name is written as a number or as text.
    let again = Peer::join(node.address(), "blue", "42").await;
    assert_eq!(again.welcome["participants"].as_array().map(Vec::len), Some(1));
    ada.expect_close(4409, "replaced").await;
}

#[tokio::test]
async fn the_next_longest_present_becomes_moderator() {
    let node = Node::start(&[]);
    // The names are not in the order of arrival.
    let mut zoe = Peer::join(node.address(), "blue", "zoe").await;
    let mut mia = Peer::join(node.address(), "blue", "mia").await;
    let mut ada = Peer::join(node.address(), "blue", "ada").await;
    zoe.expect("UserJoined").await;
    zoe.expect("UserJoined").await;
    mia.expect("UserJoined").await;
    let names: Vec<_> = ada.welcome["participants"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|user| user["user_id"].clone())
        .collect();
    assert_eq!(names, ["zoe", "mia"], "the longest present first");

    zoe.send(json!({ "type": "Leave", "id": "bye" })).await;
    zoe.expect_accepted("bye").await;
    for peer in [&mut mia, &mut ada] {
        peer.expect_left("zoe", "left").await;
        peer.expect_updated("mia", "role", "moderator").await;
    }
    // A participant that is no moderator leaves, and nobody is promoted.
    ada.send(json!({ "type": "Leave" })).await;
    mia.expect_left("ada", "left").await;
    mia.expect_nothing().await;
}

#[tokio::test]
async fn a_second_join_replaces_the_first_and_nobody_sees_it() {
    let node = Node::start(&[]);
    let mut first = Peer::join(node.address(), "blue", "ada").await;
    let mut bob = Peer::join(node.address(), "blue", "bob").await;
    first.expect("UserJoined").await;

    let mut second = Peer::join(node.address(), "blue", "ada").await;
    assert_eq!(second.welcome["role"], "moderator", "seniority stays");
    assert_ne!(second.welcome["session_id"], first.welcome["session_id"]);
    first.expect_close(4409, "replaced").await;
    second.expect_nothing().await;
    bob.expect_nothing().await;
    bob.send(json!({ "type": "Message", "target_user_id": "ada", "data": "to the new one" })).await;
    assert_eq!(second.expect("Message").await["data"], "to the new one");
}

#[tokio::test]
async fn a_replacement_that_looks_different_is_an_update() {
    let node = Node::start(&[]);
    let mut bob = Peer::join(node.address(), "blue", "bob").await;
    let _first = Peer::join(node.address(), "blue", "ada").await;
    bob.expect("UserJoined").await;
    let fields =
        json!({ "room_name": "blue", "user_id": "ada", "username": "Ada", "metadata": { "hand": "up" } });
    let _second = Peer::join_with(node.address(), fields).await;
    bob.expect_updated("ada", "metadata", json!({ "hand": "up" })).await;
    bob.expect_nothing().await;
}

#[tokio::test]
async fn who_left_may_join_again_by_the_same_socket() {
    let node = Node::start(&[]);
    let mut bob = Peer::join(node.address(), "blue", "bob").await;
    let mut ada = Peer::join(node.address(), "blue", "ada").await;
    bob.expect("UserJoined").await;
    ada.send(json!({ "type": "Leave", "id": 1 })).await;
    ada.expect_accepted(1).await;
    bob.expect_left("ada", "left").await;
    // In no room, it is like a new socket; numbers go on.
    ada.send(json!({ "type": "Ping" })).await;
    ada.expect_error("not_joined").await;
    ada.enter(json!({ "room_name": "blue", "user_id": "ada" })).await;
    bob.expect("UserJoined").await;
    ada.send(json!({ "type": "Message", "data": "back" })).await;
    assert_eq!(bob.expect("Message").await["data"], "back");
}

#[tokio::test]
async fn who_left_and_stays_away_is_closed_normally() {
    let node = Node::start(&[]);
    let mut ada = Peer::join(node.address(), "blue", "ada").await;
    ada.send(json!({ "type": "Leave" })).await;
    ada.expect_close(1000, "left").await;
}
