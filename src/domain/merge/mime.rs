//! The media type of a result, so that a browser can say whether it plays it.

use super::Family;
use crate::domain::media::{Codec, Track, TrackKind};

/// The media type of a file with these tracks, with its codecs. Source: RFC 6381; the bindings of VP9 and AV1 to ISO
/// base media.
#[must_use]
pub fn mime_type(family: Family, tracks: &[&Track]) -> String {
    let pictures = tracks.iter().any(|track| track.kind == TrackKind::Video);
    let top = if pictures { "video" } else { "audio" };
    let sub = match family {
        Family::Webm => "webm",
        Family::Matroska => "x-matroska",
        Family::Mp4 => "mp4",
    };
    let codecs: Vec<_> = tracks.iter().map(|track| parameter(track, family)).collect();
    format!("{top}/{sub};codecs=\"{}\"", codecs.join(","))
}

fn parameter(track: &Track, family: Family) -> String {
    let private = track.codec_private.as_deref().unwrap_or_default();
    match (&track.codec, private) {
        (Codec::H264, [1, profile, constraints, level, ..]) => {
            format!("avc1.{profile:02x}{constraints:02x}{level:02x}")
        }
        (Codec::H264, _) => "avc1".into(),
        (Codec::H265, _) => "hvc1".into(),
        (Codec::Av1, [0x81, levels, depths, ..]) => {
            let (profile, level) = (levels >> 5, levels & 0x1f);
            let tier = if depths & 0x80 == 0 { 'M' } else { 'H' };
            let depth = match (depths & 0x40, depths & 0x20) {
                (0, _) => 8,
                (_, 0) => 10,
                _ => 12,
            };
            format!("av01.{profile}.{level:02}{tier}.{depth:02}")
        }
        (Codec::Av1, _) => "av01".into(),
        // A full box in front: version and flags.
        (Codec::Vp9, [_, _, _, _, profile, level, depth, ..]) if family == Family::Mp4 => {
            format!("vp09.{profile:02}.{level:02}.{:02}", depth >> 4)
        }
        (Codec::Vp9, _) if family == Family::Mp4 => "vp09.00.10.08".into(),
        (Codec::Aac, _) => "mp4a.40.2".into(),
        (Codec::Flac, _) => "fLaC".into(),
        (codec, _) => codec.name().to_owned(),
    }
}

#[cfg(test)]
#[path = "mime_tests.rs"]
mod tests;
