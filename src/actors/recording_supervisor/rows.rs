//! What the catalog has still to be told: rows follow, in order, when it is there again.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
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
        RecordId,
        recorder::{Ready, RecordingState, VideoKey},
    },
};

/// How long a catalog that failed is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// Rows of recordings that are not over, and what of them is not in the catalog yet.
#[derive(Debug, Default)]
pub struct Rows {
    live: BTreeMap<RecordId, CatalogRow>,
    /// The latest of each; written in the order in which they first changed.
    pending: HashMap<RecordId, Pending>,
    order: VecDeque<RecordId>,
    /// The one that is being written.
    writing: Option<RecordId>,
    pause_until: Duration,
    /// Videos of earlier versions: they go when the row names the new one.
    superseded: HashMap<RecordId, Vec<VideoKey>>,
}

#[derive(Debug)]
enum Pending {
    Put(Box<CatalogRow>),
    /// With whoever waits for it.
    Delete(Vec<oneshot::Sender<()>>),
}

impl Rows {
    pub fn new(rows: Vec<CatalogRow>) -> Self {
        let mut new = Self::default();
        for row in rows {
            new.live.insert(row.record_id.clone(), row.clone());
            new.put(row);
        }
        new
    }

    pub fn live(&self) -> impl Iterator<Item = &CatalogRow> {
        self.live.values()
    }

    pub fn get(&self, id: &RecordId) -> Option<&CatalogRow> {
        self.live.get(id)
    }

    /// The row goes, and so does what was to be written of it. Says when it is gone.
    pub fn delete(&mut self, id: RecordId) -> oneshot::Receiver<()> {
        self.live.remove(&id);
        self.superseded.remove(&id);
        let (gone, told) = oneshot::channel();
        let waiting = match self.pending.remove(&id) {
            Some(Pending::Delete(waiting)) => waiting,
            Some(Pending::Put(_)) | None => Vec::new(),
        };
        self.order.retain(|queued| *queued != id);
        self.queue(id, Pending::Delete(waiting.into_iter().chain([gone]).collect()));
        told
    }

    /// The recording is over: its row stays in the catalog.
    pub fn release(&mut self, id: &RecordId) {
        self.live.remove(id);
    }

    /// Whether the catalog knows how the recording stands.
    pub fn is_written(&self, id: &RecordId) -> bool {
        !self.pending.contains_key(id) && self.writing.as_ref() != Some(id)
    }

    /// A video that the row no longer names once it is written.
    pub fn supersede(&mut self, id: &RecordId, key: VideoKey) {
        self.superseded.entry(id.clone()).or_default().push(key);
    }

    fn put(&mut self, row: CatalogRow) {
        let id = row.record_id.clone();
        self.queue(id, Pending::Put(Box::new(row)));
    }

    fn queue(&mut self, id: RecordId, pending: Pending) {
        if self.pending.insert(id.clone(), pending).is_none() {
            self.order.push_back(id);
        }
    }

    fn next(&mut self) -> Option<(RecordId, Pending)> {
        let id = self.order.pop_front()?;
        let pending = self.pending.remove(&id)?;
        Some((id, pending))
    }

    /// Puts back what was not written, unless something newer has come since.
    fn again(&mut self, id: RecordId, pending: Pending) {
        if !self.pending.contains_key(&id) {
            self.pending.insert(id.clone(), pending);
            self.order.push_front(id);
        }
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
    /// Changes a recording's row, and sees to it that the catalog hears of it.
    pub(super) fn row_of(&mut self, manifest: &Manifest, change: impl FnOnce(&mut CatalogRow)) {
        let row = self.rows.live.entry(manifest.record_id.clone()).or_insert_with(|| fresh_row(manifest));
        row.state = manifest.state;
        row.version = manifest.version;
        row.fence = manifest.fence;
        change(row);
        let row = row.clone();
        self.rows.put(row);
    }

    /// Writes the next row, unless one is being written.
    pub(super) fn write_rows(&mut self, ctx: &mut Context<Self>) {
        if self.rows.writing.is_some() || self.clock.now().mono < self.rows.pause_until {
            return;
        }
        let Some((id, pending)) = self.rows.next() else { return };
        self.rows.writing = Some(id.clone());
        let written: PortFuture<Result<bool, CatalogError>> = match &pending {
            Pending::Put(row) => self.ports.catalog.put(CatalogRow::clone(row)),
            Pending::Delete(_) => {
                let deleted = self.ports.catalog.delete(&id);
                Box::pin(async move { deleted.await.map(|()| true) })
            }
        };
        ctx.spawn(written.into_actor(self).map(move |written, supervisor, ctx| {
            supervisor.rows.writing = None;
            supervisor.row_written(id, pending, written, ctx);
            supervisor.write_rows(ctx);
        }));
    }

    fn row_written(
        &mut self,
        id: RecordId,
        pending: Pending,
        written: Result<bool, CatalogError>,
        ctx: &mut Context<Self>,
    ) {
        match (written, pending) {
            (Ok(false), Pending::Put(row)) => {
                warn!(recording = %id, fence = row.fence.0, "the catalog knows a newer state");
            }
            (Ok(true), Pending::Put(row)) if row.state == RecordingState::Ready => {
                self.drop_superseded(&id, ctx);
                self.clean_up(&row, ctx);
            }
            (Ok(_), Pending::Put(_)) => {}
            (Ok(_), Pending::Delete(waiting)) => {
                for told in waiting {
                    // Whoever has gone needs no answer.
                    let _ = told.send(());
                }
            }
            (Err(error), pending) => {
                warn!(recording = %id, %error, transient = error.is_transient(), "the catalog was not told");
                self.metrics.storage_errors.with_label_values(&["catalog", "put"]).inc();
                self.rows.pause_until = self.clock.now().mono + PAUSE;
                self.rows.again(id, pending);
            }
        }
    }

    fn drop_superseded(&mut self, id: &RecordId, ctx: &mut Context<Self>) {
        for key in self.rows.superseded.remove(id).unwrap_or_default() {
            let deleted = self.ports.videos.delete(&key);
            ctx.spawn(deleted.into_actor(self).map(move |deleted, supervisor, _| {
                if let Err(error) = deleted {
                    warn!(key = key.as_str(), %error, "an earlier version stays behind");
                    supervisor.metrics.storage_errors.with_label_values(&["videos", "delete"]).inc();
                }
            }));
        }
    }

    /// `recordingReady` of a row that has a video.
    pub(super) fn ready(&self, row: &CatalogRow) -> Option<Ready> {
        let video = row.video.as_ref()?;
        Some(Ready {
            record_id: row.record_id.clone(),
            key: video.key.clone(),
            download_url: self.link(&video.key),
            poster_url: video.poster.as_ref().map(|poster| self.link(poster)),
            duration_ms: video.duration_ms,
            size_bytes: video.size_bytes,
            mime_type: row.mime_type.clone(),
            sha256: video.sha256.clone(),
            complete: video.complete,
            gaps: video.gaps.clone(),
            version: row.version,
        })
    }

    fn link(&self, key: &VideoKey) -> String {
        format!("{}{}", self.config.api_base_url, key.download_path())
    }
}
