//! Files that are media, nearly media, and nothing of the kind.

use crate::{build, support::Chance};

/// What is put in where it may hurt: ids, sizes, kinds of boxes.
const PIECES: &[&[u8]] = &[
    &[0x1a, 0x45, 0xdf, 0xa3],
    &[0x18, 0x53, 0x80, 0x67, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x1f, 0x43, 0xb6, 0x75],
    &[0x1f, 0x43, 0xb6, 0x75, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xe7, 0x81, 0x7f, 0xa3],
    &[0x1c, 0x53, 0xbb, 0x6b, 0x84],
    &[0xa3, 0x85, 0x81, 0x00, 0x00, 0x86, 0xff],
    &[0xa3, 0x88, 0x81, 0x00, 0x00, 0x82, 0x03, 1, 2, 3],
    &[0xa0, 0xff],
    &[0xe7, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0xec, 0x80],
    &[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x01, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x63, 0xa2, 0x08, 0xff, 0xff, 0xff],
    &[0x2a, 0xd7, 0xb1, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    b"moof",
    b"mdat",
    b"moov",
    b"trun",
    b"traf",
    b"stsz",
    b"stco",
    b"ctts",
    &[0, 0, 0, 0],
    &[0, 0, 0, 1],
    &[0xff, 0xff, 0xff, 0xff],
    &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0, 0, 0, 1, b'm', b'd', b'a', b't', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf0],
    &[0, 0, 0, 0, b'm', b'd', b'a', b't'],
    &[0],
    &[0xff],
];

/// Makes media.
pub struct Generator {
    pub chance: Chance,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self { chance: Chance(seed) }
    }

    /// Any bytes, most of them media to which a few things have happened.
    pub fn media(&mut self) -> Vec<u8> {
        let mut bytes = self.good();
        let times = [0, 1, 1, 2, 4, 16][self.chance.below(6)];
        for _ in 0..times {
            self.mutate(&mut bytes);
        }
        bytes
    }

    /// Media that are whole.
    pub fn good(&mut self) -> Vec<u8> {
        match self.chance.below(5) {
            0 => self.matroska(true),
            1 => self.matroska(false),
            2 | 3 => self.fragments(),
            _ => {
                let (sizes, in_front) = (self.sizes(), self.chance.one_in(2));
                build::whole(&sizes, in_front)
            }
        }
    }

    fn sizes(&mut self) -> Vec<u32> {
        let count = 1 + self.chance.below(12);
        (0..count).map(|_| u32::try_from(1 + self.chance.below(400)).expect("small")).collect()
    }

    fn matroska(&mut self, live: bool) -> Vec<u8> {
        let mut body = Vec::new();
        let clusters = 1 + self.chance.below(6) as u64;
        for index in 0..clusters {
            let mut blocks = build::half_second(!self.chance.one_in(3), 3 + self.chance.below(300));
            if self.chance.one_in(3) {
                blocks.push(build::block_group(1, 480, false, 33, &[7; 40]));
                let lacing = *self.chance.pick(&[2, 4, 6]);
                let laces: &[u8] = if lacing == 6 {
                    &[1, 0x82]
                } else if lacing == 2 {
                    &[1, 2]
                } else {
                    &[1]
                };
                blocks.push(build::element(
                    0xa3,
                    &build::block(2, 490, 0x80 | lacing, &[laces, &[9; 4]].concat()),
                ));
            }
            let cluster = if live { build::live_cluster } else { build::cluster };
            body.extend(cluster(index * 500, &blocks));
        }
        if live {
            return [build::live_header(), body].concat();
        }
        let tracks = build::element(0x1654_ae6b, &[build::video_track(1), build::audio_track(2)].concat());
        let point = [
            build::number(0xb3, 0),
            build::element(0xb7, &[build::number(0xf7, 1), build::number(0xf1, 60)].concat()),
        ];
        let cues = build::element(0x1c53_bb6b, &build::element(0xbb, &point.concat()));
        let segment =
            [build::info(1_000_000, Some(500.0)), tracks, body, cues, build::element(0xec, &[0; 9])];
        [build::ebml_header(), build::element(0x1853_8067, &segment.concat())].concat()
    }

    fn fragments(&mut self) -> Vec<u8> {
        let mut bytes = [build::ftyp(), build::moov()].concat();
        let absolute = self.chance.one_in(2);
        for sequence in 1..=1 + u32::try_from(self.chance.below(5)).expect("small") {
            let base = absolute.then_some(bytes.len() as u64);
            let (keyframe, sizes) = (!self.chance.one_in(3), self.sizes());
            bytes.extend(build::fragment(sequence, sequence * 1000, keyframe, &sizes, base));
        }
        bytes
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let (one, other) = (self.chance.below(bytes.len() + 1), self.chance.below(bytes.len() + 1));
        let (start, end) = (one.min(other), one.max(other));
        let near = bytes.len().min(start + self.chance.size());
        match self.chance.below(9) {
            0 | 1 => {
                if let Some(byte) = bytes.get_mut(start) {
                    *byte ^= 1 << self.chance.below(8);
                }
            }
            2 => {
                let piece = self.chance.pick(PIECES);
                bytes.splice(start..start, piece.iter().copied());
            }
            3 => {
                let piece = self.chance.pick(PIECES);
                let until = bytes.len().min(start + piece.len());
                bytes.splice(start..until, piece.iter().copied());
            }
            4 => bytes.truncate(end),
            5 => {
                bytes.drain(start..near);
            }
            6 => {
                let twice = bytes[start..near].to_vec();
                bytes.splice(near..near, twice);
            }
            7 => bytes[start..near].fill(0),
            _ => {
                let other = self.good();
                let from = self.chance.below(other.len());
                bytes.splice(start..near, other[from..].iter().copied());
            }
        }
    }
}
