//! What is done with which track of which segment.

use serde::{Deserialize, Serialize};

use super::Tally;
use crate::{
    domain::media::{Codec, Container, Track, TrackKind},
    protocol::recorder::{Did, SegmentWork},
};

/// What kind of file comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Family {
    /// Matroska with the codecs of the web alone.
    Webm,
    /// Matroska with any codec.
    Matroska,
    /// ISO base media.
    Mp4,
}

impl Family {
    /// What a file name ends with.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Webm => "webm",
            Self::Matroska => "mkv",
            Self::Mp4 => "mp4",
        }
    }

    /// How the file is read.
    #[must_use]
    pub const fn container(self) -> Container {
        match self {
            Self::Webm | Self::Matroska => Container::Matroska,
            Self::Mp4 => Container::Mp4,
        }
    }

    /// The family that came in is kept: MP4 where all is MP4 and may stay in it, otherwise Matroska, as WebM where
    /// every codec may be in WebM.
    fn of(mut containers: impl Iterator<Item = Container>, tracks: &[TargetTrack]) -> Self {
        let all_mp4 = containers.all(|container| container == Container::Mp4);
        let all = |fits: fn(&Codec) -> bool| tracks.iter().all(|track| fits(&track.codec));
        if all_mp4 && all(fits_mp4) {
            Self::Mp4
        } else if all(Codec::fits_webm) {
            Self::Webm
        } else {
            Self::Matroska
        }
    }
}

/// Whether ffmpeg writes this codec to MP4 as everybody reads it.
fn fits_mp4(codec: &Codec) -> bool {
    use Codec::{Aac, Av1, Flac, H264, H265, Opus, Vp9};
    matches!(codec, Aac | Av1 | Flac | H264 | H265 | Opus | Vp9)
}

/// Whether a segment can be given a track of this codec that goes with the others' packets.
fn can_be_encoded(codec: &Codec) -> bool {
    use Codec::{Aac, Av1, H264, Opus, Pcm, Vp8, Vp9};
    matches!(codec, Aac | Av1 | H264 | Opus | Pcm | Vp8 | Vp9)
}

/// What has been read of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentFacts {
    /// What it came in.
    pub container: Container,
    /// Its tracks that hold something, with the time they cover. Unit: microseconds.
    pub tracks: Vec<(Track, u64)>,
}

impl SegmentFacts {
    /// Its tracks of one kind, in order.
    fn of_kind(&self, kind: TrackKind) -> impl Iterator<Item = &(Track, u64)> {
        self.tracks.iter().filter(move |(track, _)| track.kind == kind)
    }
}

/// A track of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetTrack {
    /// Pictures or sound.
    pub kind: TrackKind,
    /// Which of its kind, from 0.
    pub rank: usize,
    /// As what copied packets are described; where all is encoded, only its size and rate count.
    pub model: Track,
    /// How its packets are coded.
    pub codec: Codec,
    /// Whether any segment has pictures with an alpha channel.
    pub alpha: bool,
}

/// What a segment does for a track of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrackPlan {
    /// Its packets are taken as they are.
    Copy {
        /// The track in the segment.
        number: u32,
    },
    /// They are decoded and encoded again.
    Encode {
        /// The track in the segment.
        number: u32,
        /// How it came.
        from: Codec,
        /// Whether it has an alpha channel, which is lost.
        alpha: bool,
    },
    /// It has nothing: silence or black.
    Fill,
}

/// What a segment does for the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentPlan {
    /// One for each track of the result.
    pub tracks: Vec<TrackPlan>,
}

impl SegmentPlan {
    /// Whether its packets can be taken as they are.
    #[must_use]
    pub fn only_copies(&self) -> bool {
        self.tracks.iter().all(|track| matches!(track, TrackPlan::Copy { .. }))
    }
}

/// How segments become one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergePlan {
    /// What comes out.
    pub family: Family,
    /// Its tracks: pictures first.
    pub tracks: Vec<TargetTrack>,
    /// One for each segment.
    pub segments: Vec<SegmentPlan>,
}

impl MergePlan {
    /// Plans for segments of which each has at least one track of pictures or sound. A track's codec is the one that
    /// covers the most time; the odd ones alone are encoded again, and what a segment lacks is filled, so that all have
    /// the same tracks.
    #[must_use]
    pub fn of(segments: &[SegmentFacts]) -> Self {
        let mp4 = segments.iter().all(|segment| segment.container == Container::Mp4);
        let kinds = [TrackKind::Video, TrackKind::Audio];
        let tracks: Vec<_> = kinds.into_iter().flat_map(|kind| targets(segments, kind, mp4)).collect();
        let containers = segments.iter().map(|segment| segment.container);
        let family = Family::of(containers, &tracks);
        let plan = |segment: &SegmentFacts| SegmentPlan {
            tracks: tracks.iter().map(|target| track_plan(segment, target)).collect(),
        };
        Self { family, segments: segments.iter().map(plan).collect(), tracks }
    }

    /// Plans an MP4 of a finished video, as its one segment: what MP4 may hold is copied, pictures of other codecs become
    /// `pictures`, and other sound AAC.
    #[must_use]
    pub fn export(source: &Tally, pictures: &Codec) -> Self {
        let (mut tracks, mut plans) = (Vec::new(), Vec::new());
        for (track, _) in source.tracks() {
            let (number, kind, alpha) = (track.number, track.kind, track.alpha);
            // A header may announce tracks that never came; they are counted all the same.
            let of_kind = source.summary.tracks.iter().filter(|other| other.kind == kind);
            let rank = of_kind.take_while(|other| other.number != number).count();
            let codec = match kind {
                _ if fits_mp4(&track.codec) => track.codec.clone(),
                TrackKind::Video => pictures.clone(),
                TrackKind::Audio | TrackKind::Other => Codec::Aac,
            };
            plans.push(if codec == track.codec {
                TrackPlan::Copy { number }
            } else {
                TrackPlan::Encode { number, from: track.codec.clone(), alpha }
            });
            tracks.push(TargetTrack { kind, rank, model: track.clone(), codec, alpha });
        }
        Self { family: Family::Mp4, tracks, segments: vec![SegmentPlan { tracks: plans }] }
    }

