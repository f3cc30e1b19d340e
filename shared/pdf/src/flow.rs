//! The content of a document, one thing below the other, on as many pages as it needs.

use std::num::NonZeroU16;
use std::rc::Rc;

use krilla::tagging::{ArtifactType, ListNumbering, Tag};

use crate::clean::{self, Strictness};
use crate::error::Error;
use crate::fonts::Fonts;
use crate::page::{Area, Format, Item, LinkArea, Marks, Page, SpanSlots};
use crate::tags::{Group, Tags};
use crate::text::{Align, Colour, Line, Place, Role, Span, Style, Typesetter};

/// How many lines of running text must fit below a heading.
const HEADING_KEEPS: f32 = 6.0;

/// The look of a document.
#[derive(Clone, Debug)]
pub struct Theme {
    /// The document's title.
    pub title: Style,
    /// Headings, the highest first. Headings below the last one look like it.
    pub headings: [Style; 2],
    /// Running text.
    pub body: Style,
    /// Cells of tables.
    pub cell: Style,
    /// The page's number and the text beside it.
    pub footer: Style,
    /// The background of a table's header.
    pub header: Colour,
    /// Lines between rows.
    pub rule: Colour,
}

impl Default for Theme {
    fn default() -> Self {
        let body = Style {
            size: 10.0,
            leading: 1.4,
            colour: Colour(0x22, 0x22, 0x22),
            bold: false,
            align: Align::Start,
        };
        let heading = |size| Style {
            size,
            leading: 1.3,
            bold: true,
            ..body
        };
        Self {
            title: heading(26.0),
            headings: [heading(17.0), heading(13.0)],
            body,
            cell: Style { size: 9.0, ..body },
            footer: Style {
                size: 8.0,
                colour: Colour(0x59, 0x59, 0x59),
                ..body
            },
            header: Colour(0xEE, 0xF1, 0xF5),
            rule: Colour(0xC8, 0xCE, 0xD6),
        }
    }
}

/// A heading, for the outline and the contents.
#[derive(Debug)]
pub(crate) struct Heading {
    /// 1 is the highest.
    pub(crate) level: u16,
    /// With hidden characters written out.
    pub(crate) text: String,
    pub(crate) place: Place,
}

/// A badge: a few letters on a coloured ground, and a label beside it.
#[derive(Clone, Debug)]
pub struct Badge<'a> {
    /// What is rated.
    pub label: &'a str,
    /// The rating.
    pub value: &'a str,
    /// The ground. White must be legible on it.
    pub colour: Colour,
}

/// The content that is laid out so far.
#[derive(Debug)]
pub struct Flow<'f> {
    pub(crate) typesetter: Typesetter<'f>,
    pub(crate) format: Format,
    pub(crate) theme: Theme,
    pub(crate) pages: Vec<Page>,
    pub(crate) tags: Tags,
    pub(crate) headings: Vec<Heading>,
    /// Where the contents go: before which page, in which group, below which heading.
    pub(crate) contents: Option<(usize, Group, String)>,
    /// The page of each place, and where on the page.
    places: Vec<Option<(usize, f32)>>,
    /// Where the next thing on the last page begins.
    y: f32,
}

impl<'f> Flow<'f> {
    /// An empty document.
    pub fn new(fonts: &'f Fonts, format: Format, theme: Theme, strictness: Strictness) -> Self {
        Self {
            typesetter: Typesetter::new(fonts, strictness),
            format,
            theme,
            pages: vec![Page::default()],
            tags: Tags::default(),
            headings: Vec::new(),
            contents: None,
            places: Vec::new(),
            y: format.top,
        }
    }

    /// How many characters were written out so far because they cannot be drawn.
    pub fn written_out(&self) -> usize {
        self.typesetter.written_out()
    }

    /// Adds the document's title.
    ///
    /// # Errors
    ///
    /// As for every function that sets text: a mistake in this crate, or a paragraph with very many spans.
    pub fn title(&mut self, text: &str) -> Result<(), Error> {
        let group = self.tags.group(None, Tag::Title);
        let style = self.theme.title;
        self.text(group, &[Span::plain(text)], &style)?;
        self.gap(style.size / 2.0);
        Ok(())
    }

