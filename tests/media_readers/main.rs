//! The readers and the repair on media made by ffmpeg, judged by ffprobe and by decoding.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "times of seconds; skips are shown"
)]

#[path = "../support/mod.rs"]
mod support;

mod cases;
mod gaps;
mod tools;

use greenroom::domain::media::{
    Codec, Container, Event, Packet, Reader, Repair, Sniff, Summary, TrackKind, sniff,
};

use self::cases::{Case, FRAGMENTED, LIVE, MATROSKA, Media, WHOLE};

/// What a reader makes of bytes, fed in pieces of this size.
fn read(bytes: &[u8], piece: usize) -> Vec<Event> {
    let Sniff::Media(container) = sniff(bytes) else { panic!("no media") };
    let (mut reader, mut events) = (Reader::new(container), Vec::new());
    for bytes in bytes.chunks(piece) {
        reader.feed(bytes, &mut events).expect("readable");
        assert!(reader.held() <= Reader::HELD_MAX);
    }
    reader.finish(&mut events);
    events
}

fn summary(events: &[Event]) -> Summary {
    let mut summary = Summary::default();
    summary.extend(events);
    summary
}

fn packets(events: &[Event]) -> Vec<Packet> {
    let packet = |event: &Event| if let Event::Packet(packet) = event { Some(*packet) } else { None };
    events.iter().filter_map(packet).collect()
}

/// The same packets, stream by stream, as ffprobe sees: time, whether decoding may begin there, size.
fn compare(case: &Case, media: &Media, options: &[&str]) {
    let events = read(&media.bytes, 4096);
    let damaged = events.iter().find(|event| matches!(event, Event::Damaged { .. }));
    assert_eq!(damaged, None, "{}", case.name);
    let account = summary(&events);
    let (ours, theirs) = (packets(&events), tools::packets(&media.file, options));
    assert!(
        !theirs.is_empty() && ours.len() == theirs.len(),
        "{}: {} of {}",
        case.name,
        ours.len(),
        theirs.len()
    );
    for (index, track) in account.tracks.iter().enumerate() {
        let ours = ours.iter().filter(|packet| packet.track == track.number);
        let theirs = theirs.iter().filter(|packet| packet.stream == index);
        assert_eq!(ours.clone().count(), theirs.clone().count(), "{}: track {index}", case.name);
        for (ours, theirs) in ours.zip(theirs) {
            // Matroska's times are whole milliseconds, an encoder's delay is rounded to them by ffprobe.
            let near = theirs.time_us.is_none_or(|time_us| time_us.abs_diff(ours.time_us) <= 600);
            let same = ours.bytes == theirs.bytes && ours.keyframe == theirs.keyframe;
            assert!(near && same, "{}: {ours:?} against {theirs:?}", case.name);
        }
    }
    assert!(account.times_rise(), "{}", case.name);
    assert!(account.clusters_rise(), "{}", case.name);
    compare_tracks(case, media, &account);
}

fn compare_tracks(case: &Case, media: &Media, account: &Summary) {
    let streams = tools::streams(&media.file);
    assert_eq!(streams.len(), account.tracks.len(), "{}", case.name);
    for (track, stream) in account.tracks.iter().zip(&streams) {
        let codec = stream["codec_name"].as_str().expect("a name");
        let ours = if track.codec == Codec::Pcm { "pcm_f32le" } else { track.codec.name() };
        assert_eq!(ours, codec, "{}", case.name);
        match track.kind {
            TrackKind::Video => assert_eq!((track.width, track.height), (160, 120), "{}", case.name),
            TrackKind::Audio => {
                let rate = stream["sample_rate"].as_str().expect("a rate").parse().expect("a number");
                assert_eq!((track.sample_rate, track.channels), (rate, 1), "{}", case.name);
            }
            TrackKind::Other => panic!("{}: {track:?}", case.name),
        }
    }
}

#[test]
fn matroska_as_a_browser_records_it_is_read_as_ffprobe_reads_it() {
    if tools::are_here() {
        LIVE.iter().for_each(|case| compare(case, &case.make(), &[]));
    }
}

#[test]
fn matroska_of_every_codec_is_read_as_ffprobe_reads_it() {
    if tools::are_here() {
        MATROSKA.iter().for_each(|case| compare(case, &case.make(), &[]));
    }
}

