//! What recorders record: WebM made by ffmpeg as browsers make it, cut anywhere, in one life of a recorder or in two.

use std::{ops::Range, sync::OnceLock};

use crate::support::{Chance, cut, kept, packets};

/// Seconds, pitch in Hz, and kbit/s of pictures: no packet of one is a packet of another.
const SOURCES: [(u32, u32, u32); 3] = [(3, 440, 150), (4, 523, 200), (6, 659, 250)];
/// Pieces that a segment is cut into.
const CHUNKS: (usize, usize) = (8, 25);

/// The hashes of all packets, of pictures and of sound, in order.
pub type Packets = [Vec<String>; 2];

/// Media that chunks are cut from.
pub struct Source {
    media: Vec<u8>,
    packets: Packets,
}

/// What one recorder records.
pub struct Take {
    /// In the order in which they are made.
    pub chunks: Vec<Vec<u8>>,
    segments: Vec<(&'static Source, Range<usize>)>,
}

impl Take {
    /// One life of a recorder, or two of which the second has a header of its own, as after a reload of the page.
    pub fn of(lives: usize, chance: &mut Chance) -> Self {
        let (mut chunks, mut segments) = (Vec::new(), Vec::new());
        for _ in 0..lives {
            let source = chance.pick(sources());
            let pieces = CHUNKS.0 + chance.below(CHUNKS.1 - CHUNKS.0);
            let first = chunks.len();
            chunks.extend(cut(&source.media, pieces, chance.next()));
            segments.push((source, first..chunks.len()));
        }
        Self { chunks, segments }
    }

    /// How many chunks there are.
    pub fn len(&self) -> u32 {
        u32::try_from(self.chunks.len()).expect("a few")
    }

    /// Of all chunks.
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(Vec::len).sum()
    }

    /// Whether a chunk begins a segment.
    pub fn begins_segment(&self, index: u32) -> bool {
        self.segments.iter().any(|(_, range)| range.start == index as usize)
    }

    /// What must be in a video of so many chunks from the first on.
    pub fn packets(&self, chunks: usize) -> Packets {
        let mut all = Packets::default();
        for (source, range) in &self.segments {
            let part = range.start..range.end.min(chunks);
            let some = if part == *range {
                source.packets.clone()
            } else if part.is_empty() {
                Packets::default()
            } else {
                hashes(&self.chunks[part].concat())
            };
            for (all, some) in all.iter_mut().zip(some) {
                all.extend(some);
            }
        }
        all
    }
}

/// The packets of a file.
pub fn hashes(media: &[u8]) -> Packets {
    packets(media).map(|packets| packets.into_iter().map(|packet| packet.1).collect())
}

/// Made at the first call, which takes some seconds where they are not kept.
pub fn sources() -> &'static [Source] {
    static MADE: OnceLock<Vec<Source>> = OnceLock::new();
    MADE.get_or_init(|| {
        let make = |&(seconds, pitch, kbits): &(u32, u32, u32)| {
            let media = make(seconds, pitch, kbits);
            let packets = hashes(&media);
            Source { media, packets }
        };
        SOURCES.iter().map(make).collect()
    })
}

fn make(seconds: u32, pitch: u32, kbits: u32) -> Vec<u8> {
    kept(&format!(
        "-f lavfi -i testsrc2=size=160x120:rate=15 -f lavfi -i sine=frequency={pitch}:sample_rate=48000 -t {seconds} \
         -c:v libvpx -deadline realtime -cpu-used -8 -b:v {kbits}k -g 30 -c:a libopus -b:a 32k \
         -f webm -live 1 -cluster_time_limit 1000"
    ))
}
