//! Sums over what was written, by which the file that is read back is known again. CRC-32C.

use std::collections::BTreeMap;

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
                *sum = crc32c::crc32c_append(*sum, bytes);
                *count += bytes.len();
            }
            None => self.settled = crc32c::crc32c_append(self.settled, bytes),
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
