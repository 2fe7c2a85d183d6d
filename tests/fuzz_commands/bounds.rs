//! What is true of every command that was taken, and of every refusal.

use greenroom::protocol::{
    Code, CommandId, RoomName, UserId,
    command::{self, Join, PeerCommand, Rejected, Relay, RelayKind, RoomCommand},
    event::Body,
    limits,
    metadata::Metadata,
};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::Value;

/// Parses a text and checks what came of it; names its kind.
pub fn check_bounds(text: &str) -> &'static str {
    match command::parse(text) {
        Err(rejected) => check_refusal(text, &rejected),
        Ok(tagged) => {
            check_whole(text);
            check_id(tagged.id.as_ref());
            check_command(text, &tagged.command)
        }
    }
}

/// What is taken is JSON as a whole, also where nobody looks, and no deeper than allowed.
fn check_whole(text: &str) {
    serde_json::from_str::<IgnoredAny>(text).unwrap_or_else(|error| panic!("{error}, but taken: {text}"));
    // A number may be too large for any type here and is then still JSON.
    if let Ok(whole) = serde_json::from_str(text) {
        assert!(depth(&whole) <= limits::NESTING_MAX, "too deep, but taken: {text}");
    }
}

fn check_refusal(text: &str, rejected: &Rejected) -> &'static str {
    let code = rejected.refusal.code;
    let expected = [Code::Malformed, Code::Unsupported, Code::TooDeep, Code::TooLarge];
    assert!(expected.contains(&code), "{code:?} for {text}");
    check_id(rejected.id.as_ref());
    let message = rejected.refusal.message();
    assert!((1..=300).contains(&message.chars().count()), "{message}");
    // It goes back to the browser as JSON, whatever it quotes.
    let error: Value =
        serde_json::from_str(&Body::refusal(&rejected.refusal, rejected.id.as_ref()).numbered(1))
            .expect("an error is JSON");
    assert_eq!(error["code"], code.name());
    code.name()
}

fn check_command(text: &str, command: &PeerCommand) -> &'static str {
    match command {
        PeerCommand::Join(join) => check_join(join),
        PeerCommand::Resume(resume) => {
            assert!(!format!("{resume:?}").contains("token"), "a token is never shown");
            "Resume"
        }
        PeerCommand::InRoom(RoomCommand::Relay(relay)) => check_relay(text, relay),
        PeerCommand::InRoom(RoomCommand::Update(metadata)) => {
            check_metadata(metadata);
            "Update"
        }
        PeerCommand::InRoom(RoomCommand::Kick(target)) => {
            check_user(target);
            "Kick"
        }
        PeerCommand::InRoom(RoomCommand::Mute(mute)) => {
            check_user(&mute.target_user_id);
            assert!(is_plain(&as_text(&mute.kind), limits::KIND_BYTES_MAX));
            "Mute"
        }
        PeerCommand::InRoom(RoomCommand::Leave) => "Leave",
        PeerCommand::InRoom(RoomCommand::Lock(_)) => "Lock",
        PeerCommand::InRoom(RoomCommand::Ack(_)) => "Ack",
        PeerCommand::InRoom(RoomCommand::Ping) => "Ping",
    }
}

fn check_join(join: &Join) -> &'static str {
    assert!(is_plain(join.room_name.as_str(), limits::ID_BYTES_MAX));
    join.user_id.iter().for_each(check_user);
    if let Some(name) = &join.username {
        let name = as_text(name);
        assert!((1..=limits::USERNAME_BYTES_MAX).contains(&name.len()), "{name:?}");
        assert!(!name.chars().any(char::is_control) && name.trim() == name, "{name:?}");
    }
    join.metadata.iter().for_each(check_metadata);
    "Join"
}

fn check_relay(text: &str, relay: &Relay) -> &'static str {
    relay.target.iter().for_each(check_user);
    assert!(relay.target.is_some() || relay.kind == RelayKind::Message);
    assert!(text.contains(relay.payload.get()), "passed on as it came");
    let from = UserId::parse("eve").expect("plain");
    let room = RoomName::parse("blue").expect("plain");
    let passed_on = Body::relayed(relay.kind, &room, &from, &relay.payload).numbered(1);
    let passed_on: PassedOn = serde_json::from_str(&passed_on).expect("what is passed on is JSON");
    assert_eq!((passed_on.seq, passed_on.from_user_id), (1, "eve"));
    relay.kind.name()
}

#[derive(Deserialize)]
struct PassedOn<'a> {
    seq: u64,
    from_user_id: &'a str,
}

fn check_user(user: &UserId) {
    assert!(is_plain(user.as_str(), limits::ID_BYTES_MAX), "{user:?}");
}

fn check_id(id: Option<&CommandId>) {
    if let Some(CommandId::Text(text)) = id {
        assert!(text.len() <= limits::ID_BYTES_MAX, "{text:?}");
    }
}

fn check_metadata(metadata: &Metadata) {
    let json = serde_json::to_string(metadata).expect("JSON");
    assert!(json.len() <= limits::METADATA_BYTES_MAX, "{} bytes", json.len());
}

fn is_plain(text: &str, bytes_max: usize) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=bytes_max).contains(&text.len()) && text.bytes().all(plain)
}

fn as_text(named: &impl Serialize) -> String {
    let value = serde_json::to_value(named).expect("JSON");
    value.as_str().expect("text").to_owned()
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
