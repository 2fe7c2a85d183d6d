//! How stored chunks become one file: the plan as data, and what the file is held against afterwards.
//!
//! ```text
//!  chunks, expected ─► Layout ─► segments, each with its holes ─► (their tracks are read)
//!                                         MergePlan: family, and per segment and track: copy, encode, fill
//!                                         Timeline: where each segment begins in the video, and what its gaps are there
//!  result, as read ──► Tally ──► prove(): packet for packet what was planned, or what differs
//! ```
//! What it is not: it reads no chunk and runs nothing; `adapters::ffmpeg` does. The same chunks give the same plan
//! on every node.
//!
//! A *segment* is one life of a `MediaRecorder`: only its first chunk begins like a file, and inside it the borders of
//! chunks mean nothing.

mod layout;
mod mime;
mod plan;
mod proof;
mod tally;
mod timeline;

pub use self::{
    layout::{Layout, Piece, PlannedChunk, Segment},
    mime::mime_type,
    plan::{Family, MergePlan, SegmentFacts, SegmentPlan, TargetTrack, TrackPlan, continues},
    proof::{Closeness, Difference, Expected, ExpectedTrack, Span, prove},
    tally::{PacketLog, Tally},
    timeline::{Timeline, TimelineSegment},
};
