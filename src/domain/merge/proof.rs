//! Whether a file holds what was planned: packet for packet.

use super::{Family, MergePlan, PacketLog, SegmentPlan, Tally, TrackPlan};
use crate::domain::media::{Codec, TrackKind, TrackSummary};

/// Packets' times may be off by so much: three files, each with times rounded to a millisecond.
const TIME_TOLERANCE_US: i64 = 3500;
/// The end may be off by so much where the last packet says no duration.
const LAST_PACKET_US: i64 = 150_000;

/// What a file must hold.
#[derive(Debug, Clone)]
pub struct Expected<'a> {
    /// What kind of file it is.
    pub family: Family,
    /// In the file's order.
    pub tracks: Vec<ExpectedTrack<'a>>,
    /// From its first packet to the end of its last. Unit: microseconds.
    pub length_us: i64,
}

/// What a track must hold.
#[derive(Debug, Clone)]
pub struct ExpectedTrack<'a> {
    /// Pictures or sound.
    pub kind: TrackKind,
    /// How it is coded.
    pub codec: Codec,
    /// In order.
    pub spans: Vec<Span<'a>>,
}

/// Packets of one segment.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// As they were read.
    pub log: &'a PacketLog,
    /// Added to their times. Unit: microseconds.
    pub shift_us: i64,
}

/// How like its source something must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closeness {
    /// Each packet's time and size.
    Bytes,
    /// Each packet's time; the container changes how its payload is written.
    Times,
}

impl Closeness {
    /// What copying a codec's packets from one container to another leaves as it is. H.264 and H.265 mark the
    /// borders inside a packet in two ways, AV1 is stored with or without delimiters.
    #[must_use]
    pub fn of(codec: &Codec) -> Self {
        match codec {
            Codec::H264 | Codec::H265 | Codec::Av1 | Codec::Other(_) => Self::Times,
            Codec::Vp8 | Codec::Vp9 | Codec::Opus | Codec::Vorbis | Codec::Aac | Codec::Pcm | Codec::Flac => {
                Self::Bytes
            }
        }
    }
}

/// What a file is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// There was no room for it in front.
    #[error("it has no index")]
    NoIndex,
    /// For people.
    #[error("{0}")]
    Other(String),
}

impl From<String> for Difference {
    fn from(words: String) -> Self {
        Self::Other(words)
    }
}

/// Holds a file, as our own reading found it, against what was planned.
///
/// # Errors
/// Says what differs, for people.
pub fn prove(expected: &Expected<'_>, found: &Tally) -> Result<(), Difference> {
    let summary = &found.summary;
    if let Some((position, what)) = summary.damaged.first() {
        return Err(format!("at byte {position}: {what}").into());
    }
    let tracks = found.tracks();
    // A header may announce a track that then never came.
    let wanted: Vec<_> = expected.tracks.iter().filter(|track| track.packets() > 0).collect();
    if tracks.len() != wanted.len() {
        return Err(format!("it has {} tracks, not {}", tracks.len(), wanted.len()).into());
    }
    for (wanted, (track, log)) in wanted.into_iter().zip(&tracks) {
        if track.kind != wanted.kind || track.codec != wanted.codec {
            return Err(format!("a track is {}, not {}", track.codec.name(), wanted.codec.name()).into());
        }
        prove_track(wanted, log)?;
        if let Some(account) = summary.packets.get(&track.number) {
            prove_order(wanted, account)?;
        }
    }
    if expected.family != Family::Mp4 {
        prove_index(found)?;
    }
    Ok(prove_length(expected, found)?)
}

impl ExpectedTrack<'_> {
    fn packets(&self) -> u64 {
        self.spans.iter().map(|span| span.log.packets).sum()
    }
}

fn prove_track(wanted: &ExpectedTrack<'_>, found: &PacketLog) -> Result<(), String> {
    let name = wanted.codec.name();
    let packets = wanted.packets();
    if packets != found.packets {
        return Err(format!("{} packets of {name} came out, {packets} went in", found.packets));
    }
    let times = wanted
        .spans
        .iter()
        .flat_map(|span| span.log.times_us.iter().map(move |time_us| time_us.saturating_add(span.shift_us)));
    for (at, (wanted_us, found_us)) in times.zip(&found.times_us).enumerate() {
        if wanted_us.abs_diff(*found_us) > TIME_TOLERANCE_US.unsigned_abs() {
            return Err(format!("packet {at} of {name} is at {found_us} µs, not at {wanted_us}"));
        }
    }
    if Closeness::of(&wanted.codec) == Closeness::Bytes {
        let sizes = wanted.spans.iter().flat_map(|span| &span.log.bytes);
        if let Some(at) = sizes.zip(&found.bytes).position(|(wanted, found)| wanted != found) {
            return Err(format!("packet {at} of {name} has another size"));
        }
    }
    Ok(())
}

fn prove_order(wanted: &ExpectedTrack<'_>, account: &TrackSummary) -> Result<(), String> {
    let name = wanted.codec.name();
    if account.steps_back > 0 {
        return Err(format!("the times of {name} fall {} times", account.steps_back));
    }
    if wanted.kind == TrackKind::Video && account.keyframes == 0 {
        return Err(format!("decoding of {name} can begin nowhere"));
    }
    Ok(())
}

