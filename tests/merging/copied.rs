//! One segment, whatever the codecs: every packet is in the video as it was recorded.

use crate::kit::{
    AAC, AV1, Done, FRAGMENTS, H264, LIVE, LIVE_MKV, OPUS, Recording, VP8, VP9, assert_same, both, file_of,
    frames, from_zero, media, merge, packets, run,
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
    assert_whole(done);
}

/// The frames that went in are the frames that come out, where packets are written in another way.
fn assert_same_frames(done: &Done, source: &[u8]) {
    let wanted = frames(file_of(source).path());
    assert!(!wanted.is_empty());
    assert_same("frames", &wanted, &frames(&done.merged.file));
    let sound = |streams: Vec<_>| streams.into_iter().nth(1).unwrap();
    let wanted = sound(from_zero(packets(file_of(source).path())));
    assert_same("sound", &wanted, &sound(from_zero(packets(&done.merged.file))));
    assert_whole(done);
}

/// Nothing is missing, one segment was copied, and the percentage never fell.
fn assert_whole(done: &Done) {
    assert!(done.merged.missing.is_empty() && done.merged.gaps.is_empty(), "{:?}", done.merged);
    assert!(done.percents.is_sorted() && done.percents.last() == Some(&100), "{:?}", done.percents);
    assert_eq!(done.merged.work.len(), 1);
    assert!(done.merged.work[0].detail.ends_with("copied"), "{:?}", done.merged.work);
    let stored = std::fs::read(&done.merged.file).unwrap();
    assert_eq!(stored.len() as u64, done.merged.proof.size_bytes);
}

async fn merged(args: &str, pieces: usize) -> (Vec<u8>, Done) {
    let source = media(args);
    let done = merge(&Recording::default().segment(&source, pieces, 7)).await;
    (source, done)
}

#[tokio::test]
async fn vp8_and_opus_stay_webm() {
    let (source, done) = merged(&format!("{} {VP8} {OPUS} {LIVE}", both("160x120", "4")), 5).await;
    assert_copied(&done, &source);
    assert_eq!(done.merged.extension, "webm");
    assert_eq!(done.merged.mime_type, "video/webm;codecs=\"vp8,opus\"");
    assert_eq!(done.merged.codecs, ["vp8", "opus"]);
    assert!(done.merged.duration_ms.abs_diff(4000) < 60, "{} ms", done.merged.duration_ms);
    assert!(done.merged.poster.is_some());
}

#[tokio::test]
async fn the_result_says_its_length_and_has_its_index_in_front() {
    let (_, done) = merged(&format!("{} {VP8} {OPUS} {LIVE}", both("160x120", "4")), 5).await;
    let file = done.merged.file.to_str().unwrap();
    let says = run("ffprobe", &["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", file]);
    let seconds: f64 = String::from_utf8(says).unwrap().trim().parse().unwrap();
    assert!((3.9..4.1).contains(&seconds), "{seconds}");
    let bytes = std::fs::read(file).unwrap();
    let find =
        |id: [u8; 4]| bytes.windows(4).enumerate().filter(move |(_, four)| *four == id).map(|(at, _)| at);
    let cues = find([0x1c, 0x53, 0xbb, 0x6b]).next_back().unwrap();
    assert!(cues < find([0x1f, 0x43, 0xb6, 0x75]).next_back().unwrap(), "Cues stand behind the last Cluster");
}

#[tokio::test]
async fn merging_twice_makes_the_same_bytes() {
    let args = format!("{} {VP8} {OPUS} {LIVE}", both("160x120", "4"));
    let (first, second) = (merged(&args, 5).await.1, merged(&args, 11).await.1);
    assert_eq!(first.merged.duration_ms, second.merged.duration_ms);
    let (first, second) = (packets(&first.merged.file), packets(&second.merged.file));
    assert_eq!(first, second, "however it is cut");
    let again = merged(&args, 5).await.1;
    assert_eq!(again.merged.proof, merged(&args, 5).await.1.merged.proof);
}

#[tokio::test]
async fn vp9() {
    let (source, done) = merged(&format!("{} {VP9} {OPUS} {LIVE}", both("160x120", "3")), 4).await;
    assert_copied(&done, &source);
    assert_eq!(done.merged.mime_type, "video/webm;codecs=\"vp9,opus\"");
}

#[tokio::test]
async fn av1() {
    let (source, done) = merged(&format!("{} {AV1} {OPUS} {LIVE}", both("160x120", "2")), 3).await;
    assert_same_frames(&done, &source);
    assert_eq!(done.merged.extension, "webm");
    assert!(done.merged.mime_type.starts_with("video/webm;codecs=\"av01.0."), "{}", done.merged.mime_type);
}

