//! A call between people at different nodes, as browsers have it: through nginx alone.

use serde_json::{Value, json};

use crate::support::{Cluster, Heard, Nginx, Peer, eventually, resume};

/// Ada and Bob in one room, at two nodes: round robin sends the second connection elsewhere than the first.
async fn ada_and_bob(nginx: &Nginx) -> (Peer, Peer) {
    let mut ada = Peer::join_through(nginx.address(), "blue", "ada").await;
    let bob = Peer::join_through(nginx.address(), "blue", "bob").await;
    assert_ne!(ada.welcome["node_id"], bob.welcome["node_id"]);
    assert_eq!(ada.expect("UserJoined").await["user"]["user_id"], "bob");
    assert_eq!(bob.welcome["participants"][0]["user_id"], "ada");
    (ada, bob)
}

#[tokio::test]
async fn two_people_at_different_nodes_call_each_other() {
    if !Nginx::is_here() {
        return;
    }
    let cluster = Cluster::start(3).await;
    let nginx = cluster.through_nginx("round_robin");
    let (mut ada, mut bob) = ada_and_bob(&nginx).await;
    ada.send(json!({ "type": "Offer", "target_user_id": "bob", "sdp": "an offer", "id": "1" })).await;
    ada.expect_accepted("1").await;
    let offer = bob.expect("Offer").await;
    assert_eq!((&offer["from_user_id"], &offer["sdp"]), (&json!("ada"), &json!("an offer")));
    bob.send(json!({ "type": "Answer", "target_user_id": "ada", "sdp": "an answer", "id": "2" })).await;
    bob.expect_accepted("2").await;
    assert_eq!(ada.expect("Answer").await["sdp"], "an answer");
    for number in 0..20 {
        let candidate = json!({ "candidate": number });
        bob.send(json!({ "type": "IceCandidate", "target_user_id": "ada", "candidate": candidate })).await;
        assert_eq!(ada.expect("IceCandidate").await["candidate"], candidate);
    }
}

#[tokio::test]
async fn a_peer_whose_node_is_killed_comes_back_through_nginx_and_nobody_sees_a_leave() {
    if !Nginx::is_here() {
        return;
    }
    let mut cluster = Cluster::start_with(3, &["--lease-secs=2"]).await;
    let nginx = cluster.through_nginx("round_robin");
    let (ada, mut bob) = ada_and_bob(&nginx).await;
    let home = cluster.find(&ada.welcome["node_id"]);
    cluster.kill(home);
    let (welcome, heard) = ada.lose();
    // Until the lease of its node has run out nobody may take the session over.
    let mut ada = eventually("the session is taken over", async || {
        let mut peer = Peer::expecting(nginx.address(), heard).await;
        peer.welcome = welcome.clone();
        peer.send(resume(&welcome, heard)).await;
        resumed(&mut peer).await.then_some(peer)
    })
    .await;
    ada.send(json!({ "type": "Message", "target_user_id": "bob", "data": "still here" })).await;
    loop {
        let news = bob.next().await;
        match news["type"].as_str() {
            Some("Message") => return assert_eq!(news["data"], "still here"),
            Some("UserUpdated") => assert_eq!(news["user"]["user_id"], "ada"),
            _ => panic!("ada has not left: {news}"),
        }
    }
}

/// Whether the session was taken up; what is refused can be asked for again.
async fn resumed(peer: &mut Peer) -> bool {
    match peer.hear().await {
        Heard::Message(message) if message["type"] == "Resumed" => {
            assert_eq!(message["outcome"], "snapshot", "the only copy is gone: {message}");
            true
        }
        Heard::Message(message) => {
            assert_eq!(
                (&message["type"], &message["retryable"]),
                (&json!("Error"), &Value::Bool(true)),
                "{message}"
            );
            false
        }
        Heard::Closed(_) => false,
    }
}
