//! A socket that hands actix one request at a time, counts what actix reads from it, and can be told to end.
//!
//! Between requests the connection is idle: it may be told to end, and what it reads is an unfinished head. While a
//! request is in hand it is never told to end, and nothing behind the request is handed over: actix would parse all of
//! it, and each parsed request takes some KiB.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use actix_http::error::PayloadError;
use actix_http::{HttpMessage, Payload, Request};
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::connections::{HEAD_ALLOWANCE, Place};
use super::head_end::{Found, HeadEnd};

/// What a request in hand may read beyond what its handler took.
const READ_AHEAD: usize = 32 * 1024;
/// Of a body whose end is not known, before actix parses it: what lies behind the end is handed over with it.
const UNKNOWN_END: usize = 1024;
/// actix reads no head larger than this; counting further would charge what it throws away.
const LARGEST_HEAD: usize = 128 * 1024;
/// A peer that takes nothing of an answer for so long is gone.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// What is read at once where actix's own buffer would take too much.
type Space = [MaybeUninit<u8>; HEAD_ALLOWANCE];
const SPACE: Space = [MaybeUninit::uninit(); HEAD_ALLOWANCE];

fn at_most_of(space: &mut Space, length: usize) -> ReadBuf<'_> {
    let length = length.min(space.len());
    ReadBuf::uninit(space.get_mut(..length).unwrap_or_default())
}

/// What comes while no request is in hand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Head,
    /// Nothing that a request can come of: actix throws it away.
    Waste,
}

fn search(head_end: &mut HeadEnd, of: Of, bytes: &[u8]) -> Found {
    match of {
        Of::Head => head_end.search(bytes),
        Of::Waste => Found { length: bytes.len(), behind_head: None },
    }
}

pub struct Stream {
    io: TcpStream,
    state: Rc<State>,
    /// Read from the socket and not handed over yet; at most [`HEAD_ALLOWANCE`].
    ahead: BytesMut,
    head_end: HeadEnd,
    /// The end of a head was handed over: actix must parse before it gets more.
    headed: bool,
    stalled: Option<Pin<Box<Sleep>>>,
}

/// What a connection does, for its socket and for the request that came on it. Stays on its worker.
pub struct State {
    place: Place,
    in_hand: Cell<bool>,
    /// Of the body of the request in hand, still to be handed over; [`usize::MAX`]: actix knows its end. Known,
    /// and of a request that was answered already: actix ends the connection.
    body_left: Cell<usize>,
    /// Handed over together with the end of the last head.
    behind_head: Cell<usize>,
    /// What was written is not taken: nothing more is read, for it would be answered too.
    write_blocked: Cell<bool>,
    head_begun: Cell<bool>,
    /// Handed over, and not taken by a request. Too low by at most [`HEAD_ALLOWANCE`].
    held: Cell<usize>,
    /// Handed over since actix last parsed.
    unparsed: Cell<usize>,
    /// Reads on when the request's handler has taken something, or has ended.
    paused: RefCell<Option<Waker>>,
}

impl Stream {
    pub fn new(io: TcpStream, place: Place) -> Self {
        let state = State {
            place,
            in_hand: Cell::new(false),
            body_left: Cell::new(0),
            behind_head: Cell::new(0),
            write_blocked: Cell::new(false),
            head_begun: Cell::new(false),
            held: Cell::new(0),
            unparsed: Cell::new(0),
            paused: RefCell::new(None),
        };
        let (ahead, head_end) = (BytesMut::new(), HeadEnd::default());
        Self { io, state: Rc::new(state), ahead, head_end, headed: false, stalled: None }
    }

    pub fn state(&self) -> Rc<State> {
        self.state.clone()
    }

