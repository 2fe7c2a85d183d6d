//! What was changed after it was written is not proven; and how much there is to be written down.

use proptest::prelude::*;
use serde_json::Value;

use super::{
    kit::{Running, Step, in_fragments, live, with_blocks},
    *,
};
use crate::domain::media::{ebml, test_media as build};

/// Some of everything that a file is made of.
fn source() -> Vec<u8> {
    let additions = build::element(0x75a1, &build::element(0xa6, &build::element(0xa5, &[7; 5])));
    let block = build::element(ebml::BLOCK, &build::block(1, 30, 0, &[3; 9]));
    let reference = build::number(ebml::REFERENCE_BLOCK, 0xff);
    let duration = build::number(ebml::BLOCK_DURATION, 40);
    let group = build::element(ebml::BLOCK_GROUP, &[block, additions, duration, reference].concat());
    let laces = build::block(2, 20, 0x80 | 4, &[&[2][..], &build::opus(9)].concat());
    let blocks = [
        build::simple_block(1, 0, true, &[1; 9]),
        build::element(ebml::SIMPLE_BLOCK, &laces),
        group,
        build::element(0x4dff, b"who knows"),
        build::simple_block(1, 90, true, &[2; 7]),
        build::simple_block(2, 95, true, &build::opus(5)),
    ];
    with_blocks(0, &blocks)
}

