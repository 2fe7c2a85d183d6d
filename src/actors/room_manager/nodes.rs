//! The way from the rooms to other nodes: the cluster bridge's mailbox, and what is done when it is full.

use std::collections::BTreeSet;

use actix::{Recipient, prelude::SendError};

use super::RoomManager;
use crate::{
    actors::{
        mailbox::{Mailbox, offer, post},
        messages::{SendToNode, StoreFailed},
    },
    domain::rooms::RoomInput,
    metrics::Metrics,
    protocol::{NodeRef, cluster::NodeMessage},
};

/// The room manager's way to the cluster bridge.
#[derive(Clone)]
pub struct ClusterLink {
    /// For other nodes.
    pub send: Recipient<SendToNode>,
    /// That the registry gave no answer.
    pub store_failed: Recipient<StoreFailed>,
}

/// The way to other nodes.
pub(super) struct Nodes {
    link: ClusterLink,
    /// Nodes for which something found no room. They get nothing until they have been told to sync, so that they never
    /// hear of what follows and not of what was lost.
    cut: BTreeSet<NodeRef>,
}

impl Nodes {
    pub(super) fn new(link: ClusterLink) -> Self {
        Self { link, cut: BTreeSet::new() }
    }

    /// Sends a message; one that is not taken comes back.
    fn send(
        &mut self,
        to: NodeRef,
        message: Box<NodeMessage>,
        metrics: &Metrics,
    ) -> Result<(), (NodeRef, Box<NodeMessage>)> {
        if self.cut.contains(&to) {
            self.mend(metrics);
        }
        if self.cut.contains(&to) {
            return Err((to, message));
        }
        let offered = offer(&self.link.send, Mailbox::ClusterBridge, metrics, SendToNode { to, message });
        offered.map_err(|(SendError::Full(refused) | SendError::Closed(refused))| {
            self.cut.insert(refused.to.clone());
            (refused.to, refused.message)
        })
    }

    /// Tells nodes for which something was lost to sync, as far as there is room.
    pub(super) fn mend(&mut self, metrics: &Metrics) {
        while let Some(to) = self.cut.pop_first() {
            let message = Box::new(NodeMessage::Resync);
            let resync = SendToNode { to: to.clone(), message };
            if post(&self.link.send, Mailbox::ClusterBridge, metrics, resync).is_err() {
                self.cut.insert(to);
                return;
            }
        }
    }

    pub(super) fn forget_all_but(&mut self, live: &BTreeSet<NodeRef>) {
        self.cut.retain(|node| live.contains(node));
    }

    /// One that does not fit is not missed: the next failure says the same.
    pub(super) fn store_failed(&self, metrics: &Metrics) {
        let _ = post(&self.link.store_failed, Mailbox::ClusterBridge, metrics, StoreFailed);
    }
}

impl RoomManager {
    /// Sends to another node; what finds no room has not been sent.
    pub(super) fn send_to(&mut self, to: NodeRef, message: Box<NodeMessage>) -> Option<RoomInput> {
        let sent = match &mut self.nodes {
            Some(nodes) => nodes.send(to, message, &self.metrics),
            None => Err((to, message)),
        };
        sent.err().map(|(to, message)| RoomInput::Undelivered { to, messages: vec![*message] })
    }
}

#[cfg(test)]
#[path = "nodes_tests.rs"]
mod tests;
