//! The one table of refusals: code, close code, HTTP status, whether trying again helps, and the sentence.
//!
//! The same code means the same thing on a socket and over HTTP. `docs/PROTOCOL.md` shows this table; a test keeps
//! them equal. A refusal is a value, worded once, here.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

macro_rules! codes {
    ($( $name:ident = $text:literal, $close:expr, $ends:expr, $http:expr, $retry:expr, $sentence:literal; )*) => {
        /// Why something was refused or a socket ended. The variants' meaning is their row's sentence.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "the row's sentence says it")]
        pub enum Code { $( $name, )* }

        /// Every row, in the order of [`Code`].
        pub const TABLE: &[Row] = &[ $( Row {
            code: Code::$name, name: $text, close: $close, ends: $ends, http: $http, retryable: $retry, sentence: $sentence,
        }, )* ];
    };
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The variant.
    pub code: Code,
    /// `code` on the wire; also the reason text of a close frame.
    pub name: &'static str,
    /// The WebSocket close code (RFC 6455 §7.4, 44xx are Greenroom's) when this ends a socket.
    pub close: Option<u16>,
    /// Whether an `Error` with this code is always followed by the close.
    pub ends: bool,
    /// The HTTP status when this answers a request.
    pub http: Option<u16>,
    /// Whether the same thing may succeed later; on a close: whether the browser may come back and resume.
    pub retryable: bool,
    /// One sentence for a person.
    pub sentence: &'static str,
}

const N: Option<u16> = None;
const fn some(number: u16) -> Option<u16> {
    Some(number)
}

codes! {
    // variant = name, close code, ends the socket, HTTP status, retryable, sentence
    Malformed = "malformed", some(4400), false, some(400), false, "The message cannot be read.";
    Unsupported = "unsupported", N, false, N, false, "This type of message is not known here.";
    TooDeep = "too_deep", some(4400), false, some(400), false, "The message is nested too deeply.";
    TooLarge = "too_large", some(1009), false, some(413), false, "The message is larger than the limit.";
    BinaryFrame = "binary_frame", some(4400), true, N, false, "This socket takes text frames only.";
    MalformedRepeatedly = "malformed_repeatedly", some(4400), true, N, false, "Too many messages could not be read.";
    ProtocolViolation = "protocol_violation", some(1002), true, N, false, "The frame breaks the WebSocket protocol.";
    InvalidText = "invalid_text", some(1007), true, N, false, "The text is not UTF-8.";
    NotJoined = "not_joined", N, false, N, false, "Join a room first.";
    AlreadyJoined = "already_joined", N, false, N, false, "This connection has joined a room already; leave it first.";
    RoomFull = "room_full", N, false, N, true, "The room is full.";
    RoomLocked = "room_locked", N, false, N, true, "A moderator has locked the room.";
    Banned = "banned", some(4403), true, N, false, "A moderator removed you from this room.";
    Forbidden = "forbidden", some(4403), false, some(403), false, "Only a moderator may do this.";
    OriginRefused = "origin_refused", some(4403), false, some(403), false, "Pages of this origin may not connect.";
    Unauthorised = "unauthorised", some(4401), true, some(401), false, "The token is wrong.";
    SessionUnknown = "session_unknown", N, false, N, false, "The session is over or was never here; join again.";
    PeerUnreachable = "peer_unreachable", N, false, N, false, "No such participant is in your room.";
    SelfTarget = "self_target", N, false, N, false, "You cannot address yourself.";
    WrongRoom = "wrong_room", N, false, N, false, "You are not in that room.";
    RateLimited = "rate_limited", some(4429), false, some(429), true, "Too many messages; slow down.";
    TooManyConnections = "too_many_connections", some(4429), false, some(429), true, "Too many connections from this address.";
    HelloTimeout = "hello_timeout", some(1008), true, N, true, "Nothing was begun in time: no Join, no Resume, no start.";
    PingTimeout = "ping_timeout", some(1008), true, N, true, "Nothing was heard from the browser in time.";
    SlowConsumer = "slow_consumer", some(4408), true, N, true, "The connection did not keep up.";
    Replaced = "replaced", some(4409), true, N, false, "Another connection took over.";
    Kicked = "kicked", some(4410), true, N, false, "A moderator removed you.";
    Left = "left", some(1000), true, N, false, "You left.";
    Draining = "draining", some(1001), true, some(503), true, "The node is going away; reconnect.";
    Overloaded = "overloaded", some(1013), false, some(503), true, "The node is busy; try again later.";
    NotStarted = "not_started", N, false, N, false, "Start a recording first.";
    AlreadyStarted = "already_started", N, false, N, false, "This connection is recording already.";
    RecordIdTaken = "record_id_taken", N, false, some(409), false, "There is a recording of this name.";
    RecordingUnknown = "recording_unknown", N, false, some(404), false, "There is no such recording.";
    RecordingOver = "recording_over", N, false, some(409), false, "The recording is complete and takes nothing more.";
    RecordingStopped = "recording_stopped", N, false, some(409), false, "The recording has been stopped; chunks come before the stop.";
    RecordingActive = "recording_active", N, false, some(409), false, "The recording still runs.";
    NotLive = "not_live", N, false, some(409), false, "It can be watched only when it is over.";
    ChunksMissing = "chunks_missing", N, false, some(409), true, "Chunks are missing; send them and stop again.";
    BytesDiffer = "bytes_differ", N, false, some(409), false, "The bytes that were stored are not as many as were recorded.";
    Conflict = "conflict", N, false, some(409), false, "Other bytes are stored under this index; the first stand.";
    BadChunk = "bad_chunk", N, false, some(400), false, "The chunk's header is wrong.";
    ChecksumWrong = "checksum_wrong", N, false, some(400), true, "The chunk's checksum is wrong: it was damaged on the way.";
    EmptyChunk = "empty_chunk", N, false, some(400), false, "The chunk is empty.";
    IndexOutOfRange = "index_out_of_range", N, false, some(400), false, "The index is too far ahead of what is stored.";
    NotMedia = "not_media", N, false, some(415), false, "The first chunk is neither WebM, Matroska nor MP4.";
    UnsupportedType = "unsupported_type", N, false, some(415), false, "This media type cannot be recorded here.";
    StorageFull = "storage_full", N, false, some(507), true, "The storage is full; try again later.";
    StorageFailed = "storage_failed", N, false, some(503), true, "The storage did not take it; try again.";
    RecordingTooLarge = "recording_too_large", N, false, some(413), false, "The recording has as many bytes as one may have; stop it.";
    RecordingTooLong = "recording_too_long", N, false, some(409), false, "The recording is as long as one may be; stop it.";
    TooManyRecordings = "too_many_recordings", N, false, some(429), true, "Its owner records as much at once as one may.";
    QuotaExceeded = "quota_exceeded", N, false, some(507), false, "Its owner has as many bytes of recordings as one may have.";
    EmptyRecording = "empty_recording", N, false, N, false, "Nothing came that could be seen or heard.";
    ChunksLost = "chunks_lost", N, false, N, true, "The chunks that were stored are not there; the recording waits for them.";
    MergingUnavailable = "merging_unavailable", N, false, some(503), true, "The node has no ffmpeg; the chunks are kept.";
    MergeFailed = "merge_failed", N, false, N, true, "The chunks could not be merged; they are kept.";
    ExportFailed = "export_failed", N, false, some(503), true, "The MP4 could not be made; the recording is as it was.";
    LengthRequired = "length_required", N, false, some(411), false, "Say how long the body is.";
    RangeWrong = "range_not_satisfiable", N, false, some(416), false, "The file has no such range.";
    Internal = "internal", some(1011), true, some(500), true, "A bug of ours; it has been logged.";
    NotReady = "not_ready", N, false, some(503), true, "The node may not take traffic.";
    NotFound = "not_found", N, false, some(404), false, "There is nothing here.";
    MethodNotAllowed = "method_not_allowed", N, false, some(405), false, "This method is not supported here.";
    UpgradeRequired = "upgrade_required", N, false, some(426), false, "This address speaks WebSocket only.";
}

