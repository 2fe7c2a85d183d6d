//! Secrets drawn at random, for whoever gives out a token.

use uuid::Uuid;

/// 32 bytes, of which 244 bits are random (RFC 9562 §5.4 fixes six of each half).
#[must_use]
pub fn draw() -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(Uuid::new_v4().as_bytes());
    bytes[16..].copy_from_slice(Uuid::new_v4().as_bytes());
    bytes
}
