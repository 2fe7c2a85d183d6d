//! What a browser may say on `/ws`: parsed here, once, into types that cannot be wrong.
//!
//! Commands are imperative (`JoinRoom` as `Join` on the wire, `Relay` for the four that are passed on unread). The
//! grammar is in `docs/PROTOCOL.md`. Unknown fields are ignored; an unknown `type` is refused with `unsupported`.
//! The payload of a relay is kept as the text it came in and never looked at.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{
    Code, CommandId, Refusal, ResumeTicket, RoomName, Seq, SessionId, UserId, limits, metadata::Metadata,
};

/// A command with the browser's own name for it.
#[derive(Debug)]
pub struct Tagged {
    /// Echoed in `Accepted`, `Error` or `Pong`.
    pub id: Option<CommandId>,
    /// What is wanted.
    pub command: PeerCommand,
}

/// A message that is not a command, with the id if that much could be read.
#[derive(Debug)]
pub struct Rejected {
    /// Echoed in the `Error`.
    pub id: Option<CommandId>,
    /// What to answer.
    pub refusal: Refusal,
}

/// Everything a browser may ask for.
#[derive(Debug)]
pub enum PeerCommand {
    /// Enter a room: the first message of a new session.
    Join(Join),
    /// Take up a session again after a lost socket: the first message instead of `Join`.
    Resume(Resume),
    /// Anything else; needs a session.
    InRoom(RoomCommand),
}

/// What a session may ask for.
#[derive(Debug)]
pub enum RoomCommand {
    /// Leave now, without grace.
    Leave,
    /// Pass a payload on unread.
    Relay(Relay),
    /// Merge into the sender's metadata.
    Update(Metadata),
    /// Remove a participant (moderators only).
    Kick(UserId),
    /// Admit nobody new, or somebody again (moderators only).
    Lock(Lock),
    /// Ask a participant to mute (moderators only).
    Mute(Mute),
    /// Everything up to this number has arrived.
    Ack(Seq),
    /// Answer with `Pong`.
    Ping,
}

/// `Join`: who enters which room.
#[derive(Debug, Deserialize)]
pub struct Join {
    /// The room.
    pub room_name: RoomName,
    /// Missing: the node makes one.
    #[serde(default)]
    pub user_id: Option<UserId>,
    /// Missing or empty: the user id.
    #[serde(default, deserialize_with = "optional_username")]
    pub username: Option<Username>,
    /// What the participant says of itself.
    #[serde(default)]
    pub metadata: Option<Metadata>,
}

/// `Resume`: which session, and how far it was heard.
#[derive(Deserialize)]
pub struct Resume {
    /// From `RoomJoined`. What is not a UUID is no session's name, so it is looked up and not found.
    pub session_id: SentSession,
    /// From `RoomJoined`. What no node can have given out opens nothing.
    #[serde(rename = "resume_token", deserialize_with = "sent_ticket")]
    pub ticket: Option<ResumeTicket>,
    /// The last `seq` that arrived; 0 when nothing is remembered.
    pub last_seq: Seq,
}

impl fmt::Debug for Resume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resume")
            .field("session_id", &self.session_id)
            .field("last_seq", &self.last_seq)
            .finish_non_exhaustive()
    }
}

/// A session's name as a browser sent it: `None` when no session can have it.
#[derive(Debug, Clone, Copy)]
pub struct SentSession(pub Option<SessionId>);

impl<'de> Deserialize<'de> for SentSession {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Ok(Self(SessionId::parse(&text)))
    }
}

/// A payload for one participant, or for everyone else in the room.
#[derive(Debug)]
pub struct Relay {
    /// Which message carries it.
    pub kind: RelayKind,
    /// `None`: everyone else (messages only).
    pub target: Option<UserId>,
    /// Where the sender believes it is, if it said so.
    pub room_name: Option<RoomName>,
    /// JSON text, unread.
    pub payload: Box<RawValue>,
}

/// The four messages that are passed on unread. The first three are signals (JSEP, RFC 9429).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelayKind {
    /// A session description that asks.
    Offer,
    /// A session description that answers.
    Answer,
    /// One candidate, or `null` for the end of candidates.
    IceCandidate,
    /// Anything the application likes.
    Message,
}

