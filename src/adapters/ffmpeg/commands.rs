//! What ffmpeg is told. Every name in it is one that we made.

use crate::domain::{
    media::{Codec, Container, Track, TrackKind},
    merge::{Family, MergePlan, SegmentPlan, TargetTrack, TrackPlan},
};

/// What every run begins with: no terminal, no talk, progress where it can be read, and no way to anything but files
/// and pipes.
const COMMON: &[&str] =
    &["-nostdin", "-hide_banner", "-nostats", "-loglevel", "error", "-progress", "pipe:1", "-y"];
/// Only by name, so that nothing in the bytes chooses who reads them.
const PIPE: &[&str] = &["-protocol_whitelist", "pipe"];
const FILE: &[&str] = &["-protocol_whitelist", "file"];

/// Where a segment's bytes come from.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// Standard input.
    Pipe(Container),
    /// A file in the folder.
    File(&'a str, Container),
}

/// What is written.
#[derive(Debug, Clone, Copy)]
pub struct OutputFile<'a> {
    /// In the folder.
    pub name: &'a str,
    /// What kind.
    pub family: Family,
    /// Room for the index in front of the media; `None`: it is written behind them. Unit: bytes.
    pub index_bytes: Option<u64>,
    /// What a player takes off of every sound's time, as the first segment's header says. Unit: microseconds.
    pub audio_delay_us: u64,
    /// Whether pictures have an alpha channel.
    pub alpha: bool,
}

/// A recorder's pictures come at any time; none is made up, and none left out.
const FRAMES_AS_THEY_COME: &[&str] = &["-fps_mode", "passthrough", "-enc_time_base:v", "1:1000"];

/// All tracks. By kind, because a recorder's order of tracks is by chance.
pub const ALL_TRACKS: &[&str] = &["0:v?", "0:a?"];

/// A track of the input, by its kind and which of its kind.
pub fn track_of_input(kind: TrackKind, rank: usize) -> String {
    format!("0:{}:{rank}", letter(kind))
}

fn letter(kind: TrackKind) -> &'static str {
    match kind {
        TrackKind::Video => "v",
        TrackKind::Audio | TrackKind::Other => "a",
    }
}

/// Copies one segment's packets, of these tracks.
pub fn copy(input: Input<'_>, tracks: &[String], output: &OutputFile<'_>) -> Vec<String> {
    let mut args = strings(COMMON);
    match input {
        Input::Pipe(container) => {
            args.extend(strings(PIPE));
            args.extend(strings(&["-f", demuxer(container), "-i", "pipe:0"]));
        }
        Input::File(name, container) => {
            args.extend(strings(FILE));
            args.extend(strings(&["-f", demuxer(container), "-i", name]));
        }
    }
    args.extend(tracks.iter().flat_map(|track| ["-map".to_owned(), track.clone()]));
    args.extend(strings(&["-c", "copy"]));
    args.extend(written(output));
    args
}

/// Joins intermediates; `list` names them with their durations.
pub fn concat(list: &str, output: &OutputFile<'_>) -> Vec<String> {
    let mut args = strings(COMMON);
    args.extend(strings(FILE));
    args.extend(strings(&["-f", "concat", "-i", list, "-map", "0:v?", "-map", "0:a?", "-c", "copy"]));
    args.extend(written(output));
    args
}

/// The list that [`concat()`] reads.
pub fn concat_list<'a>(parts: impl Iterator<Item = (&'a str, i64)>) -> String {
    let line = |(name, length_us): (&str, i64)| {
        let (seconds, us) = (length_us / 1_000_000, length_us % 1_000_000);
        format!("file {name}\nduration {seconds}.{us:06}\n")
    };
    std::iter::once("ffconcat version 1.0\n".to_owned()).chain(parts.map(line)).collect()
}

/// An intermediate that does not fit the others.
pub struct Odd<'a> {
    /// In the folder.
    pub name: &'a str,
    /// What is done with its tracks.
    pub plan: &'a SegmentPlan,
    /// From its first packet to the end of its last. Unit: microseconds.
    pub length_us: i64,
    /// What a player takes off of its sound's time. Unit: microseconds.
    pub audio_delay_us: u64,
}

