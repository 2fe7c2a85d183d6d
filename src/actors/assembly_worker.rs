//! The assembly worker: recordings that come are followed, so that little is left to do at their end.
//!
//! A few at one time, each by one task that takes in all that has come meanwhile. What is not heard here, because a mailbox was
//! full or a node died, is lost to nobody: whoever completes the recording looks at its chunks.
//!
//! A recorder's socket is at one node, which follows. Requests of a recording may come to any; of those the one follows that all
//! nodes agree on, and looks into the chunk store now and then, because it does not hear of most of them. A node that gets some
//! tells it so: it may get none itself. Where they do not agree for a moment two do the same work, or nobody does.
//!
//! Whoever has followed a recording makes it with the least work. So where one is stopped that was not followed here, though its
//! recorder may have its socket here, its own node is told, and claims it while the sweeps of all others leave it a moment.
//!
//! ```text
//!  here   Intake ─ ChunkStored ──────────────► AssemblyWorker ─ HintNode ─► ClusterBridge ─► its own node
//!         RecordingSupervisor ─ RecordingStopped ──►│
//!                               RecordingEnded ───►│ to all others: its recorder may be at any
//!  there  ClusterBridge ─ Hinted ────────────► AssemblyWorker ─ ClaimRecording, LookAtRecording ─► RecordingSupervisor
//! ```

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use actix::{Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, Recipient, WrapFuture as _};
use tracing::debug;

use super::{
    cluster_bridge::NodeState,
    mailbox::{Mailbox, post},
    messages::{
        ChunkStored, ClaimRecording, HintNode, Hinted, LookAtRecording, RecordingEnded, RecordingStopped,
        ShowStanding,
    },
};
use crate::{
    adapters::ports::{CameChunk, Merger, PortFuture, RecordingRef},
    domain::{cluster::ClusterView, route::own_node},
    metrics::Metrics,
    protocol::{NodeId, RecordId, cluster::Hint, limits},
};

/// How often it is asked which nodes there are, and looked what requests have brought.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Recordings worked on at once.
const SIDE_BY_SIDE: usize = 4;
/// Chunks of one recording that wait. Where more come all of them are found in the chunk store.
const WAITING_MAX: usize = 64;
/// Recordings that wait for their turn, or for the next look, where requests bring them. Those beyond are found at their end.
const REQUESTED_MAX: usize = 4096;
/// Recordings of which other nodes are told between two looks. Of those beyond they are told later.
const TOLD_MAX: usize = 1024;

/// Whom a worker talks to that has other nodes beside its own.
pub struct OtherNodes {
    /// Says which there are.
    pub standing: Recipient<ShowStanding>,
    /// Tells them.
    pub hint: Recipient<HintNode>,
    /// Claims, on this node, what was stopped.
    pub claim: Recipient<ClaimRecording>,
    /// Tells a recorder that has its socket here what another node has made of its recording.
    pub look: Recipient<LookAtRecording>,
}

/// Follows recordings.
pub struct AssemblyWorker {
    merger: Arc<dyn Merger>,
    /// `None`: the node is alone.
    others: Option<OtherNodes>,
    /// How it stood when that was asked last.
    view: Option<ClusterView>,
    metrics: Metrics,
    came: HashMap<RecordingRef, Came>,
    waiting: VecDeque<RecordingRef>,
    busy: HashSet<RecordingRef>,
    /// Of which some chunk came in a request since it was looked for them.
    requested: HashSet<RecordingRef>,
    /// Of which their own nodes were told since then, and whether more has come after that.
    told: HashMap<RecordingRef, bool>,
}

/// What has come of a recording that waits for its turn.
enum Came {
    These(Vec<CameChunk>),
    /// It is looked into the chunk store.
    Unheard,
}

/// The node that follows a recording whose chunks come in requests, as seen from here.
enum OwnNode {
    This,
    Other(NodeId),
    /// It is not known yet which nodes there are, or all are going away.
    Unknown,
}

impl AssemblyWorker {
    /// A worker with nothing to do. `others`: nobody where the node is alone.
    #[must_use]
    pub fn new(merger: Arc<dyn Merger>, others: Option<OtherNodes>, metrics: Metrics) -> Self {
        Self {
            merger,
            others,
            view: None,
            metrics,
            came: HashMap::new(),
            waiting: VecDeque::new(),
            busy: HashSet::new(),
            requested: HashSet::new(),
            told: HashMap::new(),
        }
    }

    fn own_node(&self, id: &RecordId) -> OwnNode {
        let Some(view) = &self.view else { return OwnNode::Unknown };
        let this = (!view.draining).then_some(&view.node.id);
        match own_node(id, NodeState::live(view).chain(this)) {
            None => OwnNode::Unknown,
            own if own == this => OwnNode::This,
            Some(other) => OwnNode::Other(other.clone()),
        }
    }

    /// Whether it is looked for its chunks with the next look.
    fn requests_came(&mut self, recording: RecordingRef) {
        if self.requested.len() + self.came.len() < REQUESTED_MAX {
            self.requested.insert(recording);
        }
    }

    /// Once between two looks: the other one does not look more often either.
    fn tell_of_requests(&mut self, own: NodeId, recording: RecordingRef) {
        if let Some(more) = self.told.get_mut(&recording) {
            *more = true;
        } else if self.told.len() < TOLD_MAX {
            let hint = Hint::Requested { record_id: recording.id.clone(), token: recording.token };
            let hears = self.hint(own, hint);
            self.told.insert(recording, !hears);
        }
    }

