//! A picture of the video.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Kit, commands,
    job::{Attempt, Made},
    program::{self, Listen, Task},
};
use crate::domain::{
    media::TrackKind,
    merge::{Timeline, TrackPlan},
};

const NAME: &str = "./poster.jpg";
/// What a picture may take to make; without one the video is as good.
const LIMIT: Duration = Duration::from_secs(30);
/// Latest time of the picture within its segment.
const LATEST_US: i64 = 5_000_000;

impl Attempt<'_> {
    /// Makes it, from a segment that has pictures of its own. Failing is no error.
    pub async fn poster(&self, made: &Made, timeline: &Timeline) -> Option<PathBuf> {
        let at_us = place(made, timeline)?;
        self.bench.kit.poster(&self.job.folder, &made.name, at_us, NAME).await
    }
}

impl Kit {
    /// Makes a picture of a video, both named as from this folder. Failing is no error.
    pub async fn poster(&self, folder: &Path, video: &str, at_us: i64, name: &str) -> Option<PathBuf> {
        let path = folder.join(name);
        for at_us in [at_us, 0] {
            let args = commands::poster(video, at_us, name);
            let program = &self.config.ffmpeg;
            let task = Task { program, args, folder, limit: LIMIT, guard: self.guard().await };
            let made = program::run(task, Listen::Keep).await;
            let size = tokio::fs::metadata(&path).await.map_or(0, |file| file.len());
            if made.is_ok() && size > 0 {
                return Some(path);
            }
        }
        None
    }
}

/// A tenth into the longest segment with pictures of its own; `None` where there are none.
fn place(made: &Made, timeline: &Timeline) -> Option<i64> {
    let pictures = made.plan.tracks.iter().position(|track| track.kind == TrackKind::Video)?;
    let there = timeline.segments.iter().enumerate().filter(|(_, segment)| segment.length_us > 0);
    let own = there
        .zip(&made.plan.segments)
        .filter(|(_, plan)| plan.tracks.get(pictures) != Some(&TrackPlan::Fill));
    let ((at, longest), _) =
        own.max_by_key(|((at, segment), _)| (segment.length_us, std::cmp::Reverse(*at)))?;
    Some(timeline.begins_us(at) + (longest.length_us / 10).min(LATEST_US))
}
