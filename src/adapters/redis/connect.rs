//! Connections: how one comes about, and how one is kept while it works.
//!
//! A connection multiplexes: many commands are on their way at one time, answered in their order. So each kind of work keeps one
//! ([`Seat`]) instead of asking a pool each time, which would ask the server twice before each command whether it is there.

use std::sync::atomic::{AtomicU64, Ordering};

use deadpool_redis::{
    PoolConfig, cluster,
    redis::{
        AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, Value,
        aio::{ConnectionLike, MultiplexedConnection},
        cluster::ClusterClientBuilder,
        cluster_async::ClusterConnection,
        sentinel::{SentinelClient, SentinelServerType},
    },
    sentinel,
};
use tokio::sync::Mutex;

use super::settings::{RedisKind, RedisSettings, SettingsError, parse};

/// A connection, or those to all masters of a cluster.
#[derive(Clone)]
pub enum Link {
    /// To one server.
    Single(MultiplexedConnection),
    /// To every master.
    Cluster(ClusterConnection),
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(link) => link.req_packed_command(cmd),
            Self::Cluster(link) => link.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(link) => link.req_packed_commands(pipeline, offset, count),
            Self::Cluster(link) => link.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(link) => link.get_db(),
            Self::Cluster(link) => link.get_db(),
        }
    }
}

/// Connections for commands.
enum Pool {
    Single(deadpool_redis::Pool),
    Sentinel(sentinel::Pool),
    Cluster(cluster::Pool),
}

/// One of them, taken out for as long as it works.
enum Held {
    Single(deadpool_redis::Connection),
    Sentinel(sentinel::Connection),
    Cluster(cluster::Connection),
}

impl Pool {
    fn new(settings: &RedisSettings) -> Result<Self, SettingsError> {
        // Its own waiting has no limit: whoever asks has one around all of it.
        let size = PoolConfig::new(1);
        match &settings.kind {
            RedisKind::Single => {
                let manager =
                    deadpool_redis::Manager::new_with_config(parse(&settings.url)?, timeouts(settings));
                let pool = deadpool_redis::Pool::builder(manager.map_err(SettingsError::Url)?).config(size);
                pool.build().map(Self::Single).map_err(|error| SettingsError::Unusable(error.to_string()))
            }
            RedisKind::Sentinel { sentinels, master } => {
                let (urls, behind) = (settings.sentinel_urls(sentinels)?, settings.behind_sentinels()?);
                let server = sentinel::SentinelServerType::Master;
                let manager = sentinel::Manager::new(urls, master.clone(), Some(behind), server);
                let pool = sentinel::Pool::builder(manager.map_err(SettingsError::Url)?).config(size);
                pool.build().map(Self::Sentinel).map_err(|error| SettingsError::Unusable(error.to_string()))
            }
            RedisKind::Cluster { nodes } => {
                let manager = cluster::Manager::new(settings.cluster_urls(nodes)?, false);
                let pool = cluster::Pool::builder(manager.map_err(SettingsError::Url)?).config(size);
                pool.build().map(Self::Cluster).map_err(|error| SettingsError::Unusable(error.to_string()))
            }
        }
    }

    async fn take(&self) -> Result<Held, RedisError> {
        match self {
            Self::Single(pool) => pool.get().await.map(Held::Single).map_err(cause),
            Self::Sentinel(pool) => pool.get().await.map(Held::Sentinel).map_err(cause),
            Self::Cluster(pool) => pool.get().await.map(Held::Cluster).map_err(cause),
        }
    }
}

fn cause(error: deadpool_redis::PoolError) -> RedisError {
    match error {
        deadpool_redis::PoolError::Backend(error) => error,
        other => (ErrorKind::Client, "no connection", other.to_string()).into(),
    }
}

impl Held {
    fn link(&self) -> Link {
        match self {
            Self::Single(connection) => Link::Single((**connection).clone()),
            Self::Sentinel(connection) => Link::Single((**connection).clone()),
            Self::Cluster(connection) => Link::Cluster((**connection).clone()),
        }
    }

