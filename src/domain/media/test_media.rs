//! Media built by hand, byte by byte, for the tests of the readers. Independent of what it tests.

/// An EBML id as its bytes.
fn id_bytes(id: u32) -> Vec<u8> {
    let skipped = id.leading_zeros() as usize / 8;
    id.to_be_bytes()[skipped..].to_vec()
}

/// An element with its size in as few bytes as hold it.
pub fn element(id: u32, body: &[u8]) -> Vec<u8> {
    let size = body.len() as u64;
    let length = (1..=8).find(|length| size < (1_u64 << (7 * length)) - 1).unwrap_or(8);
    let field = (size | 1 << (7 * length)).to_be_bytes();
    [id_bytes(id).as_slice(), &field[8 - length..], body].concat()
}

/// The beginning of an element of unknown size.
pub fn endless(id: u32) -> Vec<u8> {
    [id_bytes(id).as_slice(), &[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]].concat()
}

pub fn number(id: u32, value: u64) -> Vec<u8> {
    let skipped = (value.leading_zeros() as usize / 8).min(7);
    element(id, &value.to_be_bytes()[skipped..])
}

/// The EBML header of a WebM file.
pub fn ebml_header() -> Vec<u8> {
    element(0x1a45_dfa3, &[element(0x4282, b"webm"), number(0x42f2, 4), number(0x42f3, 8)].concat())
}

/// Info with a scale in nanoseconds and, in ticks, a duration.
pub fn info(scale_ns: u64, duration: Option<f64>) -> Vec<u8> {
    let duration = duration.map(|ticks| element(0x4489, &ticks.to_be_bytes())).unwrap_or_default();
    element(0x1549_a966, &[duration, number(0x2a_d7b1, scale_ns)].concat())
}

pub fn video_track(number_: u64) -> Vec<u8> {
    let video = element(0xe0, &[number(0xb0, 640), number(0xba, 360)].concat());
    element(0xae, &[number(0xd7, number_), number(0x83, 1), element(0x86, b"V_VP8"), video].concat())
}

pub fn audio_track(number_: u64) -> Vec<u8> {
    let audio = element(0xe1, &[element(0xb5, &48000_f64.to_be_bytes()), number(0x9f, 2)].concat());
    element(0xae, &[number(0xd7, number_), number(0x83, 2), element(0x86, b"A_OPUS"), audio].concat())
}

/// All that stands in front of the Clusters of a live stream: VP8 as track 1, Opus as track 2, milliseconds.
pub fn live_header() -> Vec<u8> {
    let tracks = element(0x1654_ae6b, &[video_track(1), audio_track(2)].concat());
    [ebml_header(), endless(0x1853_8067), info(1_000_000, None), tracks].concat()
}

/// A block's head and payload.
pub fn block(track: u8, time: i16, flags: u8, payload: &[u8]) -> Vec<u8> {
    [&[0x80 | track], time.to_be_bytes().as_slice(), &[flags], payload].concat()
}

pub fn simple_block(track: u8, time: i16, keyframe: bool, payload: &[u8]) -> Vec<u8> {
    element(0xa3, &block(track, time, if keyframe { 0x80 } else { 0 }, payload))
}

/// A BlockGroup with a duration in ticks; without a reference it is a keyframe.
pub fn block_group(track: u8, time: i16, keyframe: bool, duration: u64, payload: &[u8]) -> Vec<u8> {
    let reference = if keyframe { Vec::new() } else { element(0xfb, &[0xff]) };
    let body = [element(0xa1, &block(track, time, 0, payload)), number(0x9b, duration), reference].concat();
    element(0xa0, &body)
}

/// A Cluster of unknown size.
pub fn live_cluster(time: u64, blocks: &[Vec<u8>]) -> Vec<u8> {
    [endless(0x1f43_b675), number(0xe7, time), blocks.concat()].concat()
}

/// A Cluster of known size.
pub fn cluster(time: u64, blocks: &[Vec<u8>]) -> Vec<u8> {
    element(0x1f43_b675, &[number(0xe7, time), blocks.concat()].concat())
}

/// An Opus packet of 20 ms, by its first byte.
pub fn opus(bytes: usize) -> Vec<u8> {
    let mut packet = vec![0x55; bytes.max(1)];
    packet[0] = 0xf8;
    packet
}

/// Half a second of a stream: video every 100 ms, the first a keyframe if wanted, audio in between.
pub fn half_second(keyframe: bool, bytes: usize) -> Vec<Vec<u8>> {
    let pair = |at: i16| {
        let video = simple_block(1, at * 100, keyframe && at == 0, &vec![at.to_be_bytes()[1] | 0x10; bytes]);
        [video, simple_block(2, at * 100 + 20, true, &opus(bytes / 3))]
    };
    (0..5).flat_map(pair).collect()
}

/// A box.
pub fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8).unwrap_or(0);
    [&size.to_be_bytes(), kind.as_slice(), body].concat()
}

/// A box with version and flags.
pub fn full(kind: &[u8; 4], version: u8, flags: u32, body: &[u8]) -> Vec<u8> {
    let word = u32::from(version) << 24 | flags;
    boxed(kind, &[&word.to_be_bytes(), body].concat())
}

