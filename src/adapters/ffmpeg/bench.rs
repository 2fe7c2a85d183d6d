//! Where a work's programs run: in its folder, and in its turn.

use std::{path::Path, time::Duration};

use super::{
    Kit,
    program::{self, Guard, Listen, Output, Task},
};
use crate::adapters::ports::MergeError;

/// What one run may take for each byte that it copies.
const COPY_BYTES_PER_SECOND: u64 = 2_000_000;

/// Runs the programs of one work.
#[derive(Clone, Copy)]
pub struct Bench<'a> {
    pub kit: &'a Kit,
    /// Names without a folder are in here.
    pub folder: &'a Path,
    /// How they are started.
    pub guard: Guard,
}

impl Bench<'_> {
    /// Runs ffmpeg over files.
    pub async fn ffmpeg(
        &self,
        args: Vec<String>,
        limit: Duration,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Output, MergeError> {
        program::run(self.task(args, limit), Listen::Progress(progress)).await
    }

    /// A run of ffmpeg.
    pub fn task(&self, args: Vec<String>, limit: Duration) -> Task<'_> {
        self.tool(&self.kit.config.ffmpeg, args, limit)
    }

    /// A run of either program.
    pub fn tool<'b>(&'b self, program: &'b Path, args: Vec<String>, limit: Duration) -> Task<'b> {
        Task { program, args, folder: self.folder, limit, guard: self.guard }
    }

    /// For how long so many bytes may be copied.
    pub fn limit(&self, bytes: u64) -> Duration {
        self.kit.config.time_limit + Duration::from_secs(bytes / COPY_BYTES_PER_SECOND)
    }
}
