//! The new file from its first fragment on.

use std::{collections::BTreeMap, ops::Range};

use serde::{Deserialize, Serialize};

use super::{
    super::{
        super::media::{
            Event, Packet, Summary, Track, TrackKind,
            fragment::{self, Around},
            moov,
            sample_tables::Sample,
            ticks_to_us,
        },
        Rules, Unfit,
        sums::{Digests, Positions, Sum, sum_around},
        writes::{ReadBack, Writes},
    },
    boxes::{HEADER_BYTES, LARGE_HEADER_BYTES, data_header, large_data_header, put, put_free},
    moof::Moof,
    movie::{self, Described, Edit, Plays},
    tables::Tables,
};

/// What has been written, and what is open.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fragments {
    /// Pictures first.
    pub tracks: Vec<Track>,
    described: Vec<Described>,
    pub head: Head,
    open: Option<Open>,
    /// Fragments that are whole.
    pub count: u64,
    lines: BTreeMap<u32, Line>,
    /// When the first packet is presented: there the video begins. Unit: microseconds.
    origin_us: Option<i64>,
    /// What was written, as a reader of the fragments will find it.
    pub written: Summary,
    pub digests: Digests,
    /// As a reader of the tables will.
    pub tabled: Digests,
    /// Where the samples stand.
    pub positions: Positions,
    pub sum: Sum,
    /// Where the tables stand, once they do, and how many stretches of samples there are.
    pub tables: Option<(u64, usize)>,
}

/// What stands in front of the fragments. Of it the box that becomes one of data is changed at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Of that box.
    pub data_at: u64,
    /// Its own length.
    pub bytes: u64,
    /// Over all but that box. CRC-32C.
    pub sum: u32,
}

/// A fragment whose data are coming.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Open {
    /// Of its first byte.
    at: u64,
    /// For its description.
    reserved: usize,
    /// Of its data, so far.
    bytes: u64,
}

/// A track on its way. Unit: ticks.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Line {
    /// When its first sample is decoded, and its newest.
    first: i64,
    newest: i64,
    edit: Edit,
}

impl Head {
    fn put(described: &[Described], out: &mut Vec<u8>) -> Self {
        put(b"ftyp", out, |out| out.extend_from_slice(b"isom\0\0\x02\0isomiso5iso6mp41"));
        let data_at = out.len() as u64;
        put_free(LARGE_HEADER_BYTES, out);
        movie::put_for_fragments(described, out);
        let mut head = Self { data_at, bytes: out.len() as u64, sum: 0 };
        head.sum = head.sum_on(0, 0, out);
        head
    }

    /// As [`sum_around`] the box that is changed.
    pub fn sum_on(&self, sum: u32, at: u64, bytes: &[u8]) -> u32 {
        sum_around(&[self.place()], sum, at, bytes)
    }

    pub fn place(&self) -> Range<u64> {
        self.data_at..self.data_at + LARGE_HEADER_BYTES as u64
    }

    /// What stands in that box's place until then, and where.
    pub fn begun(&self) -> (u64, Vec<u8>) {
        let mut free = Vec::new();
        put_free(LARGE_HEADER_BYTES, &mut free);
        (self.data_at, free)
    }

    /// What stands in that box's place when it covers everything as far as the tables.
    pub fn completed(&self, tables_at: u64) -> [u8; LARGE_HEADER_BYTES] {
        large_data_header(tables_at - self.data_at)
    }
}

impl Fragments {
    /// Begins the file with these tracks.
    pub fn begin(
        tracks: Vec<Track>,
        described: Vec<Described>,
        rules: &Rules,
        out: &mut Writes,
    ) -> Result<Self, Unfit> {
        let head = Head::put(&described, out.bytes());
        out.fresh();
        if head.bytes > rules.header_bytes_max as u64 {
            return Err(Unfit::TooLarge("the header is larger than may be held".into()));
        }
        let mut written = Summary::default();
        written.fold(&Event::Tracks(tracks.clone()));
        Ok(Self {
            tracks,
            described,
            sum: Sum::behind(head.sum),
            head,
            open: None,
            count: 0,
            lines: BTreeMap::new(),
            origin_us: None,
            written,
            digests: Digests::default(),
            tabled: Digests::default(),
            positions: Positions::default(),
            tables: None,
        })
    }

    /// Of a track of the file.
    pub fn described(&self, number: u32) -> Option<&Described> {
        self.described.iter().find(|described| described.number == number)
    }

