//! The ports of exports: who makes an MP4 of a finished video, and which node is at it.

use std::{path::PathBuf, time::Duration};

use super::{FileProof, LedgerError, MergeError, PortFuture};
use crate::protocol::{Refusal, recorder::VideoKey};

/// Makes MP4s.
pub trait Exporter: Send + Sync + 'static {
    /// Makes an MP4 of a finished WebM or Matroska video, proves that it holds what the video does, and leaves it in a file.
    /// Dropping the future ends whatever it has started.
    fn export(&self, job: ExportJob) -> PortFuture<Result<Exported, MergeError>>;
}

/// One export.
pub struct ExportJob {
    /// The video: a file on this machine, which is only read.
    pub video: PathBuf,
    /// An empty folder of its own but for the video; whoever gave it clears it away.
    pub folder: PathBuf,
    /// Is told how far it is: 0–100, never falling.
    pub progress: Box<dyn Fn(u8) + Send + Sync>,
}

/// A finished and proven MP4, not yet in its store.
#[derive(Debug, Clone)]
pub struct Exported {
    /// In the folder; whoever stores it takes it away from there.
    pub file: PathBuf,
    /// What it is.
    pub proof: FileProof,
}

/// Which node makes which MP4, over all nodes that share the videos: each is made once. It is a lease and no lock: two that
/// are at one MP4 by accident end with one whole file.
pub trait ExportLeases: Send + Sync + 'static {
    /// Takes the making of this MP4 for so long, or goes on with it and says how far it is (0–100). `false`: another node has
    /// it, or it has failed a moment ago.
    fn take(&self, key: &VideoKey, percent: u8, term: Duration) -> PortFuture<Result<bool, LedgerError>>;

    /// Ends it. Why it came to nothing is told for the refusal's pause, in which nobody takes it again; `None`: there is
    /// nothing to tell. What another node has taken since is left alone.
    fn end(&self, key: &VideoKey, failure: Option<Refusal>) -> PortFuture<Result<(), LedgerError>>;

    /// How it stands; `None`: no other node is at it, and nothing went wrong.
    fn show(&self, key: &VideoKey) -> PortFuture<Result<Option<ExportStands>, LedgerError>>;
}

/// How an MP4 stands that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportStands {
    /// Another node makes it, and is so far: 0–100.
    Elsewhere(u8),
    /// It could not be made; with the rest of the pause.
    Failed(Refusal),
}
