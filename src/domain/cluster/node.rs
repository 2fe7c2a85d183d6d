//! The machine: each input to the part that it is for, and what follows from one part for the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Beat, ClusterConfig, ClusterEffect, ClusterFact, ClusterInput, ClusterView, Mode, Peer, PeerView, Reason,
    beats::Beats,
    life::{Life, Outcome},
    link::Link,
    peers::{Died, Peers},
    probe::{Next, Probe},
    reaper::Reaper,
};
use crate::{
    domain::{clock::Now, rooms::RoomInput},
    protocol::{
        NodeRef,
        cluster::{Event, Frame, Inbox, NodeMessage},
        limits,
    },
};

/// A node's place in the cluster.
///
/// Deadlines are looked at with [`ClusterInput::Tick`], which is wanted every
/// [`LINK_ACK_DELAY`](crate::protocol::limits::LINK_ACK_DELAY).
#[derive(Debug)]
pub struct Cluster {
    lease: Duration,
    mode: Mode,
    end: End,
    draining: bool,
    subscribed: bool,
    life: Life,
    beats: Beats,
    peers: Peers,
    /// Those of which the rooms were last told that they live.
    told: BTreeSet<NodeRef>,
    // Ordered maps: the order of effects must be the same for the same inputs, or no run could be replayed.
    links: BTreeMap<NodeRef, Link>,
    probe: Probe,
    reaper: Reaper,
}

/// Whether it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// Another one has the name: only a stop is taken.
    Outdone,
    Stopped,
}

impl Cluster {
    /// A node that has not begun; it does with the first tick.
    #[must_use]
    pub fn new(config: ClusterConfig) -> Self {
        Self {
            lease: config.lease,
            mode: Mode::Starting,
            end: End::Open,
            draining: false,
            subscribed: false,
            life: Life::new(config.node, config.lease),
            beats: Beats::new(config.lease),
            peers: Peers::new(config.lease),
            told: BTreeSet::new(),
            links: BTreeMap::new(),
            probe: Probe::default(),
            reaper: Reaper::new(config.grace),
        }
    }

    /// Takes one input and appends what is to be done, in order.
    pub fn handle(&mut self, now: Now, input: ClusterInput, effects: &mut Vec<ClusterEffect>) {
        let mono = now.mono;
        if self.end != End::Open {
            if matches!(input, ClusterInput::Stop) && self.end == End::Outdone {
                self.stop(effects);
            }
            return;
        }
        self.leave_in_time(mono, effects);
        match input {
            ClusterInput::Tick => self.tick(mono, effects),
            ClusterInput::BeatAnswered { asked, beat } => self.beat_answered(now, asked, beat, effects),
            ClusterInput::StoreFailed => self.store_failed(mono, effects),
            ClusterInput::Send { to, message } => self.send(mono, to, *message, effects),
            ClusterInput::SendHint { to, hint } => {
                effects.push(ClusterEffect::Publish { to, message: Box::new(Inbox::Hint(hint)) });
            }
            ClusterInput::Arrived(inbox) => self.arrived(mono, *inbox, effects),
            ClusterInput::Told(event) => self.hear(mono, &event, effects),
            ClusterInput::Subscribed => self.subscribed(mono, effects),
            ClusterInput::Claimed { dead, taken } => self.reaper.claimed(mono, &dead, taken, effects),
            ClusterInput::Indexed { dead, entries } => self.reaper.indexed(mono, &dead, entries, effects),
            ClusterInput::RoomReaped { dead, room, outcome } => {
                self.reaper.room_reaped(mono, &dead, &room, outcome, effects);
            }
            ClusterInput::Unindexed { dead, done } => self.reaper.unindexed(mono, &dead, done, effects),
            ClusterInput::LeaseRemoved { node, removed } => self.reaper.lease_removed(mono, &node, removed),
            ClusterInput::Drain => {
                self.draining = true;
                effects.push(ClusterEffect::Announce(Event::Draining(self.life.node().clone())));
            }
            ClusterInput::Stop => self.stop(effects),
        }
    }

