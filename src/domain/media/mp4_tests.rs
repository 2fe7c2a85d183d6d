//! MP4 built by hand: what is told of it, and what is refused.

use proptest::prelude::*;

use super::{
    super::{Container, Reader, test_media::*},
    *,
};

fn read_cut(bytes: &[u8], piece: usize) -> Result<Vec<Event>, ReadError> {
    let (mut reader, mut events) = (Reader::new(Container::Mp4), Vec::new());
    for bytes in bytes.chunks(piece) {
        reader.feed(bytes, &mut events)?;
    }
    reader.finish(&mut events);
    Ok(events)
}

fn read(bytes: &[u8]) -> Vec<Event> {
    read_cut(bytes, bytes.len()).expect("readable")
}

fn packets(events: &[Event]) -> Vec<Packet> {
    let packet = |event: &Event| if let Event::Packet(packet) = event { Some(*packet) } else { None };
    events.iter().filter_map(packet).collect()
}

fn damaged(events: &[Event]) -> Vec<&'static str> {
    let what = |event: &Event| if let Event::Damaged { what, .. } = event { Some(*what) } else { None };
    events.iter().filter_map(what).collect()
}

fn front() -> Vec<u8> {
    [ftyp(), moov()].concat()
}

/// The first place of these four characters.
fn place(bytes: &[u8], kind: &[u8; 4]) -> usize {
    bytes.windows(4).position(|window| window == kind).expect("there")
}

#[test]
fn a_fragment_tells_its_samples_with_what_the_header_says_of_all() {
    let events = read(&[front(), fragment(1, 500, true, &[30, 20], None)].concat());
    let video =
        |time_us, keyframe, bytes| Packet { track: 1, time_us, duration_us: Some(20_000), keyframe, bytes };
    let audio =
        |time_us, bytes| Packet { track: 2, time_us, duration_us: Some(20_000), keyframe: true, bytes };
    assert_eq!(
        packets(&events),
        [video(500_000, true, 30), video(520_000, false, 20), audio(500_000, 30), audio(520_000, 20)]
    );
    let at = front().len() as u64;
    assert!(events.contains(&Event::Cluster { position: at, time_us: 500_000 }), "{events:?}");
    assert_eq!(damaged(&events), [""; 0]);
}

#[test]
fn a_fragment_without_a_time_goes_on_where_its_track_was() {
    let mut second = fragment(2, 9, true, &[30], None);
    let tfdt = place(&second, b"tfdt");
    second[tfdt..tfdt + 4].copy_from_slice(b"free");
    let events = read(&[front(), fragment(1, 100, true, &[30, 20], None), second].concat());
    assert_eq!(packets(&events)[4].time_us, 140_000);
}

#[test]
fn absolute_bases_lead_to_the_same_samples() {
    let base = front().len() as u64;
    let absolute = [front(), fragment(1, 0, true, &[30, 20], Some(base))].concat();
    let relative = [front(), fragment(1, 0, true, &[30, 20], None)].concat();
    assert_eq!(packets(&read(&absolute)), packets(&read(&relative)));
}

/// The data of a fragment may stand in a box of 64 bits, or in one that goes to the end of the file.
#[test]
fn data_may_be_large_or_endless() {
    let plain = fragment(1, 0, true, &[30], None);
    let mdat = place(&plain, b"mdat") - 4;
    let mut endless = plain.clone();
    endless[mdat..mdat + 4].fill(0);
    let large = [&plain[..mdat], &[0, 0, 0, 1], b"mdat", &76_u64.to_be_bytes(), &[0xa5; 60]].concat();
    let mut shifted = large.clone();
    for trun in large.windows(4).enumerate().filter(|(_, window)| *window == b"trun").map(|(at, _)| at) {
        // The data stand eight bytes further back.
        shifted[trun + 15] += 8;
    }
    for fragment in [plain, endless, shifted] {
        let events = read(&[front(), fragment].concat());
        assert_eq!((packets(&events).len(), damaged(&events).len()), (2, 0), "{events:?}");
    }
}

#[test]
fn sample_tables_are_read_in_front_and_behind() {
    let expected: Vec<_> = [10, 20, 30]
        .iter()
        .zip(0..)
        .map(|(bytes, index)| Packet {
            track: 1,
            time_us: index * 40_000,
            duration_us: Some(40_000),
            keyframe: index == 0,
            bytes: *bytes,
        })
        .collect();
    for in_front in [true, false] {
        let bytes = whole(&[10, 20, 30], in_front);
        let events = read(&bytes);
        assert_eq!(packets(&events), expected);
        assert!(events.contains(&Event::Duration { us: 120_000 }));
        assert_eq!(events.contains(&Event::NeedsSeeking), !in_front);
    }
}

/// A file whose end is missing has only the packets that are whole.
#[test]
fn a_packet_is_told_when_its_last_byte_has_come() {
    let bytes = whole(&[10, 20, 30], true);
    let events = read(&bytes[..bytes.len() - 1]);
    assert_eq!(
        (packets(&events).len(), damaged(&events)),
        (2, vec!["it ends within a box", "it ends before all its samples"])
    );
    let bytes = [front(), fragment(1, 0, true, &[30, 20], None)].concat();
    assert_eq!(packets(&read(&bytes[..bytes.len() - 51])).len(), 1);
}

