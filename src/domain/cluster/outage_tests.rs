//! The shared store is away, hangs, is emptied, rolled back or divided; and anything after anything.

use proptest::prelude::*;

use super::{
    super::test_world::{GRACE, LEASE, Reach, SECOND, Store, World, all, news, node},
    *,
};
use crate::{domain::cluster::Mine, protocol::limits};

#[test]
fn while_the_store_is_away_a_node_is_isolated_and_then_puts_everything_back() {
    let mut world = World::of_three();
    for key in ["n1", "n2", "n3"] {
        world.node(key).reach = Reach::Nothing;
    }
    world.give("n1", ClusterInput::StoreFailed);
    assert_eq!(world.node("n1").isolated(), [true], "at once");
    world.run(SECOND * 3);
    assert_eq!(world.mode("n2"), Mode::Isolated);
    assert_eq!(world.node("n1").live(), all(&["n2", "n3"]), "nobody is dead for that");
    for key in ["n1", "n2", "n3"] {
        world.node(key).reach = Reach::All;
    }
    world.run(SECOND);
    assert_eq!(world.node("n1").isolated(), [true, false]);
    assert_eq!(world.node("n1").reasons(), [Reason::Back]);
    assert_eq!(world.node("n1").reasserted().last(), Some(&(node("n1", 1), false)), "the same life");
}

#[test]
fn after_a_long_outage_every_node_is_in_a_new_life_and_they_agree() {
    let mut world = World::of_three();
    for key in ["n1", "n2", "n3"] {
        world.node(key).reach = Reach::Nothing;
    }
    world.run(LEASE * 10);
    for key in ["n1", "n2", "n3"] {
        world.node(key).reach = Reach::All;
    }
    world.run(SECOND);
    let lives: BTreeSet<_> = ["n1", "n2", "n3"].map(|key| world.me(key)).into();
    assert!(lives.is_disjoint(&all(&["n1", "n2", "n3"])));
    for key in ["n1", "n2", "n3"] {
        let mut known = world.node(key).live();
        known.insert(world.me(key));
        assert_eq!(known, lives);
    }
}

#[test]
fn after_a_long_outage_nobody_is_dead_for_coming_back_later_than_others() {
    let mut world = World::of_three();
    for key in ["n1", "n2", "n3"] {
        world.node(key).reach = Reach::Nothing;
    }
    world.run(LEASE * 2);
    let told = world.node("n1").rooms.len();
    for key in ["n1", "n2"] {
        world.node(key).reach = Reach::All;
        world.run(SECOND);
    }
    let seen_dead = |world: &mut World, id: &str| {
        world.node("n1").rooms[told..].iter().any(|input| match input {
            RoomInput::NodesLive(live) => live.iter().all(|node| node.id.as_str() != id),
            _ => false,
        })
    };
    assert_eq!(world.mode("n2"), Mode::Serving);
    assert!(!seen_dead(&mut world, "n2") && !seen_dead(&mut world, "n3"));
    // One that does not come back at all is found.
    world.run(limits::AMNESTY);
    assert!(!seen_dead(&mut world, "n2") && seen_dead(&mut world, "n3"));
}

#[test]
fn a_store_that_hangs_is_asked_one_thing_at_a_time() {
    let mut world = World::of_three();
    world.node("n1").reach = Reach::Hung;
    let before = world.node("n1").beats.len();
    world.run(SECOND * 9);
    assert_eq!(world.node("n1").isolated(), [true]);
    let asked: Vec<_> = world.node("n1").beats[before..].iter().map(|(at, _)| *at).collect();
    assert!(asked.len() >= 4, "{asked:?}");
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= limits::BEAT_TIMEOUT), "{asked:?}");
    // An answer to one that was given up is none, though another one is out.
    world.until(|world| world.node("n1").beats.len() > before + asked.len());
    world.store.leases.remove(&node("n1", 1));
    let beat = Beat { mine: Mine::Absent, ends_ms: 0, peers: vec![], epoch: "one".into() };
    world.give("n1", ClusterInput::BeatAnswered { asked: asked[0], beat: Some(beat) });
    assert_eq!((world.mode("n1"), world.node("n1").beats.len()), (Mode::Isolated, before + asked.len() + 1));
}

