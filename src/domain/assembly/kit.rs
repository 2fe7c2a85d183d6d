//! What the tests share: streams, the file that writes make, and what a reader finds in it.

use super::{Assembled, Assembler, Checkpoint, Prover, Rules, Unfit, Write, Writes};
use crate::domain::{
    media::{Container, Event, Packet, Reader, Sniff, Summary, sniff, test_media as build},
    merge::Difference,
};

/// The file that writes make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disk(pub Vec<u8>);

impl Disk {
    pub fn write(&mut self, writes: &Writes) {
        for write in writes.iter() {
            match write {
                Write::Append(bytes) => self.0.extend_from_slice(bytes),
                Write::Skip(count) => self.0.resize(self.0.len() + count, 0),
                Write::Patch { at, bytes } => self.patch(at, bytes),
            }
        }
    }

    pub fn patch(&mut self, at: u64, bytes: &[u8]) {
        let at = usize::try_from(at).unwrap();
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Its head becomes what it was before it was completed.
    pub fn reopen(&mut self, assembler: &Assembler) {
        assembler.reopening().iter().for_each(|(at, bytes)| self.patch(*at, bytes));
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

/// A recording that is assembled, and proven as its file grows.
#[derive(Debug, Clone)]
pub struct Running {
    pub disk: Disk,
    pub state: Checkpoint,
    /// The same for every call, as with whoever has no memory to give away.
    writes: Writes,
}

impl Running {
    pub fn new(rules: Rules) -> Self {
        Self { disk: Disk::default(), state: Checkpoint::new(rules), writes: Writes::default() }
    }

    pub fn step(&mut self, step: &Step<'_>) -> Result<(), Unfit> {
        let assembler = &mut self.state.assembler;
        let next = assembler.next();
        let taken = match step {
            Step::Chunk(begins, bytes) => {
                let taken = assembler.chunk(next, *begins, bytes, &mut self.writes);
                self.disk.write(&self.writes);
                taken
            }
            Step::Gap(count) => {
                assembler.gap(next..next + count);
                Ok(())
            }
        };
        assert_eq!(self.state.assembler.length(), self.disk.0.len() as u64);
        taken
    }

    pub fn finish(&mut self) -> Result<Assembled, Unfit> {
        let disk = &self.disk.0;
        let assembled = self.state.assembler.finish(&mut self.writes, |at, into| {
            let at = usize::try_from(at).unwrap();
            into.copy_from_slice(&disk[at..at + into.len()]);
            Ok::<_, Unfit>(())
        });
        self.disk.write(&self.writes);
        assembled
    }

    /// Reads as far as may be read, in pieces of so many bytes.
    pub fn prove(&mut self, size: usize) -> Result<(), Difference> {
        while self.state.prover.read() < self.state.assembler.settled() {
            self.prove_piece(size)?;
        }
        Ok(())
    }

    /// Reads so many bytes, or as many as may be read; the head at once.
    pub fn prove_piece(&mut self, size: usize) -> Result<(), Difference> {
        let Checkpoint { assembler, prover } = &mut self.state;
        let at = |position: u64| usize::try_from(position).unwrap();
        let unread = &self.disk.0[at(prover.read())..at(assembler.settled())];
        let head = if size == 0 { 0 } else { at(assembler.head_bytes().saturating_sub(prover.read())) };
        prover.feed(&unread[..unread.len().min(size.max(head))], assembler)
    }

    /// Reads what is left, and says whether the file is proven.
    pub fn proven(mut self) -> Result<(), Difference> {
        self.prove(1000)?;
        let Checkpoint { assembler, prover } = self.state;
        prover.finish(&self.disk.0[..usize::try_from(assembler.head_bytes()).unwrap()], &assembler)
    }

    /// Whether it is proven by who sees these bytes as the file, and only once it is finished.
    pub fn proves_whole(&self, bytes: &[u8]) -> bool {
        let mut other = self.clone();
        other.disk = Disk(bytes.to_vec());
        other.state.prover = Prover::new();
        bytes.len() == self.disk.0.len() && other.proven().is_ok()
    }

    /// Another one goes on from what was written down.
    pub fn restore(&mut self) {
        self.state = Checkpoint::restore(&self.state.save()).unwrap();
    }
}

/// What can be assembled is proven too: as it grows, and once it is whole.
pub fn run(rules: Rules, steps: &[Step<'_>]) -> (Disk, Result<Assembled, Unfit>) {
    let mut running = Running::new(rules);
    for step in steps {
        // An error stays, so it is told at the end too.
        if running.step(step).is_ok() {
            running.prove(1000).unwrap();
        }
    }
    let assembled = running.finish();
    if assembled.is_ok() {
        assert!(running.proves_whole(&running.disk.0));
        running.clone().proven().unwrap();
    }
    (running.disk, assembled)
}

/// Assembles whole segments.
pub fn assemble(segments: &[&[u8]]) -> (Disk, Result<Assembled, Unfit>) {
    let steps: Vec<_> = segments.iter().map(|bytes| Step::Chunk(true, bytes)).collect();
    run(Rules::default(), &steps)
}

/// Assembles what can be.
pub fn good(steps: &[Step<'_>]) -> (Disk, Assembled) {
    let (disk, assembled) = run(Rules::default(), steps);
    (disk, assembled.unwrap())
}

/// What a reader finds.
pub fn read(bytes: &[u8]) -> (Summary, Vec<Packet>) {
    let container = match sniff(bytes) {
        Sniff::Media(container) => container,
        Sniff::NotMedia | Sniff::TooShort => Container::Matroska,
    };
    let (mut reader, mut events) = (Reader::new(container), Vec::new());
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

/// The same in fragments of half a second: pictures and sound every 20 ms.
pub fn in_fragments(halves: u32) -> Vec<u8> {
    let fragment = |half: u32| {
        let sizes: Vec<_> = (0..25).map(|at| 5 + (half + at) % 9).collect();
        build::fragment(half + 1, half * 500, half.is_multiple_of(2), &sizes, None)
    };
    [build::ftyp(), build::moov(), (0..halves).flat_map(fragment).collect()].concat()
}

/// A segment with other blocks.
pub fn with_blocks(time: u64, blocks: &[Vec<u8>]) -> Vec<u8> {
    [build::live_header(), build::live_cluster(time, blocks)].concat()
}
