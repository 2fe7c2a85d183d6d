//! Matroska, element by element, as its bytes come.
//!
//! ```text
//!  Segment ─┬─ Info, Tracks ─► header           the stack holds the open masters, at most five
//!           ├─ Cluster ─┬─ Timestamp            a size that is unknown ends with what cannot stand inside
//!           │           ├─ SimpleBlock ─► Packet
//!           │           └─ BlockGroup  ─► Packet when it ends
//!           └─ Cues ─► Cue
//! ```
//! Fields are gathered up to a stated size, of a block only its head; all else passes by. Where the elements do not add
//! up it looks for the next Cluster (`hunt`), as after a gap. A second EBML header is such a place too: whether a new
//! file begins there is for those to say who know how the bytes were uploaded.

use serde::{Deserialize, Serialize};

use super::{
    Event, ReadError, Sink, Unit, big_endian,
    ebml::{self, Lacing, Parsed, Size},
    hunt::{ClusterMustFit, Hunt, Judged, judge_cluster},
    matroska_block::Block,
    matroska_header::{Header, TRACKS_MAX},
    matroska_schema::{Kind, kind},
    matroska_state::{Cluster, CuePoint, Group, Master, State},
};

/// Most bytes of a block that are gathered to tell its laced frames apart.
const LACES_MAX: u64 = 16 * 1024;
/// Of a block without lacing: the longest head, and what tells the length of an Opus packet.
const BLOCK_HEAD_MAX: u64 = 16;

/// The first byte of a Cluster's id.
const CLUSTER_BEGINS: u8 = 0x1f;

/// The scanner.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Matroska {
    /// Bytes taken.
    position: u64,
    /// Up to where everything is whole.
    whole: u64,
    state: State,
    stack: Vec<Master>,
    buffer: Vec<u8>,
    header: Header,
    told: bool,
    /// Where the Segment's payload begins, from which Cues count.
    segment_data: u64,
    cluster: Cluster,
    group: Group,
    cue: CuePoint,
    /// Most bytes of what stands or falls as a whole.
    unit_max: u64,
}

