//! A recording's state, written down: another node goes on from it as if it had been there from the beginning.
//!
//! ```text
//!  0     4          8         12       16
//!  "GRAS" version    CRC-32C   length   state …     (big-endian; the CRC is of all but the first 4 bytes and its own)
//! ```
//! What follows the state is not looked at: an earlier, longer one may have stood there.
//!
//! The state is in postcard's wire format: the index of a long recording is a few thousand numbers, and is written every
//! few seconds.

use serde::{Deserialize, Serialize};

use super::{Assembler, Prover, Rules};

const MAGIC: [u8; 4] = *b"GRAS";
/// Rises whenever the state, or what is made of the same chunks, changes.
const VERSION: u32 = 5;
const HEAD_BYTES: usize = 16;

/// Why a checkpoint is of no use: the recording is assembled anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Its bytes are not those that were written.
    #[error("the checkpoint is torn")]
    Torn,
    /// Another version of the program has written it.
    #[error("the checkpoint is of version {0}, not {VERSION}")]
    Version(u32),
}

/// A recording on its way: what makes its file, and what reads that file back. One is of no use without the other.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Makes the file.
    pub assembler: Assembler,
    /// Has read it so far.
    pub prover: Prover,
}

impl Checkpoint {
    /// Begins with a recording's first chunk.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { assembler: Assembler::new(rules), prover: Prover::new() }
    }

    /// Writes the state down. It goes with a file of [`length`](Assembler::length) bytes.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let head = [MAGIC, VERSION.to_be_bytes(), [0; 4], [0; 4]].concat();
        // It holds nothing that cannot be written; and what was not written is not read either.
        let mut bytes = postcard::to_extend(self, head.clone()).unwrap_or(head);
        let length = u32::try_from(bytes.len() - HEAD_BYTES).unwrap_or(u32::MAX);
        bytes[12..HEAD_BYTES].copy_from_slice(&length.to_be_bytes());
        let crc = checksum(&bytes);
        bytes[8..12].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Goes on from a checkpoint.
    ///
    /// # Errors
    /// It is torn, or of another version.
    pub fn restore(bytes: &[u8]) -> Result<Self, RestoreError> {
        let head = bytes.get(..HEAD_BYTES).ok_or(RestoreError::Torn)?;
        let word =
            |at: usize| head[at..at + 4].iter().fold(0, |word: u32, byte| word << 8 | u32::from(*byte));
        let end = usize::try_from(word(12)).ok().and_then(|length| length.checked_add(HEAD_BYTES));
        let bytes = end.and_then(|end| bytes.get(..end)).ok_or(RestoreError::Torn)?;
        if head[..4] != MAGIC || word(8) != checksum(bytes) {
            return Err(RestoreError::Torn);
        }
        if word(4) != VERSION {
            return Err(RestoreError::Version(word(4)));
        }
        postcard::from_bytes(&bytes[HEAD_BYTES..]).map_err(|_| RestoreError::Torn)
    }
}

/// Of what stands around its own place.
fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[4..8]), &bytes[12..])
}
