//! What a recorder and a node say to each other on `/recording`, and in the bodies of `/recordings…`.
//!
//! Text frames are JSON in camelCase, told apart by `type`; chunks are binary frames ([`super::chunk`]). Parsed here,
//! once, as on `/ws`.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize};

use super::{
    Code, RecordId, Refusal, RoomName, UploadToken, UserId,
    chunk::ChunkIndex,
    command::{nests_too_deep, read},
    limits,
};

/// What a recorder may ask for.
#[derive(Debug)]
pub enum RecorderCommand {
    /// Begin a recording, or go on with one.
    Start(Box<Start>),
    /// Everything has been sent.
    Stop(Stop),
    /// Discard it.
    Abort(Abort),
}

/// `start`: what will be recorded, or with which recording to go on.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// The recording's name. Missing: the node makes one, or the token names it.
    #[serde(default)]
    pub record_id: Option<RecordId>,
    /// As `MediaRecorder.mimeType` says it, not as it was wished for.
    pub mime_type: MimeType,
    /// How chunks come on the socket.
    #[serde(default)]
    pub framing: Framing,
    /// The room that is recorded: everyone in it is told.
    #[serde(default)]
    pub room_name: Option<RoomName>,
    /// For people to read.
    #[serde(default, deserialize_with = "optional_title")]
    pub title: Option<Title>,
    /// Who records, as the application says.
    #[serde(default)]
    pub owner: Option<UserId>,
    /// Goes on with the recording that gave it out.
    #[serde(default)]
    pub upload_token: Option<SentToken>,
}

/// `stop`: how much was recorded.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stop {
    /// Which recording.
    pub record_id: RecordId,
    /// How much the recorder made.
    #[serde(flatten)]
    pub made: Made,
}

/// How much a recorder says it made; what it does not say is not checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Made {
    /// Chunks.
    #[serde(default)]
    pub chunks: Option<u32>,
    /// Bytes of all chunks.
    #[serde(default)]
    pub bytes: Option<u64>,
}

/// `abort`: which recording to discard.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Abort {
    /// Which recording.
    pub record_id: RecordId,
}

/// An upload token as a recorder sent it: `None` when no recording can have given it out.
#[derive(Debug, Clone)]
pub struct SentToken(pub Option<UploadToken>);

impl<'de> Deserialize<'de> for SentToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(UploadToken::parse(&Cow::<str>::deserialize(deserializer)?)))
    }
}

/// How chunks come on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Framing {
    /// The payload alone; the node counts.
    #[default]
    Raw,
    /// With a header that says its place.
    Indexed,
}

/// A media type that can be recorded: video or audio in WebM, Matroska or MP4, with parameters such as `codecs`. 1–128
/// bytes of printable ASCII.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct MimeType(Arc<str>);

impl MimeType {
    /// Parses a type (RFC 9110 §8.3.1, RFC 6381).
    ///
    /// # Errors
    /// [`Code::UnsupportedType`].
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        const KNOWN: [&str; 6] =
            ["video/webm", "audio/webm", "video/x-matroska", "audio/x-matroska", "video/mp4", "audio/mp4"];
        let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        let kind = text.split(';').next().unwrap_or_default().trim();
        let known = KNOWN.iter().any(|known| known.eq_ignore_ascii_case(kind));
        if printable && known && text.len() <= limits::MIME_TYPE_BYTES_MAX {
            Ok(Self(Arc::from(text)))
        } else {
            Err(Code::UnsupportedType.into())
        }
    }

    /// As it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for MimeType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&Cow::<str>::deserialize(deserializer)?)
            .map_err(|_| serde::de::Error::custom(UNSUPPORTED_TYPE))
    }
}

/// Marks the one error of a field that has a code of its own.
const UNSUPPORTED_TYPE: &str = "`mimeType` is not webm, x-matroska or mp4 of video or audio";

