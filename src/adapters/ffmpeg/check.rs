//! What came out, as it is read back.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{
    bench::Bench,
    commands,
    percent::Step,
    program::{self, Listen},
    segment::disk,
};
use crate::{
    adapters::ports::{FileProof, MergeError},
    domain::{
        media::{Container, Event, Reader},
        merge::{Difference, Expected, Tally, prove as compare},
    },
};

/// How much of a file is read at once. Unit: bytes.
const PIECE_BYTES: usize = 1024 * 1024;
/// For a look at a file, whatever its size.
const LOOK: Duration = Duration::from_secs(60);

/// A file that was read.
pub struct Found {
    /// Its packets and its index.
    pub tally: Tally,
    /// What it is, byte for byte.
    pub proof: FileProof,
}

/// Reads a finished file to its end, makes it durable, and holds it against what was planned.
pub async fn prove(
    path: &Path,
    expected: &Expected<'_>,
    step: Step<'_>,
) -> Result<Result<Found, Difference>, MergeError> {
    let container = expected.family.container();
    step.reach(0, 1);
    let found = read_all(path, container).await?;
    step.reach(1, 1);
    Ok(compare(expected, &found.tally).map(|()| found))
}

/// Reads a file that is not the last.
pub async fn read(path: &Path, container: Container) -> Result<Tally, MergeError> {
    Ok(read_all(path, container).await?.tally)
}

/// Reads a file to its end and makes it durable.
pub async fn read_all(path: &Path, container: Container) -> Result<Found, MergeError> {
    blocking(path.to_owned(), move |path| scan(path, container)).await
}

async fn blocking<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce(&Path) -> Result<T, MergeError> + Send + 'static,
) -> Result<T, MergeError> {
    let done = tokio::task::spawn_blocking(move || work(&path)).await;
    done.map_err(|_| MergeError::Interrupted("reading the result was broken off".into()))?
}

fn scan(path: &Path, container: Container) -> Result<Found, MergeError> {
    const WHAT: &str = "the result";
    let mut file = File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => MergeError::NotProven("ffmpeg made no file".into()),
        _ => disk(WHAT, &error),
    })?;
    let mut reader = Reader::new(container);
    let (mut tally, mut events) = (Tally::default(), Vec::<Event>::new());
    let (mut digest, mut size_bytes) = (Sha256::new(), 0);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(disk(WHAT, &error)),
        };
        digest.update(&piece[..count]);
        size_bytes += count as u64;
        let read = reader.feed(&piece[..count], &mut events);
        events.drain(..).for_each(|event| tally.fold(&event));
        read.map_err(|error| MergeError::NotProven(error.to_string()))?;
    }
    reader.finish(&mut events);
    events.drain(..).for_each(|event| tally.fold(&event));
    file.sync_all().map_err(|error| disk(WHAT, &error))?;
    Ok(Found { tally, proof: FileProof { size_bytes, sha256: Some(digest.finalize().into()) } })
}

/// What ffprobe says of a file.
#[derive(Debug, Deserialize)]
struct Probed {
    #[serde(default)]
    streams: Vec<ProbedStream>,
}

#[derive(Debug, Deserialize)]
struct ProbedStream {
    #[serde(default)]
    codec_type: String,
}

impl Bench<'_> {
    /// A reader that is not ours sees the same tracks.
    pub async fn probe(&self, name: &str, found: &Found) -> Result<(), MergeError> {
        let args = commands::probe(name);
        let task = self.tool(&self.kit.config.ffprobe, args, LOOK);
        let output = program::run(task, Listen::Keep).await.map_err(not_proven)?;
        let probed: Probed = serde_json::from_slice(&output.stdout)
            .map_err(|error| MergeError::NotProven(format!("ffprobe does not say what it sees: {error}")))?;
        let seen =
            probed.streams.iter().filter(|stream| matches!(&*stream.codec_type, "video" | "audio")).count();
        let there = found.tally.summary.tracks.len();
        if seen == there {
            Ok(())
        } else {
            Err(MergeError::NotProven(format!("ffprobe sees {seen} tracks of {there}")))
        }
    }

    /// Its beginning can be decoded.
    pub async fn decode(&self, name: &str) -> Result<(), MergeError> {
        let task = self.task(commands::decode(name), LOOK);
        let output = program::run(task, Listen::Keep).await.map_err(not_proven)?;
        let text = String::from_utf8_lossy(&output.stdout);
        // Frames of pictures, or a time that sound has reached.
        let counted =
            text.lines().filter_map(|line| line.strip_prefix("frame=").or(line.strip_prefix("out_time_us=")));
        let decoded = counted.filter_map(|count| count.trim().parse::<i64>().ok()).any(|count| count > 0);
        match (decoded, output.stderr.is_empty()) {
            (true, true) => Ok(()),
            (_, false) => {
                Err(MergeError::NotProven(format!("its beginning does not decode: {}", output.stderr)))
            }
            (false, true) => Err(MergeError::NotProven("nothing of its beginning can be decoded".into())),
        }
    }
}

/// A file that a reader refuses is not what it should be.
fn not_proven(error: MergeError) -> MergeError {
    match error {
        MergeError::Impossible(what) => MergeError::NotProven(what),
        other => other,
    }
}
