//! What a stream of events comes to: the account that is compared before and after ffmpeg.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Event, Packet, Track, TrackKind};

/// Packets may be stored this many places away from where they are shown, in codecs that reorder: what H.264 and
/// H.265 allow at most.
const REORDER_MAX: usize = 16;
/// Most entries of the index, and most Clusters, whose positions are kept.
const POSITIONS_MAX: usize = 1 << 20;

/// How long anything lasts at least.
const LENGTH_US_MIN: i64 = 40_000;

/// Folds events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// As the header has them.
    pub tracks: Vec<Track>,
    /// The account of each track that had a packet.
    pub packets: BTreeMap<u32, TrackSummary>,
    /// How long the file says it is.
    pub duration_us: Option<u64>,
    /// Time and position of the Clusters or fragments, in order; the first million.
    pub clusters: Vec<(i64, u64)>,
    /// Time, track and position of each entry of the index; the first million.
    pub cues: Vec<(i64, u32, u64)>,
    /// What did not hold together, the first hundred: position and a few words.
    #[serde(skip)]
    pub damaged: Vec<(u64, &'static str)>,
    /// A pipe is not enough to read it.
    pub needs_seeking: bool,
    clusters_fall: bool,
}

/// One track's packets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackSummary {
    /// How many.
    pub packets: u64,
    /// Of them, those that decoding can begin at.
    pub keyframes: u64,
    /// Of payload.
    pub bytes: u64,
    /// Earliest.
    pub first_us: i64,
    /// Latest.
    pub last_us: i64,
    /// Largest step between packets that are settled, and where it begins.
    largest: (u64, i64),
    /// Packets earlier than the codec allows behind what came before.
    pub steps_back: u64,
    /// Packets at the time of another one.
    pub repeats: u64,
    /// Of the latest packet, where it says one.
    last_duration_us: Option<u64>,
    /// The newest times, sorted; what leaves is settled.
    window: Vec<i64>,
    settled: Option<i64>,
    steps: Steps,
}

/// The usual step: how often each of a few came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Steps(Vec<(u64, u64)>);

impl Steps {
    const KINDS_MAX: usize = 32;

    fn note(&mut self, step_us: u64) {
        if let Some((_, count)) = self.0.iter_mut().find(|(step, _)| *step == step_us) {
            *count += 1;
        } else if self.0.len() < Self::KINDS_MAX {
            self.0.push((step_us, 1));
        }
    }

    fn usual(&self) -> Option<u64> {
        self.0.iter().max_by_key(|(step, count)| (*count, std::cmp::Reverse(*step))).map(|(step, _)| *step)
    }
}

impl Summary {
    /// Takes the next event.
    pub fn fold(&mut self, event: &Event) {
        match event {
            Event::Tracks(tracks) => self.tracks.clone_from(tracks),
            Event::Duration { us } => self.duration_us = Some(*us),
            Event::Cluster { position, time_us } => {
                self.clusters_fall |= self.clusters.last().is_some_and(|(last, _)| last >= time_us);
                if self.clusters.len() < POSITIONS_MAX {
                    self.clusters.push((*time_us, *position));
                }
            }
            Event::Packet(packet) => {
                let track = self.tracks.iter().find(|track| track.number == packet.track);
                let window = if track.is_some_and(|track| track.codec.reorders()) { REORDER_MAX } else { 0 };
                self.packets.entry(packet.track).or_default().take(packet, window);
            }
            Event::Cue { time_us, track, position } => {
                if self.cues.len() < POSITIONS_MAX {
                    self.cues.push((*time_us, *track, *position));
                }
            }
            Event::NeedsSeeking => self.needs_seeking = true,
            Event::Damaged { position, what } => {
                if self.damaged.len() < 100 {
                    self.damaged.push((*position, what));
                }
            }
        }
    }

