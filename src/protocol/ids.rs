//! Identifiers, parsed at the border so that behind it none of them can be wrong.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize};

use uuid::Uuid;

use super::limits;

/// Why a piece of text is not an identifier. The sentence completes "`user_id` …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing between the quotes.
    #[error("is empty")]
    Empty,
    /// More than [`limits::ID_BYTES_MAX`] bytes.
    #[error("is longer than 64 characters")]
    TooLong,
    /// A character outside the allowed set.
    #[error("has a character other than A-Z a-z 0-9 _ -")]
    Character,
}

fn check_id(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > limits::ID_BYTES_MAX {
        return Err(IdError::TooLong);
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if text.bytes().all(allowed) { Ok(()) } else { Err(IdError::Character) }
}

/// Host names have dots.
fn check_node_id(text: &str) -> Result<(), IdError> {
    check_id(&text.replace('.', "-"))
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses 1–64 of the allowed characters.
            ///
            /// # Errors
            /// Says which of the three rules the text breaks.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                $check(text).map(|()| Self(Arc::from(text)))
            }

            /// The id as it is written on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

text_id! {
    /// The name of a room: `room_name` on the wire. 1–64 characters of `A-Z a-z 0-9 _ -`.
    RoomName, check_id
}
text_id! {
    /// A participant's name within its room: `user_id` on the wire. `(RoomName, UserId)` is the participant. 1–64
    /// characters of `A-Z a-z 0-9 _ -`.
    UserId, check_id
}
text_id! {
    /// A recording's name: `recordId` on the wire, and the name of its folder. 1–64 characters of `A-Z a-z 0-9 _ -`, so
    /// it can never lead out of a folder.
    RecordId, check_id
}
text_id! {
    /// A node's configured name: 1–64 characters of `A-Z a-z 0-9 _ . -`.
    NodeId, check_node_id
}

macro_rules! read_as_text {
    ($name:ident) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

read_as_text!(RoomName);
read_as_text!(RecordId);
read_as_text!(NodeId);

/// How a browser may write a user's name, or a command's.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a string or a whole number")]
enum TextOrNumber {
    Text(String),
    Unsigned(u64),
    Signed(i64),
}

impl<'de> Deserialize<'de> for UserId {
    /// Accepts a JSON number too: it is then its decimal text, so that applications whose users are numbered need
    /// no conversion. It is always sent back as a string.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match TextOrNumber::deserialize(deserializer)? {
            TextOrNumber::Text(text) => text,
            TextOrNumber::Unsigned(number) => number.to_string(),
            TextOrNumber::Signed(number) => number.to_string(),
        };
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// One stay of one participant; outlives its sockets. A random UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(Uuid);

impl SessionId {
    /// Takes a UUID that the caller drew at random (randomness is not this floor's).
    #[must_use]
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// Parses the hyphenated form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }

    /// A number below `bound`, always the same for the same session: spreads sessions over time without randomness.
    #[must_use]
    pub fn spread(self, bound: u64) -> u64 {
        let (high, low) = self.0.as_u64_pair();
        (high ^ low).checked_rem(bound).unwrap_or(0)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which holder of the right to finalise a recording: whoever holds an older one may change nothing any more (M-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub u64);

/// A browser's own name for a command, echoed in `Accepted`, `Error` and `Pong`: a string of at most 64 bytes or an
/// integer, sent back as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum CommandId {
    /// Sent as a JSON string.
    Text(Arc<str>),
    /// Sent as a JSON integer that is not negative.
    Unsigned(u64),
    /// Sent as a negative JSON integer.
    Signed(i64),
}

impl<'de> Deserialize<'de> for CommandId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match TextOrNumber::deserialize(deserializer)? {
            TextOrNumber::Text(text) if text.len() > limits::ID_BYTES_MAX => {
                Err(serde::de::Error::custom("`id` is longer than 64 bytes"))
            }
            TextOrNumber::Text(text) => Ok(Self::Text(Arc::from(text))),
            TextOrNumber::Unsigned(number) => Ok(Self::Unsigned(number)),
            TextOrNumber::Signed(number) => Ok(Self::Signed(number)),
        }
    }
}

/// A message's number within its session: from 1, rising by 1.
pub type Seq = u64;

/// One socket of one node, numbered by that node since it started. Never on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// One life of a node: a restart under the same name is another incarnation, so that nothing of the old life can be
/// mistaken for the new one (C-1).
///
/// Unit: milliseconds since the Unix epoch at the start of that life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

/// A node in one of its lives; every mirrored row names one (C-1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeRef {
    /// The configured name.
    #[serde(rename = "node")]
    pub id: NodeId,
    /// Which life of it.
    #[serde(rename = "inc")]
    pub incarnation: Incarnation,
}

impl NodeRef {
    /// Reads `<node>#<inc>`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (id, incarnation) = text.rsplit_once('#')?;
        Some(Self { id: NodeId::parse(id).ok()?, incarnation: Incarnation(incarnation.parse().ok()?) })
    }

    /// Whether this is `other`, or an earlier life of it: what is known dead takes its predecessors with it.
    #[must_use]
    pub fn is_up_to(&self, other: &Self) -> bool {
        self.id == other.id && self.incarnation <= other.incarnation
    }
}

/// `<node>#<inc>`, as in `servers:leases`.
impl fmt::Display for NodeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.id, self.incarnation.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_1_to_64_plain_characters() {
        assert!(RoomName::parse("Blue_room-7").is_ok());
        assert!(RoomName::parse(&"a".repeat(64)).is_ok());
        assert_eq!(RoomName::parse(""), Err(IdError::Empty));
        assert_eq!(RoomName::parse(&"a".repeat(65)), Err(IdError::TooLong));
        for bad in ["a/b", "..", "a\0b", "🎥", "a b", "a.b", "ä", "a\n"] {
            assert_eq!(RoomName::parse(bad), Err(IdError::Character), "{bad:?}");
        }
    }

    #[test]
    fn a_user_id_may_be_a_whole_number() {
        let parse = |json: &str| serde_json::from_str::<UserId>(json).map(|id| id.to_string());
        assert_eq!(parse("42").ok().as_deref(), Some("42"));
        assert_eq!(parse("-7").ok().as_deref(), Some("-7"));
        assert_eq!(parse("18446744073709551615").ok().as_deref(), Some("18446744073709551615"));
        assert!(parse("1.5").is_err());
        assert!(parse("1e400").is_err());
        assert!(parse("true").is_err());
    }
}
