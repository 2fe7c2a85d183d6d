//! One segment on its way into the file: taken apart, its tracks matched, its time moved.
//!
//! It lives until the next one begins.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{
    super::{
        media::{
            Codec, Container, Event, GapReport, Packet, Passed, Repair, Sniff, Stretch, Summary, Track,
            TrackKind, ebml, sniff,
        },
        merge::continues,
    },
    Rules, Unfit,
    clusters::{Block, Clusters},
    head::SCALE_NS,
    mp4::{Incoming, Surroundings},
    output::Output,
    writes::Writes,
};

/// From one packet to the next not more may pass, and no packet lasts longer. Unit: microseconds.
const JUMP_US_MAX: i64 = 3_600_000_000;
/// So many bytes are taken apart at once: what is told of them is held meanwhile, and of the smallest blocks there are many.
const PIECE_BYTES: usize = 64 * 1024;

/// What is known of a segment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OpenSegment {
    /// Its first and its latest chunk.
    pub chunks: (u32, u32),
    /// Where it begins in the file. Unit: microseconds.
    pub begins_us: i64,
    /// First bytes, until they say what they are.
    #[serde(with = "serde_bytes")]
    beginning: Vec<u8>,
    repair: Option<Repair>,
    /// What came in, summed up.
    pub account: Summary,
    knows_tracks: bool,
    /// What is missing of it.
    pub holes: Vec<Hole>,
    in_hole: bool,
    #[serde(with = "serde_bytes")]
    tracks_element: Vec<u8>,
    /// Elements in front of the first block.
    #[serde(with = "serde_bytes")]
    beside: Vec<u8>,
    other_scale: bool,
    /// Where each of its tracks goes; empty until the first block.
    ways: Vec<(u32, Way)>,
    /// Added to every time. Unit: microseconds.
    shift_us: i64,
    newest_us: Option<i64>,
    packets: Vec<Packet>,
    /// Of an MP4 segment.
    incoming: Option<Box<Incoming>>,
    /// Of tracks that go on: packets put into the file.
    put: u64,
    /// Blocks of no use: of an unknown track, or in contradiction to themselves.
    pub left_out: u64,
}

/// A stretch of missing chunks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hole {
    pub missing: Vec<Range<u32>>,
    /// Which of the repair's gaps it is.
    pub gap: Option<usize>,
}

/// Where a track of a segment goes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Way {
    /// To this track of the file.
    To(Box<Track>),
    /// Nowhere: it is neither pictures nor sound.
    LeftOut,
    /// Its first packet shows that this is none of our recordings.
    Unfit(Unfit),
}

impl OpenSegment {
    pub fn new(first: u32, begins_us: i64) -> Self {
        Self {
            chunks: (first, first),
            begins_us,
            beginning: Vec::new(),
            repair: None,
            account: Summary::default(),
            knows_tracks: false,
            holes: Vec::new(),
            in_hole: false,
            tracks_element: Vec::new(),
            beside: Vec::new(),
            other_scale: false,
            ways: Vec::new(),
            shift_us: 0,
            newest_us: None,
            packets: Vec::new(),
            incoming: None,
            put: 0,
            left_out: 0,
        }
    }

