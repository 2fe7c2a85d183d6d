//! Which node makes which MP4.

use std::time::Duration;

use greenroom::{
    adapters::ports::{ExportLeases as _, ExportStands},
    protocol::{Code, Refusal, recorder::VideoKey},
};

use crate::{
    ledger_kit::{Books, HOUR},
    support::{Redis, eventually},
};

fn key() -> VideoKey {
    VideoKey::parse("talk.1.mp4").expect("valid")
}

#[tokio::test]
async fn one_node_makes_an_mp4_and_the_others_know_how_far_it_is() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let books = ["n1", "n2"].map(|name| Books::on(&redis, name));
    let take =
        async |n: usize, percent, term| books[n].ledger.take(&key(), percent, term).await.expect("answers");
    let shown = async |n: usize| books[n].ledger.show(&key()).await.expect("answers");
    assert_eq!(shown(0).await, None);
    assert!(take(0, 7, HOUR).await);
    assert!(!take(1, 0, HOUR).await);
    assert_eq!(shown(1).await, Some(ExportStands::Elsewhere(7)));
    assert_eq!(shown(0).await, None, "no other node is at it");
    books[1].ledger.end(&key(), None).await.expect("answers");
    assert_eq!(shown(1).await, Some(ExportStands::Elsewhere(7)), "it is not its to end");
    assert!(take(0, 50, Duration::from_millis(1)).await, "whoever has it goes on");
    eventually("its term is over", async || take(1, 0, HOUR).await.then_some(())).await;
    assert_eq!(shown(0).await, Some(ExportStands::Elsewhere(0)));
    books[1].ledger.end(&key(), None).await.expect("answers");
    assert_eq!((shown(0).await, redis.keys()), (None, vec![]));
}

#[tokio::test]
async fn why_an_mp4_could_not_be_made_is_told_by_every_node_for_a_while() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let books = ["n1", "n2"].map(|name| Books::on(&redis, name));
    let failure = Refusal::because(Code::ExportFailed, "it is broken");
    let fail = async |pause_ms| {
        let failure = failure.clone().retry_after_ms(pause_ms);
        books[0].ledger.end(&key(), Some(failure)).await.expect("answers");
    };
    assert_eq!(books[0].ledger.take(&key(), 0, HOUR).await, Ok(true));
    fail(3_600_000).await;
    for Books { ledger, .. } in &books {
        assert_eq!(ledger.take(&key(), 0, HOUR).await, Ok(false));
        let Ok(Some(ExportStands::Failed(told))) = ledger.show(&key()).await else { panic!("it has failed") };
        assert_eq!((told.code, &told.detail), (failure.code, &failure.detail));
        assert!(told.retry_after_ms.is_some_and(|ms| (3_500_000..=3_600_000).contains(&ms)), "{told:?}");
    }
    fail(1).await;
    eventually("the pause is over", async || {
        books[1].ledger.take(&key(), 0, HOUR).await.expect("answers").then_some(())
    })
    .await;
}
