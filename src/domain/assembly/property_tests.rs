//! However the bytes are cut and whoever goes on from whichever checkpoint, the file is the same, and is proven.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    kit::{Disk, Running, Step, in_fragments, live},
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

/// The same in fragments.
fn segment_in_fragments() -> impl Strategy<Value = Vec<u8>> {
    let fragment = (any::<bool>(), prop::collection::vec(1..200_u32, 1..25), any::<bool>());
    prop::collection::vec(fragment, 1..6).prop_map(|fragments| {
        let mut bytes = [build::ftyp(), build::moov()].concat();
        for (sequence, (keyframe, sizes, absolute)) in (1..).zip(fragments) {
            let base = absolute.then_some(bytes.len() as u64);
            let keyframe = keyframe || sequence == 1;
            bytes.extend(build::fragment(sequence, sequence * 500, keyframe, &sizes, base));
        }
        bytes
    })
}

/// What comes: bytes that begin a segment, bytes that go on, or something missing.
#[derive(Debug, Clone)]
enum Run {
    Begins(Vec<u8>),
    Missing,
    GoesOn(Vec<u8>),
}

fn recording() -> impl Strategy<Value = Vec<Run>> {
    let in_fragments = build::ftyp().len() + build::moov().len();
    prop_oneof![
        recording_of(segment(), build::live_header().len()),
        recording_of(segment_in_fragments(), in_fragments)
    ]
}

/// Segments, each perhaps with a stretch that is missing behind its header.
fn recording_of(segment: impl Strategy<Value = Vec<u8>>, header: usize) -> impl Strategy<Value = Vec<Run>> {
    let hole = prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>()));
    prop::collection::vec((segment, hole), 1..4).prop_map(move |segments| {
        let mut runs = Vec::new();
        for (bytes, hole) in segments {
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

/// How a recording is taken.
struct Taking<'a> {
    /// Of its pieces, over and over.
    sizes: &'a [usize],
    /// After so many of them another one goes on from a checkpoint; 0 is never.
    saves: usize,
    /// After each so many bytes at most are read of the file, which may be behind; 0 is only at the end.
    reads: usize,
}

impl Taking<'_> {
    const AT_ONCE: Taking<'static> = Taking { sizes: &[usize::MAX], saves: 0, reads: 0 };

    /// The finished file, which is proven; `None` where it cannot be assembled.
    fn take(&self, runs: &[Run]) -> Option<(Running, Assembled)> {
        let mut running = Running::new(Rules::default());
        let mut sizes = self.sizes.iter().copied().cycle();
        let mut count = 0;
        for run in runs {
            let (mut begins, mut bytes) = match run {
                Run::Begins(bytes) => (true, &bytes[..]),
                Run::GoesOn(bytes) => (false, &bytes[..]),
                Run::Missing => {
                    running.step(&Step::Gap(1)).ok()?;
                    continue;
                }
            };
            while begins || !bytes.is_empty() {
                let size = sizes.next().unwrap_or(usize::MAX).max(1).min(bytes.len());
                running.step(&Step::Chunk(begins, &bytes[..size])).ok()?;
                (begins, bytes) = (false, &bytes[size..]);
                count += 1;
                running.prove_piece(self.reads).unwrap();
                if self.saves > 0 && count % self.saves == 0 {
                    running.restore();
                }
            }
        }
        let assembled = running.finish().ok()?;
        running.clone().proven().unwrap();
        Some((running, assembled))
    }
}

/// A recording in pieces of this size.
fn steps(runs: &[Run], size: usize) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    for run in runs {
        let (mut begins, mut bytes) = match run {
            Run::Begins(bytes) => (true, &bytes[..]),
            Run::GoesOn(bytes) => (false, &bytes[..]),
            Run::Missing => {
                steps.push(Step::Gap(1));
                continue;
            }
        };
        while begins || !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(size.min(bytes.len()));
            steps.push(Step::Chunk(begins, piece));
            (begins, bytes) = (false, rest);
        }
    }
    steps
}

fn disk(taken: Option<(Running, Assembled)>) -> Option<Disk> {
    taken.map(|(running, _)| running.disk)
}

/// What does not depend on how chunks are numbered.
#[derive(Debug, PartialEq)]
struct Told {
    duration_us: i64,
    packets: u64,
    cues: usize,
    gaps: Vec<(u64, u64)>,
}

