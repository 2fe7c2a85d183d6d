//! What comes in fragments and what goes out, packet by packet, on media built by hand.

use super::super::{
    kit::{Running, Step, assemble, good, in_fragments, read, run},
    *,
};
use crate::domain::media::{
    Packet,
    boxes::children,
    test_media::{self as build, boxed, full, words},
};

fn header() -> Vec<u8> {
    [build::ftyp(), build::moov()].concat()
}

/// A segment of these fragments: time, whether it begins with a keyframe, and sizes.
fn segment(fragments: &[(u32, bool, &[u32])]) -> Vec<u8> {
    let fragment = |(sequence, (time, keyframe, sizes)): (u32, &(u32, bool, &[u32]))| {
        build::fragment(sequence, *time, *keyframe, sizes, None)
    };
    [header(), (1..).zip(fragments).flat_map(fragment).collect()].concat()
}

fn unfit(segments: &[&[u8]]) -> Unfit {
    assemble(segments).1.unwrap_err()
}

/// Takes the place of as many bytes that stand behind the first of these four characters.
fn changed(bytes: &[u8], kind: &[u8; 4], behind: usize, by: &[u8]) -> Vec<u8> {
    let at = bytes.windows(4).position(|window| window == kind).unwrap() + 4 + behind;
    [&bytes[..at], by, &bytes[at + by.len()..]].concat()
}

fn kinds(bytes: &[u8]) -> Vec<String> {
    children(bytes).map(|child| String::from_utf8_lossy(&child.kind).into_owned()).collect()
}

fn times(packets: &[Packet], track: u32) -> Vec<i64> {
    packets.iter().filter(|packet| packet.track == track).map(|packet| packet.time_us / 1000).collect()
}

#[test]
fn while_it_comes_it_is_in_fragments_and_in_the_end_it_is_not() {
    let source = in_fragments(4);
    let mut running = Running::new(Rules::default());
    running.step(&Step::Chunk(true, &source)).unwrap();
    let grown = running.disk.0.clone();
    let (came, grew) = (read(&source), read(&grown));
    assert_eq!(grew.1, came.1);
    assert_eq!((grew.0.clusters.len(), grew.0.needs_seeking, grew.0.damaged.len()), (4, false, 0));
    assert_eq!(kinds(&grown)[..3], ["ftyp", "free", "moov"]);
    let assembled = running.finish().unwrap();
    assert_eq!(kinds(&running.disk.0), ["ftyp", "mdat", "moov"]);
    let (ended, mut packets) = read(&running.disk.0);
    assert_eq!((ended.needs_seeking, ended.duration_us), (true, Some(2_000_000)));
    // The tables are read in the order of the bytes, as fragments are.
    assert_eq!(packets.len(), came.1.len());
    packets.iter_mut().zip(&came.1).for_each(|(packet, came)| packet.duration_us = came.duration_us);
    assert_eq!(packets, came.1);
    assert_eq!((assembled.extension, assembled.clusters, assembled.cues), ("mp4", 4, 8));
    assert_eq!(assembled.mime_type, "video/mp4;codecs=\"vp09.00.00.00,opus\"");
    assert_eq!((assembled.duration_us, assembled.packets), (2_000_000, 200));
    running.proven().unwrap();
}

#[test]
fn segments_stand_one_behind_the_other() {
    let late = segment(&[(90_000, true, &[30, 20]), (90_040, false, &[10])]);
    let (disk, assembled) = good(&[Step::Chunk(true, &late), Step::Chunk(true, &in_fragments(1))]);
    let packets = read(&disk.0).1;
    assert_eq!(times(&packets, 1)[..5], [0, 20, 40, 60, 80]);
    assert_eq!(times(&packets, 2), times(&packets, 1));
    assert_eq!((assembled.duration_us, assembled.work.len()), (560_000, 2));
    assert_eq!(assembled.work[1].detail, "vp9 copied, opus copied");
}

