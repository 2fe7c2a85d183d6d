//! What a recorder and a node say to each other on `/recording`, and in the bodies of `/recordings…`.
//!
//! Text frames are JSON in camelCase, told apart by `type`; chunks are binary frames ([`super::chunk`]). Parsed here,
//! once, as on `/ws`.

mod command;
mod event;
mod video;

pub use self::{
    command::{
        Abort, Framing, Made, MimeType, RecorderCommand, SentToken, Start, Stop, Title, parse, parse_start,
    },
    event::{Merging, ProblemFields, Ready, RecorderEvent, RecorderLimits, RecordingState, Started, Success},
    video::{Did, Gap, SegmentWork, VideoKey},
};

#[cfg(test)]
mod tests;
