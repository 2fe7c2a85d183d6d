//! Sums over what was written, by which the file that is read back is known again. CRC-32C.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use crc_fast::{CrcAlgorithm, Digest};
use serde::{Deserialize, Serialize};

use super::super::media::Packet;

/// For each track over its packets, in order: when each is presented, how large it is, and whether decoding can begin
/// there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests(BTreeMap<u32, u32>);

impl Digests {
    pub fn take(&mut self, packet: &Packet) {
        let sum = self.0.entry(packet.track).or_default();
        let mut bytes = [0; 13];
        bytes[..8].copy_from_slice(&packet.time_us.to_be_bytes());
        bytes[8..12].copy_from_slice(&packet.bytes.to_be_bytes());
        bytes[12] = u8::from(packet.keyframe);
        *sum = crc32c::crc32c_append(*sum, &bytes);
    }
}

/// For each track over where its samples stand in the file, in order. CRC-32C.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Positions(BTreeMap<u32, u32>);

impl Positions {
    pub fn take(&mut self, track: u32, position: u64) {
        let sum = self.0.entry(track).or_default();
        *sum = crc32c::crc32c_append(*sum, &position.to_be_bytes());
    }
}

/// Over the bytes of the file as they stand in the end. A Cluster's size is known only behind it, so the sum of what
/// stands in the open one is kept apart until then.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sum {
    /// Up to the open Cluster's size.
    settled: u32,
    /// Of what follows its size, and how many bytes that is.
    inside: Option<(u32, usize)>,
}

impl Sum {
    /// Goes on behind the head.
    pub fn behind(head: u32) -> Self {
        Self { settled: head, inside: None }
    }

    pub fn take(&mut self, bytes: &[u8]) {
        match &mut self.inside {
            Some((sum, count)) => {
                *sum = append(*sum, bytes);
                *count += bytes.len();
            }
            None => self.settled = append(self.settled, bytes),
        }
    }

    /// Here stands the size of a Cluster, which is not known yet.
    pub fn open(&mut self) {
        self.inside = Some((0, 0));
    }

    /// Now it is known.
    pub fn close(&mut self, size: &[u8]) {
        if let Some((sum, count)) = self.inside.take() {
            let with_size = crc32c::crc32c_append(self.settled, size);
            self.settled = crc32c::crc32c_combine(with_size, sum, count);
        }
    }

    /// Over all of the file, once no Cluster is open.
    pub fn whole(&self) -> u32 {
        self.settled
    }
}

/// Bytes that stand at `at`, with these in their places: as the file was while it grew.
pub fn with_in_place<'a>(places: &[(u64, Vec<u8>)], at: u64, bytes: &'a [u8]) -> Cow<'a, [u8]> {
    let end = |(place, stood): &(u64, Vec<u8>)| place + stood.len() as u64;
    if places.iter().all(|place| end(place) <= at) {
        return Cow::Borrowed(bytes);
    }
    let mut bytes = bytes.to_vec();
    for (place, stood) in places {
        for (byte, position) in stood.iter().zip(*place..) {
            let here = position.checked_sub(at).and_then(|here| usize::try_from(here).ok());
            if let Some(here) = here.and_then(|here| bytes.get_mut(here)) {
                *here = *byte;
            }
        }
    }
    Cow::Owned(bytes)
}

/// Goes on with a sum over the file by the bytes that stand at `at`. What stands in these places, which are in order, is
/// left out.
pub fn sum_around(places: &[Range<u64>], mut sum: u32, at: u64, bytes: &[u8]) -> u32 {
    let end = at + bytes.len() as u64;
    let within = |position: u64| usize::try_from(position.clamp(at, end) - at).unwrap_or(bytes.len());
    let mut from = 0;
    for place in places {
        sum = append(sum, &bytes[from..within(place.start)]);
        from = within(place.end);
    }
    append(sum, &bytes[from..])
}

/// Goes on with a sum. Twice as fast as `crc32c` over what is long, and every byte of a recording is summed up twice.
fn append(sum: u32, bytes: &[u8]) -> u32 {
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(!sum));
    digest.update(bytes);
    u32::try_from(digest.finalize()).unwrap_or_default()
}
