use super::{
    element::{Elements, first},
    kit::{Disk, Running, Step, good, live, read, run, with_blocks},
    *,
};
use crate::domain::media::{Packet, ebml, test_media as build};

fn times(packets: &[Packet], track: u32) -> Vec<i64> {
    packets.iter().filter(|packet| packet.track == track).map(|packet| packet.time_us / 1000).collect()
}

/// The elements in the Segment, which must all say how large they are.
fn top(disk: &Disk) -> Vec<(u32, Vec<u8>)> {
    let document = first(&disk.0).unwrap();
    let segment = first(&disk.0[document.whole.len()..]).unwrap();
    assert_eq!(document.whole.len() + segment.whole.len(), disk.0.len(), "the Segment's size");
    let children: Option<Vec<_>> = Elements(segment.payload).collect();
    children.unwrap().iter().map(|child| (child.id, child.payload.to_vec())).collect()
}

fn clusters(disk: &Disk) -> Vec<Vec<u8>> {
    let of_clusters = |(id, body)| (id == ebml::CLUSTER).then_some(body);
    top(disk).into_iter().filter_map(of_clusters).collect()
}

#[test]
fn one_segment_holds_what_came_and_seeks() {
    let source = live(8);
    let (disk, assembled) = good(&[Step::Chunk(true, &source)]);
    let ((_, came), (found, packets)) = (read(&source), read(&disk.0));
    assert_eq!(came, packets);
    assert_eq!(found.duration_us, Some(4_000_000), "the last picture is at 3900 ms, as long as each before");
    assert_eq!(assembled.duration_us, 4_000_000);
    assert_eq!((assembled.cues, assembled.clusters), (4, 4), "one for each keyframe");
    assert_eq!(found.cues.iter().map(|cue| cue.0 / 1000).collect::<Vec<_>>(), [0, 1000, 2000, 3000]);
    assert_eq!((assembled.extension, &*assembled.mime_type), ("webm", "video/webm;codecs=\"vp8,opus\""));
    assert_eq!(assembled.codecs, ["vp8", "opus"]);
    assert!(assembled.missing.is_empty() && assembled.gaps.is_empty());
    assert_eq!(assembled.work[0].detail, "vp8 copied, opus copied");
    let ids: Vec<_> = top(&disk).iter().map(|(id, _)| *id).collect();
    let c = ebml::CLUSTER;
    assert_eq!(ids, [ebml::SEEK_HEAD, ebml::INFO, ebml::TRACKS, c, c, c, c, ebml::CUES]);
}

/// Each entry of the SeekHead leads to what it names.
#[test]
fn a_player_finds_the_index_by_the_head() {
    let (disk, _) = good(&[Step::Chunk(true, &live(4))]);
    let document = first(&disk.0).unwrap();
    let data = document.whole.len() + 12;
    let seek_head = first(&disk.0[data..]).unwrap();
    let mut named = Vec::new();
    for seek in Elements(seek_head.payload).flatten() {
        let fields: Vec<_> = Elements(seek.payload).flatten().collect();
        let position = usize::try_from(fields[1].payload.iter().fold(0_u64, |n, b| n << 8 | u64::from(*b)));
        let there = first(&disk.0[data + position.unwrap()..]).unwrap();
        assert!(there.whole.starts_with(fields[0].payload));
        named.push(there.id);
    }
    assert_eq!(named, [ebml::INFO, ebml::TRACKS, ebml::CUES]);
}

#[test]
fn what_is_settled_of_a_file_that_is_being_written_reads_as_a_live_one() {
    let source = live(9);
    let (mut assembler, mut disk) = (Assembler::new(Rules::default()), Disk::default());
    let (_, came) = read(&source);
    let mut whole = 0;
    for (index, piece) in (0..).zip(source.chunks(97)) {
        let mut writes = Writes::default();
        assembler.chunk(index, index == 0, piece, &mut writes).unwrap();
        disk.write(&writes);
        let settled = usize::try_from(assembler.settled()).unwrap();
        assert!(settled <= disk.0.len());
        let (found, packets) = read(&disk.0[..settled]);
        assert_eq!(found.damaged, []);
        assert!(found.duration_us.is_none());
        assert_eq!(packets, came[..packets.len()], "and nothing but what came");
        whole = packets.len();
    }
    assert!(whole > came.len() / 2, "{whole} of {}", came.len());
}

