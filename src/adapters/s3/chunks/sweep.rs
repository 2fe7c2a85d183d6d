//! Clears away what was left: by a delete whose node died, by chunks that came after one, and by beginnings that came to nothing.
//!
//! Chunks whose manifest is lost are none of that: who knows of them is asked by whoever keeps house.

use std::time::SystemTime;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::ObjectMeta;

use super::{
    super::{
        super::disk::LEFT_BEHIND,
        bucket::{self, Bucket},
        trouble::Trouble,
    },
    manifests::{self, Known, LOOKS_AT_ONCE, Manifests},
};
use crate::{adapters::ports::Swept, protocol::RecordId};

/// Everything that nobody can be at work on any more, by the server's clock.
pub(super) async fn sweep(bucket: &Bucket) -> Result<Swept, Trouble> {
    let now = bucket.now().await?;
    let names = Manifests(bucket).names().await?;
    let swept = names.into_iter().map(|id| async move { sweep_name(bucket, &id, now).await });
    let add = |mut all, more| async move {
        all += more;
        Ok(all)
    };
    stream::iter(swept).buffer_unordered(LOOKS_AT_ONCE).try_fold(Swept::default(), add).await
}

/// What is below a name.
async fn sweep_name(bucket: &Bucket, id: &RecordId, now: SystemTime) -> Result<Swept, Trouble> {
    let manifests = Manifests(bucket);
    let is_old = |object: &ObjectMeta| bucket::age(object, now) > LEFT_BEHIND;
    let stands = manifests.meta(id).await?;
    if stands.as_ref().is_some_and(manifests::is_manifest) {
        return Ok(Swept::default());
    }
    let cleared = match (stands, manifests.look(id).await?) {
        (Some(word), Known::Deleting(home, tag)) if is_old(&word) => manifests.clear(id, &home, &tag).await?,
        _ => manifests.clear_late(id, is_old).await?,
    };
    let bytes = cleared.iter().map(|object| object.size).sum();
    Ok(Swept { count: cleared.len() as u64, bytes })
}
