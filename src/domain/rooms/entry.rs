//! Back into a room and out of it: resume, lose a socket, leave; and what a session is told of how things stand.

use super::{Body, ConnectionId, Room, RoomEffect, RoomFact, Rooms, Session, timers::Deadline};
use crate::{
    domain::{
        clock::Now,
        membership::{Change, Row, RowUpdate},
        outbound::Replay,
    },
    protocol::{
        Code, CommandId, Refusal, ResumeTicket, RoomName, Seq, SessionId, UserId,
        cluster::Departure,
        command::Resume,
        event::{LeaveReason, PeerEvent, Presence, Resumed, Welcome},
        limits::{self, PeerLimits},
    },
};

/// Which message carries the whole picture.
#[derive(Debug, Clone, Copy)]
pub(super) enum Greeting {
    Joined,
    Snapshot,
}

/// Where a session that a browser wants back may be.
enum Owner {
    Here(SessionId),
    Elsewhere { session: SessionId, ticket: ResumeTicket },
}

/// When a browser may ask again for a session that is just moving. Unit: ms.
pub(super) const RETRY_MS: u64 = 500;

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
            Ok(Owner::Here(session)) => session,
            Ok(Owner::Elsewhere { session, ticket }) => {
                return self.look_for(connection, id, session, ticket, resume.last_seq, effects);
            }
            Err(refusal) => return refuse_resume(connection, refusal, effects),
        };
        let branch = resume.ticket.as_ref().map_or(0, ResumeTicket::branch);
        let Some(replay) = self.attach(session, connection, resume.last_seq, branch, effects) else { return };
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

    fn may_resume(&self, connection: ConnectionId, resume: &Resume) -> Result<Owner, Refusal> {
        if self.draining {
            return Err(Code::Draining.into());
        }
        if self.connections.contains_key(&connection) || self.is_asking(connection) {
            return Err(Code::AlreadyJoined.into());
        }
        let id = resume.session_id.0.ok_or(Code::SessionUnknown)?;
        match (self.sessions.get(&id), &resume.ticket) {
            (Some(session), Some(ticket)) if session.token.matches(ticket) => match session.moving {
                // Its browser has been at another node, which has not finished yet.
                Some(_) => Err(Refusal::from(Code::Overloaded).retry_after_ms(RETRY_MS)),
                None => Ok(Owner::Here(id)),
            },
            (Some(_), _) => Err(Code::Unauthorised.into()),
            // By what an isolated node knows, it may as well begin anew.
            (None, Some(ticket)) if self.config.clustered && !self.isolated => {
                Ok(Owner::Elsewhere { session: id, ticket: ticket.clone() })
            }
            (None, _) => Err(Code::SessionUnknown.into()),
        }
    }

    /// Gives a session of this node its new socket; the old one, if there still is one, is told that it was replaced.
    fn attach(
        &mut self,
        id: SessionId,
        connection: ConnectionId,
        last_seq: Seq,
        branch: u64,
        effects: &mut Vec<RoomEffect>,
    ) -> Option<Replay> {
        let session = self.sessions.get_mut(&id)?;
        if let Some(old) = session.connection.replace(connection) {
            self.connections.remove(&old);
            effects.push(RoomEffect::Close { connection: old, code: Code::Replaced });
        }
        session.grace_until = None;
        self.connections.insert(connection, id);
        Some(session.rewind(last_seq, branch))
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

    pub(super) fn set_presence(
        &mut self,
        now: Now,
        id: SessionId,
        state: Presence,
        effects: &mut Vec<RoomEffect>,
    ) {
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
        let Some(room) = self.rooms.get_mut(name) else { return };
        let Some(row) = room.member_mut(user_id) else { return };
        row.revision += 1;
        let update = RowUpdate {
            room: name.clone(),
            user_id: user_id.clone(),
            generation: row.generation,
            revision: row.revision,
            state: row.state,
            metadata: row.metadata.clone(),
        };
        effects.push(RoomEffect::Mirror(Box::new(Change::Update(update))));
        if let Some(news) = room.updated(name, user_id) {
            self.broadcast(now, name, Some(user_id), &news, effects);
        }
        self.spread_row(name, user_id, effects);
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
        if self.config.clustered && reason == LeaveReason::Timeout && session.outbound.has_kept() {
            self.unheard.insert(id, now.mono + limits::GONE_REMEMBERED);
        }
        let (name, user_id) = (session.room, session.user_id);
        let member = self.rooms.get(&name).and_then(|room| room.member(&user_id));
        let Some(generation) = member.map(|row| row.generation) else { return };
        self.withdraw(now, &name, &user_id, id, generation, effects);
        effects.push(RoomEffect::Count(RoomFact::Left(reason)));
        let departure = Departure { session: id, generation, reason };
        self.spread_gone(now, &name, &user_id, departure, effects);
        self.gone(now, &name, &user_id, departure, effects);
    }

    /// A participant is gone, of whatever node: those here are told, and the next moderator with them.
    pub(super) fn gone(
        &mut self,
        now: Now,
        name: &RoomName,
        user_id: &UserId,
        departure: Departure,
        effects: &mut Vec<RoomEffect>,
    ) {
        let remembered = now.mono + limits::GONE_REMEMBERED;
        let Some(room) = self.rooms.get_mut(name) else { return };
        let is_it = |row: &Row| row.session == departure.session && row.generation <= departure.generation;
        if !room.member(user_id).is_some_and(is_it) {
            return;
        }
        let moderator = room.moderator().cloned();
        room.remove(user_id, departure, remembered);
        self.left.push(name.clone());
        let left = Body::of(&PeerEvent::UserLeft { room_name: name, user_id, reason: departure.reason });
        self.broadcast(now, name, None, &left, effects);
        // The next moderator is told with the others: it learns of its own role here.
        self.announce_moderator(now, name, moderator.as_ref(), effects);
    }

    /// Tells those here whose role has changed, unless they have just been told of it.
    pub(super) fn announce_moderator(
        &mut self,
        now: Now,
        name: &RoomName,
        before: Option<&UserId>,
        effects: &mut Vec<RoomEffect>,
    ) {
        let Some(room) = self.rooms.get(name) else { return };
        let after = room.moderator();
        if after == before {
            return;
        }
        let changed = before.into_iter().chain(after);
        let news: Vec<_> = changed.filter_map(|user_id| room.updated(name, user_id)).collect();
        for news in news {
            self.broadcast(now, name, None, &news, effects);
        }
    }

    /// What the others here are told of one who came or came back: a new participant, or what has changed of the one they
    /// know.
    pub(super) fn announce(
        &mut self,
        now: Now,
        name: &RoomName,
        user_id: &UserId,
        before: Option<&Row>,
        effects: &mut Vec<RoomEffect>,
    ) {
        let Some(room) = self.rooms.get(name) else { return };
        let Some(row) = room.member(user_id) else { return };
        let news = match before {
            None => room.joined(name, user_id),
            Some(before) if before.looks_like(row) => None,
            Some(_) => room.updated(name, user_id),
        };
        if let Some(news) = news {
            self.broadcast(now, name, Some(user_id), &news, effects);
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
        let isolated = self.isolated;
        let state = (room.lock.locked || room.recording).then(|| room.state(&session.room));
        if let Some(session) = self.sessions.get_mut(&id) {
            session.told_isolated = isolated;
        }
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
            resume_token: session.resume_token(),
            role: room.role(&session.user_id),
            participants: room.views_except(Some(&session.user_id)),
            locked: room.lock.locked,
            recording: room.recording,
            ice_servers,
            node_id: &self.config.node.id,
            limits: PeerLimits::from(&self.config.limits),
            heartbeat_ms: u64::try_from(heartbeat).unwrap_or(u64::MAX),
            isolated: self.isolated,
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

pub(super) fn refuse_resume(connection: ConnectionId, refusal: Refusal, effects: &mut Vec<RoomEffect>) {
    effects.push(RoomEffect::Count(RoomFact::ResumeRefused));
    settle(connection, Err(refusal), effects);
}
