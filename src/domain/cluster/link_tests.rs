//! Two ends of a link over a bus that loses, doubles, delays and reorders, in virtual time.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::protocol::{
    Incarnation, NodeId, RoomName, SessionId,
    cluster::{RelayMessage, Target},
    event::{Body, PeerEvent},
};

fn node(id: &str, incarnation: u64) -> NodeRef {
    NodeRef { id: NodeId::parse(id).expect("valid"), incarnation: Incarnation(incarnation) }
}

/// A message that says its number, and cannot be refused to a sender.
fn news(number: usize) -> NodeMessage {
    NodeMessage::Locked {
        room: RoomName::parse(&format!("r{number}")).expect("valid"),
        lock: crate::protocol::cluster::RoomLock { locked: true, version: 1 },
    }
}

fn number(message: &NodeMessage) -> Option<usize> {
    let NodeMessage::Locked { room, .. } = message else { return None };
    room.as_str().strip_prefix('r').and_then(|number| number.parse().ok())
}

fn relay(recipients: usize) -> NodeMessage {
    let session = SessionId::new(uuid::Uuid::from_u128(1));
    NodeMessage::Relay(Box::new(RelayMessage {
        room: RoomName::parse("blue").expect("valid"),
        from: session,
        numbering: 1,
        body: Body::of(&PeerEvent::Pong { id: None }),
        to: vec![Target { session, n: 1, after: 0 }; recipients],
        id: None,
        single: false,
    }))
}

/// One end, and what has become of it.
struct End {
    link: Link,
    sent: usize,
    heard: Vec<NodeMessage>,
    back: Vec<NodeMessage>,
    facts: Vec<ClusterFact>,
    /// Its frames that are on their way.
    on_the_way: VecDeque<Frame>,
}

impl End {
    fn new(me: &str, peer: &str) -> Self {
        let link = Link::new(Duration::from_millis(7), node(me, 1), node(peer, 1));
        let (heard, back, facts, on_the_way) = (Vec::new(), Vec::new(), Vec::new(), VecDeque::new());
        Self { link, sent: 0, heard, back, facts, on_the_way }
    }

    fn perform(&mut self, effects: Vec<ClusterEffect>) {
        for effect in effects {
            match effect {
                ClusterEffect::Publish { message, .. } => match *message {
                    Inbox::Frame(frame) => self.on_the_way.push_back(*frame),
                    other => panic!("links send frames, not {other:?}"),
                },
                ClusterEffect::Rooms(input) => match *input {
                    RoomInput::Node { message, .. } => self.heard.push(*message),
                    RoomInput::Undelivered { messages, .. } => self.back.extend(messages),
                    other => panic!("{other:?}"),
                },
                ClusterEffect::Count(fact) => self.facts.push(fact),
                other => panic!("{other:?}"),
            }
        }
    }

    fn numbers(&self) -> Vec<usize> {
        self.heard.iter().filter_map(number).collect()
    }

    fn resyncs(&self) -> usize {
        self.heard.iter().filter(|message| **message == NodeMessage::Resync).count()
    }
}

struct Pair {
    ends: [End; 2],
    now: Duration,
}

impl Pair {
    fn new() -> Self {
        Self { ends: [End::new("n1", "n2"), End::new("n2", "n1")], now: Duration::from_millis(7) }
    }

    fn say(&mut self, end: usize, message: NodeMessage) {
        let mut effects = Vec::new();
        self.ends[end].link.send(self.now, message, &mut effects);
        self.ends[end].perform(effects);
    }

    fn say_next(&mut self, end: usize) {
        self.ends[end].sent += 1;
        self.say(end, news(self.ends[end].sent));
    }

    /// Delivers a frame of that end.
    fn deliver(&mut self, from: usize, frame: Frame) {
        let mut effects = Vec::new();
        self.ends[1 - from].link.receive(self.now, frame, &mut effects);
        self.ends[1 - from].perform(effects);
    }

    /// Everything that is on its way arrives, and what follows from it.
    fn flow(&mut self) {
        while let Some(from) = (0..2).find(|end| !self.ends[*end].on_the_way.is_empty()) {
            let frame = self.ends[from].on_the_way.pop_front().expect("not empty");
            self.deliver(from, frame);
        }
    }

