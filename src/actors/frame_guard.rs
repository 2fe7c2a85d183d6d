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
//!  passed on as  header'│ 16 KiB │ header'│ 16 KiB │ … │ header'│ rest │   a message in fragments (RFC 6455 §5.4)
//! ```
//! The layer above grows its buffer to a whole frame, and to all that comes with it in a turn, and keeps it for as long as
//! its socket lasts: for a recorder that was more than its largest chunk. So large frames reach it in fragments, one a turn,
//! and are put together in a buffer that goes with the message.

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

/// When so many bytes have gone up, the layer above must look at them before it gets more.
const BYTES_PER_TURN: usize = 16 * 1024;

/// The masking key after a client's header.
const MASK_BYTES: usize = 4;
/// A client's header with the longest length and its masking key.
const HEADER_BYTES_MAX: usize = 2 + 8 + MASK_BYTES;

/// A data frame of more payload goes on in fragments of so much. By whole masking keys, so that one key is right for all.
/// What is passed on as it is comes in pieces of about as much. Unit: bytes.
const FRAGMENT_BYTES: u64 = 16 * 1024;

/// FIN (RFC 6455 §5.2).
const LAST: u8 = 0x80;
/// The opcode of fragments behind the first.
const CONTINUATION: u8 = 0;
/// The first byte of a binary message in one frame.
const WHOLE_BINARY: u8 = LAST | 2;
/// The first of the opcodes of control frames, which are small.
const CONTROL: u8 = 8;

/// Shared with the connection, which only sees that its stream has ended.
pub type Verdict = Rc<Told>;

/// What the guard knows and the layer above does not tell.
#[derive(Debug, Default)]
pub struct Told {
    /// Why the stream has ended before its end.
    pub end: Cell<Option<StreamEnd>>,
    /// How large the newest message is that is passed on in fragments. Unit: bytes.
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
    ready: VecDeque<Piece>,
    /// Frames let through that the layer above may not have taken yet.
    untaken: usize,
    /// How the stream has ended, told once everything before is taken.
    end: Option<StreamEnd>,
    /// Whether one turn more is due before that: a frame may have had turns before it was whole.
    one_more: bool,
}

impl<S> FrameGuard<S> {
    /// Guards `inner` against frames of more than `payload_max` bytes and against more frames than allowed.
    pub fn new(inner: S, payload_max: usize, allowance: Allowance, verdict: Verdict) -> Self {
        let scanner = FrameScanner::new(payload_max as u64, allowance);
        Self {
            inner,
            scanner,
            verdict,
            passed: 0,
            ready: VecDeque::new(),
            untaken: 0,
            end: None,
            one_more: true,
        }
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

    /// Passes on the next of what was judged, or gives a turn: the layer above asks until there is nothing more, and takes one
    /// frame; it handles what it has before another begins. `None`: there is nothing.
    fn pass(&mut self, cx: &Context<'_>) -> Option<Poll<Option<Result<Bytes, PayloadError>>>> {
        let begins = self.ready.front()?.begins;
        if self.passed >= BYTES_PER_TURN || begins > 0 && self.untaken > 0 {
            return Some(self.give_turn_now(cx));
        }
        let piece = self.ready.pop_front()?;
        self.passed += piece.bytes.len();
        self.untaken += piece.begins;
        if let Some(bytes) = piece.announces {
            self.verdict.message_bytes.set(bytes);
        }
        Some(Poll::Ready(Some(Ok(piece.bytes))))
    }
}

impl<S> Stream for FrameGuard<S>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let guard = self.get_mut();
        if let Some(passed) = guard.pass(cx) {
            return passed;
        }
        if let Some(end) = guard.end {
            if guard.untaken > 0 || std::mem::take(&mut guard.one_more) {
                return guard.give_turn_now(cx);
            }
            guard.verdict.end.set(Some(end));
            return Poll::Ready(Some(Err(PayloadError::Overflow)));
        }
        if guard.passed >= BYTES_PER_TURN || guard.untaken > 1 {
            return guard.give_turn_now(cx);
        }
        let Poll::Ready(next) = Pin::new(&mut guard.inner).poll_next(cx) else {
            return guard.give_turn();
        };
        let bytes = match next {
            None => return Poll::Ready(None),
            Some(Ok(bytes)) => bytes,
            Some(Err(_)) => {
                guard.end = Some(StreamEnd::Lost);
                return guard.give_turn_now(cx);
            }
        };
        // Frames before a bad one are good and are not lost.
        if let Err(code) = guard.scanner.scan(&bytes, &mut guard.ready) {
            guard.end = Some(StreamEnd::Refused(code));
        }
        // Nothing of it may have been good, or it was the beginning of a header.
        guard.pass(cx).unwrap_or_else(|| guard.give_turn_now(cx))
    }
}

/// Good bytes of the stream.
#[derive(Debug)]
pub struct Piece {
    /// What is passed on.
    pub bytes: Bytes,
    /// Frames that begin in it.
    pub begins: usize,
    /// The payload of the frame of which it is the first fragment. Unit: bytes.
    announces: Option<usize>,
}

