//! `GET /security/report/list`.

use std::collections::{BTreeSet, HashMap};

use domain::version::VersionRange;
use serde_json::json;
use store::reports::{Order, Part, ReportStore};
use tests::answers::Answers;
use tests::samples::{files, metadata, stored_report};
use tests::system::{System, organization, text};

#[tokio::test]
async fn a_page_looks_exactly_as_the_contract_shows() {
    let system = System::start().await;
    let org = organization();
    let published = system
        .publisher(org)
        .await
        .publish(&metadata("1.0"), &files("a"))
        .await
        .unwrap();
    let (id, uploaded) = (text(&published["id"]), text(&published["uploadDate"]));

    let reply = system
        .get(&format!("/security/report/list?org={org}&version=1"))
        .await;

    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), "application/json");
    let expected = format!(
        "{{\"organizationId\":\"{org}\",\"reports\":[{{\"projectName\":\"Test product\",\"id\":\"{id}\",\
         \"reportType\":\"CWE Top 25\",\"reportVersion\":2024,\"projectVersion\":\"1.0\",\
         \"date\":\"2025-12-17T09:05:48.5946432+00:00\",\"uploadDate\":\"{uploaded}\",\
         \"vulnerabilitiesCount\":0,\"securityRating\":\"A\"}}]}}"
    );
    assert_eq!(reply.body, expected.as_bytes());
}

