//! The cluster bridge: one actor around the rules of [`crate::domain::cluster`].
//!
//! ```text
//!  RoomManager    ── SendToNode, StoreFailed ──► ClusterBridge ──► Bus (port) ⇄ other nodes
//!                 ◄──────── PostRooms ──────────               ──► Leases, Registry (ports)
//!  AssemblyWorker ────────── HintNode ─────────►
//!                 ◄────────── Hinted ───────────
//! ```
//! It takes each input to the domain and performs each effect, and never waits: the ports' answers come back as inputs.
//!
//! Nothing from another node may be lost on the way to the rooms, because its link counts it as arrived. So while the room
//! manager's mailbox is full, what is for it waits here and nothing more is taken from the bus: the bus fills and drops,
//! the links keep what was dropped, and the senders are held back.

mod figures;
mod rooms;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use actix::{
    Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, MessageResult, Recipient,
    ResponseFuture, WrapFuture as _,
};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

pub use self::figures::{NodeState, mode_name};
use super::{
    mailbox::{Mailbox, post},
    messages::{
        DrainCluster, HintNode, Hinted, PostRooms, SendToNode, ShowStanding, Standing, StopCluster,
        StoreFailed,
    },
};
use crate::{
    adapters::{
        clock::Clock,
        ports::{BusNews, ClusterPorts, PortFuture, RegistryError},
    },
    domain::{
        cluster::{Cluster, ClusterConfig, ClusterEffect, ClusterInput, Mode, Renewal, reaper::RoomReaped},
        membership::SyncRequest,
        rooms::RoomInput,
    },
    metrics::Metrics,
    protocol::{NodeRef, limits},
};

/// How often deadlines are looked at: as often as links acknowledge.
const TICK: Duration = Duration::from_millis(50);
/// How often gauges are set.
const GAUGES: Duration = Duration::from_secs(1);

/// What a node must know of its place in the cluster; each is said once at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// It may take traffic.
    Began(Mode),
    /// Another node has its name: this one must end.
    Rival(NodeRef),
}

/// Words that are not heard yet.
pub const WORDS: usize = 2;

/// Whom the bridge tells what other nodes say.
pub struct BridgeLinks {
    /// Everything of rooms.
    pub rooms: Recipient<PostRooms>,
    /// Hints.
    pub hints: Recipient<Hinted>,
}

/// Owns this node's place in the cluster.
pub struct ClusterBridge {
    cluster: Cluster,
    config: ClusterConfig,
    /// This node in its present life.
    node: NodeRef,
    ports: ClusterPorts,
    links: BridgeLinks,
    /// What the room manager has had no room for, in order.
    held: VecDeque<RoomInput>,
    /// Whether the room manager is waited for.
    blocked: bool,
    /// What comes from other nodes; `None` while it is listened to.
    news: Option<mpsc::Receiver<BusNews>>,
    words: mpsc::Sender<Word>,
    /// Whether it ever had a lease.
    begun: bool,
    stopping: Option<Stopping>,
    clock: Clock,
    metrics: Metrics,
    ticked_at: Duration,
    gauges_at: Duration,
}

/// What the end of this node's place in the cluster waits for.
struct Stopping {
    lease_removed: bool,
    /// The word that it is down came back, so it has been published.
    told: bool,
    done: oneshot::Sender<()>,
}

impl ClusterBridge {
    /// A bridge of a node that is about to begin. `words` has room for [`WORDS`].
    #[must_use]
    pub fn new(
        config: ClusterConfig,
        ports: ClusterPorts,
        links: BridgeLinks,
        words: mpsc::Sender<Word>,
        clock: Clock,
        metrics: Metrics,
    ) -> Self {
        Self {
            cluster: Cluster::new(config.clone()),
            node: config.node.clone(),
            config,
            ports,
            links,
            held: VecDeque::new(),
            blocked: false,
            news: None,
            words,
            begun: false,
            stopping: None,
            clock,
            metrics,
            ticked_at: Duration::ZERO,
            gauges_at: Duration::ZERO,
        }
    }

