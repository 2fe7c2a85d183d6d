//! Chunks missing in the middle: what is passed on is whole, and shows no picture that was not recorded.

use std::collections::{BTreeMap, HashSet};

use greenroom::domain::media::{Event, GapReport, Repair, Sniff, TrackKind, sniff};

use crate::{
    cases::{Case, FRAGMENTED, LIVE, MATROSKA, Media},
    packets, read, summary, tools,
};

/// What comes of a segment without some of its bytes.
struct Repaired {
    out: Vec<u8>,
    events: Vec<Event>,
    gaps: Vec<GapReport>,
    passed: u64,
    dropped: u64,
}

fn without(bytes: &[u8], missing: &[std::ops::Range<usize>]) -> Repaired {
    let Sniff::Media(container) = sniff(bytes) else { panic!("no media") };
    let (mut repair, mut out, mut events) = (Repair::new(container), Vec::new(), Vec::new());
    let mut at = 0;
    for range in missing {
        for piece in bytes[at..range.start].chunks(1500) {
            repair.feed(piece, &mut out, &mut events).expect("readable");
        }
        repair.gap(&mut out, &mut events);
        at = range.end;
    }
    repair.feed(&bytes[at..], &mut out, &mut events).expect("readable");
    repair.finish(&mut out, &mut events);
    let counts = repair.counts().values();
    Repaired {
        passed: counts.clone().map(|count| count.passed).sum(),
        dropped: counts.map(|count| count.dropped).sum(),
        gaps: repair.gaps().to_vec(),
        out,
        events,
    }
}

/// What holds for every repaired segment.
fn check(case: &Case, media: &Media, repaired: &Repaired) {
    let name = case.name;
    let events = read(&repaired.out, 4096);
    let account = summary(&events);
    let harmless = ["it ends within an element"];
    let wrong: Vec<_> = account.damaged.iter().filter(|(_, what)| !harmless.contains(what)).collect();
    assert!(wrong.is_empty(), "{name}: {wrong:?}");
    assert!(account.clusters_rise() && account.times_rise(), "{name}");
    assert_eq!(packets(&events), packets(&repaired.events), "{name}: told as passed on");
    assert_eq!(account.packet_count(), repaired.passed, "{name}");
    let original: HashSet<_> = packets(&read(&media.bytes, 1 << 20)).iter().map(key).collect();
    assert!(packets(&events).iter().all(|packet| original.contains(&key(packet))), "{name}: nothing new");
    keyframes_first(name, &repaired.events, &repaired.gaps);
}

fn key(packet: &greenroom::domain::media::Packet) -> (u32, i64, u32) {
    (packet.track, packet.time_us, packet.bytes)
}

/// Behind each gap the first packet of each video track is a keyframe, and the report tells its time.
fn keyframes_first(name: &str, events: &[Event], gaps: &[GapReport]) {
    let account = summary(events);
    let video: Vec<u32> = account.of_kind(TrackKind::Video).map(|(track, _)| track.number).collect();
    for gap in gaps {
        for (track, time_us) in gap.resumed.iter().filter(|(track, _)| video.contains(track)) {
            let all = packets(events);
            let first = all.iter().find(|packet| packet.track == *track && packet.time_us == *time_us);
            assert!(first.expect("passed on").keyframe, "{name}: {gap:?}");
        }
        let ordered = gap.from_us.zip(gap.to_us).is_none_or(|(from, to)| from < to);
        assert!(ordered, "{name}: {gap:?}");
    }
}

/// Ranges of a file that may be missing: not its header.
fn holes(bytes: &[u8], seed: usize) -> Vec<std::ops::Range<usize>> {
    let length = bytes.len();
    let at = |parts: usize| 3000 + (length - 3000) * ((parts * 37 + seed * 61) % 100) / 100;
    let start = at(1);
    let first = start..(start + length / 9 + seed * 11).min(length);
    let second = first.end + length / 5;
    match seed % 3 {
        0 if second + 900 < length => vec![first, second..second + 900],
        _ => vec![first],
    }
}

#[test]
fn a_gap_anywhere_leaves_a_stream_that_is_whole() {
    if !tools::are_here() {
        return;
    }
    for case in LIVE.iter().chain(&MATROSKA).chain(&FRAGMENTED) {
        let media = case.make();
        let mut resumed = 0;
        for seed in 0..40 {
            let repaired = without(&media.bytes, &holes(&media.bytes, seed));
            check(case, &media, &repaired);
            resumed += repaired.gaps.iter().filter(|gap| gap.to_us.is_some()).count();
        }
        // The audio of four seconds in one Cluster has nowhere to resume.
        assert!(resumed > 5 || case.arguments.starts_with("SOUND") && !case.live, "{}: {resumed}", case.name);
    }
}

