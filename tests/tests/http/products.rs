//! `GET /security/products`, and the list of one product.

use axum::http::StatusCode;
use domain::organization::OrganizationId;
use domain::report::Report;
use serde_json::{Value, json};
use tests::api::{Reply, text};
use tests::samples::{files, metadata, stored_report};
use tests::system::{System, organization};

/// The metadata of a report of the product `acme:shop`.
fn of_branch(version: &str, branch: &str) -> Value {
    let mut metadata = metadata(version);
    metadata["branch"] = json!(branch);
    metadata
}

async fn publish(system: &System, org: OrganizationId, metadata: &Value) -> String {
    system.publish(org, metadata, &files("a")).await
}

async fn products(system: &System, org: OrganizationId) -> Reply {
    system.get(&format!("/security/products?org={org}")).await
}

/// The only product: its name, the version of its latest report, its branches.
async fn product(system: &System, org: OrganizationId) -> (String, String, Vec<String>) {
    let reply = products(system, org).await.json();
    let [product] = reply["products"].as_array().unwrap().as_slice() else {
        panic!("{reply}");
    };
    let branches = product["branches"].as_array().unwrap();
    (
        text(&product["name"]),
        text(&product["latest"]["projectVersion"]),
        branches.iter().map(text).collect(),
    )
}

async fn delete(system: &System, org: OrganizationId, id: &str) {
    let path = format!("/reports/{id}");
    let reply = system.manage(org, "DELETE", &path, None).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
}

/// Takes attributes of an item away, behind everybody's back.
async fn spoil(system: &System, table: &str, key: [(&str, &str); 2], expression: &str) {
    use aws_sdk_dynamodb::types::AttributeValue::S;
    let update = system.stack.dynamodb.update_item().table_name(table);
    let update = key.into_iter().fold(update, |update, (name, value)| {
        update.key(name, S(value.to_owned()))
    });
    let update = update.update_expression(expression);
    update.send().await.unwrap();
}

#[tokio::test]
async fn a_product_looks_exactly_as_the_contract_shows() {
    let (system, org) = (System::start().await, organization());
    let mut newest = of_branch("2.0.0", "main");
    newest["qualityGate"] = json!("OK");
    let publisher = system.publisher(org).await;
    let published = publisher.publish(&newest, &files("a")).await.unwrap();
    publish(&system, org, &of_branch("1.10", "release-1")).await;
    let (id, uploaded) = (text(&published["id"]), text(&published["uploadDate"]));

    let reply = products(&system, org).await;

    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), "application/json");
    let expected = format!(
        "{{\"organizationId\":\"{org}\",\"products\":[{{\"key\":\"acme:shop\",\"name\":\"Test product\",\
         \"branches\":[\"release-1\",\"main\"],\"latest\":{{\"projectName\":\"Test product\",\"id\":\"{id}\",\
         \"reportType\":\"CWE Top 25\",\"reportVersion\":2024,\"projectVersion\":\"2.0.0\",\
         \"date\":\"2025-12-17T09:05:48.5946432+00:00\",\"uploadDate\":\"{uploaded}\",\
         \"vulnerabilitiesCount\":0,\"securityRating\":\"A\",\"branch\":\"main\",\"qualityGate\":\"OK\"}}}}]}}"
    );
    assert_eq!(String::from_utf8_lossy(&reply.body), expected);
    let head = system.request("HEAD", &format!("/security/products?org={org}"));
    let head = system.send(head).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
}

#[tokio::test]
async fn products_come_page_by_page_in_the_order_of_their_keys() {
    let (system, org, other) = (System::start().await, organization(), organization());
    for key in ["b", "a:2", "c", "a:10", "B"] {
        let mut metadata = metadata("1.0");
        metadata["projectKey"] = json!(key);
        publish(&system, org, &metadata).await;
    }
    assert_eq!(products(&system, other).await.status, 204);
    let one = format!("/security/products?org={org}&project=a:2");
    let one = system.get(&one).await.json();
    assert_eq!(one["products"].as_array().unwrap().len(), 1);
    assert_eq!(one["products"][0]["key"], "a:2");
    for query in [
        format!("org={other}&project=a:2"),
        format!("org={org}&project=a"),
    ] {
        let none = system.get(&format!("/security/products?{query}")).await;
        assert_eq!(none.status, 204, "{query}");
    }
    let (mut keys, mut cursors) = (Vec::new(), vec![String::new()]);
    while let Some(cursor) = cursors.last().filter(|_| cursors.len() < 9) {
        let path = format!("/security/products?org={org}&limit=2{cursor}");
        let page = system.get(&path).await.json();
        let listed = page["products"].as_array().unwrap();
        keys.extend(listed.iter().map(|it| text(&it["key"])));
        match &page["nextCursor"] {
            Value::Null => break,
            cursor => cursors.push(format!("&cursor={}", cursor.as_str().unwrap())),
        }
    }
    assert_eq!(keys, ["B", "a:10", "a:2", "b", "c"]);
    assert_eq!(cursors.len(), 3);
    for (query, code) in [
        (format!("org={other}{}", cursors[1]), "invalid_cursor"),
        (format!("org={org}&cursor=x"), "invalid_cursor"),
        (format!("org={org}&limit=0"), "invalid_limit"),
        (format!("org={org}&version=1"), "unknown_parameter"),
        (format!("org={org}&project=a+b"), "invalid_project"),
        (String::new(), "missing_parameter"),
    ] {
        let reply = system.get(&format!("/security/products?{query}")).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code()),
            (400, code.to_owned())
        );
    }
}

