//! Where a repair puts what it passes on: the bytes as they come, or each part by itself.

use std::borrow::Cow;

use super::{Event, fragment::Fragment};

/// Bytes of a segment, and where they stand in it.
#[derive(Debug, Clone, Copy)]
pub struct Stretch<'a> {
    /// Of the first. Unit: bytes from the segment's beginning.
    pub at: u64,
    /// They themselves.
    pub bytes: &'a [u8],
}

impl<'a> Stretch<'a> {
    /// Those from this position on.
    pub(super) fn from(self, position: u64) -> &'a [u8] {
        let passed = usize::try_from(position.saturating_sub(self.at)).unwrap_or(usize::MAX);
        self.bytes.get(passed..).unwrap_or_default()
    }
}

/// What is passed on of a file that is taken apart; of the bytes that came with it, where it is whole in them.
#[derive(Debug, Clone, PartialEq)]
pub enum Passed<'a> {
    /// As a reader tells it. A block's packets come before the block.
    Event(Event),
    /// How long a tick is from here on; a millisecond where nothing is said. Unit: nanoseconds.
    Scale(u64),
    /// The Tracks element.
    Tracks(Cow<'a, [u8]>),
    /// A SimpleBlock or BlockGroup, as an element; without packets before it, it is of no use.
    Block(Cow<'a, [u8]>),
    /// What describes the tracks of an MP4 file: the body of its moov.
    Movie(Cow<'a, [u8]>),
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
        element: Cow<'a, [u8]>,
    },
}

/// Takes what is passed on.
pub(super) enum Out<'o, 'a> {
    /// A stream that is whole again.
    Stream { bytes: &'o mut Vec<u8>, events: &'o mut Vec<Event> },
    /// Each part by itself.
    Apart(&'o mut Vec<Passed<'a>>),
}

impl<'a> Out<'_, 'a> {
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

    pub fn part(&mut self, part: impl FnOnce() -> Option<Passed<'a>>) {
        if let Self::Apart(passed) = self {
            passed.extend(part());
        }
    }

    pub fn is_stream(&self) -> bool {
        matches!(self, Self::Stream { .. })
    }
}