    /// Takes an input to the rules and performs what follows.
    fn apply(&mut self, input: ClusterInput, ctx: &mut Context<Self>) {
        let mut effects = Vec::new();
        self.cluster.handle(self.clock.now(), input, &mut effects);
        for effect in effects {
            self.perform(effect, ctx);
        }
        self.post_held(ctx);
    }

    fn perform(&mut self, effect: ClusterEffect, ctx: &mut Context<Self>) {
        let ClusterPorts { leases, bus, .. } = &self.ports;
        match effect {
            ClusterEffect::Beat { node, renewal } => self.beat(&node, renewal, ctx),
            ClusterEffect::Publish { to, message } => {
                // What is not sent is missed by the receiver, or by the probe's deadline, as if it had been lost on the way.
                if let Err(error) = bus.publish(&to, &message) {
                    debug!(%to, %error, "not published");
                }
            }
            ClusterEffect::Announce(event) => {
                if let Err(error) = bus.announce(&event) {
                    warn!(?event, %error, "not announced; other nodes will see it by the leases");
                }
            }
            ClusterEffect::Rebuild => bus.rebuild(),
            ClusterEffect::Rooms(input) => self.hold(*input, ctx),
            ClusterEffect::PassHint(hint) => {
                // One for which there is no room is lost, as it may be on the way.
                let _ = post(&self.links.hints, Mailbox::AssemblyWorker, &self.metrics, Hinted(hint));
            }
            ClusterEffect::Lease { node, until } => {
                self.begun = true;
                let left = until.saturating_sub(self.clock.now().mono);
                leases.granted(&node, Instant::now() + left);
                self.node = node;
            }
            ClusterEffect::Started => self.say(Word::Began(self.cluster.view(self.clock.now()).mode)),
            ClusterEffect::Rival(rival) => self.say(Word::Rival(rival)),
            ClusterEffect::Claim { dead } => {
                let answer = leases.claim_reaping(&dead, &self.node, limits::REAPER_TERM);
                self.ask("claim", answer, ctx, |taken| ClusterInput::Claimed { dead, taken });
            }
            ClusterEffect::ReadIndex { dead } => {
                let answer = leases.index(&dead.id);
                self.ask("index", answer, ctx, |entries| ClusterInput::Indexed { dead, entries });
            }
            ClusterEffect::ReapRoom { dead, request } => self.reap_room(dead, *request, ctx),
            ClusterEffect::Unindex { dead, sessions } => {
                let answer = leases.unindex(&dead, sessions);
                self.ask("unindex", answer, ctx, |done| ClusterInput::Unindexed {
                    dead,
                    done: done.is_some(),
                });
            }
            ClusterEffect::RemoveLease { node } => self.remove_lease(node, ctx),
            ClusterEffect::Count(fact) => self.count(fact),
        }
    }

    /// A lease runs from when it was asked for: that it was granted later is the safe side.
    fn beat(&self, node: &NodeRef, renewal: Renewal, ctx: &mut Context<Self>) {
        let asked = self.clock.now().mono;
        let answer = self.ports.leases.beat(node, renewal, self.config.lease);
        self.ask("beat", answer, ctx, move |beat| ClusterInput::BeatAnswered { asked, beat });
    }

    fn reap_room(&self, dead: NodeRef, request: SyncRequest, ctx: &mut Context<Self>) {
        let room = request.room.clone();
        let answer = self.ports.registry.sync(request);
        self.ask("reap", answer, ctx, |picture| {
            let outcome = picture.map(|picture| RoomReaped { due_in: picture.due_in });
            ClusterInput::RoomReaped { dead, room, outcome }
        });
    }

    fn remove_lease(&self, node: NodeRef, ctx: &mut Context<Self>) {
        let answer = self.ports.leases.remove(&node).into_actor(self).map(|removed, bridge, ctx| {
            let removed = bridge.known("remove", removed).is_some();
            if let Some(stopping) = bridge.stopping.as_mut().filter(|_| node == bridge.node) {
                stopping.lease_removed = removed;
            }
            bridge.apply(ClusterInput::LeaseRemoved { node, removed }, ctx);
            bridge.stop_if_told();
        });
        ctx.spawn(answer);
    }

