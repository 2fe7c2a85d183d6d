//! Matroska built by hand: what is told of it, and what is refused.

use proptest::prelude::*;

use super::{
    super::{Codec, Container, Packet, Reader, TrackKind, test_media::*},
    *,
};

fn read(bytes: &[u8]) -> Vec<Event> {
    read_cut(bytes, bytes.len().max(1)).expect("readable")
}

fn read_cut(bytes: &[u8], piece: usize) -> Result<Vec<Event>, ReadError> {
    let (mut reader, mut events) = (Reader::new(Container::Matroska), Vec::new());
    for bytes in bytes.chunks(piece) {
        reader.feed(bytes, &mut events)?;
    }
    reader.finish(&mut events);
    Ok(events)
}

fn packets(events: &[Event]) -> Vec<Packet> {
    let packet = |event: &Event| if let Event::Packet(packet) = event { Some(*packet) } else { None };
    events.iter().filter_map(packet).collect()
}

fn damaged(events: &[Event]) -> Vec<&'static str> {
    let what = |event: &Event| if let Event::Damaged { what, .. } = event { Some(*what) } else { None };
    events.iter().filter_map(what).collect()
}

fn live(clusters: &[Vec<u8>]) -> Vec<u8> {
    [live_header(), clusters.concat()].concat()
}

#[test]
fn a_live_stream_tells_its_tracks_clusters_and_packets() {
    let header = live_header().len() as u64;
    let blocks = [
        simple_block(1, 0, true, &[7; 50]),
        simple_block(2, 21, true, &opus(9)),
        simple_block(1, -3, false, &[7; 2]),
    ];
    let events = read(&live(&[live_cluster(1000, &blocks), live_cluster(2000, &[])]));
    let Event::Tracks(tracks) = &events[0] else { panic!("{events:?}") };
    let [video, audio] = &tracks[..] else { panic!("{tracks:?}") };
    assert_eq!(
        (video.kind, &video.codec, video.width, video.height),
        (TrackKind::Video, &Codec::Vp8, 640, 360)
    );
    assert_eq!(
        (audio.kind, &audio.codec, audio.sample_rate, audio.channels),
        (TrackKind::Audio, &Codec::Opus, 48000, 2)
    );
    assert_eq!(events[1], Event::Cluster { position: header, time_us: 1_000_000 });
    assert_eq!(
        packets(&events),
        [
            Packet { track: 1, time_us: 1_000_000, duration_us: None, keyframe: true, bytes: 50 },
            Packet { track: 2, time_us: 1_021_000, duration_us: Some(20_000), keyframe: true, bytes: 9 },
            Packet { track: 1, time_us: 997_000, duration_us: None, keyframe: false, bytes: 2 },
        ]
    );
    assert!(matches!(events.last(), Some(Event::Cluster { time_us: 2_000_000, .. })), "{events:?}");
    assert!(damaged(&events).is_empty());
}

/// As Chromium writes pictures with alpha.
#[test]
fn a_block_group_is_a_keyframe_without_a_reference_and_has_its_duration() {
    let additions = element(0x75a1, &element(0xa6, &[number(0xee, 1), element(0xa5, &[3; 30])].concat()));
    let with_alpha = element(0xa0, &[element(0xa1, &block(1, 5, 0, &[1; 10])), additions].concat());
    let events = read(&live(&[live_cluster(0, &[with_alpha, block_group(1, 40, false, 33, &[1; 11])])]));
    assert_eq!(
        packets(&events),
        [
            Packet { track: 1, time_us: 5_000, duration_us: None, keyframe: true, bytes: 10 },
            Packet { track: 1, time_us: 40_000, duration_us: Some(33_000), keyframe: false, bytes: 11 },
        ]
    );
}

#[test]
fn laced_frames_are_told_apart() {
    let sizes = |flags: u8, laces: &[u8], payload: usize| {
        let block = element(0xa3, &block(2, 0, 0x80 | flags, &[laces, &vec![9; payload]].concat()));
        let events = read(&live(&[live_cluster(0, &[block])]));
        (packets(&events).iter().map(|packet| packet.bytes).collect::<Vec<_>>(), damaged(&events).len())
    };
    assert_eq!(sizes(0x02, &[2, 255, 1, 3], 300), (vec![256, 3, 41], 0), "Xiph");
    assert_eq!(sizes(0x04, &[2], 30), (vec![10, 10, 10], 0), "fixed");
    // 100, then 100 - 20, then what is left.
    assert_eq!(sizes(0x06, &[2, 0x80 | 100, 0x80 | (63 - 20)], 200), (vec![100, 80, 20], 0), "EBML");
    assert_eq!(sizes(0x04, &[2], 31), (vec![], 1), "a size that does not divide");
    assert_eq!(sizes(0x02, &[2, 255, 255, 9], 100), (vec![], 1), "more than there is");
    assert_eq!(sizes(0x04, &[255], 0), (vec![], 1), "frames of nothing");
    assert_eq!(sizes(0x02, &[2, 0, 3], 30), (vec![], 1), "a frame of nothing");
}

