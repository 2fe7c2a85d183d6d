//! What is written of a fragment's samples. Source: ISO 14496-12 §8.8.

use super::{
    super::super::media::sample_tables::Sample,
    boxes::{put, put_full, put_u32, put_u64, small},
};

const FROM_MOOF: u32 = 0x2_0000;
const DATA_OFFSET: u32 = 0x1;
const DURATION: u32 = 0x100;
const SIZE: u32 = 0x200;
const FLAGS: u32 = 0x400;
const SHIFT: u32 = 0x800;
/// Of a sample's flags: others depend on it alone; or it depends on others and decoding cannot begin at it.
const SYNC: u32 = 0x0200_0000;
const NOT_SYNC: u32 = 0x0101_0000;

/// A sample, in its track's ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub duration: u32,
    pub size: u32,
    pub keyframe: bool,
    /// From when it is decoded to when it is presented.
    pub shift: i32,
}

/// Samples that stand one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Of the first, in the fragment's data.
    pub offset: u64,
    /// Behind the last.
    pub end: u64,
    pub entries: Vec<Entry>,
}

/// Samples of one track, each decoded when the one before is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackRuns {
    pub track: u32,
    /// Of the first. Unit: ticks.
    pub decode: u64,
    pub runs: Vec<Run>,
}

/// A fragment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moof {
    pub tracks: Vec<TrackRuns>,
}

impl TrackRuns {
    fn take(&mut self, sample: &Sample, entry: Entry) {
        let end = sample.offset + sample.size;
        match self.runs.last_mut().filter(|run| run.end == sample.offset) {
            Some(run) => {
                run.entries.push(entry);
                run.end = end;
            }
            None => self.runs.push(Run { offset: sample.offset, end, entries: vec![entry] }),
        }
    }
}

impl Moof {
    /// Puts samples together, each with its track, in the order of their bytes; they stand in the fragment's data. `None`:
    /// a time is negative, or a track's times do not follow from each other.
    pub fn of(samples: &[(u32, Sample)]) -> Option<Self> {
        let mut moof = Self::default();
        // Where each track goes on, so that no track is added up again and again.
        let mut next = Vec::<u64>::new();
        for (track, sample) in samples {
            let decode = u64::try_from(sample.decode).ok()?;
            let entry = Entry {
                duration: sample.duration,
                size: u32::try_from(sample.size).ok()?,
                keyframe: sample.keyframe,
                shift: i32::try_from(sample.shift).ok()?,
            };
            let place = moof.tracks.iter().position(|runs| runs.track == *track).unwrap_or(next.len());
            if place == next.len() {
                moof.tracks.push(TrackRuns { track: *track, decode, runs: Vec::new() });
                next.push(decode);
            }
            if next[place] != decode {
                return None;
            }
            moof.tracks[place].take(sample, entry);
            next[place] = decode.checked_add(u64::from(sample.duration))?;
        }
        Some(moof)
    }

    /// The box of a fragment whose data begin so many bytes behind its first.
    pub fn put(&self, sequence: u32, data_at: usize, out: &mut Vec<u8>) {
        let entries = || self.tracks.iter().flat_map(|track| &track.runs).flat_map(|run| &run.entries);
        let shifts = entries().any(|entry| entry.shift != 0);
        let flags = DATA_OFFSET | DURATION | SIZE | FLAGS | if shifts { SHIFT } else { 0 };
        put(b"moof", out, |out| {
            put_full(b"mfhd", (0, 0), out, |out| put_u32(sequence, out));
            for track in &self.tracks {
                put(b"traf", out, |out| {
                    put_full(b"tfhd", (0, FROM_MOOF), out, |out| put_u32(track.track, out));
                    put_full(b"tfdt", (1, 0), out, |out| put_u64(track.decode, out));
                    for run in &track.runs {
                        put_full(b"trun", (1, flags), out, |out| run.put(data_at, shifts, out));
                    }
                });
            }
        });
    }

    /// How many bytes it takes.
    pub fn bytes(&self) -> usize {
        let mut out = Vec::new();
        self.put(0, 0, &mut out);
        out.len()
    }
}

impl Run {
    fn put(&self, data_at: usize, shifts: bool, out: &mut Vec<u8>) {
        put_u32(small(self.entries.len()), out);
        put_u32(small(data_at + usize::try_from(self.offset).unwrap_or(usize::MAX)), out);
        for entry in &self.entries {
            put_u32(entry.duration, out);
            put_u32(entry.size, out);
            put_u32(if entry.keyframe { SYNC } else { NOT_SYNC }, out);
            if shifts {
                put_u32(entry.shift.cast_unsigned(), out);
            }
        }
    }
}
