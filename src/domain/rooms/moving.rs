//! A session comes from another node, or goes to one.
//!
//! ```text
//!  browser ─ Resume ─► new node ─ find ─► registry: the row, its home
//!                         │ Claim ─► old node: a copy, and from now on all that comes for it
//!                         │ ◄─ HandedOver
//!                         │ take over ─► registry: the row is this node's, if it is still as it was
//!                         └ Moved ─► old node: forgets it
//! ```
//! A home that is dead cannot be asked: its session is taken over with what the browser says it has heard, and gets a
//! snapshot. Nobody else sees a leave or a join.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Body, ConnectionId, RoomEffect, RoomFact, Rooms, Session, Ticket,
    admission::Seated,
    entry::{Greeting, RETRY_MS, refuse_resume, settle},
    nodes::send,
    pairs::{Heard, Sent},
};
use crate::{
    domain::{
        clock::Now,
        membership::{Admitted, Row, TakeOver},
        outbound::Outbound,
    },
    protocol::{
        Code, CommandId, NodeRef, Refusal, ResumeTicket, ResumeToken, RoomName, Seq, SessionId, UserId,
        cluster::{NodeMessage, RelayMessage, SessionState, Target},
        event::{LeaveReason, PeerEvent, Presence, Resumed, Role},
        limits,
    },
};

/// A browser's wish to have a session back that is not here.
#[derive(Debug)]
pub(super) struct PendingClaim {
    /// `None` once the socket is gone.
    connection: Option<ConnectionId>,
    id: Option<CommandId>,
    session: SessionId,
    ticket: ResumeTicket,
    last_seq: Seq,
    stage: Stage,
    /// What came for the session before it was here.
    arrived: Vec<(Target, RelayMessage)>,
}

#[derive(Debug)]
enum Stage {
    /// The registry is asked where it is.
    Finding,
    /// Its home is asked for it, until then.
    Claiming { home: NodeRef, row: Box<Row>, until: Duration },
    /// The registry is asked to give it a new home.
    Taking { old: NodeRef, state: Option<Box<SessionState>> },
}

impl Rooms {
    /// A browser wants a session back that is not here: where is it?
    pub(super) fn look_for(
        &mut self,
        connection: ConnectionId,
        id: Option<&CommandId>,
        session: SessionId,
        ticket: ResumeTicket,
        last_seq: Seq,
        effects: &mut Vec<RoomEffect>,
    ) {
        if self.claims.values().any(|claim| claim.session == session) {
            let refusal = Refusal::from(Code::Overloaded).retry_after_ms(RETRY_MS);
            return refuse_resume(connection, refusal, effects);
        }
        let ask = self.next_ticket();
        let (room, user_id) = (ticket.room().clone(), ticket.user_id().clone());
        let claim = PendingClaim {
            connection: Some(connection),
            id: id.cloned(),
            session,
            ticket,
            last_seq,
            stage: Stage::Finding,
            arrived: Vec::new(),
        };
        self.claims.insert(ask, claim);
        effects.push(RoomEffect::Find { ticket: ask, room, user_id });
    }

    /// The registry has looked for the row.
    pub(super) fn found(
        &mut self,
        now: Now,
        ticket: Ticket,
        row: Option<Option<Box<Row>>>,
        effects: &mut Vec<RoomEffect>,
    ) {
        let own_id = self.config.node.id.clone();
        let Some(claim) = self.claims.get_mut(&ticket) else { return };
        let row = match row {
            None => return self.refuse_ticket(ticket, Code::Overloaded, effects),
            Some(row) => row.filter(|row| row.session == claim.session),
        };
        let Some(row) = row else { return self.refuse_ticket(ticket, Code::SessionUnknown, effects) };
        if !row.proof.matches(&claim.ticket.digest()) {
            return self.refuse_ticket(ticket, Code::Unauthorised, effects);
        }
        let home = row.node.clone();
        let ask = NodeMessage::Claim {
            ticket: ticket.0,
            session: claim.session,
            secret: claim.ticket.secret().to_owned(),
            branch: claim.ticket.branch(),
            last_seq: claim.last_seq,
        };
        let patience = (self.config.lease + limits::DEATH_SEEN_AFTER).min(limits::CLAIM_TIMEOUT);
        let until = now.mono + patience;
        claim.stage = Stage::Claiming { home: home.clone(), row, until };
        if home.id == own_id || self.is_dead(&home) {
            // An earlier life of this node, or a dead one: what it knew is lost.
            return self.take_without_home(ticket, effects);
        }
        self.claim_deadlines.insert((until, ticket));
        send(home, ask, effects);
    }

