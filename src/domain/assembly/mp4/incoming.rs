//! One segment's fragments on their way into the file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    super::{
        super::{
            media::{
                Container, Packet, Stretch, Track,
                boxes::child,
                fragment::Fragment,
                moov::{self, Movie},
                sample_tables::Sample,
                ticks_to_us,
            },
            merge::{Family, MergePlan, SegmentFacts},
        },
        Rules, Unfit,
        output::Output,
        segment::{Way, ways},
        writes::Writes,
    },
    fragments::{Fragments, us_to_ticks},
    moof::Moof,
    movie::Described,
};

/// What is known of a segment that is in fragments.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Incoming {
    /// The body of its moov.
    #[serde(with = "serde_bytes")]
    moov: Vec<u8>,
    open: Option<Open>,
    /// Added to every time, once it is known. Unit: microseconds.
    shift_us: Option<i64>,
}

/// A fragment whose data are coming.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Open {
    fragment: Fragment,
    /// Where its data stand in the segment.
    from: u64,
    to: u64,
    /// Something of it is missing: it is not used.
    is_lost: bool,
}

/// What a segment knows beside this.
pub struct Surroundings<'a> {
    pub tracks: &'a [Track],
    /// Where each of its tracks goes; empty until the first fragment.
    pub ways: &'a mut Vec<(u32, Way)>,
    /// Where it begins in the file. Unit: microseconds.
    pub begins_us: i64,
    pub rules: &'a Rules,
}

impl Incoming {
    /// Unit: bytes.
    pub fn held(&self) -> usize {
        self.moov.len()
    }

    /// Its tracks are described.
    pub fn movie(&mut self, moov: Vec<u8>, rules: &Rules) -> Result<(), Unfit> {
        if moov.len() > rules.header_bytes_max {
            return Err(Unfit::TooLarge("the header is larger than may be held".into()));
        }
        if child(&moov, b"mvex").is_none() {
            return Err(Unfit::Header("an MP4 segment is not in fragments".into()));
        }
        self.moov = moov;
        Ok(())
    }

    /// A fragment is described, whose data may begin there.
    pub fn begins(
        &mut self,
        fragment: Fragment,
        begin: u64,
        around: &mut Surroundings<'_>,
        output: &mut Option<Output>,
        out: &mut Writes,
    ) -> Result<(), Unfit> {
        let movie = moov::read(&self.moov)?;
        let samples = samples(fragment.clone(), &movie, around.rules)?;
        let (Some((_, first)), Some((_, last))) = (samples.first(), samples.last()) else { return Ok(()) };
        let (from, to) = (first.offset, last.offset.saturating_add(last.size));
        let ends = samples.iter().map(|(_, sample)| sample.offset.saturating_add(sample.size));
        let begins = samples.iter().skip(1).map(|(_, sample)| sample.offset);
        if from < begin || ends.zip(begins).any(|(end, begin)| begin < end) {
            return Err(Unfit::Fragment("samples of a fragment overlap".into()));
        }
        if to - from > around.rules.fragment_bytes_max {
            return Err(Unfit::TooLarge("a fragment is larger than may be taken".into()));
        }
        let output = match output {
            Some(output) => output,
            None => {
                output.insert(Output::Mp4(Box::new(self.begin(around.tracks, &movie, around.rules, out)?)))
            }
        };
        let Output::Mp4(output) = output else { return Err(Unfit::Mixed) };
        if around.ways.is_empty() {
            let goes_on = |own: &Track, to: &Track| {
                let own = Described::of(&self.moov, &movie, own.number);
                own.is_ok_and(|own| output.described(to.number).is_some_and(|to| own.is_like(to)))
            };
            *around.ways = ways(around.tracks, &output.tracks, goes_on);
        }
        let all: Vec<_> =
            samples.iter().map(|(place, sample)| (number(&movie, *place), within(sample, from))).collect();
        let room = Moof::of(&all).ok_or_else(Unfit::times_of_fragment)?.bytes();
        output.open(room, to - from, out);
        self.open = Some(Open { fragment, from, to, is_lost: false });
        Ok(())
    }

    /// These bytes came; what of them belongs to the open fragment is written.
    pub fn data(&self, came: Stretch<'_>, output: &mut Option<Output>, out: &mut Writes) {
        let (Some(open), Some(Output::Mp4(output))) = (&self.open, output) else { return };
        let end = came.at + came.bytes.len() as u64;
        let within =
            |position: u64| usize::try_from(position.clamp(came.at, end) - came.at).unwrap_or(usize::MAX);
        if !open.is_lost
            && let Some(own) = came.bytes.get(within(open.from)..within(open.to))
        {
            output.data(own, out);
        }
    }

