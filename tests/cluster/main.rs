//! Several real nodes on a real Redis: who is in a room on one of them is in it on all of them, and whoever is on a node that
//! dies is gone after its grace, everywhere and without a trace.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

#[path = "../support/mod.rs"]
mod support;

mod deaths;
mod names;
mod outages;
mod refusals;
mod together;
mod views;
