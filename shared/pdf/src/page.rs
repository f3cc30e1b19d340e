//! Pages before they are drawn. All of them are laid out first, so that each can say how many there are, and the contents can
//! say where something is.

use std::rc::Rc;

use krilla::action::{Action, LinkAction};
use krilla::annotation::{Annotation, LinkAnnotation, Target as KrillaTarget};
use krilla::color::rgb;
use krilla::destination::XyzDestination;
use krilla::geom::{Path, PathBuilder, Point, Quadrilateral, Rect};
use krilla::num::NormalizedF32;
use krilla::page::Page as KrillaPage;
use krilla::paint::{Fill, FillRule};
use krilla::surface::Surface;
use krilla::tagging::{Artifact, ArtifactType, ContentTag, SpanTag};

use crate::error::Error;
use crate::fonts::Fonts;
use crate::tags::{Slot, Tags};
use crate::text::{Colour, Line, Place, Target, To};

/// The size of pages, and where on them text may be, in points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Format {
    /// From the left to the right edge.
    pub width: f32,
    /// From the top to the bottom edge.
    pub height: f32,
    /// What stays free at the left and the right.
    pub side: f32,
    /// What stays free at the top.
    pub top: f32,
    /// What stays free at the bottom. The page's number is in it.
    pub bottom: f32,
}

impl Format {
    /// A4, upright.
    pub const A4: Self = Self {
        width: 595.276,
        height: 841.89,
        side: 56.7,
        top: 56.7,
        bottom: 62.4,
    };

    /// How wide text may be.
    pub(crate) fn text_width(&self) -> f32 {
        self.width - 2.0 * self.side
    }

    /// The lowest place for text.
    pub(crate) fn text_bottom(&self) -> f32 {
        self.height - self.bottom
    }
}

/// The role of a drawn thing in the document's structure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mark {
    /// Content.
    Content(Slot),
    /// An artifact, which is not read aloud: a line, a background, a page's number, a repeated header.
    Artifact(ArtifactType),
}

/// The place of a span in the document's structure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpanSlots {
    /// The place of its text.
    pub(crate) text: Slot,
    /// The place of its clickable area, if it is a link: right below the link, whatever the text is in it.
    pub(crate) link: Option<Slot>,
}

/// The roles of the pieces of a line.
#[derive(Clone, Debug)]
pub(crate) enum Marks {
    /// Those of their spans.
    Spans(Rc<[SpanSlots]>),
    /// All of it is an artifact.
    Artifact(ArtifactType),
}

/// Something on a page.
#[derive(Debug)]
pub(crate) enum Item {
    /// A line of text, with its upper left corner.
    Text {
        x: f32,
        y: f32,
        line: Rc<Line>,
        marks: Marks,
    },
    /// An area with round corners, or without if the radius is 0. It is never content.
    Area {
        area: Area,
        radius: f32,
        colour: Colour,
    },
}

/// A rectangle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Area {
    pub(crate) x: f32,
    pub(crate) y: f32,
    pub(crate) width: f32,
    pub(crate) height: f32,
}

/// A clickable area of a page.
#[derive(Debug)]
pub(crate) struct LinkArea {
    pub(crate) area: Area,
    pub(crate) target: Target,
    /// The place of the link in the structure. Areas with the same place are one link.
    pub(crate) slot: Slot,
    /// The text that is read aloud for it.
    pub(crate) description: Rc<str>,
}

/// A page.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) items: Vec<Item>,
    pub(crate) links: Vec<LinkArea>,
}

/// Draws a page's items.
pub(crate) fn draw(
    items: &[Item],
    surface: &mut Surface<'_>,
    fonts: &Fonts,
    tags: &mut Tags,
) -> Result<(), Error> {
    let mut pen = Pen {
        surface,
        tags,
        mark: None,
        colour: None,
    };
    for item in items {
        match item {
            Item::Text { x, y, line, marks } => {
                for piece in &line.pieces {
                    let mark = match marks {
                        Marks::Artifact(kind) => Mark::Artifact(*kind),
                        // Each span has a slot. Without one, its text would not be read aloud.
                        Marks::Spans(slots) => match slots.get(piece.span) {
                            Some(slots) => Mark::Content(slots.text),
                            None => continue,
                        },
                    };
                    pen.mark(mark);
                    pen.colour(piece.colour);
                    pen.surface.draw_glyphs(
                        Point::from_xy(x + piece.x, y + line.baseline),
                        line.glyphs(piece),
                        fonts.embeddable(piece.font)?.clone(),
                        &line.text,
                        piece.size,
                        false,
                    );
                }
            }
            Item::Area {
                area,
                radius,
                colour,
            } => {
                pen.mark(Mark::Artifact(ArtifactType::Layout));
                pen.colour(*colour);
                pen.surface.draw_path(&rounded(area, *radius)?);
            }
        }
    }
    pen.finish();
    Ok(())
}