    /// Asks a port, and takes what its answer comes to as an input.
    fn ask<T: 'static>(
        &self,
        operation: &'static str,
        answer: PortFuture<Result<T, RegistryError>>,
        ctx: &mut Context<Self>,
        then: impl FnOnce(Option<T>) -> ClusterInput + 'static,
    ) {
        let answer = tokio::time::timeout(limits::REGISTRY_TIMEOUT, answer).into_actor(self);
        ctx.spawn(answer.map(move |answer, bridge, ctx| {
            let late = |_| Err(RegistryError::Unavailable("no answer in time".to_owned()));
            let known = bridge.known(operation, answer.unwrap_or_else(late));
            bridge.apply(then(known), ctx);
        }));
    }

    fn known<T>(&self, operation: &'static str, answer: Result<T, RegistryError>) -> Option<T> {
        answer
            .inspect_err(|error| {
                // That the node is cut off is said once, where the rules say so.
                debug!(operation, %error, "the shared store gave no answer");
                self.metrics.registry_errors.with_label_values(&[operation]).inc();
            })
            .ok()
    }

    fn stop_if_told(&mut self) {
        if let Some(stopping) = self.stopping.take_if(|stopping| stopping.told && stopping.lease_removed) {
            let _ = stopping.done.send(());
        }
    }

    fn say(&self, word: Word) {
        // There are two words in all; an error is a node that no longer listens to them.
        let _ = self.words.try_send(word);
    }

    /// Called for every message too: actix polls timers only when the mailbox is empty.
    fn tick_if_due(&mut self, ctx: &mut Context<Self>) {
        if self.clock.now().mono.saturating_sub(self.ticked_at) >= TICK {
            self.tick(ctx);
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let now = self.clock.now().mono;
        self.ticked_at = now;
        self.apply(ClusterInput::Tick, ctx);
        if now.saturating_sub(self.gauges_at) >= GAUGES {
            self.gauges_at = now;
            self.set_gauges();
        }
    }
}

impl Actor for ClusterBridge {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(limits::CLUSTER_BRIDGE_MAILBOX);
        ctx.run_interval(TICK, Self::tick);
        self.news = Some(self.ports.bus.listen(&self.node.id).news);
        self.listen(ctx);
        self.tick(ctx);
    }
}

impl Handler<SendToNode> for ClusterBridge {
    type Result = ();

    fn handle(&mut self, message: SendToNode, ctx: &mut Self::Context) {
        let SendToNode { to, message } = message;
        self.apply(ClusterInput::Send { to, message }, ctx);
        self.tick_if_due(ctx);
    }
}

impl Handler<HintNode> for ClusterBridge {
    type Result = ();

    fn handle(&mut self, message: HintNode, ctx: &mut Self::Context) {
        let HintNode { to, hint } = message;
        self.apply(ClusterInput::SendHint { to, hint }, ctx);
        self.tick_if_due(ctx);
    }
}

impl Handler<StoreFailed> for ClusterBridge {
    type Result = ();

    fn handle(&mut self, _: StoreFailed, ctx: &mut Self::Context) {
        self.apply(ClusterInput::StoreFailed, ctx);
    }
}

impl Handler<ShowStanding> for ClusterBridge {
    type Result = MessageResult<ShowStanding>;

    fn handle(&mut self, _: ShowStanding, _: &mut Self::Context) -> Self::Result {
        let view = self.cluster.view(self.clock.now());
        MessageResult(Standing { view, begun: self.begun, store: self.ports.leases.state() })
    }
}

impl Handler<DrainCluster> for ClusterBridge {
    type Result = ();

    fn handle(&mut self, _: DrainCluster, ctx: &mut Self::Context) {
        self.apply(ClusterInput::Drain, ctx);
    }
}

impl Handler<StopCluster> for ClusterBridge {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: StopCluster, ctx: &mut Self::Context) -> Self::Result {
        let (done, stopped) = oneshot::channel();
        self.stopping = Some(Stopping { lease_removed: false, told: false, done });
        self.apply(ClusterInput::Stop, ctx);
        // An error means that this actor is gone; the lease runs out by itself.
        Box::pin(async { stopped.await.unwrap_or(()) })
    }
}
