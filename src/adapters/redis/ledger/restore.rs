//! Putting an account back from the chunk store.

use super::{
    super::{scripts, trouble::Trouble},
    Work,
    answer::{Answer, put_manifest},
    chunks::mark_text,
};
use crate::{adapters::ports::StoredChunk, domain::recording::Manifest};

/// Chunks that one call brings: it holds up everybody else's.
pub const CHUNKS_AT_ONCE: usize = 500;

impl Work {
    /// Several may do it at one time, and chunks may be noted meanwhile: every call only adds. An account that was not there is
    /// unknown until the last of them; should that not come, whoever does it next begins where it was left.
    pub async fn restore(&self, manifest: Manifest, chunks: Vec<StoredChunk>) -> Result<(), Trouble> {
        let id = manifest.record_id.clone();
        // Where it is due at once, that is told at the end.
        self.enter_active(&id, self.idle_ms).await?;
        self.enter((&manifest).into(), manifest.fence).await?;
        let mut left = chunks.as_slice();
        let mut added = false;
        loop {
            let (now, later) = left.split_at(left.len().min(CHUNKS_AT_ONCE));
            left = later;
            let question = self.on(&scripts::RECORDING_RESTORE, &id, |call| {
                call.arg(u8::from(left.is_empty())).arg(u8::from(added));
                put_manifest(call, manifest.clone());
                for chunk in now {
                    call.arg(chunk.index.get()).arg(mark_text(&chunk.mark));
                }
            });
            let mut answer = Answer::of(self.store.ask_ledger(question).await?)?;
            match answer.take::<String>()?.as_str() {
                "more" => added = answer.take()?,
                "" => {
                    let (due_ms, manifest) = (answer.number()?, answer.manifest()?);
                    self.due_sooner(&id, due_ms).await;
                    self.align(&manifest).await;
                    return Ok(());
                }
                // Another recording has the name, or its chunks are gone: nothing was changed, and the entries are as it says.
                _ => {
                    self.align_lost(&manifest).await;
                    self.due_sooner(&id, Some(0)).await;
                    return Ok(());
                }
            }
        }
    }
}
