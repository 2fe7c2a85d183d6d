//! What was missed, late or overtaken between nodes is put right, one test a way in which it once was not.

use super::{test_nodes::Nodes, test_world::text, *};
use crate::protocol::{cluster::Departure, limits};

const SECOND: Duration = Duration::from_secs(1);

fn message(number: u32) -> String {
    format!(r#"{{"type":"Message","data":{number}}}"#)
}

#[test]
fn a_lock_that_the_registry_missed_is_put_there_though_nobody_is_left_who_set_it() {
    let mut nodes = Nodes::new(2);
    let (ada, bob) = (nodes.join(0, "blue", "ada"), nodes.join(1, "blue", "bob"));
    nodes.reaches[0] = false;
    nodes.held = vec![(0, 1)];
    nodes.say(ada, r#"{"type":"Lock","locked":true}"#);
    nodes.say(ada, r#"{"type":"Leave"}"#);
    nodes.reaches[0] = true;
    nodes.take(bob);
    nodes.pass(5 * SECOND, &[]);
    let late = nodes.join(1, "blue", "late");
    assert_eq!(nodes.refused.pop(), Some((late, Code::RoomLocked)));
    nodes.release();
    let told: Vec<_> = nodes.take(bob).iter().filter(|told| told["type"] == "RoomState").cloned().collect();
    assert_eq!(told.len(), 1, "once: {told:?}");
}

#[test]
fn a_lock_ends_with_its_room_though_the_registry_missed_it() {
    let mut nodes = Nodes::new(2);
    let ada = nodes.join(0, "blue", "ada");
    nodes.reaches[0] = false;
    nodes.say(ada, r#"{"type":"Lock","locked":true}"#);
    nodes.reaches[0] = true;
    nodes.say(ada, r#"{"type":"Leave"}"#);
    nodes.pass(SECOND / 2, &[]);
    let bob = nodes.join(1, "blue", "bob");
    nodes.pass(5 * SECOND, &[]);
    nodes.join(1, "blue", "late");
    assert_eq!(nodes.roster(bob), ["late"]);
    assert_eq!(nodes.refused, []);
}

#[test]
fn a_message_to_a_session_that_its_node_has_lost_is_not_lost_in_silence() {
    let mut nodes = Nodes::new(3);
    let (ada, bob) = (nodes.join(0, "blue", "ada"), nodes.join(1, "blue", "bob"));
    let eve = nodes.join(2, "blue", "eve");
    nodes.begin_anew(1);
    nodes.take(ada);
    nodes.take(eve);
    nodes.say(ada, r#"{"type":"Message","data":1,"id":"m1"}"#);
    let told = nodes.take(ada);
    let told: Vec<_> = told.iter().map(|told| (text(&told["type"]), text(&told["id"]))).collect();
    let named = |kind: &str| (kind.to_owned(), "m1".to_owned());
    assert_eq!(told, [named("Accepted"), named("Error")]);
    assert_eq!(nodes.heard(eve), ["Message"]);
    let back = nodes.resume(bob, 2);
    nodes.take(back);
    nodes.say(ada, &message(2));
    assert_eq!(nodes.heard(back), ["Message"]);
}

#[test]
fn those_who_learn_of_two_seniors_at_once_know_which_of_them_moderates() {
    let mut nodes = Nodes::new(2);
    let eve = nodes.join(1, "blue", "eve");
    nodes.join(1, "blue", "bob");
    nodes.input(0, RoomInput::Isolated(true));
    nodes.pass(SECOND, &[]);
    let ada = nodes.join(0, "blue", "ada");
    nodes.input(0, RoomInput::Isolated(false));
    nodes.join(0, "blue", "eve");
    assert_eq!(nodes.browsers[&eve].1.closed, Some(Code::Replaced));
    let roles = nodes.browsers[&ada].1.roster.values().map(|user| (&user["user_id"], &user["role"]));
    let roles: Vec<_> = roles.map(|(user, role)| (text(user), text(role))).collect();
    let role = |user: &str, role: &str| (user.to_owned(), role.to_owned());
    assert_eq!(roles, [role("bob", "participant"), role("eve", "moderator")]);
}

#[test]
fn a_session_that_was_heard_of_after_its_successor_had_gone_is_not_kept() {
    let mut nodes = Nodes::new(3);
    let (ada, bob) = (nodes.join(0, "blue", "ada"), nodes.join(1, "blue", "bob"));
    nodes.held = vec![(2, 1)];
    let again = nodes.join(2, "blue", "bob");
    nodes.say(again, r#"{"type":"Leave"}"#);
    assert_eq!(nodes.roster(ada), [] as [&str; 0]);
    nodes.say(bob, r#"{"type":"Update","metadata":{"audio":false}}"#);
    assert_eq!(nodes.roster(ada), ["bob"], "its node knows of no other");
    nodes.release();
    assert_eq!(nodes.browsers[&bob].1.closed, Some(Code::Replaced));
    nodes.pass(8 * SECOND, &[]);
    assert_eq!((nodes.roster(ada), nodes.truth("blue")), (vec![], vec!["ada".to_owned()]));
}

#[test]
fn a_session_is_replaced_though_the_news_of_it_was_lost() {
    let mut nodes = Nodes::new(2);
    let bob = nodes.join(0, "blue", "bob");
    nodes.held = vec![(1, 0)];
    let again = nodes.join(1, "blue", "bob");
    nodes.lose_wire(1, 0);
    nodes.release();
    assert_eq!(nodes.browsers[&bob].1.closed, Some(Code::Replaced));
    assert_eq!(nodes.browsers[&again].1.closed, None);
}

#[test]
fn who_has_come_back_after_it_seemed_gone_is_counted_on() {
    let mut nodes = Nodes::new(3);
    let (ada, bob) = (nodes.join(0, "blue", "ada"), nodes.join(1, "blue", "bob"));
    nodes.say(ada, &message(1));
    let back = nodes.resume(bob, 2);
    nodes.take(back);
    let late = nodes.rooms[1].node().clone();
    let (room, user_id) = (RoomName::parse("blue").expect("valid"), UserId::parse("bob").expect("valid"));
    let held = nodes.rooms[0].rooms[&room].member(&user_id).expect("there").clone();
    let departure =
        Departure { session: held.session, generation: held.generation, reason: LeaveReason::Left };
    let gone = NodeMessage::Gone { room: room.clone(), user_id: user_id.clone(), departure };
    nodes.input(0, RoomInput::Node { from: late.clone(), message: Box::new(gone) });
    assert_eq!(nodes.roster(ada), [] as [&str; 0]);
    let row = Box::new(Row { generation: held.generation + 1, ..held });
    nodes
        .input(0, RoomInput::Node { from: late, message: Box::new(NodeMessage::Row { room, user_id, row }) });
    assert_eq!(nodes.roster(ada), ["bob"]);
    nodes.pass(limits::GONE_REMEMBERED + SECOND, &[]);
    nodes.take(back);
    nodes.say(ada, &message(2));
    assert_eq!(nodes.heard(back), ["Message"]);
}

#[test]
fn an_admission_that_was_late_and_taken_back_does_not_hide_the_session_before_it() {
    let mut nodes = Nodes::new(2);
    let bob = nodes.join(1, "blue", "bob");
    let (room, user_id) = (RoomName::parse("blue").expect("valid"), UserId::parse("bob").expect("valid"));
    let row = nodes.rooms[1].rooms[&room].member(&user_id).expect("there").clone();
    let late = SessionId::new(uuid::Uuid::from_u128(900));
    let request = AdmissionRequest {
        room: room.clone(),
        user_id: user_id.clone(),
        node: row.node,
        session: late,
        username: row.username,
        metadata: row.metadata,
        proof: row.proof,
        participants_max: 10,
    };
    nodes.now.wall_ms += 1;
    let now_ms = nodes.now.wall_ms;
    nodes.registry.get_mut(&room).expect("there").admit(now_ms, request).expect("admitted");
    let ada = nodes.join(0, "blue", "ada");
    let record = nodes.registry.get_mut(&room).expect("there");
    assert!(record.apply(now_ms, Change::TakeBack { room: room.clone(), user_id, session: late }));
    nodes.input(1, RoomInput::MirrorFailed { room });
    nodes.take(ada);
    nodes.pass(20 * SECOND, &[]);
    assert_eq!(nodes.heard(ada), [] as [&str; 0], "nothing that she can see has changed");
    nodes.take(bob);
    nodes.say(ada, &message(1));
    assert_eq!(nodes.heard(bob), ["Message"]);
}
