//! What a finished recording is called, and what was done for it.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize};

use crate::protocol::{Fence, RecordId};

/// A video's or poster's name in its store: `<recordId>.<fence>.<extension>`. It can never lead out of a folder.
///
/// The fence is that of the claim under which it was made: whoever was overtaken can only ever write under a name of its
/// own, and never in the place of what is newer (M-3). What was sent while it was recorded had its name before its claim:
/// `<recordId>.<fence>.<mark>.<extension>`, with the fence of the recording then, and a mark that nothing else has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct VideoKey(Arc<str>);

impl VideoKey {
    /// What videos and posters may end with.
    pub const EXTENSIONS: [&str; 4] = ["webm", "mkv", "mp4", "jpg"];

    /// Of a mark.
    const MARK_DIGITS: usize = 16;

    /// The name of what was made under this claim.
    #[must_use]
    pub fn new(id: &RecordId, fence: Fence, extension: &str) -> Self {
        Self(Arc::from(format!("{id}.{}.{extension}", fence.0)))
    }

    /// The name of what is sent while it is recorded. The mark is drawn at random.
    #[must_use]
    pub fn sent(id: &RecordId, fence: Fence, mark: u64, extension: &str) -> Self {
        Self(Arc::from(format!("{id}.{}.{mark:0digits$x}.{extension}", fence.0, digits = Self::MARK_DIGITS)))
    }

    /// Reads a name. `None`: nothing can be stored under it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (stem, extension) = text.rsplit_once('.')?;
        // Those of the first versions of the program had no fence.
        let (id, rest) = stem.split_once('.').unwrap_or((stem, "0"));
        let (fence, mark) = rest.split_once('.').map_or((rest, None), |(fence, mark)| (fence, Some(mark)));
        let is_fence = fence.parse::<u64>().is_ok_and(|number| number.to_string() == fence);
        let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        let is_mark = |mark: &str| mark.len() == Self::MARK_DIGITS && mark.bytes().all(is_digit);
        let known = Self::EXTENSIONS.contains(&extension) && mark.is_none_or(is_mark);
        (known && is_fence && RecordId::parse(id).is_ok()).then(|| Self(Arc::from(text)))
    }

    /// The recording that it belongs to.
    #[must_use]
    pub fn record_id(&self) -> Option<RecordId> {
        RecordId::parse(self.0.split('.').next().unwrap_or_default()).ok()
    }

    /// The claim under which it was made, or where it has a mark the latest before that; those of the first versions of the
    /// program have none.
    #[must_use]
    pub fn fence(&self) -> Fence {
        Fence(self.0.split('.').nth(1).and_then(|fence| fence.parse().ok()).unwrap_or(0))
    }

    /// What tells it from all others of its fence, where it was sent while it was recorded.
    #[must_use]
    pub fn mark(&self) -> Option<&str> {
        let (stem, _) = self.0.rsplit_once('.')?;
        stem.split('.').nth(2)
    }

    /// As it is in the store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where it can be got: a path of the node, after what stands in front of every link, if anything does.
    #[must_use]
    pub fn link(&self, base_url: &str) -> String {
        format!("{base_url}/recordings/download/{}", self.0)
    }

    /// The name of an MP4 of the same video.
    #[must_use]
    pub fn as_mp4(&self) -> Self {
        let stem = self.0.rsplit_once('.').map_or(&*self.0, |(stem, _)| stem);
        Self(Arc::from(format!("{stem}.mp4")))
    }

    /// What it ends with.
    #[must_use]
    pub fn extension(&self) -> &str {
        self.0.rsplit_once('.').map_or("", |(_, extension)| extension)
    }
}

impl<'de> Deserialize<'de> for VideoKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not the name of a video"))
    }
}

/// A stretch of a video for which something is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// Where it begins. Unit: milliseconds of the video.
    pub from_ms: u64,
    /// Where everything goes on. Unit: milliseconds of the video.
    pub to_ms: u64,
    /// The chunks that are missing or damaged.
    pub chunks: Vec<u32>,
}

/// What was done with a segment, for the status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SegmentWork {
    /// Which segment, from 0.
    pub segment: u32,
    /// Its first and its last chunk.
    pub chunks: (u32, u32),
    /// What was done.
    pub did: Did,
    /// In words, such as which codec became which.
    pub detail: String,
}

/// What was done with a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Did {
    /// Its packets are in the video as they were recorded.
    Copied,
    /// Copied, and a track that it lacks was filled with silence or black.
    Filled,
    /// A track of it was encoded again, because its codec is not that of the rest.
    ReEncoded,
}

impl Did {
    /// The name on the wire and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Copied => "copied",
            Self::Filled => "filled",
            Self::ReEncoded => "re-encoded",
        }
    }
}