#[test]
fn after_a_gap_no_picture_is_shown_that_was_not_recorded() {
    if !tools::are_here() {
        return;
    }
    let (folder, mut shown) = (tempfile::tempdir().expect("a folder"), BTreeMap::new());
    for case in LIVE[..3].iter().chain([&MATROSKA[9], &FRAGMENTED[0], &FRAGMENTED[1]]) {
        let media = case.make();
        let recorded: HashSet<_> = tools::pictures(&media.file).0.into_iter().collect();
        assert_eq!(recorded.len(), 120, "{}", case.name);
        for seed in [1, 2, 3, 5] {
            let repaired = without(&media.bytes, &holes(&media.bytes, seed));
            let file = folder.path().join(format!("repaired.{}", case.ending));
            std::fs::write(&file, &repaired.out).expect("written");
            let (pictures, complaints) = tools::pictures(&file);
            // A Segment that says how long it is, is shorter now.
            let harmless = |line: &str| line.contains("File ended prematurely") && !case.live;
            assert!(complaints.lines().all(harmless), "{} with hole {seed}: {complaints}", case.name);
            let wrong = pictures.iter().find(|picture| !recorded.contains(picture));
            assert_eq!(wrong, None, "{} with hole {seed}", case.name);
            assert_eq!(tools::packets(&file, &[]).len() as u64, repaired.passed, "{}", case.name);
            *shown.entry(case.name).or_insert(0) += pictures.len();
        }
    }
    assert!(shown.values().all(|pictures| *pictures > 120), "most of what is there is shown: {shown:?}");
}

/// The report says what is gone and how much had to be left out for want of a keyframe.
#[test]
fn a_gap_is_reported() {
    if !tools::are_here() {
        return;
    }
    let media = LIVE[0].make();
    let all = packets(&read(&media.bytes, 1 << 20)).len() as u64;
    let length = media.bytes.len();
    let repaired = without(&media.bytes, std::slice::from_ref(&(length / 3..length / 2)));
    let [gap] = &repaired.gaps[..] else { panic!("one gap: {:?}", repaired.gaps) };
    let (from, to) = (gap.from_us.expect("before"), gap.to_us.expect("after"));
    assert!(from > 0 && to > from + 300_000 && to < 4_000_000, "{gap:?}");
    assert_eq!((gap.resumed.len(), gap.damaged, gap.dropped), (2, false, repaired.dropped));
    assert!(repaired.passed < all && repaired.passed > all / 2, "{} of {all}", repaired.passed);
}

/// What nobody declared missing, such as a page of zeros, is cut out too and told.
#[test]
fn damage_is_cut_out_like_a_gap() {
    if !tools::are_here() {
        return;
    }
    let mut damaged = LIVE[0].make().bytes;
    let third = damaged.len() / 3;
    damaged[third..third + 20_000.min(third)].fill(0);
    let repaired = without(&damaged, &[]);
    let [gap] = &repaired.gaps[..] else { panic!("one gap: {:?}", repaired.gaps) };
    assert!(gap.damaged && gap.to_us.is_some(), "{gap:?}");
    assert!(summary(&repaired.events).damaged.len() == 1);
}

/// A browser that was killed leaves a tail that is cut anywhere.
#[test]
fn a_cut_tail_is_left_out() {
    if !tools::are_here() {
        return;
    }
    for case in LIVE.iter().chain(&FRAGMENTED) {
        let media = case.make();
        let all = packets(&read(&media.bytes, 1 << 20));
        for cut in 1..12 {
            let kept = media.bytes.len() - media.bytes.len() * cut / 14;
            let repaired = without(&media.bytes[..kept], &[]);
            let told = packets(&repaired.events);
            assert_eq!(told, all[..told.len()], "{}", case.name);
            let again = packets(&read(&repaired.out, 1000));
            assert_eq!(again, told, "{}: cut by {cut}", case.name);
            assert_eq!(
                told,
                packets(&read(&media.bytes[..kept], 1000)),
                "{}: nothing whole is lost",
                case.name
            );
        }
    }
}