    /// Begins a fragment: its data, and room for a description of so many bytes.
    pub fn open(&mut self, reserved: usize, data_bytes: u64, out: &mut Writes) {
        let at = out.position();
        self.sum_up(out);
        put_free(reserved, out.bytes());
        out.bytes().extend_from_slice(&data_header(data_bytes));
        out.fresh();
        self.sum.open();
        self.open = Some(Open { at, reserved, bytes: 0 });
    }

    /// Appends data of the open fragment.
    pub fn data(&mut self, bytes: &[u8], out: &mut Writes) {
        if let Some(open) = &mut self.open {
            open.bytes += bytes.len() as u64;
            out.bytes().extend_from_slice(bytes);
        }
    }

    /// Added to the times of a segment whose first packet is presented and whose first sample is decoded then, and which
    /// begins in the video there. Unit: microseconds.
    pub fn shift_us(&mut self, presented_us: i64, decoded_us: i64, begins_us: i64) -> i64 {
        match self.origin_us {
            Some(origin_us) => begins_us.saturating_add(origin_us).saturating_sub(presented_us),
            None => {
                let shift_us = presented_us.min(decoded_us).saturating_neg();
                self.origin_us = Some(presented_us.saturating_add(shift_us));
                shift_us
            }
        }
    }

    /// Ends the open fragment: these are its samples, at positions in its data. What is not among them is of no use.
    pub fn close(&mut self, samples: &[(u32, Sample)], out: &mut Writes) -> Result<(), Unfit> {
        for (track, sample) in samples {
            self.account(*track, sample)?;
        }
        let Some(Open { at, reserved, bytes }) = self.open.take() else { return Ok(()) };
        let data_at = at + (reserved + HEADER_BYTES) as u64;
        samples.iter().for_each(|(track, sample)| self.positions.take(*track, data_at + sample.offset));
        let mut head = Vec::with_capacity(reserved + HEADER_BYTES);
        if !samples.is_empty() {
            let moof = Moof::of(samples).ok_or_else(Unfit::times_of_fragment)?;
            self.count += 1;
            let sequence = u32::try_from(self.count).map_err(|_| Unfit::TooMany("fragments".into()))?;
            moof.put(sequence, reserved + HEADER_BYTES, &mut head);
        }
        if head.len() < reserved {
            put_free(reserved - head.len(), &mut head);
        }
        head.extend_from_slice(&data_header(bytes));
        self.sum_up(out);
        self.sum.close(&head);
        out.patch(at, &head);
        Ok(())
    }

    /// Takes what was appended since into the sum.
    pub fn sum_up(&mut self, out: &mut Writes) {
        self.sum.take(out.fresh());
    }

    /// Behind which everything that is written may still change.
    pub fn open_from(&self) -> Option<u64> {
        self.open.as_ref().map(|open| open.at)
    }

    fn account(&mut self, track: u32, sample: &Sample) -> Result<(), Unfit> {
        let timescale = self.described(track).map_or(1, |described| described.timescale);
        let origin = us_to_ticks(self.origin_us.unwrap_or(0), timescale);
        let line = self.lines.entry(track).or_insert_with(|| {
            let late = sample.decode.saturating_sub(origin);
            let delay_us = ticks_to_us(late.max(0), timescale).unsigned_abs();
            let edit = Edit { delay_us, from: late.min(0).saturating_neg() };
            Line { first: sample.decode, newest: sample.decode, edit }
        });
        // Recorders that get no time tell of two packets at once.
        let step = sample.decode.saturating_sub(line.newest);
        if step < 0 || sample.decode < 0 {
            return Err(Unfit::TimesFall);
        }
        u32::try_from(step).map_err(|_| Unfit::TimesJump)?;
        line.newest = sample.decode;
        let presented = sample.decode.saturating_add(sample.shift);
        let packet = packet(track, sample, ticks_to_us(presented, timescale), timescale);
        let in_table = presented.saturating_sub(line.first).saturating_sub(line.edit.from);
        let delay_us = i64::try_from(line.edit.delay_us).unwrap_or(i64::MAX);
        let tabled_us = ticks_to_us(in_table, timescale).saturating_add(delay_us);
        self.written.fold(&Event::Packet(packet));
        self.digests.take(&packet);
        self.tabled.take(&Packet { time_us: tabled_us, ..packet });
        if self.written.packets.get(&track).is_some_and(|account| account.steps_back > 0) {
            return Err(Unfit::TimesFall);
        }
        Ok(())
    }

