//! How the node stands in its cluster, as figures.

use tracing::{info, warn};

use super::ClusterBridge;
use crate::{
    domain::cluster::{ClusterFact, ClusterView, Mode, PeerView, Reason},
    metrics::gauge,
    protocol::NodeId,
};

/// How a node looks from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// It has a lease.
    Live,
    /// It is going away.
    Draining,
    /// Its lease has run out; what it left is being cleared away.
    Dead,
}

impl NodeState {
    const ALL: [Self; 3] = [Self::Live, Self::Draining, Self::Dead];

    /// Another node.
    #[must_use]
    pub fn of(peer: &PeerView) -> Self {
        match (peer.lease_left.is_zero(), peer.draining) {
            (true, _) => Self::Dead,
            (false, true) => Self::Draining,
            (false, false) => Self::Live,
        }
    }

    /// The other nodes that live and take traffic.
    pub fn live(view: &ClusterView) -> impl Iterator<Item = &NodeId> {
        let live = view.peers.iter().filter(|peer| Self::of(peer) == Self::Live);
        live.map(|peer| &peer.node.id)
    }

    /// This node: whoever can say so lives, whatever its lease.
    #[must_use]
    pub fn own(view: &ClusterView) -> Self {
        if view.draining { Self::Draining } else { Self::Live }
    }

    /// As metrics and people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Draining => "draining",
            Self::Dead => "dead",
        }
    }
}

impl ClusterBridge {
    pub(super) fn set_gauges(&self) {
        let (view, metrics) = (self.cluster.view(self.clock.now()), &self.metrics);
        for mode in [Mode::Starting, Mode::Serving, Mode::Isolated] {
            metrics.cluster_mode.with_label_values(&[mode_name(mode)]).set(i64::from(mode == view.mode));
        }
        let lease_left = i64::try_from(view.lease_left.as_secs()).unwrap_or(i64::MAX);
        metrics.cluster_lease_left.with_label_values::<&str>(&[]).set(lease_left);
        let peers = view.peers.iter().map(NodeState::of);
        let states: Vec<_> = peers.chain([NodeState::own(&view)]).collect();
        for state in NodeState::ALL {
            let nodes = states.iter().filter(|other| **other == state).count();
            metrics.cluster_nodes.with_label_values(&[state.name()]).set(gauge(nodes));
        }
        let unacked = view.peers.iter().map(|peer| peer.unacked).sum();
        metrics.cluster_unacked.with_label_values::<&str>(&[]).set(gauge(unacked));
    }

    pub(super) fn count(&self, fact: ClusterFact) {
        let metrics = &self.metrics;
        match fact {
            ClusterFact::GapFound => metrics.cluster_link_gaps.with_label_values(&["found"]).inc(),
            ClusterFact::GapRepaired => metrics.cluster_link_gaps.with_label_values(&["repaired"]).inc(),
            ClusterFact::LinkReset { dropped } => {
                metrics.cluster_link_resets.with_label_values::<&str>(&[]).inc();
                metrics.cluster_link_dropped.with_label_values::<&str>(&[]).inc_by(dropped as u64);
            }
            ClusterFact::Reasserted(reason) => {
                info!(node = %self.node, ?reason, "everything is put back into the shared store");
                metrics.cluster_reasserts.with_label_values(&[reason_name(reason)]).inc();
            }
            ClusterFact::NodeDied(node) => {
                warn!(%node, "a node was found dead");
                metrics.cluster_nodes_died.with_label_values::<&str>(&[]).inc();
            }
            ClusterFact::Probed(took) => {
                metrics.cluster_probe.with_label_values::<&str>(&[]).observe(took.as_secs_f64());
            }
            ClusterFact::Rebuilt => {
                warn!("probes did not come back; the bus is connected anew");
                metrics.cluster_rebuilds.with_label_values::<&str>(&[]).inc();
            }
            ClusterFact::Outdated => metrics.cluster_outdated.with_label_values::<&str>(&[]).inc(),
            ClusterFact::Reaped(participants) => {
                metrics.cluster_reaped.with_label_values::<&str>(&[]).inc_by(participants as u64);
            }
        }
    }
}

/// A mode as metrics and people call it.
#[must_use]
pub const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Starting => "starting",
        Mode::Serving => "cluster",
        Mode::Isolated => "isolated",
    }
}

const fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::Back => "back",
        Reason::Emptied => "emptied",
        Reason::RolledBack => "rolled_back",
        Reason::NewLife => "new_life",
    }
}
