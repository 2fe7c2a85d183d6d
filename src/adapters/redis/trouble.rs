//! What can go wrong with a command.

use deadpool_redis::redis::{ErrorKind, ParsingError, RedisError};

use crate::adapters::ports::RegistryError;

/// Why a command was not answered as it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// There is no connection, or it was lost. What was sent may have been done.
    #[error("no connection: {0}")]
    Lost(String),
    /// No answer in time. It may be done yet.
    #[error("no answer in time")]
    Late,
    /// The server takes no commands of the kind at the moment.
    #[error("the server refuses: {0}")]
    Refuses(String),
    /// The lease ended on the way: the server did nothing.
    #[error("the node's lease has ended")]
    Outdated,
    /// The answer is none that we know. The server itself works.
    #[error("unexpected answer: {0}")]
    Unexpected(String),
    /// The server is left alone for a while.
    #[error("not asked, because it did not answer before")]
    NotAsked,
}

/// What a server answers that cannot work, wherever in the text: older ones put the name of the script in front. A right that
/// the user lacks is not among them: other commands may work.
const REFUSALS: [&str; 13] = [
    "READONLY",
    "OOM",
    "MISCONF",
    "NOREPLICAS",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "LOADING",
    "BUSY",
    "TRYAGAIN",
    "MOVED",
    "ASK",
    "NOAUTH",
    "WRONGPASS",
];

impl Trouble {
    /// Whether the store as a whole is in trouble, and not this command alone.
    pub fn is_the_stores(&self) -> bool {
        match self {
            Self::Lost(_) | Self::Late | Self::Refuses(_) => true,
            Self::Outdated | Self::Unexpected(_) | Self::NotAsked => false,
        }
    }

    /// As metrics call it.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Lost(_) => "lost",
            Self::Late => "late",
            Self::Refuses(_) => "refused",
            Self::Outdated => "outdated",
            Self::Unexpected(_) => "unexpected",
            Self::NotAsked => "not_asked",
        }
    }
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        let text = error.to_string();
        match error.kind() {
            ErrorKind::Io if error.is_timeout() => Self::Late,
            ErrorKind::Io | ErrorKind::Parse | ErrorKind::ClusterConnectionNotFound => Self::Lost(text),
            ErrorKind::AuthenticationFailed
            | ErrorKind::MasterNameNotFoundBySentinel
            | ErrorKind::NoValidReplicasFoundBySentinel => Self::Refuses(text),
            _ if error.code() == Some("LATE") => Self::Outdated,
            _ if error.code().into_iter().chain(words(&text)).any(|word| REFUSALS.contains(&word)) => {
                Self::Refuses(text)
            }
            _ => Self::Unexpected(text),
        }
    }
}

impl From<ParsingError> for Trouble {
    fn from(error: ParsingError) -> Self {
        Self::Unexpected(error.to_string())
    }
}

impl From<Trouble> for RegistryError {
    fn from(trouble: Trouble) -> Self {
        Self::Unavailable(trouble.to_string())
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
}