    /// The session's home does not answer. If it is dead, what it knew is lost.
    pub(super) fn claim_due(&mut self, now: Now, ticket: Ticket, effects: &mut Vec<RoomEffect>) {
        let Some(PendingClaim { stage: Stage::Claiming { home, until, .. }, .. }) = self.claims.get(&ticket)
        else {
            return;
        };
        if *until > now.mono {
            return;
        }
        if self.live.contains(home) {
            self.refuse_ticket(ticket, Code::Overloaded, effects);
        } else {
            self.take_without_home(ticket, effects);
        }
    }

    /// Nodes have died while sessions were asked of them.
    pub(super) fn claims_on_dead(&mut self, died: &BTreeSet<NodeRef>, effects: &mut Vec<RoomEffect>) {
        let asked = |claim: &PendingClaim| matches!(&claim.stage, Stage::Claiming { home, .. } if died.contains(home));
        let tickets: Vec<_> =
            self.claims.iter().filter(|(_, claim)| asked(claim)).map(|(ticket, _)| *ticket).collect();
        for ticket in tickets {
            self.take_without_home(ticket, effects);
        }
    }

    fn take_without_home(&mut self, ticket: Ticket, effects: &mut Vec<RoomEffect>) {
        let Some(claim) = self.claims.get_mut(&ticket) else { return };
        let Stage::Claiming { home, row, .. } = &claim.stage else { return };
        let (old, row) = (home.clone(), row.clone());
        let (room, user_id) = (claim.ticket.room().clone(), claim.ticket.user_id().clone());
        claim.stage = Stage::Taking { old, state: None };
        self.ask_take_over(ticket, room, user_id, *row, effects);
    }

    fn ask_take_over(
        &self,
        ticket: Ticket,
        room: RoomName,
        user_id: UserId,
        row: Row,
        effects: &mut Vec<RoomEffect>,
    ) {
        let expected = row.generation;
        let row = Row { node: self.config.node.clone(), state: Presence::Present, until: None, ..row };
        let request = Box::new(TakeOver { room, user_id, row, expected });
        effects.push(RoomEffect::TakeOver { ticket, request });
    }

    /// The home gives the session away.
    pub(super) fn handed_over(
        &mut self,
        now: Now,
        ticket: u64,
        state: SessionState,
        effects: &mut Vec<RoomEffect>,
    ) {
        let ticket = Ticket(ticket);
        self.note_registry_time(now, state.row.generation);
        let Some(claim) = self.claims.get_mut(&ticket) else { return };
        let Stage::Claiming { home, .. } = &claim.stage else { return };
        if state.session != claim.session {
            return;
        }
        let (room, user_id, row) = (state.room.clone(), state.user_id.clone(), state.row.clone());
        claim.stage = Stage::Taking { old: home.clone(), state: Some(Box::new(state)) };
        self.ask_take_over(ticket, room, user_id, row, effects);
    }

    /// The home does not have it (any more).
    pub(super) fn not_here(&mut self, ticket: u64, session: SessionId, effects: &mut Vec<RoomEffect>) {
        let asked =
            |claim: &PendingClaim| claim.session == session && matches!(claim.stage, Stage::Claiming { .. });
        if self.claims.get(&Ticket(ticket)).is_some_and(asked) {
            self.refuse_ticket(Ticket(ticket), Code::SessionUnknown, effects);
        }
    }

    /// The home could not be asked.
    pub(super) fn not_reached(&mut self, ticket: u64, session: SessionId, effects: &mut Vec<RoomEffect>) {
        let ticket = Ticket(ticket);
        let Some(claim) = self.claims.get(&ticket).filter(|claim| claim.session == session) else { return };
        let Stage::Claiming { home, .. } = &claim.stage else { return };
        if self.live.contains(home) {
            self.refuse_ticket(ticket, Code::Overloaded, effects);
        } else {
            self.take_without_home(ticket, effects);
        }
    }

    fn refuse_ticket(&mut self, ticket: Ticket, code: Code, effects: &mut Vec<RoomEffect>) {
        let Some(claim) = self.claims.remove(&ticket) else { return };
        self.refuse_claim(claim.connection, code, effects);
        self.drop_kept(claim.ticket.room());
    }

