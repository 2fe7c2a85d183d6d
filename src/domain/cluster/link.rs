//! The link between this node and one life of another: what goes there and what comes from there, each numbered,
//! acknowledged, and repaired or told (C-5).
//!
//! ```text
//!            acknowledged                      last
//!   ──────────────┼─────────────────────────────┼──►  seq      of one stream
//!      forgotten  │ kept, sent again on a Nack  │
//!
//!   ring full of relays ─► the new one is refused
//!   ring full, and something else must go ─► lossy: nothing more is taken ─► drained ──┐
//!   unacknowledged for LINK_PATIENCE ──────────────────────────────────────────────────┴─► stream + 1, from 1: Resync
//! ```
//! What goes with a stream that is given up is handed back to the rooms; the receiver is told by `Resync` to look at the
//! registry. So nothing is lost in silence, and nothing is ever delivered twice or out of order.
//!
//! An idle link publishes nothing: no end owes the other an answer once everything is acknowledged.

use std::{collections::VecDeque, time::Duration};

use super::{ClusterEffect, ClusterFact};
use crate::{
    domain::rooms::RoomInput,
    protocol::{
        NodeRef,
        cluster::{Ack, Frame, FrameBody, Inbox, NodeMessage},
        limits,
    },
};

/// What a message weighs beside the bodies and names in it. Unit: bytes, roughly.
const MESSAGE_BYTES: usize = 512;
/// What a recipient of a relay, or a counter of a session, weighs. Unit: bytes, roughly.
const ITEM_BYTES: usize = 96;

/// Both directions between this node in this life and another in one of its own.
#[derive(Debug)]
pub struct Link {
    me: NodeRef,
    peer: NodeRef,
    sender: Sender,
    receiver: Receiver,
}

/// What goes out.
#[derive(Debug)]
struct Sender {
    stream: u64,
    /// The last number given; those of the ring end with it.
    last: u64,
    ring: VecDeque<Kept>,
    ring_bytes: usize,
    /// Something had to be left out of this stream that the peer cannot do without.
    lossy: bool,
    /// When the peer is reminded of what it has not acknowledged.
    tick_due: Duration,
}

#[derive(Debug)]
struct Kept {
    message: NodeMessage,
    bytes: usize,
    since: Duration,
}

/// What comes in.
#[derive(Debug)]
struct Receiver {
    /// 0: nothing has come yet.
    stream: u64,
    /// What is to come next.
    next: u64,
    /// The highest number that is known to have been given.
    known: u64,
    gap: Option<Gap>,
    /// When what has come must be acknowledged at the latest.
    ack_due: Option<Duration>,
    unacknowledged: u32,
}

/// Something is missing.
#[derive(Debug)]
struct Gap {
    nack_due: Duration,
    pause: Duration,
}

impl Link {
    /// A link on which nothing has been said. A later one between the same two has later streams, so a peer that was
    /// given up by mistake does not take the new for the old.
    #[must_use]
    pub fn new(now: Duration, me: NodeRef, peer: NodeRef) -> Self {
        let stream = u64::try_from(now.as_millis()).unwrap_or(u64::MAX / 2).max(1);
        Self { me, peer, sender: Sender::new(stream), receiver: Receiver::new() }
    }

    /// This end.
    #[must_use]
    pub fn me(&self) -> &NodeRef {
        &self.me
    }

    /// Messages that the peer has not acknowledged.
    #[must_use]
    pub fn unacked(&self) -> usize {
        self.sender.ring.len()
    }

    /// Numbers a message, keeps it and publishes it; one that does not fit is handed back.
    pub fn send(&mut self, now: Duration, message: NodeMessage, effects: &mut Vec<ClusterEffect>) {
        match self.sender.keep(now, message) {
            Ok(()) => self.publish_kept(now, self.sender.last, effects),
            Err(refused) => {
                // A relay can be refused to its sender; the news of a room cannot do without any of them.
                self.sender.lossy |= !matches!(refused, NodeMessage::Relay(_));
                self.hand_back(vec![refused], effects);
            }
        }
    }

