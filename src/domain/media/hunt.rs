//! Looking for the next place where reading can resume.
//!
//! Four bytes that look like a Cluster occur inside payloads too, so a place is taken only when what follows has the
//! shape of one. Judging needs some forty bytes; no more than those are held.

use serde::{Deserialize, Serialize};

use super::{
    big_endian,
    ebml::{self, Parsed, Size},
};

/// A judge has decided by then.
pub const WINDOW_MAX: usize = 80;

/// What is thought of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    Yes,
    No,
    /// More bytes are needed.
    Perhaps,
}

/// The search, from one byte to the next.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Hunt {
    window: Vec<u8>,
}

impl Hunt {
    /// Takes bytes up to and including the one that decides for a place. Returns how many were taken, and the bytes
    /// from that place on.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        first: u8,
        judge: impl Fn(&[u8]) -> Judged,
    ) -> (usize, Option<Vec<u8>>) {
        let mut taken = 0;
        while taken < bytes.len() {
            if self.window.is_empty() {
                match bytes[taken..].iter().position(|byte| *byte == first) {
                    None => return (bytes.len(), None),
                    Some(skipped) => taken += skipped,
                }
            }
            self.window.push(bytes[taken]);
            taken += 1;
            if self.judge(first, &judge) {
                return (taken, Some(std::mem::take(&mut self.window)));
            }
        }
        (taken, None)
    }

    /// Judges the window's beginning, and moves it on while the judgement is no.
    fn judge(&mut self, first: u8, judge: &impl Fn(&[u8]) -> Judged) -> bool {
        while !self.window.is_empty() {
            match judge(&self.window) {
                Judged::Yes => return true,
                Judged::Perhaps if self.window.len() < WINDOW_MAX => return false,
                Judged::Perhaps | Judged::No => {
                    let next = self.window.iter().skip(1).position(|byte| *byte == first);
                    self.window.drain(..next.map_or(self.window.len(), |next| next + 1));
                }
            }
        }
        false
    }

    /// Bytes held back because a place may begin in them.
    pub fn held(&self) -> usize {
        self.window.len()
    }
}

/// What a Cluster that comes after the gap has to fit.
pub struct ClusterMustFit<'a> {
    /// In ticks; the place must be later.
    pub after: Option<u64>,
    pub knows_track: &'a dyn Fn(u64) -> bool,
}

/// Whether a Cluster begins here: its id, a size, its Timestamp, and a child that stands in clusters; a block must be of a track that
/// exists.
pub fn judge_cluster(bytes: &[u8], fit: &ClusterMustFit<'_>) -> Judged {
    let id = ebml::CLUSTER.to_be_bytes();
    if !bytes.starts_with(&id) {
        return if id.starts_with(bytes) { Judged::Perhaps } else { Judged::No };
    }
    let mut at = match ebml::header(bytes) {
        Parsed::Whole((_, Size::Known(0..=3)), _) | Parsed::Bad => return Judged::No,
        Parsed::Whole(_, length) => length,
        Parsed::More => return Judged::Perhaps,
    };
    let mut timed = false;
    // A checksum or padding may stand in front; more than a few such are not believed.
    for _ in 0..4 {
        let rest = bytes.get(at..).unwrap_or_default();
        let (id, size, length) = match ebml::header(rest) {
            Parsed::Whole((id, Size::Known(size)), length) => (id, size, length),
            Parsed::More => return Judged::Perhaps,
            Parsed::Whole(..) | Parsed::Bad => return Judged::No,
        };
        let payload = rest.get(length..).unwrap_or_default();
        match (id, size) {
            (ebml::TIMESTAMP, 1..=8) if !timed => {
                let size = usize::try_from(size).unwrap_or(8);
                let Some(value) = payload.get(..size) else { return Judged::Perhaps };
                if fit.after.is_some_and(|after| big_endian(value) <= after) {
                    return Judged::No;
                }
                (timed, at) = (true, at + length + size);
            }
            (ebml::SIMPLE_BLOCK, 4..) if timed => return judge_block(payload, fit),
            (ebml::BLOCK_GROUP, 6..) if timed => return Judged::Yes,
            (ebml::CRC_32, 4) | (ebml::POSITION | ebml::PREV_SIZE, 1..=8) | (ebml::VOID, 0..=8) => {
                at += length + usize::try_from(size).unwrap_or(8);
            }
            _ => return Judged::No,
        }
    }
    if timed { Judged::Yes } else { Judged::No }
}

fn judge_block(payload: &[u8], fit: &ClusterMustFit<'_>) -> Judged {
    match ebml::vint(payload) {
        Parsed::Whole(Some(track), _) if (fit.knows_track)(track) => Judged::Yes,
        Parsed::More => Judged::Perhaps,
        _ => Judged::No,
    }
}

/// Whether a movie fragment begins here: a moof of a bearable size whose first child is an mfhd with a sequence number not before the
/// last, and whose second is a traf.
pub fn judge_moof(bytes: &[u8], size_max: u64, after: Option<u32>) -> Judged {
    const SHAPE: [(usize, &[u8]); 3] = [(4, b"moof"), (8, b"\0\0\0\x10mfhd\0\0\0\0"), (28, b"traf")];
    if bytes.len() >= 4 && !(32..=size_max).contains(&big_endian(&bytes[..4])) {
        return Judged::No;
    }
    for (at, wanted) in SHAPE {
        let here = bytes.get(at..).unwrap_or_default();
        if !here.starts_with(wanted) {
            return if wanted.starts_with(here) { Judged::Perhaps } else { Judged::No };
        }
        if at == 8
            && let Some(sequence) = bytes.get(20..24)
            && after.is_some_and(|after| big_endian(sequence) < u64::from(after))
        {
            return Judged::No;
        }
    }
    Judged::Yes
}
