//! Whether this node keeps recordings where the other nodes of its cluster do.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::StoreError;

/// Whether the stores of this node are those of the other nodes. While they are not, or that is not known yet, it takes no
/// part in recordings: what the others have it would take for deleted, and what it took nobody else would find. Clones share
/// what is known.
#[derive(Debug, Clone)]
pub struct SameStores(Arc<AtomicBool>);

impl SameStores {
    /// Of a node that is alone.
    #[must_use]
    pub fn alone() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    /// Of a node that has not heard yet where the others keep recordings.
    #[must_use]
    pub fn unknown() -> Self {
        Self(Arc::new(AtomicBool::new(false)))
    }

    /// Whether they are.
    #[must_use]
    pub fn are_same(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// They turned out to be so, or not.
    pub fn set(&self, are_same: bool) {
        self.0.store(are_same, Ordering::Release);
    }

    /// For whatever may be done only if they are.
    ///
    /// # Errors
    /// They are not.
    pub fn check(&self) -> Result<(), StoreError> {
        if self.are_same() {
            return Ok(());
        }
        Err(StoreError::Failed("this node does not keep recordings where the other nodes do".to_owned()))
    }
}
