//! Frames good and bad, cut anywhere.

use proptest::prelude::*;

use actix_http::ws::{OpCode, Parser};
use bytes::BytesMut;

use super::*;

/// What is refused, and how many bytes are passed on before it.
fn scan(scanner: &mut FrameScanner, bytes: &[u8]) -> (usize, Result<(), Code>) {
    let mut passed = VecDeque::new();
    let scanned = scanner.scan(&Bytes::copy_from_slice(bytes), &mut passed);
    (passed.iter().map(|piece: &Piece| piece.bytes.len()).sum(), scanned)
}

fn scanner() -> FrameScanner {
    FrameScanner::new(1000, Box::new(|| true))
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | u8::try_from(short).expect("short")),
        long => match u16::try_from(long) {
            Ok(long) => {
                frame.push(0x80 | 126);
                frame.extend(long.to_be_bytes());
            }
            Err(_) => {
                frame.push(0x80 | 127);
                frame.extend((long as u64).to_be_bytes());
            }
        },
    }
    let mask = [1, 2, 3, 4];
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The messages of a stream as the layer above reads them, each with its kind; and its largest frame.
fn messages(stream: VecDeque<Piece>) -> (Vec<(bool, Vec<u8>)>, usize) {
    let (mut buffer, mut all, mut largest) = (BytesMut::new(), Vec::new(), 0);
    for piece in stream {
        buffer.extend_from_slice(&piece.bytes);
        while let Some((_, kind, payload)) =
            Parser::parse(&mut buffer, true, usize::MAX).expect("good frames")
        {
            let payload = payload.unwrap_or_default();
            largest = largest.max(payload.len());
            match kind {
                OpCode::Text | OpCode::Binary => all.push((kind == OpCode::Text, payload.to_vec())),
                OpCode::Continue => all.last_mut().expect("a beginning").1.extend_from_slice(&payload),
                _ => {}
            }
        }
    }
    assert!(buffer.is_empty());
    (all, largest)
}

fn large() -> FrameScanner {
    FrameScanner::new(u64::MAX, Box::new(|| true))
}

/// However large the messages are, the layer above never buffers more than a fragment of one.
#[test]
fn a_large_binary_message_goes_on_in_fragments() {
    let payload: Vec<u8> = (0..200_001_u32).map(|number| number.to_le_bytes()[1]).collect();
    let small = frame(0x82, b"small");
    let limit = usize::try_from(FRAGMENT_BYTES).expect("small");
    let stream = [
        small.clone(),
        frame(0x82, &payload),
        frame(0x89, b"ping"),
        frame(0x82, &payload[..limit]),
        // Its sender sends it in fragments itself.
        frame(0x02, &payload),
        frame(0x80, &payload),
        small,
    ]
    .concat();
    let (mut scanner, mut out) = (large(), VecDeque::new());
    assert_eq!(scanner.scan(&stream.into(), &mut out), Ok(()));
    let announced: Vec<_> = out.iter().filter_map(|piece| piece.announces).collect();
    assert_eq!(announced, [payload.len()]);
    assert_eq!(out.iter().map(|piece| piece.begins).sum::<usize>(), 4 + 3 * payload.len().div_ceil(limit));
    let (read, largest) = messages(out);
    let expected = [
        b"small".to_vec(),
        payload.clone(),
        payload[..limit].to_vec(),
        [&*payload, &*payload].concat(),
        b"small".to_vec(),
    ];
    assert!(read == expected.map(|message| (false, message)));
    assert_eq!(largest, limit);
}

#[test]
fn good_frames_pass_and_the_bad_one_is_named_where_it_begins() {
    let mut bytes = frame(0x81, b"hello");
    bytes.extend(frame(0x01, b"in two "));
    bytes.extend(frame(0x89, b"ping between"));
    bytes.extend(frame(0x80, b"parts"));
    let good = bytes.len();
    assert_eq!(scan(&mut scanner(), &bytes), (good, Ok(())));
    bytes.extend(frame(0x83, b"opcode 3 is reserved"));
    assert_eq!(scan(&mut scanner(), &bytes), (good, Err(Code::ProtocolViolation)));
}

