//! Greenroom: a node that introduces WebRTC peers to each other.
//!
//! The house has six floors, and imports go only downward (a test reads every `use crate::…`):
//!
//! ```text
//! 5 wiring     main.rs · app.rs · config.rs · telemetry.rs
//! 4 http/      routes on one screen · errors · ws · rooms · health · metrics · pages
//! 3 actors/    messages · mailbox · socket · peer_session · room_manager · cluster_bridge · recorder_session · recording_supervisor · merge_worker
//! 2 adapters/  ports (the traits) · memory · redis · chunk_store · video_store · catalog · ffmpeg;     metrics.rs (every metric in one table)
//! 1 domain/    the rules: rooms · membership · cluster · recording · media · merge — pure: time comes in, effects go out
//! 0 protocol/  the words of the wire: ids · commands · events · chunks · codes · limits
//! ```
//!
//! Begin reading at [`protocol::command`] for what a browser may say, at [`domain::rooms`] for what then happens, and
//! at [`app`] for how the parts are put together. `docs/ARCHITECTURE.md` has the picture and the invariants.

pub mod actors;
pub mod adapters;
pub mod app;
pub mod config;
pub mod domain;
pub mod http;
pub mod metrics;
pub mod protocol;
pub mod telemetry;
