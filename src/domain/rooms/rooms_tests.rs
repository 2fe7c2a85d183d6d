//! The rules of rooms, one test a rule, and then everything at once at random.

use proptest::prelude::*;

use super::{
    test_world::{World, text},
    *,
};
use crate::protocol::limits;

const SECOND: Duration = Duration::from_secs(1);

fn refused(world: &World) -> Option<Code> {
    world.settled.last().and_then(|(_, outcome)| outcome.as_ref().err()).map(|refusal| refusal.code)
}

#[test]
fn who_comes_sees_everyone_and_everyone_sees_who_comes() {
    let mut world = World::new();
    let ada = world.join("blue", "ada");
    assert_eq!(world.last(ada)["role"], "moderator");
    let bob = world.connect();
    world.join_on(bob, "blue", "bob", r#","username":"Bob","metadata":{"audio":true,"x":null},"id":"j1""#);

    let joined = &world.browsers[&bob].heard[0];
    assert_eq!((joined["seq"].as_u64(), &joined["type"]), (Some(1), &"RoomJoined".into()));
    assert_eq!(joined["participants"][0]["user_id"], "ada");
    assert_eq!(world.last(bob), &serde_json::json!({ "type": "Accepted", "seq": 2, "id": "j1" }));
    let news = world.last(ada);
    assert_eq!(news["user"]["username"], "Bob");
    assert_eq!(news["user"]["metadata"], serde_json::json!({ "audio": true }));
    assert_eq!(news["user"]["role"], "participant");
    assert_eq!(world.truth("blue").len(), 2);
}

#[test]
fn a_second_join_replaces_the_first_and_nobody_else_notices() {
    let mut world = World::new();
    let (ada, bob) = (world.join("blue", "ada"), world.join("blue", "bob"));
    world.take(ada);
    let again = world.join("blue", "bob");
    assert_eq!(world.browsers[&bob].closed, Some(Code::Replaced));
    assert_eq!(world.take(ada), [] as [serde_json::Value; 0]);
    assert_eq!(world.last(again)["participants"][0]["user_id"], "ada");

    world.join_on(ada, "blue", "ada", "");
    assert_eq!(refused(&world), Some(Code::AlreadyJoined), "R-1: one connection, one room");
}

#[test]
fn a_replaced_moderator_moderates_still() {
    let mut world = World::new();
    let (_ada, _bob) = (world.join("blue", "ada"), world.join("blue", "bob"));
    let again = world.join("blue", "ada");
    assert_eq!(world.last(again)["role"], "moderator");
}

#[test]
fn a_lost_socket_is_suspect_at_once_and_gone_after_the_grace() {
    let mut world = World::new();
    let (ada, bob) = (world.join("blue", "ada"), world.join("blue", "bob"));
    world.take(ada);
    world.lose(bob);
    world.lose(bob);
    assert_eq!(world.take(ada)[0]["user"]["state"], "suspect");
    world.pass(9 * SECOND);
    assert!(world.take(ada).is_empty());
    world.pass(SECOND);
    let left = world.take(ada);
    assert_eq!((left.len(), &left[0]["reason"]), (1, &"timeout".into()));
    assert_eq!(world.truth("blue").len(), 1);
    assert_eq!(world.rooms.census(), Census { rooms: 1, present: 1, suspect: 0 });
}

#[test]
fn a_resume_brings_what_was_missed_and_then_itself() {
    let mut world = World::new();
    let (ada, bob) = (world.join("blue", "ada"), world.join("blue", "bob"));
    let heard = world.browsers[&bob].last_seq;
    world.lose(bob);
    for n in 0..3 {
        world.say(ada, &format!(r#"{{"type":"Message","target_user_id":"bob","data":{n}}}"#));
    }
    world.take(ada);
    let back = world.resume(bob, heard);
    assert_eq!(world.types(back), ["Message", "Message", "Message", "Resumed"]);
    assert_eq!(world.last(back)["outcome"], "full");
    assert_eq!(world.take(ada)[0]["user"]["state"], "present");
    world.pass(60 * SECOND);
    assert!(world.take(ada).is_empty(), "the old grace is over and nothing happens");
}

#[test]
fn a_page_that_remembers_nothing_can_resume_from_zero() {
    let mut world = World::new();
    let (_ada, bob) = (world.join("blue", "ada"), world.join("blue", "bob"));
    let back = world.resume(bob, 0);
    assert_eq!(world.types(back), ["RoomJoined", "Resumed"]);
    assert_eq!(world.browsers[&bob].closed, Some(Code::Replaced), "the newer socket wins");
}

#[test]
fn what_the_ring_lost_is_told_as_a_snapshot() {
    let mut world = World::new();
    let (ada, bob) = (world.join("blue", "ada"), world.join("blue", "bob"));
    world.say(ada, r#"{"type":"Lock","locked":true}"#);
    let heard = world.browsers[&bob].last_seq;
    world.lose(bob);
    for _ in 0..=limits::RING_MESSAGES_MAX {
        world.say(ada, r#"{"type":"Message","data":1}"#);
    }
    let back = world.resume(bob, heard);
    assert_eq!(world.types(back), ["Resumed", "RoomState"]);
    let snapshot = &world.browsers[&back].heard[0];
    assert_eq!(snapshot["outcome"], "snapshot");
    assert_eq!(snapshot["participants"][0]["user_id"], "ada");
    assert!(snapshot["seq"].as_u64() > Some(500));
}

#[test]
fn everyone_in_a_room_knows_whether_it_is_recorded() {
    let mut world = World::new();
    let ada = world.join("blue", "ada");
    let green = world.join("green", "eve");
    let blue = || crate::protocol::RoomName::parse("blue").expect("valid");
    let said = |world: &World, who| {
        let states = world.browsers[&who].heard.iter().filter(|event| event["type"] == "RoomState");
        states.map(|event| event["recording"].as_bool().expect("said")).collect::<Vec<_>>()
    };
    world.input(RoomInput::Recording { room: blue(), recording: true });
    world.input(RoomInput::Recording { room: blue(), recording: true });
    assert_eq!(said(&world, ada), [true], "told once");
    assert!(said(&world, green).is_empty(), "another room is told nothing");
    let bob = world.join("blue", "bob");
    assert_eq!(world.browsers[&bob].heard[0]["recording"], true, "who comes later knows too");
    world.input(RoomInput::Recording { room: blue(), recording: false });
    assert_eq!(said(&world, ada), [true, false]);

    let red = || crate::protocol::RoomName::parse("red").expect("valid");
    world.input(RoomInput::Recording { room: red(), recording: true });
    let first = world.join("red", "first");
    assert_eq!(world.browsers[&first].heard[0]["recording"], true, "recorded before anybody came");
}

#[test]
fn only_the_owner_of_a_session_may_resume_it() {
    let mut world = World::new();
    let (ada, bob) = (world.join("blue", "ada"), world.join("blue", "bob"));
    let (session, _) = world.browsers[&bob].session.clone().expect("joined");
    let (_, foreign_token) = world.browsers[&ada].session.clone().expect("joined");
    let resume = |session: &str, token: &str| {
        format!(r#"{{"type":"Resume","session_id":"{session}","resume_token":"{token}","last_seq":0}}"#)
    };
    let thief = world.connect();
    world.say(thief, &resume(&session, &foreign_token));
    assert_eq!(refused(&world), Some(Code::Unauthorised));
    world.say(thief, &resume("00000000-0000-4000-8000-000000000000", &foreign_token));
    assert_eq!(refused(&world), Some(Code::SessionUnknown));
    world.say(thief, &resume("no uuid", &foreign_token));
    assert_eq!(refused(&world), Some(Code::SessionUnknown));
    assert_eq!(world.browsers[&bob].closed, None, "nothing has happened to the owner");
}

#[test]
fn signals_reach_one_participant_of_the_same_room_or_are_refused() {
    let mut world = World::new();
    let (ada, bob, eve) = (world.join("blue", "ada"), world.join("blue", "bob"), world.join("red", "eve"));
    world.take(bob);
    world.say(ada, r#"{"type":"Offer","target_user_id":"bob","sdp":"v=0","room_name":"blue","id":1}"#);
    let offer = r#"{"seq":2,"type":"Offer","room_name":"blue","from_user_id":"ada","sdp":"v=0"}"#;
    assert_eq!(world.take(bob)[0], serde_json::from_str::<serde_json::Value>(offer).expect("JSON"));
    assert_eq!(world.last(ada)["type"], "Accepted");
    for (target, more, code) in [
        ("eve", "", Code::PeerUnreachable),
        ("nobody", "", Code::PeerUnreachable),
        ("ada", "", Code::SelfTarget),
        ("bob", r#","room_name":"red""#, Code::WrongRoom),
    ] {
        let text = format!(r#"{{"type":"Answer","target_user_id":"{target}","sdp":"v=0","id":"a"{more}}}"#);
        world.say(ada, &text);
        assert_eq!(world.last(ada)["code"], code.name());
        assert_eq!(world.last(ada)["id"], "a");
    }
    assert_eq!(world.types(eve), ["RoomJoined"], "R-2");
    assert!(world.take(bob).is_empty());
}

#[test]
fn moderators_moderate_and_nobody_else() {
    let mut world = World::new();
    let (ada, bob, eve) = (world.join("blue", "ada"), world.join("blue", "bob"), world.join("blue", "eve"));
    for text in [
        r#"{"type":"Kick","target_user_id":"ada"}"#,
        r#"{"type":"Lock","locked":true}"#,
        r#"{"type":"Mute","target_user_id":"ada","kind":"audio"}"#,
    ] {
        world.say(bob, text);
        assert_eq!(world.last(bob)["code"], "forbidden");
    }
    world.say(ada, r#"{"type":"Mute","target_user_id":"bob","kind":"audio"}"#);
    assert_eq!((&world.last(bob)["kind"], &world.last(bob)["by"]), (&"audio".into(), &"ada".into()));

    world.say(ada, r#"{"type":"Lock","locked":true}"#);
    assert_eq!(world.last(eve)["locked"], true);
    world.join("blue", "dan");
    assert_eq!(refused(&world), Some(Code::RoomLocked));

    world.say(ada, r#"{"type":"Kick","target_user_id":"bob","id":"k"}"#);
    assert_eq!(world.browsers[&bob].closed, Some(Code::Kicked));
    assert_eq!(world.last(eve)["reason"], "kicked");
    world.join("blue", "bob");
    assert_eq!(refused(&world), Some(Code::Banned));
}

#[test]
fn when_the_moderator_leaves_the_next_one_is_told() {
    let mut world = World::new();
    let (ada, bob, eve) = (world.join("blue", "zoe"), world.join("blue", "bob"), world.join("blue", "ada"));
    world.say(ada, r#"{"type":"Leave"}"#);
    assert_eq!(world.last(bob)["user"]["role"], "moderator");
    assert_eq!(world.last(bob)["user"]["user_id"], "bob");
    assert_eq!(world.last(eve)["user"], world.last(bob)["user"]);
}

#[test]
fn a_leave_is_at_once_and_the_socket_may_join_again() {
    let mut world = World::new();
    let (ada, bob) = (world.join("blue", "ada"), world.join("blue", "bob"));
    world.say(bob, r#"{"type":"Leave","id":"bye"}"#);
    assert_eq!(world.last(bob)["type"], "Accepted");
    assert_eq!(world.last(ada)["reason"], "left");
    world.browsers.get_mut(&bob).expect("known").last_seq = 0;
    world.join_on(bob, "red", "bob", "");
    assert_eq!(world.last(bob)["room_name"], "red");
}

#[test]
fn metadata_is_merged_and_told_only_when_it_changes() {
    let mut world = World::new();
    let (ada, bob) = (world.join("blue", "ada"), world.join("blue", "bob"));
    world.take(bob);
    world.say(ada, r#"{"type":"Update","metadata":{"audio":false,"hand":"up"}}"#);
    world.say(ada, r#"{"type":"Update","metadata":{"audio":false}}"#);
    world.say(ada, r#"{"type":"Update","metadata":{"hand":null}}"#);
    let told: Vec<_> = world.take(bob).iter().map(|news| news["user"]["metadata"].to_string()).collect();
    assert_eq!(told, [r#"{"audio":false,"hand":"up"}"#, r#"{"audio":false}"#]);
}

#[test]
fn a_peer_that_stops_reading_is_ended_and_costs_a_bounded_amount() {
    let mut world = World::new();
    let (ada, bob, eve) = (world.join("blue", "ada"), world.join("blue", "bob"), world.join("blue", "eve"));
    world.browsers.get_mut(&bob).expect("known").stalled = true;
    for _ in 0..limits::WINDOW_MESSAGES_MAX + 50 {
        world.say(ada, r#"{"type":"Message","data":1}"#);
    }
    assert!(world.browsers[&bob].heard.len() as u64 <= limits::WINDOW_MESSAGES_MAX + 3, "the window holds");
    world.pass(4 * SECOND);
    assert_eq!(world.browsers[&bob].closed, None);
    world.pass(SECOND);
    assert_eq!(world.browsers[&bob].closed, Some(Code::SlowConsumer));
    assert_eq!(world.last(eve)["user"]["state"], "suspect");
    let messages = world.types(eve).iter().filter(|kind| *kind == "Message").count() as u64;
    assert_eq!(messages, limits::WINDOW_MESSAGES_MAX + 50, "its neighbour missed nothing");
}

#[test]
fn who_leaves_with_a_full_window_is_answered() {
    let mut world = World::new();
    let (ada, bob) = (world.join("blue", "ada"), world.join("blue", "bob"));
    world.browsers.get_mut(&bob).expect("known").stalled = true;
    for _ in 0..2 * limits::WINDOW_MESSAGES_MAX {
        world.say(ada, r#"{"type":"Message","data":1}"#);
    }
    world.say(bob, r#"{"type":"Leave","id":"bye"}"#);
    assert_eq!(world.last(bob)["type"], "Accepted");
    assert_eq!(world.last(bob)["id"], "bye");
}

#[test]
fn a_ring_that_overruns_under_a_live_socket_ends_it_at_once() {
    let mut world = World::new();
    let (ada, bob) = (world.join("blue", "ada"), world.join("blue", "bob"));
    let heard = world.browsers[&bob].last_seq;
    world.browsers.get_mut(&bob).expect("known").stalled = true;
    for _ in 0..limits::RING_MESSAGES_MAX + limits::RING_MESSAGES_MAX {
        world.say(ada, r#"{"type":"Message","data":1}"#);
    }
    assert_eq!(world.browsers[&bob].closed, Some(Code::SlowConsumer));
    let back = world.resume(bob, heard);
    assert_eq!(world.last(back)["outcome"], "snapshot");
}

#[test]
fn who_is_admitted_after_its_socket_is_gone_is_suspect_from_the_start() {
    let mut world = World::new();
    let ada = world.join("blue", "ada");
    world.registry_waits = true;
    let bob = world.join("blue", "bob");
    world.lose(bob);
    world.answer_admissions();
    assert_eq!(world.types(ada), ["RoomJoined", "UserJoined", "UserUpdated"]);
    world.pass(10 * SECOND);
    assert_eq!(world.last(ada)["reason"], "timeout");
}

#[test]
fn answers_out_of_order_leave_no_ghost_in_the_registry() {
    let mut world = World::new();
    world.registry_waits = true;
    let eves: Vec<_> = (0..3).map(|_| world.join("blue", "eve")).collect();
    world.answer_admissions();
    let closed: Vec<_> = eves.iter().map(|eve| world.browsers[eve].closed).collect();
    assert_eq!(closed, [Some(Code::Replaced), Some(Code::Replaced), None], "the newest wins");
    world.say(eves[2], r#"{"type":"Leave"}"#);
    assert!(world.truth("blue").is_empty());
}

#[test]
fn a_join_under_way_does_not_dodge_a_kick() {
    let mut world = World::new();
    let (ada, bob) = (world.join("blue", "ada"), world.join("blue", "bob"));
    world.registry_waits = true;
    let again = world.join("blue", "bob");
    world.say(ada, r#"{"type":"Kick","target_user_id":"bob"}"#);
    world.answer_admissions();
    assert_eq!(refused(&world), Some(Code::Banned));
    assert_eq!((world.browsers[&bob].closed, world.types(again).len()), (Some(Code::Kicked), 0));
    assert_eq!(world.types(ada), ["RoomJoined", "UserJoined", "UserLeft"]);
    assert_eq!(world.truth("blue").len(), 1);
}

#[test]
fn a_lock_outlives_the_moment_in_which_nobody_is_seated() {
    let mut world = World::new();
    let ada = world.join("blue", "ada");
    world.say(ada, r#"{"type":"Lock","locked":true}"#);
    world.registry_waits = true;
    let again = world.join("blue", "ada");
    world.say(ada, r#"{"type":"Leave"}"#);
    world.answer_admissions();
    assert_eq!(world.browsers[&again].heard[0]["locked"], true);
    world.registry_waits = false;
    world.say(again, r#"{"type":"Lock","locked":false}"#);
    world.join("blue", "bob");
    assert_eq!(world.truth("blue").len(), 2);
}

#[test]
fn an_admission_without_an_answer_is_taken_back() {
    let mut world = World::new();
    world.registry_waits = true;
    let ada = world.join("blue", "ada");
    assert_eq!(world.truth("blue").len(), 1, "the registry has acted");
    world.lose_admissions();
    assert_eq!(refused(&world), Some(Code::Overloaded));
    assert!(world.truth("blue").is_empty() && world.browsers[&ada].heard.is_empty());
}

#[test]
fn a_leave_that_meets_a_kick_is_answered() {
    let mut world = World::new();
    let (ada, bob) = (world.join("blue", "ada"), world.join("blue", "bob"));
    world.say(ada, r#"{"type":"Kick","target_user_id":"bob"}"#);
    let answers = world.settled.len();
    world.say(bob, r#"{"type":"Leave"}"#);
    assert_eq!(world.settled.len(), answers + 1);
}

#[test]
fn a_node_that_has_its_fill_of_sessions_takes_no_more() {
    let mut world = World::with_limits(Limits { sessions_max: 1, ..Limits::default() });
    world.join("blue", "ada");
    world.join("red", "bob");
    assert_eq!(refused(&world), Some(Code::Overloaded));
}

#[test]
fn a_draining_node_says_so_and_takes_nobody() {
    let mut world = World::new();
    let ada = world.join("blue", "ada");
    world.input(RoomInput::Drain { spread_ms: 1000 });
    assert_eq!(world.last(ada)["type"], "Draining");
    assert!(world.last(ada)["reconnect_after_ms"].as_u64() < Some(1000));
    assert_eq!(world.browsers[&ada].closed, Some(Code::Draining));
    world.join("red", "bob");
    assert_eq!(refused(&world), Some(Code::Draining));
}

#[derive(Debug, Clone)]
enum Step {
    Join { room: usize, user: usize },
    Say { browser: usize, what: usize, target: usize },
    Stall { browser: usize },
    Lose { browser: usize },
    Resume { browser: usize, back: u64 },
    Pass { ms: u64 },
    RegistryWaits(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let index = 0usize..40;
    prop_oneof![
        6 => (0usize..2, 0usize..5).prop_map(|(room, user)| Step::Join { room, user }),
        20 => (index.clone(), 0usize..9, 0usize..5)
            .prop_map(|(browser, what, target)| Step::Say { browser, what, target }),
        1 => index.clone().prop_map(|browser| Step::Stall { browser }),
        3 => index.clone().prop_map(|browser| Step::Lose { browser }),
        4 => (index, 0u64..30).prop_map(|(browser, back)| Step::Resume { browser, back }),
        4 => (0u64..8000).prop_map(|ms| Step::Pass { ms }),
        1 => any::<bool>().prop_map(Step::RegistryWaits),
    ]
}

const ROOMS: [&str; 2] = ["blue", "red"];
const USERS: [&str; 5] = ["ada", "bob", "cyd", "dan", "eve"];

fn sentence(what: usize, target: &str) -> String {
    match what {
        0 => r#"{"type":"Leave"}"#.to_owned(),
        1 => format!(r#"{{"type":"Offer","target_user_id":"{target}","sdp":"v=0"}}"#),
        2 => format!(r#"{{"type":"Message","target_user_id":"{target}","data":1,"id":7}}"#),
        3 => r#"{"type":"Message","data":{"text":"hi"}}"#.to_owned(),
        4 => format!(r#"{{"type":"Update","metadata":{{"seen":"{target}"}}}}"#),
        5 => format!(r#"{{"type":"Kick","target_user_id":"{target}"}}"#),
        6 => format!(r#"{{"type":"Lock","locked":{}}}"#, target == "ada"),
        7 => r#"{"type":"Ack","seq":9}"#.to_owned(),
        _ => r#"{"type":"Ping","id":1}"#.to_owned(),
    }
}

fn run(world: &mut World, step: &Step) {
    let pick =
        |world: &World, index: usize| world.browsers.keys().nth(index % world.browsers.len().max(1)).copied();
    match step {
        Step::Join { room, user } => drop(world.join(ROOMS[*room], USERS[*user])),
        Step::Say { browser, what, target } => {
            let Some(browser) = pick(world, *browser) else { return };
            // A connection speaks only while it is in a room; after a leave it is silent.
            if world.rooms.connections.contains_key(&browser) {
                world.say(browser, &sentence(*what, USERS[*target]));
            }
        }
        Step::Stall { browser } => {
            if let Some(browser) = pick(world, *browser) {
                world.browsers.get_mut(&browser).expect("picked").stalled = true;
            }
        }
        Step::Lose { browser } => {
            if let Some(browser) = pick(world, *browser) {
                world.lose(browser);
            }
        }
        Step::Resume { browser, back } => {
            let Some(browser) = pick(world, *browser) else { return };
            if world.browsers[&browser].session.is_some() {
                let last_seq = world.browsers[&browser].last_seq;
                // A browser remembers where it was, or nothing at all; its roster is as of then.
                world.resume(browser, if *back == 0 { 0 } else { last_seq });
            }
        }
        Step::Pass { ms } => world.pass(Duration::from_millis(*ms)),
        Step::RegistryWaits(waits) => {
            world.registry_waits = *waits;
            if !waits {
                world.answer_admissions();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: no ghost, nobody joins or leaves twice in anyone's eyes, numbers rise by
    /// one, and in the end everyone sees exactly who is there.
    #[test]
    fn rosters_end_as_the_truth(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in &steps {
            run(&mut world, step);
        }
        world.registry_waits = false;
        world.answer_admissions();
        world.pass(60 * SECOND);
        for (connection, session) in &world.rooms.connections {
            let held = &world.rooms.sessions[session];
            let mut seen: Vec<_> = world.browsers[connection].roster.keys().cloned().collect();
            seen.push(held.user_id.to_string());
            seen.sort();
            let browser = &world.browsers[connection];
            if !browser.stalled {
                prop_assert_eq!(seen, world.truth(held.room.as_str()).into_iter().collect::<Vec<_>>());
                prop_assert!(browser.roster.values().all(|user| text(&user["state"]) == "present"));
            }
        }
        let members: usize = ROOMS.iter().map(|room| world.truth(room).len()).sum();
        prop_assert_eq!(members, world.rooms.sessions.len(), "the mirror holds exactly who is there");
    }
}
