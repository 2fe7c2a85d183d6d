//! Several segments in one video: each begins where the one before ends, the odd ones are encoded again or filled, and
//! the status says so.

use greenroom::protocol::recorder::Did;

use crate::kit::{
    AAC, AV1, Done, FRAGMENTS, H264, Item, LIVE, LIVE_MKV, OPUS, Recording, Streams, VP8, VP9, both, file_of,
    frames, from_zero, media, merge, packets,
};

fn recording(sources: &[&[u8]]) -> Recording {
    let add = |recording: Recording, (source, seed)| recording.segment(source, 4, seed);
    sources.iter().copied().zip(5..).fold(Recording::default(), add)
}

fn both_with(coders: &str, size: &str, seconds: &str) -> Vec<u8> {
    media(&format!("{} {coders}", both(size, seconds)))
}

fn vp8(size: &str, seconds: &str) -> Vec<u8> {
    both_with(&format!("{VP8} {OPUS} {LIVE}"), size, seconds)
}

fn vp8_alone(seconds: &str) -> Vec<u8> {
    media(&format!("-f lavfi -i testsrc2=s=160x120:r=30:d={seconds} {VP8} {LIVE}"))
}

fn opus_alone(seconds: &str) -> Vec<u8> {
    media(&format!("-f lavfi -i sine=f=440:r=48000:d={seconds} {OPUS} {LIVE}"))
}

/// In `found`, from `at` on, are the items of `wanted`, all later by the same time, which is `offset_ms` and a bit.
fn assert_run(what: &str, wanted: &[Item], found: &[Item], at: usize, offset_ms: i64) {
    assert!(!wanted.is_empty(), "{what}: nothing to compare");
    let found =
        found.get(at..at + wanted.len()).unwrap_or_else(|| panic!("{what}: only {} items", found.len()));
    for (wanted, found) in wanted.iter().zip(found) {
        assert_eq!(wanted.hash, found.hash, "{what}: at {} ms", found.time_ms);
        let off = found.time_ms - wanted.time_ms - offset_ms;
        assert!(off.abs() <= 70, "{what}: {} ms became {} ms", wanted.time_ms, found.time_ms);
    }
}

/// Every packet of every source is in the result, one source after the other; pictures and sound of a source moved by
/// the same time.
fn assert_all_there(done: &Done, sources: &[&[u8]]) {
    let found = from_zero(packets(&done.merged.file));
    let wanted: Vec<Streams> =
        sources.iter().map(|source| from_zero(packets(file_of(source).path()))).collect();
    let mut moved = vec![Vec::new(); sources.len()];
    for (stream, found) in found.iter().enumerate() {
        let mut at = 0;
        for (wanted, moved) in wanted.iter().zip(&mut moved) {
            let wanted = &wanted[stream];
            let offset = found[at].time_ms - wanted[0].time_ms;
            assert_run("packets", wanted, found, at, offset);
            moved.push(offset);
            at += wanted.len();
        }
        assert_eq!(at, found.len(), "packets that were never recorded");
        assert!(found.is_sorted_by_key(|item| item.time_ms), "times fall");
    }
    for offsets in &moved {
        let (least, most) = (offsets.iter().min().unwrap(), offsets.iter().max().unwrap());
        assert!(most - least <= 2, "pictures and sound are apart: {moved:?}");
    }
    assert!(done.merged.missing.is_empty() && done.merged.gaps.is_empty());
    assert!(done.percents.is_sorted() && done.percents.last() == Some(&100), "{:?}", done.percents);
}

fn did(done: &Done) -> Vec<Did> {
    done.merged.work.iter().map(|work| work.did).collect()
}

fn assert_lasts(done: &Done, ms: u64) {
    assert!(done.merged.duration_ms.abs_diff(ms) < 120, "{} ms, not {ms}", done.merged.duration_ms);
}

/// Every second of it can be decoded, without a word from the decoder.
fn assert_plays(done: &Done, pictures: usize) {
    let file = done.merged.file.to_str().unwrap();
    let args = ["-v", "error", "-xerror", "-i", file, "-fps_mode", "vfr", "-f", "null", "-"];
    crate::kit::run("ffmpeg", &args);
    assert_eq!(frames(&done.merged.file).len(), pictures, "frames");
}

#[tokio::test]
async fn two_segments() {
    let (first, second) = (vp8("160x120", "2"), vp8("160x120", "3"));
    let done = merge(&recording(&[&first, &second])).await;
    assert_all_there(&done, &[&first, &second]);
    assert_lasts(&done, 5000);
    assert_eq!(did(&done), [Did::Copied, Did::Copied]);
    assert_eq!(done.merged.work[1].chunks, (4, 7));
}

#[tokio::test]
async fn three_segments_with_another_size_in_the_middle() {
    let sources = [vp8("160x120", "2"), vp8("320x240", "2"), vp8("160x120", "2")];
    let sources: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
    let done = merge(&recording(&sources)).await;
    assert_all_there(&done, &sources);
    assert_lasts(&done, 6000);
}

