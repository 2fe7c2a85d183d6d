//! At a recording's end: the rest of its chunks, its index, its proof.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::sync::OwnedMutexGuard;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::{
    Shared,
    following::{Following, Opening, PICTURE_US},
    growing::{Fault, Finished, Growing},
    place::{self, Extent, Place, Purpose},
};
use crate::{
    adapters::{
        disk,
        ffmpeg::FfmpegMerger,
        ports::{FileProof, MergeError, MergeJob, Merged, RecordingRef, SentVideo, StoreError, StoredChunk},
        video_store,
        whole_chunk::whole_chunk,
    },
    domain::{
        assembly::Assembled,
        merge::{Layout, PlannedChunk},
    },
};

/// How far a recording's assembling is before its proof. Unit: percent.
const READ_PERCENT: u64 = 90;
/// So long somebody waits for the picture of a video that is complete, if no other is being completed: then it is a matter of a
/// moment. Otherwise it follows.
const PICTURE_WAIT: Duration = Duration::from_secs(2);
/// And so long what is told of it afterwards.
const LATER_PICTURE_WAIT: Duration = Duration::from_secs(10);
/// Latest time of the poster within its video.
const POSTER_US_MAX: i64 = 5_000_000;

/// Why a recording is not completed by the assembler.
enum Stop {
    /// ffmpeg does it.
    Unfit(String),
    /// This chunk is of no use, and without it the layout is another, or the file must be.
    Unusable(u32),
    /// What is up of it cannot be used, and the file here has only the rest.
    NotWhole,
    /// It may go better another time.
    Merge(MergeError),
}

/// One of those that are being completed, until it is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn one_more(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The picture of a video that is complete.
enum Picture {
    Made(PathBuf),
    /// It takes longer than somebody should wait for the video.
    Follows,
    /// There is nothing to see, or it could not be made.
    None,
}

impl From<MergeError> for Stop {
    fn from(error: MergeError) -> Self {
        Self::Merge(error)
    }
}

impl Shared {
    /// The video of a recording that is over. `None`: ffmpeg must make it.
    pub async fn complete(&self, job: &MergeJob) -> Result<Option<Merged>, MergeError> {
        let _counted = Counted::one_more(&self.completing);
        let mut unusable = BTreeSet::new();
        loop {
            match self.try_complete(job, &unusable).await {
                Ok(merged) => return Ok(Some(merged)),
                Err(Stop::Merge(error)) => return Err(error),
                Err(Stop::Unusable(index)) if unusable.insert(index) => {}
                Err(Stop::Unusable(_)) => return Ok(None),
                // What is up is not gone on with a second time: this one is whole.
                Err(Stop::NotWhole) => info!(recording = %job.recording.id, "assembled from its chunks"),
                Err(Stop::Unfit(why)) => {
                    info!(recording = %job.recording.id, why, "left to ffmpeg");
                    self.forget(&job.recording).await;
                    return Ok(None);
                }
            }
        }
    }

    async fn try_complete(&self, job: &MergeJob, unusable: &BTreeSet<u32>) -> Result<Merged, Stop> {
        let chunks = job.chunks.iter().map(|chunk| PlannedChunk { index: chunk.index, mark: chunk.mark });
        let layout = Layout::of(chunks, job.expected, unusable);
        let missing: BTreeSet<u32> = layout.missing().into_iter().collect();
        let firsts = layout.segments.iter().map(|segment| segment.range().0).collect();
        let mut held = self.of(&job.recording).lock_owned().await;
        self.watches.forget(&job.recording.id);
        let first_missing = missing.first().copied();
        let cannot_go_on = |growing: &Growing| {
            // An earlier try has left out what was missing then.
            growing.is_being_completed() || (first_missing.is_some() && growing.was_taken())
        };
        if held.growing.as_ref().is_some_and(cannot_go_on) {
            held.drop_file();
        }
        let has_own = held.growing.is_some() || held.has_own();
        let leaves_out = first_missing.is_some();
        let opening = self.opening(&job.recording, Purpose::Complete, leaves_out, has_own).await;
        let opened = self.step(held, move |held, _| held.open_to_complete(opening, first_missing));
        let (held, opened) = opened.await.map_err(|error| away(&error))?;
        opened.map_err(stop)?;
        let held = self.feed_rest(held, job, &missing, &firsts).await?;
        let (_held, finished) = self.step(held, Following::finish).await.map_err(|error| away(&error))?;
        let Some(finished) = finished.map_err(stop)? else {
            return Err(MergeError::Interrupted("its file was taken over".into()).into());
        };
        (job.progress)(u8::try_from(READ_PERCENT).unwrap_or(100));
        let sent = self.send_rest(job, &finished).await?;
        self.report(job, finished, sent).await.map_err(Stop::Merge)
    }