    /// The registry has given the session this home, or will not.
    pub(super) fn taken_over(
        &mut self,
        now: Now,
        ticket: Ticket,
        outcome: Option<Result<Admitted, Refusal>>,
        effects: &mut Vec<RoomEffect>,
    ) {
        let admitted = match outcome {
            Some(Ok(admitted)) => admitted,
            Some(Err(refusal)) => return self.refuse_ticket(ticket, refusal.code, effects),
            None => {
                // It may have been done all the same: the sync says that nobody is here.
                if let Some(claim) = self.claims.get(&ticket) {
                    let (room, user_id) = (claim.ticket.room().clone(), claim.ticket.user_id().clone());
                    self.ask_all_to_check(&room, &user_id, effects);
                    self.mirror_failed(now, room);
                }
                return self.refuse_ticket(ticket, Code::Overloaded, effects);
            }
        };
        let Some(claim) = self.claims.remove(&ticket) else { return };
        self.settle_in(now, claim, admitted, effects);
    }

    fn settle_in(
        &mut self,
        now: Now,
        claim: PendingClaim,
        admitted: Admitted,
        effects: &mut Vec<RoomEffect>,
    ) {
        let PendingClaim { connection, id, session, ticket, last_seq, stage, arrived } = claim;
        let Stage::Taking { old, state } = stage else { return };
        let (name, user_id) = (ticket.room().clone(), ticket.user_id().clone());
        let Some(token) = ResumeToken::parse_hex(ticket.secret()) else { return };
        let generation = admitted.row.generation;
        let held = fresh(token, &name, &user_id, generation, last_seq, state.as_deref());
        let before = state.as_ref().filter(|state| state.kept.is_some()).map(|state| Picture::of(state));
        let Seated { replaced, moderator } = self.seat(now, &name, &user_id, admitted, effects);
        let known = self.rooms.get(&name).map_or(0, |room| room.lock.version);
        if let Some(lock) = state.as_ref().map(|state| state.lock).filter(|lock| lock.version > known) {
            // The registry has not heard of it yet, and its node may have nobody left in the room who would say so.
            self.set_lock(now, &name, lock, effects);
            self.want_sync(&name);
        }
        self.sessions.insert(session, held);
        self.moved.remove(&session);
        match connection {
            Some(connection) => {
                if let Some(held) = self.sessions.get_mut(&session) {
                    held.connection = Some(connection);
                }
                self.connections.insert(connection, session);
                settle(connection, Ok(()), effects);
                self.greet(now, session, id.as_ref(), before, effects);
            }
            // The socket has gone meanwhile: it is waited for as for any other.
            None => self.await_socket(now, session),
        }
        self.announce(now, &name, &user_id, replaced.as_ref(), effects);
        if moderator.is_some() {
            self.announce_moderator(now, &name, moderator.as_ref(), effects);
        }
        self.spread_row(&name, &user_id, effects);
        if old.id != self.config.node.id && !self.is_dead(&old) {
            send(old, NodeMessage::Moved { session }, effects);
        }
        for (target, relay) in arrived {
            self.take_relay(now, None, RelayMessage { to: vec![target], ..relay }, effects);
        }
        self.replay_kept(now, &name, effects);
        if connection.is_none() {
            self.set_presence(now, session, Presence::Suspect, effects);
        }
    }

    /// Tells a session that has come from another node what it has missed, or how things stand.
    fn greet(
        &mut self,
        now: Now,
        session: SessionId,
        id: Option<&CommandId>,
        before: Option<Picture>,
        effects: &mut Vec<RoomEffect>,
    ) {
        match before {
            Some(before) => {
                effects.push(RoomEffect::Count(RoomFact::ResumedFull));
                self.tell(now, session, Body::of(&PeerEvent::Resumed(Resumed::Full)), effects);
                self.accept(now, session, id, effects);
                self.tell_differences(now, session, &before, effects);
            }
            None => {
                effects.push(RoomEffect::Count(RoomFact::ResumedSnapshot));
                self.welcome(now, session, Greeting::Snapshot, effects);
                self.accept(now, session, id, effects);
            }
        }
    }

    /// What has changed in the room between what the session was last told elsewhere and now.
    fn tell_differences(&mut self, now: Now, id: SessionId, before: &Picture, effects: &mut Vec<RoomEffect>) {
        let Some(session) = self.sessions.get(&id) else { return };
        let (name, own) = (session.room.clone(), session.user_id.clone());
        let Some(room) = self.rooms.get(&name) else { return };
        let mut news = Vec::new();
        for user_id in before.roster.keys().filter(|user_id| room.member(user_id).is_none()) {
            let reason = LeaveReason::Left;
            news.push(Body::of(&PeerEvent::UserLeft { room_name: &name, user_id, reason }));
        }
        for (user_id, row, role) in room.roster() {
            let known = match before.roster.get(user_id) {
                None if *user_id == own => before.own_role == role,
                None => {
                    news.extend(room.joined(&name, user_id));
                    continue;
                }
                Some((known, known_role)) => known.looks_like(row) && *known_role == role,
            };
            if !known {
                news.extend(room.updated(&name, user_id));
            }
        }
        if (room.lock.locked, room.recording) != (before.locked, before.recording) {
            news.push(room.state(&name));
        }
        for news in news {
            self.tell(now, id, news, effects);
        }
    }

