//! However the bytes are cut and whoever goes on from whichever checkpoint, the file is the same.

use proptest::prelude::*;

use super::{
    kit::{Disk, live},
    *,
};
use crate::domain::media::test_media as build;

/// What stands in one Cluster.
fn blocks() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let block = (any::<bool>(), any::<bool>(), any::<bool>(), 1..200_usize, 0..40_i16);
    prop::collection::vec(block, 0..12).prop_map(|blocks| {
        let mut at = 0;
        let put = |(sound, keyframe, grouped, size, step): (bool, bool, bool, usize, i16)| {
            at += step;
            match (sound, grouped) {
                (true, _) => build::simple_block(2, at, true, &build::opus(size)),
                (false, true) => build::block_group(1, at, keyframe, 33, &vec![7; size]),
                (false, false) => build::simple_block(1, at, keyframe, &vec![0x1f; size]),
            }
        };
        blocks.into_iter().map(put).collect()
    })
}

fn segment() -> impl Strategy<Value = Vec<u8>> {
    let cluster = (blocks(), any::<bool>());
    prop::collection::vec(cluster, 1..5).prop_map(|clusters| {
        let put = |(at, (blocks, live)): (u64, (Vec<_>, bool))| {
            let cluster = if live { build::live_cluster } else { build::cluster };
            cluster(at * 500, &blocks)
        };
        let clusters: Vec<_> = (0..).zip(clusters).flat_map(put).collect();
        let first = build::live_cluster(0, &[build::simple_block(1, 0, true, &[9; 30])]);
        [build::live_header(), first, clusters].concat()
    })
}

/// What comes: bytes that begin a segment, bytes that go on, or something missing.
#[derive(Debug, Clone)]
enum Run {
    Begins(Vec<u8>),
    Missing,
    GoesOn(Vec<u8>),
}

/// Segments, each perhaps with a stretch that is missing.
fn recording() -> impl Strategy<Value = Vec<Run>> {
    let hole = prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>()));
    prop::collection::vec((segment(), hole), 1..4).prop_map(|segments| {
        let mut runs = Vec::new();
        for (bytes, hole) in segments {
            let header = build::live_header().len();
            let Some((one, other)) = hole else {
                runs.push(Run::Begins(bytes));
                continue;
            };
            let (one, other) = (one.index(bytes.len() - header), other.index(bytes.len() - header));
            let (start, end) = (header + one.min(other), header + one.max(other));
            runs.extend([Run::Begins(bytes[..start].to_vec()), Run::Missing]);
            runs.push(Run::GoesOn(bytes[end..].to_vec()));
        }
        runs
    })
}

/// Assembles pieces of `size` or so bytes, and after every `saves`th goes on from a checkpoint on another disk.
fn assembled(runs: &[Run], sizes: &[usize], saves: usize) -> (Disk, Option<Assembled>) {
    let (mut assembler, mut disk) = (Assembler::new(Rules::default()), Disk::default());
    let mut sizes = sizes.iter().copied().cycle();
    let mut count = 0;
    for run in runs {
        let (mut begins, mut bytes) = match run {
            Run::Begins(bytes) => (true, &bytes[..]),
            Run::GoesOn(bytes) => (false, &bytes[..]),
            Run::Missing => {
                assembler.gap(assembler.next()..assembler.next() + 1);
                continue;
            }
        };
        while begins || !bytes.is_empty() {
            let size = sizes.next().unwrap_or(usize::MAX).max(1).min(bytes.len());
            let mut writes = Vec::new();
            if assembler.chunk(assembler.next(), begins, &bytes[..size], &mut writes).is_err() {
                return (Disk::default(), None);
            }
            disk.write(writes);
            (begins, bytes) = (false, &bytes[size..]);
            count += 1;
            if saves > 0 && count % saves == 0 {
                assembler = Assembler::restore(&assembler.save()).unwrap();
            }
        }
    }
    let mut writes = Vec::new();
    let Ok(assembled) = assembler.finish(&mut writes) else { return (Disk::default(), None) };
    disk.write(writes);
    (disk, Some(assembled))
}

/// What does not depend on how chunks are numbered.
#[derive(Debug, PartialEq)]
struct Told {
    duration_us: i64,
    packets: u64,
    cues: usize,
    gaps: Vec<(u64, u64)>,
}

fn told(assembled: Option<Assembled>) -> Option<Told> {
    let assembled = assembled?;
    let gaps = assembled.gaps.iter().map(|gap| (gap.from_ms, gap.to_ms)).collect();
    let (duration_us, packets, cues) = (assembled.duration_us, assembled.packets(), assembled.cues);
    Some(Told { duration_us, packets, cues, gaps })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_cutting_and_any_checkpoint_give_the_same_file(
        runs in recording(),
        sizes in prop::collection::vec(prop_oneof![1..8_usize, 1..400_usize, 1..5000_usize], 1..20),
        saves in 0..6_usize,
    ) {
        let (whole, wanted) = assembled(&runs, &[usize::MAX], 0);
        prop_assert!(wanted.is_some() || runs.iter().any(|run| matches!(run, Run::Missing)));
        if let Some(assembled) = &wanted {
            super::kit::prove(&whole, assembled);
        }
        let (disk, found) = assembled(&runs, &sizes, saves);
        prop_assert_eq!(told(found), told(wanted));
        prop_assert!(disk == whole, "another file");
    }

    #[test]
    fn a_crash_behind_a_checkpoint_leaves_no_trace(
        cut in 1..2000_usize, size in 1..300_usize, lost in 1..12_usize,
    ) {
        let source = live(12);
        let (wanted, _) = assembled(&[Run::Begins(source.clone())], &[size], 0);
        let pieces: Vec<_> = source.chunks(size).collect();
        let at = cut % pieces.len();
        let (mut assembler, mut disk) = (Assembler::new(Rules::default()), Disk::default());
        let mut writes = Vec::new();
        for (index, piece) in (0..).zip(&pieces[..at]) {
            assembler.chunk(index, index == 0, piece, &mut writes).unwrap();
        }
        disk.write(std::mem::take(&mut writes));
        let saved = assembler.save();
        // The first owner goes on for a while; what it wrote behind the checkpoint is cut off, what it patched stays.
        for piece in pieces[at..].iter().take(lost) {
            assembler.chunk(assembler.next(), assembler.next() == 0, piece, &mut writes).unwrap();
        }
        disk.write(std::mem::take(&mut writes));
        let mut assembler = Assembler::restore(&saved).unwrap();
        disk.0.truncate(usize::try_from(assembler.length()).unwrap());
        for piece in &pieces[at..] {
            assembler.chunk(assembler.next(), assembler.next() == 0, piece, &mut writes).unwrap();
        }
        assembler.finish(&mut writes).unwrap();
        disk.write(writes);
        prop_assert!(disk == wanted);
    }

    #[test]
    fn any_bytes_are_taken_or_refused(
        mut source in segment(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        size in 1..3000_usize,
    ) {
        for (at, byte) in changes {
            let at = at.index(source.len());
            source[at] = byte;
        }
        let runs = [Run::Begins(source.clone())];
        let (whole, wanted) = assembled(&runs, &[usize::MAX], 0);
        if let Some(assembled) = &wanted {
            super::kit::prove(&whole, assembled);
            prop_assert!(whole.0.len() <= 2 * source.len() + 2000, "{} of {}", whole.0.len(), source.len());
        }
        let (disk, found) = assembled(&runs, &[size], 3);
        prop_assert_eq!(told(found), told(wanted));
        prop_assert!(disk == whole);
    }
}