/// A recording's title: 1–200 bytes of UTF-8 without control characters, outer spaces removed. It may be markup: pages
/// show it as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Title(Arc<str>);

impl Title {
    /// Parses a title; `None` when nothing but spaces was given.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Option<Self>, &'static str> {
        let text = text.trim();
        if text.len() > limits::TITLE_BYTES_MAX {
            return Err("`title` is longer than 200 bytes");
        }
        if text.chars().any(char::is_control) {
            return Err("`title` has a control character");
        }
        Ok((!text.is_empty()).then(|| Self(Arc::from(text))))
    }

    /// For people to read.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Title {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        optional_title(deserializer)?.ok_or_else(|| serde::de::Error::custom("`title` is empty"))
    }
}

fn optional_title<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Title>, D::Error> {
    match Option::<Cow<'de, str>>::deserialize(d)? {
        None => Ok(None),
        Some(text) => Title::parse(&text).map_err(serde::de::Error::custom),
    }
}

/// Parses one text message of a recorder.
///
/// # Errors
/// [`Code::TooDeep`], [`Code::TooLarge`], [`Code::Malformed`], [`Code::UnsupportedType`] or [`Code::Unsupported`]. Never
/// panics, whatever the text.
pub fn parse(text: &str) -> Result<RecorderCommand, Refusal> {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'a, str>,
    }
    if text.len() > limits::RECORDER_TEXT_BYTES_MAX {
        return Err(Code::TooLarge.into());
    }
    if nests_too_deep(text) {
        return Err(Code::TooDeep.into());
    }
    let head: Head<'_> = read(text)?;
    match &*head.kind {
        "start" => Ok(RecorderCommand::Start(Box::new(parse_start(text)?))),
        "stop" => Ok(RecorderCommand::Stop(read(text)?)),
        "abort" => Ok(RecorderCommand::Abort(read(text)?)),
        _ => Err(Code::Unsupported.into()),
    }
}

/// Parses the fields of a `start`, as they also stand in the body of `POST /recordings`.
///
/// # Errors
/// [`Code::UnsupportedType`] or [`Code::Malformed`].
pub fn parse_start(text: &str) -> Result<Start, Refusal> {
    read(text).map_err(|refusal: Refusal| {
        let of_the_type =
            refusal.detail.as_deref().is_some_and(|detail| detail.starts_with(UNSUPPORTED_TYPE));
        if of_the_type { Code::UnsupportedType.into() } else { refusal }
    })
}

/// What a node may tell a recorder.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[allow(missing_docs, reason = "fields are the wire's, described in docs/PROTOCOL.md")]
pub enum RecorderEvent {
    /// The recording has begun, or goes on.
    Started(Started),
    /// The chunk is durable (L-1).
    ChunkAck { record_id: RecordId, index: ChunkIndex, status: Success },
    /// The chunk was not taken, and nothing has changed.
    ChunkError {
        #[serde(skip_serializing_if = "Option::is_none")]
        record_id: Option<RecordId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        index: Option<u32>,
        #[serde(flatten)]
        problem: ProblemFields,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// The stop was taken: nothing is missing, merging begins.
    Finished { record_id: RecordId, chunks: u32 },
    /// How far the merge is.
    MergeProgress { record_id: RecordId, percent: u8 },
    /// The video is there.
    RecordingReady(Box<Ready>),
    /// Something was not done, and why.
    RecordingError {
        #[serde(skip_serializing_if = "Option::is_none")]
        record_id: Option<RecordId>,
        #[serde(flatten)]
        problem: ProblemFields,
        #[serde(skip_serializing_if = "Option::is_none")]
        missing_chunks: Option<Vec<u32>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        total_expected: Option<u32>,
    },
}

/// The one status of a chunk that was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Success {
    /// It is durable.
    Success,
}

/// A refusal as its fields on `/recording`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProblemFields {
    /// Which row of the table.
    pub code: Code,
    /// The sentence for a person.
    pub error: String,
    /// Whether trying again may help.
    pub retryable: bool,
}

