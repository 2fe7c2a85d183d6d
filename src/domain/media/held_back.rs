//! Bytes of a segment that are not whole yet, by their positions in it.

use std::{borrow::Cow, ops::Range};

use serde::{Deserialize, Serialize};

use super::Stretch;

/// Room for them, which stays when they are gone.
const ROOM_KEPT: usize = 16 * 1024;

/// One stretch of bytes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct HeldBack {
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
    /// Of the first. Unit: bytes from the segment's beginning.
    from: u64,
}

impl HeldBack {
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// These follow.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Up to there they are taken, and here no more. What is beyond them is left out.
    pub fn take_to<T>(&mut self, position: u64, take: impl FnOnce(&[u8]) -> T) -> T {
        let count = usize::try_from(position.saturating_sub(self.from)).unwrap_or(usize::MAX);
        let count = count.min(self.bytes.len());
        let taken = take(&self.bytes[..count]);
        self.bytes.drain(..count);
        self.from += count as u64;
        self.give_room_back();
        taken
    }

    /// Of these and of what came behind them only what stands from there on is held back.
    pub fn keep_from(&mut self, position: u64, came: Stretch<'_>) {
        self.take_to(position, |_| ());
        let begin = position.max(came.at);
        let kept = came.from(begin);
        if self.bytes.is_empty() {
            self.from = begin;
        }
        self.bytes.extend_from_slice(kept);
        self.give_room_back();
    }

    /// An element, of these and of what came behind them.
    pub fn cut<'a>(&self, start: u64, end: u64, came: Stretch<'a>) -> Option<Cow<'a, [u8]>> {
        let begin = came.at.max(start);
        let rest = came.from(begin).get(..usize::try_from(end.max(begin) - begin).ok()?)?;
        if start >= came.at {
            return Some(rest.into());
        }
        let held = self.bytes.get(self.range(start, end.min(came.at))?)?;
        Some([held, rest].concat().into())
    }

    pub fn get_mut(&mut self, start: u64, end: u64) -> Option<&mut [u8]> {
        let range = self.range(start, end)?;
        self.bytes.get_mut(range)
    }

    fn range(&self, start: u64, end: u64) -> Option<Range<usize>> {
        let start = usize::try_from(start.checked_sub(self.from)?).ok()?;
        Some(start..usize::try_from(end.checked_sub(self.from)?).ok()?)
    }

    /// What was large once is no reason to take up that much for good.
    fn give_room_back(&mut self) {
        let wanted = self.bytes.len().max(ROOM_KEPT);
        if self.bytes.capacity() > 2 * wanted {
            self.bytes.shrink_to(wanted);
        }
    }
}
