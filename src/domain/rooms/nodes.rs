//! What other nodes say, and what is said to them: one room over many nodes.
//!
//! A node caches the rosters of the rooms in which it has somebody, so a relay to another node asks nobody. What keeps
//! the caches equal: each node tells the others what becomes of its own participants, by ordered links; and where
//! something may have been missed, the room is synced with the registry (`picture`).

use std::{cmp::max_by_key, collections::BTreeSet};

use super::{
    Room, RoomEffect, RoomFact, Rooms,
    entry::{Greeting, settle},
    picture::Touched,
    timers::RoomDeadline,
};
use crate::{
    domain::{
        clock::Now,
        membership::{Change, Generation, RoomLock, Row},
    },
    protocol::{
        Code, ConnectionId, NodeRef, RoomName, SessionId, UserId,
        cluster::{Departure, NodeMessage},
        event::{LeaveReason, Presence},
        limits,
    },
};

/// How far this node's idea of the registry's clock may be off. Unit: ms.
const LOCK_DOUBT_MS: u64 = 500;

pub(super) fn send(to: NodeRef, message: NodeMessage, effects: &mut Vec<RoomEffect>) {
    effects.push(RoomEffect::Send { to, message: Box::new(message) });
}

impl Rooms {
    /// Takes a message of another node.
    pub(super) fn node_says(
        &mut self,
        now: Now,
        from: NodeRef,
        message: NodeMessage,
        effects: &mut Vec<RoomEffect>,
    ) {
        if let Some(room) = self.is_for_arriving(&message) {
            let kept = self.kept.entry(room.clone()).or_default();
            if kept.len() < limits::ARRIVING_MESSAGES_MAX {
                kept.push((from, message));
            } else {
                self.want_sync(&room);
            }
            return;
        }
        match message {
            NodeMessage::Row { room, user_id, row } => {
                self.row_says(now, &from, &room, &user_id, *row, effects);
            }
            NodeMessage::Gone { room, user_id, departure } => {
                self.other_gone(now, &room, &user_id, departure, effects);
            }
            NodeMessage::Locked { room, lock } => self.set_lock(now, &room, lock, effects),
            NodeMessage::Kick { room, session } => {
                if self.sessions.get(&session).is_some_and(|held| held.room == room) {
                    self.end_kicked(now, session, effects);
                }
            }
            NodeMessage::Mute { room, session, kind, by } => {
                self.tell_muted(now, &room, session, &kind, &by, effects);
            }
            NodeMessage::Relay(relay) => self.take_relay(now, Some(&from), *relay, effects),
            NodeMessage::Bounced { from: session, id } => self.bounced(now, session, id, effects),
            NodeMessage::Claim { ticket, session, secret, branch, last_seq } => {
                self.hand_over(now, from, ticket, session, &secret, (branch, last_seq), effects);
            }
            NodeMessage::HandedOver { ticket, state } => self.handed_over(now, ticket, *state, effects),
            NodeMessage::NotHere { ticket, session } => self.not_here(ticket, session, effects),
            NodeMessage::Moved { session } => self.moved(now, &from, session, effects),
            NodeMessage::Missed { session } => self.missed(now, session, effects),
            NodeMessage::Check { room, user_id } => self.check(&from, &room, &user_id),
            NodeMessage::Resync => self.sync_shared_with(&from),
        }
    }

    /// A room that somebody is just coming to, where nobody is yet: what is said of it waits for its roster.
    fn is_for_arriving(&self, message: &NodeMessage) -> Option<RoomName> {
        let room = match message {
            NodeMessage::Row { room, .. }
            | NodeMessage::Gone { room, .. }
            | NodeMessage::Locked { room, .. } => room,
            NodeMessage::Relay(relay) => &relay.room,
            _ => return None,
        };
        (!self.rooms.contains_key(room) && self.is_arriving(room)).then(|| room.clone())
    }

