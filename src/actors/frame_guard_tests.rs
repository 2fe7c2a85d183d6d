//! Frames good and bad, cut anywhere.

use proptest::prelude::*;

use super::*;

fn scanner() -> FrameScanner {
    FrameScanner::new(1000, Box::new(|| true))
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | u8::try_from(short).expect("short")),
        long => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(long).expect("fits").to_be_bytes());
        }
    }
    frame.extend([1, 2, 3, 4]);
    frame.extend(payload);
    frame
}

#[test]
fn good_frames_pass_and_the_bad_one_is_named_where_it_begins() {
    let mut bytes = frame(0x81, b"hello");
    bytes.extend(frame(0x01, b"in two "));
    bytes.extend(frame(0x89, b"ping between"));
    bytes.extend(frame(0x80, b"parts"));
    assert_eq!(scanner().scan(&bytes), Ok(()));
    let good = bytes.len();
    bytes.extend(frame(0x83, b"opcode 3 is reserved"));
    assert_eq!(scanner().scan(&bytes), Err(RefusedFrame { code: Code::ProtocolViolation, good }));
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
        let refused = scanner().scan(&header).expect_err(name);
        assert_eq!(refused.code, Code::ProtocolViolation, "{name}");
    }
}

#[test]
fn a_frame_too_large_is_refused_at_its_header() {
    let gigabyte = [0x82, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0];
    assert_eq!(scanner().scan(&gigabyte).expect_err("1 GiB").code, Code::TooLarge);
    let absurd = [0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(scanner().scan(&absurd).expect_err("2^64").code, Code::TooLarge);
    assert_eq!(scanner().scan(&frame(0x81, &[0; 1000])), Ok(()));
    assert_eq!(scanner().scan(&frame(0x81, &[0; 1001])).expect_err("one more").code, Code::TooLarge);
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
    assert_eq!(scanner.scan(&three), Ok(()));
    assert_eq!(scanner.scan(&frame(0x8a, b"")), Err(RefusedFrame { code: Code::RateLimited, good: 0 }));
}

/// What the layer above gets of these pieces and the end after them: it asks until there is nothing more, takes one
/// frame, and asks again; at an error it drops what it has not taken.
fn taken(pieces: Vec<Result<Bytes, PayloadError>>, whole_frames: usize) -> (usize, Option<StreamEnd>) {
    let verdict = Verdict::default();
    let inner = futures_util::stream::iter(pieces);
    let mut guard = FrameGuard::new(inner, 1000, Box::new(|| true), verdict.clone());
    let mut context = Context::from_waker(std::task::Waker::noop());
    let (mut bytes_had, mut frames) = (0, 0);
    loop {
        match Pin::new(&mut guard).poll_next(&mut context) {
            Poll::Ready(Some(Ok(bytes))) => bytes_had += bytes.len(),
            Poll::Ready(Some(Err(_)) | None) => return (frames, verdict.get()),
            Poll::Pending => frames += usize::from(frames < whole_frames && bytes_had > 0),
        }
    }
}

#[test]
fn an_end_waits_until_the_frames_before_it_are_taken() {
    let good = frame(0x81, b"good").repeat(5);
    let bad = [good.clone(), frame(0x83, b"bad")].concat();
    let refused = Some(StreamEnd::Refused(Code::ProtocolViolation));
    assert_eq!(taken(vec![Ok(bad.into())], 5), (5, refused));
    let lost = vec![Ok(good.into()), Err(PayloadError::Incomplete(None))];
    assert_eq!(taken(lost, 5), (5, Some(StreamEnd::Lost)));
    assert_eq!(taken(vec![Err(PayloadError::Incomplete(None))], 0), (0, Some(StreamEnd::Lost)));
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
        let whole = scanner().scan(&stream).map_err(|refused| refused.code);
        let mut pieces = scanner();
        let mut rest = stream.as_slice();
        let mut cut = Ok(());
        for size in cuts.iter().cycle() {
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            cut = pieces.scan(piece).map_err(|refused| refused.code);
            rest = after;
            if cut.is_err() || rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(whole, cut);
    }
}
