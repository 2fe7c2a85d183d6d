//! Cutting and resuming on media built by hand.

use proptest::prelude::*;

use super::{
    super::{Summary, test_media::*},
    *,
};

struct Done {
    out: Vec<u8>,
    events: Vec<Event>,
    repair: Repair,
}

/// Feeds pieces with a gap between each two.
fn repair(container: Container, pieces: &[&[u8]]) -> Done {
    let (mut repair, mut out, mut events) = (Repair::new(container), Vec::new(), Vec::new());
    for (index, piece) in pieces.iter().enumerate() {
        if index > 0 {
            repair.gap(&mut out, &mut events);
        }
        for bytes in piece.chunks(17) {
            repair.feed(bytes, &mut out, &mut events).expect("readable");
        }
    }
    repair.finish(&mut out, &mut events);
    Done { out, events, repair }
}

fn read(container: Container, bytes: &[u8]) -> Summary {
    let (mut reader, mut events) = (Reader::new(container), Vec::new());
    reader.feed(bytes, &mut events).expect("readable");
    reader.finish(&mut events);
    let mut summary = Summary::default();
    summary.extend(&events);
    summary
}

fn times(events: &[Event], track: u32) -> Vec<i64> {
    events
        .iter()
        .filter_map(packet)
        .filter(|packet| packet.track == track)
        .map(|packet| packet.time_us / 1000)
        .collect()
}

/// Four half seconds; the third begins without a keyframe.
fn stream(make: fn(u64, &[Vec<u8>]) -> Vec<u8>) -> [Vec<u8>; 4] {
    [(0, true), (500, true), (1000, false), (1500, true)]
        .map(|(time, keyframe)| make(time, &half_second(keyframe, 60)))
}

#[test]
fn behind_a_gap_video_waits_for_its_keyframe_and_audio_does_not() {
    let [first, second, third, fourth] = stream(live_cluster);
    let front = [live_header(), first].concat();
    let done = repair(
        Container::Matroska,
        &[&[front.as_slice(), &second[..200]].concat(), &[&second[400..], &third, &fourth].concat()],
    );
    assert_eq!(times(&done.events, 1), [0, 100, 200, 300, 400, 500, 600, 1500, 1600, 1700, 1800, 1900]);
    assert_eq!(times(&done.events, 2)[7..], [1020, 1120, 1220, 1320, 1420, 1520, 1620, 1720, 1820, 1920]);
    let [gap] = done.repair.gaps() else { panic!("{:?}", done.repair.gaps()) };
    assert_eq!((gap.from_us, gap.to_us), (Some(620_000), Some(1_500_000)));
    assert_eq!(
        (gap.resumed.as_slice(), gap.dropped, gap.damaged),
        ([(2, 1_020_000), (1, 1_500_000)].as_slice(), 5, false)
    );
    assert_eq!((done.repair.counts()[&1].passed, done.repair.counts()[&1].dropped), (12, 5));
    let again = read(Container::Matroska, &done.out);
    assert_eq!((again.packet_count(), again.damaged.len()), (12 + 17, 0), "what was told was passed on");
}

#[test]
fn without_a_gap_nothing_changes_and_little_is_held_back() {
    let bytes = [live_header(), stream(live_cluster).concat()].concat();
    let done = repair(Container::Matroska, &[&bytes]);
    assert!(done.out == bytes && done.repair.gaps().is_empty());
    let (mut repair, mut out) = (Repair::new(Container::Matroska), Vec::new());
    for piece in bytes.chunks(10) {
        repair.feed(piece, &mut out, &mut Vec::new()).expect("readable");
        assert!(repair.held() < 250, "{} held back", repair.held());
    }
}

