//! A report as a PDF. Its fonts are two that every viewer brings along; they have no Cyrillic, so a product goes by
//! its Latin name on the pages, and by its own in the document's title.

use super::content::{Counts, NOTE, Report};
use super::page::{Color, LEFT, LINE, Pages, RIGHT, Style, WIDTH, wrap};
use super::product::Severity;

pub(super) fn render(report: &Report) -> Vec<u8> {
    let name = format!("{} {}", report.product.latin_name, report.analysis.version);
    let mut pages = Pages::new();
    summary(&mut pages, report, &name);
    categories(&mut pages, report);
    findings(&mut pages, report);
    let footer = format!("{name}, {}", report.standard_name());
    pages.finish(&report.title(), [&footer, NOTE], SMALL)
}

const INK: Color = [0.11, 0.14, 0.19];
const SOFT: Color = [0.34, 0.38, 0.45];
const ACCENT: Color = [0.11, 0.37, 0.66];
const WHITE: Color = [1.0; 3];

const TITLE: Style = Style::bold(24.0, INK);
const HEADING: Style = Style::bold(13.0, INK);
const STRONG: Style = Style::bold(9.0, INK);
const BODY: Style = Style::plain(9.0, INK);
const FAINT: Style = Style::plain(9.0, SOFT);
const SMALL: Style = Style::plain(7.0, SOFT);

/// The colors of the ratings are those of the HTML page.
fn color(rating: &str) -> Color {
    match rating {
        "A" => [0.11, 0.48, 0.26],
        "B" => [0.29, 0.48, 0.09],
        "C" => [0.54, 0.42, 0.0],
        "D" => [0.70, 0.31, 0.04],
        _ => [0.70, 0.15, 0.12],
    }
}

fn summary(pages: &mut Pages, report: &Report, name: &str) {
    let counts = report.counts();
    let kind = format!("Security report: {}", report.standard_name());
    pages.down(10.0);
    pages.text(LEFT, Style::bold(10.0, ACCENT), &kind);
    pages.down(28.0);
    pages.text(LEFT, TITLE, name);

    let (badge, beside) = (color(counts.rating()), LEFT + 58.0);
    pages.down(37.0);
    pages.fill(LEFT, -25.0, [44.0, 44.0], badge);
    pages.text(beside, Style::bold(15.0, INK), &counts.headline());
    pages.down(13.5);
    pages.text(LEFT + 11.5, Style::bold(29.0, WHITE), counts.rating());
    pages.down(3.5);
    pages.text(beside, Style::plain(10.0, SOFT), &counts.verdict());

    pages.down(34.0);
    for (nth, (severity, open)) in counts.by_severity().enumerate() {
        let x = LEFT + 90.0 * nth as f32;
        pages.fill(x, 0.0, [7.0, 7.0], color(severity.rating()));
        pages.text(x + 12.0, BODY, &format!("{}: {open}", severity.name()));
    }
    pages.down(10.0);
    pages.rule();
    for (label, fact) in report.facts() {
        pages.down(15.0);
        pages.text(LEFT, FAINT, label);
        pages.text(LEFT + 90.0, STRONG, &fact);
    }
}

const NAME: f32 = LEFT + 54.0;
const RATING: f32 = 330.0;
/// Where each of the five columns of numbers ends.
const NUMBERS: [f32; 5] = [399.0, 438.0, 474.0, 510.0, RIGHT];

fn categories(pages: &mut Pages, report: &Report) {
    pages.room(80.0);
    pages.down(34.0);
    pages.text(LEFT, HEADING, "Categories");
    table_head(pages);
    for (id, name, counts) in report.categories() {
        let name = wrap(name, BODY.size, RATING - NAME - 10.0);
        if pages.room(LINE * name.len() as f32 + 6.0) {
            table_head(pages);
        }
        pages.down(LINE + 2.0);
        pages.text(LEFT, STRONG, id);
        cells(pages, counts, BODY);
        pages.paragraph(NAME, BODY, &name);
        pages.down(5.0);
        pages.rule();
    }
    pages.room(LINE + 4.0);
    pages.down(LINE + 4.0);
    pages.text(LEFT, STRONG, "All categories");
    cells(pages, report.counts(), STRONG);
}

fn table_head(pages: &mut Pages) {
    pages.down(18.0);
    pages.text(LEFT, FAINT, "Id");
    pages.text(NAME, FAINT, "Category");
    pages.text(RATING, FAINT, "Rating");
    let severities = Severity::ALL.into_iter().map(Severity::name);
    for (x, name) in NUMBERS.into_iter().zip(severities.chain(["Total"])) {
        pages.text_before(x, FAINT, name);
    }
    pages.down(5.0);
    pages.rule();
}

fn cells(pages: &mut Pages, counts: Counts, style: Style) {
    pages.fill(RATING, -2.5, [15.0, 11.5], color(counts.rating()));
    pages.text(RATING + 4.4, Style::bold(9.0, WHITE), counts.rating());
    let severities = counts.by_severity().map(|(_, open)| open);
    let numbers = severities.chain([counts.total()]);
    for (x, open) in NUMBERS.into_iter().zip(numbers) {
        let style = if open == 0 { FAINT } else { style };
        pages.text_before(x, style, &open.to_string());
    }
}

fn findings(pages: &mut Pages, report: &Report) {
    pages.room(110.0);
    pages.down(40.0);
    pages.text(LEFT, HEADING, "Findings");
    pages.down(6.0);
    let findings = report.findings();
    if findings.is_empty() {
        pages.down(LINE);
        pages.text(LEFT, BODY, "Nothing to show: no vulnerability is open.");
    }
    for finding in findings {
        let weakness = finding.weakness;
        let message = wrap(weakness.message, BODY.size, WIDTH);
        pages.room(LINE * (message.len() + 2) as f32 + 12.0);
        pages.down(LINE + 2.0);
        let severity = weakness.severity;
        let colored = Style::bold(9.0, color(severity.rating()));
        pages.text(LEFT, colored, severity.name());
        pages.text(NAME, STRONG, weakness.rule);
        pages.text_before(RIGHT, FAINT, finding.category);
        pages.down(LINE + 1.0);
        pages.paragraph(LEFT, BODY, &message);
        pages.down(LINE);
        let place = format!("{} {}", weakness.location, finding.others());
        pages.text(LEFT, FAINT, &place);
        pages.down(8.0);
        pages.rule();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::content::reports;

    #[test]
    fn a_pdf_is_whole_and_counts_its_pages() {
        for report in reports() {
            let pdf = render(&report);
            assert!(pdf.starts_with(b"%PDF-1.7"));
            assert!(pdf.trim_ascii_end().ends_with(b"%%EOF"));
            let text = String::from_utf8_lossy(&pdf);
            let pages = text.matches("/Type /Page\n").count();
            assert!((1..=2).contains(&pages), "{}", report.title());
            assert!(text.contains(&format!("/Count {pages}\n")));
            for page in 1..=pages {
                assert!(text.contains(&format!("(Page {page} of {pages})")));
            }
            // What the font lacks would have become a question mark, and no text has one of its own.
            assert!(!text.contains('?'), "{}", report.title());
        }
    }
}