    /// What has come since others were told, the last of it too, they hear of now. Half of the places are for recordings of which
    /// they have not heard.
    fn tell_of_more(&mut self) {
        let told = std::mem::take(&mut self.told).into_iter();
        for (recording, _) in told.filter(|(_, more)| *more).take(TOLD_MAX / 2) {
            if let OwnNode::Other(own) = self.own_node(&recording.id) {
                self.tell_of_requests(own, recording);
            }
        }
    }

    /// `false`: it will not hear of it.
    fn hint(&self, to: NodeId, hint: Hint) -> bool {
        let Some(others) = &self.others else { return false };
        post(&others.hint, Mailbox::ClusterBridge, &self.metrics, HintNode { to, hint }).is_ok()
    }

    /// Whether this node has what can be had of it, or is about to. One that is going away makes nothing any more.
    fn follows(&self, recording: &RecordingRef) -> PortFuture<bool> {
        if self.view.as_ref().is_some_and(|view| view.draining) {
            return Box::pin(async { false });
        }
        if self.busy.contains(recording) || self.came.contains_key(recording) {
            return Box::pin(async { true });
        }
        self.merger.is_followed(recording.clone())
    }

    fn was_stopped(&self, id: RecordId, is_followed: bool) {
        if !is_followed
            && let OwnNode::Other(own) = self.own_node(&id)
            && self.hint(own, Hint::Stopped { record_id: id.clone() })
        {
            return;
        }
        self.claim(id);
    }

    /// Should there be no room: a sweep finds it due.
    fn claim(&self, id: RecordId) {
        let Some(others) = &self.others else { return };
        let _ = post(&others.claim, Mailbox::Supervisor, &self.metrics, ClaimRecording { id });
    }

    /// Should there be no room: it is looked for all of them now and then.
    fn has_ended(&self, id: RecordId) {
        let Some(others) = &self.others else { return };
        let _ = post(&others.look, Mailbox::Supervisor, &self.metrics, LookAtRecording { id });
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        for recording in std::mem::take(&mut self.requested) {
            self.waits(recording, None);
        }
        self.begin_what_fits(ctx);
        let Some(others) = &self.others else { return };
        let asked = others.standing.send(ShowStanding);
        self.tell_of_more();
        ctx.spawn(asked.into_actor(self).map(|standing, worker, _| {
            if let Ok(standing) = standing {
                worker.view = Some(standing.view);
            }
        }));
    }

    /// It is its turn when there is room. `None`: chunks of which nothing was heard here.
    fn waits(&mut self, recording: RecordingRef, chunk: Option<CameChunk>) {
        if !self.came.contains_key(&recording) && !self.busy.contains(&recording) {
            self.waiting.push_back(recording.clone());
        }
        let came = self.came.entry(recording).or_insert(Came::These(Vec::new()));
        match (came, chunk) {
            (Came::These(these), Some(chunk)) if these.len() < WAITING_MAX => these.push(chunk),
            (came, _) => *came = Came::Unheard,
        }
    }

    fn begin_what_fits(&mut self, ctx: &mut Context<Self>) {
        while self.busy.len() < SIDE_BY_SIDE
            && let Some(recording) = self.waiting.pop_front()
        {
            let Some(came) = self.came.remove(&recording) else { continue };
            self.busy.insert(recording.clone());
            let came = match came {
                Came::These(these) => these,
                Came::Unheard => Vec::new(),
            };
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
        if self.others.is_some() {
            self.look(ctx);
            ctx.run_interval(LOOK_EVERY, Self::look);
        }
    }
}

impl Handler<ChunkStored> for AssemblyWorker {
    type Result = ();

    fn handle(&mut self, message: ChunkStored, ctx: &mut Self::Context) {
        let ChunkStored { recording, came: chunk, in_request } = message;
        if in_request && self.others.is_some() {
            match self.own_node(&recording.id) {
                OwnNode::This => self.requests_came(recording),
                OwnNode::Other(own) => self.tell_of_requests(own, recording),
                OwnNode::Unknown => {}
            }
            return;
        }
        self.waits(recording, Some(chunk));
        self.begin_what_fits(ctx);
    }
}

impl Handler<Hinted> for AssemblyWorker {
    type Result = ();

    fn handle(&mut self, Hinted(hint): Hinted, _: &mut Self::Context) {
        match hint {
            // Whoever says so sees this node as the one that follows. Should this node see another one, two may do it.
            Hint::Requested { record_id: id, token } => {
                if self.view.as_ref().is_some_and(|view| !view.draining) {
                    self.requests_came(RecordingRef { id, token });
                }
            }
            Hint::Stopped { record_id } => self.claim(record_id),
            Hint::Ended { record_id } => self.has_ended(record_id),
        }
    }
}

impl Handler<RecordingStopped> for AssemblyWorker {
    type Result = ();

    fn handle(&mut self, RecordingStopped { recording }: RecordingStopped, ctx: &mut Self::Context) {
        let follows = self.follows(&recording).into_actor(self);
        ctx.spawn(follows.map(|is_followed, worker, _| worker.was_stopped(recording.id, is_followed)));
    }
}

impl Handler<RecordingEnded> for AssemblyWorker {
    type Result = ();

    fn handle(&mut self, RecordingEnded { id }: RecordingEnded, _: &mut Self::Context) {
        for peer in self.view.iter().flat_map(|view| &view.peers) {
            self.hint(peer.node.id.clone(), Hint::Ended { record_id: id.clone() });
        }
    }
}

#[cfg(test)]
#[path = "assembly_worker_tests.rs"]
mod tests;