#[tokio::test]
async fn another_codec_is_encoded_again_and_said() {
    let (first, second) = (vp8("160x120", "3"), both_with(&format!("{VP9} {OPUS} {LIVE}"), "160x120", "2"));
    let done = merge(&recording(&[&first, &second])).await;
    assert_eq!(done.merged.codecs, ["vp8", "opus"]);
    assert_eq!(did(&done), [Did::Copied, Did::ReEncoded]);
    assert_eq!(done.merged.work[1].detail, "vp9 became vp8, opus copied");
    let (found, wanted) = (from_zero(packets(&done.merged.file)), from_zero(packets(file_of(&first).path())));
    assert_run("pictures as recorded", &wanted[0], &found[0], 0, 0);
    assert_run("sound as recorded", &wanted[1], &found[1], 0, 0);
    let sound = from_zero(packets(file_of(&second).path()));
    assert_run("sound of the second", &sound[1], &found[1], wanted[1].len(), 3000);
    assert_lasts(&done, 5000);
    assert_plays(&done, 150);
}

#[tokio::test]
async fn the_codec_that_covers_most_stays() {
    let (first, second) = (vp8("160x120", "1"), both_with(&format!("{VP9} {OPUS} {LIVE}"), "160x120", "3"));
    let done = merge(&recording(&[&first, &second])).await;
    assert_eq!(done.merged.codecs, ["vp9", "opus"]);
    assert_eq!(did(&done), [Did::ReEncoded, Did::Copied]);
    assert_plays(&done, 120);
}

#[tokio::test]
async fn a_track_that_is_gone_is_silence() {
    let (first, second) = (vp8("160x120", "2"), vp8_alone("2"));
    let done = merge(&recording(&[&first, &second])).await;
    assert_eq!(did(&done), [Did::Copied, Did::Filled]);
    assert_eq!(done.merged.work[1].detail, "vp8 copied, silence added as opus");
    let found = from_zero(packets(&done.merged.file));
    let pictures = from_zero(packets(file_of(&second).path()));
    assert_run("pictures of the second", &pictures[0], &found[0], 60, 2000);
    let last = found[1].last().unwrap().time_ms;
    assert!((3800..=4060).contains(&last), "sound ends at {last} ms");
    assert_plays(&done, 120);
}

#[tokio::test]
async fn a_track_that_is_added_begins_with_silence() {
    let (first, second) = (vp8_alone("2"), vp8("160x120", "2"));
    let done = merge(&recording(&[&first, &second])).await;
    assert_eq!(did(&done), [Did::Filled, Did::Copied]);
    let found = from_zero(packets(&done.merged.file));
    let wanted = from_zero(packets(file_of(&second).path()));
    assert_run("pictures of the second", &wanted[0], &found[0], 60, 2000);
    let silent = found[1].len() - wanted[1].len();
    assert_run("sound of the second", &wanted[1], &found[1], silent, 2000);
    assert!(found[1][0].time_ms <= 30, "sound begins at {} ms", found[1][0].time_ms);
    assert_plays(&done, 120);
}

#[tokio::test]
async fn pictures_that_are_added_begin_black() {
    let (first, second) = (opus_alone("2"), vp8("160x120", "2"));
    let done = merge(&recording(&[&first, &second])).await;
    assert_eq!(did(&done), [Did::Filled, Did::Copied]);
    assert_eq!(done.merged.work[0].detail, "black added as vp8, opus copied");
    let found = from_zero(packets(&done.merged.file));
    let wanted = from_zero(packets(file_of(&second).path()));
    let black = found[0].len() - wanted[0].len();
    assert_run("pictures of the second", &wanted[0], &found[0], black, 2000);
    assert_lasts(&done, 4000);
    assert_plays(&done, black + 60);
    let poster = std::fs::read(done.merged.poster.as_ref().unwrap()).unwrap();
    assert!(poster.len() > 2000, "a black poster: {} bytes", poster.len());
}

#[tokio::test]
async fn every_chunk_a_file_of_its_own() {
    let sources: Vec<_> = (0..15).map(|_| vp8("160x120", "0.4")).collect();
    let mut recording = Recording::default();
    sources.iter().for_each(|source| recording.push(source, true, 0));
    let done = merge(&recording).await;
    let sources: Vec<_> = sources.iter().map(Vec::as_slice).collect();
    assert_all_there(&done, &sources);
    assert_eq!(done.merged.work.len(), 15);
}

#[tokio::test]
async fn mp4_segments_stay_mp4() {
    let coders = format!("{VP9} {OPUS} {FRAGMENTS}");
    let (first, second) = (both_with(&coders, "160x120", "2"), both_with(&coders, "160x120", "3"));
    let done = merge(&recording(&[&first, &second])).await;
    assert_all_there(&done, &[&first, &second]);
    assert_eq!(done.merged.extension, "mp4");
    assert_lasts(&done, 5000);
}

