//! Every message between actors on one page. Requests are imperative, facts past.

use std::{
    fmt,
    net::Shutdown,
    sync::{Arc, Weak},
    time::Instant,
};

use actix::{Message, Recipient};
use serde::Serialize;
use socket2::Socket;

use crate::{
    domain::rooms::{Census, RoomInput},
    protocol::{
        Code, ConnectionId, Refusal, RoomName, Seq, UserId,
        command::Username,
        event::{Body, Presence, Role},
        metadata::Metadata,
    },
};

/// To the room manager, from a new connection: the way to it. It is ended with the node even if it never asks for more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct OpenDoor {
    /// Who has come.
    pub connection: ConnectionId,
    /// The way to it.
    pub door: Door,
}

/// To the room manager, from a connection that waits for the answer: `Join`, `Resume` or `Leave`.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), Refusal>")]
pub struct AskRooms {
    /// Who waits.
    pub connection: ConnectionId,
    /// What is wanted.
    pub input: RoomInput,
}

/// To the room manager, from a connection that goes on at once.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PostRooms {
    /// When it was posted, for the mailbox's delay.
    pub posted_at: Instant,
    /// What has happened or is wanted.
    pub input: RoomInput,
}

/// To the room manager: how many are there?
#[derive(Debug, Message)]
#[rtype(result = "Census")]
pub struct CountRooms;

/// To the room manager: which rooms are there, in order of name?
#[derive(Debug, Message)]
#[rtype(result = "Vec<RoomSummary>")]
pub struct ListRooms;

/// To the room manager: who is in this room?
#[derive(Debug, Message)]
#[rtype(result = "Option<RoomDetail>")]
pub struct ShowRoom(pub RoomName);

/// A room in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RoomSummary {
    /// Its name.
    pub room_name: RoomName,
    /// How many are in.
    pub participants: usize,
    /// Whether nobody new is admitted.
    pub locked: bool,
}

/// A room with its roster. What is large in it is shared, so taking it costs the room manager little; whoever asked
/// serialises it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RoomDetail {
    /// Its name.
    pub room_name: RoomName,
    /// Whether nobody new is admitted.
    pub locked: bool,
    /// Who is in, the longest present first.
    pub participants: Vec<RosterEntry>,
}

/// A participant as the others see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RosterEntry {
    /// Unique in the room.
    pub user_id: UserId,
    /// For people to read.
    pub username: Username,
    /// What it may do.
    pub role: Role,
    /// Whether it can be reached.
    pub state: Presence,
    /// What it says of itself.
    pub metadata: Metadata,
}

/// To the room manager: the node is going away. Answered when every connection of a session has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct DrainRooms {
    /// Browsers come back over this span. Unit: milliseconds.
    pub spread_ms: u64,
}

/// To a peer's connection.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum ToPeer {
    /// Send this.
    Event {
        /// Its number in the session.
        seq: Seq,
        /// The rest of it.
        body: Body,
    },
    /// Say why, and end.
    Close(Code),
}

/// A manager's way to a connection: its mailbox, whether it still lives, and the switch that ends it when it no longer
/// listens.
#[derive(Clone)]
pub struct Door {
    /// Its mailbox.
    pub outbox: Recipient<ToPeer>,
    alive: Weak<()>,
    kill: Option<KillSwitch>,
}

impl Door {
    /// A door to the connection that holds `lifeline`.
    #[must_use]
    pub fn new(outbox: Recipient<ToPeer>, lifeline: &Lifeline, kill: Option<KillSwitch>) -> Self {
        Self { outbox, alive: Arc::downgrade(lifeline), kill }
    }

    /// Whether the connection still exists. A dropped one cannot forget to say so.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.alive.strong_count() > 0
    }

    /// Ends the connection's socket from outside its actor.
    pub fn kill(&self) {
        if let Some(kill) = &self.kill {
            kill.pull();
        }
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("open", &self.is_open()).finish_non_exhaustive()
    }
}

/// Held by a connection as long as it lives; a [`Door`] sees when it is dropped.
pub type Lifeline = Arc<()>;

/// Shuts a socket down from outside the actor that serves it: an actor whose peer stops reading is not polled and
/// cannot end itself. Owned by the connection, so the descriptor goes with it.
#[derive(Debug, Clone)]
pub struct KillSwitch(Weak<Socket>);

impl KillSwitch {
    /// A switch for a duplicate of the connection's descriptor, which the connection owns.
    #[must_use]
    pub fn new(socket: &Arc<Socket>) -> Self {
        Self(Arc::downgrade(socket))
    }

    fn pull(&self) {
        if let Some(socket) = self.0.upgrade() {
            // Fails only when the socket has ended already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}
