//! Pages of text in a PDF: where the next line goes, how wide a text is, and the file around the pages.

use pdf_writer::{Content, Finish, Name, Pdf, Rect, Ref, Str, TextStr};

const PAGE_WIDTH: f32 = 595.0; // points, A4
const PAGE_HEIGHT: f32 = 842.0; // points, A4
const MARGIN: f32 = 48.0; // points
const FOOTER: [f32; 2] = [34.0, 24.0]; // points from the page's bottom to its lines

pub(super) const LEFT: f32 = MARGIN;
pub(super) const RIGHT: f32 = PAGE_WIDTH - MARGIN;
pub(super) const WIDTH: f32 = RIGHT - LEFT;

pub(super) const LINE: f32 = 12.0; // points from one line of the body to the next

const PLAIN: Name<'_> = Name(b"Plain");
const BOLD: Name<'_> = Name(b"Bold");

/// Red, green and blue from 0 to 1.
pub(super) type Color = [f32; 3];

#[derive(Clone, Copy)]
pub(super) struct Style {
    font: Name<'static>,
    pub(super) size: f32,
    color: Color,
}

impl Style {
    pub(super) const fn plain(size: f32, color: Color) -> Self {
        let font = PLAIN;
        Self { font, size, color }
    }

    pub(super) const fn bold(size: f32, color: Color) -> Self {
        let font = BOLD;
        Self { font, size, color }
    }
}

/// Pages that are filled from the top down.
pub(super) struct Pages {
    full: Vec<Content>,
    current: Content,
    /// The line that is written on, from the page's bottom.
    y: f32,
}

impl Pages {
    pub(super) fn new() -> Self {
        let (full, current) = (Vec::new(), Content::new());
        let y = PAGE_HEIGHT - MARGIN;
        Self { full, current, y }
    }

    /// Sees to it that so much fits on the page, if need be by starting the next; says whether it did.
    pub(super) fn room(&mut self, height: f32) -> bool {
        let full = self.y - height < MARGIN;
        if full {
            let page = std::mem::replace(&mut self.current, Content::new());
            self.full.push(page);
            self.y = PAGE_HEIGHT - MARGIN;
        }
        full
    }

    pub(super) fn down(&mut self, height: f32) {
        self.y -= height;
    }

    pub(super) fn text(&mut self, x: f32, style: Style, text: &str) {
        write(&mut self.current, x, self.y, style, text);
    }

    /// A text that ends at `x`.
    pub(super) fn text_before(&mut self, x: f32, style: Style, text: &str) {
        self.text(x - width(text, style.size), style, text);
    }

    /// Lines below each other, the first on the current line; the last is then the current one.
    pub(super) fn paragraph(&mut self, x: f32, style: Style, lines: &[String]) {
        for (nth, line) in lines.iter().enumerate() {
            self.down(if nth == 0 { 0.0 } else { LINE });
            self.text(x, style, line);
        }
    }

    /// A rectangle whose lower edge is so far above the line.
    pub(super) fn fill(&mut self, x: f32, above: f32, [width, height]: [f32; 2], color: Color) {
        let [r, g, b] = color;
        let page = self.current.set_fill_rgb(r, g, b);
        page.rect(x, self.y + above, width, height).fill_nonzero();
    }

    /// A thin line across the page.
    pub(super) fn rule(&mut self) {
        self.fill(LEFT, 0.0, [WIDTH, 0.5], [0.82, 0.85, 0.89]);
    }

    /// The file. `title` may be in any script; `footer` is on every page, the number beside it.
    pub(super) fn finish(mut self, title: &str, footer: [&str; 2], style: Style) -> Vec<u8> {
        self.full.push(self.current);
        let count = self.full.len();
        for (page, nth) in self.full.iter_mut().zip(1..) {
            let number = format!("Page {nth} of {count}");
            let x = RIGHT - width(&number, style.size);
            for (y, line) in FOOTER.into_iter().zip(footer) {
                write(page, LEFT, y, style, line);
            }
            write(page, x, FOOTER[0], style, &number);
        }
        file(title, self.full)
    }
}

fn write(page: &mut Content, x: f32, y: f32, style: Style, text: &str) {
    let [r, g, b] = style.color;
    page.begin_text();
    page.set_font(style.font, style.size).set_fill_rgb(r, g, b);
    page.next_line(x, y).show(Str(&win_ansi(text)));
    page.end_text();
}

fn file(title: &str, pages: Vec<Content>) -> Vec<u8> {
    let [catalog, tree, info, plain, bold] = [1, 2, 3, 4, 5].map(Ref::new);
    // Each page is followed by what is on it.
    let refs = (6..).step_by(2).map(Ref::new).take(pages.len());

    let mut pdf = Pdf::new();
    let mut root = pdf.catalog(catalog);
    root.pages(tree).lang(TextStr("en"));
    root.viewer_preferences().display_doc_title(true);
    root.finish();
    pdf.document_info(info).title(TextStr(title));
    for (font, name) in [(plain, "Helvetica"), (bold, "Helvetica-Bold")] {
        let mut font = pdf.type1_font(font);
        font.base_font(Name(name.as_bytes()));
        font.encoding_predefined(Name(b"WinAnsiEncoding"));
    }
    let mut kids = pdf.pages(tree);
    kids.kids(refs.clone()).count(pages.len() as i32);
    kids.media_box(Rect::new(0.0, 0.0, PAGE_WIDTH, PAGE_HEIGHT));
    kids.resources().fonts().pair(PLAIN, plain).pair(BOLD, bold);
    kids.finish();
    for (page, content) in refs.zip(pages) {
        pdf.page(page).parent(tree).contents(page.next());
        pdf.stream(page.next(), &content.finish());
    }
    pdf.finish()
}

/// The text in the fonts' encoding, which is Latin-1 as far as these reports go.
fn win_ansi(text: &str) -> Vec<u8> {
    text.chars()
        .map(|character| u8::try_from(character).unwrap_or(b'?'))
        .collect()
}

/// Breaks a text between words into lines no wider than `max` in the plain font.
pub(super) fn wrap(text: &str, size: f32, max: f32) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if width(&format!("{line} {word}"), size) <= max => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A text's width in the plain font; of the bold one, the digits are as wide.
fn width(text: &str, size: f32) -> f32 {
    let width = |byte: u8| WIDTHS.get(usize::from(byte.saturating_sub(b' '))).copied();
    let widths = win_ansi(text)
        .into_iter()
        .map(|byte| f32::from(width(byte).unwrap_or(556)));
    widths.sum::<f32>() * size / 1000.0
}

/// Helvetica's widths of the characters from the space to the tilde, in thousandths of its size.
#[rustfmt::skip]
const WIDTHS: [u16; 95] = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556,
    556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778,
    722, 278, 500, 667, 556, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278,
    278, 278, 469, 556, 333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556,
    556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_broken_between_words_and_loses_none() {
        let text = "Improper Restriction of Operations within the Bounds of a Memory Buffer";
        let lines = wrap(text, 9.0, 150.0);
        assert!(lines.len() > 1);
        assert!(lines.iter().all(|line| width(line, 9.0) <= 150.0));
        assert_eq!(lines.join(" "), text);
    }
}