#[tokio::test]
async fn dates_are_shown_as_they_were_given() {
    let system = System::start().await;
    let org = organization();
    let dates = [
        "2022-05-15T16:45:31+0000",
        "2022-05-15T16:45:31.1-03:30",
        "2022-05-15T16:45:31.000000000Z",
    ];
    for (number, date) in dates.into_iter().enumerate() {
        let mut metadata = metadata(&number.to_string());
        metadata["date"] = json!(date);
        system.publish(org, &metadata, &files("a")).await;
    }
    let reply = system
        .get(&format!(
            "/security/report/list?org={org}&minver=0&order=asc"
        ))
        .await;
    let shown: Vec<String> = reply.json()["reports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| text(&it["date"]))
        .collect();
    assert_eq!(shown, dates);
}

#[tokio::test]
async fn versions_are_filtered_and_ordered_by_precedence() {
    let system = System::start().await;
    let org = organization();
    let ascending = [
        "0.9",
        "1.0-alpha",
        "1.0-rc.2",
        "1.0-rc.10",
        "v1.0",
        "1.0.0.1",
        "1.2.3",
        "1.2.3.4",
        "1.2.4",
        "1.10",
        "2024.01.05",
    ];
    let mut ids = HashMap::new();
    // Published in another order than they are listed in.
    for version in ascending
        .iter()
        .rev()
        .step_by(2)
        .chain(ascending.iter().rev().skip(1).step_by(2))
    {
        ids.insert(
            system
                .publish(org, &metadata(version), &files(version))
                .await,
            *version,
        );
    }
    let listed = async |query: &str| -> Vec<&str> {
        system
            .listed(&format!("org={org}&order=asc&{query}"))
            .await
            .iter()
            .map(|id| ids[id])
            .collect()
    };

    assert_eq!(listed("minver=0-0").await, ascending);
    assert_eq!(listed("minver=1.0").await, ascending[4..]);
    assert_eq!(listed("maxver=1").await, ascending[..5]);
    assert_eq!(listed("version=1.0.0%2Bbuild").await, ["v1.0"]);
    assert_eq!(
        listed("minver=1.0-rc.3&maxver=1.2.3").await,
        ascending[3..7]
    );
    assert_eq!(
        listed("version=1.2.3.4&minver=1&maxver=2").await,
        ["1.2.3.4"]
    );
    assert_eq!(listed("version=1.2.3.4&minver=2").await, [""; 0]);
    assert_eq!(listed("minver=2&maxver=1").await, [""; 0]);
    assert_eq!(
        listed("minver=2024.1.5&maxver=2024.1.5").await,
        ["2024.01.05"]
    );

    let descending: Vec<&str> = system
        .listed(&format!("org={org}&minver=0-0"))
        .await
        .iter()
        .map(|id| ids[id])
        .collect();
    assert!(descending.iter().rev().eq(&ascending));
}

#[tokio::test]
async fn versions_of_python_and_maven_have_their_place() {
    let system = System::start().await;
    let org = organization();
    let ascending = [
        "1.0.dev3",
        "1.0rc1",
        "1.0-SNAPSHOT",
        "1.0.0.Final",
        "1.0.post1",
        "1.0.0.1",
        "2024-01-05",
    ];
    for version in ascending.iter().rev() {
        system.publish(org, &metadata(version), &files("a")).await;
    }
    // Page by page, so that each position is also one to go on from.
    let mut listed = Vec::new();
    let mut cursor = String::new();
    loop {
        let query = format!("org={org}&minver=1.0-0&order=asc&limit=1{cursor}");
        let page = system.get(&format!("/security/report/list?{query}")).await;
        let page = page.json();
        listed.push(text(&page["reports"][0]["projectVersion"]));
        match page.get("nextCursor") {
            Some(next) => cursor = format!("&cursor={}", text(next)),
            None => break,
        }
    }
    assert_eq!(listed, ascending);
    for (query, count) in [
        ("version=1", 1),
        ("version=1.0.GA", 1),
        ("version=2024.1.5", 1),
        ("version=1.0_RC-1", 1),
        ("version=1.0-rc1", 0),
        ("minver=1.0.Final&maxver=1.0.SP1", 2),
        ("maxver=1.0rc1", 2),
    ] {
        let found = system.listed(&format!("org={org}&{query}")).await;
        assert_eq!(found.len(), count, "{query}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_query_is_said() {
    let system = System::start().await;
    let org = organization();
    let mut answers = Answers::default();
    for (row, query) in [
        ("no organization", "minver=1".to_owned()),
        ("no version", format!("org={org}")),
        (
            "an organization that is a number",
            "org=1&minver=1".to_owned(),
        ),
        ("an organization that is empty", "org=&minver=1".to_owned()),
        (
            "an organization in braces",
            "org={00000000-0000-4000-8000-000000000001}&minver=1".to_owned(),
        ),
        (
            "a lowest version with a letter",
            format!("org={org}&minver=1.x"),
        ),
        ("a version that is empty", format!("org={org}&version=")),
        (
            "a highest version with a bare plus",
            format!("org={org}&maxver=1.0+b"),
        ),
        ("a limit of 0", format!("org={org}&minver=1&limit=0")),
        ("a limit of 1001", format!("org={org}&minver=1&limit=1001")),
        (
            "a limit with a sign",
            format!("org={org}&minver=1&limit=%2B5"),
        ),
        (
            "a limit that is empty",
            format!("org={org}&minver=1&limit="),
        ),
        (
            "an order that there is not",
            format!("org={org}&minver=1&order=up"),
        ),
        (
            "a cursor of nobody's",
            format!("org={org}&minver=1&cursor=abc"),
        ),
        (
            "a cursor that is empty",
            format!("org={org}&minver=1&cursor="),
        ),
        (
            "a parameter that there is not",
            format!("org={org}&minver=1&minversion=1"),
        ),
        (
            "an organization twice",
            format!("org={org}&org={org}&minver=1"),
        ),
    ] {
        let reply = system.get(&format!("/security/report/list?{query}")).await;
        answers.add(row, &reply);
    }
    insta::assert_snapshot!(answers);
    let plus = system
        .get(&format!("/security/report/list?org={org}&maxver=1.0+b"))
        .await;
    assert!(text(&plus.json()["message"]).contains("%2B"), "{plus:?}");
}

#[tokio::test]
async fn a_cursor_is_given_when_more_follows_and_only_then() {
    let system = System::start().await;
    let org = organization();
    system
        .seed((0..10).map(|number| stored_report(org, number)))
        .await;
    for (limit, has_more) in [(9, true), (10, false), (11, false)] {
        let page = system
            .get(&format!(
                "/security/report/list?org={org}&minver=0&limit={limit}"
            ))
            .await
            .json();
        assert_eq!(page["reports"].as_array().unwrap().len(), limit.min(10));
        assert_eq!(page.get("nextCursor").is_some(), has_more, "limit {limit}");
    }
    // The default is a hundred.
    system
        .seed((10..101).map(|number| stored_report(org, number)))
        .await;
    assert_eq!(
        system.listed(&format!("org={org}&minver=0")).await.len(),
        100
    );
}

#[tokio::test]
async fn a_cursor_belongs_to_its_query() {
    let system = System::start().await;
    let (org, other) = (organization(), organization());
    system
        .seed((0..10).flat_map(|number| [stored_report(org, number), stored_report(other, number)]))
        .await;
    let page = system
        .get(&format!("/security/report/list?org={org}&minver=0&limit=3"))
        .await
        .json();
    let cursor = text(&page["nextCursor"]);

    // The limit may change, and a version may be spelt in another way.
    assert_eq!(
        system
            .listed(&format!("org={org}&minver=v0.0&cursor={cursor}&limit=500"))
            .await
            .len(),
        7
    );
    for query in [
        format!("org={other}&minver=0&cursor={cursor}"),
        format!("org={org}&minver=1&cursor={cursor}"),
        format!("org={org}&minver=0&maxver=9&cursor={cursor}"),
        format!("org={org}&minver=0&order=asc&cursor={cursor}"),
        format!("org={org}&minver=0&cursor={cursor}A"),
        format!("org={org}&minver=0&cursor={}", &cursor[1..]),
    ] {
        assert_eq!(
            system
                .get(&format!("/security/report/list?{query}"))
                .await
                .code(),
            "invalid_cursor",
            "{query}"
        );
    }
}

#[tokio::test]
async fn paging_yields_every_earlier_report_once_while_others_are_published_and_updated() {
    let system = System::start().await;
    let org = organization();
    for (order, first_new) in [("asc", 10_000), ("desc", 20_000)] {
        let earlier: Vec<_> = (0..1000).map(|number| stored_report(org, number)).collect();
        system.seed(earlier.iter().cloned()).await;
        let mut seen = Vec::new();
        let mut cursor = String::new();
        for page_number in 0.. {
            let query = format!("org={org}&minver=0&order={order}&limit=37{cursor}");
            let page = system
                .get(&format!("/security/report/list?{query}"))
                .await
                .json();
            seen.extend(
                page["reports"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|report| text(&report["id"])),
            );
            let Some(next) = page.get("nextCursor") else {
                break;
            };
            cursor = format!("&cursor={}", text(next));

            // Versions all over the range, and an update of one that was seen and one that was not.
            let new = (0..5)
                .map(|n| stored_report(org, first_new + page_number * 5 + n))
                .map(|mut report| {
                    let spread = stored_report(
                        org,
                        (page_number * 131 + report.metadata.project_key.len() as u64) % 1000,
                    );
                    report.metadata.project_version = spread.metadata.project_version;
                    report
                });
            let updates = [3, 997]
                .map(|number| stored_report(org, number))
                .map(|mut report| {
                    report.revision = page_number + 2;
                    report.upload_date = domain::date::timestamp(time::OffsetDateTime::now_utc());
                    report
                });
            system.seed(new.chain(updates)).await;
        }
        let unique: BTreeSet<&String> = seen.iter().collect();
        assert_eq!(unique.len(), seen.len(), "no report twice");
        for report in earlier {
            assert!(
                unique.contains(&report.id.to_string()),
                "{} was missed",
                report.metadata.project_version
            );
        }
    }
}

#[tokio::test]
async fn an_update_keeps_the_place_of_a_report() {
    let system = System::start().await;
    let org = organization();
    let publisher = system.publisher(org).await;
    for key in ["first", "second"] {
        let mut metadata = metadata("1.0");
        metadata["projectKey"] = json!(key);
        publisher.publish(&metadata, &files(key)).await.unwrap();
    }
    let before = system.listed(&format!("org={org}&minver=0")).await;
    let mut first = metadata("1.0");
    first["projectKey"] = json!("first");
    publisher.publish(&first, &files("anew")).await.unwrap();
    assert_eq!(system.listed(&format!("org={org}&minver=0")).await, before);
}

/// *Invariant:* reading a page costs what the page holds, not what the organization holds.
#[tokio::test]
async fn a_page_costs_the_same_in_a_small_and_in_a_large_organization() {
    let system = System::start().await;
    let (small, large) = (organization(), organization());
    system
        .seed((0..200).map(|number| stored_report(small, number)))
        .await;
    system
        .seed((0..20_000).map(|number| stored_report(large, number)))
        .await;
    let store: &ReportStore = &system.stack.listing.reports;
    let range = VersionRange::ALL
        .at_least("1.5".parse().unwrap())
        .at_most("1.27".parse().unwrap());
    let mut costs = Vec::new();
    for org in [small, large] {
        let part = Part {
            range: &range,
            order: Order::Ascending,
            after: None,
            limit: 100,
        };
        let page = store.page(org, part).await.unwrap();
        assert_eq!(page.reports.len(), 100);
        costs.push(page.read_units);
    }
    assert_eq!(costs[0], costs[1]);
    // 101 items of at most half a kilobyte, at half a unit for 4 KB.
    assert!(costs[0] > 0.0 && costs[0] <= 7.0, "{costs:?}");
}

/// DynamoDB gives at most 1 MB at a time, and a buffered Lambda response may have 6 MB.
#[tokio::test]
async fn the_largest_page_is_complete_and_small_enough() {
    let system = System::start().await;
    let org = organization();
    // As long as a publication may make them, in characters of four bytes.
    let largest = (0..1001).map(|number| {
        let mut report = stored_report(org, number);
        report.metadata.project_name = "\u{1f680}".repeat(500);
        report.metadata.report_type = "\u{1f680}".repeat(100);
        report
    });
    system.seed(largest).await;
    let reply = system
        .get(&format!(
            "/security/report/list?org={org}&minver=0&limit=1000"
        ))
        .await;
    let page = reply.json();
    assert_eq!(page["reports"].as_array().unwrap().len(), 1000);
    // In the runtime's envelope the body is a JSON text, with every quote escaped.
    let envelope = serde_json::to_string(str::from_utf8(&reply.body).unwrap()).unwrap();
    assert!(
        reply.body.len() > 2_000_000 && envelope.len() < 6_000_000,
        "{} bytes",
        envelope.len()
    );
    let rest = system
        .listed(&format!(
            "org={org}&minver=0&cursor={}",
            text(&page["nextCursor"])
        ))
        .await;
    assert_eq!(rest.len(), 1);
}
