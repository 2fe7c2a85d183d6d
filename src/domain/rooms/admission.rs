//! Who is let in: a join, the registry's decision, and a seat in the room.

use super::{
    Admitted, ConnectionId, JoinInput, Room, RoomEffect, RoomFact, Rooms, Session, Ticket,
    entry::{Greeting, settle},
    pairs::{Heard, Sent},
    timers::RoomDeadline,
};
use crate::{
    domain::{
        clock::Now,
        membership::{AdmissionRequest, Change, RoomRecord, Row},
        outbound::Outbound,
    },
    protocol::{
        Code, CommandId, Refusal, ResumeToken, RoomName, Seq, SessionId, UserId, command::Username, limits,
    },
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
    Admitted(Box<Admitted>),
    Refused(Refusal),
    Missing,
}

impl From<Result<Admitted, Refusal>> for Decision {
    fn from(outcome: Result<Admitted, Refusal>) -> Self {
        match outcome {
            Ok(admitted) => Self::Admitted(Box::new(admitted)),
            Err(refusal) => Self::Refused(refusal),
        }
    }
}

/// What was in a room just before somebody was put in.
pub(super) struct Seated {
    /// Its own earlier session.
    pub(super) replaced: Option<Row>,
    /// Of whom those here were last told that it moderates; `None`: nobody was here.
    pub(super) moderator: Option<UserId>,
}

impl Rooms {
    pub(super) fn join(&mut self, now: Now, input: JoinInput, effects: &mut Vec<RoomEffect>) {
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
        let ticket = self.next_ticket();
        let request = Box::new(AdmissionRequest {
            room: join.room_name.clone(),
            node: self.config.node.clone(),
            session: input.session,
            username: join.username.unwrap_or_else(|| Username::from(&user_id)),
            metadata: join.metadata.unwrap_or_default(),
            proof: input.token.digest(),
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
        if self.isolated {
            let decision = Decision::from(self.admit_alone(now, *request, effects));
            return self.admission_decided(now, ticket, decision, effects);
        }
        effects.push(RoomEffect::Admit { ticket, request });
    }

    /// Decides as the registry would, by what was last known of the room. The registry hears of it later.
    fn admit_alone(
        &mut self,
        now: Now,
        request: AdmissionRequest,
        effects: &mut Vec<RoomEffect>,
    ) -> Result<Admitted, Refusal> {
        // One that has never reached the registry does not know its time, and would make nonsense of who was first.
        let Some(registry_ms) = self.registry_ms(now) else { return Err(Code::Overloaded.into()) };
        let picture = self.rooms.get(&request.room).map(Room::picture).unwrap_or_default();
        let admitted = RoomRecord::from_picture(picture).admit(registry_ms, request)?;
        effects.push(RoomEffect::Count(RoomFact::JoinedAlone));
        Ok(admitted)
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
                self.drop_kept(&room);
            }
        }
    }

    fn act_on(&mut self, now: Now, pending: PendingJoin, decision: Decision, effects: &mut Vec<RoomEffect>) {
        match decision {
            Decision::Admitted(admitted) if pending.kicked => {
                let PendingJoin { room, user_id, session, asker, .. } = pending;
                self.withdraw(now, &room, &user_id, session, admitted.row.generation, effects);
                refuse_join(asker, Code::Banned.into(), effects);
            }
            Decision::Admitted(admitted) if self.is_outdated(&pending, &admitted.row) => {
                // Meanwhile it has come in elsewhere, by a newer session.
                refuse_join(pending.asker, Code::Replaced.into(), effects);
            }
            Decision::Admitted(admitted) => self.enter(now, pending, *admitted, effects),
            Decision::Refused(refusal) => refuse_join(pending.asker, refusal, effects),
            Decision::Missing => {
                let PendingJoin { room, user_id, session, asker, .. } = pending;
                // It may even be done after it was taken back: the room is looked at again.
                self.mirror_failed(now, room.clone());
                self.ask_all_to_check(&room, &user_id, effects);
                let late = now.mono + limits::GONE_REMEMBERED;
                self.room_deadlines.insert((late, room.clone(), RoomDeadline::Sync));
                let change = Change::TakeBack { room, user_id, session };
                effects.push(RoomEffect::Mirror(Box::new(change)));
                refuse_join(asker, Code::Overloaded.into(), effects);
            }
        }
    }

