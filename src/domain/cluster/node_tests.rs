//! Node life: each transition, among nodes around a model of the shared store.

use super::{
    super::test_world::{GRACE, LEASE, Node, Reach, SECOND, World, all, news, node},
    *,
};
use crate::{
    domain::cluster::{Mine, Renewal},
    protocol::{cluster::FrameBody, limits},
};

#[test]
fn a_node_looks_takes_a_lease_and_serves() {
    let mut world = World::new();
    world.start("n1", "n1", 7);
    assert_eq!(world.mode("n1"), Mode::Serving);
    let renewals = |node: &Node| node.beats.iter().map(|(_, renewal)| *renewal).collect::<Vec<_>>();
    assert_eq!(renewals(world.node("n1")), [Renewal::Look, Renewal::First]);
    assert_eq!(world.node("n1").started, 1);
    assert_eq!(world.node("n1").reasserted(), [(node("n1", 7), false)]);
    assert_eq!(world.node("n1").reasons(), [], "there was nothing to put back");
    world.run(LEASE);
    assert_eq!(world.node("n1").beats.len(), 2 + 4, "four to a lease");
    let (_, until) = world.node("n1").lease.clone().expect("leased");
    let left = until - world.now;
    assert!(left > LEASE / 2 && left < LEASE, "{left:?}");
}

#[test]
fn the_rooms_hear_what_the_shared_clock_says_before_they_are_told_of_a_lease() {
    let mut world = World::new();
    world.start_at("n1", node("n1", 7), Reach::Nothing);
    world.run(SECOND);
    let told = |world: &mut World| {
        let rooms = std::mem::take(&mut world.node("n1").rooms);
        let times = rooms.iter().filter_map(|input| match input {
            RoomInput::RegistryTime(ms) => Some(*ms),
            _ => None,
        });
        let begins = rooms.iter().position(|input| matches!(input, RoomInput::Reassert { .. }));
        let heard = rooms.iter().position(|input| matches!(input, RoomInput::RegistryTime(_)));
        (times.collect::<Vec<_>>(), heard < begins)
    };
    assert!(told(&mut world).0.is_empty(), "nothing has answered yet");
    world.node("n1").reach = Reach::All;
    world.until(|world| world.mode("n1") == Mode::Serving);
    assert_eq!(told(&mut world), (vec![world.store.now_ms], true), "in time");
    world.until(|world| world.node("n1").rooms.len() == 1);
    assert_eq!(told(&mut world).0, [world.store.now_ms], "with each beat");
}

#[test]
fn nodes_find_each_other_and_an_unknown_one_is_heard_at_once() {
    let mut world = World::of_three();
    assert_eq!(world.node("n1").live(), all(&["n2", "n3"]));
    world.node("n1").reach = Reach::Deaf;
    world.start("n4", "n4", 1);
    world.node("n1").reach = Reach::All;
    assert_eq!(world.node("n1").live(), all(&["n2", "n3"]), "it did not hear of it");
    let me = world.me("n1");
    world.send("n4", me, news());
    assert_eq!(world.node("n1").heard(), [(node("n4", 1), news())]);
    let told = world.nodes["n1"].rooms.iter().rposition(|input| matches!(input, RoomInput::NodesLive(_)));
    let heard = world.nodes["n1"].rooms.iter().rposition(|input| matches!(input, RoomInput::Node { .. }));
    assert!(told < heard, "the rooms know whose message it is");
    world.run(LEASE * 2);
    assert_eq!(world.node("n1").live(), all(&["n2", "n3", "n4"]));
}

