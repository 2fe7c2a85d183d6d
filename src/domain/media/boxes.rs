//! ISO base media boxes whose bytes are all there: walking over children, taking fields. Source: ISO 14496-12 §4.2.

use super::big_endian;

/// A box within a parent.
#[derive(Debug, Clone, Copy)]
pub struct Child<'a> {
    pub kind: [u8; 4],
    /// Where its header begins, in the bytes that were walked over.
    pub start: usize,
    /// Where its body begins, there too.
    pub body_start: usize,
    pub body: &'a [u8],
}

/// Goes over the boxes in `bytes`, until the end or something that is none.
pub fn children(bytes: &[u8]) -> impl Iterator<Item = Child<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..)?;
        let small = usize::try_from(big_endian(rest.get(..4)?)).ok()?;
        let kind = rest.get(4..8)?.try_into().ok()?;
        let (header, size) = match small {
            0 => (8, rest.len()),
            1 => (16, usize::try_from(big_endian(rest.get(8..16)?)).ok()?),
            size => (8, size),
        };
        let body = rest.get(header..size)?;
        let start = at;
        at += size;
        Some(Child { kind, start, body_start: start + header, body })
    })
}

/// The first child of this kind.
pub fn child<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Option<Child<'a>> {
    children(bytes).find(|child| child.kind == *kind)
}

/// The body of what stands at the end of a path of kinds.
pub fn descend<'a>(bytes: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |bytes, kind| child(bytes, kind).map(|child| child.body))
}

/// Takes fields from the front.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn number(&mut self, bytes: usize) -> Option<u64> {
        self.bytes(bytes).map(big_endian)
    }

    pub fn u32(&mut self) -> Option<u32> {
        u32::try_from(self.number(4)?).ok()
    }

    pub fn i32(&mut self) -> Option<i32> {
        self.u32().map(u32::cast_signed)
    }

    /// Version and flags of a full box.
    pub fn full(&mut self) -> Option<(u8, u32)> {
        let word = self.u32()?;
        Some((u8::try_from(word >> 24).ok()?, word & 0x00ff_ffff))
    }
}
