//! What stands between the stored chunks of one segment and ffmpeg.
//!
//! ```text
//!  chunk 0 … 6   ──► the very same bytes, a block behind
//!  gap()         ──► the block that was cut is left out
//!  chunk 8 …     ──► nothing, until a Cluster (a moof) that fits; from there on all audio,
//!                    and of each video track nothing before its keyframe
//! ```
//! Without the last step decoders show wrong pictures for seconds and nobody is told. What is taken out of a Cluster
//! becomes a Void, out of a fragment a free box: everything else stays where it is, and sizes stay true.
//!
//! Or it takes a segment apart ([`Repair::take_apart`]): by the same rules, each block by itself; of fragments it is told
//! what they describe and when they are whole, and their data are nobody's but the caller's.
//!
//! It holds back what is not whole: a block, or a fragment with its data. A file that is not in fragments passes as it
//! is; behind a gap nothing of it can be understood.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Container, Event, FragmentUnit, Packet, Passed, ReadError, Reader, Stretch, TrackKind, Unit,
    held_back::HeldBack, notes::Note, passed::Out,
};

/// Most bytes that are held back. A fragment of ten seconds at 50 Mbit/s is as large as this.
const BACK_MAX: usize = 64 * 1024 * 1024;
/// What stands in front of a block or fragment, with its size.
const HEAD_MAX: usize = 16;
/// Room for what the reader notes of the next bytes, which stays.
const NOTES_KEPT: usize = 256;
/// Most bytes of all Voids that complete Clusters whose rest is missing.
const PAD_MAX: u64 = 64 * 1024 * 1024;
/// An EBML Void element's id.
const VOID: u8 = 0xec;

/// Passes on a segment's bytes and what they hold.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Repair {
    reader: Reader,
    /// Bytes that were not passed on yet, and how many they may be.
    back: HeldBack,
    back_max: usize,
    /// Bytes passed on, and of them those that were made up.
    passed: u64,
    padded: u64,
    #[serde(skip)]
    notes: Vec<Note>,
    /// What waits until it is known whether the bytes it came from are passed on.
    pending: Vec<Event>,
    media: Vec<(u32, TrackKind)>,
    counts: BTreeMap<u32, TrackCount>,
    gaps: Vec<GapReport>,
    /// Video tracks that have to begin with a keyframe.
    waiting: Vec<u32>,
    hunting: bool,
    /// Something is missing in what was passed on, so positions in it are not those of the segment.
    moved: bool,
    /// Nothing that follows can be put behind what was passed on.
    over: bool,
}

/// What a track came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackCount {
    /// Packets that were passed on.
    pub passed: u64,
    /// Packets that were whole and were not passed on.
    pub dropped: u64,
    /// Of the latest packet that was passed on.
    pub last_us: Option<i64>,
}

/// What one gap did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapReport {
    /// Time of the last whole packet before it, in microseconds; none where the media had not begun.
    pub from_us: Option<i64>,
    /// Time at which the last of the tracks has resumed; none where none did. Exact once all have, or at the end.
    pub to_us: Option<i64>,
    /// Each track that has resumed, with the time of its first packet.
    pub resumed: Vec<(u32, i64)>,
    /// Whole packets that were dropped because their video had no keyframe yet.
    pub dropped: u64,
    /// The bytes themselves were damaged; nobody had said that any are missing.
    pub damaged: bool,
}

impl Repair {
    /// Most bytes that [`held`](Self::held) ever tells between calls.
    pub const HELD_MAX: usize = Reader::HELD_MAX + BACK_MAX;

    /// Begins at the first byte of a segment.
    #[must_use]
    pub fn new(container: Container) -> Self {
        Self::with(Reader::new(container), BACK_MAX)
    }

    /// Begins at the first byte of a segment that is to be taken apart. A block, or a description, may have so many bytes,
    /// and no more is held back.
    #[must_use]
    pub fn apart(container: Container, unit_bytes_max: u64) -> Self {
        let back_max =
            usize::try_from(unit_bytes_max).unwrap_or(BACK_MAX).saturating_add(HEAD_MAX).min(BACK_MAX);
        Self::with(Reader::of_small_units(container, unit_bytes_max), back_max)
    }

    fn with(reader: Reader, back_max: usize) -> Self {
        Self {
            reader,
            back: HeldBack::default(),
            back_max,
            passed: 0,
            padded: 0,
            notes: Vec::new(),
            pending: Vec::new(),
            media: Vec::new(),
            counts: BTreeMap::new(),
            gaps: Vec::new(),
            waiting: Vec::new(),
            hunting: false,
            moved: false,
            over: false,
        }
    }

