//! Media as recorders make it, by ffmpeg, made once and kept; and what can be seen in a file.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Chance, installed, keep};

/// Three seconds of VP8 and Opus in WebM, written as a browser does: live, without duration and index, a cluster a
/// second.
pub fn webm() -> &'static [u8] {
    static MEDIA: OnceLock<Vec<u8>> = OnceLock::new();
    MEDIA.get_or_init(|| {
        let codecs = "-c:v libvpx -deadline realtime -cpu-used -8 -b:v 200k -g 15 -c:a libopus -b:a 32k";
        make(&format!("{codecs} -f webm -live 1 -cluster_time_limit 1000"))
    })
}

/// The same seconds as H.264 and AAC in fragmented MP4.
pub fn mp4() -> &'static [u8] {
    static MEDIA: OnceLock<Vec<u8>> = OnceLock::new();
    MEDIA.get_or_init(|| {
        let codecs =
            "-c:v libx264 -preset ultrafast -bf 0 -pix_fmt yuv420p -b:v 200k -g 15 -c:a aac -b:a 32k";
        make(&format!("{codecs} -f mp4 -movflags +frag_keyframe+empty_moov+default_base_moof"))
    })
}

/// The same seconds as VP9 and sound without a codec in Matroska.
pub fn vp9() -> &'static [u8] {
    static MEDIA: OnceLock<Vec<u8>> = OnceLock::new();
    MEDIA.get_or_init(|| {
        let codecs = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 200k -g 15 -c:a pcm_s16le";
        make(&format!("{codecs} -f matroska -live 1 -cluster_time_limit 1000"))
    })
}

/// Pictures and sound in Matroska, in so many bytes that a video of them goes into a bucket in parts.
pub fn large() -> &'static [u8] {
    static MEDIA: OnceLock<Vec<u8>> = OnceLock::new();
    MEDIA.get_or_init(|| uncompressed(50))
}

/// The same, so long that parts of it go there while it is recorded.
pub fn longer() -> &'static [u8] {
    static MEDIA: OnceLock<Vec<u8>> = OnceLock::new();
    MEDIA.get_or_init(|| uncompressed(160))
}

fn uncompressed(seconds: u32) -> Vec<u8> {
    let codecs = "-c:v libvpx -deadline realtime -cpu-used -8 -b:v 200k -g 15 -c:a pcm_s16le -ac 2";
    make_long(seconds, &format!("{codecs} -f matroska -live 1 -cluster_time_limit 1000"))
}

fn make(output: &str) -> Vec<u8> {
    make_long(3, output)
}

fn make_long(seconds: u32, output: &str) -> Vec<u8> {
    let sources =
        "-f lavfi -i testsrc2=size=160x120:rate=15 -f lavfi -i sine=frequency=440:sample_rate=48000";
    kept(&format!("{sources} -t {seconds} {output}"))
}

/// What this ffmpeg makes of these words, made once: to encode the same again takes longer than most tests.
pub fn kept(words: &str) -> Vec<u8> {
    let mut hasher = DefaultHasher::new();
    (words, installed("ffmpeg").map(|(_, mark)| mark)).hash(&mut hasher);
    let file = keep(&format!("{:016x}.media", hasher.finish()), || {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-nostdin"]).args(words.split_whitespace()).arg("pipe:1");
        let bytes = run(ffmpeg);
        assert!(!bytes.is_empty(), "{words} made nothing");
        Some(bytes)
    });
    fs::read(file.expect("made")).expect("readable")
}

/// What a file's container says, and each packet of it (`ffprobe -show_format -show_streams`).
pub fn probe(file: &Path) -> Value {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-show_format", "-show_streams", "-of", "json"]).arg(file);
    serde_json::from_slice(&run(ffprobe)).expect("ffprobe speaks JSON")
}

/// Every packet of media: for video and for sound, in order, the time since the first and a hash of its bytes.
pub fn packets(media: &[u8]) -> [Vec<(i64, String)>; 2] {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("media");
    fs::write(&file, media).expect("written");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-i"]).arg(&file);
    ffmpeg.args(["-map", "0:v", "-map", "0:a", "-c", "copy", "-f", "framehash", "-hash", "md5", "-"]);
    let listing = String::from_utf8(run(ffmpeg)).expect("text");
    ["0", "1"].map(|stream| timed(&listing, stream))
}

/// Fails unless what was told of a complete video is true of these bytes, and they are what was recorded, packet by packet.
pub fn assert_recorded(told: &Value, bytes: &[u8], recorded: &[u8]) {
    assert_eq!((&told["complete"], &told["gaps"]), (&json!(true), &json!([])), "{told}");
    assert_eq!((&told["sizeBytes"], &told["sha256"]), (&json!(bytes.len()), &json!(sha256(bytes))), "{told}");
    assert_same_packets(recorded, bytes);
}

/// The same packets at the same times, but for a millisecond of rounding.
fn assert_same_packets(recorded: &[u8], made: &[u8]) {
    for (kind, (recorded, made)) in ["video", "sound"].iter().zip(packets(recorded).iter().zip(packets(made)))
    {
        assert_eq!(recorded.len(), made.len(), "packets of {kind}");
        for (at, (one, other)) in recorded.iter().zip(made).enumerate() {
            assert_eq!(one.1, other.1, "packet {at} of {kind}");
            assert!((one.0 - other.0).abs() <= 1, "packet {at} of {kind} is at {} for {}", other.0, one.0);
        }
    }
}

/// A stream's lines of framehash: stream, dts, pts, duration, size, hash; times in units that the head names.
fn timed(listing: &str, stream: &str) -> Vec<(i64, String)> {
    let head = format!("#tb {stream}: 1/");
    let unit = listing.lines().find_map(|line| line.strip_prefix(&head)).expect("a unit");
    let unit: i64 = unit.trim().parse().expect("a number");
    let rows = listing.lines().filter(|line| !line.starts_with('#'));
    let rows = rows.map(|line| line.split(',').map(str::trim).collect::<Vec<_>>());
    let rows: Vec<_> = rows
        .filter(|fields| fields[0] == stream)
        .map(|fields| (fields[2].parse::<i64>().expect("a time"), fields[5].to_owned()))
        .collect();
    let first = rows.first().map_or(0, |row| row.0);
    rows.into_iter().map(|(pts, hash)| ((pts - first) * 1000 / unit, hash)).collect()
}

/// In hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn run(mut command: Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output().expect("ffmpeg is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Cuts media into so many chunks, none empty, by chance; a seed always makes the same.
pub fn cut(media: &[u8], chunks: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut chance = Chance(seed);
    let mut borders = std::collections::BTreeSet::new();
    while borders.len() + 1 < chunks {
        borders.insert(1 + chance.below(media.len() - 1));
    }
    cut_at(media, &borders.into_iter().collect::<Vec<_>>())
}

/// Cuts media into so many chunks of about the same size.
pub fn cut_evenly(media: &[u8], chunks: usize) -> Vec<Vec<u8>> {
    let borders: Vec<usize> = (1..chunks).map(|border| border * media.len() / chunks).collect();
    cut_at(media, &borders)
}

/// Cuts media at these places.
pub fn cut_at(media: &[u8], borders: &[usize]) -> Vec<Vec<u8>> {
    let ends = borders.iter().copied().chain([media.len()]);
    let begins = [0].into_iter().chain(borders.iter().copied());
    begins.zip(ends).map(|(begin, end)| media[begin..end].to_vec()).collect()
}
