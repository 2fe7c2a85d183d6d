//! A block that is whole: its frames, and when each is presented. Source: RFC 9559 §10, §11.

use serde::{Deserialize, Serialize};

use super::{
    Packet,
    ebml::{self, BlockHead, Lacing},
    matroska_header::Header,
    track::Codec,
};

/// A Block or SimpleBlock.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Block {
    pub head: BlockHead,
    /// Of its frames.
    pub sizes: Vec<u64>,
    /// Its length as an Opus packet's first bytes tell it; means nothing for others.
    sounds_us: Option<u64>,
}

impl Block {
    /// From the first bytes of an element of `size` bytes; `None` where its frames do not add up.
    pub fn read(bytes: &[u8], size: u64) -> Option<Self> {
        let head = ebml::block_head(bytes)?;
        let payload = bytes.get(head.length..)?;
        let sizes = ebml::laces(head.lacing, payload, size.checked_sub(head.length as u64)?)?;
        let sounds_us = (head.lacing == Lacing::None).then(|| ebml::opus_us(payload)).flatten();
        Some(Self { head, sizes, sounds_us })
    }

    /// A packet for each frame. `ticks` is how long all of them are presented, where that is said. Refuses a block that
    /// belongs to nothing.
    pub fn packets(
        &self,
        cluster_time: Option<u64>,
        ticks: Option<u64>,
        header: &Header,
    ) -> Result<impl Iterator<Item = Packet>, &'static str> {
        let cluster_time = cluster_time.ok_or("a block before its Cluster's time")?;
        let track = header.track(self.head.track).ok_or("a block of an unknown track")?;
        let frames = self.sizes.len() as u64;
        let time = signed(cluster_time).saturating_add(i64::from(self.head.time));
        let first_us = header.us(time).saturating_sub(signed(track.codec_delay_us));
        let said = ticks.map(|ticks| header.us(signed(ticks)).unsigned_abs() / frames);
        let sounds = self.sounds_us.filter(|_| track.codec == Codec::Opus);
        let duration_us = said.or(track.default_duration_us).or(sounds);
        let step = signed(duration_us.unwrap_or(0));
        let times = std::iter::successors(Some(first_us), move |time_us| Some(time_us.saturating_add(step)));
        let (track, keyframe) = (track.number, self.head.keyframe);
        Ok(self.sizes.iter().zip(times).map(move |(size, time_us)| {
            let bytes = u32::try_from(*size).unwrap_or(u32::MAX);
            Packet { track, time_us, duration_us, keyframe, bytes }
        }))
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
