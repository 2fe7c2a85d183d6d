//! The assembly worker: recordings that come are followed, so that little is left to do at their end.
//!
//! A few at one time, each by one task that takes in all that has come meanwhile. What is not heard here, because a mailbox was
//! full or a node died, is lost to nobody: whoever completes the recording looks at its chunks.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use actix::{Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, WrapFuture as _};
use tracing::debug;

use super::messages::ChunkStored;
use crate::{
    adapters::ports::{Merger, RecordingRef, StoredChunk},
    metrics::Metrics,
    protocol::limits,
};

/// Recordings worked on at once.
const SIDE_BY_SIDE: usize = 4;
/// Chunks of one recording that wait; those after them are found in the chunk store.
const WAITING_MAX: usize = 64;

/// Follows recordings.
pub struct AssemblyWorker {
    merger: Arc<dyn Merger>,
    metrics: Metrics,
    came: HashMap<RecordingRef, Vec<StoredChunk>>,
    waiting: VecDeque<RecordingRef>,
    busy: HashSet<RecordingRef>,
}

impl AssemblyWorker {
    /// A worker with nothing to do.
    #[must_use]
    pub fn new(merger: Arc<dyn Merger>, metrics: Metrics) -> Self {
        let (came, waiting, busy) = (HashMap::new(), VecDeque::new(), HashSet::new());
        Self { merger, metrics, came, waiting, busy }
    }

    fn begin_what_fits(&mut self, ctx: &mut Context<Self>) {
        while self.busy.len() < SIDE_BY_SIDE
            && let Some(recording) = self.waiting.pop_front()
        {
            let Some(came) = self.came.remove(&recording) else { continue };
            self.busy.insert(recording.clone());
            let followed = self.merger.follow(recording.clone(), came);
            ctx.spawn(followed.into_actor(self).map(move |followed, worker, ctx| {
                if let Err(error) = followed {
                    debug!(recording = %recording.id, %error, "it is followed later");
                    worker.metrics.storage_errors.with_label_values(&["assembly", "follow"]).inc();
                }
                worker.busy.remove(&recording);
                if worker.came.contains_key(&recording) {
                    worker.waiting.push_back(recording);
                }
                worker.begin_what_fits(ctx);
            }));
        }
    }
}

impl Actor for AssemblyWorker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(limits::ASSEMBLY_WORKER_MAILBOX);
    }
}

impl Handler<ChunkStored> for AssemblyWorker {
    type Result = ();

    fn handle(&mut self, message: ChunkStored, ctx: &mut Self::Context) {
        let ChunkStored { recording, chunk } = message;
        let is_new = !self.came.contains_key(&recording) && !self.busy.contains(&recording);
        let came = self.came.entry(recording.clone()).or_default();
        if came.len() < WAITING_MAX {
            came.push(chunk);
        }
        if is_new {
            self.waiting.push_back(recording);
            self.begin_what_fits(ctx);
        }
    }
}