    /// How it stands.
    #[must_use]
    pub fn view(&self, now: Now) -> ClusterView {
        let unacked = |node: &NodeRef| self.links.get(node).map_or(0, Link::unacked);
        let live = self.peers.view(now.mono).map(|peer| PeerView { unacked: unacked(&peer.node), ..peer });
        let dead = self.reaper.dead().map(|node| PeerView {
            node: node.clone(),
            lease_left: Duration::ZERO,
            draining: false,
            unacked: 0,
        });
        ClusterView {
            mode: self.mode,
            node: self.life.node().clone(),
            draining: self.draining,
            lease_left: self.life.lease_ends().map_or(Duration::ZERO, |ends| ends.saturating_sub(now.mono)),
            peers: live.chain(dead).collect(),
        }
    }

    fn tick(&mut self, now: Duration, effects: &mut Vec<ClusterEffect>) {
        if self.beats.is_late(now) {
            self.beat_failed(now, effects);
        }
        if self.beats.is_due(now) {
            self.ask(now, effects);
        }
        if self.mode != Mode::Starting {
            self.look_at_probe(now, effects);
        }
        self.links.values_mut().for_each(|link| link.tick(now, effects));
        if self.mode == Mode::Serving {
            self.reaper.tick(now, effects);
        }
    }

    fn look_at_probe(&mut self, now: Duration, effects: &mut Vec<ClusterEffect>) {
        let number = match self.probe.tick(now) {
            Next::Nothing => return,
            Next::Publish(number) => number,
            Next::Rebuild(number) => {
                effects.extend([ClusterEffect::Rebuild, ClusterEffect::Count(ClusterFact::Rebuilt)]);
                number
            }
        };
        let from = self.life.node().clone();
        let to = from.id.clone();
        effects.push(ClusterEffect::Publish { to, message: Box::new(Inbox::Probe { from, number }) });
    }

    fn ask(&mut self, now: Duration, effects: &mut Vec<ClusterEffect>) {
        self.beats.ask(now);
        let (node, renewal) = self.life.next_beat();
        effects.push(ClusterEffect::Beat { node, renewal });
    }

    /// A node whose lease is about to end does not wait for a beat to say so: it may have been standing still.
    fn leave_in_time(&mut self, now: Duration, effects: &mut Vec<ClusterEffect>) {
        if self.mode == Mode::Serving && self.life.writes_until().is_none_or(|until| until <= now) {
            self.isolate(effects);
            self.beats.want(now);
        }
    }

    fn store_failed(&mut self, now: Duration, effects: &mut Vec<ClusterEffect>) {
        if self.mode == Mode::Serving {
            self.look_soon(now, effects);
        }
    }

    fn subscribed(&mut self, now: Duration, effects: &mut Vec<ClusterEffect>) {
        self.links.values_mut().for_each(|link| link.remind(now, effects));
        if std::mem::replace(&mut self.subscribed, true) {
            self.life.reconnected();
            self.look_soon(now, effects);
        }
    }

    /// A beat outside its turn.
    fn look_soon(&mut self, now: Duration, effects: &mut Vec<ClusterEffect>) {
        self.beats.want(now);
        if self.beats.is_due(now) {
            self.ask(now, effects);
        }
    }

    fn beat_answered(
        &mut self,
        now: Now,
        asked: Duration,
        beat: Option<Beat>,
        effects: &mut Vec<ClusterEffect>,
    ) {
        let Some(asked) = self.beats.asked_for(asked) else { return };
        // An answer that is late may be to a node that stood still: its lease may be over.
        let Some(beat) = beat.filter(|_| !self.beats.is_late(now.mono)) else {
            return self.beat_failed(now.mono, effects);
        };
        self.beats.answered();
        if self.life.is_forgotten(now.mono, &beat) {
            // Who was renewed just before it was forgotten is in time for so long.
            self.peers.spare(now.mono + self.lease);
        } else if self.mode == Mode::Isolated {
            // Where nobody could renew a lease, one that has run out says nothing until its node had time to come back.
            self.peers.spare(now.mono + self.lease.min(limits::AMNESTY));
        }
        let outcome = self.life.answered(now, asked, &beat);
        if let Outcome::Rival(rival) = outcome {
            self.end = End::Outdone;
            effects.push(ClusterEffect::Rival(rival));
            return;
        }
        self.look_at_leases(now.mono, asked, &beat.peers, effects);
        match outcome {
            Outcome::Watch(until) => self.beats.follow(until),
            Outcome::Take | Outcome::Rival(_) => self.ask(now.mono, effects),
            Outcome::Held { why, fresh, forgotten } => {
                let first_end = self.peers.first_end(now.mono).unwrap_or(Duration::MAX);
                self.beats.follow(first_end.min(asked + self.lease / 4));
                self.pass_time(&beat, effects);
                self.held(why, fresh, forgotten, effects);
            }
        }
    }