/// What is shown before and after others is shown so again, and a track that begins late begins late.
#[test]
fn shifts_and_late_beginnings_are_kept() {
    let traf = |track: u32, time: u32, shifts: &[u32], at: u32| {
        let tfhd = full(b"tfhd", 0, 0x2_0000, &words(&[track]));
        let entries: Vec<_> = shifts.iter().flat_map(|shift| [10, *shift]).collect();
        let head = [u32::try_from(shifts.len()).unwrap(), at, 0x0200_0000];
        let trun = full(b"trun", 1, 0xa05, &[words(&head), words(&entries)].concat());
        boxed(b"traf", &[tfhd, full(b"tfdt", 0, 0, &words(&[time])), trun].concat())
    };
    let below = (-20_i32).cast_unsigned();
    let moof = |at: u32| {
        let mfhd = full(b"mfhd", 0, 0, &words(&[1]));
        let trafs = [traf(1, 40, &[20, 60, 0, below], at), traf(2, 130, &[0, 0], at + 40)];
        boxed(b"moof", &[mfhd, trafs.concat()].concat())
    };
    let at = u32::try_from(moof(0).len() + 8).unwrap();
    // Of a codec whose pictures are not stored in the order in which they are shown.
    let source = [header(), moof(at), boxed(b"mdat", &[7; 60])].concat();
    let coded = source.windows(4).position(|window| window == b"vp09").unwrap();
    let source = [&source[..coded], b"avc1", &source[coded + 4..]].concat();
    let (disk, assembled) = good(&[Step::Chunk(true, &source)]);
    let packets = read(&disk.0).1;
    assert_eq!((times(&packets, 1), times(&packets, 2)), (vec![0, 60, 20, 20], vec![70, 90]));
    assert_eq!(assembled.duration_us, 110_000);
}

#[test]
fn a_fragment_that_is_cut_is_left_out_and_video_waits() {
    let source = segment(&[
        (0, true, &[50, 40]),
        (1000, true, &[50, 40]),
        (2000, false, &[50, 40]),
        (3000, true, &[50, 40]),
    ]);
    let one = source.len() - header().len();
    let (second, third) = (header().len() + one / 4, header().len() + one / 2);
    for cut in [second + 1, second + 60, third - 1] {
        let steps =
            [Step::Chunk(true, &source[..cut]), Step::Gap(2), Step::Chunk(false, &source[third - 1..])];
        let (disk, assembled) = good(&steps);
        let packets = read(&disk.0).1;
        assert_eq!(times(&packets, 1), [0, 20, 3000, 3020], "cut at {cut}");
        assert_eq!(times(&packets, 2), [0, 20, 2000, 2020, 3000, 3020]);
        let [gap] = &assembled.gaps[..] else { panic!("{:?}", assembled.gaps) };
        assert_eq!((gap.from_ms, gap.to_ms, gap.chunks.as_slice()), (20, 3000, &[1, 2][..]));
        assert_eq!(assembled.clusters, 3);
    }
}

#[test]
fn a_last_fragment_that_is_cut_keeps_its_whole_samples() {
    let source = segment(&[(0, true, &[50, 40]), (1000, true, &[50, 40])]);
    for (cut, pictures, sound) in [(1, 4, 3), (60, 4, 2), (100, 3, 2), (190, 2, 2)] {
        let (disk, assembled) = good(&[Step::Chunk(true, &source[..source.len() - cut])]);
        let packets = read(&disk.0).1;
        assert_eq!((times(&packets, 1).len(), times(&packets, 2).len()), (pictures, sound), "without {cut}");
        assert!(assembled.gaps.is_empty());
    }
}

#[test]
fn what_cannot_be_kept_as_it_is_is_refused() {
    let source = in_fragments(2);
    let fragments = &source[header().len()..];
    let with = |moov: Vec<u8>| [build::ftyp(), moov, fragments.to_vec()].concat();
    let no_mvex = with(changed(&build::moov(), b"mvex", 0, &[])).windows(4).count();
    assert!(no_mvex > 0);
    let plain = changed(&source, b"moov", 0, &[]);
    let at = plain.windows(4).position(|window| window == b"mvex").unwrap();
    let plain = [&plain[..at], b"free", &plain[at + 4..]].concat();
    assert_eq!(unfit(&[&plain]), Unfit::Header("an MP4 segment is not in fragments".into()));
    assert!(matches!(unfit(&[&build::whole(&[9, 9], true)]), Unfit::Header(_)));
    assert!(matches!(
        unfit(&[&build::whole(&[9, 9], false)]),
        Unfit::Empty | Unfit::NoHeader | Unfit::Header(_)
    ));
    let of_trak = |more: &[u8]| {
        let trak = build::trak(1, true, &[]);
        let moov = build::moov();
        let at = moov.windows(trak.len()).position(|window| window == trak).unwrap();
        let longer = boxed(b"trak", &[&trak[8..], more].concat());
        with(boxed(b"moov", &[&moov[8..at], &longer, &moov[at + trak.len()..]].concat()))
    };
    let edits = |from: u32| boxed(b"edts", &full(b"elst", 0, 0, &words(&[1, 0, from, 1 << 16])));
    assert!(assemble(&[&of_trak(&edits(0))]).1.is_ok());
    assert_eq!(unfit(&[&of_trak(&edits(9))]), Unfit::Header("a track has an edit list".into()));
    let encrypted = changed(&source, b"vp09", 0, &[]);
    let at = encrypted.windows(4).position(|window| window == b"vp09").unwrap();
    let encrypted = [&encrypted[..at], b"encv", &encrypted[at + 4..]].concat();
    assert!(matches!(unfit(&[&encrypted]), Unfit::Header(_)));
    assert!(matches!(unfit(&[&source, &encrypted]), Unfit::TrackChanged { .. }));
    // Another configuration of the same codec.
    let configured = changed(&source, b"vpcC", 6, &[9]);
    assert!(matches!(unfit(&[&source, &configured]), Unfit::TrackChanged { .. }));
    assert!(assemble(&[&configured, &configured]).1.is_ok());
    let ticks = changed(&source, b"mdhd", 12, &words(&[500]));
    assert!(matches!(unfit(&[&source, &ticks]), Unfit::TrackChanged { .. }));
}

