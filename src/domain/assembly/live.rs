//! What can be watched of a recording that is still being put together.
//!
//! ```text
//!  head │ Cluster … Cluster │ open Cluster         the file that grows
//!  └───── settled ──────────┘                      played as it is, as a stream that has no end yet
//!  head, completed │ settled, up to a cut │ index  played as a file of its own, which has its length and seeks at once
//! ```
//! What is settled never changes again but for the head, and is the same at every node. So is the file up to a cut: whoever is
//! asked for a part of it needs nothing but the cut, and to be as far.

use super::{
    Assembler,
    head::Head,
    index::{Cue, Index},
    used,
};
use crate::domain::merge::mime_type;

/// A recording as far as it can be watched.
#[derive(Debug, Clone)]
pub struct Live {
    /// With `codecs` (RFC 6381).
    pub mime_type: String,
    /// Which can be read. Unit: bytes from the file's beginning.
    pub bytes: u64,
    /// How long that is. Unit: milliseconds.
    pub duration_ms: u64,
    head: Head,
    index: Index,
}

/// Up to where a recording is watched as a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Behind a Cluster. Unit: bytes from the file's beginning.
    pub bytes: u64,
    /// As the file's duration. Unit: milliseconds.
    pub duration_ms: u64,
    /// Of so many places that the index could lead to it has one.
    pub every: u64,
}

/// What is other in a file up to a cut than in the one that grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Positions, with the bytes that stand there, in order; within the head.
    pub patches: [(u64, Vec<u8>); 3],
    /// Stands at the cut.
    pub index: Vec<u8>,
}

impl Assembler {
    /// What can be watched so far; `None`: nothing.
    #[must_use]
    pub fn live(&self) -> Option<Live> {
        let output = self.output.as_ref()?;
        let bytes = self.settled();
        if bytes <= output.head.bytes {
            return None;
        }
        let last_us = output.written.packets.values().map(|account| account.last_us).max();
        let time_ms = output.open_time_ms().or(last_us.map(|us| us / 1000));
        Some(Live {
            mime_type: mime_type(output.family, &used(output)),
            bytes,
            duration_ms: time_ms.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0),
            head: output.head,
            index: output.index.clone(),
        })
    }
}

impl Live {
    /// So many bytes describe the tracks.
    #[must_use]
    pub fn head_bytes(&self) -> u64 {
        self.head.bytes
    }

    /// Times in milliseconds, and where in the file a player begins for them.
    pub fn places(&self) -> impl Iterator<Item = (u32, u64)> {
        self.cues(self.bytes, 1).map(|(time, _, position)| (*time, position + self.head.segment_data))
    }

    /// The cut of everything there is.
    #[must_use]
    pub fn cut(&self) -> Cut {
        Cut { bytes: self.bytes, duration_ms: self.duration_ms, every: self.index.every() }
    }

    /// What makes a file up to this cut. `None`: it is not as far, or its index has become coarser since.
    #[must_use]
    pub fn ending(&self, cut: Cut) -> Option<Ending> {
        let is_there = (self.head.bytes..=self.bytes).contains(&cut.bytes);
        let coarser = cut.every.checked_div(self.index.every())?;
        let coarser = usize::try_from(coarser).ok().filter(|step| *step > 0 && is_there)?;
        let duration_us = i64::try_from(cut.duration_ms).ok()?.checked_mul(1000)?;
        let mut index = Vec::new();
        Index::put_cues(self.cues(cut.bytes, coarser), &mut index);
        let patches = self.head.completed(cut.bytes, duration_us, cut.bytes + index.len() as u64);
        Some(Ending { patches, index })
    }

    fn cues(&self, end: u64, step: usize) -> impl Iterator<Item = &Cue> {
        let end = end - self.head.segment_data.min(end);
        self.index.cues().iter().step_by(step).take_while(move |(_, _, position)| *position < end)
    }
}
