//! What the catalog has still to be told: rows follow, in order, when it is there again.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::RecordingSupervisor;
use crate::{
    actors::recording_events,
    adapters::{
        crash,
        ports::{CatalogError, CatalogRow, ClaimEnd, Deletion, PortFuture},
    },
    domain::recording::{FIRST_PAUSE, LONGEST_PAUSE, Manifest},
    protocol::{
        Code, Fence, RecordId,
        recorder::{Ready, RecordingState},
    },
};

/// How long a catalog that failed is left alone.
const PAUSE: Duration = Duration::from_secs(1);
/// Recordings whose rows wait here. Overflow act: the oldest one that is still made gives way, whose row whoever finishes it
/// writes; where there is none, the oldest of all.
const WAITING_MAX: usize = 4096;

/// Rows that are not in the catalog yet.
#[derive(Debug, Default)]
pub struct Rows {
    /// The latest of each; written in the order in which they first changed.
    pending: HashMap<RecordId, Pending>,
    order: VecDeque<RecordId>,
    /// The one that is being written.
    writing: Option<(RecordId, Option<CatalogRow>)>,
    pause_until: Duration,
    /// Since when the catalog takes nothing. By the monotonic clock.
    away_since: Option<Duration>,
}

/// What is to be done with a row: first it goes, where that is wanted, and then it comes anew.
#[derive(Debug, Default)]
struct Pending {
    delete: Option<Going>,
    put: Option<Box<CatalogRow>>,
}

/// A row that goes.
#[derive(Debug, Default)]
struct Going {
    /// Whoever waits for it.
    waiting: Vec<oneshot::Sender<()>>,
    /// When the recordings began that are deleted.
    started_ms: BTreeSet<u64>,
}

impl Pending {
    /// Whether it is the row of a recording that is deleted.
    fn deletes(&self, row: &CatalogRow) -> bool {
        self.delete.as_ref().is_some_and(|going| going.started_ms.contains(&row.started_ms))
    }
}

impl Rows {
    /// A row that the catalog has not got yet.
    pub fn get(&self, id: &RecordId) -> Option<&CatalogRow> {
        let pending = self.pending.get(id);
        let waiting = pending.and_then(|pending| pending.put.as_deref());
        // What is being written may have to go.
        let stays = |row: &&CatalogRow| pending.is_none_or(|pending| !pending.deletes(row));
        waiting
            .or_else(|| self.writing.as_ref().filter(|(writing, _)| writing == id)?.1.as_ref().filter(stays))
    }

    /// The row is to be written, unless something newer of it is already. Answers of ports that were given first may come
    /// last; what is written already the catalog itself compares.
    pub fn put(&mut self, row: CatalogRow) {
        let order = |row: &CatalogRow| (row.version, row.fence, row.revision);
        let pending = self.pending(&row.record_id);
        if pending.put.as_ref().is_none_or(|waiting| order(waiting) <= order(&row)) {
            pending.put = Some(Box::new(row));
        }
    }

    /// The row of the recording that began then goes, and so does what was to be written of it. Says when it is gone.
    pub fn delete(&mut self, id: &RecordId, started_ms: u64) -> oneshot::Receiver<()> {
        let (gone, told) = oneshot::channel();
        let pending = self.pending(id);
        let going = pending.delete.get_or_insert_default();
        going.started_ms.insert(started_ms);
        going.waiting.push(gone);
        pending.put.take_if(|row| row.started_ms == started_ms);
        told
    }