#[test]
fn edits_and_shifts_move_times() {
    let elst = full(b"elst", 0, 0, &words(&[2, 500, u32::MAX, 1 << 16, 9, 40, 1 << 16]));
    let tables = [
        full(b"stts", 0, 0, &words(&[1, 2, 40])),
        full(b"ctts", 1, 0, &words(&[2, 1, 80, 1, (-20_i32).cast_unsigned()])),
        full(b"stsc", 0, 0, &words(&[1, 1, 2, 1])),
        full(b"stsz", 0, 0, &words(&[5, 2])),
        full(b"stco", 0, 0, &words(&[1, size(&ftyp())])),
    ];
    let mvhd = full(b"mvhd", 0, 0, &[words(&[0, 0, 1000, 0]), vec![0; 80]].concat());
    let trak = trak(1, true, &tables);
    let trak = boxed(b"trak", &[&trak[8..], &boxed(b"edts", &elst)].concat());
    let events = read(&[ftyp(), boxed(b"moov", &[mvhd, trak].concat()), boxed(b"mdat", &[0; 20])].concat());
    let times: Vec<_> = packets(&events).iter().map(|packet| packet.time_us).collect();
    // Half a second of nothing, and what is shown begins 40 ms into the media.
    assert_eq!(times, [540_000, 480_000]);
    assert!(packets(&events).iter().all(|packet| packet.keyframe), "no table of sync samples: each is one");
}

/// Few bytes that promise many packets.
#[test]
fn packets_do_not_outnumber_the_bytes_that_came() {
    let tables = |size: u32, count: u32| {
        // Forty chunks of a hundred samples, all in the same place.
        let offsets = [words(&[40]), vec![0; 160]].concat();
        let tables = [
            full(b"stsc", 0, 0, &words(&[1, 1, 100, 1])),
            full(b"stsz", 0, 0, &words(&[size, count])),
            full(b"stco", 0, 0, &offsets),
        ];
        [ftyp(), boxed(b"moov", &trak(1, true, &tables)), boxed(b"mdat", &[0; 100])].concat()
    };
    let bytes = tables(1, u32::MAX);
    let told = packets(&read(&bytes)).len();
    assert!(told <= bytes.len() && told > 100, "{told} packets of {} bytes", bytes.len());
    assert_eq!(packets(&read(&tables(0, u32::MAX))).len(), 0);

    let mut endless = fragment(1, 0, true, &[30], None);
    let trun = place(&endless, b"trun");
    // Nothing said of each sample, and all of no size.
    endless[trun + 7] = 0;
    endless[trun + 6] = 0;
    endless[trun + 8..trun + 12].fill(0xff);
    let events = read(&[front(), endless].concat());
    assert_eq!((packets(&events).len(), damaged(&events).len()), (1, 1), "{events:?}");
}

#[test]
fn what_would_have_to_be_kept_is_bounded() {
    let large = [ftyp(), [&(65_u32 << 20).to_be_bytes()[..], b"moov"].concat()].concat();
    assert_eq!(
        read_cut(&large, 9),
        Err(ReadError::TooLarge { what: "the movie's index (moov)", limit: MOOV_MAX })
    );
    let lying =
        [front(), [&(200_u32 << 20).to_be_bytes()[..], b"moof"].concat(), fragment(1, 0, true, &[9], None)]
            .concat();
    let events = read(&lying);
    assert_eq!((damaged(&events), packets(&events).len()), (vec!["a fragment's index that is too large"], 2));
}

#[test]
fn what_is_not_mp4_is_refused() {
    for bytes in [b"\0\0\0\x08moov".as_slice(), b"\x1a\x45\xdf\xa3\0\0\0\0"] {
        assert!(matches!(read_cut(bytes, 3), Err(ReadError::NotMedia(_))), "{bytes:x?}");
    }
}

#[test]
fn a_box_that_is_none_is_damage_and_the_next_fragment_is_found() {
    let bytes = [
        front(),
        fragment(1, 0, true, &[30], None),
        vec![0; 4],
        b"\x07\x07\x07\x07".to_vec(),
        fragment(2, 500, true, &[30], None),
    ];
    let events = read(&bytes.concat());
    assert_eq!((damaged(&events), packets(&events).len()), (vec!["no box begins here"], 4));
}

#[test]
fn a_fragment_before_the_movie_and_an_unknown_track_are_told() {
    let early = read(&[ftyp(), fragment(1, 0, true, &[30], None)].concat());
    assert!(damaged(&early).contains(&"a fragment before the movie's header") && packets(&early).is_empty());
    let mut strange = fragment(1, 0, true, &[30], None);
    let tfhd = place(&strange, b"tfhd");
    strange[tfhd + 11] = 9;
    let events = read(&[front(), strange].concat());
    assert_eq!((packets(&events).len(), damaged(&events).len()), (1, 1), "{events:?}");
}

proptest! {
    #[test]
    fn however_it_is_cut_the_same_is_told(piece in 1_usize..300, kind in 0..3, flip: Option<(usize, u8)>) {
        let mut bytes = match kind {
            0 => whole(&[10, 200, 30], true),
            1 => whole(&[10, 200, 30], false),
            _ => [front(), fragment(1, 0, true, &[30, 20], None), fragment(2, 500, true, &[30, 20], None)].concat(),
        };
        if let Some((at, bit)) = flip {
            let at = at % bytes.len();
            bytes[at] ^= 1 << (bit % 8);
        }
        prop_assert_eq!(read_cut(&bytes, piece), read_cut(&bytes, bytes.len()));
    }
}
