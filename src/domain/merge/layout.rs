//! Which chunk belongs to which segment, and what is missing where.

use std::collections::BTreeSet;

use crate::protocol::chunk::{ChunkIndex, ChunkMark};

/// A stored chunk, as a plan knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedChunk {
    /// Its place.
    pub index: ChunkIndex,
    /// What was noted when it came.
    pub mark: ChunkMark,
}

/// Part of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Its bytes go on from those before.
    Chunk(PlannedChunk),
    /// Here these indices are missing or of no use; never empty.
    Hole(Vec<u32>),
}

/// One life of a recorder: what it made, in order, beginning with the chunk that holds the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Never empty; the first is a chunk, and no two holes stand side by side. A hole at the end may have been its own or
    /// another's beginning: nothing can tell.
    pub pieces: Vec<Piece>,
}

impl Segment {
    /// Its chunks, in order.
    pub fn chunks(&self) -> impl DoubleEndedIterator<Item = &PlannedChunk> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Chunk(chunk) => Some(chunk),
            Piece::Hole(_) => None,
        })
    }

    /// Its first and its last chunk.
    #[must_use]
    pub fn range(&self) -> (u32, u32) {
        let end = |chunk: Option<&PlannedChunk>| chunk.map_or(0, |chunk| chunk.index.get());
        (end(self.chunks().next()), end(self.chunks().next_back()))
    }

    /// Of its chunks. Unit: bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.chunks().map(|chunk| u64::from(chunk.mark.length)).sum()
    }
}

/// All chunks of a recording, each in its place: in a segment exactly once and in order, or in a hole (M-1), and every
/// index that is missing in exactly one hole (M-2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// What is lost before the first segment.
    pub before: Vec<u32>,
    /// In order.
    pub segments: Vec<Segment>,
}

impl Layout {
    /// Lays out `chunks`, which are in order of index. Indices below `expected` that are not among them are missing;
    /// those in `unusable` are taken as missing, and voids are no chunks.
    ///
    /// A segment whose first chunk is missing cannot be used, however much of it is there. That a first chunk is
    /// missing shows by its mark, where it was stored once, or by the recorder's clock that begins anew behind the
    /// hole.
    #[must_use]
    pub fn of(
        chunks: impl IntoIterator<Item = PlannedChunk>,
        expected: u32,
        unusable: &BTreeSet<u32>,
    ) -> Self {
        let mut builder = Builder::default();
        for chunk in chunks {
            builder.missing_up_to(chunk.index.get());
            if chunk.mark.is_void() {
                // Nothing was ever there: what comes after it goes on from what came before.
                builder.next = chunk.index.get().saturating_add(1);
                continue;
            }
            builder.take(chunk, unusable.contains(&chunk.index.get()));
        }
        builder.missing_up_to(expected);
        builder.done()
    }

    /// Every index that is in no segment, rising.
    #[must_use]
    pub fn missing(&self) -> Vec<u32> {
        let holes =
            self.segments.iter().flat_map(|segment| &segment.pieces).filter_map(|piece| match piece {
                Piece::Chunk(_) => None,
                Piece::Hole(indices) => Some(indices),
            });
        self.before.iter().chain(holes.flatten()).copied().collect()
    }

    /// Of all chunks in segments. Unit: bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(Segment::bytes).sum()
    }
}

#[derive(Default)]
struct Builder {
    layout: Layout,
    /// The index that should come next.
    next: u32,
    hole: Vec<u32>,
    /// The first chunk of a segment was lost: nothing helps until another one begins.
    headless: bool,
    /// Of the latest chunk in the segment that said one.
    timecode_ms: Option<u32>,
}

impl Builder {
    fn missing_up_to(&mut self, index: u32) {
        self.hole.extend(self.next..index);
        self.next = self.next.max(index);
    }

    fn take(&mut self, chunk: PlannedChunk, unusable: bool) {
        let index = chunk.index.get();
        self.next = index.saturating_add(1);
        let is_first = self.layout.segments.is_empty() && self.hole.is_empty();
        let begins = is_first || chunk.mark.begins_segment;
        if unusable {
            self.headless |= begins;
            self.hole.push(index);
        } else if begins {
            self.begin(chunk);
        } else if self.has_lost_its_head(&chunk) {
            self.headless = true;
            self.hole.push(index);
        } else {
            self.go_on(chunk);
        }
    }

    fn has_lost_its_head(&self, chunk: &PlannedChunk) -> bool {
        let clock_fell =
            || chunk.mark.timecode_ms.zip(self.timecode_ms).is_some_and(|(now, before)| now < before);
        self.headless || self.layout.segments.is_empty() || (!self.hole.is_empty() && clock_fell())
    }

    fn begin(&mut self, chunk: PlannedChunk) {
        self.settle_hole();
        self.headless = false;
        self.timecode_ms = chunk.mark.timecode_ms;
        self.layout.segments.push(Segment { pieces: vec![Piece::Chunk(chunk)] });
    }

    fn go_on(&mut self, chunk: PlannedChunk) {
        self.settle_hole();
        self.timecode_ms = chunk.mark.timecode_ms.or(self.timecode_ms);
        if let Some(segment) = self.layout.segments.last_mut() {
            segment.pieces.push(Piece::Chunk(chunk));
        }
    }

    fn settle_hole(&mut self) {
        let hole = std::mem::take(&mut self.hole);
        match self.layout.segments.last_mut() {
            _ if hole.is_empty() => {}
            Some(segment) => segment.pieces.push(Piece::Hole(hole)),
            None => self.layout.before = hole,
        }
    }

    fn done(mut self) -> Layout {
        self.settle_hole();
        self.layout
    }
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