#[tokio::test]
async fn what_is_deleted_leaves_what_the_other_reports_say() {
    let (system, org) = (System::start().await, organization());
    let mut renamed = of_branch("2.0", "next");
    renamed["projectName"] = json!("Renamed");
    let newest = publish(&system, org, &renamed).await;
    let older = publish(&system, org, &of_branch("1.0", "main")).await;
    let of_next = publish(&system, org, &of_branch("1.1", "next")).await;
    let name = |name: &str| name.to_owned();
    let expected = |product: &str, version: &str, branches: &[&str]| {
        let branches = branches.iter().map(|it| name(it)).collect::<Vec<_>>();
        (name(product), name(version), branches)
    };
    let now = product(&system, org).await;
    assert_eq!(now, expected("Renamed", "2.0", &["next", "main"]));

    delete(&system, org, &newest).await;
    let now = product(&system, org).await;
    assert_eq!(now, expected("Test product", "1.1", &["next", "main"]));
    delete(&system, org, &of_next).await;
    // Again, which changes nothing.
    delete(&system, org, &of_next).await;
    let now = product(&system, org).await;
    assert_eq!(now, expected("Test product", "1.0", &["main"]));
    delete(&system, org, &older).await;
    assert_eq!(products(&system, org).await.status, 204);

    // Published again, it is there again.
    publish(&system, org, &of_branch("1.0", "main")).await;
    let now = product(&system, org).await;
    assert_eq!(now, expected("Test product", "1.0", &["main"]));
}

/// The index may be behind. So whoever deletes a report asks for those that were stored last by their ids.
#[tokio::test]
async fn a_report_that_the_index_has_not_yet_is_not_forgotten() {
    let (system, org) = (System::start().await, organization());
    let late = publish(&system, org, &of_branch("1.5", "late")).await;
    publish(&system, org, &of_branch("1.0", "main")).await;
    let newest = publish(&system, org, &of_branch("2.0", "late")).await;
    let org_text = org.to_string();
    let key = [("org", org_text.as_str()), ("id", late.as_str())];
    spoil(&system, "ReportsTable", key, "REMOVE orgProduct").await;
    delete(&system, org, &newest).await;
    let (_, version, branches) = product(&system, org).await;
    assert_eq!(
        (version.as_str(), branches),
        ("1.5", vec!["late".to_owned(), "main".to_owned()])
    );
}

/// What the index still shows may be deleted. `recent` does not help where more are deleted at once than it remembers.
#[tokio::test]
async fn a_report_that_is_deleted_is_no_latest_one() {
    let (system, org) = (System::start().await, organization());
    let first = publish(&system, org, &metadata("1.0")).await;
    let mut ids = Vec::new();
    for number in 0..30 {
        ids.push(publish(&system, org, &metadata(&format!("1.1.{number}"))).await);
    }
    let newest = publish(&system, org, &metadata("2.0")).await;
    let org_text = org.to_string();
    for id in &ids {
        let key = [("org", org_text.as_str()), ("id", id.as_str())];
        spoil(&system, "ReportsTable", key, "SET deletedAt = id").await;
    }
    delete(&system, org, &newest).await;
    assert_eq!(product(&system, org).await.1, "1.0");
    delete(&system, org, &first).await;
    assert_eq!(products(&system, org).await.status, 204);
}

#[tokio::test]
async fn a_product_that_cannot_be_read_costs_itself_and_is_made_anew() {
    let (system, org) = (System::start().await, organization());
    publish(&system, org, &metadata("2.0")).await;
    let mut other = metadata("1.0");
    other["projectKey"] = json!("other");
    publish(&system, org, &other).await;
    let org_text = org.to_string();
    let key = [("org", org_text.as_str()), ("key", "acme:shop")];
    let shown = async || {
        let reply = products(&system, org).await.json();
        let products = reply["products"].as_array().unwrap().clone();
        let of = |it: &Value| (text(&it["key"]), text(&it["latest"]["projectVersion"]));
        products.iter().map(of).collect::<Vec<_>>()
    };
    let pair = |key: &str, version: &str| (key.to_owned(), version.to_owned());
    let both = [pair("acme:shop", "2.0"), pair("other", "1.0")];
    assert_eq!(shown().await, both);

    spoil(
        &system,
        "ProductsTable",
        key,
        "REMOVE vulnerabilitiesCount SET latest = org",
    )
    .await;
    assert_eq!(shown().await, both[1..]);
    let older = publish(&system, org, &metadata("1.0")).await;
    assert_eq!(shown().await, both, "the latest is not the one stored last");
    spoil(&system, "ProductsTable", key, "SET latest = org").await;
    delete(&system, org, &older).await;
    assert_eq!(shown().await, both);
}

