//! Which MP4s could not be made, for a node that is alone: nobody else makes any.

use std::{
    collections::BTreeMap,
    future::ready,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    clock::Clock,
    ports::{ExportLeases, ExportStands, LedgerError, PortFuture},
};
use crate::protocol::{Refusal, recorder::VideoKey};

/// Why, and until when that is told. Unit: ms of the steady clock.
type Failures = BTreeMap<VideoKey, (Refusal, u64)>;

/// Failures, each until its pause is over.
#[derive(Debug)]
pub struct MemoryExports {
    clock: Clock,
    failed: Mutex<Failures>,
}

impl MemoryExports {
    /// Nothing has failed yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, failed: Mutex::default() }
    }

    /// What still counts, and the present moment.
    fn failed(&self) -> (MutexGuard<'_, Failures>, u64) {
        // Each operation leaves it whole before anything could panic.
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = self.clock.steady_ms();
        failed.retain(|_, (_, until_ms)| *until_ms > now_ms);
        (failed, now_ms)
    }
}

impl ExportLeases for MemoryExports {
    fn take(&self, key: &VideoKey, _: u8, _: Duration) -> PortFuture<Result<bool, LedgerError>> {
        let is_free = !self.failed().0.contains_key(key);
        Box::pin(ready(Ok(is_free)))
    }

    fn end(&self, key: &VideoKey, failure: Option<Refusal>) -> PortFuture<Result<(), LedgerError>> {
        let (mut failed, now_ms) = self.failed();
        if let Some(refusal) = failure {
            let until_ms = now_ms.saturating_add(refusal.retry_after_ms.unwrap_or(0));
            failed.insert(key.clone(), (refusal, until_ms));
        }
        Box::pin(ready(Ok(())))
    }

    fn show(&self, key: &VideoKey) -> PortFuture<Result<Option<ExportStands>, LedgerError>> {
        let (failed, now_ms) = self.failed();
        let stands = failed.get(key).map(|(refusal, until_ms)| {
            ExportStands::Failed(refusal.clone().retry_after_ms(until_ms.saturating_sub(now_ms)))
        });
        Box::pin(ready(Ok(stands)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Code;

    #[tokio::test]
    async fn a_failure_is_told_until_its_pause_is_over() {
        let exports = MemoryExports::new(Clock::start());
        let key = VideoKey::parse("talk.1.mp4").expect("valid");
        let take = || exports.take(&key, 0, Duration::from_secs(1));
        assert_eq!((take().await, exports.show(&key).await), (Ok(true), Ok(None)));
        let failure = Refusal::because(Code::ExportFailed, "it is broken").retry_after_ms(3_600_000);
        exports.end(&key, Some(failure.clone())).await.expect("answers");
        assert_eq!(take().await, Ok(false));
        let Ok(Some(ExportStands::Failed(told))) = exports.show(&key).await else { panic!("it has failed") };
        assert_eq!((told.code, &told.detail), (failure.code, &failure.detail));
        assert!(told.retry_after_ms.is_some_and(|ms| (3_500_000..=3_600_000).contains(&ms)), "{told:?}");
        let over = failure.retry_after_ms(0);
        exports.end(&key, Some(over)).await.expect("answers");
        assert_eq!((exports.show(&key).await, take().await), (Ok(None), Ok(true)));
    }
}