    /// Takes a frame of the peer's, meant for this life.
    pub fn receive(&mut self, now: Duration, frame: Frame, effects: &mut Vec<ClusterEffect>) {
        if !self.receiver.enter(frame.stream) {
            effects.push(ClusterEffect::Count(ClusterFact::Outdated));
            return;
        }
        if let Some(ack) = frame.ack {
            self.acknowledged(now, ack, effects);
        }
        match frame.body {
            FrameBody::Data { seq, message } => self.take(now, seq, message, effects),
            FrameBody::Tick { last } => self.hear_of(now, last, effects),
            FrameBody::Nack { stream, next } => self.send_again(now, stream, next, effects),
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Duration, effects: &mut Vec<ClusterEffect>) {
        if self.sender.oldest().is_some_and(|since| since + limits::LINK_PATIENCE <= now) {
            self.begin_anew(now, effects);
        }
        if self.receiver.gap.as_ref().is_some_and(|gap| gap.nack_due <= now) {
            self.ask_again(now, effects);
        }
        if !self.sender.ring.is_empty() && self.sender.tick_due <= now {
            self.remind(now, effects);
        }
        if self.receiver.ack_due.is_some_and(|due| due <= now) {
            self.acknowledge(effects);
        }
    }

    /// Says at once how far it has counted, where the peer may have missed something.
    pub fn remind(&mut self, now: Duration, effects: &mut Vec<ClusterEffect>) {
        if !self.sender.ring.is_empty() {
            self.sender.tick_due = now + limits::LINK_TICK;
            self.publish(FrameBody::Tick { last: self.sender.last }, effects);
        }
    }

    /// Ends the link: the peer's life is over, or this one. What has not arrived is handed back.
    pub fn close(mut self, effects: &mut Vec<ClusterEffect>) {
        let lost = self.sender.give_up();
        self.hand_back(lost, effects);
    }

    /// Takes a message, if it is the next.
    fn take(&mut self, now: Duration, seq: u64, message: Box<NodeMessage>, effects: &mut Vec<ClusterEffect>) {
        if seq != self.receiver.next {
            return self.hear_of(now, seq, effects);
        }
        if self.receiver.advance(now) {
            effects.push(ClusterEffect::Count(ClusterFact::GapRepaired));
        }
        effects.push(rooms(RoomInput::Node { from: self.peer.clone(), message }));
        if self.receiver.unacknowledged >= limits::LINK_ACK_MESSAGES {
            self.acknowledge(effects);
        }
    }

    /// The peer has counted so far: something is missing, or it does not know that nothing is.
    fn hear_of(&mut self, now: Duration, seq: u64, effects: &mut Vec<ClusterEffect>) {
        self.receiver.known = self.receiver.known.max(seq);
        if seq == 0 {
            return;
        }
        if seq < self.receiver.next {
            self.receiver.ack_due.get_or_insert(now + limits::LINK_ACK_DELAY);
        } else if self.receiver.gap.is_none() {
            self.receiver.gap = Some(Gap { nack_due: now, pause: limits::LINK_NACK_PAUSE });
            effects.push(ClusterEffect::Count(ClusterFact::GapFound));
            self.ask_again(now, effects);
        }
    }

    fn ask_again(&mut self, now: Duration, effects: &mut Vec<ClusterEffect>) {
        let Some(gap) = &mut self.receiver.gap else { return };
        gap.nack_due = now + gap.pause;
        gap.pause = (gap.pause * 2).min(limits::LINK_TICK);
        let (stream, next) = (self.receiver.stream, self.receiver.next);
        self.publish(FrameBody::Nack { stream, next }, effects);
    }

    fn acknowledged(&mut self, now: Duration, ack: Ack, effects: &mut Vec<ClusterEffect>) {
        self.sender.forget(ack);
        if self.sender.lossy && self.sender.ring.is_empty() {
            self.begin_anew(now, effects);
        }
    }

    /// What comes before `next` has arrived; what comes from it on goes out again, in portions: what one portion leaves out
    /// is asked for when it has arrived.
    fn send_again(&mut self, now: Duration, stream: u64, next: u64, effects: &mut Vec<ClusterEffect>) {
        if stream != self.sender.stream || !(self.sender.first()..=self.sender.last).contains(&next) {
            return;
        }
        self.acknowledged(now, Ack { stream, seq: next - 1 }, effects);
        for seq in (next..=self.sender.last).take(limits::LINK_RESEND_MESSAGES) {
            self.publish_kept(now, seq, effects);
        }
    }

    /// Gives up the stream with all that is unacknowledged, and begins the next by telling the peer so.
    fn begin_anew(&mut self, now: Duration, effects: &mut Vec<ClusterEffect>) {
        let lost = self.sender.give_up();
        effects.push(ClusterEffect::Count(ClusterFact::LinkReset { dropped: lost.len() }));
        self.hand_back(lost, effects);
        self.send(now, NodeMessage::Resync, effects);
    }

    fn hand_back(&self, messages: Vec<NodeMessage>, effects: &mut Vec<ClusterEffect>) {
        if !messages.is_empty() {
            effects.push(rooms(RoomInput::Undelivered { to: self.peer.clone(), messages }));
        }
    }

    fn acknowledge(&mut self, effects: &mut Vec<ClusterEffect>) {
        let last = if self.sender.ring.is_empty() { 0 } else { self.sender.last };
        self.publish(FrameBody::Tick { last }, effects);
    }

    fn publish_kept(&mut self, now: Duration, seq: u64, effects: &mut Vec<ClusterEffect>) {
        self.sender.tick_due = now + limits::LINK_TICK;
        if let Some(message) = self.sender.kept(seq).cloned().map(Box::new) {
            self.publish(FrameBody::Data { seq, message }, effects);
        }
    }

    /// Whatever goes out takes the acknowledgement along.
    fn publish(&mut self, body: FrameBody, effects: &mut Vec<ClusterEffect>) {
        let frame = Frame {
            from: self.me.clone(),
            to: self.peer.incarnation,
            stream: self.sender.stream,
            ack: self.receiver.acknowledge(),
            body,
        };
        let message = Box::new(Inbox::Frame(Box::new(frame)));
        effects.push(ClusterEffect::Publish { to: self.peer.id.clone(), message });
    }
}

impl Sender {
    fn new(stream: u64) -> Self {
        Self { stream, last: 0, ring: VecDeque::new(), ring_bytes: 0, lossy: false, tick_due: Duration::ZERO }
    }

