//! Where merges work: a folder of this node's below `TEMP_DIR`, which other nodes may share.
//!
//! A merge takes its own folder away when it ends. What a life of this node has left that ended before, the next one clears; what
//! nodes have left that never came back under their names, whoever sees it does.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::OnceCell;
use tracing::warn;

use super::{
    disk,
    ports::{StoreError, Swept},
};
use crate::protocol::NodeId;

/// What the names of nodes' folders begin with. Nothing else in `TEMP_DIR` is ours.
const NAME: &str = "merges-";
/// What nobody has touched for so long no merge is at work in.
const LEFT_ALONE: Duration = Duration::from_secs(86_400);

/// The folders of merges.
#[derive(Debug, Clone)]
pub struct WorkFolders {
    all: PathBuf,
    own: PathBuf,
    /// Shared by clones.
    cleared: Arc<OnceCell<()>>,
}

impl WorkFolders {
    /// Those below this folder, as this node has them.
    #[must_use]
    pub fn new(all: &Path, node: &NodeId) -> Self {
        let own = all.join(format!("{NAME}{node}"));
        Self { all: all.to_owned(), own, cleared: Arc::default() }
    }

    /// Where this node's merges have theirs.
    #[must_use]
    pub fn own(&self) -> &Path {
        &self.own
    }

    /// Clears away what an earlier life has left, once: whoever asks waits until that is done, and works there only then.
    pub async fn clear_own(&self) {
        let own = self.own.clone();
        let clear = async {
            if let Err(error) = blocking(move || disk::clear_away(&own)).await {
                warn!(%error, "the folders of earlier merges stay behind");
            }
        };
        self.cleared.get_or_init(|| clear).await;
    }

    /// Space left for work, once somebody works there; `None`: as much as anybody wants. Unit: bytes.
    ///
    /// # Errors
    /// Nobody can say.
    pub async fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        let own = self.own.clone();
        let looked = tokio::task::spawn_blocking(move || disk::free_bytes(&own)).await;
        looked.unwrap_or_else(|_| Err(StoreError::Failed("the work was interrupted".to_owned())))
    }

    /// Clears away what other nodes have left behind, and says how much that was.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub async fn sweep(&self) -> io::Result<Swept> {
        let folders = self.clone();
        blocking(move || folders.sweep_others()).await
    }

    fn sweep_others(&self) -> io::Result<Swept> {
        let is_others = |entry: &fs::DirEntry| {
            let is_ours = entry.file_name().as_encoded_bytes().starts_with(NAME.as_bytes());
            is_ours && entry.path() != self.own && entry.file_type().is_ok_and(|kind| kind.is_dir())
        };
        let others: Vec<_> = match disk::entries(&self.all) {
            Ok(entries) => entries.filter(is_others).map(|entry| entry.path()).collect(),
            // The first merge makes it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut swept = Swept::default();
        if others.is_empty() {
            return Ok(swept);
        }
        let now = disk::now(&self.all)?;
        for folder in others {
            match sweep(&folder, now) {
                Ok(more) => swept += more,
                Err(error) => warn!(folder = %folder.display(), %error, "what merges have left stays behind"),
            }
        }
        Ok(swept)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into()))
}

/// Clears away what was left in the folder of a node, and the folder, unless that node is at work.
fn sweep(folder: &Path, now: SystemTime) -> io::Result<Swept> {
    let is_idle = is_idle(folder, now)?;
    let mut swept = Swept::default();
    for entry in disk::entries(folder)? {
        if is_untouched(&entry.path(), now)? {
            swept += disk::clear_away(&entry.path())?;
        }
    }
    if is_idle {
        // One in which somebody works is not empty.
        let _ = fs::remove_dir(folder);
    }
    Ok(swept)
}

/// Whether nothing in a folder was touched for long.
fn is_untouched(path: &Path, now: SystemTime) -> io::Result<bool> {
    if !is_idle(path, now)? {
        return Ok(false);
    }
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in disk::entries(path)? {
            if !is_untouched(&entry.path(), now)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn is_idle(path: &Path, now: SystemTime) -> io::Result<bool> {
    Ok(disk::age(path, now)?.is_some_and(|age| age > LEFT_ALONE))
}
