//! What the catalog has still to be told: rows follow, in order, when it is there again.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    time::Duration,
};

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use tokio::sync::oneshot;
use tracing::warn;

use super::RecordingSupervisor;
use crate::{
    adapters::ports::{CatalogError, CatalogRow, PortFuture},
    domain::recording::Manifest,
    protocol::{
        RecordId, TokenDigest,
        recorder::{Ready, RecordingState},
    },
};

/// How long a catalog that failed is left alone.
const PAUSE: Duration = Duration::from_secs(1);
/// Earlier versions that are looked for when a new one is there.
const SUPERSEDED_MAX: u32 = 3;

/// The row of a recording that is not over, or of whose end the catalog has still to be told.
#[derive(Debug)]
pub struct LiveRow {
    row: CatalogRow,
    /// Which recording: its name may be used again once it is deleted.
    token: TokenDigest,
    /// Of the latest manifest that the row has followed.
    revision: u64,
    /// Whether it is over: the row goes when it is written.
    released: bool,
}

impl LiveRow {
    /// A row that stands where this manifest does.
    pub fn new(row: CatalogRow, manifest: &Manifest) -> Self {
        Self { row, token: manifest.token, revision: manifest.revision, released: false }
    }

    pub fn row(&self) -> &CatalogRow {
        &self.row
    }

    /// Whether this is the same recording, as it stands or later. Answers of ports that were given first may come last.
    fn may_follow(&self, manifest: &Manifest) -> bool {
        !self.released && self.token == manifest.token && self.revision <= manifest.revision
    }
}

/// Rows of recordings that are not over, and what of them is not in the catalog yet.
#[derive(Debug, Default)]
pub struct Rows {
    live: BTreeMap<RecordId, LiveRow>,
    /// The latest of each; written in the order in which they first changed.
    pending: HashMap<RecordId, Pending>,
    order: VecDeque<RecordId>,
    /// The one that is being written.
    writing: Option<RecordId>,
    /// Those of which the catalog knows something newer: they are not written, and never were.
    refused: HashSet<RecordId>,
    pause_until: Duration,
}

/// What is to be done with a row: first it goes, where that is wanted, and then it comes anew.
#[derive(Debug, Default)]
struct Pending {
    /// With whoever waits for it.
    delete: Option<Vec<oneshot::Sender<()>>>,
    put: Option<Box<CatalogRow>>,
}

impl Rows {
    /// Goes on with these; `unwritten` are those that the catalog has otherwise.
    pub fn new(rows: Vec<LiveRow>, unwritten: Vec<CatalogRow>) -> Self {
        let live = rows.into_iter().map(|live| (live.row.record_id.clone(), live)).collect();
        let mut new = Self { live, ..Self::default() };
        for row in unwritten {
            new.put(row);
        }
        new
    }

    pub fn live(&self) -> impl Iterator<Item = &CatalogRow> {
        self.live.values().map(LiveRow::row)
    }

    pub fn get(&self, id: &RecordId) -> Option<&CatalogRow> {
        self.live.get(id).map(LiveRow::row)
    }

    /// A recording begins: it has a row from now on.
    fn open(&mut self, manifest: &Manifest) {
        let live = LiveRow::new(fresh_row(manifest), manifest);
        self.put(live.row.clone());
        self.live.insert(manifest.record_id.clone(), live);
    }

    /// Changes a recording's row, unless something newer is known of it. `false`: it was not changed.
    fn change(&mut self, manifest: &Manifest, change: impl FnOnce(&mut CatalogRow)) -> bool {
        let live = self.live.get_mut(&manifest.record_id);
        let Some(live) = live.filter(|live| live.may_follow(manifest)) else { return false };
        live.revision = manifest.revision;
        live.row.state = manifest.state;
        live.row.version = manifest.version;
        live.row.fence = manifest.fence;
        change(&mut live.row);
        let row = live.row.clone();
        self.put(row);
        true
    }

    /// The row goes, and so does what was to be written of it. Says when it is gone.
    pub fn delete(&mut self, id: &RecordId) -> oneshot::Receiver<()> {
        self.live.remove(id);
        self.refused.remove(id);
        let (gone, told) = oneshot::channel();
        let pending = self.pending(id);
        pending.put = None;
        pending.delete.get_or_insert_default().push(gone);
        told
    }

    /// The recording is over: nothing changes its row any more, which is in the catalog or soon will be.
    pub fn release(&mut self, id: &RecordId) {
        if let Some(live) = self.live.get_mut(id) {
            live.released = true;
        }
        self.drop_told(id);
    }

    /// Whether the catalog knows how the recording stands.
    pub fn is_written(&self, id: &RecordId) -> bool {
        self.is_told(id) && !self.refused.contains(id)
    }

    /// Whether the catalog was told how the recording stands, and has answered.
    fn is_told(&self, id: &RecordId) -> bool {
        !self.pending.contains_key(id) && self.writing.as_ref() != Some(id)
    }

    /// The catalog has the row; or it has not, because it knows something newer.
    fn answered(&mut self, id: &RecordId, taken: bool) {
        self.writing = None;
        if taken {
            self.refused.remove(id);
        } else if self.live.contains_key(id) {
            self.refused.insert(id.clone());
        }
        self.drop_told(id);
    }

    /// Until the catalog was told, it is only here that anybody finds a recording that is over.
    fn drop_told(&mut self, id: &RecordId) {
        if self.is_told(id) && self.live.get(id).is_some_and(|live| live.released) {
            self.live.remove(id);
            self.refused.remove(id);
        }
    }

    fn put(&mut self, row: CatalogRow) {
        let id = row.record_id.clone();
        self.pending(&id).put = Some(Box::new(row));
    }

