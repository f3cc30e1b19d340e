//! A report as PDF.

use std::num::NonZeroU16;

use domain::report::Rating;
use findings::{Assessment, Block, Category, Finding, Severity, StandardCategory};
use pdf::{
    Badge, Cell, Colour, Column, Error, Flow, Fonts, Format, Info, Moment, Span, Strictness, Table,
    Target, Theme,
};
use time::UtcOffset;

use crate::content;

const PARTS: NonZeroU16 = NonZeroU16::MIN;
const CATEGORIES: NonZeroU16 = NonZeroU16::MIN.saturating_add(1);
const LINK: Colour = Colour(0x1D, 0x5F, 0xA8);
const SOFT: Colour = Colour(0x56, 0x61, 0x73);

/// The document: archivable (PDF/A-2a) and accessible (PDF/UA-1).
///
/// # Errors
/// None is known. A text that breaks a rule of these standards is written in ASCII.
pub fn pdf(assessment: &Assessment) -> Result<Vec<u8>, Error> {
    let fonts = Fonts::embedded()?;
    match written(assessment, &fonts, Strictness::Visible) {
        // A single character must not cost the report.
        Err(Error::Export(_)) => written(assessment, &fonts, Strictness::Ascii),
        other => other,
    }
}

fn written(
    assessment: &Assessment,
    fonts: &Fonts,
    strictness: Strictness,
) -> Result<Vec<u8>, Error> {
    let mut flow = Flow::new(fonts, Format::A4, Theme::default(), strictness);
    summary(&mut flow, assessment)?;
    flow.contents("Contents");
    categories(&mut flow, assessment)?;
    findings(&mut flow, assessment)?;
    hotspots(&mut flow, assessment)?;
    dismissed(&mut flow, assessment)?;
    rules(&mut flow, assessment)?;
    method(&mut flow, assessment)?;
    flow.write(&info(assessment), Vec::new(), |page, of| {
        format!("{page} of {of}")
    })
}

fn info(assessment: &Assessment) -> Info {
    let subject = &assessment.subject;
    let analysed = subject.analysis.date.instant().to_offset(UtcOffset::UTC);
    Info {
        title: content::title(assessment),
        author: subject.project_name.clone(),
        creator: "SonarQube Reports".to_owned(),
        language: "en".to_owned(),
        id: format!(
            "{}/{}/{}/{}",
            subject.server.url, subject.project_key, subject.analysis.key, assessment.standard.id
        ),
        created: Moment {
            year: u16::try_from(analysed.year()).unwrap_or_default(),
            month: analysed.month().into(),
            day: analysed.day(),
            hour: analysed.hour(),
            minute: analysed.minute(),
            second: analysed.second(),
        },
    }
}

/// The colours of the ratings are those of the page.
const fn colour(rating: Rating) -> Colour {
    match rating {
        Rating::A => Colour(0x1B, 0x7A, 0x43),
        Rating::B => Colour(0x4B, 0x7A, 0x16),
        Rating::C => Colour(0x8A, 0x6A, 0x00),
        Rating::D => Colour(0xB3, 0x50, 0x0A),
        Rating::E => Colour(0xB3, 0x26, 0x1E),
    }
}

fn linked<'a>(span: Span<'a>, url: &str) -> Span<'a> {
    match Target::web(url) {
        Some(target) => span.coloured(LINK).linked(target),
        None => span,
    }
}

fn summary(flow: &mut Flow<'_>, assessment: &Assessment) -> Result<(), Error> {
    let subject = &assessment.subject;
    flow.title(&content::title(assessment))?;
    flow.paragraph(&[
        Span::strong(content::headline(assessment)),
        Span::plain(". "),
        Span::plain(content::verdict(assessment)),
        Span::plain(" "),
        Span::plain(content::caution(assessment).unwrap_or_default()),
    ])?;
    let ratings = [
        ("Security rating", assessment.rating()),
        ("Review of hotspots", assessment.hotspots.rating()),
    ];
    flow.badges(&ratings.map(|(label, rating)| Badge {
        label,
        value: rating.as_str(),
        colour: colour(rating),
    }))?;
    let severities: Vec<String> = content::severities(assessment)
        .iter()
        .map(|(_, name, open)| format!("{name}: {open}"))
        .collect();
    flow.paragraph(&[Span::plain(severities.join("   "))])?;
    let columns = [("Fact", 1.0), ("Value", 3.0)].map(|(title, share)| Column { title, share });
    let table = Table {
        summary: "Facts of the analysis",
        columns: &columns,
        row_headers: false,
    };
    let facts = content::facts(assessment).into_iter();
    flow.table(
        &table,
        facts.map(|(label, fact)| vec![vec![Span::plain(label)], vec![Span::plain(fact)]]),
    )?;
    let project = Span::plain("The project on SonarQube");
    flow.paragraph(&[linked(project, &subject.project_url)])?;
    let failed = content::failed_conditions(assessment);
    if !failed.is_empty() {
        flow.paragraph(&[Span::strong("Why the quality gate failed")])?;
        let items: Vec<Vec<Span<'_>>> =
            failed.into_iter().map(|it| vec![Span::plain(it)]).collect();
        flow.list(&items)?;
    }
    Ok(())
}