/// Every entry of the index leads to a Cluster, and in video to the time of a keyframe.
fn prove_index(found: &Tally) -> Result<(), Difference> {
    let summary = &found.summary;
    if summary.cues.is_empty() {
        return Err(Difference::NoIndex);
    }
    if let Some(position) = summary.cues_astray().first() {
        return Err(format!("its index leads to byte {position}, where nothing begins").into());
    }
    for (time_us, number, _) in &summary.cues {
        let Some(track) = summary.tracks.iter().find(|track| track.number == *number) else {
            return Err(format!("its index leads to a track {number}").into());
        };
        // The index has the time as it is stored, packets the time at which they sound.
        let delay_us = i64::try_from(track.codec_delay_us).unwrap_or(0);
        let log = found.logs.get(number);
        let here = |time: &i64| time.saturating_add(delay_us).abs_diff(*time_us) <= 1000;
        let is_keyframe = log.is_some_and(|log| {
            let near =
                log.keyframes_us.partition_point(|time| time.saturating_add(delay_us) < time_us - 1000);
            log.keyframes_us.get(near).is_some_and(here)
        });
        if track.kind == TrackKind::Video && !is_keyframe {
            return Err(format!("its index leads to {time_us} µs, where there is no keyframe").into());
        }
    }
    Ok(())
}

fn prove_length(expected: &Expected<'_>, found: &Tally) -> Result<(), String> {
    let length_us = found.length_us();
    if length_us.abs_diff(expected.length_us) > LAST_PACKET_US.unsigned_abs() {
        return Err(format!("it plays for {length_us} µs, not for {}", expected.length_us));
    }
    let Some(says_us) = found.summary.duration_us else {
        return Err("it does not say how long it is".into());
    };
    let end_us = found.summary.end_us();
    if end_us.unsigned_abs().abs_diff(says_us) > LAST_PACKET_US.unsigned_abs() {
        return Err(format!("it says that it plays for {says_us} µs, and plays for {end_us}"));
    }
    Ok(())
}

/// Frames that an encoder may hold back or add.
const FRAMES_TOLERANCE: u64 = 2;
/// What is encoded again may begin and end so much later or earlier.
const ENCODED_TOLERANCE_US: i64 = 200_000;

impl SegmentPlan {
    /// Holds an intermediate in which some tracks were encoded or filled against the segment that it was made of.
    ///
    /// # Errors
    /// Says what differs, for people.
    pub fn prove(&self, whole: &MergePlan, source: &Tally, made: &Tally) -> Result<(), Difference> {
        let tracks = made.tracks();
        if tracks.len() != whole.tracks.len() {
            return Err(format!("it has {} tracks, not {}", tracks.len(), whole.tracks.len()).into());
        }
        let begins_us = source.summary.first_us();
        for ((plan, target), (track, log)) in self.tracks.iter().zip(&whole.tracks).zip(tracks) {
            let name = target.codec.name();
            if track.codec != target.codec {
                return Err(format!("a track is {}, not {name}", track.codec.name()).into());
            }
            let (from_us, to_us) = log.span_us();
            let (wanted_from, wanted_to) = match plan {
                TrackPlan::Fill => (0, source.length_us()),
                TrackPlan::Copy { number } | TrackPlan::Encode { number, .. } => {
                    let log = source.logs.get(number).map(PacketLog::span_us).unwrap_or_default();
                    (log.0 - begins_us, log.1 - begins_us)
                }
            };
            let far = |a: i64, b: i64| a.abs_diff(b) > ENCODED_TOLERANCE_US.unsigned_abs();
            if far(from_us, wanted_from) || far(to_us, wanted_to) {
                let what = format!("{name} covers {from_us} to {to_us} µs, not {wanted_from} to {wanted_to}");
                return Err(what.into());
            }
            if let (TrackPlan::Encode { number, .. }, TrackKind::Video) = (plan, target.kind) {
                let frames = source.logs.get(number).map_or(0, |log| log.packets);
                if log.packets.abs_diff(frames) > FRAMES_TOLERANCE {
                    return Err(format!("{} frames of {name} were made of {frames}", log.packets).into());
                }
            }
        }
        Ok(())
    }
}

impl MergePlan {
    /// Holds an export against the video that it was made of: what was copied packet for packet, what was encoded as an
    /// adapted segment.
    ///
    /// # Errors
    /// Says what differs, for people.
    pub fn prove_export(&self, source: &Tally, made: &Tally) -> Result<(), Difference> {
        let shift_us = source.summary.first_us().saturating_neg();
        let there = made.tracks();
        for segment in &self.segments {
            segment.prove(self, source, made)?;
            for ((plan, target), (track, log)) in segment.tracks.iter().zip(&self.tracks).zip(&there) {
                let TrackPlan::Copy { number } = plan else { continue };
                let spans = source.logs.get(number).map(|log| Span { log, shift_us }).into_iter().collect();
                let wanted = ExpectedTrack { kind: target.kind, codec: target.codec.clone(), spans };
                prove_track(&wanted, log)?;
                if let Some(account) = made.summary.packets.get(&track.number) {
                    prove_order(&wanted, account)?;
                }
            }
        }
        let length_us = source.length_us();
        Ok(prove_length(&Expected { family: self.family, tracks: Vec::new(), length_us }, made)?)
    }
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