    /// The fragment that was begun has come: of its samples those with these packets, as many of each track. Returns how many
    /// were put into the file.
    pub fn whole(
        &mut self,
        packets: &[Packet],
        around: &mut Surroundings<'_>,
        output: &mut Option<Output>,
        out: &mut Writes,
    ) -> Result<u64, Unfit> {
        let (Some(open), Some(Output::Mp4(output))) = (self.open.take(), output) else { return Ok(0) };
        let movie = moov::read(&self.moov)?;
        let mut left = BTreeMap::<u32, u64>::new();
        packets.iter().for_each(|packet| *left.entry(packet.track).or_default() += 1);
        let mut samples = samples(open.fragment, &movie, around.rules)?;
        samples.retain(|(place, _)| {
            let left = left.get_mut(&number(&movie, *place)).filter(|left| **left > 0);
            left.map(|left| *left -= 1).is_some()
        });
        let shift_us = self.shift(packets, &samples, &movie, around.begins_us, output);
        let mut placed = Vec::with_capacity(samples.len());
        for (place, sample) in samples {
            let number = number(&movie, place);
            let to = match around.ways.iter().find(|(other, _)| *other == number) {
                Some((_, Way::To(to))) => to.number,
                Some((_, Way::Unfit(unfit))) => return Err(unfit.clone()),
                Some((_, Way::LeftOut)) | None => continue,
            };
            let shift = us_to_ticks(shift_us, movie.tracks[place].timescale);
            let decode = sample.decode.checked_add(shift).ok_or(Unfit::TimesJump)?;
            placed.push((to, Sample { decode, ..within(&sample, open.from) }));
        }
        output.close(&placed, out)?;
        Ok(placed.len() as u64)
    }

    /// Something is missing here. A fragment that is not whole will not be.
    pub fn lost(&mut self) {
        if let Some(open) = &mut self.open {
            open.is_lost = true;
        }
    }

    /// Closes what was lost.
    pub fn close_lost(&mut self, output: &mut Option<Output>, out: &mut Writes) -> Result<(), Unfit> {
        let lost = self.open.take_if(|open| open.is_lost);
        if let (Some(_), Some(Output::Mp4(output))) = (lost, output) {
            output.close(&[], out)?;
        }
        Ok(())
    }

    /// The file, with this segment's tracks.
    fn begin(
        &self,
        tracks: &[Track],
        movie: &Movie,
        rules: &Rules,
        out: &mut Writes,
    ) -> Result<Fragments, Unfit> {
        let facts = tracks.iter().map(|track| (track.clone(), 0)).collect();
        let plan = MergePlan::of(&[SegmentFacts { container: Container::Mp4, tracks: facts }]);
        if plan.family != Family::Mp4 || plan.tracks.is_empty() {
            return Err(Unfit::Header("there is a track that MP4 is not written with".into()));
        }
        let tracks: Vec<_> = plan.tracks.into_iter().map(|target| target.model).collect();
        let described: Result<Vec<_>, _> =
            tracks.iter().map(|track| Described::of(&self.moov, movie, track.number)).collect();
        Fragments::begin(tracks, described?, rules, out)
    }

    /// What is added to the segment's times; it is known by its first packets. Unit: microseconds.
    fn shift(
        &mut self,
        packets: &[Packet],
        samples: &[(usize, Sample)],
        movie: &Movie,
        begins_us: i64,
        output: &mut Fragments,
    ) -> i64 {
        let decoded =
            samples.iter().map(|(place, sample)| ticks_to_us(sample.decode, movie.tracks[*place].timescale));
        let presented = packets.iter().map(|packet| packet.time_us);
        let (Some(decoded_us), Some(presented_us)) = (decoded.min(), presented.min()) else { return 0 };
        *self.shift_us.get_or_insert_with(|| output.shift_us(presented_us, decoded_us, begins_us))
    }
}

/// The samples of a fragment with the place of their track, in the order of their bytes.
fn samples(mut fragment: Fragment, movie: &Movie, rules: &Rules) -> Result<Vec<(usize, Sample)>, Unfit> {
    let mut samples = Vec::new();
    while let Some(sample) = fragment.peek(movie) {
        if samples.len() >= rules.fragment_samples_max {
            return Err(Unfit::TooMany("samples in a fragment".into()));
        }
        fragment.pass();
        samples.push(sample);
    }
    Ok(samples)
}

fn number(movie: &Movie, place: usize) -> u32 {
    movie.tracks[place].track.number
}

/// At its position in the fragment's data.
fn within(sample: &Sample, from: u64) -> Sample {
    Sample { offset: sample.offset - from, ..*sample }
}