#[test]
fn a_store_that_was_emptied_is_filled_again_under_the_same_life_and_nobody_dies() {
    let mut world = World::of_three();
    world.send("n1", node("n2", 1), news());
    world.run(SECOND);
    world.node("n2").reach = Reach::Deaf;
    world.send("n1", node("n2", 1), news());
    world.store.empty();
    world.run(LEASE / 4);
    world.node("n2").reach = Reach::All;
    world.run(SECOND);
    assert_eq!((world.node("n2").heard().len(), world.node("n1").undelivered().len()), (2, 0), "links go on");
    for key in ["n1", "n2", "n3"] {
        assert_eq!(world.node(key).reasons(), [Reason::Emptied]);
        let me = world.me(key);
        assert_eq!(me.incarnation, node("n1", 1).incarnation);
        assert_eq!(world.node(key).reasserted().last(), Some(&(me, true)));
        assert_eq!((world.node(key).died(), world.node(key).isolated()), (vec![], vec![]));
    }
    world.run(LEASE * 2);
    assert_eq!(world.node("n1").live(), all(&["n2", "n3"]));
    // One that is dead meanwhile is found all the same.
    world.store.empty();
    world.node("n3").reach = Reach::Dead;
    world.run(LEASE * 2);
    assert_eq!(world.node("n1").live(), all(&["n2"]));
}

#[test]
fn a_store_with_another_name_is_another_store_though_the_lease_is_there() {
    let mut world = World::of_three();
    world.store.epoch = "two".into();
    world.run(LEASE / 4);
    assert_eq!(world.node("n1").reasons(), [Reason::Emptied]);
    assert_eq!(world.node("n1").reasserted().pop(), Some((node("n1", 1), true)));
    world.run(LEASE);
    assert_eq!(world.node("n1").reasons().len(), 1, "once");
}

#[test]
fn a_node_that_begins_while_the_store_is_empty_takes_nobody_for_dead() {
    let mut world = World::of_three();
    world.node("n3").reach = Reach::Dead;
    world.start("again", "n3", 50);
    world.run(SECOND);
    // It has seen the others' leases, and looks again before they have put them back.
    world.store.empty();
    world.run(LEASE);
    assert_eq!(world.mode("again"), Mode::Serving);
    assert_eq!(world.node("again").died(), []);
    for key in ["n1", "n2"] {
        assert_eq!(world.node(key).died(), [node("n3", 1)]);
        assert_eq!(world.me(key).incarnation, node("n1", 1).incarnation);
    }
}

#[test]
fn after_the_connections_were_lost_everything_is_put_back_though_the_lease_is_there() {
    let mut world = World::of_three();
    world.give("n1", ClusterInput::Subscribed);
    world.run(SECOND);
    assert!(world.node("n1").reasons().is_empty(), "the first");
    world.give("n1", ClusterInput::Subscribed);
    world.run(SECOND / 5);
    assert_eq!(world.node("n1").reasons(), [Reason::Back]);
    assert_eq!(world.node("n1").reasserted().pop(), Some((node("n1", 1), true)), "others may do so too");
    world.run(LEASE);
    assert_eq!(world.node("n1").reasons().len(), 1, "once");
}

#[test]
fn a_lease_that_is_missing_is_waited_for_until_it_would_have_ended() {
    let mut world = World::of_three();
    world.run(SECOND);
    world.node("n3").reach = Reach::Dead;
    world.store.leases.remove(&node("n3", 1));
    world.run(LEASE / 2);
    assert_eq!(world.node("n1").live(), all(&["n2", "n3"]));
    world.run(LEASE / 2);
    assert_eq!(world.node("n1").live(), all(&["n2"]));
}

#[test]
fn a_store_that_was_emptied_while_the_node_was_away_too_long_is_filled_under_a_new_life() {
    let mut world = World::of_three();
    world.node("n1").reach = Reach::Nothing;
    world.run(LEASE);
    world.store.empty();
    world.node("n1").reach = Reach::All;
    world.run(SECOND);
    assert_eq!(world.node("n1").reasons(), [Reason::Emptied]);
    let me = world.me("n1");
    assert!(me.incarnation > node("n1", 1).incarnation);
    assert_eq!(world.node("n1").reasserted().last(), Some(&(me, true)));
}