    fn is_arriving(&self, room: &RoomName) -> bool {
        self.admissions_under_way(room).next().is_some() || self.is_claimed_into(room)
    }

    /// The room's first participant here is in: what was said meanwhile of the others follows.
    pub(super) fn replay_kept(&mut self, now: Now, room: &RoomName, effects: &mut Vec<RoomEffect>) {
        for (from, message) in self.kept.remove(room).unwrap_or_default() {
            self.node_says(now, from, message, effects);
        }
    }

    /// Nobody is coming to the room any more.
    pub(super) fn drop_kept(&mut self, room: &RoomName) {
        if !self.is_arriving(room) {
            self.kept.remove(room);
        }
    }

    /// A participant's node says how it stands with it.
    fn row_says(
        &mut self,
        now: Now,
        from: &NodeRef,
        name: &RoomName,
        user_id: &UserId,
        row: Row,
        effects: &mut Vec<RoomEffect>,
    ) {
        let Some(room) = self.rooms.get(name) else {
            return self.greet_node(name, from, row.generation, effects);
        };
        if let Some(reason) = room.has_gone(&row) {
            if reason == LeaveReason::Kicked {
                // Its node was taken for dead when it was removed, and does not know yet.
                let (room, session) = (name.clone(), row.session);
                send(from.clone(), NodeMessage::Kick { room, session }, effects);
            }
            return;
        }
        match room.member(user_id) {
            None if row.generation <= room.floor => {
                // Either it is on its way out, and this is late; or it was let in by a node that was cut off.
                self.want_sync(name);
            }
            Some(held) if self.sessions.contains_key(&held.session) && is_newer(held, &row) => {
                // The other has missed something; this is newer.
                send(from.clone(), row_message(name, user_id, held), effects);
            }
            Some(held) if is_newer(held, &row) => {
                if held.node == *from && held.session != row.session {
                    // Its home says otherwise: which of its sessions is there now, the registry knows.
                    self.want_sync(name);
                }
            }
            _ => self.put_row(now, name, user_id, row, effects),
        }
    }

    /// A node that had nobody in the room, as far as was known here, has somebody now. Between the picture that it was given
    /// and this moment it was told nothing from here.
    fn greet_node(
        &self,
        name: &RoomName,
        node: &NodeRef,
        generation: Generation,
        effects: &mut Vec<RoomEffect>,
    ) {
        let known = |room: &Room| room.members().any(|(_, row)| row.node == *node);
        if self.is_dead(node) || self.rooms.get(name).is_some_and(known) {
            return;
        }
        self.tell_state(name, node, effects);
        let nothing = Touched::default();
        let touched = self.touched.get(name).unwrap_or(&nothing);
        for (user_id, departure) in &touched.gone {
            let (room, user_id, departure) = (name.clone(), user_id.clone(), *departure);
            send(node.clone(), NodeMessage::Gone { room, user_id, departure }, effects);
        }
        // Of a room that nobody of this node is in any more the lock may be over, unless it is about as new as that picture.
        let lock = self.rooms.get(name).map_or(touched.lock, |room| room.lock);
        let is_valid = self.rooms.contains_key(name) || lock.version + LOCK_DOUBT_MS >= generation;
        if lock.version > 0 && is_valid {
            send(node.clone(), NodeMessage::Locked { room: name.clone(), lock }, effects);
        }
    }

    /// Tells a node who of this one is in a room.
    pub(super) fn tell_state(&self, name: &RoomName, node: &NodeRef, effects: &mut Vec<RoomEffect>) {
        let Some(room) = self.rooms.get(name) else { return };
        let own = room.members().filter(|(_, row)| self.sessions.contains_key(&row.session));
        for (user_id, row) in own.filter(|_| !self.is_dead(node)) {
            send(node.clone(), row_message(name, user_id, row), effects);
        }
    }