    fn lose(&mut self) -> usize {
        self.ends.iter_mut().map(|end| end.on_the_way.drain(..).count()).sum()
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        for end in &mut self.ends {
            let mut effects = Vec::new();
            end.link.tick(self.now, &mut effects);
            end.perform(effects);
        }
    }

    /// Passes time with nothing lost; returns how many frames there were.
    fn run(&mut self, time: Duration) -> usize {
        let (until, mut frames) = (self.now + time, 0);
        while self.now < until {
            self.pass(limits::LINK_ACK_DELAY);
            frames += self.ends.iter().map(|end| end.on_the_way.len()).sum::<usize>();
            self.flow();
        }
        frames
    }
}

#[test]
fn one_message_costs_one_acknowledgement_and_then_the_link_is_silent() {
    let mut pair = Pair::new();
    assert_eq!(pair.run(LONG), 0, "nothing was said");
    pair.say_next(0);
    pair.flow();
    assert_eq!(pair.ends[1].numbers(), [1]);
    assert_eq!(pair.ends[0].link.unacked(), 1, "it waits for company");
    assert_eq!(pair.run(limits::LINK_ACK_DELAY), 1);
    assert_eq!(pair.ends[0].link.unacked(), 0);
    assert_eq!(pair.run(LONG), 0);
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn acknowledgements_go_with_what_goes_back_or_by_the_dozen() {
    let mut pair = Pair::new();
    pair.say_next(0);
    pair.flow();
    pair.say_next(1);
    pair.flow();
    assert_eq!(pair.ends[0].link.unacked(), 0, "the answer took it along");
    for _ in 1..limits::LINK_ACK_MESSAGES {
        pair.say_next(0);
    }
    pair.flow();
    assert_ne!(pair.ends[0].link.unacked(), 0);
    pair.say_next(0);
    pair.flow();
    assert_eq!(pair.ends[0].link.unacked(), 0);
}

#[test]
fn what_is_missing_is_asked_for_at_once_and_comes_in_order() {
    let mut pair = Pair::new();
    pair.say_next(0);
    pair.lose();
    (0..600).for_each(|_| pair.say_next(0));
    pair.flow();
    assert_eq!(pair.ends[1].numbers(), (1..=512).collect::<Vec<_>>(), "a portion, with no time passed");
    pair.run(limits::LINK_TICK);
    assert_eq!(pair.ends[1].numbers(), (1..=601).collect::<Vec<_>>());
    assert_eq!(pair.ends[1].facts, [ClusterFact::GapFound, ClusterFact::GapRepaired]);
    assert_eq!(pair.ends[0].link.unacked(), 0);
}

#[test]
fn a_flood_after_a_gap_does_not_ask_for_it_each_time() {
    let mut pair = Pair::new();
    pair.say_next(0);
    pair.lose();
    (0..100).for_each(|_| pair.say_next(0));
    let flood: Vec<_> = pair.ends[0].on_the_way.drain(..).collect();
    flood.into_iter().for_each(|frame| pair.deliver(0, frame));
    assert_eq!(pair.ends[1].on_the_way.len(), 1);
    // Nobody answers: it is asked for again, ever more rarely.
    let mut asked = pair.lose();
    for _ in 0..80 {
        pair.pass(limits::LINK_ACK_DELAY);
        asked += pair.ends[1].on_the_way.drain(..).count();
        pair.lose();
    }
    assert!((8..15).contains(&asked), "asked {asked} times in four seconds");
}

#[test]
fn a_lost_tail_and_a_lost_acknowledgement_are_found() {
    let mut pair = Pair::new();
    pair.say_next(0);
    pair.lose();
    assert!(pair.run(limits::LINK_TICK * 2) > 0);
    assert_eq!(pair.ends[1].numbers(), [1]);
    pair.say_next(0);
    pair.flow();
    pair.pass(limits::LINK_ACK_DELAY);
    assert_eq!(pair.lose(), 1, "the acknowledgement");
    pair.run(limits::LINK_TICK * 2);
    assert_eq!(pair.ends[0].link.unacked(), 0);
    assert_eq!(pair.ends[1].numbers(), [1, 2], "not twice");
    assert_eq!(pair.run(LONG), 0);
}

#[test]
fn a_full_ring_refuses_relays_to_their_senders() {
    let mut pair = Pair::new();
    (0..limits::LINK_RING_MESSAGES + 3).for_each(|_| pair.say(0, relay(1)));
    assert_eq!(pair.ends[0].link.unacked(), limits::LINK_RING_MESSAGES);
    assert_eq!(pair.ends[0].back.len(), 3);
    pair.flow();
    pair.run(limits::LINK_TICK);
    assert_eq!(pair.ends[1].heard.len(), limits::LINK_RING_MESSAGES);
    pair.say_next(0);
    pair.flow();
    assert_eq!(pair.ends[1].numbers(), [1], "it goes on as if nothing had been");
    assert_eq!(pair.ends[1].resyncs(), 0);
}

#[test]
fn the_ring_is_bounded_in_bytes_but_takes_one_of_any_size() {
    let mut pair = Pair::new();
    let large = limits::LINK_RING_BYTES / ITEM_BYTES + 1;
    pair.say(0, relay(large));
    assert_eq!((pair.ends[0].link.unacked(), pair.ends[0].back.len()), (1, 0));
    pair.say(0, relay(1));
    assert_eq!((pair.ends[0].link.unacked(), pair.ends[0].back.len()), (1, 1));
}

#[test]
fn when_news_does_not_fit_the_link_drains_and_begins_anew() {
    let mut pair = Pair::new();
    (0..limits::LINK_RING_MESSAGES).for_each(|_| pair.say(0, relay(1)));
    pair.say_next(0);
    pair.say(0, relay(1));
    let first = pair.ends[0].on_the_way.pop_front().expect("published");
    pair.deliver(0, first);
    pair.say_next(1);
    let acknowledgement = pair.ends[1].on_the_way.pop_front().expect("published");
    pair.deliver(1, acknowledgement);
    assert_eq!(pair.ends[0].link.unacked(), limits::LINK_RING_MESSAGES - 1);
    pair.say(0, relay(1));
    assert_eq!(pair.ends[0].back.len(), 3, "nothing passes the news that was left out");
    pair.flow();
    pair.run(limits::LINK_TICK);
    assert_eq!(pair.ends[1].heard.len(), limits::LINK_RING_MESSAGES + 1);
    assert_eq!(pair.ends[1].heard.last(), Some(&NodeMessage::Resync));
    assert_eq!(pair.ends[0].facts, [ClusterFact::LinkReset { dropped: 0 }]);
    pair.say(0, relay(1));
    assert_eq!(pair.ends[0].back.len(), 3);
}

#[test]
fn what_nobody_acknowledges_is_handed_back_and_the_peer_told_to_sync() {
    let mut pair = Pair::new();
    (0..3).for_each(|_| pair.say_next(0));
    let late: Vec<_> = pair.ends[0].on_the_way.drain(..).collect();
    for _ in 0..400 {
        pair.pass(limits::LINK_ACK_DELAY);
        pair.lose();
    }
    let back: Vec<_> = pair.ends[0].back.iter().filter_map(number).collect();
    assert_eq!(back, [1, 2, 3]);
    assert_eq!(pair.ends[0].facts, [ClusterFact::LinkReset { dropped: 3 }], "the word itself waits");
    pair.run(limits::LINK_TICK * 2);
    assert_eq!(pair.ends[1].heard, [NodeMessage::Resync]);
    late.into_iter().for_each(|frame| pair.deliver(0, frame));
    assert_eq!(pair.ends[1].heard, [NodeMessage::Resync], "of a stream that is over");
    assert_eq!(pair.ends[1].facts.iter().filter(|fact| **fact == ClusterFact::Outdated).count(), 3);
}

#[test]
fn frames_that_make_no_sense_change_nothing() {
    let mut pair = Pair::new();
    pair.say_next(0);
    pair.flow();
    pair.run(limits::LINK_TICK);
    let frame = |stream, ack, body| Frame { from: node("n1", 1), to: Incarnation(1), stream, ack, body };
    let stream = pair.ends[0].link.sender.stream;
    let far = Some(Ack { stream: 7, seq: u64::MAX });
    for body in [
        FrameBody::Nack { stream: 7, next: 0 },
        FrameBody::Nack { stream: 7, next: 5 },
        FrameBody::Nack { stream: 9, next: 1 },
        FrameBody::Tick { last: 0 },
    ] {
        pair.deliver(0, frame(0, far, body.clone()));
        pair.deliver(0, frame(stream, far, body));
    }
    assert_eq!(pair.run(LONG), 0);
    pair.say_next(1);
    pair.flow();
    assert_eq!(pair.ends[0].numbers(), [1]);
}

#[test]
fn a_link_that_was_given_up_by_mistake_heals() {
    let mut pair = Pair::new();
    pair.say_next(0);
    pair.say_next(1);
    pair.flow();
    pair.run(limits::LINK_TICK);
    let me = pair.ends[0].link.me.clone();
    let peer = pair.ends[0].link.peer.clone();
    let mut effects = Vec::new();
    std::mem::replace(&mut pair.ends[0].link, Link::new(pair.now, me, peer)).close(&mut effects);
    assert!(effects.is_empty());
    pair.say_next(0);
    pair.say_next(1);
    pair.run(LONG);
    assert_eq!(pair.ends[1].numbers(), [1, 2]);
    assert_eq!(
        (pair.ends[0].numbers(), pair.ends[0].resyncs()),
        (vec![1], 1),
        "told, as it cannot be repaired"
    );
    assert_eq!(pair.ends[1].back.len(), 1);
}

#[derive(Debug, Clone)]
enum Step {
    Say(usize),
    /// The frame at that place arrives; it may overtake others.
    Deliver(usize, usize),
    Double(usize, usize),
    Lose(usize, usize),
    Flow,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (end, place) = (0..2_usize, 0..6_usize);
    prop_oneof![
        6 => end.clone().prop_map(Step::Say),
        6 => end.clone().prop_map(|end| Step::Deliver(end, 0)),
        2 => (end.clone(), place.clone()).prop_map(|(end, place)| Step::Deliver(end, place)),
        2 => (end.clone(), place.clone()).prop_map(|(end, place)| Step::Double(end, place)),
        3 => (end, place).prop_map(|(end, place)| Step::Lose(end, place)),
        1 => Just(Step::Flow),
        3 => (1..300_u64).prop_map(Step::Pass),
        1 => (1000..9000_u64).prop_map(Step::Pass),
    ]
}

fn act(pair: &mut Pair, step: &Step) {
    match *step {
        Step::Say(end) => pair.say_next(end),
        Step::Deliver(end, place) => {
            if let Some(frame) = pair.ends[end].on_the_way.remove(place) {
                pair.deliver(end, frame);
            }
        }
        Step::Double(end, place) => {
            if let Some(frame) = pair.ends[end].on_the_way.get(place).cloned() {
                pair.deliver(end, frame);
            }
        }
        Step::Lose(end, place) => drop(pair.ends[end].on_the_way.remove(place)),
        Step::Flow => pair.flow(),
        Step::Pass(ms) => pair.pass(Duration::from_millis(ms)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn everything_arrives_once_and_in_order_or_is_handed_back_and_told(
        steps in prop::collection::vec(step(), 1..300),
    ) {
        let mut pair = Pair::new();
        for step in &steps {
            act(&mut pair, step);
        }
        pair.flow();
        pair.run(LONG);
        prop_assert_eq!(pair.run(LONG), 0, "idle, so silent");
        for end in 0..2 {
            let (sender, receiver) = (&pair.ends[end], &pair.ends[1 - end]);
            let heard = receiver.numbers();
            prop_assert!(heard.is_sorted_by(|a, b| a < b), "{:?}", heard);
            let back: Vec<_> = sender.back.iter().filter_map(number).collect();
            for number in 1..=sender.sent {
                prop_assert!(heard.contains(&number) || back.contains(&number), "{} is lost", number);
            }
            prop_assert!(back.is_empty() || receiver.heard.contains(&NodeMessage::Resync), "not told");
            prop_assert_eq!(sender.link.unacked(), 0);
        }
    }
}
