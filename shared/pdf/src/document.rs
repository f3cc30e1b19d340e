//! Writes the laid-out document as bytes.

use std::num::NonZeroU16;
use std::rc::Rc;

use krilla::Document;
use krilla::configure::{Accessibility, Archival, ConfigurationBuilder};
use krilla::destination::XyzDestination;
use krilla::embed::{AssociationKind, EmbeddedFile, MimeType};
use krilla::geom::Point;
use krilla::metadata::{DateTime, Metadata};
use krilla::outline::{Outline, OutlineNode};
use krilla::page::PageSettings;
use krilla::tagging::{ArtifactType, Tag};
use krilla::{Data, SerializeSettings};

use crate::clean;
use crate::error::Error;
use crate::flow::{Flow, Heading, height};
use crate::page::{Area, Item, LinkArea, Marks, Page, draw, link};
use crate::text::{Align, Line, Place, Span, Style};

/// A moment, in UTC. Documents have no clock: the same input gives the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The year.
    pub year: u16,
    /// From 1.
    pub month: u8,
    /// From 1.
    pub day: u8,
    /// From 0.
    pub hour: u8,
    /// From 0.
    pub minute: u8,
    /// From 0.
    pub second: u8,
}

/// A document's description of itself.
#[derive(Clone, Debug)]
pub struct Info {
    /// Its title.
    pub title: String,
    /// Who wrote it.
    pub author: String,
    /// What made it.
    pub creator: String,
    /// Its language, as a tag of BCP 47.
    pub language: String,
    /// A unique id.
    pub id: String,
    /// When it was made.
    pub created: Moment,
}

/// A file in the document.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Its name.
    pub name: String,
    /// What kind of file it is.
    pub mime_type: String,
    /// What it contains.
    pub description: String,
    /// The file.
    pub bytes: Vec<u8>,
}

