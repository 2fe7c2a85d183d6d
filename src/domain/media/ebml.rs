//! EBML, the grammar under Matroska: numbers of variable length, element headers, and what a block begins with.
//! Source: RFC 8794 (EBML), RFC 9559 (Matroska).

use serde::{Deserialize, Serialize};

pub const EBML: u32 = 0x1a45_dfa3;
pub const EBML_VERSION: u32 = 0x4286;
pub const EBML_READ_VERSION: u32 = 0x42f7;
pub const DOC_TYPE_VERSION: u32 = 0x4287;
pub const DOC_TYPE_READ_VERSION: u32 = 0x4285;
pub const DOC_TYPE: u32 = 0x4282;
pub const MAX_ID_LENGTH: u32 = 0x42f2;
pub const MAX_SIZE_LENGTH: u32 = 0x42f3;
pub const SEGMENT: u32 = 0x1853_8067;
pub const SEEK_HEAD: u32 = 0x114d_9b74;
pub const SEEK: u32 = 0x4dbb;
pub const SEEK_ID: u32 = 0x53ab;
pub const SEEK_POSITION: u32 = 0x53ac;
pub const MUXING_APP: u32 = 0x4d80;
pub const WRITING_APP: u32 = 0x5741;
pub const INFO: u32 = 0x1549_a966;
pub const TIMESTAMP_SCALE: u32 = 0x2a_d7b1;
pub const DURATION: u32 = 0x4489;
pub const TRACKS: u32 = 0x1654_ae6b;
pub const TRACK_ENTRY: u32 = 0xae;
pub const TRACK_NUMBER: u32 = 0xd7;
pub const TRACK_TYPE: u32 = 0x83;
pub const CODEC_ID: u32 = 0x86;
pub const CODEC_PRIVATE: u32 = 0x63a2;
pub const DEFAULT_DURATION: u32 = 0x23_e383;
pub const CODEC_DELAY: u32 = 0x56aa;
pub const VIDEO: u32 = 0xe0;
pub const PIXEL_WIDTH: u32 = 0xb0;
pub const PIXEL_HEIGHT: u32 = 0xba;
pub const ALPHA_MODE: u32 = 0x53c0;
pub const AUDIO: u32 = 0xe1;
pub const SAMPLING_FREQUENCY: u32 = 0xb5;
pub const CHANNELS: u32 = 0x9f;
pub const CLUSTER: u32 = 0x1f43_b675;
pub const TIMESTAMP: u32 = 0xe7;
pub const SIMPLE_BLOCK: u32 = 0xa3;
pub const BLOCK_GROUP: u32 = 0xa0;
pub const BLOCK: u32 = 0xa1;
pub const BLOCK_DURATION: u32 = 0x9b;
pub const REFERENCE_BLOCK: u32 = 0xfb;
pub const POSITION: u32 = 0xa7;
pub const PREV_SIZE: u32 = 0xab;
pub const CUES: u32 = 0x1c53_bb6b;
pub const CUE_POINT: u32 = 0xbb;
pub const CUE_TIME: u32 = 0xb3;
pub const CUE_TRACK_POSITIONS: u32 = 0xb7;
pub const CUE_TRACK: u32 = 0xf7;
pub const CUE_CLUSTER_POSITION: u32 = 0xf1;
pub const CHAPTERS: u32 = 0x1043_a770;
pub const TAGS: u32 = 0x1254_c367;
pub const ATTACHMENTS: u32 = 0x1941_a469;
pub const VOID: u32 = 0xec;
pub const CRC_32: u32 = 0xbf;

/// What came of reading something at the front of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed<T> {
    /// It, and how many bytes it took.
    Whole(T, usize),
    /// The bytes end within it.
    More,
    /// It cannot be one.
    Bad,
}

/// An element's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// So many bytes.
    Known(u64),
    /// Until something comes that cannot stand in it.
    Unknown,
}

/// Whether elements of this id stand directly in a Segment.
pub fn is_top(id: u32) -> bool {
    matches!(id, SEEK_HEAD | INFO | TRACKS | CLUSTER | CUES | CHAPTERS | TAGS | ATTACHMENTS)
}

/// An element's id, its length marker kept.
pub fn id(bytes: &[u8]) -> Parsed<u32> {
    let Some(first) = bytes.first() else { return Parsed::More };
    let length = first.leading_zeros() as usize + 1;
    if length > 4 {
        return Parsed::Bad;
    }
    let Some(whole) = bytes.get(..length) else { return Parsed::More };
    Parsed::Whole(whole.iter().fold(0, |id, byte| (id << 8) | u32::from(*byte)), length)
}

/// A number of variable length; `None` where all its bits are set.
pub fn vint(bytes: &[u8]) -> Parsed<Option<u64>> {
    let Some(first) = bytes.first() else { return Parsed::More };
    let length = first.leading_zeros() as usize + 1;
    if length > 8 {
        return Parsed::Bad;
    }
    let Some(whole) = bytes.get(..length) else { return Parsed::More };
    let mask = (1_u64 << (7 * length)) - 1;
    let value = super::big_endian(whole) & mask;
    Parsed::Whole((value != mask).then_some(value), length)
}

