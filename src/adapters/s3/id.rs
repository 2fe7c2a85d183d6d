//! The name that a bucket has for itself, below its prefix.

use std::sync::Arc;

use object_store::Attributes;

use super::{bucket::Bucket, trouble::Trouble};
use crate::adapters::{
    ports::{PortFuture, StoreError},
    store_id,
};

/// Longest that one is. Unit: bytes.
const LONGEST: usize = 64;

impl Bucket {
    /// The name by which nodes can tell whether they share the bucket, given now if it has none.
    pub fn id(self: &Arc<Self>) -> PortFuture<Result<String, StoreError>> {
        let found = self.finish(|bucket| async move { read_or_give(&bucket).await });
        Box::pin(async move { found.await.map_err(StoreError::from) })
    }
}

async fn read_or_give(bucket: &Bucket) -> Result<String, Trouble> {
    match read(bucket).await {
        Err(Trouble::Missing(_)) => {}
        read => return read,
    }
    match bucket.create(store_id::NAME, store_id::new().into(), Attributes::new()).await {
        // Another node may have been first.
        Ok(()) | Err(Trouble::Taken(_)) => read(bucket).await,
        Err(other) => Err(other),
    }
}

async fn read(bucket: &Bucket) -> Result<String, Trouble> {
    let object = bucket.read(store_id::NAME, LONGEST).await?;
    Ok(String::from_utf8_lossy(&object.bytes).into_owned())
}