    /// What is up already is gone on with.
    async fn send_rest(&self, job: &MergeJob, finished: &Finished) -> Result<Option<SentVideo>, Stop> {
        let is_whole = finished.place.extent() == Extent::Whole;
        let Some(sender) = &self.sender else { return Ok(None) };
        match sender.send_rest(&job.recording, job.fence, finished).await {
            Ok(None) if !is_whole => Err(Stop::NotWhole),
            Err(error) if !is_whole => Err(away(&error)),
            Err(error) => {
                debug!(recording = %job.recording.id, %error, "it goes up as a whole");
                Ok(None)
            }
            sent => Ok(sent.unwrap_or_default()),
        }
    }

    /// Everything that is not in the file yet, in order.
    async fn feed_rest(
        &self,
        mut held: OwnedMutexGuard<Following>,
        job: &MergeJob,
        missing: &BTreeSet<u32>,
        firsts: &BTreeSet<u32>,
    ) -> Result<OwnedMutexGuard<Following>, Stop> {
        let total: u64 = job.chunks.iter().map(|chunk| u64::from(chunk.mark.length)).sum();
        let witness = job.chunks.first().map(|chunk| chunk.index);
        let mut done = 0;
        let mut next = held.growing.as_ref().map_or(0, Growing::next);
        for chunk in &job.chunks {
            let index = chunk.index.get();
            done += u64::from(chunk.mark.length);
            if index < next {
                continue;
            }
            let planned = PlannedChunk { index: chunk.index, mark: chunk.mark };
            let bytes = match missing.contains(&index) {
                true => None,
                false => whole_chunk(&*job.store, &job.recording.id, planned, witness).await?,
            };
            let was_taken = held.growing.as_ref().is_some_and(Growing::was_taken);
            if bytes.is_none() && (firsts.contains(&index) || (was_taken && !missing.contains(&index))) {
                return Err(Stop::Unusable(index));
            }
            let lost = next..index;
            let (taken, fed) = self
                .step(held, move |held, room| {
                    let Some(growing) = &mut held.growing else { return Ok(()) };
                    lost.for_each(|index| growing.gap(index));
                    match bytes {
                        Some(bytes) => growing.chunk(index, planned.mark.begins_segment, &bytes, room),
                        None => {
                            growing.gap(index);
                            Ok(())
                        }
                    }
                })
                .await
                .map_err(|error| away(&error))?;
            held = taken;
            fed.map_err(stop)?;
            next = index + 1;
            let percent = (done * READ_PERCENT).checked_div(total).unwrap_or(READ_PERCENT);
            (job.progress)(u8::try_from(percent).unwrap_or(100));
        }
        if let Some(growing) = &mut held.growing {
            (next..job.expected).for_each(|index| growing.gap(index));
        }
        if held.growing.as_ref().is_some_and(Growing::was_taken) {
            self.is_all_there_is(job).await?;
        }
        Ok(held)
    }

    /// A former owner may have seen a chunk that came after all were counted, and be about to write it.
    async fn is_all_there_is(&self, job: &MergeJob) -> Result<(), Stop> {
        let stored = job.store.list(&job.recording.id).await.map_err(|error| away(&error))?;
        let last = |chunks: &[StoredChunk]| chunks.last().map(|chunk| chunk.index);
        if last(&stored) > last(&job.chunks) {
            return Err(MergeError::Interrupted("a chunk has come meanwhile".into()).into());
        }
        Ok(())
    }

    async fn report(
        &self,
        job: &MergeJob,
        finished: Finished,
        sent: Option<SentVideo>,
    ) -> Result<Merged, MergeError> {
        let Finished { place, assembled, .. } = finished;
        if assembled.left_out > 0 {
            let (recording, blocks) = (&job.recording.id, assembled.left_out);
            warn!(%recording, blocks, "what its header does not describe, or contradicts itself, is not in the video");
        }
        let (file, is_whole) = (place.part(), place.extent() == Extent::Whole);
        let proof = FileProof { size_bytes: assembled.bytes, sha256: None };
        let path = file.clone();
        let sha256 = if is_whole && assembled.bytes <= self.hashed_at_once {
            let measured = self.disk.run(move || video_store::measured(&path));
            measured.await.map_err(|error| MergeError::Interrupted(error.to_string()))?.sha256
        } else {
            None
        };
        let (poster, poster_follows) = match self.picture(&file, &assembled, place.extent()).await {
            Picture::Made(poster) => (Some(poster), false),
            Picture::Follows => (None, true),
            Picture::None => (None, false),
        };
        (job.progress)(100);
        Ok(Merged {
            file,
            proof,
            sent,
            sha256,
            extension: assembled.extension,
            mime_type: assembled.mime_type,
            codecs: assembled.codecs,
            duration_ms: u64::try_from((assembled.duration_us + 500) / 1000).unwrap_or(0),
            poster,
            poster_follows,
            missing: assembled.missing,
            gaps: assembled.gaps,
            work: assembled.work,
        })
    }

