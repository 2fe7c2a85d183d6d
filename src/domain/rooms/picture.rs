//! The registry's picture of a room, and this node's: put back what it lacks, and take what this node has missed.
//!
//! Nodes are the truth about their own participants, the registry is their mirror. So a sync first puts this node's rows
//! back, and then only what is certainly so is taken from the picture: who is newer, who has gone. Browsers are told the
//! differences they can see and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Room, RoomEffect, RoomFact, Rooms, Ticket, entry::Greeting, nodes::send, timers::RoomDeadline};
use crate::{
    domain::{
        clock::Now,
        membership::{Change, RoomLock, RoomPicture, Row, SyncRequest},
    },
    protocol::{
        NodeRef, RoomName, SessionId, UserId,
        cluster::{Departure, NodeMessage},
        event::{LeaveReason, Presence},
        limits,
    },
};

/// How long it is remembered in which rooms somebody was: the registry may forget the latest.
const TOUCHED_REMEMBERED: Duration = Duration::from_secs(60);
/// Rooms that are remembered so.
const TOUCHED_MAX: usize = 10_000;
/// How much later than it is due somebody is taken away.
const TAKEN_AWAY_AFTER: Duration = Duration::from_millis(50);
/// The pause after a sync without an answer.
const RETRY: Duration = Duration::from_secs(1);

/// A room that the registry is asked to compare.
#[derive(Debug)]
pub(super) struct Syncing {
    room: RoomName,
    /// Whose absence in the answer counts.
    doubted: BTreeSet<NodeRef>,
    /// Sessions that were known when it was asked: the answer cannot be older than they are.
    known: BTreeSet<SessionId>,
}

/// A room in which somebody of this node was a moment ago: what others were told of it, so that a node that did not belong to
/// them yet can be told too.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub(super) until: Duration,
    pub(super) gone: BTreeMap<UserId, Departure>,
    /// As it was when the last of them left.
    pub(super) lock: RoomLock,
}

impl Rooms {
    /// The room is to be compared with the registry's picture.
    pub(super) fn want_sync(&mut self, room: &RoomName) {
        if self.config.clustered {
            self.sync_queue.insert(room.clone());
        }
    }

    /// Asks for what is wanted, a bounded number at one time.
    pub(super) fn pump_syncs(&mut self, effects: &mut Vec<RoomEffect>) {
        while !self.isolated && self.syncing.len() < limits::SYNCS_AT_ONCE {
            let free = |room: &&RoomName| !self.syncing.values().any(|syncing| syncing.room == **room);
            let Some(room) = self.sync_queue.iter().find(free).cloned() else { return };
            self.sync_queue.remove(&room);
            let ticket = self.next_ticket();
            let request = Box::new(self.sync_request(&room));
            let doubted = self.rooms.get_mut(&room).map(|room| std::mem::take(&mut room.doubted));
            let members = self.rooms.get(&room).into_iter().flat_map(Room::members);
            let known = members.map(|(_, row)| row.session).collect();
            self.syncing.insert(ticket, Syncing { room, doubted: doubted.unwrap_or_default(), known });
            effects.push(RoomEffect::Sync { ticket, request });
        }
    }

    fn sync_request(&self, name: &RoomName) -> SyncRequest {
        let room = self.rooms.get(name);
        let members = || room.into_iter().flat_map(Room::members);
        let own = |row: &Row| self.sessions.contains_key(&row.session);
        let homes: BTreeSet<&NodeRef> = members().map(|(_, row)| &row.node).collect();
        SyncRequest {
            room: name.clone(),
            node: self.config.node.clone(),
            mine: members()
                .filter(|(_, row)| own(row))
                .map(|(user_id, row)| (user_id.clone(), row.clone()))
                .collect(),
            keep: self.admissions_under_way(name).chain(self.claims_under_way(name)).collect(),
            lock: room.map(|room| room.lock).unwrap_or_default(),
            dead: homes.into_iter().filter(|node| self.is_dead(node)).cloned().collect(),
            grace: self.config.limits.session_grace,
        }
    }