#[tokio::test]
async fn of_publications_at_once_each_is_in_its_product() {
    let (system, org) = (System::start().await, organization());
    let publications = (0..24).map(|number| {
        let metadata = of_branch(&format!("1.{number}"), &format!("b{number}"));
        let system = &system;
        async move { publish(system, org, &metadata).await }
    });
    futures_util::future::join_all(publications).await;
    let (_, version, branches) = product(&system, org).await;
    assert_eq!((version.as_str(), branches.len()), ("1.23", 24));
}

#[tokio::test]
async fn the_list_of_a_product_says_more_and_needs_no_range() {
    let (system, org) = (System::start().await, organization());
    let mut newest = of_branch("1.1", "main");
    newest["qualityGate"] = json!("ERROR");
    let id = publish(&system, org, &newest).await;
    publish(&system, org, &metadata("1.0")).await;
    let mut other = metadata("3.0");
    other["projectKey"] = json!("acme:shops");
    publish(&system, org, &other).await;

    let list = async |query: &str| {
        let path = format!("/security/report/list?org={org}&{query}");
        system.get(&path).await
    };
    let page = list("project=acme:shop").await.json();
    let [newest, older] = page["reports"].as_array().unwrap().as_slice() else {
        panic!("{page}");
    };
    let html = &files("a")[0];
    assert_eq!(newest["id"], json!(id));
    assert_eq!(newest["projectKey"], "acme:shop");
    assert_eq!(
        (&newest["branch"], &newest["qualityGate"]),
        (&json!("main"), &json!("ERROR"))
    );
    assert_eq!(newest["revision"], 1);
    assert_eq!(newest["files"][0], html.declaration());
    assert_eq!(newest["files"].as_array().unwrap().len(), 2);
    assert_eq!(
        (older["branch"].is_null(), &older["projectVersion"]),
        (true, &json!("1.0"))
    );

    let versions = async |query: &str| -> Vec<String> {
        let reply = list(query).await;
        if reply.status == 204 {
            return Vec::new();
        }
        let reports = reply.json()["reports"].clone();
        let reports = reports.as_array().unwrap().iter();
        reports.map(|it| text(&it["projectVersion"])).collect()
    };
    assert_eq!(versions("project=acme:shop&minver=1.1").await, ["1.1"]);
    assert_eq!(
        versions("project=acme:shop&order=asc").await,
        ["1.0", "1.1"]
    );
    assert_eq!(versions("project=acme:shop&branch=main").await, ["1.1"]);
    assert_eq!(versions("project=acme:shop&type=CWE+Top+25").await.len(), 2);
    assert_eq!(
        versions("project=acme:shop&type=CWE+Top+25+2024")
            .await
            .len(),
        2
    );
    assert_eq!(
        versions("project=acme:shop&type=CWE+Top+25+2025").await,
        [""; 0]
    );
    assert_eq!(versions("project=acme:shop&version=3").await, [""; 0]);
    assert_eq!(versions("project=nothing").await, [""; 0]);
    for (query, code, parameter) in [
        ("branch=main", "missing_parameter", "project"),
        ("minver=1&type=CWE+Top+25", "missing_parameter", "project"),
        ("project=a+b", "invalid_project", "project"),
        ("project=", "invalid_project", "project"),
        ("project=123", "invalid_project", "project"),
        ("project=a&project=b", "duplicate_parameter", "project"),
        ("limit=1", "missing_parameter", "version"),
    ] {
        let reply = list(query).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code()),
            (400, code.to_owned()),
            "{query}"
        );
        assert_eq!(reply.json()["parameter"], parameter, "{query}");
    }
}

#[tokio::test]
async fn a_filtered_page_looks_at_a_thousand_reports_and_goes_on_behind_them() {
    let (system, org) = (System::start().await, organization());
    let reports = (0..2500_u64).map(|number| {
        let mut report: Report = stored_report(org, number);
        report.metadata.project_key = "acme:shop".to_owned();
        let branch = if number == 100 || number == 2000 {
            "rare"
        } else {
            "main"
        };
        report.metadata.branch = Some(branch.to_owned());
        report
    });
    system.seed(reports).await;
    let path = format!("/security/report/list?org={org}&project=acme:shop&branch=rare&order=asc");
    let mut pages = Vec::new();
    let mut cursor = String::new();
    while pages.len() < 9 {
        let page = system.get(&format!("{path}{cursor}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        let page = page.json();
        pages.push(page["reports"].as_array().unwrap().len());
        let Some(next) = page["nextCursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(pages, [1, 0, 1]);
    // Without a filter a page has as many as it may.
    let whole = format!("/security/report/list?org={org}&project=acme:shop&limit=1000");
    let page = system.get(&whole).await.json();
    assert_eq!(page["reports"].as_array().unwrap().len(), 300);
}
