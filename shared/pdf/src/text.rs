//! Turns text into lines. parley shapes the text, orders it for both directions, and breaks it.

use std::borrow::Cow;
use std::ops::Range;

use krilla::surface::Location;
use krilla::text::{Glyph, GlyphId};
use parley::layout::{Alignment, AlignmentOptions, Layout, Line as ParleyLine, Run};
use parley::style::{FontWeight, LineHeight, OverflowWrap, TextStyle};
use parley::{FontContext, LayoutContext, LineBreakContext};

use crate::clean::{self, Strictness};
use crate::error::Error;
use crate::fonts::Fonts;

/// A colour: red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour(pub u8, pub u8, pub u8);

impl Colour {
    /// Black.
    pub const BLACK: Self = Self(0, 0, 0);
    /// White.
    pub const WHITE: Self = Self(255, 255, 255);
}

/// The look of a whole paragraph. Lengths are in points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Style {
    /// The size of the letters.
    pub size: f32,
    /// The height of a line, in sizes.
    pub leading: f32,
    /// The colour of spans without a colour of their own.
    pub colour: Colour,
    /// Whether all of it is bold.
    pub bold: bool,
    /// Where lines begin.
    pub align: Align,
}

/// Where lines begin or end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Align {
    /// At the left for text that is read from the left, and otherwise at the right.
    #[default]
    Start,
    /// In the middle.
    Centre,
    /// The opposite of [`Align::Start`].
    End,
}

/// The role of a part of a paragraph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Nothing special.
    #[default]
    Plain,
    /// Important: bold.
    Strong,
    /// Source code, a path or a key: set in mono.
    Code,
}

/// Where a link leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(pub(crate) To);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Uri(String),
    Place(Place),
}

impl Target {
    /// A page of the web; `None` if the text is not such a URL. A PDF's URIs are ASCII, so other characters must be encoded.
    pub fn web(url: &str) -> Option<Self> {
        let is_web = url.starts_with("https://") || url.starts_with("http://");
        (is_web && url.bytes().all(|b| b.is_ascii_graphic())).then(|| Self(To::Uri(url.to_owned())))
    }
}

impl From<Place> for Target {
    fn from(place: Place) -> Self {
        Self(To::Place(place))
    }
}

/// A place of the document that links lead to; see [`crate::flow::Flow::place`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(pub(crate) usize);

/// A part of a paragraph.
#[derive(Clone, Debug)]
pub struct Span<'a> {
    /// The text as it came. It is cleaned when it is set.
    pub text: Cow<'a, str>,
    /// Its role.
    pub role: Role,
    /// Its colour, if it differs from the paragraph's.
    pub colour: Option<Colour>,
    /// The target of its link.
    pub link: Option<Target>,
}

impl<'a> Span<'a> {
    /// Plain text.
    pub fn plain(text: impl Into<Cow<'a, str>>) -> Self {
        Self {
            text: text.into(),
            role: Role::Plain,
            colour: None,
            link: None,
        }
    }

    /// Important text.
    pub fn strong(text: impl Into<Cow<'a, str>>) -> Self {
        Self {
            role: Role::Strong,
            ..Self::plain(text)
        }
    }

    /// Source code, a path or a key.
    pub fn code(text: impl Into<Cow<'a, str>>) -> Self {
        Self {
            role: Role::Code,
            ..Self::plain(text)
        }
    }

    /// The same in a colour.
    #[must_use]
    pub fn coloured(mut self, colour: Colour) -> Self {
        self.colour = Some(colour);
        self
    }

    /// The same as a link.
    #[must_use]
    pub fn linked(mut self, target: Target) -> Self {
        self.link = Some(target);
        self
    }
}

/// A line that is ready to be drawn.
#[derive(Debug)]
pub(crate) struct Line {
    /// The height of the line.
    pub(crate) height: f32,
    /// How far the baseline is below its top.
    pub(crate) baseline: f32,
    /// The line's text, for copying and searching.
    pub(crate) text: Box<str>,
    /// The drawn pieces, in reading order, which is not always from left to right.
    pub(crate) pieces: Box<[Piece]>,
    glyphs: Box<[PlacedGlyph]>,
}

