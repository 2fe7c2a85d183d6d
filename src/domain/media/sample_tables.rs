//! The sample tables of an MP4 file that is not in fragments, walked sample by sample.
//!
//! The tables stay the bytes they are; a cursor remembers where it is in each. Source: ISO 14496-12 §8.6, §8.7.

use serde::{Deserialize, Serialize};

use super::{
    big_endian,
    boxes::{Child, child},
};

/// A part of the moov's body.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Table {
    start: usize,
    /// Of its entries.
    count: u64,
}

/// Where a track's tables stand.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Tables {
    durations: Table,
    /// Signed in practice, whatever the version of the box says.
    shifts: Table,
    sync: Option<Table>,
    sizes: Table,
    /// Of every sample, where they are alike.
    size: u64,
    chunks: Table,
    offsets: Table,
    offset_bytes: usize,
}

/// One packet as the tables say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    pub offset: u64,
    pub size: u64,
    /// When it is decoded, in ticks.
    pub decode: i64,
    /// What is added to when it is decoded to get when it is presented.
    pub shift: i64,
    pub duration: u32,
    pub keyframe: bool,
}

impl Tables {
    /// Finds them in a stbl whose body begins at `base` in the moov's body.
    pub fn find(stbl: &[u8], base: usize) -> Self {
        let table = |found: &Child<'_>, header: usize, entry: usize| {
            let count = found.body.get(header - 4..header).map_or(0, big_endian);
            // As many as there is room for, whatever is said.
            let room = found.body.len().saturating_sub(header) / entry;
            Table { start: base + found.body_start + header, count: count.min(room as u64) }
        };
        let of = |kind: &[u8; 4], entry: usize| child(stbl, kind).map(|found| table(&found, 8, entry));
        let stsz = child(stbl, b"stsz");
        let size = stsz.and_then(|stsz| stsz.body.get(4..8)).map_or(0, big_endian);
        let said = stsz.and_then(|stsz| stsz.body.get(8..12)).map_or(0, big_endian);
        let mut sizes = stsz.map(|stsz| table(&stsz, 12, 4)).unwrap_or_default();
        if size > 0 {
            sizes.count = said;
        }
        let (offsets, offset_bytes) = match of(b"co64", 8) {
            Some(table) => (table, 8),
            None => (of(b"stco", 4).unwrap_or_default(), 4),
        };
        Self {
            durations: of(b"stts", 8).unwrap_or_default(),
            shifts: of(b"ctts", 8).unwrap_or_default(),
            sync: of(b"stss", 4),
            sizes,
            size,
            chunks: of(b"stsc", 12).unwrap_or_default(),
            offsets,
            offset_bytes,
        }
    }
}

/// Where the walk is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cursor {
    /// The next sample, from 0.
    index: u64,
    decode: i64,
    duration: Run,
    shift: Run,
    /// The next entry of the table of sync samples.
    sync: u64,
    /// The current chunk, from 0, with the samples left in it and where the next one stands.
    chunk: u64,
    left: u64,
    offset: u64,
    /// The entry of stsc that holds for the current chunk.
    rule: u64,
}

/// A run-length coded table: entries of count and value.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Run {
    next: u64,
    left: u64,
    value: u32,
}

impl Run {
    fn next(&mut self, moov: &[u8], table: Table) -> Option<u32> {
        while self.left == 0 {
            if self.next >= table.count {
                return None;
            }
            self.left = entry(moov, table, self.next, 8, 0)?;
            self.value = u32::try_from(entry(moov, table, self.next, 8, 4)?).ok()?;
            self.next += 1;
        }
        self.left -= 1;
        Some(self.value)
    }
}

/// Four bytes of an entry.
fn entry(moov: &[u8], table: Table, index: u64, bytes: usize, at: usize) -> Option<u64> {
    let start = table.start.checked_add(usize::try_from(index).ok()?.checked_mul(bytes)?)?.checked_add(at)?;
    moov.get(start..start.checked_add(4)?).map(big_endian)
}

impl Cursor {
    /// The next sample, if there is one. `moov` is the body that the tables were found in.
    pub fn next(&mut self, moov: &[u8], tables: &Tables) -> Option<Sample> {
        if self.index >= tables.sizes.count {
            return None;
        }
        if self.left == 0 {
            self.next_chunk(moov, tables)?;
        }
        let size = if tables.size > 0 { tables.size } else { entry(moov, tables.sizes, self.index, 4, 0)? };
        let duration = self.duration.next(moov, tables.durations).unwrap_or(0);
        let shift = self.shift.next(moov, tables.shifts).unwrap_or(0);
        let sample = Sample {
            offset: self.offset,
            size,
            decode: self.decode,
            shift: i64::from(shift.cast_signed()),
            duration,
            keyframe: self.is_sync(moov, tables),
        };
        self.index += 1;
        self.left -= 1;
        self.offset = self.offset.saturating_add(size);
        self.decode = self.decode.saturating_add(i64::from(duration));
        Some(sample)
    }

    /// Without a table every sample is one; the numbers in it count from 1 and rise.
    fn is_sync(&mut self, moov: &[u8], tables: &Tables) -> bool {
        let Some(sync) = tables.sync else { return true };
        while self.sync < sync.count {
            match entry(moov, sync, self.sync, 4, 0) {
                Some(number) if number > self.index + 1 => return false,
                Some(number) if number == self.index + 1 => return true,
                _ => self.sync += 1,
            }
        }
        false
    }

    fn next_chunk(&mut self, moov: &[u8], tables: &Tables) -> Option<()> {
        let width = tables.offset_bytes;
        while self.left == 0 {
            if self.chunk >= tables.offsets.count {
                return None;
            }
            // An entry of stsc holds from its first chunk, counted from 1, to the next entry's.
            while let Some(first) = entry_within(moov, tables.chunks, self.rule + 1, 12, 0)
                && first <= self.chunk + 1
            {
                self.rule += 1;
            }
            self.left = entry_within(moov, tables.chunks, self.rule, 12, 4)?;
            let high = entry(moov, tables.offsets, self.chunk, width, 0)?;
            self.offset = match width {
                8 => (high << 32) | entry(moov, tables.offsets, self.chunk, width, 4)?,
                _ => high,
            };
            self.chunk += 1;
        }
        Some(())
    }
}

fn entry_within(moov: &[u8], table: Table, index: u64, bytes: usize, at: usize) -> Option<u64> {
    (index < table.count).then(|| entry(moov, table, index, bytes, at)).flatten()
}