    /// That which was made while it came, or one that is made now, if that is a matter of a moment.
    async fn picture(&self, file: &Path, assembled: &Assembled, extent: Extent) -> Picture {
        if !assembled.has_pictures {
            return Picture::None;
        }
        let made = place::picture_of(file);
        if tokio::fs::metadata(&made).await.is_ok_and(|made| made.len() > 0) {
            return Picture::Made(made);
        }
        // In its first part, which every file has.
        let at_us = (assembled.duration_us / 10).min(if extent == Extent::Whole {
            POSTER_US_MAX
        } else {
            PICTURE_US
        });
        let made = self.ffmpeg.poster(file, at_us, place::UNFINISHED);
        if self.sender.is_some() {
            // Where it is to be stored there is no file to make one of.
            return made.await.map_or(Picture::None, Picture::Made);
        }
        if self.completing.load(Ordering::Relaxed) > 1 {
            return Picture::Follows;
        }
        match tokio::time::timeout(PICTURE_WAIT, made).await {
            Ok(Some(made)) => Picture::Made(made),
            Ok(None) => Picture::None,
            Err(_) => Picture::Follows,
        }
    }
}

/// The picture of a video that is in its store, made in this folder.
pub async fn later_picture(
    ffmpeg: &FfmpegMerger,
    folder: &Path,
    video: &Path,
    duration_ms: u64,
) -> Option<PathBuf> {
    // It is made beside a video of this name, and nobody writes beside one in the store.
    let name = folder.join(Uuid::new_v4().simple().to_string());
    let linked = async {
        tokio::fs::create_dir_all(folder).await?;
        tokio::fs::symlink(tokio::fs::canonicalize(video).await?, &name).await
    };
    linked.await.inspect_err(|error| debug!(%error, "no picture")).ok()?;
    let at_us = i64::try_from(duration_ms.saturating_mul(1000) / 10).unwrap_or(i64::MAX);
    let made = ffmpeg.poster(&name, at_us.min(POSTER_US_MAX), place::UNFINISHED);
    let made = tokio::time::timeout(LATER_PICTURE_WAIT, made).await;
    // Whatever it left goes with the folder.
    let _ = tokio::fs::remove_file(&name).await;
    made.ok().flatten()
}

impl Following {
    /// The file, under a name for this. Not one that has gone past what turned out to be missing or of no use.
    fn open_to_complete(&mut self, opening: Opening, first_missing: Option<u32>) -> Result<(), Fault> {
        let is_of_use =
            |growing: &Growing| first_missing.is_none_or(|first_missing| growing.next() <= first_missing);
        let place = Place::new(&opening.folder, &opening.recording, Purpose::Complete, Extent::Whole);
        disk::make_folders(&opening.folder)?;
        let taken = match self.rename_to_complete(&opening.recording) {
            None => self.take_up(opening)?,
            taken => taken,
        };
        self.growing = Some(match taken {
            Some(growing) if is_of_use(&growing) => growing,
            other => {
                other.map(Growing::clear).transpose()?;
                Growing::begin(place)?
            }
        });
        Ok(())
    }
    /// `None`: there is none, or somebody else has taken it over, or it has to go back to its checkpoint.
    fn rename_to_complete(&mut self, recording: &RecordingRef) -> Option<Growing> {
        let growing = self.growing.take()?;
        let own = growing.own();
        match growing.renamed(recording, Purpose::Complete) {
            Ok(growing) => Some(growing),
            Err(_) => {
                self.own = own;
                None
            }
        }
    }
}

fn stop(fault: Fault) -> Stop {
    match fault {
        Fault::Unfit(unfit) => Stop::Unfit(unfit.to_string()),
        Fault::NotProven(words) => Stop::Unfit(words),
        Fault::Disk(error) => Stop::Merge(MergeError::Interrupted(error.to_string())),
    }
}

fn away(error: &StoreError) -> Stop {
    Stop::Merge(MergeError::Interrupted(error.to_string()))
}
