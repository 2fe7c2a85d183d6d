//! Recordings that had hardly begun: the header tells of tracks of which the first packet never came.

use crate::kit::{
    AAC, Done, FRAGMENTS, H264, LIVE, OPUS, Recording, VP8, assert_same, both, file_of, from_zero, media,
    merge, packets,
};

/// One kind of media two seconds before the other: `pictures` first, or the tone.
fn one_before_the_other(pictures_first: bool, rest: &str) -> Vec<u8> {
    let (pictures, tone) = ("-f lavfi -i testsrc2=s=160x120:r=30:d=4", "-f lavfi -i sine=f=440:r=48000:d=4");
    let (before_pictures, before_tone) =
        if pictures_first { ("", "-itsoffset 2") } else { ("-itsoffset 2", "") };
    media(&format!("{before_pictures} {pictures} {before_tone} {tone} {rest}"))
}

/// Its first second, more or less: where pictures come first, that is more bytes.
fn beginning(bytes: &[u8], pictures_first: bool) -> &[u8] {
    &bytes[..bytes.len() / if pictures_first { 5 } else { 20 }]
}

/// Every packet of the one track that came is in the video, which has no other.
fn assert_one_track(done: &Done, source: &[u8], codec: &str) {
    let streams = from_zero(packets(file_of(source).path()));
    let came: Vec<_> = streams.into_iter().filter(|stream| !stream.is_empty()).collect();
    assert_eq!(came.len(), 1, "the source has packets of one track alone");
    let found = from_zero(packets(&done.merged.file));
    assert_eq!(found.len(), 1, "so has the video, and no track without any");
    assert_same("packets", &came[0], &found[0]);
    assert_eq!(done.merged.codecs, [codec]);
    assert!(done.merged.missing.is_empty() && done.merged.gaps.is_empty(), "{:?}", done.merged);
    assert!(done.percents.is_sorted() && done.percents.last() == Some(&100), "{:?}", done.percents);
}

#[tokio::test]
async fn sound_without_a_picture_yet_is_saved() {
    let bytes = one_before_the_other(false, &format!("{VP8} {OPUS} {LIVE}"));
    let source = beginning(&bytes, false);
    let done = merge(&Recording::default().segment(source, 3, 1)).await;
    assert_one_track(&done, source, "opus");
    assert_eq!((done.merged.extension, &*done.merged.mime_type), ("webm", "audio/webm;codecs=\"opus\""));
    assert!(done.merged.poster.is_none());
    assert_eq!(done.merged.work[0].detail, "opus copied, no packet of vp8");
}

/// As found: a recorder that was killed within its first pictures.
#[tokio::test]
async fn the_first_bytes_of_a_recording_are_saved() {
    let bytes = media(&format!("{} {VP8} {OPUS} -f webm -live 1", both("320x240", "2")));
    for length in [1000, 2000, 3000] {
        let done = merge(&Recording::default().segment(&bytes[..length], 1, 2)).await;
        assert_one_track(&done, &bytes[..length], "opus");
    }
}

#[tokio::test]
async fn pictures_without_sound_yet_are_saved() {
    let bytes = one_before_the_other(true, &format!("{VP8} {OPUS} {LIVE}"));
    let source = beginning(&bytes, true);
    let done = merge(&Recording::default().segment(source, 3, 3)).await;
    assert_one_track(&done, source, "vp8");
    assert_eq!(&*done.merged.mime_type, "video/webm;codecs=\"vp8\"");
    assert!(done.merged.poster.is_some());
    assert_eq!(done.merged.work[0].detail, "vp8 copied, no packet of opus");
}

/// What decides the kind of file is what is in it.
#[tokio::test]
async fn sound_that_may_be_in_webm_is_put_there() {
    let bytes =
        one_before_the_other(false, &format!("{H264} {OPUS} -f matroska -live 1 -cluster_time_limit 1000"));
    let source = beginning(&bytes, false);
    let done = merge(&Recording::default().segment(source, 2, 4)).await;
    assert_one_track(&done, source, "opus");
    assert_eq!(done.merged.extension, "webm");
}

/// Each fragment holds one track, and the first came alone.
#[tokio::test]
async fn the_same_in_mp4() {
    for (order, codec) in [("-map 1 -map 0", "aac"), ("-map 0 -map 1", "h264")] {
        let bytes =
            media(&format!("{} {order} {H264} {AAC} {FRAGMENTS}+separate_moof", both("160x120", "2")));
        let second = bytes.windows(4).enumerate().filter(|(_, four)| four == b"moof").nth(1);
        let source = &bytes[..second.unwrap().0 - 4];
        let done = merge(&Recording::default().segment(source, 3, 5)).await;
        assert_one_track(&done, source, codec);
        assert_eq!(done.merged.extension, "mp4");
    }
}

#[tokio::test]
async fn two_that_had_hardly_begun_are_joined() {
    let bytes = one_before_the_other(false, &format!("{VP8} {OPUS} {LIVE}"));
    let source = beginning(&bytes, false);
    let recording = Recording::default().segment(source, 2, 6).segment(source, 2, 7);
    let done = merge(&recording).await;
    let one = from_zero(packets(file_of(source).path())).into_iter().find(|stream| !stream.is_empty());
    let found = from_zero(packets(&done.merged.file));
    assert_eq!((found.len(), found[0].len()), (1, 2 * one.unwrap().len()));
    let work: Vec<_> = done.merged.work.iter().map(|work| &*work.detail).collect();
    assert_eq!(work, ["opus copied, no packet of vp8"; 2]);
}

#[tokio::test]
async fn one_that_had_hardly_begun_is_filled_up_beside_a_whole_one() {
    let bytes = one_before_the_other(false, &format!("{VP8} {OPUS} {LIVE}"));
    let whole = media(&format!("{} {VP8} {OPUS} {LIVE}", both("160x120", "2")));
    let recording = Recording::default().segment(beginning(&bytes, false), 2, 8).segment(&whole, 3, 9);
    let done = merge(&recording).await;
    assert_eq!(done.merged.codecs, ["vp8", "opus"]);
    let work: Vec<_> = done.merged.work.iter().map(|work| &*work.detail).collect();
    assert_eq!(work, ["black added as vp8, opus copied", "vp8 copied, opus copied"]);
}
