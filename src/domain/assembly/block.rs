//! A block as it stands in the new file: of another track, at another time, and otherwise as it was. Source: RFC 9559 §10.

use super::{
    super::media::ebml,
    element::{self, Elements},
};

/// Where a block is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The track's number.
    pub track: u32,
    /// After its Cluster's time. Unit: milliseconds.
    pub time: i16,
}

/// Appends a SimpleBlock or BlockGroup. Returns how many frames are in it; `None` where it is not one that can be taken
/// apart and put together.
pub fn put(block: &[u8], place: Place, out: &mut Vec<u8>) -> Option<u64> {
    let block = element::first(block)?;
    match block.id {
        ebml::SIMPLE_BLOCK => put_block(block.id, block.payload, place, out),
        ebml::BLOCK_GROUP => put_group(block.payload, place, out),
        _ => None,
    }
}

/// A checksum would not hold any more, and padding is of no use; everything else in the group stays, known or not.
fn put_group(children: &[u8], place: Place, out: &mut Vec<u8>) -> Option<u64> {
    let mut body = Vec::with_capacity(children.len() + 8);
    let mut frames = None;
    for child in Elements(children) {
        let child = child?;
        match child.id {
            ebml::BLOCK if frames.is_some() => return None,
            ebml::BLOCK => frames = Some(put_block(ebml::BLOCK, child.payload, place, &mut body)?),
            ebml::CRC_32 | ebml::VOID => {}
            _ => body.extend_from_slice(child.whole),
        }
    }
    element::put(ebml::BLOCK_GROUP, &body, out);
    frames
}

fn put_block(id: u32, payload: &[u8], place: Place, out: &mut Vec<u8>) -> Option<u64> {
    let head = ebml::block_head(payload)?;
    let (flags, frames) = (*payload.get(head.length - 1)?, payload.get(head.length..)?);
    let count = ebml::laces(head.lacing, frames, frames.len() as u64)?.len();
    let number = u64::from(place.track);
    element::put_header(id, element::vint_length(number) + 3 + frames.len(), out);
    element::put_vint(number, out);
    out.extend_from_slice(&place.time.to_be_bytes());
    out.push(flags);
    out.extend_from_slice(frames);
    Some(count as u64)
}
