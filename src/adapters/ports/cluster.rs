//! What nodes share beside rooms: who is alive, and the way to each other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{PortFuture, RegistryError};
use crate::{
    domain::cluster::{Beat, IndexEntry, Renewal},
    protocol::{
        NodeId, NodeRef, SessionId,
        cluster::{Event, Inbox},
    },
};

/// Who is alive, by the shared clock (C-4).
pub trait Leases: Send + Sync + 'static {
    /// Looks at the leases, and takes or renews this life's own, in one step.
    fn beat(
        &self,
        node: &NodeRef,
        renewal: Renewal,
        lease: Duration,
    ) -> PortFuture<Result<Beat, RegistryError>>;

    /// Takes a life's lease away: the node has stopped, or nothing is left of it.
    fn remove(&self, node: &NodeRef) -> PortFuture<Result<(), RegistryError>>;

    /// Takes on clearing away what a dead node has left, for so long; `false`: somebody else has.
    fn claim_reaping(
        &self,
        dead: &NodeRef,
        by: &NodeRef,
        term: Duration,
    ) -> PortFuture<Result<bool, RegistryError>>;

    /// What a node may have left in rooms: a superset (C-6).
    fn index(&self, node: &NodeId) -> PortFuture<Result<Vec<IndexEntry>, RegistryError>>;

    /// Forgets entries of a dead node's index, after what they lead to is gone. One that a later life of the node has written
    /// anew since stays: the session lives (C-6).
    fn unindex(&self, dead: &NodeRef, sessions: Vec<SessionId>) -> PortFuture<Result<(), RegistryError>>;

    /// This node's present life holds its lease until then, by the monotonic clock. Past it, and before the first, nothing
    /// is written to the registry in its name: such a write answers [`RegistryError::Unavailable`] (C-3).
    fn granted(&self, node: &NodeRef, until: Instant);

    /// How the shared store answers.
    fn state(&self) -> StoreState;
}

/// The way to other nodes. Publishing keeps the order of the calls; subscribing ends only with the node.
pub trait Bus: Send + Sync + 'static {
    /// Begins to listen to this node's inbox and to events. Called once.
    ///
    /// The receiver is bounded; what does not fit is dropped, as pub/sub does: links repair it.
    fn listen(&self, node: &NodeId) -> BusLink;

    /// Publishes to a node's inbox, after what was published before. `Err`: it will not be sent.
    fn publish(&self, to: &NodeId, message: &Inbox) -> Result<(), BusError>;

    /// Publishes to every node.
    fn announce(&self, event: &Event) -> Result<(), BusError>;

    /// Makes both connections anew: what was published did not come back.
    fn rebuild(&self);
}

/// What comes from other nodes.
#[derive(Debug)]
pub struct BusLink {
    /// In the order in which it came.
    pub news: mpsc::Receiver<BusNews>,
}

/// What comes by the bus.
#[derive(Debug)]
pub enum BusNews {
    /// To this node's inbox.
    Message(Box<Inbox>),
    /// To every node.
    Event(Event),
    /// The subscription is there, or there again: something may have been missed (C-5).
    Subscribed,
    /// Something that cannot be read was dropped.
    Unreadable,
}

/// Why something was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The queue of what is to be published is full.
    #[error("the queue to the bus is full")]
    Full,
}

/// What metrics and the health page say of a store: the state of the breaker in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreState {
    /// It answers.
    Closed,
    /// It does not; nothing is asked of it.
    Open,
    /// It is tried again.
    HalfOpen,
}

impl StoreState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// In metrics and on the health page.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// A store with a breaker in front of it.
pub trait Guarded: Send + Sync + 'static {
    /// How the breaker stands.
    fn state(&self) -> StoreState;
}

/// What a node stands on that has a breaker, by name.
pub type Breakers = Vec<(&'static str, Arc<dyn Guarded>)>;