    /// Does not give it back: the next one is made anew.
    fn discard(self) {
        match self {
            Self::Single(connection) => drop(deadpool_redis::Connection::take(connection)),
            Self::Sentinel(connection) => drop(sentinel::Connection::take(connection)),
            Self::Cluster(connection) => drop(cluster::Connection::take(connection)),
        }
    }
}

/// One connection that many share while it works.
pub struct Seat {
    pool: Pool,
    held: Mutex<Option<(u64, Held)>>,
    made: AtomicU64,
}

impl Seat {
    /// Nobody is connected yet.
    pub fn new(settings: &RedisSettings) -> Result<Self, SettingsError> {
        Ok(Self { pool: Pool::new(settings)?, held: Mutex::default(), made: AtomicU64::new(0) })
    }

    /// The connection and its number; made if there is none. Those who come meanwhile wait for the same.
    pub async fn link(&self) -> Result<(u64, Link), RedisError> {
        let mut held = self.held.lock().await;
        if let Some((number, held)) = &*held {
            return Ok((*number, held.link()));
        }
        let taken = self.pool.take().await?;
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let link = taken.link();
        *held = Some((number, taken));
        Ok((number, link))
    }

    /// The connection of that number is of no use any more.
    pub async fn discard(&self, number: u64) {
        let mut held = self.held.lock().await;
        if held.as_ref().is_some_and(|(held, _)| *held == number)
            && let Some((_, held)) = held.take()
        {
            held.discard();
        }
    }
}

fn timeouts(settings: &RedisSettings) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(settings.timeout))
        .set_response_timeout(Some(settings.timeout))
}

/// How the bus connects. It keeps no connection of a pool: one that listens can do nothing else, and one that publishes keeps
/// an order.
pub enum Connector {
    /// To this server.
    Single(Client),
    /// To whichever is the master.
    Sentinel(Mutex<SentinelClient>),
    /// To all masters.
    Cluster(Vec<String>),
}

/// What the bus listens to.
pub enum Door {
    /// One server; every channel is there.
    Server(Box<Client>),
    /// A cluster; each channel is where its slot is.
    Cluster(Box<ClusterClientBuilder>),
}

impl Connector {
    /// Nothing is connected yet.
    pub fn new(settings: &RedisSettings) -> Result<Self, SettingsError> {
        Ok(match &settings.kind {
            RedisKind::Single => {
                Self::Single(Client::open(parse(&settings.url)?).map_err(SettingsError::Url)?)
            }
            RedisKind::Sentinel { sentinels, master } => {
                let behind = Some(settings.behind_sentinels()?.into());
                let urls = settings.sentinel_urls(sentinels)?;
                let client = SentinelClient::build(urls, master, behind, SentinelServerType::Master);
                Self::Sentinel(Mutex::new(client.map_err(SettingsError::Url)?))
            }
            RedisKind::Cluster { nodes } => Self::Cluster(settings.cluster_urls(nodes)?),
        })
    }

    /// Where to connect to now.
    pub async fn door(&self, settings: &RedisSettings) -> Result<Door, RedisError> {
        match self {
            Self::Single(client) => Ok(Door::Server(Box::new(client.clone()))),
            Self::Sentinel(client) => {
                let client = client.lock().await.async_get_client().await?;
                Ok(Door::Server(Box::new(client)))
            }
            Self::Cluster(urls) => {
                let builder = ClusterClientBuilder::new(urls.iter().map(String::as_str));
                let builder = builder.connection_timeout(settings.timeout).response_timeout(settings.timeout);
                Ok(Door::Cluster(Box::new(builder)))
            }
        }
    }

    /// A connection for commands, of its own.
    pub async fn link(&self, settings: &RedisSettings) -> Result<Link, RedisError> {
        match self.door(settings).await? {
            Door::Server(client) => {
                let config = timeouts(settings);
                client.get_multiplexed_async_connection_with_config(&config).await.map(Link::Single)
            }
            Door::Cluster(builder) => builder.build()?.get_async_connection().await.map(Link::Cluster),
        }
    }
}
