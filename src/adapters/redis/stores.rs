//! In which stores the nodes of a cluster keep recordings, as they say themselves: it shows a node that does not share them.
//!
//! Redis knows it for as long as a node lives that says it. So a Redis that was emptied learns it again, and stores may be others
//! once all nodes were stopped.

use std::time::Duration;

use deadpool_redis::redis::from_redis_value;

use super::{By, Question, RedisStore, keys, scripts, trouble::Trouble};
use crate::adapters::ports::RegistryError;

/// How much a node's word counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has never said the same as the others.
    New,
    /// It has, since then. Unit: ms of the server's clock.
    Since(u64),
    /// It kept recordings elsewhere than the others: it can only follow them. Should they be away for a while, what they have
    /// is still theirs.
    Elsewhere,
}

/// What a node hears when it says where it keeps recordings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoresSaid {
    /// The other nodes have said the same, or there are none.
    Same {
        /// Since when that is so. Unit: ms of the server's clock.
        since_ms: u64,
    },
    /// The other nodes keep this elsewhere.
    Elsewhere(String),
    /// Nobody says anything, and this node has no say.
    Nothing,
}

impl RedisStore {
    /// Says for this long where this node keeps what (one thing, or two). What was said longest stands.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn say_stores(
        &self,
        stores: &[(&'static str, String)],
        standing: Standing,
        term: Duration,
    ) -> Result<StoresSaid, RegistryError> {
        let term_ms = u64::try_from(term.as_millis()).unwrap_or(u64::MAX);
        let question = Question::script(&scripts::RECORDINGS_STORES, |call| {
            call.key(keys::STORES).arg(term_ms);
            match standing {
                Standing::New => call.arg("new"),
                Standing::Since(ms) => call.arg(ms),
                Standing::Elsewhere => call.arg("elsewhere"),
            };
            for (what, place) in stores {
                call.arg(*what).arg(place);
            }
        });
        let answer = self.ask(By::Ledger, question).await?;
        let (same, text): (bool, String) = from_redis_value(answer).map_err(Trouble::from)?;
        if !same && text.is_empty() {
            return Ok(StoresSaid::Nothing);
        }
        if !same {
            return Ok(StoresSaid::Elsewhere(text));
        }
        let since_ms = text.parse().map_err(|_| Trouble::Unexpected(text))?;
        Ok(StoresSaid::Same { since_ms })
    }
}
