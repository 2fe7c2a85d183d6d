//! One room: its members, its lock, and who moderates it.

use std::collections::BTreeMap;

use crate::{
    domain::membership::Generation,
    protocol::{
        RoomName, SessionId, UserId,
        command::Username,
        event::{Body, ParticipantView, PeerEvent, Presence, Role},
        metadata::Metadata,
    },
};

/// A room with somebody in it.
#[derive(Debug)]
pub struct Room {
    members: BTreeMap<UserId, Member>,
    /// Whether nobody new is admitted.
    pub locked: bool,
    /// Whether somebody records it.
    pub recording: bool,
}

/// A participant.
#[derive(Debug)]
pub struct Member {
    /// Its session.
    pub session: SessionId,
    /// Given at admission; guards its row.
    pub generation: Generation,
    /// For people to read.
    pub username: Username,
    /// What it says of itself.
    pub metadata: Metadata,
    /// Whether it can be reached.
    pub state: Presence,
    /// First admission, by the registry's clock. Unit: ms, Unix time.
    pub joined_at: u64,
    /// Of those who came in the same millisecond, the lower came first.
    pub first_generation: Generation,
}

impl Room {
    /// A room that is about to get its first member.
    #[must_use]
    pub fn new(locked: bool) -> Self {
        Self { members: BTreeMap::new(), locked, recording: false }
    }

    /// Everyone in it, the longest present first, with their roles.
    #[must_use]
    pub fn roster(&self) -> Vec<(&UserId, &Member, Role)> {
        let moderator = self.moderator();
        let role = |id| if moderator == Some(id) { Role::Moderator } else { Role::Participant };
        let mut roster: Vec<_> = self.members.iter().map(|(id, member)| (id, member, role(id))).collect();
        roster.sort_by_key(|(_, member, _)| member.seniority());
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
    pub fn member(&self, user_id: &UserId) -> Option<&Member> {
        self.members.get(user_id)
    }

    /// A participant, to be changed.
    pub fn member_mut(&mut self, user_id: &UserId) -> Option<&mut Member> {
        self.members.get_mut(user_id)
    }

    /// Puts a participant in; returns the one of the same name that it replaces.
    pub fn put(&mut self, user_id: UserId, member: Member) -> Option<Member> {
        self.members.insert(user_id, member)
    }

    /// Takes a participant out.
    pub fn remove(&mut self, user_id: &UserId) -> Option<Member> {
        self.members.remove(user_id)
    }

    /// The longest present. Without tokens that say otherwise, it moderates.
    #[must_use]
    pub fn moderator(&self) -> Option<&UserId> {
        self.members.iter().min_by_key(|(_, member)| member.seniority()).map(|(id, _)| id)
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
        others.map(|(_, member)| member.session).collect()
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
        let (locked, recording) = (self.locked, self.recording);
        Body::of(&PeerEvent::RoomState { room_name: name, locked, recording })
    }
}

impl Member {
    fn seniority(&self) -> (u64, Generation) {
        (self.joined_at, self.first_generation)
    }

    fn view<'a>(&'a self, user_id: &'a UserId, role: Role) -> ParticipantView<'a> {
        ParticipantView {
            user_id,
            username: &self.username,
            role,
            state: self.state,
            metadata: &self.metadata,
        }
    }
}