/// How many bytes, as boxes count them.
pub fn size(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn count(sizes: &[u32]) -> u32 {
    u32::try_from(sizes.len()).unwrap_or(u32::MAX)
}

/// Numbers of four bytes, one behind the other.
pub fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

pub fn ftyp() -> Vec<u8> {
    boxed(b"ftyp", b"isom\0\0\x02\0isomiso6")
}

/// A track of 1000 ticks a second with these tables.
pub fn trak(number_: u32, video: bool, tables: &[Vec<u8>]) -> Vec<u8> {
    let tkhd = full(
        b"tkhd",
        0,
        3,
        &[words(&[0, 0, number_, 0, 0]), vec![0; 52], words(&[640 << 16, 360 << 16])].concat(),
    );
    let mdhd = full(b"mdhd", 0, 0, &words(&[0, 0, 1000, 0, 0]));
    let hdlr =
        full(b"hdlr", 0, 0, &[&[0; 4], if video { b"vide" } else { b"soun" }, [0; 13].as_slice()].concat());
    let entry = if video {
        boxed(
            b"vp09",
            &[vec![0; 24], words(&[640 << 16 | 360]), vec![0; 50], full(b"vpcC", 1, 0, &[0; 8])].concat(),
        )
    } else {
        boxed(
            b"Opus",
            &[vec![0; 16], words(&[2 << 16 | 16, 0, 48000 << 16]), boxed(b"dOps", &[0; 11])].concat(),
        )
    };
    let stsd = full(b"stsd", 0, 0, &[words(&[1]), entry].concat());
    let stbl = boxed(b"stbl", &[stsd, tables.concat()].concat());
    boxed(b"trak", &[tkhd, boxed(b"mdia", &[mdhd, hdlr, boxed(b"minf", &stbl)].concat())].concat())
}

/// A moov for fragments: VP9 as track 1, Opus as track 2.
pub fn moov() -> Vec<u8> {
    let mvhd = full(b"mvhd", 0, 0, &[words(&[0, 0, 1000, 0]), vec![0; 80]].concat());
    let trex = |track: u32, flags: u32| full(b"trex", 0, 0, &words(&[track, 1, 20, 0, flags]));
    let mvex = boxed(b"mvex", &[trex(1, 0x0101_0000), trex(2, 0x0200_0000)].concat());
    boxed(b"moov", &[mvhd, trak(1, true, &[]), trak(2, false, &[]), mvex].concat())
}

/// A fragment of both tracks with a sample of each of these sizes; the first of the video is a keyframe if wanted.
/// With a `base`, that is written as the absolute position of the moof.
pub fn fragment(sequence: u32, time: u32, keyframe: bool, sizes: &[u32], base: Option<u64>) -> Vec<u8> {
    let data: u32 = sizes.iter().sum();
    let traf = |track: u32, offset: u32| {
        let (flags, base) = match base {
            Some(base) => (0x1, base.to_be_bytes().to_vec()),
            None => (0x2_0000, Vec::new()),
        };
        let tfhd = full(b"tfhd", 0, flags, &[words(&[track]), base].concat());
        let tfdt = full(b"tfdt", 0, 0, &words(&[time]));
        let first = if track == 2 || keyframe { 0x0200_0000 } else { 0x0101_0000 };
        let fields = [words(&[count(sizes), offset, first]), words(sizes)].concat();
        boxed(b"traf", &[tfhd, tfdt, full(b"trun", 0, 0x205, &fields)].concat())
    };
    let moof = |offset: u32| {
        let mfhd = full(b"mfhd", 0, 0, &words(&[sequence]));
        boxed(b"moof", &[mfhd, traf(1, offset), traf(2, offset + data)].concat())
    };
    let offset = u32::try_from(moof(0).len() + 8).unwrap_or(0);
    let mdat = vec![0xa5; 2 * data as usize];
    [moof(offset), boxed(b"mdat", &mdat)].concat()
}

/// A whole file of one video track: these sizes in one chunk, its moov in front or behind.
pub fn whole(sizes: &[u32], in_front: bool) -> Vec<u8> {
    let count = count(sizes);
    let mdat = boxed(b"mdat", &vec![0xa5; sizes.iter().sum::<u32>() as usize]);
    let moov = |offset: u32| {
        let tables = [
            full(b"stts", 0, 0, &words(&[1, count, 40])),
            full(b"stss", 0, 0, &words(&[1, 1])),
            full(b"stsc", 0, 0, &words(&[1, 1, count, 1])),
            full(b"stsz", 0, 0, &[words(&[0, count]), words(sizes)].concat()),
            full(b"stco", 0, 0, &words(&[1, offset])),
        ];
        let mvhd = full(b"mvhd", 0, 0, &[words(&[0, 0, 1000, count * 40]), vec![0; 80]].concat());
        boxed(b"moov", &[mvhd, trak(1, true, &tables)].concat())
    };
    let front = size(&ftyp()) + 8;
    if in_front {
        [ftyp(), moov(front + size(&moov(0))), mdat].concat()
    } else {
        [ftyp(), mdat, moov(front)].concat()
    }
}
