//! Back into a room and out of it: resume, lose a socket, leave; and what a session is told of how things stand.

use super::{Body, ConnectionId, Room, RoomEffect, RoomFact, Rooms, Session, timers::Deadline};
use crate::{
    domain::{
        clock::Now,
        membership::{Change, Generation, RowUpdate},
        outbound::Replay,
    },
    protocol::{
        Code, CommandId, Refusal, RoomName, Seq, SessionId, UserId,
        command::Resume,
        event::{LeaveReason, PeerEvent, Presence, Resumed, Welcome},
        limits::PeerLimits,
    },
};

/// Which message carries the whole picture.
#[derive(Debug, Clone, Copy)]
pub(super) enum Greeting {
    Joined,
    Snapshot,
}

impl Rooms {
    pub(super) fn resume(
        &mut self,
        now: Now,
        connection: ConnectionId,
        id: Option<&CommandId>,
        resume: &Resume,
        effects: &mut Vec<RoomEffect>,
    ) {
        let session = match self.may_resume(connection, resume) {
            Ok(session) => session,
            Err(refusal) => {
                effects.push(RoomEffect::Count(RoomFact::ResumeRefused));
                return settle(connection, Err(refusal), effects);
            }
        };
        let Some(replay) = self.attach(session, connection, resume.last_seq, effects) else { return };
        settle(connection, Ok(()), effects);
        // What was missed goes out first, under its old numbers; then this, so that numbers only ever rise.
        match replay {
            Replay::Full => {
                effects.push(RoomEffect::Count(RoomFact::ResumedFull));
                self.tell(now, session, Body::of(&PeerEvent::Resumed(Resumed::Full)), effects);
            }
            Replay::Lost => {
                effects.push(RoomEffect::Count(RoomFact::ResumedSnapshot));
                self.welcome(now, session, Greeting::Snapshot, effects);
            }
        }
        self.accept(now, session, id, effects);
        self.set_presence(now, session, Presence::Present, effects);
    }

    fn may_resume(&self, connection: ConnectionId, resume: &Resume) -> Result<SessionId, Refusal> {
        if self.draining {
            return Err(Code::Draining.into());
        }
        if self.connections.contains_key(&connection) {
            return Err(Code::AlreadyJoined.into());
        }
        let id = resume.session_id.0.ok_or(Code::SessionUnknown)?;
        let session = self.sessions.get(&id).ok_or(Code::SessionUnknown)?;
        if session.token.matches(&resume.resume_token) { Ok(id) } else { Err(Code::Unauthorised.into()) }
    }

    /// Gives a session its new socket; the old one, if there still is one, is told that it was replaced.
    fn attach(
        &mut self,
        id: SessionId,
        connection: ConnectionId,
        last_seq: Seq,
        effects: &mut Vec<RoomEffect>,
    ) -> Option<Replay> {
        let session = self.sessions.get_mut(&id)?;
        if let Some(old) = session.connection.replace(connection) {
            self.connections.remove(&old);
            effects.push(RoomEffect::Close { connection: old, code: Code::Replaced });
        }
        session.grace_until = None;
        self.connections.insert(connection, id);
        Some(session.outbound.rewind(last_seq))
    }

    pub(super) fn connection_closed(
        &mut self,
        now: Now,
        connection: ConnectionId,
        effects: &mut Vec<RoomEffect>,
    ) {
        if let Some(session) = self.connections.get(&connection).copied() {
            self.detach(now, session, effects);
            return;
        }
        self.asker_gone(connection);
    }

