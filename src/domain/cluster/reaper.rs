//! Clears away what a dead node has left where nobody else looks: rooms of which every participant was on it.
//!
//! ```text
//!  waits ── Claim ──► not taken ──► waits for the other's term
//!    ▲        └─ taken ──► ReadIndex ──► ReapRoom, each room ──► somebody is still waited for ──► waits for it
//!    │                                                   └─ nobody ──► Unindex ──► RemoveLease ──► done
//!    └────────────── any step without an answer
//! ```
//! The index goes after the rows it leads to (C-6) and the lease last, so whoever comes after a reaper that has died finds
//! everything it needs. Each step may be done twice, and by two at once.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::{ClusterEffect, ClusterFact, IndexEntry};
use crate::{
    domain::membership::SyncRequest,
    protocol::{NodeId, NodeRef, RoomName, SessionId, limits},
};

/// What a step on one room has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomReaped {
    /// Participants that are still waited for, and how long.
    pub due_in: Option<Duration>,
}

/// Clears away after dead nodes.
#[derive(Debug)]
pub struct Reaper {
    grace: Duration,
    jobs: BTreeMap<NodeRef, Job>,
    /// Nodes that are this reaper's until then, in whichever life they died.
    claims: BTreeMap<NodeId, Duration>,
}

/// One dead life.
#[derive(Debug)]
struct Job {
    step: Step,
    /// Since when the step has waited for an answer.
    since: Duration,
    /// Its lease was seen: when it is not there any more, somebody has cleared everything away.
    lease_seen: bool,
}

#[derive(Debug)]
enum Step {
    Waiting { until: Duration },
    Claiming,
    Reading,
    Walking(Walk),
    Unindexing { entries: usize },
    Removing,
}

/// On the way through a dead node's rooms.
#[derive(Debug)]
struct Walk {
    rooms: VecDeque<RoomName>,
    asked: BTreeSet<RoomName>,
    sessions: Vec<SessionId>,
    /// When the last that is waited for so far is due.
    due: Option<Duration>,
    /// A room gave no answer.
    failed: bool,
}

impl Reaper {
    /// Nobody is dead yet. `grace`: how long the participants of dead nodes are waited for.
    #[must_use]
    pub fn new(grace: Duration) -> Self {
        Self { grace, jobs: BTreeMap::new(), claims: BTreeMap::new() }
    }

    /// Takes on a dead life, from then on. Twice is harmless.
    pub fn begin(&mut self, dead: &NodeRef, from: Duration) {
        let step = Step::Waiting { until: from };
        let job = Job { step, since: from, lease_seen: false };
        self.jobs.entry(dead.clone()).or_insert(job);
    }

    /// Takes which leases there are, run out or not: of whom none is left, nothing is.
    pub fn listed(&mut self, leases: &BTreeSet<&NodeRef>) {
        self.jobs.retain(|dead, job| {
            let listed = leases.contains(dead);
            job.lease_seen |= listed;
            listed || !job.lease_seen || !matches!(job.step, Step::Waiting { .. })
        });
    }

    /// Leaves alone who lives after all.
    pub fn spare(&mut self, lives: impl Fn(&NodeRef) -> bool) {
        self.jobs.retain(|dead, _| !lives(dead));
    }

    /// Those that are being cleared away.
    pub fn dead(&self) -> impl Iterator<Item = &NodeRef> {
        self.jobs.keys()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Duration, effects: &mut Vec<ClusterEffect>) {
        self.claims.retain(|_, until| now < *until);
        for (dead, job) in &mut self.jobs {
            match job.step {
                Step::Waiting { until } if until <= now && self.claims.contains_key(&dead.id) => {
                    job.go(now, Step::Reading);
                    effects.push(ClusterEffect::ReadIndex { dead: dead.clone() });
                }
                Step::Waiting { until } if until <= now => {
                    job.go(now, Step::Claiming);
                    effects.push(ClusterEffect::Claim { dead: dead.clone() });
                }
                Step::Waiting { .. } => {}
                // Its answer is lost.
                _ if job.since + limits::REAPER_TERM <= now => job.wait(now, limits::REAPER_RETRY),
                _ => {}
            }
        }
        self.walk(now, effects);
    }

    /// The claim was answered.
    pub fn claimed(
        &mut self,
        now: Duration,
        dead: &NodeRef,
        taken: Option<bool>,
        effects: &mut Vec<ClusterEffect>,
    ) {
        let Some(job) = self.jobs.get_mut(dead) else { return };
        if !matches!(job.step, Step::Claiming) {
            return;
        }
        match taken {
            Some(true) => {
                self.claims.insert(dead.id.clone(), job.since + limits::REAPER_TERM);
                job.go(now, Step::Reading);
                effects.push(ClusterEffect::ReadIndex { dead: dead.clone() });
            }
            Some(false) => job.wait(now, limits::REAPER_TERM),
            None => job.wait(now, limits::REAPER_RETRY),
        }
    }

