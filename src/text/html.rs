//! HTML that came in, as plain text: paragraphs and list items on lines of their own, links with their address.
//! Reads tokens, not a tree: whatever is nested in whatever, the time and the memory grow with the length alone.

use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer};

/// Deeper lists are indented like this one.
const MAX_INDENT: usize = 8;

/// The readable text of `html`.
pub fn plain_text(html: &str) -> String {
    let mut emitter = DefaultEmitter::default();
    // What stands in a script or a style is no markup.
    emitter.naively_switch_states(true);
    let mut writer = Writer::default();
    for token in Tokenizer::new_with_emitter(html, emitter) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => writer.start(&tag),
            Token::EndTag(tag) => writer.end(&tag.name),
            Token::String(text) => writer.text(&String::from_utf8_lossy(&text)),
            Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
        }
    }
    writer.finish()
}

/// What separates the next text from the last one.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    #[default]
    None,
    Space,
    Line,
    Paragraph,
}

struct Link {
    address: String,
    /// Where its label begins in the output.
    label: usize,
}

#[derive(Default)]
struct Writer {
    out: String,
    gap: Gap,
    /// The element whose content is not shown.
    hidden: Option<Vec<u8>>,
    link: Option<Link>,
    /// The next number of each open list; `None` where its items have no numbers.
    lists: Vec<Option<u32>>,
    preformatted: bool,
}

impl Writer {
    fn start(&mut self, tag: &StartTag<()>) {
        if self.hidden.is_some() {
            return;
        }
        let attribute = |name: &[u8]| tag.attributes.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
        match tag.name.as_slice() {
            b"script" | b"style" | b"title" | b"template" => self.hidden = Some(tag.name.to_vec()),
            b"br" => self.line_break(),
            b"a" => {
                self.end_link();
                let address = attribute(b"href").unwrap_or_default().trim().to_owned();
                if is_link(&address) {
                    self.write_gap();
                    self.link = Some(Link { address, label: self.out.len() });
                }
            }
            b"img" => match attribute(b"alt") {
                Some(alt) if alt.trim().is_empty() => {}
                Some(alt) => self.text(&format!("[image: {}]", alt.trim())),
                None => self.text("[image]"),
            },
            b"ul" => self.open_list(None),
            b"ol" => self.open_list(Some(attribute(b"start").and_then(|start| start.parse().ok()).unwrap_or(1))),
            b"li" => self.item(),
            b"td" | b"th" if self.gap < Gap::Line && !self.out.is_empty() => {
                self.out.push_str(" |");
                self.gap = Gap::Space;
            }
            b"pre" => {
                self.wants(Gap::Paragraph);
                self.preformatted = true;
            }
            name => self.wants(around(name)),
        }
    }

    fn end(&mut self, name: &[u8]) {
        if let Some(hidden) = &self.hidden {
            if hidden == name {
                self.hidden = None;
            }
            return;
        }
        match name {
            b"a" => self.end_link(),
            b"ul" | b"ol" => {
                self.lists.pop();
                self.wants(if self.lists.is_empty() { Gap::Paragraph } else { Gap::Line });
            }
            b"pre" => {
                self.preformatted = false;
                self.wants(Gap::Paragraph);
            }
            name => self.wants(around(name)),
        }
    }

    fn text(&mut self, text: &str) {
        if self.hidden.is_some() {
            return;
        }
        for c in text.chars() {
            match c {
                '\n' if self.preformatted => self.line_break(),
                c if c.is_whitespace() && !self.preformatted => self.wants(Gap::Space),
                // PostgreSQL has no NUL in its texts; the others have no width to be seen by.
                '\0' | '\r' | '\u{ad}' | '\u{200b}' | '\u{feff}' => {}
                c => {
                    self.write_gap();
                    self.out.push(c);
                }
            }
        }
    }

    /// Remembers the widest gap since the last text.
    fn wants(&mut self, gap: Gap) {
        self.gap = self.gap.max(gap);
    }

    /// A second one in a row leaves an empty line.
    fn line_break(&mut self) {
        self.gap = if self.gap < Gap::Line { Gap::Line } else { Gap::Paragraph };
    }

    fn write_gap(&mut self) {
        if !self.out.is_empty() {
            self.out.push_str(match self.gap {
                Gap::None => "",
                Gap::Space => " ",
                Gap::Line => "\n",
                Gap::Paragraph => "\n\n",
            });
        }
        self.gap = Gap::None;
    }

    fn open_list(&mut self, first: Option<u32>) {
        self.wants(if self.lists.is_empty() { Gap::Paragraph } else { Gap::Line });
        self.lists.push(first);
    }

    fn item(&mut self) {
        // An item that begins with a list, or with a paragraph, begins on the line of its dash.
        self.wants(Gap::Line);
        self.write_gap();
        let depth = self.lists.len().saturating_sub(1).min(MAX_INDENT);
        self.out.push_str(&"  ".repeat(depth));
        match self.lists.last_mut() {
            Some(Some(number)) => {
                self.out.push_str(&format!("{number}. "));
                *number = number.saturating_add(1);
            }
            _ => self.out.push_str("- "),
        }
    }

