//! Where chunks are: those of the first recording of a name in `chunks/<recordId>/`, those of each later one in a folder below it.

use std::ops::ControlFlow;

use object_store::ObjectMeta;

use super::super::{super::chunk_store::names::Name, bucket::Bucket, trouble::Trouble};
use crate::protocol::RecordId;

pub(super) const CHUNKS: &str = "chunks";
/// For a folder: all that is below the name. No folder is called so.
pub(super) const EVERYTHING: &str = "*";

/// Where the chunks of one recording are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Home {
    folder: String,
    /// Whether folders below it belong to it.
    pub(super) with_all_below: bool,
}

impl Home {
    pub(super) fn new(id: &RecordId, folder: Option<&str>) -> Self {
        let all = format!("{CHUNKS}/{id}/");
        match folder {
            None => Self { folder: all, with_all_below: false },
            Some(EVERYTHING) => Self { folder: all, with_all_below: true },
            Some(folder) => Self { folder: format!("{all}{folder}/"), with_all_below: false },
        }
    }

    /// The one in which an object of this name is.
    pub(super) fn of(bucket: &Bucket, id: &RecordId, object: &ObjectMeta) -> Self {
        let all = bucket.key(&Self::all(id).folder);
        let mut path = object.location.prefix_match(&all).into_iter().flatten();
        let first = path.next().map(|part| part.as_ref().to_owned());
        Self::new(id, first.filter(|_| path.next().is_some()).as_deref())
    }

    /// Everything of a name but the manifest.
    pub(super) fn all(id: &RecordId) -> Self {
        Self::new(id, Some(EVERYTHING))
    }

    /// The object of this name in it.
    pub(super) fn object(&self, name: &str) -> String {
        format!("{}{name}", self.folder)
    }

    /// Everything that is in it, until `each` has enough.
    pub(super) async fn walk(
        &self,
        bucket: &Bucket,
        mut each: impl FnMut(ObjectMeta) -> ControlFlow<()>,
    ) -> Result<(), Trouble> {
        let mine = bucket.key(&self.folder);
        let each = |object: ObjectMeta| {
            let direct = object.location.prefix_match(&mine).is_some_and(|rest| rest.count() == 1);
            if direct || self.with_all_below { each(object) } else { ControlFlow::Continue(()) }
        };
        bucket.walk(&self.folder, None, each).await
    }
}

/// Whether an object is one by its name, and not what is noted beside it.
pub(super) fn is_chunk(object: &ObjectMeta) -> bool {
    let name = object.location.filename().and_then(|name| Name::parse(name.as_ref()));
    matches!(name, Some(Name::Chunk(_)))
}
