//! Telling the application of recordings: each event at least once, those of one recording in their order.
//!
//! ```text
//!  outbox ─ the oldest of each recording ─► queue ─► up to 8 at once ─► taken, or given up: done in the outbox
//!                                                        └─ neither: its recording rests, longer each time
//! ```
//! An event is behind the one before it until the outbox has heard that this is done, so nothing overtakes; and whoever is
//! slow or refuses holds up its own recording and no other. What rests, and for how long, is in memory alone: a new life
//! of the node tries everything at once.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _, fut::wrap_future};
use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tracing::{debug, error, info, warn};
use uuid::Uuid;

use super::Keeper;
use crate::{
    actors::recording_events,
    adapters::{
        clock::Clock,
        ports::{CatalogError, Ledger, LedgerError, Outbox, OutboxEvent, RecordingPorts, SameStores},
        webhook::{Delivery, Webhook},
    },
    metrics::Metrics,
    protocol::RecordId,
};

/// For how long this node is the one that tells, unless it says so again: ten times as long as it takes to.
const TERM: Duration = Duration::from_secs(10);
/// Events that are looked at in one go.
const PAGE: u32 = 32;
/// Pages that are looked at before the next second, where nothing on them can be told.
const PAGES_AT_ONCE: u32 = 8;
/// Recordings that are told of at one time.
const SIDE_BY_SIDE: usize = 8;
/// Recordings whose rest is remembered. Beyond, one is told of again when its turn comes.
const RESTS_MAX: usize = 10_000;
/// The rest after the first failure; it doubles with each, up to the longest. By chance each is up to twice as long.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(300);
/// An event that nobody took for so long is given up.
const GIVE_UP_MS: u64 = 3 * 86_400_000;

/// What is on its way to the application.
pub(super) struct Deliveries {
    webhook: Webhook,
    ledger: Arc<dyn Ledger>,
    outbox: Arc<dyn Outbox>,
    same_stores: SameStores,
    clock: Clock,
    /// Whether other nodes share the ledger.
    clustered: bool,
    metrics: Metrics,
    /// At most a page; no recording twice.
    queue: VecDeque<OutboxEvent>,
    busy: HashSet<RecordId>,
    rests: HashMap<RecordId, Rest>,
    /// Where the next look goes on; `None`: a new round begins.
    after: Option<RecordId>,
    round: Round,
    looking: bool,
    pages_left: u32,
    /// Whether the last try failed.
    failing: bool,
    /// Whether the last look did.
    blind: bool,
}

/// A recording of which the application is not told for a while.
struct Rest {
    pauses: ExponentialBackoff,
    /// By the monotonic clock.
    until: Duration,
    /// The round in which it was seen last.
    seen: u64,
}

/// Once through every recording that has something to tell.
#[derive(Default)]
struct Round {
    number: u64,
    /// When the oldest event that was seen happened. Unit: Unix milliseconds.
    oldest_ms: Option<u64>,
}

/// What a look has shown.
enum Look {
    /// Another node tells.
    NotOurs,
    /// What was found before is not told yet.
    Enough,
    Found(Found),
}

/// What was found to tell.
struct Found {
    events: Vec<OutboxEvent>,
    /// How many events wait, where this is the end of a round.
    depth: Option<u64>,
}

/// Why there was no look.
#[derive(Debug, thiserror::Error)]
enum Blind {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Outbox(#[from] CatalogError),
}

/// What became of an event.
struct Told {
    event: OutboxEvent,
    outcome: Outcome,
    /// Whether the outbox knows that it is done; `None`: it is not.
    noted: Option<Result<(), CatalogError>>,
}

/// What a try has come to.
enum Outcome {
    Taken,
    /// Nobody will have it any more, and why.
    GivenUp(String),
    /// Not this time, and why.
    Refused(String),
    Unreachable(String),
}

impl Outcome {
    fn of(delivery: Delivery, is_old: bool) -> Self {
        match delivery {
            Delivery::Taken => Self::Taken,
            Delivery::Gone => Self::GivenUp("it answers 410".to_owned()),
            Delivery::Refused(status) if is_old => Self::GivenUp(format!("it still answers {status}")),
            Delivery::Unreachable(why) if is_old => Self::GivenUp(why),
            Delivery::Refused(status) => Self::Refused(format!("it answers {status}")),
            Delivery::Unreachable(why) => Self::Unreachable(why),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::GivenUp(_) => "given_up",
            Self::Refused(_) => "refused",
            Self::Unreachable(_) => "unreachable",
        }
    }
}

impl Deliveries {
    pub(super) fn new(
        webhook: Webhook,
        ports: &RecordingPorts,
        clock: Clock,
        clustered: bool,
        metrics: Metrics,
    ) -> Self {
        Self {
            webhook,
            ledger: ports.ledger.clone(),
            outbox: ports.outbox.clone(),
            same_stores: ports.same_stores.clone(),
            clock,
            clustered,
            metrics,
            queue: VecDeque::new(),
            busy: HashSet::new(),
            rests: HashMap::new(),
            after: None,
            round: Round::default(),
            looking: false,
            pages_left: 0,
            failing: false,
            blind: false,
        }
    }

