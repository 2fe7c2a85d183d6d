//! What happens because time has passed: grace over, consumers too slow, the node going away.

use super::{RoomEffect, RoomFact, Rooms};
use crate::{
    domain::clock::Now,
    protocol::{
        Code, SessionId,
        event::{Body, LeaveReason, PeerEvent},
        limits,
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
    /// A relay before others has not come for too long.
    Held,
    /// The node that was to take it over has not.
    Moving,
}

/// Why a room is looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RoomDeadline {
    /// It is compared with the registry's picture.
    Sync,
    /// It has been compared, and is once more, when nothing of then can be on its way any longer.
    Confirm,
    /// Somebody's node was not known; by now it should be.
    Unknown,
    /// Who has gone need no longer be remembered.
    Forget,
}

impl Rooms {
    pub(super) fn tick(&mut self, now: Now, effects: &mut Vec<RoomEffect>) {
        self.tick_rooms(now, effects);
        self.tick_moves(now, effects);
        self.tick_sessions(now, effects);
    }

    fn tick_sessions(&mut self, now: Now, effects: &mut Vec<RoomEffect>) {
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
                Deadline::Held => {
                    let since = due.saturating_sub(limits::RELAYS_HELD_FOR);
                    self.give_up_held(now, session, since, effects);
                }
                Deadline::Moving if held.moving.as_ref().is_some_and(|(_, until)| *until == due) => {
                    self.not_taken_over(now, session, effects);
                }
                Deadline::Grace | Deadline::Slow | Deadline::Moving => {}
            }
        }
    }

    fn tick_rooms(&mut self, now: Now, effects: &mut Vec<RoomEffect>) {
        while let Some((due, room, deadline)) = self.room_deadlines.pop_first() {
            if due > now.mono {
                self.room_deadlines.insert((due, room, deadline));
                break;
            }
            self.room_due(now, &room, deadline, effects);
        }
        self.touched.retain(|_, touched| touched.until > now.mono);
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
