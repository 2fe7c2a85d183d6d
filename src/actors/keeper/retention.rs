//! Recordings whose time is over.
//!
//! | | `RECORDING_RETENTION` is over | `PARTIAL_RETENTION` is over | both are |
//! |---|---|---|---|
//! | complete | goes | | |
//! | with gaps | stays | its chunks go | goes |
//! | failed, with the video of an earlier version | stays | its chunks go | goes |
//! | failed, without a video | stays | goes | |
//!
//! What goes as a whole is deleted as by `DELETE /recordings/{recordId}`, so in the same order. Chunks go by way of the
//! account: its time to be kept is over from now on, and whoever claims it next clears up under a fence. A recorder that
//! has come back meanwhile is never overruled: an older revision changes nothing.

use tracing::{debug, warn};

use super::sweep::{PAGE, PAGES, PutOff, Reason, Sweep, before};
use crate::{
    actors::messages::DeleteRecording,
    adapters::ports::{CatalogFilter, CatalogRow, DueBefore, LedgerView, StoredChunk},
    domain::recording::Manifest,
    protocol::{Code, recorder::RecordingState},
};

impl Sweep {
    /// Takes away what goes as a whole.
    pub(super) async fn rows(&mut self, now_ms: u64) -> Result<(), PutOff> {
        let (finished, partial) = (self.config.retention.finished, self.config.retention.partial);
        let both = finished.zip(partial).map(|(finished, partial)| finished.max(partial));
        let due = DueBefore {
            ready_ms: finished.map(|span| before(now_ms, span)),
            partial_ms: both.map(|span| before(now_ms, span)),
        };
        if due != DueBefore::default() {
            self.due(due).await?;
        }
        match partial {
            Some(span) => self.failed(before(now_ms, span)).await,
            None => Ok(()),
        }
    }

    async fn due(&self, due: DueBefore) -> Result<(), PutOff> {
        for _ in 0..PAGES {
            let rows = self.ports.catalog.due(due, PAGE).await?;
            let mut gone = 0;
            for row in &rows {
                gone += u32::from(self.delete(row).await?);
            }
            // What cannot be deleted now would come again.
            if gone < PAGE {
                break;
            }
        }
        Ok(())
    }

    /// Failed recordings that never had a video, and that are over since before then.
    async fn failed(&mut self, over_ms: u64) -> Result<(), PutOff> {
        for _ in 0..PAGES {
            let filter = CatalogFilter {
                state: Some(RecordingState::Failed),
                limit: PAGE,
                after: self.failed_after.take(),
                ..CatalogFilter::default()
            };
            let page = self.ports.catalog.page(filter).await?;
            let is_due =
                |row: &&CatalogRow| row.video.is_none() && row.ended_ms.unwrap_or(row.started_ms) < over_ms;
            for row in page.rows.iter().filter(is_due) {
                self.delete(row).await?;
            }
            self.failed_after = page.next;
            if self.failed_after.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Takes a recording away, if it still stands as in this row. Whether it is gone.
    async fn delete(&self, row: &CatalogRow) -> Result<bool, PutOff> {
        let id = &row.record_id;
        if self.ports.catalog.get(id).await?.as_ref() != Some(row) {
            return Ok(false);
        }
        let account = self.ports.ledger.show(id).await?;
        let bytes =
            account.map_or(0, |view| view.bytes) + row.video.as_ref().map_or(0, |video| video.size_bytes);
        let message = DeleteRecording { id: id.clone(), started_ms: Some(row.started_ms), token: None };
        let deleted = self.delete.send(message).await;
        match deleted.map_err(|_| PutOff::Supervisor)? {
            Ok(()) => {
                let reason =
                    if row.state == RecordingState::Failed { Reason::Partial } else { Reason::Retention };
                self.gone(id, reason, "a recording", bytes);
                return Ok(true);
            }
            // Somebody has come back to it, or was quicker.
            Err(refusal) if matches!(refusal.code, Code::RecordingActive | Code::RecordingUnknown) => {
                debug!(recording = %id, code = refusal.code.name(), "it stays");
            }
            Err(refusal) => {
                warn!(recording = %id, why = %refusal.message(), "what may go could not be taken away");
            }
        }
        Ok(false)
    }

    /// Lets the chunks of a recording go of which no complete video could be made, if their time is over.
    pub(super) async fn let_go(&self, view: &LedgerView, now_ms: u64) -> Result<(), PutOff> {
        let LedgerView { manifest, claimed_by, bytes, .. } = view;
        let is_settled = claimed_by.is_none() && manifest.keep_until_ms.is_none_or(|until| until > now_ms);
        if !is_settled || !self.is_over(manifest, now_ms) || !manifest.has_partial_video() {
            return Ok(());
        }
        let id = &manifest.record_id;
        let stored = self.ports.chunks.list(id).await?;
        let chunks = StoredChunk::count(&stored);
        if manifest.state == RecordingState::Ready && manifest.has_less_than(chunks) {
            // There is more than the account knows of: it goes on when it has heard of it.
            self.accounts.catch_up(id).await?;
            return Ok(());
        }
        let over = manifest.let_go(chunks, now_ms);
        // The chunk store first: nobody puts the account back from it any more.
        self.ports.chunks.save_manifest(over.clone()).await?;
        self.ports.ledger.restore(over.clone(), stored).await?;
        match self.ports.ledger.show(id).await? {
            Some(now) if now.manifest.state != RecordingState::Ready => {
                debug!(recording = %id, "somebody has come back to it");
                self.ports.chunks.save_manifest(now.manifest).await?;
            }
            // Whoever claims it takes them away. Where the operator keeps chunks it does not, and they go when it has let go.
            _ if self.config.cleanup_chunks => self.gone(id, Reason::Partial, "chunks", *bytes),
            _ => {}
        }
        Ok(())
    }

    /// Whether the chunks of what could not be made a complete video need not be kept any longer.
    pub(super) fn is_over(&self, manifest: &Manifest, now_ms: u64) -> bool {
        let since_ms = manifest.ended_ms.unwrap_or(manifest.started_ms);
        self.config.retention.partial.is_some_and(|span| since_ms < before(now_ms, span))
    }
}
