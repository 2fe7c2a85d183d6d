//! What stands in front of the Clusters. All of it is written before the first one; what is known only at the end has its
//! room.
//!
//! ```text
//!  EBML │ Segment, size unknown │ SeekHead: Info, Tracks, Void │ Info: scale, Void │ Tracks
//!                  └ its size                            └ Cues               └ Duration      (at the end)
//! ```
//! Sums over the file leave these three places out, so it does not matter whether they were read before or after.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{
    super::{
        media::{Track, big_endian, ebml},
        merge::Family,
    },
    Unfit,
    element::{self, Elements, SIZE_UNKNOWN, put, put_header, put_id, put_number, put_void},
    sums::sum_around,
};

/// A tick. Unit: nanoseconds.
pub const SCALE_NS: u64 = 1_000_000;
/// Of an entry of the SeekHead: always the same, so that one can take another's place.
const SEEK_BYTES: usize = 21;
/// Of a Duration.
const DURATION_BYTES: usize = 11;
/// Who made the file, and nothing of where.
const APP: &[u8] = b"greenroom";

/// Where what is known only at the end belongs. Bytes from the file's beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The first byte within the Segment, from which positions count.
    pub segment_data: u64,
    seek_cues: u64,
    duration: u64,
    /// Its own length.
    pub bytes: u64,
    /// Over all of it but what is written at the end. CRC-32C.
    pub sum: u32,
}

impl Head {
    /// Writes the head of a file with these tracks, each an entry as it came, to where nothing stands yet.
    pub fn put(family: Family, entries: &[Vec<u8>], out: &mut Vec<u8>) -> Self {
        put(ebml::EBML, &document(family), out);
        put_id(ebml::SEGMENT, out);
        out.extend_from_slice(&SIZE_UNKNOWN);
        let segment_data = out.len();

        // All sizes are fixed, so it is known where everything will stand.
        let seek_head = 2 * SEEK_BYTES + SEEK_BYTES;
        let info_at = 5 + seek_head;
        let (info, duration_in_info) = info();
        put_header(ebml::SEEK_HEAD, seek_head, out);
        put_seek(ebml::INFO, info_at as u64, out);
        put_seek(ebml::TRACKS, (info_at + info.len()) as u64, out);
        let seek_cues = out.len();
        put_void(SEEK_BYTES, out);
        let duration = out.len() + duration_in_info;
        out.extend_from_slice(&info);
        put(ebml::TRACKS, &entries.concat(), out);
        let mut head = Self {
            segment_data: segment_data as u64,
            seek_cues: seek_cues as u64,
            duration: duration as u64,
            bytes: out.len() as u64,
            sum: 0,
        };
        head.sum = head.sum_on(0, 0, out);
        head
    }

    /// Goes on with a sum over the file by the bytes that stand at `at`. What is written at the end is left out.
    pub fn sum_on(&self, sum: u32, at: u64, bytes: &[u8]) -> u32 {
        sum_around(&self.places(), sum, at, bytes)
    }

    /// What is written at the end, in order.
    fn places(&self) -> [Range<u64>; 3] {
        let of = |at: u64, bytes: usize| at..at + bytes as u64;
        let size = of(self.segment_data - 8, SIZE_UNKNOWN.len());
        [size, of(self.seek_cues, SEEK_BYTES), of(self.duration, DURATION_BYTES)]
    }

    /// What stands there until then.
    pub fn begun(&self) -> [(u64, Vec<u8>); 3] {
        let void = |bytes| {
            let mut void = Vec::new();
            put_void(bytes, &mut void);
            void
        };
        let [size, seek, duration] = self.places().map(|place| place.start);
        [(size, SIZE_UNKNOWN.to_vec()), (seek, void(SEEK_BYTES)), (duration, void(DURATION_BYTES))]
    }

    /// What is written into it at the end: positions, with the bytes there.
    pub fn completed(&self, cues_at: u64, duration_us: i64, end: u64) -> [(u64, Vec<u8>); 3] {
        let mut seek = Vec::new();
        put_seek(ebml::CUES, cues_at - self.segment_data, &mut seek);
        let mut duration = Vec::new();
        #[expect(clippy::cast_precision_loss, reason = "exact for a thousand years")]
        let ms = duration_us as f64 / 1000.0;
        put(ebml::DURATION, &ms.to_be_bytes(), &mut duration);
        let size = element::size_in_eight(end - self.segment_data);
        [(self.segment_data - 8, size.to_vec()), (self.seek_cues, seek), (self.duration, duration)]
    }
}

fn document(family: Family) -> Vec<u8> {
    let mut body = Vec::new();
    put_number(ebml::EBML_VERSION, 1, &mut body);
    put_number(ebml::EBML_READ_VERSION, 1, &mut body);
    put_number(ebml::MAX_ID_LENGTH, 4, &mut body);
    put_number(ebml::MAX_SIZE_LENGTH, 8, &mut body);
    let name: &[u8] = if family == Family::Webm { b"webm" } else { b"matroska" };
    put(ebml::DOC_TYPE, name, &mut body);
    put_number(ebml::DOC_TYPE_VERSION, 4, &mut body);
    put_number(ebml::DOC_TYPE_READ_VERSION, 2, &mut body);
    body
}

fn put_seek(id: u32, position: u64, out: &mut Vec<u8>) {
    let mut name = Vec::new();
    put_id(id, &mut name);
    let mut body = Vec::new();
    put(ebml::SEEK_ID, &name, &mut body);
    put(ebml::SEEK_POSITION, &position.to_be_bytes(), &mut body);
    put(ebml::SEEK, &body, out);
}

/// The Info element, and where in it the Duration belongs.
fn info() -> (Vec<u8>, usize) {
    let mut body = Vec::new();
    put_number(ebml::TIMESTAMP_SCALE, SCALE_NS, &mut body);
    put(ebml::MUXING_APP, APP, &mut body);
    put(ebml::WRITING_APP, APP, &mut body);
    let at = body.len();
    put_void(DURATION_BYTES, &mut body);
    let mut info = Vec::new();
    put(ebml::INFO, &body, &mut info);
    let head = info.len() - body.len();
    (info, head + at)
}

/// The entries of these tracks in a Tracks element, byte for byte.
pub fn entries(tracks_element: &[u8], tracks: &[Track]) -> Result<Vec<Vec<u8>>, Unfit> {
    let lies = || Unfit::Header("the description of its tracks cannot be taken apart".into());
    let all = element::first(tracks_element).ok_or_else(lies)?;
    let number = |entry: &[u8]| {
        let fields = Elements(entry).flatten();
        fields.filter(|field| field.id == ebml::TRACK_NUMBER).last().map(|field| big_endian(field.payload))
    };
    let entry = |track: &Track| {
        let mut entries = Elements(all.payload).flatten().filter(|entry| entry.id == ebml::TRACK_ENTRY);
        entries.find(|entry| number(entry.payload) == Some(u64::from(track.number)))
    };
    tracks.iter().map(|track| Ok(entry(track).ok_or_else(lies)?.whole.to_vec())).collect()
}
