//! One WebM, Matroska or MP4 file out of a recording's chunks, written while they come.
//!
//! ```text
//!  chunk, gap ─► OpenSegment: taken apart by the repair ─► Output: tracks, Clusters or fragments ─► Write…
//!                 its tracks matched, its time moved               │
//!  finish ────────────────────────────────────────────────────────►┴► index or tables, the head completed ─► Assembled
//! ```
//! Packets are copied and never looked into. What is written is a pure function of the chunks and of which are missing:
//! however they are cut, and whoever went on from whichever checkpoint, the file is the same. What goes where follows the
//! same rules as merging by ffmpeg (`domain::merge`): segments one behind the other, each as long as its last packet
//! says, gaps as the repair reports them.
//!
//! A prover reads the file behind it, so that nothing is left to be read when the last chunk has come.
//!
//! Only what is not whole is held, and 16 bytes for each entry of the index. Cluster sizes are left open until they are known:
//! what is settled of a file that is still being written reads as a live one, and of Matroska nothing is written before the end that will not
//! stay.
//!
//! What it is not: it reads no chunk and writes no file. What it cannot do it says ([`Unfit`]), and ffmpeg does all of it.
//!
//! Next: `segment` (in), `clusters` (Matroska), `mp4` (MP4), `prover` (the file read back), `checkpoint` (what is written
//! down), `live` (what can be watched meanwhile).

mod block;
mod checkpoint;
mod cluster_prover;
mod clusters;
mod element;
mod head;
mod index;
mod live;
mod mp4;
mod output;
mod prover;
mod segment;
mod sums;
mod unfit;
mod writes;

use std::ops::Range;

use serde::{Deserialize, Serialize};

pub use self::{
    checkpoint::{Checkpoint, RestoreError},
    live::{Cut, Ending, Live},
    prover::Prover,
    unfit::Unfit,
    writes::{Write, Writes},
};
use self::{
    output::Output,
    segment::{OpenSegment, push_range},
    writes::ReadBack,
};
use super::{
    media::{Track, TrackKind},
    merge::{Layout, Piece, Segment, Timeline, TimelineSegment, mime_type},
};
use crate::protocol::{
    limits::CHUNKS_MAX,
    recorder::{Did, Gap, SegmentWork},
};

/// What bounds the assembler. Whoever goes on from a checkpoint goes on by the rules it began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// A new Cluster begins after so long at the latest. Unit: milliseconds.
    pub cluster_ms_max: i64,
    /// And before it has more than so many bytes.
    pub cluster_bytes_max: u64,
    /// Of a block, and of anything else that has to be seen whole. Unit: bytes.
    pub unit_bytes_max: u64,
    /// Of a segment's description of its tracks. Unit: bytes.
    pub header_bytes_max: usize,
    /// Of a fragment's data. Unit: bytes.
    pub fragment_bytes_max: u64,
    /// Samples of a fragment.
    pub fragment_samples_max: usize,
    /// Of the tables of an MP4 file. Unit: bytes.
    pub tables_bytes_max: u64,
    /// Entries of the index; from there on they become fewer.
    pub cues_max: usize,
    /// Gaps of one recording.
    pub gaps_max: usize,
    /// Segments of one recording.
    pub segments_max: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            cluster_ms_max: 5000,
            cluster_bytes_max: 4 * 1024 * 1024,
            unit_bytes_max: 4 * 1024 * 1024,
            header_bytes_max: 64 * 1024,
            fragment_bytes_max: 64 * 1024 * 1024,
            fragment_samples_max: 65_536,
            tables_bytes_max: 48 * 1024 * 1024,
            cues_max: 8192,
            gaps_max: 1000,
            segments_max: 10_000,
        }
    }
}

/// Room for heads of Clusters and blocks that have become longer.
const HEADS_BYTES: usize = 1024;

/// Assembles one recording.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Assembler {
    rules: Rules,
    /// The chunk that should come next.
    next: u32,
    /// Bytes appended so far.
    length: u64,
    segment: Option<OpenSegment>,
    output: Option<Output>,
    done: Vec<Done>,
    missing: Vec<Range<u32>>,
    gaps: Vec<Lack>,
    /// Where the next segment begins. Unit: microseconds.
    end_us: i64,
    left_out: u64,
    unfit: Option<Unfit>,
}

