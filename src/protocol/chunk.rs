//! A chunk on its way: the 20 bytes in front of an `indexed` one, and what is noted of each.
//!
//! ```text
//!  0    2       3       4       8           12        16          20
//!  "GR" version flags   index   timecode ms length    CRC-32C     payload …     (big-endian)
//! ```
//! A chunk is one piece of what a recorder made; its borders mean nothing. Whether it begins a segment is said by its
//! flag *and* its first bytes: either alone may lie, as a frame of video may hold any bytes.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Code, Refusal, limits};

/// Bytes in front of the payload.
pub const HEADER_BYTES: usize = 20;
const MAGIC: [u8; 2] = *b"GR";
const VERSION: u8 = 1;
const BEGINS_SEGMENT: u8 = 1;

/// A chunk's place in its recording, from 0, running on over segments; below [`limits::CHUNKS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChunkIndex(u32);

impl ChunkIndex {
    /// Checks the bound.
    ///
    /// # Errors
    /// [`Code::IndexOutOfRange`].
    pub fn new(index: u32) -> Result<Self, Refusal> {
        if index < limits::CHUNKS_MAX { Ok(Self(index)) } else { Err(Code::IndexOutOfRange.into()) }
    }

    /// As a number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ChunkIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is noted of a chunk that is stored. Two chunks with the same mark are taken for the same (L-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChunkMark {
    /// Of the payload. Unit: bytes.
    pub length: u32,
    /// CRC-32C of the payload (RFC 9260, appendix A).
    pub crc: u32,
    /// Whether a segment begins with it.
    pub begins_segment: bool,
    /// Time of its making since its segment began, where the recorder said it. Unit: milliseconds.
    pub timecode_ms: Option<u32>,
}

impl ChunkMark {
    /// Of a place that is kept empty: of a number that was given out and whose chunk never came. No chunk of a recorder is
    /// empty.
    pub const VOID: Self = Self { length: 0, crc: 0, begins_segment: false, timecode_ms: None };

    /// Whether it says that nothing is there, nor ever will be.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.same_bytes(&Self::VOID)
    }

    /// Whether the two stand for the same bytes.
    #[must_use]
    pub fn same_bytes(&self, other: &Self) -> bool {
        (self.length, self.crc) == (other.length, other.crc)
    }
}

/// A whole chunk whose bytes are what its recorder sent.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// What is noted of it.
    pub mark: ChunkMark,
    /// The recorder's bytes.
    pub payload: Bytes,
}

impl Chunk {
    /// A chunk of which nothing is known but its bytes: it begins a segment if they begin like one.
    ///
    /// # Errors
    /// [`Code::EmptyChunk`], [`Code::TooLarge`].
    pub fn raw(payload: Bytes) -> Result<Self, Refusal> {
        let begins_segment = begins_like_media(&payload) == Some(true);
        Self::new(payload, begins_segment, None)
    }

    /// A chunk of which its recorder has said whether it begins a segment, and when it was made.
    ///
    /// # Errors
    /// [`Code::EmptyChunk`], [`Code::TooLarge`].
    pub fn described(
        payload: Bytes,
        begins_segment: Option<bool>,
        timecode_ms: Option<u32>,
    ) -> Result<Self, Refusal> {
        let like_media = begins_like_media(&payload);
        // The first piece of a segment may be a single byte: then, as far as it goes, the flag is believed.
        let begins = match begins_segment {
            Some(said) => said && like_media != Some(false),
            None => like_media == Some(true),
        };
        Self::new(payload, begins, timecode_ms)
    }

    fn new(payload: Bytes, begins_segment: bool, timecode_ms: Option<u32>) -> Result<Self, Refusal> {
        if payload.is_empty() {
            return Err(Code::EmptyChunk.into());
        }
        let length = u32::try_from(payload.len()).map_err(|_| Refusal::from(Code::TooLarge))?;
        let crc = crc32c::crc32c(&payload);
        Ok(Self { mark: ChunkMark { length, crc, begins_segment, timecode_ms }, payload })
    }

    /// Checks a checksum that came beside the bytes.
    ///
    /// # Errors
    /// [`Code::ChecksumWrong`].
    pub fn check(self, crc: u32) -> Result<Self, Refusal> {
        if self.mark.crc == crc { Ok(self) } else { Err(Code::ChecksumWrong.into()) }
    }

