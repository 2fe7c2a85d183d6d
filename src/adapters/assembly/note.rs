//! What is noted beside the parts of a video that goes into its store while it is recorded: enough for another node to go on with
//! a file of its own, which lacks what is up already.
//!
//! ```text
//!  0     4       8
//!  "GRS2" length  what there is of parts (JSON) · checkpoint · the file from behind the last part up to the checkpoint
//! ```

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::domain::assembly::Checkpoint;

/// With it go the length of parts, and what is in a note.
const MAGIC: [u8; 4] = *b"GRS2";
const HEAD_BYTES: usize = 8;

/// A part that is up. They are in order, and begin with the second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentPart {
    /// What its store calls it.
    pub tag: String,
    /// Of its bytes. CRC-32C.
    pub crc: u32,
}

/// A note, taken apart.
#[derive(Debug)]
pub struct Note {
    pub parts: Vec<SentPart>,
    pub checkpoint: Checkpoint,
    /// Of the file, from behind the last part on.
    pub tail: Bytes,
}

#[derive(Debug, Serialize, Deserialize)]
struct Told {
    parts: Vec<SentPart>,
    /// Unit: bytes.
    checkpoint: usize,
    tail: usize,
}

/// Writes a note. `checkpoint`: as it is saved.
pub fn write(parts: &[SentPart], checkpoint: &[u8], tail: &[u8]) -> Bytes {
    let told = Told { parts: parts.to_vec(), checkpoint: checkpoint.len(), tail: tail.len() };
    // It holds nothing that cannot be written; and what was not written is not read either.
    let told = serde_json::to_vec(&told).unwrap_or_default();
    let length = u32::try_from(told.len()).unwrap_or(0);
    [&MAGIC[..], &length.to_be_bytes(), &told, checkpoint, tail].concat().into()
}

/// Reads a note that was written; `None`: it is of no use to this program.
pub fn read(note: &Bytes) -> Option<Note> {
    let (head, _) = note.split_at_checked(HEAD_BYTES)?;
    let length = head[MAGIC.len()..].iter().fold(0, |length: usize, byte| length << 8 | usize::from(*byte));
    let told_end = HEAD_BYTES.checked_add(length)?;
    let told: Told = serde_json::from_slice(note.get(HEAD_BYTES..told_end)?).ok()?;
    let checkpoint_end = told_end.checked_add(told.checkpoint)?;
    let checkpoint = Checkpoint::restore(note.get(told_end..checkpoint_end)?).ok()?;
    let is_whole = head.starts_with(&MAGIC) && checkpoint_end.checked_add(told.tail) == Some(note.len());
    is_whole.then(|| Note { parts: told.parts, checkpoint, tail: note.slice(checkpoint_end..) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::assembly::Rules;

    fn written() -> Bytes {
        let parts =
            [SentPart { tag: "<one/>".to_owned(), crc: 7 }, SentPart { tag: "two".to_owned(), crc: 8 }];
        write(&parts, &Checkpoint::new(Rules::default()).save(), b"the rest")
    }

    #[test]
    fn what_was_written_is_read() {
        let note = read(&written()).expect("a note");
        assert_eq!((note.parts.len(), note.parts[1].crc, note.tail.as_ref()), (2, 8, &b"the rest"[..]));
        assert_eq!(note.checkpoint.assembler.next(), 0);
    }

    #[test]
    fn what_is_torn_is_no_note() {
        let written = written();
        for end in 0..written.len() {
            assert!(read(&written.slice(..end)).is_none(), "{end} bytes of it");
        }
        for at in [0, 4, 9, written.len() - 20] {
            let mut changed = written.to_vec();
            changed[at] ^= 0x80;
            assert!(read(&changed.into()).is_none(), "byte {at} is another");
        }
        assert!(read(&[&written[..], b"more"].concat().into()).is_none());
    }
}
