//! What is missing or damaged is listed as merging lists it, and no picture is wrong.

use crate::{
    browser::recorded,
    compared::{assert_damaged, assert_whole},
    kit::{H264, LIVE, LIVE_MKV, OPUS, Recording, VP8, VP9, both, media},
};

/// Pieces of the same size, so that a missing one is a stretch of time.
fn even(bytes: &[u8], pieces: usize) -> Recording {
    let mut recording = Recording::default();
    for (at, piece) in (0..).zip(bytes.chunks(bytes.len().div_ceil(pieces))) {
        recording.push(piece, at == 0, at * 500);
    }
    recording
}

fn source(coders: &str) -> Vec<u8> {
    media(&format!("{} {coders}", both("160x120", "6")))
}

fn webm() -> Vec<u8> {
    source(&format!("{VP8} {OPUS} {LIVE}"))
}

#[tokio::test]
async fn chunks_that_are_missing_of_vp8() {
    chunks_missing(&format!("{VP8} {OPUS} {LIVE}")).await;
}

#[tokio::test]
async fn chunks_that_are_missing_of_vp9() {
    chunks_missing(&format!("{VP9} {OPUS} {LIVE}")).await;
}

#[tokio::test]
async fn chunks_that_are_missing_of_h264() {
    chunks_missing(&format!("{H264} {OPUS} {LIVE_MKV}")).await;
}

#[tokio::test]
async fn chunks_that_are_missing_of_a_whole_file() {
    chunks_missing(&format!("{VP8} {OPUS} -f webm")).await;
}

async fn chunks_missing(coders: &str) {
    let cases: [(&str, usize, &[u32]); 5] = [
        ("one in the middle", 12, &[5]),
        ("several", 20, &[4, 5, 11, 15]),
        ("every third", 30, &[3, 6, 9, 12, 15, 18, 21, 24, 27]),
        ("the last two", 12, &[10, 11]),
        ("all but the first", 12, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
    ];
    let bytes = source(coders);
    for (name, pieces, missing) in cases {
        let name = format!("{name} of {coders}");
        let file = assert_damaged(&name, &even(&bytes, pieces).without(missing), &bytes).await;
        assert_eq!(file.assembled.missing, missing, "{name}");
    }
}

#[tokio::test]
async fn a_chunk_missing_of_what_a_browser_records() {
    for name in ["vp8", "vp9", "h264", "slices", "alpha", "lost-track"] {
        let Some((recording, segments)) = recorded(name) else { return };
        let lost = recording.made / 2;
        assert_damaged(name, &recording.without(&[lost]), &segments[0]).await;
    }
}

#[tokio::test]
async fn a_segment_that_lost_its_beginning_is_left_out() {
    let bytes = webm();
    let two = || even(&bytes, 6).segment(&bytes, 6, 3);
    let file = assert_damaged("the second", &two().without(&[6]), &bytes).await;
    assert_eq!(file.assembled.missing, [6, 7, 8, 9, 10, 11]);
    let file = assert_damaged("the first", &two().without(&[0]), &bytes).await;
    assert_eq!(file.assembled.missing, [0, 1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_recording_that_ends_within_a_frame() {
    let bytes = webm();
    for cut in [1, 90, 200, 5000] {
        let cut = &bytes[..bytes.len() - cut];
        assert_damaged("a tail", &even(cut, 6), &bytes).await;
    }
    let cut = [&bytes[..bytes.len() - 300], &bytes[..]];
    let recording = even(cut[0], 5).segment(cut[1], 5, 2);
    assert_whole("a reload within a frame", &recording, &cut.map(<[u8]>::to_vec)).await;
}

#[tokio::test]
async fn damage_that_the_recorder_sent_itself_is_a_gap_too() {
    let bytes = webm();
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 20_000].fill(0);
    let file = assert_damaged("zeros", &even(&damaged, 12), &damaged).await;
    let [gap] = &file.assembled.gaps[..] else { panic!("{:?}", file.assembled.gaps) };
    assert!(gap.chunks.is_empty() && gap.from_ms < gap.to_ms && file.assembled.missing.is_empty(), "{gap:?}");
}
