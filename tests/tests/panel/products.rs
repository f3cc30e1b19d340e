//! The list of products, narrowed down.

use futures_util::future::join_all;
use local::DEMO_ORGANIZATION;
use serde_json::json;
use tests::samples::{files, metadata};
use tests::system::System;
use tests::visitor::{Seen, Visitor};

/// One more than the API gives at once.
const PRODUCTS: usize = 101;

/// The keys of the products on a page.
fn keys(page: &Seen) -> Vec<&str> {
    let rows = page.text.split("<code class=\"muted\">").skip(1);
    rows.map(|row| row.split_once('<').unwrap().0).collect()
}

/// What stands in the field of the filter.
fn typed(page: &Seen) -> String {
    page.between("name=\"filter\" value=\"", "\"")
}

#[tokio::test]
async fn products_are_found_by_a_part_of_their_name_or_key() {
    let system = System::start().await;
    let publish = async |number: usize| {
        let mut report = metadata("1.0");
        report["projectKey"] = json!(format!("acme:product-{number:03}"));
        report["projectName"] = json!(match number {
            7 => "Магазин".to_owned(),
            _ => format!("Number {number}"),
        });
        system
            .publish(DEMO_ORGANIZATION, &report, &files("a"))
            .await
    };
    join_all((0..PRODUCTS).map(publish)).await;
    let visitor = Visitor::signed_in(&system, "viewer").await;
    let home = visitor.home().await;
    let find = async |query: &str| visitor.get(&format!("{home}/reports?{query}")).await;

    assert_eq!(keys(&find("").await).len(), 50);
    // One by its name, in another case; one by its key, which the second reading has.
    let page = find("filter=%20%D0%BC%D0%90%D0%93").await;
    assert_eq!(keys(&page), ["acme:product-007"]);
    assert_eq!(typed(&page), "мАГ");
    assert_eq!(keys(&find("filter=T-100").await), ["acme:product-100"]);
    // What does not fit into a page is on the next, with the same filter.
    let page = find("filter=acme").await;
    assert_eq!(keys(&page).len(), 100);
    let more = page.links().into_iter().find(|it| it.contains("cursor="));
    let more = visitor.get(&more.unwrap()).await;
    assert_eq!(keys(&more), ["acme:product-100"]);
    assert_eq!(typed(&more), "acme");
    let first = format!("{home}/reports?filter=acme");
    assert!(more.links().contains(&first), "{more:?}");

    let none = find("filter=nothing").await;
    assert!(none.text.contains("No product is like that."), "{none:?}");
    assert!(!none.text.contains("There is no report yet"));
    let other = System::start().await;
    let visitor = Visitor::signed_in(&other, "viewer").await;
    let home = visitor.home().await;
    let none = visitor.get(&format!("{home}/reports?filter=x")).await;
    assert!(none.text.contains("No product is like that."), "{none:?}");
}
