//! One room's shared state, and each of its steps.

use std::{collections::BTreeMap, time::Duration};

use super::{
    AdmissionRequest, Admitted, Change, Generation, RoomLock, RoomPicture, Row, RowUpdate, SyncRequest,
    TakeOver,
};
use crate::protocol::{Code, NodeRef, Refusal, SessionId, UserId, event::Presence};

/// One room's shared state.
///
/// Times are the registry's own clock in milliseconds; it may step back or be somebody else's after a failover.
#[derive(Debug, Default, Clone)]
pub struct RoomRecord {
    rows: BTreeMap<UserId, Row>,
    lock: RoomLock,
    bans: BTreeMap<UserId, u64>,
    last_generation: Generation,
    last_joined_at: u64,
}

impl RoomRecord {
    /// A record of which only a picture is known, such as a node has that is cut off from the registry.
    #[must_use]
    pub fn from_picture(picture: RoomPicture) -> Self {
        let last_joined_at = picture.rows.values().map(|row| row.joined_at).max().unwrap_or(0);
        Self {
            rows: picture.rows,
            lock: picture.lock,
            bans: BTreeMap::new(),
            last_generation: picture.last_generation,
            last_joined_at,
        }
    }

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
        if previous.is_none() && self.lock.locked {
            return Err(Code::RoomLocked.into());
        }
        if previous.is_none() && self.rows.len() >= request.participants_max {
            return Err(Code::RoomFull.into());
        }
        let joined_at = match previous {
            Some(row) => row.joined_at,
            None => {
                // Whatever the clock does, who comes later is never the senior.
                self.last_joined_at = now_ms.max(self.last_joined_at + 1);
                self.last_joined_at
            }
        };
        let row = Row {
            node: request.node,
            session: request.session,
            generation: self.next_generation(now_ms),
            revision: 0,
            username: request.username,
            state: Presence::Present,
            metadata: request.metadata,
            joined_at,
            proof: request.proof,
            until: None,
        };
        let replaced = self.rows.insert(request.user_id, row.clone()).map(|old| old.node);
        Ok(Admitted { row, picture: self.picture(now_ms), replaced })
    }

    /// By the clock, so that it rises also where the registry has forgotten what it gave; by one where the clock does
    /// not.
    fn next_generation(&mut self, now_ms: u64) -> Generation {
        self.last_generation = now_ms.max(self.last_generation + 1);
        self.last_generation
    }

    /// Gives a session a new home, if its row is still as expected.
    ///
    /// # Errors
    /// [`Code::SessionUnknown`]: it is over, or has moved or been replaced meanwhile.
    pub fn take_over(&mut self, now_ms: u64, request: TakeOver) -> Result<Admitted, Refusal> {
        let TakeOver { user_id, row, expected, .. } = request;
        let current = |held: &&Row| held.session == row.session && held.generation == expected;
        let joined_at = self.rows.get(&user_id).filter(current).ok_or(Code::SessionUnknown)?.joined_at;
        let generation = self.next_generation(now_ms);
        let row = Row { generation, revision: 0, joined_at, until: None, ..row };
        let replaced = self.rows.insert(user_id, row.clone()).map(|old| old.node);
        Ok(Admitted { row, picture: self.picture(now_ms), replaced })
    }

    /// Puts back what a node holds and the record lacks, takes away what it no longer has, and goes on with whatever is
    /// left of dead nodes. Twice is harmless.
    pub fn sync(&mut self, now_ms: u64, request: SyncRequest) -> RoomPicture {
        let SyncRequest { node, mine, keep, lock, dead, grace, .. } = request;
        self.reap(now_ms, &dead, grace);
        let held: Vec<SessionId> = mine.iter().map(|(_, row)| row.session).chain(keep).collect();
        // What it no longer has goes first: an admission that was done after the node gave up on it stands in the way of
        // nobody.
        let left = |row: &Row| row.node.is_up_to(&node) && !held.contains(&row.session);
        let removed: Vec<_> = self.rows.extract_if(.., |_, row| left(row)).collect();
        let outdone = |user_id: &UserId, row: &Row| {
            removed.iter().any(|(id, gone)| id == user_id && gone.generation > row.generation)
        };
        let restored = mine.iter().any(|(user_id, _)| !self.rows.contains_key(user_id));
        let mut displaced = Vec::new();
        for (user_id, mut row) in mine {
            if outdone(&user_id, &row) {
                // Others may have seen the one that went; what they see next must be newer.
                row.generation = self.next_generation(now_ms);
            }
            displaced.extend(self.assert(user_id, row).filter(|home| home.id != node.id));
        }
        let removed =
            removed.into_iter().map(|(user_id, row)| (user_id, row.session, row.generation)).collect();
        if !self.rows.is_empty() {
            self.set_lock(lock);
        }
        RoomPicture { displaced, removed, restored, ..self.picture(now_ms) }
    }

    fn set_lock(&mut self, lock: RoomLock) -> bool {
        let newer = lock.version > self.lock.version;
        if newer {
            self.lock = lock;
        }
        newer
    }

    /// The participants of dead nodes are suspect, and gone when their grace is over.
    fn reap(&mut self, now_ms: u64, dead: &[NodeRef], grace: Duration) {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.rows.retain(|_, row| {
            if !dead.iter().any(|dead| row.node.is_up_to(dead)) {
                return true;
            }
            match row.until {
                Some(until) => until > now_ms,
                None => {
                    row.state = Presence::Suspect;
                    row.revision += 1;
                    row.until = Some(now_ms.saturating_add(grace_ms));
                    true
                }
            }
        });
    }

    /// Puts a node's row back, unless somebody newer has its place. Of two that were let in apart from each other under
    /// one generation, the session decides: any order, as long as all nodes see the same.
    /// Returns where the session lived that it has displaced.
    fn assert(&mut self, user_id: UserId, mut row: Row) -> Option<NodeRef> {
        self.last_generation = self.last_generation.max(row.generation);
        self.last_joined_at = self.last_joined_at.max(row.joined_at);
        if let Some(held) = self.rows.get(&user_id) {
            if (held.generation, held.session) > (row.generation, row.session) {
                return None;
            }
            if held.session == row.session && held.generation == row.generation && held.until.is_some() {
                // The others have seen it as suspect; what they see next must be newer.
                row.revision = row.revision.max(held.revision + 1);
            }
        }
        row.until = None;
        let session = row.session;
        self.rows.insert(user_id, row).filter(|old| old.session != session).map(|old| old.node)
    }

    /// Takes a change. Says whether it applied: one by a writer that is out of date does not (C-2), and one that
    /// comes twice is harmless.
    pub fn apply(&mut self, now_ms: u64, change: Change) -> bool {
        match change {
            Change::Update(update) => self.update(update),
            Change::TakeBack { user_id, session, .. } => {
                self.remove_if(&user_id, |row| row.session == session)
            }
            Change::Withdraw { user_id, session, generation, .. } => {
                self.remove_if(&user_id, |row| row.session == session && row.generation == generation)
            }
            Change::SetLocked { lock, .. } => self.set_lock(lock),
            Change::Ban { user_id, duration, .. } => {
                let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
                self.bans.insert(user_id, now_ms.saturating_add(duration_ms));
                true
            }
        }
    }

    /// A row whose node was found dead is not its node's any more, until that one has put it back (C-3).
    fn update(&mut self, update: RowUpdate) -> bool {
        match self.rows.get_mut(&update.user_id) {
            Some(row)
                if row.generation == update.generation
                    && row.revision < update.revision
                    && row.until.is_none() =>
            {
                row.state = update.state;
                row.metadata = update.metadata;
                row.revision = update.revision;
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

    /// The room as it stands.
    #[must_use]
    pub fn picture(&self, now_ms: u64) -> RoomPicture {
        let first = self.rows.values().filter_map(|row| row.until).min();
        RoomPicture {
            rows: self.rows.clone(),
            lock: self.lock,
            last_generation: self.last_generation,
            due_in: first.map(|until| Duration::from_millis(until.saturating_sub(now_ms))),
            displaced: Vec::new(),
            removed: Vec::new(),
            restored: false,
        }
    }

    /// A participant's row.
    #[must_use]
    pub fn row(&self, user_id: &UserId) -> Option<&Row> {
        self.rows.get(user_id)
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
