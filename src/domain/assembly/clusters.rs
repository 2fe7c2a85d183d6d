//! The new file from its first block on: its tracks, its Clusters and its index.

use serde::{Deserialize, Serialize};

use super::{
    super::{
        media::{Container, Event, Packet, Summary, Track, TrackKind, ebml},
        merge::{Family, MergePlan, SegmentFacts},
    },
    Rules, Unfit,
    block::{self, Place},
    element::{SIZE_UNKNOWN, put_id, put_number, size_in_eight},
    head::{self, Head},
    index::Index,
    sums::{Digests, Sum},
    writes::Writes,
};

/// A block may lie so far before its Cluster; 16 bits hold a little more. Unit: milliseconds.
const BACK_MS_MAX: i64 = 30_000;
/// As far as a block may lie behind it, whatever the rules say. Unit: milliseconds.
const AHEAD_MS_MAX: i64 = 30_000;

/// What has been written, and what is open.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Clusters {
    pub family: Family,
    /// Pictures first.
    pub tracks: Vec<Track>,
    pub head: Head,
    cluster: Option<Cluster>,
    pub clusters: u64,
    pub index: Index,
    /// What was written, as a reader will find it.
    pub written: Summary,
    pub digests: Digests,
    pub sum: Sum,
    /// Where the index stands, once it does.
    pub cues_at: Option<u64>,
    /// Of the newest picture. Unit: milliseconds.
    pictures_ms: Option<i64>,
}

/// The open Cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Cluster {
    /// Of its first byte.
    at: u64,
    /// Unit: milliseconds.
    time_ms: i64,
}

/// A block on its way: its packets as the reader of the new file will tell them, and its bytes.
pub struct Block<'a> {
    pub packets: &'a [Packet],
    pub element: &'a [u8],
    /// As it is written: with the encoder's delay. Unit: milliseconds.
    pub time_ms: i64,
}

impl Clusters {
    /// Begins the file: with the tracks of the first segment that has a packet.
    pub fn begin(
        tracks: &[Track],
        tracks_element: &[u8],
        rules: &Rules,
        out: &mut Writes,
    ) -> Result<Self, Unfit> {
        if tracks_element.len() > rules.header_bytes_max {
            return Err(Unfit::TooLarge("the header is larger than may be held".into()));
        }
        let facts = tracks.iter().map(|track| (track.clone(), 0)).collect();
        let plan = MergePlan::of(&[SegmentFacts { container: Container::Matroska, tracks: facts }]);
        let tracks: Vec<_> = plan.tracks.into_iter().map(|target| target.model).collect();
        let entries = head::entries(tracks_element, &tracks)?;
        let head = Head::put(plan.family, &entries, out.bytes());
        out.fresh();
        let mut written = Summary::default();
        written.fold(&Event::Tracks(tracks.clone()));
        Ok(Self {
            family: plan.family,
            tracks,
            sum: Sum::behind(head.sum),
            head,
            cluster: None,
            clusters: 0,
            index: Index::new(rules.cues_max),
            written,
            digests: Digests::default(),
            cues_at: None,
            pictures_ms: None,
        })
    }

    /// Appends a block. Returns of how many frames.
    pub fn block(&mut self, block: &Block<'_>, rules: &Rules, out: &mut Writes) -> Result<u64, Unfit> {
        let Some(first) = block.packets.first() else { return Ok(0) };
        for packet in block.packets {
            self.written.fold(&Event::Packet(*packet));
            self.digests.take(packet);
        }
        if self.written.packets.get(&first.track).is_some_and(|account| account.steps_back > 0) {
            return Err(Unfit::TimesFall);
        }
        let cluster_ms = self.cluster_for(block, first, rules, out)?;
        let time = i16::try_from(block.time_ms - cluster_ms).map_err(|_| Unfit::TimesFall)?;
        let place = Place { track: first.track, time };
        let frames = block::put(block.element, place, out.bytes()).ok_or(Unfit::Block)?;
        if frames != block.packets.len() as u64 {
            return Err(Unfit::Block);
        }
        if self.kind(first.track) == Some(TrackKind::Video) {
            self.pictures_ms = self.pictures_ms.max(Some(block.time_ms));
        }
        Ok(frames)
    }

