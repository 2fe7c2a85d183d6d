//! What lies, and what cannot be assembled: a clear word, and no more memory than what was allowed.

use super::{
    kit::{Step, assemble, good, in_fragments, live, read, run, with_blocks},
    *,
};
use crate::domain::media::{ebml, test_media as build};

fn unfit(segments: &[&[u8]]) -> Unfit {
    assemble(segments).1.unwrap_err()
}

/// How many bytes are written down of it.
fn saved(assembler: &Assembler) -> usize {
    Checkpoint { assembler: assembler.clone(), prover: Prover::new() }.save().len()
}

fn video_of(codec: &[u8], number: u64) -> Vec<u8> {
    let fields = [build::number(0xd7, number), build::number(0x83, 1), build::element(0x86, codec)];
    build::element(ebml::TRACK_ENTRY, &fields.concat())
}

fn stream(entries: &[Vec<u8>], cluster: &[u8]) -> Vec<u8> {
    let head = [build::ebml_header(), build::endless(ebml::SEGMENT), build::info(1_000_000, None)];
    [head.concat(), build::element(ebml::TRACKS, &entries.concat()), cluster.to_vec()].concat()
}

fn picture(time: u64) -> Vec<u8> {
    build::live_cluster(time, &[build::simple_block(1, 0, true, &[1; 9])])
}

#[test]
fn what_is_no_media_is_refused() {
    assert_eq!(unfit(&[&build::moov()]), Unfit::NotMedia);
    assert_eq!(unfit(&[b"<!doctype html>"]), Unfit::NotMedia);
    assert_eq!(unfit(&[&live(2), &in_fragments(1)]), Unfit::Mixed);
    assert_eq!(unfit(&[&in_fragments(1), &live(2)]), Unfit::Mixed);
    assert_eq!(unfit(&[&build::ebml_header()[..5]]), Unfit::NoHeader);
    assert_eq!(unfit(&[&[]]), Unfit::NoHeader);
    assert_eq!(unfit(&[]), Unfit::Empty);
    assert_eq!(unfit(&[&build::live_header()]), Unfit::Empty);
    let odd = build::element(ebml::EBML, &build::element(ebml::DOC_TYPE, b"other"));
    assert_eq!(unfit(&[&odd]), Unfit::NotMedia);
}

#[test]
fn what_comes_out_of_order_is_refused() {
    let source = live(2);
    let mut assembler = Assembler::new(Rules::default());
    assert_eq!(assembler.chunk(1, false, &source, &mut Writes::default()), Err(Unfit::OutOfOrder));
    assert_eq!(
        assembler.chunk(0, true, &source, &mut Writes::default()),
        Err(Unfit::OutOfOrder),
        "it stays at this"
    );
    let mut assembler = Assembler::new(Rules::default());
    assembler.gap(3..5);
    assert_eq!(assembler.finish(&mut Writes::default(), |_, _| Ok(())), Err(Unfit::OutOfOrder));
    let (_, assembled) = run(Rules::default(), &[Step::Gap(1), Step::Chunk(false, &source)]);
    assert_eq!(assembled.unwrap_err(), Unfit::NoBeginning);
    let (_, assembled) = run(Rules::default(), &[Step::Chunk(true, &source[..6]), Step::Gap(1)]);
    assert_eq!(assembled.unwrap_err(), Unfit::NoHeader);
    let (_, assembled) = run(Rules::default(), &[Step::Chunk(true, &source[..40]), Step::Gap(1)]);
    assert_eq!(assembled.unwrap_err(), Unfit::NoHeader);
}

#[test]
fn another_codec_or_one_track_more_is_refused() {
    let vp9 = stream(&[video_of(b"V_VP9", 1)], &picture(0));
    let changed = Unfit::TrackChanged { from: "vp8".into(), to: "vp9".into() };
    assert_eq!(unfit(&[&live(2), &vp9]), changed);
    let silent = stream(&[build::video_track(1)], &picture(0));
    assert_eq!(unfit(&[&silent, &live(2)]), Unfit::TrackAppeared("opus".into()));
    // Announced is not there: only a packet counts.
    let announced = stream(&[build::video_track(1), build::audio_track(2)], &picture(0));
    assert!(assemble(&[&silent, &announced]).1.is_ok());
    let h264 = |private: &[u8]| {
        let entry = video_of(b"V_MPEG4/ISO/AVC", 1);
        let body = [&entry[2..], &build::element(ebml::CODEC_PRIVATE, private)].concat();
        stream(&[build::element(ebml::TRACK_ENTRY, &body)], &picture(0))
    };
    assert!(assemble(&[&h264(b"one"), &h264(b"one")]).1.is_ok());
    assert!(matches!(unfit(&[&h264(b"one"), &h264(b"two")]), Unfit::TrackChanged { .. }));
}