    /// The registry has put this node's part of a room back, and shows the whole; or it gave no answer.
    pub(super) fn synced(
        &mut self,
        now: Now,
        ticket: Ticket,
        picture: Option<RoomPicture>,
        effects: &mut Vec<RoomEffect>,
    ) {
        let Some(asked) = self.syncing.remove(&ticket) else { return };
        let name = asked.room.clone();
        let Some(picture) = picture else {
            self.doubt_still(&name, asked.doubted);
            self.room_deadlines.insert((now.mono + RETRY, name, RoomDeadline::Sync));
            return;
        };
        self.tell_removed(&name, &picture, effects);
        self.put_lock_back(now, &name, &picture, effects);
        if !self.rooms.contains_key(&name) {
            return;
        }
        let displaced = picture.displaced.clone();
        let told = effects.len();
        if picture.restored || now.mono < self.amnesty_until {
            // Others may have to put something back too.
            self.doubt_still(&name, asked.doubted);
            let due = self.amnesty_until.max(now.mono + limits::AMNESTY);
            self.room_deadlines.insert((due, name.clone(), RoomDeadline::Sync));
        } else {
            self.take_absences(now, &asked, &picture, effects);
        }
        self.absorb(now, &name, picture, effects);
        let reassert = self.rooms.get_mut(&name).map(|room| std::mem::take(&mut room.reassert));
        if reassert == Some(true) {
            self.spread_own(&name, effects);
        }
        self.tell_connected(now, &name, effects);
        let confirming = self.rooms.get_mut(&name).is_some_and(|room| std::mem::take(&mut room.confirming));
        if !confirming || effects.len() > told {
            let due = now.mono + limits::CONFIRM_AFTER;
            self.room_deadlines.insert((due, name.clone(), RoomDeadline::Confirm));
        }
        for home in displaced {
            self.tell_state(&name, &home, effects);
        }
    }

    /// Tells the other nodes of a room who is in it here, and that it is locked: one that was cut off could not.
    fn spread_own(&self, name: &RoomName, effects: &mut Vec<RoomEffect>) {
        let Some(room) = self.rooms.get(name) else { return };
        for node in room.other_nodes(&self.config.node) {
            self.tell_state(name, &node, effects);
            if room.lock.version > 0 {
                let lock = room.lock;
                send(node, NodeMessage::Locked { room: name.clone(), lock }, effects);
            }
        }
    }

    /// Who came in while the node was cut off, and was told so, is told how things stand now.
    fn tell_connected(&mut self, now: Now, name: &RoomName, effects: &mut Vec<RoomEffect>) {
        let Some(room) = self.rooms.get(name).filter(|_| !self.isolated) else { return };
        let told = |row: &Row| self.sessions.get(&row.session).is_some_and(|session| session.told_isolated);
        let told: Vec<_> = room.members().filter(|(_, row)| told(row)).map(|(_, row)| row.session).collect();
        for session in told {
            self.welcome(now, session, Greeting::Snapshot, effects);
        }
    }

    /// Rows that this node no longer had were still there for others to see: it tells those who have. Such a row may also have
    /// taken the place of somebody's session, if it was put there late.
    fn tell_removed(&self, name: &RoomName, picture: &RoomPicture, effects: &mut Vec<RoomEffect>) {
        for (user_id, ..) in &picture.removed {
            self.ask_all_to_check(name, user_id, effects);
        }
        for (user_id, session, generation) in &picture.removed {
            let reason = LeaveReason::Left;
            let departure = Departure { session: *session, generation: *generation, reason };
            let (room, user_id) = (name.clone(), user_id.clone());
            self.tell_homes(picture, &NodeMessage::Gone { room, user_id, departure }, effects);
        }
    }

    /// The lock that the last one here left behind may not have reached the registry, nor those who are in the room.
    fn put_lock_back(
        &mut self,
        now: Now,
        name: &RoomName,
        picture: &RoomPicture,
        effects: &mut Vec<RoomEffect>,
    ) {
        let Some(lock) = self.touched.get(name).map(|touched| touched.lock) else { return };
        // Where everyone came later than that, nobody was there in between, and the lock is over.
        let goes_on = picture.rows.values().any(|row| row.joined_at <= lock.version);
        if goes_on && lock.version > picture.lock.version {
            let room = name.clone();
            effects.push(RoomEffect::Mirror(Box::new(Change::SetLocked { room: room.clone(), lock })));
            self.tell_homes(picture, &NodeMessage::Locked { room, lock }, effects);
            self.set_lock(now, name, lock, effects);
        }
    }

    /// Tells the other nodes that have somebody in a room, by the registry's picture of it.
    fn tell_homes(&self, picture: &RoomPicture, message: &NodeMessage, effects: &mut Vec<RoomEffect>) {
        let homes: BTreeSet<&NodeRef> = picture.rows.values().map(|row| &row.node).collect();
        for node in homes.into_iter().filter(|node| **node != self.config.node && !self.is_dead(node)) {
            send(node.clone(), message.clone(), effects);
        }
    }

    fn doubt_still(&mut self, name: &RoomName, doubted: BTreeSet<NodeRef>) {
        if let Some(room) = self.rooms.get_mut(name) {
            room.doubted.extend(doubted);
        }
    }

