//! What is left to other nodes: by one that is going away, by one that does not keep recordings where they do, and what was
//! stopped here and followed there.

use std::time::Duration;

use actix::Context;

use super::RecordingSupervisor;
use crate::{
    actors::{
        mailbox::{Mailbox, post},
        messages::{RecordingEnded, RecordingStopped},
    },
    adapters::ports::{ClaimEnd, RecordingRef},
    domain::recording::Manifest,
    protocol::{Code, Fence, RecordId},
};

/// Recordings that this node was told of and that wait for a place.
const WANTED_MAX: usize = 1024;

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

    /// It was stopped by way of this node. Whoever has followed it claims it at once; should they not, a sweep finds it due. Of one without
    /// a chunk there is nothing to follow, and once it is cleared away nobody else could tell its recorder why.
    pub(super) fn was_stopped(&mut self, manifest: &Manifest, chunks: u32, ctx: &mut Context<Self>) {
        if self.config.clustered && chunks > 0 {
            let stopped = RecordingStopped { recording: RecordingRef::of(manifest) };
            if post(&self.links.stopped, Mailbox::AssemblyWorker, &self.metrics, stopped).is_ok() {
                return;
            }
        }
        self.want(manifest.record_id.clone(), ctx);
    }

    /// This node has come to an end with it. Where its recorder's socket is at another one, that looks at once; should it not hear of it,
    /// it does so in a moment all the same. A socket that is known here may be one that was left.
    pub(super) fn tell_other_nodes(&self, id: &RecordId) {
        if self.config.clustered {
            let ended = RecordingEnded { id: id.clone() };
            let _ = post(&self.links.ended, Mailbox::AssemblyWorker, &self.metrics, ended);
        }
    }

    /// Of all nodes this one had better make it, once it is due.
    pub(super) fn want(&mut self, id: RecordId, ctx: &mut Context<Self>) {
        // Of those beyond, sweeps find what is due.
        if self.wanted.len() < WANTED_MAX && !self.wanted.contains(&id) {
            self.wanted.push_back(id);
        }
        self.sweep(ctx);
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

#[cfg(test)]
#[path = "others_tests.rs"]
mod tests;