fn categories(flow: &mut Flow<'_>, assessment: &Assessment) -> Result<(), Error> {
    flow.heading(PARTS, "Categories")?;
    flow.paragraph(&[Span::plain(
        "Open vulnerabilities by severity, hotspots to review, and how many rules look for them.",
    )])?;
    let severities = content::severities(assessment);
    let mut columns = vec![("Category", 5.4), ("Rating", 1.8)];
    columns.extend(severities.iter().map(|(_, name, _)| (*name, 2.15)));
    columns.extend([("Total", 1.6), ("Hotspots", 2.3), ("Rules", 1.7)]);
    let columns: Vec<Column<'_>> = columns
        .into_iter()
        .map(|(title, share)| Column { title, share })
        .collect();
    let table = Table {
        summary: "Open vulnerabilities of each category",
        columns: &columns,
        row_headers: true,
    };
    let numbers = |counts: &findings::Counts| {
        let numbers = content::numbers(counts).into_iter();
        numbers
            .map(|it| vec![Span::plain(it.to_string())])
            .collect::<Vec<Cell<'_>>>()
    };
    let row = |(standard, category): (&'static StandardCategory, &Category)| {
        let id = linked(Span::plain(standard.id.as_str()), &standard.url);
        let mut cells = vec![
            vec![id, Span::plain(format!(" {}", standard.name))],
            vec![rating(
                content::category_rating(category),
                category.rating(),
            )],
        ];
        cells.extend(numbers(&category.open));
        cells.push(vec![Span::plain(category.hotspots.to_review.to_string())]);
        cells.push(vec![Span::plain(content::rules(category))]);
        cells
    };
    let mut all = vec![
        vec![Span::strong("All categories, each issue once")],
        vec![rating(
            assessment.rating().as_str(),
            Some(assessment.rating()),
        )],
    ];
    all.extend(numbers(&assessment.open));
    all.push(vec![Span::plain(assessment.hotspots.to_review.to_string())]);
    let rows = assessment.by_category().map(row).chain([all]);
    flow.table(&table, rows)
}

fn rating(text: &'static str, rating: Option<Rating>) -> Span<'static> {
    Span::strong(text).coloured(rating.map_or(SOFT, colour))
}

/// A part with a list for each category that has an entry; nothing if none has.
fn by_category<'a>(
    flow: &mut Flow<'_>,
    assessment: &'a Assessment,
    heading: &str,
    listed: impl Fn(&'a Category) -> (u64, Vec<Vec<Span<'a>>>),
) -> Result<bool, Error> {
    let mut is_begun = false;
    for (standard, category) in assessment.by_category() {
        let (all, items) = listed(category);
        if all == 0 {
            continue;
        }
        if !is_begun {
            flow.heading(PARTS, heading)?;
            is_begun = true;
        }
        let name = content::category_name(standard);
        flow.heading(CATEGORIES, &format!("{name} ({all})"))?;
        let left = all.saturating_sub(items.len() as u64);
        for spans in items {
            flow.paragraph(&spans)?;
        }
        if left > 0 {
            let more = format!("{left} more are counted and not listed.");
            flow.paragraph(&[Span::plain(more).coloured(SOFT)])?;
        }
    }
    Ok(is_begun)
}

/// A finding: what it is, its rule, its comment and its place.
fn item<'a>(assessment: &'a Assessment, head: Span<'a>, finding: &'a Finding) -> Vec<Span<'a>> {
    let rule = finding.rule.as_str();
    let mut spans = vec![head, Span::plain("  ")];
    let name = assessment.rules.get(rule).map_or(rule, |it| &it.name);
    if name != rule {
        spans.push(Span::strong(name));
        spans.push(Span::plain(" "));
    }
    spans.extend([
        Span::code(rule).coloured(SOFT),
        Span::plain(". "),
        Span::plain(finding.message.as_str()),
        Span::plain("  "),
        linked(Span::code(content::place(finding)), &finding.url),
        Span::plain(", found ").coloured(SOFT),
        Span::plain(finding.found.as_str()).coloured(SOFT),
    ]);
    if let Some(comment) = finding.comment.as_deref() {
        spans.extend([Span::plain(". Comment: "), Span::plain(comment)]);
    }
    spans
}