impl Code {
    /// This code's row.
    #[must_use]
    pub fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The code of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.name == name).map(|row| row.code)
    }

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A refusal as a value: nothing has changed, and this is what to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which row of the table.
    pub code: Code,
    /// What exactly was wrong, after the row's sentence; never contains what another participant sent.
    pub detail: Option<Cow<'static, str>>,
    /// Earliest time at which trying again makes sense. Unit: milliseconds from now.
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    /// A refusal with a detail, such as which field was wrong.
    pub fn because(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: Some(detail.into()), retry_after_ms: None }
    }

    /// The same refusal with the earliest time of a new try.
    #[must_use]
    pub fn retry_after_ms(mut self, retry_after_ms: u64) -> Self {
        self.retry_after_ms = Some(retry_after_ms);
        self
    }

    /// The sentence for a person, with the detail when there is one.
    #[must_use]
    pub fn message(&self) -> Cow<'static, str> {
        let sentence = self.code.row().sentence;
        match &self.detail {
            None => Cow::Borrowed(sentence),
            Some(detail) => Cow::Owned(format!("{}: {detail}.", sentence.trim_end_matches('.'))),
        }
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self { code, detail: None, retry_after_ms: None }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_is_in_order_and_names_are_unique() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.code as usize, index);
        }
        let names: BTreeSet<_> = TABLE.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn what_ends_a_socket_has_a_close_code_and_reasons_fit_a_close_frame() {
        for row in TABLE {
            assert!(!row.ends || row.close.is_some(), "{}", row.name);
            assert!(row.name.len() <= 123, "RFC 6455 §5.5: control frames carry 125 bytes");
        }
    }
}