    /// Adds a heading. It is in the outline and the contents, and never the last thing on a page.
    ///
    /// # Errors
    ///
    /// As for [`Flow::title`].
    pub fn heading(&mut self, level: NonZeroU16, text: &str) -> Result<Place, Error> {
        let style = self.heading_style(level);
        let body = &self.theme.body;
        // The heading, and what follows it: a lower one, a table's header, or two lines.
        let least = style.size * style.leading + HEADING_KEEPS * body.size * body.leading;
        self.gap(style.size * 0.8);
        self.make_room(least);
        let place = self.place();
        self.here(place);
        let outside = clean::visible(text);
        let tag = Tag::Hn(level, Some(outside.clone()));
        self.headings.push(Heading {
            level: level.get(),
            text: outside,
            place,
        });
        let group = self.tags.group(None, tag);
        self.text(group, &[Span::plain(text)], &style)?;
        self.gap(style.size * 0.3);
        Ok(place)
    }

    /// Adds a paragraph.
    ///
    /// # Errors
    ///
    /// As for [`Flow::title`].
    pub fn paragraph(&mut self, spans: &[Span<'_>]) -> Result<(), Error> {
        let group = self.tags.group(None, Tag::P);
        let style = self.theme.body;
        self.text(group, spans, &style)?;
        self.gap(style.size * 0.6);
        Ok(())
    }

    /// Adds a list with bullets.
    ///
    /// # Errors
    ///
    /// As for [`Flow::title`].
    pub fn list(&mut self, items: &[Vec<Span<'_>>]) -> Result<(), Error> {
        const INDENT: f32 = 14.0;
        let style = self.theme.body;
        let list = self.tags.group(None, Tag::L(ListNumbering::Disc));
        for spans in items {
            let item = self.tags.group(Some(list), Tag::LI);
            let bullet = [Span::plain("\u{2022}")];
            let label = self.tags.group(Some(item), Tag::Lbl);
            let label = self.slots(label, &bullet);
            let body = self.tags.group(Some(item), Tag::LBody);
            let slots = self.slots(body, spans);
            let lines = self.set(spans, &style, self.format.text_width() - INDENT)?;
            // The bullet is on the page of the first line.
            self.make_room(least_height(&lines));
            let (x, y) = (self.format.side, self.y);
            for line in self.set(&bullet, &style, INDENT)? {
                self.draw_line(x, y, line, &label, &bullet);
            }
            self.lines(x + INDENT, &lines, &slots, spans);
        }
        self.gap(style.size * 0.6);
        Ok(())
    }

    /// Adds badges beside each other, as many as fit, and the others below.
    ///
    /// # Errors
    ///
    /// As for [`Flow::title`].
    pub fn badges(&mut self, badges: &[Badge<'_>]) -> Result<(), Error> {
        const HEIGHT: f32 = 20.0;
        const PADDING: f32 = 7.0;
        const GAP: f32 = 16.0;
        let label_style = self.theme.body;
        let value_style = Style {
            colour: Colour::WHITE,
            bold: true,
            ..label_style
        };
        let (left, right) = (
            self.format.side,
            self.format.side + self.format.text_width(),
        );
        self.make_room(HEIGHT);
        let mut x = left;
        for badge in badges {
            let label = [Span::plain(badge.label)];
            let value = [Span::plain(badge.value)];
            let widest = (right - left) / 2.0 - GAP;
            // A text that needs more than a line is cut: badges are for a few letters.
            let label_line = self.set(&label, &label_style, widest)?.into_iter().next();
            let value_line = self.set(&value, &value_style, widest)?.into_iter().next();
            let width = |line: &Option<Rc<Line>>| line.as_ref().map_or(0.0, |line| line.width());
            let ground = width(&value_line) + 2.0 * PADDING;
            let whole = width(&label_line) + PADDING + ground;
            if x > left && x + whole > right {
                self.y += HEIGHT + PADDING;
                self.make_room(HEIGHT);
                x = left;
            }
            let group = self.tags.group(None, Tag::P);
            let middle = |line: &Line| (HEIGHT - line.height) / 2.0;
            if let Some(line) = label_line {
                let slots = self.slots(group, &label);
                self.draw_line(x, self.y + middle(&line), line, &slots, &label);
            }
            let at = x + whole - ground;
            self.draw_area(
                Area {
                    x: at,
                    y: self.y,
                    width: ground,
                    height: HEIGHT,
                },
                HEIGHT / 3.0,
                badge.colour,
            );
            if let Some(line) = value_line {
                let slots = self.slots(group, &value);
                self.draw_line(at + PADDING, self.y + middle(&line), line, &slots, &value);
            }
            x += whole + GAP;
        }
        self.y += HEIGHT + PADDING;
        Ok(())
    }

    /// Adds the contents: pages of their own with all headings of the document, including later ones.
    pub fn contents(&mut self, heading: &str) {
        let group = self.tags.group(None, Tag::Div);
        if !self.is_fresh() {
            self.page_break();
        }
        self.contents = Some((self.pages.len() - 1, group, heading.to_owned()));
    }

    /// A new place that links may lead to, wherever it will be.
    pub fn place(&mut self) -> Place {
        self.places.push(None);
        Place(self.places.len() - 1)
    }

    /// Sets a place to where the next thing will be.
    pub fn here(&mut self, place: Place) {
        let at = (self.pages.len() - 1, self.y);
        if let Some(found) = self.places.get_mut(place.0) {
            *found = Some(at);
        }
    }

    /// The page of a place, and where on the page.
    pub(crate) fn find(&self, place: Place) -> Option<(usize, f32)> {
        self.places.get(place.0).copied().flatten()
    }

    /// How many places there are.
    pub(crate) fn place_count(&self) -> usize {
        self.places.len()
    }

    /// Adds free space, unless a page begins.
    pub fn gap(&mut self, height: f32) {
        if !self.is_fresh() {
            self.y += height;
        }
    }

    /// Begins a page.
    pub fn page_break(&mut self) {
        self.pages.push(Page::default());
        self.y = self.format.top;
    }

    /// Whether there is nothing on the last page.
    pub(crate) fn is_fresh(&self) -> bool {
        self.pages.last().is_none_or(|page| page.items.is_empty())
    }

    /// Where the next thing will be.
    pub(crate) fn y(&self) -> f32 {
        self.y
    }

    /// Moves down.
    pub(crate) fn advance(&mut self, height: f32) {
        self.y += height;
    }

    /// How much fits below.
    pub(crate) fn room(&self) -> f32 {
        self.format.text_bottom() - self.y
    }

    /// Begins a page, unless this much fits or the page is empty.
    pub(crate) fn make_room(&mut self, height: f32) {
        if height > self.room() && !self.is_fresh() {
            self.page_break();
        }
    }

    /// The style of a heading.
    pub(crate) fn heading_style(&self, level: NonZeroU16) -> Style {
        let [highest, lower] = self.theme.headings;
        if level.get() == 1 { highest } else { lower }
    }

    /// Sets lines, to be drawn once or several times.
    pub(crate) fn set(
        &mut self,
        spans: &[Span<'_>],
        style: &Style,
        width: f32,
    ) -> Result<Vec<Rc<Line>>, Error> {
        let lines = self.typesetter.set(spans, style, width)?;
        Ok(lines.into_iter().map(Rc::new).collect())
    }

    /// Slots for each span, below a group that says what it is.
    pub(crate) fn slots(&mut self, parent: Group, spans: &[Span<'_>]) -> Rc<[SpanSlots]> {
        let tags = &mut self.tags;
        spans
            .iter()
            .map(|span| {
                let link = span.link.as_ref();
                let link = link.map(|_| tags.group(Some(parent), Tag::Link));
                let around = link.unwrap_or(parent);
                let group = match span.role {
                    Role::Plain => around,
                    Role::Strong => tags.group(Some(around), Tag::Strong),
                    Role::Code => tags.group(Some(around), Tag::Code),
                };
                SpanSlots {
                    text: tags.slot(group),
                    link: link.map(|link| tags.slot(link)),
                }
            })
            .collect()
    }

    /// Sets text and adds it below.
    fn text(&mut self, group: Group, spans: &[Span<'_>], style: &Style) -> Result<(), Error> {
        let slots = self.slots(group, spans);
        let lines = self.set(spans, style, self.format.text_width())?;
        self.lines(self.format.side, &lines, &slots, spans);
        Ok(())
    }

    /// Adds lines below, on as many pages as they need. No line of several is alone on a page.
    pub(crate) fn lines(
        &mut self,
        x: f32,
        mut lines: &[Rc<Line>],
        slots: &Rc<[SpanSlots]>,
        spans: &[Span<'_>],
    ) {
        while !lines.is_empty() {
            let room = self.room();
            let mut fit = fitting(lines, room);
            if fit < lines.len() {
                if fit + 1 == lines.len() && fit > 2 {
                    fit -= 1;
                } else if fit == 1 && !self.is_fresh() {
                    fit = 0;
                }
            }
            if fit == 0 {
                if !self.is_fresh() {
                    self.page_break();
                    continue;
                }
                // A line is higher than a page. It is cut off, since it would never fit.
                fit = 1;
            }
            let (now, later) = lines.split_at(fit);
            for line in now {
                self.draw_line(x, self.y, Rc::clone(line), slots, spans);
                self.y += line.height;
            }
            lines = later;
            if !lines.is_empty() {
                self.page_break();
            }
        }
    }

    /// Draws a line, and makes its links.
    pub(crate) fn draw_line(
        &mut self,
        x: f32,
        y: f32,
        line: Rc<Line>,
        slots: &Rc<[SpanSlots]>,
        spans: &[Span<'_>],
    ) {
        let Some(page) = self.pages.last_mut() else {
            return;
        };
        for piece in &line.pieces {
            let Some((span, slots)) = spans.get(piece.span).zip(slots.get(piece.span)) else {
                continue;
            };
            if let Some((target, slot)) = span.link.as_ref().zip(slots.link) {
                page.links.push(LinkArea {
                    area: Area {
                        x: x + piece.x,
                        y,
                        width: piece.width,
                        height: line.height,
                    },
                    target: target.clone(),
                    slot,
                    description: clean::visible(&span.text).into(),
                });
            }
        }
        page.items.push(Item::Text {
            x,
            y,
            line,
            marks: Marks::Spans(Rc::clone(slots)),
        });
    }

    /// Draws a line that is not content.
    pub(crate) fn draw_artifact(&mut self, x: f32, y: f32, line: Rc<Line>, kind: ArtifactType) {
        if let Some(page) = self.pages.last_mut() {
            page.items.push(Item::Text {
                x,
                y,
                line,
                marks: Marks::Artifact(kind),
            });
        }
    }

    /// Draws an area.
    pub(crate) fn draw_area(&mut self, area: Area, radius: f32, colour: Colour) {
        if let Some(page) = self.pages.last_mut() {
            page.items.push(Item::Area {
                area,
                radius,
                colour,
            });
        }
    }
}

/// How many of the lines fit.
pub(crate) fn fitting(lines: &[Rc<Line>], room: f32) -> usize {
    let mut height = 0.0;
    lines
        .iter()
        .take_while(|line| {
            height += line.height;
            height <= room
        })
        .count()
}

/// The height of the lines together.
pub(crate) fn height(lines: &[Rc<Line>]) -> f32 {
    lines.iter().map(|line| line.height).sum()
}

/// The room that is needed for lines to begin here: that of two of them, or of all three.
fn least_height(lines: &[Rc<Line>]) -> f32 {
    let least = if lines.len() <= 3 { lines.len() } else { 2 };
    height(lines.get(..least).unwrap_or_default())
}
