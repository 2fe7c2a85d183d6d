//! Relays on their way over nodes: to whom they are told here, passed on behind those who have moved, and told to their senders
//! where they did not arrive.

use std::time::Duration;

use super::{RoomEffect, RoomFact, Rooms, entry::Greeting, nodes::send, pairs::Hearing, timers::Deadline};
use crate::{
    domain::clock::Now,
    protocol::{
        Code, CommandId, NodeRef, RoomName, SessionId,
        cluster::{NodeMessage, RelayMessage, Target},
        event::Body,
        limits,
    },
};

impl Rooms {
    /// Tells a relay to those of its recipients who are here; the others have moved, or are gone.
    pub(super) fn take_relay(
        &mut self,
        now: Now,
        from: Option<&NodeRef>,
        relay: RelayMessage,
        effects: &mut Vec<RoomEffect>,
    ) {
        let mut bounced = false;
        for target in relay.to.clone() {
            // What is on its way back to whoever takes the session over is kept there; what has moved on goes not in a circle.
            let mut circles = false;
            let onward = if let Some(session) = self.sessions.get(&target.session) {
                if session.room != relay.room {
                    // R-2, also where the sender's node is mistaken.
                    continue;
                }
                let onward = session.moving.as_ref().map(|(node, _)| node.clone());
                self.hear(now, &relay, &target, effects);
                onward
            } else if self.keep_for_arriving(&target, &relay) {
                None
            } else {
                let moved = self.moved.get(&target.session).map(|(node, _)| node.clone());
                bounced |= moved.is_none();
                circles = moved.as_ref() == from;
                moved
            };
            if let Some(onward) = onward.filter(|_| !circles) {
                let message = RelayMessage { to: vec![target], ..relay.clone() };
                send(onward, NodeMessage::Relay(Box::new(message)), effects);
            }
        }
        if bounced && relay.single {
            match from.filter(|_| !self.sessions.contains_key(&relay.from)) {
                Some(from) => {
                    let home = self.home_of(&relay.room, relay.from).unwrap_or_else(|| from.clone());
                    send(home, NodeMessage::Bounced { from: relay.from, id: relay.id }, effects);
                }
                None => self.bounced(now, relay.from, relay.id, effects),
            }
        }
    }

    /// Where a session of the room is, as far as is known here.
    fn home_of(&self, name: &RoomName, session: SessionId) -> Option<NodeRef> {
        let member = self.rooms.get(name)?.members().find(|(_, row)| row.session == session);
        member.map(|(_, row)| row.node.clone()).filter(|home| *home != self.config.node)
    }

    /// Tells a session a relay, in its turn.
    fn hear(&mut self, now: Now, relay: &RelayMessage, target: &Target, effects: &mut Vec<RoomEffect>) {
        let Some(session) = self.sessions.get_mut(&target.session) else { return };
        let body = relay.body.clone();
        match session.heard.hear(now.mono, relay.from, relay.numbering, target, body) {
            Hearing::Now(bodies) => {
                for body in bodies {
                    self.tell(now, target.session, body, effects);
                }
            }
            Hearing::Later => {
                let due = now.mono + limits::RELAYS_HELD_FOR;
                self.deadlines.insert((due, target.session, Deadline::Held));
            }
            Hearing::Overrun => self.give_up_held(now, target.session, now.mono, effects),
        }
    }

    /// What has waited for too long is told, and with it that something is lost.
    pub(super) fn give_up_held(
        &mut self,
        now: Now,
        id: SessionId,
        kept_since: Duration,
        effects: &mut Vec<RoomEffect>,
    ) {
        let held = self.sessions.get_mut(&id).and_then(|session| session.heard.give_up(kept_since));
        let Some(bodies) = held else { return };
        self.welcome(now, id, Greeting::Snapshot, effects);
        for body in bodies {
            self.tell(now, id, body, effects);
        }
    }

    /// A relay of a session of this node, or of one that was, has found nobody.
    pub(super) fn bounced(
        &mut self,
        now: Now,
        session: SessionId,
        id: Option<CommandId>,
        effects: &mut Vec<RoomEffect>,
    ) {
        if self.sessions.contains_key(&session) {
            effects.push(RoomEffect::Count(RoomFact::Refused(Code::PeerUnreachable)));
            self.tell(now, session, Body::refusal(&Code::PeerUnreachable.into(), id.as_ref()), effects);
        } else if let Some((node, _)) = self.moved.get(&session) {
            send(node.clone(), NodeMessage::Bounced { from: session, id }, effects);
        }
    }

    /// What was to go to another node will not arrive.
    pub(super) fn undelivered(
        &mut self,
        now: Now,
        to: &NodeRef,
        messages: Vec<NodeMessage>,
        effects: &mut Vec<RoomEffect>,
    ) {
        for message in messages {
            match message {
                NodeMessage::Relay(relay) => {
                    if let Some(sender) = self.sessions.get_mut(&relay.from) {
                        for target in relay.to.iter().rev() {
                            sender.sent.refused(target);
                        }
                    }
                    self.bounced(now, relay.from, relay.id, effects);
                }
                // It may not slip through: once more, as long as there is anybody to tell.
                NodeMessage::Kick { room, session } if self.live.contains(to) => {
                    send(to.clone(), NodeMessage::Kick { room, session }, effects);
                }
                // One who has nobody else of this node in the room does not ask for it by itself.
                NodeMessage::Row { room, user_id, .. } if self.live.contains(to) => {
                    self.tell_old_home(&room, &user_id, Some(to.clone()), effects);
                }
                NodeMessage::Claim { ticket, session, .. } => self.not_reached(ticket, session, effects),
                // The other syncs when the link begins anew, and asks again for what it wants.
                NodeMessage::Row { .. }
                | NodeMessage::Gone { .. }
                | NodeMessage::Locked { .. }
                | NodeMessage::Kick { .. }
                | NodeMessage::Mute { .. }
                | NodeMessage::Bounced { .. }
                | NodeMessage::HandedOver { .. }
                | NodeMessage::NotHere { .. }
                | NodeMessage::Moved { .. }
                | NodeMessage::Missed { .. }
                | NodeMessage::Check { .. }
                | NodeMessage::Resync => {}
            }
        }
    }
}
