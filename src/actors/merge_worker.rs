//! The merge worker: as many merges at once as the operator allows, the others wait. As many again may have begun: what the
//! assembler has put together needs no turn (`merge_turns`) and is not held up by what ffmpeg makes.
//!
//! A merge is chunks → `Merger` → `VideoStore`, under the fence of its claim. It deletes nothing and tells nobody
//! but the supervisor. A merge that is cancelled is dropped where it stands: its processes end, its folder goes.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, Recipient, WrapFuture as _};
use tokio::task::AbortHandle;
use tracing::warn;

use super::{
    accounts::Accounts,
    chunk_gate::ChunkGates,
    mailbox::{Mailbox, post},
    merge_turns::MergeTurns,
    messages::{CancelMerge, MergeEnded, MergeFault, MergeProgressed, MergeRecording, MergedVideo},
    posters,
    work_folder::WorkFolder,
};
use crate::{
    adapters::{
        crash,
        ports::{MergeJob, Merged, RecordingPorts, RecordingRef, StoreError, StoredChunk},
        work_folders::WorkFolders,
    },
    domain::recording::{Manifest, VideoFacts},
    metrics::Metrics,
    protocol::{
        Fence, RecordId, limits,
        recorder::{RecordingState, VideoKey},
        tokens,
    },
};

/// How often a result that the supervisor had no room for is told again.
const TELL_AGAIN: Duration = Duration::from_millis(200);

/// What a worker is given.
#[derive(Clone)]
pub struct MergeWorkerConfig {
    /// Merges by ffmpeg at once.
    pub jobs: usize,
    /// Where merges have their folders.
    pub folders: WorkFolders,
    /// Keeps what is stored apart from what takes recordings away.
    pub gates: ChunkGates,
}

/// Runs merges.
pub struct MergeWorker {
    ports: RecordingPorts,
    config: MergeWorkerConfig,
    progressed: Recipient<MergeProgressed>,
    ended: Recipient<MergeEnded>,
    metrics: Metrics,
    turns: Arc<MergeTurns>,
    waiting: VecDeque<MergeRecording>,
    running: HashMap<RecordId, (Fence, AbortHandle)>,
    /// Whether what merges of an earlier life have left is gone.
    is_clear: bool,
}

impl MergeWorker {
    /// A worker with nothing to do.
    #[must_use]
    pub fn new(
        ports: RecordingPorts,
        config: MergeWorkerConfig,
        progressed: Recipient<MergeProgressed>,
        ended: Recipient<MergeEnded>,
        metrics: Metrics,
    ) -> Self {
        let (waiting, running) = (VecDeque::new(), HashMap::new());
        let turns = MergeTurns::new(config.jobs, metrics.clone());
        Self { ports, config, progressed, ended, metrics, turns, waiting, running, is_clear: false }
    }

    fn begin_what_fits(&mut self, ctx: &mut Context<Self>) {
        while self.is_clear
            && self.running.len() < 2 * self.config.jobs
            && let Some(message) = self.waiting.pop_front()
        {
            self.begin(message, ctx);
        }
        self.turns.show(self.running.len(), self.waiting.len());
    }

    fn begin(&mut self, message: MergeRecording, ctx: &mut Context<Self>) {
        let MergeRecording { manifest, expected, noted } = message;
        let (id, fence) = (manifest.record_id.clone(), manifest.fence);
        let folder = WorkFolder::at(self.config.folders.own().join(format!("{id}-{}", fence.0)));
        let making = Making {
            ports: self.ports.clone(),
            manifest: manifest.clone(),
            expected,
            noted,
            folder,
            gates: self.config.gates.clone(),
            progressed: self.progressed.clone(),
            metrics: self.metrics.clone(),
            turns: self.turns.clone(),
        };
        let task = tokio::spawn(making.run());
        if let Some((_, outdated)) = self.running.insert(id.clone(), (fence, task.abort_handle())) {
            outdated.abort();
        }
        ctx.spawn(task.into_actor(self).map(move |made, worker, ctx| {
            if worker.running.get(&id).is_some_and(|(running, _)| *running == fence) {
                worker.running.remove(&id);
            }
            match made {
                Ok(outcome) => worker.tell(MergeEnded { manifest, outcome }, ctx),
                // Cancelled: whoever did it knows.
                Err(failure) if failure.is_cancelled() => {}
                Err(_) => {
                    let fault = MergeFault::Store("a bug of ours; it has been logged".to_owned());
                    worker.tell(MergeEnded { manifest, outcome: Err(fault) }, ctx);
                }
            }
            worker.begin_what_fits(ctx);
        }));
    }

    /// A result must not be lost: the claim would stand for ever.
    fn tell(&self, ended: MergeEnded, ctx: &mut Context<Self>) {
        let again = MergeEnded { manifest: ended.manifest.clone(), outcome: ended.outcome.clone() };
        if post(&self.ended, Mailbox::Supervisor, &self.metrics, ended).is_err() {
            ctx.run_later(TELL_AGAIN, move |worker, ctx| worker.tell(again, ctx));
        }
    }
}

