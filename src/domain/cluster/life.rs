//! This node's own lease: what each beat asks for, and what its answer means.
//!
//! ```text
//!  Look ── a lease under this name runs ──► watched for half a lease: renewed ─► Rival · not ─┐
//!    └──── none ──────────────────────────────────────────────────────────────────────────────┴─► First
//!  First ── answered ──► held            no answer: Look, or Again, as before (whether it was written is not known)
//!  Again ── it ran ────► held: renewed
//!    ├───── run out, or taken away ──► First, under a new life (C-3)
//!    ├───── gone with everything else, and in time ──► First, under this one (C-7)
//!    └───── the lease of a later life under this name runs ──► watched, as by Look
//! ```
//! A lease runs, for this node, from when it was asked for and ends a little early, so no write of a life comes after the
//! others may have seen it end.

use std::{collections::BTreeSet, time::Duration};

use super::{Beat, Mine, Peer, Reason, Renewal};
use crate::{
    domain::clock::Now,
    protocol::{Incarnation, NodeRef},
};

/// Lives that were asked for and not answered: more are forgotten, the earliest first. Their leases run out by themselves.
const TRIED_MAX: usize = 8;

/// This node's present life and its lease.
#[derive(Debug)]
pub struct Life {
    node: NodeRef,
    /// The first life of this process; earlier ones of its name are not its own.
    first: Incarnation,
    lease: Duration,
    held: Option<Held>,
    taking: Option<Taking>,
    rival: Option<Watched>,
    /// Lives for which a lease was asked and not answered. They may stand in the store; they are no rivals.
    tried: BTreeSet<Incarnation>,
    /// The latest life under this name that others know of.
    latest: Incarnation,
    /// Though the lease runs, what the store knows of this node may be wrong, for that reason.
    doubt: Option<Reason>,
    epoch: Option<String>,
}

/// What was last written.
#[derive(Debug, Clone, Copy)]
struct Held {
    /// By the shared clock. Unit: ms.
    ends_ms: u64,
    /// From when it was asked for, by this node's clock.
    ends: Duration,
}

/// A lease is being asked for.
#[derive(Debug, Clone)]
struct Taking {
    node: NodeRef,
    why: Option<Reason>,
    forgotten: bool,
}

/// A lease under this node's name that is not its own.
#[derive(Debug)]
struct Watched {
    node: NodeRef,
    ends_ms: u64,
    since: Duration,
}

/// What a beat has come to.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Look again then.
    Watch(Duration),
    /// Another one has the name.
    Rival(NodeRef),
    /// Ask again at once, for a lease.
    Take,
    /// The lease is there, under a life that has just begun, where `why` and `fresh` say so.
    Held {
        /// Why everything must be put back.
        why: Option<Reason>,
        /// The lease was taken, not renewed.
        fresh: bool,
        /// The store has forgotten what it knew: others put it back too.
        forgotten: bool,
    },
}

impl Life {
    /// A life without a lease.
    #[must_use]
    pub fn new(node: NodeRef, lease: Duration) -> Self {
        let first = node.incarnation;
        let (held, taking, rival, epoch) = (None, None, None, None);
        Self {
            node,
            first,
            lease,
            held,
            taking,
            rival,
            tried: BTreeSet::new(),
            latest: first,
            doubt: None,
            epoch,
        }
    }

    /// This node in its present life.
    #[must_use]
    pub fn node(&self) -> &NodeRef {
        &self.node
    }

    /// Until when it may write: a little before the lease ends.
    #[must_use]
    pub fn writes_until(&self) -> Option<Duration> {
        self.held.map(|held| held.ends.saturating_sub(self.lease / 8))
    }

    /// When the lease ends by this node's clock.
    #[must_use]
    pub fn lease_ends(&self) -> Option<Duration> {
        self.held.map(|held| held.ends)
    }

    /// Whether there ever was a lease.
    #[must_use]
    pub fn was_held(&self) -> bool {
        self.held.is_some()
    }

