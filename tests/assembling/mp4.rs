//! MP4 that ffmpeg makes, in fragments: codecs, cuttings, segments, and what is missing.

use greenroom::domain::assembly::Unfit;

use crate::{
    apply::apply,
    browser::recorded,
    compared::{assert_damaged, assert_same_however_cut, assert_whole, refused},
    kit::{AAC, AV1, FRAGMENTS, H264, OPUS, Recording, VP9, both, media, run},
};

const SOUND: &str = "-f lavfi -i sine=f=440:r=48000:d=5";
const PICTURES: &str = "-f lavfi -i testsrc2=s=160x120:r=30:d=3";
/// Pictures are stored in another order than they are shown in.
const REORDERED: &str = "-c:v libx264 -preset veryfast -bf 2 -g 45 -pix_fmt yuv420p";
/// Fragments of a third of a second.
const SHORT: &str = "-c:v libx264 -preset ultrafast -bf 0 -g 10 -pix_fmt yuv420p";

#[tokio::test]
async fn one_segment_of_each_kind() {
    let both = |seconds| both("160x120", seconds);
    let cases = [
        ("H.264 and AAC", format!("{} {H264} {AAC} {FRAGMENTS}", both("3")), 4),
        ("hundreds of chunks", format!("{} {H264} {OPUS} {FRAGMENTS}", both("4")), 300),
        ("reordered pictures", format!("{} {REORDERED} {AAC} {FRAGMENTS}", both("4")), 5),
        ("reordered pictures alone", format!("{PICTURES} {REORDERED} {FRAGMENTS}"), 5),
        ("VP9", format!("{} {VP9} {OPUS} {FRAGMENTS}", both("3")), 4),
        ("AV1", format!("{} {AV1} {OPUS} {FRAGMENTS}", both("2")), 3),
        (
            "sound alone",
            format!("{SOUND} {AAC} -f mp4 -frag_duration 500000 -movflags empty_moov+default_base_moof"),
            6,
        ),
        ("pictures alone", format!("{PICTURES} {H264} {FRAGMENTS}"), 3),
        (
            "absolute positions",
            format!("{} {H264} {AAC} -f mp4 -movflags frag_keyframe+empty_moov", both("3")),
            4,
        ),
        (
            "one fragment",
            format!("{} {H264} {AAC} -f mp4 -movflags empty_moov+default_base_moof", both("2")),
            4,
        ),
    ];
    for (name, args, pieces) in cases {
        let source = media(&args);
        let recording = Recording::default().segment(&source, pieces, 7);
        let file = assert_whole(name, &recording, &[source]).await;
        assert_eq!(kinds(&std::fs::read(file.file.path()).unwrap()), ["ftyp", "mdat", "moov"], "{name}");
    }
}

/// What stands in a file directly.
fn kinds(mut bytes: &[u8]) -> Vec<String> {
    let mut kinds = Vec::new();
    while !bytes.is_empty() {
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let size =
            if word(0) == 1 { u64::from(word(8)) << 32 | u64::from(word(12)) } else { u64::from(word(0)) };
        kinds.push(String::from_utf8_lossy(&bytes[4..8]).into_owned());
        bytes = &bytes[usize::try_from(size).unwrap()..];
    }
    kinds
}

#[tokio::test]
async fn several_segments() {
    for coders in [format!("{H264} {AAC}"), format!("{REORDERED} {AAC}"), format!("{VP9} {OPUS}")] {
        let of = |seconds| media(&format!("{} {coders} {FRAGMENTS}", both("160x120", seconds)));
        let segments = vec![of("2"), of("3"), of("2")];
        let add = |recording: Recording, (bytes, seed): (&Vec<u8>, u64)| recording.segment(bytes, 4, seed);
        let recording = segments.iter().zip(5..).fold(Recording::default(), add);
        assert_whole(&coders, &recording, &segments).await;
    }
}

#[tokio::test]
async fn chunks_that_are_missing() {
    let cases: [(&str, usize, &[u32]); 4] = [
        ("one in the middle", 12, &[5]),
        ("several", 20, &[4, 5, 11, 15]),
        ("every third", 30, &[3, 6, 9, 12, 15, 18, 21, 24, 27]),
        ("the last two", 12, &[10, 11]),
    ];
    let bytes = media(&format!("{} {SHORT} {AAC} {FRAGMENTS}", both("160x120", "6")));
    for (name, pieces, missing) in cases {
        let mut recording = Recording::default();
        for (at, piece) in (0..).zip(bytes.chunks(bytes.len().div_ceil(pieces))) {
            recording.push(piece, at == 0, at * 500);
        }
        let file = assert_damaged(name, &recording.without(missing), &bytes).await;
        assert_eq!(file.assembled.missing, missing, "{name}");
    }
}

#[tokio::test]
async fn a_chunk_missing_of_what_a_browser_records() {
    for name in ["mp4-h264", "mp4-vp9", "mp4-av1"] {
        let Some((recording, segments)) = recorded(name) else { return };
        let lost = recording.made / 2;
        assert_damaged(name, &recording.without(&[lost]), &segments[0]).await;
    }
}

#[tokio::test]
async fn however_it_is_cut_the_file_is_the_same() {
    let source = media(&format!("{} {REORDERED} {AAC} {FRAGMENTS}", both("160x120", "4")));
    assert_same_however_cut(&source);
}

#[tokio::test]
async fn what_is_for_ffmpeg_is_refused() {
    let of = |coders: &str, size| media(&format!("{} {coders}", both(size, "2")));
    let edited = of(
        &format!("{REORDERED} {AAC} -f mp4 -movflags frag_keyframe+delay_moov+default_base_moof"),
        "160x120",
    );
    assert_eq!(refused(&[&edited]), Unfit::Header("a track has an edit list".into()));
    let coders = format!("{H264} {AAC} {FRAGMENTS}");
    let (small, large) = (of(&coders, "160x120"), of(&coders, "320x240"));
    assert!(matches!(refused(&[&small, &large]), Unfit::TrackChanged { .. }));
    let pictures = media(&format!("{PICTURES} {H264} {FRAGMENTS}"));
    assert_eq!(refused(&[&pictures, &small]), Unfit::TrackAppeared("aac".into()));
}

/// While it is recorded anybody may read it, as far as it is settled.
#[tokio::test]
async fn what_has_come_so_far_can_be_read() {
    use greenroom::domain::assembly::{Assembler, Rules, Writes};
    let source = media(&format!("{} {SHORT} {AAC} {FRAGMENTS}", both("160x120", "4")));
    let (mut assembler, mut writes, mut file) =
        (Assembler::new(Rules::default()), Writes::default(), Vec::new());
    let mut packets = Vec::new();
    for (index, piece) in (0..).zip(source.chunks(source.len().div_ceil(5))) {
        assembler.chunk(index, index == 0, piece, &mut writes).unwrap();
        apply(&writes, &mut file);
        let settled = &file[..usize::try_from(assembler.settled()).unwrap()];
        let grown = crate::kit::file_of(settled);
        let name = grown.path().to_str().unwrap();
        let found =
            run("ffprobe", &["-v", "error", "-show_entries", "packet=pts_time", "-of", "csv=p=0", name]);
        packets.push(String::from_utf8(found).unwrap().lines().count());
    }
    assert!(packets.is_sorted() && packets[0] > 0 && packets[4] > packets[2], "{packets:?}");
}
