//! Judges WebSocket frames by their headers, before a byte of their payload is buffered (RFC 6455 §5.2).
//!
//! The WebSocket layer above compares a frame with its limit only when the whole frame is in memory, and drains a
//! sender of tiny frames as fast as it sends. This stream stands under it: it refuses what breaks the protocol, what
//! is too large and what comes too often at the header, and it lets only so many bytes through per turn. It also holds
//! back the stream's end: the layer above takes one frame per turn, and would drop those it has not taken yet for an
//! error. Reserved bits are refused, so it would have to learn permessage-deflate before that could be negotiated.
//!
//! ```text
//!  large frame   header │ payload …………………………………………… │
//!  passed on as  header'│ 32 KiB │ header'│ 32 KiB │ … │ header'│ rest │   a message in fragments (RFC 6455 §5.4)
//! ```
//! The layer above grows its buffer to a whole frame and keeps it for as long as its socket lasts: for a recorder that is
//! as much as its largest chunk. So large binary messages reach it in fragments, and are put together in a buffer that
//! goes with the message.

use std::{
    cell::Cell,
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::Stream;

use crate::protocol::Code;

/// Lets so many bytes through before the layer above must have looked at them.
const BYTES_PER_TURN: usize = 64 * 1024;

/// And nothing while more frames than this may wait in the layer above.
const UNTAKEN_MAX: usize = 1;

/// The masking key after a client's header.
const MASK_BYTES: usize = 4;

/// A binary frame of more payload goes on in fragments of so much. By whole masking keys, so that one key is right for all.
const FRAGMENT_BYTES: usize = 32 * 1024;

/// FIN (RFC 6455 §5.2).
const LAST: u8 = 0x80;
/// The opcode of fragments behind the first.
const CONTINUATION: u8 = 0;
/// The first byte of a binary message in one frame.
const WHOLE_BINARY: u8 = LAST | 2;

/// Shared with the connection, which only sees that its stream has ended.
pub type Verdict = Rc<Told>;

/// What the guard knows and the layer above does not tell.
#[derive(Debug, Default)]
pub struct Told {
    /// Why the stream has ended before its end.
    pub end: Cell<Option<StreamEnd>>,
    /// How large the newest message is that goes on in fragments. Unit: bytes.
    pub message_bytes: Cell<usize>,
}

/// How a stream can end before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// A frame was refused.
    Refused(Code),
    /// The peer or the network is gone.
    Lost,
}

/// Says whether one more frame may come.
pub type Allowance = Box<dyn FnMut() -> bool>;

/// A stream of frames, judged.
pub struct FrameGuard<S> {
    inner: S,
    scanner: FrameScanner,
    verdict: Verdict,
    passed: usize,
    /// Judged, and not passed on yet.
    ready: VecDeque<Bytes>,
    /// Frames let through that the layer above may not have taken yet.
    untaken: usize,
    /// How the stream has ended, told once everything before is taken.
    end: Option<StreamEnd>,
}

impl<S> FrameGuard<S> {
    /// Guards `inner` against frames of more than `payload_max` bytes and against more frames than allowed.
    pub fn new(inner: S, payload_max: usize, allowance: Allowance, verdict: Verdict) -> Self {
        let scanner = FrameScanner::new(payload_max as u64, allowance);
        Self { inner, scanner, verdict, passed: 0, ready: VecDeque::new(), untaken: 0, end: None }
    }

    /// Lets the layer above take one frame before it asks again.
    fn give_turn(&mut self) -> Poll<Option<Result<Bytes, PayloadError>>> {
        self.passed = 0;
        self.untaken = self.untaken.saturating_sub(1);
        Poll::Pending
    }

    /// The same, and has it ask again at once.
    fn give_turn_now(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        cx.waker().wake_by_ref();
        self.give_turn()
    }

    fn end_with(&mut self, end: StreamEnd) {
        self.end = Some(end);
        // One frame may have had turns before it was whole.
        self.untaken += 1;
    }
}

impl<S> Stream for FrameGuard<S>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let guard = self.get_mut();
        if let Some(bytes) = guard.ready.pop_front() {
            return Poll::Ready(Some(Ok(bytes)));
        }
        if let Some(end) = guard.end {
            if guard.untaken > 0 {
                return guard.give_turn_now(cx);
            }
            guard.verdict.end.set(Some(end));
            return Poll::Ready(Some(Err(PayloadError::Overflow)));
        }
        if guard.passed >= BYTES_PER_TURN || guard.untaken > UNTAKEN_MAX {
            // The layer above asks until there is nothing more, and takes one frame; let it handle what it has first.
            return guard.give_turn_now(cx);
        }
        let Poll::Ready(next) = Pin::new(&mut guard.inner).poll_next(cx) else {
            return guard.give_turn();
        };
        let bytes = match next {
            None => return Poll::Ready(None),
            Some(Ok(bytes)) => bytes,
            Some(Err(_)) => {
                guard.end_with(StreamEnd::Lost);
                return guard.give_turn_now(cx);
            }
        };
        guard.passed += bytes.len();
        // Frames before a bad one are good and are not lost.
        let scanned = guard.scanner.scan(&bytes, &mut guard.ready);
        guard.untaken += std::mem::take(&mut guard.scanner.frames);
        if let Some(bytes) = guard.scanner.fragmented.take() {
            guard.verdict.message_bytes.set(bytes);
        }
        if let Err(code) = scanned {
            guard.end_with(StreamEnd::Refused(code));
        }
        match guard.ready.pop_front() {
            Some(bytes) => Poll::Ready(Some(Ok(bytes))),
            // Nothing of it was good, or it was empty.
            None => guard.give_turn_now(cx),
        }
    }
}

