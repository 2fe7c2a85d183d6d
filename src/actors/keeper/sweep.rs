//! A sweep: what may go is looked for, a bounded part of it each time, and the next sweep goes on where this one ended.
//!
//! ```text
//!  rows whose time is over ([`super::retention`]) ─► chunks ─► videos that nobody needs ([`super::orphans`]) ─► half-written files
//! ```
//! What merges have left in folders that a node sees each clears away for itself. The rest one node does for all.
//!
//! Whoever does not know what there is cannot tell what is too much. So a sweep ends as soon as the catalog or the ledger does
//! not answer, and none begins while the ledger has not got back every account that it lost (M-5). A store that fails for one
//! recording is passed by.

use std::{collections::BTreeSet, time::Duration};

use actix::Recipient;
use tokio::time::timeout;
use tracing::{info, warn};

use super::{KeeperConfig, orphans::Round};
use crate::{
    actors::{
        accounts::{Accounts, NotPutBack},
        messages::DeleteRecording,
    },
    adapters::{
        ports::{CatalogCursor, CatalogError, CatalogFilter, LedgerError, RecordingPorts, StoreError, Swept},
        work_folders::WorkFolders,
    },
    metrics::Metrics,
    protocol::{RecordId, recorder::VideoKey},
};

/// Rows or names in one go.
pub(super) const PAGE: u32 = 100;
/// Of each kind, in one sweep.
pub(super) const PAGES: u32 = 10;

/// A sweep may come so much later than the next one should.
const SLOW: Duration = Duration::from_secs(10);

/// For so long it is remembered what was deleted: a ledger goes back by less.
const REMEMBERED: Duration = Duration::from_secs(86_400);

/// The moment so long ago. Unit: Unix milliseconds.
pub(super) fn before(now_ms: u64, span: Duration) -> u64 {
    now_ms.saturating_sub(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

/// Looks for what may go.
pub(super) struct Sweep {
    pub(super) config: KeeperConfig,
    pub(super) ports: RecordingPorts,
    folders: WorkFolders,
    pub(super) accounts: Accounts,
    pub(super) delete: Recipient<DeleteRecording>,
    metrics: Metrics,
    /// Where the next sweep goes on; `None`: at the beginning.
    pub(super) failed_after: Option<CatalogCursor>,
    pub(super) chunks_after: Option<RecordId>,
    pub(super) videos_after: Option<VideoKey>,
    /// Recordings with chunks that had no account when they were last looked at. Whoever takes one away closes its account
    /// first: only what has none for longer is worth a thought.
    pub(super) without_account: BTreeSet<RecordId>,
    /// Those of them of which it was said that nobody knows what they are.
    pub(super) unknown_chunks: BTreeSet<RecordId>,
    /// What this round has seen of the videos so far.
    pub(super) round: Round,
    /// Of how many videos it was said last that the catalog does not know them.
    pub(super) unknown_said: u64,
}

/// Why a sweep ended before its time.
#[derive(Debug, thiserror::Error)]
pub(super) enum PutOff {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the recording supervisor does not answer")]
    Supervisor,
    #[error("something gives no answer at all")]
    TooLong,
}

impl From<NotPutBack> for PutOff {
    fn from(error: NotPutBack) -> Self {
        match error {
            NotPutBack::Store(error) => Self::Store(error),
            NotPutBack::Ledger(error) => Self::Ledger(error),
        }
    }
}

/// Why something went.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reason {
    /// A finished recording was kept for as long as the operator wants it.
    Retention,
    /// The same of what could not be made a complete video.
    Partial,
    /// The video has all of these chunks, and they were left.
    OrphanedChunks,
    /// The row names a later video.
    OrphanedVideo,
    /// A write never ended.
    HalfWritten,
}

impl Reason {
    const fn name(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::Partial => "partial",
            Self::OrphanedChunks => "orphaned_chunks",
            Self::OrphanedVideo => "orphaned_video",
            Self::HalfWritten => "half_written",
        }
    }
}

