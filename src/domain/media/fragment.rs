//! A movie fragment: the samples that a moof describes, walked one by one. Source: ISO 14496-12 §8.8.

use serde::{Deserialize, Serialize};

use super::{
    FragmentUnit, ReadError,
    boxes::{Child, Fields, child, children},
    moov::{Defaults, Movie},
    sample_tables::Sample,
    track::TrackKind,
};

/// Most track runs of a fragment; muxers write one or a few for each track.
pub const RUNS_MAX: usize = 16_384;

const BASE_DATA_OFFSET: u32 = 0x1;
const DESCRIPTION_INDEX: u32 = 0x2;
const DEFAULT_DURATION: u32 = 0x8;
const DEFAULT_SIZE: u32 = 0x10;
const DEFAULT_FLAGS: u32 = 0x20;
const DATA_OFFSET: u32 = 0x1;
const FIRST_FLAGS: u32 = 0x4;
const SAMPLE_DURATION: u32 = 0x100;
const SAMPLE_SIZE: u32 = 0x200;
const SAMPLE_FLAGS: u32 = 0x400;
const SAMPLE_SHIFT: u32 = 0x800;
/// Of a sample's flags: it depends on others, it is no sync sample.
const NOT_SYNC: u32 = 0x0100_0000 | 0x0001_0000;

/// Samples of one track that stand one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    /// Which of the movie's tracks.
    track: usize,
    /// Where the next sample stands in the file.
    offset: u64,
    decode: i64,
    left: u32,
    /// Where the next entry stands in the moof's body.
    entry: usize,
    flags: u32,
    first_flags: Option<u32>,
    defaults: Defaults,
}

/// A fragment whose samples have not all come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fragment {
    #[serde(with = "serde_bytes")]
    moof: Vec<u8>,
    runs: Vec<Run>,
    /// The run that is walked.
    current: usize,
    pub(super) unit: FragmentUnit,
    /// Time of its first sample, in microseconds.
    pub time_us: i64,
}

/// What reading a moof needs to know.
pub struct Around<'a> {
    pub movie: &'a Movie,
    /// Where each of the movie's tracks has come to, in ticks.
    pub next_decode: &'a mut [i64],
    /// Of the moof's first byte.
    pub start: u64,
    pub body_start: u64,
    /// Bytes were missing before it, so absolute positions mean nothing.
    pub moved: bool,
}

/// The sequence number of a moof.
pub fn sequence(moof: &[u8]) -> Option<u32> {
    let mut fields = Fields(child(moof, b"mfhd")?.body);
    fields.full()?;
    fields.u32()
}

/// Reads the body of a moof. The second value is false where some of it makes no sense.
pub fn read(moof: Vec<u8>, around: Around<'_>) -> Result<(Fragment, bool), ReadError> {
    let mut reading = Reading {
        around,
        runs: Vec::new(),
        unit: FragmentUnit::default(),
        first_base: None,
        time_us: None,
        follows: None,
    };
    reading.unit.start = reading.around.start;
    let mut sound = true;
    for traf in children(&moof).filter(|child| child.kind == *b"traf") {
        sound &= reading.traf(&traf).is_some();
        if reading.runs.len().max(reading.unit.trafs.len()) > RUNS_MAX {
            return Err(ReadError::TooMany { what: "track runs in a fragment", limit: RUNS_MAX as u64 });
        }
    }
    let Reading { mut runs, unit, time_us, .. } = reading;
    // Packets are told in the order of their bytes.
    runs.sort_by_key(|run| run.offset);
    Ok((Fragment { moof, runs, current: 0, unit, time_us: time_us.unwrap_or(0) }, sound))
}

struct Reading<'a> {
    around: Around<'a>,
    runs: Vec<Run>,
    unit: FragmentUnit,
    first_base: Option<u64>,
    time_us: Option<i64>,
    /// Where data go on that say nothing of where they stand.
    follows: Option<u64>,
}

impl Reading<'_> {
    fn traf(&mut self, traf: &Child<'_>) -> Option<()> {
        let tfhd = child(traf.body, b"tfhd")?;
        let mut fields = Fields(tfhd.body);
        let (_, flags) = fields.full()?;
        let number = fields.u32()?;
        let body_start = self.around.body_start;
        self.unit.trafs.push((number, body_start + traf.start as u64));
        let base = if flags & BASE_DATA_OFFSET != 0 {
            let absolute = fields.number(8)?;
            let at = body_start + (traf.body_start + tfhd.body_start + 8) as u64;
            self.base(absolute, at)?
        } else {
            // Either the moof's first byte, or behind the data of the traf before.
            const FROM_MOOF: u32 = 0x2_0000;
            self.follows.filter(|_| flags & FROM_MOOF == 0).unwrap_or(self.around.start)
        };
        let track = self.around.movie.tracks.iter().position(|track| track.track.number == number)?;
        let defaults = read_defaults(&mut fields, flags, self.around.movie.tracks[track].defaults)?;
        let decode = child(traf.body, b"tfdt").and_then(|tfdt| read_tfdt(tfdt.body));
        let mut decode = decode.unwrap_or(self.around.next_decode[track]);
        let time_us = self.around.movie.tracks[track].us(decode);
        self.time_us = Some(self.time_us.map_or(time_us, |first| first.min(time_us)));
        let mut offset = base;
        for trun in children(traf.body).filter(|child| child.kind == *b"trun") {
            let entries = traf.body_start + trun.body_start;
            let (run, after) = read_trun(
                &trun,
                entries,
                Run { track, offset, decode, left: 0, entry: 0, flags: 0, first_flags: None, defaults },
                base,
            )?;
            self.runs.push(run);
            (offset, decode) = after;
            self.around.next_decode[track] = decode;
            self.follows = Some(offset);
        }
        Some(())
    }

    /// An absolute base as a position among the bytes that came.
    fn base(&mut self, absolute: u64, at: u64) -> Option<u64> {
        let first = *self.first_base.get_or_insert(absolute);
        // Behind a gap the first base is taken for the moof's own place, which is what muxers write.
        let relative = if self.around.moved {
            absolute.checked_sub(first)?
        } else {
            absolute.checked_sub(self.around.start)?
        };
        self.unit.bases.push((at, relative));
        self.around.start.checked_add(relative)
    }
}

