//! Listening: a connection of its own, which is made anew whenever it ends, or when it is wished for.

use std::{sync::Arc, time::Duration};

use backon::BackoffBuilder as _;
use deadpool_redis::redis::{
    Msg, ProtocolVersion, PushInfo, PushKind,
    aio::{PubSubSink, PubSubStream},
    cluster_async::ClusterConnection,
};
use futures_util::{StreamExt as _, future::join_all};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tracing::{info, warn};

use super::{super::RedisStore, NEWS_MAX, pauses};
use crate::adapters::{
    ports::BusNews,
    redis::{connect::Door, keys, trouble::Trouble},
};

/// How often channels of a cluster whose master is away are asked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// What one connection brings.
enum Subscription {
    /// A connection that listens can do nothing else. The sink keeps it open.
    Server { _open: PubSubSink, messages: PubSubStream },
    /// Connections to all masters; pushes come by the queue.
    Cluster {
        connection: ClusterConnection,
        pushes: mpsc::Receiver<PushInfo>,
        ended: Arc<Notify>,
        /// Channels whose master did not take the subscription; asked for again.
        missing: Vec<String>,
    },
}

/// Listens until nobody takes the news any more.
pub async fn run(
    store: Arc<RedisStore>,
    channels: [String; 3],
    news: mpsc::Sender<BusNews>,
    mut rebuilds: watch::Receiver<u64>,
) {
    let mut pause = pauses().build();
    let mut listener = Listener { store: store.clone(), news, owed: false };
    while !listener.news.is_closed() {
        rebuilds.mark_unchanged();
        let subscribed = timeout(store.settings.connect_limit(), subscribe(&store, &channels)).await;
        match subscribed.unwrap_or(Err(Trouble::Late)) {
            Ok(mut subscription) => {
                info!("listening to other nodes");
                pause = pauses().build();
                listener.owed = true;
                listener.pass_on(&mut subscription, &mut rebuilds).await;
                if listener.news.is_closed() {
                    return;
                }
                warn!("no longer listening to other nodes; connecting anew");
            }
            Err(trouble) => warn!(error = %trouble, "cannot listen to other nodes"),
        }
        let wait: Duration = pause.next().unwrap_or_default();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = listener.news.closed() => {}
        }
    }
}

async fn subscribe(store: &RedisStore, channels: &[String; 3]) -> Result<Subscription, Trouble> {
    match store.connector.door(&store.settings).await? {
        Door::Server(client) => {
            let (mut sink, messages) = client.get_async_pubsub().await?.split();
            sink.subscribe(&channels[..]).await?;
            Ok(Subscription::Server { _open: sink, messages })
        }
        Door::Cluster(builder) => {
            let (push, pushes) = mpsc::channel(NEWS_MAX);
            let ended = Arc::new(Notify::new());
            let (tell_end, dropped) =
                (ended.clone(), store.metrics.bus_received.with_label_values(&["dropped"]));
            let sender = move |info: PushInfo| {
                match info.kind {
                    // The slot has moved, or a master has gone. Where the channel is now is found by connecting anew.
                    PushKind::Disconnection | PushKind::SUnsubscribe => tell_end.notify_one(),
                    PushKind::SMessage if push.try_send(info).is_err() => dropped.inc(),
                    _ => {}
                }
                Ok::<(), ()>(())
            };
            let client = builder.use_protocol(ProtocolVersion::RESP3).push_sender(sender).build()?;
            let connection = client.get_async_connection().await?;
            let missing = subscribe_each(&connection, channels, store.settings.timeout).await;
            if missing.len() == channels.len() {
                return Err(Trouble::Lost("no channel could be subscribed to".to_owned()));
            }
            Ok(Subscription::Cluster { connection, pushes, ended, missing })
        }
    }
}

/// Each channel is at one of several masters, and one that is away must not make the node deaf to the others. Returns those that
/// were not taken.
async fn subscribe_each(connection: &ClusterConnection, channels: &[String], limit: Duration) -> Vec<String> {
    let asked = channels.iter().map(|channel| {
        let mut connection = connection.clone();
        async move { matches!(timeout(limit, connection.ssubscribe(channel)).await, Ok(Ok(()))) }
    });
    let taken = join_all(asked).await;
    channels.iter().zip(taken).filter(|(_, taken)| !taken).map(|(channel, _)| channel.clone()).collect()
}

impl Subscription {
    /// The next message; `None`: it has ended, or something of it.
    async fn next(&mut self) -> Option<Msg> {
        match self {
            Self::Server { messages, .. } => messages.next().await,
            Self::Cluster { pushes, ended, .. } => tokio::select! {
                biased;
                push = pushes.recv() => Msg::from_push_info(push?),
                () = ended.notified() => None,
            },
        }
    }

    fn is_partial(&self) -> bool {
        matches!(self, Self::Cluster { missing, .. } if !missing.is_empty())
    }

    /// Asks for what is missing. Says whether some of it is there now.
    async fn complete(&mut self, limit: Duration) -> bool {
        let Self::Cluster { connection, missing, .. } = self else { return false };
        let before = missing.len();
        *missing = subscribe_each(connection, missing, limit).await;
        missing.len() < before
    }
}

struct Listener {
    store: Arc<RedisStore>,
    news: mpsc::Sender<BusNews>,
    /// That it listens has not been told yet.
    owed: bool,
}

impl Listener {
    /// Passes on what comes until the connection ends or is to be made anew.
    async fn pass_on(&mut self, subscription: &mut Subscription, rebuilds: &mut watch::Receiver<u64>) {
        let mut again = Instant::now() + AGAIN;
        loop {
            if self.owed && self.news.try_send(BusNews::Subscribed).is_ok() {
                self.owed = false;
            }
            tokio::select! {
                message = subscription.next() => match message {
                    Some(message) => self.tell(&message),
                    None => return,
                },
                // An error is a bus that has gone, and with it the wish.
                Ok(()) = rebuilds.changed() => return,
                Ok(place) = self.news.reserve(), if self.owed => {
                    place.send(BusNews::Subscribed);
                    self.owed = false;
                }
                () = sleep_until(again), if subscription.is_partial() => {
                    self.owed |= subscription.complete(self.store.settings.timeout).await;
                    again = Instant::now() + AGAIN;
                }
                () = self.news.closed() => return,
            }
        }
    }

    fn tell(&self, message: &Msg) {
        let payload = message.get_payload_bytes();
        let (kind, news) = if message.get_channel_name() == keys::EVENTS {
            ("event", serde_json::from_slice(payload).map(BusNews::Event))
        } else {
            ("message", serde_json::from_slice(payload).map(BusNews::Message))
        };
        let (kind, news) = news.map_or(("unreadable", BusNews::Unreadable), |news| (kind, news));
        let kind = if self.news.try_send(news).is_ok() { kind } else { "dropped" };
        self.store.metrics.bus_received.with_label_values(&[kind]).inc();
    }
}
