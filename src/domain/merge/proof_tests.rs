use super::*;
use crate::domain::media::{Event, Packet, Track};

fn track(number: u32, kind: TrackKind, codec: Codec) -> Track {
    Track {
        number,
        kind,
        codec,
        width: 0,
        height: 0,
        sample_rate: 48_000,
        channels: 1,
        codec_private: None,
        alpha: false,
        default_duration_us: None,
        codec_delay_us: 0,
    }
}

/// A file of two seconds: pictures every 100 ms, of which each tenth is a keyframe, and sound every 20 ms.
fn events() -> Vec<Event> {
    let mut events = vec![Event::Tracks(vec![
        track(1, TrackKind::Video, Codec::Vp8),
        track(2, TrackKind::Audio, Codec::Opus),
    ])];
    events.push(Event::Duration { us: 2_000_000 });
    for time_us in (0_i64..2_000_000).step_by(20_000) {
        if time_us % 1_000_000 == 0 {
            events.push(Event::Cluster { position: time_us.unsigned_abs() + 500, time_us });
        }
        if time_us % 100_000 == 0 {
            let keyframe = time_us % 1_000_000 == 0;
            events.push(Event::Packet(Packet { track: 1, time_us, duration_us: None, keyframe, bytes: 700 }));
        }
        let sound = Packet { track: 2, time_us, duration_us: Some(20_000), keyframe: true, bytes: 80 };
        events.push(Event::Packet(sound));
    }
    events.extend([0, 1_000_000].map(|time_us: i64| Event::Cue {
        time_us,
        track: 1,
        position: time_us.unsigned_abs() + 500,
    }));
    events
}

fn tally(events: &[Event]) -> Tally {
    let mut tally = Tally::default();
    events.iter().for_each(|event| tally.fold(event));
    tally
}

/// Holds `events` against the file that was planned.
fn proven(events: &[Event]) -> Result<(), Difference> {
    let source = tally(&self::events());
    let span = |number| vec![Span { log: &source.logs[&number], shift_us: 0 }];
    let expected = Expected {
        family: Family::Webm,
        tracks: vec![
            ExpectedTrack { kind: TrackKind::Video, codec: Codec::Vp8, spans: span(1) },
            ExpectedTrack { kind: TrackKind::Audio, codec: Codec::Opus, spans: span(2) },
        ],
        length_us: source.length_us(),
    };
    prove(&expected, &tally(events))
}

/// The file with one thing changed, and why it is refused.
fn refused(change: impl FnOnce(&mut Vec<Event>)) -> String {
    let mut events = events();
    change(&mut events);
    proven(&events).expect_err("it differs").to_string()
}

fn packet(events: &mut [Event], nth: usize) -> &mut Packet {
    let packets = events.iter_mut().filter_map(|event| match event {
        Event::Packet(packet) => Some(packet),
        _ => None,
    });
    packets.into_iter().nth(nth).unwrap()
}

#[test]
fn what_was_planned_is_proven() {
    assert_eq!(proven(&events()), Ok(()));
    let mut rounded = events();
    packet(&mut rounded, 50).time_us += 2000;
    assert_eq!(proven(&rounded), Ok(()), "containers round times");
}

#[test]
fn a_packet_that_is_lost_late_or_another_one_is_found() {
    let position =
        |events: &[Event]| events.iter().rposition(|event| matches!(event, Event::Packet(_))).unwrap();
    let lost = refused(|events| drop(events.remove(position(events))));
    assert_eq!(lost, "99 packets of opus came out, 100 went in");
    let late = refused(|events| packet(events, 29).time_us += 5000);
    assert!(late.starts_with("packet 24 of opus is at 485000 µs, not at 480000"), "{late}");
    assert_eq!(refused(|events| packet(events, 1).bytes += 1), "packet 0 of opus has another size");
    let none =
        refused(|events| events.retain(|event| !matches!(event, Event::Packet(packet) if packet.track == 1)));
    assert_eq!(none, "it has 1 tracks, not 2");
}

#[test]
fn an_index_that_leads_astray_is_found() {
    assert_eq!(
        refused(|events| events.retain(|event| !matches!(event, Event::Cue { .. }))),
        "it has no index"
    );
    let cue =
        |events: &mut Vec<Event>, time_us, position| events.push(Event::Cue { time_us, track: 1, position });
    let nowhere = refused(|events| cue(events, 1_000_000, 548));
    assert_eq!(nowhere, "its index leads to byte 548, where nothing begins");
    let no_keyframe = refused(|events| cue(events, 1_100_000, 1_000_500));
    assert_eq!(no_keyframe, "its index leads to 1100000 µs, where there is no keyframe");
}

#[test]
fn a_wrong_length_codec_or_damage_is_found() {
    let length = refused(|events| events[1] = Event::Duration { us: 1_000_000 });
    assert_eq!(length, "it says that it plays for 1000000 µs, and plays for 2000000");
    let codec = refused(|events| {
        events[0] = Event::Tracks(vec![
            track(1, TrackKind::Video, Codec::Vp9),
            track(2, TrackKind::Audio, Codec::Opus),
        ]);
    });
    assert_eq!(codec, "a track is vp9, not vp8");
    let damaged =
        refused(|events| events.push(Event::Damaged { position: 7, what: "it ends within a block" }));
    assert_eq!(damaged, "at byte 7: it ends within a block");
}