#[test]
fn a_store_that_was_rolled_back_is_noticed_by_the_leases() {
    let mut world = World::of_three();
    let before = world.store.clone();
    world.run(LEASE / 2);
    let now_ms = world.store.now_ms;
    world.store = Store { now_ms, ..before.clone() };
    world.run(LEASE / 4);
    for key in ["n1", "n2", "n3"] {
        assert_eq!(world.node(key).reasons(), [Reason::RolledBack]);
        assert_eq!(world.node(key).reasserted().last().map(|(_, amnesty)| *amnesty), Some(true));
        assert_eq!(world.node(key).died(), []);
    }
    // So far back that every lease has run out: new lives, and none of the others is taken for dead before it has one.
    let now_ms = world.store.now_ms + 60_000;
    world.store = Store { now_ms, ..before };
    world.run(LEASE / 2);
    for key in ["n1", "n2", "n3"] {
        assert_eq!(world.node(key).reasons(), [Reason::RolledBack; 2]);
        assert!(world.me(key).incarnation > node("n1", 1).incarnation);
        assert_eq!(world.node(key).live().len(), 2);
    }
}

#[test]
fn a_node_without_the_store_at_its_start_is_isolated_and_joins_later() {
    let mut world = World::new();
    world.start_at("n1", node("n1", 7), Reach::Nothing);
    assert_eq!((world.mode("n1"), world.node("n1").started), (Mode::Isolated, 1));
    assert_eq!(world.node("n1").isolated(), [true]);
    world.run(LEASE * 2);
    assert!(world.store.leases.is_empty());
    world.node("n1").reach = Reach::All;
    world.run(SECOND);
    assert_eq!((world.mode("n1"), world.node("n1").started), (Mode::Serving, 1));
    assert_eq!(world.node("n1").reasons(), [Reason::Back]);
    assert_eq!(world.node("n1").reasserted(), [(node("n1", 7), false)]);
}

#[test]
fn a_node_that_may_have_a_rival_begins_nothing_while_the_store_is_away() {
    let mut world = World::of_three();
    world.start("again", "n1", 50);
    world.node("again").reach = Reach::Nothing;
    world.run(LEASE);
    assert_eq!((world.mode("again"), world.node("again").started), (Mode::Starting, 0));
    world.node("again").reach = Reach::All;
    world.run(LEASE);
    assert_eq!(world.node("again").rivals, [node("n1", 1)]);
}

#[test]
fn a_node_that_was_given_up_by_mistake_is_taken_back_when_its_lease_is_seen_to_run() {
    let mut world = World::of_three();
    let beats = world.node("n2").beats.len();
    world.until(|world| world.node("n2").beats.len() > beats);
    // Of a store that was divided, this node has seen the half in which another was not.
    let lease = world.store.leases.remove(&node("n3", 1)).expect("there");
    world.give("n1", ClusterInput::Told(Event::Down(node("n3", 1))));
    world.run(SECOND / 5);
    assert_eq!(world.node("n1").live(), all(&["n2"]));
    world.store.leases.insert(node("n3", 1), lease);
    world.run(LEASE * 3);
    assert_eq!(world.node("n1").live(), all(&["n2", "n3"]));
    assert_eq!(world.me("n3"), node("n3", 1));
    world.send("n3", node("n1", 1), news());
    assert_eq!(world.node("n1").heard(), [(node("n3", 1), news())]);
    assert!(world.store.leases.contains_key(&node("n3", 1)), "and nothing of it is cleared away");
}

#[test]
fn a_node_that_knows_nothing_of_its_later_past_is_told_of_it() {
    let mut world = World::of_three();
    world.node("n3").reach = Reach::Dead;
    world.run(LEASE * 2);
    world.store.empty();
    // Started where the wall clock is behind, and nothing in the store says so.
    world.start("again", "n3", 0);
    assert_eq!(world.me("again"), node("n3", 0));
    world.run(LEASE);
    let me = world.me("again");
    assert!(me.incarnation > node("n3", 1).incarnation);
    assert_eq!(world.node("n1").live(), BTreeSet::from([node("n2", 1), me]));
}

const KEYS: [&str; 3] = ["n1", "n2", "n3"];

