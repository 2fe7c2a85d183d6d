//! Elements of Matroska whose sizes lie, and that stand in each other without end.

use super::{
    kit::{Step, good, read, run},
    *,
};
use crate::domain::media::{Container, Repair, ebml, test_media as build};

/// Of a unit that is held whole.
const UNIT_MAX: u64 = 1000;

/// An element that says that it has so many bytes.
fn says(id: u32, size: u64, body: &[u8]) -> Vec<u8> {
    let id: Vec<_> = id.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    [&id[..], &(size | 1 << 56).to_be_bytes(), body].concat()
}

fn blocks(halves: std::ops::Range<i16>) -> Vec<u8> {
    let block = |half: i16| build::simple_block(1, half * 500, true, &[7; 40]);
    [build::number(ebml::TIMESTAMP, 0), halves.flat_map(block).collect()].concat()
}

/// What a recording of these bytes comes to, however they are cut.
fn outcome(source: &[u8]) -> Result<Vec<i64>, Unfit> {
    let at_once = run(Rules::default(), &[Step::Chunk(true, source)]);
    for size in [1, 7, 100] {
        let pieces = source.chunks(size).enumerate();
        let steps: Vec<_> = pieces.map(|(index, piece)| Step::Chunk(index == 0, piece)).collect();
        let in_pieces = run(Rules::default(), &steps);
        assert_eq!(in_pieces.1.as_ref().err(), at_once.1.as_ref().err(), "in pieces of {size}");
        assert!(at_once.1.is_err() || in_pieces.0 == at_once.0, "another file in pieces of {size}");
    }
    let (disk, assembled) = at_once;
    assembled.map(|_| read(&disk.0).1.iter().map(|packet| packet.time_us / 1000).collect())
}

#[test]
fn what_has_no_end_within_a_description_takes_no_memory() {
    let header = build::live_header();
    let tracks = header.windows(4).position(|id| id == ebml::TRACKS.to_be_bytes()).unwrap();
    for id in [ebml::CLUSTER, ebml::SEGMENT, ebml::VOID, 0x1254_c367] {
        let mut assembler = Assembler::new(Rules { unit_bytes_max: UNIT_MAX, ..Rules::default() });
        let within = says(ebml::TRACKS, 60, &build::endless(id));
        let mut told =
            assembler.chunk(0, true, &[&header[..tracks], &within].concat(), &mut Writes::default());
        for index in 1..50 {
            told = assembler.chunk(index, false, &[0xec; 4096], &mut Writes::default());
            assert!(assembler.held() < 16 * 1024, "{id:x}: {} bytes are held", assembler.held());
        }
        // Others are damage, behind which the next Cluster is looked for.
        assert!(told.is_err() || id != ebml::CLUSTER, "{told:?}");
    }
}

#[test]
fn elements_in_each_other_take_no_memory() {
    let master: [u32; 4] = [ebml::BLOCK_GROUP, ebml::CLUSTER, ebml::SEGMENT, 0x1254_c367];
    for id in master {
        for nested in [build::endless(id), says(id, (1 << 56) - 2, &[]), says(id, 1 << 20, &[])] {
            let mut repair = Repair::apart(Container::Matroska, UNIT_MAX);
            let mut assembler = Assembler::new(Rules { unit_bytes_max: UNIT_MAX, ..Rules::default() });
            let start = build::live_cluster(0, &[build::simple_block(1, 0, true, &[1; 9])]);
            let begin = [build::live_header(), start].concat();
            repair.take_apart(&begin, &mut Vec::new()).unwrap();
            assembler.chunk(0, true, &begin, &mut Writes::default()).unwrap();
            let most = repair.held() + 16 * 1024;
            for index in 1..200 {
                let deeper = nested.repeat(50);
                let taken = repair.take_apart(&deeper, &mut Vec::new());
                assert!(repair.held() < most, "{id:x}: {} bytes are held", repair.held());
                // Whoever has refused it refuses what comes after it.
                let fed = assembler.chunk(index, false, &deeper, &mut Writes::default());
                if taken.is_err() {
                    assert!(fed.is_err(), "{id:x}");
                    break;
                }
            }
            let saved = Checkpoint { assembler, prover: Prover::new() }.save().len();
            assert!(saved < 32 * 1024, "{id:x}: {saved} bytes are saved");
        }
    }
}

#[test]
fn a_cluster_whose_size_lies_does_no_harm_to_the_next() {
    let (first, next) =
        (blocks(0..4), build::live_cluster(2000, &[build::simple_block(1, 0, true, &[9; 30])]));
    let of = |size: u64| {
        let cluster = says(ebml::CLUSTER, size, &first);
        outcome(&[build::live_header(), cluster, next.clone()].concat())
    };
    let right = first.len() as u64;
    assert_eq!(of(right), Ok(vec![0, 500, 1000, 1500, 2000]));
    // Nothing is told twice or at another time, and what stands in front of the lie is there.
    for lie in [0, 1, right / 2, right - 1, right + 1, right + 9, right * 3, 1 << 40, (1 << 56) - 2] {
        if let Ok(times) = of(lie) {
            assert!(times.is_sorted() && times.iter().all(|time| time % 500 == 0), "{lie}: {times:?}");
        }
    }
}

#[test]
fn a_segment_whose_size_lies_is_as_long_as_it_comes() {
    let header = build::live_header();
    let endless = build::endless(ebml::SEGMENT);
    let at = header.windows(endless.len()).position(|bytes| bytes == endless).unwrap();
    let body =
        [&header[at + endless.len()..], &build::live_cluster(0, &build::half_second(true, 60))].concat();
    let of = |size: u64| [&header[..at], &says(ebml::SEGMENT, size, &body)].concat();
    let right = body.len() as u64;
    let wanted = outcome(&of(right)).unwrap();
    assert!(!wanted.is_empty());
    for lie in [right + 1, right * 2, 1 << 40, (1 << 56) - 2] {
        assert_eq!(outcome(&of(lie)), Ok(wanted.clone()), "{lie} of {right}");
    }
    for lie in [0, 1, right / 2, right - 1] {
        if let Ok(times) = outcome(&of(lie)) {
            assert_eq!(times, wanted[..times.len()], "{lie} of {right}");
        }
    }
    let (disk, _) = good(&[Step::Chunk(true, &of(1 << 40)), Step::Chunk(true, &of(right))]);
    assert_eq!(read(&disk.0).1.len(), 2 * wanted.len(), "and the next one stands behind it");
}
