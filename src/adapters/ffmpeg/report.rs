//! What is told of a finished video.

use std::collections::BTreeSet;

use super::{
    job::{Attempt, Made},
    segment::Part,
};
use crate::{
    adapters::ports::Merged,
    domain::media::TrackKind,
    domain::merge::{Layout, MergePlan, PlannedChunk, Timeline, TimelineSegment, mime_type},
    protocol::recorder::{Did, SegmentWork},
};

impl Attempt<'_> {
    /// Tells of it.
    pub async fn report(&self, parts: &[Part], made: Made) -> Merged {
        let layout = self.layout_as_merged(parts);
        let timeline = Timeline { segments: parts.iter().map(times).collect() };
        let poster = self.poster(&made, &timeline).await;
        self.percent.step(0.0, 100.0).reach(1, 1);
        let tracks: Vec<_> = made.found.tally.tracks().into_iter().map(|(track, _)| track).collect();
        Merged {
            file: self.job.folder.join(&made.name),
            proof: made.found.proof,
            sent: None,
            sha256: made.found.proof.sha256,
            extension: made.plan.family.extension(),
            mime_type: mime_type(made.plan.family, &tracks),
            codecs: tracks.iter().map(|track| track.codec.name().to_owned()).collect(),
            duration_ms: u64::try_from((made.found.tally.length_us() + 500) / 1000).unwrap_or(0),
            poster,
            poster_follows: false,
            missing: layout.missing(),
            gaps: timeline.gaps(&layout),
            work: work(&layout, parts, &made.plan),
        }
    }

    /// The layout without the chunks that turned out to be of no use on the way; they are inside segments, so the
    /// segments are the same.
    fn layout_as_merged(&self, parts: &[Part]) -> Layout {
        let lost = self.layout.missing().into_iter();
        let known: BTreeSet<_> = lost.chain(parts.iter().flat_map(|part| part.bad.iter().copied())).collect();
        let chunks =
            self.job.chunks.iter().map(|chunk| PlannedChunk { index: chunk.index, mark: chunk.mark });
        Layout::of(chunks, self.job.expected, &known)
    }
}

fn times(part: &Part) -> TimelineSegment {
    let tracks = part.fed.tally.summary.tracks.iter();
    let video = tracks.filter(|track| track.kind == TrackKind::Video).map(|track| track.number);
    TimelineSegment {
        video: video.collect(),
        first_us: part.fed.tally.summary.first_us(),
        length_us: part.fed.tally.length_us(),
        gaps: part.fed.gaps.clone(),
        holes: part.fed.holes.clone(),
    }
}

/// What was done with each segment. Those without packets are in no plan.
fn work(layout: &Layout, parts: &[Part], plan: &MergePlan) -> Vec<SegmentWork> {
    let mut work = Vec::new();
    let mut planned = 0;
    for ((segment, part), number) in layout.segments.iter().zip(parts).zip(0..) {
        if part.fed.tally.is_empty() {
            let detail = "nothing in it but a header".to_owned();
            work.push(SegmentWork { segment: number, chunks: segment.range(), did: Did::Copied, detail });
        } else {
            let mut done = plan.work(planned, number, segment.range());
            // Where another segment has something, this one's was filled, and that is said already.
            for track in part.never_came().filter(|track| !plan.has_kind(track.kind)) {
                done.detail.push_str(&format!(", no packet of {}", track.codec.name()));
            }
            work.push(done);
            planned += 1;
        }
    }
    work
}
