//! The media: made once for each test by ffmpeg, small, with what readers stumble over.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
};

use crate::tools;

/// A kind of file.
pub struct Case {
    pub name: &'static str,
    pub arguments: &'static str,
    pub ending: &'static str,
    /// Clusters get an unknown size afterwards, as a browser writes them.
    pub live: bool,
}

const fn case(name: &'static str, ending: &'static str, arguments: &'static str) -> Case {
    Case { name, arguments, ending, live: false }
}

const fn live(name: &'static str, ending: &'static str, arguments: &'static str) -> Case {
    Case { name, arguments, ending, live: true }
}

/// As MediaRecorder makes them: Clusters of a second, of unknown size, no index.
pub const LIVE: [Case; 4] = [
    live(
        "vp8 and opus",
        "webm",
        "PICTURES SOUND -c:v libvpx -b:v 300k -g 30 -c:a libopus -live 1 -cluster_time_limit 1000",
    ),
    live(
        "vp9 and opus",
        "webm",
        "PICTURES SOUND -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 30 -c:a libopus -live 1 -cluster_time_limit 1000",
    ),
    live(
        "h264 and opus",
        "mkv",
        "PICTURES SOUND -c:v libx264 -preset ultrafast -bf 0 -g 30 -c:a libopus -live 1 -cluster_time_limit 1000",
    ),
    live("opus alone", "webm", "SOUND -c:a libopus -live 1 -cluster_time_limit 500"),
];

/// Matroska that is written to a file.
pub const MATROSKA: [Case; 10] = [
    case("vp8 and opus, cues behind", "webm", "PICTURES SOUND -c:v libvpx -g 30 -c:a libopus"),
    case(
        "vp8 and vorbis, cues in front",
        "webm",
        "PICTURES SOUND -c:v libvpx -g 30 -c:a libvorbis -cues_to_front 1",
    ),
    case("vp8 with alpha", "webm", "PICTURES -vf format=yuva420p -c:v libvpx -auto-alt-ref 0 -g 30"),
    case("vp9 alone", "webm", "PICTURES -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 30"),
    case(
        "av1 and opus",
        "webm",
        "PICTURES SOUND -c:v libaom-av1 -cpu-used 8 -usage realtime -g 30 -c:a libopus",
    ),
    case(
        "h264 with reordering and aac",
        "mkv",
        "PICTURES SOUND -c:v libx264 -preset veryfast -bf 3 -g 30 -c:a aac",
    ),
    case("h264 and pcm", "mkv", "PICTURES SOUND -c:v libx264 -preset ultrafast -g 30 -c:a pcm_f32le"),
    case("flac alone", "mkv", "SOUND -c:a flac"),
    case("opus alone", "webm", "SOUND -c:a libopus"),
    case("small clusters", "webm", "PICTURES SOUND -c:v libvpx -g 30 -c:a libopus -cluster_size_limit 3000"),
];

/// MP4 in fragments.
pub const FRAGMENTED: [Case; 5] = [
    case(
        "h264 and aac, a fragment for each keyframe",
        "mp4",
        "PICTURES SOUND -c:v libx264 -preset ultrafast -bf 0 -g 30 -c:a aac -movflags frag_keyframe+empty_moov",
    ),
    case(
        "vp9 and opus, bases in the moof",
        "mp4",
        "PICTURES SOUND -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 30 -c:a libopus -strict -2 -movflags frag_keyframe+empty_moov+default_base_moof",
    ),
    case(
        "h264 with reordering, dash",
        "mp4",
        "PICTURES -c:v libx264 -preset veryfast -bf 3 -g 30 -movflags frag_keyframe+empty_moov+dash",
    ),
    case(
        "opus alone",
        "mp4",
        "SOUND -c:a libopus -strict -2 -movflags empty_moov+default_base_moof -frag_duration 500000",
    ),
    case(
        "av1, an index at the end",
        "mp4",
        "PICTURES -c:v libaom-av1 -cpu-used 8 -usage realtime -g 30 -movflags frag_keyframe+empty_moov+default_base_moof+global_sidx",
    ),
];

/// MP4 with sample tables.
pub const WHOLE: [Case; 4] = [
    case(
        "h264 with reordering and aac, moov in front",
        "mp4",
        "PICTURES SOUND -c:v libx264 -preset veryfast -bf 3 -g 30 -c:a aac -movflags faststart",
    ),
    case(
        "h264 and aac, moov behind",
        "mp4",
        "PICTURES SOUND -c:v libx264 -preset ultrafast -bf 0 -g 30 -c:a aac",
    ),
    case(
        "vp9 and opus",
        "mp4",
        "PICTURES SOUND -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 30 -c:a libopus -strict -2 -movflags faststart",
    ),
    case("av1 alone", "mp4", "PICTURES -c:v libaom-av1 -cpu-used 8 -usage realtime -g 30"),
];

/// A case's file and its bytes.
pub struct Media {
    pub file: PathBuf,
    pub bytes: Vec<u8>,
}

impl Case {
    /// Makes it, or takes what an earlier run made of the same arguments: encoding is most of what these tests cost.
    pub fn make(&self) -> Media {
        let inputs = [
            ("PICTURES", "-f lavfi -i testsrc2=size=160x120:rate=30:duration=4"),
            ("SOUND", "-f lavfi -i sine=frequency=440:duration=4"),
        ];
        let arguments =
            inputs.iter().fold(self.arguments.to_owned(), |text, (word, input)| text.replace(word, input));
        let mut hasher = DefaultHasher::new();
        (&arguments, self.ending, self.live).hash(&mut hasher);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("media_readers");
        let file = folder.join(format!("{:016x}.{}", hasher.finish(), self.ending));
        if let Ok(bytes) = std::fs::read(&file) {
            return Media { file, bytes };
        }
        std::fs::create_dir_all(&folder).expect("a folder");
        let own = tempfile::tempdir_in(&folder).expect("a folder");
        let made = own.path().join(format!("made.{}", self.ending));
        let mut bytes = tools::ffmpeg(&arguments, &made);
        if self.live {
            bytes = with_unknown_sizes(&bytes);
            std::fs::write(&made, &bytes).expect("written");
        }
        // Another test may have made it at the same time; either is as good.
        std::fs::rename(&made, &file).expect("renamed");
        Media { file, bytes }
    }
}

/// Writes every Cluster's size as unknown, in eight bytes, as Chromium does. ffmpeg writes its true size.
pub fn with_unknown_sizes(bytes: &[u8]) -> Vec<u8> {
    const CLUSTER: [u8; 4] = [0x1f, 0x43, 0xb6, 0x75];
    let vint = |at: usize| {
        let length = bytes[at].leading_zeros() as usize + 1;
        let value = bytes[at..at + length].iter().fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
        (length, value & ((1 << (7 * length)) - 1))
    };
    // The EBML header, then into the Segment.
    let (length, size) = vint(4);
    let segment = 4 + length + usize::try_from(size).expect("small");
    let mut at = segment + 4 + vint(segment + 4).0;
    let mut rewritten = bytes[..at].to_vec();
    while at < bytes.len() {
        let id = bytes[at].leading_zeros() as usize + 1;
        let (length, size) = vint(at + id);
        let body = at + id + length;
        let end = body + usize::try_from(size).expect("known");
        if bytes[at..].starts_with(&CLUSTER) {
            rewritten.extend_from_slice(&CLUSTER);
            rewritten.extend_from_slice(&[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
            rewritten.extend_from_slice(&bytes[body..end]);
        } else {
            rewritten.extend_from_slice(&bytes[at..end]);
        }
        at = end;
    }
    rewritten
}
