//! The signaling protocol on one node, over real sockets: what each message brings, to whom, and in which order.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

#[path = "../support/mod.rs"]
mod support;

mod doors;
mod drain;
mod limits;
mod moderation;
mod presence;
mod relay;
mod resume;
mod rooms;
mod views;
