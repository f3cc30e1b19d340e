//! Documents as PDF: archivable (PDF/A-2a or 3a), accessible (PDF/UA-1) and the same bytes for the same input.
//!
//! krilla writes the PDF. parley shapes text, orders it for both directions and breaks it into lines. This crate does what
//! lies between: pages, tables, headings, lists, links, contents, and the structure for people who cannot see the page.

mod clean;
mod document;
mod error;
mod flow;
mod fonts;
mod page;
mod table;
mod tags;
mod text;

pub use clean::{Strictness, visible};
pub use document::{Attachment, Info, Moment};
pub use error::Error;
pub use flow::{Badge, Flow, Theme};
pub use fonts::{Face, Family, Fonts};
pub use page::Format;
pub use table::{Cell, Column, Table};
pub use text::{Align, Colour, Place, Role, Span, Style, Target};
