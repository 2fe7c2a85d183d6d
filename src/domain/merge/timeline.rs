//! Where everything stands in the video: each segment begins where the one before ends.

use super::{Layout, Piece};
use crate::{domain::media::GapReport, protocol::recorder::Gap};

/// What reading a segment told of its time. Times are its own, in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimelineSegment {
    /// Of its first packet.
    pub first_us: i64,
    /// From its first packet to the end of its last; 0 for one without packets.
    pub length_us: i64,
    /// The numbers of its tracks of pictures.
    pub video: Vec<u32>,
    /// What the repair says of its gaps.
    pub gaps: Vec<GapReport>,
    /// For each of its holes, in order, which of the gaps it is; `None`: nothing was passed on around it.
    pub holes: Vec<Option<usize>>,
}

impl TimelineSegment {
    /// Where everything goes on behind a gap; `None`: nowhere. Pictures that found no keyframe before the next gap, or
    /// the end, did not go on at all.
    fn resumes_us(&self, gap: usize) -> Option<i64> {
        let report = self.gaps.get(gap)?;
        let back = |track: &u32| report.resumed.iter().any(|(other, _)| other == track);
        if report.dropped > 0 && !self.video.iter().all(back) {
            return self.gaps.get(gap + 1).and_then(|next| next.from_us);
        }
        report.to_us
    }
}

/// The segments of a layout, with their times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeline {
    /// One for each segment of the layout.
    pub segments: Vec<TimelineSegment>,
}

impl Timeline {
    /// Where a segment begins in the video. Unit: microseconds.
    #[must_use]
    pub fn begins_us(&self, segment: usize) -> i64 {
        self.segments.iter().take(segment).map(|segment| segment.length_us).sum()
    }

    /// The stretches of the video for which something is missing: every index that is in no segment is in exactly one
    /// of them (M-2), and damage that came with the recorder's own bytes is listed without an index.
    #[must_use]
    pub fn gaps(&self, layout: &Layout) -> Vec<Gap> {
        let mut gaps = Vec::new();
        if !layout.before.is_empty() {
            gaps.push(Gap { from_ms: 0, to_ms: 0, chunks: layout.before.clone() });
        }
        for (at, segment) in layout.segments.iter().enumerate() {
            let holes = segment.pieces.iter().filter_map(|piece| match piece {
                Piece::Chunk(_) => None,
                Piece::Hole(indices) => Some(indices),
            });
            let Some(times) = self.segments.get(at) else {
                gaps.extend(holes.map(|indices| Gap { from_ms: 0, to_ms: 0, chunks: indices.clone() }));
                continue;
            };
            self.gaps_of(at, times, holes.cloned().collect(), &mut gaps);
        }
        gaps
    }

    fn gaps_of(&self, at: usize, times: &TimelineSegment, holes: Vec<Vec<u32>>, gaps: &mut Vec<Gap>) {
        let begins_us = self.begins_us(at);
        let end_us = times.first_us.saturating_add(times.length_us);
        let in_video = |us: i64| {
            let us = begins_us.saturating_add(us.clamp(times.first_us, end_us) - times.first_us);
            u64::try_from(us / 1000).unwrap_or(0)
        };
        let place = |report: Option<usize>, chunks| {
            let gap = report.and_then(|at| times.gaps.get(at));
            let from_us = gap.map_or(end_us, |gap| gap.from_us.unwrap_or(times.first_us));
            let to_us = report.and_then(|at| times.resumes_us(at)).unwrap_or(end_us);
            Gap { from_ms: in_video(from_us), to_ms: in_video(to_us.max(from_us)), chunks }
        };
        let mut listed: Vec<(usize, Gap)> = Vec::new();
        for (hole, chunks) in holes.into_iter().enumerate() {
            let report = times.holes.get(hole).copied().flatten();
            match listed.last_mut() {
                // Nothing played between the two.
                Some((same, gap)) if Some(*same) == report => gap.chunks.extend(chunks),
                _ => {
                    let order = report.unwrap_or(times.gaps.len());
                    listed.push((order, place(report, chunks)));
                }
            }
        }
        let told: Vec<_> = listed.iter().map(|(order, _)| *order).collect();
        let untold = times.gaps.iter().enumerate().filter(|(order, _)| !told.contains(order));
        listed.extend(untold.map(|(order, _)| (order, place(Some(order), Vec::new()))));
        listed.sort_by_key(|(order, _)| *order);
        gaps.extend(listed.into_iter().map(|(_, gap)| gap));
    }
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
