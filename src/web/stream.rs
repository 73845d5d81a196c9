//! A socket that counts what actix reads from it, and that can be told to end.
//!
//! Between requests the connection is idle: it may be told to end, and what it reads is an unfinished head. While a
//! request is in hand it is never told to end, and it reads ahead only so far.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use actix_http::error::PayloadError;
use actix_http::{Payload, Request};
use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::connections::{HEAD_ALLOWANCE, Place};

/// What a request in hand may read beyond what its handler took.
const READ_AHEAD: usize = 32 * 1024;
/// actix reads no head larger than this; counting further would charge what it throws away.
const LARGEST_HEAD: usize = 128 * 1024;
/// A peer that takes nothing of an answer for so long is gone.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

pub struct Stream {
    io: TcpStream,
    state: Rc<State>,
    stalled: Option<Pin<Box<Sleep>>>,
}

/// What a connection does, for its socket and for the request that came on it. Stays on its worker.
pub struct State {
    place: Place,
    in_hand: Cell<bool>,
    /// What was written is not taken: nothing more is read, for it would be answered too.
    write_blocked: Cell<bool>,
    head_begun: Cell<bool>,
    /// Read, and not taken by a request. Too low by at most [`HEAD_ALLOWANCE`].
    held: Cell<usize>,
    /// Read of a head since actix last parsed.
    unparsed: Cell<usize>,
    /// Reads on when the request's handler has taken something.
    paused: RefCell<Option<Waker>>,
}

impl Stream {
    pub fn new(io: TcpStream, place: Place) -> Self {
        let state = State {
            place,
            in_hand: Cell::new(false),
            write_blocked: Cell::new(false),
            head_begun: Cell::new(false),
            held: Cell::new(0),
            unparsed: Cell::new(0),
            paused: RefCell::new(None),
        };
        Self { io, state: Rc::new(state), stalled: None }
    }

    pub fn state(&self) -> Rc<State> {
        self.state.clone()
    }

    /// A little at a time, so that actix parses in between: what it has read beyond a head's end is little, too.
    fn read_head(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let state = &self.state;
        // A whole request may have come in the meantime; a part of one doesn't count.
        if state.place.is_ending() && state.head_begun.get() {
            return Poll::Ready(Ok(()));
        }
        let at_most = HEAD_ALLOWANCE.saturating_sub(state.unparsed.get());
        if at_most == 0 {
            state.unparsed.set(0);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut bytes = [MaybeUninit::<u8>::uninit(); HEAD_ALLOWANCE];
        let Some(bytes) = bytes.get_mut(..at_most.min(buffer.remaining())) else { return Poll::Pending };
        let mut read = ReadBuf::uninit(bytes);
        match Pin::new(&mut self.io).poll_read(context, &mut read) {
            Poll::Ready(Ok(())) => {
                if !read.filled().is_empty() {
                    buffer.put_slice(read.filled());
                    state.head_grew(read.filled().len());
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                state.unparsed.set(0);
                state.place.register(context.waker());
                if state.place.is_ending() { Poll::Ready(Ok(())) } else { Poll::Pending }
            }
        }
    }

    fn read_body(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let state = &self.state;
        state.place.register(context.waker());
        if state.held.get() >= READ_AHEAD {
            *state.paused.borrow_mut() = Some(context.waker().clone());
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        state.held.set(state.held.get() + buffer.filled().len() - before);
        read
    }
}

impl State {
    fn head_grew(&self, by: usize) {
        if self.place.is_ending() {
            self.place.idle();
        }
        if !self.head_begun.replace(true) {
            self.place.head_begins();
        }
        self.unparsed.set(self.unparsed.get() + by);
        let excess = self.excess();
        self.held.set((self.held.get() + by).min(LARGEST_HEAD));
        if self.excess() > excess {
            self.place.head_grows(self.excess() - excess);
        }
    }

    fn excess(&self) -> usize {
        self.held.get().saturating_sub(HEAD_ALLOWANCE)
    }

    fn request_begins(&self) {
        self.in_hand.set(true);
        self.head_begun.set(false);
        self.held.set(0);
        self.unparsed.set(0);
        self.place.busy();
    }

    fn request_ends(&self) {
        self.in_hand.set(false);
        self.read_on();
        if !self.write_blocked.get() {
            self.becomes_idle();
        }
    }

    fn becomes_idle(&self) {
        self.place.idle();
        if self.excess() > 0 {
            self.place.head_grows(self.excess());
        }
    }

    fn taken(&self, bytes: usize) {
        self.held.set(self.held.get().saturating_sub(bytes));
        self.read_on();
    }

    fn read_on(&self) {
        if let Some(waker) = self.paused.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.state.write_blocked.get() {
            Poll::Pending
        } else if this.state.in_hand.get() {
            this.read_body(context, buffer)
        } else {
            this.read_head(context, buffer)
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let state = &this.state;
        let written = Pin::new(&mut this.io).poll_write(context, bytes);
        if written.is_ready() {
            if state.write_blocked.replace(false) {
                this.stalled = None;
                if !state.in_hand.get() {
                    state.becomes_idle();
                }
                // Nothing was read meanwhile.
                context.waker().wake_by_ref();
            }
            return written;
        }
        if !state.write_blocked.replace(true) && !state.in_hand.get() {
            state.place.busy();
        }
        let stalled = this.stalled.get_or_insert_with(|| Box::pin(sleep(WRITE_WITHIN)));
        stalled.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }
}

/// A request that is being answered: its connection is not idle before this is dropped.
pub struct InHand(Rc<State>);

impl InHand {
    /// From the end of a head; what its handler reads of the body is counted.
    pub fn begin(request: &mut Request, state: Rc<State>) -> Self {
        state.request_begins();
        let payload = request.payload();
        if let Payload::H1 { .. } = payload {
            let inner = std::mem::replace(payload, Payload::None);
            *payload = Payload::Stream { payload: Box::pin(CountedPayload { inner, state: state.clone() }) };
        }
        Self(state)
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.request_ends();
    }
}

struct CountedPayload {
    inner: Payload,
    state: Rc<State>,
}

impl futures::Stream for CountedPayload {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let next = Pin::new(&mut this.inner).poll_next(context);
        match &next {
            Poll::Ready(Some(Ok(bytes))) => this.state.taken(bytes.len()),
            // Everything that came was taken; what is left of the count was the framing of chunks.
            Poll::Pending => this.state.taken(usize::MAX),
            Poll::Ready(_) => {}
        }
        next
    }
}

/// The body of an answer. Its request is in hand until all of it was written.
pub struct AnswerBody {
    body: BoxBody,
    _in_hand: Option<InHand>,
}

impl AnswerBody {
    pub fn new(body: BoxBody, in_hand: Option<InHand>) -> Self {
        Self { body, _in_hand: in_hand }
    }
}

impl MessageBody for AnswerBody {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(context)
    }
}
