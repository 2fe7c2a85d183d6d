//! What is to be written, in order.

use bytes::Bytes;

/// One thing to be done to the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// These bytes go on from the file's end.
    Append(Bytes),
    /// These bytes take the place of as many that were appended before.
    Patch {
        /// Of the first. Unit: bytes from the file's beginning.
        at: u64,
        /// What stands there from now on.
        bytes: Bytes,
    },
}

/// What one call appends, as one write. What is changed in it is changed before anybody sees it.
pub struct Appending {
    /// Where it begins in the file.
    start: u64,
    pub bytes: Vec<u8>,
    /// How many of them were summed up.
    summed: usize,
    patches: Vec<Write>,
}

impl Appending {
    pub fn at(start: u64) -> Self {
        Self { start, bytes: Vec::new(), summed: 0, patches: Vec::new() }
    }

    /// Where the next byte will stand.
    pub fn position(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// What was appended since this was asked before.
    pub fn fresh(&mut self) -> &[u8] {
        let from = std::mem::replace(&mut self.summed, self.bytes.len());
        &self.bytes[from..]
    }

    pub fn patch(&mut self, at: u64, bytes: &[u8]) {
        let here = at.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        let place = here.and_then(|at| self.bytes.get_mut(at..at.checked_add(bytes.len())?));
        match place {
            Some(place) => place.copy_from_slice(bytes),
            None => self.patches.push(Write::Patch { at, bytes: Bytes::copy_from_slice(bytes) }),
        }
    }

    pub fn into_writes(self, writes: &mut Vec<Write>) {
        writes.extend(self.patches);
        if !self.bytes.is_empty() {
            writes.push(Write::Append(self.bytes.into()));
        }
    }
}
