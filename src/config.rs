//! Every setting, and the only place that reads the environment.
//!
//! A setting is a flag, an environment variable of the same name, or a line in `.env`, in this order of strength.
//! What is wrong stops the start with one sentence that names it. `docs/CONFIG.md` is generated from this file.

mod cluster;
mod recording;

use std::{
    collections::BTreeSet,
    error::Error as _,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use clap::{
    CommandFactory as _, Parser, ValueEnum,
    error::{ContextKind, ErrorKind},
};
use ipnet::IpNet;

pub use self::{
    cluster::ClusterSettings,
    recording::{RecordingSettings, StorePlace},
};
#[cfg(debug_assertions)]
use crate::adapters::crash::Act;
use crate::{
    domain::ice::{IceServers, Turn},
    protocol::{NodeId, limits::Limits},
};

/// The settings as they are written.
#[derive(Parser, Debug, Clone)]
#[command(name = "greenroom", version, about = "A signaling and recording node for WebRTC video rooms", long_about = None)]
#[command(args_override_self = true)]
pub struct Settings {
    /// Port to listen on; 0 takes a free one.
    #[arg(long, env, default_value_t = 9000)]
    port: u16,
    /// Address to listen on.
    #[arg(long, env, default_value = "0.0.0.0")]
    host: IpAddr,
    /// This node's name, unique among the nodes of a cluster. Default: the host name.
    #[arg(long, env, value_parser = parse_node_id)]
    node_id: Option<NodeId>,
    #[command(flatten)]
    cluster: cluster::Shared,
    /// Most participants in one room.
    #[arg(long, env, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    room_max_participants: u32,
    /// Most sessions of the whole node, those in their grace included.
    #[arg(long, env, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..))]
    max_sessions: u32,
    /// How long a participant whose socket is lost is waited for.
    #[arg(long, env, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=3600))]
    session_grace_secs: u64,
    /// How long a participant that a moderator removed may not come back; 0 lets it come back at once.
    #[arg(long, env, default_value_t = 600, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    kick_ban_secs: u64,
    /// Steady rate of messages on one connection.
    #[arg(long, env, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    messages_per_sec: u32,
    /// Messages that one connection may send at once.
    #[arg(long, env, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    messages_burst: u32,
    /// Most WebSockets open from one client address. Connections straight from this machine are not counted.
    #[arg(long, env, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    connections_per_ip: u32,
    /// How long a connection may fall behind with what it is sent before it is ended.
    #[arg(long, env, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    slow_consumer_secs: u64,
    /// How often a WebSocket is pinged; browsers are told to expect something as often.
    #[arg(long, env, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    ping_interval_secs: u64,
    /// A WebSocket from which nothing came for so long is ended. Longer than two ping intervals.
    #[arg(long, env, default_value_t = 25, value_parser = clap::value_parser!(u64).range(2..=900))]
    ping_timeout_secs: u64,
    /// Proxies whose X-Forwarded-For is believed: addresses or networks, separated by commas.
    #[arg(long, env, default_value = "127.0.0.0/8,::1", value_delimiter = ',', value_parser = parse_network)]
    trusted_proxies: Vec<IpNet>,
    /// Origins whose pages may open a WebSocket here, separated by commas, such as `https://example.org`. Empty: all.
    #[arg(long, env, default_value = "", value_delimiter = ',', hide_default_value = true)]
    allowed_origins: Vec<String>,
    /// ICE servers given to browsers: a JSON array of RTCIceServer, such as [{"urls":"stun:stun.example.org"}].
    #[arg(long, env, default_value = "[]")]
    ice_servers: String,
    /// TURN servers that share TURN_SECRET with this node, separated by commas. Browsers get credentials that run out.
    #[arg(long, env, default_value = "", value_delimiter = ',', hide_default_value = true)]
    turn_urls: Vec<String>,
    /// The secret shared with the TURN servers (coturn: static-auth-secret).
    #[arg(long, env, default_value = "", hide_env_values = true, hide_default_value = true)]
    turn_secret: String,
    /// How long TURN credentials are good.
    #[arg(long, env, default_value_t = 86_400, value_parser = clap::value_parser!(u64).range(60..=604_800))]
    turn_ttl_secs: u64,
    #[command(flatten)]
    recordings: recording::Recordings,
    /// How logs are written to standard error.
    #[arg(long, env, default_value = "text")]
    log_format: LogFormat,
    /// What is logged: error, warn, info, debug or trace; or directives such as info,greenroom::actors=debug.
    #[arg(long, env, default_value = "info")]
    log_level: String,
    /// On SIGTERM: how long connections may take to end before the process does.
    #[arg(long, env, default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=3600))]
    drain_deadline_secs: u64,
    /// Where the process is to die, in tests: only builds with debug assertions have it.
    #[cfg(debug_assertions)]
    #[arg(long, env, hide = true)]
    crash_at: Option<String>,
    /// Where it is to stand still.
    #[cfg(debug_assertions)]
    #[arg(long, env, hide = true, conflicts_with = "crash_at")]
    stop_at: Option<String>,
    /// Ask the node on HOST and PORT whether it lives, and exit with 0 or 1. For health checks in containers.
    #[arg(long)]
    health: bool,
    /// Take the rows of this catalog into that of DATABASE_URL, and exit. No node may run meanwhile.
    #[arg(long, value_name = "URL")]
    import_catalog: Option<String>,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The settings, checked together and in the types of those who need them.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub host: IpAddr,
    /// Where to listen; 0 takes a free port.
    pub port: u16,
    /// This node's name.
    pub node_id: NodeId,
    /// What it shares with others; `None`: it is alone.
    pub cluster: Option<ClusterSettings>,
    /// Limits of rooms and connections.
    pub limits: Limits,
    /// What browsers connect through.
    pub ice: IceServers,
    /// Whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whose pages may open a WebSocket; empty: all.
    pub allowed_origins: BTreeSet<String>,
    /// Recordings.
    pub recording: RecordingSettings,
    /// How logs are written.
    pub log_format: LogFormat,
    /// What is logged.
    pub log_level: String,
    /// How long a drain may take.
    pub drain_deadline: Duration,
    /// What is to happen to the process in tests, and where.
    #[cfg(debug_assertions)]
    pub aim: Option<(Act, String)>,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Request {
    /// Run a node.
    Run(Box<Config>),
    /// Ask the node on this machine whether it lives.
    Health {
        /// Where it listens.
        address: SocketAddr,
    },
    /// Take rows from one catalog into another.
    ImportCatalog {
        /// Where they are.
        from: String,
        /// Where they go.
        to: String,
    },
    /// Print this and be done.
    Print(String),
}

/// One sentence that names what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    fn new(setting: &str, what: impl fmt::Display) -> Self {
        Self(format!("{setting} {what}."))
    }
}