/// A part of a line with one look.
#[derive(Debug)]
pub(crate) struct Piece {
    /// The number of its span.
    pub(crate) span: usize,
    /// The number of the font.
    pub(crate) font: usize,
    pub(crate) size: f32,
    pub(crate) colour: Colour,
    /// Its distance from the beginning of the line.
    pub(crate) x: f32,
    pub(crate) width: f32,
    glyphs: Range<usize>,
}

impl Line {
    /// The distance from the beginning to the end of the last piece.
    pub(crate) fn width(&self) -> f32 {
        let ends = self.pieces.iter().map(|piece| piece.x + piece.width);
        ends.fold(0.0, f32::max)
    }

    /// The glyphs of one of its pieces.
    pub(crate) fn glyphs(&self, piece: &Piece) -> &[PlacedGlyph] {
        self.glyphs.get(piece.glyphs.clone()).unwrap_or_default()
    }
}

/// A glyph of a line. It takes half the memory of krilla's own, of which a long report would hold millions.
#[derive(Debug)]
pub(crate) struct PlacedGlyph {
    id: u32,
    /// The part of the line's text that it stands for.
    text: Range<u32>,
    // In parts of the size, as krilla wants them.
    advance: f32,
    x: f32,
    y: f32,
}

impl Glyph for PlacedGlyph {
    fn glyph_id(&self) -> GlyphId {
        GlyphId::new(self.id)
    }

    fn text_range(&self) -> Range<usize> {
        self.text.start as usize..self.text.end as usize
    }

    fn x_advance(&self, size: f32) -> f32 {
        self.advance * size
    }

    fn x_offset(&self, size: f32) -> f32 {
        self.x * size
    }

    fn y_offset(&self, size: f32) -> f32 {
        self.y * size
    }

    fn y_advance(&self, _: f32) -> f32 {
        0.0
    }

    fn location(&self) -> Option<Location> {
        None
    }
}

impl std::fmt::Debug for Typesetter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Typesetter")
            .field("written_out", &self.written_out)
            .finish_non_exhaustive()
    }
}

/// Sets text. It reuses its memory from paragraph to paragraph.
pub(crate) struct Typesetter<'f> {
    fonts: &'f Fonts,
    strictness: Strictness,
    font_context: FontContext,
    /// The brush of a piece of text is the number of its span.
    layout_context: LayoutContext<usize>,
    layout: Layout<usize>,
    text: String,
    /// Where each span ends in the text.
    ends: Vec<usize>,
    written_out: usize,
}

impl<'f> Typesetter<'f> {
    pub(crate) fn new(fonts: &'f Fonts, strictness: Strictness) -> Self {
        Self {
            fonts,
            strictness,
            font_context: fonts.context(),
            layout_context: LayoutContext::new(),
            layout: Layout::new(),
            text: String::new(),
            ends: Vec::new(),
            written_out: 0,
        }
    }