impl Matroska {
    /// Refuses what stands or falls as a whole and has more than `unit_max` bytes.
    pub fn new(unit_max: u64) -> Self {
        Self {
            position: 0,
            whole: 0,
            state: State::Header,
            stack: Vec::new(),
            buffer: Vec::new(),
            header: Header::new(),
            told: false,
            segment_data: 0,
            cluster: Cluster::default(),
            group: Group::default(),
            cue: CuePoint::default(),
            unit_max,
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

    /// No more bytes come. Says so when they end within an element.
    pub fn finish(&mut self, sink: &mut impl Sink) {
        if matches!(self.state, State::Hunt(_)) {
            return;
        }
        let open = self.stack.iter().any(|master| master.end.is_some());
        if !matches!(self.state, State::Header) || !self.buffer.is_empty() || open {
            sink.event(Event::Damaged { position: self.position, what: "it ends within an element" });
        }
    }

    /// Up to where everything is whole; while nothing is understood, up to where nothing can begin.
    pub fn whole(&self) -> u64 {
        match &self.state {
            State::Hunt(hunt) => self.position - hunt.held() as u64,
            _ => self.whole,
        }
    }

    /// Where what is being read, and stands or falls as a whole, begins: no byte before is needed for any unit.
    pub fn unit_begins(&self) -> u64 {
        let whole = |master: &&Master| matches!(master.id, ebml::TRACKS | ebml::BLOCK_GROUP);
        match (&self.state, self.stack.iter().find(whole)) {
            (State::Hunt(hunt), _) => self.position - hunt.held() as u64,
            (_, Some(master)) => master.start,
            (State::Block { start, .. } | State::Skip { start, .. }, None) => *start,
            (State::Header | State::Field { .. }, None) => self.position - self.buffer.len() as u64,
        }
    }

    /// Bytes taken so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes kept.
    pub fn held(&self) -> usize {
        let hunt = if let State::Hunt(hunt) = &self.state { hunt.held() } else { 0 };
        let laced = self.group.block.as_ref().map_or(0, |block| block.sizes.len() * 8);
        self.buffer.len() + self.header.held() + hunt + laced + self.cue.found.len() * 16
    }

    fn step(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<usize, ReadError> {
        match &mut self.state {
            State::Header => {
                // Most often it is whole in what has come.
                let (taken, header) = match ebml::header(bytes) {
                    whole @ Parsed::Whole(_, length) if self.buffer.is_empty() => (length, Some(whole)),
                    _ => (1, None),
                };
                self.buffer.extend_from_slice(&bytes[..taken]);
                self.position += taken as u64;
                match header.unwrap_or_else(|| ebml::header(&self.buffer)) {
                    Parsed::More => {}
                    Parsed::Bad => self.damaged("no element begins here", sink)?,
                    Parsed::Whole((id, size), length) => {
                        let start = self.position - length as u64;
                        self.begin(id, size, start, sink)?;
                    }
                }
                Ok(taken)
            }
            State::Field { end, .. } => {
                let taken = most(*end - self.position, bytes);
                self.buffer.extend_from_slice(&bytes[..taken]);
                self.advance(taken, sink)?;
                Ok(taken)
            }
            State::Block { end, want, .. } => {
                let missing = *want - self.buffer.len() as u64;
                let taken = most(if missing > 0 { missing } else { *end - self.position }, bytes);
                if missing > 0 {
                    self.buffer.extend_from_slice(&bytes[..taken]);
                }
                self.advance(taken, sink)?;
                Ok(taken)
            }
            State::Skip { end, .. } => {
                let taken = most(*end - self.position, bytes);
                self.advance(taken, sink)?;
                Ok(taken)
            }
            State::Hunt(_) => self.hunt(bytes, sink),
        }
    }

    /// Passes bytes of the open element, and ends it with its last.
    fn advance(&mut self, taken: usize, sink: &mut impl Sink) -> Result<(), ReadError> {
        self.position += taken as u64;
        match self.state {
            State::Field { id, start, end } if end == self.position => {
                let bytes = std::mem::take(&mut self.buffer);
                self.field(id, &bytes)?;
                if id == ebml::TIMESTAMP_SCALE {
                    sink.unit(Unit::Scale(self.header.scale_ns));
                }
                self.ended(start, sink)?;
                self.buffer = bytes;
                self.buffer.clear();
                Ok(())
            }
            State::Block { .. } => self.block(sink),
            State::Skip { start, end, .. } if end == self.position => self.ended(start, sink),
            _ => Ok(()),
        }
    }

    /// An element's header is read.
    fn begin(&mut self, id: u32, size: Size, start: u64, sink: &mut impl Sink) -> Result<(), ReadError> {
        if start == 0 && id != ebml::EBML {
            return Err(ReadError::NotMedia("no EBML header"));
        }
        while self.stack.last().is_some_and(|top| top.id == ebml::CLUSTER && top.end.is_none())
            && ebml::is_top(id)
        {
            self.stack.pop();
        }
        let parent = self.stack.last().map_or(0, |master| master.id);
        if (id == ebml::EBML && start > 0) || (id == ebml::SEGMENT && (parent != 0 || self.segment_data > 0))
        {
            return self.damaged("a second header", sink);
        }
        if parent == 0 && self.segment_data > 0 && id == ebml::CLUSTER {
            return self.damaged("a Cluster outside of the Segment", sink);
        }
        let limit = self.stack.iter().rev().find_map(|master| master.end).unwrap_or(u64::MAX);
        let end = match size {
            Size::Known(size) => self.position.checked_add(size),
            Size::Unknown if matches!(id, ebml::SEGMENT | ebml::CLUSTER) => None,
            Size::Unknown => return self.damaged("an element of unknown size", sink),
        };
        if size != Size::Unknown && end.is_none_or(|end| end > limit) {
            return self.damaged("an element larger than what it stands in", sink);
        }
        self.buffer.clear();
        self.open(kind(parent, id), Master { id, start, end }, sink)
    }

    fn open(&mut self, kind: Kind, element: Master, sink: &mut impl Sink) -> Result<(), ReadError> {
        let Master { id, start, end } = element;
        let size = end.unwrap_or(u64::MAX) - self.position;
        if !matches!(id, ebml::SEGMENT | ebml::CLUSTER) && size > self.unit_max {
            return Err(ReadError::TooLarge { what: "an element", limit: self.unit_max });
        }
        match kind {
            Kind::Master => {
                self.stack.push(element);
                self.state = State::Header;
                self.opened(id, start);
                if size == 0 {
                    return self.ended(start, sink);
                }
                self.settle();
                return Ok(());
            }
            Kind::Field { max, .. } if size > max && self.header_is_over() => {
                return self.damaged("a field that is too long", sink);
            }
            Kind::Field { max, what } if size > max => return Err(ReadError::TooLarge { what, limit: max }),
            Kind::Field { .. } => self.state = State::Field { id, start, end: self.position + size },
            Kind::Block => {
                let want = size.min(BLOCK_HEAD_MAX);
                self.state = State::Block { start, end: self.position + size, size, want };
            }
            Kind::Skip => self.state = State::Skip { id, start, end: self.position.saturating_add(size) },
        }
        if size == 0 { self.advance(0, sink) } else { Ok(()) }
    }

    fn header_is_over(&self) -> bool {
        self.stack.get(1).is_some_and(|master| matches!(master.id, ebml::CLUSTER | ebml::CUES))
    }

    fn opened(&mut self, id: u32, start: u64) {
        match id {
            ebml::SEGMENT => self.segment_data = self.position,
            ebml::TRACK_ENTRY => self.header.begin_track(),
            ebml::CLUSTER => {
                self.cluster = Cluster { start, last_time: self.cluster.last_time, ..Cluster::default() };
            }
            ebml::BLOCK_GROUP => self.group = Group::default(),
            ebml::CUE_POINT => self.cue = CuePoint::default(),
            ebml::CUE_TRACK_POSITIONS => (self.cue.track, self.cue.position) = (0, None),
            _ => {}
        }
    }

    /// Takes a field's value.
    fn field(&mut self, id: u32, bytes: &[u8]) -> Result<(), ReadError> {
        let number = big_endian(bytes);
        match id {
            ebml::TIMESTAMP => self.cluster.time = Some(number),
            ebml::BLOCK_DURATION => self.group.duration = Some(number),
            ebml::REFERENCE_BLOCK => self.group.refers = true,
            ebml::CUE_TIME => self.cue.time = number,
            ebml::CUE_TRACK => self.cue.track = number,
            ebml::CUE_CLUSTER_POSITION => self.cue.position = Some(number),
            _ => return self.header.field(id, bytes),
        }
        Ok(())
    }

    /// An element is whole, and so are the masters that end with it.
    fn ended(&mut self, start: u64, sink: &mut impl Sink) -> Result<(), ReadError> {
        let was_field_of_cluster = matches!(self.state, State::Field { id: ebml::TIMESTAMP, .. });
        let passed_by = if let State::Skip { id, .. } = self.state { Some(id) } else { None };
        self.state = State::Header;
        if was_field_of_cluster {
            self.cluster_is_timed(sink);
        }
        if let Some(id) = passed_by {
            self.passed_by(id, start, sink);
        }
        while self.stack.last().is_some_and(|top| top.end == Some(self.position)) {
            let Some(master) = self.stack.pop() else { break };
            self.closed(master, sink)?;
        }
        self.settle();
        Ok(())
    }

    /// Something that is not looked into is whole.
    fn passed_by(&self, id: u32, start: u64, sink: &mut impl Sink) {
        let end = self.position;
        match self.stack[..] {
            [_] => sink.unit(Unit::Other { id, start, end }),
            [_, Master { id: ebml::CLUSTER, .. }] => sink.unit(Unit::InCluster { id, start, end }),
            _ => {}
        }
    }

    fn cluster_is_timed(&mut self, sink: &mut impl Sink) {
        let Some(time) = self.cluster.time else { return };
        self.cluster.last_time = Some(time);
        let time_us = self.header.us(i64::try_from(time).unwrap_or(i64::MAX));
        sink.event(Event::Cluster { position: self.cluster.start, time_us });
    }

    /// What is whole so far may be passed on. A Cluster is, once its first block is.
    fn settle(&mut self) {
        let in_cluster = self.stack.get(1).is_some_and(|master| master.id == ebml::CLUSTER);
        if self.stack.len() <= 1 || (self.stack.len() == 2 && in_cluster && self.cluster.blocks) {
            self.whole = self.position;
        }
    }

    fn closed(&mut self, master: Master, sink: &mut impl Sink) -> Result<(), ReadError> {
        match master.id {
            ebml::INFO => {
                if let Some(us) = self.header.duration_us() {
                    sink.event(Event::Duration { us });
                }
            }
            ebml::TRACK_ENTRY if self.told => self.header.begin_track(),
            ebml::TRACK_ENTRY => self.track_entry(master.start, sink)?,
            ebml::TRACKS if !self.told => {
                self.told = true;
                sink.event(Event::Tracks(self.header.tracks.clone()));
                sink.unit(Unit::Tracks { start: master.start, end: self.position });
            }
            ebml::BLOCK_GROUP => {
                let group = std::mem::take(&mut self.group);
                match group.block {
                    Some(mut block) => {
                        block.head.keyframe = !group.refers;
                        self.packets(&block, group.duration, master.start, sink);
                    }
                    None => {
                        sink.event(Event::Damaged {
                            position: master.start,
                            what: "a group without a block",
                        });
                    }
                }
                self.cluster.blocks = true;
                sink.unit(Unit::Block { start: master.start, end: self.position });
            }
            ebml::CUE_TRACK_POSITIONS => {
                if let Some(position) = self.cue.position
                    && self.cue.found.len() < TRACKS_MAX
                {
                    self.cue.found.push((self.cue.track, position));
                }
            }
            ebml::CUE_POINT => self.cue_point(sink),
            id @ ebml::CUES => sink.unit(Unit::Other { id, start: master.start, end: self.position }),
            _ => {}
        }
        Ok(())
    }

    fn track_entry(&mut self, position: u64, sink: &mut impl Sink) -> Result<(), ReadError> {
        if !self.header.end_track()? {
            sink.event(Event::Damaged { position, what: "a track without a number of its own" });
        }
        Ok(())
    }

    fn cue_point(&mut self, sink: &mut impl Sink) {
        let time_us = self.header.us(i64::try_from(self.cue.time).unwrap_or(i64::MAX));
        for (track, position) in std::mem::take(&mut self.cue.found) {
            let track = u32::try_from(track).unwrap_or(u32::MAX);
            sink.event(Event::Cue { time_us, track, position: self.segment_data.saturating_add(position) });
        }
    }

    /// More of a block has come.
    fn block(&mut self, sink: &mut impl Sink) -> Result<(), ReadError> {
        let State::Block { start, end, size, want } = &mut self.state else { return Ok(()) };
        let (start, end, size) = (*start, *end, *size);
        let laced = || ebml::block_head(&self.buffer).is_some_and(|head| head.lacing != Lacing::None);
        if *want == BLOCK_HEAD_MAX && self.buffer.len() as u64 == *want && laced() {
            *want = size.min(LACES_MAX);
        }
        if self.position < end {
            return Ok(());
        }
        let read = Block::read(&self.buffer, size);
        self.buffer.clear();
        let in_group = self.stack.last().is_some_and(|master| master.id == ebml::BLOCK_GROUP);
        match read {
            None => {
                sink.event(Event::Damaged { position: start, what: "a block whose frames do not add up" });
            }
            Some(block) if in_group => self.group.block = Some(block),
            Some(block) => self.packets(&block, None, start, sink),
        }
        if !in_group {
            self.cluster.blocks = true;
            sink.unit(Unit::Block { start, end });
        }
        self.ended(start, sink)
    }

    /// Tells of each frame of a block.
    fn packets(&self, block: &Block, ticks: Option<u64>, position: u64, sink: &mut impl Sink) {
        match block.packets(self.cluster.time, ticks, &self.header) {
            Ok(packets) => packets.for_each(|packet| sink.event(Event::Packet(packet))),
            Err(what) => sink.event(Event::Damaged { position, what }),
        }
    }

    /// What stands here cannot stand here.
    fn damaged(&mut self, what: &'static str, sink: &mut impl Sink) -> Result<(), ReadError> {
        // What was taken for a header may hold the beginning of a Cluster.
        let bytes = std::mem::take(&mut self.buffer);
        self.position -= bytes.len() as u64;
        sink.event(Event::Damaged { position: self.position, what });
        self.lose(sink);
        self.feed(&bytes, sink)
    }

    fn lose(&mut self, sink: &mut impl Sink) {
        let cluster =
            self.stack.get(1).filter(|master| master.id == ebml::CLUSTER && master.start < self.whole);
        let owed = cluster.and_then(|cluster| cluster.end).map_or(0, |end| end.saturating_sub(self.whole));
        sink.lost(self.whole, owed);
        self.stack.clear();
        self.state = State::Hunt(Hunt::default());
    }

    /// Looks for a Cluster that fits what was read before.
    fn hunt(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<usize, ReadError> {
        let State::Hunt(hunt) = &mut self.state else { return Ok(0) };
        let (told, header) = (self.told, &self.header);
        let knows_track = |track| header.track(track).is_some();
        let fit = ClusterMustFit { after: self.cluster.last_time, knows_track: &knows_track };
        let judge = |window: &[u8]| if told { judge_cluster(window, &fit) } else { Judged::No };
        let (taken, found) = hunt.feed(bytes, CLUSTER_BEGINS, judge);
        self.position += taken as u64;
        if let Some(window) = found {
            self.position -= window.len() as u64;
            self.whole = self.position;
            self.state = State::Header;
            self.stack = vec![Master { id: ebml::SEGMENT, start: 0, end: None }];
            sink.found(self.position);
            // A window is short, and what is not understood in it is shorter: this does not go deep.
            self.feed(&window, sink)?;
        }
        Ok(taken)
    }
}

fn most(left: u64, bytes: &[u8]) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len())
}

#[cfg(test)]
#[path = "matroska_tests.rs"]
mod tests;
