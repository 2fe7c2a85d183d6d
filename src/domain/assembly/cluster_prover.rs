//! A Matroska file read back while it is being written.
//!
//! ```text
//!  bytes up to `settled()` ─► reader ─► packets: counts and digests of each track
//!              │                  └───► the first packet of each Cluster ─► the index's entry for it
//!              └─► a sum over all bytes but those of the head that are written at the end
//!  finish: the head, read again ─► what was written into it
//! ```
//! The sum says that the file is, byte for byte, what was written; the reader, that what was written is what came. It keeps
//! no list, of Clusters or of entries: the index loses entries as it grows, and what is in it at the end was in it when its
//! Cluster was read.
//!
//! What it cannot tell: what becomes of bytes after it has read them, the head's excepted.

use serde::{Deserialize, Serialize};

use super::{
    super::{
        media::{Container, Event, Packet, Reader, Summary, TrackKind, TrackSummary},
        merge::Difference,
    },
    Assembler,
    clusters::Clusters,
    index::Cue,
    sums::{Digests, with_in_place},
};

/// A packet's time and that of its Cluster may be off by so much: both are whole milliseconds.
const ROUNDED_US: u64 = 1000;

/// As many are told at once of sound that is cut finely.
const EVENTS: usize = 256;

/// Takes the file, cut anywhere.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClusterProver {
    reader: Reader,
    /// Of the packets.
    summary: Summary,
    digests: Digests,
    /// Over what was read. CRC-32C.
    sum: u32,
    clusters: u64,
    /// Where the newest Cluster begins, until it has a packet.
    opened: Option<u64>,
    /// Where the newest Cluster with a packet begins: entries of the index up to here are proven.
    begun: Option<u64>,
    /// Entries of the index that were read.
    cues: usize,
}

impl ClusterProver {
    pub fn read(&self) -> u64 {
        self.reader.position()
    }

    /// Holds what was read against what was written.
    pub fn finish(mut self, head: &[u8], assembler: &Assembler, output: &Clusters) -> Result<(), Difference> {
        let mut events = Vec::new();
        self.reader.finish(&mut events);
        events.iter().try_for_each(|event| self.event(event, output))?;
        if self.read() != assembler.length() || self.clusters != output.clusters {
            let (bytes, clusters) = (self.read(), self.clusters);
            return Err(format!("it has {bytes} bytes and {clusters} Clusters").into());
        }
        self.prove_packets(output)?;
        let index = output.index.cues();
        if index.is_empty() || self.cues != index.len() {
            return Err(Difference::NoIndex);
        }
        self.prove_no_cue_astray(index, output)?;
        prove_head(head, assembler, output)?;
        if self.sum == output.sum.whole() {
            Ok(())
        } else {
            Err("its bytes are not those that were written".to_owned().into())
        }
    }

    /// Takes the next bytes.
    pub fn piece(&mut self, bytes: &[u8], output: &Clusters) -> Result<(), String> {
        self.sum = output.head.sum_on(self.sum, self.read(), bytes);
        let mut events = Vec::with_capacity(EVENTS);
        // Read half before and half after its end, the head would say neither.
        let bytes = with_in_place(&output.head.begun(), self.read(), bytes);
        self.reader.feed(&bytes, &mut events).map_err(|error| error.to_string())?;
        events.iter().try_for_each(|event| self.event(event, output))
    }

    fn event(&mut self, event: &Event, output: &Clusters) -> Result<(), String> {
        match event {
            Event::Tracks(_) => self.summary.fold(event),
            Event::Cluster { position, .. } => {
                self.clusters += 1;
                self.opened = Some(*position);
            }
            Event::Packet(packet) => {
                self.summary.fold(event);
                self.digests.take(packet);
                if let Some(cluster) = self.opened.take() {
                    self.prove_cue(cluster, packet, output)?;
                    self.begun = Some(cluster);
                }
            }
            Event::Cue { time_us, track, position } => {
                let wanted = output.index.cues().get(self.cues);
                let found = (*time_us, *track, *position);
                let told = |(time, track, position): Cue| {
                    (i64::from(time) * 1000, track, output.head.segment_data + position)
                };
                if wanted.copied().map(told) != Some(found) {
                    return Err(format!("entry {} of its index is {found:?}, not {wanted:?}", self.cues));
                }
                self.cues += 1;
            }
            Event::Damaged { position, what } => return Err(format!("at byte {position}: {what}")),
            Event::Duration { .. } | Event::NeedsSeeking => {}
        }
        Ok(())
    }

