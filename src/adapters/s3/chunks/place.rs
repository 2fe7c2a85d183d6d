//! How a chunk gets its place, and what is noted of it.

use bytes::Bytes;
use object_store::{Attribute, Attributes};
use uuid::Uuid;

use super::{
    super::{
        super::chunk_store::names::{Name, whose},
        bucket::{Bucket, Tag},
        trouble::Trouble,
    },
    home::Home,
    manifests::Manifests,
    no_recording,
};
use crate::{
    adapters::{
        crash,
        ports::{Committed, RecordingRef},
    },
    protocol::chunk::{ChunkIndex, ChunkMark},
};

/// Metadata: the mark, as the name of its object says it.
const MARK: &str = "mark";
/// Metadata: who wrote it, so that a write whose answer was lost is known again.
const WRITER: &str = "writer";
/// How often a commit begins anew because what had the place has changed meanwhile.
const TRIES: u32 = 8;

/// The name of a chunk's object.
pub(super) fn chunk(home: &Home, index: ChunkIndex) -> String {
    home.object(&Name::Chunk(index).to_text())
}

/// What is noted of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    /// For which recording of its name.
    pub(super) whose: String,
    pub(super) index: ChunkIndex,
    pub(super) mark: ChunkMark,
}

impl Note {
    /// `mark_<index>_<length>_<crc>_<begins>_<timecode>_<whose>`.
    pub(super) fn to_text(&self) -> String {
        format!("{}_{}", Name::Mark(self.index, self.mark).to_text(), self.whose)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, whose) = text.rsplit_once('_')?;
        match Name::parse(name.as_ref())? {
            Name::Mark(index, mark) => Some(Self { whose: whose.to_owned(), index, mark }),
            Name::Chunk(_) => None,
        }
    }
}

/// What has a place.
pub(super) struct Stands {
    /// Nothing is noted of what somebody else has put there.
    pub(super) note: Option<Note>,
    writer: Option<String>,
    tag: Option<Tag>,
}

impl Stands {
    /// `None`: the place is empty.
    pub(super) async fn at(bucket: &Bucket, home: &Home, index: ChunkIndex) -> Result<Option<Self>, Trouble> {
        let found = match bucket.look(&chunk(home, index)).await {
            Err(Trouble::Missing(_)) => return Ok(None),
            found => found?,
        };
        let metadata = |name: &'static str| {
            found.attributes.get(&Attribute::Metadata(name.into())).map(|value| value.as_ref().to_owned())
        };
        let note = metadata(MARK).as_deref().and_then(Note::parse);
        Ok(Some(Self { note, writer: metadata(WRITER), tag: found.meta.e_tag.clone().map(Tag) }))
    }
}

/// A chunk in memory that looks for its place.
pub(super) struct Place {
    recording: RecordingRef,
    home: Home,
    writer: String,
    payload: Bytes,
}

impl Place {
    pub(super) fn new(recording: RecordingRef, home: Home, payload: Bytes) -> Self {
        Self { recording, home, writer: Uuid::new_v4().simple().to_string(), payload }
    }

    /// Takes it, unless another chunk of this recording has it. Can be done again after any failure, and again after it was
    /// done.
    pub(super) async fn take(
        &self,
        bucket: &Bucket,
        index: ChunkIndex,
        mark: ChunkMark,
    ) -> Result<Committed, Trouble> {
        let note = Note { whose: whose(&self.recording.token), index, mark };
        // The note first: whatever has a place has one then, for whoever lists.
        let noted = self.noted(&note);
        let noted = bucket.put(&noted, Bytes::new(), Attributes::new());
        let (is_there, noted) = futures_util::join!(self.is_there(bucket), noted);
        noted?;
        if !is_there? {
            self.forget(bucket, &note).await;
            return Err(no_recording(&self.recording.id));
        }
        crash::point("bucket.noted");
        let name = chunk(&self.home, index);
        let mut instead_of: Option<Tag> = None;
        for _ in 0..TRIES {
            let (payload, about) = (self.payload.clone(), self.about(&note));
            let written = match instead_of.take() {
                None => bucket.create(&name, payload, about).await,
                Some(tag) => bucket.replace(&name, &tag, payload, about).await,
            };
            match written {
                Ok(()) => {
                    crash::point("bucket.placed");
                    return Ok(Committed::Stored);
                }
                Err(Trouble::Taken(_)) => {}
                Err(other) => return Err(other),
            }
            // It went away meanwhile, or the server was busy with another write.
            let Some(stands) = Stands::at(bucket, &self.home, index).await? else { continue };
            if stands.writer.as_ref() == Some(&self.writer) {
                return Ok(Committed::Stored);
            }
            match stands.note {
                Some(other) if other.whose == note.whose => {
                    if other != note {
                        self.forget(bucket, &note).await;
                    }
                    return Ok(Committed::Taken(other.mark));
                }
                // It was written for a recording that is gone, by somebody who came too late.
                Some(_) => instead_of = stands.tag,
                None => return Err(Trouble::Unexpected(format!("{name} is none of ours"))),
            }
        }
        Err(Trouble::Busy("others' work on the same place came between too often".to_owned()))
    }

    async fn is_there(&self, bucket: &Bucket) -> Result<bool, Trouble> {
        let kept = Manifests(bucket).read(&self.recording.id).await?;
        Ok(kept.is_some_and(|kept| kept.manifest.token.matches(&self.recording.token)))
    }

    fn noted(&self, note: &Note) -> String {
        self.home.object(&note.to_text())
    }

    fn about(&self, note: &Note) -> Attributes {
        let metadata = [(MARK, note.to_text()), (WRITER, self.writer.clone())];
        Attributes::from_iter(metadata.map(|(name, value)| (Attribute::Metadata(name.into()), value)))
    }

    /// A note that stays costs whoever lists one more question.
    async fn forget(&self, bucket: &Bucket, note: &Note) {
        if let Err(error) = bucket.delete(&self.noted(note)).await {
            tracing::debug!(recording = %self.recording.id, %error, "a note of a chunk that has no place stays");
        }
    }
}
