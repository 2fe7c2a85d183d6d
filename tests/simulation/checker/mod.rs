//! Judges what browsers have lived through.
//!
//! Plain functions over recorded histories: they know neither the simulation nor the node, only the wire. So histories of
//! real processes can be judged by the same rules. What is wrong comes back as sentences; none: all is well.

mod endings;
mod page;
mod relays;
mod resumes;
mod tale;

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

pub use self::{page::Page, tale::relay_payload};

/// What one browser has lived through, in order.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// For people to read.
    pub browser: String,
    /// Everything.
    pub entries: Vec<Entry>,
}

/// One thing that happened to a browser.
#[derive(Debug, Clone)]
pub struct Entry {
    /// By a clock that all histories share.
    pub at: Duration,
    /// It.
    pub what: What,
}

/// What can happen to a browser. It has one socket at most.
#[derive(Debug, Clone)]
pub enum What {
    /// A new socket.
    Opened,
    /// It sent this. Each `Join` and `Resume` has an `id` of its own; so has each relay.
    Said(Value),
    /// It received this.
    Heard(Value),
    /// The socket is gone, with the close code if there was one.
    Closed(Option<u16>),
}

/// How things really stand when all has been quiet for long enough, and what happened before.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    /// Every row of the registry.
    pub rows: Vec<RowTruth>,
    /// Rooms that the registry has as locked.
    pub locked: BTreeSet<String>,
    /// Lives of nodes (`node#inc`) that serve.
    pub live: BTreeSet<String>,
    /// Lives of nodes that have a lease.
    pub leases: BTreeSet<String>,
    /// Nodes of which the registry has an index that is not empty.
    pub indexed: BTreeSet<String>,
    /// Most participants in a room.
    pub participants_max: usize,
    /// From when to when anything was out of order.
    pub troubles: Vec<(Duration, Duration)>,
    /// How long a session without a socket is kept.
    pub grace: Duration,
}

/// A row of the registry.
#[derive(Debug, Clone)]
pub struct RowTruth {
    pub room: String,
    pub user: String,
    pub session: String,
    /// `node#inc`.
    pub node: String,
    pub username: String,
    pub state: String,
    pub metadata: Value,
    pub joined_at: u64,
}

/// Everything that is wrong.
pub fn check(histories: &[History], truth: &Truth) -> Vec<String> {
    let mut wrong = Vec::new();
    let tales: Vec<_> = histories.iter().map(|history| tale::tell(history, &mut wrong)).collect();
    relays::check(&tales, truth, &mut wrong);
    resumes::check(histories, truth, &mut wrong);
    endings::check(&tales, truth, &mut wrong);
    wrong
}

/// Text of a field, empty where there is none.
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}
