//! What every catalog with an outbox must do: rows and their events come together, and events go in their order.

use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use greenroom::{
    adapters::ports::{Catalog, CatalogRow, Deletion, Outbox, OutboxEvent},
    protocol::Fence,
};

use crate::{catalog_suite::row, id};

/// Opens an empty database of this name, or the same again, as another node would.
pub type Open<'a> = &'a (dyn Fn(&str) -> BoxFuture<'static, (Arc<dyn Catalog>, Arc<dyn Outbox>)> + Sync);

/// Runs everything, each part on a database of its own.
pub async fn suite(open: Open<'_>) {
    events_come_with_their_row(open).await;
    events_go_in_their_order(open).await;
    rounds_starve_nobody(open).await;
    takes_the_same_from_many(open).await;
    what_was_taken_is_not_told_again(open).await;
}

pub fn event(name: &str, fence: u64, stage: u8) -> OutboxEvent {
    OutboxEvent {
        id: format!("{name}-{fence}-{stage}"),
        record_id: id(name),
        fence: Fence(fence),
        stage,
        body: format!(r#"{{"event":"it's \"{name}\" 🎥","stage":{stage}}}"#),
    }
}

/// The ids of the oldest events.
async fn waiting(outbox: &dyn Outbox, after: Option<&str>, limit: u32) -> Vec<String> {
    let events = outbox.waiting(after.map(id), limit).await.unwrap();
    events.into_iter().map(|event| event.id).collect()
}

async fn events_come_with_their_row(open: Open<'_>) {
    let (catalog, outbox) = open("together").await;
    let at = |fence| CatalogRow { fence: Fence(fence), ..row("one", 1) };
    assert!(catalog.put(at(5), vec![]).await.unwrap());
    assert_eq!(outbox.depth().await.unwrap(), 0);
    assert!(catalog.put(at(5), vec![event("one", 5, 1), event("one", 5, 2)]).await.unwrap());
    assert_eq!(outbox.waiting(None, 9).await.unwrap(), [event("one", 5, 1)], "as it was given");

    // An outdated claim has nothing to tell.
    assert!(!catalog.put(at(4), vec![event("one", 4, 1)]).await.unwrap());
    assert_eq!(outbox.depth().await.unwrap(), 2);

    // The same again, as after an answer that was lost: the first stands.
    let again = OutboxEvent { id: "another".into(), body: "{}".into(), ..event("one", 5, 1) };
    assert!(catalog.put(at(5), vec![again, event("one", 5, 2), event("one", 5, 3)]).await.unwrap());
    assert_eq!(outbox.depth().await.unwrap(), 3);
    assert_eq!(outbox.waiting(None, 9).await.unwrap(), [event("one", 5, 1)]);

    // A recording that goes is told of once, also one whose row was not there yet.
    for fence in [6, 7] {
        catalog.delete(Deletion::of(id("one"), 1, 1), vec![event("one", fence, 0)]).await.unwrap();
        assert_eq!(catalog.get(&id("one")).await.unwrap(), None);
    }
    catalog.delete(Deletion::of(id("none"), 1, 1), vec![event("none", 1, 0)]).await.unwrap();
    assert_eq!(outbox.depth().await.unwrap(), 5);

    let (_, again) = open("together").await;
    assert_eq!(waiting(&*again, None, 9).await, ["none-1-0", "one-5-1"], "another node has them too");
}

async fn events_go_in_their_order(open: Open<'_>) {
    let (catalog, outbox) = open("in order").await;
    // The newest first, and numbers that letters would put in another order.
    let all = [(10, 0), (9, 200), (9, 3), (2, 10), (2, 9)];
    for (started_ms, (fence, stage)) in (1..).zip(all) {
        let deletion = Deletion::of(id("one"), started_ms, 1);
        catalog.delete(deletion, vec![event("one", fence, stage)]).await.unwrap();
    }
    for (left, (fence, stage)) in all.into_iter().rev().enumerate() {
        assert_eq!(outbox.depth().await.unwrap(), 5 - left as u64);
        assert_eq!(waiting(&*outbox, None, 9).await, [format!("one-{fence}-{stage}")]);
        for _ in 0..2 {
            outbox.done(&id("one"), Fence(fence), stage).await.expect("nothing there is no error");
        }
    }
    assert_eq!(outbox.depth().await.unwrap(), 0);
    assert!(waiting(&*outbox, None, 9).await.is_empty());
}

async fn rounds_starve_nobody(open: Open<'_>) {
    let (catalog, outbox) = open("rounds").await;
    // In order of bytes: digits, capitals, `_`, small letters.
    let names = ["1-9", "10", "Z", "_a", "a", "a-b", "aB", "b"];
    for name in names.iter().rev() {
        catalog.put(row(name, 1), vec![event(name, 1, 0), event(name, 1, 1)]).await.unwrap();
    }
    let first = |names: &[&str]| names.iter().map(|name| format!("{name}-1-0")).collect::<Vec<_>>();
    assert_eq!(waiting(&*outbox, None, 100).await, first(&names));
    assert_eq!(waiting(&*outbox, None, 3).await, first(&names[..3]));
    assert_eq!(
        waiting(&*outbox, Some("Z"), 3).await,
        first(&names[3..6]),
        "nothing was taken, and it goes on"
    );
    assert_eq!(waiting(&*outbox, Some("a-a"), 100).await, first(&names[5..]), "after one that has none");
    assert!(waiting(&*outbox, Some("b"), 3).await.is_empty());
    assert!(waiting(&*outbox, None, 0).await.is_empty());
}

async fn takes_the_same_from_many(open: Open<'_>) {
    let both = [open("many").await, open("many").await];
    join_all((0..20_usize).map(|at| {
        let (catalog, _) = &both[at % 2];
        async move {
            for fence in 1..=5 {
                let claim = CatalogRow { fence: Fence(fence), ..row("shared", 1) };
                catalog.put(claim, vec![event("shared", fence, 0), event("shared", fence, 1)]).await.unwrap();
            }
        }
    }))
    .await;
    let (_, outbox) = &both[1];
    let depth = outbox.depth().await.unwrap();
    // A claim that was overtaken before it put its row has none.
    assert!(depth % 2 == 0 && (2..=10).contains(&depth), "{depth}");
}

async fn what_was_taken_is_not_told_again(open: Open<'_>) {
    let (catalog, outbox) = open("taken").await;
    let events = || vec![event("one", 1, 0), event("one", 1, 2)];
    catalog.put(row("one", 1), events()).await.unwrap();
    outbox.done(&id("one"), Fence(1), 0).await.unwrap();
    // The row again, as another node writes it that knows nothing of that.
    assert!(catalog.put(row("one", 1), events()).await.unwrap());
    assert_eq!(waiting(&*outbox, None, 9).await, ["one-1-2"]);
    outbox.done(&id("one"), Fence(1), 2).await.unwrap();
    assert!(catalog.put(row("one", 1), events()).await.unwrap());
    assert_eq!(outbox.depth().await.unwrap(), 0);
    // It is remembered with the row: another recording of the name tells everything.
    catalog.delete(Deletion::of(id("one"), 1, 1), vec![event("one", 3, 9)]).await.unwrap();
    outbox.done(&id("one"), Fence(3), 9).await.unwrap();
    assert!(!catalog.put(row("one", 1), events()).await.unwrap(), "it was deleted");
    let next = || [events(), vec![event("one", 3, 9)]].concat();
    catalog.put(row("one", 2), next()).await.unwrap();
    assert_eq!(outbox.depth().await.unwrap(), 3);
    // And one that was deleted before it began has nothing to forget.
    outbox.done(&id("one"), Fence(1), 0).await.unwrap();
    catalog.delete(Deletion::of(id("one"), 1, 1), vec![event("one", 4, 9)]).await.unwrap();
    catalog.put(row("one", 2), next()).await.unwrap();
    assert_eq!(outbox.depth().await.unwrap(), 2);
}
