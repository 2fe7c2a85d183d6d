//! One export, from its lease to its MP4 in the store.
//!
//! It ends when its video goes, because the recording is deleted or has a newer one: whoever takes a video away needs to know of no
//! export. One that was being stored meanwhile is taken away here, or by whoever deletes, who looks once more.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::time::sleep;
use tracing::{info, warn};

use super::ExportWorkerConfig;
use crate::{
    actors::work_folder::WorkFolder,
    adapters::{
        crash,
        ports::{ExportJob, Exported, LedgerError, MergeError, RecordingPorts, StoreError, VideoSource},
    },
    protocol::{Code, Refusal, recorder::VideoKey},
};

/// How often it is looked whether the video is still there, and other nodes hear how far it is. A lease that is short is renewed
/// four times in its term.
const LOOK: Duration = Duration::from_secs(1);
/// After a failure nobody begins it again for so long.
const PAUSE_MS: u64 = 30_000;

/// Why there is no MP4.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("another node is at it")]
    Elsewhere,
    #[error("its video is gone")]
    Outdated,
    #[error("too little space is left")]
    Full,
    #[error(transparent)]
    Work(#[from] MergeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault {
    /// In metrics.
    const fn outcome(&self) -> &'static str {
        match self {
            Self::Elsewhere => "elsewhere",
            Self::Outdated => "outdated",
            Self::Full => "full",
            Self::Work(MergeError::Unavailable(_)) => "unavailable",
            Self::Work(MergeError::Interrupted(_)) => "interrupted",
            Self::Work(MergeError::Impossible(_) | MergeError::Nothing(_)) => "impossible",
            Self::Work(MergeError::NotProven(_)) => "not_proven",
            Self::Store(_) => "store",
        }
    }

    /// What whoever asks is told meanwhile; `None`: nothing went wrong.
    fn refusal(&self) -> Option<Refusal> {
        let refusal = match self {
            Self::Elsewhere | Self::Outdated => return None,
            Self::Full => Refusal::because(Code::StorageFull, "too little is left for an MP4"),
            Self::Work(error) => {
                let refusal = error.refusal();
                let unavailable = refusal.code == Code::MergingUnavailable;
                Refusal { code: if unavailable { refusal.code } else { Code::ExportFailed }, ..refusal }
            }
            Self::Store(error) => error.refusal(),
        };
        Some(refusal.retry_after_ms(PAUSE_MS))
    }
}

/// One export.
pub(super) struct Making {
    ports: RecordingPorts,
    config: ExportWorkerConfig,
    video: VideoKey,
    mp4: VideoKey,
    percent: Arc<AtomicU8>,
}

impl Making {
    pub(super) fn new(
        ports: RecordingPorts,
        config: ExportWorkerConfig,
        video: VideoKey,
        percent: Arc<AtomicU8>,
    ) -> Self {
        Self { ports, config, mp4: video.as_mp4(), video, percent }
    }

