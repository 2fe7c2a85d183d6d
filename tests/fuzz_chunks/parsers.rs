//! The parsers of frames and of texts.

use std::collections::BTreeMap;

use bytes::Bytes;
use greenroom::protocol::{
    Code,
    chunk::{self, ChunkFrame},
    limits,
    recorder::{self, RecorderCommand},
};

use crate::{
    SHORT,
    support::{Chance, FIRST_SEED, chunk_frame, fuzz},
};

const COMMANDS: &[&str] = &[
    r#"{"type":"start","mimeType":"video/webm;codecs=vp8,opus","framing":"indexed","recordId":"talk","roomName":"blue"}"#,
    r#"{"type":"start","mimeType":"audio/mp4","title":"\u00dc <b>\ud83c\udfac</b>","owner":"ada","token":"t"}"#,
    r#"{"type":"start","mimeType":"video/mp4","uploadToken":"talk.0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}"#,
    r#"{"type":"stop","recordId":"talk","chunks":12,"bytes":345678}"#,
    r#"{"type":"stop","recordId":"talk"}"#,
    r#"{"type":"abort","recordId":"talk"}"#,
];

const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    ",",
    ":",
    "null",
    "-1",
    "1e999",
    "4294967296",
    "18446744073709551616",
    "\u{0}",
    "\\u0000",
    "\\ud800",
    "é",
    "../",
    "\"type\":\"stop\",",
    "\"chunks\":-1,",
    "\"recordId\":\"..\",",
    "\"title\":null,",
    "\"uploadToken\":\"\",",
    "\"mimeType\":\"text/html\",",
    "\"framing\":\"raw\",",
    "video/ogg",
    "audio/x-matroska",
];

fn frame(chance: &mut Chance) -> Vec<u8> {
    let length = [0, 1, 5, 100, 4000][chance.below(5)];
    let payload: Vec<u8> = (0..length).map(|_| chance.next().to_le_bytes()[0]).collect();
    let index = [0, 1, 7, 1 << 20, u32::MAX][chance.below(5)];
    let mut frame = chunk_frame(index, &payload);
    for _ in 0..chance.below(3) {
        let at = chance.below(frame.len());
        match chance.below(4) {
            0 => frame[at] ^= 1 << chance.below(8),
            1 => frame.truncate(at.max(1)),
            2 => frame.insert(at, chance.next().to_le_bytes()[0]),
            _ => frame[at.min(chunk::HEADER_BYTES - 1)] = 0xff,
        }
    }
    frame
}

/// What is taken is exactly what a recorder would have written for it.
fn check_frame(frame: Vec<u8>) -> &'static str {
    let written = Bytes::from(frame);
    match ChunkFrame::parse(&written) {
        Ok(taken) => {
            assert!(taken.index.get() < limits::CHUNKS_MAX);
            let payload = &taken.chunk.payload;
            assert!((1..=limits::CHUNK_BYTES_MAX).contains(&payload.len()));
            assert_eq!(payload[..], written[chunk::HEADER_BYTES..]);
            assert_eq!(taken.chunk.mark.crc, crc32c::crc32c(payload));
            let again = ChunkFrame::parse(&taken.encode().into()).expect("its own frame");
            assert_eq!((again.index, again.chunk.mark), (taken.index, taken.chunk.mark));
            "taken"
        }
        Err(refused) => {
            let expected = [
                Code::BadChunk,
                Code::ChecksumWrong,
                Code::EmptyChunk,
                Code::IndexOutOfRange,
                Code::TooLarge,
            ];
            assert!(expected.contains(&refused.refusal.code), "{refused:?}");
            refused.refusal.code.name()
        }
    }
}

fn text(chance: &mut Chance) -> String {
    let mut bytes = COMMANDS[chance.below(COMMANDS.len())].as_bytes().to_vec();
    for _ in 0..chance.below(4) {
        let (one, other) = (chance.below(bytes.len() + 1), chance.below(bytes.len() + 1));
        let (start, end) = (one.min(other), one.max(other));
        let piece = PIECES[chance.below(PIECES.len())].bytes();
        match chance.below(5) {
            0 => drop(bytes.splice(start..start, piece)),
            1 => drop(bytes.splice(start..end, piece)),
            2 => bytes.truncate(end),
            3 if bytes.first() == Some(&b'{') => drop(bytes.splice(1..1, piece)),
            _ => {
                if let Some(byte) = bytes.get_mut(start) {
                    *byte ^= 1 << chance.below(8);
                }
            }
        }
    }
    // Frames with anything else are refused before the parser (1007).
    String::from_utf8_lossy(&bytes).into_owned()
}

fn check_text(text: &str) -> &'static str {
    match recorder::parse(text) {
        Ok(RecorderCommand::Start(start)) => {
            assert!(start.mime_type.as_str().len() <= limits::MIME_TYPE_BYTES_MAX);
            if let Some(title) = &start.title {
                assert!((1..=limits::TITLE_BYTES_MAX).contains(&title.as_str().len()));
                assert!(!title.as_str().chars().any(char::is_control));
            }
            if let Some(id) = &start.record_id {
                assert!(
                    !id.as_str().contains(['.', '/', '\\'])
                        && (1..=limits::ID_BYTES_MAX).contains(&id.as_str().len())
                );
            }
            assert!(!format!("{start:?}").contains("0123456789abcdef"), "a token is never shown");
            "start"
        }
        Ok(RecorderCommand::Stop(_)) => "stop",
        Ok(RecorderCommand::Abort(_)) => "abort",
        Err(refusal) => {
            let expected =
                [Code::Malformed, Code::Unsupported, Code::UnsupportedType, Code::TooDeep, Code::TooLarge];
            assert!(expected.contains(&refusal.code), "{refusal:?} for {text}");
            assert!((1..=300).contains(&refusal.message().chars().count()), "{refusal:?}");
            refusal.code.name()
        }
    }
}

#[test]
fn frames_are_taken_or_refused_whatever_comes() {
    fuzz("frames", SHORT, |seed| {
        let mut chance = Chance(seed);
        for _ in 0..50 {
            check_frame(frame(&mut chance));
        }
    });
}

#[test]
fn texts_are_taken_or_refused_whatever_comes() {
    fuzz("texts", SHORT, |seed| {
        let mut chance = Chance(seed);
        for _ in 0..50 {
            check_text(&text(&mut chance));
        }
    });
}

/// The fuzzing would say nothing if all it made were refused at once, or taken.
#[test]
fn the_generators_make_good_and_bad_of_every_kind() {
    let (mut chance, mut seen) = (Chance(FIRST_SEED), BTreeMap::new());
    for _ in 0..5000 {
        *seen.entry(check_frame(frame(&mut chance))).or_insert(0) += 1;
        *seen.entry(check_text(&text(&mut chance))).or_insert(0) += 1;
    }
    for kind in [
        "taken",
        "bad_chunk",
        "checksum_wrong",
        "empty_chunk",
        "index_out_of_range",
        "start",
        "stop",
        "abort",
        "malformed",
        "unsupported",
        "unsupported_type",
    ] {
        assert!(seen.get(kind).is_some_and(|count| *count > 2), "too few of {kind}: {seen:?}");
    }
}