    /// Puts a row of another node in its place, and tells those here what they can see of it.
    pub(super) fn put_row(
        &mut self,
        now: Now,
        name: &RoomName,
        user_id: &UserId,
        row: Row,
        effects: &mut Vec<RoomEffect>,
    ) {
        let is_dead = self.is_dead(&row.node);
        self.note_registry_time(now, row.generation);
        if self.has_own(name) {
            self.greet_node(name, &row.node, row.generation, effects);
        }
        let Some(room) = self.rooms.get_mut(name) else { return };
        let moderator = room.moderator().cloned();
        let state = if is_dead { Presence::Suspect } else { row.state };
        let new = (row.session, row.node.clone());
        let unknown = row.node != self.config.node && !self.live.contains(&row.node) && !is_dead;
        let before = room.put(user_id.clone(), Row { state, ..row });
        if let Some(before) = before.as_ref().filter(|before| self.sessions.contains_key(&before.session)) {
            self.lost(now, before.session, new.clone(), effects);
            // Finds another generation and changes nothing, but what else leads to the row from here goes.
            self.withdraw(now, name, user_id, before.session, before.generation, effects);
            if before.session != new.0 {
                // Whoever has heard of it later than of the new one, which may even be gone by now, has it still.
                let (room, user_id) = (name.clone(), user_id.clone());
                self.spread(name, &NodeMessage::Check { room, user_id }, effects);
            }
        }
        if self.unheard.remove(&new.0).is_some() {
            // It goes on there; what was told to the copy that ran out here, nobody else has.
            send(new.1.clone(), NodeMessage::Missed { session: new.0 }, effects);
        }
        if unknown {
            self.room_deadlines.insert((now.mono + self.config.lease, name.clone(), RoomDeadline::Unknown));
        }
        if is_dead {
            self.want_sync(name);
        }
        self.announce(now, name, user_id, before.as_ref(), effects);
        self.announce_moderator(now, name, moderator.as_ref(), effects);
    }

    /// A session of this node is another's now: its participant has come in elsewhere, or it was taken over.
    fn lost(
        &mut self,
        now: Now,
        session: SessionId,
        by: (SessionId, NodeRef),
        effects: &mut Vec<RoomEffect>,
    ) {
        effects.push(RoomEffect::Count(RoomFact::Lost));
        let (new, home) = by;
        if session == new {
            let held = self.sessions.get(&session);
            if held.is_some_and(|held| held.moving.is_none() && held.outbound.has_kept()) {
                // What was told to this copy of it, nobody else has.
                send(home.clone(), NodeMessage::Missed { session }, effects);
            }
            self.remember_moved(now, session, home);
        }
        self.forget_replaced(session, effects);
    }

    /// A session has missed something, where it was before: it is told how things stand.
    fn missed(&mut self, now: Now, session: SessionId, effects: &mut Vec<RoomEffect>) {
        if self.sessions.contains_key(&session) {
            self.welcome(now, session, Greeting::Snapshot, effects);
        } else if let Some((home, _)) = self.moved.get(&session) {
            send(home.clone(), NodeMessage::Missed { session }, effects);
        }
    }

    /// A participant of another node is gone.
    fn other_gone(
        &mut self,
        now: Now,
        name: &RoomName,
        user_id: &UserId,
        departure: Departure,
        effects: &mut Vec<RoomEffect>,
    ) {
        let held = self.rooms.get(name).and_then(|room| room.member(user_id));
        match held {
            Some(held) if held.session == departure.session && !self.sessions.contains_key(&held.session) => {
                self.gone(now, name, user_id, departure, effects);
            }
            // Which of its sessions is there now, the registry knows.
            Some(held) if held.generation < departure.generation => self.want_sync(name),
            Some(_) | None => {}
        }
    }

