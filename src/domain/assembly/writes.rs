//! What is to be written, in order.

use std::ops::Range;

use bytes::Bytes;

/// One thing to be done to the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// These bytes go on from the file's end.
    Append(Bytes),
    /// So many bytes go on from there that are patched when they are known. Whatever stands there stays.
    Skip(usize),
    /// These bytes take the place of as many that were appended before.
    Patch {
        /// Of the first. Unit: bytes from the file's beginning.
        at: u64,
        /// What stands there from now on.
        bytes: Bytes,
    },
}

impl Write {
    fn is_empty(&self) -> bool {
        match self {
            Self::Append(bytes) | Self::Patch { bytes, .. } => bytes.is_empty(),
            Self::Skip(count) => *count == 0,
        }
    }
}

/// What one call appends, as one write. What is changed in it is changed before anybody sees it.
pub struct Appending {
    /// Where it begins in the file.
    start: u64,
    pub bytes: Vec<u8>,
    /// How many of them were summed up.
    summed: usize,
    /// Those that nobody knows yet.
    open: Option<Range<usize>>,
    patches: Vec<Write>,
    /// What is done when all of it stands there.
    afterwards: Vec<Write>,
}

/// Reads what was written in earlier calls: fills these bytes with those from this position on. `false`: it cannot.
pub type ReadBack<'a> = &'a mut dyn FnMut(u64, &mut [u8]) -> bool;

impl Appending {
    pub fn at(start: u64) -> Self {
        Self { start, bytes: Vec::new(), summed: 0, open: None, patches: Vec::new(), afterwards: Vec::new() }
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

    /// Appends so many bytes that are patched as soon as they are known: nobody writes what would not stay. Only one such place is
    /// there at one time.
    pub fn leave_open(&mut self, count: usize) {
        let from = self.bytes.len();
        self.bytes.resize(from + count, 0);
        self.open = Some(from..from + count);
    }

    pub fn patch(&mut self, at: u64, bytes: &[u8]) {
        let here = at.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        self.open.take_if(|open| Some(open.start) == here);
        let place = here.and_then(|at| self.bytes.get_mut(at..at.checked_add(bytes.len())?));
        match place {
            Some(place) => place.copy_from_slice(bytes),
            None => self.patches.push(Write::Patch { at, bytes: Bytes::copy_from_slice(bytes) }),
        }
    }

    /// Changes what stands there only when everything else is written.
    pub fn patch_afterwards(&mut self, at: u64, bytes: &[u8]) {
        self.afterwards.push(Write::Patch { at, bytes: Bytes::copy_from_slice(bytes) });
    }

    /// What will stand there, but for what is changed afterwards. `false`: it cannot be read.
    pub fn read(&self, at: u64, into: &mut [u8], before: ReadBack<'_>) -> bool {
        let written = usize::try_from(self.start.saturating_sub(at)).unwrap_or(usize::MAX).min(into.len());
        let (old, new) = into.split_at_mut(written);
        let from = at.max(self.start) - self.start;
        let Some(here) = usize::try_from(from).ok().and_then(|from| self.bytes.get(from..)?.get(..new.len()))
        else {
            return false;
        };
        new.copy_from_slice(here);
        if !old.is_empty() && !before(at, old) {
            return false;
        }
        for patch in &self.patches {
            let Write::Patch { at: from, bytes } = patch else { continue };
            for (byte, position) in bytes.iter().zip(*from..) {
                let place = position.checked_sub(at).and_then(|place| usize::try_from(place).ok());
                if let Some(place) = place.and_then(|place| old.get_mut(place)) {
                    *place = *byte;
                }
            }
        }
        true
    }

    pub fn into_writes(self, writes: &mut Vec<Write>) {
        writes.extend(self.patches);
        let bytes = Bytes::from(self.bytes);
        let open = self.open.unwrap_or(bytes.len()..bytes.len());
        let (before, behind) = (bytes.slice(..open.start), bytes.slice(open.end..));
        let around = [Write::Append(before), Write::Skip(open.len()), Write::Append(behind)];
        writes.extend(around.into_iter().filter(|write| !write.is_empty()));
        writes.extend(self.afterwards);
    }
}
