//! What reading a segment or a file came to: its summary, and each packet's time and size.

use std::collections::BTreeMap;

use crate::domain::media::{Event, Summary, Track, TrackKind};

/// Most packets of a track that are remembered one by one: three days of speech. What comes then is only counted.
pub const PACKETS_MAX: usize = 12_000_000;

/// The packets of one track, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PacketLog {
    /// When each is presented. Unit: microseconds.
    pub times_us: Vec<i64>,
    /// Of each payload. Unit: bytes.
    pub bytes: Vec<u32>,
    /// Times of those that decoding can begin at. Unit: microseconds.
    pub keyframes_us: Vec<i64>,
    /// All packets, also those that are not remembered.
    pub packets: u64,
}

impl PacketLog {
    /// Of its earliest and its latest packet. Unit: microseconds.
    #[must_use]
    pub fn span_us(&self) -> (i64, i64) {
        let times = || self.times_us.iter().copied();
        (times().min().unwrap_or(0), times().max().unwrap_or(0))
    }
}

/// Reading, folded.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// What came, summed up.
    pub summary: Summary,
    /// By the track's number in the file.
    pub logs: BTreeMap<u32, PacketLog>,
    /// Tracks were told of, also when there are none.
    pub knows_tracks: bool,
}

impl Tally {
    /// Takes the next event.
    pub fn fold(&mut self, event: &Event) {
        self.summary.fold(event);
        match event {
            Event::Tracks(_) => self.knows_tracks = true,
            Event::Packet(packet) => {
                let log = self.logs.entry(packet.track).or_default();
                log.packets += 1;
                if log.times_us.len() < PACKETS_MAX {
                    log.times_us.push(packet.time_us);
                    log.bytes.push(packet.bytes);
                    if packet.keyframe {
                        log.keyframes_us.push(packet.time_us);
                    }
                }
            }
            Event::Duration { .. }
            | Event::Cluster { .. }
            | Event::Cue { .. }
            | Event::NeedsSeeking
            | Event::Damaged { .. } => {}
        }
    }

    /// Its tracks that have packets, pictures first.
    #[must_use]
    pub fn tracks(&self) -> Vec<(&Track, &PacketLog)> {
        let of = |kind| {
            let tracks = self.summary.tracks.iter().filter(move |track| track.kind == kind);
            tracks.filter_map(|track| Some((track, self.logs.get(&track.number)?)))
        };
        of(TrackKind::Video).chain(of(TrackKind::Audio)).collect()
    }

    /// As [`Summary::length_us`].
    #[must_use]
    pub fn length_us(&self) -> i64 {
        self.summary.length_us()
    }

    /// Whether there is not one packet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.logs.values().all(|log| log.packets == 0)
    }
}