impl From<&Refusal> for ProblemFields {
    fn from(refusal: &Refusal) -> Self {
        let error = refusal.message().into_owned();
        Self { code: refusal.code, error, retryable: refusal.code.row().retryable }
    }
}

/// The answer to `start`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// Which recording.
    pub record_id: RecordId,
    /// For whoever goes on with it.
    pub upload_token: String,
    /// One more than the highest index stored.
    pub next_index: u32,
    /// Indices below it that are not stored.
    pub missing: Vec<u32>,
    /// What the recorder must keep to.
    pub limits: RecorderLimits,
    /// How long a lost recorder is waited for. Unit: milliseconds.
    pub grace_ms: u64,
    /// Where the recording stands.
    pub state: RecordingState,
    /// Whether this node can merge.
    pub merging: Merging,
}

/// What a recorder must keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecorderLimits {
    /// Largest payload of a chunk. Unit: bytes.
    pub max_chunk_bytes: usize,
    /// Chunks that may be without an acknowledgement.
    pub max_in_flight: usize,
}

/// Where a recording stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordingState {
    /// It takes chunks.
    Recording,
    /// Its chunks are being merged, or wait for it.
    Finalising,
    /// Its video is there.
    Ready,
    /// Its chunks could not be merged; they are kept.
    Failed,
}

impl RecordingState {
    /// The four.
    pub const ALL: [Self; 4] = [Self::Recording, Self::Finalising, Self::Ready, Self::Failed];

    /// The name on the wire and in the catalog.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Finalising => "finalising",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }

    /// Reads a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == text)
    }
}

/// Whether a node can merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Merging {
    /// It has ffmpeg.
    Available,
    /// It has none: chunks are saved, and merged once it has.
    Unavailable,
}

/// `recordingReady`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// Which recording.
    pub record_id: RecordId,
    /// The video's name in its store.
    pub key: VideoKey,
    /// Where to get it.
    pub download_url: String,
    /// A picture of it, where it has any.
    pub poster_url: Option<String>,
    /// From the first packet to the end of the last. Unit: milliseconds.
    pub duration_ms: u64,
    /// Of the file.
    pub size_bytes: u64,
    /// Of the file, with its codecs.
    pub mime_type: String,
    /// Of the file, hexadecimal.
    pub sha256: String,
    /// Whether every chunk that was recorded is in it.
    pub complete: bool,
    /// Where something is missing.
    pub gaps: Vec<Gap>,
    /// Rises when a recording is finalised again.
    pub version: u32,
}

/// A video's or poster's name in its store: `<recordId>.<extension>`, and `<recordId>.<version>.<extension>` from the
/// second version on. It can never lead out of a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct VideoKey(Arc<str>);

impl VideoKey {
    /// What videos and posters may end with.
    pub const EXTENSIONS: [&str; 4] = ["webm", "mkv", "mp4", "jpg"];

    /// The name of a version of a recording; the first is 1.
    #[must_use]
    pub fn new(id: &RecordId, version: u32, extension: &str) -> Self {
        let text =
            if version > 1 { format!("{id}.{version}.{extension}") } else { format!("{id}.{extension}") };
        Self(Arc::from(text))
    }

    /// Reads a name. `None`: nothing can be stored under it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (stem, extension) = text.rsplit_once('.')?;
        let (id, version) = stem.split_once('.').unwrap_or((stem, "1"));
        let version_is_one = version.parse::<u32>().is_ok() && !version.starts_with('+');
        let known = Self::EXTENSIONS.contains(&extension);
        (known && version_is_one && RecordId::parse(id).is_ok()).then(|| Self(Arc::from(text)))
    }

    /// As it is in the store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where it can be got, below the node's address.
    #[must_use]
    pub fn download_path(&self) -> String {
        format!("/recordings/download/{}", self.0)
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

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
