//! Chunks become one file that holds what was recorded: each case of media and of damage, compared packet by packet
//! and frame by frame with its source. ffmpeg is real.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "this is how a test fails, also in what tests share"
)]

#[path = "../support/mod.rs"]
mod support;

mod begun;
mod browser;
mod copied;
mod damaged;
mod joined;
mod kit;
mod programs;
mod recorded;
mod table;
