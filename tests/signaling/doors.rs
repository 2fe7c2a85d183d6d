//! Who may open a socket: by address, by origin, by handshake.

use crate::support::{Node, Raw, eventually, get, knock};

#[tokio::test]
async fn an_address_has_so_many_sockets_and_gets_them_back() {
    let node = Node::start(&["--connections-per-ip=1"]);
    // A proxy on this machine is believed about whom it speaks for.
    let from_afar = "X-Forwarded-For: 198.51.100.1\r\n";
    let first = Raw::upgrade_with(node.address(), from_afar).await;
    let refused = knock(node.address(), from_afar).await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (429, Some("too_many_connections")));
    assert!(refused.head.contains("retry-after: "), "{}", refused.head);

    let _another = Raw::upgrade_with(node.address(), "X-Forwarded-For: 198.51.100.2\r\n").await;
    let _own = (Raw::upgrade(node.address()).await, Raw::upgrade(node.address()).await);

    drop(first);
    eventually("the place is free again", async || {
        let metrics = get(node.address(), "/metrics").await.body;
        metrics.contains("greenroom_sockets{kind=\"peer\"} 3").then_some(())
    })
    .await;
    let _again = Raw::upgrade_with(node.address(), from_afar).await;
}

#[tokio::test]
async fn pages_of_other_origins_are_kept_out_where_origins_are_named() {
    let node = Node::start(&["--allowed-origins=https://rooms.example"]);
    let _page = Raw::upgrade_with(node.address(), "Origin: https://rooms.example\r\n").await;
    let _program = Raw::upgrade(node.address()).await;
    let refused = knock(node.address(), "Origin: https://elsewhere.example\r\n").await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (403, Some("origin_refused")));
}

#[tokio::test]
async fn a_request_that_is_no_handshake_is_told_what_is_missing() {
    let node = Node::start(&[]);
    let plain = get(node.address(), "/ws").await;
    assert_eq!((plain.status, plain.json()["code"].as_str()), (426, Some("upgrade_required")));
    assert!(plain.head.contains("upgrade: websocket"), "{}", plain.head);
}
