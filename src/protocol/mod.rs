//! Floor 0: the words of the wire.
//!
//! Everything that crosses a border as text or bytes is given a type here: ids, commands, events, refusals, limits.
//! Parsing happens once, at the border; behind it no value can be malformed. Nothing here knows a clock, a socket,
//! an actor or the environment. The rules that use these words are one floor up, in [`crate::domain`].

pub mod chunk;
pub mod cluster;
pub mod codes;
pub mod command;
pub mod event;
pub mod ids;
pub mod limits;
pub mod metadata;
pub mod recorder;
pub mod tokens;

pub use codes::{Code, Refusal};
pub use ids::{
    CommandId, ConnectionId, Fence, Incarnation, NodeId, NodeRef, RecordId, RoomName, Seq, SessionId, UserId,
};
pub use tokens::{ResumeTicket, ResumeToken, TokenDigest, UploadToken};