/// A segment that is over.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Done {
    chunks: (u32, u32),
    /// For each kind whether it had packets: the output's tracks are told by these.
    pictures: bool,
    sound: bool,
}

/// A gap in the file, its chunks as stretches.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Lack {
    from_ms: u64,
    to_ms: u64,
    missing: Vec<Range<u32>>,
}

/// What was assembled.
#[derive(Debug, Clone, PartialEq)]
pub struct Assembled {
    /// `webm`, `mkv` or `mp4`.
    pub extension: &'static str,
    /// With `codecs` (RFC 6381).
    pub mime_type: String,
    /// In the order of its tracks.
    pub codecs: Vec<String>,
    /// From the first packet to the end of the last. Unit: microseconds.
    pub duration_us: i64,
    /// Of the file.
    pub bytes: u64,
    /// How many there are, or fragments.
    pub clusters: u64,
    /// Entries of the index; stretches of samples, where there are tables.
    pub cues: usize,
    /// Chunks that are not in it.
    pub missing: Vec<u32>,
    /// Where something is missing.
    pub gaps: Vec<Gap>,
    /// What was done with each segment.
    pub work: Vec<SegmentWork>,
    /// Blocks of tracks that no header describes, and such as contradict themselves.
    pub left_out: u64,
    /// Packets of all tracks.
    pub packets: u64,
    /// Whether there is anything to see.
    pub has_pictures: bool,
}