/// Makes an intermediate fit the others: encodes again what is coded otherwise, and adds what is not there.
pub fn adapt(odd: &Odd<'_>, whole: &MergePlan, output: &str) -> Vec<String> {
    let mut args = strings(COMMON);
    let mut maps = Vec::new();
    let mut coding = Vec::new();
    let mut ranks = [0_usize; 2];
    let mut inputs = 0;
    args.extend(strings(&["-protocol_whitelist", "file", "-f", "matroska", "-i", odd.name]));
    for (at, (track, target)) in odd.plan.tracks.iter().zip(&whole.tracks).enumerate() {
        let letter = letter(target.kind);
        let rank = &mut ranks[usize::from(target.kind != TrackKind::Video)];
        let own = track_of_input(target.kind, *rank);
        let source = if *track == TrackPlan::Fill {
            inputs += 1;
            args.extend(strings(&["-f", "lavfi", "-t"]));
            args.extend([seconds(odd.length_us), "-i".into(), nothing(target)]);
            format!("{inputs}:{letter}:0")
        } else {
            *rank += 1;
            own
        };
        maps.extend(["-map".to_owned(), source]);
        coding.extend(match track {
            TrackPlan::Copy { .. } => {
                let delay_us = if target.kind == TrackKind::Audio { odd.audio_delay_us } else { 0 };
                let coding = [format!("-c:{at}"), "copy".to_owned()].into_iter();
                coding.chain(late(&format!("-bsf:{at}"), delay_us)).collect::<Vec<_>>()
            }
            TrackPlan::Fill | TrackPlan::Encode { .. } => {
                encode(at, target).into_iter().chain(begun_in_time(at, target)).collect()
            }
        });
    }
    args.extend(maps);
    args.extend(coding);
    args.extend(strings(FRAMES_AS_THEY_COME));
    let file = OutputFile {
        name: output,
        family: Family::Matroska,
        index_bytes: None,
        audio_delay_us: 0,
        alpha: false,
    };
    args.extend(written(&file));
    args
}

/// Makes an MP4 of a finished video: copies what the plan copies, and encodes the rest.
pub fn export(video: &str, plan: &MergePlan, output: &str) -> Vec<String> {
    let mut args = strings(COMMON);
    args.extend(strings(FILE));
    args.extend(strings(&["-f", demuxer(Container::Matroska), "-i", video]));
    let maps = plan.tracks.iter().flat_map(|track| ["-map".into(), track_of_input(track.kind, track.rank)]);
    args.extend(maps);
    let tracks = plan.segments.iter().flat_map(|segment| &segment.tracks);
    for (at, (track, target)) in tracks.zip(&plan.tracks).enumerate() {
        match track {
            TrackPlan::Copy { .. } => args.extend([format!("-c:{at}"), "copy".to_owned()]),
            TrackPlan::Encode { .. } | TrackPlan::Fill => args.extend(encode(at, target)),
        }
    }
    args.extend(strings(FRAMES_AS_THEY_COME));
    let (family, index_bytes) = (plan.family, None);
    args.extend(written(&OutputFile { name: output, family, index_bytes, audio_delay_us: 0, alpha: false }));
    args
}

/// What ffprobe is asked.
pub fn probe(name: &str) -> Vec<String> {
    let mut args = strings(&["-v", "error", "-hide_banner"]);
    args.extend(strings(FILE));
    args.extend(strings(&["-show_entries", "stream=codec_type", "-of", "json", name]));
    args
}

/// Decodes the first second, of pictures at least the first.
pub fn decode(name: &str) -> Vec<String> {
    let mut args = strings(COMMON);
    args.extend(strings(FILE));
    args.extend(strings(&["-t", "1", "-i", name, "-map", "0:v?", "-map", "0:a?"]));
    // Numbered anew: ffmpeg complains of times that a recorder's clock made, and those are none of a decoder's.
    args.extend(strings(&["-filter:v", "setpts=N/25/TB", "-filter:a", "asetpts=N/SR/TB"]));
    args.extend(strings(&["-enc_time_base:v", "1:1000", "-fps_mode", "passthrough", "-f", "null", "-"]));
    args
}

/// A picture from about `at_us`: of a second's worth the one that shows the most.
pub fn poster(name: &str, at_us: i64, output: &str) -> Vec<String> {
    let mut args = strings(COMMON);
    args.extend(strings(FILE));
    args.extend(["-ss".to_owned(), seconds(at_us.max(0)), "-i".into(), name.to_owned()]);
    let filter = "thumbnail=30,scale=w='min(640,iw)':h=-2";
    args.extend(strings(&["-map", "0:v:0", "-frames:v", "1", "-vf", filter, "-q:v", "4"]));
    args.extend(strings(&[
        "-map_metadata",
        "-1",
        "-fflags",
        "+bitexact",
        "-f",
        "image2",
        "-update",
        "1",
        output,
    ]));
    args
}

/// A filter that makes silence or black.
fn nothing(target: &TargetTrack) -> String {
    match target.kind {
        TrackKind::Video => {
            let (width, height) = size(&target.model);
            format!("color=c=black:s={width}x{height}:r=10")
        }
        TrackKind::Audio | TrackKind::Other => {
            let channels = target.model.channels.clamp(1, 8);
            format!("anullsrc=r={}:cl={channels}c", rate(target))
        }
    }
}