    /// Another node tells: what becomes of events is not known here any more.
    fn let_go(&mut self) {
        self.queue.clear();
        self.rests.clear();
        self.after = None;
        self.round = Round::default();
        self.show(0, None);
    }

    /// The time for whoever is told, and by which events grow old. Nodes of a cluster go by one clock, for their own may be off.
    /// `None`: it was never heard of. Unit: Unix milliseconds.
    fn now_ms(&self) -> Option<u64> {
        if self.clustered { self.ledger.known_now_ms() } else { Some(self.clock.now().wall_ms) }
    }

    fn show(&self, depth: u64, oldest_ms: Option<u64>) {
        let age = oldest_ms.zip(self.now_ms()).map_or(0, |(oldest, now)| now.saturating_sub(oldest) / 1000);
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.webhook_waiting.with_label_values::<&str>(&[]).set(signed(depth));
        self.metrics.webhook_oldest.with_label_values::<&str>(&[]).set(signed(age));
    }

    /// Takes up what was found, but for recordings that rest or were `busy` when it was looked: their event may be done by now.
    fn take(&mut self, found: Found, busy: &HashSet<RecordId>) {
        let Found { events, depth } = found;
        self.after = events.last().map(|event| event.record_id.clone()).filter(|_| depth.is_none());
        let now = self.clock.now().mono;
        for event in events {
            let happened = recording_events::happened_ms(&event);
            self.round.oldest_ms = self.round.oldest_ms.into_iter().chain(happened).min();
            let id = &event.record_id;
            let rest = self.rests.get_mut(id);
            let rests = rest.is_some_and(|rest| {
                rest.seen = self.round.number;
                rest.until > now
            });
            if !rests && !busy.contains(id) && !self.busy.contains(id) {
                self.queue.push_back(event);
            }
        }
        if let Some(depth) = depth {
            let round = std::mem::take(&mut self.round);
            self.show(depth, round.oldest_ms);
            // What was not seen has nothing to tell any more.
            self.rests.retain(|_, rest| rest.seen == round.number);
            self.round.number = round.number + 1;
        }
    }

    fn rest(&mut self, id: &RecordId) {
        let now = self.clock.now().mono;
        if self.rests.len() >= RESTS_MAX && !self.rests.contains_key(id) {
            return;
        }
        let seen = self.round.number;
        let rest =
            self.rests.entry(id.clone()).or_insert_with(|| Rest { pauses: pauses(), until: now, seen });
        rest.seen = seen;
        rest.until = now + rest.pauses.next().unwrap_or(LONGEST_REST);
    }

    /// Counts and logs what became of an event. Whether its recording may be told of again at once.
    fn note(&mut self, told: &Told) -> bool {
        let Told { event, outcome, noted } = told;
        self.metrics.webhook_deliveries.with_label_values(&[outcome.name()]).inc();
        let (id, recording) = (&event.id, &event.record_id);
        match outcome {
            Outcome::Taken => {
                if std::mem::replace(&mut self.failing, false) {
                    info!("the webhook takes events again");
                }
                debug!(event = %id, "the application was told");
            }
            Outcome::GivenUp(why) => {
                error!(event = %id, %recording, %why, "the application is not told of this");
            }
            Outcome::Refused(why) | Outcome::Unreachable(why) => {
                if std::mem::replace(&mut self.failing, true) {
                    debug!(event = %id, %why, "the application is told later");
                } else {
                    warn!(event = %id, %why, "the webhook does not take events; they are kept and tried again");
                }
            }
        }
        match noted {
            Some(Ok(())) => true,
            None => false,
            Some(Err(error)) => {
                warn!(event = %id, %error, "the application will be told once more");
                false
            }
        }
    }
}

/// The recordings that an outage has stopped must not come back all at once.
fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_REST)
        .with_max_delay(LONGEST_REST)
        .without_max_times()
        .with_jitter()
        .with_jitter_seed(Uuid::new_v4().as_u64_pair().0)
        .build()
}

/// Whether no page follows this one.
fn is_last(events: &[OutboxEvent]) -> bool {
    events.len() < PAGE as usize
}

