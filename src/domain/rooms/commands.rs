//! What a session may ask for once it is in a room.

use std::collections::BTreeMap;

use super::{Body, Change, Room, RoomEffect, RoomFact, Rooms, entry::settle, nodes::send};
use crate::{
    domain::{
        clock::Now,
        membership::{RoomLock, Row},
    },
    protocol::{
        Code, CommandId, ConnectionId, NodeRef, Refusal, RoomName, SessionId, UserId,
        cluster::{Departure, NodeMessage, RelayMessage, Target},
        command::{Lock, MediaKind, Mute, Relay, RoomCommand},
        event::{LeaveReason, PeerEvent, Role},
        metadata::Metadata,
    },
};

/// Who asks, from where.
#[derive(Clone)]
struct Sender {
    session: SessionId,
    room: RoomName,
    user_id: UserId,
}

impl Rooms {
    pub(super) fn command(
        &mut self,
        now: Now,
        connection: ConnectionId,
        id: Option<&CommandId>,
        command: RoomCommand,
        effects: &mut Vec<RoomEffect>,
    ) {
        let Some(sender) = self.sender(connection) else {
            // The socket has lost its session meanwhile (kicked, replaced, too slow) and is being closed with the
            // reason, which is its answer; one that waits must stop waiting to hear it.
            if matches!(command, RoomCommand::Leave) && !self.is_asking(connection) {
                settle(connection, Ok(()), effects);
            }
            return;
        };
        let session = sender.session;
        let taken = match command {
            RoomCommand::Leave => {
                self.answer_leave(session, connection, id, effects);
                self.leave(now, session, LeaveReason::Left, effects);
                return settle(connection, Ok(()), effects);
            }
            RoomCommand::Ping => {
                let pong = Body::of(&PeerEvent::Pong { id });
                return self.tell(now, session, pong, effects);
            }
            RoomCommand::Ack(seq) => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.outbound.acknowledge(seq);
                }
                Ok(())
            }
            RoomCommand::Relay(relay) => self.relay(now, &sender, id, &relay, effects),
            RoomCommand::Update(patch) => self.update(now, &sender, &patch, effects),
            RoomCommand::Kick(target) => self.kick(now, &sender, &target, effects),
            RoomCommand::Lock(lock) => self.lock(now, &sender, lock, effects),
            RoomCommand::Mute(mute) => self.mute(now, &sender, &mute, effects),
        };
        match taken {
            Ok(()) => self.accept(now, session, id, effects),
            Err(refusal) => self.refuse(now, session, id, &refusal, effects),
        }
    }

    /// The last that a session says. It goes out however full the window is (a mailbox has room for it), in place of
    /// what was still to be said about a room that is left.
    fn answer_leave(
        &self,
        session: SessionId,
        connection: ConnectionId,
        id: Option<&CommandId>,
        effects: &mut Vec<RoomEffect>,
    ) {
        let (Some(id), Some(held)) = (id, self.sessions.get(&session)) else { return };
        let (seq, body) = (held.outbound.handed() + 1, Body::of(&PeerEvent::Accepted { id }));
        effects.push(RoomEffect::Deliver { connection, seq, body });
    }

    fn sender(&self, connection: ConnectionId) -> Option<Sender> {
        let session = *self.connections.get(&connection)?;
        let held = self.sessions.get(&session)?;
        Some(Sender { session, room: held.room.clone(), user_id: held.user_id.clone() })
    }

    fn refuse(
        &mut self,
        now: Now,
        session: SessionId,
        id: Option<&CommandId>,
        refusal: &Refusal,
        effects: &mut Vec<RoomEffect>,
    ) {
        effects.push(RoomEffect::Count(RoomFact::Refused(refusal.code)));
        self.tell(now, session, Body::refusal(refusal, id), effects);
    }

    /// A refusal that the connection itself found: told in the session's order, and the end where the table says so.
    pub(super) fn refuse_connection(
        &mut self,
        now: Now,
        connection: ConnectionId,
        id: Option<&CommandId>,
        refusal: &Refusal,
        effects: &mut Vec<RoomEffect>,
    ) {
        if let Some(session) = self.connections.get(&connection).copied() {
            self.refuse(now, session, id, refusal, effects);
        }
        if refusal.code.row().ends {
            effects.push(RoomEffect::Close { connection, code: refusal.code });
        }
    }

    /// Passes a payload on unread (R-2: within the sender's room only; R-3: asks nobody).
    fn relay(
        &mut self,
        now: Now,
        sender: &Sender,
        id: Option<&CommandId>,
        relay: &Relay,
        effects: &mut Vec<RoomEffect>,
    ) -> Result<(), Refusal> {
        if relay.room_name.as_ref().is_some_and(|named| *named != sender.room) {
            return Err(Code::WrongRoom.into());
        }
        let recipients: Vec<(SessionId, NodeRef)> = match &relay.target {
            None => self.others_and_homes(sender),
            Some(target) => {
                let row = self.other(sender, target)?;
                if self.is_dead(&row.node) {
                    return Err(Code::PeerUnreachable.into());
                }
                vec![(row.session, row.node.clone())]
            }
        };
        let body = Body::relayed(relay.kind, &sender.room, &sender.user_id, &relay.payload);
        let count = recipients.len();
        self.pass_on(
            now,
            sender,
            &body,
            id.filter(|_| relay.target.is_some() || count > 0),
            relay.target.is_some(),
            recipients,
            effects,
        );
        effects.push(RoomEffect::Count(RoomFact::Relayed { kind: relay.kind, recipients: count }));
        Ok(())
    }

    fn others_and_homes(&self, sender: &Sender) -> Vec<(SessionId, NodeRef)> {
        let Some(room) = self.rooms.get(&sender.room) else { return Vec::new() };
        let others = room.members().filter(|(user_id, _)| **user_id != sender.user_id);
        others.map(|(_, row)| (row.session, row.node.clone())).collect()
    }

    /// Numbers a relay for each recipient, tells those of this node, and sends it to the nodes of the others.
    #[allow(clippy::too_many_arguments, reason = "what a relay is made of")]
    fn pass_on(
        &mut self,
        now: Now,
        sender: &Sender,
        body: &Body,
        id: Option<&CommandId>,
        single: bool,
        recipients: Vec<(SessionId, NodeRef)>,
        effects: &mut Vec<RoomEffect>,
    ) {
        let Some(from) = self.sessions.get_mut(&sender.session) else { return };
        let numbering = from.sent.numbering();
        let mut here = Vec::new();
        let mut elsewhere: BTreeMap<NodeRef, Vec<Target>> = BTreeMap::new();
        for (session, home) in recipients {
            let target = from.sent.next(session);
            if home == self.config.node {
                here.push(target);
            } else {
                elsewhere.entry(home).or_default().push(target);
            }
        }
        let message = |to, single| RelayMessage {
            room: sender.room.clone(),
            from: sender.session,
            numbering,
            body: body.clone(),
            to,
            id: id.cloned(),
            single,
        };
        for (home, targets) in elsewhere {
            let node = self.present_life(&home);
            // In another life it may have lost the session, and knows nothing of where that is now.
            let message = message(targets, single || node != home);
            send(node, NodeMessage::Relay(Box::new(message)), effects);
        }
        if !here.is_empty() {
            self.take_relay(now, None, message(here, single), effects);
        }
    }

    /// Somebody else in the sender's room.
    fn other(&self, sender: &Sender, target: &UserId) -> Result<&Row, Refusal> {
        if *target == sender.user_id {
            return Err(Code::SelfTarget.into());
        }
        let member = self.rooms.get(&sender.room).and_then(|room| room.member(target));
        member.ok_or_else(|| Code::PeerUnreachable.into())
    }

    fn update(
        &mut self,
        now: Now,
        sender: &Sender,
        patch: &Metadata,
        effects: &mut Vec<RoomEffect>,
    ) -> Result<(), Refusal> {
        let room = self.rooms.get_mut(&sender.room);
        let Some(member) = room.and_then(|room| room.member_mut(&sender.user_id)) else { return Ok(()) };
        let merged = member.metadata.merged(patch)?;
        if merged != member.metadata {
            member.metadata = merged;
            self.publish_member(now, &sender.room, &sender.user_id, effects);
        }
        Ok(())
    }

    /// The sender's room, if it moderates it.
    fn moderated(&mut self, sender: &Sender) -> Result<&mut Room, Refusal> {
        let room = self.rooms.get_mut(&sender.room).ok_or(Code::Forbidden)?;
        match room.role(&sender.user_id) {
            Role::Moderator => Ok(room),
            Role::Participant => Err(Code::Forbidden.into()),
        }
    }

    fn kick(
        &mut self,
        now: Now,
        sender: &Sender,
        target: &UserId,
        effects: &mut Vec<RoomEffect>,
    ) -> Result<(), Refusal> {
        self.moderated(sender)?;
        let row = self.other(sender, target)?;
        let (session, node, generation) = (row.session, self.present_life(&row.node), row.generation);
        self.kick_pending(&sender.room, target);
        let duration = self.config.limits.kick_ban;
        if !duration.is_zero() {
            let (room, user_id) = (sender.room.clone(), target.clone());
            effects.push(RoomEffect::Mirror(Box::new(Change::Ban { room, user_id, duration })));
        }
        if self.sessions.contains_key(&session) {
            self.end_kicked(now, session, effects);
        } else if self.is_dead(&node) {
            // Nobody is left to do it.
            let (room, user_id) = (&sender.room, target);
            self.withdraw(now, room, user_id, session, generation, effects);
            let departure = Departure { session, generation, reason: LeaveReason::Kicked };
            self.spread_gone(now, room, user_id, departure, effects);
            self.gone(now, room, user_id, departure, effects);
        } else {
            let room = sender.room.clone();
            send(node, NodeMessage::Kick { room, session }, effects);
        }
        Ok(())
    }

    /// A participant of this node was removed by a moderator, of whatever node.
    pub(super) fn end_kicked(&mut self, now: Now, session: SessionId, effects: &mut Vec<RoomEffect>) {
        if let Some(connection) = self.sessions.get(&session).and_then(|session| session.connection) {
            effects.push(RoomEffect::Close { connection, code: Code::Kicked });
        }
        self.leave(now, session, LeaveReason::Kicked, effects);
    }

    fn lock(
        &mut self,
        now: Now,
        sender: &Sender,
        lock: Lock,
        effects: &mut Vec<RoomEffect>,
    ) -> Result<(), Refusal> {
        if self.moderated(sender)?.lock.locked == lock.locked {
            return Ok(());
        }
        let about = self.registry_ms(now).unwrap_or_default();
        let Some(room) = self.rooms.get_mut(&sender.room) else { return Ok(()) };
        let lock = RoomLock { locked: lock.locked, version: about.max(room.lock.version + 1) };
        let name = sender.room.clone();
        effects.push(RoomEffect::Mirror(Box::new(Change::SetLocked { room: name.clone(), lock })));
        self.set_lock(now, &name, lock, effects);
        self.spread(&name, &NodeMessage::Locked { room: name.clone(), lock }, effects);
        Ok(())
    }

    fn mute(
        &mut self,
        now: Now,
        sender: &Sender,
        mute: &Mute,
        effects: &mut Vec<RoomEffect>,
    ) -> Result<(), Refusal> {
        self.moderated(sender)?;
        let row = self.other(sender, &mute.target_user_id)?;
        let (session, node) = (row.session, self.present_life(&row.node));
        if self.is_dead(&node) {
            return Err(Code::PeerUnreachable.into());
        }
        let (room, kind, by) = (sender.room.clone(), mute.kind.clone(), sender.user_id.clone());
        if node == self.config.node {
            self.tell_muted(now, &room, session, &kind, &by, effects);
        } else {
            send(node, NodeMessage::Mute { room, session, kind, by }, effects);
        }
        Ok(())
    }

    pub(super) fn tell_muted(
        &mut self,
        now: Now,
        room_name: &RoomName,
        session: SessionId,
        kind: &MediaKind,
        by: &UserId,
        effects: &mut Vec<RoomEffect>,
    ) {
        self.tell(now, session, Body::of(&PeerEvent::Muted { room_name, kind, by }), effects);
    }
}
