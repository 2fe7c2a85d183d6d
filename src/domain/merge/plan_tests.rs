use super::*;

fn track(number: u32, kind: TrackKind, codec: Codec) -> Track {
    Track {
        number,
        kind,
        codec,
        width: 640,
        height: 360,
        sample_rate: 48_000,
        channels: 2,
        codec_private: None,
        alpha: false,
        default_duration_us: None,
        codec_delay_us: 0,
    }
}

/// A segment of so many seconds; tracks in whatever order.
fn segment(container: Container, seconds: u64, codecs: &[Codec]) -> SegmentFacts {
    let kind = |codec: &Codec| match codec {
        Codec::Opus | Codec::Aac | Codec::Pcm | Codec::Vorbis => TrackKind::Audio,
        _ => TrackKind::Video,
    };
    let tracks = (1..)
        .zip(codecs)
        .map(|(number, codec)| (track(number, kind(codec), codec.clone()), seconds * 1_000_000));
    SegmentFacts { container, tracks: tracks.collect() }
}

fn webm(seconds: u64, codecs: &[Codec]) -> SegmentFacts {
    segment(Container::Matroska, seconds, codecs)
}

fn mp4(seconds: u64, codecs: &[Codec]) -> SegmentFacts {
    segment(Container::Mp4, seconds, codecs)
}

fn codecs(plan: &MergePlan) -> Vec<&str> {
    plan.tracks.iter().map(|track| track.codec.name()).collect()
}

#[test]
fn the_family_that_came_in_is_kept() {
    use Codec::{Aac, H264, Opus, Pcm, Vp8, Vp9};
    let family = |segments: &[SegmentFacts]| MergePlan::of(segments).family;
    assert_eq!(family(&[webm(1, &[Vp8, Opus])]), Family::Webm);
    assert_eq!(family(&[webm(1, &[H264, Opus])]), Family::Matroska);
    assert_eq!(family(&[webm(1, &[Vp8, Pcm])]), Family::Matroska);
    assert_eq!(family(&[mp4(1, &[H264, Aac])]), Family::Mp4);
    assert_eq!(family(&[mp4(1, &[Vp9, Opus]), mp4(1, &[Vp9, Opus])]), Family::Mp4);
    assert_eq!(family(&[mp4(1, &[Vp9, Opus]), webm(1, &[Vp9, Opus])]), Family::Webm);
    assert_eq!(family(&[mp4(2, &[H264, Aac]), webm(1, &[Vp9, Opus])]), Family::Matroska);
    assert_eq!(family(&[mp4(1, &[Vp8])]), Family::Webm, "which MP4 does not hold");
}

#[test]
fn tracks_are_matched_by_kind_not_by_order() {
    let plan = MergePlan::of(&[webm(1, &[Codec::Vp8, Codec::Opus]), webm(1, &[Codec::Opus, Codec::Vp8])]);
    assert_eq!(codecs(&plan), ["vp8", "opus"]);
    assert_eq!(plan.segments[1].tracks, [TrackPlan::Copy { number: 2 }, TrackPlan::Copy { number: 1 }]);
    assert!(plan.segments.iter().all(SegmentPlan::only_copies));
}

#[test]
fn the_codec_that_covers_most_time_stays_and_the_odd_one_is_encoded() {
    let (short, long) = (webm(2, &[Codec::Vp9, Codec::Opus]), webm(5, &[Codec::Vp8, Codec::Opus]));
    let plan = MergePlan::of(&[short.clone(), long, short.clone()]);
    assert_eq!(codecs(&plan), ["vp8", "opus"]);
    let encoded = TrackPlan::Encode { number: 1, from: Codec::Vp9, alpha: false };
    assert_eq!(plan.segments[0].tracks, [encoded, TrackPlan::Copy { number: 2 }]);
    assert!(plan.segments[1].only_copies());
    assert_eq!(plan.work(0, 0, (0, 4)).detail, "vp9 became vp8, opus copied");
    assert_eq!(plan.work(0, 0, (0, 4)).did, Did::ReEncoded);
    let plan = MergePlan::of(&[short.clone(), webm(3, &[Codec::Vp8, Codec::Opus]), short]);
    assert_eq!(codecs(&plan), ["vp9", "opus"], "two of two seconds are more than one of three");
}

#[test]
fn what_a_segment_lacks_is_filled_wherever_it_stands() {
    let plan = MergePlan::of(&[
        webm(1, &[Codec::Opus]),
        webm(1, &[Codec::Vp8, Codec::Opus]),
        webm(1, &[Codec::Vp8]),
    ]);
    assert_eq!(codecs(&plan), ["vp8", "opus"]);
    assert_eq!(plan.segments[0].tracks, [TrackPlan::Fill, TrackPlan::Copy { number: 1 }]);
    assert_eq!(plan.segments[2].tracks, [TrackPlan::Copy { number: 1 }, TrackPlan::Fill]);
    assert_eq!(plan.work(0, 0, (0, 0)).detail, "black added as vp8, opus copied");
    assert_eq!(
        (plan.work(2, 2, (2, 2)).detail, plan.work(2, 2, (2, 2)).did),
        ("vp8 copied, silence added as opus".into(), Did::Filled)
    );
}

#[test]
fn sound_of_another_rate_is_not_the_same_track() {
    let mut other = webm(1, &[Codec::Pcm]);
    other.tracks[0].0.sample_rate = 44_100;
    let plan = MergePlan::of(&[webm(2, &[Codec::Pcm]), other]);
    assert!(matches!(plan.segments[1].tracks[0], TrackPlan::Encode { .. }), "{plan:?}");
    assert_eq!(plan.work(1, 1, (1, 1)).detail, "pcm encoded again");
}

#[test]
fn what_nobody_can_encode_becomes_what_everybody_plays() {
    let odd = |private: u8| {
        let mut segment = webm(1, &[Codec::Vorbis]);
        segment.tracks[0].0.codec_private = Some(Box::new([private]));
        segment
    };
    let plan = MergePlan::of(&[odd(1), odd(1)]);
    assert_eq!(codecs(&plan), ["vorbis"], "the same header: copied");
    let plan = MergePlan::of(&[odd(1), odd(2)]);
    assert_eq!(codecs(&plan), ["opus"]);
    assert!(plan.segments.iter().all(|segment| matches!(segment.tracks[0], TrackPlan::Encode { .. })));
    let strange = || webm(1, &[Codec::Other("V_X".into())]);
    assert_eq!(codecs(&MergePlan::of(&[strange(), webm(1, &[Codec::Opus])])), ["vp8", "opus"]);
}
