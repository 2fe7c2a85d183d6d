//! What can go wrong between a node and its database.

use sqlx::migrate::MigrateError;

use crate::adapters::ports::CatalogError;

/// Why the database did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The connection was lost in the middle. What was asked may have been done.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// There is no connection, or the server takes nothing of the kind at the moment.
    #[error("{0}")]
    Away(String),
    /// No answer in time. It may be done yet.
    #[error("no answer in time")]
    Late,
    /// The database is left alone for a while.
    #[error("not asked, because it did not answer before")]
    NotAsked,
    /// It works, but others were in the way, or it took too long.
    #[error("{0}")]
    Busy(String),
    /// It knows this node and what it wants, and does not allow it; or it is not what the URL says.
    #[error("{0}")]
    Refused(String),
    /// It holds something that is not ours, or takes a statement for wrong.
    #[error("{0}")]
    Strange(String),
}

impl Trouble {
    /// What went wrong before there was a connection.
    pub fn connecting(error: &sqlx::Error) -> Self {
        match Self::from_error(error) {
            Self::Lost(words) => match error {
                sqlx::Error::Protocol(_) => Self::Refused(words),
                _ => Self::Away(words),
            },
            trouble => trouble,
        }
    }

    /// Whether the database as a whole is in trouble, and not what was asked alone.
    pub fn is_the_servers(&self) -> bool {
        match self {
            Self::Lost(_) | Self::Away(_) | Self::Late => true,
            Self::NotAsked | Self::Busy(_) | Self::Refused(_) | Self::Strange(_) => false,
        }
    }

    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Refused(_) | Self::Strange(_))
    }

    fn from_error(error: &sqlx::Error) -> Self {
        use sqlx::Error;
        let words = error.to_string();
        match error {
            Error::Database(error) => match error.code() {
                Some(state) if state.len() == SQLSTATE_LENGTH => Self::from_sqlstate(&state, words),
                Some(code) if is_strange(&code) => Self::Strange(words),
                _ => Self::Busy(words),
            },
            Error::PoolTimedOut => Self::Away("no connection could be had in time".to_owned()),
            Error::Configuration(_) | Error::InvalidArgument(_) | Error::Tls(_) => Self::Refused(words),
            Error::Decode(_)
            | Error::Encode(_)
            | Error::ColumnDecode { .. }
            | Error::ColumnNotFound(_)
            | Error::ColumnIndexOutOfBounds { .. }
            | Error::TypeNotFound { .. }
            | Error::RowNotFound
            | Error::AnyDriverError(_) => Self::Strange(words),
            _ => Self::Lost(words),
        }
    }

    /// By the codes of PostgreSQL (its documentation, appendix A): five characters, the first two a class.
    fn from_sqlstate(state: &str, words: String) -> Self {
        match (state, &state[..2]) {
            // The session was ended: by an administrator, a crash of another, or for being idle.
            ("57P01" | "57P02" | "57P05" | "25P03", _) => Self::Lost(words),
            // It took longer than it may.
            ("57014", _) => Self::Busy(words),
            // No right to do this.
            ("42501", _) => Self::Refused(words),
            // Connections, resources, an operator's doing; and a standby, which only reads.
            (_, "08" | "53" | "57") | ("25006", _) => Self::Away(words),
            // Transactions in each other's way, locks, and disks that fail.
            (_, "40" | "55" | "58") => Self::Busy(words),
            // Who is there: users, passwords, databases.
            (_, "28" | "3D") => Self::Refused(words),
            _ => Self::Strange(words),
        }
    }
}

/// SQLite's codes are shorter numbers.
const SQLSTATE_LENGTH: usize = 5;

/// Whether a code of SQLite says that the database is damaged, is none, or is not ours. Its lowest byte is the class:
/// 1 a statement that does not fit the tables, 11 damaged, 20 wrong type, 26 not a database.
fn is_strange(code: &str) -> bool {
    const CLASSES: [u32; 4] = [1, 11, 20, 26];
    code.parse::<u32>().is_ok_and(|code| CLASSES.contains(&(code & 0xff)))
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::from_error(&error)
    }
}

impl From<MigrateError> for Trouble {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            other => Self::Strange(other.to_string()),
        }
    }
}

impl From<Trouble> for CatalogError {
    fn from(trouble: Trouble) -> Self {
        let words = trouble.to_string();
        match trouble {
            Trouble::Refused(_) => Self::Refused(words),
            Trouble::Strange(_) => Self::Corrupt(words),
            Trouble::Lost(_) | Trouble::Away(_) | Trouble::Late | Trouble::NotAsked | Trouble::Busy(_) => {
                Self::Unavailable(words)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(state: &str) -> Trouble {
        Trouble::from_sqlstate(state, "words".into())
    }

    #[test]
    fn a_code_of_postgresql_says_what_may_help() {
        for state in ["08006", "53300", "53100", "57P03", "25006"] {
            assert!(matches!(of(state), Trouble::Away(_)), "{state}");
        }
        for state in ["57P01", "57P02", "57P05", "25P03"] {
            assert!(matches!(of(state), Trouble::Lost(_)), "{state}");
        }
        for state in ["40001", "40P01", "55P03", "57014", "58030"] {
            assert!(matches!(of(state), Trouble::Busy(_)), "{state}");
        }
        for state in ["28P01", "28000", "3D000", "42501"] {
            assert!(matches!(of(state), Trouble::Refused(_)), "{state}");
        }
        for state in ["42P01", "42601", "22003", "22P05", "23505", "XX001"] {
            assert!(matches!(of(state), Trouble::Strange(_)), "{state}");
        }
    }

    #[test]
    fn what_holds_nothing_of_ours_is_told_from_what_is_busy() {
        for code in ["1", "11", "26", "267"] {
            assert!(is_strange(code), "{code}");
        }
        for code in ["5", "6", "8", "13", "14", "261", "517"] {
            assert!(!is_strange(code), "{code}");
        }
    }
}
