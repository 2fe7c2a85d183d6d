//! Merging by ffmpeg: the port [`Merger`]; and MP4s of finished videos: the port [`Exporter`].
//!
//! ```text
//!  chunks ─► source (mark compared, repaired, read) ─► ffmpeg ─► one segment: the video itself
//!                                                            └► several: an intermediate for each ─► adapt the odd
//!                                                                ones ─► concat ─► the video
//!  video ─► check: our own reading of every packet against what went in, ffprobe, a decode of its beginning
//! ```
//! ffmpeg's exit status says nothing: it is 0 when it kept the first second of two hours, and when half of the result
//! cannot be decoded. So nothing is believed but what is read back. Nothing here deletes a chunk.
//!
//! Next: `job` (the steps), `source` (what goes in), `commands` (what ffmpeg is told), `check` (what came out),
//! `bench` and `program` (how it is run), `export` (MP4s).

mod bench;
mod check;
mod commands;
mod export;
mod job;
mod joined;
mod percent;
mod poster;
mod program;
mod report;
mod segment;
mod source;
mod tail;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::OnceCell;

use self::program::{Guard, Listen, Task};
use super::ports::{
    CameChunk, ExportJob, Exported, Exporter, MergeError, MergeJob, Merged, Merger, PortFuture, RecordingRef,
    StoreError, Swept,
};

/// How merging is done.
#[derive(Debug, Clone)]
pub struct FfmpegConfig {
    /// The program, 5.1 or later.
    pub ffmpeg: PathBuf,
    /// The program beside it.
    pub ffprobe: PathBuf,
    /// For how long one run may take, beside what its size allows.
    pub time_limit: Duration,
}

/// Merges by ffmpeg.
#[derive(Clone)]
pub struct FfmpegMerger {
    kit: Arc<Kit>,
}

/// What every step needs.
struct Kit {
    config: FfmpegConfig,
    guard: OnceCell<Guard>,
}

impl FfmpegMerger {
    /// Nothing is run yet; programs named without a folder are looked for where the system has them.
    #[must_use]
    pub fn new(mut config: FfmpegConfig) -> Self {
        config.ffmpeg = program::absolute(&config.ffmpeg);
        config.ffprobe = program::absolute(&config.ffprobe);
        Self { kit: Arc::new(Kit { config, guard: OnceCell::new() }) }
    }

    /// A picture of a video, beside it and under its name but for this ending; `None` where none could be made.
    pub async fn poster(&self, video: &Path, at_us: i64, ending: &str) -> Option<PathBuf> {
        // By whatever a name begins with, it is no option.
        let named = |path: &Path| Some(format!("./{}", path.file_name()?.to_str()?));
        let picture = named(&video.with_extension(ending))?;
        self.kit.poster(video.parent()?, &named(video)?, at_us, &picture).await
    }
}

impl Merger for FfmpegMerger {
    fn check(&self) -> PortFuture<Result<String, MergeError>> {
        let kit = Arc::clone(&self.kit);
        Box::pin(async move { kit.version().await })
    }

    fn follow(&self, _: RecordingRef, _: Vec<CameChunk>) -> PortFuture<Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }

    fn merge(&self, job: MergeJob) -> PortFuture<Result<Merged, MergeError>> {
        let kit = Arc::clone(&self.kit);
        Box::pin(async move {
            let _turn = (job.turn)().await;
            job::merge(&kit, &job).await
        })
    }

    fn forget(&self, _: RecordingRef) -> PortFuture<()> {
        Box::pin(async {})
    }

    fn sweep(&self) -> PortFuture<Result<Swept, StoreError>> {
        Box::pin(async { Ok(Swept::default()) })
    }
}

impl Exporter for FfmpegMerger {
    fn export(&self, job: ExportJob) -> PortFuture<Result<Exported, MergeError>> {
        let kit = Arc::clone(&self.kit);
        Box::pin(async move { export::export(&kit, &job).await })
    }
}

impl Kit {
    /// How programs are started here; tried out once.
    async fn guard(&self) -> Guard {
        let try_out = async || {
            let guarded = Guard::Guarded { memory_bytes: MEMORY_BYTES_MAX, nice: NICE };
            let task = Task {
                program: "true".as_ref(),
                args: Vec::new(),
                folder: "/".as_ref(),
                limit: QUICK,
                guard: guarded,
            };
            if program::run(task, Listen::Keep).await.is_ok() { guarded } else { Guard::Plain }
        };
        *self.guard.get_or_init(try_out).await
    }

    /// The first line of what each of the two programs says of itself.
    async fn version(&self) -> Result<String, MergeError> {
        let guard = self.guard().await;
        let mut said = Vec::new();
        for program in [&self.config.ffmpeg, &self.config.ffprobe] {
            let args = vec!["-version".to_owned()];
            let task = Task { program, args, folder: "/".as_ref(), limit: QUICK, guard };
            let unavailable = |error: MergeError| MergeError::Unavailable(error.to_string());
            let output = program::run(task, Listen::Keep).await.map_err(unavailable)?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            said.push(text.lines().next().unwrap_or_default().to_owned());
        }
        Ok(said.swap_remove(0))
    }
}

/// Most memory of one run: ten times what copying takes. Unit: bytes.
const MEMORY_BYTES_MAX: u64 = 4 << 30;
/// Calls and chunks go before merges.
const NICE: u8 = 10;
/// For what is done in a moment.
const QUICK: Duration = Duration::from_secs(20);
