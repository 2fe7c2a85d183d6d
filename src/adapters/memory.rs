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
    domain::membership::{
        AdmissionRequest, Admitted, Change, RoomPicture, RoomRecord, Row, SyncRequest, TakeOver,
    },
    protocol::{Refusal, RoomName, UserId},
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

    /// Does something with a room's record, and forgets one that is empty then.
    fn with<T>(&self, room: &RoomName, act: impl FnOnce(u64, &mut RoomRecord) -> T) -> T {
        let mut rooms = self.rooms();
        let record = rooms.entry(room.clone()).or_default();
        let done = act(self.clock.steady_ms(), record);
        if record.is_empty() {
            rooms.remove(room);
        }
        done
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
        let room = request.room.clone();
        Box::pin(ready(Ok(self.with(&room, |now_ms, record| record.admit(now_ms, request)))))
    }

    fn mirror(&self, change: Change) -> PortFuture<Result<bool, RegistryError>> {
        let room = change.room().clone();
        Box::pin(ready(Ok(self.with(&room, |now_ms, record| record.apply(now_ms, change)))))
    }

    fn sync(&self, request: SyncRequest) -> PortFuture<Result<RoomPicture, RegistryError>> {
        let room = request.room.clone();
        Box::pin(ready(Ok(self.with(&room, |now_ms, record| record.sync(now_ms, request)))))
    }

    fn find(&self, room: RoomName, user_id: UserId) -> PortFuture<Result<Option<Row>, RegistryError>> {
        Box::pin(ready(Ok(self.with(&room, |_, record| record.row(&user_id).cloned()))))
    }

    fn show(&self, room: RoomName) -> PortFuture<Result<RoomPicture, RegistryError>> {
        Box::pin(ready(Ok(self.with(&room, |now_ms, record| record.picture(now_ms)))))
    }

    fn take_over(&self, request: TakeOver) -> PortFuture<Result<Result<Admitted, Refusal>, RegistryError>> {
        let room = request.room.clone();
        Box::pin(ready(Ok(self.with(&room, |now_ms, record| record.take_over(now_ms, request)))))
    }
}
