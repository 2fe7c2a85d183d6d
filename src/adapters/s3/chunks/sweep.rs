//! Clears away what was left: by a delete whose node died, and by chunks that came after one.

use std::{
    collections::HashSet,
    ops::ControlFlow,
    time::{Duration, SystemTime},
};

use object_store::ObjectMeta;

use super::{
    super::{
        super::disk::LEFT_BEHIND,
        bucket::{self, Bucket, DELETED_AT_ONCE},
        trouble::Trouble,
    },
    manifests::{self, Known, Manifests},
};
use crate::{adapters::ports::Swept, protocol::RecordId};

/// How long the empty object in a manifest's place stays, so that whoever comes late finds the name closed.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// Everything that nobody can be at work on any more, by the server's clock.
pub(super) async fn sweep(bucket: &Bucket) -> Result<Swept, Trouble> {
    let now = bucket.now().await?;
    let (mut live, mut ended) = (HashSet::new(), Vec::new());
    let each = |object| {
        match manifests::record_id(&object) {
            Some(id) if manifests::is_manifest(&object) => _ = live.insert(id),
            Some(id) => ended.push((id, bucket::age(&object, now))),
            None => {}
        }
        ControlFlow::Continue(())
    };
    Manifests(bucket).walk(each).await?;

    let mut swept = Swept::default();
    for id in orphans(bucket).await?.difference(&live) {
        swept += sweep_orphan(bucket, id, now).await?;
    }
    for (id, age) in ended {
        swept += sweep_ended(bucket, &id, age).await?;
    }
    Ok(swept)
}

/// Every recording that has chunks.
async fn orphans(bucket: &Bucket) -> Result<HashSet<RecordId>, Trouble> {
    let folders = bucket.folders("chunks").await?;
    Ok(folders.iter().filter_map(|folder| RecordId::parse(folder.filename()?).ok()).collect())
}

/// Chunks without a recording.
async fn sweep_orphan(bucket: &Bucket, id: &RecordId, now: SystemTime) -> Result<Swept, Trouble> {
    let mut left = Vec::new();
    let each = |object| {
        if bucket::age(&object, now) > LEFT_BEHIND {
            left.push(object);
        }
        if left.len() < DELETED_AT_ONCE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    bucket.walk(&manifests::folder_of_all(id), None, each).await?;
    // The name may have been taken since the listing; one that is being taken away is cleared otherwise.
    match Manifests(bucket).look(id).await? {
        Known::Nothing | Known::Gone(_) if !left.is_empty() => {}
        _ => return Ok(Swept::default()),
    }
    bucket.delete_all(left.iter().map(|object| object.location.clone()).collect()).await?;
    Ok(counted(&left))
}

/// What stands in the place of a manifest.
async fn sweep_ended(bucket: &Bucket, id: &RecordId, age: Duration) -> Result<Swept, Trouble> {
    let manifests = Manifests(bucket);
    match manifests.look(id).await? {
        Known::Deleting(home, tag) if age > LEFT_BEHIND => {
            Ok(counted(&manifests.clear(id, &home, &tag).await?))
        }
        Known::Gone(_) if age > REMEMBERED => {
            bucket.delete(&manifests::name(id)).await?;
            Ok(Swept { count: 1, bytes: 0 })
        }
        _ => Ok(Swept::default()),
    }
}

fn counted(objects: &[ObjectMeta]) -> Swept {
    let bytes = objects.iter().map(|object| object.size).sum();
    Swept { count: objects.len() as u64, bytes }
}