    /// What the shared clock said when the lease was written: the rooms may soon have to do without it.
    fn pass_time(&self, beat: &Beat, effects: &mut Vec<ClusterEffect>) {
        let lease_ms = u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX);
        let written_ms = beat.ends_ms.checked_sub(lease_ms);
        effects.extend(written_ms.map(|ms| rooms(RoomInput::RegistryTime(ms))));
    }

    /// The lease is there.
    fn held(&mut self, why: Option<Reason>, fresh: bool, forgotten: bool, effects: &mut Vec<ClusterEffect>) {
        let node = self.life.node().clone();
        if fresh {
            self.begin_life(&node, effects);
        }
        let until = self.life.writes_until().unwrap_or_default();
        effects.push(ClusterEffect::Lease { node: node.clone(), until });
        let before = std::mem::replace(&mut self.mode, Mode::Serving);
        let why = why.or_else(|| (before == Mode::Isolated).then_some(Reason::Back));
        if let Some(why) = why {
            effects.push(ClusterEffect::Count(ClusterFact::Reasserted(why)));
        }
        if fresh || why.is_some() {
            effects.push(rooms(RoomInput::Reassert { node, amnesty: forgotten }));
        }
        // After that, or the rooms would ask under the name of a life that is over.
        if before == Mode::Isolated {
            effects.push(rooms(RoomInput::Isolated(false)));
        }
        if before == Mode::Starting {
            effects.push(ClusterEffect::Started);
        }
    }

    /// Under a new life, links begin from nothing: whoever had one with the earlier life drops what is for it. Where the
    /// store had only forgotten this one, they go on.
    fn begin_life(&mut self, node: &NodeRef, effects: &mut Vec<ClusterEffect>) {
        let earlier = self.links.extract_if(.., |_, link| link.me() != node);
        earlier.for_each(|(_, link)| link.close(effects));
        effects.push(ClusterEffect::Announce(Event::Up(node.clone())));
        if self.draining {
            effects.push(ClusterEffect::Announce(Event::Draining(node.clone())));
        }
    }

    fn beat_failed(&mut self, now: Duration, effects: &mut Vec<ClusterEffect>) {
        self.life.unanswered();
        self.beats.failed(now);
        // While another one of this name may live, nothing is begun without the store.
        if self.mode == Mode::Serving || (self.mode == Mode::Starting && !self.life.is_watching()) {
            self.isolate(effects);
        }
    }

    fn isolate(&mut self, effects: &mut Vec<ClusterEffect>) {
        effects.push(rooms(RoomInput::Isolated(true)));
        if std::mem::replace(&mut self.mode, Mode::Isolated) == Mode::Starting {
            effects.push(ClusterEffect::Started);
        }
    }

    /// Who lives, who has died, and after whom there is to be cleared away.
    fn look_at_leases(
        &mut self,
        now: Duration,
        asked: Duration,
        leases: &[Peer],
        effects: &mut Vec<ClusterEffect>,
    ) {
        let me = self.life.node().clone();
        let (own, others): (Vec<_>, Vec<_>) = leases.iter().cloned().partition(|peer| peer.node.id == me.id);
        let died = self.peers.listed(now, asked, &others);
        self.bury(now, died, effects);
        self.reaper.listed(&leases.iter().map(|peer| &peer.node).collect());
        self.reaper.spare(|node| self.peers.is_live(node));
        for peer in &others {
            let run_out = peer.left.is_zero() && !self.peers.spares(now);
            if run_out || self.peers.is_replaced(&peer.node) {
                self.reaper.begin(&peer.node, now);
            } else if let Some(later) = self.peers.later_dead(&peer.node).filter(|_| !peer.left.is_zero()) {
                // Its clock was set back, and nothing told it of its past: what is later must be told apart from that.
                effects.push(ClusterEffect::Announce(Event::Down(later)));
            }
        }
        // A lease was taken, so those before it are over, whatever is left of them.
        let earlier = own.iter().filter(|peer| peer.node.is_up_to(&me) && peer.node != me);
        for peer in earlier.filter(|_| self.life.was_held()) {
            // What an earlier life of this process holds is being put back: only what is left then is dead.
            let pause = if self.life.is_own_past(&peer.node) { self.lease } else { Duration::ZERO };
            self.reaper.begin(&peer.node, now + pause);
        }
        self.tell_live(effects);
    }

    fn bury(&mut self, now: Duration, died: Vec<Died>, effects: &mut Vec<ClusterEffect>) {
        if died.is_empty() {
            return;
        }
        // The rooms first: they must not send to it any more, nor answer what comes back by sending again.
        self.tell_live(effects);
        for Died { node, known } in died {
            if !known {
                effects.push(ClusterEffect::Announce(Event::Down(node.clone())));
            }
            effects.push(ClusterEffect::Count(ClusterFact::NodeDied(node.clone())));
            if let Some(link) = self.links.remove(&node) {
                link.close(effects);
            }
            self.reaper.begin(&node, now);
        }
    }

    fn tell_live(&mut self, effects: &mut Vec<ClusterEffect>) {
        let live = self.peers.live();
        if live != self.told {
            self.told.clone_from(&live);
            effects.push(rooms(RoomInput::NodesLive(live)));
        }
    }

    /// Something was heard of a life. `false`: it is over, or it has this node's own name.
    fn meet(&mut self, now: Duration, node: &NodeRef, effects: &mut Vec<ClusterEffect>) -> bool {
        if node.id == self.life.node().id || self.peers.is_over(node) {
            return false;
        }
        if !self.peers.is_live(node) {
            // It has come between two beats; the next one judges.
            let died = self.peers.meet(now, node);
            self.bury(now, died, effects);
            self.tell_live(effects);
            self.look_soon(now, effects);
        }
        true
    }

    fn send(&mut self, now: Duration, to: NodeRef, message: NodeMessage, effects: &mut Vec<ClusterEffect>) {
        if self.meet(now, &to, effects) {
            self.link(now, to).send(now, message, effects);
        } else {
            effects.push(rooms(RoomInput::Undelivered { to, messages: vec![message] }));
        }
    }

    fn link(&mut self, now: Duration, peer: NodeRef) -> &mut Link {
        let me = self.life.node();
        self.links.entry(peer).or_insert_with_key(|peer| Link::new(now, me.clone(), peer.clone()))
    }

    fn arrived(&mut self, now: Duration, inbox: Inbox, effects: &mut Vec<ClusterEffect>) {
        match inbox {
            Inbox::Probe { from, number } => {
                let took = (from == *self.life.node()).then(|| self.probe.came_back(now, number)).flatten();
                effects.extend(took.map(|took| ClusterEffect::Count(ClusterFact::Probed(took))));
            }
            Inbox::Frame(frame) => self.frame_arrived(now, *frame, effects),
            Inbox::Hint(hint) => effects.push(ClusterEffect::PassHint(hint)),
        }
    }

    fn frame_arrived(&mut self, now: Duration, frame: Frame, effects: &mut Vec<ClusterEffect>) {
        if frame.to != self.life.node().incarnation || !self.meet(now, &frame.from, effects) {
            effects.push(ClusterEffect::Count(ClusterFact::Outdated));
            return;
        }
        self.link(now, frame.from.clone()).receive(now, frame, effects);
    }

    fn hear(&mut self, now: Duration, event: &Event, effects: &mut Vec<ClusterEffect>) {
        match event {
            Event::Up(node) => {
                self.meet(now, node, effects);
            }
            Event::Draining(node) => self.peers.drains(node),
            // It may be wrong: the leases decide. Its own name it hears where it was taken for dead.
            Event::Down(node) => {
                if self.peers.told_down(now, node) || self.life.hear_of(node) {
                    self.look_soon(now, effects);
                }
            }
        }
    }

    /// Leaves. The others see by the leases that this is so; the word lets them look at once.
    fn stop(&mut self, effects: &mut Vec<ClusterEffect>) {
        self.end = End::Stopped;
        let node = self.life.node().clone();
        effects.push(ClusterEffect::RemoveLease { node: node.clone() });
        effects.push(ClusterEffect::Announce(Event::Down(node)));
    }
}

fn rooms(input: RoomInput) -> ClusterEffect {
    ClusterEffect::Rooms(Box::new(input))
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "outage_tests.rs"]
mod outage_tests;