    /// Refuses what cannot be the beginning of a recording.
    ///
    /// # Errors
    /// [`Code::NotMedia`].
    pub fn check_first(&self) -> Result<(), Refusal> {
        match begins_like_media(&self.payload) {
            Some(false) => Err(Code::NotMedia.into()),
            // A few bytes of a header cannot be judged; the rest of it will be, when it is merged.
            Some(true) | None => Ok(()),
        }
    }
}

/// A frame of `indexed` framing: the chunk and the place its recorder gave it.
#[derive(Debug, Clone)]
pub struct ChunkFrame {
    /// Its place.
    pub index: ChunkIndex,
    /// The chunk.
    pub chunk: Chunk,
}

/// A refused frame, with its index where that much could be read.
#[derive(Debug)]
pub struct RefusedFrame {
    /// What the frame says of its place.
    pub index: Option<u32>,
    /// What to answer.
    pub refusal: Refusal,
}

impl ChunkFrame {
    /// Reads a frame. Never panics, whatever the bytes, and keeps nothing of what it refuses.
    ///
    /// # Errors
    /// [`Code::BadChunk`] where the header is wrong or its length is not the payload's, [`Code::ChecksumWrong`],
    /// [`Code::EmptyChunk`], [`Code::IndexOutOfRange`], [`Code::TooLarge`].
    pub fn parse(frame: &Bytes) -> Result<Self, RefusedFrame> {
        let Some(header) = frame.first_chunk::<HEADER_BYTES>() else {
            return Err(RefusedFrame { index: None, refusal: bad("it is shorter than its header") });
        };
        if header[..2] != MAGIC || header[2] != VERSION {
            return Err(RefusedFrame {
                index: None,
                refusal: bad("it does not begin with \"GR\" and version 1"),
            });
        }
        let word =
            |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let index = word(4);
        let payload = frame.slice(HEADER_BYTES..);
        let read = || {
            let place = ChunkIndex::new(index)?;
            if u32::try_from(payload.len()) != Ok(word(12)) {
                return Err(bad("its length is not that of its payload"));
            }
            if payload.len() > limits::CHUNK_BYTES_MAX {
                return Err(Code::TooLarge.into());
            }
            let begins_segment = header[3] & BEGINS_SEGMENT != 0;
            let chunk = Chunk::described(payload, Some(begins_segment), Some(word(8)))?.check(word(16))?;
            Ok(Self { index: place, chunk })
        };
        read().map_err(|refusal| RefusedFrame { index: Some(index), refusal })
    }

    /// Writes a frame, as a recorder does.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mark = self.chunk.mark;
        let mut frame = Vec::with_capacity(HEADER_BYTES + self.chunk.payload.len());
        frame.extend_from_slice(&MAGIC);
        frame.extend_from_slice(&[VERSION, u8::from(mark.begins_segment)]);
        for word in [self.index.get(), mark.timecode_ms.unwrap_or(0), mark.length, mark.crc] {
            frame.extend_from_slice(&word.to_be_bytes());
        }
        frame.extend_from_slice(&self.chunk.payload);
        frame
    }
}

fn bad(what: &'static str) -> Refusal {
    Refusal::because(Code::BadChunk, what)
}

/// Whether bytes begin like WebM and Matroska (an EBML header, RFC 8794 §11.2.1) or MP4 (an `ftyp` box, ISO/IEC
/// 14496-12 §4.3). `None`: as far as they go they might.
#[must_use]
pub fn begins_like_media(bytes: &[u8]) -> Option<bool> {
    const EBML: [u8; 4] = [0x1A, 0x45, 0xDF, 0xA3];
    const FTYP: [u8; 4] = *b"ftyp";
    let agree = |bytes: &[u8], magic: [u8; 4]| bytes.iter().zip(magic).all(|(&byte, wanted)| byte == wanted);
    let box_name = bytes.get(4..).unwrap_or_default();
    if agree(bytes, EBML) {
        return if bytes.len() < EBML.len() { None } else { Some(true) };
    }
    if agree(box_name, FTYP) {
        return if box_name.len() < FTYP.len() { None } else { Some(true) };
    }
    Some(false)
}

#[cfg(test)]
#[path = "chunk_tests.rs"]
mod tests;
