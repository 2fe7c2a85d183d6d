//! Clearing away after a dead node, step by step and among others that do the same.

use super::{
    super::test_world::{GRACE, LEASE, Reach, World, node},
    *,
};
use crate::{
    domain::{
        cluster::ClusterInput,
        membership::{AdmissionRequest, RoomRecord},
    },
    protocol::{ResumeToken, UserId, cluster::Event, command::Username, event::Presence, metadata::Metadata},
};

const START: Duration = Duration::from_secs(50);

fn session(number: usize) -> SessionId {
    SessionId::new(uuid::Uuid::from_u128(number as u128))
}

fn room(number: usize) -> RoomName {
    RoomName::parse(&format!("room-{number}")).expect("valid")
}

fn entry(number: usize, node: NodeRef) -> IndexEntry {
    IndexEntry { session: session(number), room: room(number), node }
}

fn admit(record: &mut RoomRecord, number: usize, node: NodeRef) {
    let user_id = UserId::parse(&format!("user-{number}")).expect("valid");
    let request = AdmissionRequest {
        room: room(number),
        username: Username::from(&user_id),
        user_id,
        node,
        session: session(number),
        metadata: Metadata::default(),
        proof: ResumeToken::new([7; 32]).digest(),
        participants_max: 9,
    };
    record.admit(1, request).expect("room");
}

/// Participants of `of` in so many rooms, with the index that leads to them.
fn fill(world: &mut World, of: &NodeRef, numbers: std::ops::Range<usize>) {
    for number in numbers {
        admit(world.store.rooms.entry(room(number)).or_default(), number, of.clone());
        world.store.index.push(entry(number, of.clone()));
    }
}

fn rows(world: &World) -> usize {
    world.store.rooms.values().map(|record| record.user_ids().count()).sum()
}

fn rooms_asked(effects: &[ClusterEffect]) -> Vec<RoomName> {
    let rooms = effects.iter().filter_map(|effect| match effect {
        ClusterEffect::ReapRoom { request, .. } => Some(request.room.clone()),
        _ => None,
    });
    rooms.collect()
}

/// A reaper that has claimed a dead node and read its index.
fn walking(entries: Vec<IndexEntry>) -> (Reaper, NodeRef, Vec<ClusterEffect>) {
    let (mut reaper, dead, mut effects) = (Reaper::new(GRACE), node("n3", 2), Vec::new());
    reaper.begin(&dead, START);
    reaper.tick(START, &mut effects);
    assert!(matches!(effects[..], [ClusterEffect::Claim { .. }]));
    reaper.claimed(START, &dead, Some(true), &mut effects);
    assert!(matches!(effects[..], [_, ClusterEffect::ReadIndex { .. }]));
    effects.clear();
    reaper.indexed(START, &dead, Some(entries), &mut effects);
    (reaper, dead, effects)
}

