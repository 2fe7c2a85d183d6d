use proptest::prelude::*;

use super::*;

const WEBM: &[u8] = &[0x1A, 0x45, 0xDF, 0xA3, 0x01, 0x02];

fn frame(payload: &'static [u8], index: u32) -> Vec<u8> {
    let chunk = Chunk::described(Bytes::from_static(payload), Some(true), Some(1020)).expect("not empty");
    ChunkFrame { index: ChunkIndex::new(index).expect("in range"), chunk }.encode()
}

fn parse(bytes: Vec<u8>) -> Result<ChunkFrame, (Option<u32>, Code)> {
    ChunkFrame::parse(&bytes.into()).map_err(|refused| (refused.index, refused.refusal.code))
}

#[test]
fn a_frame_is_read_as_it_was_written() {
    let bytes = frame(WEBM, 7);
    assert_eq!(bytes[..4], [b'G', b'R', 1, 1]);
    assert_eq!(bytes[4..8], [0, 0, 0, 7]);
    assert_eq!(bytes[8..12], 1020u32.to_be_bytes());
    let read = parse(bytes).expect("whole");
    assert_eq!(read.index.get(), 7);
    assert_eq!(read.chunk.payload, WEBM);
    assert!(read.chunk.mark.begins_segment);
    assert_eq!(read.chunk.mark.timecode_ms, Some(1020));
}

#[test]
fn the_checksum_is_crc_32c() {
    // The check value of CRC-32C (Castagnoli).
    let chunk = Chunk::raw(Bytes::from_static(b"123456789")).expect("not empty");
    assert_eq!(chunk.mark.crc, 0xE306_9283);
}

#[test]
fn each_fault_of_a_frame_has_its_code_and_names_the_index_where_it_can() {
    let change = |at: usize, to: u8| {
        let mut bytes = frame(WEBM, 7);
        bytes[at] = to;
        parse(bytes).expect_err("refused")
    };
    assert_eq!(change(0, b'g'), (None, Code::BadChunk));
    assert_eq!(change(2, 2), (None, Code::BadChunk), "a version that does not exist");
    assert_eq!(change(15, 5), (Some(7), Code::BadChunk), "a length that lies");
    assert_eq!(change(19, 0), (Some(7), Code::ChecksumWrong));
    assert_eq!(change(HEADER_BYTES, 0), (Some(7), Code::ChecksumWrong));
    assert_eq!(parse(frame(WEBM, 7)[..19].to_vec()).expect_err("cut"), (None, Code::BadChunk));
    let mut empty = frame(WEBM, 7)[..HEADER_BYTES].to_vec();
    empty[12..16].fill(0);
    assert_eq!(parse(empty).expect_err("empty"), (Some(7), Code::EmptyChunk));
    let mut far = frame(WEBM, 7);
    far[4..8].fill(0xff);
    assert_eq!(parse(far).expect_err("far"), (Some(u32::MAX), Code::IndexOutOfRange));
}

#[test]
fn a_segment_begins_where_the_flag_and_the_bytes_agree() {
    let begins = |payload: &'static [u8], flag: Option<bool>| {
        Chunk::described(Bytes::from_static(payload), flag, None).expect("not empty").mark.begins_segment
    };
    assert!(begins(WEBM, Some(true)));
    assert!(!begins(WEBM, Some(false)), "a frame of video may hold any bytes");
    assert!(!begins(b"video", Some(true)));
    assert!(begins(&WEBM[..1], Some(true)), "a recorder's first piece may be one byte");
    assert!(!begins(&WEBM[..1], None));
    assert!(begins(WEBM, None));
    assert!(begins(b"\0\0\0\x18ftypiso5", None));
}

#[test]
fn a_recording_begins_like_media() {
    let first =
        |payload: &'static [u8]| Chunk::raw(Bytes::from_static(payload)).expect("not empty").check_first();
    assert!(first(WEBM).is_ok());
    assert!(first(b"\0\0\0\x18ftypiso5").is_ok());
    assert!(first(&WEBM[..3]).is_ok(), "as far as it goes");
    for bad in [&b"GIF89a"[..], b"<html>", b"\0\0\0\x18moov", b"RIFF\0\0\0\0WAVE"] {
        assert_eq!(first(bad).expect_err("no media").code, Code::NotMedia);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse(bytes);
    }

    #[test]
    fn a_changed_byte_never_passes_for_the_chunk_that_was_sent(at in 0usize..26, to in any::<u8>()) {
        let mut changed = frame(WEBM, 7);
        changed[at] = to;
        if let Ok(read) = parse(changed) {
            // Index, timecode and flags are not covered by the checksum, whose subject is the payload.
            prop_assert_eq!(read.chunk.payload, WEBM);
        }
    }
}
