//! The room manager: one actor around the rules of [`crate::domain::rooms`].
//!
//! It takes each message to the domain and performs each effect, on its own thread, and never waits: the registry's
//! answers come back as inputs. One is enough (it hands over several hundred thousand messages a second, about twice
//! what a node's sockets can take). Nothing crosses rooms, so several by room hash stay possible; a session's name would
//! then have to say which of them has it.

mod nodes;
mod registry;
mod views;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use actix::{Actor, AsyncContext as _, Context, Handler, ResponseFuture};
use tokio::sync::oneshot;
use tracing::{debug, info};

pub use self::nodes::ClusterLink;
use self::nodes::Nodes;
use super::{
    door::Door,
    mailbox::Mailbox,
    messages::{AskRooms, DrainRooms, OpenDoor, PostRooms, TellRecording, ToPeer},
};
use crate::{
    adapters::{clock::Clock, ports::Registry},
    domain::rooms::{Census, RoomEffect, RoomFact, RoomInput, Rooms},
    metrics::{Metrics, gauge},
    protocol::{Code, ConnectionId, Refusal, event::LeaveReason, limits},
};

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(100);

/// Owns the rooms of this node.
pub struct RoomManager {
    rooms: Rooms,
    registry: Arc<dyn Registry>,
    /// In a cluster: the way to other nodes.
    nodes: Option<Nodes>,
    /// Questions to the registry without an answer yet.
    asked: usize,
    /// Whether the node is cut off from the registry.
    isolated: bool,
    clock: Clock,
    metrics: Metrics,
    doors: HashMap<ConnectionId, Door>,
    waiting: HashMap<ConnectionId, oneshot::Sender<Result<(), Refusal>>>,
    /// Connections told to close, and when they are shut down from outside if they have not.
    closing: VecDeque<(Duration, ConnectionId)>,
    drained: Vec<oneshot::Sender<()>>,
    ticked_at: Duration,
    published: Census,
}

impl RoomManager {
    /// A manager of no rooms yet; in a cluster, with the way to its bridge.
    #[must_use]
    pub fn new(
        rooms: Rooms,
        registry: Arc<dyn Registry>,
        cluster: Option<ClusterLink>,
        clock: Clock,
        metrics: Metrics,
    ) -> Self {
        Self {
            rooms,
            registry,
            nodes: cluster.map(Nodes::new),
            asked: 0,
            isolated: false,
            clock,
            metrics,
            doors: HashMap::new(),
            waiting: HashMap::new(),
            closing: VecDeque::new(),
            drained: Vec::new(),
            ticked_at: Duration::ZERO,
            published: Census::default(),
        }
    }

    /// Takes an input to the rules and performs what follows, until nothing does.
    fn apply(&mut self, input: RoomInput, ctx: &mut Context<Self>) {
        let mut inputs = VecDeque::from([input]);
        let mut effects = Vec::new();
        while let Some(input) = inputs.pop_front() {
            self.note(&input);
            self.rooms.handle(self.clock.now(), input, &mut effects);
            for effect in effects.drain(..) {
                inputs.extend(self.perform(effect, ctx));
            }
        }
        self.publish_census();
    }

    fn perform(&mut self, effect: RoomEffect, ctx: &mut Context<Self>) -> Option<RoomInput> {
        match effect {
            RoomEffect::Admit { ticket, request } => return self.admit(ticket, *request, ctx),
            RoomEffect::Mirror(change) => return self.mirror(*change, ctx),
            RoomEffect::Sync { ticket, request } => return self.sync(ticket, *request, ctx),
            RoomEffect::Find { ticket, room, user_id } => return self.find(ticket, room, user_id, ctx),
            RoomEffect::TakeOver { ticket, request } => return self.take_over(ticket, *request, ctx),
            RoomEffect::Send { to, message } => return self.send_to(to, message),
            RoomEffect::Settle { connection, outcome } => {
                if let Some(waiting) = self.waiting.remove(&connection) {
                    // A connection that no longer waits has timed out, and ended.
                    let _ = waiting.send(outcome);
                }
            }
            RoomEffect::Deliver { connection, seq, body } => {
                return self.hand_over(connection, ToPeer::Event { seq, body });
            }
            RoomEffect::Close { connection, code } => self.close(connection, code),
            RoomEffect::Count(fact) => self.count(fact),
        }
        None
    }

