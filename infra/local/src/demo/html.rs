//! A report as one page that needs nothing beside it: no script, no other file, readable on a screen and on paper.

use super::content::{Counts, Finding, NOTE, Report};
use super::product::Severity;

pub(super) fn render(report: &Report) -> String {
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
<h1><span lang="{language}">{name}</span> <span>{version}</span></h1>
</header>
<main>
{summary}{categories}{findings}</main>
<footer><p>{NOTE}</p></footer>
</body>
</html>
"#,
        title = escape(&report.title()),
        css = include_str!("report.css"),
        standard = escape(&report.standard_name()),
        language = report.product.language,
        name = escape(report.product.name),
        version = escape(report.analysis.version),
        summary = summary(report),
        categories = categories(report),
        findings = findings(report),
    )
}

fn summary(report: &Report) -> String {
    let counts = report.counts();
    let (mut bar, mut severities) = (String::new(), String::new());
    for (severity, open) in counts.by_severity() {
        let (class, name) = (severity.rating(), severity.name());
        if open > 0 {
            bar += &format!(r#"<span class="{class}" style="flex:{open}"></span>"#);
        }
        severities +=
            &format!("<li><span class=\"dot {class}\"></span>{name}: <b>{open}</b></li>\n");
    }
    let facts: String = report
        .facts()
        .into_iter()
        .map(|(label, value)| format!("<div><dt>{label}</dt><dd>{}</dd></div>\n", escape(&value)))
        .collect();
    format!(
        r#"<section aria-labelledby="summary">
<h2 id="summary">Summary</h2>
<div class="verdict">
<span class="badge {rating}" role="img" aria-label="Security rating {rating}">{rating}</span>
<p><strong>{open}</strong> <span class="soft">{verdict}</span></p>
</div>
<div class="bar" aria-hidden="true">{bar}</div>
<ul class="severities">
{severities}</ul>
<dl>
{facts}</dl>
</section>
"#,
        rating = counts.rating(),
        open = counts.headline(),
        verdict = counts.verdict(),
    )
}

fn categories(report: &Report) -> String {
    let mut rows = String::new();
    for (id, name, counts) in report.categories() {
        let (id, name, cells) = (escape(id), escape(name), cells(counts));
        rows +=
            &format!("<tr><th scope=\"row\">{id}</th><td class=\"name\">{name}</td>{cells}</tr>\n");
    }
    let number =
        |severity: Severity| format!(r#"<th scope="col" class="number">{}</th>"#, severity.name());
    format!(
        r#"<section aria-labelledby="categories">
<h2 id="categories">Categories</h2>
<p class="soft">Open vulnerabilities in the categories of {standard}, by severity.</p>
<div class="scroll" role="region" aria-labelledby="categories" tabindex="0">
<table aria-labelledby="categories">
<thead><tr>
<th scope="col">Id</th><th scope="col">Category</th><th scope="col">Rating</th>
{severities}<th scope="col" class="number">Total</th>
</tr></thead>
<tbody>
{rows}</tbody>
<tfoot><tr><th scope="row" colspan="2">All categories</th>{total}</tr></tfoot>
</table>
</div>
</section>
"#,
        standard = escape(&report.standard_name()),
        severities = Severity::ALL.map(number).concat(),
        total = cells(report.counts()),
    )
}

fn cells(counts: Counts) -> String {
    let rating = counts.rating();
    let mut cells = format!(r#"<td><span class="badge {rating}">{rating}</span></td>"#);
    let severities = counts.by_severity().map(|(_, open)| open);
    for open in severities.chain([counts.total()]) {
        let class = if open == 0 { "number none" } else { "number" };
        cells += &format!(r#"<td class="{class}">{open}</td>"#);
    }
    cells
}

fn findings(report: &Report) -> String {
    let mut list: String = report.findings().iter().map(finding).collect();
    if list.is_empty() {
        list += "<li>Nothing to show: no vulnerability is open.</li>\n";
    }
    format!(
        r#"<section aria-labelledby="findings">
<h2 id="findings">Findings</h2>
<ol>
{list}</ol>
</section>
"#
    )
}

fn finding(finding: &Finding) -> String {
    let weakness = finding.weakness;
    format!(
        r#"<li>
<h3><span class="badge {class}">{severity}</span> <code>{rule}</code> <span class="soft">{category}</span></h3>
<p>{message}</p>
<p class="soft"><code>{location}</code> {others}</p>
</li>
"#,
        class = weakness.severity.rating(),
        severity = weakness.severity.name(),
        rule = escape(weakness.rule),
        category = escape(finding.category),
        message = escape(weakness.message),
        location = escape(weakness.location),
        others = finding.others(),
    )
}

/// Makes a text safe between tags and in quoted attributes.
fn escape(text: &str) -> String {
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
    use crate::demo::content::reports;

    #[test]
    fn markup_in_a_text_is_shown_as_text() {
        assert_eq!(
            escape(r#"<a href="x">'&'"#),
            "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;"
        );
        let portal = render(&reports()[1]);
        assert!(portal.contains("is put between &lt;b&gt; and &lt;/b&gt;"));
        assert!(!portal.contains("between <b>"));
    }

    #[test]
    fn the_page_stands_alone_and_names_what_it_is_about() {
        for report in reports() {
            let page = render(&report);
            assert!(page.contains(r#"<html lang="en">"#));
            assert!(page.contains(&format!("<title>{}</title>", escape(&report.title()))));
            assert!(page.contains(&format!(
                r#"aria-label="Security rating {}""#,
                report.counts().rating()
            )));
            for outside in ["<script", "<link", "src=", "url(", "@import", "http"] {
                assert!(!page.contains(outside), "{outside}");
            }
        }
    }
}
