//! Messages in fragments (RFC 6455 §5.4): allowed, and bounded as a whole.

use crate::{
    Stage,
    support::{Raw, frame},
};

#[tokio::test]
async fn fragments_make_one_message_with_pings_in_between() {
    let mut stage = Stage::set().await;
    let mut eve = Raw::join(stage.address(), "green", "eve").await;
    // A character cut in two is whole again in the message.
    let text = r#"{"type":"Message","data":"né","id":"f-1"}"#.as_bytes();
    let cut = text.iter().position(|byte| !byte.is_ascii()).expect("é") + 1;
    for bytes in [
        frame(0x01, &text[..7]),
        frame(0x89, b"in between"),
        frame(0x00, b""),
        frame(0x00, &text[7..cut]),
        frame(0x80, &text[cut..]),
    ] {
        eve.write(&bytes).await;
    }
    assert_eq!(eve.next_frame().await, Some((0x8a, b"in between".to_vec())));
    assert_eq!(eve.next_message().await["id"], "f-1");
    // And the socket speaks on.
    eve.write(&frame(0x81, br#"{"type":"Ping","id":"whole"}"#)).await;
    assert_eq!(eve.next_message().await["id"], "whole");
    stage.unharmed("fragments").await;
}

#[tokio::test]
async fn many_small_fragments_are_bounded_together() {
    let mut stage = Stage::set().await;
    let mut mallory = Raw::join(stage.address(), "green", "mallory").await;
    let piece = [b'x'; 16 * 1024];
    mallory.write(&frame(0x01, &piece)).await;
    for _ in 0..4 {
        mallory.write(&frame(0x00, &piece)).await;
    }
    assert_eq!(mallory.ending().await, (vec![], Some((1009, "too_large".to_owned()))));
    stage.unharmed("fragments without end").await;
}

#[tokio::test]
async fn fragments_that_are_no_text_together_are_refused_together() {
    let mut stage = Stage::set().await;
    let mut mallory = Raw::join(stage.address(), "green", "mallory").await;
    mallory.write(&frame(0x01, b"\xc3")).await;
    mallory.write(&frame(0x80, b"\x28")).await;
    assert_eq!(mallory.ending().await, (vec![], Some((1007, "invalid_text".to_owned()))));

    let mut mallory = Raw::join(stage.address(), "green", "mallory").await;
    mallory.write(&frame(0x02, b"{}")).await;
    mallory.write(&frame(0x80, b"")).await;
    let binary = (vec!["binary_frame".to_owned()], Some((4400, "binary_frame".to_owned())));
    assert_eq!(mallory.ending().await, binary);
    stage.unharmed("bad fragments").await;
}

#[tokio::test]
async fn a_message_that_never_ends_is_no_message() {
    let mut stage = Stage::set().await;
    let mut mallory = Raw::join(stage.address(), "green", "mallory").await;
    mallory.write(&frame(0x01, br#"{"type":"Leave"}"#)).await;
    mallory.end_sending();
    let (errors, _) = mallory.ending().await;
    assert!(errors.is_empty(), "{errors:?}");
    stage.unharmed("an unfinished message").await;
}
