//! What a node may tell a recorder.

use serde::{Deserialize, Serialize};

use super::{Gap, VideoKey};
use crate::protocol::{Code, RecordId, Refusal, chunk::ChunkIndex};

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

impl RecorderEvent {
    /// What went wrong with a recording, as its account has it: the name of a code, and a sentence.
    #[must_use]
    pub fn failed(record_id: RecordId, code: &str, error: String) -> Self {
        // A later version of the program may know more codes.
        let code = Code::parse(code).unwrap_or(Code::MergeFailed);
        let problem = ProblemFields { code, error, retryable: code.row().retryable };
        let record_id = Some(record_id);
        Self::RecordingError { record_id, problem, missing_chunks: None, total_expected: None }
    }

    /// What was not done, and why.
    #[must_use]
    pub fn refused(record_id: Option<RecordId>, refusal: &Refusal) -> Self {
        let problem = refusal.into();
        Self::RecordingError { record_id, problem, missing_chunks: None, total_expected: None }
    }
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
    /// Longest that the recording may take from its beginning on; then it ends by itself. `None`: any time. Unit:
    /// milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_duration_ms: Option<u64>,
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
    pub sha256: Option<String>,
    /// Whether every chunk that was recorded is in it.
    pub complete: bool,
    /// Where something is missing.
    pub gaps: Vec<Gap>,
    /// Rises when a recording is finalised again.
    pub version: u32,
}
