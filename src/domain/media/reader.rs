//! One reader over both containers.

use serde::{Deserialize, Serialize};

use super::{Container, Event, ReadError, Sink, matroska::Matroska, mp4::Mp4};

/// Reads a file or a segment as its bytes come, cut anywhere. The same bytes give the same events however they are cut.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reader {
    scanner: Scanner,
    #[serde(skip)]
    failed: Option<ReadError>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Scanner {
    Matroska(Box<Matroska>),
    Mp4(Box<Mp4>),
}

/// Calls the same method of whichever scanner it is.
macro_rules! either {
    ($scanner:expr, $it:ident => $call:expr) => {
        match $scanner {
            Scanner::Matroska($it) => $call,
            Scanner::Mp4($it) => $call,
        }
    };
}

impl Reader {
    /// Most bytes that [`held`](Self::held) ever tells; an MP4 file's index takes the most.
    pub const HELD_MAX: usize = super::mp4::HELD_MAX;

    /// Begins at the first byte.
    #[must_use]
    pub fn new(container: Container) -> Self {
        Self::of_small_units(container, u64::MAX)
    }

    /// Begins a file in which nothing that has to be seen whole has more than so many bytes: blocks, descriptions.
    pub(super) fn of_small_units(container: Container, unit_max: u64) -> Self {
        let scanner = match container {
            Container::Matroska => Scanner::Matroska(Box::new(Matroska::new(unit_max))),
            Container::Mp4 => Scanner::Mp4(Box::new(Mp4::new(unit_max))),
        };
        Self { scanner, failed: None }
    }

    /// As if so many bytes had come within a box that passes by: for the tables of an MP4 file whose media were read in
    /// another way. The last byte of the box has to be fed.
    pub(in crate::domain) fn pass_over(&mut self, bytes: u64) {
        if let Scanner::Mp4(mp4) = &mut self.scanner {
            mp4.pass_over(bytes);
        }
    }

    /// Takes the next bytes and tells what ends in them.
    ///
    /// # Errors
    /// What makes reading on impossible; asked again, it says the same.
    pub fn feed(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), ReadError> {
        self.feed_sink(bytes, events)
    }

    /// No more bytes come. Tells of packets that only then are known, and of an end within an element.
    pub fn finish(&mut self, events: &mut Vec<Event>) {
        self.finish_sink(events);
    }

    /// Whether a pipe is not enough to read this file: its media stand before what describes them. Known once the
    /// beginning of the media has come.
    #[must_use]
    pub fn needs_seeking(&self) -> bool {
        matches!(&self.scanner, Scanner::Mp4(mp4) if mp4.needs_seeking())
    }

    /// Bytes kept, for what has to be seen whole.
    #[must_use]
    pub fn held(&self) -> usize {
        either!(&self.scanner, it => it.held())
    }

    /// Bytes fed so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        either!(&self.scanner, it => it.position())
    }

    pub(super) fn feed_sink(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<(), ReadError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let read = either!(&mut self.scanner, it => it.feed(bytes, sink));
        self.failed = read.err();
        read
    }

    pub(super) fn finish_sink(&mut self, sink: &mut impl Sink) {
        if self.failed.is_none() {
            either!(&mut self.scanner, it => it.finish(sink));
        }
    }

    /// Bytes are missing here.
    pub(super) fn gap(&mut self, sink: &mut impl Sink) {
        either!(&mut self.scanner, it => it.gap(sink));
    }

    /// Where what is being read, and stands or falls as a whole, begins.
    pub(super) fn unit_begins(&self) -> u64 {
        either!(&self.scanner, it => it.unit_begins())
    }

    pub(super) fn whole(&self) -> u64 {
        either!(&self.scanner, it => it.whole())
    }
}
