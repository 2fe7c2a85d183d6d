//! What an account answers.

use uuid::Uuid;

use super::Manifest;
use crate::protocol::{Refusal, chunk::ChunkIndex, recorder::RecordingState};

/// A recorder has taken up a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The recording as it now stands.
    pub manifest: Manifest,
    /// Names this recorder against earlier and later ones.
    pub generation: u64,
    /// One more than the highest index stored or given out.
    pub next_index: u32,
    /// How many chunks are stored.
    pub chunks: u32,
    /// Indices below the next one that are to come.
    pub missing: Vec<u32>,
    /// Whether it was over, or nearly, and has begun anew.
    pub reopened: bool,
}

/// Whether a chunk must be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// It must.
    New,
    /// It is stored already (L-3).
    Duplicate,
}

/// A chunk that has no place of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unplaced {
    /// How long it is. Unit: bytes.
    pub length: u32,
    /// Whether its bytes can begin a recording.
    pub may_begin: bool,
    /// Whose it is, where it came by a socket. One that an earlier recorder has brought, the present one sends again.
    pub generation: Option<u64>,
}

/// A number that was given out to a chunk without a place of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    /// The place.
    pub index: ChunkIndex,
    /// Who has it: a place that was given up may be another's later.
    pub request: Uuid,
    /// Whether there are others whose chunks did not come in time: whoever hears of them sees to them.
    pub others_are_late: bool,
}

/// What became of a noted chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// It is in the account.
    InTime,
    /// It is, and because it came after a claim, that claim no longer holds: the chunk was acknowledged, so it must be
    /// in the video.
    Outdated,
    /// It is not: its number was taken back meanwhile. Nothing has changed.
    Withdrawn,
}

/// How a recording stands for the recorder that keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Whether this recorder is the present one.
    pub is_present: bool,
    /// Where the recording stands.
    pub state: RecordingState,
    /// Of its account: what is known of an older one is outdated.
    pub revision: u64,
    /// How far its merge is, where one runs: 0–100.
    pub percent: Option<u8>,
}

/// A stop was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopTaken {
    /// The recording as it now stands.
    pub manifest: Manifest,
    /// How many chunks it has.
    pub chunks: u32,
}

/// A stop was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopRefused {
    /// Why.
    pub refusal: Refusal,
    /// What is missing, where that is why: the indices, and how many chunks there must be.
    pub missing: Option<(Vec<u32>, u32)>,
    /// The recording as it now stands, where the refused stop has taught something: how many chunks there must be.
    pub manifest: Option<Box<Manifest>>,
}

impl From<Refusal> for StopRefused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, missing: None, manifest: None }
    }
}

/// The right to do what was due, until another claim is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The recording as it now stands, with the claim's fence.
    pub manifest: Manifest,
    /// What is due.
    pub work: ClaimedWork,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimedWork {
    /// Make its video.
    Finalise {
        /// How many chunks there must be.
        expected: u32,
        /// How many there are.
        chunks: u32,
    },
    /// Its video is there, and whoever made it did not get to the end: see that the catalog has its row, and clear up.
    Publish {
        /// How many chunks there are.
        chunks: u32,
    },
    /// Too many nodes died at its video: say so, and keep its chunks.
    GiveUp,
    /// Its recorder did not come back: take its chunks away.
    Forget,
}
