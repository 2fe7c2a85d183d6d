//! One recording, assembled and merged, and the two files held against each other and against the source.

use std::collections::BTreeSet;

use greenroom::domain::{
    assembly::{Assembled, Checkpoint, Rules, Unfit, Writes},
    merge::{Layout, PlannedChunk},
};
use greenroom::protocol::chunk::ChunkIndex;

use crate::{
    apply::apply,
    kit::{
        Done, Item, Recording, Streams, assert_same, file_of, first_ms, frames, from_zero, merge, packets,
        run,
    },
};

/// A file that was assembled.
pub struct File {
    pub file: tempfile::NamedTempFile,
    pub assembled: Assembled,
}

/// Assembles the chunks that are there, as a layout has them, and proves the file as it grows; goes on from a checkpoint
/// every few chunks.
pub fn assemble(recording: &Recording) -> Result<File, Unfit> {
    let chunks = recording
        .chunks
        .iter()
        .map(|(index, chunk)| PlannedChunk { index: ChunkIndex::new(*index).unwrap(), mark: chunk.mark });
    let lost: BTreeSet<_> =
        Layout::of(chunks, recording.made, &BTreeSet::new()).missing().into_iter().collect();
    let (mut state, mut bytes, mut writes) =
        (Checkpoint::new(Rules::default()), Vec::new(), Writes::default());
    for index in 0..recording.made {
        let assembler = &mut state.assembler;
        if lost.contains(&index) {
            assembler.gap(index..index + 1);
        } else {
            let chunk = &recording.chunks[&index];
            assembler.chunk(index, chunk.mark.begins_segment, &chunk.payload, &mut writes)?;
            apply(&writes, &mut bytes);
        }
        read_on(&mut state, &bytes);
        if index % 3 == 1 {
            state = Checkpoint::restore(&state.save()).unwrap();
        }
    }
    let assembled = state.assembler.finish(&mut writes, |at, into| {
        let at = usize::try_from(at).unwrap();
        into.copy_from_slice(&bytes[at..at + into.len()]);
        Ok::<_, Unfit>(())
    })?;
    apply(&writes, &mut bytes);
    read_on(&mut state, &bytes);
    let head = usize::try_from(state.assembler.head_bytes()).unwrap();
    state.prover.finish(&bytes[..head], &state.assembler).unwrap();
    Ok(File { file: file_of(&bytes), assembled })
}

/// What this is cut into makes no difference to its file.
pub fn assert_same_however_cut(source: &[u8]) {
    let file = |pieces, seed| {
        let file = assemble(&Recording::default().segment(source, pieces, seed)).unwrap();
        std::fs::read(file.file.path()).unwrap()
    };
    let whole = file(1, 1);
    for (pieces, seed) in [(2, 3), (7, 1), (40, 2), (1000, 5)] {
        assert!(file(pieces, seed) == whole, "in {pieces} pieces");
    }
}

/// Why a recording of these segments is ffmpeg's.
pub fn refused(segments: &[&[u8]]) -> Unfit {
    let add = |recording: Recording, bytes: &&[u8]| recording.segment(bytes, 3, 4);
    assemble(&segments.iter().fold(Recording::default(), add)).map(drop).unwrap_err()
}

fn read_on(state: &mut Checkpoint, file: &[u8]) {
    let at = |position: u64| usize::try_from(position).unwrap();
    let unread = &file[at(state.prover.read())..at(state.assembler.settled())];
    state.prover.feed(unread, &state.assembler).unwrap();
}

impl File {
    pub fn name(&self) -> &str {
        self.file.path().to_str().unwrap()
    }

