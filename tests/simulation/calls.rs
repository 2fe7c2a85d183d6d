//! What a node asks of the store, as the adapter does it: steps one after the other, calls on one room in the order in
//! which they were made, a time limit, and no write once the lease may be over (C-3).

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use greenroom::{
    domain::{
        cluster::{ClusterInput, IndexEntry, Renewal, reaper::RoomReaped},
        membership::Change,
        rooms::{RoomInput, Ticket},
    },
    protocol::{NodeId, NodeRef, RoomName, SessionId, limits},
};

use crate::{
    node::Act,
    store::{Answer, Op},
};

/// Longest that a call may take.
pub const CALL_TIMEOUT: Duration = Duration::from_millis(800);

/// Who waits for a call's answer.
#[derive(Debug, Clone)]
pub enum Purpose {
    Admit(Ticket),
    Mirror(RoomName),
    Sync(Ticket),
    Find(Ticket),
    TakeOver(Ticket),
    Beat { asked: Duration },
    Claim(NodeRef),
    Index(NodeRef),
    Reap(NodeRef, RoomName),
    Unindex(NodeRef),
    RemoveLease(NodeRef),
}

/// What the answer is told to.
#[allow(clippy::large_enum_variant, reason = "few at a time, and short-lived")]
pub enum Reply {
    Rooms(RoomInput),
    Cluster(ClusterInput),
}

struct Call {
    purpose: Purpose,
    room: Option<RoomName>,
    steps: VecDeque<Op>,
    /// That of the step that matters.
    answer: Option<Answer>,
}

/// The calls of one process.
pub struct Calls {
    own: NodeId,
    next: u64,
    open: BTreeMap<u64, Call>,
    /// Calls on each room, the first of which is under way.
    rooms: BTreeMap<RoomName, VecDeque<u64>>,
    write_until: Option<Duration>,
    /// When the lease ends by the store's clock; 0: there was none.
    ends_ms: u64,
    lease: Duration,
}

impl Calls {
    pub fn new(own: NodeId, lease: Duration) -> Self {
        let (open, rooms) = (BTreeMap::new(), BTreeMap::new());
        Self { own, next: 0, open, rooms, write_until: None, ends_ms: 0, lease }
    }

    pub fn may_write_until(&mut self, until: Duration) {
        self.write_until = Some(until);
    }

    pub fn beat(&self, now: Duration, node: NodeRef, renewal: Renewal) -> (Purpose, Op) {
        (Purpose::Beat { asked: now }, Op::Beat { node, renewal, lease: self.lease })
    }

    pub fn claim(&self, by: NodeRef, dead: NodeRef) -> (Purpose, Op) {
        (Purpose::Claim(dead.clone()), Op::Claim { dead, by, term: limits::REAPER_TERM })
    }

    /// Makes a call, or queues it behind those on the same room.
    pub fn ask(&mut self, now: Duration, purpose: Purpose, op: Op, acts: &mut Vec<Act>) -> Vec<Reply> {
        let id = self.next;
        self.next += 1;
        let room = room_of(&op);
        self.open.insert(id, Call { purpose, room: room.clone(), steps: self.steps(op), answer: None });
        if let Some(room) = room {
            let queue = self.rooms.entry(room).or_default();
            queue.push_back(id);
            if queue.len() > 1 {
                return Vec::new();
            }
        }
        self.begin(now, id, acts)
    }

    /// A step was answered.
    pub fn answered(
        &mut self,
        now: Duration,
        id: u64,
        answer: Option<Answer>,
        acts: &mut Vec<Act>,
    ) -> Vec<Reply> {
        if let Some(Answer::Beat(beat)) = &answer {
            self.ends_ms = self.ends_ms.max(beat.ends_ms);
        }
        let Some(call) = self.open.get_mut(&id) else { return Vec::new() };
        let Some(answer) = answer.filter(|answer| !matches!(answer, Answer::Late)) else {
            return self.end(now, id, false, acts);
        };
        let done = call.steps.pop_front();
        if let (Some(op), Answer::Admitted(Err(_))) = (done, &answer) {
            call.steps.extend(forget(&self.own, asked_for(&op)));
        }
        if !matches!(answer, Answer::Done) || call.answer.is_none() {
            call.answer = Some(answer);
        }
        match call.steps.front().cloned() {
            Some(op) => {
                acts.push(Act::Ask { call: id, op: self.fenced(op), first: false });
                Vec::new()
            }
            None => self.end(now, id, true, acts),
        }
    }

    /// A call has taken too long; what was asked may still be done.
    pub fn overdue(&mut self, now: Duration, id: u64, acts: &mut Vec<Act>) -> Vec<Reply> {
        self.end(now, id, false, acts)
    }

    /// A change of a room does nothing once the lease is over that its node knew of when it asked.
    fn fenced(&self, op: Op) -> Op {
        match op {
            Op::Admit(_) | Op::Apply(_) | Op::Sync(_) | Op::TakeOver(_) => {
                Op::Until(self.ends_ms, Box::new(op))
            }
            other => other,
        }
    }

    fn begin(&mut self, now: Duration, id: u64, acts: &mut Vec<Act>) -> Vec<Reply> {
        let Some(call) = self.open.get(&id) else { return Vec::new() };
        let writes = !matches!(call.purpose, Purpose::Find(_)) && call.room.is_some();
        let allowed = self.write_until.is_some_and(|until| now < until);
        if writes && !allowed {
            return self.end(now, id, false, acts);
        }
        if let Some(op) = call.steps.front() {
            acts.push(Act::Ask { call: id, op: self.fenced(op.clone()), first: true });
        }
        Vec::new()
    }

