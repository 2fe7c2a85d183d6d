//! What can go wrong with a request, by what follows from it.

use std::error::Error as _;

use object_store::client::HttpError;

use crate::adapters::ports::StoreError;

/// Why a request did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// No answer, or one that says that the server is in trouble. What was asked may have been done.
    #[error("S3 does not answer as it should: {0}")]
    Away(String),
    /// The server is left alone for a while.
    #[error("S3 is left alone for a moment, because it did not answer before")]
    NotAsked,
    /// There is no such object.
    #[error("not there: {0}")]
    Missing(String),
    /// The condition of a write does not hold: something is there, or is something else by now.
    #[error("something else is there: {0}")]
    Taken(String),
    /// Others are at work on the same thing.
    #[error("{0}")]
    Busy(String),
    /// There is no space left.
    #[error("no space left: {0}")]
    Full(String),
    /// It is not allowed, or the bucket is not there. Asking again does not help until somebody mends it.
    #[error("S3 refuses: {0}")]
    Refused(String),
    /// The server cannot do what is needed.
    #[error("{0}")]
    Unsuitable(String),
    /// An answer that is none of ours.
    #[error("unexpected: {0}")]
    Unexpected(String),
}

impl Trouble {
    /// Whether the server as a whole is in trouble, and not this request alone.
    pub const fn is_the_servers(&self) -> bool {
        matches!(self, Self::Away(_))
    }

    /// As metrics call it.
    pub const fn outcome(&self) -> &'static str {
        match self {
            Self::Away(_) => "away",
            Self::NotAsked => "not_asked",
            Self::Missing(_) => "missing",
            Self::Taken(_) => "taken",
            Self::Busy(_) => "busy",
            Self::Full(_) => "full",
            Self::Refused(_) => "refused",
            Self::Unsuitable(_) => "unsuitable",
            Self::Unexpected(_) => "unexpected",
        }
    }

    /// Whether it may be over without anybody's doing.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Away(_) | Self::NotAsked)
    }
}

impl From<object_store::Error> for Trouble {
    fn from(error: object_store::Error) -> Self {
        let text = in_words(&error);
        if is_about_the_connection(&error) {
            return Self::Away(text);
        }
        match (status(&error), &error) {
            // Ceph says so with a 403.
            (Some(507), _) | (Some(403), _) if is_full(&text) => Self::Full(text),
            (Some(507), _) => Self::Full(text),
            (Some(408 | 429 | 500..), _) => Self::Away(text),
            // An error in the body of an answer that began well.
            (Some(200..300), _) => Self::Away(text),
            // Never to be taken for an object that is not there (M-5).
            (Some(404), _) if text.contains("NoSuchBucket") => Self::Refused(text),
            (Some(404), _) | (_, object_store::Error::NotFound { .. }) => Self::Missing(text),
            (Some(304 | 409 | 412), _) => Self::Taken(text),
            (Some(300..500), _) => Self::Refused(text),
            (_, object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Self::Taken(text)
            }
            _ if text.contains("redirect without LOCATION") => Self::Refused(text),
            _ => Self::Unexpected(text),
        }
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Full(what) => Self::Full(what),
            Trouble::Missing(what) => Self::Missing(what),
            other => Self::Failed(other.to_string()),
        }
    }
}

fn is_full(text: &str) -> bool {
    ["QuotaExceeded", "StorageFull", "InsufficientCapacity"].iter().any(|code| text.contains(code))
}

/// Whether no whole answer came.
fn is_about_the_connection(error: &object_store::Error) -> bool {
    causes(error).any(|cause| cause.downcast_ref::<HttpError>().is_some())
}

/// The library keeps the status of an answer in its words alone.
fn status(error: &object_store::Error) -> Option<u16> {
    const BEFORE: &str = "status code: ";
    let text = error.to_string();
    let (_, rest) = text.split_once(BEFORE)?;
    rest.get(..3)?.parse().ok()
}

/// What the server says, or else what the library says.
fn in_words(error: &object_store::Error) -> String {
    let text = error.to_string();
    match (element(&text, "Code"), element(&text, "Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => text,
    }
}

fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

fn causes<'a>(error: &'a object_store::Error) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}