/// Follows the frames of a byte stream, however it is cut.
pub struct FrameScanner {
    payload_max: u64,
    allowance: Allowance,
    header: [u8; 10],
    have: usize,
    /// Of the frame, or of the fragment that is made of it. Unit: bytes.
    skip: u64,
    /// What follows when that is over: the frame is passed on in fragments.
    rest: Option<Rest>,
    /// Good frames since somebody last took this count.
    frames: usize,
    /// The payload of a frame whose first fragment was passed on since somebody last took it. Unit: bytes.
    fragmented: Option<usize>,
}

/// Of a frame that is passed on in fragments.
#[derive(Clone, Copy)]
struct Rest {
    mask: [u8; MASK_BYTES],
    /// Behind the fragment that is being passed on. Unit: bytes.
    bytes: usize,
}

impl FrameScanner {
    /// A scanner at the beginning of a frame.
    #[must_use]
    pub fn new(payload_max: u64, allowance: Allowance) -> Self {
        Self {
            payload_max,
            allowance,
            header: [0; 10],
            have: 0,
            skip: 0,
            rest: None,
            frames: 0,
            fragmented: None,
        }
    }

    /// Looks at the next piece of the stream, and appends to `out` what of it is good.
    ///
    /// # Errors
    /// The first frame that is refused, of which nothing that comes in this piece is passed on. The scanner must not be used after
    /// it.
    pub fn scan(&mut self, bytes: &Bytes, out: &mut VecDeque<Bytes>) -> Result<(), Code> {
        // What was looked at and not passed on yet begins here.
        let mut from = 0;
        let mut at = 0;
        let mut frame_start = 0;
        let pass = |from: usize, to: usize, out: &mut VecDeque<Bytes>| {
            if from < to {
                out.push_back(bytes.slice(from..to));
            }
        };
        while at < bytes.len() {
            if self.skip > 0 {
                let step = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.skip -= step as u64;
                at += step;
                continue;
            }
            if let Some(rest) = self.rest.take() {
                pass(std::mem::replace(&mut from, at), at, out);
                self.begin_fragment(LAST | CONTINUATION, rest, out);
                continue;
            }
            if self.have == 0 {
                frame_start = at;
            }
            self.header[self.have] = bytes[at];
            self.have += 1;
            at += 1;
            let Some(payload) = self.judge().inspect_err(|_| pass(from, frame_start, out))? else { continue };
            let starts_here = at - frame_start == std::mem::take(&mut self.have);
            let mask = bytes.get(at..at + MASK_BYTES).and_then(|mask| mask.try_into().ok());
            match (mask, usize::try_from(payload)) {
                // One whose header came in pieces is passed on as it is.
                (Some(mask), Ok(payload))
                    if payload > FRAGMENT_BYTES && self.header[0] == WHOLE_BINARY && starts_here =>
                {
                    pass(from, frame_start, out);
                    at += MASK_BYTES;
                    from = at;
                    self.fragmented = Some(payload);
                    self.begin_fragment(WHOLE_BINARY, Rest { mask, bytes: payload }, out);
                }
                _ => {
                    self.frames += 1;
                    self.skip = payload + MASK_BYTES as u64;
                }
            }
        }
        pass(from, at, out);
        Ok(())
    }

    /// The header of the next fragment of what is left. `first` is its first byte if it is the last.
    fn begin_fragment(&mut self, first: u8, left: Rest, out: &mut VecDeque<Bytes>) {
        let Rest { mask, bytes } = left;
        let here = bytes.min(FRAGMENT_BYTES);
        self.rest = (bytes > here).then(|| Rest { mask, bytes: bytes - here });
        let first = if self.rest.is_some() { first & !LAST } else { first };
        let mut header = vec![first, 0x80 | 127];
        header.extend((here as u64).to_be_bytes());
        header.extend(mask);
        out.push_back(header.into());
        self.frames += 1;
        self.skip = here as u64;
    }

    /// Judges what is there of the header; when it is whole, says how much payload follows.
    fn judge(&mut self) -> Result<Option<u64>, Code> {
        if self.have < 2 {
            return Ok(None);
        }
        let (first, second) = (self.header[0], self.header[1]);
        let (opcode, length) = (first & 0x0f, second & 0x7f);
        let (last, reserved, masked) = (first & 0x80 != 0, first & 0x70 != 0, second & 0x80 != 0);
        let known = matches!(opcode, 0..=2 | 8..=10);
        let bad_control = opcode >= 8 && (length > 125 || !last);
        if !masked || reserved || !known || bad_control {
            return Err(Code::ProtocolViolation);
        }
        let payload = match (length, self.have) {
            (126, 4) => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            (127, 10) => {
                let mut eight = [0; 8];
                eight.copy_from_slice(&self.header[2..10]);
                u64::from_be_bytes(eight)
            }
            (126 | 127, _) => return Ok(None),
            (short, _) => u64::from(short),
        };
        if payload > self.payload_max {
            return Err(Code::TooLarge);
        }
        if !(self.allowance)() {
            return Err(Code::RateLimited);
        }
        Ok(Some(payload))
    }
}

#[cfg(test)]
#[path = "frame_guard_tests.rs"]
mod tests;