#[test]
fn times_that_fall_or_jump_by_hours_are_refused() {
    let cluster =
        |time: u64, at: i16| build::live_cluster(time, &[build::simple_block(1, at, true, &[1; 9])]);
    let of = |clusters: &[Vec<u8>]| [build::live_header(), clusters.concat()].concat();
    assert_eq!(unfit(&[&of(&[cluster(1000, 0), cluster(900, 0)])]), Unfit::TimesFall);
    assert_eq!(unfit(&[&of(&[cluster(1000, 0), cluster(1100, -200)])]), Unfit::TimesFall);
    assert_eq!(unfit(&[&of(&[cluster(0, 0), cluster(3_600_001, 0)])]), Unfit::TimesJump);
    assert!(assemble(&[&of(&[cluster(0, 0), cluster(3_600_000, 0)])]).1.is_ok());
    assert_eq!(unfit(&[&of(&[cluster(0, 0), cluster(u64::MAX, 0)])]), Unfit::TimesJump);
    // Sound a minute behind pictures.
    let sound = build::live_cluster(1000, &[build::simple_block(2, 0, true, &build::opus(9))]);
    assert_eq!(unfit(&[&of(&[cluster(0, 0), cluster(60_000, 0), sound])]), Unfit::TimesFall);
    let endless = build::block_group(1, 0, true, 4_000_000, &[1; 9]);
    assert_eq!(unfit(&[&with_blocks(0, &[endless])]), Unfit::TimesJump);
    // A segment that begins far into its own time begins where the one before ends.
    let late = of(&[cluster(9_000_000_000, 0)]);
    assert_eq!(assemble(&[&late, &late]).1.unwrap().duration_us, 80_000);
}

#[test]
fn ticks_of_another_length_are_refused() {
    let source = |scale| {
        let tracks = build::element(ebml::TRACKS, &build::video_track(1));
        let head = [build::ebml_header(), build::endless(ebml::SEGMENT), build::info(scale, None)];
        [head.concat(), tracks, picture(0)].concat()
    };
    assert!(assemble(&[&source(1_000_000)]).1.is_ok());
    assert_eq!(unfit(&[&source(100_000)]), Unfit::Scale);
    assert_eq!(unfit(&[&live(1), &source(u64::MAX)]), Unfit::Scale);
}

#[test]
fn pictures_that_nobody_can_begin_with_are_refused() {
    let blocks =
        [build::simple_block(1, 0, false, &[1; 9]), build::simple_block(2, 0, true, &build::opus(9))];
    assert_eq!(unfit(&[&with_blocks(0, &blocks)]), Unfit::NoKeyframe);
}

#[test]
fn blocks_of_unknown_tracks_are_left_out() {
    let own = build::simple_block(1, 0, true, &[1; 9]);
    let blocks = [build::simple_block(9, 0, true, &[2; 9]), own, build::simple_block(5, 9, true, &[2; 9])];
    let (disk, assembled) = good(&[Step::Chunk(true, &with_blocks(0, &blocks))]);
    assert_eq!(assembled.left_out, 2);
    assert_eq!(read(&disk.0).1.len(), 1);
}

#[test]
fn what_begins_like_a_file_inside_a_payload_is_payload() {
    let inside = [build::live_header(), build::live_cluster(90, &build::half_second(true, 9))].concat();
    let blocks = [build::simple_block(1, 0, true, &inside), build::simple_block(1, 40, false, &[3; 40])];
    let source = with_blocks(0, &blocks);
    let (disk, _) = good(&[Step::Chunk(true, &source)]);
    assert_eq!(read(&disk.0).1, read(&source).1);
    // Also where a chunk begins with it.
    let at = source.windows(inside.len()).position(|bytes| bytes == inside).unwrap();
    let steps = [Step::Chunk(true, &source[..at]), Step::Chunk(false, &source[at..])];
    assert_eq!(good(&steps).0, disk);
}

