//! Chunks of WebM, Matroska and MP4, assembled as they come: each case of media and of damage, compared packet by packet and
//! frame by frame with its source, and with what ffmpeg makes of the same chunks. ffmpeg is real, and so is the browser.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "this is how a test fails, also in what tests share"
)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../merging/browser.rs"]
mod browser;
#[path = "../merging/kit.rs"]
#[allow(dead_code, reason = "shared with the tests of merging")]
mod kit;

#[path = "../support/apply.rs"]
mod apply;
mod compared;
mod damaged;
mod made;
mod mp4;
mod table;
mod taken;
