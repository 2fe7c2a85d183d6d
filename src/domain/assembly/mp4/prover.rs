//! An MP4 file read back while it is being written, and its tables at the end.
//!
//! ```text
//!  bytes up to `settled()` ─► reader of fragments ─► packets: counts and digests of each track
//!              │          └─► behind the fragments: reader of tables ─► the same packets, by what a player will go by
//!              └─► a sum over all bytes but those of the box that is changed at the end
//!  finish: the head, read again ─► what was written into it
//! ```

use serde::{Deserialize, Serialize};

use super::{
    super::{
        super::{
            media::{Container, Event, Reader, Summary, TrackSummary, moov, sample_tables::Cursor},
            merge::Difference,
        },
        Assembler,
        sums::{Digests, Positions, with_in_place},
    },
    boxes::{HEADER_BYTES, LARGE_HEADER_BYTES, put_free},
    fragments::Fragments,
};

/// Takes the file, cut anywhere.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FragmentProver {
    fragments: Found,
    /// Once the tables have begun.
    tables: Option<Found>,
    /// Their bytes.
    #[serde(with = "serde_bytes")]
    moov: Vec<u8>,
    /// Over what was read. CRC-32C.
    sum: u32,
}

/// What a reader found.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Found {
    reader: Reader,
    /// Of the packets.
    summary: Summary,
    digests: Digests,
    /// How many fragments.
    count: u64,
}

impl FragmentProver {
    pub fn read(&self) -> u64 {
        self.fragments.reader.position()
    }

    /// Takes the next bytes.
    pub fn piece(&mut self, bytes: &[u8], output: &Fragments) -> Result<(), String> {
        let at = self.read();
        self.sum = output.head.sum_on(self.sum, at, bytes);
        let tables_at = output.tables.map_or(u64::MAX, |(at, _)| at);
        let before = usize::try_from(tables_at.saturating_sub(at)).unwrap_or(usize::MAX).min(bytes.len());
        self.fragments.feed(&with_in_place(&[output.head.begun()], at, bytes))?;
        if before < bytes.len() {
            let begin = || Found::behind(tables_at, output);
            let mut tables = self.tables.take().map_or_else(begin, Ok)?;
            tables.feed(&bytes[before..])?;
            self.moov.extend_from_slice(&bytes[before..]);
            self.tables = Some(tables);
        }
        Ok(())
    }

    /// Holds what was read against what was written.
    pub fn finish(
        mut self,
        head: &[u8],
        assembler: &Assembler,
        output: &Fragments,
    ) -> Result<(), Difference> {
        self.fragments.finish()?;
        if self.read() != assembler.length() || self.fragments.count != output.count {
            let (bytes, count) = (self.read(), self.fragments.count);
            return Err(format!("it has {bytes} bytes and {count} fragments").into());
        }
        self.fragments.prove(&output.written, &output.digests)?;
        let Some(mut tables) = self.tables else { return Err(Difference::NoIndex) };
        tables.finish()?;
        tables.prove(&output.written, &output.tabled)?;
        if positions(&self.moov) != Some(output.positions.clone()) {
            return Err("its tables lead elsewhere".to_owned().into());
        }
        let (says_us, duration_us) = (tables.summary.duration_us, assembler.end_us);
        if says_us != Some(duration_us.unsigned_abs()) {
            return Err(format!("it says that it plays for {says_us:?} µs, not {duration_us}").into());
        }
        let place = output.head.place();
        let completed = output.tables.map(|(at, _)| output.head.completed(at));
        let stands = usize::try_from(place.start).ok().and_then(|at| head.get(at..at + LARGE_HEADER_BYTES));
        let same =
            head.len() as u64 == output.head.bytes && output.head.sum_on(0, 0, head) == output.head.sum;
        if !same || stands != completed.as_ref().map(|bytes| &bytes[..]) {
            return Err("its head is not what was written".to_owned().into());
        }
        if self.sum == output.sum.whole() {
            Ok(())
        } else {
            Err("its bytes are not those that were written".to_owned().into())
        }
    }
}

impl Found {
    fn new() -> Self {
        Self {
            reader: Reader::new(Container::Mp4),
            summary: Summary::default(),
            digests: Digests::default(),
            count: 0,
        }
    }

    /// As if everything in front of the tables had come, which are the next: the fragments are one box of data.
    fn behind(tables_at: u64, output: &Fragments) -> Result<Self, String> {
        let mut found = Self::new();
        let mut front = Vec::new();
        put_free(usize::try_from(output.head.data_at).unwrap_or(0), &mut front);
        front[4..8].copy_from_slice(b"ftyp");
        front.extend_from_slice(&output.head.completed(tables_at));
        found.feed(&front)?;
        found.reader.pass_over(tables_at - found.reader.position() - 1);
        found.feed(&[0])?;
        Ok(found)
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut events = Vec::new();
        self.reader.feed(bytes, &mut events).map_err(|error| error.to_string())?;
        events.iter().try_for_each(|event| self.event(event))
    }

    fn finish(&mut self) -> Result<(), String> {
        let mut events = Vec::new();
        self.reader.finish(&mut events);
        events.iter().try_for_each(|event| self.event(event))
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Tracks(_) | Event::Duration { .. } => self.summary.fold(event),
            Event::Cluster { .. } => self.count += 1,
            Event::Packet(packet) => {
                self.summary.fold(event);
                self.digests.take(packet);
            }
            Event::Damaged { position, what } => return Err(format!("at byte {position}: {what}")),
            Event::Cue { .. } | Event::NeedsSeeking => {}
        }
        Ok(())
    }

    fn prove(&self, written: &Summary, digests: &Digests) -> Result<(), String> {
        let counts = |summary: &Summary| -> Vec<_> {
            let count = |(number, account): (&u32, &TrackSummary)| {
                (*number, account.packets, account.keyframes, account.bytes, account.steps_back)
            };
            summary.packets.iter().map(count).collect()
        };
        let (found, wanted) = (counts(&self.summary), counts(written));
        if found != wanted {
            return Err(format!("its packets are {found:?}, not {wanted:?}"));
        }
        if self.digests != *digests {
            return Err("its packets are of other times or sizes".to_owned());
        }
        Ok(())
    }
}

/// Where tables lead to.
fn positions(moov: &[u8]) -> Option<Positions> {
    let body = moov.get(HEADER_BYTES..)?;
    let mut positions = Positions::default();
    for track in moov::read(body).ok()?.tracks {
        let mut cursor = Cursor::default();
        while let Some(sample) = cursor.next(body, &track.tables) {
            positions.take(track.track.number, sample.offset);
        }
    }
    Some(positions)
}

impl Default for FragmentProver {
    fn default() -> Self {
        Self { fragments: Found::new(), tables: None, moov: Vec::new(), sum: 0 }
    }
}