fn read_defaults(fields: &mut Fields<'_>, flags: u32, trex: Defaults) -> Option<Defaults> {
    let mut defaults = trex;
    if flags & DESCRIPTION_INDEX != 0 {
        fields.u32()?;
    }
    if flags & DEFAULT_DURATION != 0 {
        defaults.duration = fields.u32()?;
    }
    if flags & DEFAULT_SIZE != 0 {
        defaults.size = fields.u32()?;
    }
    if flags & DEFAULT_FLAGS != 0 {
        defaults.flags = fields.u32()?;
    }
    Some(defaults)
}

fn read_tfdt(body: &[u8]) -> Option<i64> {
    let mut fields = Fields(body);
    let (version, _) = fields.full()?;
    i64::try_from(fields.number(if version == 1 { 8 } else { 4 })?).ok()
}

/// A run, and where data and time go on behind it.
fn read_trun(trun: &Child<'_>, body_start: usize, run: Run, base: u64) -> Option<(Run, (u64, i64))> {
    let mut fields = Fields(trun.body);
    let (_, flags) = fields.full()?;
    let mut run = Run { left: fields.u32()?, flags, ..run };
    if flags & DATA_OFFSET != 0 {
        run.offset = base.checked_add_signed(i64::from(fields.i32()?))?;
    }
    if flags & FIRST_FLAGS != 0 {
        run.first_flags = Some(fields.u32()?);
    }
    run.entry = body_start + (trun.body.len() - fields.0.len());
    let width = entry_bytes(flags);
    let room = fields.0.len().checked_div(width).unwrap_or(usize::MAX);
    // Samples that take no byte anywhere could be any number of them.
    let endless = width == 0 && run.defaults.size == 0 && run.left > 0;
    if run.left as usize > room || endless {
        return None;
    }
    let after = if width == 0 {
        let count = u64::from(run.left);
        let ticks = i64::try_from(count.saturating_mul(u64::from(run.defaults.duration))).unwrap_or(i64::MAX);
        (
            run.offset.saturating_add(count.saturating_mul(u64::from(run.defaults.size))),
            run.decode.saturating_add(ticks),
        )
    } else {
        let mut walked = run;
        let mut entries = fields;
        while walked.left > 0 {
            walked.step(&mut entries)?;
        }
        (walked.offset, walked.decode)
    };
    Some((run, after))
}

fn entry_bytes(flags: u32) -> usize {
    let fields = [SAMPLE_DURATION, SAMPLE_SIZE, SAMPLE_FLAGS, SAMPLE_SHIFT];
    fields.iter().filter(|field| flags & **field != 0).count() * 4
}

impl Run {
    /// Goes to the next sample and returns the one that it passed.
    fn step(&mut self, entry: &mut Fields<'_>) -> Option<Sample> {
        let mut field = |bit: u32, default: u32| {
            if self.flags & bit == 0 { Some(default) } else { entry.u32() }
        };
        let duration = field(SAMPLE_DURATION, self.defaults.duration)?;
        let size = field(SAMPLE_SIZE, self.defaults.size)?;
        let flags = field(SAMPLE_FLAGS, self.defaults.flags)?;
        let shift = field(SAMPLE_SHIFT, 0)?;
        let flags = self.first_flags.take().unwrap_or(flags);
        let sample = Sample {
            offset: self.offset,
            size: u64::from(size),
            decode: self.decode,
            shift: i64::from(shift.cast_signed()),
            duration,
            keyframe: flags & NOT_SYNC == 0,
        };
        self.entry += entry_bytes(self.flags);
        self.left -= 1;
        self.offset = self.offset.saturating_add(u64::from(size));
        self.decode = self.decode.saturating_add(i64::from(duration));
        Some(sample)
    }
}

impl Fragment {
    /// The next sample with the place of its track, without passing it.
    pub fn peek(&mut self, movie: &Movie) -> Option<(usize, Sample)> {
        while self.runs.get(self.current)?.left == 0 {
            self.current += 1;
        }
        let mut run = *self.runs.get(self.current)?;
        let entry = run.entry;
        let sample = run.step(&mut Fields(self.moof.get(entry..)?))?;
        let audio = movie.tracks[run.track].track.kind != TrackKind::Video;
        Some((run.track, Sample { keyframe: sample.keyframe || audio, ..sample }))
    }

    /// Passes the sample that was peeked at.
    pub fn pass(&mut self) {
        if let Some(run) = self.runs.get_mut(self.current) {
            let entry = self.moof.get(run.entry..).unwrap_or_default();
            if run.step(&mut Fields(entry)).is_none() {
                run.left = 0;
            }
        }
    }

    /// Bytes kept.
    pub fn held(&self) -> usize {
        self.moof.len()
            + self.runs.len() * size_of::<Run>()
            + self.unit.trafs.len() * 16
            + self.unit.bases.len() * 16
    }
}
