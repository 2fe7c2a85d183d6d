//! Secrets that prove who owns what, and their digests. Never logged: `Debug` hides them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{RecordId, RoomName, UserId};

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

    /// Compares in constant time with what a browser sent.
    #[must_use]
    pub fn matches(&self, sent: &ResumeTicket) -> bool {
        self.to_hex().as_bytes().ct_eq(sent.secret.as_bytes()).into()
    }

    /// What other nodes keep of it, to check a browser whose node has died.
    #[must_use]
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of(&self.to_hex())
    }

    /// As a browser gets it: opaque there, and telling any node where the session is looked for. `branch`: since when the
    /// session's messages are numbered as they are.
    #[must_use]
    pub fn to_text(&self, room: &RoomName, user_id: &UserId, branch: u64) -> String {
        format!("{}.{room}.{user_id}.{branch}", self.to_hex())
    }

    /// 64 lower-case hexadecimal digits, for the node that takes the session over.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }

    /// Reads what [`Self::to_hex`] wrote.
    #[must_use]
    pub fn parse_hex(text: &str) -> Option<Self> {
        unhex(text).map(Self)
    }
}

impl fmt::Debug for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumeToken(hidden)")
    }
}

/// A [`ResumeToken`] as a browser shows it: `<64 hexadecimal digits>.<room_name>.<user_id>.<branch>`. It names the row to look
/// at, so that any node can find the session's owner without asking all of them, and how the messages were numbered that it has
/// heard: a node that was cut off may have a copy with other ones. Never logged: `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct ResumeTicket {
    secret: Box<str>,
    room: RoomName,
    user_id: UserId,
    branch: u64,
}

impl ResumeTicket {
    /// Reads a token as it is on the wire. `None`: no node can have given it out.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, '.');
        let secret = parts.next().filter(|secret| unhex(secret).is_some())?;
        let room = RoomName::parse(parts.next()?).ok()?;
        let user_id = UserId::parse(parts.next()?).ok()?;
        let branch = parts.next()?.parse().ok()?;
        Some(Self { secret: secret.into(), room, user_id, branch })
    }

    /// The room of the session.
    #[must_use]
    pub fn room(&self) -> &RoomName {
        &self.room
    }

    /// Whose session it is.
    #[must_use]
    pub fn user_id(&self) -> &UserId {
        &self.user_id
    }

    /// How the messages are numbered that the browser has heard.
    #[must_use]
    pub fn branch(&self) -> u64 {
        self.branch
    }

    /// The secret, as 64 hexadecimal digits.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// What is compared with the row's.
    #[must_use]
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of(&self.secret)
    }
}

impl fmt::Debug for ResumeTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResumeTicket({}, {}, hidden)", self.room, self.user_id)
    }
}

/// Reads 32 bytes written as 64 hexadecimal digits.
#[must_use]
pub fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    (text.len() == 64 && text.is_ascii()).then_some(())?;
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
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
        TokenDigest::of(&self.secret)
    }
}

impl fmt::Debug for UploadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UploadToken({}, hidden)", self.record_id)
    }
}

/// SHA-256 of a token's secret: tells whether a token is the right one, and is of no use to whoever reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Of a secret as it is on the wire.
    fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// Compares in constant time.
    #[must_use]
    pub fn matches(&self, shown: &Self) -> bool {
        self.0.ct_eq(&shown.0).into()
    }

    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }

    /// Reads what [`Self::to_hex`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        unhex(text).map(Self)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_matches_only_itself_and_never_shows() {
        let token = ResumeToken::new([0xab; 32]);
        let shown = |text: String| ResumeTicket::parse(&text);
        let (room, ada) = (RoomName::parse("blue").expect("valid"), UserId::parse("ada").expect("valid"));
        let ticket = shown(token.to_text(&room, &ada, 7)).expect("as it was given out");
        assert!(token.matches(&ticket) && token.digest().matches(&ticket.digest()));
        assert_eq!((ticket.room(), ticket.user_id(), ticket.branch()), (&room, &ada, 7));
        let other = shown(format!("{}.blue.ada.7", "ac".repeat(32))).expect("well formed");
        assert!(!token.matches(&other) && !token.digest().matches(&other.digest()));
        for bad in [
            "".to_owned(),
            "ab".repeat(32),
            format!("{}.blue", "ab".repeat(32)),
            format!("{}.blue.a/b.7", "ab".repeat(32)),
            "zz".repeat(32) + ".blue.ada.7",
        ] {
            assert!(shown(bad.clone()).is_none(), "{bad}");
        }
        assert_eq!(format!("{token:?} {ticket:?}"), "ResumeToken(hidden) ResumeTicket(blue, ada, hidden)");
    }

    #[test]
    fn an_upload_token_names_its_recording_and_only_its_digest_is_kept() {
        let id = RecordId::parse("tuesday").expect("valid");
        let token = UploadToken::new(id.clone(), [0xab; 32]);
        let sent = UploadToken::parse(&token.to_text()).expect("as it was given out");
        assert_eq!(sent.record_id(), &id);
        let kept = TokenDigest::parse(&token.digest().to_hex()).expect("as it was stored");
        assert!(kept.matches(&sent.digest()));
        assert!(!kept.matches(&UploadToken::new(id, [0xac; 32]).digest()));
        assert_eq!(format!("{sent:?}"), "UploadToken(tuesday, hidden)");
        for bad in ["", "tuesday", "tuesday.", "a/b.00", &format!("tuesday.{}", "g".repeat(64))] {
            assert!(UploadToken::parse(bad).is_none(), "{bad:?}");
        }
        assert!(TokenDigest::parse(&"é".repeat(32)).is_none(), "not cut inside a character");
    }
}
