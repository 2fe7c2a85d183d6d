//! One segment, whatever the codecs: every packet is in the video as it was recorded.

use crate::kit::{
    Done, LIVE, OPUS, Recording, VP8, assert_same, both, file_of, from_zero, media, merge, packets,
};

/// The packets that went in are the packets that came out.
pub fn assert_copied(done: &Done, source: &[u8]) {
    let wanted = from_zero(packets(file_of(source).path()));
    let found = from_zero(packets(&done.merged.file));
    assert_eq!(wanted.len(), found.len(), "tracks");
    for (wanted, found) in wanted.iter().zip(&found) {
        assert!(!wanted.is_empty());
        assert_same("packets", wanted, found);
    }
    assert!(done.merged.missing.is_empty() && done.merged.gaps.is_empty(), "{:?}", done.merged);
    assert!(done.percents.is_sorted() && done.percents.last() == Some(&100), "{:?}", done.percents);
}

#[tokio::test]
async fn vp8_and_opus_stay_webm() {
    let source = media(&format!("{} {VP8} {OPUS} {LIVE}", both("160x120", "4")));
    let done = merge(&Recording::default().segment(&source, 5, 1)).await;
    assert_copied(&done, &source);
    assert_eq!(done.merged.extension, "webm");
    assert_eq!(done.merged.mime_type, "video/webm;codecs=\"vp8,opus\"");
    assert_eq!(done.merged.codecs, ["vp8", "opus"]);
    assert!(done.merged.duration_ms.abs_diff(4000) < 60, "{} ms", done.merged.duration_ms);
    assert!(done.merged.poster.is_some());
}