fn finished(source: &[u8]) -> Running {
    let mut running = Running::new(Rules::default());
    running.step(&Step::Chunk(true, source)).unwrap();
    running.prove(1000).unwrap();
    running.finish().unwrap();
    running
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

#[test]
fn no_bit_of_a_finished_file_may_change() {
    for source in [source(), in_fragments(1)] {
        let running = finished(&source);
        let bytes = &running.disk.0;
        assert!(running.proves_whole(bytes));
        for bit in 0..bytes.len() * 8 {
            assert!(!running.proves_whole(&flipped(bytes, bit)), "bit {} of byte {}", bit % 8, bit / 8);
        }
    }
    let running = finished(&source());
    assert!(!running.proves_whole(&finished(&live(3)).disk.0));
}

/// What was read at the beginning was right; what is read at the end is not.
#[test]
fn no_bit_of_the_head_may_change_until_the_end() {
    [source(), in_fragments(1)].iter().for_each(|source| no_bit_of_its_head_may_change(source));
}

fn no_bit_of_its_head_may_change(source: &[u8]) {
    let mut running = Running::new(Rules::default());
    running.step(&Step::Chunk(true, source)).unwrap();
    running.prove(1000).unwrap();
    let size = usize::try_from(running.state.assembler.head_bytes()).unwrap();
    let unfinished = running.disk.0[..size].to_vec();
    running.finish().unwrap();
    running.prove(1000).unwrap();
    let proves = |head: &[u8]| running.state.prover.clone().finish(head, &running.state.assembler).is_ok();
    let head = &running.disk.0[..size];
    assert!(proves(head));
    for bit in 0..size * 8 {
        assert!(!proves(&flipped(head, bit)), "bit {} of byte {}", bit % 8, bit / 8);
    }
    assert!(!proves(&unfinished) && !proves(&head[..size - 1]) && !proves(&running.disk.0[..=size]));
}

#[test]
fn a_file_that_is_not_whole_is_not_proven() {
    let mut running = Running::new(Rules::default());
    assert!(running.clone().proven().is_err(), "there is none");
    running.step(&Step::Chunk(true, &live(3))).unwrap();
    assert!(running.clone().proven().is_err(), "it is not finished");
    let settled = usize::try_from(running.state.assembler.settled()).unwrap();
    let Checkpoint { assembler, mut prover } = running.state.clone();
    assert!(prover.feed(&running.disk.0[..=settled], &assembler).is_err(), "what may still change");
    let head = usize::try_from(assembler.head_bytes()).unwrap();
    assert!(
        prover.feed(&running.disk.0[..head - 1], &assembler).is_err(),
        "half of what is completed at the end"
    );
    assert_eq!(prover.read(), 0);
    assert_eq!(prover.feed(&running.disk.0[..settled], &assembler), Ok(()));
    running.finish().unwrap();
    let head = &running.disk.0[..usize::try_from(assembler.head_bytes()).unwrap()];
    assert!(prover.finish(head, &running.state.assembler).is_err(), "its end was not read");
}

/// What differs is told again, and by who goes on from a checkpoint.
#[test]
fn what_differs_once_differs_for_good() {
    let mut running = Running::new(Rules::default());
    running.step(&Step::Chunk(true, &live(6))).unwrap();
    let good = running.clone();
    let cluster = running.disk.0.windows(4).position(|four| four == ebml::CLUSTER.to_be_bytes()).unwrap();
    running.disk.0[cluster] ^= 0x80;
    let differs = running.prove(7).unwrap_err();
    running.disk = good.disk;
    running.restore();
    assert_eq!(running.prove(1000), Err(differs.clone()));
    running.finish().unwrap();
    assert_eq!(running.proven(), Err(differs));
}

/// The bytes are those that were written, and what was written is wrong.
#[test]
fn an_index_that_leads_elsewhere_is_not_proven() {
    let mut running = Running::new(Rules::default());
    running.step(&Step::Chunk(true, &live(9))).unwrap();
    let state = serde_json::to_value(&running.state).unwrap();
    let changed = |entry: usize, field: usize, by: u64| {
        let mut state = state.clone();
        let number = &mut state["assembler"]["output"]["Matroska"]["index"]["cues"][entry][field];
        *number = Value::from(number.as_u64().unwrap() + by);
        let mut other = running.clone();
        other.state = serde_json::from_value(state).unwrap();
        other.prove(50)
    };
    assert_eq!(changed(2, 0, 0), Ok(()));
    assert_eq!(changed(2, 0, 1), Ok(()), "times are rounded");
    for (field, by, words) in [
        (0, 2, "its index leads to 2002 ms, where decoding cannot begin"),
        (1, 1, "its index leads to 2000 ms, where decoding cannot begin"),
        (2, 1, "where nothing begins"),
    ] {
        let differs = changed(2, field, by).unwrap_err().to_string();
        assert!(differs.ends_with(words), "{differs}");
    }
    // The last one leads behind everything that is there.
    let mut state = serde_json::to_value(&running.state).unwrap();
    state["assembler"]["output"]["Matroska"]["index"]["cues"][4][2] = Value::from(1_u64 << 40);
    let mut other = running.clone();
    other.state = serde_json::from_value(state).unwrap();
    other.finish().unwrap();
    assert!(other.proven().unwrap_err().to_string().ends_with("where nothing begins"));
}

/// A keyframe that is none, a packet of another size: what a reader finds is not what came.
#[test]
fn packets_that_are_not_those_that_came_are_not_proven() {
    let running = finished(&live(4));
    let state = serde_json::to_value(&running.state).unwrap();
    let sums = &state["assembler"]["output"]["Matroska"]["digests"];
    assert_eq!(sums.as_object().unwrap().len(), 2);
    for track in ["1", "2"] {
        let mut state = state.clone();
        let sum = &mut state["assembler"]["output"]["Matroska"]["digests"][track];
        *sum = Value::from(sum.as_u64().unwrap() ^ 1);
        let mut other = running.clone();
        other.state = serde_json::from_value(state).unwrap();
        let differs = other.proven().unwrap_err().to_string();
        assert_eq!(differs, "its packets are of other times or sizes");
    }
}

/// Each list in a state, with how long it is.
fn lists(name: &str, value: &Value, found: &mut Vec<(String, usize)>) {
    match value {
        Value::Array(items) => {
            found.push((name.to_owned(), items.len()));
            items.iter().for_each(|item| lists(name, item, found));
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(field, value)| lists(&format!("{name}.{field}"), value, found));
        }
        _ => {}
    }
}