    /// Sees what concerns this actor too in what the rules are about to be told.
    fn note(&mut self, input: &RoomInput) {
        match input {
            RoomInput::Isolated(isolated) => self.isolated = *isolated,
            RoomInput::NodesLive(live) => {
                if let Some(nodes) = &mut self.nodes {
                    nodes.forget_all_but(live);
                }
            }
            _ => {}
        }
    }

    /// Hands a message to a connection. One that does not take it, in spite of its window, is not served by anything any more.
    fn hand_over(&mut self, connection: ConnectionId, message: ToPeer) -> Option<RoomInput> {
        let door = self.doors.get(&connection)?;
        if door.tell(message, Mailbox::Peer, &self.metrics).is_ok() {
            return None;
        }
        self.doors.remove(&connection);
        Some(RoomInput::ConnectionClosed { connection })
    }

    /// Says why and ends; if the connection does not end by itself, it is shut down from outside.
    fn close(&mut self, connection: ConnectionId, code: Code) {
        let Some(door) = self.doors.get(&connection) else { return };
        let _ = door.tell(ToPeer::Close(code), Mailbox::Peer, &self.metrics);
        self.closing.push_back((self.clock.now().mono + limits::CLOSE_LINGER, connection));
    }

    /// Ticks if it is time. Called for every message too: actix polls timers only when the mailbox is empty, and when it
    /// never is, deadlines matter most.
    fn tick_if_due(&mut self, ctx: &mut Context<Self>) {
        if self.clock.now().mono.saturating_sub(self.ticked_at) >= TICK {
            self.tick(ctx);
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let now = self.clock.now().mono;
        self.ticked_at = now;
        while let Some((due, connection)) = self.closing.front().copied()
            && due <= now
        {
            self.closing.pop_front();
            if let Some(door) = self.doors.get(&connection) {
                debug!(connection = connection.0, "a closed connection did not end by itself");
                door.kill();
            }
        }
        let gone: Vec<_> = self
            .doors
            .iter()
            .filter(|(_, door)| !door.is_open())
            .map(|(&connection, _)| connection)
            .collect();
        for connection in gone {
            self.forget(connection);
            self.apply(RoomInput::ConnectionClosed { connection }, ctx);
        }
        self.apply(RoomInput::Tick, ctx);
        if let Some(nodes) = &mut self.nodes {
            nodes.mend(&self.metrics);
        }
        if self.doors.is_empty() && (self.nodes.is_none() || self.is_settled()) {
            for drained in self.drained.drain(..) {
                let _ = drained.send(());
            }
        }
    }

    /// Whether every session is over or elsewhere, and the registry knows.
    fn is_settled(&self) -> bool {
        let census = self.rooms.census();
        census.present + census.suspect == 0 && self.asked == 0
    }

    fn forget(&mut self, connection: ConnectionId) {
        self.doors.remove(&connection);
        self.waiting.remove(&connection);
    }

    fn publish_census(&mut self) {
        let census = self.rooms.census();
        if std::mem::replace(&mut self.published, census) == census {
            return;
        }
        let sessions = &self.metrics.sessions;
        sessions.with_label_values(&["present"]).set(gauge(census.present));
        sessions.with_label_values(&["suspect"]).set(gauge(census.suspect));
        self.metrics.rooms.with_label_values::<&str>(&[]).set(gauge(census.rooms));
        self.metrics.participants.with_label_values::<&str>(&[]).set(gauge(census.present + census.suspect));
    }

    fn count(&self, fact: RoomFact) {
        let metrics = &self.metrics;
        match fact {
            RoomFact::Joined => metrics.joins.with_label_values(&["joined"]).inc(),
            RoomFact::Rejoined => metrics.joins.with_label_values(&["rejoined"]).inc(),
            RoomFact::JoinRefused(code) => metrics.joins.with_label_values(&[code.name()]).inc(),
            RoomFact::Left(reason) => metrics.leaves.with_label_values(&[leave_label(reason)]).inc(),
            RoomFact::Relayed { kind, recipients } => {
                metrics.relayed.with_label_values(&[kind.name()]).inc();
                metrics.relay_recipients.with_label_values(&[kind.name()]).inc_by(recipients as u64);
            }
            RoomFact::ResumedFull => metrics.resumes.with_label_values(&["full"]).inc(),
            RoomFact::ResumedSnapshot => metrics.resumes.with_label_values(&["snapshot"]).inc(),
            RoomFact::ResumeRefused => metrics.resumes.with_label_values(&["refused"]).inc(),
            RoomFact::Refused(code) => metrics.refusals.with_label_values(&[code.name()]).inc(),
            RoomFact::SlowConsumer(session) => {
                info!(%session, "a connection did not keep up and was ended");
                metrics.slow_consumers.with_label_values::<&str>(&[]).inc();
            }
            RoomFact::JoinedAlone => metrics.cluster_isolated_joins.with_label_values::<&str>(&[]).inc(),
            RoomFact::Lost => metrics.cluster_sessions_moved.with_label_values::<&str>(&[]).inc(),
            RoomFact::Reasserted => debug!("everything is back in the registry"),
        }
    }
}

fn leave_label(reason: LeaveReason) -> &'static str {
    match reason {
        LeaveReason::Left => "left",
        LeaveReason::Timeout => "timeout",
        LeaveReason::Kicked => "kicked",
    }
}