    /// Appends the tables, and makes one box of data of everything before.
    pub fn end(
        &mut self,
        duration_us: i64,
        rules: &Rules,
        disk: ReadBack<'_>,
        out: &mut Writes,
    ) -> Result<(), Unfit> {
        let blind = |track: &Track| {
            let account = self.written.packets.get(&track.number);
            track.kind == TrackKind::Video && account.is_some_and(|account| account.keyframes == 0)
        };
        if self.tracks.iter().any(blind) || self.written.packets.is_empty() {
            return Err(Unfit::NoKeyframe);
        }
        let tables = self.read_back(rules, disk, out)?;
        let chunks = tables.values().map(Tables::chunks).sum();
        let tables_at = out.position();
        let of_track = |number: u32| {
            let tables = tables.get(&number)?;
            Some((self.plays(number, tables), move |out: &mut Vec<u8>| tables.put(out)))
        };
        movie::put_with_tables(&self.described, duration_us.unsigned_abs(), of_track, out.bytes());
        self.tables = Some((tables_at, chunks));
        out.patch_afterwards(self.head.data_at, &self.head.completed(tables_at));
        Ok(())
    }

    fn plays(&self, number: u32, tables: &Tables) -> Plays {
        let (ticks, edit) =
            (tables.ticks(), self.lines.get(&number).map_or(Edit::default(), |line| line.edit));
        let timescale = self.described(number).map_or(1, |described| described.timescale);
        let shown = i64::try_from(ticks).unwrap_or(i64::MAX).saturating_sub(edit.from);
        // The next whole microsecond: nothing of the last sample is left out.
        let us = ticks_to_us(shown, timescale).saturating_add(1).unsigned_abs();
        Plays { ticks, us: us.saturating_add(edit.delay_us), edit }
    }

    /// The tables of each track that has samples, by the descriptions of the fragments as they stand in the file.
    fn read_back(
        &self,
        rules: &Rules,
        disk: ReadBack<'_>,
        out: &Writes,
    ) -> Result<BTreeMap<u32, Tables>, Unfit> {
        let mut head = Vec::new();
        movie::put_for_fragments(&self.described, &mut head);
        let movie = moov::read(&head[HEADER_BYTES..])?;
        let mut next_decode = vec![0; movie.tracks.len()];
        let (mut tables, mut digests) = (BTreeMap::<u32, Tables>::new(), Digests::default());
        let mut at = self.head.bytes;
        while at < out.position() {
            let mut header = [0; HEADER_BYTES];
            if !out.read(at, &mut header, disk) {
                return Err(Unfit::Unread);
            }
            let size = u64::from(u32::from_be_bytes([header[0], header[1], header[2], header[3]]));
            let body = size.checked_sub(HEADER_BYTES as u64).ok_or(Unfit::Unread)?;
            if header.ends_with(b"moof") {
                let start = at;
                let body_start = at + HEADER_BYTES as u64;
                if body_start + body > out.position() {
                    return Err(Unfit::Unread);
                }
                let mut moof = vec![0; usize::try_from(body).map_err(|_| Unfit::Unread)?];
                if !out.read(body_start, &mut moof, disk) {
                    return Err(Unfit::Unread);
                }
                let around =
                    Around { movie: &movie, next_decode: &mut next_decode, start, body_start, moved: false };
                let (mut fragment, _) = fragment::read(moof, around)?;
                while let Some((place, sample)) = fragment.peek(&movie) {
                    fragment.pass();
                    let track = &movie.tracks[place];
                    let us = track.us(sample.decode.saturating_add(sample.shift));
                    digests.take(&packet(track.track.number, &sample, us, track.timescale));
                    tables.entry(track.track.number).or_default().take(&sample).ok_or(Unfit::Unread)?;
                }
                if tables.values().map(Tables::bytes_max).sum::<u64>() > rules.tables_bytes_max {
                    return Err(Unfit::TooLarge("its tables are larger than may be held".into()));
                }
            }
            at += size;
        }
        tables.values_mut().for_each(Tables::finish);
        if digests == self.digests { Ok(tables) } else { Err(Unfit::Unread) }
    }
}

fn packet(track: u32, sample: &Sample, time_us: i64, timescale: u32) -> Packet {
    let duration_us = ticks_to_us(i64::from(sample.duration), timescale).unsigned_abs();
    Packet {
        track,
        time_us,
        duration_us: Some(duration_us).filter(|us| *us > 0),
        keyframe: sample.keyframe,
        bytes: u32::try_from(sample.size).unwrap_or(u32::MAX),
    }
}

/// Microseconds in ticks of a timescale, rounded.
pub fn us_to_ticks(us: i64, timescale: u32) -> i64 {
    let ticks = (i128::from(us) * i128::from(timescale) + 500_000).div_euclid(1_000_000);
    i64::try_from(ticks).unwrap_or(if us < 0 { i64::MIN } else { i64::MAX })
}
