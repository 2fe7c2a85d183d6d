//! Floor 1: the rules, without hands.
//!
//! All time and all randomness are external input; everything that should happen is returned as effects. Nothing here
//! knows actix, tokio, a database, a clock, the environment or a log, so property tests and simulations run these
//! very types. The actors above are thin shells: mailbox → `handle` → perform each effect.

pub mod assembly;
pub mod clock;
pub mod cluster;
pub mod ice;
pub mod media;
pub mod membership;
pub mod merge;
pub mod outbound;
pub mod recording;
pub mod rooms;
pub mod route;
