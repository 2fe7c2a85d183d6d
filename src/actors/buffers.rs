//! Buffers for what comes in large: chunks, each of which is here for some milliseconds. They are used again.
//!
//! A chunk is let go on another thread than it came in on. Room of this size would be asked for and given back for each, and
//! what the allocator makes of that, arena by arena, is not in our hands.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// Room comes in multiples of this, so that the next chunk, which is a little larger, fits too. Unit: bytes.
const STEP_BYTES: usize = 64 * 1024;
/// Room that is made for something whose size is known before it has come; what is larger finds more as it comes. Unit: bytes.
const FIRST_ROOM_MAX: usize = 1024 * 1024;
/// As much is kept for those who come. Unit: bytes.
const IDLE_BYTES_MAX: usize = 16 * 1024 * 1024;

static IDLE: Idle = Idle(Mutex::new(Vec::new()));

/// Buffers that nobody uses, those that were used last at the end.
struct Idle(Mutex<Vec<Vec<u8>>>);

/// Something large that is coming.
#[derive(Debug, Default)]
pub struct Buffer(Vec<u8>);

/// Something that has come whole, and is looked at by whoever has its bytes.
struct Whole(Buffer);

impl Idle {
    /// An empty buffer with room for so many bytes.
    fn take(&self, bytes: usize) -> Vec<u8> {
        if bytes < STEP_BYTES {
            return Vec::with_capacity(bytes);
        }
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |buffer: &Vec<u8>| (bytes..=4 * bytes).contains(&buffer.capacity());
        match idle.iter().rposition(fits) {
            Some(at) => idle.remove(at),
            None => Vec::with_capacity(bytes.next_multiple_of(STEP_BYTES)),
        }
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() < STEP_BYTES {
            return;
        }
        buffer.clear();
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(buffer);
        let mut kept = 0;
        let fits = |buffer: &&Vec<u8>| {
            kept += buffer.capacity();
            kept <= IDLE_BYTES_MAX
        };
        let kept = idle.iter().rev().take_while(fits).count();
        let spare = idle.len() - kept;
        idle.drain(..spare);
    }
}

impl Buffer {
    /// For something of which so much is said to come.
    #[must_use]
    pub fn for_bytes(announced: usize) -> Self {
        Self(IDLE.take(announced.min(FIRST_ROOM_MAX)))
    }

    /// What has come. Unit: bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing has come.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// More has come.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// All of it has come.
    #[must_use]
    pub fn whole(self) -> Bytes {
        Bytes::from_owner(Whole(self))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        IDLE.give_back(std::mem::take(&mut self.0));
    }
}

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        &self.0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_uses_any_more_is_used_again() {
        let idle = Idle(Mutex::default());
        let first = idle.take(280_000);
        let place = first.as_ptr();
        idle.give_back(first);
        let larger = idle.take(285_000);
        assert_eq!((larger.as_ptr(), larger.len()), (place, 0));
        let too_large = idle.take(400_000);
        assert!(too_large.capacity() >= 400_000);
        assert_ne!(too_large.as_ptr(), place);
        idle.give_back(too_large);
        assert!(idle.take(100).capacity() < STEP_BYTES);
        assert!(idle.take(STEP_BYTES).capacity() < 400_000);
    }

    #[test]
    fn only_so_much_is_kept_and_the_newest_first() {
        let idle = Idle(Mutex::default());
        let each = IDLE_BYTES_MAX / 4;
        for number in 0..6 {
            let mut buffer = Vec::with_capacity(each);
            buffer.push(number);
            idle.give_back(buffer);
        }
        idle.give_back(Vec::with_capacity(10));
        let kept: usize = idle.0.lock().expect("nobody panics").iter().map(Vec::capacity).sum();
        assert_eq!(kept, IDLE_BYTES_MAX);
    }

    #[test]
    fn what_has_come_is_there_until_the_last_of_its_readers_has_let_it_go() {
        let mut buffer = Buffer::for_bytes(100_000);
        buffer.extend(b"head");
        buffer.extend(b"payload");
        let whole = buffer.whole();
        let payload = whole.slice(4..);
        drop(whole);
        assert_eq!(&payload[..], b"payload");
    }
}
