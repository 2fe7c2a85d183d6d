//! A model of Redis: rooms as [`RoomRecord`]s, leases, epoch, indexes and claims, each script one step, by a clock of its own.
//!
//! It forgets on request: everything, or what was written lately. Whether it can be reached is the world's business.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use greenroom::{
    domain::{
        cluster::{Beat, IndexEntry, Mine, Peer, Renewal},
        membership::{
            AdmissionRequest, Admitted, Change, RoomPicture, RoomRecord, Row, RowUpdate, SyncRequest,
            TakeOver,
        },
    },
    protocol::{NodeId, NodeRef, Refusal, RoomName, SessionId, UserId},
};

use crate::checker::{RowTruth, Truth};

/// One script or command.
#[derive(Debug, Clone)]
pub enum Op {
    Admit(Box<AdmissionRequest>),
    Apply(Change),
    Sync(Box<SyncRequest>),
    Find(RoomName, UserId),
    TakeOver(Box<TakeOver>),
    Beat {
        node: NodeRef,
        renewal: Renewal,
        lease: Duration,
    },
    RemoveLease(NodeRef),
    Claim {
        dead: NodeRef,
        by: NodeRef,
        term: Duration,
    },
    ReadIndex(NodeId),
    AddIndex(Vec<IndexEntry>),
    RemoveIndex(NodeId, Vec<SessionId>),
    /// It does nothing from then on; 0: whenever it comes. Unit: ms of the store's clock.
    Until(u64, Box<Op>),
}

/// What it answers.
#[derive(Debug, Clone)]
pub enum Answer {
    Admitted(Result<Box<Admitted>, Refusal>),
    Picture(RoomPicture),
    Row(Option<Box<Row>>),
    Beat(Beat),
    Claimed(bool),
    Entries(Vec<IndexEntry>),
    Done,
    /// It came when the lease of its caller was over, and has done nothing.
    Late,
}

/// What a rule is taken away from, to see whether the checker notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sabotage {
    /// Nothing.
    #[default]
    None,
    /// A change applies whatever generation the row has.
    NoGenerations,
    /// What is lost between nodes is never missed.
    NoGaps,
    /// Nobody can tell that the registry has forgotten something.
    NoEpoch,
}

/// Everything that is stored.
#[derive(Debug, Clone, Default)]
struct Data {
    rooms: BTreeMap<RoomName, RoomRecord>,
    leases: BTreeMap<NodeRef, u64>,
    epoch: Option<String>,
    index: BTreeMap<NodeId, BTreeMap<SessionId, IndexEntry>>,
    claims: BTreeMap<NodeId, (NodeRef, u64)>,
}

/// The model.
pub struct Store {
    data: Data,
    /// What a replica has that lags behind.
    replica: Data,
    epochs: u64,
    sabotage: Sabotage,
    /// The end of each lease as its node last wrote it.
    written: BTreeMap<NodeRef, u64>,
}

impl Store {
    pub fn new(sabotage: Sabotage) -> Self {
        Self {
            data: Data::default(),
            replica: Data::default(),
            epochs: 0,
            sabotage,
            written: BTreeMap::new(),
        }
    }

    /// Runs one script.
    pub fn run(&mut self, now_ms: u64, op: Op) -> Answer {
        match op {
            Op::Until(ends_ms, _) if ends_ms > 0 && ends_ms <= now_ms => Answer::Late,
            Op::Until(_, op) => self.run(now_ms, *op),
            Op::Admit(request) => {
                let room = request.room.clone();
                Answer::Admitted(self.room(&room, |record| record.admit(now_ms, *request)).map(Box::new))
            }
            Op::Apply(change) => {
                self.apply(now_ms, change);
                Answer::Done
            }
            Op::Sync(request) => {
                let room = request.room.clone();
                Answer::Picture(self.room(&room, |record| record.sync(now_ms, *request)))
            }
            Op::Find(room, user) => {
                let row = self.data.rooms.get(&room).and_then(|record| record.row(&user));
                Answer::Row(row.cloned().map(Box::new))
            }
            Op::TakeOver(request) => {
                let room = request.room.clone();
                Answer::Admitted(self.room(&room, |record| record.take_over(now_ms, *request)).map(Box::new))
            }
            Op::Beat { node, renewal, lease } => Answer::Beat(self.beat(now_ms, &node, renewal, lease)),
            Op::RemoveLease(node) => {
                self.data.leases.remove(&node);
                Answer::Done
            }
            Op::Claim { dead, by, term } => Answer::Claimed(self.claim(now_ms, dead, by, term)),
            Op::ReadIndex(node) => {
                let entries = self.data.index.get(&node).into_iter().flat_map(BTreeMap::values);
                Answer::Entries(entries.cloned().collect())
            }
            Op::AddIndex(entries) => {
                for entry in entries {
                    let index = self.data.index.entry(entry.node.id.clone()).or_default();
                    index.insert(entry.session, entry);
                }
                Answer::Done
            }
            Op::RemoveIndex(node, sessions) => {
                if let Some(index) = self.data.index.get_mut(&node) {
                    index.retain(|session, _| !sessions.contains(session));
                }
                Answer::Done
            }
        }
    }

