//! The movie box: what an MP4 file says of its tracks. Source: ISO 14496-12 §8; sample entries also 14496-15 (AVC,
//! HEVC) and the bindings of VP9, AV1 and Opus.

use serde::{Deserialize, Serialize};

use super::{
    ReadError,
    boxes::{self, Child, Fields, child, children, descend},
    matroska_header::{CODEC_PRIVATE_MAX, TRACKS_MAX},
    sample_tables::Tables,
    ticks_to_us,
    track::{Codec, Track, TrackKind},
};

/// Fields of a VisualSampleEntry in front of its boxes.
const VISUAL_BYTES: usize = 78;
/// Of an AudioSampleEntry.
const AUDIO_BYTES: usize = 28;

/// What a moov says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Movie {
    pub tracks: Vec<MovieTrack>,
    pub duration_us: Option<u64>,
}

/// A track with what is needed to find its packets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MovieTrack {
    pub track: Track,
    pub timescale: u32,
    /// What the edit list adds to every time.
    edit_us: i64,
    /// What the edit list takes off of every time, in ticks.
    media_time: i64,
    pub tables: Tables,
    pub defaults: Defaults,
}

/// What holds for samples that say nothing themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Defaults {
    pub duration: u32,
    pub size: u32,
    pub flags: u32,
}

impl MovieTrack {
    /// When something is presented, in microseconds.
    pub fn us(&self, ticks: i64) -> i64 {
        ticks_to_us(ticks.saturating_sub(self.media_time), self.timescale).saturating_add(self.edit_us)
    }
}

/// Reads the body of a moov.
pub fn read(moov: &[u8]) -> Result<Movie, ReadError> {
    let (timescale, duration) = child(moov, b"mvhd").and_then(|mvhd| times(mvhd.body)).unwrap_or((1, 0));
    let fragments = child(moov, b"mvex");
    let mut tracks = Vec::new();
    for trak in children(moov).filter(|child| child.kind == *b"trak") {
        if tracks.len() >= TRACKS_MAX {
            return Err(ReadError::TooMany { what: "tracks", limit: TRACKS_MAX as u64 });
        }
        tracks.extend(read_track(trak, timescale));
    }
    for trex in fragments.iter().flat_map(|mvex| children(mvex.body)).filter(|child| child.kind == *b"trex") {
        if let Some((number, defaults)) = read_trex(trex.body)
            && let Some(track) = tracks.iter_mut().find(|track| track.track.number == number)
        {
            track.defaults = defaults;
        }
    }
    let extended = fragments.and_then(|mvex| child(mvex.body, b"mehd")).and_then(|mehd| read_mehd(mehd.body));
    let ticks = extended.unwrap_or(duration);
    let us = ticks_to_us(i64::try_from(ticks).unwrap_or(0), timescale).unsigned_abs();
    Ok(Movie { tracks, duration_us: Some(us).filter(|us| *us > 0) })
}

/// Timescale and duration of an mvhd or mdhd.
fn times(body: &[u8]) -> Option<(u32, u64)> {
    let mut fields = Fields(body);
    let (version, _) = fields.full()?;
    let width = if version == 1 { 8 } else { 4 };
    fields.bytes(2 * width)?;
    let timescale = fields.u32()?;
    let duration = fields.number(width)?;
    // All bits set: not known.
    let unknown = if width == 8 { u64::MAX } else { u64::from(u32::MAX) };
    Some((timescale.max(1), if duration == unknown { 0 } else { duration }))
}

fn read_mehd(body: &[u8]) -> Option<u64> {
    let mut fields = Fields(body);
    let (version, _) = fields.full()?;
    fields.number(if version == 1 { 8 } else { 4 }).filter(|duration| *duration > 0)
}

fn read_trex(body: &[u8]) -> Option<(u32, Defaults)> {
    let mut fields = Fields(body);
    fields.full()?;
    let number = fields.u32()?;
    fields.u32()?;
    Some((number, Defaults { duration: fields.u32()?, size: fields.u32()?, flags: fields.u32()? }))
}

fn read_track(trak: Child<'_>, movie_timescale: u32) -> Option<MovieTrack> {
    let mut track = Track::unknown(0);
    read_tkhd(child(trak.body, b"tkhd")?.body, &mut track)?;
    let mdia = child(trak.body, b"mdia")?;
    let (timescale, _) = times(child(mdia.body, b"mdhd")?.body)?;
    let handler = child(mdia.body, b"hdlr")?.body.get(8..12)?;
    track.kind = match handler {
        b"vide" => TrackKind::Video,
        b"soun" => TrackKind::Audio,
        _ => TrackKind::Other,
    };
    let minf = child(mdia.body, b"minf")?;
    let stbl = child(minf.body, b"stbl")?;
    let _ = child(stbl.body, b"stsd").and_then(|stsd| read_entry(stsd.body, &mut track));
    let (edit_us, media_time) = descend(trak.body, &[b"edts", b"elst"])
        .and_then(|elst| read_edits(elst, movie_timescale))
        .unwrap_or((0, 0));
    let base = trak.body_start + mdia.body_start + minf.body_start + stbl.body_start;
    let tables = Tables::find(stbl.body, base);
    Some(MovieTrack { track, timescale, edit_us, media_time, tables, defaults: Defaults::default() })
}

