//! What is written of the tracks: for fragments while it comes, with tables in the end. Source: ISO 14496-12 §8.
//!
//! What describes how a track is coded is passed on as it came. When and where it was recorded is not.

use serde::{Deserialize, Serialize};

use super::{
    super::{
        super::media::{
            boxes::{Child, Fields, child, children, descend},
            moov::Movie,
        },
        Unfit,
    },
    boxes::{put, put_full, put_u32, put_u64},
};

/// In which a movie's own times are told: microseconds.
const MOVIE_TIMESCALE: u32 = 1_000_000;
/// Of a tkhd behind its duration: how it is shown.
const SHOWN_BYTES: usize = 60;
/// Of an mdhd behind its duration: its language.
const LANGUAGE_BYTES: usize = 4;
/// A rate of one.
const AS_IT_IS: u32 = 1 << 16;
/// No turning, no stretching.
const UNITY: [u32; 9] = [1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30];

/// What a header says of one of its tracks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Described {
    pub number: u32,
    /// Ticks of a second.
    pub timescale: u32,
    /// The body of its box, as it came.
    #[serde(with = "serde_bytes")]
    trak: Vec<u8>,
}

/// When a track plays.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plays {
    /// Unit: its ticks.
    pub ticks: u64,
    /// In the movie, with what stands before it. Unit: microseconds.
    pub us: u64,
    pub edit: Edit,
}

/// What a player does to a track's times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// So long nothing plays. Unit: microseconds.
    pub delay_us: u64,
    /// What begins with this time plays then. Unit: ticks.
    pub from: i64,
}

impl Described {
    /// Takes a track out of a header, the body of whose box is here with what was read of it.
    pub fn of(moov: &[u8], movie: &Movie, number: u32) -> Result<Self, Unfit> {
        let is_it = |trak: &Child<'_>| tkhd(trak.body).is_some_and(|tkhd| tkhd.number == number);
        let trak = children(moov).filter(|child| child.kind == *b"trak").find(is_it);
        let read = movie.tracks.iter().find(|track| track.track.number == number);
        let (Some(trak), Some(read)) = (trak, read) else { return Err(lies()) };
        let stbl = descend(trak.body, &[b"mdia", b"minf", b"stbl"]).ok_or_else(lies)?;
        let samples = child(stbl, b"stsz").map_or(Some(0), |stsz| Fields(stsz.body.get(8..)?).u32());
        if samples != Some(0) {
            return Err(Unfit::Header("there are samples beside those in fragments".into()));
        }
        if descend(trak.body, &[b"edts", b"elst"]).is_some_and(|elst| !changes_nothing(elst)) {
            return Err(Unfit::Header("a track has an edit list".into()));
        }
        let references = descend(trak.body, &[b"mdia", b"minf", b"dinf", b"dref"]);
        let elsewhere = |entry: Child<'_>| Fields(entry.body).full().is_none_or(|(_, flags)| flags & 1 == 0);
        if references.is_some_and(|dref| children(dref.get(8..).unwrap_or_default()).any(elsewhere)) {
            return Err(Unfit::Header("a track's data are in another file".into()));
        }
        let of_one_kind = child(stbl, b"stsd").is_some_and(|stsd| {
            stsd.body.get(4..8) == Some(&[0, 0, 0, 1]) && children(&stsd.body[8..]).count() == 1
        });
        if !of_one_kind || mdhd(trak.body).is_none() {
            return Err(lies());
        }
        Ok(Self { number, timescale: read.timescale, trak: trak.body.to_vec() })
    }

    /// Whether samples of both can stand in one track.
    pub fn is_like(&self, other: &Self) -> bool {
        self.timescale == other.timescale && self.coding() == other.coding()
    }

    fn coding(&self) -> Option<&[u8]> {
        descend(&self.trak, &[b"mdia", b"minf", b"stbl", b"stsd"])
    }

    /// The box of a track that plays so long, with these tables.
    fn put(&self, plays: Plays, tables: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
        let (Some(head), Some(language)) = (tkhd(&self.trak), mdhd(&self.trak)) else { return };
        let mdia = child(&self.trak, b"mdia").map_or(&[][..], |mdia| mdia.body);
        let minf = child(mdia, b"minf").map_or(&[][..], |minf| minf.body);
        put(b"trak", out, |out| {
            put_full(b"tkhd", (1, head.flags), out, |out| {
                out.extend_from_slice(&[0; 16]);
                put_u32(self.number, out);
                put_u32(0, out);
                put_u64(plays.us, out);
                out.extend_from_slice(head.shown);
            });
            plays.put_edit(out);
            put(b"mdia", out, |out| {
                put_full(b"mdhd", (1, 0), out, |out| {
                    out.extend_from_slice(&[0; 16]);
                    put_u32(self.timescale, out);
                    put_u64(plays.ticks, out);
                    out.extend_from_slice(language);
                });
                copy(mdia, |kind| kind == b"hdlr", out);
                put(b"minf", out, |out| {
                    copy(minf, |kind| kind != b"stbl", out);
                    put(b"stbl", out, |out| {
                        let stbl = child(minf, b"stbl").map_or(&[][..], |stbl| stbl.body);
                        copy(stbl, |kind| kind == b"stsd", out);
                        tables(out);
                    });
                });
            });
        });
    }
}