/// An element's id and size.
pub fn header(bytes: &[u8]) -> Parsed<(u32, Size)> {
    let (id, id_length) = match id(bytes) {
        Parsed::Whole(id, length) => (id, length),
        Parsed::More => return Parsed::More,
        Parsed::Bad => return Parsed::Bad,
    };
    match vint(&bytes[id_length..]) {
        Parsed::Whole(size, length) => {
            Parsed::Whole((id, size.map_or(Size::Unknown, Size::Known)), id_length + length)
        }
        Parsed::More => Parsed::More,
        Parsed::Bad => Parsed::Bad,
    }
}

/// How a block's payload is divided into frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lacing {
    None,
    Xiph,
    Fixed,
    Ebml,
}

/// What stands in front of a block's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockHead {
    pub track: u64,
    /// Relative to its Cluster, in ticks.
    pub time: i16,
    /// Of a SimpleBlock; in a BlockGroup it says nothing.
    pub keyframe: bool,
    pub lacing: Lacing,
    /// Its own length.
    pub length: usize,
}

/// The head of a Block or SimpleBlock. Source: RFC 9559 §10.
pub fn block_head(bytes: &[u8]) -> Option<BlockHead> {
    let Parsed::Whole(Some(track), length) = vint(bytes) else { return None };
    let rest = bytes.get(length..length + 3)?;
    let lacing = match (rest[2] >> 1) & 3 {
        0 => Lacing::None,
        1 => Lacing::Xiph,
        2 => Lacing::Fixed,
        _ => Lacing::Ebml,
    };
    let time = i16::from_be_bytes([rest[0], rest[1]]);
    Some(BlockHead { track, time, keyframe: rest[2] & 0x80 != 0, lacing, length: length + 3 })
}

/// The sizes of the frames laced into `payload` bytes, of which the first are `bytes`. `None` where they do not add
/// up, or more bytes would be needed to tell.
pub fn laces(lacing: Lacing, bytes: &[u8], payload: u64) -> Option<Vec<u64>> {
    if lacing == Lacing::None {
        return Some(vec![payload]);
    }
    let frames = usize::from(*bytes.first()?) + 1;
    let mut at = 1;
    let mut sizes = match lacing {
        Lacing::Xiph => xiph(bytes, &mut at, frames)?,
        Lacing::Ebml => ebml_laces(bytes, &mut at, frames)?,
        Lacing::Fixed | Lacing::None => {
            let (count, rest) = (frames as u64, payload.checked_sub(1)?);
            return (rest >= count && rest % count == 0).then(|| vec![rest / count; frames]);
        }
    };
    let used = sizes.iter().try_fold(at as u64, |sum, size| sum.checked_add(*size))?;
    sizes.push(payload.checked_sub(used)?);
    // A frame of nothing is none, and many of them would be made out of a few bytes.
    (!sizes.contains(&0)).then_some(sizes)
}

/// All sizes but the last, each a run of 255s and what is left.
fn xiph(bytes: &[u8], at: &mut usize, frames: usize) -> Option<Vec<u64>> {
    let mut sizes = Vec::with_capacity(frames);
    for _ in 1..frames {
        let mut size = 0;
        loop {
            let byte = *bytes.get(*at)?;
            *at += 1;
            size += u64::from(byte);
            if byte != 255 {
                break;
            }
        }
        sizes.push(size);
    }
    Some(sizes)
}

/// All sizes but the last, the first as it is and each other as the difference to the one before.
fn ebml_laces(bytes: &[u8], at: &mut usize, frames: usize) -> Option<Vec<u64>> {
    let mut sizes = Vec::with_capacity(frames);
    for _ in 1..frames {
        let Parsed::Whole(Some(value), length) = vint(bytes.get(*at..)?) else { return None };
        *at += length;
        let size = match sizes.last() {
            None => value,
            Some(last) => {
                let bias = (1_i64 << (7 * length - 1)) - 1;
                u64::checked_add_signed(*last, i64::try_from(value).ok()? - bias)?
            }
        };
        sizes.push(size);
    }
    Some(sizes)
}

/// How long an Opus packet sounds, from its first two bytes, in microseconds. Source: RFC 6716 §3.1.
pub fn opus_us(bytes: &[u8]) -> Option<u64> {
    let toc = *bytes.first()?;
    let frame_us = match toc >> 3 {
        config @ 0..=11 => [10_000, 20_000, 40_000, 60_000][usize::from(config & 3)],
        config @ 12..=15 => [10_000, 20_000][usize::from(config & 1)],
        config => [2_500, 5_000, 10_000, 20_000][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(*bytes.get(1)? & 0x3f),
    };
    // No packet sounds longer than 120 ms.
    Some(frame_us * frames).filter(|us| (1..=120_000).contains(us))
}