    /// Takes its next bytes.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        output: &mut Option<Output>,
        rules: &Rules,
        out: &mut Writes,
    ) -> Result<(), Unfit> {
        self.in_hole = false;
        if self.repair.is_some() {
            return self.take(bytes, output, rules, out);
        }
        self.beginning.extend_from_slice(bytes);
        let container = match sniff(&self.beginning) {
            Sniff::TooShort => return Ok(()),
            Sniff::NotMedia => return Err(Unfit::NotMedia),
            Sniff::Media(container) => container,
        };
        if output.as_ref().is_some_and(|output| output.container() != container) {
            return Err(Unfit::Mixed);
        }
        self.repair = Some(Repair::apart(container, rules.unit_bytes_max));
        self.incoming = (container == Container::Mp4).then(Box::default);
        let beginning = std::mem::take(&mut self.beginning);
        self.take(&beginning, output, rules, out)
    }

    fn take(
        &mut self,
        bytes: &[u8],
        output: &mut Option<Output>,
        rules: &Rules,
        out: &mut Writes,
    ) -> Result<(), Unfit> {
        bytes.chunks(PIECE_BYTES).try_for_each(|piece| self.take_piece(piece, output, rules, out))
    }

    fn take_piece(
        &mut self,
        bytes: &[u8],
        output: &mut Option<Output>,
        rules: &Rules,
        out: &mut Writes,
    ) -> Result<(), Unfit> {
        let Some(repair) = &mut self.repair else { return Err(Unfit::NoHeader) };
        let (mut passed, came) = (Vec::new(), Stretch { at: repair.position(), bytes });
        let read = repair.take_apart(bytes, &mut passed);
        if let Some(incoming) = &mut self.incoming {
            incoming.close_lost(output, out)?;
            self.pass_fragments(passed, came, output, rules, out)?;
        } else {
            self.pass(passed, output, rules, out)?;
        }
        read?;
        if self.gaps() > rules.gaps_max {
            return Err(Unfit::TooMany("gaps".into()));
        }
        Ok(())
    }

    /// Chunks are missing here; stretches side by side are one hole.
    pub fn gap(&mut self, missing: Range<u32>) -> Result<(), Unfit> {
        let hole = self.holes.last_mut().filter(|_| self.in_hole);
        match hole {
            Some(hole) => push_range(&mut hole.missing, missing),
            None => {
                let repair = self.repair.as_mut().ok_or(Unfit::NoHeader)?;
                repair.gap_apart();
                if let Some(incoming) = &mut self.incoming {
                    incoming.lost();
                }
                let gap = repair.gaps().len().checked_sub(1);
                self.holes.push(Hole { missing: vec![missing], gap });
            }
        }
        self.in_hole = true;
        Ok(())
    }

    /// No more of it comes.
    pub fn end(&mut self, output: &mut Option<Output>, rules: &Rules, out: &mut Writes) -> Result<(), Unfit> {
        let repair = self.repair.as_mut().ok_or(Unfit::NoHeader)?;
        let mut passed = Vec::new();
        let came = Stretch { at: repair.position(), bytes: &[] };
        repair.finish_apart(&mut passed);
        if let Some(incoming) = &mut self.incoming {
            incoming.close_lost(output, out)?;
            // It may end anywhere.
            passed.retain(|passed| !matches!(passed, Passed::Event(Event::Damaged { .. })));
            self.pass_fragments(passed, came, output, rules, out)?;
        } else {
            self.pass(passed, output, rules, out)?;
        }
        if let Some(incoming) = &mut self.incoming {
            incoming.lost();
            incoming.close_lost(output, out)?;
        }
        if !self.knows_tracks {
            return Err(Unfit::NoHeader);
        }
        if let Some(output) = output {
            output.close(out);
        }
        let counts = self.repair.as_ref().map(Repair::counts);
        let goes =
            |number: &u32| self.ways.iter().any(|(other, way)| other == number && matches!(way, Way::To(_)));
        let counts = counts.into_iter().flatten().filter(|(number, _)| goes(number));
        let came = counts.map(|(_, count)| count.passed).sum();
        if came == self.put { Ok(()) } else { Err(Unfit::NotProven { written: self.put, came }) }
    }

    /// What came and is not whole. Unit: bytes.
    pub fn held(&self) -> usize {
        let repair = self.repair.as_ref().map_or(0, Repair::held);
        let incoming = self.incoming.as_ref().map_or(0, |incoming| incoming.held());
        let header = self.tracks_element.len() + self.beside.len();
        self.beginning.len() + repair + incoming + header + self.packets.len() * size_of::<Packet>()
    }

    /// What the repair says of its gaps.
    pub fn reports(&self) -> &[GapReport] {
        self.repair.as_ref().map(Repair::gaps).unwrap_or_default()
    }

    pub fn gaps(&self) -> usize {
        self.reports().len().max(self.holes.len())
    }

    fn pass(
        &mut self,
        passed: Vec<Passed<'_>>,
        output: &mut Option<Output>,
        rules: &Rules,
        out: &mut Writes,
    ) -> Result<(), Unfit> {
        for passed in passed {
            match passed {
                Passed::Event(event) => self.event(&event)?,
                Passed::Scale(ns) => self.other_scale = ns != SCALE_NS,
                Passed::Tracks(element) => self.tracks_element = element.into_owned(),
                Passed::Block(element) => self.block(&element, output, rules, out)?,
                Passed::Beside { id, in_cluster, element } if is_kept(id) => {
                    self.put_beside(&element, in_cluster, output, rules, out)?;
                }
                Passed::Beside { .. } | Passed::Movie(_) | Passed::Begins { .. } | Passed::Whole => {}
            }
        }
        Ok(())
    }

    /// The same of an MP4 segment, of which these bytes have come.
    fn pass_fragments(
        &mut self,
        passed: Vec<Passed<'_>>,
        came: Stretch<'_>,
        output: &mut Option<Output>,
        rules: &Rules,
        out: &mut Writes,
    ) -> Result<(), Unfit> {
        for passed in passed {
            if let Passed::Event(event) = &passed {
                self.event(event)?;
            }
            let Some(incoming) = &mut self.incoming else { continue };
            let (tracks, begins_us) = (&self.account.tracks, self.begins_us);
            let mut around = Surroundings { tracks, ways: &mut self.ways, begins_us, rules };
            match passed {
                Passed::Event(Event::Damaged { what, .. }) => return Err(Unfit::Fragment(what.to_owned())),
                Passed::Movie(moov) => incoming.movie(moov.into_owned(), rules)?,
                Passed::Begins { fragment, begin } => {
                    incoming.begins(*fragment, begin, &mut around, output, out)?;
                }
                Passed::Whole => {
                    incoming.data(came, output, out);
                    self.put += incoming.whole(&self.packets, &mut around, output, out)?;
                    self.packets.clear();
                }
                _ => {}
            }
        }
        if let Some(incoming) = &self.incoming {
            incoming.data(came, output, out);
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), Unfit> {
        match event {
            Event::Tracks(_) => {
                self.knows_tracks = true;
                self.account.fold(event);
            }
            Event::Packet(packet) => {
                let jump_us = packet.time_us.saturating_sub(self.newest_us.unwrap_or(packet.time_us));
                let lasts_us = i64::try_from(packet.duration_us.unwrap_or(0)).unwrap_or(i64::MAX);
                if jump_us.max(lasts_us) > JUMP_US_MAX {
                    return Err(Unfit::TimesJump);
                }
                self.newest_us = self.newest_us.max(Some(packet.time_us));
                self.account.fold(event);
                self.packets.push(*packet);
            }
            Event::Cluster { .. }
            | Event::Duration { .. }
            | Event::Cue { .. }
            | Event::NeedsSeeking
            | Event::Damaged { .. } => {}
        }
        Ok(())
    }

    fn block(
        &mut self,
        element: &[u8],
        output: &mut Option<Output>,
        rules: &Rules,
        out: &mut Writes,
    ) -> Result<(), Unfit> {
        let mut packets = std::mem::take(&mut self.packets);
        let Some(first) = packets.first().copied() else {
            self.left_out += 1;
            return Ok(());
        };
        if self.other_scale {
            return Err(Unfit::Scale);
        }
        let output = match output {
            Some(output) => output,
            None => {
                let begun = Clusters::begin(&self.account.tracks, &self.tracks_element, rules, out)?;
                output.insert(Output::Matroska(Box::new(begun)))
            }
        };
        let Output::Matroska(output) = output else { return Err(Unfit::Mixed) };
        if self.ways.is_empty() {
            self.ways = ways(&self.account.tracks, &output.tracks, goes_on);
            self.shift_us = self.begins_us.saturating_sub(first.time_us);
            output.beside(&std::mem::take(&mut self.beside), false, out);
        }
        let way = self.ways.iter().find(|(number, _)| *number == first.track);
        let to = match way {
            Some((_, Way::To(to))) => to,
            Some((_, Way::Unfit(unfit))) => return Err(unfit.clone()),
            Some((_, Way::LeftOut)) | None => return Ok(()),
        };
        let delay_us = i64::try_from(to.codec_delay_us).unwrap_or(i64::MAX);
        let us = first.time_us.saturating_add(self.shift_us).saturating_add(delay_us);
        let time_ms = us.saturating_add(500).div_euclid(1000);
        if time_ms < 0 {
            return Err(Unfit::TimesFall);
        }
        let own = self.account.tracks.iter().find(|track| track.number == first.track);
        if packets.len() > 1 && own.is_none_or(|own| own.default_duration_us != to.default_duration_us) {
            return Err(changed(own.unwrap_or(to), to));
        }
        // As a reader of the file will tell them.
        let moved_us = time_ms.saturating_mul(1000).saturating_sub(delay_us).saturating_sub(first.time_us);
        for packet in &mut packets {
            packet.track = to.number;
            packet.time_us = packet.time_us.saturating_add(moved_us);
        }
        self.put += output.block(&Block { packets: &packets, element, time_ms }, rules, out)?;
        packets.clear();
        self.packets = packets;
        Ok(())
    }

    /// What stands in front of the first block waits for it: only with that the file begins.
    fn put_beside(
        &mut self,
        element: &[u8],
        in_cluster: bool,
        output: &mut Option<Output>,
        rules: &Rules,
        out: &mut Writes,
    ) -> Result<(), Unfit> {
        match output {
            Some(Output::Matroska(output)) if !self.ways.is_empty() => {
                output.beside(element, in_cluster, out);
            }
            _ if in_cluster => {}
            _ if self.beside.len() + element.len() > rules.header_bytes_max => {
                return Err(Unfit::TooLarge("what stands in front of the media".into()));
            }
            _ => self.beside.extend_from_slice(element),
        }
        Ok(())
    }
}