impl Flow<'_> {
    /// Writes the document as PDF/A-2a, or as PDF/A-3a if files are attached, and as PDF/UA-1.
    ///
    /// `number` gives the text at a page's foot, as in "3 of 12".
    ///
    /// # Errors
    ///
    /// An attachment is not valid, or the document breaks a rule of these standards.
    pub fn write(
        mut self,
        info: &Info,
        attachments: Vec<Attachment>,
        number: impl Fn(usize, usize) -> String,
    ) -> Result<Vec<u8>, Error> {
        let inserted = self.insert_contents()?;
        let archival = if attachments.is_empty() {
            Archival::A2_A
        } else {
            Archival::A3_A
        };
        let mut document = Document::new_with(SerializeSettings {
            configuration: ConfigurationBuilder::new()
                .with_archival_validator(archival)
                .with_accessibility_validator(Accessibility::UA1)
                .finish()?,
            ..SerializeSettings::default()
        });
        document.set_metadata(metadata(info));
        for attachment in attachments {
            attach(&mut document, attachment, info.created)?;
        }
        let places = inserted.places(&self);
        let find = |place: Place| places.get(place.0).copied().flatten();
        document.set_outline(outline(&self.headings, find));

        let settings = PageSettings::from_wh(self.format.width, self.format.height)
            .ok_or(Error::Extent("a page"))?;
        let fonts = self.typesetter.fonts();
        let count = self.pages.len();
        // Drawn pages are dropped, while krilla's own pages grow.
        for (index, mut page) in std::mem::take(&mut self.pages).into_iter().enumerate() {
            self.foot(&mut page, &info.title, &number(index + 1, count))?;
            let mut drawn = document.start_page_with(settings.clone());
            let mut surface = drawn.surface();
            draw(&page.items, &mut surface, fonts, &mut self.tags)?;
            surface.finish();
            link(&page.links, &mut drawn, &mut self.tags, find)?;
            drawn.finish();
        }
        document.set_tag_tree(self.tags.finish(&info.language));
        Ok(document.finish()?)
    }

    /// Puts the document's title and the page's number at the foot of a page.
    fn foot(&mut self, page: &mut Page, title: &str, number: &str) -> Result<(), Error> {
        let style = self.theme.footer;
        let width = self.format.text_width();
        let y = self.format.text_bottom() + self.format.bottom / 3.0;
        let parts = [
            (title, Align::Start, 0.75, ArtifactType::Footer),
            (number, Align::End, 1.0, ArtifactType::PageNumber),
        ];
        for (text, align, part, kind) in parts {
            let style = Style { align, ..style };
            let lines = self
                .typesetter
                .set(&[Span::plain(text)], &style, width * part)?;
            // A long title is cut to a line.
            if let Some(line) = lines.into_iter().next() {
                page.items.push(Item::Text {
                    x: self.format.side,
                    y,
                    line: Rc::new(line),
                    marks: Marks::Artifact(kind),
                });
            }
        }
        Ok(())
    }

    /// Makes the pages of the contents and inserts them.
    fn insert_contents(&mut self) -> Result<Inserted, Error> {
        const NUMBER_WIDTH: f32 = 40.0;
        const INDENT: f32 = 14.0;
        let Some((before, group, title)) = self.contents.take() else {
            return Ok(Inserted::default());
        };
        let headings = std::mem::take(&mut self.headings);
        let style = self.theme.body;
        let number_style = Style {
            align: Align::End,
            ..style
        };
        let body = std::mem::take(&mut self.pages);
        self.page_break();

        // The number of pages decides on which page everything is, so everything is measured first.
        let level = NonZeroU16::MIN;
        let title_spans = [Span::plain(title.as_str())];
        let title_style = self.heading_style(level);
        let title_lines = self.set(&title_spans, &title_style, self.format.text_width())?;
        let mut entries = Vec::with_capacity(headings.len());
        for heading in &headings {
            let indent = INDENT * f32::from(heading.level.saturating_sub(1).min(3));
            let width = self.format.text_width() - NUMBER_WIDTH - indent;
            let spans = [Span::plain(heading.text.as_str()).linked(heading.place.into())];
            entries.push((indent, self.set(&spans, &style, width)?));
        }
        let gap = title_style.size * 0.3;
        let count = self.count_pages(&title_lines, gap, &entries);
        let inserted = Inserted { before, count };

        let title_group = self
            .tags
            .group(Some(group), Tag::Hn(level, Some(title.clone())));
        let slots = self.slots(title_group, &title_spans);
        self.lines(self.format.side, &title_lines, &slots, &title_spans);
        self.gap(gap);
        let contents = self.tags.group(Some(group), Tag::TOC);
        for (heading, (indent, lines)) in headings.iter().zip(entries) {
            let Some((page, _)) = inserted.find(self, heading.place) else {
                continue;
            };
            self.make_room(height(&lines));
            let item = self.tags.group(Some(contents), Tag::TOCI);
            let reference = self.tags.group(Some(item), Tag::Reference);
            let linked = self.tags.group(Some(reference), Tag::Link);
            let spans = [Span::plain(heading.text.as_str())];
            let slots = self.slots(linked, &spans);
            let number = format!("{}", page + 1);
            let number_spans = [Span::plain(number.as_str())];
            let number_slots = self.slots(linked, &number_spans);
            let number_lines = self.set(&number_spans, &number_style, NUMBER_WIDTH)?;

            let (left, width) = (self.format.side, self.format.text_width());
            let area = Area {
                x: left + indent,
                y: self.y(),
                width: width - indent,
                height: height(&lines),
            };
            for line in &lines {
                self.draw_line(left + indent, self.y(), Rc::clone(line), &slots, &spans);
                self.advance(line.height);
            }
            // The number is beside the last line.
            for line in number_lines {
                let y = self.y() - line.height;
                let x = left + width - NUMBER_WIDTH;
                self.draw_line(x, y, line, &number_slots, &number_spans);
            }
            let slot = self.tags.slot(linked);
            if let Some(page) = self.pages.last_mut() {
                page.links.push(LinkArea {
                    area,
                    target: heading.place.into(),
                    slot,
                    description: heading.text.as_str().into(),
                });
            }
        }

        let contents = std::mem::replace(&mut self.pages, body);
        self.pages.splice(before..before, contents);
        self.headings = headings;
        Ok(inserted)
    }

    /// How many pages the contents take. It adds up as the drawing does, so that both round alike.
    fn count_pages(&self, title: &[Rc<Line>], gap: f32, entries: &[(f32, Vec<Rc<Line>>)]) -> usize {
        let mut count = 1;
        let mut y = self.format.top;
        y = title.iter().fold(y, |y, line| y + line.height) + gap;
        for (_, lines) in entries {
            if height(lines) > self.format.text_bottom() - y {
                count += 1;
                y = self.format.top;
            }
            y = lines.iter().fold(y, |y, line| y + line.height);
        }
        count
    }
}

