//! Where Redis is and how one gets in. Filled by the configuration, which names the settings.

use std::{fmt, time::Duration};

use deadpool_redis::{
    cluster::ClusterClient,
    redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisError},
    sentinel::{SentinelNodeConnectionInfo, TlsMode},
};

use super::connect::Connector;

/// How long a command may take, and how long a connection may take to come about.
pub const TIMEOUT: Duration = Duration::from_millis(800);

/// Everything a node has to know of its Redis.
#[derive(Clone)]
pub struct RedisSettings {
    /// Which servers.
    pub kind: RedisKind,
    /// `redis://[user[:password]@]host[:port][/db]`, `rediss://` for TLS. Of a single server, this is it. For Sentinel and
    /// Cluster user, password and TLS are taken from here for every server that is not given with its own; behind
    /// Sentinel the database too. The host is then of no meaning.
    pub url: String,
    /// How long a command may take, and how long a connection to one server may take to come about.
    pub timeout: Duration,
}

/// Which servers there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisKind {
    /// One, at the URL.
    Single,
    /// Whichever is the master, as these say.
    Sentinel {
        /// `host:port`, or a URL with the sentinel's own user and password. A sentinel without is asked without.
        sentinels: Vec<String>,
        /// The name that they have for the master.
        master: String,
    },
    /// Several masters, each with a part of the keys.
    Cluster {
        /// `host:port` or a URL; some of them, the others are found.
        nodes: Vec<String>,
    },
}

impl RedisSettings {
    /// One server at this URL.
    #[must_use]
    pub fn single(url: &str) -> Self {
        Self { kind: RedisKind::Single, url: url.to_owned(), timeout: TIMEOUT }
    }

    /// How long a command with a chunk may take: it may be thousands of times as large as any other, and others are before it.
    pub(super) fn chunk_timeout(&self) -> Duration {
        10 * self.timeout
    }

    /// How long connecting may take as a whole. Of several servers one may hang, and the library gives it up to a second for each
    /// of two steps before it goes on with the others.
    pub(super) fn connect_limit(&self) -> Duration {
        match &self.kind {
            RedisKind::Single => self.timeout,
            RedisKind::Sentinel { .. } | RedisKind::Cluster { .. } => 5 * self.timeout,
        }
    }

    /// Whether keys are spread over several masters.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.kind, RedisKind::Cluster { .. })
    }

    /// Whether they can be used at all. Connects to nothing.
    ///
    /// # Errors
    /// Says what is wrong with them.
    pub fn check(&self) -> Result<(), SettingsError> {
        let servers = match &self.kind {
            RedisKind::Single => 1,
            RedisKind::Sentinel { sentinels: servers, .. } | RedisKind::Cluster { nodes: servers } => {
                servers.len()
            }
        };
        if servers == 0 {
            return Err(SettingsError::NoServer);
        }
        if let RedisKind::Cluster { nodes } = &self.kind {
            ClusterClient::new(self.cluster_urls(nodes)?).map_err(SettingsError::Url)?;
        }
        Connector::new(self).map(drop)
    }

    /// The URLs of a cluster's first servers.
    pub(super) fn cluster_urls(&self, nodes: &[String]) -> Result<Vec<String>, SettingsError> {
        let login = Login::of(&self.url)?;
        nodes.iter().map(|node| Ok(login.applied_to(node))).collect()
    }

    /// The URLs of sentinels.
    pub(super) fn sentinel_urls(&self, sentinels: &[String]) -> Result<Vec<String>, SettingsError> {
        let scheme = Login::of(&self.url)?.scheme;
        Ok(sentinels.iter().map(|sentinel| with_scheme(scheme, sentinel)).collect())
    }

    /// How one gets into the servers that sentinels name.
    pub(super) fn behind_sentinels(&self) -> Result<SentinelNodeConnectionInfo, SettingsError> {
        let info = parse(&self.url)?;
        let tls_mode = match info.addr() {
            ConnectionAddr::TcpTls { insecure: true, .. } => Some(TlsMode::Insecure),
            ConnectionAddr::TcpTls { .. } => Some(TlsMode::Secure),
            _ => None,
        };
        let redis_connection_info = Some(info.redis_settings().clone().into());
        Ok(SentinelNodeConnectionInfo { tls_mode, redis_connection_info })
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // URLs hold passwords.
        f.debug_struct("RedisSettings").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// Why settings cannot be used. The sentence names no password.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Not a URL of Redis.
    #[error("not a URL of Redis (redis://[user[:password]@]host[:port][/db], or rediss:// for TLS): {0}")]
    Url(RedisError),
    /// Nothing to connect to.
    #[error("no server is named")]
    NoServer,
    /// What the library does not take.
    #[error("cannot be used: {0}")]
    Unusable(String),
}

