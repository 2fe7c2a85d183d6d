//! The folder of one work of ffmpeg.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tracing::warn;

/// A folder that goes when nobody needs it any more, also when its work is dropped.
pub(super) struct WorkFolder {
    path: PathBuf,
    /// Whether it goes, or has gone. Whoever does something to it holds this: what was begun is done to its end, also when nobody waits
    /// for it any more.
    goes: Arc<Mutex<bool>>,
}

impl WorkFolder {
    pub(super) fn at(path: PathBuf) -> Arc<Self> {
        Arc::new(Self { path, goes: Arc::default() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it, empty: what an earlier try has left would only confuse.
    pub(super) async fn prepare(&self) -> io::Result<()> {
        let (path, goes) = (self.path.clone(), self.goes.clone());
        let prepared = tokio::task::spawn_blocking(move || {
            let goes = held(&goes);
            if *goes {
                return Err(io::ErrorKind::Interrupted.into());
            }
            cleared(fs::remove_dir_all(&path))?;
            fs::create_dir_all(&path)
        });
        prepared.await.unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into()))
    }
}

fn held(goes: &Mutex<bool>) -> MutexGuard<'_, bool> {
    goes.lock().unwrap_or_else(PoisonError::into_inner)
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
        let (path, goes) = (std::mem::take(&mut self.path), self.goes.clone());
        let clear = move || {
            let mut goes = held(&goes);
            *goes = true;
            if let Err(error) = cleared(fs::remove_dir_all(path)) {
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use futures_util::FutureExt as _;

    use super::*;

    /// As a merge that is cancelled the moment it begins.
    #[tokio::test]
    async fn whose_work_is_dropped_while_it_is_made_leaves_nothing() {
        let all = tempfile::tempdir().expect("a folder");
        for number in 0..500 {
            let folder = WorkFolder::at(all.path().join(number.to_string()));
            assert!(folder.prepare().now_or_never().is_none_or(|made| made.is_ok()));
        }
        let left = || fs::read_dir(all.path()).expect("a folder").count();
        let deadline = Instant::now() + Duration::from_secs(20);
        // All that was begun has been done when something that is begun now has, in as many threads as there may be.
        let later: Vec<_> = (0..512).map(|_| tokio::task::spawn_blocking(|| ())).collect();
        for done in later {
            done.await.expect("done");
        }
        while left() > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(left(), 0);
    }
}