    /// The fonts that it sets text in.
    pub(crate) fn fonts(&self) -> &'f Fonts {
        self.fonts
    }

    /// How many characters were written out so far instead of drawn.
    pub(crate) fn written_out(&self) -> usize {
        self.written_out
    }

    /// Sets a paragraph in lines of this width. No line is wider: a text without a good place to break is broken anywhere.
    pub(crate) fn set(
        &mut self,
        spans: &[Span<'_>],
        style: &Style,
        width: f32,
    ) -> Result<Vec<Line>, Error> {
        // parley counts styles in 16 bits, and panics if there are more.
        if spans.len() > usize::from(u16::MAX) {
            return Err(Error::TooManySpans(spans.len()));
        }
        self.text.clear();
        self.ends.clear();
        for span in spans {
            // This is done here and not only below. For Thai or Chinese, which the fonts lack, parley would look for language
            // models that it is built without, and a debug build would report that on the standard error output.
            self.written_out += clean::push(&mut self.text, &span.text, self.strictness, |c| {
                self.fonts.has(c)
            });
            self.ends.push(self.text.len());
        }
        // parley would make a line for a caret, with a height of its own.
        if self.text.is_empty() {
            return Ok(Vec::new());
        }
        self.shape(spans, style, width);
        // This may take several rounds: a mark after a written-out character may now be above a bracket of another font.
        while self.write_out(&missing_glyphs(&self.layout)) {
            self.shape(spans, style, width);
        }
        self.layout
            .align(alignment(style.align), AlignmentOptions::default());
        self.layout
            .lines()
            .map(|line| self.line(&line, spans, style))
            .collect()
    }

    /// Shapes the text as it is now, and breaks it into lines.
    fn shape(&mut self, spans: &[Span<'_>], style: &Style, width: f32) {
        let mut builder = self.layout_context.style_run_builder(
            &mut self.font_context,
            &self.text,
            1.0,
            // Whole pixels are for screens.
            false,
        );
        builder.set_line_break_override(Some(&break_opportunity));
        let mut start = 0;
        for (number, (span, &end)) in spans.iter().zip(&self.ends).enumerate() {
            // parley does not take an empty run.
            if start == end {
                continue;
            }
            let bold = style.bold || span.role == Role::Strong;
            let index = builder.push_style(TextStyle {
                brush: number,
                font_family: self.fonts.stack(span.role == Role::Code),
                font_size: style.size,
                font_weight: if bold {
                    FontWeight::BOLD
                } else {
                    FontWeight::NORMAL
                },
                line_height: LineHeight::FontSizeRelative(style.leading),
                overflow_wrap: OverflowWrap::Anywhere,
                ..TextStyle::default()
            });
            builder.push_style_run(index, start..end);
            start = end;
        }
        builder.build_into(&mut self.layout, &self.text);
        self.layout.break_all_lines(Some(width));
    }

    /// Writes out what has no glyph, except ASCII, which always has one by itself. Gives whether there was anything.
    ///
    /// Spans keep their own text, even where a mark of one follows a letter of another.
    fn write_out(&mut self, missing: &[Range<usize>]) -> bool {
        if missing.is_empty() {
            return false;
        }
        let before = self.written_out;
        let mut text = String::with_capacity(self.text.len() + 16 * missing.len());
        let mut missing = missing.iter().peekable();
        let mut ends = self.ends.iter_mut().peekable();
        for (at, c) in self.text.char_indices() {
            while let Some(end) = ends.next_if(|end| **end <= at) {
                *end = text.len();
            }
            while missing.next_if(|range| range.end <= at).is_some() {}
            if !c.is_ascii() && missing.peek().is_some_and(|range| range.contains(&at)) {
                clean::write_out(&mut text, c);
                self.written_out += 1;
            } else {
                text.push(c);
            }
        }
        for end in ends {
            *end = text.len();
        }
        self.text = text;
        self.written_out > before
    }

    /// A line of the layout in its drawable form.
    fn line(
        &self,
        line: &ParleyLine<'_, usize>,
        spans: &[Span<'_>],
        style: &Style,
    ) -> Result<Line, Error> {
        let metrics = line.metrics();
        let text_range = line.text_range();
        let text = self.text.get(text_range.clone()).unwrap_or_default();
        let mut maker = LineMaker {
            start: text_range.start,
            x: metrics.inline_min_coord + metrics.offset,
            glyphs: Vec::with_capacity(text.len()),
            pieces: Vec::new(),
        };
        for run in line.runs() {
            maker.run(&run, self.fonts.number(run.font())?, |span| {
                let own = spans.get(span).and_then(|span| span.colour);
                own.unwrap_or(style.colour)
            });
        }
        let LineMaker {
            glyphs, mut pieces, ..
        } = maker;
        // Reading aloud and copying follow the order in which pieces are drawn.
        pieces.sort_by_key(|piece| {
            let glyphs = glyphs.get(piece.glyphs.clone()).unwrap_or_default();
            glyphs.iter().map(|glyph| glyph.text.start).min()
        });
        Ok(Line {
            height: metrics.line_height,
            baseline: metrics.baseline - metrics.block_min_coord,
            text: text.into(),
            pieces: pieces.into(),
            glyphs: glyphs.into(),
        })
    }
}

/// Places a line's glyphs one after another, from left to right.
struct LineMaker {
    /// Where the line begins in the paragraph's text.
    start: usize,
    x: f32,
    glyphs: Vec<PlacedGlyph>,
    pieces: Vec<Piece>,
}

impl LineMaker {
    /// Adds a run: one font, one size, one direction, but perhaps several spans.
    fn run(&mut self, run: &Run<'_, usize>, font: usize, colour: impl Fn(usize) -> Colour) {
        let size = run.font_size();
        let first_piece = self.pieces.len();
        // A ligature's glyphs are those of its first cluster. In text from the right, that cluster comes last.
        let mut continued: Option<Range<usize>> = None;
        for cluster in run.visual_clusters() {
            if cluster.is_ligature_continuation() {
                if cluster.is_rtl() {
                    continued = Some(union(continued, cluster.text_range()));
                } else if let Some(glyph) = self.glyphs.last_mut() {
                    glyph.text.end = offset(cluster.text_range().end, self.start);
                }
                continue;
            }
            let text = union(continued.take(), cluster.text_range());
            let (first, x) = (self.glyphs.len(), self.x);
            for glyph in cluster.glyphs() {
                self.x += glyph.advance;
                self.glyphs.push(PlacedGlyph {
                    id: glyph.id,
                    text: offset(text.start, self.start)..offset(text.end, self.start),
                    advance: glyph.advance / size,
                    x: glyph.x / size,
                    // parley's is downwards, krilla's upwards.
                    y: -glyph.y / size,
                });
            }
            let span = cluster.style().brush;
            match self.pieces.get_mut(first_piece..) {
                Some([.., last]) if last.span == span => {
                    last.width = self.x - last.x;
                    last.glyphs.end = self.glyphs.len();
                }
                _ => self.pieces.push(Piece {
                    span,
                    font,
                    size,
                    colour: colour(span),
                    x,
                    width: self.x - x,
                    glyphs: first..self.glyphs.len(),
                }),
            }
        }
    }
}

/// The parts of the text that no font has glyphs for, in order.
///
/// The criterion is what would be drawn: glyph 0, after parley has chosen one font for the cluster as a whole. It was checked
/// before that each character is in some font, but that is not enough: a letter and its mark may be in different fonts.
fn missing_glyphs(layout: &Layout<usize>) -> Vec<Range<usize>> {
    layout
        .lines()
        .flat_map(|line| line.runs())
        .flat_map(|run| run.clusters())
        .filter(|cluster| cluster.glyphs().any(|glyph| glyph.id == 0))
        .map(|cluster| cluster.text_range())
        .collect()
}

/// Where lines may be broken in addition to Unicode's rules: within paths, queries and names in code.
fn break_opportunity(at: LineBreakContext) -> Option<bool> {
    let after_separator = matches!(at.before, '/' | '\\' | '_' | '?' | '&' | '=' | '#');
    (after_separator && at.after.is_alphanumeric()).then_some(true)
}

fn alignment(align: Align) -> Alignment {
    match align {
        Align::Start => Alignment::Start,
        Align::Centre => Alignment::Center,
        Align::End => Alignment::End,
    }
}

/// The smallest range that has both.
fn union(a: Option<Range<usize>>, b: Range<usize>) -> Range<usize> {
    match a {
        Some(a) => a.start.min(b.start)..a.end.max(b.end),
        None => b,
    }
}

/// An offset within a line. Texts of 4 GB do not occur. If one did, its glyphs would be drawn and stand for the wrong text.
fn offset(at: usize, start: usize) -> u32 {
    u32::try_from(at.saturating_sub(start)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: Style = Style {
        size: 10.0,
        leading: 1.4,
        colour: Colour::BLACK,
        bold: false,
        align: Align::Start,
    };

    fn set(spans: &[Span<'_>], width: f32) -> (Vec<Line>, usize) {
        let fonts = Fonts::embedded().unwrap();
        let mut typesetter = Typesetter::new(&fonts, Strictness::Visible);
        let lines = typesetter.set(spans, &STYLE, width).unwrap();
        (lines, typesetter.written_out())
    }

    fn text(lines: &[Line]) -> String {
        lines.iter().map(|line| line.text.as_ref()).collect()
    }

    /// The width of a line without the white space that it ends with, which may hang over.
    fn ink(line: &Line) -> f32 {
        let spaces = line.text.len() - line.text.trim_end().len();
        line.width() - spaces as f32 * 0.26 * STYLE.size
    }

    #[test]
    fn nothing_is_wider_than_asked_for() {
        let long = "x".repeat(500);
        let path = "src/main/java/com/example/".repeat(20);
        let mixed = "קובץ test.rs חסר, 3 שורות ".repeat(20);
        for given in [&long, &path, &mixed] {
            for span in [Span::plain(given), Span::code(given), Span::strong(given)] {
                let (lines, _) = set(&[span], 120.0);
                assert!(lines.len() > 10);
                assert_eq!(text(&lines), *given);
                assert!(lines.iter().all(|line| ink(line) < 120.5), "{given}");
            }
        }
    }

    #[test]
    fn paths_are_broken_after_slashes() {
        let (lines, _) = set(
            &[Span::code("src/main/java/com/example/".repeat(20))],
            200.0,
        );
        assert!(lines.iter().all(|line| line.text.ends_with('/')));
    }

    #[test]
    fn empty_text_has_no_lines() {
        assert!(
            set(&[Span::plain(""), Span::strong("")], 100.0)
                .0
                .is_empty()
        );
    }

    #[test]
    fn text_from_the_right_is_drawn_from_the_right_and_read_in_order() {
        let (lines, _) = set(&[Span::plain("a שלום 12 b")], 500.0);
        let [line] = lines.as_slice() else {
            panic!("one line")
        };
        let start = |piece: &Piece| line.glyphs(piece).iter().map(|g| g.text.start).min();
        assert!(line.pieces.is_sorted_by_key(start));
        let hebrew = line
            .pieces
            .iter()
            .find(|piece| line.glyphs(piece).len() == 4)
            .unwrap();
        let starts = line.glyphs(hebrew).iter().map(|glyph| glyph.text.start);
        assert!(starts.rev().is_sorted());
        // The number is read after the word and stands to the left of it.
        let number = line
            .pieces
            .iter()
            .find(|piece| start(piece).is_some_and(|at| &line.text[at as usize..][..2] == "12"));
        assert!(number.unwrap().x < hebrew.x);
    }

    #[test]
    fn ligature_stands_for_all_its_letters() {
        for (given, length) in [("لا", 4), ("ﬁ", 3)] {
            let (lines, _) = set(&[Span::plain(given)], 100.0);
            let line = &lines[0];
            let [piece] = line.pieces.as_ref() else {
                panic!("one piece")
            };
            assert_eq!(line.glyphs(piece).len(), 1, "{given}");
            assert_eq!(line.glyphs(piece)[0].text_range(), 0..length, "{given}");
        }
    }

    #[test]
    fn marks_are_above_letters() {
        // There is no such character, so the mark is a glyph of its own.
        let (lines, written) = set(&[Span::plain("x\u{30A}")], 100.0);
        let [letter, mark] = lines[0].glyphs(&lines[0].pieces[0]) else {
            panic!("two glyphs")
        };
        assert_eq!(written, 0);
        assert_eq!(letter.text, mark.text);
        assert!(mark.x_offset(1.0) < 0.0 && mark.x_advance(1.0) == 0.0);
    }

    #[test]
    fn cluster_that_no_font_has_as_a_whole_is_written_out() {
        // The letter is in one font, the mark in another.
        let spans = [
            Span::plain("a ש"),
            Span::strong("\u{30A}b"),
            Span::plain("c"),
        ];
        let (lines, written) = set(&spans, 500.0);
        assert_eq!(written, 2);
        assert_eq!(text(&lines), "a [U+05E9][U+030A]bc");
        let of = |span| {
            let pieces = lines[0]
                .pieces
                .iter()
                .filter(move |piece| piece.span == span);
            let glyphs = pieces.flat_map(|piece| lines[0].glyphs(piece));
            glyphs
                .map(|g| &lines[0].text[g.text_range()])
                .collect::<String>()
        };
        assert_eq!([of(0), of(1), of(2)], ["a [U+05E9]", "[U+030A]b", "c"]);
    }

    #[test]
    fn scripts_that_no_font_has_are_written_out() {
        let (lines, written) = set(&[Span::plain("中 💩 ไ")], 500.0);
        assert_eq!(written, 3);
        assert_eq!(text(&lines), "[U+4E2D] [U+1F4A9] [U+0E44]");
    }
}
