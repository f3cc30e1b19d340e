//! Converts the descriptions of rules, which are HTML, into blocks of plain text.

use std::convert::Infallible;

use findings::Block;
use html5gum::{Token, Tokenizer};

/// How many characters of a rule's description are kept. Some have pages of examples.
const MOST: usize = 6000;

/// The text of a piece of HTML, in blocks.
pub(crate) fn blocks(html: &str) -> Vec<Block> {
    let mut reader = Reader::default();
    for token in Tokenizer::new(html) {
        let token: Result<_, Infallible> = token;
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => reader.open(&tag.name.0),
            Token::EndTag(tag) => reader.close(&tag.name.0),
            Token::String(text) => reader.text(&String::from_utf8_lossy(&text.value.0)),
            _ => {}
        }
    }
    reader.end(Kind::Paragraph);
    reader.blocks
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Paragraph,
    Heading,
    Item,
    Code,
}

#[derive(Default)]
struct Reader {
    blocks: Vec<Block>,
    kind: Kind,
    text: String,
    taken: usize,
    /// Whether it is within an element that shows nothing.
    is_hidden: bool,
}

impl Reader {
    fn open(&mut self, tag: &[u8]) {
        match tag {
            b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" => self.end(Kind::Heading),
            b"li" | b"dt" | b"dd" => self.end(Kind::Item),
            b"pre" => self.end(Kind::Code),
            b"p" | b"div" | b"ul" | b"ol" | b"dl" | b"table" | b"tr" | b"blockquote"
            | b"section" => {
                // A paragraph within an item or code stays a part of it.
                let kind = self.kind;
                let stays = matches!(kind, Kind::Item | Kind::Code) && matches!(tag, b"p" | b"div");
                self.end(if stays { kind } else { Kind::Paragraph });
            }
            b"br" => self.text.push('\n'),
            b"td" | b"th" if !self.text.is_empty() => self.text.push(' '),
            b"script" | b"style" => self.is_hidden = true,
            _ => {}
        }
    }

    fn close(&mut self, tag: &[u8]) {
        match tag {
            b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" | b"li" | b"dt" | b"dd" | b"pre"
            | b"p" | b"ul" | b"ol" | b"table" | b"tr" => self.end(Kind::Paragraph),
            b"script" | b"style" => self.is_hidden = false,
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if !self.is_hidden {
            self.text += text;
        }
    }

    /// Ends a block, and begins one of this kind.
    fn end(&mut self, next: Kind) {
        let kind = std::mem::replace(&mut self.kind, next);
        let text = std::mem::take(&mut self.text);
        let text = match kind {
            Kind::Code => text.trim_matches('\n').trim_end().to_owned(),
            _ => text.split_whitespace().collect::<Vec<_>>().join(" "),
        };
        if text.is_empty() || self.taken >= MOST {
            return;
        }
        let text: String = text.chars().take(MOST - self.taken).collect();
        self.taken += text.chars().count();
        self.blocks.push(match kind {
            Kind::Paragraph => Block::Paragraph(text),
            Kind::Heading => Block::Heading(text),
            Kind::Item => Block::Item(text),
            Kind::Code => Block::Code(text),
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn html_becomes_blocks_of_plain_text() {
        let html = "<p>Do <code>not</code>\n  trust&nbsp;<b>input</b>.</p><h2>Why &amp; how</h2>\
            <ul><li>one</li><li><p>two</p></li></ul><pre data-x=\"1\">\nif (a &lt; b) {\n  c();\n}\n</pre>\
            <script>alert(1)</script>the end";
        assert_eq!(
            blocks(html),
            [
                Block::Paragraph("Do not trust input.".to_owned()),
                Block::Heading("Why & how".to_owned()),
                Block::Item("one".to_owned()),
                Block::Item("two".to_owned()),
                Block::Code("if (a < b) {\n  c();\n}".to_owned()),
                Block::Paragraph("the end".to_owned()),
            ]
        );
        assert_eq!(blocks(""), []);
    }

    #[test]
    fn a_text_has_an_end() {
        let long = blocks(&"<p>word</p>".repeat(100_000));
        assert_eq!(long.len(), MOST / 4);
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_read(html in r#"(<(/?(p|pre|li|ul|h2|script|a href='x')>)?|[a-z &;#<>"'\n]|\PC){0,40}"#) {
            blocks(&html);
        }
    }
}
