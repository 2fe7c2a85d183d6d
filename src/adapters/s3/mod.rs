//! Chunks and videos in a bucket: S3, or whatever speaks its protocol.
//!
//! ```text
//!  S3Chunks ─┐
//!            ├─► Bucket: own thread, breaker, timeout, retries ─► one HTTP client ─► objects, below the prefix:
//!  S3Videos ─┘     manifests/<id>.json · chunks/<id>/chunk_… · chunks/<id>/mark_… · recordings/<key> · assembly/… · store-id
//! ```
//! What nodes must agree on is one conditional write (`If-None-Match`, `If-Match`), never a look and then a write; a server that
//! ignores the condition is refused at the start. ADR 16 says how. Where next: `bucket`, `chunks`, `videos`, `parts`
//! (ADR 22).

mod bucket;
mod chunks;
mod desk;
mod id;
mod parts;
mod probe;
mod settings;
mod trouble;
mod upload;
mod videos;

pub use self::{
    bucket::Bucket,
    chunks::S3Chunks,
    settings::{S3Settings, S3Unusable},
    videos::S3Videos,
};
