//! What a session may ask for once it is in a room.

use super::{Body, Change, Room, RoomEffect, RoomFact, Rooms, entry::settle};
use crate::{
    domain::clock::Now,
    protocol::{
        Code, CommandId, ConnectionId, Refusal, RoomName, SessionId, UserId,
        command::{Lock, Mute, Relay, RoomCommand},
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
            RoomCommand::Relay(relay) => self.relay(now, &sender, &relay, effects),
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
        relay: &Relay,
        effects: &mut Vec<RoomEffect>,
    ) -> Result<(), Refusal> {
        if relay.room_name.as_ref().is_some_and(|named| *named != sender.room) {
            return Err(Code::WrongRoom.into());
        }
        let body = || Body::relayed(relay.kind, &sender.room, &sender.user_id, &relay.payload);
        let recipients = match &relay.target {
            None => self.broadcast(now, &sender.room, Some(&sender.user_id), &body(), effects),
            Some(target) => {
                let session = self.other(sender, target)?;
                self.tell(now, session, body(), effects);
                1
            }
        };
        effects.push(RoomEffect::Count(RoomFact::Relayed { kind: relay.kind, recipients }));
        Ok(())
    }

    /// The session of somebody else in the sender's room.
    fn other(&self, sender: &Sender, target: &UserId) -> Result<SessionId, Refusal> {
        if *target == sender.user_id {
            return Err(Code::SelfTarget.into());
        }
        let member = self.rooms.get(&sender.room).and_then(|room| room.member(target));
        Ok(member.ok_or(Code::PeerUnreachable)?.session)
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
        let session = self.other(sender, target)?;
        self.kick_pending(&sender.room, target);
        let duration = self.config.limits.kick_ban;
        if !duration.is_zero() {
            let (room, user_id) = (sender.room.clone(), target.clone());
            effects.push(RoomEffect::Mirror(Box::new(Change::Ban { room, user_id, duration })));
        }
        if let Some(connection) = self.sessions.get(&session).and_then(|session| session.connection) {
            effects.push(RoomEffect::Close { connection, code: Code::Kicked });
        }
        self.leave(now, session, LeaveReason::Kicked, effects);
        Ok(())
    }

    fn lock(
        &mut self,
        now: Now,
        sender: &Sender,
        lock: Lock,
        effects: &mut Vec<RoomEffect>,
    ) -> Result<(), Refusal> {
        let room = self.moderated(sender)?;
        if room.locked == lock.locked {
            return Ok(());
        }
        room.locked = lock.locked;
        let state = room.state(&sender.room);
        let change = Change::SetLocked { room: sender.room.clone(), locked: lock.locked };
        effects.push(RoomEffect::Mirror(Box::new(change)));
        self.broadcast(now, &sender.room, None, &state, effects);
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
        let session = self.other(sender, &mute.target_user_id)?;
        let (room_name, kind, by) = (&sender.room, &mute.kind, &sender.user_id);
        self.tell(now, session, Body::of(&PeerEvent::Muted { room_name, kind, by }), effects);
        Ok(())
    }
}
