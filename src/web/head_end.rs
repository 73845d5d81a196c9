//! Finds the ends of request heads: empty lines.

/// Searches one read after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadEnd {
    last: Last,
}

/// What the last bytes were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Last {
    /// Nothing but empty lines: these may stand before a head and end none. Handing each over by itself would make
    /// actix parse all of them again each time.
    #[default]
    Nothing,
    Other,
    /// The end of a line.
    Line,
    /// The end of a line, and a carriage return behind it.
    Return,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// How many of the bytes hold at most one end of a head.
    pub length: usize,
    /// How many of these are behind it; `None`: there is none.
    pub behind_head: Option<usize>,
}

impl HeadEnd {
    /// Goes on behind `length` with the next search.
    pub fn search(&mut self, bytes: &[u8]) -> Found {
        let mut first = None;
        let mut line = 0;
        let mut is_blank = self.last == Last::Nothing;
        let mut is_line = matches!(self.last, Last::Line | Last::Return);
        let mut before: &[u8] = if self.last == Last::Return { b"\r" } else { b"" };
        for end in memchr::memchr_iter(b'\n', bytes) {
            let content = bytes.get(line..end).unwrap_or_default();
            let is_empty = matches!((before, content), (b"", b"" | b"\r") | (b"\r", b""));
            if is_line && is_empty {
                if let Some(first) = first {
                    self.last = Last::Nothing;
                    return Found { length: first, behind_head: Some(0) };
                }
                first = Some(end + 1);
                is_blank = true;
            }
            is_blank = is_blank && is_empty;
            (line, is_line, before) = (end + 1, !is_blank, b"");
        }
        self.last = match (before, bytes.get(line..).unwrap_or_default()) {
            (b"", b"" | b"\r") | (b"\r", b"") if is_blank => Last::Nothing,
            (b"", b"") if is_line => Last::Line,
            (b"", b"\r") | (b"\r", b"") if is_line => Last::Return,
            _ => Last::Other,
        };
        Found { length: bytes.len(), behind_head: first.map(|first| bytes.len() - first) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(bytes: &str) -> (usize, Option<usize>) {
        let found = HeadEnd::default().search(bytes.as_bytes());
        (found.length, found.behind_head)
    }

    #[test]
    fn at_most_one_end_of_a_head_is_within() {
        assert_eq!(search(""), (0, None));
        assert_eq!(search("GET / HTTP/1.1\r\nhost: a\r\n"), (25, None));
        assert_eq!(search("GET / HTTP/1.1\r\n\r\n"), (18, Some(0)));
        assert_eq!(search("GET / HTTP/1.1\n\n"), (16, Some(0)));
        assert_eq!(search("POST / HTTP/1.1\r\n\r\nbody\r\nbody"), (29, Some(10)));
        assert_eq!(search("GET /a\r\n\r\nGET /b\r\n\r\nGET /c\r\n\r\n"), (10, Some(0)));
        assert_eq!(search("GET /a\r\n\r\n\r\n"), (12, Some(2)), "an empty line before a request is none");
        assert_eq!(search("\r\n\r\nGET /a"), (10, None));
        assert_eq!(search("\r\n\n\r\nGET /a\r\n\r\n\nGET /b\n\n"), (15, Some(0)));
        assert_eq!(search("a\r\r\n\n"), (5, Some(0)));
        assert_eq!(search("a\n\r\r\nb"), (6, None), "actix refuses it");
    }

    #[test]
    fn an_end_is_found_however_the_reads_cut_it() {
        for text in [
            "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
            "\r\n\n\r\na\r\n\r\n",
            "GET / HTTP/1.1\nhost: a\n\n",
            "a\r\n\n",
            "a\n\r\n",
        ] {
            for cut in 0..text.len() {
                let (mut search, whole) = (HeadEnd::default(), text.as_bytes());
                assert_eq!(search.search(&whole[..cut]), Found { length: cut, behind_head: None }, "{text:?} {cut}");
                let rest = Found { length: whole.len() - cut, behind_head: Some(0) };
                assert_eq!(search.search(&whole[cut..]), rest, "{text:?} {cut}");
            }
        }
    }
}
