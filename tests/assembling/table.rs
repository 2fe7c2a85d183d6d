//! Every case of media that Chromium's own recorder makes.

use greenroom::domain::assembly::Unfit;

use crate::{
    browser::recorded,
    compared::{assemble, assert_like_source, assert_whole},
};

/// What becomes of a recording.
enum Fate {
    /// It is assembled, and is what ffmpeg makes of it.
    Same,
    /// It is assembled; ffmpeg would fill what a segment lacks, and here nothing is made up.
    Unfilled,
    /// It is ffmpeg's.
    Merged(fn(&Unfit) -> bool),
}

const MIXED: Fate = Fate::Merged(|unfit| *unfit == Unfit::Mixed);
const APPEARED: Fate = Fate::Merged(|unfit| matches!(unfit, Unfit::TrackAppeared(_)));

/// What was recorded, under which name, and what becomes of it.
type Case = (&'static str, &'static str, Fate);

const ONE_SEGMENT: [Case; 11] = [
    ("pictures and sound, VP8 and Opus", "vp8", Fate::Same),
    ("VP9 and Opus", "vp9", Fate::Same),
    ("AV1 and Opus", "av1", Fate::Same),
    ("H.264 and Opus, asked for as WebM", "h264", Fate::Same),
    ("VP8 and uncompressed sound", "pcm", Fate::Same),
    ("sound alone", "sound", Fate::Same),
    ("pictures alone", "pictures", Fate::Same),
    ("a canvas with an alpha channel", "alpha", Fate::Same),
    ("chunks of 40 ms, by the hundred", "slices", Fate::Same),
    ("paused and resumed", "paused", Fate::Same),
    ("the shared screen ended, sound went on", "lost-track", Fate::Same),
];

const SEVERAL: [Case; 8] = [
    ("the page reloaded: two segments", "two", Fate::Same),
    ("three segments, another size in the middle", "sizes", Fate::Same),
    ("every chunk a file of its own (15)", "files", Fate::Same),
    ("no microphone in the second segment", "track-gone", Fate::Unfilled),
    ("another codec in the second segment", "codecs", Fate::Merged(changed)),
    ("a microphone from the second segment on", "track-added", APPEARED),
    ("pictures from the second segment on", "video-added", APPEARED),
    ("a WebM segment, then one in MP4", "mixed", MIXED),
];

const MP4: [Case; 5] = [
    ("MP4 with H.264 and Opus", "mp4-h264", Fate::Same),
    ("MP4 with VP9 and Opus", "mp4-vp9", Fate::Same),
    ("MP4 with AV1 and Opus", "mp4-av1", Fate::Same),
    ("MP4, sound alone", "mp4-sound", Fate::Same),
    ("two segments of MP4", "mp4-two", Fate::Same),
];

fn changed(unfit: &Unfit) -> bool {
    *unfit == Unfit::TrackChanged { from: "vp8".into(), to: "vp9".into() }
}

#[tokio::test]
async fn one_segment_that_a_browser_records_is_assembled() {
    assembled_or_refused(ONE_SEGMENT).await;
}

#[tokio::test]
async fn several_segments_that_a_browser_records_are_assembled_or_refused() {
    assembled_or_refused(SEVERAL).await;
}

#[tokio::test]
async fn mp4_that_a_browser_records_is_assembled() {
    assembled_or_refused(MP4).await;
}

async fn assembled_or_refused(cases: impl IntoIterator<Item = Case>) {
    for (words, name, fate) in cases {
        let Some((recording, segments)) = recorded(name) else { return };
        match fate {
            Fate::Same => drop(assert_whole(words, &recording, &segments).await),
            Fate::Unfilled => {
                let file = assemble(&recording).unwrap_or_else(|unfit| panic!("{words}: {unfit}"));
                assert_like_source(words, &file, &segments);
                file.assert_plays(words);
            }
            Fate::Merged(is) => {
                let unfit = assemble(&recording).map(drop).unwrap_err();
                assert!(is(&unfit), "{words}: {unfit}");
            }
        }
    }
}