    /// How many rows wait.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    fn pending(&mut self, id: &RecordId) -> &mut Pending {
        if !self.pending.contains_key(id) {
            if self.pending.len() >= WAITING_MAX {
                self.give_way();
            }
            self.order.push_back(id.clone());
        }
        self.pending.entry(id.clone()).or_default()
    }

    fn give_way(&mut self) {
        let is_made = |id: &RecordId| {
            let Some(Pending { delete: None, put: Some(row) }) = self.pending.get(id) else { return false };
            matches!(row.state, RecordingState::Recording | RecordingState::Finalising)
        };
        let oldest = self.order.iter().position(is_made).unwrap_or(0);
        if let Some(id) = self.order.remove(oldest) {
            self.pending.remove(&id);
            warn!(recording = %id, "too many rows wait for the catalog: this one is not kept");
        }
    }

    /// Drops what was to be written of a recording; that its row goes stands.
    fn drop_put(&mut self, id: &RecordId) {
        let Some(pending) = self.pending.get_mut(id) else { return };
        pending.put = None;
        if pending.delete.is_none() {
            self.pending.remove(id);
            self.order.retain(|waiting| waiting != id);
        }
    }

    /// The catalog took nothing.
    fn failed(&mut self, now: Duration) {
        self.pause_until = now + PAUSE;
        self.away_since.get_or_insert(now);
    }

    /// Rows of finished recordings that wait.
    fn ready(&self) -> Vec<(RecordId, Fence)> {
        let rows = self.order.iter().filter_map(|id| self.pending.get(id)?.put.as_deref());
        let ready = rows.filter(|row| row.state == RecordingState::Ready);
        ready.map(|row| (row.record_id.clone(), row.fence)).collect()
    }

    /// What is written next.
    fn next(&mut self) -> Option<(RecordId, Pending)> {
        let id = self.order.pop_front()?;
        let pending = self.pending.remove(&id)?;
        self.writing = Some((id.clone(), pending.put.as_deref().cloned()));
        Some((id, pending))
    }

    /// The catalog has answered.
    fn answered(&mut self) {
        self.writing = None;
    }

    /// Puts back what was not written, behind the others; what has come since is newer.
    fn again(&mut self, id: &RecordId, undone: Pending) {
        self.writing = None;
        let pending = self.pending(id);
        if let Some(undone) = undone.delete {
            let going = pending.delete.get_or_insert_default();
            going.waiting.extend(undone.waiting);
            going.started_ms.extend(undone.started_ms);
        }
        if let Some(row) = undone.put.filter(|row| !pending.deletes(row)) {
            self.put(*row);
        }
    }
}

/// A recording as the catalog is to have it, with so many chunks stored.
#[must_use]
pub fn row_of(manifest: &Manifest, chunks: u32) -> CatalogRow {
    let finished = manifest.finished.as_deref();
    let mime_type = finished.map_or(manifest.mime_type.as_str(), |finished| &finished.mime_type);
    CatalogRow {
        record_id: manifest.record_id.clone(),
        state: manifest.state,
        owner: manifest.owner.clone(),
        room: manifest.room.clone(),
        title: manifest.title.as_ref().map(|title| title.as_str().to_owned()),
        started_ms: manifest.started_ms,
        ended_ms: manifest.ended_ms,
        ready_ms: finished.map(|finished| finished.ready_ms),
        mime_type: mime_type.to_owned(),
        // Of those that came while the ledger was away it may not have heard yet.
        chunks: finished.map_or(0, |finished| finished.chunks).max(chunks),
        missing: finished.map(|finished| finished.missing.clone()).unwrap_or_default(),
        error: manifest.fault.as_ref().map(|fault| (fault.code.clone(), fault.message.clone())),
        video: finished.map(|finished| finished.video.clone()),
        version: manifest.version,
        fence: manifest.fence,
        revision: manifest.revision,
    }
}

impl RecordingSupervisor {
    /// Sees to it that the catalog hears how a recording stands.
    pub(super) fn row_changed(&mut self, manifest: &Manifest, chunks: u32) {
        self.attend(manifest);
        self.rows.put(row_of(manifest, chunks));
    }

    /// Whether the catalog is left alone at the moment.
    pub(super) fn catalog_is_away(&self) -> bool {
        self.clock.now().mono < self.rows.pause_until
    }

    /// Writes the row of a finished recording, under the claim that ends when it is there. While the catalog is away it is not
    /// kept here: there may be any number of them, and the ledger has them all.
    pub(super) fn write_ready(&mut self, manifest: &Manifest, chunks: u32, ctx: &mut Context<Self>) {
        match manifest.finished.as_deref().filter(|finished| finished.lacks_something()) {
            Some(finished) => self.complete_first(manifest, finished.clone(), ctx),
            None => self.write_completed(manifest, chunks, ctx),
        }
    }

    pub(super) fn write_completed(&mut self, manifest: &Manifest, chunks: u32, ctx: &mut Context<Self>) {
        if self.catalog_is_away() {
            return self.put_off(manifest, ctx);
        }
        self.row_changed(manifest, chunks);
        self.write_rows(ctx);
    }

    /// The row of a finished recording is written later, by whoever claims it then: after as long as the catalog has been
    /// away, so that many that wait are not asked for all the time.
    fn put_off(&mut self, manifest: &Manifest, ctx: &mut Context<Self>) {
        self.attend(manifest);
        self.rows.drop_put(&manifest.record_id);
        let now = self.clock.now().mono;
        let away = now.saturating_sub(self.rows.away_since.unwrap_or(now));
        let pause = away.clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.settle(manifest, ClaimEnd::TryAgain { pause, fault: None }, ctx);
    }

    /// Rows that wait for a catalog which has just failed need not wait here.
    fn put_off_ready(&mut self, ctx: &mut Context<Self>) {
        for (id, fence) in self.rows.ready() {
            let Some(manifest) = self.published_under(&id, fence) else { continue };
            if self.will_clear(&manifest) {
                // It was not, as the row was to be there at once.
                self.save_manifest(manifest.clone(), ctx);
            }
            self.put_off(&manifest, ctx);
        }
    }

