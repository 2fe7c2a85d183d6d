//! One room: its members, wherever their sessions are, its lock, and who moderates it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    domain::membership::{Generation, RoomLock, RoomPicture, Row},
    protocol::{
        NodeRef, RoomName, SessionId, UserId,
        cluster::Departure,
        event::{Body, LeaveReason, ParticipantView, PeerEvent, Role},
    },
};

/// A room with somebody of this node in it.
#[derive(Debug)]
pub struct Room {
    members: BTreeMap<UserId, Row>,
    /// Whether nobody new is admitted.
    pub lock: RoomLock,
    /// Whether somebody records it.
    pub recording: bool,
    /// Whether this node's members are to be told to the other nodes once they are in the registry again.
    pub reassert: bool,
    /// Whether it is only compared once more.
    pub confirming: bool,
    /// Nodes of which something may have been missed: whoever of theirs is not in the registry has gone.
    pub doubted: BTreeSet<NodeRef>,
    /// Sessions of living nodes that were not in a picture, and since when: after a while that is no accident.
    pub missing: BTreeMap<SessionId, Duration>,
    /// The highest generation that a picture has shown: whoever has a lower one and was not in it is gone.
    pub floor: Generation,
    /// Sessions that have gone, and until when that is remembered: news and pictures overtake each other.
    gone: BTreeMap<SessionId, (Departure, Duration)>,
}

impl Room {
    /// A room that is about to get its first member of this node.
    #[must_use]
    pub fn new(lock: RoomLock) -> Self {
        Self {
            members: BTreeMap::new(),
            lock,
            recording: false,
            reassert: false,
            confirming: false,
            doubted: BTreeSet::new(),
            missing: BTreeMap::new(),
            floor: 0,
            gone: BTreeMap::new(),
        }
    }

    /// Everyone in it, the longest present first, with their roles.
    #[must_use]
    pub fn roster(&self) -> Vec<(&UserId, &Row, Role)> {
        let moderator = self.moderator();
        let role = |id| if moderator == Some(id) { Role::Moderator } else { Role::Participant };
        let mut roster: Vec<_> = self.members.iter().map(|(id, member)| (id, member, role(id))).collect();
        roster.sort_by_key(|(_, row, _)| row.seniority());
        roster
    }

    /// How many are in.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a room with nobody in it does not exist")]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// A participant.
    #[must_use]
    pub fn member(&self, user_id: &UserId) -> Option<&Row> {
        self.members.get(user_id)
    }

    /// A participant, to be changed.
    pub fn member_mut(&mut self, user_id: &UserId) -> Option<&mut Row> {
        self.members.get_mut(user_id)
    }

    /// Puts a participant in; returns the one of the same name that it replaces.
    pub fn put(&mut self, user_id: UserId, row: Row) -> Option<Row> {
        self.members.insert(user_id, row)
    }

    /// Takes a participant out, and remembers until then that its session is gone.
    pub fn remove(&mut self, user_id: &UserId, departure: Departure, until: Duration) {
        self.members.remove(user_id);
        self.gone.insert(departure.session, (departure, until));
    }

    /// How this session was seen to go, if it was.
    #[must_use]
    pub fn has_gone(&self, row: &Row) -> Option<LeaveReason> {
        let (departure, _) = self.gone.get(&row.session)?;
        (row.generation <= departure.generation).then_some(departure.reason)
    }

    /// Forgets that a session has gone: that was a conclusion, not its node's word.
    pub fn forgive(&mut self, session: &SessionId) {
        self.gone.remove(session);
    }

    /// Forgets who has gone long ago; returns their sessions.
    pub fn forget_gone(&mut self, now: Duration) -> Vec<SessionId> {
        self.gone.extract_if(.., |_, (_, until)| *until <= now).map(|(session, _)| session).collect()
    }

    /// Everyone, in order of name.
    pub fn members(&self) -> impl Iterator<Item = (&UserId, &Row)> {
        self.members.iter()
    }

    /// Everyone, to be changed.
    pub fn members_mut(&mut self) -> impl Iterator<Item = (&UserId, &mut Row)> {
        self.members.iter_mut()
    }

    /// Other nodes that have somebody in the room.
    pub fn other_nodes(&self, own: &NodeRef) -> Vec<NodeRef> {
        let mut nodes: Vec<_> =
            self.members.values().map(|row| &row.node).filter(|node| *node != own).cloned().collect();
        nodes.sort();
        nodes.dedup();
        nodes
    }

    /// The room as far as it is known here.
    #[must_use]
    pub fn picture(&self) -> RoomPicture {
        let highest = self.members.values().map(|row| row.generation).max().unwrap_or(0);
        RoomPicture {
            rows: self.members.clone(),
            lock: self.lock,
            last_generation: highest.max(self.floor),
            ..RoomPicture::default()
        }
    }

    /// The longest present. Without tokens that say otherwise, it moderates.
    #[must_use]
    pub fn moderator(&self) -> Option<&UserId> {
        self.members.iter().min_by_key(|(_, row)| row.seniority()).map(|(id, _)| id)
    }

    /// What a participant may do.
    #[must_use]
    pub fn role(&self, user_id: &UserId) -> Role {
        if self.moderator() == Some(user_id) { Role::Moderator } else { Role::Participant }
    }

    /// Everyone but `except`, the longest present first.
    #[must_use]
    pub fn views_except(&self, except: Option<&UserId>) -> Vec<ParticipantView<'_>> {
        let others = self.roster().into_iter().filter(|(id, ..)| Some(*id) != except);
        others.map(|(id, member, role)| member.view(id, role)).collect()
    }

    /// The sessions of everyone but `except`.
    #[must_use]
    pub fn sessions_except(&self, except: Option<&UserId>) -> Vec<SessionId> {
        let others = self.members.iter().filter(|(id, _)| Some(*id) != except);
        others.map(|(_, row)| row.session).collect()
    }

    /// `UserUpdated` for one participant as it now stands.
    #[must_use]
    pub fn updated(&self, name: &RoomName, user_id: &UserId) -> Option<Body> {
        let user = self.member(user_id)?.view(user_id, self.role(user_id));
        Some(Body::of(&PeerEvent::UserUpdated { room_name: name, user }))
    }

    /// `UserJoined` for one participant.
    #[must_use]
    pub fn joined(&self, name: &RoomName, user_id: &UserId) -> Option<Body> {
        let user = self.member(user_id)?.view(user_id, self.role(user_id));
        Some(Body::of(&PeerEvent::UserJoined { room_name: name, user }))
    }

    /// `RoomState` as it now stands.
    #[must_use]
    pub fn state(&self, name: &RoomName) -> Body {
        let (locked, recording) = (self.lock.locked, self.recording);
        Body::of(&PeerEvent::RoomState { room_name: name, locked, recording })
    }
}

impl Row {
    /// Lower is longer present.
    #[must_use]
    pub fn seniority(&self) -> (u64, SessionId) {
        // The session decides only between two who were let in apart from each other.
        (self.joined_at, self.session)
    }

    /// As browsers see it.
    #[must_use]
    pub fn view<'a>(&'a self, user_id: &'a UserId, role: Role) -> ParticipantView<'a> {
        ParticipantView {
            user_id,
            username: &self.username,
            role,
            state: self.state,
            metadata: &self.metadata,
        }
    }

    /// Whether browsers would see a difference, roles apart.
    #[must_use]
    pub fn looks_like(&self, other: &Self) -> bool {
        (&self.username, &self.metadata, self.state) == (&other.username, &other.metadata, other.state)
    }
}
