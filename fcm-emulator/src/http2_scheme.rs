//! Lets clients in that write the `:scheme` of HTTP/2 as `https:`.
//!
//! Google's firebase-admin SDK for Node sends `:scheme: https:` (JavaScript's
//! `URL.protocol` keeps the colon). Google's servers do not mind; `h2`, under hyper, rightly calls
//! the request malformed and resets it before any handler sees it. There is no hook below that
//! decision, so it is put right one layer further down, in the bytes on their way to hyper.
//!
//! A connection that does not open with the HTTP/2 preface is passed through from its first byte.
//! Of an HTTP/2 connection the first header block is decoded: when its `:scheme` is fine (every
//! client but the one above) the connection is passed through from there on, at no further cost.
//! Only otherwise is every header block of the connection decoded, put right and encoded anew.
//! Such a block is written as literals that never enter the dynamic table, so hyper's decoder
//! state stays empty whatever the client's encoder refers to. Frames other than `HEADERS` and
//! `CONTINUATION` are handed on byte for byte. What cannot be understood is handed on too: hyper
//! is the one to refuse it, with the right HTTP/2 error.

use std::io;
use std::mem::{MaybeUninit, take};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use loona_hpack::Decoder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[cfg(test)]
mod tests;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER: usize = 9;
/// hyper's `SETTINGS_MAX_FRAME_SIZE` (and the protocol's least one).
const MAX_FRAME: usize = 16_384;
/// hyper's `SETTINGS_HEADER_TABLE_SIZE`: what a client's encoder may ask of a decoder.
const TABLE_SIZE: usize = 4_096;
/// Frames of one header block held at most; hyper refuses lists of more than 16 KiB anyway.
const MAX_BLOCK: usize = 128 * 1024;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x01;
const END_HEADERS: u8 = 0x04;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;

/// A byte stream whose reading side is put right as the module says; writing is untouched.
pub(crate) struct SchemeFix<S> {
    inner: S,
    phase: Phase,
    input: BytesMut,
    output: BytesMut,
}

enum Phase {
    Preface,
    Frames(Box<Rewriter>),
    Through,
}

impl<S> SchemeFix<S> {
    /// Wraps a stream from its first byte on.
    pub(crate) fn new(inner: S) -> Self {
        let (input, output) = (BytesMut::new(), BytesMut::new());
        Self { inner, phase: Phase::Preface, input, output }
    }

    /// Moves all that can be decided from `input` to `output`.
    fn advance(&mut self) {
        if matches!(self.phase, Phase::Preface) {
            let seen = self.input.len().min(PREFACE.len());
            if self.input.get(..seen) != PREFACE.get(..seen) {
                return self.pass_through();
            }
            if seen < PREFACE.len() {
                return;
            }
            self.output.put(self.input.split_to(seen));
            self.phase = Phase::Frames(Box::new(Rewriter::new()));
        }
        while let Phase::Frames(rewriter) = &mut self.phase {
            match Frame::take(&mut self.input) {
                Taken::Partial => return,
                Taken::TooLong => self.pass_through(),
                Taken::Frame(frame) => {
                    if rewriter.frame(frame, &mut self.output) == Next::PassThrough {
                        self.pass_through();
                    }
                }
            }
        }
    }

    fn pass_through(&mut self) {
        if let Phase::Frames(rewriter) = &mut self.phase
            && let Some(block) = rewriter.open.take()
        {
            self.output.put(block.raw);
        }
        self.output.put(take(&mut self.input));
        self.phase = Phase::Through;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SchemeFix<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.output.has_remaining() {
                let ready = this.output.len().min(buf.remaining());
                buf.put_slice(&this.output.split_to(ready));
                return Poll::Ready(Ok(()));
            }
            if matches!(this.phase, Phase::Through) {
                return Pin::new(&mut this.inner).poll_read(cx, buf);
            }
            let mut space = [MaybeUninit::<u8>::uninit(); 4096];
            let mut chunk = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                this.pass_through();
            } else {
                this.input.extend_from_slice(chunk.filled());
                this.advance();
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SchemeFix<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

/// One HTTP/2 frame with its bytes as they came.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    raw: BytesMut,
}

enum Taken {
    Frame(Frame),
    Partial,
    TooLong,
}

impl Frame {
    fn take(input: &mut BytesMut) -> Taken {
        let Some(&[a, b, c, kind, flags, s0, s1, s2, s3]) = input.first_chunk::<FRAME_HEADER>()
        else {
            return Taken::Partial;
        };
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        if length > MAX_FRAME {
            return Taken::TooLong;
        }
        if input.len() < FRAME_HEADER + length {
            return Taken::Partial;
        }
        let raw = input.split_to(FRAME_HEADER + length);
        Taken::Frame(Self { kind, flags, stream: u32::from_be_bytes([s0, s1, s2, s3]), raw })
    }

    fn payload(&self) -> &[u8] {
        self.raw.get(FRAME_HEADER..).unwrap_or_default()
    }