    /// Does something with a room's record, and forgets one that is empty then.
    fn room<T>(&mut self, room: &RoomName, act: impl FnOnce(&mut RoomRecord) -> T) -> T {
        let record = self.data.rooms.entry(room.clone()).or_default();
        let done = act(record);
        if record.is_empty() {
            self.data.rooms.remove(room);
        }
        done
    }

    fn apply(&mut self, now_ms: u64, change: Change) {
        let room = change.room().clone();
        let change = match self.sabotage {
            Sabotage::NoGenerations => self.without_generations(change),
            _ => change,
        };
        self.room(&room, |record| record.apply(now_ms, change));
    }

    /// The change as if it were of the row that is there.
    fn without_generations(&self, change: Change) -> Change {
        let row =
            |room: &RoomName, user: &UserId| self.data.rooms.get(room).and_then(|record| record.row(user));
        match change {
            Change::Withdraw { room, user_id, session, generation } => {
                let (session, generation) =
                    row(&room, &user_id).map_or((session, generation), |row| (row.session, row.generation));
                Change::Withdraw { room, user_id, session, generation }
            }
            Change::Update(update) => match row(&update.room, &update.user_id) {
                Some(row) => {
                    let (generation, revision) = (row.generation, row.revision + 1);
                    Change::Update(RowUpdate { generation, revision, ..update })
                }
                None => Change::Update(update),
            },
            other => other,
        }
    }

    fn beat(&mut self, now_ms: u64, node: &NodeRef, renewal: Renewal, lease: Duration) -> Beat {
        let lease_ms = u64::try_from(lease.as_millis()).expect("short");
        let held = self.data.leases.get(node).copied();
        let mut mine = match held {
            None => Mine::Absent,
            Some(end) if end <= now_ms => Mine::RunOut,
            Some(end) => Mine::Until(end),
        };
        if self.sabotage == Sabotage::NoEpoch
            && let Some(written) = self.written.get(node).filter(|end| **end > now_ms)
        {
            mine = Mine::Until(*written);
        }
        let renews = match renewal {
            Renewal::Look => false,
            Renewal::First => true,
            Renewal::Again => matches!(mine, Mine::Until(_)),
        };
        if renews {
            self.data.leases.insert(node.clone(), now_ms + lease_ms);
            self.written.insert(node.clone(), now_ms + lease_ms);
        }
        let epoch = self.epoch();
        let others = self.data.leases.iter().filter(|(other, _)| *other != node);
        let peer = |(other, end): (&NodeRef, &u64)| Peer {
            node: other.clone(),
            ends_ms: *end,
            left: Duration::from_millis(end.saturating_sub(now_ms)),
        };
        let peers = others.map(peer).collect();
        Beat { mine, ends_ms: self.data.leases.get(node).copied().unwrap_or(0), peers, epoch }
    }

    fn epoch(&mut self) -> String {
        if self.sabotage == Sabotage::NoEpoch {
            return "always".to_owned();
        }
        let epochs = &mut self.epochs;
        let fresh = || {
            *epochs += 1;
            format!("epoch-{epochs}")
        };
        self.data.epoch.get_or_insert_with(fresh).clone()
    }

    fn claim(&mut self, now_ms: u64, dead: NodeRef, by: NodeRef, term: Duration) -> bool {
        let term_ms = u64::try_from(term.as_millis()).expect("short");
        let free = |(holder, until): &(NodeRef, u64)| *holder == by || *until <= now_ms;
        let taken = self.data.claims.get(&dead.id).is_none_or(free);
        if taken {
            self.data.claims.insert(dead.id, (by, now_ms + term_ms));
        }
        taken
    }

    /// The replica has everything now.
    pub fn replicate(&mut self) {
        self.replica = self.data.clone();
    }

    /// The replica takes over: what was written since is lost.
    pub fn fail_over(&mut self) {
        self.data = self.replica.clone();
    }

    /// Everything is lost.
    pub fn wipe(&mut self) {
        self.data = Data::default();
    }

    /// How it stands, for the checker.
    pub fn describe(&self, truth: &mut Truth) {
        for (room, record) in &self.data.rooms {
            let picture = record.picture(0);
            if picture.lock.locked {
                truth.locked.insert(room.to_string());
            }
            truth.rows.extend(picture.rows.iter().map(|(user, row)| row_truth(room, user, row)));
        }
        truth.leases = self.data.leases.keys().map(ToString::to_string).collect();
        let indexed = self.data.index.iter().filter(|(_, entries)| !entries.is_empty());
        truth.indexed = indexed.map(|(node, _)| node.to_string()).collect::<BTreeSet<_>>();
    }
}

fn row_truth(room: &RoomName, user: &UserId, row: &Row) -> RowTruth {
    let json = serde_json::to_value(row).expect("a row is JSON");
    let text = |field: &str| json[field].as_str().unwrap_or_default().to_owned();
    RowTruth {
        room: room.to_string(),
        user: user.to_string(),
        session: row.session.to_string(),
        node: row.node.to_string(),
        username: text("username"),
        state: text("state"),
        metadata: json["metadata"].clone(),
        joined_at: row.joined_at,
    }
}
