//! What is missing or damaged is listed, everything else is there, and no picture is wrong.

use greenroom::{adapters::ports::MergeError, protocol::recorder::Gap};

use crate::kit::{
    Done, FRAGMENTS, H264, Item, LIVE, LIVE_MKV, OPUS, Recording, Shelf, VP8, VP9, both, file_of, frames,
    from_zero, media, merge, merger, packets, try_merge,
};

fn source(coders: &str) -> Vec<u8> {
    media(&format!("{} {coders}", both("160x120", "6")))
}

fn webm() -> Vec<u8> {
    source(&format!("{VP8} {OPUS} {LIVE}"))
}

/// Pieces of the same size, so that a missing one is a stretch of time.
fn even(bytes: &[u8], pieces: usize) -> Recording {
    let mut recording = Recording::default();
    for (at, piece) in (0..).zip(bytes.chunks(bytes.len().div_ceil(pieces))) {
        recording.push(piece, at == 0, at * 500);
    }
    recording
}

/// Whether each item of the result is one of the source, at its time, and in order.
fn assert_from(what: &str, source: &[Item], found: &[Item]) {
    let mut rest = source.iter();
    for item in found {
        let there = rest.any(|other| other.hash == item.hash && other.time_ms.abs_diff(item.time_ms) <= 2);
        assert!(there, "{what}: what is shown at {} ms was not recorded then", item.time_ms);
    }
}

/// Nothing is in the result that was not recorded, packet or picture, and pictures go on behind the gap.
fn assert_only_recorded(done: &Done, bytes: &[u8]) {
    let file = file_of(bytes);
    let (wanted, found) = (from_zero(packets(file.path())), from_zero(packets(&done.merged.file)));
    for (wanted, found) in wanted.iter().zip(&found) {
        assert!(found.len() < wanted.len(), "something is missing, and all is there");
        // Containers write H.264 in two ways; its pictures are compared.
        if done.merged.codecs[0] != "h264" {
            assert_from("packets", wanted, found);
        }
    }
    let (wanted, found) = (frames(file.path()), frames(&done.merged.file));
    assert_from("pictures", &wanted, &found);
    for gap in &done.merged.gaps {
        let within = |item: &&Item| {
            let time_ms = u64::try_from(item.time_ms).unwrap();
            // Everything goes on where the later of pictures and sound does.
            time_ms > gap.from_ms + 2 && time_ms + 60 < gap.to_ms
        };
        assert_eq!(found.iter().find(within), None, "a picture within {gap:?}");
        let behind =
            found.iter().filter(|item| u64::try_from(item.time_ms).unwrap() + 60 >= gap.to_ms).count();
        let at_end = gap.to_ms + 100 >= done.merged.duration_ms;
        let goes_over = done.merged.gaps.iter().any(|next| next.from_ms == gap.to_ms);
        assert!(behind > 0 || at_end || goes_over, "no pictures behind {gap:?}");
    }
    assert!(done.percents.is_sorted() && done.percents.last() == Some(&100), "{:?}", done.percents);
}

fn lost(gaps: &[Gap]) -> Vec<u32> {
    gaps.iter().flat_map(|gap| gap.chunks.iter().copied()).collect()
}

#[tokio::test]
async fn a_chunk_missing_in_the_middle() {
    let formats = [
        format!("{VP8} {OPUS} {LIVE}"),
        format!("{VP9} {OPUS} {LIVE}"),
        format!("{H264} {OPUS} {LIVE_MKV}"),
        format!("{H264} {OPUS} {FRAGMENTS}"),
    ];
    for format in formats {
        let bytes = source(&format);
        let done = merge(&even(&bytes, 12).without(&[5])).await;
        assert_only_recorded(&done, &bytes);
        assert_eq!(done.merged.missing, [5], "{format}");
        assert_eq!(lost(&done.merged.gaps), [5]);
        let gap = &done.merged.gaps[0];
        assert!((1000..4000).contains(&gap.from_ms) && gap.from_ms < gap.to_ms, "{format}: {gap:?}");
        assert!(done.merged.duration_ms > 5900, "{} ms", done.merged.duration_ms);
    }
}

