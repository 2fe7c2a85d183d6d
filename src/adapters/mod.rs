//! Floor 2: the world, behind ports.
//!
//! [`ports`] are the traits that the actors know; each has one implementation that needs nothing ([`memory`]), which
//! is what a single node runs on. Implementations on servers stand beside them and are held to the same tests.

pub mod assembly;
pub mod breaker;
pub mod catalog;
mod chance;
pub mod chunk_store;
pub mod clock;
pub mod crash;
mod disk;
pub mod ffmpeg;
pub mod memory;
pub mod memory_exports;
pub mod memory_ledger;
pub mod ports;
pub mod redis;
pub mod s3;
pub mod store_id;
pub mod video_store;
pub mod webhook;
mod whole_chunk;
pub mod work_folders;
