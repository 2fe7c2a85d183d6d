//! Several segments: each becomes an intermediate, the odd ones are adapted, and all are joined.
//!
//! Intermediates are Matroska whatever comes out: those in MP4 lose the last packets of every segment to their edit
//! lists. The list says how long each is, as their own headers leave the last frame out.

use std::time::Duration;

use super::{
    check, commands,
    commands::{Odd, OutputFile},
    job::{Attempt, Made, has_content},
    segment::{Chosen, Part, disk, remove, written},
    source::Trouble,
};
use crate::{
    adapters::ports::MergeError,
    domain::{
        media::{Container, TrackKind},
        merge::{Expected, ExpectedTrack, Family, MergePlan, PacketLog, Segment, Span, Tally, TrackPlan},
    },
};

/// What a second of media may take to encode.
const ENCODE_SECONDS_PER_SECOND: u32 = 8;
/// Of an entry of the index, at most.
const CUE_BYTES: u64 = 24;
/// Names the intermediates.
const LIST: &str = "parts.ffconcat";

impl Attempt<'_> {
    /// Makes one file of several segments.
    pub async fn joined(&self, segments: &[Segment]) -> Result<(Vec<Part>, Made), Trouble> {
        let mut parts = Vec::new();
        for (at, segment) in segments.iter().enumerate() {
            let name = format!("segment_{at:05}.mkv");
            let mut part = self.intermediate(segment, None, (&name, at, segments.len())).await?;
            if let Some(chosen) = part.chosen() {
                part = self.intermediate(segment, Some(&chosen), (&name, at, segments.len())).await?;
            }
            part.file = (!part.fed.tally.is_empty()).then_some(name);
            parts.push(part);
        }
        has_content(&parts)?;
        let facts: Vec<_> = parts.iter().filter(|part| part.file.is_some()).map(Part::facts).collect();
        let plan = MergePlan::of(&facts);
        let adapted = self.adapt(&plan, &mut parts).await?;
        let made = self.join(plan, &parts, &adapted).await?;
        Ok((parts, made))
    }

    /// Copies the packets of the segment `at` of so many into a file of its own; of all its tracks, or of these.
    async fn intermediate(
        &self,
        segment: &Segment,
        chosen: Option<&Chosen>,
        (name, at, count): (&str, usize, usize),
    ) -> Result<Part, Trouble> {
        let ahead = self.look_ahead(segment, chosen).await?;
        let audio_delay_us = ahead.delay_us();
        let (family, index_bytes) = (Family::Matroska, None);
        let output = OutputFile { name, family, index_bytes, audio_delay_us, alpha: false };
        let step = self.percent.step(0.0, 55.0).part(at, count);
        self.feed(ahead, segment, &output, step).await
    }

    /// Encodes and fills where the plan says so. For each part that has packets: what its adapted intermediate holds.
    async fn adapt(&self, plan: &MergePlan, parts: &mut [Part]) -> Result<Vec<Option<Tally>>, MergeError> {
        let mut adapted = Vec::new();
        let there = parts.iter_mut().filter(|part| part.file.is_some());
        for (at, (part, own)) in there.zip(&plan.segments).enumerate() {
            let step = self.percent.step(55.0, 75.0).part(at, plan.segments.len());
            let Some(name) = part.file.clone().filter(|_| !own.only_copies()) else {
                adapted.push(None);
                continue;
            };
            let output = format!("adapted_{at:05}.mkv");
            let length_us = part.fed.tally.length_us();
            let odd = Odd { name: &name, plan: own, length_us, audio_delay_us: part.delay_us() };
            let args = commands::adapt(&odd, plan, &output);
            let seconds = u32::try_from(length_us / 1_000_000).unwrap_or(u32::MAX);
            let encoding = Duration::from_secs(seconds.saturating_mul(ENCODE_SECONDS_PER_SECOND).into());
            let tell = |us| step.reach(us, length_us.unsigned_abs());
            self.bench.ffmpeg(args, self.bench.limit(part.bytes) + encoding, &tell).await?;
            let tally = check::read(&self.job.folder.join(&output), Container::Matroska).await?;
            own.prove(plan, &part.fed.tally, &tally)
                .map_err(|difference| MergeError::NotProven(format!("an adapted segment: {difference}")))?;
            remove(&self.job.folder.join(&name)).await;
            part.file = Some(output);
            adapted.push(Some(tally));
        }
        Ok(adapted)
    }

    async fn join(
        &self,
        plan: MergePlan,
        parts: &[Part],
        adapted: &[Option<Tally>],
    ) -> Result<Made, MergeError> {
        let there: Vec<_> = parts.iter().filter(|part| part.file.is_some()).collect();
        let files = there.iter().filter_map(|part| Some((part.file.as_deref()?, part.fed.tally.length_us())));
        let list = commands::concat_list(files);
        tokio::fs::write(self.job.folder.join(LIST), list).await.map_err(|error| disk(LIST, &error))?;

        let name = format!("video.{}", plan.family.extension());
        let keyframes: usize = there.iter().map(|part| part.keyframes()).sum();
        let bytes = there.iter().map(|part| part.bytes).sum();
        let delay_us = match (adapted.first(), there.first()) {
            (Some(Some(tally)), _) => first_sound_delay_us(tally),
            (_, Some(part)) => part.delay_us(),
            _ => 0,
        };
        let output = written(&name, &plan, Some(keyframes as u64 * CUE_BYTES + 8192), delay_us);
        let total: i64 = there.iter().map(|part| part.fed.tally.length_us()).sum();
        let step = self.percent.step(75.0, 88.0);
        let tell = |us| step.reach(us, total.unsigned_abs());
        self.bench.ffmpeg(commands::concat(LIST, &output), self.bench.limit(bytes), &tell).await?;

        let expected = expected(&plan, parts, adapted);
        let found = self.check(&name, &expected).await?;
        let found = found.map_err(|difference| MergeError::NotProven(difference.to_string()))?;
        for name in there.iter().filter_map(|part| part.file.as_ref()) {
            remove(&self.job.folder.join(name)).await;
        }
        Ok(Made { name, plan, found })
    }
}

