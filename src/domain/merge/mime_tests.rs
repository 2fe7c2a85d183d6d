use super::*;

fn track(kind: TrackKind, codec: Codec, private: &[u8]) -> Track {
    Track {
        number: 1,
        kind,
        codec,
        width: 0,
        height: 0,
        sample_rate: 0,
        channels: 0,
        codec_private: Some(private.into()),
        alpha: false,
        default_duration_us: None,
        codec_delay_us: 0,
    }
}

#[test]
fn a_browser_can_tell_from_the_type_whether_it_plays_it() {
    use TrackKind::{Audio, Video};
    let opus = track(Audio, Codec::Opus, &[]);
    let video = |codec, private: &[u8], family| mime_type(family, &[&track(Video, codec, private), &opus]);
    assert_eq!(video(Codec::Vp8, &[], Family::Webm), "video/webm;codecs=\"vp8,opus\"");
    assert_eq!(video(Codec::Vp9, &[1, 1, 0], Family::Webm), "video/webm;codecs=\"vp9,opus\"");
    let vpcc = [1, 0, 0, 0, 0, 31, 0x82, 2, 2, 2, 0, 0];
    assert_eq!(video(Codec::Vp9, &vpcc, Family::Mp4), "video/mp4;codecs=\"vp09.00.31.08,opus\"");
    let av1c = [0x81, 0x04, 0x0c, 0x00];
    assert_eq!(video(Codec::Av1, &av1c, Family::Webm), "video/webm;codecs=\"av01.0.04M.08,opus\"");
    let high = [0x81, 0x2d, 0xc0, 0x00];
    assert_eq!(video(Codec::Av1, &high, Family::Mp4), "video/mp4;codecs=\"av01.1.13H.10,opus\"");
    let avcc = [1, 0x42, 0xe0, 0x1f, 0xff];
    assert_eq!(video(Codec::H264, &avcc, Family::Matroska), "video/x-matroska;codecs=\"avc1.42e01f,opus\"");
    assert_eq!(mime_type(Family::Webm, &[&opus]), "audio/webm;codecs=\"opus\"");
    let aac = track(Audio, Codec::Aac, &[]);
    assert_eq!(mime_type(Family::Mp4, &[&aac]), "audio/mp4;codecs=\"mp4a.40.2\"");
}
