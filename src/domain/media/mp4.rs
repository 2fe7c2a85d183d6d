//! MP4, box by box, as its bytes come.
//!
//! ```text
//!  ftyp, moov ─► Tracks         a moov and a moof are gathered, everything else passes by
//!  moof ─► the fragment's samples wait ─► Packet, as the bytes of its mdat pass
//!  mdat of a file without fragments ─► Packet, as the sample tables say and the bytes pass
//! ```
//! A packet is told only when its bytes have passed, each byte for one packet: a table of four numbers cannot make a
//! million packets out of nothing. Where the boxes do not add up it looks for the next moof (`hunt`), as after a gap.

use serde::{Deserialize, Serialize};

use super::{
    Event, Packet, ReadError, Sink, Unit, big_endian,
    fragment::{self, Around},
    hunt::{Hunt, judge_moof},
    moov::{self, Movie},
    mp4_state::{Current, State, Walk},
    sample_tables::{Cursor, Sample},
};

/// Most bytes of a moov: the index of some twenty hours that are not in fragments.
pub const MOOV_MAX: u64 = 64 * 1024 * 1024;
/// Most bytes of a moof: a fragment of more than an hour.
pub const MOOF_MAX: u64 = 8 * 1024 * 1024;
/// Most bytes that are held at once: a moov, a moof with its runs, the tracks.
pub const HELD_MAX: usize = 96 * 1024 * 1024;
/// Most packets of a file whose tables stand behind its media: they are all told at once.
const LATE_PACKETS_MAX: u64 = 8 * 1024 * 1024;

/// The scanner.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mp4 {
    /// Most bytes of what describes the movie, and of what describes a fragment.
    moov_max: u64,
    moof_max: u64,
    /// Bytes taken.
    position: u64,
    /// Up to where everything is whole.
    whole: u64,
    state: State,
    #[serde(with = "serde_bytes")]
    buffer: Vec<u8>,
    movie: Option<Movie>,
    /// The moov's body, as long as its tables are walked.
    #[serde(with = "serde_bytes")]
    moov: Vec<u8>,
    walks: Vec<Walk>,
    /// Bytes for which packets were told from the tables.
    told: u64,
    fragment: Option<Current>,
    next_decode: Vec<i64>,
    last_sequence: Option<u32>,
    /// Bytes were missing, so absolute positions mean nothing any more.
    moved: bool,
    needs_seeking: bool,
}

impl Mp4 {
    /// Nothing that has to be seen whole may have more than so many bytes.
    pub fn new(unit_max: u64) -> Self {
        Self {
            moov_max: MOOV_MAX.min(unit_max),
            moof_max: MOOF_MAX.min(unit_max),
            position: 0,
            whole: 0,
            state: State::Header,
            buffer: Vec::new(),
            movie: None,
            moov: Vec::new(),
            walks: Vec::new(),
            told: 0,
            fragment: None,
            next_decode: Vec::new(),
            last_sequence: None,
            moved: false,
            needs_seeking: false,
        }
    }

