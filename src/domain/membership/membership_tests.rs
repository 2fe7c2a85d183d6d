//! Each rule of the registry's steps, once.

use std::time::Duration;

use super::*;
use crate::protocol::{Code, Incarnation, NodeId, Refusal, ResumeToken};

fn request(user: &str, session: u128, participants_max: usize) -> AdmissionRequest {
    let user_id = UserId::parse(user).expect("valid");
    AdmissionRequest {
        room: RoomName::parse("blue").expect("valid"),
        node: NodeRef { id: NodeId::parse("n1").expect("valid"), incarnation: Incarnation(1) },
        session: SessionId::new(uuid::Uuid::from_u128(session)),
        username: Username::from(&user_id),
        metadata: Metadata::default(),
        proof: ResumeToken::new([7; 32]).digest(),
        participants_max,
        user_id,
    }
}

fn code(outcome: Result<Admitted, Refusal>) -> Code {
    outcome.expect_err("refused").code
}

#[test]
fn the_cap_holds_but_one_may_replace_oneself() {
    let mut room = RoomRecord::default();
    let first = room.admit(5, request("ada", 1, 1)).expect("first");
    assert_eq!(code(room.admit(6, request("bob", 2, 1))), Code::RoomFull);
    let again = room.admit(7, request("ada", 3, 1)).expect("replaces");
    assert_eq!(again.row.joined_at, 5, "seniority stays");
    assert!(again.row.generation > first.row.generation);
}

fn lock(record: &mut RoomRecord, locked: bool, version: u64) -> bool {
    let room = RoomName::parse("blue").expect("valid");
    record.apply(0, Change::SetLocked { room, lock: RoomLock { locked, version } })
}

#[test]
fn a_lock_keeps_out_the_new_only() {
    let mut room = RoomRecord::default();
    room.admit(0, request("ada", 1, 9)).expect("first");
    assert!(lock(&mut room, true, 5));
    assert_eq!(code(room.admit(0, request("bob", 2, 9))), Code::RoomLocked);
    assert!(room.admit(0, request("ada", 3, 9)).is_ok());
    assert!(!lock(&mut room, false, 4), "one that was overtaken on its way");
    assert!(lock(&mut room, false, 6));
    assert!(room.admit(0, request("bob", 4, 9)).is_ok());
}

#[test]
fn a_row_is_mirrored_under_the_names_that_others_read() {
    let row = RoomRecord::default().admit(5, request("ada", 1, 9)).expect("first").row;
    let expected = serde_json::json!({
        "node": "n1", "inc": 1, "session": "00000000-0000-0000-0000-000000000001", "gen": 5, "rev": 0,
        "username": "ada", "state": "present", "metadata": {}, "joined_at": 5, "proof": row.proof.to_hex(),
    });
    let json = serde_json::to_value(&row).expect("JSON");
    assert_eq!(json, expected);
    assert_eq!(serde_json::from_value::<Row>(json).expect("a row"), row);
}

#[test]
fn a_clock_that_steps_back_makes_no_newcomer_senior() {
    let mut room = RoomRecord::default();
    let first = room.admit(9000, request("ada", 1, 9)).expect("first").row;
    let second = room.admit(10, request("bob", 2, 9)).expect("second").row;
    assert!((first.joined_at, first.generation) < (second.joined_at, second.generation));
}

#[test]
fn what_was_never_answered_can_be_taken_back() {
    let mut room = RoomRecord::default();
    let row = room.admit(0, request("ada", 1, 9)).expect("first").row;
    let (name, user_id) = (RoomName::parse("blue").expect("valid"), UserId::parse("ada").expect("valid"));
    let take_back = |session| Change::TakeBack { room: name.clone(), user_id: user_id.clone(), session };
    assert!(!room.apply(0, take_back(SessionId::new(uuid::Uuid::from_u128(9)))), "another's admission stays");
    assert!(room.apply(0, take_back(row.session)));
    assert!(room.is_empty());
}

#[test]
fn a_ban_runs_out() {
    let mut room = RoomRecord::default();
    let (name, user_id) = (RoomName::parse("blue").expect("valid"), UserId::parse("bob").expect("valid"));
    room.apply(0, Change::Ban { room: name, user_id, duration: Duration::from_secs(1) });
    assert_eq!(code(room.admit(999, request("bob", 1, 9))), Code::Banned);
    assert!(room.admit(1000, request("bob", 2, 9)).is_ok());
}

#[test]
fn a_late_write_or_delete_never_touches_a_successor() {
    let mut room = RoomRecord::default();
    let user = UserId::parse("ada").expect("valid");
    let old = room.admit(0, request("ada", 1, 9)).expect("first").row;
    let new = room.admit(0, request("ada", 2, 9)).expect("second").row;
    let withdraw = |row: &Row| Change::Withdraw {
        room: name("blue"),
        user_id: user.clone(),
        session: row.session,
        generation: row.generation,
    };
    assert!(!room.apply(0, withdraw(&old)));
    let update = |row: &Row, revision| {
        Change::Update(RowUpdate {
            room: name("blue"),
            user_id: user.clone(),
            generation: row.generation,
            revision,
            state: Presence::Suspect,
            metadata: Metadata::default(),
        })
    };
    assert!(!room.apply(0, update(&old, 9)));
    assert!(room.apply(0, update(&new, 2)));
    assert!(!room.apply(0, update(&new, 1)), "one that was overtaken on its way");
    assert!(room.apply(0, withdraw(&new)));
    assert!(!room.apply(0, withdraw(&new)), "twice is harmless");
    assert!(room.is_empty());
}

fn name(room: &str) -> RoomName {
    RoomName::parse(room).expect("valid")
}

