//! What comes to the port and is no WebSocket.

use crate::{
    Stage,
    support::{Peer, Raw, frame, request, try_request},
};

#[tokio::test]
async fn requests_that_are_no_handshake_are_refused() {
    let mut stage = Stage::set().await;
    for (headers, status) in [
        ("", 426),
        ("Upgrade: websocket\r\n", 400),
        ("Upgrade: websocket\r\nConnection: Upgrade\r\n", 400),
        ("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n", 400),
        (
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 7\r\n",
            400,
        ),
        ("Upgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n", 400),
    ] {
        let text = format!("GET /ws HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n");
        let answer = request(stage.address(), text.as_bytes()).await;
        assert_eq!(answer.status, status, "{headers}: {answer:?}");
        assert!(answer.head.contains("application/problem+json"), "{headers}: {answer:?}");
        stage.unharmed(headers).await;
    }
}

#[tokio::test]
async fn bytes_that_are_no_http_are_refused() {
    let mut stage = Stage::set().await;
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(200_000));
    let garbage: [&[u8]; 4] =
        [b"\x16\x03\x01\x02\x00\x01\xfc\x03\x03", b"\0\0\0\0\r\n\r\n", b"GET\r\n\r\n", long.as_bytes()];
    for bytes in garbage {
        // What is refused before it was read to its end may be reset before the answer is.
        if let Some(answer) = try_request(stage.address(), bytes).await {
            assert!((400..=431).contains(&answer.status), "{answer:?}");
        }
        stage.unharmed("garbage").await;
    }
}

#[tokio::test]
async fn a_connection_reset_in_the_middle_is_only_lost() {
    let mut stage = Stage::set().await;
    for bytes in [&b""[..], &frame(0x01, b"half")[..], &frame(0x81, br#"{"type":"Message","data":1}"#)[..3]] {
        let stream = tokio::net::TcpStream::connect(stage.address()).await.expect("a connection");
        // With no time to linger, closing resets.
        socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).expect("a socket");
        let mut mallory = Raw::upgrade_on(stream, stage.address()).await;
        mallory.enter("green", "mallory").await;
        mallory.write(bytes).await;
        drop(mallory);
        stage.unharmed("a reset").await;
    }
}

#[tokio::test]
async fn what_was_said_before_the_connection_was_cut_is_done() {
    let mut stage = Stage::set().await;
    let mut eve = Peer::join(stage.address(), "green", "eve").await;
    for number in 0..20 {
        let mut mallory = Raw::join(stage.address(), "green", "mallory").await;
        eve.expect("UserJoined").await;
        let said = frame(0x81, format!(r#"{{"type":"Message","data":{number}}}"#).as_bytes());
        mallory.write(&[said, frame(0x81, br#"{"type":"Leave"}"#)].concat()).await;
        mallory.end_sending();
        assert_eq!(eve.expect("Message").await["data"], number);
        eve.expect_left("mallory", "left").await;
    }
    stage.unharmed("a cut").await;
}
