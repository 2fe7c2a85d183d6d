//! The folder of one work of ffmpeg.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tracing::warn;

/// A folder that goes when nobody needs it any more, also when its work is dropped.
pub(super) struct WorkFolder(PathBuf);

impl WorkFolder {
    pub(super) fn at(path: PathBuf) -> Arc<Self> {
        Arc::new(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes it, empty: what an earlier try has left would only confuse.
    pub(super) async fn prepare(&self) -> io::Result<()> {
        cleared(tokio::fs::remove_dir_all(&self.0).await)?;
        tokio::fs::create_dir_all(&self.0).await
    }
}

/// What removing a folder came to; nothing there is no error.
fn cleared(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.0);
        let clear = move || {
            if let Err(error) = cleared(std::fs::remove_dir_all(path)) {
                warn!(%error, "a work folder stays behind");
            }
        };
        // Off the event loop where there is one.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(clear)),
            Err(_) => clear(),
        }
    }
}