#[test]
fn a_node_that_dies_is_found_when_its_lease_ends_and_once() {
    let mut world = World::of_three();
    world.send("n1", node("n3", 1), news());
    // Its end does not fall on anybody's beat.
    world.run(SECOND / 2);
    ["n1", "n2"].iter().for_each(|key| world.give(key, ClusterInput::StoreFailed));
    world.run(SECOND / 2);
    world.node("n3").reach = Reach::Dead;
    world.run(LEASE / 2);
    world.send("n1", node("n3", 1), news());
    let ends = world.store.leases[&node("n3", 1)];
    world.until(|world| !world.node("n1").died().is_empty());
    let late = world.store.now_ms - ends;
    assert!(late <= 150, "{late} ms after its end");
    world.run(SECOND);
    for key in ["n1", "n2"] {
        assert_eq!(world.node(key).died(), [node("n3", 1)]);
        assert!(!world.node(key).live().contains(&node("n3", 1)));
    }
    assert_eq!(world.node("n1").undelivered(), [(node("n3", 1), 1)]);
    let told: usize = world.nodes.values().map(|node| node.announced.len()).sum();
    assert!(told <= 3 + 2, "each says so at most once: {told}");
    world.send("n1", node("n3", 1), news());
    assert_eq!(world.node("n1").undelivered().len(), 2, "at once");
    world.run(GRACE + LEASE);
    assert!(!world.store.leases.contains_key(&node("n3", 1)), "nothing is left of it");
    assert_eq!(world.nodes["n1"].cluster.view(world.clock()).peers.len(), 1);
}

#[test]
fn a_graceful_stop_is_seen_at_once() {
    let mut world = World::of_three();
    world.give("n3", ClusterInput::Drain);
    let view = world.nodes["n1"].cluster.view(world.clock());
    assert!(view.peers.iter().any(|peer| peer.node == node("n3", 1) && peer.draining));
    world.give("n3", ClusterInput::Stop);
    world.run(SECOND / 2);
    assert_eq!(world.node("n1").live(), all(&["n2"]));
    assert_eq!(world.node("n2").live(), all(&["n1"]));
    world.run(LEASE);
    assert!(!world.store.leases.contains_key(&node("n3", 1)), "it takes no new one");
}

#[test]
fn a_false_word_of_a_nodes_end_is_looked_into_and_not_believed() {
    let mut world = World::of_three();
    let beats = world.node("n1").beats.len();
    for _ in 0..100 {
        world.give("n1", ClusterInput::Told(Event::Down(node("n3", 1))));
        world.give("n3", ClusterInput::Told(Event::Down(node("n3", 1))));
    }
    world.run(SECOND / 5);
    let more = world.node("n1").beats.len() - beats;
    assert!((1..=3).contains(&more), "{more} looks");
    assert_eq!(world.node("n1").live(), all(&["n2", "n3"]));
    assert_eq!(world.me("n3"), node("n3", 1));
    assert_eq!(world.node("n3").reasons(), [Reason::NewLife], "what was made of it is put right");
}

#[test]
fn a_node_that_stood_still_past_its_lease_comes_back_under_a_new_life() {
    let mut world = World::of_three();
    world.send("n3", node("n1", 1), news());
    world.run(SECOND);
    world.node("n3").reach = Reach::Frozen;
    world.send("n1", node("n3", 1), news());
    world.run(LEASE * 2);
    world.node("n3").reach = Reach::All;
    world.give("n3", ClusterInput::Arrived(Box::new(Inbox::Probe { from: node("n3", 1), number: 1 })));
    assert_eq!(world.node("n3").isolated(), [true], "it does not write on, whatever comes first");
    world.run(SECOND);
    let new = world.me("n3");
    assert!(new.incarnation > node("n3", 1).incarnation);
    assert_eq!(world.node("n3").reasons(), [Reason::NewLife]);
    assert_eq!(world.node("n3").reasserted().last(), Some(&(new.clone(), false)));
    assert_eq!(world.node("n3").isolated(), [true, false]);
    assert_eq!(world.node("n1").live(), BTreeSet::from([node("n2", 1), new.clone()]));
    world.send("n1", new.clone(), news());
    world.send("n3", node("n1", 1), news());
    assert_eq!(world.node("n3").heard(), [(node("n1", 1), news())]);
    assert_eq!(world.node("n1").heard().last(), Some(&(new, news())));
    world.run(GRACE + LEASE * 2);
    assert_eq!(world.store.leases.len(), 3, "nothing is left of the earlier life");
}

#[test]
fn a_short_stop_within_the_lease_is_nothing() {
    let mut world = World::of_three();
    world.node("n3").reach = Reach::Frozen;
    world.run(LEASE / 2);
    world.node("n3").reach = Reach::All;
    world.run(LEASE);
    assert_eq!(world.me("n3"), node("n3", 1));
    assert_eq!(world.node("n1").died(), []);
    assert!(world.node("n3").isolated().is_empty());
}