    fn is_outdated(&self, pending: &PendingJoin, row: &Row) -> bool {
        let member = self.rooms.get(&pending.room).and_then(|room| room.member(&pending.user_id));
        member.is_some_and(|member| member.generation > row.generation)
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
        self.pending.values().any(|pending| pending.asker == connection) || self.is_claiming(connection)
    }

    /// Sessions that the registry may have let into a room without this node knowing it yet.
    pub(super) fn admissions_under_way(&self, room: &RoomName) -> impl Iterator<Item = SessionId> {
        let of_room = self.pending.values().filter(move |pending| pending.room == *room);
        of_room.map(|pending| pending.session)
    }

    /// Whoever is admitted after its socket is gone starts as suspect.
    pub(super) fn asker_gone(&mut self, connection: ConnectionId) {
        let asked = self.pending.values_mut().find(|pending| pending.connection == Some(connection));
        if let Some(pending) = asked {
            pending.connection = None;
        }
        self.claimer_gone(connection);
    }

    fn enter(&mut self, now: Now, pending: PendingJoin, admitted: Admitted, effects: &mut Vec<RoomEffect>) {
        let PendingJoin { connection, asker, id, room: name, user_id, token, already_sent, .. } = pending;
        let row = &admitted.row;
        let fresh = Session {
            token,
            room: name.clone(),
            user_id: user_id.clone(),
            connection: Some(asker),
            grace_until: None,
            outbound: Outbound::new(already_sent),
            sent: Sent::new(row.generation),
            heard: Heard::nothing(),
            told_isolated: false,
            moving: None,
        };
        let (session, elsewhere) = (row.session, admitted.replaced.clone());
        let Seated { replaced, moderator } = self.seat(now, &name, &user_id, admitted, effects);
        self.sessions.insert(session, fresh);
        self.connections.insert(asker, session);
        settle(asker, Ok(()), effects);

        self.welcome(now, session, Greeting::Joined, effects);
        self.accept(now, session, id.as_ref(), effects);
        let fact = if replaced.is_some() { RoomFact::Rejoined } else { RoomFact::Joined };
        effects.push(RoomEffect::Count(fact));
        self.announce(now, &name, &user_id, replaced.as_ref(), effects);
        if moderator.is_some() {
            self.announce_moderator(now, &name, moderator.as_ref(), effects);
        }
        self.spread_row(&name, &user_id, effects);
        self.tell_old_home(&name, &user_id, elsewhere, effects);
        self.replay_kept(now, &name, effects);
        if connection.is_none() {
            self.connection_closed(now, asker, effects);
        }
    }

    /// Puts the admitted one in its room, in its predecessor's place if there is one, and takes what the registry says of
    /// the others.
    pub(super) fn seat(
        &mut self,
        now: Now,
        name: &RoomName,
        user_id: &UserId,
        admitted: Admitted,
        effects: &mut Vec<RoomEffect>,
    ) -> Seated {
        let Admitted { row, mut picture, .. } = admitted;
        // The others of this room may all have left while this one was being admitted; the lock then is the registry's.
        let recording = self.recorded.contains(name);
        let known = self.rooms.contains_key(name);
        let room = self.rooms.entry(name.clone()).or_insert_with(|| Room::new(picture.lock));
        room.recording = recording;
        if !known {
            // Nobody is there yet to be told; who is in comes with the picture.
            room.floor = picture.last_generation;
        }
        picture.rows.remove(user_id);
        self.absorb(now, name, picture, effects);
        let room = self.rooms.get_mut(name);
        let moderator = room.as_ref().filter(|_| known).and_then(|room| room.moderator()).cloned();
        let replaced = room.and_then(|room| room.put(user_id.clone(), row));
        if let Some(old) = &replaced {
            self.forget_replaced(old.session, effects);
        }
        Seated { replaced, moderator }
    }

    /// A session of this node whose participant has another one now, here or elsewhere.
    pub(super) fn forget_replaced(&mut self, session: SessionId, effects: &mut Vec<RoomEffect>) {
        let Some(old) = self.sessions.remove(&session) else { return };
        self.left.push(old.room);
        if let Some(connection) = old.connection {
            self.connections.remove(&connection);
            effects.push(RoomEffect::Close { connection, code: Code::Replaced });
        }
    }
}

fn refuse_join(connection: ConnectionId, refusal: Refusal, effects: &mut Vec<RoomEffect>) {
    effects.push(RoomEffect::Count(RoomFact::JoinRefused(refusal.code)));
    settle(connection, Err(refusal), effects);
}