/// Adds a stretch to stretches that rise.
pub fn push_range(ranges: &mut Vec<Range<u32>>, more: Range<u32>) {
    match ranges.last_mut() {
        Some(last) if last.end == more.start => last.end = more.end,
        _ => ranges.push(more),
    }
}

/// Whether an element that is not looked into goes into the file. What says where something stands, or guards bytes that
/// change, would lie there; what describes the file is not passed on by any path.
fn is_kept(id: u32) -> bool {
    !ebml::is_top(id) && !matches!(id, ebml::VOID | ebml::CRC_32 | ebml::POSITION | ebml::PREV_SIZE)
}

/// Where each track of a segment goes: to the one of its kind and rank, if it can go on with it.
pub fn ways(own: &[Track], output: &[Track], goes_on: impl Fn(&Track, &Track) -> bool) -> Vec<(u32, Way)> {
    let way = |(at, track): (usize, &Track)| {
        let same = |other: &&Track| other.kind == track.kind;
        let rank = own[..at].iter().filter(same).count();
        let way = match output.iter().filter(same).nth(rank) {
            _ if track.kind == TrackKind::Other => Way::LeftOut,
            None => Way::Unfit(Unfit::TrackAppeared(track.codec.name().to_owned())),
            Some(to) if goes_on(track, to) => Way::To(Box::new(to.clone())),
            Some(to) => Way::Unfit(changed(track, to)),
        };
        (track.number, way)
    };
    own.iter().enumerate().map(way).collect()
}

/// Whether a track's packets can follow those of another as they are, and be described by its header.
fn goes_on(track: &Track, to: &Track) -> bool {
    let private =
        !matches!(track.codec, Codec::H264 | Codec::H265) || track.codec_private == to.codec_private;
    continues(track, to) && private && (to.alpha || !track.alpha)
}

fn changed(track: &Track, to: &Track) -> Unfit {
    Unfit::TrackChanged { from: to.codec.name().to_owned(), to: track.codec.name().to_owned() }
}
