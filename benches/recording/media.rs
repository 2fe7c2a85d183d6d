//! Media as browsers record them, made by ffmpeg once and kept beside the build.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{disk::shell, recorder::Payload};

/// The media type of WebM as browsers record it.
pub const WEBM: &str = "video/webm;codecs=vp8,opus";
/// The media type of MP4 with what Safari records.
pub const MP4: &str = "video/mp4;codecs=avc1.42E01E,mp4a.40.2";

/// What is encoded; longer media are copies of it end to end.
const SOURCE_SECONDS: u32 = 24;
const PICTURES: &str =
    "-f lavfi -i testsrc2=size=1280x720:rate=30 -f lavfi -i sine=frequency=440:sample_rate=48000";

/// What it comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// VP8 and Opus in WebM without lengths and index.
    Webm,
    /// H.264 and AAC in fragments.
    Mp4,
}

impl Kind {
    /// Of its files' names.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Webm => "webm",
            Self::Mp4 => "mp4",
        }
    }

    /// What a recorder says of it.
    pub fn mime_type(self) -> &'static str {
        match self {
            Self::Webm => WEBM,
            Self::Mp4 => MP4,
        }
    }

    /// A reader of it, as ffmpeg calls it.
    pub fn demuxer(self) -> &'static str {
        match self {
            Self::Webm => "matroska",
            Self::Mp4 => "mp4",
        }
    }

    fn muxer(self) -> &'static str {
        match self {
            Self::Webm => "-f webm -live 1 -cluster_time_limit 1000",
            Self::Mp4 => "-f mp4 -movflags frag_keyframe+empty_moov+default_base_moof -frag_duration 1000000",
        }
    }

    /// 2.15 Mbit/s of 720p and 64 kbit/s of sound, with a key frame every four seconds.
    fn coding(self) -> &'static str {
        match self {
            Self::Webm => {
                "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 2150k -minrate 2150k -maxrate 2150k -g 120 \
                 -c:a libopus -b:a 64k"
            }
            Self::Mp4 => {
                "-c:v libx264 -preset ultrafast -bf 0 -pix_fmt yuv420p -b:v 2150k -minrate 2150k -maxrate 2150k \
                 -bufsize 2150k -nal-hrd cbr -g 120 -c:a aac -b:a 64k"
            }
        }
    }
}

/// A recording to be made: a file, and in how many pieces it is recorded.
pub struct Media {
    file: File,
    bytes: u64,
    /// One for each second.
    pub chunks: u32,
}

impl Media {
    /// Makes it, or finds it made.
    pub fn of(kind: Kind, seconds: u32) -> anyhow::Result<Self> {
        let path = if seconds == SOURCE_SECONDS { source(kind)? } else { copies(kind, seconds)? };
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes, chunks: seconds })
    }

    /// The same once more.
    pub fn again(&self) -> anyhow::Result<Self> {
        Ok(Self { file: self.file.try_clone()?, ..*self })
    }

    /// Unit: bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// One piece.
    pub fn chunk(&self, index: u32) -> anyhow::Result<Payload> {
        Ok(Payload::new(self.piece(index)?))
    }

    /// Its bytes. Where they end means nothing in the media, as with a browser.
    pub fn piece(&self, index: u32) -> anyhow::Result<Vec<u8>> {
        let place = |index: u32| self.bytes * u64::from(index) / u64::from(self.chunks);
        let mut bytes = vec![0; usize::try_from(place(index + 1) - place(index))?];
        self.file.read_exact_at(&mut bytes, place(index))?;
        Ok(bytes)
    }
}

fn cache() -> anyhow::Result<PathBuf> {
    let build = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().context("a build without a folder")?;
    let cache = build.join("bench-media");
    fs::create_dir_all(&cache)?;
    Ok(cache)
}

fn source(kind: Kind) -> anyhow::Result<PathBuf> {
    let name = format!("source-{SOURCE_SECONDS}.{}", kind.extension());
    make(&name, || format!("{PICTURES} -t {SOURCE_SECONDS} {} {}", kind.coding(), kind.muxer()))
}

fn copies(kind: Kind, seconds: u32) -> anyhow::Result<PathBuf> {
    source(kind)?;
    let source = format!("source-{SOURCE_SECONDS}.{}", kind.extension());
    let loops = seconds.div_ceil(SOURCE_SECONDS) - 1;
    make(&format!("{seconds}.{}", kind.extension()), || {
        format!("-stream_loop {loops} -i {source} -t {seconds} -c copy {}", kind.muxer())
    })
}

/// Runs ffmpeg unless its file is there. What is half made is under another name.
fn make(name: &str, args: impl FnOnce() -> String) -> anyhow::Result<PathBuf> {
    let cache = cache()?;
    let path = cache.join(name);
    if !path.exists() {
        println!("making {name} (once)");
        let line = format!("ffmpeg -v error -y {} partial-{name} && mv partial-{name} {name}", args());
        shell(&line, &cache).context("media are made by ffmpeg with libvpx, libopus and libx264")?;
    }
    Ok(path)
}