fn told(taken: Option<&(Running, Assembled)>) -> Option<Told> {
    let (_, assembled) = taken?;
    let gaps = assembled.gaps.iter().map(|gap| (gap.from_ms, gap.to_ms)).collect();
    let Assembled { duration_us, packets, cues, .. } = *assembled;
    Some(Told { duration_us, packets, cues, gaps })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_cutting_and_any_checkpoint_give_the_same_file(
        runs in recording(),
        sizes in prop::collection::vec(prop_oneof![1..8_usize, 1..400_usize, 1..5000_usize], 1..20),
        saves in 0..6_usize,
        reads in prop_oneof![Just(0), 1..99_usize, 1..5000_usize],
    ) {
        let wanted = Taking::AT_ONCE.take(&runs);
        prop_assert!(wanted.is_some() || runs.iter().any(|run| matches!(run, Run::Missing)));
        let found = Taking { sizes: &sizes, saves, reads }.take(&runs);
        prop_assert_eq!(told(found.as_ref()), told(wanted.as_ref()));
        prop_assert!(disk(found) == disk(wanted), "another file");
    }

    #[test]
    fn a_crash_behind_a_checkpoint_leaves_no_trace(
        cut in 1..2000_usize, size in 1..300_usize, lost in 1..12_usize, fragments: bool,
    ) {
        let source = if fragments { in_fragments(6) } else { live(12) };
        let wanted = Taking { sizes: &[size], saves: 0, reads: 0 }.take(&[Run::Begins(source.clone())]);
        let pieces: Vec<_> = source.chunks(size).collect();
        let at = cut % pieces.len();
        let put = |running: &mut Running, pieces: &[&[u8]]| {
            for piece in pieces {
                running.step(&Step::Chunk(running.state.assembler.next() == 0, piece)).unwrap();
            }
        };
        let mut running = Running::new(Rules::default());
        put(&mut running, &pieces[..at]);
        running.prove(size).unwrap();
        let saved = running.state.save();
        // The first owner goes on for a while; what it wrote behind the checkpoint is cut off, what it patched stays.
        put(&mut running, &pieces[at..(at + lost).min(pieces.len())]);
        running.prove(size).unwrap();
        running.state = Checkpoint::restore(&saved).unwrap();
        running.disk.0.truncate(usize::try_from(running.state.assembler.length()).unwrap());
        put(&mut running, &pieces[at..]);
        running.finish().unwrap();
        running.clone().proven().unwrap();
        prop_assert!(Some(running.disk) == disk(wanted));
    }

    #[test]
    fn crashes_between_holes_leave_no_trace(
        runs in recording(),
        size in 20..400_usize,
        saves in 1..6_usize,
        deaths in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
        completed: bool,
    ) {
        let wanted = Taking { sizes: &[size], saves: 0, reads: 0 }.take(&runs);
        let steps = steps(&runs, size);
        let mut deaths: BTreeSet<_> = deaths.iter().map(|death| 1 + death.index(steps.len())).collect();
        let mut running = Running::new(Rules::default());
        let (mut saved, mut done, mut unfit) = ((0, running.state.save()), 0, false);
        while done < steps.len() && !unfit {
            unfit = running.step(&steps[done]).is_err();
            done += 1;
            if !unfit && done % saves == 0 {
                running.prove(1000).unwrap();
                saved = (done, running.state.save());
            }
            if !unfit && deaths.remove(&done) {
                if completed {
                    // As it may be before what is missing comes after all.
                    let _ = running.finish();
                }
                running.state = Checkpoint::restore(&saved.1).unwrap();
                let assembler = &running.state.assembler;
                running.disk.0.truncate(usize::try_from(assembler.length()).unwrap());
                running.disk.reopen(assembler);
                done = saved.0;
            }
        }
        let finished = if unfit { None } else { running.finish().ok() };
        if finished.is_some() {
            running.clone().proven().unwrap();
        }
        prop_assert!(finished.map(|_| running.disk) == disk(wanted));
    }

    #[test]
    fn any_bytes_are_taken_or_refused(
        mut source in prop_oneof![segment(), segment_in_fragments()],
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        size in 1..3000_usize,
    ) {
        for (at, byte) in changes {
            let at = at.index(source.len());
            source[at] = byte;
        }
        let runs = [Run::Begins(source.clone())];
        let wanted = Taking::AT_ONCE.take(&runs);
        if let Some((running, _)) = &wanted {
            let bytes = running.disk.0.len();
            // A sample of one byte takes twelve in its fragment, and up to sixteen in the tables.
            prop_assert!(bytes <= 30 * source.len() + 2000, "{bytes} of {}", source.len());
        }
        let found = Taking { sizes: &[size], saves: 3, reads: 200 }.take(&runs);
        prop_assert_eq!(told(found.as_ref()), told(wanted.as_ref()));
        prop_assert!(disk(found) == disk(wanted));
    }
}
