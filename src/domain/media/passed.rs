//! Where a repair puts what it passes on: the bytes as they come, or each part by itself.

use super::{Event, fragment::Fragment};

/// What is passed on of a file that is taken apart.
#[derive(Debug, Clone, PartialEq)]
pub enum Passed {
    /// As a reader tells it. A block's packets come before the block.
    Event(Event),
    /// How long a tick is from here on; a millisecond where nothing is said. Unit: nanoseconds.
    Scale(u64),
    /// The Tracks element.
    Tracks(Vec<u8>),
    /// A SimpleBlock or BlockGroup, as an element; without packets before it, it is of no use.
    Block(Vec<u8>),
    /// What describes the tracks of an MP4 file: the body of its moov.
    Movie(Vec<u8>),
    /// A fragment is described, whose data are to come.
    Begins {
        /// Its samples, at positions in the segment.
        fragment: Box<Fragment>,
        /// Behind its description. Unit: bytes.
        begin: u64,
    },
    /// The fragment that began last has come: those of its packets that are passed on were told before.
    Whole,
    /// An element that is none of the above, and that stands in a Cluster or, if not, directly in the Segment.
    Beside {
        /// Its id.
        id: u32,
        /// Whether it stands in a Cluster.
        in_cluster: bool,
        /// All of it.
        element: Vec<u8>,
    },
}

/// Takes what is passed on.
pub(super) enum Out<'a> {
    /// A stream that is whole again.
    Stream { bytes: &'a mut Vec<u8>, events: &'a mut Vec<Event> },
    /// Each part by itself.
    Apart(&'a mut Vec<Passed>),
}

impl Out<'_> {
    pub fn event(&mut self, event: Event) {
        match self {
            Self::Stream { events, .. } => events.push(event),
            Self::Apart(passed) => passed.push(Passed::Event(event)),
        }
    }

    pub fn bytes(&mut self, more: impl Iterator<Item = u8>) {
        match self {
            Self::Stream { bytes, .. } => bytes.extend(more),
            Self::Apart(_) => drop(more),
        }
    }

    pub fn part(&mut self, part: impl FnOnce() -> Option<Passed>) {
        if let Self::Apart(passed) = self {
            passed.extend(part());
        }
    }

    pub fn is_stream(&self) -> bool {
        matches!(self, Self::Stream { .. })
    }
}
