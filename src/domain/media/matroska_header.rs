//! What stands in front of the Clusters: the document's type, the scale of time, the tracks. Source: RFC 9559 §5.1.

use serde::{Deserialize, Serialize};

use super::{
    ReadError, big_endian, ebml,
    track::{Codec, Track, TrackKind},
};

/// Most bytes of a track's CodecPrivate. Vorbis headers, the largest in use, have some thousands.
pub const CODEC_PRIVATE_MAX: u64 = 256 * 1024;
/// Most tracks of a file.
pub const TRACKS_MAX: usize = 64;
/// Of an id or a name.
pub const STRING_MAX: u64 = 64;
/// Nanoseconds in a tick where the file does not say: a millisecond.
const SCALE_NS: u64 = 1_000_000;

/// The header as far as it is read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Header {
    pub scale_ns: u64,
    /// In ticks.
    duration: Option<f64>,
    pub tracks: Vec<Track>,
    /// The track that is being read.
    entry: Track,
    default_duration_ns: u64,
    codec_delay_ns: u64,
}

impl Header {
    pub fn new() -> Self {
        Self {
            scale_ns: SCALE_NS,
            duration: None,
            tracks: Vec::new(),
            entry: Track::unknown(0),
            default_duration_ns: 0,
            codec_delay_ns: 0,
        }
    }

    /// Takes a field. What is not one of the header's is none of its business.
    pub fn field(&mut self, id: u32, bytes: &[u8]) -> Result<(), ReadError> {
        let number = big_endian(bytes);
        let small = u32::try_from(number).unwrap_or(u32::MAX);
        let entry = &mut self.entry;
        match id {
            ebml::DOC_TYPE if !matches!(text(bytes).as_str(), "webm" | "matroska") => {
                return Err(ReadError::NotMedia("the document's type is neither webm nor matroska"));
            }
            ebml::MAX_ID_LENGTH if number > 4 => return Err(ReadError::NotMedia("ids of more than 4 bytes")),
            ebml::MAX_SIZE_LENGTH if number > 8 => {
                return Err(ReadError::NotMedia("sizes of more than 8 bytes"));
            }
            ebml::TIMESTAMP_SCALE if number > 0 => self.scale_ns = number,
            ebml::DURATION => self.duration = float(bytes),
            ebml::TRACK_NUMBER => entry.number = small,
            ebml::TRACK_TYPE => {
                entry.kind = match number {
                    1 => TrackKind::Video,
                    2 => TrackKind::Audio,
                    _ => TrackKind::Other,
                }
            }
            ebml::CODEC_ID => entry.codec = Codec::of_matroska(&text(bytes)),
            ebml::CODEC_PRIVATE => entry.codec_private = Some(bytes.into()),
            ebml::DEFAULT_DURATION => self.default_duration_ns = number,
            ebml::CODEC_DELAY => self.codec_delay_ns = number,
            ebml::PIXEL_WIDTH => entry.width = small,
            ebml::PIXEL_HEIGHT => entry.height = small,
            ebml::ALPHA_MODE => entry.alpha = number == 1,
            ebml::SAMPLING_FREQUENCY => entry.sample_rate = hertz(float(bytes)),
            ebml::CHANNELS => entry.channels = small,
            _ => {}
        }
        Ok(())
    }

    /// A TrackEntry begins.
    pub fn begin_track(&mut self) {
        self.entry = Track::unknown(0);
        (self.default_duration_ns, self.codec_delay_ns) = (0, 0);
    }

    /// A TrackEntry ends. Returns whether it is one that blocks can name.
    pub fn end_track(&mut self) -> Result<bool, ReadError> {
        let mut entry = std::mem::replace(&mut self.entry, Track::unknown(0));
        if entry.kind == TrackKind::Audio && entry.channels == 0 {
            // What the specification says where the file does not.
            entry.channels = 1;
        }
        entry.default_duration_us = Some(self.default_duration_ns / 1000).filter(|us| *us > 0);
        entry.codec_delay_us = self.codec_delay_ns / 1000;
        if entry.number == 0 || self.track(u64::from(entry.number)).is_some() {
            return Ok(false);
        }
        if self.tracks.len() >= TRACKS_MAX {
            return Err(ReadError::TooMany { what: "tracks", limit: TRACKS_MAX as u64 });
        }
        self.tracks.push(entry);
        Ok(true)
    }

    pub fn track(&self, number: u64) -> Option<&Track> {
        self.tracks.iter().find(|track| u64::from(track.number) == number)
    }

    /// Ticks in microseconds.
    pub fn us(&self, ticks: i64) -> i64 {
        let us = (i128::from(ticks) * i128::from(self.scale_ns)).div_euclid(1000);
        i64::try_from(us).unwrap_or(if us < 0 { i64::MIN } else { i64::MAX })
    }

    /// How long the file says it is, in microseconds.
    pub fn duration_us(&self) -> Option<u64> {
        #[expect(clippy::cast_precision_loss, reason = "no more precise than the field itself")]
        let us = self.duration? * self.scale_ns as f64 / 1000.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and was checked"
        )]
        (us.is_finite() && us > 0.0).then_some(us.round() as u64)
    }

    /// Bytes that its parts hold.
    pub fn held(&self) -> usize {
        let tracks = self.tracks.iter().chain([&self.entry]);
        tracks.map(|track| track.codec_private.as_ref().map_or(0, |private| private.len())).sum()
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn float(bytes: &[u8]) -> Option<f64> {
    match bytes.len() {
        4 => Some(f64::from(f32::from_be_bytes(bytes.try_into().ok()?))),
        8 => Some(f64::from_be_bytes(bytes.try_into().ok()?)),
        _ => None,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates; a nonsense rate is 0"
)]
fn hertz(rate: Option<f64>) -> u32 {
    rate.map_or(0, |rate| rate.round() as u32)
}
