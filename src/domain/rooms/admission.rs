//! Who is let in: a join, the registry's decision, and a seat in the room.

use super::{
    Admitted, Body, ConnectionId, JoinInput, Room, RoomEffect, RoomFact, Rooms, Session, Ticket,
    entry::{Greeting, settle, withdraw},
    room::Member,
};
use crate::{
    domain::{
        clock::Now,
        membership::{AdmissionRequest, Change},
        outbound::Outbound,
    },
    protocol::{Code, CommandId, Refusal, ResumeToken, RoomName, Seq, SessionId, UserId, command::Username},
};

/// A join whose admission has been asked for.
#[derive(Debug)]
pub(super) struct PendingJoin {
    /// `None` once the socket is gone: who is admitted then is suspect from the start.
    connection: Option<ConnectionId>,
    /// Which connection was asked for; its answer is owed.
    asker: ConnectionId,
    id: Option<CommandId>,
    room: RoomName,
    user_id: UserId,
    session: SessionId,
    token: ResumeToken,
    already_sent: Seq,
    /// A moderator removed the participant meanwhile.
    kicked: bool,
    /// Set when the registry has answered, until it is this one's turn.
    decision: Option<Decision>,
}

/// What the registry made of an admission.
#[derive(Debug)]
pub(super) enum Decision {
    Made(Result<Admitted, Refusal>),
    Missing,
}

impl Rooms {
    pub(super) fn join(&mut self, input: JoinInput, effects: &mut Vec<RoomEffect>) {
        let connection = input.connection;
        if self.draining {
            return refuse_join(connection, Code::Draining.into(), effects);
        }
        if self.connections.contains_key(&connection) || self.is_asking(connection) {
            return refuse_join(connection, Code::AlreadyJoined.into(), effects);
        }
        if self.sessions.len() + self.pending.len() >= self.config.limits.sessions_max {
            return refuse_join(connection, Code::Overloaded.into(), effects);
        }
        let join = input.join;
        let user_id = join.user_id.unwrap_or(input.spare_user_id);
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let request = Box::new(AdmissionRequest {
            room: join.room_name.clone(),
            node: self.config.node.clone(),
            session: input.session,
            username: join.username.unwrap_or_else(|| Username::from(&user_id)),
            metadata: join.metadata.unwrap_or_default(),
            participants_max: self.config.limits.room_participants_max,
            user_id: user_id.clone(),
        });
        let pending = PendingJoin {
            connection: Some(connection),
            asker: connection,
            id: input.id,
            room: join.room_name,
            user_id,
            session: input.session,
            token: input.token,
            already_sent: input.already_sent,
            kicked: false,
            decision: None,
        };
        self.pending.insert(ticket, pending);
        effects.push(RoomEffect::Admit { ticket, request });
    }

    /// Notes a decision, and acts on those of its room whose turn it is: in the order in which they were asked for,
    /// which is the order in which the registry made them, however late each answer is.
    pub(super) fn admission_decided(
        &mut self,
        now: Now,
        ticket: Ticket,
        decision: Decision,
        effects: &mut Vec<RoomEffect>,
    ) {
        let Some(pending) = self.pending.get_mut(&ticket) else { return };
        let room = pending.room.clone();
        pending.decision = Some(decision);
        while let Some((&first, earliest)) = self.pending.iter_mut().find(|(_, pending)| pending.room == room)
        {
            let Some(decision) = earliest.decision.take() else { return };
            if let Some(pending) = self.pending.remove(&first) {
                self.act_on(now, pending, decision, effects);
            }
        }
    }

    fn act_on(&mut self, now: Now, pending: PendingJoin, decision: Decision, effects: &mut Vec<RoomEffect>) {
        match decision {
            Decision::Made(Ok(admitted)) if pending.kicked => {
                withdraw(pending.room, pending.user_id, admitted.row.generation, effects);
                refuse_join(pending.asker, Code::Banned.into(), effects);
            }
            Decision::Made(Ok(admitted)) => self.enter(now, pending, admitted, effects),
            Decision::Made(Err(refusal)) => refuse_join(pending.asker, refusal, effects),
            Decision::Missing => {
                let PendingJoin { room, user_id, session, asker, .. } = pending;
                let change = Change::TakeBack { room, user_id, session };
                effects.push(RoomEffect::Mirror(Box::new(change)));
                refuse_join(asker, Code::Overloaded.into(), effects);
            }
        }
    }