impl Plays {
    fn put_edit(self, out: &mut Vec<u8>) {
        let Edit { delay_us, from } = self.edit;
        if self.edit == Edit::default() {
            return;
        }
        put(b"edts", out, |out| {
            put_full(b"elst", (1, 0), out, |out| {
                put_u32(1 + u32::from(delay_us > 0), out);
                if delay_us > 0 {
                    put_u64(delay_us, out);
                    put_u64(u64::MAX, out);
                    put_u32(AS_IT_IS, out);
                }
                put_u64(self.us.saturating_sub(delay_us), out);
                put_u64(from.cast_unsigned(), out);
                put_u32(AS_IT_IS, out);
            });
        });
    }
}

/// What stands in front of fragments.
pub fn put_for_fragments(tracks: &[Described], out: &mut Vec<u8>) {
    put(b"moov", out, |out| {
        put_mvhd(0, tracks, out);
        for track in tracks {
            let tables = |out: &mut Vec<u8>| {
                put_full(b"stts", (0, 0), out, |out| put_u32(0, out));
                put_full(b"stsc", (0, 0), out, |out| put_u32(0, out));
                put_full(b"stsz", (0, 0), out, |out| put_u64(0, out));
                put_full(b"stco", (0, 0), out, |out| put_u32(0, out));
            };
            track.put(Plays::default(), tables, out);
        }
        put(b"mvex", out, |out| {
            for track in tracks {
                put_full(b"trex", (0, 0), out, |out| {
                    [track.number, 1, 0, 0, 0].into_iter().for_each(|word| put_u32(word, out));
                });
            }
        });
    });
}

/// What stands behind everything: each track with its tables.
pub fn put_with_tables<T: FnOnce(&mut Vec<u8>)>(
    tracks: &[Described],
    duration_us: u64,
    mut tables: impl FnMut(u32) -> Option<(Plays, T)>,
    out: &mut Vec<u8>,
) {
    put(b"moov", out, |out| {
        put_mvhd(duration_us, tracks, out);
        for track in tracks {
            if let Some((plays, tables)) = tables(track.number) {
                track.put(plays, tables, out);
            }
        }
    });
}

fn put_mvhd(duration_us: u64, tracks: &[Described], out: &mut Vec<u8>) {
    let next = tracks.iter().map(|track| track.number).max().unwrap_or(0).saturating_add(1);
    put_full(b"mvhd", (1, 0), out, |out| {
        out.extend_from_slice(&[0; 16]);
        put_u32(MOVIE_TIMESCALE, out);
        put_u64(duration_us, out);
        put_u32(AS_IT_IS, out);
        // As loud as it is, and nothing that is reserved.
        put_u32(0x0100_0000, out);
        put_u64(0, out);
        UNITY.into_iter().for_each(|word| put_u32(word, out));
        out.extend_from_slice(&[0; 24]);
        put_u32(next, out);
    });
}

/// The children of these kinds, byte for byte.
fn copy(boxes: &[u8], is_wanted: impl Fn(&[u8; 4]) -> bool, out: &mut Vec<u8>) {
    for child in children(boxes).filter(|child| is_wanted(&child.kind)) {
        out.extend_from_slice(&boxes[child.start..child.body_start + child.body.len()]);
    }
}

struct TrackHead<'a> {
    flags: u32,
    number: u32,
    shown: &'a [u8],
}

fn tkhd(trak: &[u8]) -> Option<TrackHead<'_>> {
    let mut fields = Fields(child(trak, b"tkhd")?.body);
    let (version, flags) = fields.full()?;
    let width = if version == 1 { 8 } else { 4 };
    fields.bytes(2 * width)?;
    let number = fields.u32()?;
    fields.bytes(4 + width)?;
    Some(TrackHead { flags, number, shown: fields.bytes(SHOWN_BYTES)? })
}

/// The language of a track.
fn mdhd(trak: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields(descend(trak, &[b"mdia", b"mdhd"])?);
    let (version, _) = fields.full()?;
    let width = if version == 1 { 8 } else { 4 };
    fields.bytes(2 * width + 4 + width)?;
    fields.bytes(LANGUAGE_BYTES)
}

/// Whether an edit list plays everything from its beginning on.
fn changes_nothing(elst: &[u8]) -> bool {
    let mut fields = Fields(elst);
    let edit = || {
        let (version, _) = fields.full()?;
        let count = fields.u32()?;
        let width = if version == 1 { 8 } else { 4 };
        fields.bytes(width)?;
        Some((count, fields.number(width)?, fields.u32()?))
    };
    let mut edit = edit;
    edit() == Some((1, 0, AS_IT_IS))
}

fn lies() -> Unfit {
    Unfit::Header("the description of its tracks cannot be taken apart".into())
}
