//! Media that ffmpeg makes: codecs, cuttings, segments that differ, and headers that a browser does not write.

use greenroom::domain::assembly::Unfit;

use crate::{
    compared::{assert_same_however_cut, assert_whole, refused},
    kit::{AAC, AV1, FRAGMENTS, H264, LIVE, LIVE_MKV, OPUS, Recording, VP8, VP9, both, media},
};

const SOUND: &str = "-f lavfi -i sine=f=440:r=48000:d=5";
const PICTURES: &str = "-f lavfi -i testsrc2=s=160x120:r=30:d=3";
/// Keyframes half a minute apart.
const RARE: &str = "-c:v libvpx -b:v 100k -g 900 -deadline realtime -cpu-used -8";
const EVERY: &str = "-c:v libvpx -b:v 100k -g 1 -deadline realtime -cpu-used -8";
const ALPHA: &str = "-f lavfi -i testsrc2=s=160x120:r=30:d=2,format=yuva420p,colorchannelmixer=aa=0.5 \
                     -c:v libvpx -pix_fmt yuva420p -auto-alt-ref 0 -b:v 300k";

/// One segment of a kind: its name, how ffmpeg makes it, and into how many chunks it is cut.
type Case = (&'static str, String, usize);

fn codecs() -> Vec<Case> {
    let both = |seconds| both("160x120", seconds);
    vec![
        ("VP8", format!("{} {VP8} {OPUS} {LIVE}", both("4")), 5),
        ("hundreds of chunks", format!("{} {VP8} {OPUS} {LIVE}", both("4")), 300),
        ("VP9", format!("{} {VP9} {OPUS} {LIVE}", both("3")), 4),
        ("AV1", format!("{} {AV1} {OPUS} {LIVE}", both("2")), 3),
        ("H.264", format!("{} {H264} {OPUS} {LIVE_MKV}", both("3")), 4),
        ("H.264 and AAC", format!("{} {H264} {AAC} {LIVE_MKV}", both("3")), 4),
        ("uncompressed sound", format!("{} {VP8} -c:a pcm_f32le {LIVE_MKV}", both("2")), 4),
        ("Vorbis", format!("{} {VP8} -c:a libvorbis {LIVE}", both("2")), 4),
    ]
}

fn forms() -> Vec<Case> {
    let both = |seconds| both("160x120", seconds);
    vec![
        ("sound alone", format!("{SOUND} {OPUS} {LIVE}"), 6),
        ("pictures alone", format!("{PICTURES} {VP8} {LIVE}"), 3),
        ("an alpha channel", format!("{ALPHA} {LIVE}"), 3),
        ("keyframes far apart", format!("{} {RARE} {OPUS} {LIVE}", both("14")), 9),
        ("nothing but keyframes", format!("-f lavfi -i color=black:s=16x16:r=100:d=4 {EVERY} {LIVE}"), 4),
        ("a whole file with an index", format!("{} {VP8} {OPUS} -f webm", both("3")), 4),
        ("a whole file of Matroska", format!("{} {H264} {AAC} -f matroska", both("3")), 4),
    ]
}

#[tokio::test]
async fn one_segment_of_each_codec() {
    assert_each(codecs()).await;
}

#[tokio::test]
async fn one_segment_of_each_form() {
    assert_each(forms()).await;
}

async fn assert_each(cases: Vec<Case>) {
    for (name, args, pieces) in cases {
        let source = media(&args);
        let recording = Recording::default().segment(&source, pieces, 7);
        assert_whole(name, &recording, &[source]).await;
    }
}

#[tokio::test]
async fn several_segments() {
    let of = |coders: &str, size, seconds| media(&format!("{} {coders}", both(size, seconds)));
    let webm = format!("{VP8} {OPUS} {LIVE}");
    let cases = [
        ("of one length", vec![of(&webm, "160x120", "2"), of(&webm, "160x120", "2")]),
        (
            "of three sizes",
            vec![of(&webm, "160x120", "2"), of(&webm, "320x180", "1"), of(&webm, "160x120", "1")],
        ),
        (
            "whole and live",
            vec![of(&format!("{VP8} {OPUS} -f webm"), "160x120", "2"), of(&webm, "160x120", "2")],
        ),
    ];
    for (name, segments) in cases {
        let add = |recording: Recording, (bytes, seed): (&Vec<u8>, u64)| recording.segment(bytes, 4, seed);
        let recording = segments.iter().zip(5..).fold(Recording::default(), add);
        assert_whole(name, &recording, &segments).await;
    }
}

#[tokio::test]
async fn however_it_is_cut_the_file_is_the_same() {
    let source = media(&format!("{} {VP8} {OPUS} {LIVE}", both("160x120", "4")));
    assert_same_however_cut(&source);
}

#[tokio::test]
async fn what_is_for_ffmpeg_is_refused() {
    let of = |coders: &str| media(&format!("{} {coders}", both("160x120", "2")));
    let (vp8, vp9) = (of(&format!("{VP8} {OPUS} {LIVE}")), of(&format!("{VP9} {OPUS} {LIVE}")));
    let changed = Unfit::TrackChanged { from: "vp8".into(), to: "vp9".into() };
    assert_eq!(refused(&[&vp8, &vp9]), changed);
    assert_eq!(refused(&[&vp8, &of(&format!("{H264} {AAC} {FRAGMENTS}"))]), Unfit::Mixed);
    let pictures = media(&format!("{PICTURES} {VP8} {LIVE}"));
    assert_eq!(refused(&[&pictures, &vp8]), Unfit::TrackAppeared("opus".into()));
    // Their parameter sets are in the header, and differ.
    let h264 = |size| media(&format!("{} {H264} {OPUS} {LIVE_MKV}", both(size, "2")));
    assert!(matches!(refused(&[&h264("160x120"), &h264("320x240")]), Unfit::TrackChanged { .. }));
}
