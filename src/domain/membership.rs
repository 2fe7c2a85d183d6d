//! Who is admitted to a room: the rules that hold across nodes, as one step.
//!
//! This is the meaning of the registry's admission script: bans → lock → cap → put the row, replacing an older
//! generation of the same participant. The in-memory registry runs this type as it is; a registry on Redis runs the
//! same steps as one script and is held to it by the same tests. It knows nothing of sockets or sessions' rings: that
//! is [`super::rooms`].

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::protocol::{
    Code, NodeRef, Refusal, RoomName, SessionId, UserId, command::Username, event::Presence,
    metadata::Metadata,
};

/// Outdates earlier holders of the same participant: a higher number is the newer one. Unique in its room.
pub type Generation = u64;

/// What is mirrored of one participant (`rooms:{<room>}:participants`).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Which life of which node holds the session (C-1).
    #[serde(flatten)]
    pub node: NodeRef,
    /// The session.
    pub session: SessionId,
    /// Given at admission.
    #[serde(rename = "gen")]
    pub generation: Generation,
    /// For people to read.
    pub username: Username,
    /// Whether it has a socket.
    pub state: Presence,
    /// What it says of itself.
    pub metadata: Metadata,
    /// First admission of this participant; a replaced one keeps it, and with it its seniority. Unit: ms, Unix time.
    pub joined_at: u64,
}

/// Somebody wants in.
#[derive(Debug, Clone)]
pub struct AdmissionRequest {
    /// The room.
    pub room: RoomName,
    /// The participant.
    pub user_id: UserId,
    /// Its new session and where that lives.
    pub node: NodeRef,
    /// The session.
    pub session: SessionId,
    /// For people to read.
    pub username: Username,
    /// What it says of itself.
    pub metadata: Metadata,
    /// Most participants the room may have.
    pub participants_max: usize,
}

/// Somebody is in.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// The row as it now stands.
    pub row: Row,
    /// Whether the room admits nobody new.
    pub locked: bool,
}

/// A change of one participant's row, valid only while the row is still of that generation (C-2).
#[derive(Debug, Clone)]
pub struct RowUpdate {
    /// The room.
    pub room: RoomName,
    /// The participant.
    pub user_id: UserId,
    /// What the writer holds; another one in the row means that the writer is out of date.
    pub generation: Generation,
    /// New presence.
    pub state: Presence,
    /// New metadata.
    pub metadata: Metadata,
}

/// A change to what a room shares, mirrored in the order in which it was made.
#[derive(Debug, Clone)]
pub enum Change {
    /// A participant's row has changed.
    Update(RowUpdate),
    /// Whatever an admission that was never answered may have put there.
    TakeBack {
        /// The room.
        room: RoomName,
        /// The participant.
        user_id: UserId,
        /// The session that was to be admitted.
        session: SessionId,
    },
    /// A participant is gone.
    Withdraw {
        /// The room.
        room: RoomName,
        /// The participant.
        user_id: UserId,
        /// What the writer holds.
        generation: Generation,
    },
    /// The room admits nobody new, or somebody again.
    SetLocked {
        /// The room.
        room: RoomName,
        /// The new state.
        locked: bool,
    },
    /// A participant was removed and is kept out for a while.
    Ban {
        /// The room.
        room: RoomName,
        /// The participant.
        user_id: UserId,
        /// For how long, from when the registry takes the change (C-4: by its clock).
        duration: Duration,
    },
}

impl Change {
    /// The room it is about.
    #[must_use]
    pub fn room(&self) -> &RoomName {
        match self {
            Self::Update(update) => &update.room,
            Self::TakeBack { room, .. }
            | Self::Withdraw { room, .. }
            | Self::SetLocked { room, .. }
            | Self::Ban { room, .. } => room,
        }
    }
}

/// One room's shared state.
#[derive(Debug, Default)]
pub struct RoomRecord {
    rows: BTreeMap<UserId, Row>,
    locked: bool,
    bans: BTreeMap<UserId, u64>,
    last_generation: Generation,
    last_joined_at: u64,
}

