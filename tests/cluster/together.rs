//! One room over several nodes.

use serde_json::json;

use crate::support::{Cluster, Peer, eventually, roster};

#[tokio::test]
async fn participants_on_different_nodes_see_and_reach_each_other() {
    let cluster = Cluster::start(3).await;
    let mut ada = Peer::join(cluster.address(0), "blue", "ada").await;
    let mut bob = Peer::join(cluster.address(1), "blue", "bob").await;
    assert_eq!(ada.expect("UserJoined").await["user"]["user_id"], "bob");
    let mut eve = Peer::join(cluster.address(2), "blue", "eve").await;
    for peer in [&mut ada, &mut bob] {
        assert_eq!(peer.expect("UserJoined").await["user"]["user_id"], "eve");
    }
    let others: Vec<_> = eve.welcome["participants"].as_array().expect("a list").iter().collect();
    let others: Vec<_> = others.iter().map(|user| (&user["user_id"], &user["role"])).collect();
    assert_eq!(others, [(&json!("ada"), &json!("moderator")), (&json!("bob"), &json!("participant"))]);
    assert_eq!((&eve.welcome["node_id"], &eve.welcome["role"]), (&json!("node-2"), &json!("participant")));

    eve.send(json!({ "type": "Offer", "target_user_id": "ada", "sdp": "v=0", "id": "o" })).await;
    eve.expect_accepted("o").await;
    let offer = ada.expect("Offer").await;
    assert_eq!((&offer["from_user_id"], &offer["sdp"]), (&json!("eve"), &json!("v=0")));
    bob.send(json!({ "type": "Message", "data": [1, 2] })).await;
    for peer in [&mut ada, &mut eve] {
        assert_eq!(peer.expect("Message").await["data"], json!([1, 2]));
    }
    bob.send(json!({ "type": "Leave" })).await;
    for peer in [&mut ada, &mut eve] {
        peer.expect_left("bob", "left").await;
    }
    for node in 0..cluster.len() {
        let shown = roster(cluster.address(node), "blue").await;
        let users: Vec<_> = shown["participants"].as_array().expect("a list").iter().collect();
        let users: Vec<_> = users.iter().map(|user| user["user_id"].clone()).collect();
        assert_eq!(users, ["ada", "eve"], "as node {node} has it");
    }
}

#[tokio::test]
async fn signals_between_nodes_come_once_and_in_order() {
    const SIGNALS: usize = 300;
    let cluster = Cluster::start_with(2, &["--messages-per-sec=100000", "--messages-burst=100000"]).await;
    let mut ada = Peer::join(cluster.address(0), "blue", "ada").await;
    let mut bob = Peer::join(cluster.address(1), "blue", "bob").await;
    ada.expect("UserJoined").await;
    for number in 0..SIGNALS {
        ada.send(json!({ "type": "IceCandidate", "target_user_id": "bob", "candidate": { "n": number } }))
            .await;
        bob.send(json!({ "type": "Message", "target_user_id": "ada", "data": number })).await;
    }
    for number in 0..SIGNALS {
        assert_eq!(bob.expect("IceCandidate").await["candidate"]["n"], number);
        assert_eq!(ada.expect("Message").await["data"], number);
    }
    ada.expect_nothing().await;
    bob.expect_nothing().await;
}

#[tokio::test]
async fn the_cap_a_lock_and_a_kick_hold_on_every_node() {
    let cluster = Cluster::start_with(2, &["--room-max-participants=2"]).await;
    let mut ada = Peer::join(cluster.address(0), "blue", "ada").await;
    let mut bob = Peer::join(cluster.address(1), "blue", "bob").await;
    ada.expect("UserJoined").await;
    let mut eve = Peer::connect(cluster.address(1)).await;
    let join = json!({ "type": "Join", "room_name": "blue", "user_id": "eve" });
    eve.send(join.clone()).await;
    eve.expect_error("room_full").await;

    ada.send(json!({ "type": "Kick", "target_user_id": "bob" })).await;
    ada.expect_left("bob", "kicked").await;
    bob.expect_close(4410, "kicked").await;
    let mut again = Peer::connect(cluster.address(0)).await;
    again.send(json!({ "type": "Join", "room_name": "blue", "user_id": "bob" })).await;
    again.expect_error("banned").await;

    // The lock is told where it is made; the other node has it from Redis a moment later.
    let is_locked = async || roster(cluster.address(1), "blue").await["locked"] == true;
    ada.send(json!({ "type": "Lock", "locked": true })).await;
    ada.expect("RoomState").await;
    eventually("the lock is in Redis", async || is_locked().await.then_some(())).await;
    eve.send(join.clone()).await;
    eve.expect_error("room_locked").await;
    ada.send(json!({ "type": "Lock", "locked": false })).await;
    ada.expect("RoomState").await;
    eventually("the lock is gone", async || (!is_locked().await).then_some(())).await;
    eve.send(join).await;
    eve.expect("RoomJoined").await;
    ada.expect("UserJoined").await;
}

#[tokio::test]
async fn a_second_join_on_another_node_replaces_the_first_and_the_others_see_neither() {
    let cluster = Cluster::start(2).await;
    let mut ada = Peer::join(cluster.address(0), "blue", "ada").await;
    let mut bob = Peer::join(cluster.address(0), "blue", "bob").await;
    ada.expect("UserJoined").await;
    let mut second = Peer::join(cluster.address(1), "blue", "bob").await;
    bob.expect_close(4409, "replaced").await;
    second.send(json!({ "type": "Message", "target_user_id": "ada", "data": "here" })).await;
    assert_eq!(ada.expect("Message").await["data"], "here");
    ada.send(json!({ "type": "Message", "target_user_id": "bob", "data": "there" })).await;
    assert_eq!(second.expect("Message").await["data"], "there");
}

#[tokio::test]
async fn a_session_moves_to_another_node_with_nothing_lost_and_nobody_sees_a_leave() {
    let cluster = Cluster::start(3).await;
    let mut ada = Peer::join(cluster.address(0), "blue", "ada").await;
    let bob = Peer::join(cluster.address(1), "blue", "bob").await;
    ada.expect("UserJoined").await;
    let (welcome, heard) = bob.lose();
    ada.expect_updated("bob", "state", "suspect").await;
    ada.send(json!({ "type": "Offer", "target_user_id": "bob", "sdp": "kept" })).await;
    let mut bob = Peer::resume(cluster.address(2), &welcome, heard).await;
    assert_eq!(bob.expect("Offer").await["sdp"], "kept");
    assert_eq!(bob.expect("Resumed").await["outcome"], "full");
    ada.expect_updated("bob", "state", "present").await;
    bob.send(json!({ "type": "Answer", "target_user_id": "ada", "sdp": "moved" })).await;
    assert_eq!(ada.expect("Answer").await["sdp"], "moved");
    ada.expect_nothing().await;
}