    /// Keeps a relay for a session that is just coming here.
    pub(super) fn keep_for_arriving(&mut self, target: &Target, relay: &RelayMessage) -> bool {
        let arriving = self.claims.values_mut().find(|claim| claim.session == target.session);
        let Some(claim) = arriving else { return false };
        if claim.arrived.len() < limits::ARRIVING_MESSAGES_MAX {
            claim.arrived.push((*target, relay.clone()));
        }
        true
    }

    /// Sessions that the registry may have given this node without it knowing yet.
    pub(super) fn claims_under_way(&self, room: &RoomName) -> impl Iterator<Item = SessionId> {
        let of_room = self
            .claims
            .values()
            .filter(move |claim| claim.ticket.room() == room && matches!(claim.stage, Stage::Taking { .. }));
        of_room.map(|claim| claim.session)
    }

    /// Whether a session is wanted that belongs in this room.
    pub(super) fn is_claimed_into(&self, room: &RoomName) -> bool {
        self.claims.values().any(|claim| claim.ticket.room() == room)
    }

    /// Whether a connection waits for a session from elsewhere.
    pub(super) fn is_claiming(&self, connection: ConnectionId) -> bool {
        self.claims.values().any(|claim| claim.connection == Some(connection))
    }

    pub(super) fn claimer_gone(&mut self, connection: ConnectionId) {
        if let Some(claim) = self.claims.values_mut().find(|claim| claim.connection == Some(connection)) {
            claim.connection = None;
        }
    }

    /// Gives up waiting for those that were to take sessions over, and forgets who has moved long ago.
    pub(super) fn tick_moves(&mut self, now: Now, effects: &mut Vec<RoomEffect>) {
        while let Some(&(due, ticket)) = self.claim_deadlines.first() {
            if due > now.mono {
                break;
            }
            self.claim_deadlines.pop_first();
            self.claim_due(now, ticket, effects);
        }
        self.moved.retain(|_, (_, until)| *until > now.mono);
        self.unheard.retain(|_, until| *until > now.mono);
    }
}

/// What a browser was last told of its room, elsewhere.
struct Picture {
    roster: BTreeMap<UserId, (Row, Role)>,
    own_role: Role,
    locked: bool,
    recording: bool,
}

impl Picture {
    fn of(state: &SessionState) -> Self {
        let everyone = state.roster.iter().map(|(user_id, row)| (user_id, row));
        let senior = everyone.chain([(&state.user_id, &state.row)]).min_by_key(|(_, row)| row.seniority());
        let moderator = senior.map(|(user_id, _)| user_id);
        let role = |user_id: &UserId| {
            if moderator == Some(user_id) { Role::Moderator } else { Role::Participant }
        };
        let with_role = |(user_id, row): &(UserId, Row)| (user_id.clone(), (row.clone(), role(user_id)));
        Self {
            roster: state.roster.iter().map(with_role).collect(),
            own_role: role(&state.user_id),
            locked: state.lock.locked,
            recording: state.recording,
        }
    }
}

fn fresh(
    token: ResumeToken,
    name: &RoomName,
    user_id: &UserId,
    generation: u64,
    last_seq: Seq,
    state: Option<&SessionState>,
) -> Session {
    let outbound = match state {
        Some(SessionState { last, kept: Some(kept), .. }) => Outbound::restore(*last, kept.clone()),
        // Numbers go on, whichever of the two was further.
        Some(SessionState { last, kept: None, .. }) => Outbound::new((*last).max(last_seq)),
        None => Outbound::new(last_seq),
    };
    let (sent, heard) = match state {
        Some(state) => {
            (Sent::restore(state.numbering, state.sent.clone()), Heard::restore(state.heard.clone()))
        }
        None => (Sent::new(generation), Heard::unknown()),
    };
    Session {
        token,
        room: name.clone(),
        user_id: user_id.clone(),
        connection: None,
        grace_until: None,
        outbound,
        sent,
        heard,
        told_isolated: false,
        moving: None,
    }
}