impl RelayKind {
    /// The four, for tables of metrics.
    pub const ALL: [Self; 4] = [Self::Offer, Self::Answer, Self::IceCandidate, Self::Message];

    /// The `type` on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offer => "Offer",
            Self::Answer => "Answer",
            Self::IceCandidate => "IceCandidate",
            Self::Message => "Message",
        }
    }

    /// The field that holds the payload.
    #[must_use]
    pub const fn payload_field(self) -> &'static str {
        match self {
            Self::Offer | Self::Answer => "sdp",
            Self::IceCandidate => "candidate",
            Self::Message => "data",
        }
    }
}

/// `Lock`: whether the room admits nobody new.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Lock {
    /// The wanted state.
    pub locked: bool,
}

/// `Mute`: whom a moderator asks to mute what.
#[derive(Debug, Deserialize)]
pub struct Mute {
    /// Who is asked.
    pub target_user_id: UserId,
    /// What: `audio`, `video`, or the application's own word.
    pub kind: MediaKind,
}

/// A participant's display name: 1–128 bytes of UTF-8 without control characters, outer spaces removed. It may be
/// markup: pages show it as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Username(Arc<str>);

impl Username {
    /// Parses a name; `None` when nothing but spaces was given.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Option<Self>, &'static str> {
        let text = text.trim();
        if text.len() > limits::USERNAME_BYTES_MAX {
            return Err("`username` is longer than 128 bytes");
        }
        if text.chars().any(char::is_control) {
            return Err("`username` has a control character");
        }
        Ok((!text.is_empty()).then(|| Self(Arc::from(text))))
    }
}

impl From<&UserId> for Username {
    fn from(user_id: &UserId) -> Self {
        Self(Arc::from(user_id.as_str()))
    }
}

fn sent_ticket<'de, D: Deserializer<'de>>(d: D) -> Result<Option<ResumeTicket>, D::Error> {
    String::deserialize(d).map(|text| ResumeTicket::parse(&text))
}

fn optional_username<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Username>, D::Error> {
    match Option::<Cow<'de, str>>::deserialize(d)? {
        None => Ok(None),
        Some(text) => Username::parse(&text).map_err(serde::de::Error::custom),
    }
}

/// What to mute: 1–32 characters of `A-Z a-z 0-9 _ -`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct MediaKind(Box<str>);

impl<'de> Deserialize<'de> for MediaKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if (1..=limits::KIND_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.into_boxed_str()))
        } else {
            Err(serde::de::Error::custom("`kind` is not 1–32 characters of A-Z a-z 0-9 _ -"))
        }
    }
}

/// Parses one text message.
///
/// # Errors
/// [`Code::TooDeep`], [`Code::Malformed`], [`Code::Unsupported`] or [`Code::TooLarge`], with the id where it was
/// readable. Never panics, whatever the text.
pub fn parse(text: &str) -> Result<Tagged, Rejected> {
    if nests_too_deep(text) {
        return Err(Rejected { id: peek_id(text), refusal: Code::TooDeep.into() });
    }
    let head: Head<'_> = read(text).map_err(|refusal| Rejected { id: None, refusal })?;
    match read_command(&head, text) {
        Ok(command) => Ok(Tagged { id: head.id, command }),
        Err(refusal) => Err(Rejected { id: head.id, refusal }),
    }
}

/// The id of a message that is refused unread, where there is one to be found.
#[must_use]
pub fn peek_id(text: &str) -> Option<CommandId> {
    #[derive(Deserialize)]
    struct Id {
        id: Option<CommandId>,
    }
    // The parser's own limit of nesting bounds this too.
    serde_json::from_str::<Id>(text).ok()?.id
}

/// What every command has, and all that a relay has: nearly everything that comes is a relay and some are long, so they
/// are read in this one pass. The fields of a relay are not looked into before the type says that it is one.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    id: Option<CommandId>,
    #[serde(borrow, default, deserialize_with = "present")]
    target_user_id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    room_name: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    sdp: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    candidate: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
}