    /// Takes the newer of two locks, and tells those here if it is another one.
    pub(super) fn set_lock(
        &mut self,
        now: Now,
        name: &RoomName,
        lock: RoomLock,
        effects: &mut Vec<RoomEffect>,
    ) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        if lock.version <= room.lock.version {
            return;
        }
        if std::mem::replace(&mut room.lock, lock).locked != lock.locked {
            let state = room.state(name);
            self.broadcast(now, name, None, &state, effects);
        }
    }

    /// Which other nodes live. The participants of those that do not are suspect at once.
    pub(super) fn nodes_live(&mut self, now: Now, live: BTreeSet<NodeRef>, effects: &mut Vec<RoomEffect>) {
        let gone = self.live.difference(&live).cloned();
        let goes_on = |node: &NodeRef| live.iter().any(|other| other.id == node.id);
        let (outlived, died): (BTreeSet<NodeRef>, BTreeSet<NodeRef>) = gone.partition(goes_on);
        self.dead.retain(|node| !live.contains(node));
        self.live = live;
        self.nodes_died(now, &died, effects);
        self.await_successors(now, &outlived);
    }

    /// A node that goes on in another life may be the same process, which was away for longer than its lease and is about to
    /// put its participants back. Only those it does not are left behind by a dead one.
    fn await_successors(&mut self, now: Now, outlived: &BTreeSet<NodeRef>) {
        let due = now.mono + (self.config.lease / 2).min(limits::AMNESTY);
        for (name, room) in &self.rooms {
            if room.members().any(|(_, row)| outlived.contains(&row.node)) {
                self.room_deadlines.insert((due, name.clone(), RoomDeadline::Unknown));
            }
        }
    }

    pub(super) fn nodes_died(&mut self, now: Now, died: &BTreeSet<NodeRef>, effects: &mut Vec<RoomEffect>) {
        if died.is_empty() {
            return;
        }
        self.dead.extend(died.iter().cloned());
        let mut found = Vec::new();
        for (name, room) in &self.rooms {
            let of_dead = room.members().filter(|(_, row)| died.contains(&row.node));
            found.extend(of_dead.map(|(user_id, _)| (name.clone(), user_id.clone())));
        }
        for (name, user_id) in found {
            self.want_sync(&name);
            let member = self.rooms.get_mut(&name).and_then(|room| room.member_mut(&user_id));
            if let Some(row) = member.filter(|row| row.state != Presence::Suspect) {
                row.state = Presence::Suspect;
                let news = self.rooms.get(&name).and_then(|room| room.updated(&name, &user_id));
                if let Some(news) = news {
                    self.broadcast(now, &name, None, &news, effects);
                }
            }
        }
        self.claims_on_dead(died, effects);
    }

    /// Whether a node, or rather this life of it, is known to be dead.
    pub(super) fn is_dead(&self, node: &NodeRef) -> bool {
        self.dead.iter().any(|dead| node.is_up_to(dead)) && !self.live.contains(node)
    }

    /// The life of a node that is to be spoken to: one that goes on in another has its sessions there, if it has them still.
    pub(super) fn present_life(&self, node: &NodeRef) -> NodeRef {
        let later = |live: &&NodeRef| live.id == node.id && live.incarnation > node.incarnation;
        let later = self.live.iter().find(later).filter(|_| !self.live.contains(node));
        later.unwrap_or(node).clone()
    }

    /// Tells the other nodes that have somebody in the room.
    pub(super) fn spread(&self, name: &RoomName, message: &NodeMessage, effects: &mut Vec<RoomEffect>) {
        let Some(room) = self.rooms.get(name) else { return };
        for node in room.other_nodes(&self.config.node) {
            if !self.is_dead(&node) {
                send(self.present_life(&node), message.clone(), effects);
            }
        }
    }

    pub(super) fn spread_row(&self, name: &RoomName, user_id: &UserId, effects: &mut Vec<RoomEffect>) {
        let row = self.rooms.get(name).and_then(|room| room.member(user_id));
        if let Some(row) = row {
            self.spread(name, &row_message(name, user_id, row), effects);
        }
    }

    /// The node of a session that was replaced may have nobody else in the room, and hears of it all the same.
    pub(super) fn tell_old_home(
        &self,
        name: &RoomName,
        user_id: &UserId,
        old: Option<NodeRef>,
        effects: &mut Vec<RoomEffect>,
    ) {
        let Some(old) = old.filter(|old| *old != self.config.node && !self.is_dead(old)) else { return };
        let Some(room) = self.rooms.get(name) else { return };
        if room.other_nodes(&self.config.node).contains(&old) {
            return;
        }
        if let Some(row) = room.member(user_id) {
            send(old, row_message(name, user_id, row), effects);
        }
    }

    pub(super) fn spread_gone(
        &mut self,
        now: Now,
        name: &RoomName,
        user_id: &UserId,
        departure: Departure,
        effects: &mut Vec<RoomEffect>,
    ) {
        if let Some(touched) = self.touched(now, name)
            && touched.gone.len() < limits::ARRIVING_MESSAGES_MAX
        {
            touched.gone.insert(user_id.clone(), departure);
        }
        let (room, user_id) = (name.clone(), user_id.clone());
        self.spread(name, &NodeMessage::Gone { room, user_id, departure }, effects);
    }

    /// Takes a row away from the registry.
    pub(super) fn withdraw(
        &mut self,
        now: Now,
        name: &RoomName,
        user_id: &UserId,
        session: SessionId,
        generation: Generation,
        effects: &mut Vec<RoomEffect>,
    ) {
        self.touched(now, name);
        let (room, user_id) = (name.clone(), user_id.clone());
        effects.push(RoomEffect::Mirror(Box::new(Change::Withdraw { room, user_id, session, generation })));
    }

    /// Whether anybody of this node is in the room.
    pub(super) fn has_own(&self, name: &RoomName) -> bool {
        let room = self.rooms.get(name);
        room.is_some_and(|room| room.members().any(|(_, row)| self.sessions.contains_key(&row.session)))
    }

    /// Forgets the rooms that somebody has left, if nobody of this node is in them any more.
    pub(super) fn forget_left(&mut self, now: Now) {
        while let Some(name) = self.left.pop() {
            if self.has_own(&name) {
                let due = now.mono + limits::GONE_REMEMBERED;
                self.room_deadlines.insert((due, name, RoomDeadline::Forget));
            } else if let Some(room) = self.rooms.remove(&name)
                && let Some(touched) = self.touched(now, &name)
            {
                touched.lock = max_by_key(touched.lock, room.lock, |lock| lock.version);
            }
        }
    }

    /// An admission that may have been done, and taken back then, may have displaced a session of any node.
    pub(super) fn ask_all_to_check(&self, room: &RoomName, user_id: &UserId, effects: &mut Vec<RoomEffect>) {
        for node in &self.live {
            let (room, user_id) = (room.clone(), user_id.clone());
            send(node.clone(), NodeMessage::Check { room, user_id }, effects);
        }
    }

    /// Answers a connection that waits for a take-over.
    pub(super) fn refuse_claim(
        &self,
        connection: Option<ConnectionId>,
        code: Code,
        effects: &mut Vec<RoomEffect>,
    ) {
        effects.push(RoomEffect::Count(RoomFact::ResumeRefused));
        if let Some(connection) = connection {
            settle(connection, Err(code.into()), effects);
        }
    }
}

fn row_message(room: &RoomName, user_id: &UserId, row: &Row) -> NodeMessage {
    NodeMessage::Row { room: room.clone(), user_id: user_id.clone(), row: Box::new(row.clone()) }
}

/// Whether what is held is newer than what has come. An equal one is taken: what a node says of its own stands against what
/// was supposed when it seemed dead.
fn is_newer(held: &Row, row: &Row) -> bool {
    (held.generation, held.session, held.revision) > (row.generation, row.session, row.revision)
}
