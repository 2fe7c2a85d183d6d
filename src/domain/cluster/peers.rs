//! The other nodes: which of their lives live, and which are over.
//!
//! ```text
//!  unknown ── listed with time left, or heard of ──► live ── listed without ─────────────────────────► dead
//!                                                     ├───── not listed, and said to be down ───────────► dead
//!                                                     ├───── not listed, and over by this node's clock ─► dead
//!                                                     └───── a later life of it is known ───────────────► dead
//! ```
//! Only the shared clock says that a lease has run out (C-4). What this node's own clock says is when to look again. A lease
//! that is missing proves little: the store may have lost it, and its node is about to put it back. A life that is dead
//! stays so, and its node comes back under a later one; unless its lease is seen to run, as when two halves of a divided
//! store have become one again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Peer, PeerView};
use crate::protocol::{Incarnation, NodeId, NodeRef, limits};

/// The other nodes.
#[derive(Debug)]
pub struct Peers {
    lease: Duration,
    live: BTreeMap<NodeRef, Live>,
    /// The latest life of each that is over, and when that was found.
    dead: BTreeMap<NodeId, (Incarnation, Duration)>,
    /// The store has forgotten leases, or was away: until then, that one is missing or has run out says nothing.
    spared_until: Duration,
}

#[derive(Debug)]
struct Live {
    /// When its lease ends by this node's clock, unless it is renewed.
    ends: Duration,
    draining: bool,
    /// When somebody said that it is down; its lease was not seen to run since.
    told_down: Option<Duration>,
}

/// A life that was found to be over.
#[derive(Debug, PartialEq, Eq)]
pub struct Died {
    /// Whose.
    pub node: NodeRef,
    /// The others know it: they were told, or they see its later life.
    pub known: bool,
}

impl Peers {
    /// Nobody is known yet. `lease`: how long one runs that nothing else is known of.
    #[must_use]
    pub fn new(lease: Duration) -> Self {
        Self { lease, live: BTreeMap::new(), dead: BTreeMap::new(), spared_until: Duration::ZERO }
    }

    /// Takes the leases that a beat has found, asked for at `asked`; returns who is dead by them.
    pub fn listed(&mut self, now: Duration, asked: Duration, listed: &[Peer]) -> Vec<Died> {
        let mut died = Vec::new();
        let running: BTreeMap<&NodeRef, Duration> =
            listed.iter().filter(|peer| !peer.left.is_zero()).map(|peer| (&peer.node, peer.left)).collect();
        // Later lives first: they outdate the earlier ones.
        for (node, left) in running.iter().rev() {
            if self.is_replaced(node) || self.later_dead(node).is_some() {
                continue;
            }
            self.dead.remove(&node.id);
            died.extend(self.meet(now, node));
            if let Some(live) = self.live.get_mut(*node) {
                live.ends = now + *left;
                live.told_down = live.told_down.filter(|told| *told > asked);
            }
        }
        let run_out: BTreeSet<&NodeRef> =
            listed.iter().filter(|peer| peer.left.is_zero()).map(|peer| &peer.node).collect();
        let missing = |(node, live): (&NodeRef, &Live)| {
            let told = live.told_down.is_some_and(|told| told <= asked);
            let gone = !running.contains_key(node) && (run_out.contains(node) || told || live.ends <= now);
            gone.then(|| Died { node: node.clone(), known: live.told_down.is_some() })
        };
        if self.spared_until <= now {
            let gone: Vec<Died> = self.live.iter().filter_map(missing).collect();
            gone.iter().for_each(|gone| self.bury(now, &gone.node));
            died.extend(gone);
        }
        died
    }

    /// A life that is not over was heard of, so it lives; earlier lives of that node, which are returned, do not.
    pub fn meet(&mut self, now: Duration, node: &NodeRef) -> Vec<Died> {
        if self.live.contains_key(node) {
            return Vec::new();
        }
        let earlier = self.live.keys().filter(|known| known.is_up_to(node)).cloned();
        let died: Vec<Died> = earlier.map(|node| Died { node, known: true }).collect();
        died.iter().for_each(|died| self.bury(now, &died.node));
        let ends = now + self.lease;
        self.live.insert(node.clone(), Live { ends, draining: false, told_down: None });
        died
    }

    fn bury(&mut self, now: Duration, node: &NodeRef) {
        self.live.remove(node);
        let grave = self.dead.entry(node.id.clone()).or_insert((node.incarnation, now));
        *grave = (grave.0.max(node.incarnation), now);
        if self.dead.len() > limits::DEAD_NODES_MAX {
            let oldest = self.dead.iter().min_by_key(|(_, (_, found))| *found).map(|(id, _)| id.clone());
            oldest.and_then(|id| self.dead.remove(&id));
        }
    }

    /// The store has forgotten leases, or was away: everyone has until then to put its own back.
    pub fn spare(&mut self, until: Duration) {
        self.spared_until = self.spared_until.max(until);
    }

    /// Whether leases that are missing or over say nothing at the moment.
    #[must_use]
    pub fn spares(&self, now: Duration) -> bool {
        now < self.spared_until
    }

    /// Whether that life is known to live.
    #[must_use]
    pub fn is_live(&self, node: &NodeRef) -> bool {
        self.live.contains_key(node)
    }

    /// Whether that life is dead, or a later one of the same node is known.
    #[must_use]
    pub fn is_over(&self, node: &NodeRef) -> bool {
        self.dead.get(&node.id).is_some_and(|(dead, _)| node.incarnation <= *dead) || self.is_replaced(node)
    }

    /// Whether a later life of the same node lives.
    #[must_use]
    pub fn is_replaced(&self, node: &NodeRef) -> bool {
        self.live.keys().any(|known| node.is_up_to(known) && node != known)
    }

    /// The dead life of the same node that is later than this one.
    #[must_use]
    pub fn later_dead(&self, node: &NodeRef) -> Option<NodeRef> {
        let (incarnation, _) = *self.dead.get(&node.id)?;
        (node.incarnation < incarnation).then(|| NodeRef { incarnation, ..node.clone() })
    }

    /// It is going away.
    pub fn drains(&mut self, node: &NodeRef) {
        if let Some(live) = self.live.get_mut(node) {
            live.draining = true;
        }
    }

    /// Somebody says that it is down; the leases decide. Whether it was thought to live.
    pub fn told_down(&mut self, now: Duration, node: &NodeRef) -> bool {
        let live = self.live.get_mut(node).map(|live| live.told_down = Some(now));
        live.is_some()
    }

    /// All that live.
    #[must_use]
    pub fn live(&self) -> BTreeSet<NodeRef> {
        self.live.keys().cloned().collect()
    }

    /// When the first lease ends that is not over by this node's clock yet.
    #[must_use]
    pub fn first_end(&self, now: Duration) -> Option<Duration> {
        self.live.values().map(|live| live.ends).filter(|ends| *ends > now).min()
    }

    /// For people: all that live, without what links know.
    pub fn view(&self, now: Duration) -> impl Iterator<Item = PeerView> {
        self.live.iter().map(move |(node, live)| PeerView {
            node: node.clone(),
            lease_left: live.ends.saturating_sub(now),
            draining: live.draining,
            unacked: 0,
        })
    }
}