#[test]
fn a_rival_that_renews_its_lease_keeps_the_name() {
    let mut world = World::of_three();
    world.start("again", "n1", 50);
    assert_eq!(world.mode("again"), Mode::Starting);
    world.run(LEASE / 2 + SECOND / 2);
    assert_eq!(world.node("again").rivals, [node("n1", 1)]);
    assert_eq!(world.node("again").started, 0);
    world.run(LEASE * 2);
    assert_eq!((world.node("again").rivals.len(), world.node("n1").rivals.len()), (1, 0));
    assert_eq!(world.node("n2").live(), all(&["n1", "n3"]));
    assert_eq!(world.node("n2").died(), []);
}

#[test]
fn a_restarted_node_waits_half_a_lease_and_its_earlier_life_is_dead_at_once() {
    let mut world = World::of_three();
    world.node("n1").reach = Reach::Dead;
    world.start("again", "n1", 50);
    let took = world.until(|world| world.node("again").started == 1);
    assert!(took >= LEASE / 2 && took < LEASE * 3 / 4, "{took:?}");
    assert_eq!(world.node("n2").live(), BTreeSet::from([node("n1", 50), node("n3", 1)]));
    assert_eq!(world.node("n2").died(), [node("n1", 1)]);
    let late = Frame {
        from: node("n1", 1),
        to: node("n2", 1).incarnation,
        stream: 1,
        ack: None,
        body: FrameBody::Data { seq: 1, message: Box::new(news()) },
    };
    world.give("n2", ClusterInput::Arrived(Box::new(Inbox::Frame(Box::new(late)))));
    assert_eq!(world.node("n2").facts.last(), Some(&ClusterFact::Outdated));
    assert_eq!(world.node("n2").heard(), []);
    world.run(GRACE + LEASE);
    assert!(!world.store.leases.contains_key(&node("n1", 1)));
}

#[test]
fn a_restart_after_the_lease_has_run_out_waits_for_nothing_and_is_later_than_any_life_before() {
    let mut world = World::of_three();
    world.node("n1").reach = Reach::Dead;
    world.node("n2").reach = Reach::Dead;
    world.node("n3").reach = Reach::Dead;
    world.run(LEASE * 2);
    // Its wall clock has been set back meanwhile.
    world.start("again", "n1", 0);
    assert_eq!(world.node("again").started, 1);
    let me = world.me("again");
    assert!(me.incarnation > node("n1", 1).incarnation);
    assert_eq!(world.node("again").reasserted(), [(me, false)]);
}

#[test]
fn a_node_whose_name_was_taken_over_while_it_stood_still_stops() {
    let mut world = World::of_three();
    world.node("n1").reach = Reach::Frozen;
    world.start("again", "n1", 50);
    world.run(LEASE);
    assert_eq!(world.mode("again"), Mode::Serving);
    world.node("n1").reach = Reach::All;
    world.run(LEASE);
    assert_eq!(world.node("n1").rivals, [node("n1", 50)]);
    assert_eq!(world.node("again").rivals, []);
    let beats = world.node("n1").beats.len();
    world.run(LEASE);
    assert_eq!(world.node("n1").beats.len(), beats);
    world.give("n1", ClusterInput::Stop);
    world.run(SECOND);
    assert!(world.node("n2").live().contains(&node("n1", 50)));
    assert!(world.store.leases.contains_key(&node("n1", 50)));
}

#[test]
fn a_lease_that_was_asked_for_in_vain_is_no_rival() {
    let mut world = World::of_three();
    world.node("n1").reach = Reach::Frozen;
    world.run(LEASE * 2);
    // It asks for a lease under a new life; it is written, but the answer is lost.
    world.node("n1").reach = Reach::All;
    let taken = {
        let (clock, mut effects) = (world.clock(), Vec::new());
        let cluster = &mut world.node("n1").cluster;
        cluster.handle(clock, ClusterInput::Tick, &mut effects);
        let run_out = Beat { mine: Mine::RunOut, ends_ms: 0, peers: Vec::new(), epoch: "one".into() };
        let answer = ClusterInput::BeatAnswered { asked: clock.mono, beat: Some(run_out) };
        cluster.handle(clock, answer, &mut effects);
        let asked = effects.iter().rev().find_map(|effect| match effect {
            ClusterEffect::Beat { node, renewal: Renewal::First } => Some(node.clone()),
            _ => None,
        });
        let answer = ClusterInput::BeatAnswered { asked: clock.mono, beat: None };
        cluster.handle(clock, answer, &mut effects);
        asked.expect("asked for")
    };
    let ends_ms = world.store.now_ms + 8000;
    world.store.leases.insert(taken.clone(), ends_ms);
    world.run(SECOND);
    assert_eq!((world.mode("n1"), world.node("n1").rivals.len()), (Mode::Serving, 0));
    assert!(world.me("n1").incarnation > taken.incarnation);
    world.run(LEASE * 3 + GRACE);
    assert_eq!((world.mode("n1"), world.store.leases.len()), (Mode::Serving, 3));
}