    /// Programs that are not ours read, decode and seek in it, and complain of nothing.
    pub fn assert_plays(&self, name: &str) {
        let says = run(
            "ffprobe",
            &["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", self.name()],
        );
        let seconds: f64 = String::from_utf8(says).unwrap().trim().parse().unwrap();
        #[allow(clippy::cast_precision_loss, reason = "of a few seconds")]
        let wanted = self.assembled.duration_us as f64 / 1e6;
        assert!((seconds - wanted).abs() < 0.002, "{name}: it says {seconds} s, not {wanted}");
        let numbered = "-filter:v setpts=N/25/TB -filter:a asetpts=N/SR/TB -enc_time_base:v 1:1000 -f null -";
        let decode = ["-v", "error", "-xerror", "-i", self.name()];
        let args: Vec<_> = decode.into_iter().chain(numbered.split(' ')).collect();
        let output = std::process::Command::new("ffmpeg").args(&args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        // Where pictures change their size the filters begin anew, and so do their numbers.
        let complaints: Vec<_> =
            said.lines().filter(|line| !line.contains("monotonically")).take(9).collect();
        assert!(output.status.success() && complaints.is_empty(), "{name}: {complaints:?}");
        self.assert_seeks(name);
    }

    /// Looked for a picture, a player finds the keyframe at or before it by the index.
    fn assert_seeks(&self, name: &str) {
        let all = keyframes(self.name(), &[]);
        let sought: Vec<_> = all.iter().step_by(all.len().div_ceil(4).max(1)).collect();
        if sought.is_empty() {
            return;
        }
        // One packet at each of them.
        let places: Vec<_> = sought.iter().map(|key| format!("{:.3}%+#1", *key + 0.004)).collect();
        let found = keyframes(self.name(), &["-read_intervals", &places.join(",")]);
        assert_eq!(found.len(), sought.len(), "{name}: {found:?} at {sought:?}");
        for (found, key) in found.iter().zip(sought) {
            assert!(
                (found - key).abs() < 0.001,
                "{name}: the keyframe at {key} s is sought, found was {found}"
            );
        }
    }
}

/// Times of the keyframes of pictures, as ffprobe comes by them. Unit: seconds.
fn keyframes(file: &str, options: &[&str]) -> Vec<f64> {
    let fixed =
        ["-v", "error", "-select_streams", "v", "-show_entries", "packet=pts_time,flags", "-of", "csv=p=0"];
    let text = String::from_utf8(run("ffprobe", &[&fixed[..], options, &[file]].concat())).unwrap();
    let keys = text.lines().filter(|line| line.contains(",K"));
    keys.map(|line| line.split(',').next().unwrap().parse().unwrap()).collect()
}

/// Whether ffmpeg leaves a codec's packets as they are when it copies them.
fn stays(codec: &str) -> bool {
    !matches!(codec, "h264" | "av1")
}

/// What ffmpeg makes of the same chunks is the same: each packet, the length, what is missing and where.
pub fn assert_like_merged(name: &str, file: &File, done: &Done) {
    let (ours, theirs) = (&file.assembled, &done.merged);
    assert_eq!((ours.extension, &ours.codecs), (theirs.extension, &theirs.codecs), "{name}");
    assert_eq!(ours.missing, theirs.missing, "{name}");
    assert_eq!(ours.gaps.len(), theirs.gaps.len(), "{name}: {:?} {:?}", ours.gaps, theirs.gaps);
    for (ours, theirs) in ours.gaps.iter().zip(&theirs.gaps) {
        assert_eq!(ours, theirs, "{name}");
    }
    assert_eq!(ours.work, theirs.work, "{name}");
    let (found, wanted) = (from_zero(packets(file.file.path())), from_zero(packets(&theirs.file)));
    assert_eq!(found.len(), wanted.len(), "{name}: tracks");
    for ((found, wanted), codec) in found.iter().zip(&wanted).zip(&ours.codecs) {
        if stays(codec) {
            assert_same(&format!("{name}: {codec}"), wanted, found);
        } else {
            let times = |items: &[Item]| items.iter().map(|item| item.time_ms).collect::<Vec<_>>();
            let (found, wanted) = (times(found), times(wanted));
            assert_eq!(found.len(), wanted.len(), "{name}: {codec}");
            assert!(found.iter().zip(&wanted).all(|(found, wanted)| found.abs_diff(*wanted) <= 2), "{name}");
        }
    }
    let duration_ms = u64::try_from(ours.duration_us).unwrap() / 1000;
    // Times of packets are held to those of the other one above. How long the last one is, WebM does not say, and what MP4 says
    // ffmpeg does not keep: both take it for as long as others were, which in fifteen short lives are not alike.
    let close_ms = 60;
    assert!(
        duration_ms.abs_diff(theirs.duration_ms) <= close_ms,
        "{name}: {duration_ms} ms, merged {}",
        theirs.duration_ms
    );
}

/// Every packet of every segment is in the file, byte for byte and in order, moved by one time; and every picture is the
/// same.
pub fn assert_like_source(name: &str, file: &File, segments: &[Vec<u8>]) {
    let found = from_zero(packets(file.file.path()));
    let mut next = vec![0; found.len()];
    for bytes in segments {
        let wanted: Streams = from_zero(packets(file_of(bytes).path()));
        let mut offsets = Vec::new();
        for (stream, wanted) in wanted.iter().enumerate() {
            let there = &found[stream][next[stream]..];
            assert!(there.len() >= wanted.len(), "{name}: packets of track {stream}");
            let offset = there[0].time_ms - wanted[0].time_ms;
            let moved: Vec<_> = wanted
                .iter()
                .map(|item| Item { time_ms: item.time_ms + offset, hash: item.hash.clone() })
                .collect();
            assert_same(&format!("{name}: track {stream}"), &moved, &there[..wanted.len()]);
            offsets.push(offset);
            next[stream] += wanted.len();
        }
        let (least, most) = (offsets.iter().min().unwrap(), offsets.iter().max().unwrap());
        assert!(most - least <= 1, "{name}: pictures and sound are apart by {offsets:?}");
    }
    let lengths: Vec<_> = found.iter().map(Vec::len).collect();
    assert_eq!(next, lengths, "{name}: packets that were never recorded");
    let wanted = segments.iter().flat_map(|bytes| frames(file_of(bytes).path()));
    let hashes = |frames: &mut dyn Iterator<Item = Item>| frames.map(|frame| frame.hash).collect::<Vec<_>>();
    let (wanted, found) = (hashes(&mut { wanted }), hashes(&mut frames(file.file.path()).into_iter()));
    assert!(wanted == found, "{name}: {} pictures of {}", found.len(), wanted.len());
}

/// A recording of which nothing is missing.
pub async fn assert_whole(name: &str, recording: &Recording, segments: &[Vec<u8>]) -> File {
    let file = assemble(recording).unwrap_or_else(|unfit| panic!("{name}: {unfit}"));
    assert_eq!(file.assembled.left_out, 0, "{name}");
    assert_like_source(name, &file, segments);
    assert_like_merged(name, &file, &merge(recording).await);
    file.assert_plays(name);
    file
}

/// Of a recording of which something is missing: nothing else than what was recorded, and pictures only from keyframes on.
pub async fn assert_damaged(name: &str, recording: &Recording, source: &[u8]) -> File {
    let file = assemble(recording).unwrap_or_else(|unfit| panic!("{name}: {unfit}"));
    let done = merge(recording).await;
    assert_like_merged(name, &file, &done);
    file.assert_plays(name);
    let (wanted, found) = (frames(file_of(source).path()), frames(file.file.path()));
    let mut rest = wanted.iter();
    for frame in &found {
        let there = rest.any(|other| other.hash == frame.hash && other.time_ms.abs_diff(frame.time_ms) <= 2);
        assert!(there, "{name}: what is shown at {} ms was not recorded then", frame.time_ms);
    }
    assert!(first_ms(&vec![found]) < 1000, "{name}");
    file
}
