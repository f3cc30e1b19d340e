//! Tables. The header is repeated on each page, and a row that is too high continues on the next page.

use std::rc::Rc;

use krilla::tagging::{ArtifactType, TableHeaderScope, Tag};

use crate::clean;
use crate::error::Error;
use crate::flow::{Flow, fitting, height};
use crate::page::{Area, SpanSlots};
use crate::tags::Group;
use crate::text::{Line, Span, Style};

/// Beside a cell's text.
const PADDING_X: f32 = 3.0;
/// Above and below a cell's text.
const PADDING_Y: f32 = 3.0;
/// The lines between rows.
const RULE: f32 = 0.5;
/// A row that is at most this part of a page is not split.
const KEPT_TOGETHER: f32 = 0.25;

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    /// Its title.
    pub title: &'a str,
    /// Its share of the width, relative to the other columns.
    pub share: f32,
}

/// A cell: the parts of its text.
pub type Cell<'a> = Vec<Span<'a>>;

/// The form of a table, without its rows.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// Its subject, for people who cannot see it.
    pub summary: &'a str,
    /// The columns.
    pub columns: &'a [Column<'a>],
    /// Whether the first column names the subject of each row.
    pub row_headers: bool,
}

/// A cell that is set: its lines, with those that are not drawn yet.
struct SetCell<'a> {
    spans: Cell<'a>,
    slots: Rc<[SpanSlots]>,
    lines: Vec<Rc<Line>>,
    drawn: usize,
}

impl SetCell<'_> {
    fn rest(&self) -> &[Rc<Line>] {
        self.lines.get(self.drawn..).unwrap_or_default()
    }
}

/// A table while its rows are added.
struct Rows<'t, 'f> {
    flow: &'t mut Flow<'f>,
    /// The left and the right edge of each column.
    columns: Vec<(f32, f32)>,
    header: Vec<Vec<Rc<Line>>>,
}

impl Flow<'_> {
    /// Adds a table. A row with fewer cells than columns gets empty ones, and surplus cells are left out.
    ///
    /// # Errors
    ///
    /// As for [`Flow::title`].
    pub fn table<'a>(
        &mut self,
        table: &Table<'_>,
        rows: impl IntoIterator<Item = Vec<Cell<'a>>>,
    ) -> Result<(), Error> {
        let summary = Some(clean::visible(table.summary));
        let group = self.tags.group(None, Tag::Table.with_summary(summary));
        let header_group = self.tags.group(Some(group), Tag::THead);
        let header_row = self.tags.group(Some(header_group), Tag::TR);
        let body = self.tags.group(Some(group), Tag::TBody);
        let style = self.theme.cell;
        let header_style = Style {
            bold: true,
            ..style
        };

        let shares: f32 = table.columns.iter().map(|column| column.share).sum();
        let mut x = self.format.side;
        let mut columns = Vec::with_capacity(table.columns.len());
        let mut header = Vec::with_capacity(table.columns.len());
        let mut header_slots = Vec::with_capacity(table.columns.len());
        for column in table.columns {
            let width = self.format.text_width() * column.share / shares;
            columns.push((x, x + width));
            x += width;
            let title = [Span::plain(column.title)];
            header.push(self.set(&title, &header_style, width - 2.0 * PADDING_X)?);
            let cell = self
                .tags
                .group(Some(header_row), Tag::TH(TableHeaderScope::Column));
            header_slots.push(self.slots(cell, &title));
        }

        let mut set = Rows {
            flow: self,
            columns,
            header,
        };
        // The header must not be alone on a page.
        let line = style.size * style.leading + 2.0 * PADDING_Y;
        set.flow.make_room(set.header_height() + 2.0 * line);
        set.header(Some(&header_slots));
        for row in rows {
            set.row(body, row, &style, table.row_headers)?;
        }
        self.gap(style.size);
        Ok(())
    }
}

impl Rows<'_, '_> {
    fn header_height(&self) -> f32 {
        let highest = self.header.iter().map(|lines| height(lines));
        highest.fold(0.0, f32::max) + 2.0 * PADDING_Y
    }

