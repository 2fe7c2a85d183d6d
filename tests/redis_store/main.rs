//! The shared store of a cluster on real Redis servers: that it does what the rules say, in whatever order and with whatever
//! in between; and what becomes of it when Redis is away, hangs, refuses, forgets or fails over.
//!
//! `agreement` holds the scripts to the rules; the others look at what only a server can do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
#![allow(clippy::print_stdout, reason = "a test says what it skips")]

#[path = "../support/mod.rs"]
mod support;

mod agreement;
mod bus;
mod exports;
mod failures;
mod fences;
mod kit;
mod leases;
mod ledger;
mod ledger_agreement;
mod ledger_claims;
mod ledger_entries;
mod ledger_failures;
mod ledger_kit;
mod ledger_restore;
mod ledger_steps;
mod rooms;
mod several;
