//! What is to be written, in order.

use std::ops::Range;

/// One thing to be done to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write<'a> {
    /// These bytes go on from the file's end.
    Append(&'a [u8]),
    /// So many bytes go on from there that are patched when they are known. Whatever stands there stays.
    Skip(usize),
    /// These bytes take the place of as many that were appended before.
    Patch {
        /// Of the first. Unit: bytes from the file's beginning.
        at: u64,
        /// What stands there from now on.
        bytes: &'a [u8],
    },
}

impl<'a> Write<'a> {
    fn patch((at, bytes): &'a (u64, Vec<u8>)) -> Self {
        Self::Patch { at: *at, bytes }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Append(bytes) | Self::Patch { bytes, .. } => bytes.is_empty(),
            Self::Skip(count) => *count == 0,
        }
    }
}

/// What one call of the assembler makes. Whoever calls it again with the same one spares it taking new memory, as much as a chunk has.
#[derive(Debug, Clone, Default)]
pub struct Writes {
    /// Where what is appended begins in the file.
    start: u64,
    /// What is appended, as one write. What is changed in it is changed before anybody sees it.
    bytes: Vec<u8>,
    /// How many of them were summed up.
    summed: usize,
    /// Those that nobody knows yet.
    open: Option<Range<usize>>,
    patches: Vec<(u64, Vec<u8>)>,
    /// What is done when all of it stands there.
    afterwards: Vec<(u64, Vec<u8>)>,
}

/// Reads what was written in earlier calls: fills these bytes with those from this position on. `false`: it cannot.
pub type ReadBack<'a> = &'a mut dyn FnMut(u64, &mut [u8]) -> bool;

impl Writes {
    /// In the order in which they are done.
    pub fn iter(&self) -> impl Iterator<Item = Write<'_>> {
        let open = self.open.clone().unwrap_or(self.bytes.len()..self.bytes.len());
        let (before, behind) = (&self.bytes[..open.start], &self.bytes[open.end..]);
        let appended = [Write::Append(before), Write::Skip(open.len()), Write::Append(behind)];
        let patches = self.patches.iter().map(Write::patch);
        let afterwards = self.afterwards.iter().map(Write::patch);
        patches.chain(appended).chain(afterwards).filter(|write| !write.is_empty())
    }

    /// Nothing is to be written. Room for so many bytes stays.
    pub fn clear(&mut self, kept: usize) {
        self.begin(0);
        self.bytes.shrink_to(kept);
    }

    /// Goes on at this position of the file, whatever was to be written before.
    pub(super) fn begin(&mut self, start: u64) {
        self.bytes.clear();
        self.patches.clear();
        self.afterwards.clear();
        (self.start, self.summed, self.open) = (start, 0, None);
    }

    /// Where what is appended goes.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Where the next byte will stand.
    pub(super) fn position(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// What was appended since this was asked before.
    pub(super) fn fresh(&mut self) -> &[u8] {
        let from = std::mem::replace(&mut self.summed, self.bytes.len());
        &self.bytes[from..]
    }

    /// Appends so many bytes that are patched as soon as they are known: nobody writes what would not stay. Only one such place is
    /// there at one time.
    pub(super) fn leave_open(&mut self, count: usize) {
        let from = self.bytes.len();
        self.bytes.resize(from + count, 0);
        self.open = Some(from..from + count);
    }

    pub(super) fn patch(&mut self, at: u64, bytes: &[u8]) {
        let here = at.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        self.open.take_if(|open| Some(open.start) == here);
        let place = here.and_then(|at| self.bytes.get_mut(at..at.checked_add(bytes.len())?));
        match place {
            Some(place) => place.copy_from_slice(bytes),
            None => self.patches.push((at, bytes.to_vec())),
        }
    }

    /// Changes what stands there only when everything else is written.
    pub(super) fn patch_afterwards(&mut self, at: u64, bytes: &[u8]) {
        self.afterwards.push((at, bytes.to_vec()));
    }

    /// What will stand there, but for what is changed afterwards. `false`: it cannot be read.
    pub(super) fn read(&self, at: u64, into: &mut [u8], before: ReadBack<'_>) -> bool {
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
        for (from, bytes) in &self.patches {
            for (byte, position) in bytes.iter().zip(*from..) {
                let place = position.checked_sub(at).and_then(|place| usize::try_from(place).ok());
                if let Some(place) = place.and_then(|place| old.get_mut(place)) {
                    *place = *byte;
                }
            }
        }
        true
    }
}