impl Keeper {
    /// Says that this node still tells, and looks for more.
    pub(super) fn tell(&mut self, ctx: &mut Context<Self>) {
        if let Some(deliveries) = &mut self.deliveries {
            deliveries.pages_left = PAGES_AT_ONCE;
        }
        self.look(ctx);
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let Some(deliveries) = self.deliveries.as_mut().filter(|deliveries| !deliveries.looking) else {
            return;
        };
        deliveries.looking = true;
        let (ledger, outbox) = (deliveries.ledger.clone(), deliveries.outbox.clone());
        let (after, busy) = (deliveries.after.clone(), deliveries.busy.clone());
        let (same_stores, is_idle) = (deliveries.same_stores.clone(), deliveries.queue.is_empty());
        let found = async move {
            if !same_stores.are_same() || !ledger.leads("webhooks", TERM).await? {
                return Ok(Look::NotOurs);
            }
            if !is_idle {
                return Ok(Look::Enough);
            }
            let events = outbox.waiting(after, PAGE).await?;
            let depth = if is_last(&events) { Some(outbox.depth().await?) } else { None };
            Ok::<_, Blind>(Look::Found(Found { events, depth }))
        };
        ctx.spawn(found.into_actor(self).map(move |found, keeper, ctx| keeper.looked(found, &busy, ctx)));
    }

    fn looked(&mut self, found: Result<Look, Blind>, busy: &HashSet<RecordId>, ctx: &mut Context<Self>) {
        let Some(deliveries) = &mut self.deliveries else { return };
        deliveries.looking = false;
        let was_blind = std::mem::replace(&mut deliveries.blind, found.is_err());
        match found {
            Ok(Look::Found(found)) => deliveries.take(found, busy),
            Ok(Look::Enough) => {}
            Ok(Look::NotOurs) => return deliveries.let_go(),
            Err(error) => {
                if !was_blind {
                    warn!(%error, "what the application is to be told cannot be looked up");
                }
                // Perhaps another node tells them now.
                return deliveries.queue.clear();
            }
        }
        let nothing_ready = deliveries.queue.is_empty() && deliveries.after.is_some();
        let looks_on = nothing_ready && deliveries.pages_left > 0;
        deliveries.pages_left = deliveries.pages_left.saturating_sub(1);
        self.deliver(ctx);
        if looks_on {
            self.look(ctx);
        }
    }

    /// Sends as many as there is room for.
    fn deliver(&mut self, ctx: &mut Context<Self>) {
        let Some(deliveries) = &mut self.deliveries else { return };
        let Some(now_ms) = deliveries.now_ms() else { return };
        while deliveries.busy.len() < SIDE_BY_SIDE
            && let Some(event) = deliveries.queue.pop_front()
        {
            deliveries.busy.insert(event.record_id.clone());
            let (webhook, outbox) = (deliveries.webhook.clone(), deliveries.outbox.clone());
            let oldest_ms = now_ms.saturating_sub(GIVE_UP_MS);
            let is_old = recording_events::happened_ms(&event).is_some_and(|happened| happened < oldest_ms);
            let told = async move {
                let outcome = Outcome::of(webhook.deliver(&event, now_ms / 1000).await, is_old);
                let noted = match outcome {
                    Outcome::Taken | Outcome::GivenUp(_) => {
                        Some(outbox.done(&event.record_id, event.fence, event.stage).await)
                    }
                    Outcome::Refused(_) | Outcome::Unreachable(_) => None,
                };
                Told { event, outcome, noted }
            };
            let told = wrap_future::<_, Self>(told);
            ctx.spawn(told.map(|told, keeper, ctx| keeper.told(&told, ctx)));
        }
    }

    fn told(&mut self, told: &Told, ctx: &mut Context<Self>) {
        let Some(deliveries) = &mut self.deliveries else { return };
        let id = &told.event.record_id;
        deliveries.busy.remove(id);
        let goes_on = deliveries.note(told);
        if goes_on {
            deliveries.rests.remove(id);
        } else {
            deliveries.rest(id);
        }
        let is_idle = deliveries.queue.is_empty();
        self.deliver(ctx);
        if goes_on && is_idle {
            self.look(ctx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{actors::accounts::kit::Stores, adapters::webhook::WebhookSettings};

    #[tokio::test]
    async fn a_node_goes_by_the_clock_of_all_where_there_are_others_and_by_its_own_where_there_are_none() {
        const HOUR_MS: u64 = 3_600_000;
        let stores = Stores::open().await;
        stores.ledger.clock_is_ahead(HOUR_MS);
        let settings = WebhookSettings { url: "http://127.0.0.1/".to_owned(), secret: "north".to_owned() };
        let webhook = Webhook::new(settings).expect("usable");
        let (ports, clock) = (stores.ports(), Clock::start());
        for clustered in [true, false] {
            let metrics = Metrics::new().expect("valid");
            let deliveries = Deliveries::new(webhook.clone(), &ports, clock, clustered, metrics);
            let ahead_ms = deliveries.now_ms().expect("a time").saturating_sub(clock.now().wall_ms);
            assert_eq!(ahead_ms > HOUR_MS / 2, clustered);
        }
    }
}
