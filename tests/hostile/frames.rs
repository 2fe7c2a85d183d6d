//! Frames that break RFC 6455, one by one.

use futures_util::FutureExt as _;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    Pair, Stage,
    support::{Closed, Peer, Raw, frame, header, masked},
};

fn closed(code: u16, reason: &str) -> Closed {
    Some((code, reason.to_owned()))
}

/// Sends the bytes by a new socket that has joined; how that ends.
async fn ending(pair: &Pair, bytes: &[u8]) -> (Vec<String>, Closed) {
    let mut mallory = Raw::join(pair.address, "green", "mallory").await;
    mallory.write(bytes).await;
    mallory.ending().await
}

#[tokio::test]
async fn what_breaks_the_protocol_is_closed_as_that() {
    let mut stage = Stage::set().await;
    let ping = br#"{"type":"Ping"}"#;
    let unmasked = [&[0x81, 15][..], ping].concat();
    let nothing_masked = [0x81, 0x00];
    let mut bad: Vec<(String, Vec<u8>)> = vec![
        ("an unmasked frame".to_owned(), unmasked),
        ("an empty unmasked frame".to_owned(), nothing_masked.to_vec()),
        ("an unmasked ping".to_owned(), vec![0x89, 0x00]),
        ("a fragmented ping".to_owned(), frame(0x09, b"")),
        ("a ping of 126 bytes".to_owned(), frame(0x89, &[b'x'; 126])),
        ("a close of 126 bytes".to_owned(), frame(0x88, &[b'x'; 126])),
        ("a continuation of nothing".to_owned(), frame(0x80, ping)),
        ("a first fragment of nothing".to_owned(), frame(0x00, ping)),
        ("a text within a text".to_owned(), [frame(0x01, b"{"), frame(0x81, ping)].concat()),
        ("a binary within a text".to_owned(), [frame(0x01, b"{"), frame(0x02, b"x")].concat()),
    ];
    for reserved in [0x10, 0x20, 0x40, 0x70] {
        bad.push((format!("reserved bits {reserved:#x}"), frame(0x81 | reserved, ping)));
        bad.push((format!("reserved bits {reserved:#x} on a ping"), frame(0x89 | reserved, b"")));
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        bad.push((format!("opcode {opcode}"), frame(0x80 | opcode, ping)));
    }
    for (what, bytes) in bad {
        let (errors, end) = ending(&stage.pair, &bytes).await;
        assert_eq!((errors, end), (vec![], closed(1002, "protocol_violation")), "{what}");
        stage.unharmed(&what).await;
    }
}