fn read_tkhd(body: &[u8], track: &mut Track) -> Option<()> {
    let mut fields = Fields(body);
    let (version, _) = fields.full()?;
    let width = if version == 1 { 8 } else { 4 };
    fields.bytes(2 * width)?;
    track.number = fields.u32()?;
    // Reserved, duration, reserved, layer to volume, matrix.
    fields.bytes(4 + width + 8 + 8 + 36)?;
    (track.width, track.height) = (fields.u32()? >> 16, fields.u32()? >> 16);
    Some(())
}

/// The first sample entry: codec, dimensions, what a decoder needs first.
fn read_entry(stsd: &[u8], track: &mut Track) -> Option<()> {
    let entry = children(stsd.get(8..)?).next()?;
    track.codec = Codec::of_sample_entry(entry.kind);
    let mut fields = Fields(entry.body);
    let inner = match track.kind {
        TrackKind::Video => {
            fields.bytes(24)?;
            let (width, height) = (fields.number(2)?, fields.number(2)?);
            track.width = u32::try_from(width).ok()?;
            track.height = u32::try_from(height).ok()?;
            VISUAL_BYTES
        }
        TrackKind::Audio => {
            fields.bytes(16)?;
            track.channels = u32::try_from(fields.number(2)?).ok()?;
            fields.bytes(6)?;
            track.sample_rate = fields.u32()? >> 16;
            (track.width, track.height) = (0, 0);
            AUDIO_BYTES
        }
        TrackKind::Other => return Some(()),
    };
    let configuration = boxes::children(entry.body.get(inner..)?).find(|child| {
        matches!(&child.kind, b"avcC" | b"hvcC" | b"av1C" | b"vpcC" | b"dOps" | b"esds" | b"dfLa")
    })?;
    if configuration.kind == *b"esds" {
        read_esds(configuration.body, track);
    }
    if configuration.body.len() as u64 <= CODEC_PRIVATE_MAX {
        track.codec_private = Some(configuration.body.into());
    }
    Some(())
}

/// What the elementary stream's descriptor says better than the sample entry: the codec, and the channels, which
/// muxers leave at two. Source: ISO 14496-1 §7.2.6, 14496-3 §1.6.2.1.
fn read_esds(body: &[u8], track: &mut Track) -> Option<()> {
    const ES: u64 = 3;
    const DECODER_CONFIG: u64 = 4;
    const DECODER_SPECIFIC: u64 = 5;
    let mut fields = Fields(body);
    fields.full()?;
    descriptor(&mut fields, ES)?;
    fields.bytes(2)?;
    let flags = fields.number(1)?;
    if flags & 0xe0 != 0 {
        // A stream it depends on, a URL, a clock: no file of a recorder has them.
        return None;
    }
    descriptor(&mut fields, DECODER_CONFIG)?;
    match fields.number(1)? {
        0x40 | 0x66..=0x68 => {}
        other => {
            track.codec = Codec::Other(format!("mp4a.{other:02x}").into());
            return None;
        }
    }
    fields.bytes(12)?;
    descriptor(&mut fields, DECODER_SPECIFIC)?;
    // Five bits of object type, four of frequency, four of channels; an escape in the first two is longer.
    let bits = fields.number(2)?;
    let (kind, frequency, channels) = (bits >> 11, (bits >> 7) & 15, (bits >> 3) & 15);
    if kind < 31 && frequency < 15 && (1..=7).contains(&channels) {
        track.channels = if channels == 7 { 8 } else { u32::try_from(channels).ok()? };
    }
    Some(())
}

/// Steps into a descriptor of this tag; its length, up to four bytes of seven bits, is taken on trust.
fn descriptor(fields: &mut Fields<'_>, tag: u64) -> Option<()> {
    if fields.number(1)? != tag {
        return None;
    }
    for _ in 0..4 {
        if fields.number(1)? & 0x80 == 0 {
            break;
        }
    }
    Some(())
}

/// What an edit list does to times: an empty edit delays, and where the first other one begins is 0.
fn read_edits(body: &[u8], movie_timescale: u32) -> Option<(i64, i64)> {
    let mut fields = Fields(body);
    let (version, _) = fields.full()?;
    let count = fields.u32()?;
    let width = if version == 1 { 8 } else { 4 };
    let mut delay = 0_i64;
    for _ in 0..count {
        let duration = fields.number(width)?;
        let media_time = fields.number(width)?;
        fields.u32()?;
        let media_time = if width == 8 {
            media_time.cast_signed()
        } else {
            i64::from(u32::try_from(media_time).ok()?.cast_signed())
        };
        if media_time >= 0 {
            return Some((ticks_to_us(delay, movie_timescale), media_time));
        }
        delay = delay.saturating_add(i64::try_from(duration).unwrap_or(i64::MAX));
    }
    Some((ticks_to_us(delay, movie_timescale), 0))
}