fn user(id: &str) -> UserId {
    UserId::parse(id).expect("valid")
}

fn node(id: &str, incarnation: u64) -> NodeRef {
    NodeRef { id: NodeId::parse(id).expect("valid"), incarnation: Incarnation(incarnation) }
}

fn at(node: NodeRef, request: AdmissionRequest) -> AdmissionRequest {
    AdmissionRequest { node, ..request }
}

fn sync(node: NodeRef, mine: Vec<(UserId, Row)>, dead: Vec<NodeRef>) -> SyncRequest {
    let grace = Duration::from_secs(10);
    SyncRequest { room: name("blue"), node, mine, keep: Vec::new(), lock: RoomLock::default(), dead, grace }
}

#[test]
fn a_session_moves_once() {
    let mut room = RoomRecord::default();
    let old = room.admit(5, request("ada", 1, 9)).expect("first").row;
    let row = Row { node: node("n2", 1), ..old.clone() };
    let take = TakeOver { room: name("blue"), user_id: user("ada"), row, expected: old.generation };
    let moved = room.take_over(6, take.clone()).expect("moves").row;
    assert_eq!((&moved.node, moved.joined_at), (&node("n2", 1), 5));
    assert!(moved.generation > old.generation);
    assert_eq!(code(room.take_over(7, take)), Code::SessionUnknown, "it has moved already");
}

#[test]
fn a_participant_of_a_dead_node_is_suspect_and_then_gone() {
    let mut room = RoomRecord::default();
    let ada = room.admit(0, at(node("n2", 1), request("ada", 1, 9))).expect("first").row;
    room.admit(0, at(node("n2", 2), request("bob", 2, 9))).expect("in the next life");
    let dead = || sync(node("n1", 1), vec![], vec![node("n2", 1)]);
    let picture = room.sync(1000, dead());
    assert_eq!(picture.rows[&user("ada")].state, Presence::Suspect);
    assert_eq!(picture.rows[&user("bob")].state, Presence::Present, "of a later life");
    assert_eq!(picture.due_in, Some(Duration::from_secs(10)));
    assert_eq!(room.sync(5000, dead()).due_in, Some(Duration::from_secs(6)), "the deadline stands");
    assert_eq!(room.sync(11_000, dead()).rows.len(), 1);
    let late = RowUpdate {
        room: name("blue"),
        user_id: user("ada"),
        generation: ada.generation,
        revision: 9,
        state: Presence::Present,
        metadata: Metadata::default(),
    };
    assert!(!room.apply(0, Change::Update(late)));
}

#[test]
fn a_node_that_was_taken_for_dead_puts_its_rows_back() {
    let mut room = RoomRecord::default();
    let ada = room.admit(0, at(node("n2", 1), request("ada", 1, 9))).expect("first").row;
    room.sync(1000, sync(node("n1", 1), vec![], vec![node("n2", 1)]));
    let mine = vec![(user("ada"), Row { node: node("n2", 2), ..ada.clone() })];
    let back = room.sync(2000, sync(node("n2", 2), mine.clone(), vec![])).rows[&user("ada")].clone();
    assert_eq!((back.state, back.until), (Presence::Present, None));
    assert!(back.version() > (ada.generation, 1), "newer than what the others saw of it");
    room.sync(20_000, sync(node("n1", 1), vec![], vec![node("n2", 1)]));
    assert!(room.row(&user("ada")).is_some(), "the earlier life is dead, this one is not");
    // Forgotten altogether.
    let mut wiped = RoomRecord::default();
    assert_eq!(wiped.sync(9, sync(node("n2", 2), mine, vec![])).rows.len(), 1);
}

#[test]
fn a_newer_session_elsewhere_stands() {
    let mut room = RoomRecord::default();
    let old = room.admit(0, at(node("n2", 1), request("ada", 1, 9))).expect("first").row;
    let new = room.admit(5, at(node("n3", 1), request("ada", 2, 9))).expect("second").row;
    let picture = room.sync(9, sync(node("n2", 1), vec![(user("ada"), old.clone())], vec![]));
    assert_eq!(picture.rows[&user("ada")], new);
    // Two that were let in apart from each other, under one generation: the same one wins in whatever order.
    let twin = Row { session: new.session, ..old.clone() };
    for (first, second) in [(old.clone(), twin.clone()), (twin.clone(), old)] {
        let mut room = RoomRecord::default();
        room.sync(0, sync(first.node.clone(), vec![(user("ada"), first)], vec![]));
        room.sync(0, sync(node("n3", 1), vec![(user("ada"), Row { node: node("n3", 1), ..second })], vec![]));
        assert_eq!(room.row(&user("ada")).expect("in").session, twin.session);
    }
}

#[test]
fn what_a_node_no_longer_has_goes_unless_it_is_just_being_admitted() {
    let mut room = RoomRecord::default();
    let ada = room.admit(0, request("ada", 1, 9)).expect("first").row;
    let bob = room.admit(0, request("bob", 2, 9)).expect("second").row;
    let with_lock = |version| {
        let lock = RoomLock { locked: true, version };
        SyncRequest { keep: vec![bob.session], lock, ..sync(node("n1", 1), vec![], vec![]) }
    };
    let picture = room.sync(0, with_lock(7));
    assert_eq!(picture.rows.keys().collect::<Vec<_>>(), [&user("bob")]);
    assert_eq!(picture.removed, [(user("ada"), ada.session, ada.generation)]);
    assert!(picture.lock.locked, "a lock that was forgotten is put back");
    lock(&mut room, false, 8);
    assert!(!room.sync(0, with_lock(7)).lock.locked, "one that was opened is not");
}
