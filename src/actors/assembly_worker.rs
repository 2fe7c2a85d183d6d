//! The assembly worker: recordings that come are followed, so that little is left to do at their end.
//!
//! A few at one time, each by one task that takes in all that has come meanwhile. What is not heard here, because a mailbox was
//! full or a node died, is lost to nobody: whoever completes the recording looks at its chunks.
//!
//! A recorder's socket is at one node, which follows. Requests of a recording may come to any; of those the one follows that all
//! nodes agree on, and looks into the chunk store now and then, because it does not hear of most of them. Where they do not agree for
//! a moment two do the same work, or nobody does.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use actix::{Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, Recipient, WrapFuture as _};
use tracing::debug;

use super::{
    cluster_bridge::NodeState,
    messages::{ChunkStored, ShowStanding},
};
use crate::{
    adapters::ports::{CameChunk, Merger, RecordingRef},
    domain::{cluster::ClusterView, route::own_node},
    metrics::Metrics,
    protocol::{RecordId, limits},
};

/// How often it is asked which nodes there are, and looked what requests have brought.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Recordings worked on at once.
const SIDE_BY_SIDE: usize = 4;
/// Chunks of one recording that wait; those after them are found in the chunk store.
const WAITING_MAX: usize = 64;

/// Follows recordings.
pub struct AssemblyWorker {
    merger: Arc<dyn Merger>,
    /// `None`: the node is alone.
    standing: Option<Recipient<ShowStanding>>,
    /// How it stood when that was asked last.
    view: Option<ClusterView>,
    metrics: Metrics,
    came: HashMap<RecordingRef, Vec<CameChunk>>,
    waiting: VecDeque<RecordingRef>,
    busy: HashSet<RecordingRef>,
    /// Of which some chunk came in a request since it was looked for them.
    requested: HashSet<RecordingRef>,
}

impl AssemblyWorker {
    /// A worker with nothing to do. `standing`: who says which nodes there are; nobody where the node is alone.
    #[must_use]
    pub fn new(merger: Arc<dyn Merger>, standing: Option<Recipient<ShowStanding>>, metrics: Metrics) -> Self {
        let (came, waiting, busy, requested) =
            (HashMap::new(), VecDeque::new(), HashSet::new(), HashSet::new());
        Self { merger, standing, view: None, metrics, came, waiting, busy, requested }
    }

    /// Whether this node is the one that follows a recording whose chunks come in requests.
    fn is_ours(&self, id: &RecordId) -> bool {
        let Some(view) = &self.view else { return false };
        let own = (!view.draining).then_some(&view.node.id);
        own.is_some() && own_node(id, NodeState::live(view).chain(own)) == own
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        for recording in std::mem::take(&mut self.requested) {
            self.waits(recording);
        }
        self.begin_what_fits(ctx);
        let Some(standing) = &self.standing else { return };
        let asked = standing.send(ShowStanding);
        ctx.spawn(asked.into_actor(self).map(|standing, worker, _| {
            if let Ok(standing) = standing {
                worker.view = Some(standing.view);
            }
        }));
    }

    /// It is its turn when there is room. Gives what is to be told of it then; of nothing, it is looked into the chunk store.
    fn waits(&mut self, recording: RecordingRef) -> &mut Vec<CameChunk> {
        if !self.came.contains_key(&recording) && !self.busy.contains(&recording) {
            self.waiting.push_back(recording.clone());
        }
        self.came.entry(recording).or_default()
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
        if self.standing.is_some() {
            self.look(ctx);
            ctx.run_interval(LOOK_EVERY, Self::look);
        }
    }
}

impl Handler<ChunkStored> for AssemblyWorker {
    type Result = ();

    fn handle(&mut self, message: ChunkStored, ctx: &mut Self::Context) {
        let ChunkStored { recording, came: chunk, in_request } = message;
        if in_request && self.standing.is_some() {
            if self.is_ours(&recording.id) {
                self.requested.insert(recording);
            }
            return;
        }
        let came = self.waits(recording);
        if came.len() < WAITING_MAX {
            came.push(chunk);
        }
        self.begin_what_fits(ctx);
    }
}

#[cfg(test)]
#[path = "assembly_worker_tests.rs"]
mod tests;
