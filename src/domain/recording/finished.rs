//! What became of a recording.

use serde::{Deserialize, Serialize};

use crate::protocol::recorder::{Did, Gap, SegmentWork, VideoKey};

/// A recording whose video is in its store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finished {
    /// The video.
    pub video: VideoFacts,
    /// With its codecs (RFC 6381).
    pub mime_type: String,
    /// Chunks that are not in it: missing or damaged.
    pub missing: Vec<u32>,
    /// How many chunks were stored when it was made.
    pub chunks: u32,
    /// When it was there. Unit: Unix milliseconds.
    pub ready_ms: u64,
    /// Whether its poster follows: it takes longer than anybody should wait.
    #[serde(default)]
    pub poster_follows: bool,
}

impl Finished {
    /// Whether anything of it is still to come.
    #[must_use]
    pub fn lacks_something(&self) -> bool {
        self.poster_follows || self.video.sha256.is_none()
    }
}

/// A finished video.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VideoFacts {
    /// Its name in the store.
    pub key: VideoKey,
    /// Its poster's name, where it has pictures.
    pub poster: Option<VideoKey>,
    /// Unit: milliseconds.
    pub duration_ms: u64,
    /// Unit: bytes.
    pub size_bytes: u64,
    /// Hexadecimal. `None`: it takes longer than anybody should wait, and follows.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Such as `vp9`, `opus`: in the order of the file's tracks.
    pub codecs: Vec<String>,
    /// Whether every chunk that was recorded is in it.
    pub complete: bool,
    /// Where something is missing.
    pub gaps: Vec<Gap>,
    /// What was done with each segment.
    pub work: Vec<SegmentWork>,
}

impl VideoFacts {
    /// The names of everything that it has in the store.
    pub fn keys(&self) -> impl Iterator<Item = &VideoKey> {
        std::iter::once(&self.key).chain(&self.poster)
    }

    /// The dearest thing that was done for it, for metrics.
    #[must_use]
    pub fn path(&self) -> &'static str {
        self.work.iter().map(|segment| segment.did).max().map_or("none", Did::name)
    }
}