    /// The entry that leads to a Cluster, where there is one, is for the very packet that it begins with.
    fn prove_cue(&self, cluster: u64, first: &Packet, output: &Clusters) -> Result<(), String> {
        let data = output.head.segment_data;
        let index = output.index.cues();
        let (before, rest) = index.split_at(index.partition_point(|(.., at)| data + at < cluster));
        self.prove_no_cue_astray(before, output)?;
        let Some((time, number, _)) = rest.first().filter(|(.., at)| data + at == cluster) else {
            return Ok(());
        };
        let track = output.tracks.iter().find(|track| track.number == *number);
        let delay_us = track.map_or(0, |track| track.codec_delay_us);
        let time_us = first.time_us.saturating_add(i64::try_from(delay_us).unwrap_or(i64::MAX));
        let near = time_us.abs_diff(i64::from(*time) * 1000) <= ROUNDED_US;
        let begins = first.keyframe || track.is_some_and(|track| track.kind != TrackKind::Video);
        if first.track == *number && near && begins {
            Ok(())
        } else {
            Err(format!("its index leads to {time} ms, where decoding cannot begin"))
        }
    }

    /// None of these entries leads behind the newest Cluster: each that leads to it or before is proven.
    fn prove_no_cue_astray(&self, index: &[Cue], output: &Clusters) -> Result<(), String> {
        let last = index.last().map(|(.., at)| output.head.segment_data + at);
        if last <= self.begun {
            return Ok(());
        }
        Err(format!("its index leads to byte {}, where nothing begins", last.unwrap_or_default()))
    }

    fn prove_packets(&self, output: &Clusters) -> Result<(), String> {
        let counts = |summary: &Summary| -> Vec<_> {
            let count = |(number, account): (&u32, &TrackSummary)| {
                (*number, account.packets, account.keyframes, account.bytes, account.steps_back)
            };
            summary.packets.iter().map(count).collect()
        };
        let (found, wanted) = (counts(&self.summary), counts(&output.written));
        if found != wanted {
            return Err(format!("its packets are {found:?}, not {wanted:?}"));
        }
        if self.digests != output.digests {
            return Err("its packets are of other times or sizes".to_owned());
        }
        Ok(())
    }
}

/// The head says what became known at the end, and beside that it is what it was.
fn prove_head(head: &[u8], assembler: &Assembler, output: &Clusters) -> Result<(), String> {
    let Some(cues_at) = output.cues_at else { return Err("it is not finished".to_owned()) };
    let (mut reader, mut events) = (Reader::new(Container::Matroska), Vec::new());
    reader.feed(head, &mut events).map_err(|error| error.to_string())?;
    let mut says = Summary::default();
    says.extend(&events);
    let duration_us = assembler.end_us;
    if says.duration_us.is_none_or(|us| us.abs_diff(duration_us.unsigned_abs()) > 1) {
        return Err(format!("it says that it plays for {:?} µs, not {duration_us}", says.duration_us));
    }
    let stands = |(at, bytes): &(u64, Vec<u8>)| {
        let from = usize::try_from(*at).ok().and_then(|at| head.get(at..));
        from.is_some_and(|from| from.starts_with(bytes))
    };
    let completed = output.head.completed(cues_at, duration_us, assembler.length());
    let same = head.len() as u64 == output.head.bytes && output.head.sum_on(0, 0, head) == output.head.sum;
    if same && completed.iter().all(stands) {
        Ok(())
    } else {
        Err("its head is not what was written".to_owned())
    }
}

impl Default for ClusterProver {
    fn default() -> Self {
        Self {
            reader: Reader::new(Container::Matroska),
            summary: Summary::default(),
            digests: Digests::default(),
            sum: 0,
            clusters: 0,
            opened: None,
            begun: None,
            cues: 0,
        }
    }
}