fn findings(flow: &mut Flow<'_>, assessment: &Assessment) -> Result<(), Error> {
    let mode = assessment.subject.mode;
    let head =
        |severity: Severity| Span::strong(severity.name(mode)).coloured(colour(severity.rating()));
    let heading = "Open vulnerabilities";
    let is_any = by_category(flow, assessment, heading, |category| {
        let items = category
            .vulnerabilities
            .iter()
            .map(|it| item(assessment, head(it.severity), &it.finding));
        (category.open.total(), items.collect())
    })?;
    if !is_any {
        flow.heading(PARTS, heading)?;
        flow.paragraph(&[Span::plain("Nothing to show: no vulnerability is open.")])?;
    }
    Ok(())
}

fn hotspots(flow: &mut Flow<'_>, assessment: &Assessment) -> Result<(), Error> {
    by_category(flow, assessment, "Security hotspots", |category| {
        let items = category.listed_hotspots.iter().map(|hotspot| {
            let (review, probability) = (content::review(hotspot), content::probability(hotspot));
            item(
                assessment,
                Span::strong(format!("{review}, probability {probability}")),
                &hotspot.finding,
            )
        });
        (category.hotspots.total(), items.collect())
    })?;
    Ok(())
}

fn dismissed(flow: &mut Flow<'_>, assessment: &Assessment) -> Result<(), Error> {
    let mode = assessment.subject.mode;
    by_category(
        flow,
        assessment,
        "Accepted issues and false positives",
        |category| {
            let items = category.dismissed.iter().map(|it| {
                let head = format!("{}, {}", content::why_not(it), it.severity.name(mode));
                item(assessment, Span::strong(head), &it.finding)
            });
            (
                category.accepted + category.false_positives,
                items.collect(),
            )
        },
    )?;
    Ok(())
}

fn rules(flow: &mut Flow<'_>, assessment: &Assessment) -> Result<(), Error> {
    if assessment.rules.is_empty() {
        return Ok(());
    }
    flow.heading(PARTS, "Rules")?;
    for (key, rule) in &assessment.rules {
        flow.heading(CATEGORIES, &rule.name)?;
        flow.paragraph(&[Span::code(key.as_str()).coloured(SOFT)])?;
        let mut items: Vec<Vec<Span<'_>>> = Vec::new();
        for block in &rule.text {
            if let Block::Item(text) = block {
                items.push(vec![Span::plain(text.as_str())]);
                continue;
            }
            if !items.is_empty() {
                flow.list(&std::mem::take(&mut items))?;
            }
            match block {
                Block::Heading(text) => flow.paragraph(&[Span::strong(text.as_str())])?,
                Block::Paragraph(text) | Block::Item(text) => {
                    flow.paragraph(&[Span::plain(text.as_str())])?;
                }
                Block::Code(text) => {
                    for line in text.lines().filter(|line| !line.trim().is_empty()) {
                        flow.paragraph(&[Span::code(line.replace('\t', "    "))])?;
                    }
                }
            }
        }
        if !items.is_empty() {
            flow.list(&items)?;
        }
    }
    Ok(())
}

fn method(flow: &mut Flow<'_>, assessment: &Assessment) -> Result<(), Error> {
    flow.heading(PARTS, "What counts")?;
    for paragraph in content::method(assessment) {
        flow.paragraph(&[Span::plain(paragraph)])?;
    }
    let written = flow.written_out() as u64;
    if written > 0 {
        let characters = content::counted(written, "character", "characters");
        let note = format!(
            "{characters} of this document cannot be shown, and stand as their numbers, such as [U+202E]: no font here has them, or \
             nobody would see them."
        );
        flow.paragraph(&[Span::plain(note)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn every_report_is_a_valid_document_and_the_same_each_time() {
        // The validators of PDF/A-2a and PDF/UA-1 are a part of writing it.
        for assessment in samples::all() {
            let bytes = pdf(&assessment).unwrap();
            assert!(bytes.starts_with(b"%PDF-1.7"));
            assert!(bytes == pdf(&assessment).unwrap(), "the bytes differ");
        }
    }

    #[test]
    fn in_ascii_every_text_can_be_written() {
        let fonts = Fonts::embedded().unwrap();
        written(&samples::hostile(), &fonts, Strictness::Ascii).unwrap();
    }
}