/// Reads a URL.
pub(super) fn parse(url: &str) -> Result<ConnectionInfo, SettingsError> {
    url.into_connection_info().map_err(SettingsError::Url)
}

/// What of a URL counts for other servers.
struct Login<'a> {
    scheme: &'a str,
    /// Up to and with the `@`; empty: none.
    user: &'a str,
}

impl<'a> Login<'a> {
    fn of(url: &'a str) -> Result<Self, SettingsError> {
        parse(url)?;
        let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
        let user = rest.rfind('@').map_or("", |at| rest.get(..=at).unwrap_or_default());
        Ok(Self { scheme, user })
    }

    fn applied_to(&self, server: &str) -> String {
        match server.split_once("://") {
            Some((_, rest)) if rest.contains('@') => server.to_owned(),
            Some((scheme, rest)) => format!("{scheme}://{}{rest}", self.user),
            None => format!("{}://{}{server}", self.scheme, self.user),
        }
    }
}

fn with_scheme(scheme: &str, server: &str) -> String {
    if server.contains("://") { server.to_owned() } else { format!("{scheme}://{server}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_entered_as_the_url_says_unless_they_say_otherwise() {
        let settings = RedisSettings::single("rediss://ada:se%40cret@ignored:1/3");
        let nodes = ["one:7000", "redis://two:7001", "redis://bob:b@three:7002"].map(str::to_owned);
        assert_eq!(
            settings.cluster_urls(&nodes).expect("a URL"),
            ["rediss://ada:se%40cret@one:7000", "redis://ada:se%40cret@two:7001", "redis://bob:b@three:7002"]
        );
        assert_eq!(
            settings.sentinel_urls(&nodes).expect("a URL"),
            ["rediss://one:7000", "redis://two:7001", "redis://bob:b@three:7002"]
        );
        let behind = settings.behind_sentinels().expect("a URL");
        let entry = behind.redis_connection_info.expect("said");
        assert!(behind.tls_mode.is_some());
        assert_eq!(
            (entry.db, entry.username.as_deref(), entry.password.as_deref()),
            (3, Some("ada"), Some("se@cret"))
        );
    }

    #[test]
    fn settings_that_cannot_work_are_refused_before_anything_is_connected() {
        let on = |kind| RedisSettings { kind, ..RedisSettings::single("redis://host") }.check();
        let sentinel = |sentinels: &[&str]| RedisKind::Sentinel {
            sentinels: sentinels.iter().map(|&sentinel| sentinel.to_owned()).collect(),
            master: "main".to_owned(),
        };
        let cluster = |nodes: &[&str]| RedisKind::Cluster {
            nodes: nodes.iter().map(|&node| node.to_owned()).collect(),
        };
        assert!(on(RedisKind::Single).is_ok());
        assert!(on(sentinel(&["one:26379", "two:26379"])).is_ok());
        assert!(on(cluster(&["one:7000", "redis://two:7001"])).is_ok());
        assert!(matches!(on(sentinel(&[])), Err(SettingsError::NoServer)));
        assert!(matches!(on(cluster(&[])), Err(SettingsError::NoServer)));
        assert!(matches!(on(sentinel(&["one:port"])), Err(SettingsError::Url(_))));
        assert!(matches!(on(cluster(&["one:port"])), Err(SettingsError::Url(_))));
    }

    #[test]
    fn what_is_no_url_is_refused_and_no_password_is_shown() {
        for bad in ["", "http://host", "redis://host:port", "redis://host/db"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let settings = RedisSettings::single("redis://:secret@host");
        assert!(!format!("{settings:?}").contains("secret"));
    }
}