#[test]
fn the_state_of_two_hours_is_small() {
    const SECONDS: u64 = 7200;
    let (source, mut running) = (live(2 * SECONDS), Running::new(Rules::default()));
    let mut prover_bytes = Vec::new();
    for (at, piece) in source.chunks(source.len() / 7200).enumerate() {
        running.step(&Step::Chunk(at == 0, piece)).unwrap();
        running.prove(100_000).unwrap();
        if at % 900 == 9 {
            prover_bytes.push(serde_json::to_vec(&running.state.prover).unwrap().len());
        }
    }
    let saved = running.state.save().len();
    // Positions in a file of gigabytes take two bytes more than in this one.
    let longer = 2 * usize::try_from(SECONDS).unwrap();
    assert!(saved + longer < 96 * 1024, "{saved} bytes");
    let (least, most) = (prover_bytes.iter().min().unwrap(), prover_bytes.iter().max().unwrap());
    assert!(*most < 4096 && most - least < 100, "{prover_bytes:?}");
    let (state, mut found) = (serde_json::to_value(&running.state).unwrap(), Vec::new());
    lists("state", &state, &mut found);
    for (name, length) in found {
        let bound = if name == "state.assembler.output.Matroska.index.cues" { 8192 } else { 100 };
        assert!(length <= bound, "{name} has {length} entries");
    }
    let assembled = running.finish().unwrap();
    assert_eq!((assembled.clusters, assembled.cues), (SECONDS, 7200));
    running.proven().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// A file that differs in the end is not proven, whenever it changed: unless that was behind the prover's back.
    #[test]
    fn a_bit_that_changes_while_the_file_grows_is_found(
        size in 1..700_usize,
        reads in 1..5_usize,
        saves in 1..5_usize,
        at in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        fragments: bool,
    ) {
        let source = if fragments { in_fragments(5) } else { live(7) };
        let pieces: Vec<_> = source.chunks(size).collect();
        let at = at.index(pieces.len());
        let (mut running, mut good) = (Running::new(Rules::default()), Running::new(Rules::default()));
        let mut found = Ok(());
        for (count, piece) in pieces.iter().enumerate() {
            let step = Step::Chunk(count == 0, piece);
            running.step(&step).unwrap();
            good.step(&step).unwrap();
            if count == at {
                let unread = usize::try_from(running.state.prover.read()).unwrap();
                let head = usize::try_from(running.state.assembler.head_bytes()).unwrap().min(unread);
                let bits = 8 * (head + running.disk.0.len() - unread);
                if bits > 0 {
                    let bit = place.index(bits);
                    let bit = if bit < head * 8 { bit } else { bit + (unread - head) * 8 };
                    running.disk.0 = flipped(&running.disk.0, bit);
                }
            }
            if count % reads == 0 {
                found = found.and(running.prove(1 + size / 3));
            }
            if count % saves == 0 {
                running.restore();
            }
        }
        good.finish().unwrap();
        // What is read back at the end may show it too.
        if running.finish() == Err(Unfit::Unread) {
            return Ok(());
        }
        let changed = running.disk != good.disk;
        let found = found.and(running.proven());
        prop_assert!(good.proven().is_ok());
        prop_assert!(found.is_err() || !changed);
    }
}

/// Whoever has sent it piece by piece can tell whether the pieces are the file, without what is in the head at its end.
#[test]
fn pieces_are_the_file_or_are_not() {
    let running = finished(&live(8));
    let (bytes, assembler) = (&running.disk.0, &running.state.assembler);
    let head = usize::try_from(assembler.head_bytes()).unwrap();
    let pieces = |bytes: &[u8], size: usize| -> Vec<_> {
        bytes.chunks(size).map(|piece| (crc32c::crc32c(piece), piece.len() as u64)).collect()
    };
    for (first, size) in [(head, 1), (head, 700), (head + 9, 4096), (bytes.len(), 1)] {
        let (first, rest) = bytes.split_at(first);
        let rest = pieces(rest, size);
        assert!(assembler.consists_of(first, rest.clone()), "pieces of {size} bytes");
        for at in 0..rest.len().min(20) {
            let mut other = rest.clone();
            other[at].0 ^= 1;
            assert!(!assembler.consists_of(first, other), "piece {at} of {size} bytes is another");
        }
        let changed = flipped(first, first.len() * 8 - 1);
        assert!(!assembler.consists_of(&changed, rest.clone()), "its beginning is another");
        assert!(rest.is_empty() || !assembler.consists_of(first, rest[1..].to_vec()), "one is missing");
    }
    assert!(!Assembler::new(Rules::default()).consists_of(bytes, []));
}