    /// Takes from a picture what is certainly so.
    pub(super) fn absorb(
        &mut self,
        now: Now,
        name: &RoomName,
        picture: RoomPicture,
        effects: &mut Vec<RoomEffect>,
    ) {
        self.note_registry_time(now, picture.last_generation);
        let RoomPicture { rows, lock, last_generation, due_in, .. } = picture;
        if let Some(due_in) = due_in {
            // A moment later than the registry says, or it would be asked once too early.
            let due = now.mono + due_in + TAKEN_AWAY_AFTER;
            self.room_deadlines.insert((due, name.clone(), RoomDeadline::Sync));
        }
        for (user_id, row) in rows {
            self.absorb_row(now, name, &user_id, row, effects);
        }
        let Some(room) = self.rooms.get_mut(name) else { return };
        room.floor = room.floor.max(last_generation);
        self.set_lock(now, name, lock, effects);
    }

    fn absorb_row(
        &mut self,
        now: Now,
        name: &RoomName,
        user_id: &UserId,
        row: Row,
        effects: &mut Vec<RoomEffect>,
    ) {
        if !self.is_news(name, &row) {
            return;
        }
        let own = self.sessions.contains_key(&row.session);
        let Some(room) = self.rooms.get_mut(name) else { return };
        match room.member_mut(user_id) {
            Some(held) if held.session == row.session && own => {
                if held.generation < row.generation && row.node == self.config.node {
                    // The registry has put it above one that was let in late and is gone.
                    (held.generation, held.revision) = row.version();
                    self.spread_row(name, user_id, effects);
                } else if held.generation < row.generation {
                    // It was taken over by another node.
                    self.put_row(now, name, user_id, row, effects);
                } else {
                    // The registry may have counted further where it took this node for dead.
                    held.revision = held.revision.max(row.revision);
                }
            }
            Some(held) if held.version() > row.version() => {}
            Some(held) if *held == row => {}
            _ => self.put_row(now, name, user_id, row, effects),
        }
    }

    /// Whether a row in a picture may say something. Not, if it is known to be gone; nor if it is of this node and not here: then
    /// it is about to come in, or has left, and what this node knows of its own is newer than any picture.
    fn is_news(&self, name: &RoomName, row: &Row) -> bool {
        let Some(room) = self.rooms.get(name) else { return false };
        let own = self.sessions.contains_key(&row.session);
        room.has_gone(row).is_none() && (own || row.node != self.config.node)
    }

    /// Who was known and is not in the picture has gone: if its node is dead, if something of that node's news may have been
    /// missed, or if it is still missing a while later. Of the others their nodes would have told, or put them back.
    fn take_absences(
        &mut self,
        now: Now,
        asked: &Syncing,
        picture: &RoomPicture,
        effects: &mut Vec<RoomEffect>,
    ) {
        let Syncing { room: name, doubted, known } = asked;
        let Some(room) = self.rooms.get(name) else { return };
        let is_there = |user_id: &UserId, row: &Row| {
            let shown = picture.rows.get(user_id);
            shown.is_some_and(|shown| shown.session == row.session || shown.version() >= row.version())
        };
        let absent = room.members().filter(|(user_id, row)| {
            !is_there(user_id, row)
                && known.contains(&row.session)
                && !self.sessions.contains_key(&row.session)
        });
        let departure = |row: &Row| Departure {
            session: row.session,
            generation: row.generation,
            reason: if row.state == Presence::Suspect { LeaveReason::Timeout } else { LeaveReason::Left },
        };
        let is_certain = |row: &Row| {
            let long =
                room.missing.get(&row.session).is_some_and(|since| *since + limits::AMNESTY <= now.mono);
            long || self.is_dead(&row.node) || doubted.contains(&row.node)
        };
        let (gone, missing): (Vec<_>, Vec<_>) = absent
            .map(|(user_id, row)| (user_id.clone(), departure(row), is_certain(row)))
            .partition(|(_, _, certain)| *certain);
        self.note_missing(now, name, missing.iter().map(|(_, departure, _)| departure.session).collect());
        for (user_id, departure, _) in gone {
            if let Some(earlier) = picture.rows.get(&user_id).filter(|row| self.is_news(name, row)) {
                // It was let in late and taken back: its participant is there by the session before it.
                self.put_row(now, name, &user_id, earlier.clone(), effects);
                continue;
            }
            self.gone(now, name, &user_id, departure, effects);
            // Its node may know better after all.
            if let Some(room) = self.rooms.get_mut(name) {
                room.forgive(&departure.session);
            }
        }
    }