#[test]
fn a_subscription_that_brings_nothing_is_made_anew_and_not_too_often() {
    let mut world = World::of_three();
    let probed =
        |node: &Node| node.facts.iter().filter(|fact| matches!(fact, ClusterFact::Probed(_))).count();
    let before = probed(world.node("n1"));
    world.run(SECOND * 5);
    assert_eq!(probed(world.node("n1")) - before, 5);
    world.node("n1").reach = Reach::Deaf;
    world.run(SECOND * 4);
    assert_eq!(world.node("n1").rebuilt, 1);
    world.run(SECOND * 9);
    assert_eq!(world.node("n1").rebuilt, 4);
    world.node("n1").reach = Reach::All;
    world.run(SECOND * 9);
    assert_eq!(world.node("n1").rebuilt, 4);
}

#[test]
fn when_the_subscription_is_back_what_may_be_missing_is_said_at_once() {
    let mut world = World::of_three();
    world.node("n2").reach = Reach::Deaf;
    world.send("n1", node("n2", 1), news());
    world.node("n2").reach = Reach::All;
    let before = world.node("n1").frames;
    world.give("n1", ClusterInput::Subscribed);
    assert!(world.node("n1").frames > before);
    assert_eq!(world.node("n2").heard(), [(node("n1", 1), news())]);
    world.run(SECOND);
    let before = world.node("n1").frames;
    world.give("n1", ClusterInput::Subscribed);
    world.run(LEASE);
    assert_eq!(world.node("n1").frames, before, "idle");
}

#[test]
fn what_has_this_nodes_own_name_or_is_for_another_life_is_dropped() {
    let mut world = World::of_three();
    let frame = |from: NodeRef, to: u64| {
        let to = node("n1", to).incarnation;
        let body = FrameBody::Data { seq: 1, message: Box::new(news()) };
        ClusterInput::Arrived(Box::new(Inbox::Frame(Box::new(Frame {
            from,
            to,
            stream: 1,
            ack: None,
            body,
        }))))
    };
    world.give("n1", frame(node("n1", 1), 1));
    world.give("n1", frame(node("n1", 9), 1));
    world.give("n1", frame(node("n2", 1), 9));
    world.give("n1", frame(node("n2", 0), 1));
    assert_eq!(world.node("n1").heard(), []);
    let outdated = world.node("n1").facts.iter().filter(|fact| **fact == ClusterFact::Outdated).count();
    assert_eq!(outdated, 4);
    world.send("n1", node("n1", 1), news());
    assert_eq!(world.node("n1").undelivered(), [(node("n1", 1), 1)]);
}

#[test]
fn a_lease_that_is_seen_to_have_run_out_is_over_whatever_this_nodes_clock_says() {
    let mut peers = Peers::new(LEASE);
    let peer = |left| Peer { node: node("n2", 1), ends_ms: 0, left };
    assert!(peers.listed(SECOND, SECOND, &[peer(LEASE)]).is_empty());
    let died = peers.listed(SECOND * 2, SECOND * 2, &[peer(Duration::ZERO)]);
    assert_eq!(died, [Died { node: node("n2", 1), known: false }]);
}

#[test]
fn the_dead_that_are_remembered_are_bounded() {
    let mut peers = Peers::new(LEASE);
    for number in 0..limits::DEAD_NODES_MAX + 5 {
        let now = Duration::from_secs(number as u64);
        let peer = node(&format!("pod-{number}"), 1);
        peers.meet(now, &peer);
        peers.told_down(now, &peer);
        peers.listed(now, now, &[]);
        assert!(peers.is_over(&peer));
    }
    assert!(!peers.is_over(&node("pod-0", 1)));
    assert!(peers.is_over(&node("pod-5", 1)));
}
