//! One segment on its way into a file.

use std::path::Path;

use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    process::ChildStdin,
};

use super::{
    commands::{self, Input, OutputFile},
    job::Attempt,
    percent::Step,
    program::{self, Listen},
    source::{Fed, Source, Trouble},
};
use crate::{
    adapters::ports::{MergeError, StoreError},
    domain::{
        media::{Codec, Container, Track, TrackKind},
        merge::{Family, MergePlan, Segment, SegmentFacts},
    },
};

/// A segment of which as much has been read as its header needs.
pub struct Ahead {
    source: Source,
    /// What was read, on its way.
    pieces: Vec<Vec<u8>>,
    container: Container,
    /// What is taken of it; `None`: everything.
    chosen: Option<Chosen>,
}

/// Of a segment's tracks those in which something came. A header may tell of a track that a recorder was stopped, or killed,
/// before the first picture of; in a file it would be a track that cannot be played, and leave it without an index.
#[derive(Debug, Clone)]
pub struct Chosen {
    facts: SegmentFacts,
    /// As ffmpeg calls them.
    names: Vec<String>,
}

impl Ahead {
    /// What its header says. How much of each track there is, is not known yet.
    pub fn facts(&self) -> SegmentFacts {
        if let Some(chosen) = &self.chosen {
            return chosen.facts.clone();
        }
        let tracks = self.source.tally().map(|tally| tally.summary.tracks.as_slice()).unwrap_or_default();
        SegmentFacts {
            container: self.container,
            tracks: tracks.iter().map(|track| (track.clone(), 0)).collect(),
        }
    }

    /// Whether a pipe is not enough for it.
    pub fn needs_seeking(&self) -> bool {
        self.source.needs_seeking()
    }

    fn names(&self) -> Vec<String> {
        let all = || commands::strings(commands::ALL_TRACKS);
        self.chosen.as_ref().map_or_else(all, |chosen| chosen.names.clone())
    }

    /// What a player takes off of its sound's time once it is in Matroska.
    pub fn delay_us(&self) -> u64 {
        self.source.tally().map_or(0, |tally| delay_us(&tally.summary.tracks, self.container))
    }
}

/// A segment that has been read, and where its packets are.
pub struct Part {
    pub fed: Fed,
    pub container: Container,
    /// In the folder; `None` where it has no packets, or is the video itself.
    pub file: Option<String>,
    /// Chunks that were found to be of no use on the way.
    pub bad: Vec<u32>,
    /// Of its chunks.
    pub bytes: u64,
}

impl Part {
    /// What it holds.
    pub fn facts(&self) -> SegmentFacts {
        let summary = &self.fed.tally.summary;
        let tracks = summary.tracks.iter().filter_map(|track| {
            let account = summary.packets.get(&track.number).filter(|account| account.packets > 0)?;
            let us = account.end_us().saturating_sub(account.first_us);
            Some((track.clone(), u64::try_from(us).unwrap_or(0)))
        });
        SegmentFacts { container: self.container, tracks: tracks.collect() }
    }

    /// Its tracks, with whether anything came in them, and as ffmpeg calls them.
    fn announced(&self) -> impl Iterator<Item = (&Track, bool, String)> {
        let summary = &self.fed.tally.summary;
        [TrackKind::Video, TrackKind::Audio].into_iter().flat_map(move |kind| {
            let tracks = summary.tracks.iter().filter(move |track| track.kind == kind).enumerate();
            tracks.map(move |(rank, track)| {
                let came = summary.packets.get(&track.number).is_some_and(|account| account.packets > 0);
                (track, came, commands::track_of_input(kind, rank))
            })
        })
    }

    /// Its tracks that hold something; `None`: all do, or none.
    pub fn chosen(&self) -> Option<Chosen> {
        let names: Vec<_> = self.announced().filter_map(|(_, came, name)| came.then_some(name)).collect();
        let some = !names.is_empty() && names.len() < self.announced().count();
        some.then(|| Chosen { facts: self.facts(), names })
    }

    /// Its tracks in which nothing came.
    pub fn never_came(&self) -> impl Iterator<Item = &Track> {
        self.announced().filter_map(|(track, came, _)| (!came).then_some(track))
    }

    /// What a player takes off of its sound's time once it is in Matroska.
    pub fn delay_us(&self) -> u64 {
        delay_us(&self.fed.tally.summary.tracks, self.container)
    }

    /// How many entries an index of it may have.
    pub fn keyframes(&self) -> usize {
        self.fed.tally.logs.values().map(|log| log.keyframes_us.len()).sum()
    }
}

/// Opus begins with samples that a player leaves out; Matroska's header says so for every file that ffmpeg writes,
/// whatever the segment's own said. Source: RFC 7845 §4.2, the binding of Opus to ISO base media §4.3.2.
fn delay_us(tracks: &[Track], container: Container) -> u64 {
    let Some(track) = tracks.iter().find(|track| track.kind == TrackKind::Audio) else { return 0 };
    match (container, &track.codec, track.codec_private.as_deref()) {
        (Container::Mp4, Codec::Opus, Some([_, _, high, low, ..])) => {
            u64::from(u16::from_be_bytes([*high, *low])) * 1_000_000 / 48_000
        }
        _ => track.codec_delay_us,
    }
}

/// The video, as it is to be written.
pub fn written<'a>(
    name: &'a str,
    plan: &MergePlan,
    index_bytes: Option<u64>,
    audio_delay_us: u64,
) -> OutputFile<'a> {
    let index_bytes = index_bytes.filter(|_| plan.family != Family::Mp4);
    let alpha = plan.tracks.iter().any(|track| track.alpha);
    OutputFile { name, family: plan.family, index_bytes, audio_delay_us, alpha }
}