    fn note_missing(&mut self, now: Now, name: &RoomName, missing: BTreeSet<SessionId>) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        room.missing.retain(|session, _| missing.contains(session));
        for session in missing {
            room.missing.entry(session).or_insert(now.mono);
            let due = now.mono + limits::AMNESTY;
            self.room_deadlines.insert((due, name.clone(), RoomDeadline::Sync));
        }
    }

    /// Something may have been missed of what a node said: the rooms that it shares with this one are compared.
    pub(super) fn sync_shared_with(&mut self, node: &NodeRef) {
        for (name, room) in &mut self.rooms {
            if room.members().any(|(_, row)| row.node == *node) {
                room.doubted.insert(node.clone());
                self.sync_queue.insert(name.clone());
            }
        }
    }

    /// A session of a participant may have gone from the registry unsaid: whoever has it, as its own or as the sender's, looks.
    pub(super) fn check(&mut self, from: &NodeRef, name: &RoomName, user_id: &UserId) {
        let held = self.rooms.get(name).and_then(|room| room.member(user_id));
        if held.is_some_and(|row| row.node == *from || self.sessions.contains_key(&row.session)) {
            self.want_sync(name);
        }
    }

    /// Everything of this node is put back into the registry, and told to the others once it is there.
    pub(super) fn reassert(
        &mut self,
        now: Now,
        node: &NodeRef,
        amnesty: bool,
        effects: &mut Vec<RoomEffect>,
    ) {
        effects.push(RoomEffect::Count(RoomFact::Reasserted));
        self.live.remove(node);
        self.config.node = node.clone();
        if amnesty {
            self.amnesty_until = now.mono + limits::AMNESTY;
        }
        for room in self.rooms.values_mut() {
            room.reassert = true;
            for (_, row) in room.members_mut().filter(|(_, row)| self.sessions.contains_key(&row.session)) {
                row.node = node.clone();
                row.revision += 1;
            }
        }
        let rooms: Vec<_> = self.rooms.keys().chain(self.touched.keys()).cloned().collect();
        self.sync_queue.extend(rooms);
    }

    /// Rows of this node in a room may be in the registry that this node no longer has, should the registry have missed
    /// that they went.
    pub(super) fn touched(&mut self, now: Now, room: &RoomName) -> Option<&mut Touched> {
        let known = self.touched.len() < TOUCHED_MAX || self.touched.contains_key(room);
        if !self.config.clustered || !known {
            return None;
        }
        let touched = self.touched.entry(room.clone()).or_default();
        touched.until = now.mono + TOUCHED_REMEMBERED;
        Some(touched)
    }

    /// A change did not reach the registry.
    pub(super) fn mirror_failed(&mut self, now: Now, room: RoomName) {
        self.touched(now, &room);
        // While it is away altogether everything will be put back anyway.
        if self.config.clustered && !self.isolated {
            self.room_deadlines.insert((now.mono + RETRY, room, RoomDeadline::Sync));
        }
    }

    /// What is due of a room.
    pub(super) fn room_due(
        &mut self,
        now: Now,
        room: &RoomName,
        deadline: RoomDeadline,
        effects: &mut Vec<RoomEffect>,
    ) {
        match deadline {
            RoomDeadline::Sync => self.want_sync(room),
            RoomDeadline::Confirm => {
                if let Some(room) = self.rooms.get_mut(room) {
                    room.confirming = true;
                }
                self.want_sync(room);
            }
            RoomDeadline::Unknown => {
                let homes = self.rooms.get(room).into_iter().flat_map(Room::members);
                let unknown = |node: &NodeRef| {
                    *node != self.config.node && !self.live.contains(node) && !self.dead.contains(node)
                };
                let died: BTreeSet<_> =
                    homes.map(|(_, row)| &row.node).filter(|node| unknown(node)).cloned().collect();
                if !self.isolated {
                    self.nodes_died(now, &died, effects);
                } else if !died.is_empty() {
                    let due = now.mono + self.config.lease;
                    self.room_deadlines.insert((due, room.clone(), RoomDeadline::Unknown));
                }
            }
            RoomDeadline::Forget => self.forget_numbers(now, room),
        }
    }

    /// Those who have gone are not counted any more; one who has come back meanwhile is.
    fn forget_numbers(&mut self, now: Now, room: &RoomName) {
        let Some(room) = self.rooms.get_mut(room) else { return };
        let mut gone = room.forget_gone(now.mono);
        gone.retain(|gone| room.members().all(|(_, row)| row.session != *gone));
        for (_, row) in room.members() {
            let Some(session) = self.sessions.get_mut(&row.session) else { continue };
            for gone in &gone {
                session.sent.forget(gone);
                session.heard.forget(gone);
            }
        }
    }

    /// About what the registry's clock says, by what it was last known to say, and the time since. Unit: ms.
    pub(super) fn registry_ms(&self, now: Now) -> Option<u64> {
        let (ms, since) = self.registry_time?;
        let elapsed = now.mono.saturating_sub(since).as_millis();
        Some(ms.saturating_add(elapsed.try_into().unwrap_or(u64::MAX)))
    }

    /// Notes what the registry's clock says. Generations follow it too.
    pub(super) fn note_registry_time(&mut self, now: Now, ms: u64) {
        if self.registry_ms(now).is_none_or(|known| ms > known) {
            self.registry_time = Some((ms, now.mono));
        }
    }
}
