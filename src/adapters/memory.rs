//! The registry of a node that is alone: the rules themselves, in memory.

use std::{
    collections::BTreeMap,
    future::ready,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    clock::Clock,
    ports::{PortFuture, Registry, RegistryError},
};
use crate::{
    domain::membership::{AdmissionRequest, Admitted, Change, RoomRecord},
    protocol::{Refusal, RoomName},
};

/// Rooms as [`RoomRecord`]s behind one lock that is never held over a wait.
#[derive(Debug)]
pub struct MemoryRegistry {
    clock: Clock,
    rooms: Mutex<BTreeMap<RoomName, RoomRecord>>,
}

impl MemoryRegistry {
    /// A registry without rooms.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, rooms: Mutex::default() }
    }

    fn rooms(&self) -> MutexGuard<'_, BTreeMap<RoomName, RoomRecord>> {
        // Each operation leaves a record whole before anything in it could panic.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry for MemoryRegistry {
    fn admit(
        &self,
        request: AdmissionRequest,
    ) -> PortFuture<Result<Result<Admitted, Refusal>, RegistryError>> {
        let name = request.room.clone();
        let mut rooms = self.rooms();
        let record = rooms.entry(name.clone()).or_default();
        let outcome = record.admit(self.clock.steady_ms(), request);
        if record.is_empty() {
            rooms.remove(&name);
        }
        Box::pin(ready(Ok(outcome)))
    }

    fn mirror(&self, change: Change) -> PortFuture<Result<(), RegistryError>> {
        let name = change.room().clone();
        let mut rooms = self.rooms();
        if let Some(record) = rooms.get_mut(&name) {
            record.apply(self.clock.steady_ms(), change);
            if record.is_empty() {
                rooms.remove(&name);
            }
        }
        Box::pin(ready(Ok(())))
    }
}