/// Adds a page's links, after its items. `place` gives the page of a place, and where on the page.
pub(crate) fn link(
    links: &[LinkArea],
    page: &mut KrillaPage<'_>,
    tags: &mut Tags,
    place: impl Fn(Place) -> Option<(usize, f32)>,
) -> Result<(), Error> {
    // A link that is broken into lines has several areas.
    for lines in links.chunk_by(|a, b| a.slot == b.slot) {
        let Some(first) = lines.first() else {
            continue;
        };
        let target = match &first.target.0 {
            To::Uri(uri) => KrillaTarget::Action(Action::Link(LinkAction::new(uri.clone()))),
            // The place was never set: the text stays, without a link.
            To::Place(id) => match place(*id) {
                Some((page, y)) => KrillaTarget::Destination(
                    XyzDestination::new(page, Point::from_xy(0.0, y)).into(),
                ),
                None => continue,
            },
        };
        let corners = lines
            .iter()
            .map(|line| rect(&line.area, "a link").map(Quadrilateral::from))
            .collect::<Result<Vec<_>, _>>()?;
        let annotation = Annotation::new_link(
            LinkAnnotation::new_with_quad_points(corners, target),
            Some(first.description.to_string()),
        );
        let identifier = page.add_tagged_annotation(annotation);
        tags.fill(first.slot, identifier);
    }
    Ok(())
}

/// Draws with as few changes as possible: neighbours with the same mark are one sequence, and those with the same colour one
/// fill.
struct Pen<'a, 's> {
    surface: &'a mut Surface<'s>,
    tags: &'a mut Tags,
    mark: Option<Mark>,
    colour: Option<Colour>,
}

impl Pen<'_, '_> {
    fn mark(&mut self, mark: Mark) {
        if self.mark == Some(mark) {
            return;
        }
        self.finish();
        match mark {
            Mark::Content(slot) => {
                let identifier = self
                    .surface
                    .start_tagged(ContentTag::Span(SpanTag::empty()));
                self.tags.fill(slot, identifier);
            }
            Mark::Artifact(kind) => {
                // What it gives is for content only.
                let _ = self
                    .surface
                    .start_tagged(ContentTag::Artifact(Artifact::with_kind(kind)));
            }
        }
        self.mark = Some(mark);
    }

    fn colour(&mut self, colour: Colour) {
        if self.colour == Some(colour) {
            return;
        }
        let Colour(red, green, blue) = colour;
        self.surface.set_fill(Some(Fill {
            paint: rgb::Color::new(red, green, blue).into(),
            opacity: NormalizedF32::ONE,
            rule: FillRule::default(),
        }));
        self.colour = Some(colour);
    }

    fn finish(&mut self) {
        if self.mark.take().is_some() {
            self.surface.end_tagged();
        }
    }
}

fn rect(area: &Area, what: &'static str) -> Result<Rect, Error> {
    Rect::from_xywh(area.x, area.y, area.width, area.height).ok_or(Error::Extent(what))
}

/// The outline of an area with round corners.
fn rounded(area: &Area, radius: f32) -> Result<Path, Error> {
    /// How far a curve's control points are from its ends so that it is nearly a quarter of a circle.
    const CIRCLE: f32 = 0.552_284_8;

    let mut path = PathBuilder::new();
    if radius <= 0.0 {
        path.push_rect(rect(area, "an area")?);
        return path.finish().ok_or(Error::Extent("an area"));
    }
    let r = radius.min(area.width / 2.0).min(area.height / 2.0);
    let c = r * (1.0 - CIRCLE);
    let (left, top) = (area.x, area.y);
    let (right, bottom) = (left + area.width, top + area.height);
    path.move_to(left + r, top);
    path.line_to(right - r, top);
    path.cubic_to(right - c, top, right, top + c, right, top + r);
    path.line_to(right, bottom - r);
    path.cubic_to(right, bottom - c, right - c, bottom, right - r, bottom);
    path.line_to(left + r, bottom);
    path.cubic_to(left + c, bottom, left, bottom - c, left, bottom - r);
    path.line_to(left, top + r);
    path.cubic_to(left, top + c, left + c, top, left + r, top);
    path.close();
    path.finish().ok_or(Error::Extent("an area"))
}
