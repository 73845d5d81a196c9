//! Bodies on their way in, within their limits one by one and together. Nobody is known yet: whoever opens
//! connections must neither fill the memory nor take the room of others. Small bodies and large ones have a room each;
//! where one is full, the oldest body that is not complete makes place. A genuine webhook is complete within
//! milliseconds, so what is slow goes first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::web;
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::oneshot;

/// From the head of a request to the end of its body.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// A body is not evicted for the sake of a connection sooner: a genuine one is complete by then.
const YOUNG: Duration = Duration::from_millis(250);
/// Bytes of what counts as a small body. Most platforms' webhooks are a few KiB.
pub const SMALL_BODY: usize = 64 * 1024;
/// Bytes of all small bodies together: of 512 at the least, of thousands of usual ones.
const SMALL_ROOM: usize = 32 * 1024 * 1024;
/// Bytes of all large bodies together, or four of the longest.
const LARGE_ROOM: usize = 64 * 1024 * 1024;
/// A buffer begins with this and doubles: it grows with what comes, not with what is announced …
const FIRST_BUFFER: usize = 4 * 1024;
/// … until so much has come. Then it gets the length that was announced, and is not copied again.
const LAST_DOUBLING: usize = 256 * 1024;

/// The limits of bodies, one by one and together.
pub struct Bodies {
    max: usize,
    small: Arc<Room>,
    large: Arc<Room>,
}

/// A complete body. Its bytes count for as long as `place` lives.
pub struct Body {
    pub bytes: Bytes,
    pub place: Place,
}

impl Bodies {
    pub fn new(max: usize) -> Self {
        Self::within(max, SMALL_ROOM, LARGE_ROOM.max(max.saturating_mul(4)))
    }

    fn within(max: usize, small: usize, large: usize) -> Self {
        Self { max, small: Arc::new(Room::new(small)), large: Arc::new(Room::new(large)) }
    }

    /// Whether a body may be as long as it is announced to be.
    pub fn admits(&self, announced: Option<usize>) -> bool {
        announced.is_none_or(|length| length <= self.max)
    }

    /// Reads a body of at most `max` bytes, or of as many as any may have. 413 beyond that, 408 when it takes too
    /// long, 400 when it breaks off, 503 when it had to make place or finds none.
    pub async fn read(
        &self,
        mut payload: web::Payload,
        announced: Option<usize>,
        max: Option<usize>,
    ) -> Result<Body, StatusCode> {
        let max = max.unwrap_or(self.max).min(self.max);
        let expected = announced.unwrap_or(max).min(max);
        let small = announced.is_none_or(|length| length <= SMALL_BODY);
        let mut body = Room::enter(if small { &self.small } else { &self.large }, Vec::new())?;
        let read = async {
            loop {
                let Some(chunk) = body.next(&mut payload).await? else { break };
                let length = body.length + chunk.len();
                if length > max {
                    return Err(StatusCode::PAYLOAD_TOO_LARGE);
                }
                if length > SMALL_BODY && Arc::ptr_eq(&body.room, &self.small) {
                    let begun = body.take().ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
                    body = Room::enter(&self.large, begun)?;
                }
                body.append(&chunk, expected)?;
            }
            body.complete()
        };
        tokio::time::timeout(BODY_WITHIN, read).await.unwrap_or(Err(StatusCode::REQUEST_TIMEOUT))
    }

    /// Reads to its end what nobody wants, so that the connection can go on: actix closes one whose body is not read.
    /// The limits of [`Bodies::read`], and no memory.
    pub async fn discard(&self, mut payload: web::Payload) -> Result<(), StatusCode> {
        let mut body = Room::enter(&self.small, Vec::new())?;
        let read = async {
            let mut length = 0;
            while let Some(chunk) = body.next(&mut payload).await? {
                length += chunk.len();
                if length > self.max {
                    return Err(StatusCode::PAYLOAD_TOO_LARGE);
                }
            }
            Ok(())
        };
        tokio::time::timeout(BODY_WITHIN, read).await.unwrap_or(Err(StatusCode::REQUEST_TIMEOUT))
    }

    /// The body that has been incomplete for the longest goes, and its connection with it.
    pub fn evict_oldest(&self) {
        let oldest = [&self.small, &self.large].into_iter().filter_map(|room| Some((room.oldest()?, room)));
        if let Some(((since, number), room)) = oldest.min_by_key(|((since, _), _)| *since)
            && since.elapsed() > YOUNG
        {
            room.evict(number);
        }
    }
}

