//! Many rooms whose participants are spread over the nodes.

use anyhow::ensure;
use futures_util::future::try_join_all;

use crate::{
    client::{Client, kind},
    support::Cluster,
};

/// Clients that join, or leave, at once.
const AT_ONCE: usize = 32;

/// Participants who say nothing.
pub struct Crowd {
    members: Vec<Client>,
}

/// The name of a room of a crowd.
pub fn room_name(number: usize) -> String {
    format!("room-{number}")
}

impl Crowd {
    /// So many rooms, each with so many participants, whose nodes take turns.
    pub async fn join(cluster: &Cluster, rooms: usize, seats: usize) -> anyhow::Result<Self> {
        let mut members = Vec::with_capacity(rooms * seats);
        for seat in 0..seats {
            let node = cluster.address(seat % cluster.len());
            let user = format!("user-{seat}");
            for first in (0..rooms).step_by(AT_ONCE) {
                let some = (first..rooms.min(first + AT_ONCE)).map(room_name).collect::<Vec<_>>();
                members.extend(try_join_all(some.iter().map(|room| Client::join(node, room, &user))).await?);
            }
        }
        Ok(Self { members })
    }

    /// Everybody leaves.
    pub async fn leave(mut self) -> anyhow::Result<()> {
        while !self.members.is_empty() {
            let some = self.members.drain(..AT_ONCE.min(self.members.len()));
            try_join_all(some.map(Client::leave)).await?;
        }
        Ok(())
    }

    /// How many messages they have been sent since this was last asked. Each asks its node for an answer, before which
    /// everything else comes.
    pub async fn heard(&mut self) -> anyhow::Result<usize> {
        let mut heard = 0;
        for member in &mut self.members {
            member.send(r#"{"type":"Ping"}"#.into()).await?;
            while kind(&member.next().await?) != "Pong" {
                heard += 1;
            }
        }
        Ok(heard)
    }

    /// Everybody reads and acknowledges, and says nothing. Ends when one of them is closed.
    pub async fn idle(&mut self) -> anyhow::Result<()> {
        try_join_all(self.members.iter_mut().map(Client::idle)).await?;
        ensure!(self.members.is_empty(), "a socket has ended");
        Ok(())
    }
}
