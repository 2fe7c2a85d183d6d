//! Identifiers, parsed at the border so that behind it none of them can be wrong.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
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

/// Bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The secret that proves a browser owns a session. Never logged: `Debug` hides it.
#[derive(Clone)]
pub struct ResumeToken([u8; 32]);

impl ResumeToken {
    /// Takes 32 bytes that the caller drew at random.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Compares in constant time with what a browser sent (64 hexadecimal digits).
    #[must_use]
    pub fn matches(&self, sent: &str) -> bool {
        self.to_hex().as_bytes().ct_eq(sent.as_bytes()).into()
    }

    /// 64 lower-case hexadecimal digits, for the one browser that owns it.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }
}

impl fmt::Debug for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumeToken(hidden)")
    }
}

/// The secret that lets a recorder go on with its recording. On the wire it is `<recordId>.<64 hexadecimal digits>`, so
/// it names its recording by itself. Never logged, and never stored: the node keeps its SHA-256.
#[derive(Clone)]
pub struct UploadToken {
    record_id: RecordId,
    secret: Box<str>,
}

impl UploadToken {
    /// Takes 32 bytes that the caller drew at random.
    #[must_use]
    pub fn new(record_id: RecordId, secret: [u8; 32]) -> Self {
        Self { record_id, secret: ResumeToken::new(secret).to_hex().into() }
    }

    /// Reads a token as it is on the wire. `None`: no recording can have given it out.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (record_id, secret) = text.split_once('.')?;
        let digits = secret.len() == 64 && secret.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits.then_some(())?;
        Some(Self { record_id: RecordId::parse(record_id).ok()?, secret: secret.into() })
    }

    /// The recording it belongs to.
    #[must_use]
    pub fn record_id(&self) -> &RecordId {
        &self.record_id
    }

    /// As it is on the wire, for the one recorder that owns it.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{}.{}", self.record_id, self.secret)
    }

    /// What the node keeps of it.
    #[must_use]
    pub fn digest(&self) -> TokenDigest {
        TokenDigest(Sha256::digest(self.secret.as_bytes()).into())
    }
}

impl fmt::Debug for UploadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UploadToken({}, hidden)", self.record_id)
    }
}

/// SHA-256 of an [`UploadToken`]'s secret: tells whether a token is the right one, and is of no use to whoever reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Compares in constant time.
    #[must_use]
    pub fn matches(&self, token: &UploadToken) -> bool {
        self.0.ct_eq(&token.digest().0).into()
    }

    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }

    /// Reads what [`Self::to_hex`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        (text.len() == 64 && text.is_ascii()).then_some(())?;
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl Serialize for TokenDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for TokenDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a SHA-256 in hexadecimal"))
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

/// A node in one of its lives; every mirrored row names one (C-1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct NodeRef {
    /// The configured name.
    #[serde(rename = "node")]
    pub id: NodeId,
    /// Which life of it.
    #[serde(rename = "inc")]
    pub incarnation: Incarnation,
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

    #[test]
    fn a_token_matches_only_itself_and_never_shows() {
        let token = ResumeToken::new([0xab; 32]);
        assert!(token.matches(&"ab".repeat(32)));
        assert!(!token.matches(&"ac".repeat(32)));
        assert!(!token.matches(""));
        assert_eq!(format!("{token:?}"), "ResumeToken(hidden)");
    }

    #[test]
    fn an_upload_token_names_its_recording_and_only_its_digest_is_kept() {
        let id = RecordId::parse("tuesday").expect("valid");
        let token = UploadToken::new(id.clone(), [0xab; 32]);
        let sent = UploadToken::parse(&token.to_text()).expect("as it was given out");
        assert_eq!(sent.record_id(), &id);
        let kept = TokenDigest::parse(&token.digest().to_hex()).expect("as it was stored");
        assert!(kept.matches(&sent));
        assert!(!kept.matches(&UploadToken::new(id, [0xac; 32])));
        assert_eq!(format!("{sent:?}"), "UploadToken(tuesday, hidden)");
        for bad in ["", "tuesday", "tuesday.", "a/b.00", &format!("tuesday.{}", "g".repeat(64))] {
            assert!(UploadToken::parse(bad).is_none(), "{bad:?}");
        }
        assert!(TokenDigest::parse(&"é".repeat(32)).is_none(), "not cut inside a character");
    }
}