    /// Takes the next bytes, cut anywhere.
    pub fn feed(&mut self, mut bytes: &[u8], sink: &mut impl Sink) -> Result<(), ReadError> {
        while !bytes.is_empty() {
            let taken = self.step(bytes, sink)?;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// Bytes are missing here.
    pub fn gap(&mut self, sink: &mut impl Sink) {
        if !matches!(self.state, State::Hunt(_)) {
            self.lose(sink);
        }
        self.buffer.clear();
        self.state = State::Hunt(Hunt::default());
    }

    /// No more bytes come. Says so when they end within a box, or before samples that were announced.
    pub fn finish(&mut self, sink: &mut impl Sink) {
        let within = match self.state {
            State::Hunt(_) => return,
            State::Header => !self.buffer.is_empty(),
            State::Pass { end, .. } => end.is_some(),
            State::Gather { .. } => true,
        };
        let position = self.position;
        if within {
            sink.event(Event::Damaged { position, what: "it ends within a box" });
        }
        if self.next_of_fragment().is_some() || self.walks.iter().any(|walk| walk.next.is_some()) {
            sink.event(Event::Damaged { position, what: "it ends before all its samples" });
        }
        // With nothing behind it, a fragment may end with its last whole sample.
        if let Some(current) = self.fragment.take().filter(|current| current.told > 0) {
            sink.unit(Unit::Fragment(Box::new(current.fragment.unit)));
            self.whole = current.told_end;
        }
    }

    /// Up to where everything is whole; while nothing is understood, up to where nothing can begin.
    pub fn whole(&self) -> u64 {
        match &self.state {
            State::Hunt(hunt) => self.position - hunt.held() as u64,
            _ => self.whole,
        }
    }

    /// Where what is being gathered begins.
    pub fn unit_begins(&self) -> u64 {
        match &self.state {
            State::Header => self.position - self.buffer.len() as u64,
            State::Gather { start, .. } => *start,
            State::Pass { .. } => self.position,
            State::Hunt(hunt) => self.position - hunt.held() as u64,
        }
    }

    /// As if so many bytes had come, of a box that passes by and whose packets nobody wants; no further than it goes.
    pub fn pass_over(&mut self, bytes: u64) {
        if let State::Pass { end, .. } = self.state {
            let end = end.unwrap_or(u64::MAX);
            self.position = self.position.saturating_add(bytes).min(end.saturating_sub(1)).max(self.position);
        }
    }

    /// Bytes taken so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Media came before what describes them.
    pub fn needs_seeking(&self) -> bool {
        self.needs_seeking
    }

    /// Bytes kept.
    pub fn held(&self) -> usize {
        let hunt = if let State::Hunt(hunt) = &self.state { hunt.held() } else { 0 };
        let fragment = self.fragment.as_ref().map_or(0, |current| current.fragment.held());
        let tracks = self.movie.iter().flat_map(|movie| &movie.tracks);
        let private = tracks.map(|track| track.track.codec_private.as_ref().map_or(0, |bytes| bytes.len()));
        self.buffer.len() + self.moov.len() + hunt + fragment + private.sum::<usize>()
    }

    fn step(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<usize, ReadError> {
        let end = match self.state {
            State::Header => {
                self.buffer.push(bytes[0]);
                self.position += 1;
                self.header(sink)?;
                return Ok(1);
            }
            State::Hunt(_) => return self.hunt(bytes, sink),
            State::Gather { end, .. } => Some(end),
            State::Pass { end, .. } => end,
        };
        let left = end.map_or(u64::MAX, |end| end - self.position);
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        self.position += taken as u64;
        if let State::Gather { .. } = self.state {
            self.buffer.extend_from_slice(&bytes[..taken]);
        } else {
            self.tell(sink);
        }
        if end == Some(self.position) {
            self.ended(sink)?;
        } else {
            self.settle();
        }
        Ok(taken)
    }

    /// A byte more of a box's header.
    fn header(&mut self, sink: &mut impl Sink) -> Result<(), ReadError> {
        let Some(kind) = self.buffer.get(4..8).and_then(|kind| <[u8; 4]>::try_from(kind).ok()) else {
            return Ok(());
        };
        let start = self.position - self.buffer.len() as u64;
        if start == 0 && kind != *b"ftyp" {
            return Err(ReadError::NotMedia("no ftyp box"));
        }
        let (header, size) = match big_endian(&self.buffer[..4]) {
            1 => match self.buffer.get(8..16) {
                None => return Ok(()),
                Some(large) => (16, Some(big_endian(large))),
            },
            0 => (8, None),
            small => (8, Some(small)),
        };
        let named = kind.iter().all(|byte| (0x20..0x7f).contains(byte) || *byte == 0xa9);
        let end = size.map(|size| start.checked_add(size).filter(|_| size >= header));
        if !named || end == Some(None) {
            return self.damaged("no box begins here", sink);
        }
        self.begin(kind, start, end.flatten(), sink)
    }

    fn begin(
        &mut self,
        kind: [u8; 4],
        start: u64,
        end: Option<u64>,
        sink: &mut impl Sink,
    ) -> Result<(), ReadError> {
        self.buffer.clear();
        let size = end.map_or(u64::MAX, |end| end - start);
        match &kind {
            b"moov" if self.movie.is_none() && size > self.moov_max => {
                return Err(ReadError::TooLarge { what: "the movie's index (moov)", limit: self.moov_max });
            }
            b"moof" if size > self.moof_max => {
                return self.damaged("a fragment's index that is too large", sink);
            }
            b"moov" if self.movie.is_none() => self.state = State::Gather { kind, start, end: start + size },
            b"moof" => {
                self.fragment_is_over(sink);
                self.state = State::Gather { kind, start, end: start + size };
            }
            b"mdat" => {
                if self.movie.is_none() && !self.needs_seeking {
                    self.needs_seeking = true;
                    sink.event(Event::NeedsSeeking);
                }
                self.state = State::Pass { kind, start, end };
            }
            _ => self.state = State::Pass { kind, start, end },
        }
        if end == Some(self.position) { self.ended(sink) } else { Ok(()) }
    }

    fn ended(&mut self, sink: &mut impl Sink) -> Result<(), ReadError> {
        let state = std::mem::replace(&mut self.state, State::Header);
        match state {
            State::Gather { kind, start, .. } => {
                let body = std::mem::take(&mut self.buffer);
                if kind == *b"moov" { self.moov(body, start, sink)? } else { self.moof(body, start, sink)? }
            }
            State::Pass { kind, .. } if kind == *b"mdat" => self.mdat_is_over(sink),
            State::Pass { start, .. } if self.fragment.is_none() => {
                sink.unit(Unit::Other { id: 0, start, end: self.position });
            }
            _ => {}
        }
        self.settle();
        Ok(())
    }

    fn mdat_is_over(&mut self, sink: &mut impl Sink) {
        if self.fragment.is_some() && self.next_of_fragment().is_none() {
            self.fragment_is_over(sink);
        }
    }

    /// What is whole so far may be passed on. A fragment is when its data are; a file without fragments is a stream.
    fn settle(&mut self) {
        let passing_mdat = matches!(&self.state, State::Pass { kind, .. } if kind == b"mdat");
        let between = matches!(self.state, State::Header) && self.buffer.is_empty();
        if self.fragment.is_none() && (between || passing_mdat) {
            self.whole = self.position;
        }
    }

    fn moov(&mut self, body: Vec<u8>, start: u64, sink: &mut impl Sink) -> Result<(), ReadError> {
        let movie = moov::read(&body)?;
        sink.unit(Unit::Movie { start: self.position - body.len() as u64, end: self.position });
        sink.event(Event::Tracks(movie.tracks.iter().map(|track| track.track.clone()).collect()));
        if let Some(us) = movie.duration_us {
            sink.event(Event::Duration { us });
        }
        if movie.tracks.is_empty() {
            sink.event(Event::Damaged { position: start, what: "a movie without a track" });
        }
        self.next_decode = vec![0; movie.tracks.len()];
        for (index, track) in movie.tracks.iter().enumerate() {
            let mut walk = Walk { track: index, cursor: Cursor::default(), next: None };
            walk.next = walk.cursor.next(&body, &track.tables);
            if walk.next.is_some() {
                self.walks.push(walk);
            }
        }
        if !self.walks.is_empty() {
            self.moov = body;
        }
        self.movie = Some(movie);
        self.tell(sink);
        Ok(())
    }

    fn moof(&mut self, body: Vec<u8>, start: u64, sink: &mut impl Sink) -> Result<(), ReadError> {
        let Some(movie) = &self.movie else {
            sink.event(Event::Damaged { position: start, what: "a fragment before the movie's header" });
            return Ok(());
        };
        if let Some(sequence) = fragment::sequence(&body) {
            self.last_sequence = Some(sequence);
        }
        let body_start = self.position - body.len() as u64;
        let next_decode = &mut self.next_decode;
        let around = Around { movie, next_decode, start, body_start, moved: self.moved };
        let (fragment, sound) = fragment::read(body, around)?;
        sink.event(Event::Cluster { position: start, time_us: fragment.time_us });
        if !sound {
            sink.event(Event::Damaged { position: start, what: "a fragment's index that makes no sense" });
        }
        let begin = self.position;
        sink.unit(Unit::Begins { fragment: Box::new(fragment.clone()), begin });
        self.fragment = Some(Current { fragment, begin, told: 0, told_end: begin });
        if self.next_of_fragment().is_none() {
            self.fragment_is_over(sink);
        }
        Ok(())
    }

    /// Tells of the packets whose bytes have passed.
    fn tell(&mut self, sink: &mut impl Sink) {
        while let Some((track, sample)) = self.next_of_fragment() {
            let Some(current) = &mut self.fragment else { return };
            if !has_passed(sample, current.begin, self.position, current.told) {
                return;
            }
            current.told = current.told.saturating_add(sample.size);
            current.told_end = current.told_end.max(sample.offset.saturating_add(sample.size));
            current.fragment.pass();
            self.packet(track, sample, sink);
        }
        if !self.walks.is_empty() {
            self.tell_of_tables(sink);
            sink.unit(Unit::Passing);
        }
    }

    fn tell_of_tables(&mut self, sink: &mut impl Sink) {
        let mut late = 0;
        while let Some(index) = self.next_walk() {
            let walk = &self.walks[index];
            let Some((track, sample)) = walk.next.map(|sample| (walk.track, sample)) else { return };
            if !has_passed(sample, 0, self.position, self.told) {
                return;
            }
            late += u64::from(self.needs_seeking);
            if late > LATE_PACKETS_MAX {
                sink.event(Event::Damaged {
                    position: sample.offset,
                    what: "more packets than are kept track of",
                });
                self.walks.clear();
                return;
            }
            self.told = self.told.saturating_add(sample.size);
            self.packet(track, sample, sink);
            let (Some(movie), Some(walk)) = (&self.movie, self.walks.get_mut(index)) else { return };
            walk.next = walk.cursor.next(&self.moov, &movie.tracks[track].tables);
        }
    }

    /// The track whose next sample stands first.
    fn next_walk(&self) -> Option<usize> {
        let waiting =
            self.walks.iter().enumerate().filter_map(|(index, walk)| Some((walk.next?.offset, index)));
        waiting.min().map(|(_, index)| index)
    }

    fn next_of_fragment(&mut self) -> Option<(usize, Sample)> {
        self.fragment.as_mut()?.fragment.peek(self.movie.as_ref()?)
    }

    fn packet(&self, track: usize, sample: Sample, sink: &mut impl Sink) {
        let Some(track) = self.movie.as_ref().and_then(|movie| movie.tracks.get(track)) else { return };
        let duration = super::ticks_to_us(i64::from(sample.duration), track.timescale).unsigned_abs();
        sink.event(Event::Packet(Packet {
            track: track.track.number,
            time_us: track.us(sample.decode.saturating_add(sample.shift)),
            duration_us: Some(duration).filter(|us| *us > 0),
            keyframe: sample.keyframe,
            bytes: u32::try_from(sample.size).unwrap_or(u32::MAX),
        }));
    }

    /// The fragment has all its data, or another one begins and it will not get them.
    fn fragment_is_over(&mut self, sink: &mut impl Sink) {
        if self.next_of_fragment().is_some() {
            sink.event(Event::Damaged {
                position: self.position,
                what: "a fragment without all its samples",
            });
        }
        if let Some(current) = self.fragment.take() {
            sink.unit(Unit::Fragment(Box::new(current.fragment.unit)));
        }
    }

    /// What stands here cannot stand here.
    fn damaged(&mut self, what: &'static str, sink: &mut impl Sink) -> Result<(), ReadError> {
        let bytes = std::mem::take(&mut self.buffer);
        self.position -= bytes.len() as u64;
        sink.event(Event::Damaged { position: self.position, what });
        self.lose(sink);
        // What was taken for a header may hold the beginning of a fragment, but not at once the same.
        self.feed(&bytes, sink)
    }

    fn lose(&mut self, sink: &mut impl Sink) {
        sink.lost(self.whole, 0);
        self.fragment = None;
        self.walks.clear();
        self.moov = Vec::new();
        self.moved = true;
        self.state = State::Hunt(Hunt::default());
    }

    /// Looks for a fragment that fits what was read before.
    fn hunt(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<usize, ReadError> {
        let State::Hunt(hunt) = &mut self.state else { return Ok(0) };
        // Without tracks no fragment can be read. A size that is bearable begins with a 0.
        let size_max = if self.movie.is_some() { self.moof_max } else { 0 };
        let after = self.last_sequence;
        let (taken, found) = hunt.feed(bytes, 0, |window| judge_moof(window, size_max, after));
        self.position += taken as u64;
        if let Some(window) = found {
            self.position -= window.len() as u64;
            self.whole = self.position;
            self.state = State::Header;
            sink.found(self.position);
            self.feed(&window, sink)?;
        }
        Ok(taken)
    }
}

/// Whether a sample's bytes have come, behind `begin`, and are not those of another one: `told` bytes there were
/// told of.
fn has_passed(sample: Sample, begin: u64, position: u64, told: u64) -> bool {
    let end = sample.offset.checked_add(sample.size);
    let passed = sample.offset >= begin && end.is_some_and(|end| end <= position);
    passed && told.saturating_add(sample.size) <= position - begin
}

#[cfg(test)]
#[path = "mp4_tests.rs"]
mod tests;