impl Actor for MergeWorker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(limits::MERGE_WORKER_MAILBOX);
        let folders = self.config.folders.clone();
        let cleared = async move { folders.clear_own().await };
        ctx.spawn(cleared.into_actor(self).map(|(), worker, ctx| {
            worker.is_clear = true;
            worker.begin_what_fits(ctx);
        }));
    }
}

impl Handler<MergeRecording> for MergeWorker {
    type Result = ();

    fn handle(&mut self, message: MergeRecording, ctx: &mut Self::Context) {
        self.waiting.push_back(message);
        self.begin_what_fits(ctx);
    }
}

impl Handler<CancelMerge> for MergeWorker {
    type Result = ();

    fn handle(&mut self, message: CancelMerge, ctx: &mut Self::Context) {
        let CancelMerge { id, below } = message;
        self.waiting.retain(|waiting| waiting.manifest.record_id != id || waiting.manifest.fence >= below);
        if self.running.get(&id).is_some_and(|(fence, _)| *fence < below)
            && let Some((_, task)) = self.running.remove(&id)
        {
            task.abort();
        }
        self.begin_what_fits(ctx);
    }
}

/// One merge from its claim to its video in the store.
struct Making {
    ports: RecordingPorts,
    manifest: Manifest,
    expected: u32,
    noted: u32,
    folder: Arc<WorkFolder>,
    gates: ChunkGates,
    progressed: Recipient<MergeProgressed>,
    metrics: Metrics,
    turns: Arc<MergeTurns>,
}

impl Making {
    async fn run(self) -> Result<MergedVideo, MergeFault> {
        let began = Instant::now();
        let failed = |error: std::io::Error| MergeFault::Store(format!("the folder for a merge: {error}"));
        self.folder.prepare().await.map_err(failed)?;
        let video = self.make().await?;
        let path = video.facts.path();
        self.metrics.merge_duration.with_label_values(&[path]).observe(began.elapsed().as_secs_f64());
        Ok(video)
    }

    async fn make(&self) -> Result<MergedVideo, MergeFault> {
        let id = &self.manifest.record_id;
        let store = |error: StoreError| MergeFault::Store(error.to_string());
        self.fill_late().await?;
        let chunks = self.ports.chunks.list(id).await.map_err(store)?;
        let count = StoredChunk::count(&chunks);
        match self.done_before(count).await {
            Ok(Some(done)) => return Ok(done),
            // Its chunks may be gone because its video is there: that must be known before anything is said of it.
            Err(fault) if count == 0 && self.expected > 0 => return Err(fault),
            // A folder that was put back without what was in it, a store that has dropped what was too old: nothing that its
            // recorder has done, and it may be put right.
            Ok(None) | Err(_) if count == 0 && self.noted > 0 => return Err(MergeFault::Lost(self.noted)),
            Ok(None) | Err(_) if count == 0 => return Err(MergeFault::Empty),
            Ok(None) | Err(_) => {}
        }
        crash::point("merge.planned");
        let job = MergeJob {
            recording: RecordingRef::of(&self.manifest),
            fence: self.manifest.fence,
            expected: self.expected(&chunks),
            chunks,
            folder: self.folder.path().to_owned(),
            store: self.ports.chunks.clone(),
            progress: self.progress(),
            turn: self.turns.taking(),
        };
        let merged = self.ports.merger.merge(job).await.map_err(MergeFault::Merge)?;
        crash::point("merge.made");
        self.store(merged, count).await
    }

    /// Whoever has a number has no time left: what comes now would be in no video, or in it twice.
    async fn fill_late(&self) -> Result<(), MergeFault> {
        let (id, whose) = (&self.manifest.record_id, self.manifest.token);
        let _passing = self.gates.pass(id).await;
        let filled = Accounts::of(&self.ports).fill_late(id, whose).await;
        filled.map_err(|failure| MergeFault::Store(failure.to_string()))
    }

    /// How many places there must be: when it was claimed, nobody knew yet which of them are void.
    fn expected(&self, places: &[StoredChunk]) -> u32 {
        let voids = u32::try_from(places.len()).unwrap_or(u32::MAX) - StoredChunk::count(places);
        let announced = self.manifest.announced.map_or(0, |chunks| chunks.saturating_add(voids));
        self.expected.max(announced)
    }

