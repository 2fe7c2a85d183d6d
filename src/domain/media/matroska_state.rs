//! What the scanner of Matroska remembers from one piece of bytes to the next.

use serde::{Deserialize, Serialize};

use super::{hunt::Hunt, matroska_block::Block};

/// What is being read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum State {
    /// An element's id and size are being gathered.
    Header,
    /// A field is being gathered.
    Field { id: u32, start: u64, end: u64 },
    /// A block passes by; the first `want` bytes of it are gathered.
    Block { start: u64, end: u64, size: u64, want: u64 },
    /// Passes by.
    Skip { id: u32, start: u64, end: u64 },
    /// Nothing is understood until a Cluster begins.
    Hunt(Hunt),
}

/// An open element that holds others.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Master {
    pub id: u32,
    pub start: u64,
    pub end: Option<u64>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cluster {
    pub start: u64,
    pub time: Option<u64>,
    pub blocks: bool,
    /// Of the newest Cluster that had a time.
    pub last_time: Option<u64>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Group {
    pub block: Option<Block>,
    /// In ticks.
    pub duration: Option<u64>,
    pub refers: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CuePoint {
    pub time: u64,
    pub track: u64,
    pub position: Option<u64>,
    pub found: Vec<(u64, u64)>,
}
