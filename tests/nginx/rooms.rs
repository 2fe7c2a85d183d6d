//! A room stays on one node where that is wanted, and is never held up by it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::support::{Cluster, Nginx, Peer, eventually, get, roster};

/// Enough rooms to come to each of three nodes, whatever is hashed.
const ROOMS: usize = 24;

#[tokio::test]
async fn everybody_in_a_room_comes_to_the_same_node_and_rooms_are_spread() {
    if !Nginx::is_here() {
        return;
    }
    let cluster = Cluster::apart(3, &[]).await;
    let nginx = cluster.through_nginx("sticky_by_room");
    let mut homes = BTreeMap::new();
    let mut peers = Vec::new();
    for user in ["ada", "bob", "eve"] {
        for room in (0..ROOMS).map(|room| format!("room-{room}")) {
            let peer = Peer::join_through(nginx.address(), &room, user).await;
            let node = peer.welcome["node_id"].as_str().expect("a name").to_owned();
            let home = homes.entry(room.clone()).or_insert_with(|| node.clone());
            assert_eq!(*home, node, "{user} in {room}");
            peers.push(peer);
        }
    }
    let used: BTreeSet<&String> = homes.values().collect();
    assert_eq!(used.len(), 3, "{homes:?}");
    // Whoever asks about a room asks at its node: the others know of nobody.
    for room in homes.keys() {
        let present = roster(nginx.address(), room).await;
        assert_eq!(present["participants"].as_array().map(Vec::len), Some(3), "{present}");
    }
}

#[tokio::test]
async fn the_page_of_a_room_comes_from_its_node() {
    if !Nginx::is_here() {
        return;
    }
    let cluster = Cluster::apart(3, &[]).await;
    let nginx = cluster.through_nginx("sticky_by_room");
    let paths = ["/room/blue", "/ws?room=blue", "/recorder?room=blue", "/api/rooms/blue"];
    for path in paths.iter().cycle().take(2 * paths.len()) {
        get(nginx.address(), path).await;
    }
    let used = nginx.nodes_asked();
    assert_eq!(used.len(), 1, "{}", nginx.requests());
}

#[tokio::test]
async fn a_room_whose_node_hangs_is_entered_elsewhere() {
    if !Nginx::is_here() {
        return;
    }
    let cluster = Cluster::apart(3, &[]).await;
    let nginx = cluster.through_nginx("sticky_by_room");
    let home = cluster.find(&Peer::join_through(nginx.address(), "blue", "ada").await.welcome["node_id"]);
    // To the kernel a frozen node still accepts connections.
    cluster.freeze(home);
    eventually("another node lets them in", async || {
        let joining = Peer::connect_at(nginx.address(), "/ws?room=blue&again=1");
        tokio::time::timeout(Duration::from_millis(500), joining).await.ok()
    })
    .await;
    cluster.thaw(home);
}