impl Assembler {
    /// Begins with a recording's first chunk.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            next: 0,
            length: 0,
            segment: None,
            output: None,
            done: Vec::new(),
            missing: Vec::new(),
            gaps: Vec::new(),
            end_us: 0,
            left_out: 0,
            unfit: None,
        }
    }

    /// The chunk that is to come next, or be missing.
    #[must_use]
    pub fn next(&self) -> u32 {
        self.next
    }

    /// How long the file is once all writes are done. Unit: bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Up to here only the head will be patched. Unit: bytes.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.output.as_ref().and_then(Output::open_from).unwrap_or(self.length)
    }

    /// Whether there is anything to see so far.
    #[must_use]
    pub fn has_pictures(&self) -> bool {
        self.output.as_ref().is_some_and(|output| output.has(TrackKind::Video))
    }

    /// So many bytes at the file's beginning are patched at its end; 0 while it has none. [`Prover::finish`] wants them.
    #[must_use]
    pub fn head_bytes(&self) -> u64 {
        self.output.as_ref().map_or(0, Output::head_bytes)
    }

    /// What came and is not whole. Unit: bytes.
    #[must_use]
    pub fn held(&self) -> usize {
        self.segment.as_ref().map_or(0, OpenSegment::held)
    }

    /// `webm` or `mkv`; `None` while there is nothing.
    #[must_use]
    pub fn extension(&self) -> Option<&'static str> {
        self.output.as_ref().map(|output| output.family().extension())
    }

    /// Whether all of the file is read once more at its end, for the tables of MP4: then whoever completes it must have all of it.
    #[must_use]
    pub fn reads_back(&self) -> bool {
        matches!(self.output, Some(Output::Mp4(_)))
    }

    /// Whether from here on every byte that is written before the end is the one that will stand there, whoever writes it, as long as
    /// no chunk is left out. Of a file that has not begun nobody knows.
    #[must_use]
    pub fn writes_stay(&self) -> bool {
        matches!(self.output, Some(Output::Matroska(_)))
    }

    /// Whether the finished file is made of these: its beginning with all of its head, and the pieces behind it, each by its
    /// CRC-32C and its length.
    #[must_use]
    pub fn consists_of(&self, beginning: &[u8], rest: impl IntoIterator<Item = (u32, u64)>) -> bool {
        let Some(Output::Matroska(output)) = &self.output else { return false };
        let sum = output.head.sum_on(0, 0, beginning);
        let joined = |sum, (piece, bytes)| {
            crc32c::crc32c_combine(sum, piece, usize::try_from(bytes).unwrap_or(usize::MAX))
        };
        let sum = rest.into_iter().fold(sum, joined);
        sum == output.sum.whole()
    }

    /// Takes the next chunk. What it makes of it is in `writes` then, in the place of whatever was there before.
    ///
    /// # Errors
    /// Why the recording is none of the assembler's; asked again, it says the same.
    pub fn chunk(
        &mut self,
        index: u32,
        begins_segment: bool,
        bytes: &[u8],
        writes: &mut Writes,
    ) -> Result<(), Unfit> {
        self.step(writes, |assembler, out| {
            // As much goes out as comes in, most often, with what was held before and a head or two.
            out.bytes().reserve(bytes.len() + assembler.held() + HEADS_BYTES);
            assembler.try_chunk(index, begins_segment, bytes, out)
        })
    }

    /// These chunks are missing, or cannot be used. A refusal is told by the next call.
    pub fn gap(&mut self, missing: Range<u32>) {
        let gapped = self.try_gap(missing);
        self.unfit = self.unfit.take().or(gapped.err());
    }

    /// No more chunks come. Completes the file, by what is in `writes` then. `read` fills bytes with those of the file from a
    /// position on: all writes of earlier calls have been done.
    ///
    /// # Errors
    /// As [`chunk`](Self::chunk), or what `read` says.
    pub fn finish<E: From<Unfit>>(
        &mut self,
        writes: &mut Writes,
        mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<Assembled, E> {
        let mut failed = None;
        let mut disk = |at: u64, into: &mut [u8]| {
            failed = read(at, into).err();
            failed.is_none()
        };
        let finished = self.step(writes, |assembler, out| assembler.try_finish(&mut disk, out));
        match failed {
            Some(error) => Err(error),
            None => Ok(finished.and_then(|()| self.assembled())?),
        }
    }

    fn step(
        &mut self,
        out: &mut Writes,
        step: impl FnOnce(&mut Self, &mut Writes) -> Result<(), Unfit>,
    ) -> Result<(), Unfit> {
        out.begin(self.length);
        if let Some(unfit) = &self.unfit {
            return Err(unfit.clone());
        }
        let stepped = step(self, out);
        self.unfit = stepped.as_ref().err().cloned();
        if let Some(output) = &mut self.output {
            output.sum_up(out);
        }
        self.length = out.position();
        stepped
    }

    fn try_chunk(
        &mut self,
        index: u32,
        begins_segment: bool,
        bytes: &[u8],
        out: &mut Writes,
    ) -> Result<(), Unfit> {
        if index != self.next || index >= CHUNKS_MAX {
            return Err(Unfit::OutOfOrder);
        }
        self.next += 1;
        if begins_segment || index == 0 {
            self.end_segment(out)?;
            if self.done.len() >= self.rules.segments_max {
                return Err(Unfit::TooMany("segments".into()));
            }
            self.segment = Some(OpenSegment::new(index, self.end_us));
        }
        let segment = self.segment.as_mut().ok_or(Unfit::NoBeginning)?;
        segment.chunks.1 = index;
        segment.feed(bytes, &mut self.output, &self.rules, out)
    }

    fn try_gap(&mut self, missing: Range<u32>) -> Result<(), Unfit> {
        if missing.is_empty() {
            return Ok(());
        }
        if missing.start != self.next || missing.end > CHUNKS_MAX {
            return Err(Unfit::OutOfOrder);
        }
        self.next = missing.end;
        push_range(&mut self.missing, missing.clone());
        match &mut self.segment {
            Some(segment) => segment.gap(missing)?,
            None => match self.gaps.first_mut() {
                Some(before) => push_range(&mut before.missing, missing),
                None => self.gaps.push(Lack { from_ms: 0, to_ms: 0, missing: vec![missing] }),
            },
        }
        let gaps = self.gaps.len() + self.segment.as_ref().map_or(0, OpenSegment::gaps);
        if gaps > self.rules.gaps_max { Err(Unfit::TooMany("gaps".into())) } else { Ok(()) }
    }

    fn try_finish(&mut self, disk: ReadBack<'_>, out: &mut Writes) -> Result<(), Unfit> {
        self.end_segment(out)?;
        self.output.as_mut().ok_or(Unfit::Empty)?.end(self.end_us, &self.rules, disk, out)
    }

    /// The segment is over: its length is known, and where its gaps are in the file.
    fn end_segment(&mut self, out: &mut Writes) -> Result<(), Unfit> {
        let Some(mut open) = self.segment.take() else { return Ok(()) };
        open.end(&mut self.output, &self.rules, out)?;
        let tracks = &open.account.tracks;
        let of_kind = |kind| tracks.iter().filter(move |track| track.kind == kind).map(|track| track.number);
        let came = |kind| of_kind(kind).any(|number| open.account.packets.contains_key(&number));
        self.done.push(Done {
            chunks: open.chunks,
            pictures: came(TrackKind::Video),
            sound: came(TrackKind::Audio),
        });
        let segment = TimelineSegment {
            first_us: open.account.first_us(),
            length_us: open.account.length_us(),
            video: of_kind(TrackKind::Video).collect(),
            gaps: open.reports().to_vec(),
            holes: open.holes.iter().map(|hole| hole.gap).collect(),
        };
        self.left_out += open.left_out;
        let length_us = segment.length_us;
        self.gaps.extend(lacks(segment, &open));
        self.end_us = self.end_us.saturating_add(length_us);
        if self.gaps.len() > self.rules.gaps_max {
            return Err(Unfit::TooMany("gaps".into()));
        }
        Ok(())
    }

    fn assembled(&self) -> Result<Assembled, Unfit> {
        let output = self.output.as_ref().ok_or(Unfit::Empty)?;
        let used = used(output);
        let gap = |lack: &Lack| Gap {
            from_ms: lack.from_ms,
            to_ms: lack.to_ms,
            chunks: lack.missing.iter().cloned().flatten().collect(),
        };
        Ok(Assembled {
            extension: output.family().extension(),
            mime_type: mime_type(output.family(), &used),
            codecs: used.iter().map(|track| track.codec.name().to_owned()).collect(),
            duration_us: self.end_us,
            bytes: self.length,
            clusters: output.clusters(),
            cues: output.cues(),
            missing: self.missing.iter().cloned().flatten().collect(),
            gaps: self.gaps.iter().map(gap).collect(),
            work: self.done.iter().zip(0..).map(|(done, at)| work(done, at, output)).collect(),
            left_out: self.left_out,
            has_pictures: used.iter().any(|track| track.kind == TrackKind::Video),
            packets: output.written().packet_count(),
        })
    }
}

