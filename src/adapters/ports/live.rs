//! Watching a recording while it comes.

use std::{path::PathBuf, sync::Arc};

use super::RecordingRef;
use crate::domain::assembly::Live;

/// What there is to be watched of a recording.
#[derive(Debug, Clone)]
pub enum Watched {
    /// There is no such recording, or nothing is known of it any more.
    Unknown,
    /// It does not come any more: there is a video, or will be.
    Over,
    /// Nothing that could be played has come, or been put together.
    NotYet,
    /// It is not put together before it is over.
    Never,
    /// As far as it has been put together.
    Here(LiveFile),
}

/// The file of a recording that is still being put together, and how far it can be watched.
#[derive(Debug, Clone)]
pub struct LiveFile {
    /// Of which recording.
    pub recording: RecordingRef,
    /// It may be gone when it is opened: then somebody else goes on with it under another name.
    pub path: PathBuf,
    /// Up to where its bytes will not change.
    pub live: Arc<Live>,
}