/// Follows the frames of a byte stream, however it is cut.
pub struct FrameScanner {
    payload_max: u64,
    allowance: Allowance,
    /// The header of the next frame as far as it has come, with its masking key.
    header: [u8; HEADER_BYTES_MAX],
    have: usize,
    /// What follows that header, which has passed. Unit: bytes.
    payload: Option<u64>,
    /// Of the frame, or of the fragment that is made of it. Unit: bytes.
    skip: u64,
    /// What follows when that is over: the frame is passed on in fragments.
    rest: Option<Rest>,
    /// Frames that begin in what is passed on next.
    begun: usize,
}

/// Of a frame that is passed on in fragments.
#[derive(Clone, Copy)]
struct Rest {
    mask: [u8; MASK_BYTES],
    /// Behind the fragment that is being passed on. Unit: bytes.
    bytes: u64,
    /// The first byte of the next, if nothing follows it.
    first: u8,
}

impl FrameScanner {
    /// A scanner at the beginning of a frame.
    #[must_use]
    pub fn new(payload_max: u64, allowance: Allowance) -> Self {
        Self {
            payload_max,
            allowance,
            header: [0; HEADER_BYTES_MAX],
            have: 0,
            payload: None,
            skip: 0,
            rest: None,
            begun: 0,
        }
    }

    /// Looks at the next piece of the stream, and appends to `out` what of it is good. A header is passed on when it is whole.
    ///
    /// # Errors
    /// The first frame that is refused, of which nothing is passed on that comes in this piece. The scanner must not be used after
    /// it.
    pub fn scan(&mut self, bytes: &Bytes, out: &mut VecDeque<Piece>) -> Result<(), Code> {
        // What was looked at and not passed on yet begins here.
        let mut from = 0;
        let mut at = 0;
        let mut frame_start = 0;
        while at < bytes.len() {
            if self.skip > 0 {
                let step = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.skip -= step as u64;
                at += step;
                continue;
            }
            if let Some(rest) = self.rest.take() {
                self.pass(bytes.slice(from..at), out);
                from = at;
                self.begin_fragment(rest, None, out);
                continue;
            }
            if self.have == 0 {
                if (at - from) as u64 >= FRAGMENT_BYTES {
                    self.pass(bytes.slice(from..at), out);
                    from = at;
                }
                frame_start = at;
            }
            self.header[self.have] = bytes[at];
            self.have += 1;
            at += 1;
            let Some(payload) = self.payload else {
                self.payload =
                    self.judge().inspect_err(|_| self.pass(bytes.slice(from..frame_start), out))?;
                continue;
            };
            if self.have == self.header_bytes() {
                let starts_here = at - frame_start == self.have;
                if !starts_here || self.is_large(payload) {
                    self.pass(bytes.slice(from..frame_start), out);
                    from = at;
                }
                self.begin_frame(payload, starts_here, out);
            }
        }
        // What is there of a header waits here for the rest of it.
        self.pass(bytes.slice(from..if self.have > 0 { frame_start } else { at }), out);
        Ok(())
    }

    fn pass(&mut self, bytes: Bytes, out: &mut VecDeque<Piece>) {
        if !bytes.is_empty() {
            out.push_back(Piece { bytes, begins: std::mem::take(&mut self.begun), announces: None });
        }
    }

    /// Whether a frame whose header is there goes on in fragments.
    fn is_large(&self, payload: u64) -> bool {
        payload > FRAGMENT_BYTES && self.header[0] & CONTROL == 0
    }

    /// The header of a frame is whole. Unless it was passed on in pieces it is still in the stream.
    fn begin_frame(&mut self, payload: u64, is_in_stream: bool, out: &mut VecDeque<Piece>) {
        let whole = self.header;
        let header = &whole[..self.have];
        (self.have, self.payload) = (0, None);
        if self.is_large(payload) {
            let mask = header.last_chunk().copied().unwrap_or_default();
            let announces = usize::try_from(payload).ok().filter(|_| self.header[0] == WHOLE_BINARY);
            let frame = Rest { mask, bytes: payload, first: self.header[0] };
            return self.begin_fragment(frame, announces, out);
        }
        self.begun += 1;
        self.skip = payload;
        if !is_in_stream {
            self.pass(Bytes::copy_from_slice(header), out);
        }
    }

    /// The header of the next fragment of what is left.
    fn begin_fragment(&mut self, left: Rest, announces: Option<usize>, out: &mut VecDeque<Piece>) {
        let Rest { mask, bytes, first } = left;
        let here = bytes.min(FRAGMENT_BYTES);
        let next = Rest { mask, bytes: bytes - here, first: first & LAST | CONTINUATION };
        self.rest = (bytes > here).then_some(next);
        let first = if self.rest.is_some() { first & !LAST } else { first };
        let mut header = vec![first, 0x80 | 127];
        header.extend(here.to_be_bytes());
        header.extend(mask);
        out.push_back(Piece { bytes: header.into(), begins: 1, announces });
        self.skip = here;
    }

    /// How long a header is of which the first two bytes are there.
    fn header_bytes(&self) -> usize {
        let length = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + MASK_BYTES
    }

    /// Judges what is there of the header; when its length is there, says how much payload follows.
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
