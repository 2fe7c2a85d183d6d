//! Telling media from what is none.

use super::*;

#[test]
fn the_first_bytes_say_what_a_file_is() {
    let webm = Sniff::Media(Container::Matroska);
    let mp4 = Sniff::Media(Container::Mp4);
    let cases: [(&[u8], Sniff); 11] = [
        (b"\x1a\x45\xdf\xa3", webm),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86", webm),
        (b"\0\0\0\x20ftyp", mp4),
        (b"\0\0\0\x20ftypisom\0\0", mp4),
        (b"", Sniff::TooShort),
        (b"\x1a\x45\xdf", Sniff::TooShort),
        (b"\0\0\0\x20fty", Sniff::TooShort),
        (b"\x1a\x45\xdf\xa4", Sniff::NotMedia),
        (b"\0\0\0\x20moov", Sniff::NotMedia),
        (b"RIFF\0\0\0\0WEBP", Sniff::NotMedia),
        (b"<", Sniff::NotMedia),
    ];
    for (head, expected) in cases {
        assert_eq!(sniff(head), expected, "{head:x?}");
    }
}

#[test]
fn what_webm_may_not_hold_is_known() {
    let fits = [Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::Opus, Codec::Vorbis];
    let does_not = [Codec::H264, Codec::H265, Codec::Aac, Codec::Pcm, Codec::Flac, Codec::Other("x".into())];
    assert!(fits.iter().all(Codec::fits_webm) && !does_not.iter().any(Codec::fits_webm));
}

#[test]
fn the_length_of_an_opus_packet_is_in_its_first_bytes() {
    // Source: the table of RFC 6716 §3.1.
    let cases: [(&[u8], Option<u64>); 7] = [
        (&[0xf8], Some(20_000)),
        (&[0x18], Some(60_000)),
        (&[0x80], Some(2_500)),
        (&[0xf9], Some(40_000)),
        (&[0xfb, 3], Some(60_000)),
        (&[0xfb, 0x3f], None),
        (&[], None),
    ];
    for (bytes, expected) in cases {
        assert_eq!(ebml::opus_us(bytes), expected, "{bytes:x?}");
    }
}