    /// Whether the result has pictures, or sound.
    #[must_use]
    pub fn has_kind(&self, kind: TrackKind) -> bool {
        self.tracks.iter().any(|track| track.kind == kind)
    }

    /// What was done with a segment, for people: `segment` is its number, `chunks` its first and last one.
    #[must_use]
    pub fn work(&self, at: usize, segment: u32, chunks: (u32, u32)) -> SegmentWork {
        let plans = self.segments.get(at).map_or(&[][..], |plan| &plan.tracks);
        let mut did = Did::Copied;
        let words = plans.iter().zip(&self.tracks).map(|(plan, target)| {
            let codec = target.codec.name();
            match (plan, target.kind) {
                (TrackPlan::Copy { .. }, _) => format!("{codec} copied"),
                (TrackPlan::Encode { from, alpha, .. }, _) => {
                    did = Did::ReEncoded;
                    let loss = if *alpha { ", opaque" } else { "" };
                    let into = if *from == target.codec {
                        "encoded again".into()
                    } else {
                        format!("became {codec}")
                    };
                    format!("{} {into}{loss}", from.name())
                }
                (TrackPlan::Fill, kind) => {
                    did = if did == Did::Copied { Did::Filled } else { did };
                    let what = if kind == TrackKind::Video { "black" } else { "silence" };
                    format!("{what} added as {codec}")
                }
            }
        });
        let detail = words.collect::<Vec<_>>().join(", ");
        SegmentWork { segment, chunks, did, detail }
    }
}

/// The tracks of one kind that the result has.
fn targets(segments: &[SegmentFacts], kind: TrackKind, mp4: bool) -> Vec<TargetTrack> {
    let count = segments.iter().map(|segment| segment.of_kind(kind).count()).max().unwrap_or(0);
    (0..count).filter_map(|rank| target(segments, kind, rank, mp4)).collect()
}

fn target(segments: &[SegmentFacts], kind: TrackKind, rank: usize, mp4: bool) -> Option<TargetTrack> {
    let there: Vec<_> = segments.iter().filter_map(|segment| segment.of_kind(kind).nth(rank)).collect();
    let weight = |model: &Track| {
        let fit = there.iter().filter(|(track, _)| continues(track, model));
        fit.fold((0_u64, 0), |(time, count), (_, us)| (time.saturating_add(*us), count + 1))
    };
    let models = || there.iter().map(|(track, _)| track);
    let (heaviest, (_, fit)) = most(models(), weight)?;
    let alpha = there.iter().any(|(track, _)| track.alpha);
    let made = |model: &Track, codec: Codec| TargetTrack { kind, rank, model: model.clone(), codec, alpha };
    if fit == segments.len() || can_be_encoded(&heaviest.codec) {
        return Some(made(heaviest, heaviest.codec.clone()));
    }
    let encodable = most(models().filter(|track| can_be_encoded(&track.codec)), weight);
    Some(match encodable {
        Some((model, _)) => made(model, model.codec.clone()),
        None => made(heaviest, everybodys(kind, mp4)),
    })
}

/// The heaviest; the first of those that weigh the same, so that every node chooses the same one.
fn most<'a>(
    models: impl Iterator<Item = &'a Track>,
    weight: impl Fn(&Track) -> (u64, usize),
) -> Option<(&'a Track, (u64, usize))> {
    models.fold(None, |best, model| {
        let weight = weight(model);
        if best.is_some_and(|(_, most)| most >= weight) { best } else { Some((model, weight)) }
    })
}

/// What to encode to where nothing that came can be encoded.
fn everybodys(kind: TrackKind, mp4: bool) -> Codec {
    match kind {
        TrackKind::Video if mp4 => Codec::H264,
        TrackKind::Video => Codec::Vp8,
        TrackKind::Audio | TrackKind::Other => Codec::Opus,
    }
}

/// Whether packets of one track can follow those of another in one track.
#[must_use]
pub fn continues(track: &Track, model: &Track) -> bool {
    let same_sound = (track.sample_rate, track.channels) == (model.sample_rate, model.channels);
    track.codec == model.codec
        && match track.codec {
            // Recorders make uncompressed sound of 32-bit floats only.
            Codec::Pcm | Codec::Aac => same_sound,
            // Its packets mean nothing without the very header they were made with.
            Codec::Vorbis | Codec::Flac | Codec::Other(_) => track.codec_private == model.codec_private,
            Codec::Vp8 | Codec::Vp9 | Codec::Av1 | Codec::H264 | Codec::H265 | Codec::Opus => true,
        }
}

fn track_plan(segment: &SegmentFacts, target: &TargetTrack) -> TrackPlan {
    match segment.of_kind(target.kind).nth(target.rank) {
        None => TrackPlan::Fill,
        Some((track, _)) if target.codec == target.model.codec && continues(track, &target.model) => {
            TrackPlan::Copy { number: track.number }
        }
        Some((track, _)) => {
            TrackPlan::Encode { number: track.number, from: track.codec.clone(), alpha: track.alpha }
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
