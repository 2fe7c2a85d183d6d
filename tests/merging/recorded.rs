//! Media as Chromium's own recorder makes it: every packet and frame is in the video.

use greenroom::protocol::recorder::Did;

use crate::{
    browser::recorded,
    kit::{Done, Item, Streams, file_of, first_ms, frames, from_zero, merge, packets, run},
};

async fn merged(name: &str) -> Option<(Done, Vec<Vec<u8>>)> {
    let (recording, segments) = recorded(name)?;
    let done = merge(&recording).await;
    assert!(done.merged.missing.is_empty(), "{name}: {:?}", done.merged.missing);
    assert!(done.merged.gaps.is_empty(), "{name}: {:?}", done.merged.gaps);
    assert!(done.percents.is_sorted() && done.percents.last() == Some(&100));
    let file = done.merged.file.to_str().unwrap();
    let numbered = [
        "-filter:v",
        "setpts=N/25/TB",
        "-filter:a",
        "asetpts=N/SR/TB",
        "-enc_time_base:v",
        "1:1000",
        "-f",
        "null",
        "-",
    ];
    run("ffmpeg", &[&["-v", "error", "-xerror", "-i", file][..], &numbered[..]].concat());
    Some((done, segments))
}

/// Each segment's packets are in the result one after the other, moved by one time; where `payloads` is false, only
/// their times count.
fn assert_all_there(name: &str, done: &Done, segments: &[Vec<u8>], payloads: bool) {
    let found = from_zero(packets(&done.merged.file));
    let mut next = vec![0; found.len()];
    for bytes in segments {
        let wanted: Streams = from_zero(packets(file_of(bytes).path()));
        let mut offsets = Vec::new();
        for (stream, wanted) in wanted.iter().enumerate() {
            let at = next[stream];
            let there = &found[stream][at..(at + wanted.len()).min(found[stream].len())];
            assert_eq!(there.len(), wanted.len(), "{name}: packets of track {stream}");
            let offset = there[0].time_ms - wanted[0].time_ms;
            for (wanted, found) in wanted.iter().zip(there) {
                assert!(
                    !payloads || wanted.hash == found.hash,
                    "{name}: track {stream} at {} ms",
                    found.time_ms
                );
                assert!(
                    (found.time_ms - wanted.time_ms).abs_diff(offset) <= 2,
                    "{name}: {wanted:?} {found:?}"
                );
            }
            offsets.push(offset);
            next[stream] = at + wanted.len();
        }
        let (least, most) = (offsets.iter().min().unwrap(), offsets.iter().max().unwrap());
        assert!(most - least <= 2, "{name}: pictures and sound are apart by {offsets:?}");
    }
    let lengths: Vec<_> = found.iter().map(Vec::len).collect();
    assert_eq!(next, lengths, "{name}: packets that were never recorded");
}

fn hashes(frames: &[Item]) -> Vec<&str> {
    frames.iter().map(|frame| frame.hash.as_str()).collect()
}

#[tokio::test]
async fn one_segment_of_each_codec() {
    let cases = [
        ("vp8", "video/webm;codecs=\"vp8,opus\"", true),
        ("vp9", "video/webm;codecs=\"vp9,opus\"", true),
        ("av1", "video/webm;codecs=\"av01.0.", false),
        ("h264", "video/x-matroska;codecs=\"avc1.42", false),
        ("pcm", "video/x-matroska;codecs=\"vp8,pcm\"", true),
        ("sound", "audio/webm;codecs=\"opus\"", true),
        ("pictures", "video/webm;codecs=\"vp8\"", true),
        ("mp4-h264", "video/mp4;codecs=\"avc1.42", false),
        ("mp4-vp9", "video/mp4;codecs=\"vp09.00.", true),
        ("mp4-av1", "video/mp4;codecs=\"av01.0.", false),
        ("mp4-sound", "audio/mp4;codecs=\"opus\"", true),
        ("alpha", "video/webm;codecs=\"vp8\"", true),
        ("slices", "video/webm;codecs=\"vp8,opus\"", true),
        ("paused", "video/webm;codecs=\"vp8,opus\"", true),
        ("lost-track", "video/webm;codecs=\"vp8,opus\"", true),
    ];
    for (name, mime_type, payloads) in cases {
        let Some((done, segments)) = merged(name).await else { return };
        assert_all_there(name, &done, &segments, payloads);
        let said = &done.merged.mime_type;
        assert!(said.starts_with(mime_type), "{name}: {said}");
        assert_eq!(done.merged.work[0].did, Did::Copied);
        let (wanted, found) = (frames(file_of(&segments[0]).path()), frames(&done.merged.file));
        assert_eq!(hashes(&wanted), hashes(&found), "{name}");
    }
}

#[tokio::test]
async fn a_pause_is_no_gap_and_small_slices_are_many() {
    let Some((done, _)) = merged("paused").await else { return };
    assert!((2500..3600).contains(&done.merged.duration_ms), "{} ms with a pause", done.merged.duration_ms);
    let Some((recording, _)) = recorded("slices") else { return };
    assert!(recording.made > 50, "{} chunks", recording.made);
}

#[tokio::test]
async fn several_segments_of_one_codec() {
    for (name, count, extension) in [
        ("two", 2, "webm"),
        ("sizes", 3, "webm"),
        ("files", 15, "webm"),
        ("mixed", 2, "webm"),
        ("mp4-two", 2, "mp4"),
    ] {
        let Some((done, segments)) = merged(name).await else { return };
        assert_eq!((segments.len(), done.merged.work.len()), (count, count), "{name}");
        assert_all_there(name, &done, &segments, name != "mp4-two");
        assert_eq!(done.merged.extension, extension, "{name}");
        assert!(
            done.merged.work.iter().all(|work| work.did == Did::Copied),
            "{name}: {:?}",
            done.merged.work
        );
        let wanted: Vec<_> = segments.iter().flat_map(|bytes| frames(file_of(bytes).path())).collect();
        let found = frames(&done.merged.file);
        assert_eq!(hashes(&wanted), hashes(&found), "{name}: frames");
    }
}

#[tokio::test]
async fn another_codec_or_track_in_a_later_segment() {
    let cases = [
        ("codecs", [Did::Copied, Did::ReEncoded], "vp9 became vp8"),
        ("track-gone", [Did::Copied, Did::Filled], "vp8 copied, silence added as opus"),
        ("track-added", [Did::Filled, Did::Copied], "vp8 copied, silence added as opus"),
        ("video-added", [Did::Filled, Did::Copied], "black added as vp8, opus copied"),
    ];
    for (name, did, detail) in cases {
        let Some((done, segments)) = merged(name).await else { return };
        let work = &done.merged.work;
        assert_eq!([work[0].did, work[1].did], did, "{name}");
        assert!(work.iter().any(|work| work.detail.starts_with(detail)), "{name}: {work:?}");
        let lengths = segments.iter().map(|bytes| {
            let streams = packets(file_of(bytes).path());
            streams.iter().flatten().map(|item| item.time_ms).max().unwrap() - first_ms(&streams)
        });
        let length = u64::try_from(lengths.sum::<i64>()).unwrap();
        assert!(
            done.merged.duration_ms.abs_diff(length) < 250,
            "{name}: {} of {length} ms",
            done.merged.duration_ms
        );
    }
}
