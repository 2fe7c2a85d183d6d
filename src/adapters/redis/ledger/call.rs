//! Calls of the scripts on one account: its keys and the rules that hold for it.

use std::time::Duration;

use deadpool_redis::redis::{FromRedisValue, ScriptInvocation, from_redis_value};

use super::{
    super::{By, Question, RedisStore, keys, scripts::Script, trouble::Trouble},
    answer::whole,
};
use crate::{
    domain::recording::{
        CAREFUL_FROM, CAUTION_MAX_MS, CAUTION_MS, LATE_STOP_MS, NUMBER_TERM_MS, RecordingRules, UNHEARD_MAX,
    },
    protocol::{RecordId, limits},
};

/// The rules, in the order in which scripts take them.
pub fn rules(rules: RecordingRules) -> [u64; 15] {
    [
        ms(rules.grace),
        ms(rules.idle()),
        ms(rules.kept()),
        ms(rules.lease),
        whole(rules.bytes_max),
        ms(rules.duration_max),
        LATE_STOP_MS,
        ms(limits::STOP_PATIENCE),
        limits::CHUNKS_MISSING_MAX.into(),
        limits::CHUNKS_MAX.into(),
        NUMBER_TERM_MS,
        CAREFUL_FROM.into(),
        CAUTION_MS,
        CAUTION_MAX_MS,
        UNHEARD_MAX.into(),
    ]
}

/// Milliseconds, as scripts can count them.
pub fn ms(duration: Duration) -> u64 {
    whole(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// A call of a script on an account.
pub fn on_account(
    script: &'static Script,
    id: &RecordId,
    rules: &[u64],
    arguments: impl FnOnce(&mut ScriptInvocation<'static>),
) -> Question {
    Question::script(script, |call| {
        for key in keys::account(id) {
            call.key(key);
        }
        for rule in rules {
            call.arg(*rule);
        }
        arguments(call);
    })
}

impl RedisStore {
    /// Asks something of the ledger, and reads the answer.
    pub(super) async fn ask_ledger<T: FromRedisValue>(&self, question: Question) -> Result<T, Trouble> {
        Ok(from_redis_value(self.ask(By::Ledger, question).await?)?)
    }
}