    /// Appends something that stands beside the blocks of a Cluster; what stands beside Clusters ends them.
    pub fn beside(&mut self, element: &[u8], in_cluster: bool, out: &mut Writes) {
        if !in_cluster {
            self.close(out);
        }
        if !in_cluster || self.cluster.is_some() {
            out.bytes().extend_from_slice(element);
        }
    }

    /// Ends the open Cluster: now its size is known.
    pub fn close(&mut self, out: &mut Writes) {
        if let Some(cluster) = self.cluster.take() {
            let size = size_in_eight(out.position() - cluster.at - 12);
            self.sum_up(out);
            self.sum.close(&size);
            out.patch(cluster.at + 4, &size);
        }
    }

    /// Takes what was appended since into the sum.
    pub fn sum_up(&mut self, out: &mut Writes) {
        self.sum.take(out.fresh());
    }

    /// Appends the index and completes the head.
    pub fn end(&mut self, duration_us: i64, out: &mut Writes) -> Result<(), Unfit> {
        self.close(out);
        let blind = |track: &&Track| {
            let account = self.written.packets.get(&track.number);
            track.kind == TrackKind::Video && account.is_some_and(|account| account.keyframes == 0)
        };
        if self.tracks.iter().any(|track| blind(&track)) || self.index.cues().is_empty() {
            return Err(Unfit::NoKeyframe);
        }
        let cues_at = out.position();
        self.cues_at = Some(cues_at);
        self.index.put(out.bytes());
        for (at, bytes) in self.head.completed(cues_at, duration_us, out.position()) {
            out.patch(at, &bytes);
        }
        Ok(())
    }

    /// Of the open Cluster: so long is what stands before it. Unit: milliseconds.
    pub fn open_time_ms(&self) -> Option<i64> {
        self.cluster.as_ref().map(|cluster| cluster.time_ms)
    }

    /// Behind which everything that is written may still change.
    pub fn open_from(&self) -> Option<u64> {
        self.cluster.as_ref().map(|cluster| cluster.at)
    }

    fn kind(&self, number: u32) -> Option<TrackKind> {
        self.tracks.iter().find(|track| track.number == number).map(|track| track.kind)
    }

    /// The time of the Cluster that the block goes to, which may be a new one.
    fn cluster_for(
        &mut self,
        block: &Block<'_>,
        first: &Packet,
        rules: &Rules,
        out: &mut Writes,
    ) -> Result<i64, Unfit> {
        let picture = self.kind(first.track) == Some(TrackKind::Video);
        let begins_picture = picture && first.keyframe;
        if let Some(cluster) = &self.cluster {
            let after_ms = block.time_ms - cluster.time_ms;
            if after_ms < -BACK_MS_MAX {
                return Err(Unfit::TimesFall);
            }
            let full = after_ms > rules.cluster_ms_max.min(AHEAD_MS_MAX)
                || out.position() - cluster.at + block.element.len() as u64 > rules.cluster_bytes_max;
            if !full && !begins_picture {
                return Ok(cluster.time_ms);
            }
        }
        self.close(out);
        let time = u32::try_from(block.time_ms).map_err(|_| Unfit::TimesJump)?;
        let at = out.position();
        // Without pictures for a while, sound leads the way.
        let long_ago = |pictures_ms: i64| block.time_ms - pictures_ms > rules.cluster_ms_max;
        if begins_picture || (!picture && self.pictures_ms.is_none_or(long_ago)) {
            self.index.offer((time, first.track, at - self.head.segment_data));
        }
        put_id(ebml::CLUSTER, out.bytes());
        self.sum_up(out);
        out.leave_open(SIZE_UNKNOWN.len());
        out.fresh();
        self.sum.open();
        put_number(ebml::TIMESTAMP, u64::from(time), out.bytes());
        self.cluster = Some(Cluster { at, time_ms: block.time_ms });
        self.clusters += 1;
        Ok(block.time_ms)
    }
}