    /// Writes the next row, unless one is being written.
    pub(super) fn write_rows(&mut self, ctx: &mut Context<Self>) {
        if self.rows.writing.is_some() || self.catalog_is_away() {
            return;
        }
        let Some((id, pending)) = self.rows.next() else { return };
        let is_ready = pending.put.as_ref().is_some_and(|row| row.state == RecordingState::Ready);
        crash::point(if is_ready { "row.before" } else { "row.other" });
        let written: PortFuture<Result<bool, CatalogError>> = match &pending {
            Pending { delete: None, put: Some(row) } => {
                self.ports.catalog.put(CatalogRow::clone(row), self.events_of(row))
            }
            Pending { delete, .. } => {
                let (catalog, record_id) = (self.ports.catalog.clone(), id.clone());
                let started_ms = delete.as_ref().map(|going| going.started_ms.clone()).unwrap_or_default();
                let end = self.end_of(&id);
                Box::pin(async move {
                    let (at_ms, events) = end.await;
                    let deletion = Deletion { record_id, started_ms, at_ms };
                    catalog.delete(deletion, events).await.map(|()| true)
                })
            }
        };
        ctx.spawn(written.into_actor(self).map(move |written, supervisor, ctx| {
            supervisor.row_written(&id, pending, written, ctx);
            supervisor.write_rows(ctx);
        }));
    }

    fn row_written(
        &mut self,
        id: &RecordId,
        pending: Pending,
        written: Result<bool, CatalogError>,
        ctx: &mut Context<Self>,
    ) {
        if written.is_ok() {
            self.rows.away_since = None;
        }
        match (written, pending) {
            (Ok(_), Pending { delete: Some(going), put }) => {
                for told in going.waiting {
                    // Whoever has gone needs no answer.
                    let _ = told.send(());
                }
                match put {
                    Some(_) => self.rows.again(id, Pending { delete: None, put }),
                    None => self.rows.answered(),
                }
            }
            (Ok(taken), Pending { put, .. }) => {
                self.rows.answered();
                let Some(row) = put else { return };
                if taken {
                    self.check_row(&row, ctx);
                } else {
                    info!(recording = %id, fence = row.fence.0, "the catalog knows something newer");
                }
                if row.state == RecordingState::Ready {
                    crash::point("row.after");
                    self.row_is_there(&row, taken, ctx);
                }
            }
            (Err(error), pending) => {
                let operation = if pending.delete.is_some() { "delete" } else { "put" };
                warn!(recording = %id, operation, %error, transient = error.is_transient(), "the catalog was not told");
                self.metrics.storage_errors.with_label_values(&["catalog", operation]).inc();
                self.rows.failed(self.clock.now().mono);
                self.rows.again(id, pending);
                self.put_off_ready(ctx);
            }
        }
    }

    /// Whoever deletes a recording by way of another node takes its row away last. One that was written after that goes
    /// too: it has neither account nor manifest, and no video.
    fn check_row(&self, row: &CatalogRow, ctx: &mut Context<Self>) {
        if is_all_that_is_left(row) {
            return;
        }
        let (accounts, ports, row) = (self.links.accounts.clone(), self.ports.clone(), row.clone());
        let looked = async move {
            let id = &row.record_id;
            if !matches!(accounts.find(id, |ledger| ledger.show(id)).await, Ok(None)) {
                return None;
            }
            let has_video = match &row.video {
                Some(video) => !matches!(ports.videos.find(&video.key).await, Ok(None)),
                None => false,
            };
            // Whoever has closed the account may have written the last word since.
            let stands = ports.catalog.get(id).await.is_ok_and(|now| now.as_ref() == Some(&row));
            (stands && !has_video).then_some((row.record_id, row.started_ms))
        };
        ctx.spawn(looked.into_actor(self).map(|deleted, supervisor, ctx| {
            let late = deleted.filter(|(id, _)| supervisor.rows.get(id).is_none());
            if let Some((id, started_ms)) = late {
                info!(recording = %id, "its row came after it was deleted");
                drop(supervisor.rows.delete(&id, started_ms));
                supervisor.write_rows(ctx);
            }
        }));
    }

    /// `recordingReady` of a row that has a video.
    pub(super) fn ready(&self, row: &CatalogRow) -> Option<Ready> {
        recording_events::ready(row, &self.config.api_base_url)
    }
}

/// Whether it is written as the last thing of a recording that never had anything, or of which nothing is left.
fn is_all_that_is_left(row: &CatalogRow) -> bool {
    let is_empty = |(code, _): &(String, String)| code == Code::EmptyRecording.name();
    row.state == RecordingState::Failed && row.error.as_ref().is_some_and(is_empty)
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
