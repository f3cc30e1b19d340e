//! What a report says, whatever file it is shown in: counts, ratings, summary. All of it follows from the table of the
//! organization's weaknesses, so that the numbers of a report, and of reports of the same version, agree.

use super::organization::PRODUCTS;
use super::product::{Analysis, Product, Severity, Weakness};
use super::standard::Standard;

/// At the foot of every report.
pub(super) const NOTE: &str = "Made for a demonstration. Larkmoor, its products and these findings are invented; \
    this is not a report by SonarSource, MITRE, OWASP or the PCI SSC.";

/// Every report of the organization, oldest first.
pub(super) fn reports() -> Vec<Report> {
    let mut reports = Vec::new();
    for product in PRODUCTS {
        for (nth, analysis) in product.analyses.iter().enumerate() {
            let report = |&standard| Report {
                product,
                nth,
                analysis,
                standard,
            };
            reports.extend(analysis.standards.iter().map(report));
        }
    }
    // All dates are in UTC, so their texts sort as the times do.
    reports.sort_by_key(|report: &Report| report.analysis.date);
    reports
}

/// One analysis of a product, seen through one standard.
pub(super) struct Report {
    pub(super) product: &'static Product,
    /// The analysis's place among those of the product.
    nth: usize,
    pub(super) analysis: &'static Analysis,
    pub(super) standard: &'static Standard,
}

/// Open vulnerabilities by severity, the worst first.
#[derive(Clone, Copy)]
pub(super) struct Counts([u32; 4]);

impl Counts {
    fn of<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Self {
        let mut counts = [0; 4];
        for finding in findings {
            counts[finding.weakness.severity as usize] += finding.open;
        }
        Self(counts)
    }

    pub(super) fn by_severity(self) -> impl Iterator<Item = (Severity, u32)> {
        Severity::ALL.into_iter().zip(self.0)
    }

    pub(super) fn total(self) -> u32 {
        self.0.iter().sum()
    }

    pub(super) fn rating(self) -> &'static str {
        self.worst().map_or("A", Severity::rating)
    }

    pub(super) fn headline(self) -> String {
        match self.total() {
            0 => "No open vulnerabilities".to_owned(),
            1 => "1 open vulnerability".to_owned(),
            total => format!("{total} open vulnerabilities"),
        }
    }

    /// Why the rating is what it is.
    pub(super) fn verdict(self) -> String {
        let Some(worst) = self.worst() else {
            return "Nothing was found in these categories.".to_owned();
        };
        let worst = worst.name().to_lowercase();
        format!("At least one {worst} vulnerability is open.")
    }

    fn worst(self) -> Option<Severity> {
        self.by_severity()
            .find(|&(_, open)| open > 0)
            .map(|(severity, _)| severity)
    }
}

/// A weakness that is open in the analysed version, and its category in the report's standard.
pub(super) struct Finding {
    pub(super) category: &'static str,
    pub(super) weakness: &'static Weakness,
    pub(super) open: u32,
}

impl Finding {
    /// How many places there are beside the one that is shown.
    pub(super) fn others(&self) -> String {
        match self.open {
            1 => String::new(),
            2 => "and one more place".to_owned(),
            open => format!("and {} more places", open - 1),
        }
    }
}

impl Report {
    pub(super) fn standard_name(&self) -> String {
        format!("{} {}", self.standard.name, self.standard.edition)
    }

    pub(super) fn title(&self) -> String {
        let (name, version) = (self.product.name, self.analysis.version);
        format!("{name} {version}: {}", self.standard_name())
    }

    /// What is open of this standard. A weakness counts in the one category of the standard that it names.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for weakness in self.product.weaknesses {
            let open = weakness.open[self.nth];
            for &(category, _) in self.standard.categories {
                if open > 0 && weakness.categories.contains(&category) {
                    findings.push(Finding {
                        category,
                        weakness,
                        open,
                    });
                }
            }
        }
        findings
    }

    pub(super) fn counts(&self) -> Counts {
        Counts::of(&self.findings())
    }

    /// Every category of the standard: its id, its name, what is open of it.
    pub(super) fn categories(&self) -> impl Iterator<Item = (&'static str, &'static str, Counts)> {
        let findings = self.findings();
        self.standard.categories.iter().map(move |&(id, name)| {
            let of_category = findings.iter().filter(|finding| finding.category == id);
            (id, name, Counts::of(of_category))
        })
    }

    /// The facts above the figures, in the order in which they are shown. What the analysis does not have is left out.
    pub(super) fn facts(&self) -> Vec<(&'static str, String)> {
        let analysis = self.analysis;
        let (date, time) = (&analysis.date[..10], &analysis.date[11..16]);
        let passed = |gate| if gate == "OK" { "Passed" } else { "Failed" };
        let facts = [
            ("Project", Some(self.product.key)),
            ("Version", Some(analysis.version)),
            ("Branch", analysis.branch),
            ("Quality gate", analysis.quality_gate.map(passed)),
            ("Build", analysis.build),
            ("Revision", analysis.revision),
        ];
        let known = facts
            .into_iter()
            .filter_map(|(label, fact)| Some((label, fact?.to_owned())));
        let analysed = ("Analysed", format!("{date} {time} UTC"));
        [analysed].into_iter().chain(known).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_open_severity_decides_the_rating() {
        let rating = |counts| Counts(counts).rating();
        assert_eq!(rating([0, 0, 0, 0]), "A");
        assert_eq!(rating([0, 0, 0, 9]), "B");
        assert_eq!(rating([0, 0, 1, 9]), "C");
        assert_eq!(rating([0, 1, 0, 0]), "D");
        assert_eq!(rating([1, 0, 0, 0]), "E");
    }

    #[test]
    fn every_open_place_is_counted_in_one_category() {
        for report in reports() {
            let mut sums = [0; 4];
            for (_, _, counts) in report.categories() {
                for (severity, open) in counts.by_severity() {
                    sums[severity as usize] += open;
                }
            }
            assert_eq!(sums, report.counts().0, "{}", report.title());
            for weakness in report.product.weaknesses {
                let known = |&&(id, _): &&(&str, _)| weakness.categories.contains(&id);
                assert!(report.standard.categories.iter().filter(known).count() <= 1);
                assert_eq!(weakness.open.len(), report.product.analyses.len());
            }
        }
    }
}