/// The inserted pages.
#[derive(Clone, Copy, Default)]
struct Inserted {
    before: usize,
    count: usize,
}

impl Inserted {
    /// The page on which a place is now.
    fn find(self, flow: &Flow<'_>, place: Place) -> Option<(usize, f32)> {
        let (page, y) = flow.find(place)?;
        let moved = if page >= self.before { self.count } else { 0 };
        Some((page + moved, y))
    }

    /// The same for all places.
    fn places(self, flow: &Flow<'_>) -> Vec<Option<(usize, f32)>> {
        (0..flow.place_count())
            .map(|number| self.find(flow, Place(number)))
            .collect()
    }
}

fn metadata(info: &Info) -> Metadata {
    Metadata::new()
        .title(clean::visible(&info.title))
        .authors(vec![clean::visible(&info.author)])
        .creator(info.creator.clone())
        .producer(info.creator.clone())
        .language(info.language.clone())
        .document_id(info.id.clone())
        .creation_date(date_time(info.created))
}

fn date_time(moment: Moment) -> DateTime {
    DateTime::new(moment.year)
        .month(moment.month)
        .day(moment.day)
        .hour(moment.hour)
        .minute(moment.minute)
        .second(moment.second)
        .utc_offset_hour(0)
        .utc_offset_minute(0)
}

fn attach(document: &mut Document, attachment: Attachment, created: Moment) -> Result<(), Error> {
    let mime_type = MimeType::new(&attachment.mime_type)
        .ok_or_else(|| Error::Attachment(attachment.name.clone()))?;
    let name = attachment.name.clone();
    document
        .embed_file(EmbeddedFile {
            path: attachment.name,
            mime_type: Some(mime_type),
            description: Some(attachment.description),
            association_kind: AssociationKind::Data,
            data: Data::from(attachment.bytes),
            modification_date: Some(date_time(created)),
            compress: Some(true),
            location: None,
        })
        .ok_or(Error::Attachment(name))
}

/// The outline: each heading below the last higher one.
fn outline(headings: &[Heading], find: impl Fn(Place) -> Option<(usize, f32)>) -> Outline {
    // The open headings, from the highest to the lowest.
    let mut open: Vec<(u16, OutlineNode)> = Vec::new();
    let mut outline = Outline::new();
    for heading in headings {
        let Some((page, y)) = find(heading.place) else {
            continue;
        };
        close(&mut open, &mut outline, heading.level);
        let to = XyzDestination::new(page, Point::from_xy(0.0, y));
        open.push((heading.level, OutlineNode::new(heading.text.clone(), to)));
    }
    close(&mut open, &mut outline, 0);
    outline
}

/// Closes the headings that are not above a level. Each becomes a child of the one before, or of the outline.
fn close(open: &mut Vec<(u16, OutlineNode)>, outline: &mut Outline, level: u16) {
    while let Some((_, node)) = open.pop_if(|(last, _)| *last >= level) {
        match open.last_mut() {
            Some((_, parent)) => parent.push_child(node),
            None => outline.push_child(node),
        }
    }
}