    /// The priority fields, if any, and the header block fragment of a `HEADERS` frame, without
    /// padding; `None` when the frame contradicts itself.
    fn headers(&self) -> Option<(&[u8], &[u8])> {
        let mut payload = self.payload();
        if self.flags & PADDED != 0 {
            let (padding, rest) = payload.split_first()?;
            payload = rest.get(..rest.len().checked_sub(usize::from(*padding))?)?;
        }
        let priority = if self.flags & PRIORITY == 0 { 0 } else { 5 };
        payload.split_at_checked(priority)
    }
}

#[derive(PartialEq, Eq)]
enum Next {
    KeepReading,
    PassThrough,
}

/// A header block whose end has not come yet.
struct OpenBlock {
    stream: u32,
    flags: u8,
    priority: Vec<u8>,
    fragments: Vec<u8>,
    raw: BytesMut,
}

struct Rewriter {
    decoder: Decoder<'static>,
    open: Option<OpenBlock>,
    rewriting: bool,
}

impl Rewriter {
    fn new() -> Self {
        let mut decoder = Decoder::new();
        decoder.set_max_allowed_table_size(TABLE_SIZE);
        Self { decoder, open: None, rewriting: false }
    }

    fn frame(&mut self, frame: Frame, output: &mut BytesMut) -> Next {
        let block = match (self.open.take(), frame.kind) {
            (None, HEADERS) => {
                let Some((priority, fragment)) = frame.headers() else {
                    output.put(frame.raw);
                    return Next::PassThrough;
                };
                OpenBlock {
                    stream: frame.stream,
                    flags: frame.flags & (END_STREAM | PRIORITY),
                    priority: priority.to_vec(),
                    fragments: fragment.to_vec(),
                    raw: frame.raw,
                }
            }
            (Some(mut block), CONTINUATION) if block.stream == frame.stream => {
                block.fragments.extend_from_slice(frame.payload());
                block.raw.extend_from_slice(&frame.raw);
                block
            }
            (None, _) => {
                output.put(frame.raw);
                return Next::KeepReading;
            }
            (Some(block), _) => {
                output.put(block.raw);
                output.put(frame.raw);
                return Next::PassThrough;
            }
        };
        if frame.flags & END_HEADERS != 0 {
            return self.finish(block, output);
        }
        let too_long = block.raw.len() > MAX_BLOCK;
        self.open = Some(block);
        if too_long { Next::PassThrough } else { Next::KeepReading }
    }

    fn finish(&mut self, block: OpenBlock, output: &mut BytesMut) -> Next {
        let fields = match self.decoder.decode(&block.fragments) {
            Ok(fields) if self.rewriting || fields.iter().any(is_malformed_scheme) => fields,
            _ => {
                output.put(block.raw);
                return Next::PassThrough;
            }
        };
        self.rewriting = true;
        let mut encoded = block.priority;
        for field in &fields {
            let (name, value) = field;
            let colon = usize::from(is_malformed_scheme(field));
            let value = value.get(..value.len() - colon).unwrap_or_default();
            encoded.push(0); // a literal field without indexing, with a new name
            put_string(name, &mut encoded);
            put_string(value, &mut encoded);
        }
        put_frames(block.stream, block.flags, &encoded, output);
        Next::KeepReading
    }
}

fn is_malformed_scheme((name, value): &(Vec<u8>, Vec<u8>)) -> bool {
    name == b":scheme" && value.ends_with(b":")
}

/// An HPACK string literal without Huffman coding: a length with a 7-bit prefix, then the bytes.
fn put_string(text: &[u8], encoded: &mut Vec<u8>) {
    let mut rest = text.len();
    if rest < 0x7f {
        encoded.push(low_byte(rest));
    } else {
        encoded.push(0x7f);
        rest -= 0x7f;
        while rest >= 0x80 {
            encoded.push(low_byte(rest & 0x7f) | 0x80);
            rest >>= 7;
        }
        encoded.push(low_byte(rest));
    }
    encoded.extend_from_slice(text);
}

/// The lowest eight bits; callers pass what fits.
fn low_byte(number: usize) -> u8 {
    number.to_le_bytes().first().copied().unwrap_or_default()
}

/// Writes a header block as one `HEADERS` frame and as many `CONTINUATION` frames as it takes.
fn put_frames(stream: u32, flags: u8, block: &[u8], output: &mut BytesMut) {
    let last = block.len().div_ceil(MAX_FRAME).max(1) - 1;
    let mut chunks = block.chunks(MAX_FRAME);
    for index in 0..=last {
        let chunk = chunks.next().unwrap_or_default();
        let (kind, flags) = if index == 0 { (HEADERS, flags) } else { (CONTINUATION, 0) };
        output.put_uint(chunk.len() as u64, 3);
        output.put_u8(kind);
        output.put_u8(if index == last { flags | END_HEADERS } else { flags });
        output.put_u32(stream);
        output.put_slice(chunk);
    }
}