    fn pending(&mut self, id: &RecordId) -> &mut Pending {
        if !self.pending.contains_key(id) {
            self.order.push_back(id.clone());
        }
        self.pending.entry(id.clone()).or_default()
    }

    /// What is written next.
    fn next(&mut self) -> Option<(RecordId, Pending)> {
        let id = self.order.pop_front()?;
        let pending = self.pending.remove(&id)?;
        self.writing = Some(id.clone());
        Some((id, pending))
    }

    /// Puts back what was not written, behind the others; what has come since is newer.
    fn again(&mut self, id: &RecordId, undone: Pending) {
        self.writing = None;
        let pending = self.pending(id);
        if let Some(waiting) = undone.delete {
            pending.delete.get_or_insert_default().extend(waiting);
        } else if pending.delete.is_some() {
            return;
        }
        pending.put = pending.put.take().or(undone.put);
    }
}

/// The row of a recording of which there is only the manifest.
pub fn fresh_row(manifest: &Manifest) -> CatalogRow {
    CatalogRow {
        record_id: manifest.record_id.clone(),
        state: manifest.state,
        owner: manifest.owner.clone(),
        room: manifest.room.clone(),
        title: manifest.title.as_ref().map(|title| title.as_str().to_owned()),
        started_ms: manifest.started_ms,
        ended_ms: None,
        ready_ms: None,
        mime_type: manifest.mime_type.as_str().to_owned(),
        chunks: 0,
        missing: Vec::new(),
        error: None,
        video: None,
        version: manifest.version,
        fence: manifest.fence,
    }
}

impl RecordingSupervisor {
    /// A recording begins: it has a row from now on, and its room is recorded.
    pub(super) fn open_row(&mut self, manifest: &Manifest) {
        self.rows.open(manifest);
        self.room_follows(manifest);
    }

    /// Changes a recording's row, and sees to it that the catalog and the room hear of it. One that was deleted meanwhile
    /// does not come back, and an answer that was overtaken on its way changes nothing.
    pub(super) fn row_of(&mut self, manifest: &Manifest, change: impl FnOnce(&mut CatalogRow)) {
        if self.rows.change(manifest, change) {
            self.room_follows(manifest);
        }
    }

    /// Writes the next row, unless one is being written.
    pub(super) fn write_rows(&mut self, ctx: &mut Context<Self>) {
        if self.rows.writing.is_some() || self.clock.now().mono < self.rows.pause_until {
            return;
        }
        let Some((id, pending)) = self.rows.next() else { return };
        let written: PortFuture<Result<bool, CatalogError>> = match &pending {
            Pending { delete: None, put: Some(row) } => self.ports.catalog.put(CatalogRow::clone(row)),
            Pending { .. } => {
                let deleted = self.ports.catalog.delete(&id);
                Box::pin(async move { deleted.await.map(|()| true) })
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
        match (written, pending) {
            (Ok(_), Pending { delete: Some(waiting), put }) => {
                for told in waiting {
                    // Whoever has gone needs no answer.
                    let _ = told.send(());
                }
                match put {
                    Some(_) => self.rows.again(id, Pending { delete: None, put }),
                    None => self.rows.answered(id, true),
                }
            }
            (Ok(true), Pending { put: Some(row), .. }) => {
                self.rows.answered(id, true);
                if row.state == RecordingState::Ready {
                    self.drop_superseded(&row, ctx);
                    self.clean_up(&row, ctx);
                }
            }
            (Ok(_), Pending { put, .. }) => {
                let fence = put.map(|row| row.fence.0);
                warn!(recording = %id, fence, "the catalog knows something newer; the chunks stay");
                self.rows.answered(id, false);
            }
            (Err(error), pending) => {
                let operation = if pending.delete.is_some() { "delete" } else { "put" };
                warn!(recording = %id, operation, %error, transient = error.is_transient(), "the catalog was not told");
                self.metrics.storage_errors.with_label_values(&["catalog", operation]).inc();
                self.rows.pause_until = self.clock.now().mono + PAUSE;
                self.rows.again(id, pending);
            }
        }
    }

    /// Earlier versions of a video go when the row names the new one.
    fn drop_superseded(&mut self, row: &CatalogRow, ctx: &mut Context<Self>) {
        if row.version < 2 {
            return;
        }
        let (ports, id) = (self.ports.clone(), row.record_id.clone());
        // Those before were dropped before; a few more than one, in case that failed.
        let versions = row.version.saturating_sub(SUPERSEDED_MAX).max(1)..=row.version - 1;
        let dropped = async move { ports.delete_versions(&id, versions).await };
        ctx.spawn(dropped.into_actor(self).map(|dropped, supervisor, _| {
            if let Err(error) = dropped {
                warn!(%error, "an earlier version of a video stays behind");
                supervisor.metrics.storage_errors.with_label_values(&["videos", "delete"]).inc();
            }
        }));
    }

    /// `recordingReady` of a row that has a video.
    pub(super) fn ready(&self, row: &CatalogRow) -> Option<Ready> {
        let video = row.video.as_ref()?;
        Some(Ready {
            record_id: row.record_id.clone(),
            key: video.key.clone(),
            download_url: video.key.link(&self.config.api_base_url),
            poster_url: video.poster.as_ref().map(|poster| poster.link(&self.config.api_base_url)),
            duration_ms: video.duration_ms,
            size_bytes: video.size_bytes,
            mime_type: row.mime_type.clone(),
            sha256: video.sha256.clone(),
            complete: video.complete,
            gaps: video.gaps.clone(),
            version: row.version,
        })
    }
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