#[tokio::test]
async fn h264_segments_of_mp4() {
    let coders = format!("{H264} {OPUS} {FRAGMENTS}");
    let (first, second) = (both_with(&coders, "160x120", "2"), both_with(&coders, "320x240", "2"));
    let done = merge(&recording(&[&first, &second])).await;
    let wanted: Vec<_> = [&first, &second]
        .into_iter()
        .flat_map(|source| frames(file_of(source).path()))
        .map(|item| item.hash)
        .collect();
    let found: Vec<_> = frames(&done.merged.file).into_iter().map(|item| item.hash).collect();
    assert_eq!(wanted, found);
    assert_lasts(&done, 4000);
}

#[tokio::test]
async fn webm_and_mp4_mixed() {
    let first = both_with(&format!("{VP9} {OPUS} {LIVE}"), "160x120", "2");
    let second = both_with(&format!("{VP9} {OPUS} {FRAGMENTS}"), "160x120", "2");
    let done = merge(&recording(&[&first, &second])).await;
    assert_all_there(&done, &[&first, &second]);
    assert_eq!(done.merged.extension, "webm");
    assert_eq!(did(&done), [Did::Copied, Did::Copied]);
}

#[tokio::test]
async fn webm_and_mp4_of_other_codecs() {
    let first = both_with(&format!("{VP8} {OPUS} {LIVE}"), "160x120", "3");
    let second = both_with(&format!("{H264} -c:a aac {FRAGMENTS}"), "160x120", "1");
    let done = merge(&recording(&[&first, &second])).await;
    assert_eq!(done.merged.work[1].detail, "h264 became vp8, aac became opus");
    assert_lasts(&done, 4000);
    assert_plays(&done, 120);
}

#[tokio::test]
async fn a_segment_without_a_frame_holds_up_nobody() {
    let (first, second) = (vp8("160x120", "2"), vp8("160x120", "2"));
    let header = second.windows(4).position(|four| four == [0x1f, 0x43, 0xb6, 0x75]).unwrap();
    let mut recording = Recording::default().segment(&first, 3, 1);
    recording.push(&second[..header], true, 0);
    let recording = recording.segment(&second, 3, 2);
    let done = merge(&recording).await;
    assert_all_there(&done, &[&first, &second]);
    assert_eq!(done.merged.work[1].detail, "nothing in it but a header");
    assert_eq!(done.merged.work.len(), 3);
}

#[tokio::test]
async fn a_single_picture_is_a_segment_too() {
    let still = media(&format!("-f lavfi -i testsrc2=s=160x120:r=30:d=0.03 {VP8} {LIVE}"));
    let done = merge(&Recording::default().segment(&still, 1, 1)).await;
    assert_plays(&done, 1);
    let whole = vp8_alone("1");
    let done = merge(&recording(&[&still, &whole, &still])).await;
    assert_all_there(&done, &[&still, &whole, &still]);
    assert_plays(&done, 32);
}

#[tokio::test]
async fn every_codec_that_stays_can_be_encoded_to_and_filled() {
    let black_and_silence = [(vp8_alone("1"), "black"), (opus_alone("1"), "silence")];
    let targets = [
        (format!("{AV1} {OPUS} {LIVE}"), "webm", ["av1", "opus"]),
        (format!("{H264} {AAC} {LIVE_MKV}"), "mkv", ["h264", "aac"]),
        (format!("{VP9} -c:a pcm_f32le {LIVE_MKV}"), "mkv", ["vp9", "pcm"]),
    ];
    let odd = both_with(&format!("{VP8} {OPUS} {LIVE}"), "160x120", "1");
    for (coders, extension, codecs) in targets {
        let most = both_with(&coders, "160x120", "3");
        let done =
            merge(&recording(&[&most, &odd, &black_and_silence[0].0, &most, &black_and_silence[1].0])).await;
        assert_eq!(
            (done.merged.extension, &done.merged.codecs[..]),
            (extension, &codecs.map(str::to_owned)[..])
        );
        let details: Vec<_> = done.merged.work.iter().map(|work| work.detail.as_str()).collect();
        assert_eq!(did(&done)[1], Did::ReEncoded, "{details:?}");
        assert!(details[2].ends_with(&format!("silence added as {}", codecs[1])), "{details:?}");
        assert!(details[4].starts_with(&format!("black added as {}", codecs[0])), "{details:?}");
        // Each segment lasts until its last packet of sound ends.
        assert!(
            (9000..9300).contains(&done.merged.duration_ms),
            "{codecs:?}: {} ms",
            done.merged.duration_ms
        );
        let pictures = packets(&done.merged.file)[0].len();
        let recorded = 90 + 30 + 30 + 90;
        let black = pictures - recorded;
        assert!((10..=11).contains(&black), "{codecs:?}: {pictures} pictures, {recorded} of them recorded");
        assert_plays(&done, pictures);
    }
}