    /// The number of the oldest that is kept.
    fn first(&self) -> u64 {
        self.last + 1 - self.ring.len() as u64
    }

    fn kept(&self, seq: u64) -> Option<&NodeMessage> {
        let place = usize::try_from(seq.checked_sub(self.first())?).ok()?;
        self.ring.get(place).map(|kept| &kept.message)
    }

    /// Since when something has been waiting that somebody would miss. A `Resync` waits as long as it must.
    fn oldest(&self) -> Option<Duration> {
        let missed = |kept: &&Kept| !matches!(kept.message, NodeMessage::Resync);
        self.ring.iter().find(missed).map(|kept| kept.since)
    }

    fn keep(&mut self, now: Duration, message: NodeMessage) -> Result<(), NodeMessage> {
        let bytes = weight(&message);
        let full = self.ring.len() >= limits::LINK_RING_MESSAGES
            || (!self.ring.is_empty() && self.ring_bytes + bytes > limits::LINK_RING_BYTES);
        if full || self.lossy {
            return Err(message);
        }
        self.ring.push_back(Kept { message, bytes, since: now });
        self.ring_bytes += bytes;
        self.last += 1;
        Ok(())
    }

    fn forget(&mut self, ack: Ack) {
        if ack.stream != self.stream || ack.seq > self.last {
            return;
        }
        while self.first() <= ack.seq {
            let Some(kept) = self.ring.pop_front() else { return };
            self.ring_bytes -= kept.bytes;
        }
    }

    /// Leaves the stream, with what was not acknowledged of it.
    fn give_up(&mut self) -> Vec<NodeMessage> {
        let next = Self::new(self.stream + 1);
        let lost = std::mem::replace(self, next).ring.into_iter().map(|kept| kept.message);
        lost.filter(|message| !matches!(message, NodeMessage::Resync)).collect()
    }
}

impl Receiver {
    fn new() -> Self {
        Self { stream: 0, next: 1, known: 0, gap: None, ack_due: None, unacknowledged: 0 }
    }

    /// Follows the peer to a later stream; `false`: this one is over.
    fn enter(&mut self, stream: u64) -> bool {
        if stream > self.stream {
            *self = Self { stream, ..Self::new() };
        }
        stream == self.stream && stream > 0
    }

    /// The next has come. Says whether it was the last that was missing.
    fn advance(&mut self, now: Duration) -> bool {
        self.next += 1;
        self.unacknowledged += 1;
        self.ack_due.get_or_insert(now + limits::LINK_ACK_DELAY);
        let missing = self.known >= self.next;
        if let Some(gap) = self.gap.as_mut().filter(|_| missing) {
            *gap = Gap { nack_due: now + limits::LINK_NACK_PAUSE, pause: limits::LINK_NACK_PAUSE };
        }
        !missing && self.gap.take().is_some()
    }

    fn acknowledge(&mut self) -> Option<Ack> {
        self.ack_due = None;
        self.unacknowledged = 0;
        (self.stream > 0).then(|| Ack { stream: self.stream, seq: self.next - 1 })
    }
}

/// What a message takes in memory and on the wire, without writing it out. Unit: bytes, roughly.
fn weight(message: &NodeMessage) -> usize {
    let content = match message {
        NodeMessage::Relay(relay) => relay.body.len() + relay.to.len() * ITEM_BYTES,
        NodeMessage::HandedOver { state, .. } => {
            let kept: usize = state.kept.iter().flatten().map(|body| body.len() + ITEM_BYTES).sum();
            let counters = state.sent.len() + state.heard.len();
            kept + counters * ITEM_BYTES + state.roster.len() * MESSAGE_BYTES
        }
        NodeMessage::Row { .. }
        | NodeMessage::Gone { .. }
        | NodeMessage::Locked { .. }
        | NodeMessage::Kick { .. }
        | NodeMessage::Mute { .. }
        | NodeMessage::Bounced { .. }
        | NodeMessage::Claim { .. }
        | NodeMessage::NotHere { .. }
        | NodeMessage::Moved { .. }
        | NodeMessage::Missed { .. }
        | NodeMessage::Check { .. }
        | NodeMessage::Resync => 0,
    };
    MESSAGE_BYTES + content
}

fn rooms(input: RoomInput) -> ClusterEffect {
    ClusterEffect::Rooms(Box::new(input))
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
