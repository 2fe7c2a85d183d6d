//! One session: a participant's stay, which outlives its sockets.

use std::time::Duration;

use crate::{
    domain::outbound::Outbound,
    protocol::{ConnectionId, ResumeToken, RoomName, UserId},
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
}

impl Session {
    /// Until when its window may stay full, if it is.
    pub fn blocked_until(&self, patience: Duration) -> Option<Duration> {
        self.outbound.blocked_since().map(|since| since + patience)
    }
}
