//! A recording's state, written down: another node goes on from it as if it had been there from the beginning.
//!
//! ```text
//!  0     4          8         12
//!  "GRAS" version    CRC-32C   state …     (big-endian; the CRC is of the version and the state)
//! ```

use serde::{Deserialize, Serialize};

use super::{Assembler, Prover, Rules};

const MAGIC: [u8; 4] = *b"GRAS";
/// Rises whenever the state, or what is made of the same chunks, changes.
const VERSION: u32 = 3;
const HEAD_BYTES: usize = 12;

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
        let mut bytes = [MAGIC, VERSION.to_be_bytes(), [0; 4]].concat();
        // It holds nothing that cannot be written; and what was not written is not read either.
        if serde_json::to_writer(&mut bytes, self).is_err() {
            bytes.truncate(HEAD_BYTES);
        }
        let crc = checksum(&bytes);
        bytes[8..HEAD_BYTES].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Goes on from a checkpoint.
    ///
    /// # Errors
    /// It is torn, or of another version.
    pub fn restore(bytes: &[u8]) -> Result<Self, RestoreError> {
        let (head, state) = bytes.split_at_checked(HEAD_BYTES).ok_or(RestoreError::Torn)?;
        let word =
            |at: usize| head[at..at + 4].iter().fold(0, |word: u32, byte| word << 8 | u32::from(*byte));
        if head[..4] != MAGIC || word(8) != checksum(bytes) {
            return Err(RestoreError::Torn);
        }
        if word(4) != VERSION {
            return Err(RestoreError::Version(word(4)));
        }
        serde_json::from_slice(state).map_err(|_| RestoreError::Torn)
    }
}

/// Of what stands around its own place.
fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[4..8]), &bytes[HEAD_BYTES..])
}
