//! Which node makes which MP4: a hash with a term beside the accounts, which is gone when its node is.

use std::time::Duration;

use deadpool_redis::redis::Value;

use super::{
    super::{Question, keys, scripts, trouble::Trouble},
    RedisLedger, Work,
    answer::code,
    call::ms,
};
use crate::{
    adapters::ports::{ExportLeases, ExportStands, LedgerError, PortFuture},
    protocol::{Refusal, recorder::VideoKey},
};

/// What is known of the making of an MP4: who, how far, why not, and for how long that holds.
type Told = (Option<String>, Option<u8>, Option<String>, Option<String>, i64);

impl ExportLeases for RedisLedger {
    fn take(&self, key: &VideoKey, percent: u8, term: Duration) -> PortFuture<Result<bool, LedgerError>> {
        let key = key.clone();
        self.run(move |work| async move {
            let question = Question::script(&scripts::EXPORT_TAKE, |call| {
                call.key(keys::export(&key)).arg(work.node.as_str()).arg(percent).arg(ms(term).max(1));
            });
            work.store.ask_ledger(question).await
        })
    }

    fn end(&self, key: &VideoKey, failure: Option<Refusal>) -> PortFuture<Result<(), LedgerError>> {
        let key = key.clone();
        self.run(move |work| async move {
            let question = Question::script(&scripts::EXPORT_END, |call| {
                call.key(keys::export(&key)).arg(work.node.as_str());
                if let Some(Refusal { code, detail, retry_after_ms }) = &failure {
                    let why = detail.as_deref().unwrap_or_default();
                    call.arg(code.name()).arg(why).arg(retry_after_ms.unwrap_or(0).max(1));
                } else {
                    call.arg("");
                }
            });
            work.store.ask_ledger::<Value>(question).await.map(drop)
        })
    }

    fn show(&self, key: &VideoKey) -> PortFuture<Result<Option<ExportStands>, LedgerError>> {
        let key = key.clone();
        self.run(move |work| async move { work.show_export(&key).await })
    }
}

impl Work {
    async fn show_export(&self, key: &VideoKey) -> Result<Option<ExportStands>, Trouble> {
        let question = Question::script(&scripts::EXPORT_SHOW, |call| {
            call.key(keys::export(key));
        });
        let (by, percent, failed, why, left_ms): Told = self.store.ask_ledger(question).await?;
        if let Some(failed) = failed {
            let mut refusal = Refusal::from(code(&failed)?);
            refusal.detail = why.filter(|why| !why.is_empty()).map(Into::into);
            let left_ms = u64::try_from(left_ms).unwrap_or(0);
            return Ok(Some(ExportStands::Failed(refusal.retry_after_ms(left_ms))));
        }
        // What an earlier life of this node was at, this one takes up again.
        let other = by.filter(|by| by != self.node.as_str());
        Ok(other.map(|_| ExportStands::Elsewhere(percent.unwrap_or(0))))
    }
}