    /// Draws the header: the first time as content, and then as an artifact.
    fn header(&mut self, slots: Option<&[Rc<[SpanSlots]>]>) {
        let whole = self.header_height();
        let (left, right) = self.edges();
        let top = self.flow.y();
        let area = Area {
            x: left,
            y: top,
            width: right - left,
            height: whole,
        };
        self.flow.draw_area(area, 0.0, self.flow.theme.header);
        for (number, (lines, (x, _))) in self.header.iter().zip(&self.columns).enumerate() {
            let mut y = top + PADDING_Y;
            let slots = slots.and_then(|slots| slots.get(number));
            for line in lines {
                let (x, line_height) = (x + PADDING_X, line.height);
                let line = Rc::clone(line);
                match slots {
                    Some(slots) => self.flow.draw_line(x, y, line, slots, &[]),
                    None => {
                        self.flow
                            .draw_artifact(x, y, line, ArtifactType::PaginationOther);
                    }
                }
                y += line_height;
            }
        }
        self.flow.advance(whole);
    }

    fn row(
        &mut self,
        body: Group,
        cells: Vec<Cell<'_>>,
        style: &Style,
        row_headers: bool,
    ) -> Result<(), Error> {
        let row = self.flow.tags.group(Some(body), Tag::TR);
        let mut cells = cells.into_iter();
        let mut set = Vec::with_capacity(self.columns.len());
        for (number, (from, to)) in self.columns.iter().enumerate() {
            let spans = cells.next().unwrap_or_default();
            let group = if row_headers && number == 0 {
                let scope = TableHeaderScope::Row;
                self.flow.tags.group(Some(row), Tag::TH(scope))
            } else {
                self.flow.tags.group(Some(row), Tag::TD)
            };
            set.push(SetCell {
                slots: self.flow.slots(group, &spans),
                lines: self.flow.set(&spans, style, to - from - 2.0 * PADDING_X)?,
                spans,
                drawn: 0,
            });
        }

        let highest = set.iter().map(|cell| height(&cell.lines));
        let whole = highest.fold(0.0, f32::max) + 2.0 * PADDING_Y;
        let format = &self.flow.format;
        let page = format.text_bottom() - format.top;
        if whole > self.flow.room() && whole <= KEPT_TOGETHER * page {
            self.next_page();
        }
        loop {
            let room = self.flow.room() - 2.0 * PADDING_Y;
            let nothing_fits = set
                .iter()
                .all(|cell| cell.rest().is_empty() || fitting(cell.rest(), room) == 0);
            let unfinished = set.iter().any(|cell| !cell.rest().is_empty());
            if nothing_fits && unfinished && !self.is_below_header() {
                self.next_page();
                continue;
            }
            // Below a header there is always a line, so the row continues even if a line is higher than a page.
            self.part(&mut set, room, usize::from(nothing_fits));
            if set.iter().all(|cell| cell.rest().is_empty()) {
                return Ok(());
            }
            self.next_page();
        }
    }

    /// Draws as much of a row as fits, and at least some lines of each cell.
    fn part(&mut self, cells: &mut [SetCell<'_>], room: f32, least: usize) {
        let top = self.flow.y();
        let mut bottom = top + PADDING_Y;
        for (cell, (x, _)) in cells.iter_mut().zip(&self.columns) {
            let count = fitting(cell.rest(), room).max(least);
            let mut y = top + PADDING_Y;
            for line in cell.rest().iter().take(count) {
                let x = x + PADDING_X;
                self.flow
                    .draw_line(x, y, Rc::clone(line), &cell.slots, &cell.spans);
                y += line.height;
            }
            cell.drawn += count;
            bottom = bottom.max(y);
        }
        self.flow.advance(bottom + PADDING_Y - top);
        let (left, right) = self.edges();
        let rule = Area {
            x: left,
            y: self.flow.y() - RULE,
            width: right - left,
            height: RULE,
        };
        self.flow.draw_area(rule, 0.0, self.flow.theme.rule);
    }

    fn next_page(&mut self) {
        self.flow.page_break();
        self.header(None);
    }

    /// Whether only the header is on the page.
    fn is_below_header(&self) -> bool {
        self.flow.y() <= self.flow.format.top + self.header_height()
    }

    fn edges(&self) -> (f32, f32) {
        let left = self.columns.first().map_or(0.0, |(left, _)| *left);
        let right = self.columns.last().map_or(0.0, |(_, right)| *right);
        (left, right)
    }
}