/// `null` is there: as a candidate it is the end of candidates.
fn present<'de, D: Deserializer<'de>>(d: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(d).map(Some)
}

fn read_command(head: &Head<'_>, text: &str) -> Result<PeerCommand, Refusal> {
    let in_room = match &*head.kind {
        "Join" => return Ok(PeerCommand::Join(read_join(text)?)),
        "Resume" => return Ok(PeerCommand::Resume(read(text)?)),
        "Leave" => RoomCommand::Leave,
        "Offer" => RoomCommand::Relay(read_relay(RelayKind::Offer, head)?),
        "Answer" => RoomCommand::Relay(read_relay(RelayKind::Answer, head)?),
        "IceCandidate" => RoomCommand::Relay(read_relay(RelayKind::IceCandidate, head)?),
        "Message" => RoomCommand::Relay(read_relay(RelayKind::Message, head)?),
        "Update" => RoomCommand::Update(read::<UpdateBody>(text)?.metadata.checked()?),
        "Kick" => RoomCommand::Kick(read::<KickBody>(text)?.target_user_id),
        "Lock" => RoomCommand::Lock(read(text)?),
        "Mute" => RoomCommand::Mute(read(text)?),
        "Ack" => RoomCommand::Ack(read::<AckBody>(text)?.seq),
        "Ping" => RoomCommand::Ping,
        _ => return Err(Code::Unsupported.into()),
    };
    Ok(PeerCommand::InRoom(in_room))
}

fn read_join(text: &str) -> Result<Join, Refusal> {
    let mut join: Join = read(text)?;
    // A `null` has nothing to delete here; merging into nothing drops it.
    join.metadata = join.metadata.map(|sent| Metadata::default().merged(&sent)).transpose()?;
    Ok(join)
}

fn read_relay(kind: RelayKind, head: &Head<'_>) -> Result<Relay, Refusal> {
    let target: Option<UserId> = read_optional(head.target_user_id)?;
    if target.is_none() && kind != RelayKind::Message {
        return Err(missing("target_user_id"));
    }
    let payload = match kind {
        RelayKind::Offer | RelayKind::Answer => head.sdp,
        RelayKind::IceCandidate => head.candidate,
        RelayKind::Message => head.data,
    };
    Ok(Relay {
        kind,
        target,
        room_name: read_optional(head.room_name)?,
        payload: payload.ok_or_else(|| missing(kind.payload_field()))?.to_owned(),
    })
}

fn missing(field: &str) -> Refusal {
    Refusal::because(Code::Malformed, format!("missing field `{field}`"))
}

/// `None` where the field is absent or `null`.
fn read_optional<'a, T: Deserialize<'a>>(field: Option<&'a RawValue>) -> Result<Option<T>, Refusal> {
    field.map_or(Ok(None), |value| read(value.get()))
}

#[derive(Deserialize)]
struct UpdateBody {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct KickBody {
    target_user_id: UserId,
}

#[derive(Deserialize)]
struct AckBody {
    seq: Seq,
}

/// Longest detail of a parse error. It may quote what was sent, so it must not grow with it.
const DETAIL_CHARS_MAX: usize = 160;

pub(super) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Refusal> {
    serde_json::from_str(text).map_err(|error| {
        let detail: String = error.to_string().chars().take(DETAIL_CHARS_MAX).collect();
        Refusal::because(Code::Malformed, detail)
    })
}

/// Whether arrays and objects nest too deep. What opens few of them cannot, and counting is many times faster than
/// following strings; so only texts with many brackets, wherever they stand, are looked at closely.
pub(super) fn nests_too_deep(text: &str) -> bool {
    openings(text) > limits::NESTING_MAX && nesting(text) > limits::NESTING_MAX
}

/// How many `[` and `{` there are, in strings too. They differ in one bit; pieces of 255 fit a sum of bytes.
fn openings(text: &str) -> usize {
    let opening = |byte: &u8| u8::from(byte | 0x20 == b'{');
    text.as_bytes().chunks(255).map(|piece| usize::from(piece.iter().map(opening).sum::<u8>())).sum()
}

/// The deepest nesting of `[` and `{` outside strings. Looks at each byte once and builds nothing.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