/// The rest of a Cluster that says how large it is becomes a Void, so that the next one stands where it should.
#[test]
fn a_cluster_of_known_size_is_completed() {
    let [first, second, third, fourth] = stream(cluster);
    let front = [live_header(), first].concat();
    for cut in 2..second.len() {
        let done = repair(
            Container::Matroska,
            &[&[&front, &second[..cut]].concat(), &[third.as_slice(), &fourth].concat()],
        );
        let again = read(Container::Matroska, &done.out);
        assert_eq!(again.damaged, [], "cut at {cut}");
        assert_eq!(again.packet_count(), done.events.iter().filter_map(packet).count() as u64);
        assert_eq!(times(&done.events, 1).last(), Some(&1900));
        assert!(again.clusters_rise());
    }
}

#[test]
fn what_looks_like_a_cluster_is_none_without_its_shape_a_known_track_and_a_later_time() {
    let front = [live_header(), live_cluster(5000, &half_second(true, 60))].concat();
    let later = live_cluster(9000, &half_second(true, 60));
    let decoys = [
        vec![0x1f, 0x43, 0xb6, 0x75],
        [endless(0x1f43_b675), number(0xe7, 7000), vec![0x99; 20]].concat(),
        live_cluster(7000, &[simple_block(3, 0, true, &[0; 9])]),
        live_cluster(5000, &half_second(true, 60)),
        live_cluster(20, &half_second(true, 60)),
        element(0x1f43_b675, &[]),
    ];
    for decoy in decoys {
        let payload = [vec![0x33; 9], decoy.clone(), vec![0x1f; 9]].concat();
        let done = repair(Container::Matroska, &[&front, &[payload.as_slice(), &later].concat()]);
        assert_eq!(times(&done.events, 1)[5..], [9000, 9100, 9200, 9300, 9400], "{decoy:x?}");
        assert_eq!(read(Container::Matroska, &done.out).damaged, []);
    }
}

#[test]
fn a_fragment_older_than_the_last_is_none() {
    let front = [ftyp(), moov(), fragment(5, 5000, true, &[50], None)].concat();
    let tail = [fragment(4, 4000, true, &[50], None), fragment(6, 6000, true, &[50], None)].concat();
    let done = repair(Container::Mp4, &[&front, &tail]);
    assert_eq!(times(&done.events, 1), [5000, 6000]);
}

#[test]
fn a_cluster_that_has_no_whole_block_is_left_out() {
    let [first, second, _, fourth] = stream(live_cluster);
    let front = [live_header(), first].concat();
    let done = repair(Container::Matroska, &[&[front.as_slice(), &second[..40]].concat(), &fourth]);
    assert_eq!(done.out, [front, fourth].concat());
}

#[test]
fn nothing_can_be_passed_on_without_the_header() {
    let [first, second, ..] = stream(live_cluster);
    let front = live_header();
    let done =
        repair(Container::Matroska, &[&front[..front.len() - 20], &[first.as_slice(), &second].concat()]);
    assert_eq!(done.events.iter().filter_map(packet).count(), 0);
    assert!(read(Container::Matroska, &done.out).clusters.is_empty());
    assert_eq!(done.repair.gaps()[0].to_us, None);
}

#[test]
fn gaps_with_nothing_between_them_are_one() {
    let [first, second, third, fourth] = stream(live_cluster);
    let front = [live_header(), first].concat();
    let done = repair(Container::Matroska, &[&front, &second[30..60], &third[300..], &fourth]);
    assert_eq!(done.repair.gaps().len(), 1);
    assert_eq!(
        (done.repair.gaps()[0].from_us, done.repair.gaps()[0].to_us),
        (Some(420_000), Some(1_520_000))
    );
}

/// A Cluster that promises more than could ever be made up ends the stream: what would follow would be swallowed.
#[test]
fn a_lying_cluster_is_not_completed_for_ever() {
    let lying = [
        &[0x1f, 0x43, 0xb6, 0x75, 0x01, 0, 0xff, 0, 0, 0, 0, 0],
        number(0xe7, 0).as_slice(),
        &half_second(true, 60).concat(),
    ]
    .concat();
    let later = live_cluster(9000, &half_second(true, 60));
    let done = repair(Container::Matroska, &[&[live_header(), lying.clone()].concat(), &later]);
    assert_eq!(done.out, [live_header(), lying].concat());
}

