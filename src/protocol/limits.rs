//! Every bound of the wire on one page. "Put a limit on everything": what is not here has no limit, and that is a bug.
//!
//! Those an operator may want to move are fields of [`Limits`], filled from the settings; the rest are constants.

use std::time::Duration;

use serde::Serialize;

/// Longest id (`room_name`, `user_id`, `id`). Unit: bytes.
pub const ID_BYTES_MAX: usize = 64;
/// Longest `username`. Unit: bytes of UTF-8.
pub const USERNAME_BYTES_MAX: usize = 128;
/// Longest `kind` of a `Mute`. Unit: bytes.
pub const KIND_BYTES_MAX: usize = 32;
/// A participant's metadata after the merge, as JSON. Unit: bytes.
pub const METADATA_BYTES_MAX: usize = 4 * 1024;
/// Deepest nesting of arrays and objects in a command.
pub const NESTING_MAX: usize = 32;
/// Largest message, and largest frame, on `/ws`. Unit: bytes of payload. Judged at the frame's header (RFC 6455 §5.2).
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Malformed commands that one connection may send before it is ended with 4400.
pub const MALFORMED_MAX: u32 = 10;
/// Refused `Join`s and `Resume`s after which a connection without a session is ended.
pub const REFUSED_HELLOS_MAX: u32 = 10;
/// How long a new socket may take to say `Join` or `Resume`, and one that has left to join again.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the registry, and whatever else nodes share, may take to answer.
pub const REGISTRY_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a connection waits for the room manager's answer to a `Join`, `Resume` or `Leave`; longer than the
/// registry may take.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);
/// A closing socket that has not ended by then is shut down from outside its actor.
pub const CLOSE_LINGER: Duration = Duration::from_secs(2);
/// Unsent or unacknowledged bytes on the wire older than this end the connection (`TCP_USER_TIMEOUT`, RFC 5482).
pub const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20);

/// Messages a session keeps for a browser that may come back, or that falls behind for a moment: a full room that greets
/// a newcomer with offers and candidates all at once must fit.
pub const RING_MESSAGES_MAX: usize = 4096;
/// Bytes a session keeps for a browser that may come back.
pub const RING_BYTES_MAX: usize = 1024 * 1024;
/// Messages handed to a connection and not yet taken by its socket.
pub const WINDOW_MESSAGES_MAX: u64 = 128;
/// Bytes handed to a connection and not yet taken by its socket. One message may exceed it when nothing else is out.
pub const WINDOW_BYTES_MAX: usize = 256 * 1024;
/// A connection says how far its socket has come every so many messages…
pub const CONFIRM_MESSAGES: u64 = 32;
/// …or every so many bytes, whichever is first; both well below the window, so that a healthy socket never waits.
pub const CONFIRM_BYTES: usize = 64 * 1024;

/// How far ahead of what a node has numbered a browser may say it has heard; numbering then goes on from there.
pub const SEQ_AHEAD_MAX: u64 = 1 << 32;
/// Relays that are kept because one before them, by the same sender to the same recipient, has not come yet.
pub const RELAYS_HELD_MAX: usize = 64;
/// How long they are kept before what is missing is given up, and told.
pub const RELAYS_HELD_FOR: Duration = Duration::from_secs(8);
/// What is kept for a room or a session that is just coming to this node.
pub const ARRIVING_MESSAGES_MAX: usize = 4096;
/// Rooms that are synced with the registry at one time.
pub const SYNCS_AT_ONCE: usize = 64;
/// How long the owner of a session may take at most to hand it over. Where leases are short it is waited for only a little longer
/// than it would take to see that it is dead.
pub const CLAIM_TIMEOUT: Duration = Duration::from_secs(4);
/// How much longer.
pub const DEATH_SEEN_AFTER: Duration = Duration::from_secs(1);
/// How long it is remembered that a participant has gone, or that a session has moved: longer than anything is on its way.
pub const GONE_REMEMBERED: Duration = Duration::from_secs(30);
/// How long after a room was compared with the registry it is compared once more; if there was a difference, again.
pub const CONFIRM_AFTER: Duration = Duration::from_secs(10);
/// After the registry has forgotten something: how long others may take to put back what is theirs.
pub const AMNESTY: Duration = Duration::from_secs(3);