    /// Takes the next bytes. Appends to `out` what may be passed on, and to `events` what that holds; positions in
    /// them are those of the bytes fed.
    ///
    /// # Errors
    /// What the reader says, or a block or fragment of more than 64 MiB. What was passed on before stands.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        events: &mut Vec<Event>,
    ) -> Result<(), ReadError> {
        self.take(bytes, &mut Out::Stream { bytes: out, events })?;
        self.is_bounded()
    }

    /// What says how large it is is refused as it begins; what does not, once it is too large.
    fn is_bounded(&self) -> Result<(), ReadError> {
        if self.back.len() > self.back_max {
            return Err(ReadError::TooLarge { what: "a block or fragment", limit: self.back_max as u64 });
        }
        Ok(())
    }

    /// Takes the next bytes. Appends to `passed` what is whole and may be passed on; what completes a Cluster is not made
    /// up.
    ///
    /// # Errors
    /// What the reader says, or something larger than was allowed. What was passed on before stands.
    pub fn take_apart<'a>(&mut self, bytes: &'a [u8], passed: &mut Vec<Passed<'a>>) -> Result<(), ReadError> {
        let came = Stretch { at: self.position(), bytes };
        let read = self.reader.feed_sink(bytes, &mut self.notes);
        self.settle(false, came, &mut Out::Apart(passed));
        read.and_then(|()| self.is_bounded())
    }

    fn take(&mut self, bytes: &[u8], out: &mut Out<'_, '_>) -> Result<(), ReadError> {
        let read = self.reader.feed_sink(bytes, &mut self.notes);
        self.back.extend(bytes);
        self.settle(false, self.nothing(), out);
        read
    }

    /// Chunks are missing here.
    pub fn gap(&mut self, out: &mut Vec<u8>, events: &mut Vec<Event>) {
        self.skip(&mut Out::Stream { bytes: out, events });
    }

    /// Chunks are missing here, of a segment that is taken apart.
    pub fn gap_apart(&mut self) {
        // What was whole has been passed on when its last byte came.
        self.skip(&mut Out::Apart(&mut Vec::new()));
    }

    fn skip(&mut self, out: &mut Out<'_, '_>) {
        self.reader.gap(&mut self.notes);
        self.settle(true, self.nothing(), out);
        self.discard_to(self.reader.position());
        if let Some(gap) = self.gaps.last_mut().filter(|gap| gap.resumed.is_empty()) {
            gap.damaged = false;
        }
    }

    /// No more bytes come. What is not whole is left out.
    pub fn finish(&mut self, out: &mut Vec<u8>, events: &mut Vec<Event>) {
        self.end(&mut Out::Stream { bytes: out, events });
    }

    /// No more bytes come of a segment that is taken apart. What is not whole is left out.
    pub fn finish_apart(&mut self, passed: &mut Vec<Passed<'_>>) {
        self.end(&mut Out::Apart(passed));
    }

    fn end(&mut self, out: &mut Out<'_, '_>) {
        self.reader.finish_sink(&mut self.notes);
        let cut = self.notes.iter().any(|note| matches!(note, Note::Event(Event::Damaged { .. })));
        self.settle(false, self.nothing(), out);
        if !cut && !self.hunting {
            self.release_to(self.reader.position(), out);
            self.flush(out);
        }
        self.back = HeldBack::default();
        for gap in &mut self.gaps {
            gap.to_us = gap.resumed.iter().map(|(_, time_us)| *time_us).max();
        }
    }

    /// Each gap, in order.
    #[must_use]
    pub fn gaps(&self) -> &[GapReport] {
        &self.gaps
    }

    /// What each track came to, by its number.
    #[must_use]
    pub fn counts(&self) -> &BTreeMap<u32, TrackCount> {
        &self.counts
    }

    /// Bytes taken so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.reader.position()
    }

    /// As [`Reader::needs_seeking`].
    #[must_use]
    pub fn needs_seeking(&self) -> bool {
        self.reader.needs_seeking()
    }

    /// Bytes kept.
    #[must_use]
    pub fn held(&self) -> usize {
        self.reader.held() + self.back.len()
    }

    /// No bytes came.
    fn nothing(&self) -> Stretch<'static> {
        Stretch { at: self.position(), bytes: &[] }
    }

    /// Acts on what the reader noted, and passes on what is whole. `came`: what stands behind that which is held back.
    fn settle<'a>(&mut self, told: bool, came: Stretch<'a>, out: &mut Out<'_, 'a>) {
        let mut notes = std::mem::take(&mut self.notes);
        for note in notes.drain(..) {
            match note {
                Note::Event(event) => self.event(event, out),
                Note::Unit(Unit::Block { start, end }) => self.block((start, end), came, out),
                Note::Unit(Unit::Movie { start, end }) => {
                    out.part(|| Some(Passed::Movie(self.back.cut(start, end, came)?)));
                }
                Note::Unit(Unit::Begins { fragment, begin }) => {
                    out.part(|| Some(Passed::Begins { fragment, begin }));
                }
                Note::Unit(Unit::Fragment(fragment)) => {
                    self.fragment(&fragment, out);
                    out.part(|| Some(Passed::Whole));
                }
                Note::Unit(Unit::Passing) => self.flush(out),
                Note::Unit(Unit::Scale(ns)) => out.part(|| Some(Passed::Scale(ns))),
                Note::Unit(Unit::Tracks { start, end }) => {
                    out.part(|| Some(Passed::Tracks(self.back.cut(start, end, came)?)));
                }
                Note::Unit(Unit::InCluster { id, start, end }) => {
                    out.part(|| {
                        Some(Passed::Beside {
                            id,
                            in_cluster: true,
                            element: self.back.cut(start, end, came)?,
                        })
                    });
                }
                Note::Unit(Unit::Other { id, start, end }) => {
                    out.part(|| {
                        Some(Passed::Beside {
                            id,
                            in_cluster: false,
                            element: self.back.cut(start, end, came)?,
                        })
                    });
                    // Behind a gap an index leads astray.
                    if self.moved {
                        self.release_to(start, out);
                        self.discard_to(end);
                    }
                }
                Note::Lost(position, owed) => self.lost(position, owed, told, out),
                Note::Found(position) => self.found(position),
            }
        }
        // Of the smallest blocks there are many.
        notes.shrink_to(NOTES_KEPT);
        self.notes = notes;
        if !out.is_stream() {
            self.back.keep_from(self.reader.unit_begins(), came);
        } else if self.hunting {
            self.discard_to(self.reader.whole());
        } else {
            self.release_to(self.reader.whole(), out);
        }
    }

    fn event(&mut self, event: Event, out: &mut Out<'_, '_>) {
        match event {
            Event::Packet(_) | Event::Cluster { .. } => self.pending.push(event),
            // A repaired stream's index is not passed on, so it is not told of either.
            Event::Cue { .. } if self.moved => {}
            Event::Tracks(ref tracks) => {
                self.media = tracks.iter().map(|track| (track.number, track.kind)).collect();
                out.event(event);
            }
            Event::Duration { .. } | Event::Cue { .. } | Event::NeedsSeeking | Event::Damaged { .. } => {
                out.event(event);
            }
        }
    }

    /// A block is whole: it goes on, or is made a Void.
    fn block<'a>(&mut self, (start, end): (u64, u64), came: Stretch<'a>, out: &mut Out<'_, 'a>) {
        let track = self.pending.iter().find_map(packet);
        let mut passes = true;
        if let Some(first) = track.filter(|packet| self.waiting.contains(&packet.track)) {
            if first.keyframe {
                self.waiting.retain(|track| *track != first.track);
            } else {
                passes = false;
                self.void(start, end);
                self.drop_packets(first.track);
            }
        }
        self.flush(out);
        if passes {
            out.part(|| Some(Passed::Block(self.back.cut(start, end, came)?)));
        }
    }

    /// Overwrites an element of one byte's id by a Void of the same size; its size field stays.
    fn void(&mut self, start: u64, end: u64) {
        let Some(element) = self.back.get_mut(start, end) else { return };
        let size = element.get(1).map_or(0, |first| first.leading_zeros() as usize + 1);
        if let Some((head, payload)) = element.split_at_mut_checked(1 + size) {
            head[0] = VOID;
            payload.fill(0);
        }
    }

    /// A fragment is whole: it goes on, without the tracks that have to wait.
    fn fragment(&mut self, fragment: &FragmentUnit, out: &mut Out<'_, '_>) {
        for (track, position) in &fragment.trafs {
            if !self.waiting.contains(track) {
                continue;
            }
            let first = self.pending.iter().filter_map(packet).find(|packet| packet.track == *track);
            if first.is_some_and(|first| first.keyframe) {
                self.waiting.retain(|other| other != track);
            } else if first.is_some() {
                if let Some(kind) = self.back.get_mut(position + 4, position + 8) {
                    kind.copy_from_slice(b"free");
                }
                self.drop_packets(*track);
            }
        }
        if self.moved {
            self.release_to(fragment.start, out);
            for (position, relative) in &fragment.bases {
                let base = self.passed.saturating_add(*relative);
                if let Some(field) = self.back.get_mut(*position, position + 8) {
                    field.copy_from_slice(&base.to_be_bytes());
                }
            }
        }
        self.flush(out);
    }

    fn drop_packets(&mut self, track: u32) {
        let before = self.pending.len();
        self.pending.retain(|event| packet(event).is_none_or(|packet| packet.track != track));
        let dropped = (before - self.pending.len()) as u64;
        self.counts.entry(track).or_default().dropped += dropped;
        if let Some(gap) = self.gaps.last_mut() {
            gap.dropped += dropped;
        }
    }

    /// Tells of what is passed on.
    fn flush(&mut self, out: &mut Out<'_, '_>) {
        for event in std::mem::take(&mut self.pending) {
            if let Some(packet) = packet(&event) {
                let count = self.counts.entry(packet.track).or_default();
                count.passed += 1;
                count.last_us = count.last_us.max(Some(packet.time_us));
                self.resumed(packet);
            }
            out.event(event);
        }
    }

    fn resumed(&mut self, packet: Packet) {
        let Some(gap) = self.gaps.last_mut() else { return };
        if gap.resumed.iter().all(|(track, _)| *track != packet.track) {
            gap.resumed.push((packet.track, packet.time_us));
            let media = self.media.iter().filter(|(_, kind)| *kind != TrackKind::Other);
            let all = media.clone().all(|(track, _)| gap.resumed.iter().any(|(other, _)| other == track));
            gap.to_us = gap.resumed.iter().map(|(_, time_us)| *time_us).max().filter(|_| all);
        }
    }

    /// From `position` on nothing is whole.
    fn lost(&mut self, position: u64, owed: u64, told: bool, out: &mut Out<'_, '_>) {
        self.release_to(position, out);
        self.pending.clear();
        self.hunting = true;
        self.moved = true;
        if self.gaps.last().is_none_or(|gap| !gap.resumed.is_empty()) {
            let from_us = self.counts.values().filter_map(|count| count.last_us).max();
            self.gaps.push(GapReport { from_us, damaged: !told, ..GapReport::default() });
        }
        if !out.is_stream() {
            return;
        }
        self.padded = self.padded.saturating_add(owed);
        if self.padded > PAD_MAX {
            // A Cluster that promises so much would swallow all that follows.
            self.over = true;
        } else {
            self.pad(owed, out);
        }
    }

    /// Completes a Cluster of known size. A Void has at least two bytes; one that is owed can only be a 0, over which readers stumble to
    /// the next Cluster.
    fn pad(&mut self, owed: u64, out: &mut Out<'_, '_>) {
        let mut head = Vec::new();
        if owed >= 9 {
            head.push(VOID);
            head.extend_from_slice(&((owed - 9) | 1 << 56).to_be_bytes());
        } else if let Ok(short @ 2..) = u8::try_from(owed) {
            head.extend_from_slice(&[VOID, 0x80 | (short - 2)]);
        }
        let padded = usize::try_from(owed).unwrap_or(usize::MAX);
        out.bytes(head.into_iter().chain(std::iter::repeat(0)).take(padded));
        self.passed += owed;
    }

    fn found(&mut self, position: u64) {
        self.discard_to(position);
        self.hunting = false;
        let video = self.media.iter().filter(|(_, kind)| *kind == TrackKind::Video);
        self.waiting = video.map(|(track, _)| *track).collect();
    }

    fn release_to(&mut self, position: u64, out: &mut Out<'_, '_>) {
        if self.over {
            return self.discard_to(position);
        }
        self.passed += self.back.take_to(position, |bytes| {
            out.bytes(bytes.iter().copied());
            bytes.len() as u64
        });
    }

    fn discard_to(&mut self, position: u64) {
        self.back.take_to(position, |_| ());
    }
}

fn packet(event: &Event) -> Option<Packet> {
    if let Event::Packet(packet) = event { Some(*packet) } else { None }
}

#[cfg(test)]
#[path = "repair_tests.rs"]
mod tests;