#[test]
fn an_index_behind_a_gap_is_left_out() {
    let [first, _, _, fourth] = stream(live_cluster);
    let point = element(0xbb, &element(0xb7, &[number(0xf7, 1), number(0xf1, 300)].concat()));
    let tail = [fourth, element(0x1c53_bb6b, &point), element(0x1254_c367, &[0xec, 0x80])].concat();
    let done = repair(Container::Matroska, &[&[live_header(), first].concat(), &tail]);
    let again = read(Container::Matroska, &done.out);
    assert!(again.cues.is_empty() && again.packet_count() == 20, "{again:?}");
    assert!(!done.out.windows(4).any(|id| id == [0x12, 0x54, 0xc3, 0x67]));
}

#[test]
fn a_fragment_that_is_cut_is_left_out_and_video_waits() {
    let front = [ftyp(), moov()].concat();
    let fragments = [(1, true), (2, true), (3, false), (4, true)]
        .map(|(n, keyframe)| fragment(n, n * 1000, keyframe, &[50, 40], None));
    let [first, second, third, fourth] = &fragments;
    for cut in [1, 60, second.len() - 1] {
        let done = repair(
            Container::Mp4,
            &[&[&front, first, &second[..cut]].concat(), &[third.as_slice(), fourth].concat()],
        );
        assert_eq!(times(&done.events, 1), [1000, 1020, 4000, 4020]);
        assert_eq!(times(&done.events, 2), [1000, 1020, 3000, 3020, 4000, 4020]);
        let again = read(Container::Mp4, &done.out);
        assert_eq!((again.packet_count(), again.damaged.len()), (10, 0), "{:?}", again.damaged);
        assert_eq!(done.out.len(), front.len() + first.len() + third.len() + fourth.len());
    }
}

/// Absolute positions are those of what is passed on.
#[test]
fn absolute_positions_are_put_right_behind_a_gap() {
    let mut bytes = [ftyp(), moov()].concat();
    let mut starts = Vec::new();
    for sequence in 1..=3 {
        starts.push(bytes.len());
        bytes.extend(fragment(sequence, sequence * 1000, true, &[50, 40], Some(bytes.len() as u64)));
    }
    let done = repair(Container::Mp4, &[&bytes[..starts[1] + 30], &bytes[starts[1] + 100..]]);
    let again = read(Container::Mp4, &done.out);
    assert_eq!(
        (again.packet_count(), again.damaged.len(), times(&done.events, 1)),
        (8, 0, vec![1000, 1020, 3000, 3020])
    );
}

#[test]
fn a_last_fragment_that_is_cut_keeps_its_whole_samples() {
    let bytes = [ftyp(), moov(), fragment(1, 0, true, &[50, 40], None)].concat();
    let done = repair(Container::Mp4, &[&bytes[..bytes.len() - 60]]);
    assert_eq!((times(&done.events, 1), times(&done.events, 2)), (vec![0, 20], vec![]));
    assert_eq!(done.out, bytes[..bytes.len() - 90]);
}

#[test]
fn a_file_that_is_not_in_fragments_passes_until_the_gap() {
    let bytes = whole(&[100, 100, 100], true);
    let done = repair(Container::Mp4, &[&bytes[..bytes.len() - 150], &bytes[bytes.len() - 50..]]);
    assert_eq!((times(&done.events, 1), done.out), (vec![0], bytes[..bytes.len() - 150].to_vec()));
}