/// How a track is encoded, quick rather than small: it goes on from packets of the same codec.
fn encode(at: usize, target: &TargetTrack) -> Vec<String> {
    let coder: &[&str] = match target.codec {
        Codec::Vp9 => {
            &["libvpx-vp9", "-deadline", "realtime", "-cpu-used", "7", "-row-mt", "1", "-lag-in-frames", "0"]
        }
        Codec::Av1 => {
            &["libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-row-mt", "1", "-lag-in-frames", "0"]
        }
        Codec::H264 => &["libx264", "-preset", "veryfast", "-bf", "0", "-crf", "21"],
        Codec::Aac => &["aac", "-b", "128k"],
        Codec::Pcm => &["pcm_f32le"],
        Codec::Opus => &["libopus", "-b", "96k"],
        _ => &["libvpx", "-deadline", "realtime", "-cpu-used", "4", "-lag-in-frames", "0"],
    };
    let mut args = vec![format!("-c:{at}"), coder[0].to_owned()];
    for option in coder[1..].chunks(2) {
        args.extend([format!("{}:{at}", option[0]), option[1].to_owned()]);
    }
    match target.kind {
        TrackKind::Video => {
            let (width, height) = size(&target.model);
            let fit = format!("scale={width}:{height}:force_original_aspect_ratio=decrease");
            let pad = format!("pad={width}:{height}:-1:-1,setsar=1,format=yuv420p");
            let rate = [("-b", "2500k"), ("-g", "120")];
            let rate = if target.codec == Codec::H264 { &rate[1..] } else { &rate[..] };
            args.extend(rate.iter().flat_map(|(name, value)| [format!("{name}:{at}"), (*value).to_owned()]));
            args.extend([format!("-filter:{at}"), format!("{fit},{pad}")]);
        }
        TrackKind::Audio | TrackKind::Other => {
            args.extend([format!("-ar:{at}"), rate(target).to_string()]);
            args.extend([format!("-ac:{at}"), target.model.channels.clamp(1, 8).to_string()]);
        }
    }
    args
}

/// What an encoder of sound puts in front would begin before the segment does, and move everything. (An MP4 says of it that
/// it is not to be heard.)
fn begun_in_time(at: usize, target: &TargetTrack) -> Vec<String> {
    match target.kind {
        TrackKind::Video => Vec::new(),
        TrackKind::Audio | TrackKind::Other => {
            let late = if target.codec == Codec::Aac { "0.022" } else { "0.0065" };
            vec![format!("-filter:{at}"), format!("asetpts=PTS+{late}/TB")]
        }
    }
}

/// Pixels that every encoder takes.
fn size(model: &Track) -> (u32, u32) {
    let even = |pixels: u32, otherwise: u32| if pixels < 16 { otherwise } else { pixels.min(8192) & !1 };
    (even(model.width, 640), even(model.height, 360))
}

fn rate(target: &TargetTrack) -> u32 {
    let rate = target.model.sample_rate;
    if target.codec == Codec::Opus || !(8000..=192_000).contains(&rate) { 48_000 } else { rate }
}

/// The end of every command: what the file is like. It tells nothing of the machine or the time it was made at.
fn written(output: &OutputFile<'_>) -> Vec<String> {
    let mut args = strings(&["-map_metadata", "-1", "-map_chapters", "-1", "-fflags", "+bitexact"]);
    args.extend(strings(&["-max_muxing_queue_size", "65536"]));
    let muxer = match output.family {
        Family::Webm => "webm",
        Family::Matroska => "matroska",
        Family::Mp4 => "mp4",
    };
    if output.family == Family::Mp4 {
        args.extend(strings(&["-movflags", "+faststart"]));
    } else {
        if let Some(bytes) = output.index_bytes {
            args.extend(["-reserve_index_space".to_owned(), bytes.to_string()]);
        }
        args.extend(late("-bsf:a", output.audio_delay_us));
        if output.alpha {
            args.extend(strings(&["-metadata:s:v:0", "alpha_mode=1"]));
        }
    }
    args.extend(strings(&["-f", muxer, output.name]));
    args
}

/// ffmpeg takes an encoder's delay off when it reads, and when it copies does not put it back, while the header goes on
/// to announce it: sound would come too early. Packets on their way into Matroska count milliseconds.
fn late(option: &str, delay_us: u64) -> Vec<String> {
    match (delay_us + 500) / 1000 {
        0 => Vec::new(),
        ms => vec![option.to_owned(), format!("setts=pts=PTS+{ms}:dts=DTS+{ms}")],
    }
}

fn demuxer(container: Container) -> &'static str {
    match container {
        Container::Matroska => "matroska",
        Container::Mp4 => "mp4",
    }
}

/// Microseconds as ffmpeg reads a time.
pub fn seconds(us: i64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

pub fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
