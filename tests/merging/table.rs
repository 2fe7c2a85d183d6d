//! The table of media cases in docs/RECORDING.md: each merged, with what was done.
//!
//! `UPDATE_DOCS=1 cargo test --test merging -- --ignored table` renews it.

use std::{fs, path::Path};

use greenroom::adapters::ports::{MergeError, Merged};

use crate::{
    browser::recorded,
    kit::{Recording, Shelf, merger, try_merge},
    support::setting,
};

/// What a person did, and under which name it was recorded.
const CASES: [(&str, &str); 24] = [
    ("pictures and sound, VP8 and Opus", "vp8"),
    ("VP9 and Opus", "vp9"),
    ("AV1 and Opus", "av1"),
    ("H.264 and Opus, asked for as WebM", "h264"),
    ("VP8 and uncompressed sound", "pcm"),
    ("sound alone", "sound"),
    ("pictures alone", "pictures"),
    ("MP4 with H.264 and Opus", "mp4-h264"),
    ("MP4 with VP9 and Opus", "mp4-vp9"),
    ("MP4 with AV1 and Opus", "mp4-av1"),
    ("MP4, sound alone", "mp4-sound"),
    ("a canvas with an alpha channel", "alpha"),
    ("chunks of 40 ms, by the hundred", "slices"),
    ("paused and resumed", "paused"),
    ("the shared screen ended, sound went on", "lost-track"),
    ("the page reloaded: two segments", "two"),
    ("three segments, another size in the middle", "sizes"),
    ("another codec in the second segment", "codecs"),
    ("no microphone in the second segment", "track-gone"),
    ("a microphone from the second segment on", "track-added"),
    ("pictures from the second segment on", "video-added"),
    ("every chunk a file of its own (15)", "files"),
    ("a WebM segment, then one in MP4", "mixed"),
    ("two segments of MP4", "mp4-two"),
];

/// A row: what came, what came out, and what was done; runs of segments with the same work are one entry.
fn row(name: &str, outcome: Result<&Merged, &MergeError>) -> String {
    let merged = match outcome {
        Ok(merged) => merged,
        Err(error) => return format!("| {name} | none | {error} |\n"),
    };
    let mut works: Vec<(&str, usize)> = Vec::new();
    for work in &merged.work {
        match works.last_mut() {
            Some((detail, count)) if *detail == work.detail => *count += 1,
            _ => works.push((&work.detail, 1)),
        }
    }
    let one = |(detail, count): &(&str, usize)| {
        if *count > 1 { format!("{count} × ({detail})") } else { (*detail).to_owned() }
    };
    let mut done = works.iter().map(one).collect::<Vec<_>>().join("; then ");
    if !merged.gaps.is_empty() {
        let missing =
            if merged.missing.is_empty() { "complete" } else { "`complete: false`, missing chunks listed" };
        done = format!(
            "{done}; **{} {}, {missing}**",
            merged.gaps.len(),
            if merged.gaps.len() == 1 { "gap" } else { "gaps" }
        );
    }
    format!("| {name} | {} ({}) | {done} |\n", merged.extension, merged.codecs.join(", "))
}

async fn add(table: &mut String, name: &str, recording: &Recording, shelf: Shelf) {
    let done = try_merge(recording, shelf, &merger()).await;
    table.push_str(&row(name, done.as_ref().map(|done| &done.merged)));
}

#[tokio::test]
#[ignore = "the table is renewed on purpose"]
async fn the_table_of_media_cases_is_true() {
    let mut table = String::from("| recorded | file | what was done |\n|---|---|---|\n");
    for (words, name) in CASES {
        let Some((recording, _)) = recorded(name) else { return };
        add(&mut table, words, &recording, Shelf::of(&recording)).await;
    }
    let vp8 = || recorded("vp8").map(|(recording, _)| recording).unwrap();
    let whole = vp8();
    let without = |indices: &[u32]| vp8().without(indices);
    for (words, recording) in [
        ("a chunk missing in the middle", without(&[3])),
        ("the last two chunks missing", without(&[whole.made - 2, whole.made - 1])),
        ("the first chunk missing", without(&[0])),
    ] {
        add(&mut table, words, &recording, Shelf::of(&recording)).await;
    }
    let two = recorded("two").map(|(recording, _)| recording).unwrap();
    let second = two
        .chunks
        .iter()
        .skip(1)
        .find(|(_, chunk)| chunk.mark.begins_segment)
        .map(|(index, _)| *index)
        .unwrap();
    let headless = two.without(&[second]);
    add(&mut table, "the first chunk of the second segment missing", &headless, Shelf::of(&headless)).await;
    let flipped = Shelf::of(&whole).change(3, |bytes| bytes[10] ^= 1);
    add(&mut table, "a byte flipped in storage", &whole, flipped).await;
    let zeroed = Shelf::of(&whole).change(2, |bytes| bytes.fill(0));
    add(&mut table, "a chunk zeroed in storage", &whole, zeroed).await;
    let mut cut = vp8();
    let last = cut.made - 1;
    let bytes = cut.chunks.remove(&last).unwrap().payload;
    cut.made = last;
    cut.push(&bytes[..bytes.len() - 40], false, 3000);
    add(&mut table, "the last chunk cut by a crash", &cut, Shelf::of(&cut)).await;
    check(&table);
}

fn check(table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/RECORDING.md");
    let page = fs::read_to_string(&path).unwrap();
    let (open, close) = ("<!-- generated: media cases -->\n", "<!-- end -->");
    let start = page.find(open).unwrap() + open.len();
    let end = start + page[start..].find(close).unwrap();
    let wanted = format!("{}{table}{}", &page[..start], &page[end..]);
    if page != wanted && setting("UPDATE_DOCS").is_some() {
        fs::write(&path, wanted).unwrap();
    } else {
        assert!(page == wanted, "docs/RECORDING.md is out of date:\n{table}");
    }
}
