//! Real nodes on a real Redis, judged as the simulation is: browsers on every node talk to each other all the time and
//! record what they see, something goes wrong and is over again, and then the simulation's own checker goes through their
//! histories. Only what its rules allow may be lost.
//!
//! What browsers do comes from a seed, and when from the machine: `SEED=<number>` has them do other things.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

#[path = "../simulation/checker/mod.rs"]
mod checker;
#[path = "../support/mod.rs"]
mod support;

mod browser;
mod call;
mod nodes;
mod redis;
mod servers;

mod truth;
