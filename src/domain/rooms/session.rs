//! One session: a participant's stay, which outlives its sockets.

use std::time::Duration;

use super::pairs::{Heard, Sent};
use crate::{
    domain::outbound::{Outbound, Replay},
    protocol::{ConnectionId, NodeRef, ResumeToken, RoomName, Seq, UserId},
};

/// A session of this node.
#[derive(Debug)]
pub struct Session {
    /// Proves that a browser owns it.
    pub token: ResumeToken,
    /// The one room it is in.
    pub room: RoomName,
    /// Who it is there.
    pub user_id: UserId,
    /// Its socket; `None` while it is suspect.
    pub connection: Option<ConnectionId>,
    /// Until when a socket is waited for; set exactly while there is none.
    pub grace_until: Option<Duration>,
    /// What it is told.
    pub outbound: Outbound,
    /// How it has numbered its relays.
    pub sent: Sent,
    /// How far it has heard those of others.
    pub heard: Heard,
    /// Its browser was told that the node is cut off.
    pub told_isolated: bool,
    /// Another node has been given a copy, and since when: it gets whatever comes until it has taken over.
    pub moving: Option<(NodeRef, Duration)>,
}

impl Session {
    /// What its browser comes back with, to whichever node.
    pub fn resume_token(&self) -> String {
        self.token.to_text(&self.room, &self.user_id, self.sent.numbering())
    }

    /// Prepares for a browser that has heard so much. Where it was heard from another node, which had taken the session over
    /// while this one was cut off, the numbers mean something else.
    pub fn rewind(&mut self, last_seq: Seq, branch: u64) -> Replay {
        if branch == self.sent.numbering() {
            self.outbound.rewind(last_seq)
        } else {
            self.outbound.fork(last_seq);
            Replay::Lost
        }
    }

    /// Until when its window may stay full, if it is.
    pub fn blocked_until(&self, patience: Duration) -> Option<Duration> {
        self.outbound.blocked_since().map(|since| since + patience)
    }
}