    /// A session without a socket: suspect at once, and gone when its grace is over.
    pub(super) fn detach(&mut self, now: Now, id: SessionId, effects: &mut Vec<RoomEffect>) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(connection) = session.connection.take() else { return };
        let due = now.mono + self.config.limits.session_grace;
        session.grace_until = Some(due);
        self.connections.remove(&connection);
        self.deadlines.insert((due, id, Deadline::Grace));
        self.set_presence(now, id, Presence::Suspect, effects);
    }

    fn set_presence(&mut self, now: Now, id: SessionId, state: Presence, effects: &mut Vec<RoomEffect>) {
        let Some(session) = self.sessions.get(&id) else { return };
        let (name, user_id) = (session.room.clone(), session.user_id.clone());
        let Some(member) = self.rooms.get_mut(&name).and_then(|room| room.member_mut(&user_id)) else {
            return;
        };
        if member.state == state {
            return;
        }
        member.state = state;
        self.publish_member(now, &name, &user_id, effects);
    }

    /// Mirrors a changed member and tells the others.
    pub(super) fn publish_member(
        &mut self,
        now: Now,
        name: &RoomName,
        user_id: &UserId,
        effects: &mut Vec<RoomEffect>,
    ) {
        let Some(room) = self.rooms.get(name) else { return };
        let (Some(member), Some(news)) = (room.member(user_id), room.updated(name, user_id)) else { return };
        effects.push(RoomEffect::Mirror(Box::new(Change::Update(RowUpdate {
            room: name.clone(),
            user_id: user_id.clone(),
            generation: member.generation,
            state: member.state,
            metadata: member.metadata.clone(),
        }))));
        self.broadcast(now, name, Some(user_id), &news, effects);
    }

    /// Ends a session for good.
    pub(super) fn leave(
        &mut self,
        now: Now,
        id: SessionId,
        reason: LeaveReason,
        effects: &mut Vec<RoomEffect>,
    ) {
        let Some(session) = self.sessions.remove(&id) else { return };
        if let Some(connection) = session.connection {
            self.connections.remove(&connection);
        }
        let (name, user_id) = (session.room, session.user_id);
        let Some(room) = self.rooms.get_mut(&name) else { return };
        let moderated = room.moderator() == Some(&user_id);
        let Some(member) = room.remove(&user_id) else { return };
        withdraw(name.clone(), user_id.clone(), member.generation, effects);
        effects.push(RoomEffect::Count(RoomFact::Left(reason)));
        let heir = room.moderator().cloned().filter(|_| moderated);
        let promotion = heir.and_then(|heir| room.updated(&name, &heir));
        if room.len() == 0 {
            self.rooms.remove(&name);
            return;
        }
        let left = Body::of(&PeerEvent::UserLeft { room_name: &name, user_id: &user_id, reason });
        self.broadcast(now, &name, None, &left, effects);
        // The next moderator is told with the others: it learns of its own role here.
        if let Some(promotion) = promotion {
            self.broadcast(now, &name, None, &promotion, effects);
        }
    }

    /// Tells a session how things stand: everyone else, and the room's own state where it is not the usual one.
    pub(super) fn welcome(
        &mut self,
        now: Now,
        id: SessionId,
        greeting: Greeting,
        effects: &mut Vec<RoomEffect>,
    ) {
        let Some(session) = self.sessions.get(&id) else { return };
        let Some(room) = self.rooms.get(&session.room) else { return };
        let ice_servers = self.config.ice.for_user(&session.user_id, now);
        let picture = self.picture(id, session, room, &ice_servers);
        let body = Body::of(&match greeting {
            Greeting::Joined => PeerEvent::RoomJoined(picture),
            Greeting::Snapshot => PeerEvent::Resumed(Resumed::Snapshot(picture)),
        });
        let state = (room.locked || room.recording).then(|| room.state(&session.room));
        self.tell(now, id, body, effects);
        if let Some(state) = state {
            self.tell(now, id, state, effects);
        }
    }

    fn picture<'a>(
        &'a self,
        session_id: SessionId,
        session: &'a Session,
        room: &'a Room,
        ice_servers: &'a serde_json::value::RawValue,
    ) -> Welcome<'a> {
        let heartbeat = self.config.limits.ping_interval.as_millis();
        Welcome {
            room_name: &session.room,
            user_id: &session.user_id,
            session_id,
            resume_token: session.token.to_hex(),
            role: room.role(&session.user_id),
            participants: room.views_except(Some(&session.user_id)),
            locked: room.locked,
            recording: room.recording,
            ice_servers,
            node_id: &self.config.node.id,
            limits: PeerLimits::from(&self.config.limits),
            heartbeat_ms: u64::try_from(heartbeat).unwrap_or(u64::MAX),
        }
    }

    /// `Accepted`, for a command that has a name.
    pub(super) fn accept(
        &mut self,
        now: Now,
        session: SessionId,
        id: Option<&CommandId>,
        effects: &mut Vec<RoomEffect>,
    ) {
        if let Some(id) = id {
            self.tell(now, session, Body::of(&PeerEvent::Accepted { id }), effects);
        }
    }
}

pub(super) fn settle(connection: ConnectionId, outcome: Result<(), Refusal>, effects: &mut Vec<RoomEffect>) {
    if let Err(refusal) = &outcome {
        effects.push(RoomEffect::Count(RoomFact::Refused(refusal.code)));
    }
    effects.push(RoomEffect::Settle { connection, outcome });
}

pub(super) fn withdraw(
    room: RoomName,
    user_id: UserId,
    generation: Generation,
    effects: &mut Vec<RoomEffect>,
) {
    effects.push(RoomEffect::Mirror(Box::new(Change::Withdraw { room, user_id, generation })));
}
