//! nginx with the configurations that are shipped, in front of three nodes.
//!
//! What a proxy does by itself is shown with nodes apart: they share nothing, so each answers for itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

#[path = "../support/mod.rs"]
mod support;

mod calls;
mod nodes;
mod passing;
mod recordings;
mod rooms;
mod script;