/// Messages to another node that it has not acknowledged. What comes then is refused.
pub const LINK_RING_MESSAGES: usize = 4096;
/// Bytes of them, roughly. A single message may exceed it when nothing else is kept.
pub const LINK_RING_BYTES: usize = 8 * 1024 * 1024;
/// How long another node may take to acknowledge a message before the link begins anew.
pub const LINK_PATIENCE: Duration = Duration::from_secs(6);
/// An acknowledgement waits so long for something that takes it along…
pub const LINK_ACK_DELAY: Duration = Duration::from_millis(50);
/// …or for so many messages, whichever is first.
pub const LINK_ACK_MESSAGES: u32 = 32;
/// How often a link with something unacknowledged and nothing new says how far it has counted.
pub const LINK_TICK: Duration = Duration::from_millis(500);
/// How soon something missing is asked for again; each time twice as late, up to [`LINK_TICK`].
pub const LINK_NACK_PAUSE: Duration = Duration::from_millis(50);
/// Messages that are sent again at once.
pub const LINK_RESEND_MESSAGES: usize = 512;
/// How long the shared store may take to answer a beat.
pub const BEAT_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two beats outside their turn.
pub const BEAT_PAUSE: Duration = Duration::from_millis(100);
/// How soon a beat follows one that failed.
pub const BEAT_RETRY: Duration = Duration::from_millis(500);
/// How often a node looks whether its own inbox reaches it.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Probes that may be lost before the connections are made anew.
pub const PROBES_LOST_MAX: usize = 3;
/// How long one node has a dead one to itself to clear away.
pub const REAPER_TERM: Duration = Duration::from_secs(10);
/// How soon a step of clearing away that got no answer is tried again.
pub const REAPER_RETRY: Duration = Duration::from_secs(1);
/// Rooms that are cleared at one time.
pub const REAP_ROOMS_AT_ONCE: usize = 32;
/// Dead nodes that are remembered, so that nothing late of theirs is taken.
pub const DEAD_NODES_MAX: usize = 1024;

/// Mailbox of one connection: the window and the few control messages beside it.
pub const CONNECTION_MAILBOX: usize = 160;
/// Mailbox of the room manager. Overflow act: the connection whose command does not fit is ended with 1013.
pub const ROOM_MANAGER_MAILBOX: usize = 4 * 1024;
/// Mailbox of the cluster bridge. Overflow act: what was for another node is refused to its sender, and that node is told to
/// sync the rooms it shares with this one.
pub const CLUSTER_BRIDGE_MAILBOX: usize = 16 * 1024;
/// What the cluster bridge keeps for a room manager whose mailbox is full. It takes nothing from other nodes meanwhile, so only
/// what time brings is added; a manager that lets it come to this is taken for dead.
pub const CLUSTER_HELD_MAX: usize = 4 * 1024;
/// Rooms that people are shown of a whole cluster.
pub const OVERVIEW_ROOMS_MAX: usize = 500;

