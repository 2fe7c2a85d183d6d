//! The index of the new file, as long as it is being written.

use serde::{Deserialize, Serialize};

use super::{
    super::media::ebml,
    element::{put, put_number},
};

/// Leads to a Cluster: its time in milliseconds, the track, and its position in the Segment.
pub type Cue = (u32, u32, u64);

/// Cues, of which there are never more than a stated number: when they become too many every other one goes, and from
/// then on so many are left out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Index {
    cues: Vec<Cue>,
    /// Of so many places one is kept.
    every: u64,
    offered: u64,
    max: usize,
}

impl Index {
    pub fn new(max: usize) -> Self {
        Self { cues: Vec::new(), every: 1, offered: 0, max: max.max(2) }
    }

    pub fn offer(&mut self, cue: Cue) {
        if self.offered.is_multiple_of(self.every) {
            self.cues.push(cue);
        }
        self.offered += 1;
        if self.cues.len() > self.max {
            let mut at = 0;
            self.cues.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.every *= 2;
        }
    }

    /// In the order of their positions.
    pub fn cues(&self) -> &[Cue] {
        &self.cues
    }

    /// Of so many places one is kept.
    pub fn every(&self) -> u64 {
        self.every
    }

    /// The Cues element.
    pub fn put(&self, out: &mut Vec<u8>) {
        Self::put_cues(self.cues.iter(), out);
    }

    /// The same of these alone.
    pub fn put_cues<'a>(cues: impl Iterator<Item = &'a Cue>, out: &mut Vec<u8>) {
        let mut points = Vec::new();
        for (time, track, position) in cues {
            let (mut place, mut point) = (Vec::new(), Vec::new());
            put_number(ebml::CUE_TRACK, u64::from(*track), &mut place);
            put_number(ebml::CUE_CLUSTER_POSITION, *position, &mut place);
            put_number(ebml::CUE_TIME, u64::from(*time), &mut point);
            put(ebml::CUE_TRACK_POSITIONS, &place, &mut point);
            put(ebml::CUE_POINT, &point, &mut points);
        }
        put(ebml::CUES, &points, out);
    }
}