    fn end(&mut self, now: Duration, id: u64, answered: bool, acts: &mut Vec<Act>) -> Vec<Reply> {
        let Some(call) = self.open.remove(&id) else { return Vec::new() };
        let answer = call.answer.filter(|_| answered);
        let failed = answer.is_none() && !matches!(call.purpose, Purpose::Beat { .. });
        let mut replies = reply(call.purpose, answer);
        if failed {
            replies.push(Reply::Cluster(ClusterInput::StoreFailed));
        }
        if let Some(room) = call.room {
            let queue = self.rooms.entry(room.clone()).or_default();
            queue.pop_front();
            match queue.front().copied() {
                Some(next) => replies.extend(self.begin(now, next, acts)),
                None => drop(self.rooms.remove(&room)),
            }
        }
        replies
    }
}

impl Calls {
    /// A call's steps: the index is written before the row that it finds, and removed after it (C-6).
    fn steps(&self, op: Op) -> VecDeque<Op> {
        let entry = |session, room: &RoomName, node: &NodeRef| IndexEntry {
            session,
            room: room.clone(),
            node: node.clone(),
        };
        let before = match &op {
            Op::Admit(request) => vec![entry(request.session, &request.room, &request.node)],
            Op::TakeOver(request) => vec![entry(request.row.session, &request.room, &request.row.node)],
            Op::Sync(request) => {
                request.mine.iter().map(|(_, row)| entry(row.session, &request.room, &request.node)).collect()
            }
            _ => Vec::new(),
        };
        let ended = match &op {
            Op::Apply(Change::Withdraw { session, .. } | Change::TakeBack { session, .. }) => Some(*session),
            _ => None,
        };
        let before = (!before.is_empty()).then_some(Op::AddIndex(before));
        before.into_iter().chain([op]).chain(forget(&self.own, ended)).collect()
    }
}

/// The session that was to get a row.
fn asked_for(op: &Op) -> Option<SessionId> {
    match op {
        Op::Admit(request) => Some(request.session),
        Op::TakeOver(request) => Some(request.row.session),
        _ => None,
    }
}

fn forget(node: &NodeId, session: Option<SessionId>) -> Option<Op> {
    session.map(|session| Op::RemoveIndex(node.clone(), vec![session]))
}

fn reply(purpose: Purpose, answer: Option<Answer>) -> Vec<Reply> {
    let rooms = |input| vec![Reply::Rooms(input)];
    let cluster = |input| vec![Reply::Cluster(input)];
    match (purpose, answer) {
        (Purpose::Admit(ticket), Some(Answer::Admitted(outcome))) => {
            rooms(RoomInput::AdmissionDecided { ticket, outcome: outcome.map(|admitted| *admitted) })
        }
        (Purpose::Admit(ticket), _) => rooms(RoomInput::AdmissionFailed { ticket }),
        (Purpose::TakeOver(ticket), Some(Answer::Admitted(outcome))) => {
            let outcome = Some(outcome.map(|admitted| *admitted));
            rooms(RoomInput::TakenOver { ticket, outcome })
        }
        (Purpose::TakeOver(ticket), _) => rooms(RoomInput::TakenOver { ticket, outcome: None }),
        (Purpose::Sync(ticket), Some(Answer::Picture(picture))) => {
            rooms(RoomInput::Synced { ticket, picture: Some(picture) })
        }
        (Purpose::Sync(ticket), _) => rooms(RoomInput::Synced { ticket, picture: None }),
        (Purpose::Find(ticket), Some(Answer::Row(row))) => rooms(RoomInput::Found { ticket, row: Some(row) }),
        (Purpose::Find(ticket), _) => rooms(RoomInput::Found { ticket, row: None }),
        (Purpose::Beat { asked }, Some(Answer::Beat(beat))) => {
            cluster(ClusterInput::BeatAnswered { asked, beat: Some(beat) })
        }
        (Purpose::Beat { asked }, _) => cluster(ClusterInput::BeatAnswered { asked, beat: None }),
        (Purpose::Claim(dead), Some(Answer::Claimed(taken))) => {
            cluster(ClusterInput::Claimed { dead, taken: Some(taken) })
        }
        (Purpose::Claim(dead), _) => cluster(ClusterInput::Claimed { dead, taken: None }),
        (Purpose::Index(dead), Some(Answer::Entries(entries))) => {
            cluster(ClusterInput::Indexed { dead, entries: Some(entries) })
        }
        (Purpose::Index(dead), _) => cluster(ClusterInput::Indexed { dead, entries: None }),
        (Purpose::Reap(dead, room), Some(Answer::Picture(picture))) => {
            let outcome = Some(RoomReaped { due_in: picture.due_in });
            cluster(ClusterInput::RoomReaped { dead, room, outcome })
        }
        (Purpose::Reap(dead, room), _) => cluster(ClusterInput::RoomReaped { dead, room, outcome: None }),
        (Purpose::RemoveLease(node), answer) => {
            cluster(ClusterInput::LeaseRemoved { node, removed: answer.is_some() })
        }
        (Purpose::Mirror(room), None) => rooms(RoomInput::MirrorFailed { room }),
        (Purpose::Mirror(_), Some(_)) => Vec::new(),
        (Purpose::Unindex(dead), answer) => cluster(ClusterInput::Unindexed { dead, done: answer.is_some() }),
    }
}

fn room_of(op: &Op) -> Option<RoomName> {
    match op {
        Op::Admit(request) => Some(request.room.clone()),
        Op::Apply(change) => Some(change.room().clone()),
        Op::Sync(request) => Some(request.room.clone()),
        Op::Find(room, _) => Some(room.clone()),
        Op::TakeOver(request) => Some(request.room.clone()),
        _ => None,
    }
}
