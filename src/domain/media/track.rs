//! What a file says of its tracks.

use serde::{Deserialize, Serialize};

/// What a track is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TrackKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Subtitles, metadata, anything else.
    Other,
}

/// How a track's packets are coded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "names of codecs")]
pub enum Codec {
    Vp8,
    Vp9,
    Av1,
    H264,
    H265,
    Opus,
    Vorbis,
    Aac,
    Pcm,
    Flac,
    /// The container's own name for it; at most 64 bytes.
    Other(Box<str>),
}

impl Codec {
    /// Its name as catalogs and pages show it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Vp8 => "vp8",
            Self::Vp9 => "vp9",
            Self::Av1 => "av1",
            Self::H264 => "h264",
            Self::H265 => "h265",
            Self::Opus => "opus",
            Self::Vorbis => "vorbis",
            Self::Aac => "aac",
            Self::Pcm => "pcm",
            Self::Flac => "flac",
            Self::Other(name) => name,
        }
    }

    /// Whether a WebM file may hold it; Matroska holds the rest. Source: WebM container guidelines.
    #[must_use]
    pub fn fits_webm(&self) -> bool {
        matches!(self, Self::Vp8 | Self::Vp9 | Self::Av1 | Self::Opus | Self::Vorbis)
    }

    /// Whether packets may be stored in another order than they are shown in.
    #[must_use]
    pub fn reorders(&self) -> bool {
        matches!(self, Self::H264 | Self::H265 | Self::Other(_))
    }

    /// From Matroska's CodecID. Source: RFC 9559 §27.
    pub(super) fn of_matroska(id: &str) -> Self {
        match id {
            "V_VP8" => Self::Vp8,
            "V_VP9" => Self::Vp9,
            "V_AV1" => Self::Av1,
            "V_MPEG4/ISO/AVC" => Self::H264,
            "V_MPEGH/ISO/HEVC" => Self::H265,
            "A_OPUS" => Self::Opus,
            "A_VORBIS" => Self::Vorbis,
            "A_FLAC" => Self::Flac,
            _ if id.starts_with("A_AAC") => Self::Aac,
            _ if id.starts_with("A_PCM/") => Self::Pcm,
            _ => Self::Other(id.into()),
        }
    }

    /// From a sample entry's four characters. Source: mp4ra.org, the register of code points.
    pub(super) fn of_sample_entry(kind: [u8; 4]) -> Self {
        match &kind {
            b"vp08" => Self::Vp8,
            b"vp09" => Self::Vp9,
            b"av01" => Self::Av1,
            b"avc1" | b"avc3" => Self::H264,
            b"hvc1" | b"hev1" => Self::H265,
            b"Opus" => Self::Opus,
            b"mp4a" => Self::Aac,
            b"fLaC" => Self::Flac,
            b"ipcm" | b"fpcm" | b"sowt" | b"twos" | b"lpcm" => Self::Pcm,
            _ => Self::Other(kind.escape_ascii().to_string().into()),
        }
    }
}

/// A track as its file's header describes it; 0 where the header says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// As in the file.
    pub number: u32,
    /// What it is for.
    pub kind: TrackKind,
    /// How it is coded.
    pub codec: Codec,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Hertz.
    pub sample_rate: u32,
    /// Of audio.
    pub channels: u32,
    /// What a decoder needs first; at most 256 KiB.
    #[serde(with = "serde_bytes")]
    pub codec_private: Option<Box<[u8]>>,
    /// Whether pictures have an alpha channel beside them (Matroska's AlphaMode).
    pub alpha: bool,
    /// Of each packet, where the header says so. Microseconds.
    pub default_duration_us: Option<u64>,
    /// What the encoder adds in front and a player takes off; already taken off of every packet's time. Microseconds.
    pub codec_delay_us: u64,
}

impl Track {
    /// A track of which nothing is known but its number.
    pub(super) fn unknown(number: u32) -> Self {
        Self {
            number,
            kind: TrackKind::Other,
            codec: Codec::Other("".into()),
            width: 0,
            height: 0,
            sample_rate: 0,
            channels: 0,
            codec_private: None,
            alpha: false,
            default_duration_us: None,
            codec_delay_us: 0,
        }
    }
}