/// What is passed on of a segment that is taken apart, with a gap in front of these bytes, which come cut there.
fn apart<'a>(front: &'a [u8], behind: &'a [u8], cut: usize) -> (Vec<Passed<'a>>, usize) {
    let (mut repair, mut passed) = (Repair::apart(Container::Matroska, 1000), Vec::new());
    repair.take_apart(front, &mut passed).expect("readable");
    repair.gap_apart();
    let (first, second) = behind.split_at(cut);
    repair.take_apart(first, &mut passed).expect("readable");
    repair.take_apart(second, &mut passed).expect("readable");
    repair.finish_apart(&mut passed);
    (passed, repair.notes.capacity())
}

#[test]
fn wherever_bytes_are_cut_the_same_is_taken_apart() {
    let [first, second, third, fourth] = stream(live_cluster);
    let front = [live_header(), first].concat();
    // A block of four bytes, whose track's number would have six: it can only be judged with what stands behind it.
    let short = [vec![0xa3, 0x84, 4, 0, 0, 0], vec![0, 1]].concat();
    let behind = [live_cluster(700, &[short]), second, third, fourth].concat();
    let (whole, _) = apart(&front, &behind, 0);
    let blocks = whole.iter().filter(|passed| matches!(passed, Passed::Block(_))).count();
    assert!(blocks > 10, "{blocks}");
    for cut in 1..behind.len() {
        assert_eq!(apart(&front, &behind, cut).0, whole, "cut at {cut}");
    }
}

#[test]
fn of_the_smallest_blocks_nothing_stays() {
    let tiny = vec![simple_block(2, 0, true, &[0xf8]); 5000];
    let (front, behind) = (live_header(), live_cluster(0, &tiny));
    let (passed, room) = apart(&front, &behind, 0);
    assert!(passed.len() > 5000 && room < 1000, "{} {room}", passed.len());
}

proptest! {
    #[test]
    fn whatever_is_missing_what_is_passed_on_is_whole(
        holes in prop::collection::vec((0..1000_usize, 1_usize..1500), 1..4),
        keyframes in prop::collection::vec(any::<bool>(), 8),
        form in 0..3,
    ) {
        let small = |index: usize| u32::try_from(index).expect("small");
        let container = if form == 2 { Container::Mp4 } else { Container::Matroska };
        let part = |index: usize, keyframe: bool| match form {
            0 => live_cluster(index as u64 * 500, &half_second(keyframe, 60)),
            1 => cluster(index as u64 * 500, &half_second(keyframe, 60)),
            _ => fragment(small(index) + 1, small(index) * 500, keyframe, &[90, 70, 80], None),
        };
        let front = if form == 2 { [ftyp(), moov()].concat() } else { live_header() };
        let parts: Vec<_> = keyframes.iter().enumerate().map(|(index, keyframe)| part(index, *keyframe)).collect();
        let bytes = [front.clone(), parts.concat()].concat();
        let mut pieces: Vec<&[u8]> = Vec::new();
        let mut from = 0;
        let mut places: Vec<_> = holes.iter().map(|(at, length)| (front.len() + (bytes.len() - front.len()) * at / 1000, *length)).collect();
        places.sort_unstable();
        for (at, length) in places {
            if at >= from {
                pieces.push(&bytes[from..at]);
                from = bytes.len().min(at + length);
            }
        }
        pieces.push(&bytes[from..]);
        let done = repair(container, &pieces);
        let again = read(container, &done.out);
        prop_assert_eq!(&again.damaged, &[]);
        prop_assert!(again.clusters_rise() && again.times_rise());
        prop_assert_eq!(again.packet_count(), done.events.iter().filter_map(packet).count() as u64);
        for gap in done.repair.gaps() {
            let resumed = gap.resumed.iter().find(|(track, _)| *track == 1);
            let first = resumed.and_then(|(track, time_us)| done.events.iter().filter_map(packet).find(|packet| packet.track == *track && packet.time_us == *time_us));
            prop_assert!(first.is_none_or(|first| first.keyframe), "{:?}", gap);
        }
    }
}