#[test]
fn laced_frames_follow_each_other_in_time() {
    let group = element(
        0xa0,
        &[element(0xa1, &block(2, 10, 0x04, &[&[2], [9; 30].as_slice()].concat())), number(0x9b, 60)]
            .concat(),
    );
    let times: Vec<_> =
        packets(&read(&live(&[live_cluster(0, &[group])]))).iter().map(|packet| packet.time_us).collect();
    assert_eq!(times, [10_000, 30_000, 50_000]);
}

#[test]
fn time_is_counted_in_the_scale_of_the_file_and_an_encoders_delay_is_taken_off() {
    let opus_track = element(
        0xae,
        &[number(0xd7, 9), number(0x83, 2), element(0x86, b"A_OPUS"), number(0x56aa, 6_500_000)].concat(),
    );
    let front =
        [ebml_header(), endless(0x1853_8067), info(100_000, Some(25.0)), element(0x1654_ae6b, &opus_track)]
            .concat();
    let events = read(&[front, live_cluster(70, &[simple_block(9, 5, true, &opus(3))])].concat());
    assert_eq!(events[0], Event::Duration { us: 2_500 });
    assert_eq!(packets(&events)[0].time_us, 7_500 - 6_500);
}

#[test]
fn cues_count_from_the_segments_payload_wherever_they_stand() {
    let point = element(
        0xbb,
        &[number(0xb3, 40), element(0xb7, &[number(0xf7, 1), number(0xf1, 300)].concat())].concat(),
    );
    let tracks = element(0x1654_ae6b, &video_track(1));
    let cues = element(0x1c53_bb6b, &point);
    for cues_in_front in [true, false] {
        let media = cluster(0, &half_second(true, 20));
        let media =
            if cues_in_front { [cues.clone(), media].concat() } else { [media, cues.clone()].concat() };
        let segment = element(0x1853_8067, &[info(1_000_000, None), tracks.clone(), media].concat());
        let data = (ebml_header().len() + segment.len() - info(1_000_000, None).len() - tracks.len()) as u64;
        let data = data - (cues.len() + cluster(0, &half_second(true, 20)).len()) as u64;
        let events = read(&[ebml_header(), segment].concat());
        assert!(
            events.contains(&Event::Cue { time_us: 40_000, track: 1, position: data + 300 }),
            "{events:?}"
        );
        assert_eq!(damaged(&events), ["a block of an unknown track"; 5], "the audio has no track here");
    }
}

#[test]
fn what_nobody_reads_passes_by_without_being_kept() {
    let mut reader = Reader::new(Container::Matroska);
    let mut events = Vec::new();
    reader.feed(&live_header(), &mut events).expect("readable");
    let held = reader.held();
    // Attachments of a gigabyte.
    reader.feed(&[0x19, 0x41, 0xa4, 0x69, 0x08, 0x40, 0, 0, 0], &mut events).expect("readable");
    reader.feed(&vec![0x1f; 1 << 20], &mut events).expect("readable");
    reader.finish(&mut events);
    assert_eq!(reader.held(), held);
    assert_eq!(damaged(&events), ["it ends within an element"]);
}

#[test]
fn ids_inside_payloads_mean_nothing() {
    let magic = [ebml_header(), live_cluster(9, &[simple_block(1, 0, true, &[1; 9])])].concat();
    let events = read(&live(&[live_cluster(
        0,
        &[simple_block(1, 0, true, &magic), simple_block(1, 1, false, &[2; 5])],
    )]));
    let sizes: Vec<_> = packets(&events).iter().map(|packet| packet.bytes as usize).collect();
    assert_eq!((sizes, damaged(&events).len()), (vec![magic.len(), 5], 0));
}

#[test]
fn a_second_header_is_damage_and_reading_resumes_only_at_a_later_cluster() {
    let second = live(&[
        live_cluster(0, &half_second(true, 20)),
        live_cluster(500, &half_second(true, 20)),
        live_cluster(1000, &half_second(true, 20)),
    ]);
    let events = read(&[live(&[live_cluster(500, &half_second(true, 20))]), second].concat());
    assert_eq!(damaged(&events), ["a second header"]);
    let clusters = events.iter().filter(|event| matches!(event, Event::Cluster { .. })).count();
    assert_eq!((clusters, packets(&events).len()), (2, 20), "{events:?}");
}