    /// A participant that is being removed does not slip back in by a join that is under way.
    pub(super) fn kick_pending(&mut self, room: &RoomName, user_id: &UserId) {
        let of_target = |pending: &&mut PendingJoin| pending.room == *room && pending.user_id == *user_id;
        for pending in self.pending.values_mut().filter(of_target) {
            pending.kicked = true;
        }
    }

    /// Whether a connection waits for an admission.
    pub(super) fn is_asking(&self, connection: ConnectionId) -> bool {
        self.pending.values().any(|pending| pending.asker == connection)
    }

    /// Whoever is admitted after its socket is gone starts as suspect.
    pub(super) fn asker_gone(&mut self, connection: ConnectionId) {
        let asked = self.pending.values_mut().find(|pending| pending.connection == Some(connection));
        if let Some(pending) = asked {
            pending.connection = None;
        }
    }

    fn enter(&mut self, now: Now, pending: PendingJoin, admitted: Admitted, effects: &mut Vec<RoomEffect>) {
        let PendingJoin { connection, asker, id, room: name, user_id, token, already_sent, .. } = pending;
        let session = admitted.row.session;
        let replaced = self.seat(&name, &user_id, admitted);
        self.sessions.insert(
            session,
            Session {
                token,
                room: name.clone(),
                user_id: user_id.clone(),
                connection: Some(asker),
                grace_until: None,
                outbound: Outbound::new(already_sent),
            },
        );
        self.connections.insert(asker, session);
        settle(asker, Ok(()), effects);

        self.welcome(now, session, Greeting::Joined, effects);
        self.accept(now, session, id.as_ref(), effects);
        let news = self.announce(&name, &user_id, replaced, effects);
        if let Some(news) = news {
            self.broadcast(now, &name, Some(&user_id), &news, effects);
        }
        if connection.is_none() {
            self.connection_closed(now, asker, effects);
        }
    }

    /// What the others are told of an arrival: a new participant, or what has changed of the one they know.
    fn announce(
        &mut self,
        name: &RoomName,
        user_id: &UserId,
        replaced: Option<Member>,
        effects: &mut Vec<RoomEffect>,
    ) -> Option<Body> {
        if let Some(old) = &replaced {
            self.forget_replaced(old.session, effects);
        }
        let room = self.rooms.get(name)?;
        match replaced {
            None => {
                effects.push(RoomEffect::Count(RoomFact::Joined));
                room.joined(name, user_id)
            }
            Some(old) => {
                effects.push(RoomEffect::Count(RoomFact::Rejoined));
                old.differs_from(room.member(user_id)).then(|| room.updated(name, user_id))?
            }
        }
    }

    /// Puts the admitted one in its room, in its predecessor's place if there is one.
    fn seat(&mut self, name: &RoomName, user_id: &UserId, admitted: Admitted) -> Option<Member> {
        // The others of this room may all have left while this one was being admitted; the lock then is the registry's.
        let room = self.rooms.entry(name.clone()).or_insert_with(|| Room::new(admitted.locked));
        room.recording = self.recorded.contains(name);
        let row = admitted.row;
        let first_generation = room.member(user_id).map_or(row.generation, |old| old.first_generation);
        room.put(
            user_id.clone(),
            Member {
                session: row.session,
                generation: row.generation,
                username: row.username,
                metadata: row.metadata,
                state: row.state,
                joined_at: row.joined_at,
                first_generation,
            },
        )
    }

    fn forget_replaced(&mut self, session: SessionId, effects: &mut Vec<RoomEffect>) {
        let connection = self.sessions.remove(&session).and_then(|old| old.connection);
        if let Some(connection) = connection {
            self.connections.remove(&connection);
            effects.push(RoomEffect::Close { connection, code: Code::Replaced });
        }
    }
}

impl Member {
    /// Whether the others would see a difference.
    fn differs_from(&self, other: Option<&Self>) -> bool {
        other.is_none_or(|other| {
            (&self.username, &self.metadata, self.state) != (&other.username, &other.metadata, other.state)
        })
    }
}

fn refuse_join(connection: ConnectionId, refusal: Refusal, effects: &mut Vec<RoomEffect>) {
    effects.push(RoomEffect::Count(RoomFact::JoinRefused(refusal.code)));
    settle(connection, Err(refusal), effects);
}
