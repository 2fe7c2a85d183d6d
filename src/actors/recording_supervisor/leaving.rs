//! Files of recordings that were taken away: they go after the answer, a few recordings at a time.

use std::{collections::HashMap, sync::Arc};

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::RecordingSupervisor;
use crate::{
    adapters::{
        crash,
        ports::{Remains, StoreError},
    },
    protocol::{Fence, RecordId},
};

/// Recordings whose files go at one time: the stores have other work too.
const AT_ONCE: usize = 2;
/// Most whose files wait for that here. Those of more are left to the stores' sweeps.
const MAX: usize = 256;

/// What is left of a recording that was taken away.
pub(super) struct Left {
    pub(super) remains: Remains,
    /// A merge that was under way may still store a video, under a claim below this. `None`: there was no account.
    pub(super) below: Option<Fence>,
}

/// Recordings whose files go, or wait for that, on this node.
pub(super) struct Leaving {
    /// How many of each name.
    names: HashMap<RecordId, usize>,
    turns: Arc<Semaphore>,
}

impl Default for Leaving {
    fn default() -> Self {
        Self { names: HashMap::new(), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Leaving {
    pub(super) fn has(&self, id: &RecordId) -> bool {
        self.names.contains_key(id)
    }

    /// `false`: there are too many already.
    fn enter(&mut self, id: &RecordId) -> bool {
        let has_room = self.names.values().sum::<usize>() < MAX;
        if has_room {
            *self.names.entry(id.clone()).or_default() += 1;
        }
        has_room
    }

    fn leave(&mut self, id: &RecordId) {
        if let Some(count) = self.names.get_mut(id) {
            *count -= 1;
            if *count == 0 {
                self.names.remove(id);
            }
        }
    }
}

impl RecordingSupervisor {
    /// Clears away what is left of a recording. Nobody waits for it, a node that ends neither: what it leaves is swept.
    pub(super) fn clear_away(&mut self, id: &RecordId, left: Left, ctx: &mut Context<Self>) {
        if !self.leaving.enter(id) {
            info!(recording = %id, "its files are left to the sweep");
            return;
        }
        let (ports, gates, turns) =
            (self.ports.clone(), self.links.gates.clone(), self.leaving.turns.clone());
        let named = id.clone();
        let cleared = async move {
            crash::point("remove.begun");
            // Never closed.
            let turn = turns.acquire_owned().await;
            let chunks = left.remains.clear().await;
            drop(turn);
            let Some(below) = left.below else { return chunks };
            // Whoever was on its way with something of it is through. The name may be another's by now: not its videos.
            drop(gates.close(&named).await);
            ports.delete_videos(&named, |key| key.fence() < below).await?;
            chunks
        };
        let id = id.clone();
        ctx.spawn(cleared.into_actor(self).map(move |cleared: Result<(), StoreError>, supervisor, _| {
            supervisor.leaving.leave(&id);
            if let Err(error) = cleared {
                warn!(recording = %id, %error, "files of a recording that is gone stay behind until they are swept");
                supervisor.metrics.cleanups.with_label_values(&["failed"]).inc();
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_wait_and_no_more_and_one_name_may_leave_twice() {
        let id = |name: usize| RecordId::parse(&format!("talk-{name}")).expect("valid");
        let mut leaving = Leaving::default();
        assert!(leaving.enter(&id(0)) && leaving.enter(&id(0)));
        leaving.leave(&id(0));
        assert!(leaving.has(&id(0)), "the other one is still there");
        assert!((1..MAX).all(|name| leaving.enter(&id(name))));
        assert!(!leaving.enter(&id(MAX)));
        assert!(!leaving.has(&id(MAX)));
        leaving.leave(&id(0));
        assert!(!leaving.has(&id(0)));
        assert!(leaving.enter(&id(MAX)));
    }
}
