//! What the scanner of MP4 remembers from one piece of bytes to the next.

use serde::{Deserialize, Serialize};

use super::{
    fragment::Fragment,
    hunt::Hunt,
    sample_tables::{Cursor, Sample},
};

/// What is being read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum State {
    /// A box's size and kind are being gathered.
    Header,
    /// A moov or moof is being gathered.
    Gather { kind: [u8; 4], start: u64, end: u64 },
    /// Passes by; without an end it is the file's.
    Pass { kind: [u8; 4], start: u64, end: Option<u64> },
    /// Nothing is understood until a moof begins.
    Hunt(Hunt),
}

/// A fragment whose data are passing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Current {
    pub fragment: Fragment,
    /// Where its data may begin: behind the moof.
    pub begin: u64,
    /// Bytes for which packets were told.
    pub told: u64,
    /// Where the last of those packets ends.
    pub told_end: u64,
}

/// A track on its way through the sample tables.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Walk {
    pub track: usize,
    pub cursor: Cursor,
    pub next: Option<Sample>,
}
