//! Writing ISO base media boxes. Source: ISO 14496-12 §4.2.

/// Of a box that says its size in four bytes.
pub const HEADER_BYTES: usize = 8;
/// Of one that says it in eight.
pub const LARGE_HEADER_BYTES: usize = 16;

/// A box with what `body` puts into it.
pub fn put(kind: &[u8; 4], out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(kind);
    body(out);
    let size = small(out.len() - at);
    out[at..at + 4].copy_from_slice(&size.to_be_bytes());
}

/// A box with version and flags.
pub fn put_full(
    kind: &[u8; 4],
    (version, flags): (u8, u32),
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut Vec<u8>),
) {
    put(kind, out, |out| {
        put_u32(u32::from(version) << 24 | flags, out);
        body(out);
    });
}

/// A box of so many bytes, eight at least, that says nothing.
pub fn put_free(bytes: usize, out: &mut Vec<u8>) {
    put(b"free", out, |out| out.resize(out.len() + bytes.saturating_sub(HEADER_BYTES), 0));
}

/// The header of a box with so many bytes of data.
pub fn data_header(bytes: u64) -> [u8; HEADER_BYTES] {
    let size = u32::try_from(bytes + HEADER_BYTES as u64).unwrap_or(u32::MAX).to_be_bytes();
    let mut header = *b"\0\0\0\0mdat";
    header[..4].copy_from_slice(&size);
    header
}

/// The header of a box of data that has so many bytes with it, in 64 bits.
pub fn large_data_header(bytes: u64) -> [u8; LARGE_HEADER_BYTES] {
    let mut header = *b"\0\0\0\x01mdat\0\0\0\0\0\0\0\0";
    header[HEADER_BYTES..].copy_from_slice(&bytes.to_be_bytes());
    header
}

pub fn put_u32(word: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&word.to_be_bytes());
}

pub fn put_u64(word: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&word.to_be_bytes());
}

/// A count or size of what is bounded by far less.
pub fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