    /// What somebody has made of these chunks before, and did not get to the end with; or what a ledger that has lost its
    /// last changes has forgotten of. Its row says that it was complete, and nothing has come since.
    ///
    /// # Errors
    /// The catalog or the video store gives no answer.
    async fn done_before(&self, chunks: u32) -> Result<Option<MergedVideo>, MergeFault> {
        let row = self.ports.catalog.get(&self.manifest.record_id).await;
        let row = row.map_err(|error| MergeFault::Store(error.to_string()))?;
        let Some(row) = row else { return Ok(None) };
        let is_same = (row.started_ms, row.version) == (self.manifest.started_ms, self.manifest.version);
        let facts = row.video.filter(|video| {
            is_same && row.state == RecordingState::Ready && video.complete && row.chunks >= chunks
        });
        let Some(facts) = facts else { return Ok(None) };
        let found = self.ports.videos.find(&facts.key).await;
        let is_there = found.map_err(|error| MergeFault::Store(error.to_string()))?.is_some();
        let (mime_type, missing, chunks) = (row.mime_type, row.missing, row.chunks);
        Ok(is_there.then_some(MergedVideo { facts, mime_type, missing, chunks, poster_follows: false }))
    }

    fn progress(&self) -> Box<dyn Fn(u8) + Send + Sync> {
        let (id, fence) = (self.manifest.record_id.clone(), self.manifest.fence);
        let (progressed, metrics) = (self.progressed.clone(), self.metrics.clone());
        Box::new(move |percent| {
            let message = MergeProgressed { id: id.clone(), fence, percent };
            // One that does not fit is followed by a newer one.
            let _ = post(&progressed, Mailbox::Supervisor, &metrics, message);
        })
    }

    /// Stores what was made, if it is still wanted. In a task of its own, which passes the recording's gate: who cancels
    /// this merge to take the recording away finds everything that it will ever store.
    async fn store(&self, merged: Merged, chunks: u32) -> Result<MergedVideo, MergeFault> {
        let storing = Storing {
            ports: self.ports.clone(),
            gates: self.gates.clone(),
            manifest: self.manifest.clone(),
            _folder: self.folder.clone(),
        };
        let stored = tokio::spawn(storing.run(merged, chunks)).await;
        stored.unwrap_or_else(|_| Err(MergeFault::Store("the work was interrupted".to_owned())))
    }
}

/// The last step of a merge.
struct Storing {
    ports: RecordingPorts,
    gates: ChunkGates,
    manifest: Manifest,
    /// Not cleared away before it is done.
    _folder: Arc<WorkFolder>,
}

impl Storing {
    async fn run(self, merged: Merged, chunks: u32) -> Result<MergedVideo, MergeFault> {
        let (id, fence) = (&self.manifest.record_id, self.manifest.fence);
        let _passing = self.gates.pass(id).await;
        // Whoever was overtaken need not store anything.
        if self.is_overtaken().await {
            return Err(MergeFault::Overtaken);
        }
        let key = self.put(&merged).await.map_err(|error| MergeFault::Store(error.to_string()))?;
        crash::point("put.stored");
        let poster = match &merged.poster {
            Some(file) => posters::store(&self.ports, (id, fence), file).await,
            None => None,
        };
        // Who was overtaken while it stored may be storing what was deleted since: nobody would take it away any more. The names
        // are its own, and nobody was told of them.
        if self.is_overtaken().await {
            self.take_back([&key].into_iter().chain(&poster)).await;
            return Err(MergeFault::Overtaken);
        }
        self.ports.merger.forget(RecordingRef::of(&self.manifest)).await;
        let complete = merged.missing.is_empty() && merged.gaps.is_empty();
        let facts = VideoFacts {
            key,
            poster,
            duration_ms: merged.duration_ms,
            size_bytes: merged.proof.size_bytes,
            sha256: merged.sha256.map(|digest| tokens::hex(&digest)),
            codecs: merged.codecs,
            complete,
            gaps: merged.gaps,
            work: merged.work,
        };
        let Merged { mime_type, missing, poster_follows, .. } = merged;
        Ok(MergedVideo { facts, mime_type, missing, chunks, poster_follows })
    }

    /// Puts the video into its store, where it may be already but for the last step. Its name.
    async fn put(&self, merged: &Merged) -> Result<VideoKey, StoreError> {
        let Manifest { record_id: id, fence, .. } = &self.manifest;
        if let (Some(sent), Some(parts)) = (&merged.sent, self.ports.videos.parts()) {
            match parts.complete(sent, merged.proof.size_bytes).await {
                Ok(()) => return Ok(sent.parts.key.clone()),
                Err(error) if sent.is_in_file => warn!(recording = %id, %error, "a video is sent once more"),
                Err(error) => return Err(error),
            }
        }
        let key = VideoKey::new(id, *fence, merged.extension);
        self.ports.videos.put(&key, &merged.file, merged.proof).await?;
        Ok(key)
    }

    /// Whether its claim no longer holds; not that nobody can say so.
    async fn is_overtaken(&self) -> bool {
        let Manifest { record_id: id, fence, .. } = &self.manifest;
        matches!(self.ports.ledger.holds(id.clone(), *fence).await, Ok(false))
    }

    async fn take_back(&self, keys: impl Iterator<Item = &VideoKey>) {
        for key in keys {
            if let Err(error) = self.ports.videos.delete(key).await {
                warn!(recording = %self.manifest.record_id, key = key.as_str(), %error, "a video of nobody's stays behind");
            }
        }
    }
}
