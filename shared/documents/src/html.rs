//! A report as one page of HTML. It needs no script and no other file, and is readable on a screen and on paper.

use std::fmt::Write as _;

use findings::{
    Assessment, Block, Category, Counts, Finding, Hotspot, Severity, StandardCategory,
    Vulnerability,
};

use crate::content;

/// The page.
pub fn html(assessment: &Assessment) -> String {
    let subject = &assessment.subject;
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{css}</style>
</head>
<body>
<header>
<p class="kind">Security report: {standard}</p>
<h1><span dir="auto">{name}</span> <span>{version}</span></h1>
</header>
<main>
{summary}{categories}{findings}{hotspots}{dismissed}{rules}{method}</main>
<footer><p>Made of SonarQube's findings by SonarQube Reports.</p></footer>
</body>
</html>
"#,
        title = escape(&content::title(assessment)),
        css = include_str!("report.css"),
        standard = escape(&assessment.standard.name()),
        name = escape(&subject.project_name),
        version = escape(subject.version.as_str()),
        summary = summary(assessment),
        categories = categories(assessment),
        findings = findings(assessment),
        hotspots = hotspots(assessment),
        dismissed = dismissed(assessment),
        rules = rules(assessment),
        method = method(assessment),
    )
}

/// A part of the page under a heading.
fn section(id: &str, heading: &str, inside: &str) -> String {
    format!(
        "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{heading}</h2>\n{inside}</section>\n"
    )
}

