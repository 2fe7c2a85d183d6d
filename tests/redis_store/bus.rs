//! Messages from node to node: in order while the line holds, told when it did not, bounded always.

use std::sync::Arc;

use greenroom::{
    adapters::{
        ports::{Bus as _, BusError, BusLink, BusNews},
        redis::RedisBus,
    },
    protocol::{
        NodeId,
        cluster::{Event, Inbox},
    },
};

use crate::{
    kit::{Part, node},
    support::{Redis, eventually, within},
};

/// A node's bus and what comes by it.
pub struct Ear {
    pub bus: Arc<RedisBus>,
    pub link: BusLink,
    pub id: NodeId,
    pub part: Part,
}

impl Ear {
    /// Listens as this part's node; returns when it does.
    pub async fn of(part: Part) -> Self {
        let bus = Arc::new(RedisBus::new(part.store.clone()));
        let id = part.node.id.clone();
        let link = bus.listen(&id);
        let mut ear = Self { bus, link, id, part };
        ear.subscribed().await;
        ear
    }

    /// The next news.
    pub async fn next(&mut self) -> BusNews {
        within("news", self.link.news.recv()).await.expect("the bus lives")
    }

    /// Waits for the word that it listens; passes over what comes before it.
    pub async fn subscribed(&mut self) {
        while !matches!(self.next().await, BusNews::Subscribed) {}
    }

    /// The number of the next probe.
    pub async fn probe(&mut self) -> u64 {
        match self.next().await {
            BusNews::Message(message) if let Inbox::Probe { number, .. } = *message => number,
            other => panic!("{other:?} and no probe"),
        }
    }
}

pub fn probe(number: u64) -> Inbox {
    Inbox::Probe { from: node("n9", 1), number }
}

/// Publishes so many probes, as fast as there is room for them.
pub async fn publish_all(bus: &RedisBus, to: &NodeId, count: u64) {
    for number in 0..count {
        while bus.publish(to, &probe(number)) == Err(BusError::Full) {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn everything_arrives_once_and_in_order() {
    if !Redis::is_here() {
        return;
    }
    const COUNT: u64 = 20_000;
    let redis = Redis::start();
    let one = Ear::of(Part::on(&redis, "n1")).await;
    let mut two = Ear::of(Part::on(&redis, "n2")).await;
    // What does not fit is dropped, so no more is on its way than fits.
    for batch in 0..COUNT / 2000 {
        publish_all(&one.bus, &two.id, 2000).await;
        for number in 0..2000 {
            assert_eq!(two.probe().await, number, "in batch {batch}");
        }
    }
    assert_eq!(one.part.metrics.bus_published.with_label_values(&["sent"]).get(), COUNT);
    assert_eq!(two.part.metrics.bus_received.with_label_values(&["message"]).get(), COUNT);
}

#[tokio::test]
async fn an_inbox_is_one_nodes_and_events_are_everybodys() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let mut one = Ear::of(Part::on(&redis, "n1")).await;
    let mut two = Ear::of(Part::on(&redis, "n2")).await;
    one.bus.publish(&two.id, &probe(1)).expect("room for it");
    one.bus.publish(&one.id, &probe(2)).expect("room for it");
    one.bus.announce(&Event::Draining(node("n1", 5))).expect("room for it");
    for (ear, number) in [(&mut one, 2), (&mut two, 1)] {
        assert_eq!(ear.probe().await, number);
        let BusNews::Event(event) = ear.next().await else { panic!("an event") };
        assert_eq!(event, Event::Draining(node("n1", 5)));
    }
    let heard: i64 = redis.run(&["PUBLISH", "cluster:messages:n2", "what?"]);
    assert_eq!(heard, 1);
    assert!(matches!(two.next().await, BusNews::Unreadable));
    redis.run::<i64>(&["PUBLISH", "cluster:messages", &serde_json::to_string(&probe(3)).expect("JSON")]);
    assert_eq!((one.probe().await, two.probe().await), (3, 3), "to every node");
}

#[tokio::test]
async fn a_subscription_that_was_lost_is_there_again_and_says_so() {
    if !Redis::is_here() {
        return;
    }
    let mut redis = Redis::start();
    let mut ear = Ear::of(Part::on(&redis, "n1")).await;
    for _ in 0..3 {
        redis.run::<i64>(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        ear.subscribed().await;
        through(&mut ear).await;
    }
    redis.restart();
    ear.subscribed().await;
    through(&mut ear).await;
    ear.bus.rebuild();
    ear.subscribed().await;
    through(&mut ear).await;
}

/// Something that is published comes; what is published into a connection that has just ended does not.
pub async fn through(ear: &mut Ear) {
    eventually("a probe comes through", async || {
        ear.bus.publish(&ear.id, &probe(7)).expect("room for it");
        let news = tokio::time::timeout(std::time::Duration::from_millis(100), ear.link.news.recv()).await;
        matches!(news, Ok(Some(BusNews::Message(_)))).then_some(())
    })
    .await;
    // Those that came later.
    while let Ok(news) = ear.link.news.try_recv() {
        assert!(matches!(news, BusNews::Message(_)), "{news:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_published_is_refused_when_too_much_waits() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let mut ear = Ear::of(Part::on(&redis, "n1")).await;
    redis.freeze();
    let refused = (0..40_000).find(|&number| ear.bus.publish(&ear.id, &probe(number)).is_err());
    assert!(refused.is_some(), "the queue has an end");
    redis.thaw();
    through_again(&mut ear).await;
    assert!(ear.part.metrics.bus_published.with_label_values(&["full"]).get() > 0);
}

/// Takes whatever still comes until a new probe comes through.
async fn through_again(ear: &mut Ear) {
    eventually("a new probe comes through", async || {
        let _ = ear.bus.publish(&ear.id, &probe(u64::MAX));
        while let Ok(Some(news)) =
            tokio::time::timeout(std::time::Duration::from_millis(50), ear.link.news.recv()).await
        {
            if let BusNews::Message(message) = news
                && *message == probe(u64::MAX)
            {
                return Some(());
            }
        }
        None
    })
    .await;
}

#[tokio::test]
async fn who_does_not_take_its_news_loses_some_and_holds_up_nobody() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let mut lazy = Ear::of(Part::on(&redis, "n1")).await;
    let mut other = Ear::of(Part::on(&redis, "n2")).await;
    publish_all(&other.bus, &lazy.id, 10_000).await;
    let dropped = lazy.part.metrics.bus_received.with_label_values(&["dropped"]);
    let received = lazy.part.metrics.bus_received.with_label_values(&["message"]);
    eventually("all have come", async || (dropped.get() + received.get() == 10_000).then_some(())).await;
    assert!(dropped.get() > 0);
    through(&mut other).await;
    for number in 0..received.get() {
        assert_eq!(lazy.probe().await, number, "what fits is the beginning");
    }
    through(&mut lazy).await;
}