impl RoomRecord {
    /// Admits or refuses, in one step. A refusal changes nothing.
    ///
    /// # Errors
    /// [`Code::Banned`], [`Code::RoomLocked`], [`Code::RoomFull`]. The last two let somebody who is in already
    /// replace its own session.
    pub fn admit(&mut self, now_ms: u64, request: AdmissionRequest) -> Result<Admitted, Refusal> {
        self.bans.retain(|_, until| *until > now_ms);
        if self.bans.contains_key(&request.user_id) {
            return Err(Code::Banned.into());
        }
        let previous = self.rows.get(&request.user_id);
        if previous.is_none() && self.locked {
            return Err(Code::RoomLocked.into());
        }
        if previous.is_none() && self.rows.len() >= request.participants_max {
            return Err(Code::RoomFull.into());
        }
        // Whatever the clock does, who comes later is never the senior.
        self.last_joined_at = self.last_joined_at.max(now_ms);
        let joined_at = previous.map_or(self.last_joined_at, |row| row.joined_at);
        self.last_generation += 1;
        let row = Row {
            node: request.node,
            session: request.session,
            generation: self.last_generation,
            username: request.username,
            state: Presence::Present,
            metadata: request.metadata,
            joined_at,
        };
        self.rows.insert(request.user_id, row.clone());
        Ok(Admitted { row, locked: self.locked })
    }

    /// Takes a change. Says whether it applied: one by a writer that is out of date does not (C-2), and one that
    /// comes twice is harmless.
    pub fn apply(&mut self, now_ms: u64, change: Change) -> bool {
        match change {
            Change::Update(update) => self.update(update),
            Change::TakeBack { user_id, session, .. } => {
                self.remove_if(&user_id, |row| row.session == session)
            }
            Change::Withdraw { user_id, generation, .. } => {
                self.remove_if(&user_id, |row| row.generation == generation)
            }
            Change::SetLocked { locked, .. } => std::mem::replace(&mut self.locked, locked) != locked,
            Change::Ban { user_id, duration, .. } => {
                let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
                self.bans.insert(user_id, now_ms.saturating_add(duration_ms));
                true
            }
        }
    }

    fn update(&mut self, update: RowUpdate) -> bool {
        match self.rows.get_mut(&update.user_id) {
            Some(row) if row.generation == update.generation => {
                row.state = update.state;
                row.metadata = update.metadata;
                true
            }
            _ => false,
        }
    }

    fn remove_if(&mut self, user_id: &UserId, current: impl FnOnce(&Row) -> bool) -> bool {
        let is_current = self.rows.get(user_id).is_some_and(current);
        if is_current {
            self.rows.remove(user_id);
        }
        is_current
    }

    /// Who is in.
    pub fn user_ids(&self) -> impl Iterator<Item = &UserId> {
        self.rows.keys()
    }

    /// Whether nobody is in; such a room is forgotten, with its lock and its bans.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Incarnation, NodeId};

    fn request(user: &str, session: u128, participants_max: usize) -> AdmissionRequest {
        let user_id = UserId::parse(user).expect("valid");
        AdmissionRequest {
            room: RoomName::parse("blue").expect("valid"),
            node: NodeRef { id: NodeId::parse("n1").expect("valid"), incarnation: Incarnation(1) },
            session: SessionId::new(uuid::Uuid::from_u128(session)),
            username: Username::from(&user_id),
            metadata: Metadata::default(),
            participants_max,
            user_id,
        }
    }

    fn code(outcome: Result<Admitted, Refusal>) -> Code {
        outcome.expect_err("refused").code
    }

    #[test]
    fn the_cap_holds_but_one_may_replace_oneself() {
        let mut room = RoomRecord::default();
        let first = room.admit(5, request("ada", 1, 1)).expect("first");
        assert_eq!(code(room.admit(6, request("bob", 2, 1))), Code::RoomFull);
        let again = room.admit(7, request("ada", 3, 1)).expect("replaces");
        assert_eq!(again.row.joined_at, 5, "seniority stays");
        assert!(again.row.generation > first.row.generation);
    }

