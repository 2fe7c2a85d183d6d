//! One room over several nodes, one test a rule.

use super::{test_nodes::Nodes, test_world::text, *};

const SECOND: Duration = Duration::from_secs(1);

fn offer(to: &str, number: u32) -> String {
    format!(r#"{{"type":"Offer","target_user_id":"{to}","sdp":"{number}","id":"o{number}"}}"#)
}

fn message(number: u32) -> String {
    format!(r#"{{"type":"Message","data":{number}}}"#)
}

#[test]
fn participants_on_different_nodes_see_and_reach_each_other() {
    let mut nodes = Nodes::new(2);
    let ada = nodes.join(0, "blue", "ada");
    let bob = nodes.join(1, "blue", "bob");
    assert_eq!((nodes.roster(ada), nodes.roster(bob)), (vec!["bob".to_owned()], vec!["ada".to_owned()]));
    nodes.take(ada);
    nodes.take(bob);
    nodes.say(ada, &offer("bob", 1));
    nodes.say(ada, &message(2));
    nodes.say(bob, r#"{"type":"Update","metadata":{"audio":false}}"#);
    assert_eq!(nodes.heard(bob), ["Offer", "Message"]);
    let heard = nodes.take(ada);
    assert_eq!(text(&heard[0]["type"]), "Accepted");
    assert_eq!(heard[1]["user"]["metadata"], serde_json::json!({ "audio": false }));
    nodes.say(bob, r#"{"type":"Leave"}"#);
    assert_eq!(nodes.take(ada)[0]["reason"], "left");
    assert_eq!(nodes.truth("blue"), ["ada"]);
}

#[test]
fn nobody_gets_an_offer_from_a_participant_it_has_not_been_told_of() {
    let mut nodes = Nodes::new(3);
    let (_ada, bob) = (nodes.join(0, "blue", "ada"), nodes.join(1, "blue", "bob"));
    nodes.take(bob);
    nodes.held = vec![(2, 1)];
    let eve = nodes.join(2, "blue", "eve");
    nodes.say(eve, &offer("bob", 1));
    assert!(nodes.take(bob).is_empty());
    nodes.release();
    assert_eq!(nodes.heard(bob), ["UserJoined", "Offer"]);
}

#[test]
fn what_is_said_of_a_room_while_its_first_participant_comes_in_is_not_lost() {
    let mut nodes = Nodes::new(2);
    let ada = nodes.join(0, "blue", "ada");
    // The registry has admitted bob, ada leaves and eve comes, and only then bob's node hears of its own admission.
    let request = RoomInput::Join(Box::new(JoinInput {
        connection: ConnectionId(900),
        id: None,
        join: serde_json::from_str(r#"{"room_name":"blue","user_id":"bob"}"#).expect("a join"),
        spare_user_id: UserId::parse("spare").expect("valid"),
        session: SessionId::new(uuid::Uuid::from_u128(900)),
        token: ResumeToken::new([9; 32]),
        already_sent: 0,
    }));
    let mut effects = Vec::new();
    nodes.rooms[1].handle(nodes.now, request, &mut effects);
    let Some(RoomEffect::Admit { ticket, request }) = effects.pop() else { panic!("asks the registry") };
    let record = nodes.registry.get_mut(&request.room).expect("there");
    let outcome = record.admit(nodes.now.wall_ms, *request);
    nodes.say(ada, &message(0));
    let eve = nodes.join(0, "blue", "eve");
    nodes.say(ada, r#"{"type":"Leave"}"#);
    nodes.browsers.insert(ConnectionId(900), (1, test_world::Browser::default()));
    nodes.input(1, RoomInput::AdmissionDecided { ticket, outcome });
    assert_eq!(nodes.roster(ConnectionId(900)), ["eve"]);
    assert_eq!(nodes.roster(eve), ["bob"]);
}

#[test]
fn what_was_kept_for_somebody_who_is_not_let_in_is_forgotten() {
    let mut nodes = Nodes::new(2);
    let ada = nodes.join(0, "blue", "ada");
    let request = RoomInput::Join(Box::new(JoinInput {
        connection: ConnectionId(900),
        id: None,
        join: serde_json::from_str(r#"{"room_name":"blue","user_id":"bob"}"#).expect("a join"),
        spare_user_id: UserId::parse("spare").expect("valid"),
        session: SessionId::new(uuid::Uuid::from_u128(900)),
        token: ResumeToken::new([9; 32]),
        already_sent: 0,
    }));
    let mut effects = Vec::new();
    nodes.rooms[1].handle(nodes.now, request, &mut effects);
    let Some(RoomEffect::Admit { ticket, request }) = effects.pop() else { panic!("asks the registry") };
    let record = nodes.registry.get_mut(&request.room).expect("there");
    drop(record.admit(nodes.now.wall_ms, *request));
    nodes.browsers.insert(ConnectionId(900), (1, test_world::Browser::default()));
    // Told of by the roster that the other node would have seen.
    nodes.join(0, "blue", "eve");
    nodes.say(ada, &message(0));
    assert_eq!(nodes.rooms[1].kept.len(), 1);
    nodes.input(1, RoomInput::AdmissionDecided { ticket, outcome: Err(Code::RoomFull.into()) });
    assert!(nodes.rooms[1].kept.is_empty());
}

#[test]
fn a_lock_comes_with_a_session_before_the_registry_has_it() {
    let mut nodes = Nodes::new(2);
    let ada = nodes.join(0, "blue", "ada");
    nodes.reaches[0] = false;
    nodes.say(ada, r#"{"type":"Lock","locked":true}"#);
    let back = nodes.resume(ada, 1);
    let told: Vec<_> = nodes.take(back).iter().filter(|told| told["type"] == "RoomState").cloned().collect();
    assert!(told.iter().all(|told| told["locked"] == true), "{told:?}");
    nodes.pass(5 * SECOND, &[]);
    let late = nodes.join(1, "blue", "late");
    assert_eq!(nodes.refused.pop(), Some((late, Code::RoomLocked)), "and the registry hears of it");
}

#[test]
fn a_second_join_on_another_node_replaces_the_first_and_nobody_notices() {
    let mut nodes = Nodes::new(3);
    let (ada, bob) = (nodes.join(0, "blue", "ada"), nodes.join(1, "blue", "bob"));
    nodes.take(ada);
    let again = nodes.join(2, "blue", "bob");
    assert_eq!(nodes.browsers[&bob].1.closed, Some(Code::Replaced));
    assert!(nodes.take(ada).is_empty());
    nodes.take(again);
    nodes.say(ada, &offer("bob", 1));
    assert_eq!(nodes.heard(again), ["Offer"]);
    assert_eq!(nodes.truth("blue"), ["ada", "bob"]);
    assert_eq!(nodes.rooms[1].census(), Census::default());
}

#[test]
fn a_moderator_rules_over_participants_of_other_nodes() {
    let mut nodes = Nodes::new(2);
    let (ada, bob) = (nodes.join(0, "blue", "ada"), nodes.join(1, "blue", "bob"));
    let eve = nodes.join(1, "blue", "eve");
    nodes.take(bob);
    nodes.say(ada, r#"{"type":"Mute","target_user_id":"bob","kind":"audio"}"#);
    nodes.say(ada, r#"{"type":"Lock","locked":true}"#);
    assert_eq!(nodes.heard(bob), ["Muted", "RoomState"]);
    let late = nodes.join(1, "blue", "late");
    assert_eq!(nodes.refused.pop(), Some((late, Code::RoomLocked)));
    nodes.say(ada, r#"{"type":"Kick","target_user_id":"bob"}"#);
    assert_eq!(nodes.browsers[&bob].1.closed, Some(Code::Kicked));
    assert_eq!(nodes.take(ada).pop().expect("told")["reason"], "kicked");
    let again = nodes.join(1, "blue", "bob");
    assert_eq!(nodes.refused.pop(), Some((again, Code::Banned)));
    nodes.take(eve);
    nodes.say(ada, r#"{"type":"Leave"}"#);
    let heard = nodes.take(eve);
    assert_eq!(
        (text(&heard[0]["type"]), &heard[1]["user"]["role"]),
        ("UserLeft".into(), &"moderator".into())
    );
}

#[test]
fn a_session_resumes_at_another_node_with_everything_and_nobody_sees_it_go() {
    let mut nodes = Nodes::new(3);
    let (ada, bob) = (nodes.join(0, "blue", "ada"), nodes.join(1, "blue", "bob"));
    nodes.say(ada, &offer("bob", 1));
    nodes.lose(bob);
    nodes.say(ada, &offer("bob", 2));
    nodes.say(ada, &message(3));
    let eve = nodes.join(0, "blue", "eve");
    nodes.take(ada);
    let back = nodes.resume(bob, 2);
    let heard = nodes.take(back);
    let types: Vec<_> = heard.iter().map(|message| text(&message["type"])).collect();
    assert_eq!(types, ["Offer", "Message", "UserJoined", "Resumed"]);
    assert_eq!(heard[3]["outcome"], "full");
    assert_eq!(nodes.roster(back), ["ada", "eve"]);
    let seen: Vec<_> = nodes.take(ada).iter().map(|message| text(&message["user"]["state"])).collect();
    assert_eq!(seen, ["present"], "back from suspect, and nothing else");
    nodes.take(eve);
    nodes.say(eve, &offer("bob", 4));
    nodes.say(back, &offer("ada", 5));
    assert_eq!(nodes.heard(back), ["Offer", "Accepted"]);
    assert_eq!(nodes.heard(ada), ["Offer"]);
    assert_eq!(nodes.rooms[1].census(), Census::default(), "the old node has forgotten it");
}

#[test]
fn what_comes_while_a_session_moves_is_heard_once_and_in_order() {
    let mut nodes = Nodes::new(3);
    let (ada, bob) = (nodes.join(0, "blue", "ada"), nodes.join(1, "blue", "bob"));
    nodes.say(ada, &offer("bob", 1));
    // The new node's news of the move is slow to reach ada's node, and so is the old node's forwarding.
    nodes.held = vec![(2, 0), (0, 1)];
    nodes.say(ada, &offer("bob", 2));
    let back = nodes.resume(bob, 2);
    nodes.say(ada, &offer("bob", 3));
    nodes.held = vec![(0, 1)];
    nodes.input(0, RoomInput::Tick);
    // Now ada's node knows, and sends straight; what went the old way is still on it.
    nodes.say(ada, &offer("bob", 4));
    nodes.release();
    let heard: Vec<_> = nodes.take(back).iter().map(|message| text(&message["sdp"])).collect();
    assert_eq!(heard, ["", "2", "3", "4"], "after Resumed");
    assert_eq!(nodes.browsers[&bob].1.closed, Some(Code::Replaced));
}

#[test]
fn the_participants_of_a_dead_node_are_suspect_and_then_gone_once() {
    let mut nodes = Nodes::new(3);
    let (ada, eve) = (nodes.join(0, "blue", "ada"), nodes.join(1, "blue", "eve"));
    let _bob = nodes.join(2, "blue", "bob");
    nodes.take(ada);
    nodes.take(eve);
    nodes.tell_live(&[2]);
    for seen in [nodes.take(ada), nodes.take(eve)] {
        assert_eq!((seen.len(), &seen[0]["user"]["state"]), (1, &"suspect".into()));
    }
    nodes.say(ada, &offer("bob", 1));
    assert_eq!(nodes.take(ada)[0]["code"], "peer_unreachable");
    nodes.pass(9 * SECOND, &[2]);
    assert!(nodes.take(ada).is_empty());
    nodes.pass(2 * SECOND, &[2]);
    for seen in [nodes.take(ada), nodes.take(eve)] {
        assert_eq!((seen.len(), &seen[0]["reason"]), (1, &"timeout".into()));
    }
    assert_eq!(nodes.truth("blue"), ["ada", "eve"]);
}

#[test]
fn a_session_of_a_dead_node_goes_on_elsewhere_with_a_snapshot() {
    let mut nodes = Nodes::new(3);
    let (ada, bob) = (nodes.join(0, "blue", "ada"), nodes.join(2, "blue", "bob"));
    nodes.say(ada, &offer("bob", 1));
    nodes.tell_live(&[2]);
    nodes.take(ada);
    let back = nodes.resume(bob, 1);
    let heard = nodes.take(back);
    assert_eq!((text(&heard[0]["type"]), &heard[0]["outcome"]), ("Resumed".into(), &"snapshot".into()));
    assert_eq!(nodes.take(ada)[0]["user"]["state"], "present");
    nodes.say(ada, &offer("bob", 2));
    nodes.say(back, &offer("ada", 3));
    assert_eq!(nodes.heard(back), ["Offer", "Accepted"]);
    assert_eq!(nodes.heard(ada), ["Accepted", "Offer"]);
    nodes.pass(20 * SECOND, &[2]);
    assert!(nodes.take(ada).is_empty(), "no leave follows");
}

#[test]
fn only_its_browser_gets_a_session() {
    let mut nodes = Nodes::new(2);
    let ada = nodes.join(0, "blue", "ada");
    let (session, token) = nodes.browsers[&ada].1.session.clone().expect("joined");
    let other = format!("{}.blue.ada.1", "ab".repeat(32));
    let unknown = uuid::Uuid::from_u128(77).to_string();
    for (session, token, code) in [
        (session.as_str(), other.as_str(), Code::Unauthorised),
        (unknown.as_str(), token.as_str(), Code::SessionUnknown),
        (session.as_str(), "nonsense", Code::SessionUnknown),
    ] {
        let connection = nodes.join(1, "red", "eve");
        nodes.say(connection, r#"{"type":"Leave"}"#);
        nodes.say(
            connection,
            &format!(r#"{{"type":"Resume","session_id":"{session}","resume_token":"{token}","last_seq":0}}"#),
        );
        assert_eq!(nodes.refused.pop(), Some((connection, code)));
    }
    assert_eq!(nodes.browsers[&ada].1.closed, None);
}

#[test]
fn a_relay_that_does_not_arrive_is_told_and_leaves_no_hole() {
    let mut nodes = Nodes::new(2);
    let (ada, bob) = (nodes.join(0, "blue", "ada"), nodes.join(1, "blue", "bob"));
    nodes.say(ada, &offer("bob", 1));
    nodes.take(ada);
    nodes.take(bob);
    nodes.held = vec![(0, 1)];
    nodes.say(ada, &offer("bob", 2));
    nodes.say(ada, &message(3));
    nodes.lose_wire(0, 1);
    let told: Vec<_> =
        nodes.take(ada).iter().filter(|told| told["type"] == "Error").map(|told| text(&told["id"])).collect();
    assert_eq!(told, ["o2", ""], "also of the message that had no name");
    nodes.release();
    nodes.say(ada, &offer("bob", 4));
    assert_eq!(nodes.take(bob)[0]["sdp"], "4");
}

#[test]
fn an_emptied_registry_is_filled_again_and_nobody_hears_of_it() {
    let mut nodes = Nodes::new(3);
    let everyone: Vec<_> =
        ["ada", "bob", "eve"].iter().enumerate().map(|(node, user)| nodes.join(node, "blue", user)).collect();
    nodes.say(everyone[0], r#"{"type":"Lock","locked":true}"#);
    everyone.iter().for_each(|browser| drop(nodes.take(*browser)));
    nodes.registry.clear();
    for node in 0..3 {
        let input = RoomInput::Reassert { node: nodes.rooms[node].node().clone(), amnesty: true };
        nodes.input(node, input);
        nodes.pass(SECOND, &[]);
    }
    nodes.pass(4 * SECOND, &[]);
    assert_eq!(nodes.truth("blue"), ["ada", "bob", "eve"]);
    for browser in everyone {
        assert_eq!(nodes.heard(browser), [] as [&str; 0]);
    }
    let late = nodes.join(0, "blue", "late");
    assert_eq!(nodes.refused.pop(), Some((late, Code::RoomLocked)), "the lock is there too");
}

#[test]
fn a_cut_off_node_lets_people_in_and_the_others_follow() {
    let mut nodes = Nodes::new(2);
    let (ada, bob) = (nodes.join(0, "blue", "ada"), nodes.join(1, "blue", "bob"));
    nodes.reaches[1] = false;
    nodes.held = vec![(0, 1), (1, 0)];
    nodes.input(1, RoomInput::Isolated(true));
    let eve = nodes.join(1, "blue", "eve");
    assert_eq!(nodes.take(eve)[0]["isolated"], true);
    assert_eq!(nodes.roster(eve), ["ada", "bob"]);
    let zoe = nodes.join(1, "red", "zoe");
    nodes.say(zoe, r#"{"type":"Leave"}"#);
    nodes.say(bob, r#"{"type":"Leave"}"#);
    nodes.lose_wire(1, 0);
    nodes.take(ada);
    nodes.reaches[1] = true;
    nodes.held.clear();
    nodes.input(1, RoomInput::Isolated(false));
    let input = RoomInput::Reassert { node: nodes.rooms[1].node().clone(), amnesty: false };
    nodes.input(1, input);
    let from = nodes.rooms[1].node().clone();
    nodes.input(0, RoomInput::Node { from, message: Box::new(NodeMessage::Resync) });
    nodes.pass(2 * SECOND, &[]);
    assert_eq!(
        (nodes.roster(ada), nodes.truth("blue")),
        (vec!["eve".to_owned()], vec!["ada".to_owned(), "eve".to_owned()])
    );
    assert_eq!(nodes.truth("red"), [] as [&str; 0]);
    let told = nodes.take(eve).pop().expect("told how things stand now");
    assert_eq!((&told["outcome"], &told["isolated"]), (&"snapshot".into(), &serde_json::Value::Null));
}

#[test]
fn a_node_that_was_taken_for_dead_comes_back_in_a_new_life() {
    let mut nodes = Nodes::new(2);
    let (ada, bob) = (nodes.join(0, "blue", "ada"), nodes.join(1, "blue", "bob"));
    let old = nodes.rooms[1].node().clone();
    nodes.tell_live(&[1]);
    nodes.pass(5 * SECOND, &[1]);
    nodes.take(ada);
    let new = NodeRef { incarnation: crate::protocol::Incarnation(2), ..old };
    nodes.input(0, RoomInput::NodesLive([new.clone()].into()));
    nodes.input(1, RoomInput::Reassert { node: new, amnesty: false });
    assert_eq!(nodes.take(ada)[0]["user"]["state"], "present");
    nodes.pass(20 * SECOND, &[]);
    assert_eq!((nodes.truth("blue"), nodes.heard(ada)), (vec!["ada".to_owned(), "bob".to_owned()], vec![]));
    nodes.take(bob);
    nodes.say(ada, &offer("bob", 1));
    assert_eq!(nodes.heard(bob), ["Offer"]);
}

#[test]
fn the_cap_holds_over_nodes() {
    let mut nodes = Nodes::new(2);
    for number in 0..99 {
        nodes.join(number % 2, "blue", &format!("u{number}"));
    }
    nodes.join(0, "blue", "last");
    let late = nodes.join(1, "blue", "late");
    assert_eq!(nodes.refused.pop(), Some((late, Code::RoomFull)));
    assert_eq!(nodes.truth("blue").len(), 100);
}
