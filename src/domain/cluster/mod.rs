//! One node's place in the cluster, as rules: is it alive by the shared clock, who else is, the links to them, and what is
//! done when the shared store is away or has forgotten.
//!
//! ```text
//!             Look: a rival under my name lives ─► Rival
//!  starting ─► Look: none ─► First ─► serving ◄── a beat answered: re-assert ──┐
//!     └─ no answer ─► isolated (no lease yet)  └── a beat failed ─► isolated ──┘
//! ```
//! [`Cluster`] is the machine. Its parts: its own lease and incarnations (`life`), when to look (`beats`), the other nodes (`peers`), whether its
//! inbox reaches it (`probe`), the links ([`link`]), one to each live node, and the reaper ([`reaper`]), which clears away
//! what a dead node has left. No socket, no clock, no Redis: inputs come with their time, everything to be done goes out as
//! [`ClusterEffect`]s, in order.

mod beats;
mod life;
pub mod link;
mod node;
mod peers;
mod probe;
pub mod reaper;

use std::time::Duration;

pub use self::node::Cluster;
use super::{membership::SyncRequest, rooms::RoomInput};
use crate::protocol::{
    NodeId, NodeRef, RoomName, SessionId,
    cluster::{Event, Hint, Inbox, NodeMessage},
};

/// Times that belong together (C-4); checked at the start.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// This node in its first life.
    pub node: NodeRef,
    /// How long a lease runs (`LEASE_SECS`). Beats come four times as often.
    pub lease: Duration,
    /// How long the participants of dead nodes are waited for (`SESSION_GRACE_SECS`).
    pub grace: Duration,
}

/// What a beat found: how leases stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// How this life's lease stood before.
    pub mine: Mine,
    /// When it ends now. Unit: ms of the shared clock; 0: there is none.
    pub ends_ms: u64,
    /// Other leases, those that have run out too, until nothing is left of their nodes.
    pub peers: Vec<Peer>,
    /// The name that the shared store has for itself: another one, and it has lost everything (C-7).
    pub epoch: String,
}

/// What a beat is to do with this life's own lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// Nothing.
    Look,
    /// Take it.
    First,
    /// Renew it, if it still runs.
    Again,
}

/// How a life's own lease stood before a beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mine {
    /// There was none.
    Absent,
    /// It had run out: it was not renewed, whoever sees it may clear away what it covers.
    RunOut,
    /// It ran, until then. Lower than what was last written: the store was rolled back. Unit: ms of the shared clock.
    Until(u64),
}

/// Another node's lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Whose.
    pub node: NodeRef,
    /// When it ends. Unit: ms of the shared clock. That it changes shows that somebody renews it.
    pub ends_ms: u64,
    /// Until its end; zero: it has run out.
    pub left: Duration,
}

/// An entry of a node's index: where it may have left something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// The session.
    pub session: SessionId,
    /// The room in which it may have a row.
    pub room: RoomName,
    /// Which life of the node wrote it.
    pub node: NodeRef,
}

/// Everything that can happen to a node's place in the cluster.
#[derive(Debug)]
#[allow(missing_docs, reason = "the variants say what their fields are for")]
pub enum ClusterInput {
    /// Time has passed.
    Tick,
    /// A beat has been answered, or not. `asked`: when it was asked for, by the monotonic clock, not before the input that
    /// gave the effect; an answer to an earlier beat than the last is known by it, and ignored.
    BeatAnswered {
        asked: Duration,
        beat: Option<Beat>,
    },
    /// The shared store gave no answer to something else: a beat will tell how it stands.
    StoreFailed,
    /// The rooms have something for another node.
    Send {
        to: NodeRef,
        message: Box<NodeMessage>,
    },
    /// There is something that another node had better know.
    SendHint {
        to: NodeId,
        hint: Hint,
    },
    /// Something came to this node's inbox.
    Arrived(Box<Inbox>),
    /// Something was said to every node.
    Told(Event),
    /// The subscription is there, or there again: something may have been missed, or lost by the store.
    Subscribed,
    /// Answers to what the reaper asked.
    Claimed {
        dead: NodeRef,
        taken: Option<bool>,
    },
    Indexed {
        dead: NodeRef,
        entries: Option<Vec<IndexEntry>>,
    },
    RoomReaped {
        dead: NodeRef,
        room: RoomName,
        outcome: Option<reaper::RoomReaped>,
    },
    Unindexed {
        dead: NodeRef,
        done: bool,
    },
    LeaseRemoved {
        node: NodeRef,
        removed: bool,
    },
    /// The node is going away: it says so, and hands over what is asked for.
    Drain,
    /// The node stops now: whatever is left of it is up to the others.
    Stop,
}

