//! Keeps what adds to a recording's chunks apart from what takes them away.
//!
//! A chunk on its way makes its folder where there is none; one that outlived an abort would leave it behind. So chunks
//! pass the gate of their recording side by side, and whoever takes a recording away waits until it has it alone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::protocol::RecordId;

/// Gates that may lie about unused before they are cleared away.
const UNUSED_MAX: usize = 1024;

/// The gates of all recordings. Cheap to clone: clones share them.
#[derive(Debug, Clone, Default)]
pub struct ChunkGates(Arc<Mutex<HashMap<RecordId, Weak<RwLock<()>>>>>);

impl ChunkGates {
    /// Passes with others; nothing is taken away until the guard is dropped.
    pub async fn pass(&self, id: &RecordId) -> OwnedRwLockReadGuard<()> {
        self.gate(id).read_owned().await
    }

    /// Waits for whoever is on its way, and keeps the others out until the guard is dropped.
    pub async fn close(&self, id: &RecordId) -> OwnedRwLockWriteGuard<()> {
        self.gate(id).write_owned().await
    }

    fn gate(&self, id: &RecordId) -> Arc<RwLock<()>> {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get(id).and_then(Weak::upgrade) {
            return gate;
        }
        if gates.len() >= UNUSED_MAX {
            gates.retain(|_, gate| gate.strong_count() > 0);
        }
        let gate = Arc::new(RwLock::new(()));
        gates.insert(id.clone(), Arc::downgrade(&gate));
        gate
    }
}
