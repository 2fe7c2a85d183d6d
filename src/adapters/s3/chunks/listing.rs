//! Which chunks a recording has, by the names of its objects; only where those leave a doubt is a chunk looked at.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::ControlFlow,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    super::{super::chunk_store::names::Name, bucket::Bucket, trouble::Trouble},
    manifests::{Found, LOOKS_AT_ONCE, Manifests},
    place::{Note, Stands},
};
use crate::{
    adapters::ports::StoredChunk,
    protocol::{
        RecordId,
        chunk::{ChunkIndex, ChunkMark},
    },
};

/// What names say of a place.
#[derive(Clone, Copy)]
struct Noted {
    is_taken: bool,
    /// The mark; `None`: there are several, or one of another recording.
    mark: Option<ChunkMark>,
    notes: u32,
}

/// Every chunk of a recording, in order; none where there is no such recording. Where its manifest is lost, no chunk is taken for
/// another's.
pub(super) async fn list(bucket: &Bucket, id: &RecordId) -> Result<Vec<StoredChunk>, Trouble> {
    let Some(Found { home, whose }) = Manifests(bucket).find(id).await? else { return Ok(vec![]) };
    let is_its_own = |note: &Note| whose.as_ref().is_none_or(|whose| note.whose == *whose);
    let mut places: BTreeMap<ChunkIndex, Noted> = BTreeMap::new();
    let each = |object: object_store::ObjectMeta| {
        if let Some(name) = object.location.filename() {
            note(&mut places, name, is_its_own);
        }
        ControlFlow::Continue(())
    };
    home.walk(bucket, each).await?;

    let taken = places.into_iter().filter(|(_, noted)| noted.is_taken);
    let chunks = taken.map(|(index, noted)| {
        let home = &home;
        async move {
            if let Noted { mark: Some(mark), notes: 1, .. } = noted {
                return Ok(Some(StoredChunk { index, mark }));
            }
            // What stands there says itself which of the notes is its own.
            let note = Stands::at(bucket, home, index).await?.and_then(|stands| stands.note);
            let mark = note.filter(is_its_own).map(|note| note.mark);
            Ok(mark.map(|mark| StoredChunk { index, mark }))
        }
    });
    stream::iter(chunks)
        .buffered(LOOKS_AT_ONCE)
        .try_filter_map(|chunk| async move { Ok(chunk) })
        .try_collect()
        .await
}

fn note(places: &mut BTreeMap<ChunkIndex, Noted>, name: &str, is_its_own: impl Fn(&Note) -> bool) {
    let (index, note) = match Name::parse(name.as_ref()) {
        Some(Name::Chunk(index)) => (index, None),
        _ => match Note::parse(name) {
            Some(note) => (note.index, Some(note)),
            None => return,
        },
    };
    let noted = match places.entry(index) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => entry.insert(Noted { is_taken: false, mark: None, notes: 0 }),
    };
    match note {
        None => noted.is_taken = true,
        Some(note) => {
            noted.notes += 1;
            noted.mark = is_its_own(&note).then_some(note.mark);
        }
    }
}