#[derive(Debug, Clone)]
enum Trouble {
    Reach(usize, Reach),
    /// On a machine whose wall clock is so far behind.
    Restart(usize, u64),
    Empty,
    Keep,
    RollBack,
    Say(usize, usize),
    Pass(u64),
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let reach =
        prop::sample::select(vec![Reach::All, Reach::Nothing, Reach::Frozen, Reach::Deaf, Reach::Dead]);
    prop_oneof![
        5 => (0..3_usize, reach).prop_map(|(node, reach)| Trouble::Reach(node, reach)),
        1 => (0..3_usize, 0..60_000_u64).prop_map(|(node, behind)| Trouble::Restart(node, behind)),
        1 => Just(Trouble::Empty),
        1 => Just(Trouble::Keep),
        1 => Just(Trouble::RollBack),
        4 => (0..3_usize, 0..3_usize).prop_map(|(from, to)| Trouble::Say(from, to)),
        6 => (10..3000_u64).prop_map(Trouble::Pass),
        2 => (3000..20_000_u64).prop_map(Trouble::Pass),
    ]
}

fn act(world: &mut World, kept: &mut Option<Store>, trouble: &Trouble) {
    match *trouble {
        // A process that has ended does not come back by itself.
        Trouble::Reach(at, reach) if world.node(KEYS[at]).reach != Reach::Dead => {
            world.node(KEYS[at]).reach = reach;
        }
        Trouble::Reach(..) => {}
        Trouble::Restart(at, behind_ms) => world.restart(KEYS[at], behind_ms),
        Trouble::Empty => world.store.empty(),
        Trouble::Keep => *kept = Some(world.store.clone()),
        Trouble::RollBack => {
            if let Some(store) = kept.clone() {
                world.store = Store { now_ms: world.store.now_ms, ..store };
            }
        }
        Trouble::Say(from, to) => {
            // The rooms of a node that has not begun know of nobody, and nobody of them.
            if [from, to].iter().all(|at| world.mode(KEYS[*at]) != Mode::Starting) {
                let to = world.me(KEYS[to]);
                world.send(KEYS[from], to, news());
            }
        }
        Trouble::Pass(ms) => world.run(Duration::from_millis(ms)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn whatever_has_happened_the_nodes_find_each_other_again(
        troubles in prop::collection::vec(trouble(), 1..60),
    ) {
        let (mut world, mut kept) = (World::of_three(), None);
        for trouble in &troubles {
            act(&mut world, &mut kept, trouble);
        }
        for key in KEYS {
            if world.node(key).reach == Reach::Dead {
                world.restart(key, 0);
            }
            world.node(key).reach = Reach::All;
        }
        // Each survivor may want to see for itself that nothing is left of a node that has no lease.
        world.run(LEASE * 2 + GRACE * 6);
        let present: BTreeSet<_> = KEYS.map(|key| world.me(key)).into();
        for key in KEYS {
            prop_assert_eq!(world.mode(key), Mode::Serving);
            prop_assert_eq!(&world.node(key).rivals, &[]);
            let mut known = world.node(key).live();
            known.insert(world.me(key));
            prop_assert_eq!(&known, &present);
            prop_assert_eq!(world.nodes[key].cluster.view(world.clock()).peers.len(), 2, "nothing of the dead");
            // Where it stands by what the rooms were told.
            prop_assert_ne!(world.node(key).isolated().pop(), Some(true));
            let me = world.me(key);
            prop_assert_eq!(world.node(key).reasserted().pop().map(|(node, _)| node), Some(me));
        }
        prop_assert_eq!(world.store.leases.keys().cloned().collect::<BTreeSet<_>>(), present);
        let frames: Vec<_> = KEYS.iter().map(|key| world.nodes[key].frames).collect();
        world.run(LEASE);
        prop_assert_eq!(frames, KEYS.map(|key| world.nodes[key].frames).to_vec(), "idle, so silent");
        for (from, to) in [(0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)] {
            let before = world.node(KEYS[to]).heard().len();
            let peer = world.me(KEYS[to]);
            world.send(KEYS[from], peer, news());
            prop_assert_eq!(world.node(KEYS[to]).heard().len(), before + 1, "at once");
        }
    }
}
