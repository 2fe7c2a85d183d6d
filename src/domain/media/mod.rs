//! Reading media as it comes: Matroska (and WebM) and MP4, fed in pieces that are cut anywhere.
//!
//! ```text
//!  chunks ──► Repair ──► the bytes for ffmpeg                       result ──► Reader ──► Event… ──► Summary
//!               └─────► Event… ──► Summary: what went in                          what came out
//! ```
//! What it is not: a demuxer. Payloads pass by and are never kept longer than the repair of a gap needs; nothing is
//! decoded. All state is plain data with stated bounds ([`Reader::held`]), whatever the bytes say.
//!
//! Next: `matroska` and `mp4` (the two scanners), [`Repair`] (what is cut and where it resumes), [`Summary`] (what is
//! compared afterwards).

pub(super) mod boxes;
pub(super) mod ebml;
pub(super) mod fragment;
mod held_back;
mod hunt;
mod matroska;
mod matroska_block;
mod matroska_header;
mod matroska_schema;
mod matroska_state;
pub(super) mod moov;
mod mp4;
mod mp4_state;
mod notes;
mod passed;
mod reader;
mod repair;
pub(super) mod sample_tables;
mod summary;
#[cfg(test)]
pub(crate) mod test_media;
mod track;

use serde::{Deserialize, Serialize};

pub use self::{
    passed::{Passed, Stretch},
    reader::Reader,
    repair::{GapReport, Repair, TrackCount},
    summary::{Summary, TrackSummary},
    track::{Codec, Track, TrackKind},
};

/// How a file holds its packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Container {
    /// Matroska or WebM (RFC 9559).
    Matroska,
    /// ISO base media (ISO 14496-12), whole or in fragments.
    Mp4,
}

/// What the first bytes of a file say it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sniff {
    /// It begins as this container does.
    Media(Container),
    /// It begins as neither does.
    NotMedia,
    /// It may yet be one: eight bytes decide.
    TooShort,
}

/// Judges the beginning of a file. Says [`Sniff::TooShort`] only while what is there fits a container.
#[must_use]
pub fn sniff(head: &[u8]) -> Sniff {
    const EBML: [u8; 4] = ebml::EBML.to_be_bytes();
    const FTYP: [u8; 4] = *b"ftyp";
    if head.starts_with(&EBML) {
        return Sniff::Media(Container::Matroska);
    }
    let kind = head.get(4..).unwrap_or_default();
    // A first box is small: of its length only the two lower bytes may be set.
    let small = head.iter().take(2).all(|byte| *byte == 0);
    if small && kind.starts_with(&FTYP) {
        return Sniff::Media(Container::Mp4);
    }
    if EBML.starts_with(head) || (small && FTYP.starts_with(kind)) {
        Sniff::TooShort
    } else {
        Sniff::NotMedia
    }
}

/// One frame of video or one packet of audio, whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// The track's number as in the file.
    pub track: u32,
    /// When it is presented, in microseconds from the beginning of the file; an encoder's delay is taken off, so it
    /// may lie before 0.
    pub time_us: i64,
    /// For how long, where the file or the packet says so.
    pub duration_us: Option<u64>,
    /// Whether decoding can begin here.
    pub keyframe: bool,
    /// Of the payload.
    pub bytes: u32,
}

/// What a reader finds, in the order of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// The header is read. Comes once, before any packet.
    Tracks(Vec<Track>),
    /// How long the file says it is. May come after the packets.
    Duration {
        /// Microseconds.
        us: u64,
    },
    /// A Cluster or a movie fragment begins.
    Cluster {
        /// Of its first byte; bytes fed before it.
        position: u64,
        /// Its own time.
        time_us: i64,
    },
    /// A packet is whole.
    Packet(Packet),
    /// An entry of the index of a Matroska file.
    Cue {
        /// The time it leads to.
        time_us: i64,
        /// The track it is for.
        track: u32,
        /// Where the Cluster should begin.
        position: u64,
    },
    /// An MP4 file whose media stand before what describes them: a pipe cannot be read, a file can.
    NeedsSeeking,
    /// Something does not hold together; reading goes on.
    Damaged {
        /// Where, about.
        position: u64,
        /// In a few words. They are not written down.
        #[serde(skip)]
        what: &'static str,
    },
}

/// Why reading cannot go on. The reader stays at this and says it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The bytes do not begin as the container does, or as one that can be read.
    #[error("not the container it was taken for: {0}")]
    NotMedia(&'static str),
    /// Something that has to be kept is larger than may be kept.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What is.
        what: &'static str,
        /// Bytes that are allowed.
        limit: u64,
    },
    /// There is more of something than is kept track of.
    #[error("more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        limit: u64,
    },
}

/// What a scanner tells [`Repair`] beyond events.
trait Sink {
    fn event(&mut self, event: Event);
    /// Something that stands or falls as a whole ended: the packets since the last unit are its own.
    fn unit(&mut self, _unit: Unit) {}
    /// From here on nothing is understood; what began at `position` will not become whole. `owed` bytes more were
    /// promised by what was open there and was already whole enough to pass on.
    fn lost(&mut self, _position: u64, _owed: u64) {}
    /// It is understood again from here on.
    fn found(&mut self, _position: u64) {}
}

impl Sink for Vec<Event> {
    fn event(&mut self, event: Event) {
        self.push(event);
    }
}

/// A part of the file that can be taken out by a mark in its first bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Unit {
    /// A SimpleBlock or BlockGroup.
    Block { start: u64, end: u64 },
    /// What describes the tracks of an MP4 file, without its header.
    Movie { start: u64, end: u64 },
    /// A moof was read. Its samples may stand from `begin` on.
    Begins { fragment: Box<fragment::Fragment>, begin: u64 },
    /// A moof, from its first byte, with what belongs to it.
    Fragment(Box<FragmentUnit>),
    /// Packets of a file that is not in fragments.
    Passing,
    /// The description of the tracks of a Matroska file.
    Tracks { start: u64, end: u64 },
    /// How long a tick is, in nanoseconds, from here on.
    Scale(u64),
    /// An element in a Cluster that is no block.
    InCluster { id: u32, start: u64, end: u64 },
    /// An element or box beside the media, such as an index; of a box the id is 0.
    Other { id: u32, start: u64, end: u64 },
}

/// Where what a repair may have to change stands in a movie fragment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct FragmentUnit {
    start: u64,
    /// Each track with the position of its `traf` box.
    trafs: Vec<(u32, u64)>,
    /// Positions of absolute base data offsets, with their values relative to the moof.
    bases: Vec<(u64, u64)>,
}

/// `ticks` of a `timescale` in microseconds; a scale of 0 counts as 1.
pub(super) fn ticks_to_us(ticks: i64, timescale: u32) -> i64 {
    let us = i128::from(ticks) * 1_000_000 / i128::from(timescale.max(1));
    i64::try_from(us).unwrap_or(if us < 0 { i64::MIN } else { i64::MAX })
}

/// Bytes as a number, the first the highest; the last eight count.
pub(super) fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

#[cfg(test)]
#[path = "media_tests.rs"]
mod tests;
