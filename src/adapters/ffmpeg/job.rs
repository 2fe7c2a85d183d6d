//! One merge: attempts, until one holds every chunk that is of use.

use std::collections::BTreeSet;

use futures_util::future;

use super::{Kit, bench::Bench, check, percent::Percent, segment::Part, source::Trouble};
use crate::{
    adapters::ports::{MergeError, MergeJob, Merged},
    domain::merge::{Difference, Expected, Layout, MergePlan, PlannedChunk, Segment},
};

/// Makes the video. A first chunk that is damaged takes its segment with it, and everything is planned anew without
/// it; any other damaged chunk is a hole where it stood.
pub async fn merge(kit: &Kit, job: &MergeJob) -> Result<Merged, MergeError> {
    let percent = Percent::new(&*job.progress);
    let bench = Bench { kit, folder: &job.folder, guard: kit.guard().await };
    let mut unusable = BTreeSet::new();
    let mut why = "its beginning is missing".to_owned();
    loop {
        let chunks = job.chunks.iter().map(|chunk| PlannedChunk { index: chunk.index, mark: chunk.mark });
        let layout = Layout::of(chunks, job.expected, &unusable);
        if layout.segments.is_empty() {
            return Err(MergeError::Impossible(format!("nothing of this recording can be read: {why}")));
        }
        let attempt = Attempt { bench, job, layout: &layout, percent: &percent };
        match attempt.run().await {
            Ok(merged) => return Ok(merged),
            Err(Trouble::Merge(error)) => return Err(error),
            Err(Trouble::Unusable(chunks, reason)) => {
                let before = unusable.len();
                unusable.extend(chunks);
                if unusable.len() == before {
                    return Err(MergeError::Impossible(reason));
                }
                why = reason;
            }
        }
    }
}

/// One attempt, by one layout.
pub struct Attempt<'a> {
    pub bench: Bench<'a>,
    pub job: &'a MergeJob,
    pub layout: &'a Layout,
    pub percent: &'a Percent<'a>,
}

/// A finished file, and by which plan.
pub struct Made {
    /// In the folder.
    pub name: String,
    pub plan: MergePlan,
    /// Read back.
    pub found: check::Found,
}

impl Attempt<'_> {
    async fn run(&self) -> Result<Merged, Trouble> {
        let (parts, made) = match &self.layout.segments[..] {
            [only] => match self.direct(only).await? {
                Some(made) => made,
                None => self.joined(&self.layout.segments).await?,
            },
            segments => self.joined(segments).await?,
        };
        Ok(self.report(&parts, made).await)
    }

    /// One segment: its packets go straight into the video. `None` where its tracks are known only at its end.
    async fn direct(&self, segment: &Segment) -> Result<Option<(Vec<Part>, Made)>, Trouble> {
        // Room for the index in front, as the number of keyframes is not known before they have passed.
        let mut index_bytes = Some(segment.bytes() / 2048 + segment.chunks().count() as u64 * 80 + 4096);
        let mut chosen = None;
        loop {
            let ahead = self.look_ahead(segment, chosen.as_ref()).await?;
            if ahead.needs_seeking() {
                return Ok(None);
            }
            let plan = MergePlan::of(&[ahead.facts()]);
            let name = format!("video.{}", plan.family.extension());
            let output = super::segment::written(&name, &plan, index_bytes, ahead.delay_us());
            let part = self.feed(ahead, segment, &output, self.percent.step(0.0, 85.0)).await?;
            let parts = vec![part];
            has_content(&parts)?;
            if chosen.is_none() {
                chosen = parts[0].chosen();
                if chosen.is_some() {
                    continue;
                }
            }
            let expected = super::joined::expected(&plan, &parts, &[]);
            match self.check(&name, &expected).await? {
                Ok(found) => return Ok(Some((parts, Made { name, plan, found }))),
                // Keyframes came closer together than there was room for: written behind the media there is always.
                Err(Difference::NoIndex) if index_bytes.take().is_some() => {}
                Err(difference) => return Err(MergeError::NotProven(difference.to_string()).into()),
            }
        }
    }

    /// Holds a finished file against what was planned.
    pub async fn check(
        &self,
        name: &str,
        expected: &Expected<'_>,
    ) -> Result<Result<check::Found, Difference>, MergeError> {
        let step = self.percent.step(88.0, 97.0);
        let found = match check::prove(&self.job.folder.join(name), expected, step).await? {
            Ok(found) => found,
            Err(difference) => return Ok(Err(difference)),
        };
        // Side by side: each takes a moment only to start, which is most of what a short recording waits for.
        future::try_join(self.bench.probe(name, &found), self.bench.decode(name)).await?;
        Ok(Ok(found))
    }
}

/// Refuses what holds nothing to see and nothing to hear.
pub fn has_content(parts: &[Part]) -> Result<(), MergeError> {
    if parts.iter().any(|part| !part.fed.tally.is_empty()) {
        return Ok(());
    }
    Err(MergeError::Nothing("it has a header, but not one picture and no sound".into()))
}