    /// Whether another lease under this name is being watched.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.rival.is_some()
    }

    /// Whether that is an earlier life of this very process: what it left is being put back under the present one.
    #[must_use]
    pub fn is_own_past(&self, node: &NodeRef) -> bool {
        node.is_up_to(&self.node) && node.incarnation >= self.first
    }

    /// What the next beat is to ask for, and for whom.
    #[must_use]
    pub fn next_beat(&self) -> (NodeRef, Renewal) {
        match (&self.taking, self.held) {
            (Some(taking), _) => (taking.node.clone(), Renewal::First),
            (None, Some(_)) => (self.node.clone(), Renewal::Again),
            (None, None) => (self.node.clone(), Renewal::Look),
        }
    }

    /// The connections to the store were lost and are there again: a failover may have lost what was written last, though
    /// not the lease.
    pub fn reconnected(&mut self) {
        self.doubt = Some(Reason::Back);
    }

    /// Takes that this life is said to be dead, or that a dead life under its name is later. Says whether it is of interest.
    pub fn hear_of(&mut self, dead: &NodeRef) -> bool {
        let own = dead.id == self.node.id && dead.incarnation >= self.node.incarnation;
        if own {
            self.latest = self.latest.max(dead.incarnation);
            // What the others have made of it by now must be put right, should it be wrong.
            self.doubt = self.doubt.or((*dead == self.node).then_some(Reason::NewLife));
        }
        own
    }

    /// A beat got no answer. What was asked for may have been written all the same.
    pub fn unanswered(&mut self) {
        let Some(taking) = self.taking.take() else { return };
        self.tried.insert(taking.node.incarnation);
        if self.tried.len() > TRIED_MAX {
            self.tried.pop_first();
        }
    }

    /// Takes the answer to a beat that was asked for at `asked`.
    pub fn answered(&mut self, now: Now, asked: Duration, beat: &Beat) -> Outcome {
        let others: Vec<&Peer> = beat
            .peers
            .iter()
            .filter(|peer| peer.node.id == self.node.id && !self.is_mine(&peer.node))
            .collect();
        if let Some(outcome) = self.look_for_rival(now.mono, &others) {
            return outcome;
        }
        if let Some(taking) = self.taking.take() {
            let emptied = self.is_emptied(beat);
            self.node = taking.node;
            return self.hold(asked, beat, taking.why, true, taking.forgotten || emptied);
        }
        let Some(held) = self.held else {
            return self.take(now, &others, None, false);
        };
        let emptied = self.is_emptied(beat);
        let in_time = self.writes_until().is_some_and(|until| now.mono < until);
        let outdone = self.latest_of(&others) > self.node.incarnation;
        match beat.mine {
            Mine::Until(before) if !outdone => {
                let rolled_back = before < held.ends_ms;
                let why = match (emptied, rolled_back) {
                    (true, _) => Some(Reason::Emptied),
                    (false, true) => Some(Reason::RolledBack),
                    (false, false) => self.doubt,
                };
                self.hold(asked, beat, why, false, emptied || rolled_back)
            }
            Mine::Absent if emptied && in_time && !outdone => {
                let node = self.node.clone();
                self.taking = Some(Taking { node, why: Some(Reason::Emptied), forgotten: true });
                Outcome::Take
            }
            Mine::Absent | Mine::RunOut | Mine::Until(_) => {
                let why = match (emptied, in_time) {
                    (true, _) => Reason::Emptied,
                    // It should still have run.
                    (false, true) => Reason::RolledBack,
                    (false, false) => Reason::NewLife,
                };
                self.take(now, &others, Some(why), emptied || in_time)
            }
        }
    }

    /// Says whether the store has forgotten leases, by what a beat under the present life shows.
    #[must_use]
    pub fn is_forgotten(&self, now: Duration, beat: &Beat) -> bool {
        let Some(held) = self.held else { return false };
        let in_time = self.writes_until().is_some_and(|until| now < until);
        let lost = match beat.mine {
            Mine::Until(before) => before < held.ends_ms,
            Mine::Absent | Mine::RunOut => in_time,
        };
        self.is_emptied(beat) || (lost && self.taking.is_none())
    }

    fn is_emptied(&self, beat: &Beat) -> bool {
        self.epoch.as_ref().is_some_and(|epoch| *epoch != beat.epoch)
    }

    fn latest_of(&self, others: &[&Peer]) -> Incarnation {
        others.iter().map(|peer| peer.node.incarnation).fold(self.latest, Incarnation::max)
    }

    fn is_mine(&self, node: &NodeRef) -> bool {
        let asked_for = self.taking.as_ref().is_some_and(|taking| taking.node == *node);
        *node == self.node || asked_for || self.tried.contains(&node.incarnation)
    }

    /// At the start, whoever renews a lease under this name is a rival. Later, it is one that came after this life: it has
    /// watched this one and found it dead. A lease alone is none: its node may be dead, or it is of a past that a store
    /// has come back to.
    fn look_for_rival(&mut self, now: Duration, others: &[&Peer]) -> Option<Outcome> {
        if self.taking.is_some() {
            return None;
        }
        let later = |peer: &&&Peer| self.held.is_none() || peer.node.incarnation > self.node.incarnation;
        let running = others.iter().filter(|peer| !peer.left.is_zero()).filter(later);
        let Some(peer) = running.max_by_key(|peer| peer.node.incarnation) else {
            self.rival = None;
            return None;
        };
        let watched = self.rival.take().filter(|watched| watched.node == peer.node);
        match watched {
            Some(watched) if peer.ends_ms > watched.ends_ms => Some(Outcome::Rival(watched.node)),
            Some(watched) if now >= watched.since + self.lease / 2 => None,
            watched => {
                let (node, ends_ms) = (peer.node.clone(), peer.ends_ms);
                self.rival = Some(watched.unwrap_or(Watched { node, ends_ms, since: now }));
                Some(Outcome::Watch(now + self.lease / 8))
            }
        }
    }

    /// Asks for a lease under a life that is later than any of this name.
    fn take(&mut self, now: Now, others: &[&Peer], why: Option<Reason>, forgotten: bool) -> Outcome {
        let latest = self.latest_of(others).max(self.tried.last().copied().unwrap_or(self.first));
        let unused = self.held.is_none() && !self.tried.contains(&latest) && latest <= self.node.incarnation;
        let later = Incarnation(now.wall_ms.max(latest.max(self.node.incarnation).0 + 1));
        let incarnation = if unused { self.node.incarnation } else { later };
        let node = NodeRef { incarnation, ..self.node.clone() };
        self.taking = Some(Taking { node, why, forgotten });
        Outcome::Take
    }

    fn hold(
        &mut self,
        asked: Duration,
        beat: &Beat,
        why: Option<Reason>,
        fresh: bool,
        forgotten: bool,
    ) -> Outcome {
        self.held = Some(Held { ends_ms: beat.ends_ms, ends: asked + self.lease });
        self.epoch = Some(beat.epoch.clone());
        // One that was asked for in vain may yet turn up; an earlier one cannot be taken for a rival.
        self.tried.retain(|tried| *tried > self.node.incarnation);
        self.rival = None;
        let forgotten = forgotten || self.doubt.take() == Some(Reason::Back);
        Outcome::Held { why, fresh, forgotten }
    }
}