impl Attempt<'_> {
    /// Reads a segment until its header is known. `chosen`: of it, these tracks are wanted.
    pub async fn look_ahead(&self, segment: &Segment, chosen: Option<&Chosen>) -> Result<Ahead, Trouble> {
        let mut source = Source::new(self.job.store.clone(), self.job.recording.id.clone(), segment);
        let mut pieces = Vec::new();
        while !source.knows_enough() {
            match source.next().await? {
                Some(piece) => pieces.push(piece),
                None => break,
            }
        }
        let known = source.needs_seeking() || source.tally().is_some_and(|tally| tally.knows_tracks);
        match source.container().filter(|_| known) {
            Some(container) => Ok(Ahead { source, pieces, container, chosen: chosen.cloned() }),
            None => Err(useless(segment, &source.finish())),
        }
    }

    /// Copies a segment's packets into a file. If it then shows that only some of its tracks hold anything, that file is of no
    /// use: it is to be fed again with [`Part::chosen`].
    pub async fn feed(
        &self,
        ahead: Ahead,
        segment: &Segment,
        output: &OutputFile<'_>,
        step: Step<'_>,
    ) -> Result<Part, Trouble> {
        let total = segment.bytes();
        let (names, is_chosen) = (ahead.names(), ahead.chosen.is_some());
        let Ahead { mut source, pieces, container, .. } = ahead;
        let tell = |done| step.reach(done, total);
        let output = (&names[..], output);
        let ran = if source.needs_seeking() {
            self.through_file(&mut source, pieces, container, output, &tell).await
        } else {
            self.through_pipe(&mut source, pieces, container, output, &tell).await
        };
        let refused = match ran {
            Ok(()) => None,
            // Of nothing it makes nothing, and says that this is an error.
            Err(Trouble::Merge(error @ MergeError::Impossible(_))) => Some(error),
            Err(error) => return Err(error),
        };
        // What ffmpeg did not take is read all the same: only then is it known what there was.
        while source.next().await?.is_some() {}
        let bad = source.bad().to_vec();
        let fed = source.finish();
        if !fed.tally.knows_tracks {
            return Err(useless(segment, &fed));
        }
        let part = Part { fed, container, file: None, bad, bytes: total };
        let is_of_use = part.fed.tally.is_empty() || (!is_chosen && part.chosen().is_some());
        match refused.filter(|_| !is_of_use) {
            Some(error) => Err(error.into()),
            None => Ok(part),
        }
    }

    async fn through_pipe(
        &self,
        source: &mut Source,
        pieces: Vec<Vec<u8>>,
        container: Container,
        (tracks, output): (&[String], &OutputFile<'_>),
        tell: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), Trouble> {
        let args = commands::copy(Input::Pipe(container), tracks, output);
        let task = self.bench.task(args, self.bench.limit(self.layout.bytes()));
        let feeder = async move |stdin: ChildStdin| pour(stdin, source, pieces, tell).await;
        program::feed(task, Listen::Progress(&|_| {}), feeder).await.map(drop)
    }

    /// A file whose media stand before what describes them cannot be read from a pipe.
    async fn through_file(
        &self,
        source: &mut Source,
        pieces: Vec<Vec<u8>>,
        container: Container,
        (tracks, output): (&[String], &OutputFile<'_>),
        tell: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), Trouble> {
        const NAME: &str = "segment.mp4";
        let path = self.job.folder.join(NAME);
        let file = tokio::fs::File::create(&path).await.map_err(|error| disk(NAME, &error))?;
        pour(file, source, pieces, tell).await?;
        let args = commands::copy(Input::File(NAME, container), tracks, output);
        let copied = self.bench.ffmpeg(args, self.bench.limit(self.layout.bytes()), &|_| {}).await;
        remove(&path).await;
        Ok(copied.map(drop)?)
    }
}

/// Writes all of a source, reading the next piece while one is written. A reader that has gone is no error here: its
/// exit says why.
async fn pour(
    mut to: impl AsyncWrite + Unpin,
    source: &mut Source,
    pieces: Vec<Vec<u8>>,
    tell: &(dyn Fn(u64) + Send + Sync),
) -> Result<(), Trouble> {
    let mut next = Some(pieces.concat());
    while let Some(piece) = next {
        let (written, read) = tokio::join!(to.write_all(&piece), source.next());
        match written {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(disk("what is fed to ffmpeg", &error).into()),
        }
        next = read?;
        tell(source.done_bytes());
    }
    to.shutdown().await.or_else(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(disk("what is fed to ffmpeg", &error).into()),
    })
}

/// Takes away what is not needed any more; what stays is cleared with the folder.
pub async fn remove(path: &Path) {
    let _ = tokio::fs::remove_file(path).await;
}

/// Something of ours could not be written or read.
pub fn disk(what: &str, error: &std::io::Error) -> MergeError {
    MergeError::Interrupted(StoreError::io(what, error).to_string())
}

/// A segment without a header that can be read.
fn useless(segment: &Segment, fed: &Fed) -> Trouble {
    let (from, to) = segment.range();
    let why = fed.stuck.as_deref().unwrap_or("its header does not end");
    let chunks = segment.chunks().map(|chunk| chunk.index.get()).collect();
    Trouble::Unusable(chunks, format!("the segment of chunks {from} to {to} cannot be read: {why}"))
}
