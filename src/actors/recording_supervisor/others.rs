//! What is left to other nodes: by one that is going away, and by one that does not keep recordings where they do.

use std::time::Duration;

use actix::Context;

use super::RecordingSupervisor;
use crate::{
    adapters::ports::ClaimEnd,
    protocol::{Code, Fence},
};

impl RecordingSupervisor {
    /// The node is going away: recorders go on elsewhere, and what is due is for other nodes.
    pub(super) fn drain(&mut self, ctx: &mut Context<Self>) {
        self.draining = true;
        self.close_doors(Code::Draining);
        if self.config.clustered {
            self.give_back_merges(ctx);
        }
    }

    /// The other nodes keep recordings elsewhere: recorders go on with them, and so does what is due. Where recorders come to
    /// this node again they are refused.
    pub(super) fn leave_to_others(&mut self, ctx: &mut Context<Self>) {
        self.close_doors(Code::Draining);
        self.give_back_merges(ctx);
    }

    fn give_back_merges(&mut self, ctx: &mut Context<Self>) {
        let merging: Vec<_> =
            self.claims.values().filter(|held| held.merging).map(|held| held.manifest.clone()).collect();
        for manifest in merging {
            self.take_back_merge(&manifest.record_id, Fence(manifest.fence.0 + 1));
            self.settle(&manifest, ClaimEnd::TryAgain { pause: Duration::ZERO, fault: None }, ctx);
        }
    }
}
