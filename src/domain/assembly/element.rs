//! Writing EBML, and walking through elements that are whole. Source: RFC 8794.

use super::super::media::ebml::{self, Parsed, Size};

/// A size that is not known yet, in eight bytes.
pub const SIZE_UNKNOWN: [u8; 8] = [0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

/// A size in eight bytes, to take the place of one that was not known.
pub fn size_in_eight(size: u64) -> [u8; 8] {
    (size & ((1 << 56) - 1) | 1 << 56).to_be_bytes()
}

/// A number of variable length, in as few bytes as hold it.
pub fn put_vint(number: u64, out: &mut Vec<u8>) {
    let length = vint_length(number);
    let field = (number | 1 << (7 * length)).to_be_bytes();
    out.extend_from_slice(&field[8 - length..]);
}

/// How many bytes that takes. One with all bits set would stand for an unknown size.
pub fn vint_length(number: u64) -> usize {
    (1..8).find(|length| number < (1_u64 << (7 * length)) - 1).unwrap_or(8)
}

pub fn put_id(id: u32, out: &mut Vec<u8>) {
    let skipped = id.leading_zeros() as usize / 8;
    out.extend_from_slice(&id.to_be_bytes()[skipped..]);
}

/// An element's id and size.
pub fn put_header(id: u32, size: usize, out: &mut Vec<u8>) {
    put_id(id, out);
    put_vint(size as u64, out);
}

pub fn put(id: u32, body: &[u8], out: &mut Vec<u8>) {
    put_header(id, body.len(), out);
    out.extend_from_slice(body);
}

/// A number, in as few bytes as hold it.
pub fn put_number(id: u32, number: u64, out: &mut Vec<u8>) {
    let skipped = (number.leading_zeros() as usize / 8).min(7);
    put(id, &number.to_be_bytes()[skipped..], out);
}

/// Of exactly so many bytes, two at least.
pub fn put_void(bytes: usize, out: &mut Vec<u8>) {
    let end = out.len() + bytes;
    put_header(ebml::VOID, bytes.saturating_sub(2), out);
    out.resize(end, 0);
}

/// An element that is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    pub id: u32,
    pub payload: &'a [u8],
    /// With its id and size.
    pub whole: &'a [u8],
}

/// The element that bytes begin with; `None` where that is not whole.
pub fn first(bytes: &[u8]) -> Option<Element<'_>> {
    let Parsed::Whole((id, Size::Known(size)), length) = ebml::header(bytes) else { return None };
    let end = length.checked_add(usize::try_from(size).ok()?)?;
    Some(Element { id, payload: bytes.get(length..end)?, whole: bytes.get(..end)? })
}

/// The elements that bytes consist of, up to the first that is not whole, which is told as `None`.
pub struct Elements<'a>(pub &'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = Option<Element<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let element = first(self.0);
        self.0 = element.map_or(&[], |element| &self.0[element.whole.len()..]);
        Some(element)
    }
}