/// Everything a node's place in the cluster may want done.
#[derive(Debug)]
#[allow(missing_docs, reason = "the variants say what their fields are for")]
pub enum ClusterEffect {
    /// Ask for the leases; answer with [`ClusterInput::BeatAnswered`]. One at a time.
    Beat {
        node: NodeRef,
        renewal: Renewal,
    },
    /// Publish to a node's inbox, after what was published before.
    Publish {
        to: NodeId,
        message: Box<Inbox>,
    },
    /// Publish to every node.
    Announce(Event),
    /// Make the connections of the bus anew.
    Rebuild,
    /// Tell the rooms.
    Rooms(Box<RoomInput>),
    /// Tell whoever follows recordings.
    PassHint(Hint),
    /// From now on this node is so called, and may write until then (by the monotonic clock).
    Lease {
        node: NodeRef,
        until: Duration,
    },
    /// The node may take traffic. Once.
    Started,
    /// Another live node has this name: stop, and say so. Once: at the start instead of serving, or later, when it has
    /// taken the name over from this one.
    Rival(NodeRef),
    /// For the reaper. A claim is for [`limits::REAPER_TERM`](crate::protocol::limits::REAPER_TERM).
    Claim {
        dead: NodeRef,
    },
    ReadIndex {
        dead: NodeRef,
    },
    ReapRoom {
        dead: NodeRef,
        request: Box<SyncRequest>,
    },
    Unindex {
        dead: NodeRef,
        sessions: Vec<SessionId>,
    },
    RemoveLease {
        node: NodeRef,
    },
    /// Something worth counting has happened.
    Count(ClusterFact),
}

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants say what their fields are for")]
pub enum ClusterFact {
    /// Something was missing on a link.
    GapFound,
    /// It came after all.
    GapRepaired,
    /// It did not: the link began anew.
    LinkReset { dropped: usize },
    /// Everything was asserted anew, and why.
    Reasserted(Reason),
    /// A node was found dead.
    NodeDied(NodeRef),
    /// A probe came back after so long.
    Probed(Duration),
    /// Nothing came back: the connections are made anew.
    Rebuilt,
    /// Something by an earlier life, or for one, was dropped.
    Outdated,
    /// So many entries of a dead node's index were cleared away, with what they led to.
    Reaped(usize),
}

/// Why everything is asserted anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The store was away, or the connections to it were: the latest may be lost.
    Back,
    /// It has forgotten everything.
    Emptied,
    /// It has forgotten the latest.
    RolledBack,
    /// This node had been taken for dead: it is in a new life, or it was wrong and has to be put right.
    NewLife,
}

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It looks whether its name is free.
    Starting,
    /// It has a lease.
    Serving,
    /// The shared store does not answer.
    Isolated,
}

/// For people: how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterView {
    /// Where this node stands.
    pub mode: Mode,
    /// This node in its present life.
    pub node: NodeRef,
    /// Whether it is going away.
    pub draining: bool,
    /// What is left of its lease.
    pub lease_left: Duration,
    /// Others, with what is left of their leases by this node's clock (zero: dead, being cleared away).
    pub peers: Vec<PeerView>,
}

/// For people: another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerView {
    /// Which.
    pub node: NodeRef,
    /// What is left of its lease.
    pub lease_left: Duration,
    /// Whether it is going away.
    pub draining: bool,
    /// Messages to it that it has not acknowledged.
    pub unacked: usize,
}

#[cfg(test)]
mod test_world;