/// Tracks that had a packet.
fn used(output: &Output) -> Vec<&Track> {
    output.tracks().iter().filter(|track| output.written().packets.contains_key(&track.number)).collect()
}

/// The gaps of a segment as merging by ffmpeg tells them. Each hole stands there by its number.
fn lacks(segment: TimelineSegment, open: &OpenSegment) -> Vec<Lack> {
    let before = TimelineSegment { length_us: open.begins_us, ..TimelineSegment::default() };
    let holes = (0..open.holes.len()).map(|hole| Piece::Hole(vec![u32::try_from(hole).unwrap_or(u32::MAX)]));
    let segments = vec![Segment { pieces: Vec::new() }, Segment { pieces: holes.collect() }];
    let layout = Layout { before: Vec::new(), segments };
    let gaps = Timeline { segments: vec![before, segment] }.gaps(&layout);
    let missing = |hole: &u32| usize::try_from(*hole).ok().and_then(|hole| open.holes.get(hole));
    let lack = |gap: Gap| {
        let holes = gap.chunks.iter().filter_map(missing);
        let missing = holes.flat_map(|hole| hole.missing.iter().cloned()).collect();
        Lack { from_ms: gap.from_ms, to_ms: gap.to_ms, missing }
    };
    gaps.into_iter().map(lack).collect()
}

fn work(done: &Done, segment: u32, output: &Output) -> SegmentWork {
    let there = |kind| if kind == TrackKind::Video { done.pictures } else { done.sound };
    let tracks = output.tracks().iter().filter(|track| there(track.kind));
    let words: Vec<_> = tracks.map(|track| format!("{} copied", track.codec.name())).collect();
    let nothing = !done.pictures && !done.sound;
    let detail = if nothing { "nothing in it but a header".to_owned() } else { words.join(", ") };
    SegmentWork { segment, chunks: done.chunks, did: Did::Copied, detail }
}

#[cfg(test)]
mod hostile_sizes_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod kit;
#[cfg(test)]
mod live_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod prover_tests;
#[cfg(test)]
#[path = "assembly_tests.rs"]
mod tests;
