//! What the tests share: streams, the file that writes make, and what a reader finds in it.

use super::{Assembled, Assembler, Prover, Rules, Unfit, Write};
use crate::domain::media::{Container, Event, Packet, Reader, Summary, test_media as build};

/// The file that writes make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disk(pub Vec<u8>);

impl Disk {
    pub fn write(&mut self, writes: Vec<Write>) {
        for write in writes {
            match write {
                Write::Append(bytes) => self.0.extend_from_slice(&bytes),
                Write::Patch { at, bytes } => {
                    let at = usize::try_from(at).unwrap();
                    self.0[at..at + bytes.len()].copy_from_slice(&bytes);
                }
            }
        }
    }
}

/// What comes to an assembler.
#[derive(Debug, Clone)]
pub enum Step<'a> {
    /// A chunk, and whether a segment begins with it.
    Chunk(bool, &'a [u8]),
    /// So many are missing.
    Gap(u32),
}

pub fn run(rules: Rules, steps: &[Step<'_>]) -> (Disk, Result<Assembled, Unfit>) {
    let (mut assembler, mut disk, mut writes) = (Assembler::new(rules), Disk::default(), Vec::new());
    for step in steps {
        match step {
            Step::Chunk(begins, bytes) => {
                // An error stays, so it is told at the end too.
                let _ = assembler.chunk(assembler.next(), *begins, bytes, &mut writes);
            }
            Step::Gap(count) => assembler.gap(assembler.next()..assembler.next() + count),
        }
        disk.write(std::mem::take(&mut writes));
        assert_eq!(assembler.length(), disk.0.len() as u64);
    }
    let assembled = assembler.finish(&mut writes);
    disk.write(writes);
    (disk, assembled)
}

/// Assembles whole segments.
pub fn assemble(segments: &[&[u8]]) -> (Disk, Result<Assembled, Unfit>) {
    let steps: Vec<_> = segments.iter().map(|bytes| Step::Chunk(true, bytes)).collect();
    run(Rules::default(), &steps)
}

/// Assembles what can be, and has it proven.
pub fn good(steps: &[Step<'_>]) -> (Disk, Assembled) {
    let (disk, assembled) = run(Rules::default(), steps);
    let assembled = assembled.unwrap();
    prove(&disk, &assembled);
    (disk, assembled)
}

pub fn prove(disk: &Disk, assembled: &Assembled) {
    let mut prover = Prover::new();
    for piece in disk.0.chunks(1000) {
        prover.feed(piece).unwrap();
    }
    prover.finish(assembled).unwrap();
}

/// What a reader finds.
pub fn read(bytes: &[u8]) -> (Summary, Vec<Packet>) {
    let (mut reader, mut events) = (Reader::new(Container::Matroska), Vec::new());
    reader.feed(bytes, &mut events).unwrap();
    reader.finish(&mut events);
    let mut summary = Summary::default();
    summary.extend(&events);
    let packets = events.iter().filter_map(|event| match event {
        Event::Packet(packet) => Some(*packet),
        _ => None,
    });
    (summary, packets.collect())
}

/// A live stream of so many half seconds: pictures every 100 ms, a keyframe every second.
pub fn live(halves: u64) -> Vec<u8> {
    let cluster = |half| build::live_cluster(half * 500, &build::half_second(half % 2 == 0, 60));
    [build::live_header(), (0..halves).flat_map(cluster).collect()].concat()
}

/// A segment with other blocks.
pub fn with_blocks(time: u64, blocks: &[Vec<u8>]) -> Vec<u8> {
    [build::live_header(), build::live_cluster(time, blocks)].concat()
}