#[tokio::test]
async fn several_chunks_missing() {
    let bytes = webm();
    let done = merge(&even(&bytes, 20).without(&[4, 5, 11, 15])).await;
    assert_only_recorded(&done, &bytes);
    assert_eq!(done.merged.missing, [4, 5, 11, 15]);
    assert_eq!(lost(&done.merged.gaps), [4, 5, 11, 15], "{:?}", done.merged.gaps);
}

#[tokio::test]
async fn chunks_missing_at_the_end() {
    let bytes = webm();
    let done = merge(&even(&bytes, 12).without(&[10, 11])).await;
    assert_only_recorded(&done, &bytes);
    assert_eq!(done.merged.missing, [10, 11]);
    let [gap] = &done.merged.gaps[..] else { panic!("{:?}", done.merged.gaps) };
    assert!(gap.to_ms.abs_diff(done.merged.duration_ms) < 60, "{gap:?} of {} ms", done.merged.duration_ms);
}

#[tokio::test]
async fn a_recording_that_ends_within_a_frame() {
    let bytes = webm();
    let cut = &bytes[..bytes.len() - 200];
    let done = merge(&even(cut, 6)).await;
    let (wanted, found) = (from_zero(packets(file_of(&bytes).path())), from_zero(packets(&done.merged.file)));
    for (wanted, found) in wanted.iter().zip(&found) {
        assert_from("packets", wanted, found);
        assert!(wanted.len() - found.len() <= 3, "{} of {}", found.len(), wanted.len());
    }
    assert!(done.merged.missing.is_empty(), "no chunk is missing");
}

#[tokio::test]
async fn the_first_chunk_of_a_segment_is_missing() {
    let bytes = webm();
    let two = || even(&bytes, 6).segment(&bytes, 6, 3);
    let done = merge(&two().without(&[6])).await;
    assert_eq!(done.merged.missing, [6, 7, 8, 9, 10, 11], "without its header none of it can be read");
    assert_eq!(lost(&done.merged.gaps), [6, 7, 8, 9, 10, 11]);
    assert_eq!(packets(&done.merged.file)[0].len(), 180);

    let done = merge(&two().without(&[0])).await;
    assert_eq!(done.merged.missing, [0, 1, 2, 3, 4, 5]);
    assert_eq!(done.merged.gaps, [Gap { from_ms: 0, to_ms: 0, chunks: vec![0, 1, 2, 3, 4, 5] }]);
    assert_eq!(packets(&done.merged.file)[0].len(), 180);
}

#[tokio::test]
async fn a_byte_flipped_in_storage() {
    let bytes = webm();
    let recording = even(&bytes, 12);
    let shelf = Shelf::of(&recording).change(7, |bytes| bytes[100] ^= 1);
    let done = try_merge(&recording, shelf, &merger()).await.unwrap();
    assert_only_recorded(&done, &bytes);
    assert_eq!((&done.merged.missing, lost(&done.merged.gaps)), (&vec![7], vec![7]));
}

#[tokio::test]
async fn chunks_zeroed_cut_and_gone_in_storage() {
    let bytes = webm();
    let recording = even(&bytes, 12);
    let shelf = Shelf::of(&recording).change(3, |bytes| bytes.fill(0)).change(4, |bytes| bytes.truncate(9));
    let shelf = shelf.change(8, Vec::clear);
    let done = try_merge(&recording, shelf, &merger()).await.unwrap();
    assert_only_recorded(&done, &bytes);
    assert_eq!((&done.merged.missing, lost(&done.merged.gaps)), (&vec![3, 4, 8], vec![3, 4, 8]));

    let mut shelf = Shelf::of(&recording);
    shelf.chunks.remove(&2);
    let done = try_merge(&recording, shelf, &merger()).await.unwrap();
    assert_eq!(done.merged.missing, [2]);
}