#[test]
fn sizes_that_lie_take_no_memory() {
    let rules = Rules { unit_bytes_max: 1000, ..Rules::default() };
    let header = build::live_header();
    let huge = |id: u32, size: u64| {
        let id: Vec<_> = id.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
        [&id[..], &(size | 1 << 56).to_be_bytes()].concat()
    };
    let start = build::live_cluster(0, &[build::simple_block(1, 0, true, &[1; 9])]);
    for liar in [ebml::SIMPLE_BLOCK, ebml::BLOCK_GROUP, ebml::VOID, 0x4dff] {
        for size in [1001, 1 << 40, (1 << 56) - 2] {
            let mut assembler = Assembler::new(rules);
            let mut told = assembler.chunk(
                0,
                true,
                &[&header[..], &start, &huge(liar, size)].concat(),
                &mut Writes::default(),
            );
            for index in 1..50 {
                told = assembler.chunk(index, false, &[0; 4096], &mut Writes::default());
            }
            assert!(matches!(told, Err(Unfit::TooLarge(_))), "{liar:x} {size}: {told:?}");
            assert!(saved(&assembler) < 16 * 1024);
        }
    }
    // As much as is allowed is held, and no more.
    let allowed = [&header[..], &start, &huge(ebml::SIMPLE_BLOCK, 1000)].concat();
    let mut assembler = Assembler::new(rules);
    assembler
        .chunk(0, true, &[&allowed[..], &[0x81, 0, 9, 0], &[7; 995]].concat(), &mut Writes::default())
        .unwrap();
    let held = saved(&assembler);
    assembler.chunk(1, false, &[7], &mut Writes::default()).unwrap();
    assert!(saved(&assembler) < held);
}

#[test]
fn a_cluster_full_of_nothing_takes_no_memory() {
    let mut assembler = Assembler::new(Rules::default());
    let header =
        [build::live_header(), build::endless(ebml::CLUSTER), build::number(ebml::TIMESTAMP, 0)].concat();
    assembler.chunk(0, true, &header, &mut Writes::default()).unwrap();
    let nothing = build::element(ebml::VOID, &vec![0; 100_000]);
    for index in 1..100 {
        assembler.chunk(index, false, &nothing, &mut Writes::default()).unwrap();
        assert!(saved(&assembler) < 8 * 1024);
    }
}

#[test]
fn a_description_of_tracks_that_is_too_long_is_refused() {
    let private = build::element(ebml::CODEC_PRIVATE, &vec![0; 70_000]);
    let fields = [build::number(0xd7, 1), build::number(0x83, 1), build::element(0x86, b"V_VP8"), private];
    let entry = build::element(ebml::TRACK_ENTRY, &fields.concat());
    assert!(matches!(unfit(&[&stream(&[entry], &picture(0))]), Unfit::TooLarge(_)));
}

#[test]
fn too_many_gaps_or_segments_are_refused() {
    let source = live(40);
    let mut steps = vec![Step::Chunk(true, &source[..700])];
    for piece in source[700..].chunks(300).step_by(2) {
        steps.extend([Step::Gap(1), Step::Chunk(false, piece)]);
    }
    let rules = Rules { gaps_max: 10, ..Rules::default() };
    assert_eq!(run(rules, &steps).1.unwrap_err(), Unfit::TooMany("gaps".into()));
    assert!(run(Rules::default(), &steps).1.is_ok());
    let rules = Rules { segments_max: 3, ..Rules::default() };
    let segments: Vec<_> = (0..4).map(|_| Step::Chunk(true, &source)).collect();
    assert!(run(rules, &segments[..3]).1.is_ok());
    assert_eq!(run(rules, &segments).1.unwrap_err(), Unfit::TooMany("segments".into()));
}

#[test]
fn a_group_with_two_blocks_or_none_is_refused_or_left_out() {
    let block = build::element(ebml::BLOCK, &build::block(1, 0, 0, &[1; 9]));
    let two = build::element(ebml::BLOCK_GROUP, &[block.clone(), block].concat());
    assert_eq!(unfit(&[&with_blocks(0, &[two])]), Unfit::Block);
    let none = build::element(ebml::BLOCK_GROUP, &build::number(ebml::BLOCK_DURATION, 5));
    let own = build::simple_block(1, 0, true, &[1; 9]);
    let (_, assembled) = good(&[Step::Chunk(true, &with_blocks(0, &[own, none]))]);
    assert_eq!(assembled.left_out, 1);
}