#[test]
fn a_block_of_an_unknown_track_is_told_and_the_others_are_read() {
    let blocks = [simple_block(3, 0, true, &[1; 9]), simple_block(1, 1, true, &[1; 9])];
    let events = read(&live(&[live_cluster(0, &blocks)]));
    assert_eq!((damaged(&events).len(), packets(&events).len()), (1, 1));
}

#[test]
fn an_element_larger_than_its_parent_is_damage_and_the_next_cluster_is_found() {
    let mut lying = cluster(0, &half_second(true, 20));
    let last = lying.len() - 12;
    let block = lying[..last].iter().rposition(|byte| *byte == 0xa3).expect("a block");
    lying[block + 1] = 0xfe;
    let events = read(&live(&[lying, live_cluster(500, &half_second(true, 20))]));
    assert_eq!(damaged(&events), ["an element larger than what it stands in"]);
    assert!(packets(&events).len() > 15, "{events:?}");
}

#[test]
fn what_would_have_to_be_kept_is_bounded() {
    let private = |bytes: usize| {
        let entry = element(0xae, &[number(0xd7, 1), element(0x63a2, &vec![0; bytes])].concat());
        read_cut(&[ebml_header(), endless(0x1853_8067), element(0x1654_ae6b, &entry)].concat(), 4096)
    };
    assert!(private(256 * 1024).is_ok());
    assert_eq!(
        private(256 * 1024 + 1),
        Err(ReadError::TooLarge { what: "a track's CodecPrivate", limit: 256 * 1024 })
    );
    let tracks: Vec<u8> = (1..=65).flat_map(video_track).collect();
    let many = [ebml_header(), endless(0x1853_8067), element(0x1654_ae6b, &tracks)].concat();
    assert_eq!(read_cut(&many, 4096), Err(ReadError::TooMany { what: "tracks", limit: 64 }));
}

#[test]
fn what_is_not_matroska_is_refused() {
    let kind = element(0x1a45_dfa3, &element(0x4282, b"other"));
    let ids = element(0x1a45_dfa3, &number(0x42f2, 5));
    for bytes in [kind, ids, live_cluster(0, &[]), vec![0x80, 0x80]] {
        assert!(matches!(read_cut(&bytes, 7), Err(ReadError::NotMedia(_))), "{bytes:x?}");
    }
}

#[test]
fn a_cut_tail_is_told() {
    let whole = live(&[live_cluster(0, &half_second(true, 20))]);
    for cut in [1, 5, 20] {
        let events = read(&whole[..whole.len() - cut]);
        assert_eq!((damaged(&events).len(), packets(&events).len() < 10), (1, true), "cut by {cut}");
    }
}

#[test]
fn times_at_the_edge_of_numbers_saturate() {
    let front = [
        ebml_header(),
        endless(0x1853_8067),
        info(u64::MAX, Some(f64::MAX)),
        element(0x1654_ae6b, &video_track(1)),
    ];
    let blocks =
        [block_group(1, i16::MIN, true, u64::MAX, &[1; 4]), block_group(1, i16::MAX, true, 1, &[1; 4])];
    let events = read(&[front.concat(), live_cluster(u64::MAX, &blocks)].concat());
    assert_eq!(packets(&events).len(), 2);
    assert_eq!(packets(&events)[1].time_us, i64::MAX);
}

proptest! {
    #[test]
    fn however_it_is_cut_the_same_is_told(cuts in prop::collection::vec(1_usize..200, 1..60), known: bool, flip: Option<(usize, u8)>) {
        let make = if known { cluster } else { live_cluster };
        let mut bytes = live(&(0..3).map(|index| make(index * 500, &half_second(true, 30))).collect::<Vec<_>>());
        if let Some((at, bit)) = flip {
            let at = at % bytes.len();
            bytes[at] ^= 1 << (bit % 8);
        }
        let whole = read_cut(&bytes, bytes.len());
        let (mut reader, mut events) = (Reader::new(Container::Matroska), Vec::new());
        let (mut rest, mut fed, mut cuts) = (&bytes[..], Ok(()), cuts.iter().cycle());
        while !rest.is_empty() && fed.is_ok() {
            let (piece, after) = rest.split_at(rest.len().min(*cuts.next().expect("endless")));
            fed = reader.feed(piece, &mut events);
            rest = after;
        }
        reader.finish(&mut events);
        prop_assert_eq!(fed.map(|()| events), whole);
    }
}
