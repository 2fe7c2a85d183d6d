//! The grammar of commands, and what is refused by which code.

use super::*;

fn refused(text: &str) -> Code {
    parse(text).expect_err(text).refusal.code
}

fn in_room(text: &str) -> RoomCommand {
    match parse(text).expect(text).command {
        PeerCommand::InRoom(command) => command,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_join_needs_a_room_only() {
    let PeerCommand::Join(join) =
        parse(r#"{"type":"Join","room_name":"blue","new_in_v9":1}"#).expect("valid").command
    else {
        panic!("not a join");
    };
    assert_eq!(join.room_name.as_str(), "blue");
    assert!(join.user_id.is_none() && join.username.is_none() && join.metadata.is_none());
    assert_eq!(refused(r#"{"type":"Join"}"#), Code::Malformed);
}

#[test]
fn names_that_are_markup_are_names() {
    let text = r#"{"type":"Join","room_name":"a","username":" <img src=x onerror=alert(1)> "}"#;
    let PeerCommand::Join(join) = parse(text).expect("valid").command else { panic!("not a join") };
    let shown = serde_json::to_string(&join.username).expect("text");
    assert_eq!(shown, r#""<img src=x onerror=alert(1)>""#);
    assert_eq!(refused(r#"{"type":"Join","room_name":"a","username":"a\u0000b"}"#), Code::Malformed);
    let long = format!(r#"{{"type":"Join","room_name":"a","username":"{}"}}"#, "x".repeat(129));
    assert_eq!(refused(&long), Code::Malformed);
}

#[test]
fn ids_are_parsed_at_the_border() {
    for bad in ["a/b", "..", r"a\u0000b", &"x".repeat(65), "🎥", ""] {
        assert_eq!(refused(&format!(r#"{{"type":"Join","room_name":"{bad}"}}"#)), Code::Malformed);
        let join = format!(r#"{{"type":"Join","room_name":"a","user_id":"{bad}"}}"#);
        assert_eq!(refused(&join), Code::Malformed);
        let kick = format!(r#"{{"type":"Kick","target_user_id":"{bad}"}}"#);
        assert_eq!(refused(&kick), Code::Malformed);
    }
}

#[test]
fn payloads_are_kept_as_they_came() {
    let RoomCommand::Relay(relay) = in_room(r#"{"type":"Offer","target_user_id":7,"sdp":"v=0\r\n","id":3}"#)
    else {
        panic!("not a relay");
    };
    assert_eq!(relay.payload.get(), r#""v=0\r\n""#);
    assert_eq!(relay.target.map(|id| id.to_string()).as_deref(), Some("7"));

    let end = r#"{"type":"IceCandidate","target_user_id":"b","candidate":null}"#;
    let RoomCommand::Relay(relay) = in_room(end) else { panic!("not a relay") };
    assert_eq!(relay.payload.get(), "null", "null is the end of candidates, not an absent field");
    assert_eq!(refused(r#"{"type":"IceCandidate","target_user_id":"b"}"#), Code::Malformed);
}

#[test]
fn only_messages_may_be_for_everyone() {
    let RoomCommand::Relay(relay) = in_room(r#"{"type":"Message","data":[1,{"a":null}]}"#) else {
        panic!("not a relay");
    };
    assert!(relay.target.is_none());
    assert_eq!(refused(r#"{"type":"Offer","sdp":"v=0"}"#), Code::Malformed);
}

#[test]
fn the_id_survives_a_bad_body() {
    let rejected = parse(r#"{"type":"Kick","id":"k1"}"#).expect_err("no target");
    assert_eq!(rejected.id, Some(CommandId::Text("k1".into())));
    let rejected = parse(r#"{"type":"Fly","id":9}"#).expect_err("unknown");
    assert_eq!((rejected.id, rejected.refusal.code), (Some(CommandId::Unsigned(9)), Code::Unsupported));
}

#[test]
fn nesting_is_bounded_before_anything_is_built() {
    let nested =
        |depth: usize| format!(r#"{{"type":"Message","data":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(parse(&nested(limits::NESTING_MAX - 1)).is_ok());
    assert_eq!(refused(&nested(limits::NESTING_MAX)), Code::TooDeep);
    assert_eq!(refused(&nested(1000)), Code::TooDeep);
    let brackets_in_text = format!(r#"{{"type":"Message","data":"{}\"["}}"#, "[".repeat(1000));
    assert!(parse(&brackets_in_text).is_ok());
}

#[test]
fn fields_of_relays_mean_nothing_in_other_commands() {
    let odd = r#"{"type":"Ping","target_user_id":"a/b","room_name":[],"sdp":1,"candidate":{},"data":null}"#;
    assert!(matches!(in_room(odd), RoomCommand::Ping));
    let odd = r#"{"type":"Message","data":1,"target_user_id":null,"room_name":null,"sdp":[],"candidate":2}"#;
    let RoomCommand::Relay(relay) = in_room(odd) else { panic!("not a relay") };
    assert!(relay.target.is_none() && relay.room_name.is_none());
    assert_eq!(refused(r#"{"type":"Message","data":1,"target_user_id":"a/b"}"#), Code::Malformed);
    assert_eq!(refused(r#"{"type":"Message","data":1,"room_name":"a/b"}"#), Code::Malformed);
    assert_eq!(refused(r#"{"type":"Message","sdp":"v=0"}"#), Code::Malformed, "no payload of its own");
}

#[test]
fn garbage_is_malformed_and_details_stay_short() {
    for garbage in ["", "{", "null", "[]", "\u{feff}{}", "{\"type\":5}", "{\"type\":\"Join\"", "hello"] {
        assert_eq!(refused(garbage), Code::Malformed, "{garbage:?}");
    }
    let long = format!(r#"{{"type":"Ack","seq":"{}"}}"#, "9".repeat(60_000));
    let rejected = parse(&long).expect_err("not a number");
    assert!(rejected.refusal.message().len() < 800);
}

#[test]
fn metadata_is_an_object_of_bounded_size() {
    assert_eq!(refused(r#"{"type":"Update","metadata":[1]}"#), Code::Malformed);
    let large = format!(r#"{{"type":"Update","metadata":{{"a":"{}"}}}}"#, "x".repeat(5000));
    assert_eq!(refused(&large), Code::TooLarge);
}
