//! The settings of a cluster.

use std::time::Duration;

use super::{ConfigError, given};
use crate::adapters::redis::{RedisKind, RedisSettings, TIMEOUT};

/// As they are written.
#[derive(clap::Args, Debug, Clone)]
pub struct Shared {
    /// Whether this node is one of a cluster: it then shares its rooms with all nodes on the same Redis.
    #[arg(long, env, default_value_t = false, action = clap::ArgAction::Set)]
    cluster_mode: bool,
    /// The Redis of a cluster: `redis://[user[:password]@]host[:port][/db]`, or `rediss://` for TLS. With REDIS_SENTINELS or
    /// REDIS_CLUSTER_NODES, user, password and TLS are taken from here. Default: redis://localhost:6379.
    #[arg(long, env, hide_env_values = true)]
    redis_url: Option<String>,
    /// Instead of REDIS_URL: where a Redis is that needs no password.
    #[arg(long, env)]
    redis_host: Option<String>,
    /// Its port. Default: 6379.
    #[arg(long, env)]
    redis_port: Option<u16>,
    /// Sentinels that know which Redis is the master, separated by commas: `host:port`, or URLs with their own password.
    #[arg(
        long,
        env,
        default_value = "",
        value_delimiter = ',',
        hide_default_value = true,
        hide_env_values = true
    )]
    redis_sentinels: Vec<String>,
    /// The name that the sentinels have for the master.
    #[arg(long, env, default_value = "", hide_default_value = true)]
    redis_sentinel_master: String,
    /// Some nodes of a Redis Cluster, separated by commas: `host:port`, or URLs with their own password. The others are
    /// found.
    #[arg(
        long,
        env,
        default_value = "",
        value_delimiter = ',',
        hide_default_value = true,
        hide_env_values = true
    )]
    redis_cluster_nodes: Vec<String>,
    /// How long a node of a cluster counts as alive without a word from it.
    #[arg(long, env, default_value_t = 8, value_parser = clap::value_parser!(u64).range(2..=300))]
    lease_secs: u64,
}

/// What a node shares with others, checked.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// Where the shared store is.
    pub redis: RedisSettings,
    /// The setting to blame when it cannot be used.
    pub redis_from: &'static str,
    /// How long a node counts as alive without a word from it.
    pub lease: Duration,
}

impl Shared {
    /// Looks at them only where they count: other programs use these names too.
    pub(super) fn check(&self) -> Result<Option<ClusterSettings>, ConfigError> {
        if !self.cluster_mode {
            return Ok(None);
        }
        let redis = RedisSettings { kind: self.kind()?, url: self.url()?, timeout: TIMEOUT };
        let (redis_from, lease) = (self.redis_from(&redis.kind), Duration::from_secs(self.lease_secs));
        Ok(Some(ClusterSettings { redis, redis_from, lease }))
    }

    fn kind(&self) -> Result<RedisKind, ConfigError> {
        let list = |list: &[String]| given(list).map(str::to_owned).collect::<Vec<_>>();
        let (sentinels, nodes) = (list(&self.redis_sentinels), list(&self.redis_cluster_nodes));
        let (host, master) = (self.redis_host.is_some(), self.redis_sentinel_master.trim());
        let both = |one, other| {
            Err(ConfigError::new(one, format!("and {other} are both set; a cluster has one Redis")))
        };
        match (sentinels.is_empty(), nodes.is_empty()) {
            (false, false) => both("REDIS_SENTINELS", "REDIS_CLUSTER_NODES"),
            (false, true) if host => both("REDIS_SENTINELS", "REDIS_HOST"),
            (true, false) if host => both("REDIS_CLUSTER_NODES", "REDIS_HOST"),
            (false, true) if master.is_empty() => {
                Err(ConfigError::new("REDIS_SENTINELS", "is set, but REDIS_SENTINEL_MASTER is not"))
            }
            (true, _) if !master.is_empty() => {
                Err(ConfigError::new("REDIS_SENTINEL_MASTER", "is set, but REDIS_SENTINELS is not"))
            }
            (false, true) => Ok(RedisKind::Sentinel { sentinels, master: master.to_owned() }),
            (true, false) => Ok(RedisKind::Cluster { nodes }),
            (true, true) => Ok(RedisKind::Single),
        }
    }

    fn url(&self) -> Result<String, ConfigError> {
        match (&self.redis_url, &self.redis_host, self.redis_port) {
            (Some(_), Some(_), _) => Err(ConfigError::new("REDIS_URL", "and REDIS_HOST are both set")),
            (Some(_), None, Some(_)) => Err(ConfigError::new("REDIS_URL", "and REDIS_PORT are both set")),
            (Some(url), None, None) => Ok(url.clone()),
            (None, host, port) => {
                let host = host.as_deref().unwrap_or("localhost");
                // The address of IPv6 stands in brackets within a URL.
                let open = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
                Ok(format!("redis://{open}:{}", port.unwrap_or(6379)))
            }
        }
    }

    fn redis_from(&self, kind: &RedisKind) -> &'static str {
        match kind {
            RedisKind::Single if self.redis_host.is_some() => "REDIS_HOST",
            RedisKind::Single => "REDIS_URL",
            RedisKind::Sentinel { .. } => "REDIS_SENTINELS",
            RedisKind::Cluster { .. } => "REDIS_CLUSTER_NODES",
        }
    }
}