#[test]
fn data_in_another_file_are_refused() {
    let dref = |flags| full(b"dref", 0, 0, &[words(&[1]), full(b"url ", 0, flags, &[])].concat());
    let moov = |flags| {
        let trak = build::trak(1, true, &[]);
        let minf = trak.windows(4).position(|window| window == b"minf").unwrap() + 4;
        let mdia = trak.windows(4).position(|window| window == b"mdia").unwrap() + 4;
        let minf = boxed(b"minf", &[boxed(b"dinf", &dref(flags)), trak[minf..].to_vec()].concat());
        let within = minf.len() - boxed(b"dinf", &dref(flags)).len();
        let mdia = boxed(b"mdia", &[&trak[mdia..trak.len() - within], &minf].concat());
        let head = trak.windows(4).position(|window| window == b"mdia").unwrap() - 4;
        let trak = boxed(b"trak", &[&trak[8..head], &mdia].concat());
        let mvex = boxed(b"mvex", &full(b"trex", 0, 0, &words(&[1, 1, 20, 0, 0x0101_0000])));
        let other = build::trak(2, false, &[]);
        let sound = full(b"trex", 0, 0, &words(&[2, 1, 20, 0, 0x0200_0000]));
        let mvex = boxed(b"mvex", &[&mvex[8..], &sound].concat());
        boxed(b"moov", &[trak, other, mvex].concat())
    };
    let source = in_fragments(1);
    let with = |flags| [build::ftyp(), moov(flags), source[header().len()..].to_vec()].concat();
    assert!(assemble(&[&with(1)]).1.is_ok());
    assert_eq!(unfit(&[&with(0)]), Unfit::Header("a track's data are in another file".into()));
}

#[test]
fn fragments_that_lie_are_refused() {
    let falls = segment(&[(1000, true, &[9, 9]), (1010, true, &[9, 9])]);
    assert_eq!(unfit(&[&falls]), Unfit::TimesFall);
    assert_eq!(unfit(&[&segment(&[(0, true, &[9]), (3_600_021, true, &[9])])]), Unfit::TimesJump);
    assert_eq!(unfit(&[&segment(&[(0, false, &[9])])]), Unfit::NoKeyframe);
    let good = segment(&[(0, true, &[9, 9])]);
    // In front of the data, far behind them, and over each other.
    for offset in [-400_i32, -8, 1 << 30, i32::MIN, i32::MAX] {
        let lying = changed(&good, b"trun", 8, &offset.to_be_bytes());
        assert!(assemble(&[&lying]).1.is_err(), "{offset}");
    }
    let count = changed(&good, b"trun", 4, &[0xff; 4]);
    assert!(matches!(unfit(&[&count]), Unfit::Fragment(_)));
    assert_eq!(unfit(&[&header()]), Unfit::Empty);
    assert_eq!(unfit(&[&header()[..80]]), Unfit::NoHeader);
    let nonsense = [good.clone(), vec![7; 100]].concat();
    assert!(matches!(unfit(&[&nonsense]), Unfit::Fragment(_)));
    // More data than anything is said of.
    let data = good.len() - 36 - 8;
    let more = [&good[..data], &boxed(b"mdat", &[7; 400])].concat();
    let (disk, assembled) = assemble(&[&more]);
    assert_eq!((assembled.unwrap().packets, read(&disk.0).1.len()), (4, 4));
}

