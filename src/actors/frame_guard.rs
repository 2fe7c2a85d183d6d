//! Judges WebSocket frames by their headers, before a byte of their payload is buffered (RFC 6455 §5.2).
//!
//! The WebSocket layer above compares a frame with its limit only when the whole frame is in memory, and drains a
//! sender of tiny frames as fast as it sends. This stream stands under it: it refuses what breaks the protocol, what
//! is too large and what comes too often at the header, and it lets only so many bytes through per turn. It also holds
//! back the stream's end: the layer above takes one frame per turn, and would drop those it has not taken yet for an
//! error. Reserved bits are refused, so it would have to learn permessage-deflate before that could be negotiated.

use std::{
    cell::Cell,
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

/// The masking key after a client's header.
const MASK_BYTES: u64 = 4;

/// Why the stream has ended before its end; shared with the connection, which only sees that it did.
pub type Verdict = Rc<Cell<Option<StreamEnd>>>;

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
    /// Frames let through that the layer above may not have taken yet.
    untaken: usize,
    /// How the stream has ended, told once everything before is taken.
    end: Option<StreamEnd>,
}

impl<S> FrameGuard<S> {
    /// Guards `inner` against frames of more than `payload_max` bytes and against more frames than allowed.
    pub fn new(inner: S, payload_max: usize, allowance: Allowance, verdict: Verdict) -> Self {
        let scanner = FrameScanner::new(payload_max as u64, allowance);
        Self { inner, scanner, verdict, passed: 0, untaken: 0, end: None }
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
        if let Some(end) = guard.end {
            if guard.untaken > 0 {
                return guard.give_turn_now(cx);
            }
            guard.verdict.set(Some(end));
            return Poll::Ready(Some(Err(PayloadError::Overflow)));
        }
        if guard.passed >= BYTES_PER_TURN {
            // The layer above asks until there is nothing more; let it handle what it has first.
            return guard.give_turn_now(cx);
        }
        let Poll::Ready(next) = Pin::new(&mut guard.inner).poll_next(cx) else {
            return guard.give_turn();
        };
        let mut bytes = match next {
            None => return Poll::Ready(None),
            Some(Ok(bytes)) => bytes,
            Some(Err(_)) => {
                guard.end_with(StreamEnd::Lost);
                return guard.give_turn_now(cx);
            }
        };
        guard.passed += bytes.len();
        let scanned = guard.scanner.scan(&bytes);
        guard.untaken += std::mem::take(&mut guard.scanner.frames);
        if let Err(refused) = scanned {
            guard.end_with(StreamEnd::Refused(refused.code));
            // Frames before the bad one are good and are not lost.
            bytes.truncate(refused.good);
        }
        Poll::Ready(Some(Ok(bytes)))
    }
}

/// Follows the frames of a byte stream, however it is cut.
pub struct FrameScanner {
    payload_max: u64,
    allowance: Allowance,
    header: [u8; 10],
    have: usize,
    skip: u64,
    /// Good frames since somebody last took this count.
    frames: usize,
}

/// Where and why a stream is no longer good.
#[derive(Debug, PartialEq, Eq)]
pub struct RefusedFrame {
    /// Why.
    pub code: Code,
    /// Bytes of this piece that come before the refused frame's own.
    pub good: usize,
}

impl FrameScanner {
    /// A scanner at the beginning of a frame.
    #[must_use]
    pub fn new(payload_max: u64, allowance: Allowance) -> Self {
        Self { payload_max, allowance, header: [0; 10], have: 0, skip: 0, frames: 0 }
    }

    /// Looks at the next piece of the stream.
    ///
    /// # Errors
    /// The first frame that is refused; the scanner must not be used after it.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<(), RefusedFrame> {
        let mut at = 0;
        let mut frame_start = 0;
        while at < bytes.len() {
            if self.skip > 0 {
                let step = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.skip -= step as u64;
                at += step;
                continue;
            }
            if self.have == 0 {
                frame_start = at;
            }
            self.header[self.have] = bytes[at];
            self.have += 1;
            at += 1;
            self.judge().map_err(|code| RefusedFrame { code, good: frame_start })?;
        }
        Ok(())
    }

    /// Judges what is there of the header; when it is whole, goes on to the payload.
    fn judge(&mut self) -> Result<(), Code> {
        if self.have < 2 {
            return Ok(());
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
            (126 | 127, _) => return Ok(()),
            (short, _) => u64::from(short),
        };
        if payload > self.payload_max {
            return Err(Code::TooLarge);
        }
        if !(self.allowance)() {
            return Err(Code::RateLimited);
        }
        self.frames += 1;
        self.skip = payload + MASK_BYTES;
        self.have = 0;
        Ok(())
    }
}

#[cfg(test)]
#[path = "frame_guard_tests.rs"]
mod tests;
