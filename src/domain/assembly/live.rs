//! What can be watched of a recording that is still being put together.
//!
//! ```text
//!  head │ Cluster … Cluster │ open Cluster         the file that grows
//!  └───── settled ──────────┘                      played as it is, as a stream that has no end yet
//!  head, completed │ settled, up to a cut │ index  played as a file of its own, which has its length and seeks at once
//! ```
//! MP4 is in fragments while it comes, and has its index only when it is over: as a stream it is played from its beginning on.
//!
//! What is settled never changes again but for the head, and is the same at every node. So is the file up to a cut: whoever is
//! asked for a part of it needs nothing but the cut, and to be as far.

use super::{
    Assembler,
    head::Head,
    index::{Cue, Index},
    output::Output,
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
    /// So many of these bytes describe the tracks.
    pub head_bytes: u64,
    /// Of Matroska: what makes a file of it.
    matroska: Option<(Head, Index)>,
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
    pub patches: Vec<(u64, Vec<u8>)>,
    /// Stands at the cut.
    pub index: Vec<u8>,
}

impl Assembler {
    /// What makes a file grow again that was completed: positions, with the bytes that stood there before. All are in its head.
    #[must_use]
    pub fn reopening(&self) -> Vec<(u64, Vec<u8>)> {
        self.output.iter().flat_map(Output::begun).collect()
    }

    /// What can be watched so far; `None`: nothing.
    #[must_use]
    pub fn live(&self) -> Option<Live> {
        let output = self.output.as_ref()?;
        let (bytes, head_bytes) = (self.settled(), output.head_bytes());
        if bytes <= head_bytes {
            return None;
        }
        let last_us = output.written().packets.values().map(|account| account.last_us).max();
        let (open_ms, matroska) = match output {
            Output::Matroska(clusters) => {
                (clusters.open_time_ms(), Some((clusters.head, clusters.index.clone())))
            }
            Output::Mp4(_) => (None, None),
        };
        let time_ms = open_ms.or(last_us.map(|us| us / 1000));
        Some(Live {
            mime_type: mime_type(output.family(), &used(output)),
            bytes,
            duration_ms: time_ms.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0),
            head_bytes,
            matroska,
        })
    }
}

impl Live {
    /// Times in milliseconds, and where in the file a player begins for them.
    #[must_use]
    pub fn places(&self) -> Vec<(u32, u64)> {
        let Some((head, index)) = &self.matroska else { return vec![(0, self.head_bytes)] };
        let places = cues(head, index, self.bytes, 1);
        places.map(|(time, _, position)| (*time, position + head.segment_data)).collect()
    }

    /// The cut of everything there is.
    #[must_use]
    pub fn cut(&self) -> Cut {
        let every = self.matroska.as_ref().map_or(1, |(_, index)| index.every());
        Cut { bytes: self.bytes, duration_ms: self.duration_ms, every }
    }

    /// What makes a file up to this cut. `None`: it is not as far, or its index has become coarser since.
    #[must_use]
    pub fn ending(&self, cut: Cut) -> Option<Ending> {
        if !(self.head_bytes..=self.bytes).contains(&cut.bytes) {
            return None;
        }
        let duration_us = i64::try_from(cut.duration_ms).ok()?.checked_mul(1000)?;
        let mut ending = Ending { patches: Vec::new(), index: Vec::new() };
        if let Some((head, index)) = &self.matroska {
            let coarser = usize::try_from(cut.every.checked_div(index.every())?).ok()?;
            if coarser == 0 {
                return None;
            }
            Index::put_cues(cues(head, index, cut.bytes, coarser), &mut ending.index);
            let end = cut.bytes + ending.index.len() as u64;
            ending.patches = head.completed(cut.bytes, duration_us, end).into();
        }
        Some(ending)
    }
}

/// Those that lead to before this place, and of so many one.
fn cues<'a>(head: &Head, index: &'a Index, end: u64, step: usize) -> impl Iterator<Item = &'a Cue> {
    let end = end - head.segment_data.min(end);
    index.cues().iter().step_by(step).take_while(move |(_, _, position)| *position < end)
}