#[tokio::test]
async fn what_came_before_a_bad_frame_is_not_lost() {
    let mut stage = Stage::set().await;
    let mut eve = Peer::join(stage.address(), "green", "eve").await;
    let mut mallory = Raw::join(stage.address(), "green", "mallory").await;
    eve.expect("UserJoined").await;
    let good = frame(0x81, br#"{"type":"Message","data":"before"}"#);
    mallory
        .write(&[good, frame(0x83, b"bad"), frame(0x81, br#"{"type":"Message","data":"after"}"#)].concat())
        .await;
    assert_eq!(eve.expect("Message").await["data"], "before");
    eve.expect_updated("mallory", "state", "suspect").await;
    eve.expect_nothing().await;
    assert_eq!(mallory.ending().await.1, closed(1002, "protocol_violation"));
    stage.unharmed("a bad frame").await;
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_closed_as_that() {
    let mut stage = Stage::set().await;
    for bytes in
        [&b"\xff"[..], b"{\"type\":\"Ping\xc0\xaf\"}", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"]
    {
        let (errors, end) = ending(&stage.pair, &frame(0x81, bytes)).await;
        assert_eq!((errors, end), (vec![], closed(1007, "invalid_text")), "{bytes:?}");
        stage.unharmed("invalid UTF-8").await;
    }
}

#[tokio::test]
async fn binary_is_not_spoken_here() {
    let mut stage = Stage::set().await;
    let mut eve = Peer::join(stage.address(), "green", "eve").await;
    let mut mallory = Peer::join(stage.address(), "green", "mallory").await;
    eve.expect("UserJoined").await;
    mallory.send_frame(Message::binary(b"{\"type\":\"Leave\"}".to_vec())).await;
    mallory.expect_error("binary_frame").await;
    mallory.expect_close(4400, "binary_frame").await;
    eve.expect_updated("mallory", "state", "suspect").await;
    // Also before a session.
    let mut stranger = Peer::connect(stage.address()).await;
    stranger.send_frame(Message::binary(vec![0; 1000])).await;
    stranger.expect_error("binary_frame").await;
    stranger.expect_close(4400, "binary_frame").await;
    stage.unharmed("binary").await;
}

#[tokio::test]
async fn what_is_too_large_is_closed_at_its_header() {
    let mut stage = Stage::set().await;
    for declared in [64 * 1024 + 1, 10 << 20, 1 << 30, 1 << 62, u64::MAX] {
        // Not one byte of payload follows: the header is enough.
        let (errors, end) = ending(&stage.pair, &header(0x81, declared)).await;
        assert_eq!((errors, end), (vec![], closed(1009, "too_large")), "{declared} bytes");
        stage.unharmed("a large frame").await;
    }
}

#[tokio::test]
async fn closes_of_every_kind_are_answered() {
    let mut stage = Stage::set().await;
    for (payload, answer) in [
        (&b""[..], Some(1005)),
        (b"\x03\xe8", Some(1000)),
        (b"\x03\xe8bye", Some(1000)),
        (b"\x0f\xa0mine", Some(4000)),
        (b"\x03\xe8\xff\xfe", None),
        (b"\x03", None),
        (b"\x03\xed", None),
        (b"\x00\x00", None),
        (b"\xff\xff", None),
    ] {
        let (errors, end) = ending(&stage.pair, &frame(0x88, payload)).await;
        assert!(errors.is_empty(), "{payload:?}: {errors:?}");
        let code = end.map(|(code, _)| code);
        // What is no close reason may be answered in any way that ends the socket.
        assert!(answer.is_none() || code == answer, "{payload:?}: {code:?}");
        stage.unharmed("a close").await;
    }
}

#[tokio::test]
async fn frames_may_come_byte_by_byte_and_stop_halfway() {
    let mut stage = Stage::set().await;
    let mut mallory = Raw::join(stage.address(), "green", "mallory").await;
    for byte in frame(0x81, br#"{"type":"Ping","id":"slowly"}"#) {
        mallory.write(&[byte]).await;
    }
    assert_eq!(mallory.next_message().await["id"], "slowly");
    let whole = frame(0x81, br#"{"type":"Ping"}"#);
    for half in [1, 2, 5, 10] {
        let mut mallory = Raw::join(stage.address(), "green", "mallory").await;
        mallory.write(&whole[..half]).await;
        mallory.end_sending();
        let (errors, _) = mallory.ending().await;
        assert!(errors.is_empty(), "{half} bytes: {errors:?}");
        stage.unharmed("half a frame").await;
    }
}

#[tokio::test]
async fn a_flood_of_frames_is_cut_off() {
    let mut stage = Stage::set().await;
    // Twice the burst of messages, in frames; pongs are no messages and have no other limit.
    let flood = frame(0x8a, b"").repeat(20_000);
    let (_, end) = ending(&stage.pair, &flood).await;
    assert_eq!(end, closed(4429, "rate_limited"));
    stage.unharmed("a flood").await;
}

#[tokio::test]
async fn ten_mebibytes_as_one_text_are_cut_off() {
    let mut stage = Stage::set().await;
    let mut mallory = Raw::join(stage.address(), "green", "mallory").await;
    let mut writer = mallory.take_writer();
    let bytes = [header(0x81, 10 << 20), masked(&vec![b'x'; 10 << 20])].concat();
    let writing = async {
        use tokio::io::AsyncWriteExt as _;
        // The node stops reading and ends the connection at some point in between.
        let _ = writer.write_all(&bytes).await;
    };
    let (end, ()) = tokio::join!(mallory.ending().map(|(_, end)| end), writing);
    assert_eq!(end, closed(1009, "too_large"));
    stage.unharmed("ten mebibytes").await;
}