#[tokio::test]
async fn h264_goes_to_matroska() {
    let (source, done) = merged(&format!("{} {H264} {OPUS} {LIVE_MKV}", both("160x120", "3")), 4).await;
    assert_same_frames(&done, &source);
    assert_eq!(done.merged.extension, "mkv");
    assert!(
        done.merged.mime_type.starts_with("video/x-matroska;codecs=\"avc1.42"),
        "{}",
        done.merged.mime_type
    );
}

#[tokio::test]
async fn uncompressed_sound_goes_to_matroska() {
    let sound = "-f lavfi -i testsrc2=s=160x120:r=30:d=2 -f lavfi -i sine=f=440:r=48000:d=2";
    let (source, done) = merged(&format!("{sound} {VP8} -c:a pcm_f32le {LIVE_MKV}"), 4).await;
    assert_copied(&done, &source);
    assert_eq!((done.merged.extension, done.merged.codecs[1].as_str()), ("mkv", "pcm"));
}

#[tokio::test]
async fn sound_alone() {
    let (source, done) = merged(&format!("-f lavfi -i sine=f=440:r=48000:d=5 {OPUS} {LIVE}"), 6).await;
    assert_copied(&done, &source);
    assert_eq!(done.merged.mime_type, "audio/webm;codecs=\"opus\"");
    assert!(done.merged.poster.is_none());
}

#[tokio::test]
async fn pictures_alone() {
    let (source, done) = merged(&format!("-f lavfi -i testsrc2=s=160x120:r=30:d=3 {VP8} {LIVE}"), 3).await;
    assert_copied(&done, &source);
    assert_eq!(done.merged.codecs, ["vp8"]);
}

#[tokio::test]
async fn mp4_stays_mp4() {
    for video in [H264, VP9, AV1] {
        let sound = if video == H264 { AAC } else { OPUS };
        let (source, done) =
            merged(&format!("{} {video} {sound} {FRAGMENTS}", both("160x120", "3")), 4).await;
        assert_same_frames(&done, &source);
        assert_eq!(done.merged.extension, "mp4");
        assert!(done.merged.mime_type.starts_with("video/mp4;codecs="), "{}", done.merged.mime_type);
        let bytes = std::fs::read(&done.merged.file).unwrap();
        let find = |kind: &[u8]| bytes.windows(4).position(|four| four == kind).unwrap();
        assert!(find(b"moov") < find(b"mdat"), "what describes the media stands behind them");
    }
}

#[tokio::test]
async fn an_mp4_that_no_pipe_can_carry() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("late.mp4");
    let args = format!("-v error -nostdin {} {H264} {AAC} -f mp4 {}", both("160x120", "3"), path.display());
    run("ffmpeg", &args.split_whitespace().collect::<Vec<_>>());
    let source = std::fs::read(&path).unwrap();
    let done = merge(&Recording::default().segment(&source, 4, 3)).await;
    assert_same_frames(&done, &source);
    assert_eq!(done.merged.extension, "mp4");
}

#[tokio::test]
async fn hundreds_of_small_chunks() {
    let (source, done) = merged(&format!("{} {VP8} {OPUS} {LIVE}", both("160x120", "4")), 300).await;
    assert_copied(&done, &source);
}

#[tokio::test]
async fn keyframes_closer_together_than_there_is_room_for_in_front() {
    let every = "-c:v libvpx -b:v 100k -g 1 -deadline realtime -cpu-used -8";
    let source = media(&format!("-f lavfi -i color=black:s=16x16:r=500:d=4 {every} {LIVE}"));
    let done = merge(&Recording::default().segment(&source, 1, 1)).await;
    assert_copied(&done, &source);
    assert_eq!(done.percents.last(), Some(&100));
}

#[tokio::test]
async fn an_alpha_channel_stays() {
    let pictures = "-f lavfi -i testsrc2=s=160x120:r=30:d=2,format=yuva420p,colorchannelmixer=aa=0.5";
    let coder = "-c:v libvpx -pix_fmt yuva420p -auto-alt-ref 0 -b:v 300k";
    let (source, done) = merged(&format!("{pictures} {coder} {LIVE}"), 3).await;
    assert_copied(&done, &source);
    let alpha = |file: &std::path::Path| {
        let name = file.to_str().unwrap();
        let plane =
            ["-v", "error", "-c:v", "libvpx", "-i", name, "-vf", "alphaextract", "-f", "framemd5", "-"];
        let text = String::from_utf8(run("ffmpeg", &plane)).unwrap();
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line[line.len() - 32..].to_owned())
            .collect()
    };
    let (wanted, found): (Vec<String>, Vec<String>) =
        (alpha(file_of(&source).path()), alpha(&done.merged.file));
    assert!(!wanted.is_empty());
    assert_eq!(wanted, found);
    let file = done.merged.file.to_str().unwrap();
    let tags =
        run("ffprobe", &["-v", "error", "-show_entries", "stream_tags=alpha_mode", "-of", "csv=p=0", file]);
    assert_eq!(String::from_utf8(tags).unwrap().trim(), "1", "a player must know of it");
}
