//! What people are shown of the rooms.

use actix::{Handler, MessageResult};

use super::RoomManager;
use crate::{
    actors::messages::{CountRooms, ListRooms, RoomDetail, RoomSummary, ShowRoom, ShowRooms},
    domain::rooms::Room,
    protocol::RoomName,
};

impl Handler<CountRooms> for RoomManager {
    type Result = MessageResult<CountRooms>;

    fn handle(&mut self, _: CountRooms, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.rooms.census())
    }
}

impl Handler<ListRooms> for RoomManager {
    type Result = MessageResult<ListRooms>;

    fn handle(&mut self, _: ListRooms, _: &mut Self::Context) -> Self::Result {
        let summary = |(name, room): (&RoomName, &Room)| RoomSummary {
            room_name: name.clone(),
            participants: room.len(),
            locked: room.lock.locked,
        };
        MessageResult(self.rooms.list().map(summary).collect())
    }
}

impl Handler<ShowRoom> for RoomManager {
    type Result = MessageResult<ShowRoom>;

    fn handle(&mut self, ShowRoom(name): ShowRoom, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.rooms.room(&name).map(|room| RoomDetail::of(name, room)))
    }
}

impl Handler<ShowRooms> for RoomManager {
    type Result = MessageResult<ShowRooms>;

    fn handle(&mut self, message: ShowRooms, _: &mut Self::Context) -> Self::Result {
        let detail = |(name, room): (&RoomName, &Room)| RoomDetail::of(name.clone(), room);
        MessageResult(self.rooms.list().take(message.rooms_max).map(detail).collect())
    }
}