#[test]
fn fragmented_mp4_is_read_as_ffprobe_reads_it() {
    if tools::are_here() {
        FRAGMENTED.iter().for_each(|case| compare(case, &case.make(), &[]));
    }
}

#[test]
fn whole_mp4_is_read_as_ffprobe_reads_it() {
    if tools::are_here() {
        WHOLE.iter().for_each(|case| compare(case, &case.make(), &[]));
    }
}

#[test]
fn a_finished_file_proves_itself() {
    if !tools::are_here() {
        return;
    }
    // How long the last packet of FLAC sounds only its decoder knows.
    for case in MATROSKA.iter().chain(&WHOLE).filter(|case| case.name != "flac alone") {
        let account = summary(&read(&case.make().bytes, 10_000));
        let said = i64::try_from(account.duration_us.expect("a duration")).expect("seconds");
        // Encoders' delays and paddings are part of what the header counts.
        assert!((account.end_us() - said).abs() <= 30_000, "{}: {} of {said}", case.name, account.end_us());
        assert_eq!(account.cues_astray(), Vec::<u64>::new(), "{}", case.name);
        let video = account.of_kind(TrackKind::Video).next().is_some();
        assert!(!video || case.ending == "mp4" || !account.cues.is_empty(), "{}", case.name);
        for track in account.packets.values() {
            assert!(track.largest_step().0 < 150_000, "{}: {:?}", case.name, track.largest_step());
        }
    }
    let mut wrong = MATROSKA[0].make().bytes;
    let at = wrong.windows(4).rposition(|id| id == [0x1c, 0x53, 0xbb, 0x6b]).expect("Cues");
    // The first entry's position, moved by one: F1, a size, the position.
    let field = at + wrong[at..].iter().position(|byte| *byte == 0xf1).expect("a position");
    let last = field + 1 + usize::from(wrong[field + 1] & 0x7f);
    wrong[last] ^= 1;
    assert_eq!(summary(&read(&wrong, 999)).cues_astray().len(), 1, "an index that leads astray is noticed");
}

#[test]
fn a_file_whose_index_stands_behind_its_media_needs_seeking() {
    if !tools::are_here() {
        return;
    }
    for case in LIVE.iter().chain(&FRAGMENTED).chain(&WHOLE) {
        let behind = case.ending == "mp4" && !case.arguments.contains("movflags");
        assert_eq!(summary(&read(&case.make().bytes, 1 << 20)).needs_seeking, behind, "{}", case.name);
    }
}

#[test]
fn alpha_is_seen() {
    if tools::are_here() {
        let alpha = |case: &Case| summary(&read(&case.make().bytes, 5000)).tracks[0].alpha;
        assert!(alpha(&MATROSKA[2]) && !alpha(&MATROSKA[3]));
    }
}

#[test]
fn however_the_bytes_are_cut_the_events_are_the_same() {
    if !tools::are_here() {
        return;
    }
    for case in [&LIVE[0], &MATROSKA[5], &FRAGMENTED[0], &WHOLE[0], &WHOLE[1]] {
        let media = case.make();
        let whole = read(&media.bytes, media.bytes.len());
        for piece in [1, 2, 3, 7, 64, 1000, 4096] {
            assert!(read(&media.bytes, piece) == whole, "{} in pieces of {piece}", case.name);
        }
    }
}

#[test]
fn without_a_gap_the_very_same_bytes_are_passed_on() {
    if !tools::are_here() {
        return;
    }
    for case in LIVE.iter().chain(&MATROSKA).chain(&FRAGMENTED).chain(&WHOLE) {
        let media = case.make();
        let Sniff::Media(container) = sniff(&media.bytes) else { panic!("{}", case.name) };
        let (mut repair, mut out, mut events) = (Repair::new(container), Vec::new(), Vec::new());
        for bytes in media.bytes.chunks(777) {
            repair.feed(bytes, &mut out, &mut events).expect("readable");
        }
        repair.finish(&mut out, &mut events);
        assert!(out == media.bytes, "{}: {} of {} bytes", case.name, out.len(), media.bytes.len());
        assert_eq!(packets(&events), packets(&read(&media.bytes, 1 << 20)), "{}", case.name);
        assert!(repair.gaps().is_empty());
        assert_eq!(
            repair.needs_seeking(),
            container == Container::Mp4 && !case.arguments.contains("movflags")
        );
    }
}