#[test]
fn what_breaks_the_protocol_is_refused_at_its_second_byte() {
    let bad: [(&str, [u8; 2]); 6] = [
        ("unmasked", [0x81, 0x05]),
        ("reserved bit", [0xc1, 0x85]),
        ("reserved data opcode", [0x87, 0x85]),
        ("reserved control opcode", [0x8b, 0x80]),
        ("fragmented ping", [0x09, 0x80]),
        ("ping of 126 bytes", [0x89, 0xfe]),
    ];
    for (name, header) in bad {
        assert_eq!(scan(&mut scanner(), &header), (0, Err(Code::ProtocolViolation)), "{name}");
    }
}

#[test]
fn a_frame_too_large_is_refused_at_its_header() {
    let gigabyte = [0x82, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0];
    assert_eq!(scan(&mut scanner(), &gigabyte), (0, Err(Code::TooLarge)));
    let absurd = [0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(scan(&mut scanner(), &absurd), (0, Err(Code::TooLarge)));
    assert_eq!(scan(&mut scanner(), &frame(0x81, &[0; 1000])).1, Ok(()));
    assert_eq!(scan(&mut scanner(), &frame(0x81, &[0; 1001])), (0, Err(Code::TooLarge)));
}

#[test]
fn more_frames_than_allowed_are_refused() {
    let mut left = 3;
    let mut scanner = FrameScanner::new(
        1000,
        Box::new(move || {
            left -= 1;
            left >= 0
        }),
    );
    let three = frame(0x8a, b"").repeat(3);
    assert_eq!(scan(&mut scanner, &three), (three.len(), Ok(())));
    assert_eq!(scan(&mut scanner, &frame(0x8a, b"")), (0, Err(Code::RateLimited)));
}

/// A stream that has nothing for a moment before each of these.
fn halting(
    pieces: impl IntoIterator<Item = Result<Bytes, PayloadError>>,
) -> impl Stream<Item = Result<Bytes, PayloadError>> + Unpin {
    let mut pieces = pieces.into_iter();
    let mut halts = false;
    futures_util::stream::poll_fn(move |_| {
        halts = !halts;
        if halts { Poll::Pending } else { Poll::Ready(pieces.next()) }
    })
}

/// What the layer above has of a stream.
struct Above {
    frames: usize,
    payload_bytes: usize,
    /// Most bytes that it buffered at one time.
    most: usize,
    end: Option<StreamEnd>,
}

/// What the layer above gets: it asks until there is nothing more, takes one frame, and asks again; at an error it drops what it
/// has not taken.
fn above(stream: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin, payload_max: usize) -> Above {
    let verdict = Verdict::default();
    let mut guard = FrameGuard::new(stream, payload_max, Box::new(|| true), verdict.clone());
    let mut context = Context::from_waker(std::task::Waker::noop());
    let mut buffer = BytesMut::new();
    let (mut above, mut is_over) = (Above { frames: 0, payload_bytes: 0, most: 0, end: None }, false);
    while !is_over || !buffer.is_empty() {
        while !is_over {
            match Pin::new(&mut guard).poll_next(&mut context) {
                Poll::Ready(Some(Ok(bytes))) => buffer.extend_from_slice(&bytes),
                Poll::Ready(Some(Err(_))) => {
                    above.end = verdict.end.get();
                    return above;
                }
                Poll::Ready(None) => is_over = true,
                Poll::Pending => break,
            }
        }
        above.most = above.most.max(buffer.len());
        if let Some((.., payload)) = Parser::parse(&mut buffer, true, usize::MAX).expect("good frames") {
            above.frames += 1;
            above.payload_bytes += payload.map_or(0, |payload| payload.len());
        }
    }
    above
}

#[test]
fn an_end_waits_until_the_frames_before_it_are_taken() {
    let good = frame(0x81, b"good").repeat(5);
    let bad = Bytes::from([good.clone(), frame(0x83, b"bad")].concat());
    let refused = Some(StreamEnd::Refused(Code::ProtocolViolation));
    for cut in 0..good.len() {
        let pieces = || [bad.slice(..cut), bad.slice(cut..)].map(Ok);
        let at_once = above(futures_util::stream::iter(pieces()), 1000);
        assert_eq!((at_once.frames, at_once.end), (5, refused), "cut at {cut}");
        let by_and_by = above(halting(pieces()), 1000);
        assert_eq!((by_and_by.frames, by_and_by.end), (5, refused), "a moment between, cut at {cut}");
    }
    let lost = || [Ok(Bytes::from(good.clone())), Err(PayloadError::Incomplete(None))];
    for seen in [above(futures_util::stream::iter(lost()), 1000), above(halting(lost()), 1000)] {
        assert_eq!((seen.frames, seen.end), (5, Some(StreamEnd::Lost)));
    }
    let nothing = above(futures_util::stream::iter([Err(PayloadError::Incomplete(None))]), 1000);
    assert_eq!((nothing.frames, nothing.end), (0, Some(StreamEnd::Lost)));
}

/// Whatever comes, the buffer of the layer above stays small, in which it keeps what it has not taken.
#[test]
fn the_layer_above_buffers_little_of_a_large_message() {
    let payload = vec![7; 1_000_000];
    let stream = Bytes::from([frame(0x82, &payload), frame(0x82, &payload)].concat());
    let fragment = usize::try_from(FRAGMENT_BYTES).expect("small") + HEADER_BYTES_MAX;
    for piece_bytes in [1 + MASK_BYTES, 16_384, 20_000, 131_072] {
        let pieces = || stream.chunks(piece_bytes).map(|piece| Ok(stream.slice_ref(piece)));
        let at_once = above(futures_util::stream::iter(pieces()), payload.len());
        for seen in [at_once, above(halting(pieces()), payload.len())] {
            assert_eq!(seen.payload_bytes, 2 * payload.len());
            assert!(seen.most <= 2 * fragment, "{} bytes, by {piece_bytes}", seen.most);
        }
    }
}

proptest! {
    #[test]
    fn the_verdict_does_not_depend_on_how_the_stream_is_cut(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        sizes in prop::collection::vec(0usize..300, 0..5),
        cuts in prop::collection::vec(1usize..40, 1..60),
    ) {
        let mut stream: Vec<u8> = sizes.iter().flat_map(|&size| frame(0x81, &vec![7; size])).collect();
        stream.extend(bytes);
        let whole = scan(&mut scanner(), &stream).1;
        let mut pieces = scanner();
        let mut rest = stream.as_slice();
        let mut cut = Ok(());
        for size in cuts.iter().cycle() {
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            cut = scan(&mut pieces, piece).1;
            rest = after;
            if cut.is_err() || rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(whole, cut);
    }
    #[test]
    fn the_messages_are_the_same_however_the_stream_is_cut(
        sizes in prop::collection::vec((any::<bool>(), 0usize..100_000), 1..5),
        cuts in prop::collection::vec(1usize..70_000, 1..20),
        tiny in 0usize..20,
    ) {
        let message = |(number, &(is_text, bytes)): (usize, &(bool, usize))| {
            (is_text, vec![b'a' + u8::try_from(number).expect("few"); bytes])
        };
        let wanted: Vec<_> = sizes.iter().enumerate().map(message).collect();
        let framed = |(is_text, bytes): &(bool, Vec<u8>)| frame(if *is_text { 0x81 } else { 0x82 }, bytes);
        let mut stream = Bytes::from(wanted.iter().flat_map(framed).collect::<Vec<_>>());
        let (mut scanner, mut out) = (large(), VecDeque::new());
        // Headers come in pieces too.
        for cut in std::iter::repeat_n(&1, tiny).chain(cuts.iter().cycle()) {
            if stream.is_empty() {
                break;
            }
            let piece = stream.split_to((*cut).min(stream.len()));
            prop_assert_eq!(scanner.scan(&piece, &mut out), Ok(()));
        }
        prop_assert!(messages(out).0 == wanted);
    }
}
