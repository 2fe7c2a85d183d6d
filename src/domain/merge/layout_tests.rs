use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::merge::{Timeline, TimelineSegment};

fn chunk(index: u32, begins_segment: bool, timecode_ms: Option<u32>) -> PlannedChunk {
    let mark = ChunkMark { length: 10, crc: index, begins_segment, timecode_ms };
    PlannedChunk { index: ChunkIndex::new(index).unwrap(), mark }
}

/// Chunks as letters: `S` begins a segment, `.` goes on, `_` is missing, `0` is kept empty.
fn layout(text: &str, expected: u32, unusable: &[u32]) -> Layout {
    let chunks = (0..).zip(text.chars()).filter(|(_, letter)| *letter != '_');
    let chunks = chunks.map(|(index, letter)| match letter {
        '0' => PlannedChunk { mark: ChunkMark::VOID, ..chunk(index, false, None) },
        letter => chunk(index, letter == 'S', None),
    });
    Layout::of(chunks, expected, &unusable.iter().copied().collect())
}

/// What the segments hold: their ranges of chunks, and the holes.
fn shown(layout: &Layout) -> Vec<String> {
    let piece = |piece: &Piece| match piece {
        Piece::Chunk(chunk) => chunk.index.to_string(),
        Piece::Hole(indices) => format!("{indices:?}"),
    };
    let segment = |segment: &Segment| segment.pieces.iter().map(piece).collect::<Vec<_>>().join(" ");
    layout.segments.iter().map(segment).collect()
}

#[test]
fn segments_begin_where_a_recorder_did() {
    assert_eq!(shown(&layout("S..S.", 5, &[])), ["0 1 2", "3 4"]);
    assert_eq!(shown(&layout("...", 3, &[])), ["0 1 2"], "the first chunk begins one whatever its mark says");
    assert_eq!(shown(&layout("SSS", 0, &[])), ["0", "1", "2"]);
    assert_eq!(layout("", 0, &[]), Layout::default());
}

#[test]
fn what_is_kept_empty_is_neither_a_chunk_nor_a_hole() {
    assert_eq!(shown(&layout("S.0.S0.00", 9, &[])), ["0 1 3", "4 6"]);
    assert_eq!(shown(&layout("S0_0.", 7, &[])), ["0 [2] 4 [5, 6]"]);
    assert_eq!(shown(&layout("0..", 3, &[])), ["1 2"], "the first that there is begins one");
    assert_eq!(layout("00", 2, &[]), Layout::default());
}

#[test]
fn what_is_missing_is_a_hole_where_it_is_missing() {
    assert_eq!(shown(&layout("S._.__S_", 9, &[])), ["0 1 [2] 3 [4, 5]", "6 [7, 8]"]);
    assert_eq!(shown(&layout("S...", 4, &[1, 2])), ["0 [1, 2] 3"]);
    assert_eq!(layout("S._.", 4, &[]).missing(), [2]);
}

#[test]
fn without_its_first_chunk_a_segment_is_of_no_use() {
    let lost = layout("_..S.", 5, &[]);
    assert_eq!((shown(&lost), lost.missing()), (vec!["3 4".to_owned()], vec![0, 1, 2]));
    // It was stored once, and its mark says that it began one.
    assert_eq!(shown(&layout("S.S..S", 6, &[2])), ["0 1 [2, 3, 4]", "5"]);
    assert!(layout("_...", 4, &[]).segments.is_empty());
}

#[test]
fn a_clock_that_begins_anew_behind_a_hole_shows_a_lost_beginning() {
    let timed = [(0, 0), (1, 1000), (2, 2000), (4, 900), (5, 1900)];
    let chunks = || timed.iter().map(|(index, ms)| chunk(*index, *index == 0, Some(*ms)));
    assert_eq!(shown(&Layout::of(chunks(), 6, &BTreeSet::new())), ["0 1 2 [3, 4, 5]"]);
    // Without a hole the clock may do what it likes.
    let chunks = [(0, 0), (1, 1000), (2, 500)].map(|(index, ms)| chunk(index, index == 0, Some(ms)));
    assert_eq!(shown(&Layout::of(chunks, 3, &BTreeSet::new())), ["0 1 2"]);
}

fn chunks() -> impl Strategy<Value = Vec<PlannedChunk>> {
    let made = (any::<bool>(), any::<bool>(), proptest::option::of(0_u32..5000));
    proptest::collection::vec(proptest::option::weighted(0.8, made), 0..60).prop_map(|made| {
        let there = (0..).zip(made).filter_map(|(index, made)| Some((index, made?)));
        there.map(|(index, (one, other, time))| chunk(index, one && other, time)).collect()
    })
}

proptest! {
    /// M-1, M-2.
    #[test]
    fn every_chunk_is_in_its_place_once_and_every_missing_one_in_one_gap(
        chunks in chunks(),
        expected in 0_u32..70,
        unusable in proptest::collection::btree_set(0_u32..60, 0..6),
    ) {
        let layout = Layout::of(chunks.iter().copied(), expected, &unusable);
        let planned: Vec<_> = layout.segments.iter().flat_map(Segment::chunks).copied().collect();
        prop_assert!(planned.is_sorted_by(|a, b| a.index < b.index), "in order, once");
        let stored: BTreeMap<_, _> = chunks.iter().map(|chunk| (chunk.index.get(), *chunk)).collect();
        for chunk in &planned {
            prop_assert_eq!(stored.get(&chunk.index.get()), Some(chunk));
            prop_assert!(!unusable.contains(&chunk.index.get()));
        }

        let missing = layout.missing();
        prop_assert!(missing.is_sorted_by(|a, b| a < b), "{:?}", missing);
        let end = expected.max(chunks.last().map_or(0, |chunk| chunk.index.get() + 1));
        let mut all: Vec<_> = planned.iter().map(|chunk| chunk.index.get()).chain(missing.iter().copied()).collect();
        all.sort_unstable();
        prop_assert_eq!(all, (0..end).collect::<Vec<_>>(), "each index is planned or missing");

        for segment in &layout.segments {
            let holes_apart = segment.pieces.windows(2).all(|pair| !matches!(pair, [Piece::Hole(_), Piece::Hole(_)]));
            prop_assert!(holes_apart && matches!(segment.pieces[0], Piece::Chunk(_)));
        }
        for timeline in [Timeline::default(), Timeline { segments: vec![TimelineSegment::default(); 3] }] {
            let listed: Vec<_> = timeline.gaps(&layout).into_iter().flat_map(|gap| gap.chunks).collect();
            prop_assert_eq!(&listed, &missing, "each in one gap");
        }
    }
}