    fn end_link(&mut self) {
        let Some(Link { address, label }) = self.link.take() else { return };
        let shown = self.out.get(label..).unwrap_or_default().trim();
        let plain = |text: &str| {
            let text = text.trim_end_matches('/');
            ["https://", "http://", "mailto:", "tel:"]
                .iter()
                .find_map(|begin| text.strip_prefix(begin))
                .unwrap_or(text)
                .to_owned()
        };
        if shown.is_empty() {
            self.text(&address);
        } else if plain(shown) != plain(&address) {
            self.out.push_str(&format!(" ({address})"));
        }
    }

    fn finish(mut self) -> String {
        self.end_link();
        self.out.truncate(self.out.trim_end().len());
        self.out
    }
}

/// The gap before and after an element.
fn around(name: &[u8]) -> Gap {
    match name {
        b"p" | b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" | b"blockquote" | b"table" | b"hr" | b"dl" => {
            Gap::Paragraph
        }
        b"div" | b"section" | b"article" | b"header" | b"footer" | b"main" | b"aside" | b"nav" | b"address"
        | b"figure" | b"figcaption" | b"form" | b"fieldset" | b"tr" | b"caption" | b"li" | b"dt" | b"dd" | b"body"
        | b"center" | b"details" | b"summary" => Gap::Line,
        _ => Gap::None,
    }
}

/// Somewhere a person can go: other addresses mean nothing outside of the page.
fn is_link(address: &str) -> bool {
    url::Url::parse(address).is_ok_and(|url| matches!(url.scheme(), "http" | "https" | "mailto" | "tel"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_and_breaks_become_lines() {
        for (html, text) in [
            ("Where is my order?", "Where is my order?"),
            ("<p class='x'>Hello</p><p>Where is <b>my</b>\n   order?</p>", "Hello\n\nWhere is my order?"),
            ("one<br>two<br/>three<br><br>four", "one\ntwo\nthree\n\nfour"),
            ("<div>one<div>two</div></div>three", "one\ntwo\nthree"),
            ("<div><br></div><p> </p>  text <div></div>", "text"),
            ("a &lt;b&gt; &amp; &eacute;&#128230;&nbsp;c &copy 5 < 6", "a <b> & é📦 c © 5 < 6"),
            ("<pre>  one\n\n  two</pre>", "  one\n\n  two"),
            ("<h2>Order</h2>17<hr>late", "Order\n\n17\n\nlate"),
            ("", ""),
        ] {
            assert_eq!(plain_text(html), text, "{html}");
        }
    }

    #[test]
    fn lists_keep_their_dashes_numbers_and_levels() {
        let html = "I want <ul><li>one<li>two<ol start=3><li>three</li><li>four</li></ol></li></ul> please";
        assert_eq!(plain_text(html), "I want\n\n- one\n- two\n  3. three\n  4. four\n\nplease");
        assert_eq!(plain_text("<li>alone</li>"), "- alone");
        assert_eq!(
            plain_text("<table><tr><th>item</th><th>n</th></tr><tr><td>pen</td><td>2</td></tr></table>"),
            "item | n\npen | 2"
        );
    }

    #[test]
    fn links_keep_their_address_where_it_says_more_than_their_text() {
        for (html, text) in [
            (
                "see <a href='https://shop.example/o/1?a=1&amp;b=2'>my order</a>!",
                "see my order (https://shop.example/o/1?a=1&b=2)!",
            ),
            ("<a href='https://shop.example/'>shop.example</a>", "shop.example"),
            ("<a href='mailto:zoe@example.com'>zoe@example.com</a>", "zoe@example.com"),
            (
                "<a href='https://shop.example/x'><img src='x' alt='Order'></a>",
                "[image: Order] (https://shop.example/x)",
            ),
            ("<a href='https://shop.example/x'></a>", "https://shop.example/x"),
            ("<a href='javascript:alert(1)'>click</a> <a href='/rel'>here</a> <a name=x>x</a>", "click here x"),
            (
                "<a href='https://a.example/1'>one<a href='https://a.example/2'>two",
                "one (https://a.example/1)two (https://a.example/2)",
            ),
        ] {
            assert_eq!(plain_text(html), text, "{html}");
        }
    }

    #[test]
    fn what_is_not_shown_is_not_read() {
        for html in [
            "<style>p { color: red }</style>hi<script>if (a < b) alert('<p>no</p>')</script>",
            "<!-- no -->hi<!DOCTYPE html>",
            "<title>no</title><template><p>no</p></template>hi",
            "hi<img src='https://track.example/p.gif' alt=''>",
            "h\u{0}i\u{200b}",
        ] {
            assert_eq!(plain_text(html), "hi", "{html}");
        }
        assert_eq!(plain_text("<img src=x alt='receipt'> <img src=y>"), "[image: receipt] [image]");
    }

    #[test]
    fn hostile_nesting_costs_no_more_than_its_length() {
        let deep = 200_000;
        for open in ["<ul><li>", "<div>", "<a href='https://a.example/'>", "<b><table><tr><td>", "<pre>", "<template>"]
        {
            let html = format!("{}x", open.repeat(deep));
            assert!(plain_text(&html).len() < 40 * html.len(), "{open}");
        }
        let attributes = format!("<p {}>x", (0..50_000).map(|n| format!("a{n}=1 ")).collect::<String>());
        assert_eq!(plain_text(&attributes), "x");
    }
}
