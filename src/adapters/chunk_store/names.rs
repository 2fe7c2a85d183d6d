//! What files in a recording's folder are called, or objects in its place in a bucket, and what their names say.

use std::{ffi::OsStr, fmt::Write as _};

use crate::protocol::{
    TokenDigest,
    chunk::{ChunkIndex, ChunkMark},
};

/// Holds what was known of the recording as a whole when it began.
pub(super) const MANIFEST: &str = "manifest.json";

/// The folder of what was known of it later.
pub(super) const REVISIONS: &str = "revisions";

/// What was known of it at this revision.
pub(super) fn revision(number: u64) -> String {
    format!("{number:020}.json")
}

const CHUNK: &str = "chunk_";
const MARK: &str = "mark_";

/// Tells one recording from another of the same name: the beginning of its token's digest.
pub(in crate::adapters) fn whose(token: &TokenDigest) -> String {
    const DIGITS: usize = 16;
    let mut digits = token.to_hex();
    digits.truncate(DIGITS);
    digits
}

/// What a file is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::adapters) enum Name {
    /// A chunk in its place.
    Chunk(ChunkIndex),
    /// What was noted of a chunk that was meant for this place.
    Mark(ChunkIndex, ChunkMark),
}

impl Name {
    /// Reads a name; `None` for whatever was not put there by this store.
    pub(in crate::adapters) fn parse(name: &OsStr) -> Option<Self> {
        let text = name.to_str()?;
        let read = match text.strip_prefix(CHUNK) {
            Some(digits) => Self::Chunk(index(digits)?),
            None => parse_mark(text.strip_prefix(MARK)?)?,
        };
        // One spelling only: a name with other zeros or a sign is not ours.
        (read.to_text() == text).then_some(read)
    }

    /// `chunk_<index>`, or `mark_<index>_<length>_<crc>_<1 where a segment begins, else 0>_<timecode or ->`.
    pub(in crate::adapters) fn to_text(self) -> String {
        match self {
            Self::Chunk(index) => format!("{CHUNK}{:08}", index.get()),
            Self::Mark(index, mark) => {
                let begins = u8::from(mark.begins_segment);
                let mut text = format!("{MARK}{:08}_{}_{:08x}_{begins}_", index.get(), mark.length, mark.crc);
                match mark.timecode_ms {
                    Some(timecode) => {
                        let _ = write!(text, "{timecode}");
                    }
                    None => text.push('-'),
                }
                text
            }
        }
    }
}

fn index(digits: &str) -> Option<ChunkIndex> {
    ChunkIndex::new(digits.parse().ok()?).ok()
}

fn parse_mark(text: &str) -> Option<Name> {
    let parts: Vec<_> = text.split('_').collect();
    let [place, length, crc, begins, timecode] = *parts.as_slice() else {
        return None;
    };
    let mark = ChunkMark {
        length: length.parse().ok()?,
        crc: u32::from_str_radix(crc, 16).ok()?,
        begins_segment: begins == "1",
        timecode_ms: if timecode == "-" { None } else { Some(timecode.parse().ok()?) },
    };
    Some(Name::Mark(index(place)?, mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Name> {
        Name::parse(OsStr::new(text))
    }

    #[test]
    fn a_name_says_what_was_put_into_it() {
        let index = ChunkIndex::new(10).expect("in bounds");
        for (begins_segment, timecode_ms) in [(true, None), (false, Some(0)), (false, Some(u32::MAX))] {
            let mark = ChunkMark { length: u32::MAX, crc: 0xab, begins_segment, timecode_ms };
            let name = Name::Mark(index, mark);
            assert_eq!(parse(&name.to_text()), Some(name));
        }
        assert_eq!(parse("chunk_00000010"), Some(Name::Chunk(index)));
        assert_eq!(Name::Chunk(index).to_text(), "chunk_00000010");
    }

    #[test]
    fn foreign_names_are_no_chunks() {
        for foreign in [
            "chunk_10",
            "chunk_000000010",
            "chunk_+0000010",
            "chunk_99999999",
            "chunk_0000001x",
            "chunk_00000010.webm",
            "Chunk_00000010",
            "mark_00000010",
            "mark_00000010_5_000000AB_1_-",
            "mark_00000010_5_000000ab_2_-",
            "mark_00000010_05_000000ab_1_-",
            "mark_00000010_5_000000ab_1_-_",
            "mark_00000010_4294967296_000000ab_1_-",
            "manifest.json",
            ".partial-00",
            "",
        ] {
            assert_eq!(parse(foreign), None, "{foreign:?}");
        }
    }
}
