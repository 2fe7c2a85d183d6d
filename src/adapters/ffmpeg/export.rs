//! An MP4 of a finished video: what MP4 may hold is copied, the rest encoded, in one run.
//!
//! The video was proven when it was stored, and is read once more here: what comes out is held against it.

use std::{path::Path, time::Duration};

use futures_util::future;

use super::{
    Kit, QUICK,
    bench::Bench,
    check, commands,
    percent::Percent,
    program::{self, Listen},
    segment::disk,
};
use crate::{
    adapters::ports::{ExportJob, Exported, MergeError},
    domain::{
        media::{Codec, Container},
        merge::{Family, MergePlan},
    },
};

/// The video by a name of ours: what ffmpeg complains of has it, and people read that.
const VIDEO: &str = "video";
const MP4: &str = "export.mp4";
/// What a second of media may take to encode, behind everything else that the machine does.
const ENCODE_SECONDS_PER_SECOND: u64 = 30;
/// What `ffmpeg -version` says where it can make H.264.
const HAS_H264: &str = "--enable-libx264";

/// Makes it, and proves it.
pub async fn export(kit: &Kit, job: &ExportJob) -> Result<Exported, MergeError> {
    let bench = Bench { kit, folder: &job.folder, guard: kit.guard().await.last() };
    let percent = Percent::new(&*job.progress);
    let video = std::path::absolute(&job.video).map_err(|error| disk(VIDEO, &error))?;
    let named = tokio::fs::symlink(&video, job.folder.join(VIDEO)).await;
    named.map_err(|error| disk(VIDEO, &error))?;
    let source = check::read(&video, Container::Matroska).await?;
    percent.step(0.0, 5.0).reach(1, 1);
    let plan = MergePlan::export(&source, &kit.pictures(&bench).await?);
    if plan.tracks.is_empty() {
        return Err(MergeError::Impossible("the video has nothing to see and nothing to hear".into()));
    }
    let length_us = source.length_us().unsigned_abs();
    let encoding = Duration::from_secs((length_us / 1_000_000).saturating_mul(ENCODE_SECONDS_PER_SECOND));
    let limit = bench.limit(size(&video).await?) + encoding;
    let step = percent.step(5.0, 90.0);
    bench.ffmpeg(commands::export(VIDEO, &plan, MP4), limit, &|us| step.reach(us, length_us)).await?;

    let file = job.folder.join(MP4);
    let made = check::read_all(&file, Family::Mp4.container()).await?;
    plan.prove_export(&source, &made.tally)
        .map_err(|difference| MergeError::NotProven(difference.to_string()))?;
    percent.step(90.0, 97.0).reach(1, 1);
    future::try_join(bench.probe(MP4, &made), bench.decode(MP4)).await?;
    percent.step(97.0, 99.0).reach(1, 1);
    Ok(Exported { file, proof: made.proof })
}

async fn size(video: &Path) -> Result<u64, MergeError> {
    let about = tokio::fs::metadata(video).await;
    about.map(|about| about.len()).map_err(|error| disk(VIDEO, &error))
}

impl Kit {
    /// What pictures become that MP4 does not hold: H.264, which everything plays, or what every ffmpeg can make.
    async fn pictures(&self, bench: &Bench<'_>) -> Result<Codec, MergeError> {
        let task = bench.task(vec!["-version".to_owned()], QUICK);
        let output = program::run(task, Listen::Keep).await?;
        let has_h264 = String::from_utf8_lossy(&output.stdout).contains(HAS_H264);
        Ok(if has_h264 { Codec::H264 } else { Codec::Vp9 })
    }
}