impl Sweep {
    pub(super) fn new(
        config: KeeperConfig,
        (ports, folders): (RecordingPorts, WorkFolders),
        accounts: Accounts,
        delete: Recipient<DeleteRecording>,
        metrics: Metrics,
    ) -> Self {
        Self {
            config,
            ports,
            folders,
            accounts,
            delete,
            metrics,
            failed_after: None,
            chunks_after: None,
            videos_after: None,
            without_account: BTreeSet::new(),
            unknown_chunks: BTreeSet::new(),
            round: Round::default(),
            unknown_said: 0,
        }
    }

    /// Sweeps, if this node is the one to do it, which one that has other stores than the others is not; no longer than this, whatever does not answer.
    pub(super) async fn run(&mut self, at_most: Duration) {
        let swept = async {
            self.work_folders().await;
            self.sweep().await
        };
        let outcome = match timeout(at_most, swept).await.unwrap_or(Err(PutOff::TooLong)) {
            Ok(true) => "done",
            Ok(false) => return,
            Err(why) => {
                warn!(%why, "what may go is looked for later");
                "put_off"
            }
        };
        self.metrics.sweeps.with_label_values(&[outcome]).inc();
    }

    async fn sweep(&mut self) -> Result<bool, PutOff> {
        let ledger = self.ports.ledger.clone();
        if !self.ports.same_stores.are_same() {
            return Ok(false);
        }
        // A node that is slow stays the one.
        let term = self.config.every * 2 + SLOW;
        if !ledger.leads("housekeeping", term).await? || !ledger.is_whole().await? {
            return Ok(false);
        }
        let now_ms = ledger.now_ms().await?;
        self.ports.catalog.page(CatalogFilter { limit: 1, ..CatalogFilter::default() }).await?;
        self.rows(now_ms).await?;
        self.chunks(now_ms).await?;
        self.videos().await?;
        self.ports.catalog.forget_deleted(before(now_ms, REMEMBERED)).await?;
        self.half_written().await?;
        Ok(true)
    }

    /// What this node's disk has of work that nobody goes on with. On every node: others may not see it.
    async fn work_folders(&self) {
        match self.folders.sweep().await {
            Ok(swept) => self.left_behind("merges", swept),
            Err(error) => warn!(%error, "what merges have left cannot be looked for"),
        }
        match self.ports.merger.sweep().await {
            Ok(swept) => self.left_behind("assembly", swept),
            Err(error) => warn!(%error, "what was being assembled cannot be looked for"),
        }
    }

    async fn half_written(&self) -> Result<(), PutOff> {
        self.left_behind("chunks", self.ports.chunks.sweep().await?);
        self.left_behind("videos", self.ports.videos.sweep().await?);
        Ok(())
    }

    fn left_behind(&self, of: &str, swept: Swept) {
        if swept != Swept::default() {
            info!(of, files = swept.count, bytes = swept.bytes, "what was left half done is gone");
            self.count(Reason::HalfWritten, swept);
        }
    }

    /// Logs and counts something of a recording that is gone.
    pub(super) fn gone(&self, recording: &RecordId, reason: Reason, what: &str, bytes: u64) {
        info!(%recording, why = reason.name(), what, bytes, "taken away");
        self.count(reason, Swept { count: 1, bytes });
    }

    fn count(&self, reason: Reason, swept: Swept) {
        let reason = [reason.name()];
        self.metrics.swept.with_label_values(&reason).inc_by(swept.count);
        self.metrics.swept_bytes.with_label_values(&reason).inc_by(swept.bytes);
    }
}

/// Passes by what a store cannot do for one recording: it is looked at again with the next round.
pub(super) fn passed_by(recording: &RecordId, looked: Result<(), PutOff>) -> Result<(), PutOff> {
    match looked {
        Err(PutOff::Store(error)) => {
            warn!(%recording, %error, "it cannot be told whether something of a recording may go");
            Ok(())
        }
        looked => looked,
    }
}

#[cfg(test)]
#[path = "sweep_tests.rs"]
mod tests;