/// Whoever stood still in the middle of a write, and wakes when another has gone on with the file, writes what stands there.
#[test]
fn until_the_end_no_byte_is_written_that_will_not_stay() {
    let source = live(9);
    for size in [97, 1000, 3000] {
        let (mut assembler, mut disk, mut all) =
            (Assembler::new(Rules::default()), Disk::default(), Vec::new());
        for (index, piece) in (0..).zip(source.chunks(size)) {
            let mut writes = Writes::default();
            let before = (assembler.length(), assembler.writes_stay());
            assembler.chunk(index, index == 0, piece, &mut writes).unwrap();
            disk.write(&writes);
            all.push((before, writes));
        }
        let mut writes = Writes::default();
        assembler.finish(&mut writes, |_, _| Err::<(), _>(Unfit::Empty)).unwrap();
        disk.write(&writes);
        assert!(!all[0].0.1, "what the head says in the end is written over what it said while it grew");
        let stay: Vec<_> = all.into_iter().filter(|((_, stay), _)| *stay).collect();
        assert!(!stay.is_empty(), "{size}");
        for ((mut at, _), writes) in stay {
            for write in writes.iter() {
                let from = |at: u64| usize::try_from(at).unwrap();
                match write {
                    Write::Append(bytes) => {
                        assert_eq!(&disk.0[from(at)..][..bytes.len()], bytes);
                        at += bytes.len() as u64;
                    }
                    Write::Skip(count) => at += count as u64,
                    Write::Patch { at, bytes } => assert_eq!(&disk.0[from(at)..][..bytes.len()], bytes),
                }
            }
        }
    }
}

#[test]
fn segments_stand_one_behind_the_other() {
    let other = {
        let tracks = build::element(ebml::TRACKS, &[build::audio_track(1), build::video_track(7)].concat());
        let swap = |at: i16| {
            let sound = build::simple_block(1, at * 100, true, &build::opus(9));
            [build::simple_block(7, at * 100, at == 0, &[at.to_be_bytes()[1]; 20]), sound]
        };
        let blocks: Vec<_> = (0..3).flat_map(swap).collect();
        let head = [build::ebml_header(), build::endless(ebml::SEGMENT), build::info(1_000_000, None)];
        [head.concat(), tracks, build::live_cluster(1_234, &blocks)].concat()
    };
    let (disk, assembled) = good(&[Step::Chunk(true, &live(2)), Step::Chunk(true, &other)]);
    let (found, packets) = read(&disk.0);
    // The first ends at 1000 ms; what was track 7 goes on as 1, what was 1 as 2.
    assert_eq!(times(&packets, 1)[10..], [1000, 1100, 1200]);
    assert_eq!(times(&packets, 2)[10..], [1000, 1100, 1200]);
    assert_eq!(assembled.duration_us, 1_300_000);
    assert_eq!(found.tracks.len(), 2);
    assert_eq!(assembled.work.len(), 2);
    assert_eq!(assembled.work[1].chunks, (1, 1));
}

#[test]
fn a_segment_without_frames_takes_no_time_and_begins_nothing() {
    let header = build::live_header();
    let (disk, assembled) = good(&[
        Step::Chunk(true, &header),
        Step::Chunk(true, &live(2)),
        Step::Chunk(true, &header),
        Step::Chunk(true, &live(2)),
    ]);
    assert_eq!(assembled.duration_us, 2_000_000);
    assert_eq!(assembled.work[2].detail, "nothing in it but a header");
    assert_eq!(read(&disk.0).1.len(), 40);
}

#[test]
fn a_segment_may_lack_a_track() {
    let pictures = with_blocks(0, &[build::simple_block(1, 0, true, &[1; 9])]);
    let (disk, assembled) = good(&[Step::Chunk(true, &live(2)), Step::Chunk(true, &pictures)]);
    assert_eq!(assembled.work[1].detail, "vp8 copied");
    assert_eq!(times(&read(&disk.0).1, 1).last(), Some(&1000));
}

#[test]
fn behind_a_gap_pictures_wait_for_a_keyframe() {
    let source = live(8);
    // The keyframe at 2 s and what follows for a third of a second are lost; pictures go on at 3 s.
    let cluster =
        |half: u64| source.windows(15).position(|at| at == &build::live_cluster(half * 500, &[])[..15]);
    let cut = (cluster(4).unwrap() + 30, cluster(5).unwrap() - 40);
    let steps = [
        Step::Chunk(true, &source[..cut.0]),
        Step::Gap(1),
        Step::Gap(2),
        Step::Chunk(false, &source[cut.1..]),
    ];
    let (disk, assembled) = good(&steps);
    let (_, packets) = read(&disk.0);
    assert_eq!(times(&packets, 1)[18..22], [1800, 1900, 3000, 3100]);
    assert_eq!(times(&packets, 2).iter().filter(|time| (2000..2500).contains(*time)).count(), 0);
    assert_eq!(assembled.missing, [1, 2, 3]);
    assert_eq!(assembled.gaps, [Gap { from_ms: 1920, to_ms: 3000, chunks: vec![1, 2, 3] }]);
}