#[test]
fn the_index_goes_after_the_rows_and_the_lease_last() {
    let dead = node("n3", 2);
    let entries = vec![entry(1, dead), entry(2, node("n3", 1)), entry(3, node("n3", 3))];
    let (mut reaper, dead, mut effects) = walking(entries);
    assert_eq!(rooms_asked(&effects), [room(1), room(2)], "what a later life has is not dead");
    effects.clear();
    for number in [1, 2] {
        reaper.room_reaped(START, &dead, &room(number), Some(RoomReaped { due_in: None }), &mut effects);
    }
    let [ClusterEffect::Unindex { sessions, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(sessions, &[session(1), session(2)]);
    effects.clear();
    reaper.unindexed(START, &dead, true, &mut effects);
    let [ClusterEffect::Count(ClusterFact::Reaped(2)), ClusterEffect::RemoveLease { node }] = &effects[..]
    else {
        panic!("{effects:?}")
    };
    assert_eq!((node, reaper.dead().count()), (&dead, 1));
    reaper.lease_removed(START, &dead, true);
    assert_eq!(reaper.dead().count(), 0);
}

#[test]
fn who_is_still_waited_for_is_come_back_to_when_the_last_is_due() {
    let (mut reaper, dead, mut effects) = walking(vec![entry(1, node("n3", 2)), entry(2, node("n3", 2))]);
    let due = |secs| Some(RoomReaped { due_in: Some(Duration::from_secs(secs)) });
    reaper.room_reaped(START, &dead, &room(1), due(4), &mut effects);
    reaper.room_reaped(START, &dead, &room(2), due(12), &mut effects);
    effects.clear();
    reaper.tick(START + Duration::from_millis(11_990), &mut effects);
    assert!(effects.is_empty());
    reaper.tick(START + Duration::from_secs(12), &mut effects);
    assert!(matches!(effects[..], [ClusterEffect::Claim { .. }]), "its claim has run out meanwhile");
    let (mut reaper, dead, mut effects) = walking(vec![entry(1, node("n3", 2))]);
    reaper.room_reaped(START, &dead, &room(1), due(4), &mut effects);
    effects.clear();
    reaper.tick(START + Duration::from_secs(4), &mut effects);
    assert!(matches!(effects[..], [ClusterEffect::ReadIndex { .. }]), "its claim still holds");
}

#[test]
fn a_few_rooms_are_asked_for_at_a_time() {
    let dead = node("n3", 2);
    let (mut reaper, dead, effects) = walking((0..100).map(|number| entry(number, dead.clone())).collect());
    let mut asked = rooms_asked(&effects);
    assert_eq!(asked.len(), limits::REAP_ROOMS_AT_ONCE);
    let mut effects = Vec::new();
    let mut answered = 0;
    while answered < asked.len() {
        let outcome = Some(RoomReaped { due_in: None });
        reaper.room_reaped(START, &dead, &asked[answered].clone(), outcome, &mut effects);
        reaper.room_reaped(START, &dead, &asked[answered].clone(), outcome, &mut effects);
        answered += 1;
        asked.extend(rooms_asked(&effects));
        assert!(asked.len() - answered <= limits::REAP_ROOMS_AT_ONCE);
        if answered < asked.len() {
            effects.clear();
        }
    }
    assert_eq!(asked.len(), 100);
    assert!(matches!(effects.last(), Some(ClusterEffect::Unindex { sessions, .. }) if sessions.len() == 100));
}

#[test]
fn a_step_without_an_answer_is_done_again() {
    let dead = node("n3", 2);
    let again = |reaper: &mut Reaper, since: Duration| {
        let mut effects = Vec::new();
        reaper.tick(since + limits::REAPER_RETRY, &mut effects);
        matches!(effects[..], [ClusterEffect::Claim { .. } | ClusterEffect::ReadIndex { .. }])
    };
    let mut effects = Vec::new();
    let mut reaper = Reaper::new(GRACE);
    reaper.begin(&dead, START);
    reaper.tick(START, &mut effects);
    reaper.claimed(START, &dead, None, &mut effects);
    assert!(again(&mut reaper, START));
    let (mut reaper, ..) = walking(vec![entry(1, dead.clone())]);
    reaper.room_reaped(START, &dead, &room(1), None, &mut effects);
    assert!(again(&mut reaper, START));
    let (mut reaper, ..) = walking(vec![entry(1, dead.clone())]);
    reaper.room_reaped(START, &dead, &room(1), Some(RoomReaped { due_in: None }), &mut effects);
    reaper.unindexed(START, &dead, false, &mut effects);
    assert!(again(&mut reaper, START));
    let (mut reaper, ..) = walking(vec![]);
    reaper.lease_removed(START, &dead, false);
    assert!(again(&mut reaper, START));
    // Not even a failure is told.
    let (mut reaper, ..) = walking(vec![entry(1, dead.clone())]);
    reaper.tick(START + limits::REAPER_TERM, &mut effects);
    assert!(again(&mut reaper, START + limits::REAPER_TERM));
}

#[test]
fn a_lost_claim_leaves_it_to_the_other_until_its_term_is_over() {
    let (mut reaper, dead, mut effects) = (Reaper::new(GRACE), node("n3", 2), Vec::new());
    reaper.begin(&dead, START);
    reaper.listed(&BTreeSet::from([&dead]));
    reaper.tick(START, &mut effects);
    reaper.claimed(START, &dead, Some(false), &mut effects);
    effects.clear();
    reaper.tick(START + limits::REAPER_TERM - Duration::from_millis(1), &mut effects);
    assert!(effects.is_empty());
    reaper.tick(START + limits::REAPER_TERM, &mut effects);
    assert!(matches!(effects[..], [ClusterEffect::Claim { .. }]));
    reaper.claimed(START + limits::REAPER_TERM, &dead, Some(false), &mut effects);
    reaper.listed(&BTreeSet::new());
    assert_eq!(reaper.dead().count(), 0, "the other has done it");
}

#[test]
fn nothing_is_left_of_a_dead_node_and_all_is_left_of_the_others() {
    let mut world = World::of_three();
    fill(&mut world, &node("n3", 1), 0..200);
    // Survivors are in the same rooms, and in others.
    for number in [5, 500] {
        admit(world.store.rooms.entry(room(number)).or_default(), number + 1000, node("n1", 1));
    }
    world.node("n3").reach = Reach::Dead;
    world.run(LEASE + Duration::from_secs(1));
    assert_eq!(rows(&world), 202, "in its grace");
    let waiting = world.store.rooms[&room(7)].picture(world.store.now_ms);
    assert!(waiting.rows.values().all(|row| row.state == Presence::Suspect));
    world.run(GRACE + Duration::from_secs(1));
    assert_eq!(rows(&world), 2);
    assert!(world.store.index.is_empty());
    assert!(!world.store.leases.contains_key(&node("n3", 1)));
    let reaped = |world: &World, key: &str| -> usize {
        let counted = world.nodes[key].facts.iter().map(|fact| match fact {
            ClusterFact::Reaped(entries) => *entries,
            _ => 0,
        });
        counted.sum()
    };
    assert_eq!(reaped(&world, "n1") + reaped(&world, "n2"), 200, "by one of them");
}

#[test]
fn when_the_one_who_clears_away_dies_too_another_does_it() {
    let mut world = World::of_three();
    fill(&mut world, &node("n3", 1), 0..40);
    fill(&mut world, &node("n1", 1), 40..60);
    world.node("n3").reach = Reach::Dead;
    world.until(|world| !world.store.claims.is_empty());
    world.node("n1").reach = Reach::Dead;
    world.run(LEASE + GRACE * 2 + Duration::from_secs(5));
    assert_eq!((rows(&world), world.store.index.len()), (0, 0));
    assert_eq!(world.store.leases.keys().collect::<Vec<_>>(), [&node("n2", 1)]);
}

#[test]
fn the_rest_of_a_node_that_has_stopped_is_cleared_away_though_it_has_no_lease() {
    let mut world = World::of_three();
    fill(&mut world, &node("n3", 1), 0..3);
    world.give("n3", ClusterInput::Stop);
    world.run(GRACE + Duration::from_secs(2));
    assert_eq!((rows(&world), world.store.index.len()), (0, 0));
    world.run(GRACE * 3);
    let view = world.nodes["n1"].cluster.view(world.clock());
    assert_eq!(view.peers.len(), 1, "nobody is at it any more");
}

#[test]
fn who_lives_after_all_is_left_alone() {
    let mut world = World::of_three();
    fill(&mut world, &node("n3", 1), 0..3);
    let lease = world.store.leases.remove(&node("n3", 1)).expect("there");
    world.give("n1", ClusterInput::Told(Event::Down(node("n3", 1))));
    world.until(|world| !world.store.claims.is_empty());
    world.store.leases.insert(node("n3", 1), lease);
    world.run(GRACE * 3);
    assert_eq!((rows(&world), world.store.index.len(), world.store.leases.len()), (3, 3, 3));
}

#[test]
fn a_restarted_node_alone_clears_away_after_itself() {
    let mut world = World::new();
    world.start("n1", "n1", 1);
    fill(&mut world, &node("n1", 1), 0..3);
    world.node("n1").reach = Reach::Dead;
    world.start("again", "n1", 2);
    world.until(|world| world.node("again").started == 1);
    fill(&mut world, &node("n1", 2), 3..5);
    world.run(GRACE + Duration::from_secs(1));
    assert_eq!((rows(&world), world.store.index.len()), (2, 2));
    assert_eq!(world.store.leases.keys().collect::<Vec<_>>(), [&node("n1", 2)]);
}

#[test]
fn while_a_node_is_isolated_it_clears_nothing_and_later_it_does() {
    let mut world = World::of_three();
    fill(&mut world, &node("n3", 1), 0..3);
    world.node("n3").reach = Reach::Dead;
    world.until(|world| !world.store.claims.is_empty());
    for key in ["n1", "n2"] {
        world.node(key).reach = Reach::Nothing;
    }
    world.run(GRACE * 2);
    assert_eq!(rows(&world), 3);
    for key in ["n1", "n2"] {
        world.node(key).reach = Reach::All;
    }
    world.run(GRACE * 2 + LEASE * 2);
    assert_eq!((rows(&world), world.store.index.len(), world.store.leases.len()), (0, 0, 2));
}