    fn lock(record: &mut RoomRecord, locked: bool) {
        let room = RoomName::parse("blue").expect("valid");
        assert!(record.apply(0, Change::SetLocked { room, locked }));
    }

    #[test]
    fn a_lock_keeps_out_the_new_only() {
        let mut room = RoomRecord::default();
        room.admit(0, request("ada", 1, 9)).expect("first");
        lock(&mut room, true);
        assert_eq!(code(room.admit(0, request("bob", 2, 9))), Code::RoomLocked);
        assert!(room.admit(0, request("ada", 3, 9)).is_ok());
        lock(&mut room, false);
        assert!(room.admit(0, request("bob", 4, 9)).is_ok());
    }

    #[test]
    fn a_row_is_mirrored_under_the_names_that_others_read() {
        let row = RoomRecord::default().admit(5, request("ada", 1, 9)).expect("first").row;
        let expected = serde_json::json!({
            "node": "n1", "inc": 1, "session": "00000000-0000-0000-0000-000000000001", "gen": 1,
            "username": "ada", "state": "present", "metadata": {}, "joined_at": 5,
        });
        assert_eq!(serde_json::to_value(row).expect("JSON"), expected);
    }

    #[test]
    fn a_clock_that_steps_back_makes_no_newcomer_senior() {
        let mut room = RoomRecord::default();
        let first = room.admit(9000, request("ada", 1, 9)).expect("first").row;
        let second = room.admit(10, request("bob", 2, 9)).expect("second").row;
        assert!((first.joined_at, first.generation) < (second.joined_at, second.generation));
    }

    #[test]
    fn what_was_never_answered_can_be_taken_back() {
        let mut room = RoomRecord::default();
        let row = room.admit(0, request("ada", 1, 9)).expect("first").row;
        let (name, user_id) = (RoomName::parse("blue").expect("valid"), UserId::parse("ada").expect("valid"));
        let take_back = |session| Change::TakeBack { room: name.clone(), user_id: user_id.clone(), session };
        assert!(
            !room.apply(0, take_back(SessionId::new(uuid::Uuid::from_u128(9)))),
            "another's admission stays"
        );
        assert!(room.apply(0, take_back(row.session)));
        assert!(room.is_empty());
    }

    #[test]
    fn a_ban_runs_out() {
        let mut room = RoomRecord::default();
        let (name, user_id) = (RoomName::parse("blue").expect("valid"), UserId::parse("bob").expect("valid"));
        room.apply(0, Change::Ban { room: name, user_id, duration: Duration::from_secs(1) });
        assert_eq!(code(room.admit(999, request("bob", 1, 9))), Code::Banned);
        assert!(room.admit(1000, request("bob", 2, 9)).is_ok());
    }

    #[test]
    fn a_late_write_or_delete_never_touches_a_successor() {
        let mut room = RoomRecord::default();
        let user = UserId::parse("ada").expect("valid");
        let old = room.admit(0, request("ada", 1, 9)).expect("first").row.generation;
        let new = room.admit(0, request("ada", 2, 9)).expect("second").row.generation;
        let withdraw = |generation| Change::Withdraw {
            room: RoomName::parse("blue").expect("valid"),
            user_id: user.clone(),
            generation,
        };
        assert!(!room.apply(0, withdraw(old)));
        let update = |generation| RowUpdate {
            room: RoomName::parse("blue").expect("valid"),
            user_id: user.clone(),
            generation,
            state: Presence::Suspect,
            metadata: Metadata::default(),
        };
        assert!(!room.update(update(old)));
        assert!(room.update(update(new)));
        assert!(room.apply(0, withdraw(new)));
        assert!(!room.apply(0, withdraw(new)), "twice is harmless");
        assert!(room.is_empty());
    }
}