    /// Does it all; how it went, in metrics.
    pub(super) async fn run(self) -> &'static str {
        let (outcome, failure) = match self.make().await {
            Ok(()) => ("made", None),
            Err(fault) => {
                let (key, outcome) = (self.mp4.as_str(), fault.outcome());
                match fault.refusal() {
                    Some(_) => warn!(key, outcome, error = %fault, "an MP4 could not be made"),
                    None => info!(key, outcome, why = %fault, "an MP4 is not made"),
                }
                (outcome, fault.refusal())
            }
        };
        if let Err(error) = self.ports.exports.end(&self.mp4, failure).await {
            warn!(key = self.mp4.as_str(), %error, "how an export went could not be told");
        }
        outcome
    }

    async fn make(&self) -> Result<(), Fault> {
        // Where nobody can be asked, two may be at it, and end with one MP4.
        if matches!(self.take().await, Ok(false)) {
            return Err(Fault::Elsewhere);
        }
        if self.is_made().await? {
            return Ok(());
        }
        let folder = WorkFolder::at(self.config.folders.own().join(self.mp4.as_str()));
        folder.prepare().await.map_err(|error| StoreError::io("the folder for an MP4", &error))?;
        let exported = tokio::select! {
            exported = self.convert(&folder) => exported?,
            () = self.lost() => return Err(Fault::Elsewhere),
            () = self.gone() => return Err(Fault::Outdated),
        };
        crash::point("export.made");
        // Once begun, it is not left half-way.
        let mut storing = std::pin::pin!(self.store(exported));
        tokio::select! {
            stored = &mut storing => stored,
            () = self.lost() => storing.await,
        }
    }

    /// Asked for while it was stored already, by another node or in a turn before.
    async fn is_made(&self) -> Result<bool, StoreError> {
        Ok(self.ports.videos.find(&self.mp4).await?.is_some())
    }

    async fn convert(&self, folder: &WorkFolder) -> Result<Exported, Fault> {
        self.check_space().await?;
        let videos = &self.ports.videos;
        let video = videos.local(&self.video, folder.path()).await?.ok_or(Fault::Outdated)?;
        let percent = self.percent.clone();
        let progress = Box::new(move |done| percent.store(done, Ordering::Relaxed));
        let job = ExportJob { video, folder: folder.path().to_owned(), progress };
        Ok(self.ports.exporter.export(job).await?)
    }

    /// An MP4 takes about as much as its video, in the work folder and in the store; a copy of the video as much again.
    async fn check_space(&self) -> Result<(), Fault> {
        let found = self.ports.videos.find(&self.video).await?.ok_or(Fault::Outdated)?;
        let (size_bytes, copies) = match found {
            VideoSource::File(path) => (file_bytes(path).await?, 1),
            VideoSource::Elsewhere(about) => (about.size_bytes, 2),
        };
        let work = self.config.folders.free_bytes().await?;
        let store = self.ports.videos.free_bytes().await?;
        let is_less = |free: Option<u64>, copies: u64| {
            let least = self.config.min_free_bytes.saturating_add(size_bytes.saturating_mul(copies));
            free.is_some_and(|free| free < least)
        };
        if is_less(work, copies) || is_less(store, 1) { Err(Fault::Full) } else { Ok(()) }
    }

    async fn store(&self, exported: Exported) -> Result<(), Fault> {
        let videos = &self.ports.videos;
        if videos.find(&self.video).await?.is_none() {
            return Err(Fault::Outdated);
        }
        videos.put(&self.mp4, &exported.file, exported.proof).await?;
        crash::point("export.stored");
        // Whoever has taken the video away before this does not look for MP4s any more; whoever does so after it finds this one.
        if matches!(videos.find(&self.video).await, Ok(None)) {
            videos.delete(&self.mp4).await?;
            return Err(Fault::Outdated);
        }
        Ok(())
    }

    async fn take(&self) -> Result<bool, LedgerError> {
        let percent = self.percent.load(Ordering::Relaxed);
        self.ports.exports.take(&self.mp4, percent, self.config.lease).await
    }

    /// Goes on with the lease, until another node has it.
    async fn lost(&self) {
        let every = LOOK.min(self.config.lease / 4);
        loop {
            sleep(every).await;
            if matches!(self.take().await, Ok(false)) {
                return;
            }
        }
    }

    /// Waits until the video is not there any more.
    async fn gone(&self) {
        loop {
            sleep(LOOK).await;
            if matches!(self.ports.videos.find(&self.video).await, Ok(None)) {
                return;
            }
        }
    }
}

async fn file_bytes(path: PathBuf) -> Result<u64, Fault> {
    match tokio::fs::metadata(&path).await {
        Ok(about) => Ok(about.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Fault::Outdated),
        Err(error) => Err(StoreError::io(path.display(), &error).into()),
    }
}
