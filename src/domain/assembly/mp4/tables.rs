//! The sample tables of one track, made of its samples in order. Source: ISO 14496-12 §8.6, §8.7.

use super::{
    super::super::media::sample_tables::Sample,
    boxes::{put_full, put_u32, put_u64, small},
};

/// Entries of a count and a value.
#[derive(Debug, Clone, Default)]
struct Alike {
    entries: Vec<(u32, u32)>,
}

impl Alike {
    fn push(&mut self, value: u32) {
        match self.entries.last_mut() {
            Some((count, last)) if *last == value => *count += 1,
            _ => self.entries.push((1, value)),
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_u32(small(self.entries.len()), out);
        for (count, value) in &self.entries {
            put_u32(*count, out);
            put_u32(*value, out);
        }
    }
}

/// Tables that grow.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    durations: Alike,
    shifts: Alike,
    /// Numbers of the samples that decoding can begin at, from 1.
    sync: Vec<u32>,
    sizes: Vec<u32>,
    /// Of each stretch of samples where it begins.
    chunks: Vec<u64>,
    /// From this stretch on, counted from 1, each has so many samples.
    rules: Vec<(u32, u32)>,
    /// Samples of the newest stretch, and where it ends.
    in_chunk: u32,
    end: u64,
    /// When the first and the newest are decoded, and how long that lasts. Unit: ticks.
    first: Option<i64>,
    newest: (i64, u32),
}

impl Tables {
    /// Takes the next sample. `None`: it is decoded before the one before it, or too much later.
    pub fn take(&mut self, sample: &Sample) -> Option<()> {
        if self.first.is_some() {
            let step = u32::try_from(sample.decode.checked_sub(self.newest.0)?).ok()?;
            self.durations.push(step);
        }
        self.first.get_or_insert(sample.decode);
        self.newest = (sample.decode, sample.duration);
        self.shifts.push(i32::try_from(sample.shift).ok()?.cast_unsigned());
        self.sizes.push(u32::try_from(sample.size).ok()?);
        if sample.keyframe {
            self.sync.push(small(self.sizes.len()));
        }
        if self.chunks.is_empty() || sample.offset != self.end {
            self.end_chunk();
            self.chunks.push(sample.offset);
        }
        self.in_chunk += 1;
        self.end = sample.offset.checked_add(sample.size)?;
        Some(())
    }

    /// No more come.
    pub fn finish(&mut self) {
        self.end_chunk();
        if self.first.is_some() {
            self.durations.push(self.newest.1);
        }
    }

    fn end_chunk(&mut self) {
        let count = std::mem::take(&mut self.in_chunk);
        if count > 0 && self.rules.last().is_none_or(|(_, last)| *last != count) {
            self.rules.push((small(self.chunks.len()), count));
        }
    }

    /// Stretches of samples.
    pub fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// From when its first is decoded to when its last is over. Unit: ticks.
    pub fn ticks(&self) -> u64 {
        let first = self.first.unwrap_or(0);
        self.newest.0.saturating_sub(first).unsigned_abs() + u64::from(self.newest.1)
    }

    /// As many as it may take in the file at most.
    pub fn bytes_max(&self) -> u64 {
        let pairs = self.durations.entries.len() + self.shifts.entries.len() + self.chunks.len();
        (8 * pairs + 4 * (self.sync.len() + self.sizes.len()) + 12 * (self.rules.len() + 1)) as u64
    }

    pub fn put(&self, out: &mut Vec<u8>) {
        put_full(b"stts", (0, 0), out, |out| self.durations.put(out));
        if self.shifts.entries.iter().any(|(_, shift)| *shift != 0) {
            let below = self.shifts.entries.iter().any(|(_, shift)| shift.cast_signed() < 0);
            put_full(b"ctts", (u8::from(below), 0), out, |out| self.shifts.put(out));
        }
        // Without this table decoding can begin everywhere.
        if self.sync.len() < self.sizes.len() {
            put_full(b"stss", (0, 0), out, |out| put_words(&self.sync, out));
        }
        put_full(b"stsc", (0, 0), out, |out| {
            put_u32(small(self.rules.len()), out);
            for (first, count) in &self.rules {
                [*first, *count, 1].into_iter().for_each(|word| put_u32(word, out));
            }
        });
        put_full(b"stsz", (0, 0), out, |out| {
            put_u32(0, out);
            put_words(&self.sizes, out);
        });
        let offsets: Option<Vec<_>> = self.chunks.iter().map(|at| u32::try_from(*at).ok()).collect();
        match offsets {
            Some(offsets) => put_full(b"stco", (0, 0), out, |out| put_words(&offsets, out)),
            None => put_full(b"co64", (0, 0), out, |out| {
                put_u32(small(self.chunks.len()), out);
                self.chunks.iter().for_each(|at| put_u64(*at, out));
            }),
        }
    }
}

/// How many, and each.
fn put_words(words: &[u32], out: &mut Vec<u8>) {
    put_u32(small(words.len()), out);
    words.iter().for_each(|word| put_u32(*word, out));
}
