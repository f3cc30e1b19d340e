//! Findings to test with.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::report::QualityGateStatus;
use findings::{
    Analysis, Assessment, Block, Category, Condition, Counts, Finding, Gate, Hotspot, Measures,
    Mode, Probability, Resolution, Review, Reviews, Rule, Server, Severity, Standard, Subject,
    Vulnerability,
};

pub(crate) fn all() -> [Assessment; 3] {
    [empty(), small(), hostile()]
}

/// Nothing was found.
pub(crate) fn empty() -> Assessment {
    let standard: &'static Standard = "cwe-top-25-2024".parse().unwrap();
    let category = Category {
        active_rules: Some(3),
        ..Category::default()
    };
    Assessment {
        standard,
        subject: Arc::new(Subject {
            project_key: "acme:shop".to_owned(),
            project_name: "Shop".to_owned(),
            project_url: "https://sonarqube.example/dashboard?id=acme%3Ashop".to_owned(),
            branch: "main".to_owned(),
            is_main_branch: true,
            version: "2.1.0".parse().unwrap(),
            unusable_version: None,
            analysis: Analysis {
                key: "AZ1".to_owned(),
                date: serde_json::from_str("\"2026-03-05T10:51:17+0100\"").unwrap(),
                revision: None,
                build: None,
            },
            server: Server {
                url: "https://sonarqube.example".to_owned(),
                version: None,
            },
            mode: Mode::Mqr,
            gate: None,
            measures: Measures::default(),
        }),
        categories: vec![category; standard.categories.len()],
        open: Counts::default(),
        hotspots: Reviews::default(),
        accepted: 0,
        false_positives: 0,
        sandboxed: None,
        rules: BTreeMap::new(),
    }
}

fn issue(severity: Severity, number: u32) -> Vulnerability {
    Vulnerability {
        severity,
        finding: finding(number),
        resolution: None,
    }
}

fn finding(number: u32) -> Finding {
    Finding {
        rule: "java:S3649".to_owned(),
        path: "src/main/java/acme/shop/Query.java".to_owned(),
        line: Some(number),
        message: "The number becomes part of the SQL text. Bind it as a parameter.".to_owned(),
        key: format!("issue-{number}"),
        found: "2026-01-31".to_owned(),
        url: format!("https://sonarqube.example/project/issues?id=acme%3Ashop&open=issue-{number}"),
        comment: None,
    }
}

/// Something of everything.
pub(crate) fn small() -> Assessment {
    let mut assessment = empty();
    let subject = Arc::make_mut(&mut assessment.subject);
    subject.mode = Mode::Standard;
    subject.server.version = Some("2025.1.0.102418".to_owned());
    subject.unusable_version = Some("not provided".to_owned());
    subject.analysis.revision = Some("c0ffee".to_owned());
    subject.measures.open = Some(5);
    subject.gate = Some(Gate {
        status: QualityGateStatus::Error,
        failed: vec![Condition {
            metric: "new_security_rating".to_owned(),
            comparator: "GT".to_owned(),
            threshold: Some("1".to_owned()),
            actual: Some("5".to_owned()),
        }],
    });
    assessment.open.add(Severity::Blocker, 1);
    assessment.open.add(Severity::Low, 2);
    assessment.hotspots.add(Review::ToReview, 1);
    assessment.accepted = 1;
    let category = &mut assessment.categories[2];
    category.open = assessment.open;
    // Two of three are listed.
    category.vulnerabilities = vec![issue(Severity::Blocker, 118), issue(Severity::Low, 7)];
    category.hotspots = assessment.hotspots;
    category.listed_hotspots = vec![Hotspot {
        review: Review::ToReview,
        probability: Probability::High,
        finding: Finding {
            rule: "java:S2077".to_owned(),
            path: "src/A.java".to_owned(),
            line: None,
            message: "Make sure that this is safe.".to_owned(),
            key: "hotspot-1".to_owned(),
            found: "2026-02-01".to_owned(),
            url: "https://sonarqube.example/security_hotspots?id=acme%3Ashop".to_owned(),
            comment: Some("We looked.".to_owned()),
        },
    }];
    category.accepted = 1;
    category.dismissed = vec![Vulnerability {
        severity: Severity::Medium,
        finding: Finding {
            comment: Some("It is behind the firewall.".to_owned()),
            ..finding(30)
        },
        resolution: Some(Resolution::Accepted),
    }];
    assessment.sandboxed = Some(2);
    // CWE-416 of the list of 2024.
    let unchecked = assessment
        .standard
        .categories
        .iter()
        .position(|it| it.id == "CWE-416");
    assessment.categories[unchecked.unwrap()].active_rules = Some(0);
    let texts = vec![
        Block::Heading("Why is this an issue?".to_owned()),
        Block::Paragraph("Whoever writes the number writes the query.".to_owned()),
        Block::Item("It reads.".to_owned()),
        Block::Item("It deletes.".to_owned()),
        Block::Code("query(\"a\" + b)\n\nquery(a, b)".to_owned()),
    ];
    let rule = Rule {
        name: "Database queries should not be vulnerable to injection attacks".to_owned(),
        text: texts,
    };
    assessment.rules.insert("java:S3649".to_owned(), rule);
    assessment
}

/// Texts that try everything.
pub(crate) fn hostile() -> Assessment {
    let mut assessment = small();
    let strange = [
        "<script>alert(1)</script> & \"'",
        "\u{202E}gnp.exe\u{202C} \0 \u{1b}[31m \u{FEFF}\u{FFFE}\u{E000}",
        "#eval(\"x\") *bold* $x$ {{ 1 }} ${jndi:ldap://x}",
        "中文 💩 👩‍👩‍👧 ไทย हिन्दी שלום مرحبا ✓ e\u{301}",
        &"x".repeat(10_000),
    ];
    let subject = Arc::make_mut(&mut assessment.subject);
    subject.project_name = strange[1].to_owned();
    subject.branch = strange[3].to_owned();
    subject.project_url = "javascript:alert(1)".to_owned();
    let category = &mut assessment.categories[2];
    category.vulnerabilities = strange
        .iter()
        .zip(1..)
        .map(|(text, number)| Vulnerability {
            finding: Finding {
                message: (*text).to_owned(),
                path: (*text).to_owned(),
                rule: (*text).to_owned(),
                url: "javascript:alert(1)".to_owned(),
                comment: Some((*text).to_owned()),
                ..finding(number)
            },
            ..issue(Severity::High, number)
        })
        .collect();
    category.open = Counts::default();
    category.open.add(Severity::High, 5);
    assessment.open = category.open;
    let rule = Rule {
        name: strange[0].to_owned(),
        text: strange.map(|text| Block::Code(text.to_owned())).to_vec(),
    };
    assessment.rules.insert(strange[1].to_owned(), rule);
    assessment
}