/// Where bodies wait to be complete.
struct Room {
    max: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// Bytes, of complete bodies too.
    used: usize,
    next: u64,
    /// By age. The buffers lie here, so that whoever needs the place can free it at once.
    unfinished: BTreeMap<u64, Unfinished>,
}

struct Unfinished {
    buffer: Vec<u8>,
    since: Instant,
    /// Dropping it wakes whoever reads the body.
    _reader: oneshot::Sender<()>,
}

impl Room {
    fn new(max: usize) -> Self {
        Self { max, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// With what has been read of it so far.
    fn enter(room: &Arc<Self>, buffer: Vec<u8>) -> Result<Incomplete, StatusCode> {
        let (reader, evicted) = oneshot::channel();
        let mut held = room.held();
        let number = held.next;
        held.next += 1;
        room.make_place(&mut held, buffer.capacity(), number)?;
        held.used += buffer.capacity();
        let length = buffer.len();
        held.unfinished.insert(number, Unfinished { buffer, since: Instant::now(), _reader: reader });
        drop(held);
        Ok(Incomplete { room: Arc::clone(room), number, length, evicted })
    }

    /// 503 where all that could make place is complete and being worked on.
    fn make_place(&self, held: &mut Held, more: usize, number: u64) -> Result<(), StatusCode> {
        while held.used + more > self.max {
            let mut others =
                held.unfinished.iter().filter(|(other, body)| **other != number && body.buffer.capacity() > 0);
            let oldest = others.next().map(|(other, _)| *other).ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
            held.evict(oldest);
        }
        Ok(())
    }

    fn oldest(&self) -> Option<(Instant, u64)> {
        self.held().unfinished.first_key_value().map(|(number, body)| (body.since, *number))
    }

    fn evict(&self, number: u64) {
        self.held().evict(number);
    }
}

impl Held {
    fn evict(&mut self, number: u64) {
        if let Some(evicted) = self.unfinished.remove(&number) {
            self.used -= evicted.buffer.capacity();
        }
    }
}

/// A body that is being read.
struct Incomplete {
    room: Arc<Room>,
    number: u64,
    length: usize,
    evicted: oneshot::Receiver<()>,
}

impl Incomplete {
    /// What comes next of it. 503 where it has been evicted, 400 where it breaks off.
    async fn next(&mut self, payload: &mut web::Payload) -> Result<Option<Bytes>, StatusCode> {
        tokio::select! {
            biased;
            _ = &mut self.evicted => Err(StatusCode::SERVICE_UNAVAILABLE),
            chunk = payload.next() => chunk.transpose().map_err(|_| StatusCode::BAD_REQUEST),
        }
    }

    /// 503 where it has been evicted. `expected` is how long it may become.
    fn append(&mut self, chunk: &[u8], expected: usize) -> Result<(), StatusCode> {
        let mut held = self.room.held();
        let has = held.unfinished.get(&self.number).ok_or(StatusCode::SERVICE_UNAVAILABLE)?.buffer.capacity();
        let needed = self.length + chunk.len();
        let more = if needed > has {
            let next = if has < LAST_DOUBLING { (has * 2).max(FIRST_BUFFER).min(expected) } else { expected };
            next.max(needed) - has
        } else {
            0
        };
        self.room.make_place(&mut held, more, self.number)?;
        let Held { used, unfinished, .. } = &mut *held;
        let body = unfinished.get_mut(&self.number).ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
        body.buffer.reserve_exact(has + more - self.length);
        *used = *used + body.buffer.capacity() - has;
        body.buffer.extend_from_slice(chunk);
        self.length = needed;
        Ok(())
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        let mut held = self.room.held();
        let body = held.unfinished.remove(&self.number)?;
        held.used -= body.buffer.capacity();
        Some(body.buffer)
    }

    fn complete(mut self) -> Result<Body, StatusCode> {
        let buffer = self.take().ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
        let place = Place { room: Arc::clone(&self.room), bytes: buffer.capacity() };
        place.room.held().used += place.bytes;
        Ok(Body { bytes: Bytes::from(buffer), place })
    }
}

impl Drop for Incomplete {
    fn drop(&mut self) {
        self.take();
    }
}

/// The room that a complete body takes.
pub struct Place {
    room: Arc<Room>,
    bytes: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.held().used -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use actix_web::FromRequest;
    use actix_web::test::TestRequest;
    use tokio::sync::mpsc;

    use super::*;

    const KIB: usize = 1024;

    async fn payload(length: usize) -> web::Payload {
        let (request, mut payload) = TestRequest::post().set_payload(vec![b'x'; length]).to_http_parts();
        web::Payload::from_request(&request, &mut payload).await.unwrap()
    }

    async fn read(bodies: &Bodies, length: usize) -> Result<Body, StatusCode> {
        bodies.read(payload(length).await, Some(length), None).await
    }

    /// A body of which so much comes, and then nothing.
    async fn unfinished(bodies: &Arc<Bodies>, length: usize) -> tokio::task::JoinHandle<Result<Body, StatusCode>> {
        let (sender, receiver) = mpsc::channel::<Result<Bytes, actix_web::error::PayloadError>>(1);
        sender.send(Ok(Bytes::from(vec![b'x'; length]))).await.unwrap();
        let stream = futures::stream::unfold((receiver, sender), |(mut receiver, sender)| async {
            Some((receiver.recv().await?, (receiver, sender)))
        });
        let stream: actix_web::dev::Payload = actix_web::dev::Payload::Stream { payload: Box::pin(stream) };
        let (request, mut payload) = (TestRequest::post().to_http_request(), stream);
        let payload = web::Payload::from_request(&request, &mut payload).await.unwrap();
        let read = Arc::clone(bodies);
        let before = used(bodies);
        let task = actix_web::rt::spawn(async move { read.read(payload, Some(2 * length), None).await });
        while used(bodies) == before {
            tokio::task::yield_now().await;
        }
        task
    }

    fn used(bodies: &Bodies) -> usize {
        let small = bodies.small.held().used;
        small + bodies.large.held().used
    }

    #[actix_web::test]
    async fn complete_bodies_count_until_they_are_let_go() {
        let bodies = Bodies::within(10 * KIB, 20 * KIB, 20 * KIB);
        let first = read(&bodies, 10 * KIB).await.unwrap();
        let second = read(&bodies, 10 * KIB).await.unwrap();
        assert_eq!(read(&bodies, 1).await.err(), Some(StatusCode::SERVICE_UNAVAILABLE));
        drop(first.place);
        assert_eq!(read(&bodies, 5 * KIB).await.unwrap().bytes.len(), 5 * KIB);
        assert_eq!(second.bytes.len(), 10 * KIB);
        assert_eq!(read(&bodies, 10 * KIB + 1).await.err(), Some(StatusCode::PAYLOAD_TOO_LARGE));
        drop(second);
        assert_eq!(bodies.small.held().used, 0);
    }

    #[actix_web::test]
    async fn the_oldest_unfinished_body_makes_place() {
        let bodies = Arc::new(Bodies::within(10 * KIB, 20 * KIB, 20 * KIB));
        let oldest = unfinished(&bodies, 8 * KIB).await;
        let newer = unfinished(&bodies, 8 * KIB).await;
        let genuine = read(&bodies, 10 * KIB).await.unwrap();
        assert_eq!(genuine.bytes.len(), 10 * KIB);
        assert_eq!(oldest.await.unwrap().err(), Some(StatusCode::SERVICE_UNAVAILABLE));
        assert!(!newer.is_finished());
        newer.abort();
    }

    #[actix_web::test]
    async fn large_bodies_take_no_room_of_small_ones() {
        let bodies = Bodies::within(4 * SMALL_BODY, SMALL_BODY, 4 * SMALL_BODY);
        let large = read(&bodies, 4 * SMALL_BODY).await.unwrap();
        assert_eq!(read(&bodies, SMALL_BODY + 1).await.err(), Some(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(read(&bodies, SMALL_BODY).await.unwrap().bytes.len(), SMALL_BODY);
        drop(large);
        // What turns out to be large moves over.
        let unannounced = bodies.read(payload(3 * SMALL_BODY).await, None, None).await.unwrap();
        assert_eq!((bodies.small.held().used, unannounced.bytes.len()), (0, 3 * SMALL_BODY));
        assert!(bodies.large.held().used >= 3 * SMALL_BODY);
    }

    #[actix_web::test]
    async fn a_body_takes_as_much_as_was_announced() {
        let bodies = Bodies::within(4 * 1024 * KIB, SMALL_BODY, 8 * 1024 * KIB);
        let body = read(&bodies, 3 * 1024 * KIB + 17).await.unwrap();
        assert_eq!(bodies.large.held().used, body.bytes.len());
    }
}
