use std::collections::BTreeSet;

use super::*;
use crate::{
    domain::merge::PlannedChunk,
    protocol::chunk::{ChunkIndex, ChunkMark},
};

/// Chunks as letters: `S` begins a segment, `.` goes on, `_` is missing.
fn layout(text: &str) -> Layout {
    let chunks = (0..).zip(text.chars()).filter(|(_, letter)| *letter != '_').map(|(index, letter)| {
        let mark = ChunkMark { length: 1, crc: 0, begins_segment: letter == 'S', timecode_ms: None };
        PlannedChunk { index: ChunkIndex::new(index).unwrap(), mark }
    });
    Layout::of(chunks, u32::try_from(text.len()).unwrap(), &BTreeSet::new())
}

fn whole(first_us: i64, length_us: i64) -> TimelineSegment {
    TimelineSegment { first_us, length_us, video: vec![1], ..TimelineSegment::default() }
}

fn report(from_us: i64, to_us: Option<i64>) -> GapReport {
    let resumed = to_us.map(|us| (1, us)).into_iter().collect();
    GapReport { from_us: Some(from_us), to_us, resumed, ..GapReport::default() }
}

fn gap(from_ms: u64, to_ms: u64, chunks: &[u32]) -> Gap {
    Gap { from_ms, to_ms, chunks: chunks.to_vec() }
}

#[test]
fn a_gap_is_told_in_the_time_of_the_video() {
    let second = TimelineSegment {
        gaps: vec![report(1_100_000, Some(2_100_000))],
        holes: vec![Some(0)],
        ..whole(100_000, 4_000_000)
    };
    let timeline = Timeline { segments: vec![whole(0, 3_000_000), second] };
    assert_eq!(timeline.gaps(&layout("S.S._.")), [gap(4000, 5000, &[4])]);
}

#[test]
fn what_is_missing_before_between_and_behind_has_no_length() {
    let trailing = |gaps| TimelineSegment { gaps, holes: vec![Some(0)], ..whole(0, 2_000_000) };
    let timeline = Timeline { segments: vec![trailing(vec![report(2_000_000, None)]), whole(0, 1_000_000)] };
    assert_eq!(timeline.gaps(&layout("_.S__S")), [gap(0, 0, &[0, 1]), gap(2000, 2000, &[3, 4])]);
}

#[test]
fn two_holes_with_nothing_played_between_are_one_gap() {
    let segment = TimelineSegment {
        gaps: vec![report(1_000_000, Some(3_000_000))],
        holes: vec![Some(0), Some(0)],
        ..whole(0, 5_000_000)
    };
    let timeline = Timeline { segments: vec![segment] };
    assert_eq!(timeline.gaps(&layout("S_._.")), [gap(1000, 3000, &[1, 3])]);
}

#[test]
fn damage_that_nobody_announced_is_listed_without_a_chunk() {
    let segment = TimelineSegment {
        gaps: vec![report(500_000, Some(900_000)), report(2_000_000, Some(2_500_000))],
        holes: vec![Some(1)],
        ..whole(0, 5_000_000)
    };
    let timeline = Timeline { segments: vec![segment] };
    assert_eq!(timeline.gaps(&layout("S._.")), [gap(500, 900, &[]), gap(2000, 2500, &[2])]);
}

#[test]
fn pictures_that_never_found_a_keyframe_are_gone_until_the_next_gap_or_the_end() {
    let sound_only =
        |from_us, to_us| GapReport { dropped: 9, resumed: vec![(2, to_us)], ..report(from_us, Some(to_us)) };
    let segment = TimelineSegment {
        gaps: vec![sound_only(1_000_000, 1_500_000), sound_only(3_000_000, 3_500_000)],
        holes: vec![Some(0), Some(1)],
        ..whole(0, 5_000_000)
    };
    let timeline = Timeline { segments: vec![segment] };
    assert_eq!(timeline.gaps(&layout("S_._.")), [gap(1000, 3000, &[1]), gap(3000, 5000, &[3])]);
}
