//! Memory for what is done with a chunk. As much as a chunk has would be taken for each and given back; where the allocator gives back
//! what is large, that costs more than what is done in it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::assembly::Writes;

/// What a step works with. It holds nothing from one to the next.
#[derive(Debug, Default)]
pub struct Room {
    /// What is to be written.
    pub writes: Writes,
    /// What is read back.
    pub piece: Vec<u8>,
}

impl Room {
    /// As much is left to the next step. Unit: bytes.
    pub const KEPT: usize = 1024 * 1024;
}

/// What steps have left: as many as were done at one time, at most.
#[derive(Debug, Clone, Default)]
pub struct Rooms(Arc<Mutex<Vec<Room>>>);

impl Rooms {
    pub fn take(&self) -> Room {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    pub fn give_back(&self, mut room: Room) {
        room.writes.clear(Room::KEPT);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(room);
    }

    /// Nobody may need them for long.
    pub fn let_go(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
