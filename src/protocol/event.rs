//! What a node says on `/ws`.
//!
//! An event is written once as a [`Body`], whoever gets it; each recipient's own `seq` is put in front when its
//! socket takes it, so a broadcast to a hundred people is serialised once and its bytes are shared.

use std::sync::Arc;

use bytestring::ByteString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::{
    Code, CommandId, NodeId, Refusal, RoomName, Seq, SessionId, UserId,
    command::{MediaKind, RelayKind, Username},
    limits::PeerLimits,
    metadata::Metadata,
};

/// Everything a node may tell a browser, without its `seq`.
#[derive(Debug, Serialize)]
#[serde(tag = "type")]
#[allow(missing_docs, reason = "fields are the wire's, described in docs/PROTOCOL.md")]
pub enum PeerEvent<'a> {
    /// The session has begun.
    RoomJoined(Welcome<'a>),
    /// The session goes on.
    Resumed(Resumed<'a>),
    /// Somebody came.
    UserJoined { room_name: &'a RoomName, user: ParticipantView<'a> },
    /// Somebody's state, role, name or metadata changed.
    UserUpdated { room_name: &'a RoomName, user: ParticipantView<'a> },
    /// The room's own state.
    RoomState { room_name: &'a RoomName, locked: bool, recording: bool },
    /// A moderator asks this participant to mute.
    Muted { room_name: &'a RoomName, kind: &'a MediaKind, by: &'a UserId },
    /// Somebody is gone.
    UserLeft { room_name: &'a RoomName, user_id: &'a UserId, reason: LeaveReason },
    /// The command of that name was taken.
    Accepted { id: &'a CommandId },
    /// The command was refused, and nothing has changed.
    Error {
        code: Code,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
        retryable: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// The node is going away: reconnect after that time, and resume.
    Draining { reconnect_after_ms: u64 },
    /// The answer to `Ping`.
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a CommandId>,
    },
}

/// The whole picture a participant needs: in `RoomJoined`, and in `Resumed` when what was missed is lost.
#[derive(Debug, Serialize)]
pub struct Welcome<'a> {
    /// The room.
    pub room_name: &'a RoomName,
    /// Who the participant is, also when it did not say.
    pub user_id: &'a UserId,
    /// For `Resume`.
    pub session_id: SessionId,
    /// For `Resume`, at any node; opaque to the browser.
    pub resume_token: String,
    /// What the participant may do.
    pub role: Role,
    /// Everyone else, the longest present first.
    pub participants: Vec<ParticipantView<'a>>,
    /// Whether nobody new is admitted.
    pub locked: bool,
    /// Whether someone records.
    pub recording: bool,
    /// As `RTCConfiguration.iceServers` (W3C WebRTC).
    pub ice_servers: &'a RawValue,
    /// Which node this is.
    pub node_id: &'a NodeId,
    /// What the participant must keep to.
    pub limits: PeerLimits,
    /// A browser that has heard nothing for so long sends `Ping`. Unit: milliseconds.
    pub heartbeat_ms: u64,
    /// The node is cut off from its cluster: it lets people in by what it last knew, and others follow later.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub isolated: bool,
}

/// How a session goes on.
#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Resumed<'a> {
    /// Everything missed has been sent again, before this message.
    Full,
    /// What was missed is lost; this is how things stand.
    Snapshot(Welcome<'a>),
}

/// A participant as the others see it.
#[derive(Debug, Clone, Serialize)]
pub struct ParticipantView<'a> {
    /// Unique in the room.
    pub user_id: &'a UserId,
    /// For people to read.
    pub username: &'a Username,
    /// What it may do.
    pub role: Role,
    /// Whether it can be reached.
    pub state: Presence,
    /// What it says of itself.
    pub metadata: &'a Metadata,
}

/// What a participant may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May kick, mute and lock: the longest present.
    Moderator,
    /// Everyone else.
    Participant,
}

/// Whether a participant can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// It has a socket.
    Present,
    /// Its socket or its node was lost, and grace runs.
    Suspect,
}

/// Why a participant is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeaveReason {
    /// It said `Leave`.
    Left,
    /// Its grace ran out.
    Timeout,
    /// A moderator removed it.
    Kicked,
}

/// An event as JSON text without the opening brace, ready for any recipient's `seq`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body(ByteString);

/// Between nodes a body is the whole object, spliced in as it is: nothing is escaped or parsed on the way.
impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let object = RawValue::from_string(format!("{{{}", self.0)).map_err(serde::ser::Error::custom)?;
        object.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = <Box<RawValue>>::deserialize(deserializer)?;
        let rest = object.get().strip_prefix('{').ok_or_else(|| serde::de::Error::custom("not an object"))?;
        Ok(Self(rest.into()))
    }
}

impl Body {
    /// Serialises an event.
    #[must_use]
    pub fn of(event: &PeerEvent<'_>) -> Self {
        // The event's types hold nothing that JSON cannot: no map with odd keys, no failing serialiser. Were that
        // ever to change, the browser is told of a bug instead of nothing.
        let mut json = serde_json::to_string(event).unwrap_or_else(|_| {
            String::from(r#"{"type":"Error","code":"internal","message":"","retryable":true}"#)
        });
        json.remove(0);
        Self(json.into())
    }

    /// A relayed payload, spliced in as the text it came in: signals are never parsed or written again.
    #[must_use]
    pub fn relayed(kind: RelayKind, room: &RoomName, from: &UserId, payload: &RawValue) -> Self {
        let (name, field, payload) = (kind.name(), kind.payload_field(), payload.get());
        // Ids are plain characters, so they need no escaping.
        let json =
            format!(r#""type":"{name}","room_name":"{room}","from_user_id":"{from}","{field}":{payload}}}"#);
        Self(json.into())
    }

    /// A refusal as `Error`.
    #[must_use]
    pub fn refusal(refusal: &Refusal, id: Option<&CommandId>) -> Self {
        Self::of(&PeerEvent::Error {
            code: refusal.code,
            message: &refusal.message(),
            id,
            retryable: refusal.code.row().retryable,
            retry_after_ms: refusal.retry_after_ms,
        })
    }

    /// Size without the `seq`. Unit: bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never: a body holds at least its closing brace.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The message as it goes out to one recipient.
    #[must_use]
    pub fn numbered(&self, seq: Seq) -> String {
        format!(r#"{{"seq":{seq},{}"#, self.0)
    }
}

/// A shared, ready-made piece of JSON, such as the list of ICE servers.
pub type SharedJson = Arc<RawValue>;