/// Reads `.env`, the environment and the command line of this process.
///
/// # Errors
/// The first setting that is wrong.
pub fn load() -> Result<Request, ConfigError> {
    // Not `dotenvy::dotenv`, which goes on to look in every folder above.
    match dotenvy::from_path(".env") {
        Ok(_) => {}
        Err(error) if error.not_found() => {}
        // The line is not quoted: it may hold a secret.
        Err(dotenvy::Error::LineParse(..)) => {
            return Err(ConfigError::new(".env", "has a line that is not like NAME=value"));
        }
        Err(error) => return Err(ConfigError::new(".env", format!("cannot be read: {error}"))),
    }
    parse(std::env::args_os())
}

/// Reads the environment and these arguments.
///
/// # Errors
/// The first setting that is wrong.
pub fn parse<T>(arguments: impl IntoIterator<Item = T>) -> Result<Request, ConfigError>
where
    T: Into<std::ffi::OsString> + Clone,
{
    match Settings::try_parse_from(arguments) {
        Ok(settings) if settings.health => Ok(Request::Health { address: settings.own_address() }),
        Ok(mut settings) if settings.import_catalog.is_some() => {
            let from = settings.import_catalog.take().unwrap_or_default();
            settings.check().map(|config| Request::ImportCatalog { from, to: config.recording.database_url })
        }
        Ok(settings) => settings.check().map(|config| Request::Run(Box::new(config))),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Request::Print(error.to_string())),
            _ => Err(sentence(&error)),
        },
    }
}

impl Settings {
    /// Where a program on this machine reaches the node.
    fn own_address(&self) -> SocketAddr {
        let host = match self.host {
            IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            host => host,
        };
        SocketAddr::new(host, self.port)
    }

    fn check(self) -> Result<Config, ConfigError> {
        if self.ping_timeout_secs <= 2 * self.ping_interval_secs {
            return Err(ConfigError::new(
                "PING_TIMEOUT_SECS",
                format!(
                    "is {}, but must be longer than two intervals of PING_INTERVAL_SECS ({})",
                    self.ping_timeout_secs, self.ping_interval_secs
                ),
            ));
        }
        let node_id = match &self.node_id {
            Some(id) => id.clone(),
            None => host_name()?,
        };
        let cluster = self.cluster.check()?;
        Ok(Config {
            host: self.host,
            port: self.port,
            node_id,
            recording: self.recordings.check(cluster.is_some())?,
            cluster,
            limits: self.limits(),
            ice: self.ice()?,
            allowed_origins: origins(&self.allowed_origins)?,
            trusted_proxies: self.trusted_proxies,
            log_format: self.log_format,
            log_level: self.log_level,
            drain_deadline: Duration::from_secs(self.drain_deadline_secs),
            #[cfg(debug_assertions)]
            aim: self.crash_at.map(|at| (Act::Die, at)).or_else(|| self.stop_at.map(|at| (Act::Stop, at))),
        })
    }