impl Actor for RoomManager {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(limits::ROOM_MANAGER_MAILBOX);
        ctx.run_interval(TICK, Self::tick);
    }
}

impl Handler<OpenDoor> for RoomManager {
    type Result = ();

    fn handle(&mut self, message: OpenDoor, _: &mut Self::Context) {
        self.doors.insert(message.connection, message.door);
    }
}

impl Handler<PostRooms> for RoomManager {
    type Result = ();

    fn handle(&mut self, message: PostRooms, ctx: &mut Self::Context) {
        let delay = message.posted_at.elapsed().as_secs_f64();
        self.metrics.mailbox_delay.with_label_values(&[Mailbox::RoomManager.name()]).observe(delay);
        if let RoomInput::ConnectionClosed { connection } = message.input {
            self.forget(connection);
        }
        self.apply(message.input, ctx);
        self.tick_if_due(ctx);
    }
}

impl Handler<AskRooms> for RoomManager {
    type Result = ResponseFuture<Result<(), Refusal>>;

    fn handle(&mut self, message: AskRooms, ctx: &mut Self::Context) -> Self::Result {
        let (settle, settled) = oneshot::channel();
        self.waiting.insert(message.connection, settle);
        self.apply(message.input, ctx);
        self.tick_if_due(ctx);
        // Dropped unanswered only when the connection is gone.
        Box::pin(async { settled.await.unwrap_or_else(|_| Err(Code::Overloaded.into())) })
    }
}

impl Handler<TellRecording> for RoomManager {
    type Result = ();

    fn handle(&mut self, message: TellRecording, ctx: &mut Self::Context) {
        let TellRecording { room, recording } = message;
        self.apply(RoomInput::Recording { room, recording }, ctx);
    }
}

impl Handler<DrainRooms> for RoomManager {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: DrainRooms, ctx: &mut Self::Context) -> Self::Result {
        let (drained, done) = oneshot::channel();
        self.drained.push(drained);
        self.apply(RoomInput::Drain { spread_ms: message.spread_ms }, ctx);
        // Those that are in no room.
        let told: HashSet<_> = self.closing.iter().map(|(_, connection)| *connection).collect();
        let roomless: Vec<_> = self.doors.keys().filter(|door| !told.contains(door)).copied().collect();
        for connection in roomless {
            self.close(connection, Code::Draining);
        }
        // An error means that this actor is gone, and its connections with it.
        Box::pin(async { done.await.unwrap_or(()) })
    }
}
