//! What a recorder may ask for.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize};

use crate::protocol::{
    Code, RecordId, Refusal, RoomName, UploadToken, UserId,
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
