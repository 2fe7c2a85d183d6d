//! A session goes to another node: a copy is handed over, and forgotten here once the other has taken it over.

use super::{RoomEffect, Rooms, nodes::send, timers::Deadline};
use crate::{
    domain::{clock::Now, outbound::Replay},
    protocol::{
        Code, NodeRef, ResumeTicket, Seq, SessionId,
        cluster::{NodeMessage, SessionState},
        event::Presence,
        limits,
    },
};

impl Rooms {
    /// Another node asks for a session of this one, for the browser that has come to it.
    #[allow(clippy::too_many_arguments, reason = "what a claim is made of")]
    pub(super) fn hand_over(
        &mut self,
        now: Now,
        to: NodeRef,
        ticket: u64,
        id: SessionId,
        secret: &str,
        (branch, last_seq): (u64, Seq),
        effects: &mut Vec<RoomEffect>,
    ) {
        let owned = self.sessions.get_mut(&id).filter(|session| {
            ResumeTicket::parse(&format!("{secret}.{}.{}.{branch}", session.room, session.user_id))
                .is_some_and(|ticket| session.token.matches(&ticket))
        });
        let Some(session) = owned else {
            return send(to, NodeMessage::NotHere { ticket, session: id }, effects);
        };
        if let Some(connection) = session.connection {
            effects.push(RoomEffect::Close { connection, code: Code::Replaced });
            self.connections.remove(&connection);
            self.await_socket(now, id);
        }
        // What waits for something before it cannot wait there: it is told, and that something is missing.
        self.give_up_held(now, id, now.mono, effects);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let replay = session.rewind(last_seq, branch);
        let until = now.mono + limits::CLAIM_TIMEOUT;
        session.moving = Some((to.clone(), until));
        self.deadlines.insert((until, id, Deadline::Moving));
        let Some(state) = self.session_state(id, replay) else { return };
        send(to, NodeMessage::HandedOver { ticket, state: Box::new(state) }, effects);
    }

    /// The node that was given a copy of a session has not taken it over: it is this node's still, without a socket.
    pub(super) fn not_taken_over(&mut self, now: Now, id: SessionId, effects: &mut Vec<RoomEffect>) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.moving = None;
        if session.connection.is_none() {
            self.set_presence(now, id, Presence::Suspect, effects);
        }
    }

    /// A session without a socket, of which nobody need hear yet.
    pub(super) fn await_socket(&mut self, now: Now, id: SessionId) {
        let due = now.mono + self.config.limits.session_grace;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.connection = None;
        session.grace_until = Some(due);
        self.deadlines.insert((due, id, Deadline::Grace));
    }

    fn session_state(&self, id: SessionId, replay: Replay) -> Option<SessionState> {
        let session = self.sessions.get(&id)?;
        let room = self.rooms.get(&session.room)?;
        let others = room.members().filter(|(user_id, _)| **user_id != session.user_id);
        Some(SessionState {
            session: id,
            room: session.room.clone(),
            user_id: session.user_id.clone(),
            row: room.member(&session.user_id)?.clone(),
            secret: session.token.to_hex(),
            last: session.outbound.last(),
            kept: (replay == Replay::Full).then(|| session.outbound.kept()),
            numbering: session.sent.numbering(),
            sent: session.sent.pairs(),
            heard: session.heard.senders(),
            roster: others.map(|(user_id, row)| (user_id.clone(), row.clone())).collect(),
            lock: room.lock,
            recording: room.recording,
        })
    }

    /// Another node has the session now.
    pub(super) fn moved(
        &mut self,
        now: Now,
        to: &NodeRef,
        session: SessionId,
        effects: &mut Vec<RoomEffect>,
    ) {
        let until = now.mono + limits::GONE_REMEMBERED;
        self.moved.insert(session, (to.clone(), until));
        // The row that names its new home follows; until then the room shows the old one, which forwards.
        let Some(held) = self.sessions.remove(&session) else { return };
        if let Some(connection) = held.connection {
            self.connections.remove(&connection);
            effects.push(RoomEffect::Close { connection, code: Code::Replaced });
        }
        let member = self.rooms.get_mut(&held.room).and_then(|room| room.member_mut(&held.user_id));
        if let Some(row) = member.filter(|row| row.session == session) {
            row.node = to.clone();
            let generation = row.generation;
            // Finds another generation and changes nothing, but what else leads to the row from here goes.
            self.withdraw(now, &held.room, &held.user_id, session, generation, effects);
        }
        self.left.push(held.room);
    }

    /// The row of a session of this node shows that another has taken it over.
    pub(super) fn remember_moved(&mut self, now: Now, session: SessionId, home: NodeRef) {
        self.moved.insert(session, (home, now.mono + limits::GONE_REMEMBERED));
    }
}