fn first_sound_delay_us(tally: &Tally) -> u64 {
    let sound = tally.summary.tracks.iter().find(|track| track.kind == TrackKind::Audio);
    sound.map_or(0, |track| track.codec_delay_us)
}

/// What the video must hold: of each segment the packets that were fed, or those of its adapted intermediate, one
/// after the other.
pub fn expected<'a>(plan: &MergePlan, parts: &'a [Part], adapted: &'a [Option<Tally>]) -> Expected<'a> {
    let there = || parts.iter().filter(|part| !part.fed.tally.is_empty()).zip(&plan.segments).enumerate();
    let begins = |segment: usize| -> i64 {
        there().take(segment).map(|(_, (part, _))| part.fed.tally.length_us()).sum()
    };
    let spans = |rank: usize| {
        there().filter_map(move |(at, (part, own))| {
            let source = &part.fed.tally;
            let made = adapted.get(at).and_then(Option::as_ref);
            // An intermediate begins at 0, or where what was added to it does.
            let moved_us = begins(at) - made.map_or(0, |made| made.summary.first_us());
            let (log, shift_us) = match (own.tracks.get(rank)?, made) {
                (TrackPlan::Copy { number }, _) => {
                    (source.logs.get(number)?, moved_us - source.summary.first_us())
                }
                (TrackPlan::Encode { .. } | TrackPlan::Fill, Some(made)) => {
                    (nth_log(made, plan.tracks.get(rank)?.kind, plan.tracks.get(rank)?.rank)?, moved_us)
                }
                (TrackPlan::Encode { .. } | TrackPlan::Fill, None) => return None,
            };
            Some(Span { log, shift_us })
        })
    };
    let tracks = plan.tracks.iter().enumerate().map(|(rank, track)| ExpectedTrack {
        kind: track.kind,
        codec: track.codec.clone(),
        spans: spans(rank).collect(),
    });
    Expected { family: plan.family, tracks: tracks.collect(), length_us: begins(usize::MAX) }
}

fn nth_log(tally: &Tally, kind: TrackKind, rank: usize) -> Option<&PacketLog> {
    let track = tally.summary.tracks.iter().filter(|track| track.kind == kind).nth(rank)?;
    tally.logs.get(&track.number)
}
