//! Which node a room is best served by, or a recording put together by: an optimisation, never needed for correctness. A room
//! whose participants sit on one node needs no links.

use std::{collections::BTreeMap, fmt::Display};

use sha2::{Digest as _, Sha256};

use crate::protocol::{NodeId, RoomName};

/// The node for a room: the one with most of its participants, else the room's own among all of them.
///
/// `present` has the node of each participant that is present, `nodes` those that take traffic; only they are named, and
/// `None` is the answer when there is none.
#[must_use]
pub fn node_for<'a>(
    room: &RoomName,
    present: impl IntoIterator<Item = &'a NodeId>,
    nodes: &[NodeId],
) -> Option<NodeId> {
    let mut counted: BTreeMap<&NodeId, usize> = BTreeMap::new();
    for node in present {
        *counted.entry(node).or_default() += 1;
    }
    let serving = counted.into_iter().filter(|(node, _)| nodes.contains(node));
    // Of two with as many, the lower name: every node must give the same answer.
    let most = serving.max_by(|(a, many), (b, more)| many.cmp(more).then(b.cmp(a)));
    most.map(|(node, _)| node).or_else(|| own_node(room, nodes)).cloned()
}

/// Rendezvous hashing: each node draws a lot for the name, the highest has it. When a node comes or goes, only what it gets or
/// had moves.
pub fn own_node<'a>(name: &impl Display, nodes: impl IntoIterator<Item = &'a NodeId>) -> Option<&'a NodeId> {
    // Neither name has a `/`, so no two pairs are written alike.
    nodes.into_iter().max_by_key(|node| Sha256::digest(format!("{name}/{node}")))
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
