//! The finished file, read back: whether it holds what was put into it, packet for packet.

use super::{
    super::{
        media::{Container, Event, Packet, ReadError, Reader, Summary, TrackKind, TrackSummary},
        merge::Difference,
    },
    Assembled,
    output::Digests,
};

/// A packet's time and that of its Cluster may be off by so much: both are whole milliseconds.
const ROUNDED_US: u64 = 1000;

/// Takes the file, cut anywhere.
#[derive(Debug, Clone)]
pub struct Prover {
    reader: Reader,
    events: Vec<Event>,
    summary: Summary,
    digests: Digests,
    /// Of each Cluster, where it begins and the packet that it begins with.
    clusters: Vec<(u64, Option<Packet>)>,
    bytes: u64,
}

impl Prover {
    /// Begins with the first byte.
    #[must_use]
    pub fn new() -> Self {
        Self {
            reader: Reader::new(Container::Matroska),
            events: Vec::new(),
            summary: Summary::default(),
            digests: Digests::default(),
            clusters: Vec::new(),
            bytes: 0,
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ReadError> {
        let read = self.reader.feed(bytes, &mut self.events);
        self.bytes += bytes.len() as u64;
        self.fold();
        read
    }

    /// Holds what was read against what was written.
    ///
    /// # Errors
    /// Says what differs, for people.
    pub fn finish(mut self, assembled: &Assembled) -> Result<(), Difference> {
        self.reader.finish(&mut self.events);
        self.fold();
        let differs = |words: String| Err(Difference::Other(words));
        if let Some((position, what)) = self.summary.damaged.first() {
            return differs(format!("at byte {position}: {what}"));
        }
        if self.bytes != assembled.bytes || self.clusters.len() as u64 != assembled.clusters {
            let (bytes, clusters) = (self.bytes, self.clusters.len());
            return differs(format!("it has {bytes} bytes and {clusters} Clusters"));
        }
        self.prove_packets(assembled)?;
        self.prove_index(assembled)?;
        match self.summary.duration_us {
            Some(us) if us.abs_diff(assembled.duration_us.unsigned_abs()) <= 1 => Ok(()),
            says => differs(format!("it says that it plays for {says:?} µs, not {}", assembled.duration_us)),
        }
    }

    fn fold(&mut self) {
        for event in self.events.drain(..) {
            match &event {
                Event::Cluster { position, .. } => self.clusters.push((*position, None)),
                Event::Packet(packet) => {
                    self.digests.take(packet);
                    if let Some((_, first @ None)) = self.clusters.last_mut() {
                        *first = Some(*packet);
                    }
                }
                _ => {}
            }
            self.summary.fold(&event);
        }
    }

    fn prove_packets(&self, assembled: &Assembled) -> Result<(), Difference> {
        let written = &assembled.written;
        let counts = |summary: &Summary| -> Vec<_> {
            let count = |(number, account): (&u32, &TrackSummary)| {
                (*number, account.packets, account.keyframes, account.bytes, account.steps_back)
            };
            summary.packets.iter().map(count).collect()
        };
        let (found, wanted) = (counts(&self.summary), counts(&written.summary));
        if found != wanted {
            return Err(format!("its packets are {found:?}, not {wanted:?}").into());
        }
        if self.digests != written.digests {
            return Err("its packets are of other times or sizes".to_owned().into());
        }
        Ok(())
    }

    /// Every entry leads to a Cluster, and to the very packet that it is for.
    fn prove_index(&self, assembled: &Assembled) -> Result<(), Difference> {
        if self.summary.cues.is_empty() || self.summary.cues.len() != assembled.cues {
            return Err(Difference::NoIndex);
        }
        for (time_us, number, position) in &self.summary.cues {
            let at = self.clusters.binary_search_by_key(position, |(position, _)| *position);
            let first = at.ok().and_then(|at| self.clusters.get(at)).and_then(|(_, first)| *first);
            let track = self.summary.tracks.iter().find(|track| track.number == *number);
            let (Some(first), Some(track)) = (first, track) else {
                return Err(format!("its index leads to byte {position}, where nothing begins").into());
            };
            let delay_us = i64::try_from(track.codec_delay_us).unwrap_or(0);
            let near = first.time_us.saturating_add(delay_us).abs_diff(*time_us) <= ROUNDED_US;
            let begins = first.keyframe || track.kind != TrackKind::Video;
            if first.track != *number || !near || !begins {
                return Err(format!("its index leads to {time_us} µs, where decoding cannot begin").into());
            }
        }
        Ok(())
    }
}

impl Default for Prover {
    fn default() -> Self {
        Self::new()
    }
}
