//! What happens because time has passed: grace over, consumers too slow, the node going away.

use super::{RoomEffect, RoomFact, Rooms};
use crate::{
    domain::clock::Now,
    protocol::{
        Code, SessionId,
        event::{Body, LeaveReason, PeerEvent},
    },
};

/// Why a session is looked at again. A deadline that no longer matches its session is simply dropped: nothing has to
/// be found and removed when a session resumes or a window opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deadline {
    /// Its grace is over.
    Grace,
    /// Its window has been full for too long.
    Slow,
}

impl Rooms {
    pub(super) fn tick(&mut self, now: Now, effects: &mut Vec<RoomEffect>) {
        while let Some((due, session, deadline)) = self.deadlines.pop_first() {
            if due > now.mono {
                self.deadlines.insert((due, session, deadline));
                return;
            }
            let Some(held) = self.sessions.get(&session) else { continue };
            match deadline {
                Deadline::Grace if held.grace_until == Some(due) => {
                    self.leave(now, session, LeaveReason::Timeout, effects);
                }
                Deadline::Slow if held.blocked_until(self.config.limits.slow_consumer) == Some(due) => {
                    self.end_slow(now, session, effects);
                }
                Deadline::Grace | Deadline::Slow => {}
            }
        }
    }

    /// Ends the connections whose session had to forget something they were never told.
    pub(super) fn end_overrun(&mut self, now: Now, effects: &mut Vec<RoomEffect>) {
        // Ending one tells others, which may overrun them in turn; each can be ended once, so this ends.
        while let Some(session) = self.overrun.pop() {
            self.end_slow(now, session, effects);
        }
    }

    /// Takes a slow consumer out of the room's way. Its session may be resumed within the grace.
    fn end_slow(&mut self, now: Now, id: SessionId, effects: &mut Vec<RoomEffect>) {
        let Some(connection) = self.sessions.get(&id).and_then(|session| session.connection) else { return };
        effects.push(RoomEffect::Count(RoomFact::SlowConsumer(id)));
        effects.push(RoomEffect::Close { connection, code: Code::SlowConsumer });
        self.detach(now, id, effects);
    }

    pub(super) fn drain(&mut self, now: Now, spread_ms: u64, effects: &mut Vec<RoomEffect>) {
        self.draining = true;
        let connected: Vec<_> = self.connections.iter().map(|(&connection, &id)| (connection, id)).collect();
        for (connection, session) in connected {
            let reconnect_after_ms = session.spread(spread_ms);
            let draining = Body::of(&PeerEvent::Draining { reconnect_after_ms });
            self.tell(now, session, draining, effects);
            effects.push(RoomEffect::Close { connection, code: Code::Draining });
        }
    }
}