    fn limits(&self) -> Limits {
        Limits {
            room_participants_max: self.room_max_participants as usize,
            sessions_max: self.max_sessions as usize,
            messages_per_sec: self.messages_per_sec,
            messages_burst: self.messages_burst,
            connections_per_ip: self.connections_per_ip as usize,
            session_grace: Duration::from_secs(self.session_grace_secs),
            slow_consumer: Duration::from_secs(self.slow_consumer_secs),
            ping_interval: Duration::from_secs(self.ping_interval_secs),
            ping_timeout: Duration::from_secs(self.ping_timeout_secs),
            kick_ban: Duration::from_secs(self.kick_ban_secs),
        }
    }

    fn ice(&self) -> Result<IceServers, ConfigError> {
        let urls: Vec<String> = given(&self.turn_urls).map(str::to_owned).collect();
        let turn = match (urls.is_empty(), self.turn_secret.is_empty()) {
            (true, true) => None,
            (false, false) => {
                let ttl = Duration::from_secs(self.turn_ttl_secs);
                Some(Turn { urls, secret: self.turn_secret.clone(), ttl })
            }
            (true, false) => return Err(ConfigError::new("TURN_SECRET", "is set, but TURN_URLS is not")),
            (false, true) => return Err(ConfigError::new("TURN_URLS", "is set, but TURN_SECRET is not")),
        };
        IceServers::parse(&self.ice_servers, turn).map_err(|what| ConfigError::new("ICE_SERVERS", what))
    }
}

fn given(list: &[String]) -> impl Iterator<Item = &str> {
    list.iter().map(|item| item.trim()).filter(|item| !item.is_empty())
}

fn origins(list: &[String]) -> Result<BTreeSet<String>, ConfigError> {
    let origin = |text: &str| match text.split_once("://") {
        Some(("http" | "https", host)) if !host.is_empty() && !host.contains('/') => Ok(text.to_lowercase()),
        _ => Err(ConfigError::new(
            "ALLOWED_ORIGINS",
            format!("has \"{text}\", which is not like https://example.org"),
        )),
    };
    given(list).map(origin).collect()
}

fn parse_node_id(text: &str) -> Result<NodeId, String> {
    NodeId::parse(text).map_err(|error| error.to_string())
}

fn parse_network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| "not an address or a network such as 10.0.0.0/8".to_owned())
}

/// The host's name as the kernel knows it.
fn host_name() -> Result<NodeId, ConfigError> {
    let name =
        std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "greenroom".to_owned());
    NodeId::parse(name.trim())
        .map_err(|error| ConfigError::new("NODE_ID", format!("is not set, and the host name {error}")))
}

/// A parser's complaint as one sentence that names the setting.
fn sentence(error: &clap::Error) -> ConfigError {
    let context = |kind| error.get(kind).map(ToString::to_string);
    let Some(argument) = context(ContextKind::InvalidArg) else {
        return ConfigError(error.to_string().lines().next().unwrap_or_default().to_owned());
    };
    let flag = argument.split([' ', '=']).next().unwrap_or_default();
    let Some(value) = context(ContextKind::InvalidValue) else {
        return ConfigError(format!("There is no setting {flag}; --help lists them."));
    };
    let setting = flag.trim_start_matches('-').to_uppercase().replace('-', "_");
    let valid = context(ContextKind::ValidValue).map(|valid| format!("it is one of {valid}"));
    let why = valid.or_else(|| error.source().map(ToString::to_string)).unwrap_or_default();
    ConfigError::new(&setting, format!("cannot be \"{value}\": {why}"))
}

/// `docs/CONFIG.md`: every setting with its default and meaning.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(
        "# Settings\n\nEach is an environment variable, a line in a file `.env` in the working directory, or a flag of the \
         same name (`SESSION_GRACE_SECS` is `--session-grace-secs`); a flag beats the environment, which beats `.env`. A \
         wrong value stops the start with a sentence that names it.\n\nThis page is generated from the program; a test \
         keeps them equal.\n\n| setting | default | meaning |\n|---|---|---|\n",
    );
    let command = Settings::command();
    for argument in command.get_arguments() {
        let Some(name) = argument.get_env().filter(|_| !argument.is_hide_set()) else { continue };
        let default: Vec<_> =
            argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = default.join(",");
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        page.push_str(&format!("| `{}` | {default} | {help} |\n", name.to_string_lossy()));
    }
    page
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