#[test]
fn gaps_in_front_and_at_the_end_are_listed() {
    let source = live(4);
    let (_, assembled) = good(&[Step::Gap(2), Step::Chunk(true, &source), Step::Gap(3)]);
    assert_eq!(assembled.missing, [0, 1, 3, 4, 5]);
    let last = Gap { from_ms: 1920, to_ms: 2000, chunks: vec![3, 4, 5] };
    assert_eq!(assembled.gaps, [Gap { from_ms: 0, to_ms: 0, chunks: vec![0, 1] }, last]);
}

#[test]
fn a_tail_that_is_cut_is_left_out_and_nothing_else() {
    let source = live(4);
    let whole = read(&source).1;
    for cut in source.len() - 200..source.len() {
        let (disk, assembled) = good(&[Step::Chunk(true, &source[..cut])]);
        let packets = read(&disk.0).1;
        assert_eq!(packets, whole[..packets.len()]);
        assert_eq!(packets, read(&source[..cut]).1, "cut at {cut}");
        assert!(assembled.gaps.is_empty());
    }
}

#[test]
fn a_group_stays_as_it_is_beside_its_track_and_time() {
    let additions = build::element(0x75a1, &build::element(0xa6, &build::element(0xa5, &[7; 30])));
    let unknown = build::element(0x4dff, b"who knows");
    let checksum = build::element(ebml::CRC_32, &[1, 2, 3, 4]);
    let group = |at: i16, keyframe: bool| {
        let reference = if keyframe { Vec::new() } else { build::number(ebml::REFERENCE_BLOCK, 0xff) };
        let block = build::element(ebml::BLOCK, &build::block(1, at, 0, &[3; 50]));
        let body = [checksum.clone(), block, additions.clone(), build::number(0x9b, 40), reference];
        build::element(ebml::BLOCK_GROUP, &[body.concat(), unknown.clone()].concat())
    };
    let source = with_blocks(10, &[group(0, true), group(40, false), group(80, true)]);
    let (disk, assembled) = good(&[Step::Chunk(true, &source)]);
    let (found, packets) = read(&disk.0);
    assert_eq!(packets.iter().map(|packet| packet.keyframe).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(assembled.duration_us, 120_000, "as its last block says");
    assert_eq!(found.cues.len(), 2);
    let groups: Vec<_> = clusters(&disk)
        .iter()
        .flat_map(|body| Elements(body).flatten().map(|e| (e.id, e.payload.to_vec())).collect::<Vec<_>>())
        .filter(|(id, _)| *id == ebml::BLOCK_GROUP)
        .collect();
    for (_, body) in groups {
        let ids: Vec<_> = Elements(&body).flatten().map(|child| child.id).collect();
        assert_eq!(ids[..3], [ebml::BLOCK, 0x75a1, ebml::BLOCK_DURATION]);
        assert_eq!(ids.last(), Some(&0x4dff));
        let holds = |part: &[u8]| body.windows(part.len()).any(|bytes| bytes == part);
        assert!(holds(&additions) && holds(&unknown) && !holds(&checksum));
    }
}

#[test]
fn laced_frames_stay_laced() {
    let laced =
        build::element(ebml::SIMPLE_BLOCK, &build::block(2, 20, 0x80 | 4, &[&[2][..], &[9; 9]].concat()));
    let source = with_blocks(0, &[build::simple_block(1, 0, true, &[1; 9]), laced]);
    let (disk, _) = good(&[Step::Chunk(true, &source)]);
    assert_eq!(read(&disk.0).1, read(&source).1);
    assert_eq!(read(&disk.0).1.len(), 4);
}

#[test]
fn unknown_elements_pass() {
    let unknown = build::element(0x4dff, b"who knows");
    let blocks =
        [build::simple_block(1, 0, true, &[1; 9]), unknown.clone(), build::element(ebml::VOID, &[5; 9])];
    let tracks = build::element(ebml::TRACKS, &build::video_track(1));
    let tags = build::element(ebml::TAGS, b"where I live");
    let head =
        [build::ebml_header(), build::endless(ebml::SEGMENT), build::info(1_000_000, None), tags.clone()];
    let body = [unknown.clone(), tracks, build::cluster(0, &blocks), unknown.clone(), tags.clone()];
    let (disk, _) = good(&[Step::Chunk(true, &[head.concat(), body.concat()].concat())]);
    let count = |part: &[u8]| disk.0.windows(part.len()).filter(|bytes| *bytes == part).count();
    assert_eq!((count(&unknown), count(&tags), count(&[5; 9])), (3, 0, 0));
}

#[test]
fn what_the_first_header_says_of_its_tracks_stays() {
    let private = build::element(ebml::CODEC_PRIVATE, b"OpusHead and so on");
    let fields = [build::number(0xd7, 200), build::number(0x83, 2), build::element(0x86, b"A_OPUS"), private];
    let entry = build::element(ebml::TRACK_ENTRY, &[fields.concat(), build::element(0x4dff, b"x")].concat());
    let sound = |at: i16| {
        let block = [&[0x40, 200][..], &at.to_be_bytes(), &[0x80], &build::opus(30)].concat();
        build::element(ebml::SIMPLE_BLOCK, &block)
    };
    let head = [build::ebml_header(), build::endless(ebml::SEGMENT), build::info(1_000_000, None)];
    let tracks = build::element(ebml::TRACKS, &entry);
    let stream = build::live_cluster(0, &[sound(0), sound(20)]);
    let (disk, _) = good(&[Step::Chunk(true, &[head.concat(), tracks.clone(), stream].concat())]);
    assert!(disk.0.windows(tracks.len()).any(|bytes| bytes == tracks));
    assert_eq!(times(&read(&disk.0).1, 200), [0, 20]);
}

#[test]
fn without_keyframes_clusters_end_all_the_same() {
    let sound = |from: u64, count: u64| -> Vec<u8> {
        let block = |at: u64| build::simple_block(2, i16::try_from(at * 20).unwrap(), true, &build::opus(40));
        build::live_cluster(from, &(0..count).map(block).collect::<Vec<_>>())
    };
    let head = build::live_header();
    let source = [head.clone(), (0..60).flat_map(|at| sound(at * 1000, 50)).collect()].concat();
    let (disk, assembled) = good(&[Step::Chunk(true, &source)]);
    assert_eq!(assembled.cues, 12, "every five seconds");
    assert_eq!(read(&disk.0).1, read(&source).1);
    // One picture, and then sound: it is sound that leads the way.
    let picture = build::live_cluster(0, &[build::simple_block(1, 0, true, &[1; 9])]);
    let stopped = [head, picture, (1..60).flat_map(|at| sound(at * 1000, 50)).collect()].concat();
    assert_eq!(good(&[Step::Chunk(true, &stopped)]).1.cues, 12);
}

#[test]
fn a_cluster_has_no_more_bytes_than_it_may() {
    let rules = Rules { cluster_bytes_max: 500, ..Rules::default() };
    let source = live(8);
    let (disk, assembled) = run(rules, &[Step::Chunk(true, &source)]);
    assert!(assembled.is_ok());
    let sizes: Vec<_> = clusters(&disk).iter().map(Vec::len).collect();
    assert!(sizes.iter().all(|size| *size <= 500) && sizes.len() > 4, "{sizes:?}");
    assert_eq!(read(&disk.0).1, read(&source).1);
}

#[test]
fn an_index_that_grows_too_long_loses_every_other_entry() {
    let rules = Rules { cues_max: 8, ..Rules::default() };
    let source = live(100);
    let steps: Vec<_> =
        source.chunks(997).enumerate().map(|(at, piece)| Step::Chunk(at == 0, piece)).collect();
    let (disk, assembled) = run(rules, &steps);
    assert!(assembled.is_ok());
    let cues: Vec<_> = read(&disk.0).0.cues.iter().map(|cue| cue.0 / 1_000_000).collect();
    assert_eq!(cues, [0, 8, 16, 24, 32, 40, 48]);
}

#[test]
fn a_checkpoint_that_is_torn_or_of_another_version_is_refused() {
    let mut running = Running::new(Rules::default());
    running.step(&Step::Chunk(true, &live(5)[..2000])).unwrap();
    running.prove(1000).unwrap();
    assert!(running.state.prover.read() > 0);
    let saved = running.state.save();
    assert_eq!(Checkpoint::restore(&saved).unwrap().save(), saved);
    for cut in 0..saved.len() {
        assert_eq!(Checkpoint::restore(&saved[..cut]).map(drop), Err(RestoreError::Torn));
    }
    for at in 0..saved.len() {
        let mut flipped = saved.clone();
        flipped[at] ^= 0x10;
        assert_eq!(Checkpoint::restore(&flipped).map(drop), Err(RestoreError::Torn), "byte {at}");
    }
    let mut other = saved;
    other[7] = 9;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&other[4..8]), &other[12..]);
    other[8..12].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(Checkpoint::restore(&other).map(drop), Err(RestoreError::Version(9)));
}
