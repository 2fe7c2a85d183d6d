//! A room that is recorded: everybody in it knows, on whatever node.

use std::net::SocketAddr;

use serde_json::json;

use crate::support::{Cluster, Peer, Recorder, Redis, Upload, eventually, webm};

/// A peer that joins a room which is recorded. That is said once more behind the welcome; a node that is the last to hear
/// of it says it then.
async fn joins_recorded(node: SocketAddr, user: &str) -> Peer {
    let mut peer = Peer::join(node, "blue", user).await;
    hears(&mut peer, true).await;
    peer
}

async fn hears(peer: &mut Peer, recording: bool) {
    let news = peer.expect("RoomState").await;
    assert_eq!((&news["room_name"], &news["recording"]), (&json!("blue"), &json!(recording)), "{news}");
}

#[tokio::test]
async fn everybody_in_a_room_knows_whether_it_is_recorded() {
    if !Redis::is_here() {
        return;
    }
    let mut cluster = Cluster::start_with(3, &["--lease-secs=2", "--recording-grace-secs=1"]).await;
    let mut ada = Peer::join(cluster.address(0), "blue", "ada").await;
    let mut bob = Peer::join(cluster.address(1), "blue", "bob").await;
    ada.expect("UserJoined").await;
    let mut eve = Peer::join(cluster.address(1), "green", "eve").await;
    assert_eq!(bob.welcome["recording"], json!(false), "{}", bob.welcome);
    // Recorded on a node where nobody of the room is.
    let mut recorder =
        Recorder::start(cluster.address(2), json!({ "recordId": "talk", "roomName": "blue" })).await;
    for peer in [&mut ada, &mut bob] {
        hears(peer, true).await;
    }
    let mut cem = joins_recorded(cluster.address(2), "cem").await;
    for peer in [&mut ada, &mut bob] {
        peer.expect("UserJoined").await;
    }
    // A second recording of the same room, by way of another node, says nothing new, nor does the end of one of the two.
    let mut second =
        Recorder::start(cluster.address(0), json!({ "recordId": "more", "roomName": "blue" })).await;
    recorder.store(0, webm()).await;
    second.store(0, webm()).await;
    recorder.stop(json!({ "chunks": 1 })).await;
    recorder.expect("finished").await;
    recorder.ready().await;
    for peer in [&mut ada, &mut bob, &mut cem, &mut eve] {
        peer.expect_nothing().await;
    }
    // The end of the other, whose browser is gone, is heard by all.
    second.lose();
    for peer in [&mut ada, &mut bob, &mut cem] {
        hears(peer, false).await;
    }
    let dan = Peer::join(cluster.address(1), "blue", "dan").await;
    assert_eq!(dan.welcome["recording"], json!(false));
    eve.expect_nothing().await;
    for peer in [&mut ada, &mut bob, &mut cem] {
        peer.expect("UserJoined").await;
    }
    // And that of one whose node was killed.
    let third = Recorder::start(cluster.address(2), json!({ "recordId": "last", "roomName": "blue" })).await;
    for peer in [&mut ada, &mut bob, &mut cem] {
        hears(peer, true).await;
    }
    cluster.kill(2);
    drop(third);
    // The node is taken for dead by its lease, and the recording by its own deadline: either may be first.
    let mut news = [ada.next().await, ada.next().await];
    news.sort_by_key(|news| news["type"].to_string());
    assert_eq!((&news[0]["type"], &news[0]["recording"]), (&json!("RoomState"), &json!(false)), "{news:?}");
    let user = &news[1]["user"];
    assert_eq!((&user["user_id"], &user["state"]), (&json!("cem"), &json!("suspect")), "{news:?}");
}

#[tokio::test]
async fn nobody_is_told_that_a_recording_has_ended_because_redis_has_forgotten_it() {
    if !Redis::is_here() {
        return;
    }
    let cluster = Cluster::start_with(2, &["--lease-secs=2", "--recording-grace-secs=600"]).await;
    let mut ada = Peer::join(cluster.address(0), "blue", "ada").await;
    let mut bob = Peer::join(cluster.address(1), "blue", "bob").await;
    ada.expect("UserJoined").await;
    // Over HTTP no node says by itself that its recorder is there.
    let begin = json!({ "recordId": "talk", "roomName": "blue" });
    let (upload, _) = Upload::start(cluster.address(0), begin).await;
    for peer in [&mut ada, &mut bob] {
        hears(peer, true).await;
    }
    for _ in 0..2 {
        cluster.redis().empty();
        eventually("everything is put back", async || {
            let whole: Option<String> = cluster.redis().run(&["GET", "recordings:whole"]);
            whole.filter(|whole| !whole.starts_with("lost ")).map(drop)
        })
        .await;
        for peer in [&mut ada, &mut bob] {
            peer.expect_nothing().await;
        }
    }
    // When it really ends, everybody hears it.
    assert_eq!(upload.put(0, webm()).await.status, 200);
    assert_eq!(upload.stop(json!({ "chunks": 1 })).await.status, 202);
    for peer in [&mut ada, &mut bob] {
        hears(peer, false).await;
    }
}