/// Largest payload of a chunk on the socket. Unit: bytes.
pub const CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Largest chunk over HTTP. Unit: bytes.
pub const UPLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Chunks of one recording: ten days of one a second.
pub const CHUNKS_MAX: u32 = 1 << 20;
/// Indices that may be missing below the highest one: bounds what a recorder that skips ahead can make a node hold.
pub const CHUNKS_MISSING_MAX: u32 = 4096;
/// Chunks of one connection that are not acknowledged yet.
pub const CHUNKS_IN_FLIGHT_MAX: usize = 8;
/// Bytes of chunks that a whole node is storing at one time. What comes then waits in its socket.
pub const INTAKE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes of stored chunks that a whole node holds for those who follow their recordings. Those of others are read again.
pub const FOLLOW_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What came of all recordings that are put together and is not whole, such as a block. Overflow act: whatever does not fit is put
/// together later, from the chunk store. Unit: bytes.
pub const UNFINISHED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of bodies over HTTP that a whole node has read and not yet passed on. A body takes of it what has come of it, so
/// one that drips holds up nobody. What does not fit waits in its socket.
pub const UPLOADS_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Room that is made for something whose size is said before it has come; what is larger finds more as it comes.
pub const FIRST_ROOM_MAX: usize = 1024 * 1024;
/// How long a body may make a pause.
pub const BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a chunk may wait for the others before it is refused as `overloaded`.
pub const INTAKE_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest `title` of a recording. Unit: bytes of UTF-8.
pub const TITLE_BYTES_MAX: usize = 200;
/// Longest `mimeType`. Unit: bytes.
pub const MIME_TYPE_BYTES_MAX: usize = 128;
/// Longest text message on `/recording`. Unit: bytes.
pub const RECORDER_TEXT_BYTES_MAX: usize = 16 * 1024;
/// How long a recorder's new socket may take to say `start`.
pub const START_TIMEOUT: Duration = Duration::from_secs(30);
/// A recorder without a socket, over HTTP alone, is taken for gone when nothing has come for so long.
pub const UPLOAD_IDLE: Duration = Duration::from_secs(30);
/// After a `stop` with chunks missing, a recorder that sends none of them for so long is not waited for any longer.
pub const STOP_PATIENCE: Duration = Duration::from_secs(60);
/// Mailbox of the recording supervisor. Overflow act: the connection whose command does not fit is ended with 1013.
pub const RECORDING_SUPERVISOR_MAILBOX: usize = 4 * 1024;
/// Mailbox of the merge worker. Overflow act: what did not fit is due again a little later.
pub const MERGE_WORKER_MAILBOX: usize = 1024;
/// Mailbox of the assembly worker. Overflow: the chunk is found when its recording is over.
pub const ASSEMBLY_WORKER_MAILBOX: usize = 1024;
/// Mailbox of the export worker. Overflow: who asks waits for its answer, and is told that the node may not take traffic.
pub const EXPORT_WORKER_MAILBOX: usize = 1024;
/// Exports that wait for their turn on one node. Overflow act: the next one is refused with `overloaded`.
pub const EXPORTS_WAITING_MAX: usize = 64;
/// Events that wait for one recorder's socket. A recorder hears little; one that takes nothing is ended.
pub const RECORDER_MAILBOX: usize = 256;

/// The limits that an operator may set; `RoomJoined.limits` shows a browser those that concern it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Participants in one room (`ROOM_MAX_PARTICIPANTS`).
    pub room_participants_max: usize,
    /// Sessions of the whole node (`MAX_SESSIONS`).
    pub sessions_max: usize,
    /// Steady rate of messages on one connection (`MESSAGES_PER_SEC`).
    pub messages_per_sec: u32,
    /// Messages one connection may send at once (`MESSAGES_BURST`).
    pub messages_burst: u32,
    /// Sockets open from one address (`CONNECTIONS_PER_IP`).
    pub connections_per_ip: usize,
    /// How long a participant without a socket stays (`SESSION_GRACE_SECS`).
    pub session_grace: Duration,
    /// How long a connection's window may stay full (`SLOW_CONSUMER_SECS`).
    pub slow_consumer: Duration,
    /// How often a socket is pinged (`PING_INTERVAL_SECS`).
    pub ping_interval: Duration,
    /// A socket from which nothing came for this long is ended (`PING_TIMEOUT_SECS`).
    pub ping_timeout: Duration,
    /// How long a removed participant may not come back (`KICK_BAN_SECS`).
    pub kick_ban: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            room_participants_max: 100,
            sessions_max: 50_000,
            messages_per_sec: 50,
            messages_burst: 200,
            connections_per_ip: 1000,
            session_grace: Duration::from_secs(10),
            slow_consumer: Duration::from_secs(5),
            ping_interval: Duration::from_secs(10),
            ping_timeout: Duration::from_secs(25),
            kick_ban: Duration::from_secs(600),
        }
    }
}

/// What a browser is told of the limits, in `RoomJoined.limits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PeerLimits {
    /// Largest message. Unit: bytes.
    pub message_bytes: usize,
    /// Largest metadata after merging. Unit: bytes of JSON.
    pub metadata_bytes: usize,
    /// Steady rate of messages.
    pub messages_per_sec: u32,
    /// Messages at once.
    pub messages_burst: u32,
    /// Participants in the room.
    pub participants: usize,
    /// How long a lost socket may take to come back. Unit: milliseconds.
    pub grace_ms: u64,
}

impl From<&Limits> for PeerLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            message_bytes: FRAME_BYTES_MAX,
            metadata_bytes: METADATA_BYTES_MAX,
            messages_per_sec: limits.messages_per_sec,
            messages_burst: limits.messages_burst,
            participants: limits.room_participants_max,
            grace_ms: u64::try_from(limits.session_grace.as_millis()).unwrap_or(u64::MAX),
        }
    }
}