#[test]
fn sizes_that_lie_take_no_memory() {
    let rules = Rules { unit_bytes_max: 2000, header_bytes_max: 2000, ..Rules::default() };
    let start = segment(&[(0, true, &[9, 9])]);
    let huge = |kind: &[u8; 4], size: u64| [&[0, 0, 0, 1], &kind[..], &size.to_be_bytes()].concat();
    for kind in [b"moof", b"mdat", b"free", b"moov"] {
        for size in [1 << 30, 1 << 40, 1 << 63, u64::MAX] {
            let mut state = Checkpoint::new(rules);
            let first = [&start[..], &huge(kind, size)].concat();
            let _ = state.assembler.chunk(0, true, &first, &mut Writes::default());
            for index in 1..50 {
                let _ = state.assembler.chunk(index, false, &[0; 4096], &mut Writes::default());
            }
            let saved = state.save().len();
            assert!(saved < 16 * 1024, "{kind:?} {size}: {saved} bytes");
        }
    }
    let moov = [build::ftyp(), huge(b"moov", 1 << 40)].concat();
    assert!(matches!(run(rules, &[Step::Chunk(true, &moov)]).1, Err(Unfit::TooLarge(_))));
    let traks =
        |count: u32| (1..=count).flat_map(|number| build::trak(number, true, &[])).collect::<Vec<_>>();
    let many = [build::ftyp(), boxed(b"moov", &[traks(2000), boxed(b"mvex", &[])].concat())].concat();
    assert!(assemble(&[&many]).1.is_err());
    let deep = (0..500).fold(Vec::new(), |inner, _| boxed(b"trak", &inner));
    assert!(assemble(&[&[build::ftyp(), boxed(b"moov", &deep)].concat()]).1.is_err());
    // Samples by the million in a few bytes.
    let tfhd = full(b"tfhd", 0, 0x2_0010, &words(&[1, 1]));
    let trun = full(b"trun", 0, 0x1, &words(&[1 << 30, 100]));
    let traf = boxed(b"traf", &[tfhd, full(b"tfdt", 0, 0, &words(&[0])), trun].concat());
    let moof = boxed(b"moof", &[full(b"mfhd", 0, 0, &words(&[1])), traf].concat());
    assert_eq!(unfit(&[&[header(), moof].concat()]), Unfit::TooMany("samples in a fragment".into()));
}

/// A fragment of megabytes is in the file as it comes, and not in what is written down.
#[test]
fn what_is_written_down_stays_small() {
    let large = build::fragment(1, 0, true, &[3_000_000; 5], None);
    let source = [header(), large].concat();
    let mut running = Running::new(Rules::default());
    for (at, piece) in source.chunks(500_000).enumerate() {
        running.step(&Step::Chunk(at == 0, piece)).unwrap();
        let saved = running.state.save().len();
        assert!(saved < 16 * 1024, "{saved} bytes");
    }
    let (source, mut running) = (in_fragments(14_400), Running::new(Rules::default()));
    let mut sizes = Vec::new();
    for (at, piece) in source.chunks(source.len() / 1000).enumerate() {
        running.step(&Step::Chunk(at == 0, piece)).unwrap();
        running.prove(100_000).unwrap();
        if at % 100 == 7 {
            sizes.push(running.state.save().len());
        }
    }
    assert!(sizes.iter().max() < Some(&(32 * 1024)), "{sizes:?}");
    let assembled = running.finish().unwrap();
    assert_eq!((assembled.clusters, assembled.duration_us), (14_400, 7_200_000_000));
    running.proven().unwrap();
}

/// Whoever wrote the tables, the file has to have the packets that came.
#[test]
fn tables_that_say_something_else_are_not_proven() {
    let mut running = Running::new(Rules::default());
    running.step(&Step::Chunk(true, &in_fragments(2))).unwrap();
    running.finish().unwrap();
    let state = serde_json::to_value(&running.state).unwrap();
    for digests in ["digests", "tabled"] {
        let mut state = state.clone();
        let sum = &mut state["assembler"]["output"]["Mp4"][digests]["1"];
        *sum = (sum.as_u64().unwrap() ^ 1).into();
        let mut other = running.clone();
        other.state = serde_json::from_value(state).unwrap();
        assert_eq!(other.proven().unwrap_err().to_string(), "its packets are of other times or sizes");
    }
    let mut unread = Running::new(Rules::default());
    unread.step(&Step::Chunk(true, &in_fragments(2))).unwrap();
    let last = unread.disk.0.windows(4).rposition(|window| window == b"trun").unwrap();
    unread.disk.0[last + 19] ^= 1;
    assert_eq!(unread.finish(), Err(Unfit::Unread), "what stands there now is not what was written");
}
