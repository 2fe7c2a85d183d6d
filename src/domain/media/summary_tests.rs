//! The account of a stream.

use super::{super::Codec, *};

fn account(codec: Codec, times: &[i64]) -> Summary {
    let mut summary = Summary::default();
    let track = Track { kind: TrackKind::Video, codec, ..Track::unknown(1) };
    summary.fold(&Event::Tracks(vec![track]));
    for time_us in times {
        let packet =
            Packet { track: 1, time_us: *time_us, duration_us: None, keyframe: *time_us == 0, bytes: 10 };
        summary.fold(&Event::Packet(packet));
    }
    summary
}

#[test]
fn the_end_is_where_the_last_packet_ends() {
    let mut summary = account(Codec::Vp8, &[0, 33, 66, 166, 199]);
    assert_eq!(
        (summary.first_us(), summary.end_us(), summary.packet_count()),
        (0, 199 + 33, 5),
        "by the usual step"
    );
    let last = Packet { track: 2, time_us: 200, duration_us: Some(60), keyframe: true, bytes: 1 };
    summary.fold(&Event::Packet(last));
    assert_eq!(summary.end_us(), 260, "by its own duration");
    assert_eq!(Summary::default().end_us(), 0);
}

#[test]
fn the_largest_step_is_found_and_where() {
    assert_eq!(account(Codec::Vp8, &[0, 33, 66, 1200, 1233]).packets[&1].largest_step(), (1134, 66));
    assert_eq!(account(Codec::H264, &[0, 66, 33, 1200, 133]).packets[&1].largest_step(), (1067, 133));
}

#[test]
fn only_codecs_that_reorder_may_step_back_and_not_far() {
    let with_b_frames: Vec<i64> =
        (0..30).flat_map(|group| [group * 4 + 3, group * 4 + 1, group * 4 + 2]).collect();
    assert!(account(Codec::H264, &with_b_frames).times_rise());
    assert!(!account(Codec::Vp9, &with_b_frames).times_rise());
    let twice: Vec<i64> = (0..30).chain(0..30).collect();
    let summary = account(Codec::H264, &twice);
    assert!(!summary.times_rise(), "a chunk that came twice: {:?}", summary.packets[&1]);
}

#[test]
fn packets_of_the_same_time_are_counted_and_no_step_back() {
    let summary = account(Codec::Vp8, &[0, 1, 1, 2]);
    assert_eq!((summary.times_rise(), summary.packets[&1].repeats), (true, 1));
    assert_eq!(account(Codec::H264, &[0, 2, 1, 2]).packets[&1].repeats, 1);
}

#[test]
fn an_index_must_lead_to_clusters() {
    let mut summary = Summary::default();
    for position in [100, 900] {
        summary.fold(&Event::Cluster { position, time_us: i64::try_from(position).expect("small") });
    }
    for position in [900, 100, 101] {
        summary.fold(&Event::Cue { time_us: 0, track: 1, position });
    }
    assert_eq!(summary.cues_astray(), [101]);
    assert!(summary.clusters_rise());
    summary.fold(&Event::Cluster { position: 2000, time_us: 900 });
    assert!(!summary.clusters_rise());
}