    /// The index was read.
    pub fn indexed(
        &mut self,
        now: Duration,
        dead: &NodeRef,
        entries: Option<Vec<IndexEntry>>,
        effects: &mut Vec<ClusterEffect>,
    ) {
        let Some(job) = self.jobs.get_mut(dead) else { return };
        if !matches!(job.step, Step::Reading) {
            return;
        }
        let Some(mut entries) = entries else {
            return job.wait(now, limits::REAPER_RETRY);
        };
        // What a later life of the node has written is not dead.
        entries.retain(|entry| entry.node.is_up_to(dead));
        let rooms: BTreeSet<RoomName> = entries.iter().map(|entry| entry.room.clone()).collect();
        let sessions = entries.into_iter().map(|entry| entry.session).collect();
        let (rooms, asked) = (rooms.into_iter().collect(), BTreeSet::new());
        job.go(now, Step::Walking(Walk { rooms, asked, sessions, due: None, failed: false }));
        self.walk(now, effects);
    }

    /// A room was taken further.
    pub fn room_reaped(
        &mut self,
        now: Duration,
        dead: &NodeRef,
        room: &RoomName,
        outcome: Option<RoomReaped>,
        effects: &mut Vec<ClusterEffect>,
    ) {
        let Some(job) = self.jobs.get_mut(dead) else { return };
        let Step::Walking(walk) = &mut job.step else { return };
        if !walk.asked.remove(room) {
            return;
        }
        job.since = now;
        match outcome {
            Some(RoomReaped { due_in }) => walk.due = walk.due.max(due_in.map(|due_in| now + due_in)),
            None => walk.failed = true,
        }
        self.walk(now, effects);
    }

    /// The entries of the index are gone, or there was no answer.
    pub fn unindexed(&mut self, now: Duration, dead: &NodeRef, done: bool, effects: &mut Vec<ClusterEffect>) {
        let Some(job) = self.jobs.get_mut(dead) else { return };
        let Step::Unindexing { entries } = job.step else { return };
        if !done {
            return job.wait(now, limits::REAPER_RETRY);
        }
        effects.push(ClusterEffect::Count(ClusterFact::Reaped(entries)));
        job.go(now, Step::Removing);
        effects.push(ClusterEffect::RemoveLease { node: dead.clone() });
    }

    /// The lease is gone, and with it everything, or there was no answer.
    pub fn lease_removed(&mut self, now: Duration, dead: &NodeRef, removed: bool) {
        let Some(job) = self.jobs.get_mut(dead) else { return };
        if !matches!(job.step, Step::Removing) {
            return;
        }
        if removed {
            self.jobs.remove(dead);
        } else {
            job.wait(now, limits::REAPER_RETRY);
        }
    }

    /// Asks for rooms, a few at a time over all dead nodes, and ends walks that are through.
    fn walk(&mut self, now: Duration, effects: &mut Vec<ClusterEffect>) {
        let asked: usize = self.jobs.values().filter_map(Job::walking).map(|walk| walk.asked.len()).sum();
        let mut free = limits::REAP_ROOMS_AT_ONCE.saturating_sub(asked);
        for (dead, job) in &mut self.jobs {
            let Step::Walking(walk) = &mut job.step else { continue };
            while free > 0
                && let Some(room) = walk.rooms.pop_front()
            {
                free -= 1;
                walk.asked.insert(room.clone());
                let request = Box::new(SyncRequest::reaping(room, dead.clone(), self.grace));
                effects.push(ClusterEffect::ReapRoom { dead: dead.clone(), request });
            }
            if walk.rooms.is_empty() && walk.asked.is_empty() {
                job.end_walk(now, dead, effects);
            }
        }
    }
}

impl Job {
    fn go(&mut self, now: Duration, step: Step) {
        self.step = step;
        self.since = now;
    }

    fn wait(&mut self, now: Duration, pause: Duration) {
        self.go(now, Step::Waiting { until: now + pause });
    }

    fn walking(&self) -> Option<&Walk> {
        match &self.step {
            Step::Walking(walk) => Some(walk),
            Step::Waiting { .. }
            | Step::Claiming
            | Step::Reading
            | Step::Unindexing { .. }
            | Step::Removing => None,
        }
    }

    fn end_walk(&mut self, now: Duration, dead: &NodeRef, effects: &mut Vec<ClusterEffect>) {
        let Step::Walking(walk) = &mut self.step else { return };
        let (sessions, due, failed) = (std::mem::take(&mut walk.sessions), walk.due, walk.failed);
        if failed {
            return self.wait(now, limits::REAPER_RETRY);
        }
        if let Some(until) = due {
            return self.go(now, Step::Waiting { until });
        }
        if sessions.is_empty() {
            self.go(now, Step::Removing);
            effects.push(ClusterEffect::RemoveLease { node: dead.clone() });
        } else {
            self.go(now, Step::Unindexing { entries: sessions.len() });
            effects.push(ClusterEffect::Unindex { dead: dead.clone(), sessions });
        }
    }
}

#[cfg(test)]
#[path = "reaper_tests.rs"]
mod tests;