fn summary(assessment: &Assessment) -> String {
    let (mut bar, mut severities) = (String::new(), String::new());
    for (severity, name, open) in content::severities(assessment) {
        let class = severity.rating().as_str();
        if open > 0 {
            let _ = write!(bar, r#"<span class="{class}" style="flex:{open}"></span>"#);
        }
        let _ = writeln!(
            severities,
            "<li><span class=\"dot {class}\"></span>{name}: <b>{open}</b></li>"
        );
    }
    let mut facts = String::new();
    for (label, fact) in content::facts(assessment) {
        let _ = writeln!(
            facts,
            "<div><dt>{label}</dt><dd dir=\"auto\">{}</dd></div>",
            escape(&fact)
        );
    }
    let mut failed = String::new();
    for condition in content::failed_conditions(assessment) {
        let _ = writeln!(failed, "<li>{}</li>", escape(&condition));
    }
    if !failed.is_empty() {
        failed = format!("<h3>Why the quality gate failed</h3>\n<ul>\n{failed}</ul>\n");
    }
    let rating = assessment.rating().as_str();
    let inside = format!(
        r#"<div class="verdict">
<span class="badge {rating}" role="img" aria-label="Security rating {rating}">{rating}</span>
<p><strong>{open}</strong> <span class="soft">{verdict}</span></p>
</div>
<div class="bar" aria-hidden="true">{bar}</div>
<ul class="severities">
{severities}</ul>
<dl>
{facts}</dl>
<p>{link}</p>
{failed}"#,
        open = content::headline(assessment),
        verdict = [
            Some(content::verdict(assessment)),
            content::caution(assessment)
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" "),
        link = link(&assessment.subject.project_url, "The project on SonarQube"),
    );
    section("summary", "Summary", &inside)
}

/// A link, if the address is one of the web; otherwise its text.
fn link(url: &str, text: &str) -> String {
    let text = escape(text);
    if url.starts_with("https://") || url.starts_with("http://") {
        return format!(r#"<a href="{}">{text}</a>"#, escape(url));
    }
    text
}

fn categories(assessment: &Assessment) -> String {
    let mut rows = String::new();
    for (standard, category) in assessment.by_category() {
        let rating = content::category_rating(category);
        let _ = writeln!(
            rows,
            "<tr><th scope=\"row\">{id}</th><td class=\"name\">{name}</td>{cells}</tr>",
            id = link(&standard.url, &standard.id),
            name = escape(&standard.name),
            cells = cells(rating, &category.open, Some(category)),
        );
    }
    let number = |name: &str| format!(r#"<th scope="col" class="number">{name}</th>"#);
    let severities = content::severities(assessment);
    let severities: String = severities.iter().map(|(_, name, _)| number(name)).collect();
    let rating = assessment.rating().as_str();
    let inside = format!(
        r#"<p class="soft">Open vulnerabilities by severity, hotspots to review, and how many rules look for them.</p>
<div class="scroll" role="region" aria-label="Table of categories" tabindex="0">
<table aria-labelledby="categories">
<thead><tr>
<th scope="col">Id</th><th scope="col">Category</th><th scope="col">Rating</th>
{severities}{total}{hotspots}{rules}
</tr></thead>
<tbody>
{rows}</tbody>
<tfoot><tr><th scope="row" colspan="2">All categories, each issue once</th>{all}<td class="number">{review}</td><td></td></tr></tfoot>
</table>
</div>
"#,
        total = number("Total"),
        hotspots = number("Hotspots"),
        rules = number("Rules"),
        all = cells(rating, &assessment.open, None),
        review = assessment.hotspots.to_review,
    );
    section("categories", "Categories", &inside)
}

fn cells(rating: &str, counts: &Counts, category: Option<&Category>) -> String {
    let class = if rating == "–" { "unknown" } else { rating };
    let mut cells = format!(r#"<td><span class="badge {class}">{rating}</span></td>"#);
    let number = |count: u64| {
        let class = if count == 0 { "number none" } else { "number" };
        format!(r#"<td class="{class}">{count}</td>"#)
    };
    cells.extend(content::numbers(counts).into_iter().map(number));
    if let Some(category) = category {
        cells += &number(category.hotspots.to_review);
        let _ = write!(
            cells,
            r#"<td class="number">{}</td>"#,
            content::rules(category)
        );
    }
    cells
}

/// The lists of a section, for each category that has an entry.
fn by_category(
    assessment: &Assessment,
    listed: impl Fn(&StandardCategory, &Category) -> (usize, u64, String),
) -> String {
    let mut inside = String::new();
    for (standard, category) in assessment.by_category() {
        let (shown, all, items) = listed(standard, category);
        if all == 0 {
            continue;
        }
        let name = escape(&content::category_name(standard));
        let _ = writeln!(
            inside,
            "<h3>{name} <span class=\"soft\">({all})</span></h3>"
        );
        if shown > 0 {
            let _ = write!(
                inside,
                "<ol>
{items}</ol>
"
            );
        }
        if (shown as u64) < all {
            let _ = writeln!(
                inside,
                "<p class=\"soft\">{} more are counted and not listed.</p>",
                all - shown as u64
            );
        }
    }
    inside
}

fn findings(assessment: &Assessment) -> String {
    let listed = |_: &StandardCategory, category: &Category| {
        let items = category
            .vulnerabilities
            .iter()
            .map(|it| finding(assessment, it));
        (
            category.vulnerabilities.len(),
            category.open.total(),
            items.collect(),
        )
    };
    let mut inside = by_category(assessment, listed);
    if inside.is_empty() {
        inside = "<p>Nothing to show: no vulnerability is open.</p>\n".to_owned();
    }
    section("findings", "Open vulnerabilities", &inside)
}

fn finding(assessment: &Assessment, issue: &Vulnerability) -> String {
    let severity = issue.severity;
    let head = badge(severity, severity.name(assessment.subject.mode));
    item(assessment, &head, &issue.finding)
}

fn badge(severity: Severity, text: &str) -> String {
    format!(
        r#"<span class="badge {}">{text}</span>"#,
        severity.rating().as_str()
    )
}

fn rule_name(assessment: &Assessment, key: &str) -> String {
    let name = assessment.rules.get(key).map_or(key, |rule| &rule.name);
    if name == key {
        return format!("<code>{}</code>", escape(key));
    }
    format!("{} <code>{}</code>", escape(name), escape(key))
}

/// An entry of a list. `head` is HTML.
fn item(assessment: &Assessment, head: &str, finding: &Finding) -> String {
    let comment = finding.comment.as_deref();
    let comment = comment.map(|it| format!("<p dir=\"auto\">Comment: {}</p>\n", escape(it)));
    format!(
        "<li>\n<h4>{head} {rule}</h4>\n<p dir=\"auto\">{message}</p>\n{comment}<p class=\"soft\"><code>{place}</code>, found {found}</p>\n</li>\n",
        rule = rule_name(assessment, &finding.rule),
        message = escape(&finding.message),
        comment = comment.unwrap_or_default(),
        place = link(&finding.url, &content::place(finding)),
        found = escape(&finding.found),
    )
}

fn hotspots(assessment: &Assessment) -> String {
    let hotspot = |hotspot: &Hotspot| {
        let head = format!(
            "{} <span class=\"soft\">probability {}</span>",
            content::review(hotspot),
            content::probability(hotspot)
        );
        item(assessment, &head, &hotspot.finding)
    };
    let inside = by_category(assessment, |_, category| {
        let items = category.listed_hotspots.iter().map(hotspot);
        (
            category.listed_hotspots.len(),
            category.hotspots.total(),
            items.collect(),
        )
    });
    if inside.is_empty() {
        return String::new();
    }
    section("hotspots", "Security hotspots", &inside)
}

fn dismissed(assessment: &Assessment) -> String {
    let issue = |issue: &Vulnerability| {
        let severity = issue.severity.name(assessment.subject.mode);
        let head = format!(
            "{} <span class=\"soft\">{severity}</span>",
            content::why_not(issue)
        );
        item(assessment, &head, &issue.finding)
    };
    let inside = by_category(assessment, |_, category| {
        let items = category.dismissed.iter().map(issue);
        let all = category.accepted + category.false_positives;
        (category.dismissed.len(), all, items.collect())
    });
    if inside.is_empty() {
        return String::new();
    }
    section("dismissed", "Accepted issues and false positives", &inside)
}

fn rules(assessment: &Assessment) -> String {
    let mut inside = String::new();
    for (key, rule) in &assessment.rules {
        let _ = writeln!(
            inside,
            "<h3>{} <code>{}</code></h3>",
            escape(&rule.name),
            escape(key)
        );
        let mut is_list = false;
        for block in &rule.text {
            let is_item = matches!(block, Block::Item(_));
            if is_item != is_list {
                inside += if is_item { "<ul>\n" } else { "</ul>\n" };
                is_list = is_item;
            }
            let _ = match block {
                Block::Heading(text) => {
                    writeln!(inside, "<p dir=\"auto\"><b>{}</b></p>", escape(text))
                }
                Block::Paragraph(text) => writeln!(inside, "<p dir=\"auto\">{}</p>", escape(text)),
                Block::Item(text) => writeln!(inside, "<li dir=\"auto\">{}</li>", escape(text)),
                Block::Code(text) => {
                    writeln!(inside, "<pre><code>{}</code></pre>", escape_code(text))
                }
            };
        }
        if is_list {
            inside += "</ul>\n";
        }
    }
    if inside.is_empty() {
        return String::new();
    }
    section("rules", "Rules", &inside)
}

fn method(assessment: &Assessment) -> String {
    let mut inside = String::new();
    for paragraph in content::method(assessment) {
        let _ = writeln!(inside, "<p>{}</p>", escape(&paragraph));
    }
    section("method", "What counts", &inside)
}

/// The same as [`escaped`], on one line, with what nobody sees written out.
fn escape(text: &str) -> String {
    escaped(&pdf::visible(text))
}

/// The same for lines of code.
fn escape_code(text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| escape(&line.replace('\t', "    ")))
        .collect();
    lines.join("\n")
}

/// Makes a text safe between tags and in quoted attributes.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn the_page_stands_alone_and_names_what_it_is_about() {
        for assessment in samples::all() {
            let page = html(&assessment);
            assert!(page.contains(r#"<html lang="en">"#));
            assert!(page.contains(&format!(
                "<title>{}</title>",
                escape(&content::title(&assessment))
            )));
            let rating = assessment.rating().as_str();
            assert!(page.contains(&format!(r#"aria-label="Security rating {rating}""#)));
            for outside in ["<script", "<link", "src=", "url(", "@import"] {
                assert!(!page.contains(outside), "{outside}");
            }
            assert_eq!(html(&assessment), page);
        }
    }

    #[test]
    fn whatever_is_in_a_text_is_shown_as_text() {
        let page = html(&samples::hostile());
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
        assert!(page.contains("[U+202E]gnp.exe"));
        assert!(!page.contains('\u{202E}') && !page.contains('\0'));
        assert!(
            !page.contains("href=\"javascript"),
            "a link leads to the web or nowhere"
        );
    }

    #[test]
    fn a_category_that_nothing_looks_for_gets_no_a() {
        let page = html(&samples::small());
        let row = page
            .lines()
            .find(|line| line.contains("Use After Free"))
            .unwrap();
        assert!(
            row.contains(r#"<span class="badge unknown">–</span>"#),
            "{row}"
        );
        assert!(page.contains("looks for CWE-416"));
    }
}