    /// Takes events.
    pub fn extend<'a>(&mut self, events: impl IntoIterator<Item = &'a Event>) {
        events.into_iter().for_each(|event| self.fold(event));
    }

    /// Where the last packet of all tracks ends, in microseconds; 0 without any.
    #[must_use]
    pub fn end_us(&self) -> i64 {
        self.packets.values().map(TrackSummary::end_us).max().unwrap_or(0)
    }

    /// From its first packet to the end of its last; a single picture lasts for a moment too. Unit: microseconds.
    #[must_use]
    pub fn length_us(&self) -> i64 {
        let least = if self.packet_count() == 0 { 0 } else { LENGTH_US_MIN };
        self.end_us().saturating_sub(self.first_us()).max(least)
    }

    /// Of the first packet of all tracks; 0 without any.
    #[must_use]
    pub fn first_us(&self) -> i64 {
        self.packets.values().map(|track| track.first_us).min().unwrap_or(0)
    }

    /// Of all tracks.
    #[must_use]
    pub fn packet_count(&self) -> u64 {
        self.packets.values().map(|track| track.packets).sum()
    }

    /// The tracks of a kind, with their accounts.
    pub fn of_kind(&self, kind: TrackKind) -> impl Iterator<Item = (&Track, Option<&TrackSummary>)> {
        let tracks = self.tracks.iter().filter(move |track| track.kind == kind);
        tracks.map(|track| (track, self.packets.get(&track.number)))
    }

    /// Whether no track's time steps back further than its codec may reorder.
    #[must_use]
    pub fn times_rise(&self) -> bool {
        self.packets.values().all(|track| track.steps_back == 0)
    }

    /// Whether each Cluster is later than the one before.
    #[must_use]
    pub fn clusters_rise(&self) -> bool {
        !self.clusters_fall
    }

    /// Entries of the index that lead to no Cluster: positions. Clusters stand in the order of the file.
    #[must_use]
    pub fn cues_astray(&self) -> Vec<u64> {
        let is_cluster =
            |position: &u64| self.clusters.binary_search_by_key(position, |(_, position)| *position).is_ok();
        self.cues.iter().map(|(.., position)| *position).filter(|position| !is_cluster(position)).collect()
    }
}

impl TrackSummary {
    /// Where its last packet ends: by its own duration, else by the track's usual step.
    #[must_use]
    pub fn end_us(&self) -> i64 {
        let length = self.last_duration_us.or_else(|| self.usual_step_us()).unwrap_or(0);
        self.last_us.saturating_add(i64::try_from(length).unwrap_or(i64::MAX))
    }

    /// The step between packets that came most often, in microseconds.
    #[must_use]
    pub fn usual_step_us(&self) -> Option<u64> {
        self.all_settled().steps.usual()
    }

    /// The largest step between packets in the order of time, and where it begins; microseconds.
    #[must_use]
    pub fn largest_step(&self) -> (u64, i64) {
        self.all_settled().largest
    }

    /// As if nothing more came.
    fn all_settled(&self) -> Self {
        let mut all = self.clone();
        while !all.window.is_empty() {
            all.settle();
        }
        all
    }

    fn take(&mut self, packet: &Packet, window: usize) {
        let time = packet.time_us;
        if self.packets == 0 || time < self.first_us {
            self.first_us = time;
        }
        if self.packets == 0 || time >= self.last_us {
            (self.last_us, self.last_duration_us) = (time, packet.duration_us);
        }
        self.packets += 1;
        self.keyframes += u64::from(packet.keyframe);
        self.bytes += u64::from(packet.bytes);
        if self.settled.is_some_and(|settled| time < settled) {
            self.steps_back += 1;
            return;
        }
        self.repeats += u64::from(self.window.contains(&time) || self.settled == Some(time));
        let place = self.window.partition_point(|other| *other <= time);
        self.window.insert(place, time);
        if self.window.len() > window {
            self.settle();
        }
    }

    /// The earliest time of the window is in its place for good.
    fn settle(&mut self) {
        let time = self.window.remove(0);
        if let Some(before) = self.settled.replace(time) {
            let step = time.abs_diff(before);
            self.steps.note(step);
            if step > self.largest.0 {
                self.largest = (step, before);
            }
        }
    }
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
