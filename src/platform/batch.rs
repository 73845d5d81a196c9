//! The elements of one webhook that brings several. Each is read by itself: what can't be read doesn't stop the
//! others, and what is kept of it is that element, not the whole body. Beyond the limit nothing is read: the rest is
//! one failed message.

use std::io::{self, Write};

use serde::Serialize;

use super::{Event, Malformed, Parsed};

/// Bytes that are kept of what can't be read …
const MAX_RAW: usize = 64 * 1024;
/// … and of all such elements of one webhook: an expression may list the same thing a thousand times.
const MAX_RAW_IN_ALL: usize = 8 * 1024 * 1024;

pub struct Batch {
    events: Vec<Event>,
    /// How many were read.
    elements: usize,
    max: usize,
    /// Bytes that may still be kept of what can't be read.
    room: usize,
    /// How many came beyond the limit.
    beyond: usize,
    rest: Excerpt,
}

impl Batch {
    /// Up to `max` elements.
    pub fn new(max: usize) -> Self {
        Self { events: Vec::new(), elements: 0, max, room: MAX_RAW_IN_ALL, beyond: 0, rest: Excerpt::of(MAX_RAW) }
    }

    pub fn read<T: Serialize>(&mut self, element: &T, read: impl FnOnce(&T) -> Result<Event, Malformed>) {
        if self.elements >= self.max {
            self.beyond += 1;
            self.rest.line(element);
            return;
        }
        self.elements += 1;
        let room = &mut self.room;
        self.events.push(read(element).unwrap_or_else(|malformed| {
            let mut raw = Excerpt::of(MAX_RAW.min(*room));
            raw.line(element);
            let raw = raw.into_text();
            *room = room.saturating_sub(raw.len());
            Event::Malformed(Malformed { raw: Some(raw), ..malformed })
        }));
    }

    /// Something that is no element.
    pub fn ignore(&mut self, kind: &'static str) {
        self.events.push(Event::Ignored(kind));
    }

    pub fn finish(mut self) -> Parsed {
        if self.beyond > 0 {
            self.events.push(Event::Malformed(Malformed {
                delivery_key: None,
                reason: "too_many_elements",
                detail: format!("{} elements beyond the first {} (server.max_elements)", self.beyond, self.max),
                raw: Some(self.rest.into_text()),
            }));
        }
        Parsed::Events(self.events)
    }
}

/// Whether something takes at most so many bytes as JSON. Writes no more than that.
pub fn fits<T: Serialize>(value: &T, bytes: usize) -> bool {
    struct Room(usize);
    impl Write for Room {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::WriteZero)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    serde_json::to_writer(Room(bytes), value).is_ok()
}

/// The first `max` bytes of what is written to it, as text.
struct Excerpt {
    bytes: Vec<u8>,
    max: usize,
}

impl Excerpt {
    fn of(max: usize) -> Self {
        Self { bytes: Vec::new(), max }
    }

    fn line<T: Serialize>(&mut self, element: &T) {
        // An error says that it is full.
        if serde_json::to_writer(&mut *self, element).is_ok() {
            let _ = self.write(b"\n");
        }
    }

    fn into_text(self) -> String {
        let text = whole_characters(&self.bytes);
        text.strip_suffix('\n').map(str::to_owned).unwrap_or(text)
    }
}

impl Write for Excerpt {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.max.saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or_default());
        if room == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(room) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The first [`MAX_RAW`] bytes as text, without a character cut in half.
pub fn cut(bytes: &[u8]) -> String {
    whole_characters(bytes.get(..MAX_RAW).unwrap_or(bytes))
}

fn whole_characters(bytes: &[u8]) -> String {
    let whole = match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.get(..error.valid_up_to()).unwrap_or(bytes),
        _ => bytes,
    };
    String::from_utf8_lossy(whole).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn events(batch: Batch) -> Vec<Event> {
        match batch.finish() {
            Parsed::Events(events) => events,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn of_an_element_that_can_not_be_read_only_that_element_is_kept() {
        let mut batch = Batch::new(10);
        batch.read(&json!({"n": 1}), |_| Ok(Event::Ignored("fine")));
        batch.read(&json!({"n": 2}), |_| Err(Malformed::new("n: wrong")));
        let [Event::Ignored("fine"), Event::Malformed(malformed)] = &events(batch)[..] else { panic!() };
        assert_eq!((malformed.reason, malformed.raw.as_deref()), ("malformed", Some(r#"{"n":2}"#)));
    }

    #[test]
    fn beyond_the_limit_nothing_is_read_and_the_rest_is_one_failed_message_with_their_number() {
        let mut batch = Batch::new(2);
        for n in 0..5 {
            batch.read(&json!(n), |n| if n == &json!(9) { panic!() } else { Ok(Event::Ignored("fine")) });
        }
        let [_, _, Event::Malformed(malformed)] = &events(batch)[..] else { panic!() };
        assert_eq!((malformed.reason, malformed.raw.as_deref()), ("too_many_elements", Some("2\n3\n4")));
        assert_eq!(malformed.detail, "3 elements beyond the first 2 (server.max_elements)");
    }

    #[test]
    fn what_is_kept_ends_at_64_kib_between_characters() {
        let long: Value = json!("é".repeat(MAX_RAW));
        let mut batch = Batch::new(1);
        batch.read(&long, |_| Err(Malformed::new("long")));
        batch.read(&long, |_| Ok(Event::Ignored("fine")));
        for event in events(batch) {
            let Event::Malformed(Malformed { raw: Some(raw), .. }) = event else { panic!() };
            assert!(raw.len() > MAX_RAW - 4 && raw.len() <= MAX_RAW && raw.ends_with('é'));
        }
        let mut batch = Batch::new(1000);
        for _ in 0..1000 {
            batch.read(&long, |_| Err(Malformed::new("long")));
        }
        let kept = events(batch).into_iter().map(|event| match event {
            Event::Malformed(Malformed { raw: Some(raw), .. }) => raw.len(),
            _ => panic!(),
        });
        let kept: usize = kept.sum();
        assert!(kept <= MAX_RAW_IN_ALL && kept > MAX_RAW_IN_ALL - MAX_RAW, "{kept}");
        assert_eq!(cut(&[0xff; MAX_RAW + 1]).chars().count(), MAX_RAW);
        assert_eq!(cut(b"short"), "short");
        assert!(fits(&json!({"a": 1}), 7) && !fits(&json!({"a": 1}), 6));
    }
}