    fn read_head(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.headed) {
            let watched = self.watch(context);
            if !self.ahead.is_empty() {
                context.waker().wake_by_ref();
            }
            return watched;
        }
        // A whole request may have come in the meantime; a part of one doesn't count.
        if self.state.place.is_ending() && self.state.head_begun.get() {
            return Poll::Ready(Ok(()));
        }
        let of = self.state.comes();
        let at_most = HEAD_ALLOWANCE.saturating_sub(self.state.unparsed.get()).min(buffer.remaining());
        if at_most == 0 {
            return self.state.parse_first(context);
        }
        let mut space = SPACE;
        let found = if self.ahead.is_empty() {
            let mut read = at_most_of(&mut space, at_most);
            match self.read(context, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {}
                Poll::Ready(closed) => return Poll::Ready(closed),
                Poll::Pending => {
                    self.state.unparsed.set(0);
                    return if self.state.place.is_ending() { Poll::Ready(Ok(())) } else { Poll::Pending };
                }
            }
            let found = search(&mut self.head_end, of, read.filled());
            let (now, later) = read.filled().split_at_checked(found.length).unwrap_or_default();
            buffer.put_slice(now);
            self.ahead.extend_from_slice(later);
            found
        } else {
            let next = self.ahead.get(..at_most).unwrap_or(&self.ahead);
            let found = search(&mut self.head_end, of, next);
            self.hand_over(found.length, buffer);
            found
        };
        self.headed = found.behind_head.is_some();
        self.state.behind_head.set(found.behind_head.unwrap_or_default());
        self.state.head_grew(found.length);
        Poll::Ready(Ok(()))
    }

    fn read_body(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.headed = false;
        let left = self.state.body_left.get();
        if left == 0 {
            return self.watch(context);
        }
        if self.state.held.get() >= READ_AHEAD {
            *self.state.paused.borrow_mut() = Some(context.waker().clone());
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let at_most = match left {
            usize::MAX => UNKNOWN_END.saturating_sub(self.state.unparsed.get()),
            left => left,
        };
        let at_most = at_most.min(buffer.remaining());
        if at_most == 0 {
            return self.state.parse_first(context);
        }
        let read = if !self.ahead.is_empty() {
            self.hand_over(at_most, buffer);
            Poll::Ready(Ok(()))
        } else if at_most == buffer.remaining() {
            self.read(context, buffer)
        } else {
            let mut space = SPACE;
            let mut read = at_most_of(&mut space, at_most);
            let ready = self.read(context, &mut read);
            buffer.put_slice(read.filled());
            ready
        };
        match &read {
            Poll::Pending => self.state.unparsed.set(0),
            Poll::Ready(_) => self.state.body_grew(buffer.filled().len() - before),
        }
        read
    }

    fn read(&mut self, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.state.place.register(context.waker());
        Pin::new(&mut self.io).poll_read(context, into)
    }

    fn hand_over(&mut self, at_most: usize, buffer: &mut ReadBuf<'_>) {
        let length = at_most.min(buffer.remaining()).min(self.ahead.len());
        buffer.put_slice(&self.ahead.split_to(length));
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new();
        }
    }

    /// Notices a caller who is gone, also behind what else comes: some clients end a body with an empty line. That waits
    /// for the end of the request.
    fn watch(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state.unparsed.set(0);
        while self.ahead.len() < HEAD_ALLOWANCE {
            let mut space = SPACE;
            let mut read = at_most_of(&mut space, HEAD_ALLOWANCE - self.ahead.len());
            match self.read(context, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => self.ahead.extend_from_slice(read.filled()),
                Poll::Pending => break,
                closed => return closed,
            }
        }
        *self.state.paused.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }
}

impl State {
    /// No more before actix has parsed what it has.
    fn parse_first(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unparsed.set(0);
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn comes(&self) -> Of {
        let is_waste = self.body_left.get() > 0 || self.held.get() >= LARGEST_HEAD;
        if is_waste { Of::Waste } else { Of::Head }
    }

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

    fn body_grew(&self, by: usize) {
        self.held.set(self.held.get() + by);
        match self.body_left.get() {
            usize::MAX => self.unparsed.set(self.unparsed.get() + by),
            left => self.body_left.set(left.saturating_sub(by)),
        }
    }

    fn excess(&self) -> usize {
        self.held.get().saturating_sub(HEAD_ALLOWANCE)
    }

    fn request_begins(&self, body: usize) {
        let behind_head = self.behind_head.take();
        self.body_left.set(if body == usize::MAX { body } else { body.saturating_sub(behind_head) });
        self.in_hand.set(true);
        self.head_begun.set(false);
        self.held.set(0);
        self.unparsed.set(0);
        self.place.busy();
    }

    fn request_ends(&self) {
        self.in_hand.set(false);
        if self.body_left.get() == usize::MAX {
            self.body_left.set(0);
        }
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
        if self.held.get() < READ_AHEAD {
            self.read_on();
        }
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
        let length = match (request.chunked(), request.headers().get(CONTENT_LENGTH)) {
            (Ok(false), Some(length)) => length.to_str().ok().and_then(|length| length.parse().ok()),
            _ => None,
        };
        let payload = request.payload();
        if let Payload::None = payload {
            state.request_begins(0);
        } else {
            state.request_begins(length.unwrap_or(usize::MAX));
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
            Poll::Ready(_) => this.state.body_left.set(0),
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
