//! Throws generated frames and texts of recorders at the parsers, and generated recordings at a running node.
//!
//! Nothing panics; what is refused has its code; what is taken keeps the bounds of the wire; and what a node has
//! acknowledged is stored, byte for byte, whatever came around it. A run is a few seconds long. `scripts/fuzz SECONDS`,
//! or `FUZZ_SECS` by hand, makes it go on for as long; what fails prints its seed, and
//!
//! ```text
//! FUZZ_SEED=<seed> cargo test --test fuzz_chunks -- --nocapture
//! ```
//!
//! runs that seed alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

#[path = "../support/mod.rs"]
mod support;

mod live;
mod parsers;

use std::time::Duration;

/// Of a short run of what needs no node, and of what waits for a disk.
const SHORT: Duration = Duration::from_millis(1000);
const LONGER: Duration = Duration::from_secs(4);
