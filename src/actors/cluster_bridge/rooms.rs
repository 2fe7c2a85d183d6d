//! The way from other nodes to the rooms of this one: nothing is lost on it, and nothing is taken that has no place.

use std::time::Instant;

use actix::{
    ActorContext as _, ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _, prelude::SendError,
};
use tracing::{error, info, warn};

use super::ClusterBridge;
use crate::{
    actors::{
        mailbox::{Mailbox, offer},
        messages::PostRooms,
    },
    adapters::ports::BusNews,
    domain::{cluster::ClusterInput, rooms::RoomInput},
    protocol::{cluster::Event, limits},
};

/// Most messages of the bus that are taken at once, between other work.
const NEWS_AT_ONCE: usize = 64;

impl ClusterBridge {
    /// Keeps what is for the rooms until they take it.
    pub(super) fn hold(&mut self, input: RoomInput, ctx: &mut Context<Self>) {
        if let RoomInput::Isolated(isolated) = &input {
            if *isolated {
                warn!(node = %self.node, "isolated: the shared store does not answer");
            } else {
                info!(node = %self.node, "the shared store answers again");
            }
        }
        if self.held.len() >= limits::CLUSTER_HELD_MAX {
            error!("the room manager takes nothing any more");
            // Liveness sees that this actor is gone.
            ctx.stop();
            return;
        }
        self.held.push_back(input);
    }

    /// Posts what is held, until the room manager's mailbox is full.
    pub(super) fn post_held(&mut self, ctx: &mut Context<Self>) {
        while !self.blocked
            && let Some(input) = self.held.pop_front()
        {
            let message = PostRooms { posted_at: Instant::now(), input };
            match offer(&self.links.rooms, Mailbox::RoomManager, &self.metrics, message) {
                Ok(()) => {}
                Err(SendError::Full(message)) => {
                    self.blocked = true;
                    let taken = self.links.rooms.send(message).into_actor(self).map(|_, bridge, ctx| {
                        bridge.blocked = false;
                        bridge.post_held(ctx);
                        bridge.listen(ctx);
                    });
                    ctx.spawn(taken);
                }
                // The room manager has died; liveness sees that.
                Err(SendError::Closed(_)) => self.held.clear(),
            }
        }
    }

    /// Waits for what other nodes say, unless the rooms are waited for.
    pub(super) fn listen(&mut self, ctx: &mut Context<Self>) {
        if self.blocked {
            return;
        }
        let Some(mut news) = self.news.take() else { return };
        let heard = async move {
            let mut batch = Vec::with_capacity(NEWS_AT_ONCE);
            news.recv_many(&mut batch, NEWS_AT_ONCE).await;
            (news, batch)
        };
        ctx.spawn(heard.into_actor(self).map(|(news, batch), bridge, ctx| {
            if batch.is_empty() {
                error!("the bus has ended");
                // Liveness sees that this actor is gone.
                ctx.stop();
                return;
            }
            bridge.news = Some(news);
            for news in batch {
                bridge.hear(news, ctx);
            }
            bridge.tick_if_due(ctx);
            bridge.listen(ctx);
        }));
    }

    fn hear(&mut self, news: BusNews, ctx: &mut Context<Self>) {
        let input = match news {
            BusNews::Message(message) => ClusterInput::Arrived(message),
            BusNews::Event(event) => {
                if let (Some(stopping), Event::Down(node)) = (&mut self.stopping, &event)
                    && *node == self.node
                {
                    stopping.told = true;
                }
                ClusterInput::Told(event)
            }
            BusNews::Subscribed => ClusterInput::Subscribed,
            // The bus has counted it.
            BusNews::Unreadable => return,
        };
        self.apply(input, ctx);
        self.stop_if_told();
    }
}