#[tokio::test]
async fn a_second_segment_whose_first_chunk_rots_is_left_out() {
    let bytes = webm();
    let recording = even(&bytes, 4).segment(&bytes, 3, 3);
    let shelf = Shelf::of(&recording).change(4, |bytes| bytes[0] ^= 1);
    let done = try_merge(&recording, shelf, &merger()).await.unwrap();
    assert_eq!(done.merged.missing, [4, 5, 6]);
    assert_eq!(packets(&done.merged.file)[0].len(), 180);
}

#[tokio::test]
async fn damage_that_the_recorder_sent_itself_is_a_gap_too() {
    let bytes = webm();
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 20_000].fill(0);
    let done = merge(&even(&damaged, 12)).await;
    assert!(done.merged.missing.is_empty(), "every chunk is what was acknowledged");
    let [gap] = &done.merged.gaps[..] else { panic!("{:?}", done.merged.gaps) };
    assert!(gap.chunks.is_empty() && gap.from_ms < gap.to_ms, "{gap:?}");
    let (wanted, found) = (frames(file_of(&bytes).path()), frames(&done.merged.file));
    let to_ms = i64::try_from(gap.to_ms).unwrap();
    let behind: Vec<_> = found.into_iter().filter(|frame| frame.time_ms + 2 >= to_ms).collect();
    assert!(behind.len() > 20, "{} pictures behind the gap", behind.len());
    assert_from("pictures behind it", &wanted, &behind);
}

#[tokio::test]
async fn a_store_that_stumbles_loses_nothing() {
    let recording = even(&webm(), 6);
    let shelf = Shelf::of(&recording);
    shelf.failing.lock().unwrap().extend([(0, 1), (3, 2)]);
    let done = try_merge(&recording, shelf, &merger()).await.unwrap();
    assert!(done.merged.missing.is_empty());
}

#[tokio::test]
async fn a_chunk_that_never_can_be_read_is_missing() {
    let bytes = webm();
    let recording = even(&bytes, 6);
    let shelf = Shelf::of(&recording);
    shelf.failing.lock().unwrap().insert(3, u32::MAX);
    let done = try_merge(&recording, shelf, &merger()).await.unwrap();
    assert_only_recorded(&done, &bytes);
    assert_eq!(done.merged.missing, [3]);
}

#[tokio::test]
async fn a_store_that_is_away_is_waited_for() {
    let recording = even(&webm(), 4);
    let shelf = Shelf::of(&recording);
    shelf.failing.lock().unwrap().extend((0..4).map(|index| (index, u32::MAX)));
    let error = try_merge(&recording, shelf, &merger()).await.map(drop).unwrap_err();
    assert!(matches!(error, MergeError::Interrupted(_)), "{error}");
}

/// What cannot be merged is told in a sentence, and is no video.
async fn impossible(recording: &Recording) -> String {
    let error = try_merge(recording, Shelf::of(recording), &merger()).await.map(drop).unwrap_err();
    assert!(matches!(error, MergeError::Impossible(_)) && !error.is_transient(), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn what_holds_nothing_is_no_video() {
    let bytes = webm();
    let header = bytes.windows(4).position(|four| four == [0x1f, 0x43, 0xb6, 0x75]).unwrap();
    let recording = Recording::default().segment(&bytes[..header], 1, 1);
    let error = try_merge(&recording, Shelf::of(&recording), &merger()).await.map(drop).unwrap_err();
    let refusal = error.refusal();
    assert_eq!((refusal.code.name(), error.is_transient()), ("empty_recording", false));
    assert!(refusal.message().contains("it has a header, but not one picture and no sound"), "{refusal:?}");
    let said = impossible(&Recording::default().segment(&bytes[..5], 1, 1)).await;
    assert!(said.contains("its header does not end"), "{said}");
    let said = impossible(&Recording::default().segment(b"<!doctype html>", 2, 1)).await;
    assert!(said.contains("begins as neither WebM nor MP4"), "{said}");
    let said = impossible(&even(&bytes, 6).without(&[0])).await;
    assert!(said.contains("its beginning is missing"), "{said}");
    let said = impossible(&Recording::default()).await;
    assert!(said.contains("its beginning is missing"), "{said}");
}
